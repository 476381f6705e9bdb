"""Two families; the findings of each rule are in test_cluster.py, with those of all rules."""

from __future__ import annotations

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster, dual_stack_rules
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import View

from .test_cluster import draft, dual, only_v6, v6_first


def test_the_rules_are_among_all_rules() -> None:
    assert set(dual_stack_rules.RULES) == {"second_addresses", "routers_of_each_family"}
    assert dual_stack_rules.RULES.items() <= cluster.RULES.items()


@pytest.mark.parametrize("change", [dual, v6_first, only_v6])
@pytest.mark.parametrize("plugin", ["calico", "cilium", "none"])
def test_a_whole_plan_is_content_under_every_plugin(change, plugin: str) -> None:  # type: ignore[no-untyped-def]
    made = draft()
    change(made)
    made.common["cluster_network_plugin"] = plugin
    view = View(made.build())
    assert [problem for rule in dual_stack_rules.RULES.values() for problem in rule(view)] == []


def test_a_host_of_etcd_alone_needs_no_second_address() -> None:
    made = draft()
    dual(made)
    made.groups["etcd"] = ["e1"]
    made.own["e1"] = {"cluster_node_ip": "10.77.3.1"}
    assert list(dual_stack_rules.second_addresses(View(made.build()))) == []
