"""Room for pods' addresses; the rules' findings and the brute force against them are in test_cluster.py, with those of all rules."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import address_rules, cluster
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    ClusterInput,
    Growth,
    Host,
    View,
)


def view(nodes: dict[str, Any], **common: Any) -> View:
    hosts = tuple(Host(name, {"cluster_pods_per_node": pods, **common}) for name, pods in nodes.items())
    return View(ClusterInput(hosts, {"control_plane": list(nodes)}, {}))


def test_the_rules_are_among_all_rules() -> None:
    assert set(address_rules.RULES) == {"growth", "pods_have_addresses", "node_ranges"}
    assert address_rules.RULES.items() <= cluster.RULES.items()


@pytest.mark.parametrize(
    ("common", "growth", "counts", "words"),
    [
        ({}, Growth(3, 3, 0), {110: 2, 500: 1}, ""),
        ({"cluster_planned_nodes": 0, "cluster_surge_nodes": 0}, Growth(3, 3, 0), {110: 2, 500: 1}, ""),
        (
            {"cluster_planned_nodes": "8"},
            Growth(3, 8, 0),
            {110: 2, 500: 6},
            " = 3 now + 5 more (cluster_planned_nodes)",
        ),
        (
            {"cluster_surge_nodes": 2},
            Growth(3, 3, 2),
            {110: 2, 500: 3},
            " = 3 now + 2 beside them (cluster_surge_nodes)",
        ),
        ({"cluster_planned_nodes": 2}, Growth(3, 3, 0), {110: 2, 500: 1}, ""),
    ],
)
def test_nodes_to_come_count_as_the_densest(
    common: dict[str, Any], growth: Growth, counts: dict[int, int], words: str
) -> None:
    seen = view({"a": 110, "b": 110, "c": 500}, **common)
    assert seen.growth == growth
    assert seen.pods_per_planned_node() == counts
    assert sum(counts.values()) == growth.total
    assert growth.words == words
    assert seen.pods_per_node() == {110: 2, 500: 1}


def test_an_inventory_without_nodes_grows_to_nothing_that_can_be_counted() -> None:
    assert view({}, cluster_planned_nodes=5).pods_per_planned_node() == {}
