# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of ``validate_cluster`` for LoadBalancer addresses: pools that can be had, and somebody who can announce them.

Pure. What MetalLB's speakers cannot do is taken from its own validation (internal/config/validation.go of v0.15.2: ``DiscardFRROnly``,
``validateBGPAdvPerPool``), so that it is refused before anything is installed and not by a webhook in the middle of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._label_selectors import problem_of, selected
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, cluster_schema
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.addresses import Span
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bgp_rules import topology
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    Host,
    Problem,
    Rule,
    View,
    registry,
    some,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.metallb import (
    HOST_NAME_LABEL,
    IMAGES,
    SPEAKING_MODES,
    has_speaker,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.node_registration import (
    EXCLUDE_LABEL,
    registration,
)

POOLS, MODE = "cluster_load_balancer_pools", "cluster_load_balancer_mode"
DOCKER_DEFAULT = "172.17.0.0/16"
SELECTORS = ("namespace_selectors", "service_selectors", "node_selectors")
# Lists in which MetalLB refuses an entry that stands twice.
DISTINCT = ("namespaces", *SELECTORS, "interfaces", "peers", "communities")
# Options of a pool that say how it is announced, and the modes in which somebody listens.
ANNOUNCING = {
    "node_selectors": SPEAKING_MODES,
    "interfaces": ("metallb_l2",),
    "peers": ("metallb_bgp",),
    "communities": ("metallb_bgp",),
    "local_preference": ("metallb_bgp",),
    "aggregation_length": ("metallb_bgp",),
    "aggregation_length_v6": ("metallb_bgp",),
}
# How the network plugin peers with the routers, by cluster_bgp_topology; in others its nodes have sessions with each other only, or none.
TOPOLOGIES_WITH_ROUTERS = ("tor", "route_reflectors")
# Options of a session in cluster_bgp_peers that MetalLB's speakers do not have.
NO_SPEAKER_OPTIONS = (
    "reachable_by",
    "ttl_security",
    "filters",
    "allowed_own_as",
    "max_restart_seconds",
    "bfd",
    "local_preference",
)

Pool = Mapping[str, Any]
RULES: dict[str, Rule] = {}
rule = registry(RULES)


# --- what several rules ask


def pools_of(view: View) -> list[tuple[str, Pool]]:
    """The pools with their paths."""
    return [(f"{POOLS}[{index}]", pool) for index, pool in enumerate(view.common(POOLS) or ())]


def spans_of(pool: Pool) -> list[Span]:
    """A pool's networks and ranges."""
    return [addresses.network_or_range(text) for text in pool["addresses"]]


def labels_of(view: View, host: Host) -> dict[str, str]:
    """The labels that a host's node will have, as far as the inventory says."""
    names = ("cluster_rack", "cluster_node_labels", "cluster_node_taints")
    workers = {worker.name for worker in view.group("workers")}
    found = registration({name: view.value(host, name) for name in names}, host.name in workers, calico=False)
    labels: dict[str, str] = found["labels"]
    return {HOST_NAME_LABEL: host.name, "kubernetes.io/os": "linux", **labels}


def announcers(view: View, pool: Pool, mode: str) -> list[Host]:
    """The nodes that announce a pool."""
    labels = {host.name: labels_of(view, host) for host in view.nodes}
    able = [host for host in view.nodes if EXCLUDE_LABEL not in labels[host.name]]
    if mode not in SPEAKING_MODES:
        return able
    return [
        host
        for host in able
        if has_speaker(view.value(host, "cluster_node_taints"))
        and selected(pool.get("node_selectors"), labels[host.name])
    ]


def peers_of(view: View, host: Host) -> list[Mapping[str, Any]]:
    """The routers of a host."""
    return list(view.value(host, "cluster_bgp_peers") or ())


def plugin_peers_with_routers(view: View) -> bool:
    """Does the network plugin have BGP sessions with the hosts' routers?"""
    if view.common("cluster_network_plugin") == "none":
        return False
    return topology(view) in TOPOLOGIES_WITH_ROUTERS and any(peers_of(view, host) for host in view.nodes)


# --- the pools themselves


@rule
def load_balancer(view: View) -> Iterator[Problem]:
    """Pools with names of their own, addresses that a Service can have, and a mode that uses them."""
    pools, mode = view.common(POOLS), view.common(MODE)
    if pools is None or mode is None:
        return
    for name, count in Counter(pool["name"] for pool in pools).items():
        if count > 1:
            yield view.cluster_problem(POOLS, f"has {count} pools with the name {name}", "give each its own name")
    if mode == "calico_bgp" and view.common("cluster_network_plugin") == "none" and pools:
        yield view.cluster_problem(MODE, "lets Calico announce, cluster_network_plugin installs none", "use none")
    if mode in SPEAKING_MODES and view.common("cluster_network_plugin") == "none" and pools:
        reason = "installs MetalLB after the pods' network, which cluster_network_plugin: none leaves to you: a run has none to wait for"
        yield view.cluster_problem(MODE, reason, "use none, and install MetalLB with your network plugin")
    if mode == "none" and pools:
        yield view.cluster_problem(
            POOLS,
            "is not used, cluster_load_balancer_mode is none",
            "remove the pools or choose a mode",
            warning=True,
        )
    cluster_families = set(addresses.families(view.services))
    for name, span in view.pools:
        if cluster_families and span.family not in cluster_families:
            yield view.cluster_problem(
                POOLS,
                f"pool {name} has IPv{span.family} addresses, no Service of this cluster can use them",
                "remove them, or add a network of that family for Services and pods",
            )


@rule
def pool_addresses(view: View) -> Iterator[Problem]:
    """Addresses that can be a Service's at all."""
    docker = addresses.network(DOCKER_DEFAULT)
    for path, pool in pools_of(view):
        if not pool["addresses"]:
            yield view.cluster_problem(f"{path}.addresses", "is empty", "give the pool a network or a range", value=[])
            continue
        spans = spans_of(pool)
        for span in spans:
            ends = (replace(span, last=span.first), replace(span, first=span.last))
            special = next((words for end in ends if (words := addresses.is_special(end))), "")
            if special:
                reason = f"pool {pool['name']}: {span.text} has {special}"
                yield view.cluster_problem(f"{path}.addresses", reason, "use unicast addresses", value=span.text)
            if span.overlaps(docker):
                reason = f"pool {pool['name']}: {span.text} overlaps {DOCKER_DEFAULT}, the default of Docker's bridge"
                fix = "use another range, or make sure that no machine around runs Docker"
                yield view.cluster_problem(f"{path}.addresses", reason, fix, value=span.text, warning=True)
        if pool.get("avoid_buggy_addresses", True) is not False and not any(map(_usable, spans)):
            reason = f"pool {pool['name']} has no address that does not end with .0 or .255"
            fix = "use a larger range, or say avoid_buggy_addresses: false"
            yield view.cluster_problem(f"{path}.addresses", reason, fix, value=pool["addresses"])


def _usable(span: Span) -> bool:
    """Is there an address left without those that end with .0 and .255?"""
    return (
        span.family == 6 or span.size > 2 or any(number & 0xFF not in (0, 0xFF) for number in (span.first, span.last))
    )


@rule
def pool_options(view: View) -> Iterator[Problem]:
    """What MetalLB refuses, and what nobody would read in the mode."""
    mode = view.common(MODE)
    for path, pool in pools_of(view):
        for option in DISTINCT:
            entries = [cluster_schema.shown("", entry) for entry in pool.get(option) or ()]
            if len(set(entries)) != len(entries):
                yield view.cluster_problem(
                    f"{path}.{option}", "has an entry twice", "keep one of them", value=pool[option]
                )
        for option in SELECTORS:
            for index, selector in enumerate(pool.get(option) or ()):
                reason = problem_of(selector)
                if reason:
                    fix = "write {match_labels: {key: value}}, or {match_expressions: [{key, operator, values}]}"
                    yield view.cluster_problem(f"{path}.{option}[{index}]", reason, fix, value=selector)
        for option, modes in ANNOUNCING.items():
            if pool.get(option) is None or mode is None or mode in modes:
                continue
            why = {
                "calico_bgp": "Calico announces a pool as a whole, from every node, with the sessions' own attributes",
                "metallb_l2": "an address is answered for by ARP and NDP, there is no route to carry it",
                "metallb_bgp": "a route is announced to routers, not on an interface",
                "none": "nobody announces",
            }.get(mode, f"the mode {mode} does not know it")
            fix = f"remove it, or use cluster_load_balancer_mode: {' or '.join(modes)}"
            reason = f"pool {pool['name']}: has no effect in the mode {mode}: {why}"
            yield view.cluster_problem(f"{path}.{option}", reason, fix, value=pool[option])


# --- who announces


@rule
def pools_are_announced(view: View) -> Iterator[Problem]:
    """A pool from which Services get addresses that nobody announces is worse than none."""
    mode = view.common(MODE)
    if mode in (None, "none") or not view.nodes:
        return
    for path, pool in pools_of(view):
        if announcers(view, pool, mode):
            continue
        if mode in SPEAKING_MODES and pool.get("node_selectors"):
            reason = f"pool {pool['name']}: no node that may announce has these labels"
            fix = "select nodes by cluster_node_labels, the rack's label or kubernetes.io/hostname; control planes with their taint never announce"
            yield view.cluster_problem(f"{path}.node_selectors", reason, fix, value=pool["node_selectors"])
        else:
            reason = f"pool {pool['name']} is announced by nobody: control planes with their taint and nodes with the label {EXCLUDE_LABEL} do not"
            reason += ", nor do nodes with other taints" if mode in SPEAKING_MODES else ""
            fix = "add workers, or set cluster_node_taints: [] for the control planes"
            yield view.cluster_problem(path, reason, fix, value=pool["name"])


@rule
def calico_announces(view: View) -> Iterator[Problem]:
    """Calico's sessions carry the pools; without a session with a router nobody outside learns of them."""
    if view.common(MODE) != "calico_bgp" or not view.common(POOLS) or view.common("cluster_network_plugin") != "calico":
        return
    if topology(view) == "none":
        reason = "lets Calico announce, and cluster_bgp_topology: none gives it no BGP"
        yield view.cluster_problem(MODE, reason, "use metallb_l2 or metallb_bgp, or another topology")
    elif not any(peers_of(view, host) for host in view.nodes):
        reason = "lets Calico announce, but no node has routers (cluster_bgp_peers): only the nodes learn of the pools"
        yield view.cluster_problem(MODE, reason, "give the nodes their routers, or use metallb_l2", warning=True)


@rule
def one_speaker_a_router(view: View) -> Iterator[Problem]:
    """A router takes one session from an address; the second speaker's open ends the first's (RFC 4271, 6.8)."""
    if view.common(MODE) == "metallb_bgp" and plugin_peers_with_routers(view):
        plugin = view.common("cluster_network_plugin")
        reason = (
            f"gives MetalLB's speakers sessions with the routers that {plugin}'s nodes have sessions with already, from the same addresses: "
            "a router keeps one of them, and they end each other"
        )
        fix = (
            f"use {plugin}_bgp, or a cluster_bgp_topology in which the network plugin has no routers (full_mesh, none)"
        )
        yield view.cluster_problem(MODE, reason, fix)


@rule
def speakers_have_routers(view: View) -> Iterator[Problem]:
    """A speaker without a router announces to nobody."""
    if view.common(MODE) != "metallb_bgp":
        return
    having = {host.name: {addresses.address(peer["address"]) for peer in peers_of(view, host)} for host in view.nodes}
    if not any(having.values()):
        yield view.cluster_problem(
            "cluster_bgp_peers", "is empty on all nodes, metallb_bgp needs routers", "give the nodes their routers"
        )
        return
    known = set().union(*having.values())
    for path, pool in pools_of(view):
        wanted = {addresses.address(text) for text in pool.get("peers") or ()}
        strangers = sorted(span.text for span in wanted - known)
        if strangers:
            reason = f"pool {pool['name']}: {some(strangers)} is no node's router (cluster_bgp_peers)"
            yield view.cluster_problem(f"{path}.peers", reason, "name routers of nodes", value=pool["peers"])
            continue
        nodes = announcers(view, pool, "metallb_bgp")
        without = [host.name for host in nodes if not having[host.name] & (wanted or known)]
        if nodes and len(without) == len(nodes):
            reason = f"pool {pool['name']}: none of the nodes that announce it has {'one of these' if wanted else 'a'} router{'s' if wanted else ''}"
            yield view.cluster_problem(path, reason, "select other nodes, or other peers", value=pool["name"])
        elif without:
            reason = f"pool {pool['name']}: {some(without)} announce{'s' if len(without) == 1 else ''} it to no router"
            fix = "give them a router, or select the nodes (node_selectors)"
            yield view.cluster_problem(path, reason, fix, value=pool["name"], warning=True)


@rule
def speaker_can(view: View) -> Iterator[Problem]:
    """The speaker of the release set, and what MetalLB's own one has not."""
    mode, speaker, bfd = (
        view.common(name) for name in (MODE, "cluster_load_balancer_bgp_speaker", "cluster_load_balancer_bfd")
    )
    if mode is None or speaker is None:
        return
    release_set = view.common("cluster_release_set")
    images = view.input.images.get(release_set)
    missing = [name for name in IMAGES[speaker] if images is not None and name not in {*images, *IMAGES["native"]}]
    if missing and mode == "metallb_bgp":
        reason = f"needs the image {some(missing)}, which the release set {release_set} does not have"
        yield view.cluster_problem("cluster_load_balancer_bgp_speaker", reason, "use native, which needs none")
    if bfd and (mode != "metallb_bgp" or speaker != "frr"):
        reason = (
            "is not used in the mode " + mode
            if mode != "metallb_bgp"
            else "needs the speaker frr: MetalLB's native one has no BFD"
        )
        fix = "remove it, or use cluster_load_balancer_mode: metallb_bgp with cluster_load_balancer_bgp_speaker: frr"
        yield view.cluster_problem("cluster_load_balancer_bfd", reason, fix)
    if mode == "metallb_bgp":
        yield from _session_options(view)
    if mode == "metallb_bgp" and speaker == "native":
        yield from _native_speaker(view)


def _session_options(view: View) -> Iterator[Problem]:
    for host, like in view.alike(view.nodes, "cluster_bgp_peers"):
        for index, peer in enumerate(peers_of(view, host)):
            for option in NO_SPEAKER_OPTIONS:
                if not peer.get(option) or peer[option] == "0":
                    continue
                more = {
                    "bfd": "; cluster_load_balancer_bfd is for all sessions",
                    "local_preference": "; a pool has its own",
                }
                reason = f"is an option that MetalLB's speakers do not have{more.get(option, '')}"
                problem = view.about(
                    host, f"cluster_bgp_peers[{index}].{option}", reason, "leave it out", value=peer[option]
                )
                yield replace(problem, hosts=like)


def _native_speaker(view: View) -> Iterator[Problem]:
    frr = "cluster_load_balancer_bgp_speaker: frr, where the release set has it"
    for path, pool in pools_of(view):
        for span in spans_of(pool):
            if span.family == 6:
                reason = f"pool {pool['name']}: the native speaker announces IPv4 only"
                yield view.cluster_problem(
                    f"{path}.addresses", reason, f"use metallb_l2 for it, or {frr}", value=span.text
                )
        large = [text for text in pool.get("communities") or () if text.startswith("large:")]
        if large:
            reason = f"pool {pool['name']}: the native speaker sends standard communities only"
            yield view.cluster_problem(f"{path}.communities", reason, f"use 64512:100, or {frr}", value=large)
    for host, like in view.alike(view.nodes, "cluster_bgp_peers"):
        for index, peer in enumerate(peers_of(view, host)):
            if addresses.address(peer["address"]).family == 6:
                reason = "is IPv6: the native speaker of MetalLB has IPv4 sessions only"
                path = f"cluster_bgp_peers[{index}].address"
                problem = view.about(
                    host, path, reason, f"give the router's IPv4 address, or {frr}", value=peer["address"]
                )
                yield replace(problem, hosts=like)


@rule
def pool_routes(view: View) -> Iterator[Problem]:
    """Attributes of a pool's routes that MetalLB refuses or no router hears."""
    if view.common(MODE) != "metallb_bgp":
        return
    for path, pool in pools_of(view):
        for option, family in (("aggregation_length", 4), ("aggregation_length_v6", 6)):
            length = pool.get(option)
            shortest = {
                span.text: min(int(text.rpartition("/")[2]) for text in addresses.networks_of(span))
                for span in spans_of(pool)
                if span.family == family
            }
            too_long = {
                text: bits for text, bits in shortest.items() if length and cluster_schema.as_int(length) < bits
            }
            for text, bits in too_long.items():
                reason = f"pool {pool['name']}: {text} is at most a /{bits}, the route would cover addresses that are not the pool's"
                yield view.cluster_problem(f"{path}.{option}", reason, f"use {bits} or longer", value=length)
        if pool.get("local_preference") is not None:
            yield from _local_preference(view, path, pool)


def _local_preference(view: View, path: str, pool: Pool) -> Iterator[Problem]:
    wanted = {addresses.address(text) for text in pool.get("peers") or ()}
    deaf = sorted(
        {
            peer["address"]
            for host in announcers(view, pool, "metallb_bgp")
            for peer in peers_of(view, host)
            if (not wanted or addresses.address(peer["address"]) in wanted)
            and cluster_schema.as_int(peer["as_number"]) != view.number(host, "cluster_bgp_as_number")
        }
    )
    if deaf:
        reason = (
            f"pool {pool['name']}: LOCAL_PREF is not sent to another AS (RFC 4271, 5.1.5), and {some(deaf)} is in one"
        )
        fix = "use communities that the router maps to a preference, or peers of the nodes' own AS"
        yield view.cluster_problem(f"{path}.local_preference", reason, fix, value=pool["local_preference"])


# --- layer 2


@rule
def layer_2_in_one_segment(view: View) -> Iterator[Problem]:
    """ARP and NDP end at a router: who answers for an address has to be in its segment."""
    if view.common(MODE) != "metallb_l2":
        return
    length = cluster_schema.as_int(view.common("cluster_load_balancer_l2_prefix_length") or 0)
    own = {host.name: span for host, span in view.node_addresses}
    for path, pool in pools_of(view):
        nodes = announcers(view, pool, "metallb_l2")
        if length:
            yield from _segment(view, path, pool, length, [own[host.name] for host in nodes if host.name in own])
            continue
        racks = sorted({str(view.value(host, "cluster_rack") or "") for host in nodes})
        if len(racks) > 1:
            reason = f"pool {pool['name']} is announced from {len(racks)} racks ({some(racks)}): an address moves only within one layer-2 segment"
            fix = (
                "give each rack a pool of its own with node_selectors, or use BGP; "
                "when the racks are one segment, say so with cluster_load_balancer_l2_prefix_length"
            )
            yield view.cluster_problem(path, reason, fix, value=pool["name"])


def _segment(view: View, path: str, pool: Pool, length: int, nodes: list[Span]) -> Iterator[Problem]:
    segments = {
        addresses.segment(node, length).text: addresses.segment(node, length)
        for node in nodes
        if length <= addresses.BITS[node.family]
    }
    if len(segments) > 1:
        reason = f"pool {pool['name']} is announced from {len(segments)} segments ({some(sorted(segments))})"
        fix = "select the nodes of one segment (node_selectors), or use BGP"
        yield view.cluster_problem(path, reason, fix, value=pool["name"])
        return
    for segment in segments.values():
        for span in spans_of(pool):
            if span.family != segment.family:
                continue
            if not segment.contains(span):
                reason = f"pool {pool['name']}: {span.text} is not in {segment.text}, the segment of the nodes that announce it"
                fix = "use addresses of the segment, or make sure that its router has an address of the pool's network there"
                yield view.cluster_problem(f"{path}.addresses", reason, fix, value=span.text, warning=True)
                continue
            buggy = pool.get("avoid_buggy_addresses", True) is not False
            for number, what in ((segment.first, "network"), (segment.last, "broadcast")):
                skipped = buggy and number & 0xFF in (0, 0xFF)
                if span.family == 4 and span.first <= number <= span.last and segment.size > 2 and not skipped:
                    reason = f"pool {pool['name']}: {span.text} has the {what} address of {segment.text}"
                    yield view.cluster_problem(f"{path}.addresses", reason, "leave it out", value=span.text)
