# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving the API's address of a live cluster: what answers at which address, who asks there, what is left to do. Pure.

Nothing is remembered of a move. What stands on the nodes (HAProxy's ``bind`` lines, keepalived's addresses, the announced address) and whom their kubeconfigs
ask says where it is: another endpoint than the wanted one is kept while anybody asks there, and taken away afterwards. So a move that was killed is ended by
the next one, and the way back is a move.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._originals import MARK

API_PORT = 6443
ANY = "*"
PLAYBOOK = "bare_metal.kubernetes.api_endpoint_move"


class EndpointMoveError(Exception):
    """A step that cannot be done, or did not do what it should; the text is one message for the user."""


@dataclass(frozen=True)
class Part:
    """Something that role ``api_endpoint`` installs. ``units`` stop in this order; the part stands while the last of ``files`` is there and ours.
    ``directory`` is of this part alone."""

    name: str
    units: tuple[str, ...]
    files: tuple[str, ...]
    directory: str = ""

    @property
    def marker(self) -> str:
        return self.files[-1]


PARTS = (
    # In this order: without keepalived nobody comes to HAProxy any more, and the one that watches gives the announcer's address back.
    Part("keepalived", ("keepalived.service",), ("/etc/keepalived/keepalived.conf",)),
    Part("haproxy", ("haproxy.service",), ("/etc/haproxy/haproxy.cfg",)),
    Part(
        "announcer",
        ("bare-metal-api-health.service", "bare-metal-api-announcer.service"),
        (
            "/usr/local/lib/bare-metal-kubernetes/api_health.py",
            "/etc/systemd/system/bare-metal-api-health.service",
            "/etc/systemd/system/bare-metal-api-announcer.service",
            "/etc/bare-metal-kubernetes/api-announcer/bird.conf",
        ),
        "/etc/bare-metal-kubernetes/api-announcer",
    ),
)
HEALTH_UNIT = "/etc/systemd/system/bare-metal-api-health.service"
BY_NAME = {part.name: part for part in PARTS}
PARTS_OF = {
    "local": frozenset({"haproxy"}),
    "keepalived": frozenset({"haproxy", "keepalived"}),
    "bgp_anycast": frozenset({"announcer"}),
    "external": frozenset(),
}


@dataclass(frozen=True)
class Endpoint:
    """An address of the API and what provides it (``cluster_api_endpoint_mode``)."""

    mode: str
    address: str
    port: int

    @property
    def name(self) -> str:
        return joined(self.address, self.port)

    @property
    def url(self) -> str:
        return f"https://{self.name}"

    def __str__(self) -> str:
        return f"{self.mode} {self.name}"


@dataclass(frozen=True)
class Standing:
    """What answers on one node. ``binds``: ``host:port`` of HAProxy's, ``*`` for every address; ``vrrp``: addresses of keepalived; ``announced``: the address
    of the announcer, empty without one; ``parts``: names of :data:`PARTS`."""

    parts: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    vrrp: tuple[str, ...] = ()
    announced: str = ""


@dataclass(frozen=True)
class Seen:
    """What one node shows. ``own``: URL of its own API server, empty on a worker; ``clients``: servers by kubeconfig, see :data:`CLIENTS`; ``due``: those
    whose program still runs with an older file."""

    standing: Standing = field(default_factory=Standing)
    own: str = ""
    clients: t.Mapping[str, str] = field(default_factory=dict)
    due: tuple[str, ...] = ()

    @classmethod
    def of(cls, facts: t.Mapping[str, t.Any]) -> Seen:
        """From the module's answer, which has been JSON in between."""
        standing = facts.get("standing") or {}
        return cls(
            Standing(
                tuple(standing.get("parts") or ()),
                tuple(standing.get("binds") or ()),
                tuple(standing.get("vrrp") or ()),
                str(standing.get("announced") or ""),
            ),
            str(facts.get("own") or ""),
            dict(facts.get("clients") or {}),
            tuple(facts.get("due") or ()),
        )


# --- spelling


def joined(address: str, port: int) -> str:
    """``host:port`` in one spelling; IPv6 in brackets."""
    host = plain(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plain(address: str) -> str:
    """An address in its short form, a name in lower case."""
    text = address.strip("[]")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text.lower()


def split(name: str) -> tuple[str, int]:
    """``host:port`` in its parts."""
    host, _colon, port = name.rpartition(":")
    return host.strip("[]"), int(port)


def named(url: str) -> str:
    """``host:port`` of a server's URL in one spelling; empty when it is none. Calico writes IPv4 addresses in brackets, which only IPv6 may have."""
    try:
        parts = urlsplit(re.sub(r"\[([0-9.]+)\]", r"\1", url))
        return joined(parts.hostname, parts.port or 443) if parts.hostname else ""
    except ValueError:
        return ""


# --- what stands


def binds_of(text: str) -> tuple[str, ...]:
    """Where an HAProxy of ours listens, by its configuration; none when it is not ours."""
    if MARK not in text:
        return ()
    found = re.findall(r"^\s+bind (\S*?):(\d+)\s*$", text, re.M)
    return tuple(
        joined(host, int(port)) if host not in ("", "[::]", ANY) else f"{ANY}:{port}"
        for host, port in dict.fromkeys(found)
    )


def vrrp_of(text: str) -> tuple[str, ...]:
    """Addresses that a keepalived of ours moves."""
    if MARK not in text:
        return ()
    blocks = re.findall(r"^\s*virtual_ipaddress \{\n(.*?)^\s*\}", text, re.M | re.S)
    return tuple(plain(line.split("/")[0].strip()) for block in blocks for line in block.splitlines() if line.strip())


def announced_of(unit: str) -> str:
    """The address that the watching program's unit gives the machine."""
    found = re.search(r" --address ([^/\s]+)/", unit) if MARK in unit else None
    return plain(found.group(1)) if found else ""


def standing_of(read: t.Callable[[str], str]) -> Standing:
    """What stands on a node. ``read`` gives the text of a file, empty when there is none."""
    return Standing(
        tuple(part.name for part in PARTS if MARK in read(part.marker)),
        binds_of(read(BY_NAME["haproxy"].marker)),
        vrrp_of(read(BY_NAME["keepalived"].marker)),
        announced_of(read(HEALTH_UNIT)) if MARK in read(BY_NAME["announcer"].marker) else "",
    )


def parts_wanted(mode: str, control_plane: bool) -> frozenset[str]:
    """Names of the parts that a node has for a mode."""
    return PARTS_OF[mode] if control_plane or mode == "local" else frozenset()


def binds_wanted(endpoints: t.Iterable[Endpoint], control_plane: bool) -> tuple[str, ...]:
    """Where HAProxy listens for these endpoints: every address takes the port of each single one."""
    found = []
    for one in endpoints:
        if one.mode == "local":
            found.append(one.name)
        elif one.mode == "keepalived" and control_plane:
            found.append(f"{ANY}:{one.port}")
    everywhere = {split(name)[1] for name in found if split(name)[0] == ANY}
    return tuple(dict.fromkeys(name for name in found if split(name)[0] == ANY or split(name)[1] not in everywhere))


def left_over(standing: Standing, wanted: Endpoint, control_plane: bool) -> list[str]:
    """What stands on a node beside the wanted endpoint, in words: the rest of a move that has not ended."""
    parts = [part.name for part in PARTS if part.name in set(standing.parts) - parts_wanted(wanted.mode, control_plane)]
    more = set(standing.binds) - set(binds_wanted([wanted], control_plane)) if "haproxy" not in parts else set()
    return [*parts, *(f"haproxy on {name}" for name in sorted(more))]


def endpoints_of(hosts: t.Mapping[str, Seen], wanted: Endpoint) -> list[Endpoint]:
    """All endpoints of a cluster but the wanted one: those that stand, and those that are only asked, which somebody else provides."""
    found: dict[str, Endpoint] = {}
    ports = {split(name)[1] for seen in hosts.values() for name in seen.standing.binds if split(name)[0] == ANY}
    for seen in hosts.values():
        standing = seen.standing
        mine = [Endpoint("local", *split(name)) for name in standing.binds if split(name)[0] != ANY]
        mine += [Endpoint("keepalived", address, port) for address in standing.vrrp for port in sorted(ports)]
        mine += [Endpoint("bgp_anycast", standing.announced, API_PORT)] if standing.announced else []
        found.update({str(one): one for one in mine})
    known = {one.name for one in found.values()} | {wanted.name}
    for seen in hosts.values():
        for name in asked(seen):
            if name not in known:
                found.setdefault(name, Endpoint("external", *split(name)))
    return sorted((one for one in found.values() if str(one) != str(wanted)), key=str)


# --- who asks

# Kubeconfigs by the program that reads them, in the order in which they are moved. The administrator's is last: by it preflight sees that a move has not ended.
CLIENTS = {
    "bootstrap-kubelet": "/etc/kubernetes/bootstrap-kubelet.conf",
    "kubelet": "/etc/kubernetes/kubelet.conf",
    "kube-controller-manager": "/etc/kubernetes/controller-manager.conf",
    "kube-scheduler": "/etc/kubernetes/scheduler.conf",
    "super-admin": "/etc/kubernetes/super-admin.conf",
    "admin": "/etc/kubernetes/admin.conf",
}
# Written by the network plugin itself, from its objects.
FOREIGN = {"calico": "/etc/cni/net.d/calico-kubeconfig"}
# kubeadm lets these ask the API server of their own machine.
OWN_SERVER = frozenset({"kubelet", "bootstrap-kubelet", "kube-controller-manager", "kube-scheduler"})
# Programs that read their kubeconfig when they start.
RESTARTED = ("kubelet", "kube-controller-manager", "kube-scheduler")


def asked(seen: Seen) -> list[str]:
    """The ``host:port`` that a node's programs ask, but for its own API server where they may."""
    own = named(seen.own)
    names = {named(url) for name, url in seen.clients.items() if not (name in OWN_SERVER and named(url) == own)}
    return sorted(names - {""})


@dataclass(frozen=True)
class Change:
    """A kubeconfig that gets another server."""

    name: str
    before: str
    after: str

    @property
    def path(self) -> str:
        return CLIENTS[self.name]


def plan_clients(seen: Seen, wanted: Endpoint) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """What is left to do for the programs of one node: kubeconfigs to change, and programs to restart (those of changed files, and those of an earlier run
    that was killed before it could)."""
    own = named(seen.own)
    changes = []
    for name in CLIENTS:
        now = named(seen.clients.get(name, ""))
        if now and now != wanted.name and not (name in OWN_SERVER and now == own):
            changes.append(Change(name, seen.clients[name], wanted.url))
    changed = {change.name for change in changes}
    return tuple(changes), tuple(name for name in RESTARTED if name in changed or name in seen.due)


def with_server(text: str, url: str) -> str:
    """A kubeconfig with another server and nothing else changed; texts without exactly one server are refused."""
    found, number = re.subn(r"^( *(?:- )?server:).*$", lambda match: f"{match.group(1)} {url}", text, flags=re.M)
    if number != 1:
        raise EndpointMoveError(f"the kubeconfig names {number} servers instead of one")
    return found


def unsettled(seen: Seen, wanted: Endpoint) -> list[str]:
    """Why a node's old endpoints may not be taken away yet."""
    changes, restarts = plan_clients(seen, wanted)
    found = [f"{change.path} asks {named(change.before)}" for change in changes]
    found += [f"{name} has not been restarted" for name in restarts if name not in {change.name for change in changes}]
    return [
        *found,
        *(
            f"{path} asks {named(seen.clients[name])}"
            for name, path in FOREIGN.items()
            if named(seen.clients.get(name, "")) not in ("", wanted.name)
        ),
    ]


# --- connections of the node's own programs (/proc/net/tcp, Documentation/networking/proc_net_tcp.rst)

ESTABLISHED = "01"


def connections(text: str, targets: t.Collection[tuple[str, int]]) -> list[str]:
    """Inodes of established connections to one of ``targets`` (address, port), from ``/proc/net/tcp`` or ``tcp6``: addresses are words of 32 bits in the
    order of a little-endian machine."""
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        try:
            if words[3] == ESTABLISHED and _remote(words[2]) in targets:
                found.append(words[9])
        except (IndexError, ValueError):
            continue
    return found


def _remote(word: str) -> tuple[str, int]:
    raw, port = word.split(":")
    data = bytes.fromhex(raw)
    data = b"".join(data[start : start + 4][::-1] for start in range(0, len(data), 4))
    address: t.Any = ipaddress.ip_address(data)
    address = getattr(address, "ipv4_mapped", None) or address
    return str(address), int(port, 16)


# --- what cannot be moved


def refusals(others: t.Iterable[Endpoint], wanted: Endpoint) -> list[tuple[str, str]]:
    """Moves that cannot be made with both endpoints standing: (why, what to do instead)."""
    found = []
    by_way = f"move to another mode first (local), then to {wanted.name}: two runs of {PLAYBOOK}"
    for one in others:
        same = plain(one.address) == plain(wanted.address)
        if one.mode == wanted.mode and one.mode in ("keepalived", "bgp_anycast") and not same:
            word = "keepalived moves" if one.mode == "keepalived" else "the announcer announces"
            found.append((f"{word} one address, so {one.name} cannot stand beside {wanted.name}", by_way))
        elif one.mode != wanted.mode and same and not (one.port != wanted.port and _loopback(one.address)):
            reason = f"{one.address} is provided by '{one.mode}' now and cannot be provided by '{wanted.mode}' at the same time"
            found.append((reason, "give the new endpoint an address of its own"))
    return found


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(plain(address)).is_loopback
    except ValueError:
        return False


def missing_hosts(
    hosts: t.Collection[str], asked_hosts: t.Collection[str], nodes: t.Iterable[str] | None
) -> list[tuple[str, str]]:
    """Nodes that a move would leave behind: (why, what to do).

    :param hosts: the cluster's nodes in the inventory. :param asked_hosts: those of which it is known what stands there.
    :param nodes: nodes that the API knows; None when nobody could be asked.
    """
    found = []
    silent = sorted(set(hosts) - set(asked_hosts))
    if silent:
        reason = f"{', '.join(silent)} did not answer, or is left out by --limit: its kubelet would go on asking at the old address, which goes away"
        found.append((reason, "repair it, or take it out of the cluster and the inventory; run without --limit"))
    if nodes is None:
        found.append(("no control plane could say which nodes the cluster has", "repair one, then run the play again"))
        return found
    strange = sorted(set(nodes) - set(hosts))
    if strange:
        reason = f"the cluster has nodes that are not in the inventory: {', '.join(strange)}; they would lose the API"
        found.append((reason, "add them to the inventory, or delete them from the cluster"))
    return found
