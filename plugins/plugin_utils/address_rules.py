# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about room for pods' addresses: for the nodes of the inventory, for those that it shall grow by, and for those that replace others. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, calico
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.addresses import Span
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import Problem, Rule, View, registry

RULES: dict[str, Rule] = {}
rule = registry(RULES)

# kube-controller-manager (pkg/controller/nodeipam/ipam/cidrset): a pod network and a node's part of it differ by at most 16 bits.
NODE_RANGE_BITS = 16


@rule
def growth(view: View) -> Iterator[Problem]:
    """A cluster cannot be planned for fewer nodes than it has."""
    planned = view.common("cluster_planned_nodes")
    if planned and int(planned) < view.growth.nodes:
        reason = f"is less than the {view.growth.nodes} nodes of the inventory"
        yield view.cluster_problem("cluster_planned_nodes", reason, f"use at least {view.growth.nodes}, or 0 for these")


@rule
def pods_have_addresses(view: View) -> Iterator[Problem]:
    """Blocks for every node's pods, and for twice as many: addresses of ended pods linger while new ones start."""
    if view.common("cluster_network_plugin") != "calico":
        return
    counts = view.pods_per_planned_node()
    if not counts or not view.pods:
        return
    size = view.block_size(max(counts))
    for pool in view.pods:
        block = size if pool.family == 4 else 128 - (32 - size)
        have = addresses.blocks_in(pool, block)
        addresses_in_block = 1 << (addresses.BITS[pool.family] - block)
        if not have:
            reason = f"{pool.text} is smaller than one block (/{block})"
            yield view.cluster_problem(
                "cluster_pod_cidrs",
                reason,
                "use a larger network, or a longer cluster_calico_block_size",
            )
            continue
        once = sum(nodes * max(1, -(-pods // addresses_in_block)) for pods, nodes in counts.items())
        twice = sum(nodes * calico.blocks_needed(pods, size) for pods, nodes in counts.items())
        if twice > have:
            nodes = sum(counts.values())
            sums = " + ".join(f"{number} x {pods}" for pods, number in sorted(counts.items()))
            need, words = (
                (once, "pods") if once > have else (twice, f"pods with {calico.ADDRESSES_PER_POD} addresses each")
            )
            reason = f"{pool.text} has {have} blocks of /{block}; {nodes} nodes{view.growth.words} ({sums} {words}) need {need}"
            fix = f"use /{addresses.BITS[pool.family] - ((twice - 1).bit_length() + addresses_in_block.bit_length() - 1)} or shorter, or fewer pods per node"
            yield view.cluster_problem("cluster_pod_cidrs", reason, fix, warning=once <= have)
            continue
        another = calico.blocks_needed(max(counts), size)
        if not view.growth.surge and twice + another > have:
            reason = (
                f"{pool.text} ends with {_which(view)}: they need {twice} of its {have} blocks of /{block}, one more node of {max(counts)} pods needs "
                f"{another}; none can be added, or replaced before the old one is gone"
            )
            length = addresses.BITS[pool.family] - (
                (twice + another - 1).bit_length() + addresses_in_block.bit_length() - 1
            )
            yield view.cluster_problem("cluster_pod_cidrs", reason, f"use /{length} or shorter", warning=True)


def _which(view: View) -> str:
    return f"the {view.growth.planned} nodes of cluster_planned_nodes" if view.growth.more else "these nodes"


@rule
def node_ranges(view: View) -> Iterator[Problem]:
    """Who hands out addresses: kube-controller-manager cuts a range for each node, with Calico and Cilium it must not; Cilium cuts its own."""
    variable, counts = "control_plane_controller_manager_extra_args", view.pods_per_planned_node()
    for host, like in view.alike(view.group("control_plane"), variable):
        given = view.value(host, variable) or {}
        if view.common("cluster_network_plugin") in ("calico", "cilium"):
            for name in sorted(str(name) for name in given):
                own = name.startswith("node-cidr-mask-size") or (
                    name == "allocate-node-cidrs" and str(given[name]).lower() == "true"
                )
                if own:
                    is_calico = view.common("cluster_network_plugin") == "calico"
                    words = "Calico hands out blocks of its own" if is_calico else "Cilium cuts its own"
                    reason = f"is about ranges that kube-controller-manager cuts for nodes; {words}"
                    fix = f"remove it{', see cluster_calico_block_size' if is_calico else ''}"
                    yield replace(view.about(host, f"{variable}.{name}", reason, fix, value=given[name]), hosts=like)
        elif counts and str(given.get("allocate-node-cidrs", "true")).lower() == "true":
            for pool in view.pods:
                yield from _node_range_problems(view, pool, max(counts), sum(counts.values()), given)
    if view.common("cluster_network_plugin") == "cilium" and counts:
        for pool in view.pods:
            yield from _node_range_problems(view, pool, max(counts), sum(counts.values()), {})


def _node_range_problems(view: View, pool: Span, pods: int, nodes: int, given: Mapping[str, Any]) -> Iterator[Problem]:
    bits, prefix = addresses.BITS[pool.family], pool.prefix_length or 0
    computed = addresses.node_range(calico.ADDRESSES_PER_POD * pods, pool.family)
    name = f"node-cidr-mask-size-ipv{pool.family}" if len(view.pods) > 1 else "node-cidr-mask-size"
    text = str(given.get(name, computed))
    mask = int(text) if re.fullmatch(r"[0-9]{1,3}", text) else -1
    if not prefix <= mask <= bits:
        reason = f"{pool.text} cannot be cut into a /{text} for each node ({pods} pods at two addresses each need a /{computed})"
        fix = f"use a pod network of /{max(0, computed - (nodes - 1).bit_length())} or shorter, or fewer pods per node"
        yield view.cluster_problem("cluster_pod_cidrs", reason, fix)
        return
    cutter = "Cilium" if view.common("cluster_network_plugin") == "cilium" else "kube-controller-manager"
    ranges, usable = 1 << (mask - prefix), addresses.for_pods(mask, pool.family)
    if mask - prefix > NODE_RANGE_BITS:
        reason = f"{pool.text} and a node's /{mask} are {mask - prefix} bits apart, {cutter} allows {NODE_RANGE_BITS}"
        yield view.cluster_problem("cluster_pod_cidrs", reason, f"use /{mask - NODE_RANGE_BITS} or longer")
    elif ranges < nodes:
        reason = (
            f"{pool.text} has {ranges} ranges of /{mask}, one for each node; there are {nodes} nodes{view.growth.words}"
        )
        yield view.cluster_problem("cluster_pod_cidrs", reason, f"use /{mask - (nodes - 1).bit_length()} or shorter")
    elif ranges == nodes and not view.growth.surge:
        reason = (
            f"{pool.text} ends with {_which(view)}: all its {ranges} ranges of /{mask} are taken; "
            "none can be added, or replaced before the old one is gone"
        )
        yield view.cluster_problem(
            "cluster_pod_cidrs", reason, f"use /{mask - nodes.bit_length()} or shorter", warning=True
        )
    if usable < calico.ADDRESSES_PER_POD * pods:
        once = usable < pods
        need = pods if once else calico.ADDRESSES_PER_POD * pods
        reason = (
            f"a node's /{mask} has {usable} addresses for pods, {pods} pods need {need}"
            f"{'' if once else ' (two each: addresses of ended pods linger)'}"
        )
        fix = f"use at most {usable // 2} pods per node, or a shorter {name}"
        yield view.cluster_problem("cluster_pods_per_node", reason, fix, value=pods, warning=not once)
