"""What Cilium cannot have, option by option. Each rule with its message is in the table of test_cluster.py."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cilium_rules
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import BUNDLE_FILES
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import ClusterInput, Host, View
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import load_specs

SPECS = load_specs(BUNDLE_FILES.parents[1])
PEER: dict[str, Any] = {"address": "192.0.2.254", "as_number": 64601}
CLUSTER: dict[str, Any] = {
    "cluster_network_plugin": "cilium",
    "cluster_kube_proxy_mode": "none",
    "cluster_load_balancer_mode": "cilium_bgp",
    "cluster_load_balancer_pools": [],
    "cluster_encapsulation": "none",
    "cluster_bgp_topology": "auto",
    "cluster_pod_cidrs": ["10.244.0.0/16"],
    "cluster_rack": "a",
    "cluster_bgp_peers": [PEER],
}


def found(rule: str, **changes: Any) -> list[str]:
    """The variables that a rule finds fault with."""
    hosts = [Host(name, {**copy.deepcopy(CLUSTER), **changes}) for name in ("cp1", "w1")]
    view = View(ClusterInput(hosts, {"control_plane": ["cp1"], "workers": ["w1"], "etcd": ["cp1"]}, SPECS))
    assert not view.findings
    return sorted({problem.variable for problem in cilium_rules.RULES[rule](view)})


@pytest.mark.parametrize("rule", cilium_rules.RULES)
def test_a_valid_cluster_has_no_finding(rule: str) -> None:
    assert found(rule) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("port", 1179),
        ("reachable_by", "192.0.2.1"),
        ("keep_original_next_hop", True),
        ("ttl_security", 1),
        ("max_restart_seconds", 60),
        ("filters", ["in"]),
        ("allowed_own_as", 1),
        ("bfd", True),
        ("local_preference", 200),
    ],
)
def test_an_option_of_a_session_that_cilium_has_not(option: str, value: Any) -> None:
    assert found("cilium_sessions", cluster_bgp_peers=[{**PEER, option: value}]) == [f"cluster_bgp_peers[0].{option}"]
    # Sessions of somebody else's may have them.
    other = {"cluster_bgp_topology": "none", "cluster_encapsulation": "vxlan"}
    assert found("cilium_sessions", cluster_bgp_peers=[{**PEER, option: value}], **other) == []


def test_options_that_mean_nothing_are_not_found() -> None:
    nothing = {name: values[0] for name, values in cilium_rules.FOREIGN_PEER_OPTIONS.items()}
    assert found("cilium_sessions", cluster_bgp_peers=[{**PEER, **nothing, "password": "tor"}]) == []


def test_every_option_of_a_session_is_judged_or_rendered() -> None:
    options = set(SPECS["cluster"]["cluster_bgp_peers"].options)
    rendered = {"address", "as_number", "password"}
    # What the routers' own configuration is made of.
    routers = {"max_prefixes"}
    assert options == rendered | routers | set(cilium_rules.FOREIGN_PEER_OPTIONS)


@pytest.mark.parametrize("option", cilium_rules.FOREIGN_POOL_OPTIONS)
def test_an_option_of_a_pool_that_cilium_has_not(option: str) -> None:
    value: Any = 1 if option == "priority" else ["x"] if option == "namespaces" else [{"match_labels": {"a": "b"}}]
    pool = {"name": "public", "addresses": ["198.51.100.0/24"], option: value}
    assert found("cilium_announces", cluster_load_balancer_pools=[pool]) == [f"cluster_load_balancer_pools[0].{option}"]
    assert found("cilium_announces", cluster_load_balancer_pools=[pool], cluster_load_balancer_mode="metallb_l2") == []


@pytest.mark.parametrize(
    ("changes", "variables"),
    [
        ({"cluster_network_plugin": "calico"}, ["cluster_kube_proxy_mode"]),
        ({"cluster_network_plugin": "none"}, ["cluster_kube_proxy_mode"]),
        ({"cluster_network_plugin": "calico", "cluster_kube_proxy_mode": "nftables"}, []),
        ({"cluster_kube_proxy_mode": "iptables"}, []),
    ],
)
def test_only_cilium_carries_services(changes: dict[str, Any], variables: list[str]) -> None:
    assert found("services_have_a_carrier", **changes) == variables
