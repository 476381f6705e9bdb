"""Who announces a pool, and which ranges have an address left. The rules themselves are in the table of test_cluster.py."""

from __future__ import annotations

import ipaddress
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, load_balancer_rules
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import ClusterInput, Host, View
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import read_specs

SPEC = """
argument_specs:
  cluster:
    options:
      cluster_rack: {type: str}
      cluster_node_labels: {type: dict}
      cluster_node_taints:
        type: list
        elements: dict
        options: {key: {type: str}, value: {type: str}, effect: {type: str}}
"""
HOSTS: dict[str, dict[str, t.Any]] = {
    "cp1": {},
    "cp2": {"cluster_node_taints": []},
    "gpu": {"cluster_node_taints": [{"key": "gpu", "effect": "NoSchedule"}]},
    "soft": {"cluster_node_taints": [{"key": "gpu", "effect": "PreferNoSchedule"}], "cluster_rack": "b"},
    "w1": {"cluster_rack": "a", "cluster_node_labels": {"pool": "edge"}},
    "w2": {"cluster_node_labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}},
}


def view() -> View:
    hosts = [Host(name, variables) for name, variables in HOSTS.items()]
    groups = {"control_plane": ["cp1", "cp2"], "workers": ["gpu", "soft", "w1", "w2"]}
    return View(ClusterInput(hosts, groups, {"cluster": read_specs(SPEC)}))


def rack(name: str) -> dict[str, t.Any]:
    return {"match_labels": {"bare-metal.kubernetes/rack": name}}


@pytest.mark.parametrize(
    ("mode", "selectors", "expected"),
    [
        # Calico's own DaemonSet tolerates every taint.
        ("calico_bgp", [], ["cp2", "gpu", "soft", "w1"]),
        ("calico_bgp", [rack("a")], ["cp2", "gpu", "soft", "w1"]),
        ("metallb_l2", [], ["cp2", "soft", "w1"]),
        ("metallb_bgp", [rack("a")], ["w1"]),
        ("metallb_bgp", [rack("a"), rack("b")], ["soft", "w1"]),
        ("metallb_l2", [{"match_labels": {"kubernetes.io/hostname": "cp2"}}], ["cp2"]),
        ("metallb_l2", [{"match_labels": {"pool": "edge"}}], ["w1"]),
        ("metallb_l2", [{"match_labels": {"kubernetes.io/hostname": "cp1"}}], []),
    ],
)
def test_announcers(mode: str, selectors: list[dict[str, t.Any]], expected: list[str]) -> None:
    found = load_balancer_rules.announcers(view(), {"node_selectors": selectors}, mode)
    assert [host.name for host in found] == expected


@given(st.integers(0, 2**32 - 600), st.integers(0, 520))
def test_a_range_has_an_address_that_clients_take(first: int, more: int) -> None:
    """Against MetalLB's own rule, address by address: the last octet is neither 0 nor 255."""
    wanted = any(ipaddress.IPv4Address(first + index).packed[3] not in (0, 255) for index in range(more + 1))
    span = addresses.Span(4, first, first + more)
    assert load_balancer_rules._usable(span) is wanted
