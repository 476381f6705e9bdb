# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of ``validate_cluster`` about BGP, encapsulation and Calico's pools. Pure.

What a release of Calico can do is from the definitions in its ``calico.yaml`` and the templates of confd (3.28.5, 3.32.1).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, bgp, cluster_schema
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    Host,
    Problem,
    Rule,
    View,
    registry,
    some,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import suggestion

RULES: dict[str, Rule] = {}
rule = registry(RULES)

# TCP_MD5SIG_MAXKEYLEN (include/uapi/linux/tcp.h). The characters are those that neither BIRD's nor FRR's configuration takes apart.
LONGEST_PASSWORD = 80
PASSWORD = re.compile(r"[!-~]+")
PASSWORD_SIGNS = '"\\#!'
# A key of a Secret (Kubernetes, IsConfigMapKey).
PASSWORD_NAME = re.compile(r"[-._a-zA-Z0-9]{1,253}")
COMMUNITY = re.compile(r"(\d+):(\d+)(?::(\d+))?")
NFTABLES_SINCE = (3, 29)


def topology(view: View) -> str:
    """The topology that the inventory makes, as far as it can be told."""
    any_peers = any(view.value(host, "cluster_bgp_peers") for host in view.nodes)
    return bgp.topology_of(
        view.common("cluster_bgp_topology") or bgp.AUTO, any_peers, view.common("cluster_encapsulation") or "none"
    )


def reflectors(view: View) -> list[str]:
    """The nodes that would reflect."""
    planes = {host.name for host in view.group("control_plane")}
    return bgp.reflectors(
        bgp.Speaker(
            host.name,
            str(view.value(host, "cluster_rack") or ""),
            host.name in planes,
            view.value(host, "cluster_bgp_route_reflector"),
        )
        for host in view.nodes
    )


def _calico(view: View) -> bool:
    return bool(view.common("cluster_network_plugin") == "calico")


@rule
def bgp_topology(view: View) -> Iterator[Problem]:
    """Each topology needs something: routers, few enough nodes, reflectors and one AS, or encapsulation."""
    name = "cluster_bgp_topology"
    if not _calico(view):
        return
    wanted = topology(view)
    peers = [host for host in view.nodes if view.value(host, "cluster_bgp_peers")]
    if wanted == "tor" and not peers and view.nodes:
        yield view.cluster_problem(
            name, "needs routers, no node has cluster_bgp_peers", "give each rack its routers, or use full_mesh"
        )
    if wanted in ("full_mesh", "none") and peers and view.common("cluster_load_balancer_mode") != "metallb_bgp":
        reason = f"leaves the routers of {some([host.name for host in peers])} (cluster_bgp_peers) without a session"
        yield view.cluster_problem(name, reason, "use tor or route_reflectors, or take the peers away")
    if wanted == "full_mesh" and len(view.nodes) > bgp.LARGEST_MESH:
        count = len(view.nodes)
        reason = f"is a mesh of {count} nodes, {count * (count - 1) // 2} sessions; beyond {bgp.LARGEST_MESH} nodes every change costs each node too much"
        yield view.cluster_problem(name, reason, "use tor or route_reflectors", value=wanted)
    if wanted == "none" and view.common("cluster_encapsulation") == "none":
        yield view.cluster_problem(
            name,
            "without BGP and without encapsulation no node has a route to another's pods",
            "set cluster_encapsulation: vxlan, or another topology",
        )
    if wanted == "route_reflectors":
        yield from _reflector_problems(view)


def _reflector_problems(view: View) -> Iterator[Problem]:
    found = reflectors(view)
    if len(found) < bgp.LEAST_REFLECTORS:
        reason = f"are {len(found)} ({some(found)}): with it every node loses every route"
        fix = "name two, in two racks, or none, so that they are elected"
        yield Problem("cluster_bgp_route_reflector", reason, fix)
    racks = {str(view.value(host, "cluster_rack") or "") for host in view.nodes}
    chosen = {str(view.value(view.hosts[name], "cluster_rack") or "") for name in found}
    if len(found) >= bgp.LEAST_REFLECTORS and len(chosen) == 1 < len(racks):
        reason = f"are all in the rack {some(sorted(chosen))} ({some(found)}); with it every node loses every route"
        yield Problem("cluster_bgp_route_reflector", reason, "name one of another rack", warning=True)
    numbers = Counter(view.number(host, "cluster_bgp_as_number") for host in view.nodes)
    if len(numbers) > 1:
        words = ", ".join(str(number) for number, _count in numbers.most_common(3))
        reason = f"has {len(numbers)} values ({words}): a reflector reflects inside one AS (RFC 4456)"
        yield Problem("cluster_bgp_as_number", reason, "give all nodes one AS")


@rule
def bgp_sessions(view: View) -> Iterator[Problem]:
    """Options of sessions that both ends can have."""
    known = view.common("cluster_bgp_passwords") or {}
    filters = {entry["name"] for entry in view.common("cluster_bgp_filters") or ()}
    speaks = _calico(view) and topology(view) in ("tor", "route_reflectors")
    for host, like in view.alike(view.nodes, "cluster_bgp_peers"):
        for index, peer in enumerate(view.value(host, "cluster_bgp_peers") or ()):
            for key, reason, fix in _session_problems(peer, known, filters, speaks):
                found = view.about(host, f"cluster_bgp_peers[{index}].{key}", reason, fix, value=peer.get(key))
                yield replace(found, hosts=like)
    mesh = view.common("cluster_bgp_mesh_password")
    if mesh and mesh not in known:
        yield view.cluster_problem(
            "cluster_bgp_mesh_password", "is no name in cluster_bgp_passwords", "add it there, or correct the name"
        )
    for name, value in known.items():
        for reason in _password_problems(name, value):
            fix = f"use {LONGEST_PASSWORD} or fewer letters, digits and signs without spaces"
            yield Problem(f"cluster_bgp_passwords.{str(name)[:80]}", reason, fix, cluster_schema.HIDDEN)
    yield from _routers_agree(view)


def _session_problems(
    peer: Mapping[str, Any], known: Mapping[str, Any], filters: set[str], speaks: bool
) -> Iterator[tuple[str, str, str]]:
    if peer.get("password") and peer["password"] not in known:
        yield (
            "password",
            "is no name in cluster_bgp_passwords",
            "add it there; this field holds the name, never the password",
        )
    for name in peer.get("filters") or ():
        if name not in filters:
            fix = suggestion(name, filters) or "add it to cluster_bgp_filters"
            yield "filters", f"names the filter {name}, which cluster_bgp_filters does not have", fix
    gateway = peer.get("reachable_by")
    if gateway and addresses.address(gateway).family != addresses.address(peer["address"]).family:
        yield "reachable_by", "is of another family than the router's address", "give the gateway in the same family"
    if speaks and peer.get("bfd"):
        fix = "leave it out; a router that dies is seen after the hold time, shorter timers are set on the router (tor_config_hold_seconds)"
        yield "bfd", "Calico's BIRD is built and configured without BFD, the session would never be up", fix
    if speaks and cluster_schema.as_int(peer.get("local_preference") or 0):
        fix = "leave it out; prefer routers by their own configuration (tor_config_local_preference), or by communities"
        yield "local_preference", "Calico's peers have no local preference", fix


def _password_problems(name: Any, value: Any) -> Iterator[str]:
    if not isinstance(name, str) or not PASSWORD_NAME.fullmatch(name):
        yield "has a name that is no key of a Secret"
    if not isinstance(value, str) or not value:
        yield "is not a text"
    elif len(value) > LONGEST_PASSWORD:
        yield f"has {len(value)} characters, TCP MD5 takes {LONGEST_PASSWORD}"
    elif not PASSWORD.fullmatch(value) or any(sign in value for sign in PASSWORD_SIGNS):
        yield 'has spaces, other than ASCII, or one of " \\ # !, which configurations of routers take apart'


def _routers_agree(view: View) -> Iterator[Problem]:
    """A router has one AS, whoever speaks with it."""
    numbers: dict[str, dict[int, list[str]]] = {}
    for host in view.nodes:
        for peer in view.value(host, "cluster_bgp_peers") or ():
            users = numbers.setdefault(addresses.address(peer["address"]).text, {})
            users.setdefault(cluster_schema.as_int(peer["as_number"]), []).append(host.name)
    for address, users in sorted(numbers.items()):
        if len(users) > 1:
            words = ", ".join(f"{number} for {some(names)}" for number, names in sorted(users.items()))
            yield Problem("cluster_bgp_peers", f"the router {address} has several AS numbers: {words}", "give it one")


@rule
def bgp_announcements(view: View) -> Iterator[Problem]:
    """Filters, communities and announced ranges that the objects would be refused for, or that BIRD would not read."""
    for name in ("cluster_bgp_filters", "cluster_bgp_communities", "cluster_pod_pools"):
        for entry, count in Counter(one["name"] for one in view.common(name) or ()).items():
            if count > 1:
                yield view.cluster_problem(name, f"has {count} entries with the name {entry}", "keep one")
    yield from _filter_problems(view)
    names = {entry["name"] for entry in view.common("cluster_bgp_communities") or ()}
    for index, entry in enumerate(view.common("cluster_bgp_communities") or ()):
        if not _is_community(entry["value"]):
            yield view.cluster_problem(
                f"cluster_bgp_communities[{index}].value", "is no community", COMMUNITY_FIX, value=entry["value"]
            )
    for index, entry in enumerate(view.common("cluster_bgp_advertisements") or ()):
        for name in entry["communities"]:
            if name not in names and not _is_community(name):
                fix = suggestion(name, names) or f"add it to cluster_bgp_communities, or {COMMUNITY_FIX}"
                yield view.cluster_problem(
                    f"cluster_bgp_advertisements[{index}].communities",
                    f"has {name}, which is neither a name nor a community",
                    fix,
                    value=entry["communities"],
                )


def _filter_problems(view: View) -> Iterator[Problem]:
    for index, entry in enumerate(view.common("cluster_bgp_filters") or ()):
        for direction in ("import_rules", "export_rules"):
            for number, one in enumerate(entry.get(direction) or ()):
                if one.get("match", "in") != "in" and not one.get("cidr"):
                    yield view.cluster_problem(
                        f"cluster_bgp_filters[{index}].{direction}[{number}].cidr",
                        "is empty, and match compares with it",
                        "give the network",
                        value=one.get("cidr", ""),
                    )


COMMUNITY_FIX = "write number:number (16 bits each) or number:number:number (32 bits each)"


def _is_community(text: str) -> bool:
    found = COMMUNITY.fullmatch(text)
    if not found:
        return False
    numbers = [int(part) for part in found.groups() if part is not None]
    return all(number < 2 ** (16 if len(numbers) == 2 else 32) for number in numbers)


@rule
def encapsulation(view: View) -> Iterator[Problem]:
    """Which plugin has which, and where packets between racks are lost without one."""
    wanted, plugin = view.common("cluster_encapsulation"), view.common("cluster_network_plugin")
    if plugin == "calico" and wanted == "geneve":
        yield view.cluster_problem("cluster_encapsulation", "is Cilium's, Calico does not have it", "use vxlan")
    if plugin == "cilium" and wanted == "vxlan_cross_subnet":
        yield view.cluster_problem("cluster_encapsulation", "is Calico's, Cilium does not have it", "use none or vxlan")
    if plugin != "calico" or wanted != "none":
        return
    racks = sorted({str(view.value(host, "cluster_rack") or "") for host in view.nodes})
    peers = any(view.value(host, "cluster_bgp_peers") for host in view.nodes)
    if topology(view) in ("full_mesh", "route_reflectors") and len(racks) > 1 and not peers:
        reason = f"routes pods between {len(racks)} racks ({some(racks)}) whose routers do not know where pods are"
        fix = "use vxlan_cross_subnet, or give the routers sessions (cluster_bgp_peers); when the racks are one subnet, all is well"
        yield view.cluster_problem("cluster_encapsulation", reason, fix, warning=True)


@rule
def pod_pools(view: View) -> Iterator[Problem]:
    """Pools inside the pods' networks, without an address in common, one for every node and large enough for it."""
    pools = view.common("cluster_pod_pools") or []
    if not pools or not _calico(view):
        return
    networks = {pool["name"]: addresses.network(pool["cidr"], f"pool {pool['name']}") for pool in pools}
    for pool in pools:
        span = networks[pool["name"]]
        if view.pods and not any(one.contains(span) for one in view.pods):
            reason = f"pool {pool['name']}: {span.text} is not inside cluster_pod_cidrs, which kube-proxy and the router's filters go by"
            yield view.cluster_problem("cluster_pod_pools", reason, "take a part of it", value=pool["cidr"])
    for one, other in addresses.overlaps(list(networks.values())):
        reason = f"{one.label} and {other.label} have addresses in common"
        yield view.cluster_problem("cluster_pod_pools", reason, "give each its own range", value=other.text)
    families = set(addresses.families(view.pods))
    for host in view.nodes:
        usable = [pool for pool in pools if not pool.get("disabled") and selects(view, host, pool)]
        for family in sorted(families - {networks[pool["name"]].family for pool in usable}):
            reason = f"has no IPv{family} pool for this node (rack '{view.value(host, 'cluster_rack') or ''}'): its pods would get no address"
            yield view.about(host, "cluster_pod_pools", reason, "add a pool for its rack", value="")
    yield from _pool_sizes(view, pools, networks)


def selects(view: View, host: Host, pool: Mapping[str, Any]) -> bool:
    """Does a pool serve a node?"""
    racks, labels = pool.get("racks") or (), view.value(host, "cluster_node_labels") or {}
    return (not racks or view.value(host, "cluster_rack") in racks) and all(
        labels.get(key) == value for key, value in (pool.get("node_labels") or {}).items()
    )


def _pool_sizes(view: View, pools: list[Mapping[str, Any]], networks: Mapping[str, Any]) -> Iterator[Problem]:
    counts = view.pods_per_node()
    if not counts:
        return
    for pool in pools:
        span, size = networks[pool["name"]], view.block_size(max(counts))
        block = cluster_schema.as_int(pool.get("block_size") or 0) or (size if span.family == 4 else 96 + size)
        nodes = sum(1 for host in view.nodes if selects(view, host, pool))
        if not (span.prefix_length or 0) <= block <= addresses.BITS[span.family]:
            reason = f"pool {pool['name']}: {span.text} cannot be cut into blocks of /{block}"
            yield view.cluster_problem(
                "cluster_pod_pools", reason, "use a larger network or a longer block_size", value=pool["cidr"]
            )
        elif not pool.get("disabled") and addresses.blocks_in(span, block) < nodes:
            reason = f"pool {pool['name']}: {span.text} has {addresses.blocks_in(span, block)} blocks of /{block} for {nodes} nodes"
            yield view.cluster_problem("cluster_pod_pools", reason, "use a larger network", value=pool["cidr"])


@rule
def calico_data_plane(view: View) -> Iterator[Problem]:
    """What the release set's Calico can do."""
    wanted = view.common("cluster_calico_data_plane")
    if not _calico(view) or wanted in (None, "auto", "iptables"):
        return
    name = "cluster_calico_data_plane"
    if wanted == "ebpf":
        reason = "needs programs that are compiled with cgo and clang into calico-node, which the built images do not have, and takes kube-proxy's place"
        yield view.cluster_problem(name, reason, "use auto; for eBPF use cluster_network_plugin: cilium")
        return
    version = view.input.component_versions.get(view.common("cluster_release_set") or "", {}).get("calico", "")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers and numbers < NFTABLES_SINCE:
        reason = f"came with Calico 3.29, the release set has {version}: its rules are nftables' by way of iptables-nft"
        yield view.cluster_problem(name, reason, "use auto or iptables, or cluster_release_set: stable")
