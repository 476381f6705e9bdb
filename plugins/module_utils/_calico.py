# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node shows of Calico's routing: BGP sessions, address blocks, routes.

BIRD is asked over its control socket, which calico-node leaves on the host (``/var/run/calico``), so no program is
needed. Its protocol:
every reply line begins with a four-digit code and ``-`` (more follow) or a blank (the last one), lines with a leading
blank go on
with the code before; codes 0xxx, 8xxx and 9xxx end a reply (BIRD's ``doc/reply_codes``).
"""

from __future__ import annotations

import json
import re
import socket
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApi,
    KubeApiError,
    load_credentials,
)

CNI_KUBECONFIG = "/etc/cni/net.d/calico-kubeconfig"
SOCKETS = {4: "/var/run/calico/bird.ctl", 6: "/var/run/calico/bird6.ctl"}
BLOCK_API = "crd.projectcalico.org/v1"
_LINE = re.compile(r"^(\d{4})([- ])(.*)$")
_PROTOCOL = re.compile(r"^(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s*(.*)$")
_COUNTS = re.compile(r"(\d+) imported, .*?(\d+) exported")


class CalicoStatusError(Exception):
    """The node cannot be asked; the message says which part and why."""


@dataclass(frozen=True)
class Session:
    """One BGP session as BIRD sees it. ``state`` is BGP's own word (``Established``, ``Connect``, ...), ``error`` the
    last one.
    """

    name: str
    neighbor: str
    as_number: int
    state: str
    imported: int = 0
    exported: int = 0
    error: str = ""

    @property
    def established(self) -> bool:
        return self.state == "Established"


@dataclass(frozen=True)
class Block:
    """A block of pod addresses and the node that it belongs to."""

    cidr: str
    node: str


@dataclass(frozen=True)
class Route:
    """A kernel route. ``via`` are the next hops (several: ECMP); ``kind`` is ``unicast``, ``blackhole``, ..."""

    destination: str
    kind: str
    protocol: str
    via: tuple[str, ...]


def parse_reply(text: str) -> list[tuple[str, str]]:
    """Split a reply of BIRD's control socket into ``(code, text)``; the greeting is a line like any other."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            found.append((match.group(1), match.group(3)))
        elif found:
            found.append((found[-1][0], line[1:]))
    return found


def _finished(text: str) -> bool:
    """Tell whether a reply is complete: its last line ends it."""
    lines = text.splitlines()
    return bool(lines) and text.endswith("\n") and re.match(r"^[089]\d{3} ", lines[-1] + " ") is not None


def parse_sessions(text: str) -> list[Session]:
    """Read the reply to ``show protocols all``; protocols other than BGP are left out."""
    sessions: list[Session] = []
    name, values = "", dict[str, str]()

    def close() -> None:
        if name:
            counts = _COUNTS.search(values.get("Routes", ""))
            imported, exported = (int(part) for part in counts.groups()) if counts else (0, 0)
            sessions.append(
                Session(
                    name,
                    values.get("Neighbor address", "").partition("%")[0],
                    int(values.get("Neighbor AS") or 0),
                    values.get("BGP state", "Down"),
                    imported,
                    exported,
                    values.get("Last error", ""),
                )
            )

    for code, line in parse_reply(text):
        if code == "1002":
            close()
            match = _PROTOCOL.match(line)
            name, values = (match.group(1) if match and match.group(2) == "BGP" else ""), {}
        elif code == "1006" and ":" in line:
            key, _colon, value = line.partition(":")
            values.setdefault(key.strip(), value.strip())
    close()
    return sessions


def parse_routes(text: str) -> list[Route]:
    """Read ``ip -json route``."""
    return [
        Route(
            entry["dst"],
            entry.get("type", "unicast"),
            str(entry.get("protocol", "")),
            tuple(filter(None, [entry.get("gateway"), *(hop.get("gateway") for hop in entry.get("nexthops") or [])])),
        )
        for entry in json.loads(text or "[]")
    ]


def parse_blocks(affinities: t.Iterable[t.Mapping[str, t.Any]]) -> list[Block]:
    """Read BlockAffinity objects; those that are not confirmed, or on their way out, are left out."""
    specs = [entry.get("spec") or {} for entry in affinities]
    return sorted(
        (
            Block(spec["cidr"], spec["node"])
            for spec in specs
            if spec.get("state") == "confirmed" and str(spec.get("deleted", "false")).lower() != "true"
        ),
        key=lambda block: (block.node, block.cidr),
    )


def problems(
    node: str,
    peers: t.Collection[str],
    sessions: t.Sequence[Session],
    blocks: t.Sequence[Block],
    routes: t.Sequence[Route],
    nodes: t.Collection[str] = (),
) -> list[str]:
    """Say what is wrong with a node's routing; empty: every session stands and every other node's blocks are routed.

    :param peers: addresses of the routers that the node must speak with; empty: every session that BIRD has must stand.
    :param nodes: names of the nodes whose blocks count; empty: all.
    """
    found = []
    by_address = {session.neighbor: session for session in sessions}
    for address in sorted(peers) or sorted(by_address):
        session = by_address.get(address)
        if session is None:
            found.append(f"BIRD has no session with {address}")
        elif not session.established:
            found.append(
                f"the session with {address} (AS {session.as_number}) is {session.state}"
                + (f": {session.error}" if session.error else "")
            )
    by_destination = {route.destination: route for route in routes}
    for block in blocks:
        if block.node == node or (nodes and block.node not in nodes):
            continue
        route = by_destination.get(block.cidr)
        if route is None:
            found.append(f"no route to {block.cidr}, a block of {block.node}")
        elif not route.via:
            found.append(f"the route to {block.cidr}, a block of {block.node}, is {route.kind} and has no next hop")
    return found


# --- asking


def ask_bird(path: str, command: str, timeout: float = 5.0) -> str:
    """Send one command to a BIRD control socket and return its whole reply.

    :raises CalicoStatusError: nobody listens there, or the reply does not end in time.
    """
    text = ""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout)
            link.connect(path)
            until = time.monotonic() + timeout
            for words in ("", command):
                text = ""
                if words:
                    link.sendall(words.encode() + b"\n")
                while not _finished(text):
                    piece = link.recv(65536)
                    if not piece or time.monotonic() > until:
                        raise CalicoStatusError(f"BIRD at {path} broke off its reply to '{words or 'hello'}'")
                    text += piece.decode("utf-8", "replace")
    except OSError as exc:
        raise CalicoStatusError(f"BIRD does not answer at {path}: {exc}") from exc
    return text


@dataclass(frozen=True)
class Status:
    """Everything that was seen on a node."""

    sessions: tuple[Session, ...]
    blocks: tuple[Block, ...]
    routes: tuple[Route, ...]


def observe(families: t.Iterable[int], kubeconfig: str = CNI_KUBECONFIG, bgp: bool = True) -> Status:
    """Ask BIRD, the kernel and, with the CNI plugin's own credentials, the API.

    :param families: 4, 6 or both.
    :param bgp: false where no BIRD runs.
    :raises CalicoStatusError: one of them does not answer.
    """
    sessions: list[Session] = []
    routes: list[Route] = []
    try:
        for family in families:
            if bgp:
                sessions += parse_sessions(ask_bird(SOCKETS[family], "show protocols all"))
            routes += parse_routes(run(["ip", "-json", f"-{family}", "route", "show"], timeout=20).stdout)
        with KubeApi(load_credentials(kubeconfig), timeout=10, deadline=0) as api:
            blocks = parse_blocks(api.list(BLOCK_API, "BlockAffinity"))
    except (CommandError, KubeApiError, ValueError) as exc:
        raise CalicoStatusError(str(exc)) from exc
    return Status(tuple(sessions), tuple(blocks), tuple(routes))
