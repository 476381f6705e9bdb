# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of ``validate_cluster`` about Cilium, and about a cluster without kube-proxy. Pure.

What Cilium can do is from the definitions and the documentation of 1.15.19 and 1.20.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, cilium
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bgp_rules import topology
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    Problem,
    Rule,
    View,
    registry,
    some,
)

RULES: dict[str, Rule] = {}
rule = registry(RULES)

MODE, POOLS, PEERS = "cluster_load_balancer_mode", "cluster_load_balancer_pools", "cluster_bgp_peers"
# What a session of Cilium's cannot have, with the value that means nothing.
FOREIGN_PEER_OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "port": (179, "179"),
    "source_address": ("node_ip", "none"),
    "reachable_by": ("",),
    "keep_original_next_hop": (False,),
    "ttl_security": (0, "0"),
    "max_restart_seconds": (0, "0"),
    "filters": ([],),
    "allowed_own_as": (0, "0"),
    "bfd": (False,),
    "local_preference": (0, "0"),
}
# What a pool of Cilium's cannot have.
FOREIGN_POOL_OPTIONS = ("priority", "namespaces", "namespace_selectors", "service_selectors")


def _cilium(view: View) -> bool:
    return bool(view.common("cluster_network_plugin") == "cilium")


@rule
def services_have_a_carrier(view: View) -> Iterator[Problem]:
    """Without kube-proxy somebody else has to bring packets for a Service to its pods."""
    if view.common("cluster_kube_proxy_mode") == "none" and view.common("cluster_network_plugin") in ("calico", "none"):
        yield view.cluster_problem(
            "cluster_kube_proxy_mode",
            "leaves Services to the network plugin, and only Cilium carries them here",
            "use nftables, or cluster_network_plugin: cilium",
        )


@rule
def cilium_values_are_free(view: View) -> Iterator[Problem]:
    """Two truths about one thing: the variable's, and the chart's value that follows from it."""
    values = view.common("cluster_cilium_values") or {}
    for path, variable in cilium.owned(values).items():
        reason = f"follows from {variable}, which other parts go by as well"
        yield view.cluster_problem(f"cluster_cilium_values.{path}", reason, f"set {variable}", value="")


@rule
def cilium_routes(view: View) -> Iterator[Problem]:
    """Every node's range has to be known to those who send to it: routers, or the nodes of one segment, or nobody needs to (encapsulation)."""
    if not _cilium(view):
        return
    wanted = topology(view)
    if wanted == "route_reflectors" or (wanted == "full_mesh" and view.common("cluster_bgp_topology") == "full_mesh"):
        reason = "has sessions between nodes: Cilium announces and learns nothing, so they would carry nothing"
        yield view.cluster_problem(
            "cluster_bgp_topology", reason, "use tor or none; auto is tor where nodes have routers"
        )
        return
    if view.common("cluster_wireguard"):
        fix = "leave it out; Cilium's own encryption can be asked for with cluster_cilium_values"
        yield view.cluster_problem("cluster_wireguard", "is made for Calico, Cilium is not given it", fix)
    peers = {host.name: bool(view.value(host, PEERS)) for host in view.nodes}
    native = view.common("cluster_encapsulation") == "none"
    if wanted == "tor" and native:
        for host in view.nodes:
            if any(peers.values()) and not peers[host.name]:
                reason = "is empty while other nodes have routers: nobody learns where this node's pods are"
                yield view.about(host, PEERS, reason, "give the routers of its rack")
    racks = sorted({str(view.value(host, "cluster_rack") or "") for host in view.nodes})
    if native and wanted != "tor" and len(racks) > 1:
        reason = f"routes pods between {len(racks)} racks ({some(racks)}), and no router knows where pods are"
        fix = "use vxlan, or give the nodes their routers (cluster_bgp_peers)"
        yield view.cluster_problem("cluster_encapsulation", reason, fix)


@rule
def cilium_sessions(view: View) -> Iterator[Problem]:
    """Options of a session that Cilium has not, and families that it can speak."""
    if not _cilium(view) or topology(view) != "tor":
        return
    for host, like in view.alike(view.nodes, PEERS):
        for index, peer in enumerate(view.value(host, PEERS) or ()):
            for key, nothing in FOREIGN_PEER_OPTIONS.items():
                if key in peer and peer[key] not in nothing:
                    reason = "is nothing that a session of Cilium's can have"
                    found = view.about(host, f"{PEERS}[{index}].{key}", reason, "leave it out", value=peer[key])
                    yield replace(found, hosts=like)
    for name in ("cluster_bgp_advertisements", "cluster_bgp_external_cidrs"):
        if view.common(name):
            yield view.cluster_problem(
                name, "is Calico's, Cilium announces ranges and LoadBalancer addresses only", "leave it out"
            )
    if view.common("cluster_bgp_advertise_cluster_ips"):
        yield view.cluster_problem(
            "cluster_bgp_advertise_cluster_ips", "is Calico's, Cilium announces no ClusterIPs here", "leave it out"
        )
    if view.pods and 4 not in addresses.families(view.pods):
        reason = "has IPv6 only: a BGP speaker of Cilium's takes its router identifier from the node's IPv4 address"
        yield view.cluster_problem("cluster_pod_cidrs", reason, "use dual stack, or encapsulation without BGP")


@rule
def cilium_announces(view: View) -> Iterator[Problem]:
    """Who announces LoadBalancer addresses is who has the sessions."""
    mode, pools, plugin = view.common(MODE), view.common(POOLS) or (), view.common("cluster_network_plugin")
    if mode == "calico_bgp" and plugin == "cilium" and pools:
        yield view.cluster_problem(
            MODE, "lets Calico announce, and the network plugin is Cilium", "use cilium_bgp, metallb_l2 or none"
        )
    if mode != "cilium_bgp":
        return
    if plugin != "cilium":
        yield view.cluster_problem(
            MODE,
            f"lets Cilium announce, and cluster_network_plugin is {plugin}",
            "use cluster_network_plugin: cilium, or another mode",
        )
        return
    if pools and topology(view) != "tor":
        reason = "lets Cilium announce, and no node has a session with a router"
        yield view.cluster_problem(MODE, reason, "give the nodes their routers (cluster_bgp_peers), or use metallb_l2")
    for index, pool in enumerate(pools):
        for key in FOREIGN_POOL_OPTIONS:
            if pool.get(key):
                reason = f"pool {pool['name']}: Cilium's pools do not have it here"
                yield view.cluster_problem(
                    f"{POOLS}[{index}].{key}", reason, "leave it out, or use metallb_l2", value=pool[key]
                )
