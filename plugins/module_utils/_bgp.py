# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one BGP speaker shows (Calico's BIRD on a node, FRR on a router): sessions, what it took from whom, its best paths, the kernel's routes; and
the comparison with what is expected of it.

The parsers and :func:`problems` are pure. Only the standard library: this runs on nodes and routers.
"""

from __future__ import annotations

import ipaddress
import json
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _calico
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

_BIRD_ROUTE = re.compile(
    r"^(\S+/\d+)?\s*(?:via (\S+) on \S+|blackhole|unreachable|prohibit|multipath|dev \S+)?.*?\[(\S+) "
)


@dataclass(frozen=True)
class Speaker:
    """What one speaker shows. ``received``: the prefixes that it took, by the neighbour's address; ``paths``: the next hops in use, by prefix;
    ``routes``: the kernel's next hops, by prefix (without any: a route of the host's own).
    """

    sessions: t.Mapping[str, str] = field(default_factory=dict)
    received: t.Mapping[str, t.Tuple[str, ...]] = field(default_factory=dict)
    sent: t.Mapping[str, int] = field(default_factory=dict)
    paths: t.Mapping[str, t.Tuple[str, ...]] = field(default_factory=dict)
    routes: t.Mapping[str, t.Tuple[str, ...]] = field(default_factory=dict)


# --- FRR


def parse_frr_table(table: t.Mapping[str, t.Any]) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Read ``show bgp ipv4 unicast json``: ``(received by neighbour, next hops in use by prefix)``."""
    received: dict[str, list[str]] = {}
    paths: dict[str, tuple[str, ...]] = {}
    for prefix, entries in (table.get("routes") or {}).items():
        used = []
        for path in entries:
            neighbour = str(path.get("peerId") or "")
            if neighbour and neighbour != "(unspec)":
                received.setdefault(neighbour, []).append(prefix)
            if path.get("bestpath") or path.get("multipath"):
                used += _next_hops(path)
        paths[prefix] = tuple(sorted(set(used)))
    return {neighbour: tuple(sorted(set(found))) for neighbour, found in received.items()}, paths


def _next_hops(path: t.Mapping[str, t.Any]) -> list[str]:
    """The next hops of one path: of an IPv6 neighbour, which is told by a global and a link-local address, the global one."""
    hops = [hop for hop in path.get("nexthops") or [] if hop.get("ip")]
    return [hop["ip"] for hop in hops if hop.get("scope") != "link-local"] or [hop["ip"] for hop in hops]


def observe_frr(families: t.Iterable[int]) -> Speaker:
    """Ask FRR on this host.

    :raises CommandError: vtysh fails; ``ValueError``: it prints something else.
    """
    sessions: dict[str, str] = {}
    received: dict[str, tuple[str, ...]] = {}
    sent: dict[str, int] = {}
    paths: dict[str, tuple[str, ...]] = {}
    routes: dict[str, tuple[str, ...]] = {}
    for family in families:
        # A router without a session in this family prints nothing.
        said = run(["vtysh", "-c", f"show bgp ipv{family} unicast summary json"], timeout=20).stdout
        summary = json.loads(said.strip() or "{}")
        for address, peer in (summary.get("peers") or {}).items():
            sessions[address], sent[address] = str(peer.get("state", "")), int(peer.get("pfxSnt") or 0)
        said = run(["vtysh", "-c", f"show bgp ipv{family} unicast json"], timeout=60).stdout
        found = parse_frr_table(json.loads(said.strip() or "{}"))
        received.update(found[0])
        paths.update(found[1])
        routes.update(kernel_routes(family))
    return Speaker(sessions, received, sent, paths, routes)


# --- BIRD


def parse_bird_routes(text: str, names: t.Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Read BIRD 1.6's ``show route``: prefixes by the neighbour's address. ``names``: ``{protocol: neighbour}``."""
    received: dict[str, set[str]] = {}
    prefix = ""
    for _code, line in _calico.parse_reply(text):
        match = _BIRD_ROUTE.match(line)
        if not match:
            continue
        prefix = match.group(1) or prefix
        if match.group(3) in names and prefix:
            received.setdefault(names[match.group(3)], set()).add(prefix)
    return {neighbour: tuple(sorted(found)) for neighbour, found in received.items()}


def observe_bird(families: t.Iterable[int]) -> Speaker:
    """Ask Calico's BIRD on this node.

    :raises _calico.CalicoStatusError: it does not answer; ``CommandError``: ``ip`` fails.
    """
    sessions: dict[str, str] = {}
    received: dict[str, tuple[str, ...]] = {}
    sent: dict[str, int] = {}
    routes: dict[str, tuple[str, ...]] = {}
    for family in families:
        path = _calico.SOCKETS[family]
        found = _calico.parse_sessions(_calico.ask_bird(path, "show protocols all"))
        for session in found:
            sessions[session.neighbor], sent[session.neighbor] = session.state, session.exported
        names = {session.name: session.neighbor for session in found}
        received.update(parse_bird_routes(_calico.ask_bird(path, "show route", timeout=20.0), names))
        routes.update(kernel_routes(family))
    # BIRD has no table of its own beside the kernel's: what it uses is what it wrote there.
    return Speaker(sessions, received, sent, {prefix: hops for prefix, hops in routes.items() if hops}, routes)


def kernel_routes(family: int) -> dict[str, tuple[str, ...]]:
    """The kernel's main table: next hops by prefix."""
    text = run(["ip", "-json", f"-{family}", "route", "show"], timeout=20).stdout
    return {route.destination: tuple(sorted(route.via)) for route in _calico.parse_routes(text)}


# --- judging


def _inside(prefix: str, networks: t.Iterable[str]) -> bool:
    network = ipaddress.ip_network(prefix, strict=False)
    return any(
        network.version == outer.version and network.subnet_of(outer)  # type: ignore[arg-type]
        for outer in (ipaddress.ip_network(text, strict=False) for text in networks)
    )


def problems(seen: Speaker, expected: t.Mapping[str, t.Any]) -> list[str]:
    """What is not as expected, in words; empty when all is.

    :param expected: ``sessions`` (neighbours that must be Established), ``received`` (``{neighbour: [prefixes]}``, all of which must have come),
        ``allowed`` (``{neighbour: [networks]}``: nothing else may have come), ``ecmp`` (``{prefix: least number of next hops}``) and ``next_hops``
        (``{prefix: [addresses]}``: the kernel has a route, and over no other).
    """
    found = [
        f"the session with {address} is {seen.sessions.get(address, 'not configured')}"
        for address in expected.get("sessions") or ()
        if seen.sessions.get(address) != "Established"
    ]
    for neighbour, prefixes in sorted((expected.get("received") or {}).items()):
        have = set(seen.received.get(neighbour, ()))
        missing = sorted(set(prefixes) - have)
        if missing:
            found.append(f"{neighbour} did not announce {', '.join(missing)}")
    for neighbour, networks in sorted((expected.get("allowed") or {}).items()):
        strange = [prefix for prefix in seen.received.get(neighbour, ()) if not _inside(prefix, networks)]
        if strange:
            found.append(f"{neighbour} announces {', '.join(strange)}, which is none of its networks")
    for prefix, least in sorted((expected.get("ecmp") or {}).items()):
        width = len(seen.paths.get(prefix, ()))
        if width < int(least):
            found.append(f"{prefix} has {width} next hops in use, wanted {least}")
    for prefix, allowed in sorted((expected.get("next_hops") or {}).items()):
        hops = seen.routes.get(prefix)
        if not hops:
            found.append(f"there is no route to {prefix}" if hops is None else f"the route to {prefix} has no next hop")
        elif set(hops) - set(allowed):
            found.append(
                f"{prefix} is routed over {', '.join(sorted(set(hops) - set(allowed)))}, wanted {' or '.join(allowed)}"
            )
    return found


def observe(speaker: str, families: t.Iterable[int]) -> Speaker:
    """Ask ``bird`` or ``frr``.

    :raises _calico.CalicoStatusError: it does not answer, or not in a way that can be read.
    """
    try:
        return (observe_frr if speaker == "frr" else observe_bird)(list(families))
    except (CommandError, ValueError, KeyError, TypeError) as exc:
        raise _calico.CalicoStatusError(f"{speaker} cannot be asked: {exc}") from exc
