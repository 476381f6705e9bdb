# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of ``validate_cluster`` about two families: every node has an address of each, and a way to tell others where its pods are. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, bgp_rules
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.addresses import Span
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    Host,
    Problem,
    Rule,
    View,
    registry,
)

RULES: dict[str, Rule] = {}
rule = registry(RULES)

SECOND = "cluster_node_second_ip"


def _families(view: View) -> tuple[int, ...]:
    """The families of a plan that :func:`cluster_rules.families` lets pass; none while it is broken."""
    found = addresses.families(view.pods)
    return found if len(set(found)) == len(found) else ()


@rule
def second_addresses(view: View) -> Iterator[Problem]:
    """Pods of two families need nodes of two: the kubelet registers both, and Calico announces each family's blocks from its own address."""
    families = _families(view)
    second = {host.name: span for host, span in view.second_addresses}
    for host, span in view.second_addresses:
        if len(families) == 1:
            reason = f"is of no use: pods have IPv{families[0]} only (cluster_pod_cidrs)"
            yield view.about(host, SECOND, reason, "leave it empty, or add networks of the second family")
        elif addresses.is_special(span):
            fix = "give the address by which the other hosts reach this one"
            yield view.about(host, SECOND, f"is {addresses.is_special(span)}", fix)
    if len(families) != 2:
        return
    first = {host.name: span for host, span in view.node_addresses}
    for host in view.nodes:
        own = first.get(host.name)
        if own and own.family != families[0]:
            # kube-apiserver: the advertised address is of the first service network's family; the same holds for what nodes register.
            reason = f"is IPv{own.family}, the first family of cluster_pod_cidrs is IPv{families[0]}"
            yield view.about(host, "cluster_node_ip", reason, f"put the other one here and this one into {SECOND}")
        elif host.name not in second:
            reason = f"is empty: pods have an IPv{families[1]} address each, the node has none"
            yield view.about(host, SECOND, reason, f"give the host's IPv{families[1]} address", value="")
        elif second[host.name].family != families[1]:
            reason = f"is IPv{second[host.name].family}, the second family of cluster_pod_cidrs is IPv{families[1]}"
            yield view.about(host, SECOND, reason, f"give the host's IPv{families[1]} address")
    yield from _taken_twice(view, second)


def _taken_twice(view: View, second: dict[str, Span]) -> Iterator[Problem]:
    owners: dict[Span, str] = {replace(span, label=""): host.name for host, span in view.node_addresses}
    networks = [*view.pods, *view.services, *(span for _name, span in view.pools)]
    for name, span in sorted(second.items()):
        host, bare = view.hosts[name], replace(span, label="")
        if owners.setdefault(bare, name) != name:
            yield view.about(host, SECOND, f"is {owners[bare]}'s address too", "give each host its own address")
        over = next((network for network in networks if network.overlaps(span)), None)
        if over:
            yield view.about(host, SECOND, f"overlaps {over.label}: {over.text}", "give each its own range")


@rule
def routers_of_each_family(view: View) -> Iterator[Problem]:
    """A session carries the routes of its own family (RFC 4760 has more, Calico's BIRD 1.6 has a daemon for each)."""
    families = _families(view)
    if view.common("cluster_network_plugin") != "calico" or not families:
        return
    topology = bgp_rules.topology(view)
    reflecting = bgp_rules.reflectors(view) if topology == "route_reflectors" else []
    for host, like in view.alike(view.nodes, "cluster_bgp_peers", "cluster_node_ip", SECOND):
        if topology == "tor" or host.name in reflecting:
            for problem in _peer_families(view, host, families):
                yield replace(problem, hosts=like)


def _peer_families(view: View, host: Host, families: tuple[int, ...]) -> Iterator[Problem]:
    peers = view.value(host, "cluster_bgp_peers") or []
    found = {addresses.address(peer["address"]).family for peer in peers}
    for index, peer in enumerate(peers):
        family = addresses.address(peer["address"]).family
        if family not in families:
            reason = f"is IPv{family}, pods and nodes have IPv{families[0]} only"
            fix = "leave the session out, or add networks of this family"
            yield view.about(host, f"cluster_bgp_peers[{index}].address", reason, fix, value=peer["address"])
    announced = {span.family for _name, span in view.pools}
    if view.common("cluster_bgp_advertise_cluster_ips"):
        announced |= set(families)
    # Encapsulated, the routers need no blocks, only addresses of Services.
    needed = families if view.common("cluster_encapsulation") == "none" else sorted(announced & set(families))
    for family in needed:
        if found and family not in found:
            reason = f"has no router with an IPv{family} address: nobody would learn the node's IPv{family} routes"
            fix = f"add the routers' IPv{family} addresses, as entries of their own"
            yield view.about(host, "cluster_bgp_peers", reason, fix)
