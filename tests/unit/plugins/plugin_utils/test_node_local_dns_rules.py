"""The rules of the DNS cache, one view for each."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import node_local_dns_rules
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    ClusterInput,
    Host,
    Problem,
    View,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import read_specs

SPEC = """
argument_specs:
  cluster:
    options:
      cluster_pods_per_node: {type: int}
      cluster_node_local_dns: {type: bool}
      cluster_network_plugin: {type: str}
      cluster_pod_cidrs: {type: list, elements: str}
      cluster_kubelet_configuration: {type: dict}
"""
GROUPS = {"control_plane": ["cp1"], "etcd": ["cp1"], "workers": ["w1", "w2"]}
COMMON = {"cluster_pods_per_node": 110, "cluster_network_plugin": "calico", "cluster_pod_cidrs": ["10.244.0.0/16"]}


def found(rule: str, common: dict[str, Any] | None = None, **hosts: dict[str, Any]) -> list[Problem]:
    names = sorted({name for members in GROUPS.values() for name in members})
    given = [Host(name, {**COMMON, **(common or {}), **hosts.get(name, {})}) for name in names]
    return list(node_local_dns_rules.RULES[rule](View(ClusterInput(given, GROUPS, {"cluster": read_specs(SPEC)}))))


@pytest.mark.parametrize(
    ("common", "words"),
    [
        ({}, ""),
        ({"cluster_node_local_dns": True}, ""),
        ({"cluster_node_local_dns": False, "cluster_network_plugin": "cilium"}, ""),
        ({"cluster_pods_per_node": 500, "cluster_network_plugin": "cilium"}, ""),  # unset: there is none then
        ({"cluster_node_local_dns": True, "cluster_network_plugin": "cilium"}, "CiliumLocalRedirectPolicy"),
        ({"cluster_node_local_dns": True, "cluster_network_plugin": "none"}, "cluster_network_plugin is none"),
        ({"cluster_node_local_dns": True, "cluster_pod_cidrs": ["fd00::/56"]}, "pods have IPv6 addresses only"),
        ({"cluster_node_local_dns": True, "cluster_pod_cidrs": ["fd00::/56", "10.1.0.0/16"]}, ""),
    ],
)
def test_where_it_cannot_work_it_is_refused(common: dict[str, Any], words: str) -> None:
    problems = found("cache_can_be_reached", common)
    assert [words in problem.reason for problem in problems] == ([True] if words else [])
    assert all(problem.variable == "cluster_node_local_dns" and not problem.warning for problem in problems)
    assert all(set(problem.hosts) == {"cp1", "w1", "w2"} for problem in problems)


OTHER = {"cluster_kubelet_configuration": {"clusterDNS": ["192.0.2.53"]}}


@pytest.mark.parametrize(
    ("worker", "hosts"),
    [
        (OTHER, []),
        ({**OTHER, "cluster_pods_per_node": 500}, ["w1"]),
        ({**OTHER, "cluster_pods_per_node": 500, "cluster_node_local_dns": False}, []),
        ({**OTHER, "cluster_node_local_dns": True}, ["w1"]),
    ],
)
def test_two_answers_to_who_is_asked_are_refused(worker: dict[str, Any], hosts: list[str]) -> None:
    problems = found("cache_is_named_once", w1=worker)
    assert [name for problem in problems for name in problem.hosts] == hosts
    assert all(problem.variable == "cluster_kubelet_configuration.clusterDNS" for problem in problems)
