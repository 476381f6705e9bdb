# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node shows of Cilium: its agent's health, BGP sessions, the other nodes' ranges, and routes.

The agent is asked over the socket that it leaves on the host, with its own HTTP API (``api/v1/openapi.yaml``), so no program is needed.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import typing as t
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._calico import Route, Session, parse_routes
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

AGENT_SOCKET = "/var/run/cilium/cilium.sock"
TIMEOUT_SECONDS = 10.0
#: GoBGP's words for the states of a session, as BGP has them (RFC 4271)
STATES = {
    "idle": "Idle",
    "connect": "Connect",
    "active": "Active",
    "open_sent": "OpenSent",
    "opensent": "OpenSent",
    "open_confirm": "OpenConfirm",
    "openconfirm": "OpenConfirm",
    "established": "Established",
}


class CiliumStatusError(Exception):
    """The agent cannot be asked; the message says why."""


@dataclass(frozen=True)
class Range:
    """A node and one of the ranges that its pods have addresses of."""

    node: str
    cidr: str


@dataclass(frozen=True)
class Status:
    """Everything that was seen on a node. ``health`` is the agent's own word, ``Ok`` when all is well; ``replaces_kube_proxy`` is None where it does
    not say.
    """

    health: str
    reason: str
    sessions: tuple[Session, ...]
    ranges: tuple[Range, ...]
    routes: tuple[Route, ...]
    replaces_kube_proxy: bool | None = None


# --- parsing (pure)


def parse_health(answer: t.Mapping[str, t.Any]) -> tuple[str, str]:
    """``(state, message)`` of the agent in the answer of ``/healthz``."""
    told = answer.get("cilium") or {}
    return str(told.get("state") or "unknown"), str(told.get("msg") or "")


def parse_replacement(answer: t.Mapping[str, t.Any]) -> bool | None:
    """Does the agent carry the Services in kube-proxy's place, by the answer of ``/healthz``? None: it does not say."""
    mode = (answer.get("kube-proxy-replacement") or {}).get("mode")
    return None if mode is None else mode == "True"


def parse_sessions(answer: t.Iterable[t.Mapping[str, t.Any]]) -> list[Session]:
    """The answer of ``/bgp/peers``; counts are of all families together."""
    found = []
    for peer in answer:
        families = peer.get("families") or []
        address = str(peer.get("peer-address") or "").partition("/")[0]
        state = str(peer.get("session-state") or "")
        found.append(
            Session(
                f"peer_{address}",
                address,
                int(peer.get("peer-asn") or 0),
                STATES.get(state.lower(), state or "Down"),
                sum(int(family.get("accepted") or 0) for family in families),
                sum(int(family.get("advertised") or 0) for family in families),
            )
        )
    return sorted(found, key=lambda session: session.neighbor)


def parse_ranges(answer: t.Mapping[str, t.Any]) -> list[Range]:
    """The answer of ``/cluster/nodes``: each node's ranges. A node's name comes as ``<cluster>/<node>``."""
    found = []
    for node in answer.get("nodes-added") or []:
        name = str(node.get("name") or "").rpartition("/")[2]
        for family in ("ipv4", "ipv6"):
            cidr = ((node.get("primary-address") or {}).get(family) or {}).get("alloc-range")
            if cidr:
                found.append(Range(name, str(cidr)))
    return sorted(found, key=lambda entry: (entry.node, entry.cidr))


def problems(
    node: str,
    peers: t.Collection[str],
    routed_nodes: t.Collection[str],
    status: Status,
    replaces_kube_proxy: bool | None = None,
) -> list[str]:
    """Say what is wrong; empty: the agent is well, every session stands, and every wanted node's ranges have a route.

    :param peers: addresses of the routers that the node must speak with.
    :param routed_nodes: nodes whose ranges this node must route itself; empty where its routers do.
    :param replaces_kube_proxy: whether the agent is to carry the Services; None: either will do.
    """
    found = []
    if status.health != "Ok":
        found.append(f"the agent is {status.health}" + (f": {status.reason}" if status.reason else ""))
    if replaces_kube_proxy is not None and status.replaces_kube_proxy is not replaces_kube_proxy:
        found.append(
            f"the agent {'does not carry the Services' if replaces_kube_proxy else 'carries the Services still'}"
        )
    by_address = {session.neighbor: session for session in status.sessions}
    for address in sorted(peers):
        session = by_address.get(address)
        if session is None:
            found.append(f"the agent has no session with {address}")
        elif not session.established:
            found.append(f"the session with {address} (AS {session.as_number}) is {session.state}")
    known = {entry.node for entry in status.ranges}
    missing = sorted(set(routed_nodes) - known - {node})
    if missing:
        found.append(f"the agent does not know {', '.join(missing)}")
    networks = [
        ipaddress.ip_network(route.destination)
        for route in status.routes
        if route.destination != "default" and route.kind == "unicast"
    ]
    for entry in status.ranges:
        if entry.node == node or entry.node not in routed_nodes:
            continue
        wanted = ipaddress.ip_network(entry.cidr)
        if not any(wanted.version == network.version and wanted.subnet_of(network) for network in networks):  # type: ignore[arg-type]
            found.append(f"no route to {entry.cidr}, the range of {entry.node}")
    return found


# --- asking


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask_agent(path: str, agent_socket: str = AGENT_SOCKET, timeout: float = TIMEOUT_SECONDS) -> t.Any:
    """Ask the agent for ``/v1<path>`` and return its answer as data; None where it has no such thing (501: BGP is off).

    :raises CiliumStatusError: nobody answers, or not with JSON.
    """
    connection = _UnixConnection(agent_socket, timeout)
    try:
        connection.request("GET", f"/v1{path}")
        response = connection.getresponse()
        body = response.read()
        if response.status == 501:
            return None
        if response.status != 200:
            raise CiliumStatusError(f"the agent answers {path} with status {response.status}: {body[:200]!r}")
        return json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise CiliumStatusError(f"Cilium's agent does not answer at {agent_socket}: {exc}") from exc
    finally:
        connection.close()


def observe_sessions(agent_socket: str = AGENT_SOCKET) -> list[Session]:
    """The agent's BGP sessions; none where BGP is off.

    :raises CiliumStatusError: the agent does not answer.
    """
    return parse_sessions(ask_agent("/bgp/peers", agent_socket) or [])


def replaces_kube_proxy(agent_socket: str = AGENT_SOCKET) -> bool | None:
    """Does the agent of this node carry the Services? None where it does not answer."""
    try:
        return parse_replacement(ask_agent("/healthz", agent_socket, timeout=3.0) or {})
    except CiliumStatusError:
        return None


def observe(agent_socket: str = AGENT_SOCKET, *, bgp: bool = True) -> Status:
    """Ask the agent and the kernel.

    :param bgp: whether sessions are of interest.
    :raises CiliumStatusError: one of them does not answer.
    """
    told = ask_agent("/healthz", agent_socket) or {}
    health, reason = parse_health(told)
    sessions = observe_sessions(agent_socket) if bgp else []
    ranges = parse_ranges(ask_agent("/cluster/nodes", agent_socket) or {})
    routes: list[Route] = []
    try:
        for family in sorted({ipaddress.ip_network(entry.cidr).version for entry in ranges}):
            routes += parse_routes(run(["ip", "-json", f"-{family}", "route", "show"], timeout=20).stdout)
    except (CommandError, ValueError) as exc:
        raise CiliumStatusError(str(exc)) from exc
    return Status(health, reason, tuple(sessions), tuple(ranges), tuple(routes), parse_replacement(told))
