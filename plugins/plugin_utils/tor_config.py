# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routers' side of the cluster's BGP, worked out from the inventory that makes the nodes' side. Pure.

``plan(View) -> [Router]``; :mod:`tor_config_render` writes each as FRR, BIRD 2 and a table.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bgp, bgp_rules, calico
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import Host, View
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import as_int

GROUP = "routers"
BITS = {4: 32, 6: 128}
# A Service with externalTrafficPolicy: Local is a route of its own; so many of a pool are counted.
MOST_SERVICE_ROUTES = 1024
# Above the plan: room for what an operator adds by hand, far below a table that floods the router.
PREFIX_MARGIN = 0.2


class TorConfigError(Exception):
    """The routers' configuration cannot be made; the message names the router, the variable, and what to change."""


@dataclass(frozen=True)
class Prefix:
    """A network whose parts of ``low`` to ``high`` bits are let through."""

    cidr: str
    low: int
    high: int
    what: str

    @property
    def family(self) -> int:
        return ipaddress.ip_network(self.cidr).version


@dataclass(frozen=True)
class Options:
    """What the sessions of one group of nodes have in common."""

    family: int = 4
    password: str = ""
    ttl_security: int = 0
    bfd: bool = False
    internal: bool = False


@dataclass(frozen=True)
class Neighbour:
    """A node, or another router (then ``options`` has only a password)."""

    name: str
    address: str
    as_number: int
    options: Options = Options()


@dataclass(frozen=True)
class Group:
    """Sessions with nodes that have the same options. ``ranges``: networks that they are taken from; empty: the nodes one by one.

    ``endpoint``: the sessions in which control planes announce the API's address (``cluster_api_endpoint_mode: bgp_anycast``), and nothing else.
    """

    name: str
    options: Options
    neighbours: tuple[Neighbour, ...]
    max_prefixes: int
    ranges: tuple[str, ...] = ()
    endpoint: bool = False


@dataclass(frozen=True)
class Router:
    """Everything that a router's configuration says. Times are seconds."""

    name: str
    as_number: int
    router_id: str
    addresses: tuple[str, ...]
    groups: tuple[Group, ...]
    uplinks: tuple[Neighbour, ...]
    networks: tuple[str, ...]
    accepted: tuple[Prefix, ...]
    given: tuple[Prefix, ...]
    own_as_of_nodes: tuple[int, ...]
    default_route: bool = False
    maximum_paths: int = 64
    keepalive: int = 3
    hold: int = 9
    local_preference: int = 0
    endpoint: tuple[Prefix, ...] = ()

    @property
    def families(self) -> tuple[int, ...]:
        """The families of its sessions."""
        found = {group.options.family for group in self.groups}
        return tuple(sorted(found | {ipaddress.ip_address(uplink.address).version for uplink in self.uplinks}))


def _prefix(cidr: str, low: int, high: int, what: str) -> Prefix:
    return Prefix(str(ipaddress.ip_network(cidr)), low, high, what)


def pod_prefixes(view: View) -> list[Prefix]:
    """What nodes announce of the pods' networks: with Calico blocks of exactly their size, else a node's range, never the whole network."""
    counts = view.pods_per_node()
    size = view.block_size(max(counts)) if counts else 26
    pools = view.common("cluster_pod_pools") or [{"cidr": cidr} for cidr in view.common("cluster_pod_cidrs") or ()]
    found = []
    for pool in pools:
        network = ipaddress.ip_network(pool["cidr"])
        bits = BITS[network.version]
        if view.common("cluster_network_plugin") == "calico":
            block = as_int(pool.get("block_size") or 0) or (size if network.version == 4 else 96 + size)
            found.append(_prefix(pool["cidr"], block, block, "pod blocks"))
        else:
            found.append(_prefix(pool["cidr"], min(bits, network.prefixlen + 1), bits, "pod ranges"))
    return found


def service_prefixes(view: View) -> list[Prefix]:
    """LoadBalancer pools, and the ranges of Services and external addresses when nodes announce them."""
    cidrs = [
        (cidr, "LoadBalancer addresses") for cidr in calico.pool_cidrs(view.common("cluster_load_balancer_pools") or [])
    ]
    if view.common("cluster_load_balancer_mode") in ("metallb_l2", "none"):
        cidrs = []
    if view.common("cluster_bgp_advertise_cluster_ips"):
        cidrs += [(cidr, "cluster IPs") for cidr in view.common("cluster_service_cidrs") or ()]
    cidrs += [(cidr, "external IPs") for cidr in view.common("cluster_bgp_external_cidrs") or ()]
    return [
        _prefix(cidr, network.prefixlen, BITS[network.version], what)
        for cidr, what in cidrs
        for network in [ipaddress.ip_network(cidr)]
    ]


def max_prefixes(view: View, host: Host, services: Iterable[Prefix], nodes: int = 1) -> int:
    """The most routes that a node may announce: the blocks that IPAM gives it, and a route for each address of a Service, and a margin.

    ``ceil((nodes x blocks + services) x 1.2)``; a reflector gives the blocks of all ``nodes``.
    """
    counts = view.pods_per_node()
    densest = max(counts) if counts else 110
    blocks = calico.max_blocks_per_node(densest, view.block_size(densest))
    routes = sum(
        1 + min(MOST_SERVICE_ROUTES, ipaddress.ip_network(prefix.cidr).num_addresses)
        for prefix in services
        if prefix.high > prefix.low
    )
    return math.ceil((nodes * blocks + routes) * (1 + PREFIX_MARGIN))


@dataclass(frozen=True)
class Session:
    """One end of a session as a node has it."""

    host: Host
    address: str
    peer: Mapping[str, Any]


def node_sessions(view: View) -> list[Session]:
    """The sessions that nodes have with routers, by what speaks BGP on them."""
    topology, reflecting = bgp_rules.topology(view), bgp_rules.reflectors(view)
    speakers = view.common("cluster_load_balancer_mode") == "metallb_bgp"
    found = []
    for host in view.nodes:
        peers = view.value(host, "cluster_bgp_peers") or []
        own = [view.value(host, name) for name in ("cluster_node_ip", "cluster_node_second_ip")]
        addresses = [str(ipaddress.ip_address(address)) for address in own if address]
        # MetalLB's speakers have sessions from every node, beside a network plugin that has none with routers.
        for peer in peers if speakers else bgp.peers_of(topology, host.name, peers, reflecting):
            if addresses:
                same = bgp.of_family(addresses, bgp.family_of(peer["address"]))
                found.append(Session(host, same or addresses[0], peer))
    return found


def endpoint_prefix(view: View) -> Prefix | None:
    """The API's address as a route, when control planes announce it."""
    span = view.endpoint()
    if view.common("cluster_api_endpoint_mode") != "bgp_anycast" or span is None:
        return None
    bits = BITS[span.family]
    return _prefix(f"{span.text}/{bits}", bits, bits, "the API's address")


def endpoint_sessions(view: View) -> list[Session]:
    """The sessions in which control planes announce the API's address; each leaves from its own source."""
    found = []
    for host in view.group("control_plane") if endpoint_prefix(view) else ():
        source = view.value(host, "cluster_api_endpoint_bgp_source") or view.value(host, "cluster_node_ip")
        for peer in view.value(host, "cluster_api_endpoint_bgp_peers") or () if source else ():
            found.append(Session(host, str(ipaddress.ip_address(source)), peer))
    return found


def _value(host: Host | None, name: str, default: Any) -> Any:
    found = host.variables.get(f"tor_config_{name}") if host else None
    return default if found is None else found


def plan(view: View) -> list[Router]:
    """Every router: the hosts of the group ``routers``, or each address of ``cluster_bgp_peers`` when there is no such group.

    :raises TorConfigError: a router that nobody describes, a session that cannot have two ends.
    """
    by_address = _by_router(node_sessions(view))
    endpoint = _by_router(endpoint_sessions(view))
    hosts = view.group(GROUP)
    if not hosts:
        named = sorted({*by_address, *endpoint})
        return [_router(view, None, one, [one], by_address.get(one, []), endpoint.get(one, [])) for one in named]
    routers, seen = [], set()
    for host in hosts:
        own = [str(ipaddress.ip_address(address)) for address in _value(host, "addresses", None) or _addresses(host)]
        seen |= set(own)
        mine = [session for address in own for session in by_address.get(address, [])]
        api = [session for address in own for session in endpoint.get(address, [])]
        # One without a session is made too when its AS is known: a topology in which the nodes do without it.
        if mine or api or as_int(_value(host, "as_number", 0)):
            routers.append(_router(view, host, host.name, own, mine, api))
    missing = sorted({*by_address, *endpoint} - seen)
    if missing:
        by = "cluster_bgp_peers" if set(missing) & set(by_address) else "cluster_api_endpoint_bgp_peers"
        raise TorConfigError(
            f"{by} names {', '.join(missing)}, which is no router's address: the group {GROUP} has "
            f"{', '.join(f'{router.name} ({chr(32).join(router.addresses)})' for router in routers) or 'none with a session'}; "
            "list all of a router's addresses in its tor_config_addresses"
        )
    return routers


def _by_router(sessions: Iterable[Session]) -> dict[str, list[Session]]:
    found: dict[str, list[Session]] = {}
    for session in sessions:
        found.setdefault(str(ipaddress.ip_address(session.peer["address"])), []).append(session)
    return found


def _addresses(host: Host) -> list[str]:
    address = host.variables.get("cluster_node_ip")
    return [address] if address else []


def _router(
    view: View, host: Host | None, name: str, own: list[str], sessions: Sequence[Session], endpoint: Sequence[Session]
) -> Router:
    uplinks = _uplinks(view, host)
    numbers = {as_int(session.peer["as_number"]) for session in [*sessions, *endpoint]}
    numbers |= {as_int(_value(host, "as_number", 0))} - {0}
    if len(numbers - {0}) != 1:
        words = ", ".join(map(str, sorted(numbers - {0}))) or "none"
        raise TorConfigError(
            f"{name}: its AS number is {words}; give its sessions and tor_config_as_number the same one"
        )
    (as_number,) = numbers - {0}
    pods, services = pod_prefixes(view), service_prefixes(view)
    extra = [
        _prefix(cidr, min(BITS[network.version], network.prefixlen + 1), BITS[network.version], "as configured")
        for cidr in _value(host, "accepted_networks", [])
        for network in [ipaddress.ip_network(cidr)]
    ]
    counts: dict[int, int] = {}
    for node in view.nodes:
        number = view.number(node, "cluster_bgp_as_number") or 0
        counts[number] = counts.get(number, 0) + 1
    shared = sorted(number for number, nodes in counts.items() if nodes > 1 and number != as_number)
    router_id = _value(host, "router_id", "") or next((one for one in own if ":" not in one), "")
    if not router_id:
        fix = (
            "set tor_config_router_id"
            if host
            else f"make it a host of the group {GROUP}, with all its addresses (tor_config_addresses) or a tor_config_router_id"
        )
        raise TorConfigError(f"{name}: a BGP identifier is an IPv4 address, and it has none; {fix}")
    return Router(
        name=name,
        as_number=as_number,
        router_id=router_id,
        addresses=tuple(own),
        groups=(
            *_groups(view, host, name, as_number, sessions, services),
            *_endpoint_groups(view, name, as_number, endpoint),
        ),
        uplinks=tuple(uplinks),
        networks=tuple(str(ipaddress.ip_network(cidr)) for cidr in _value(host, "networks", [])),
        accepted=tuple(dict.fromkeys([*pods, *services, *extra])),
        given=tuple(dict.fromkeys([*pods, *extra])),
        own_as_of_nodes=tuple(shared),
        default_route=bool(_value(host, "default_route", False)),
        maximum_paths=as_int(_value(host, "maximum_paths", 64)),
        keepalive=as_int(_value(host, "keepalive_seconds", 3)),
        hold=as_int(_value(host, "hold_seconds", 9)),
        local_preference=as_int(_value(host, "local_preference", 0)),
        endpoint=tuple(prefix for prefix in [endpoint_prefix(view)] if prefix and endpoint),
    )


def _uplinks(view: View, host: Host | None) -> list[Neighbour]:
    passwords = view.common("cluster_bgp_passwords") or {}
    found = []
    for uplink in _value(host, "uplinks", []):
        named = uplink.get("password") or ""
        if named and named not in passwords:
            raise TorConfigError(
                f"{host.name if host else ''}: an uplink names a password that cluster_bgp_passwords does not have"
            )
        options = Options(password=passwords[named] if named else "", bfd=bool(uplink.get("bfd")))
        found.append(
            Neighbour(
                str(uplink.get("description") or "uplink"),
                str(ipaddress.ip_address(uplink["address"])),
                as_int(uplink["as_number"]),
                options,
            )
        )
    return found


def _endpoint_groups(view: View, name: str, as_number: int, sessions: Sequence[Session]) -> list[Group]:
    """Control planes are few and each is named, also by a router that takes nodes from a range: a name goes before a range."""
    passwords = view.common("cluster_bgp_passwords") or {}
    found: dict[Options, list[Neighbour]] = {}
    for session in sessions:
        family = ipaddress.ip_address(session.peer["address"]).version
        if ipaddress.ip_address(session.address).version != family:
            raise TorConfigError(
                f"{name}: {session.host.name} announces the API's address from {session.address} to {session.peer['address']}, of another family; "
                "set its cluster_api_endpoint_bgp_source"
            )
        number = view.number(session.host, "cluster_bgp_as_number") or 0
        options = Options(
            family,
            str(passwords.get(session.peer.get("password") or "", "")),
            as_int(session.peer.get("ttl_security") or 0),
            bool(view.common("cluster_api_endpoint_bfd")),
            number == as_number,
        )
        found.setdefault(options, []).append(Neighbour(session.host.name, session.address, number, options))
    groups = []
    for number, (options, members) in enumerate(sorted(found.items(), key=lambda item: item[1][0].name), 1):
        word = ("api" if options.family == 4 else "api6") + (f"-{number}" if number > 1 else "")
        groups.append(Group(word, options, tuple(sorted(members, key=lambda one: one.name)), 1, endpoint=True))
    return groups


def _groups(
    view: View, host: Host | None, name: str, as_number: int, sessions: Sequence[Session], services: Sequence[Prefix]
) -> list[Group]:
    passwords = view.common("cluster_bgp_passwords") or {}
    reflecting = bgp_rules.topology(view) == "route_reflectors"
    found: dict[Options, list[tuple[Neighbour, int]]] = {}
    for session in sessions:
        peer = session.peer
        family = ipaddress.ip_address(peer["address"]).version
        if ipaddress.ip_address(session.address).version != family:
            raise TorConfigError(
                f"{name}: {session.host.name} ({session.address}) has a session with {peer['address']}, of another family; "
                "give the session the family of cluster_node_ip, or the node a cluster_node_second_ip of the other one"
            )
        number = view.number(session.host, "cluster_bgp_as_number") or 0
        options = Options(
            family,
            str(passwords.get(peer.get("password") or "", "")),
            as_int(peer.get("ttl_security") or 0),
            bool(peer.get("bfd")),
            number == as_number,
        )
        limit = as_int(peer.get("max_prefixes") or 0) or max_prefixes(
            view, session.host, services, len(view.nodes) if reflecting else 1
        )
        found.setdefault(options, []).append((Neighbour(session.host.name, session.address, number, options), limit))
    listening = _value(host, "neighbours", "explicit") == "listen"
    ranges = [str(ipaddress.ip_network(cidr)) for cidr in _value(host, "listen_ranges", [])]
    if listening:
        _refuse_listening(name, found, ranges)
    groups: list[Group] = []
    for number, (options, members) in enumerate(sorted(found.items(), key=lambda item: item[1][0][0].name)):
        base = "nodes" if options.family == 4 else "nodes6"
        same = [group for group in groups if group.options.family == options.family]
        groups.append(
            Group(
                base + (f"-{number + 1}" if same else ""),
                options,
                tuple(sorted((node for node, _limit in members), key=lambda node: node.name)),
                max(limit for _node, limit in members),
                tuple(cidr for cidr in ranges if ipaddress.ip_network(cidr).version == options.family)
                if listening
                else (),
            )
        )
    return groups


def _refuse_listening(name: str, found: Mapping[Options, Any], ranges: Sequence[str]) -> None:
    if not ranges:
        raise TorConfigError(
            f"{name}: tor_config_neighbours: listen needs tor_config_listen_ranges, the subnets of its nodes"
        )
    for family in {options.family for options in found}:
        alike = [options for options in found if options.family == family]
        if len(alike) > 1:
            raise TorConfigError(
                f"{name}: listens for nodes whose sessions have {len(alike)} different sets of options (password, TTL security, BFD, AS inside or "
                "outside); a range has one set: use tor_config_neighbours: explicit, or make them alike"
            )
