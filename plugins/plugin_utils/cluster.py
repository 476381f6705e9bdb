# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges a whole inventory without touching a host: ``validate(ClusterInput) -> Report``, and the report in words.

Pure. The rules are in ``cluster_rules``, ``cluster_budgets``, ``cluster_versions`` and the ``*_rules`` of the parts; what they see is in
``cluster_model``, the declarations are in ``cluster_schema``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    address_rules,
    addresses,
    bgp_rules,
    calico,
    cilium_rules,
    cluster_budgets,
    cluster_rules,
    cluster_versions,
    density_rules,
    dual_stack_rules,
    endpoint_rules,
    etcd_events_rules,
    etcd_rules,
    firewall_rules,
    load_balancer_rules,
    node_local_dns_rules,
    policy_rules,
    proxy_rules,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    ClusterInput,
    Problem,
    Report,
    Rule,
    View,
    some,
)

RULES: Mapping[str, Rule] = {
    **cluster_rules.RULES,
    **address_rules.RULES,
    **cluster_budgets.RULES,
    **cluster_versions.RULES,
    **density_rules.RULES,
    **dual_stack_rules.RULES,
    **endpoint_rules.RULES,
    **etcd_events_rules.RULES,
    **etcd_rules.RULES,
    **firewall_rules.RULES,
    **node_local_dns_rules.RULES,
    **policy_rules.RULES,
    **proxy_rules.RULES,
    **load_balancer_rules.RULES,
    **bgp_rules.RULES,
    **cilium_rules.RULES,
}


def validate(given: ClusterInput, rules: Mapping[str, Rule] | None = None) -> Report:
    """Judge an inventory by all rules (or by ``rules``). Equal problems of several hosts become one."""
    view = View(given)
    merged: dict[Problem, list[str]] = {}
    for name, function in (RULES if rules is None else rules).items():
        for problem in function(view):
            merged.setdefault(replace(problem, hosts=(), rule=name), []).extend(problem.hosts)
    problems = [replace(problem, hosts=tuple(sorted(set(hosts)))) for problem, hosts in merged.items()]
    problems.sort(key=lambda problem: (problem.hosts != (), problem.variable, problem.hosts))
    return Report(
        tuple(problem for problem in problems if not problem.warning),
        tuple(problem for problem in problems if problem.warning),
        capacity(view),
    )


# --- what comes out


def capacity(view: View) -> dict[str, Any]:
    """What the inventory makes: nodes, pods, and how far the address plan reaches. Values that could not be computed are left out."""
    counts = view.pods_per_node()
    plan: dict[str, Any] = {
        "control_planes": len(view.group("control_plane")),
        "etcd_members": len(view.group("etcd")),
        "workers": len(view.group("workers")),
        "pods": sum(pods * nodes for pods, nodes in counts.items()),
        "pods_per_node": [{"pods": pods, "nodes": nodes} for pods, nodes in sorted(counts.items())],
        "namespaces": -(-sum(pods * nodes for pods, nodes in counts.items()) // cluster_budgets.PODS_PER_NAMESPACE),
    }
    plan |= {"planned_nodes": view.growth.planned, "surge_nodes": view.growth.surge}
    if counts:
        plan["pods_without_largest_node"] = plan["pods"] - max(counts)
    if counts and view.pods and view.common("cluster_network_plugin") == "calico":
        size = view.block_size(max(counts))
        pool = view.pods[0]
        blocks = addresses.blocks_in(pool, size if pool.family == 4 else 128 - (32 - size))
        per_node = calico.blocks_needed(max(counts), size)
        plan |= {
            "block_size": size,
            "blocks": blocks,
            "blocks_per_node": per_node,
            "blocks_planned": sum(
                nodes * calico.blocks_needed(pods, size) for pods, nodes in view.pods_per_planned_node().items()
            ),
            "largest_cluster_nodes": blocks // per_node,
        }
    return plan


def _where(problem: Problem, groups: Mapping[frozenset[str], str]) -> str:
    """The hosts of a problem in few words: the group that they are, when they are one."""
    parts = []
    if problem.hosts:
        name = groups.get(frozenset(problem.hosts)) if len(problem.hosts) > 1 else None
        parts.append(
            f"all {len(problem.hosts)} hosts of the group {name}"
            if name
            else f"host{'s' if len(problem.hosts) > 1 else ''} {some(problem.hosts)}"
        )
    if problem.source:
        parts.append(f"set in {problem.source}")
    return ", ".join(parts)


def render(problems: Sequence[Problem], groups: Mapping[str, Sequence[str]]) -> str:
    """Problems as a numbered list for people, without control characters."""
    # The last one wins: list the general groups first, so that a pool's own name is preferred.
    names = {
        frozenset(hosts): name
        for name, hosts in sorted(groups.items(), key=lambda item: (item[0] not in ("all", "ungrouped"), item[0]))
        if hosts
    }
    entries = []
    for number, problem in enumerate(problems, 1):
        lines = [f"{number:3}. {problem.variable}{f' = {problem.value}' if problem.value else ''}"]
        where = _where(problem, names)
        lines += [f"     where: {where}"] if where else []
        lines += [f"     why:   {problem.reason}", f"     fix:   {problem.fix}"]
        entries.append("\n".join(lines))
    text = "\n".join(entries)
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
