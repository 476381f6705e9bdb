# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of ``validate_cluster`` about an API address that control planes announce over BGP (``cluster_api_endpoint_mode: bgp_anycast``). Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, cluster_schema, tor_config
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.addresses import Span
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    Host,
    Problem,
    Rule,
    View,
    registry,
    some,
)

RULES: dict[str, Rule] = {}
rule = registry(RULES)

API_PORT = 6443
ALSO = "cluster_api_endpoint_also"
ADDRESS, SOURCE, PEERS = (
    "cluster_api_endpoint_address",
    "cluster_api_endpoint_bgp_source",
    "cluster_api_endpoint_bgp_peers",
)
# The subnets that hosts of one network usually have; the true ones are asked of the machines by preflight.
USUAL_SUBNET = {4: 24, 6: 64}


def _announces(view: View) -> bool:
    return bool(view.common("cluster_api_endpoint_mode") == "bgp_anycast")


@rule
def announced_address(view: View) -> Iterator[Problem]:
    """The address is a route to several machines, so it is in nobody's subnet; and the API servers themselves answer there."""
    if not _announces(view):
        return
    span, text = view.endpoint(), view.common(ADDRESS)
    port = view.common("cluster_api_endpoint_port")
    if port is not None and cluster_schema.as_int(port) != API_PORT:
        yield view.cluster_problem(
            "cluster_api_endpoint_port",
            "is not the port of kube-apiserver, which answers at an announced address itself: there is no proxy",
            f"use {API_PORT}, or leave it out",
        )
    if span is None:
        if text:
            reason = "is a name; what is announced is an address"
            yield view.cluster_problem(
                ADDRESS, reason, "give the address, and the name in cluster_api_certificate_sans"
            )
        return
    fix = "take an address that no subnet of the site has, as for a router's loopback"
    for host in view.union(("routers",)):
        for name in ("tor_config_networks", "tor_config_listen_ranges"):
            for cidr in view.value(host, name) or ():
                if addresses.network(cidr).overlaps(span):
                    reason = f"is in {cidr}, a subnet of {host.name} ({name}): its neighbours ask for it by ARP, and several machines answer"
                    yield view.cluster_problem(ADDRESS, reason, fix)
                    return
    for host, own in view.node_addresses:
        if own.family != span.family:
            continue
        subnet = ipaddress.ip_network(f"{own.text}/{USUAL_SUBNET[own.family]}", strict=False)
        if addresses.network(str(subnet)).overlaps(span):
            reason = f"is next to {host.name} ({own.text}); in that host's subnet it would be asked for by ARP and not routed"
            yield view.cluster_problem(ADDRESS, reason, fix, warning=True)
            return


@rule
def announcing_sessions(view: View) -> Iterator[Problem]:
    """Each control plane needs a router, and a session that the router can tell from the others of the host."""
    if not _announces(view):
        return
    span = view.endpoint()
    known = view.common("cluster_bgp_passwords") or {}
    for host in view.group("control_plane"):
        peers = view.value(host, PEERS)
        if peers is None:
            continue
        if not peers:
            reason = "is empty: this control plane has nobody to announce the API's address to"
            yield view.about(host, PEERS, reason, "give it the routers of its rack (or cluster_bgp_peers)", value=[])
        for index, peer in enumerate(peers):
            for key, reason, fix in _peer_problems(peer, span, known):
                yield view.about(host, f"{PEERS}[{index}].{key}", reason, fix, value=peer.get(key))
        yield from _source_problems(view, host)
    yield from _two_watchers(view)


def _peer_problems(
    peer: Mapping[str, Any], span: Span | None, known: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    if span and addresses.address(peer["address"]).family != span.family:
        yield (
            "address",
            f"is of another family than the API's address {span.text}",
            "give the router's address of that family",
        )
    if peer.get("reachable_by"):
        yield (
            "reachable_by",
            "names a gateway; the announcing session is with a neighbour on the link, or its route would lead past the router",
            "name the router of the rack itself",
        )
    if cluster_schema.as_int(peer.get("ttl_security") or 0) > 1:
        yield "ttl_security", "is more than the one hop to a neighbour on the link, which the router has to be", "use 1"
    if peer.get("password") and peer["password"] not in known:
        yield "password", "is no name in cluster_bgp_passwords", "add it there; this field holds the name"


def _source_problems(view: View, host: Host) -> Iterator[Problem]:
    source, own = view.value(host, SOURCE), view.value(host, "cluster_node_ip")
    if source is None or own is None:
        return
    routers = {addresses.address(peer["address"]).text for peer in view.value(host, PEERS) or ()}
    others = {
        addresses.address(session.peer["address"]).text
        for session in tor_config.node_sessions(view)
        if session.host.name == host.name
    }
    fix = "give it an address of its own in the subnet of cluster_node_ip, one for each control plane"
    if not source:
        both = sorted(routers & others)
        if both:
            reason = (
                f"is empty, and this host has another session with {some(both)}: a router tells its neighbours apart by address, "
                "so the two would end each other"
            )
            yield view.about(host, SOURCE, reason, fix, value="")
        return
    span = addresses.address(source)
    if span.family != addresses.address(own).family:
        yield view.about(host, SOURCE, f"is of another family than cluster_node_ip ({own})", fix)
    for other, address in view.node_addresses:
        if (address.family, address.first) == (span.family, span.first):
            words = (
                "this host's own address, which needs not be named" if other is host else f"{other.name}'s own address"
            )
            yield view.about(
                host, SOURCE, f"is {words}", "leave it out" if other is host and not routers & others else fix
            )
    for other in view.group("control_plane"):
        if other.name < host.name and view.value(other, SOURCE) == source:
            yield view.about(host, SOURCE, f"is {other.name}'s as well; both hosts would answer for it", fix)
    endpoint = view.endpoint()
    if endpoint and (endpoint.family, endpoint.first) == (span.family, span.first):
        yield view.about(host, SOURCE, "is the API's address itself, which a control plane has only at times", fix)
    if source in routers:
        yield view.about(host, SOURCE, "is the router's address", fix)


@rule
def no_second_endpoint(view: View) -> Iterator[Problem]:
    """Endpoints beside the wanted one are of a move that is under way, which finds them on the nodes."""
    if view.common(ALSO):
        reason = "names endpoints beside the wanted one: the playbook api_endpoint_move sets it, from what it finds, while an address moves"
        yield view.cluster_problem(ALSO, reason, "leave it out", value=view.common(ALSO))


def _two_watchers(view: View) -> Iterator[Problem]:
    """MetalLB's FRR and our BIRD would both want BFD's port."""
    if (
        view.common("cluster_load_balancer_mode") == "metallb_bgp"
        and view.common("cluster_load_balancer_bfd")
        and view.common("cluster_api_endpoint_bfd")
    ):
        yield view.cluster_problem(
            "cluster_api_endpoint_bfd",
            "is on, and so is BFD in MetalLB's speakers (cluster_load_balancer_bfd): a host's UDP port 3784 has one owner",
            "set cluster_api_endpoint_bfd: false, and shorter timers on the routers",
        )
