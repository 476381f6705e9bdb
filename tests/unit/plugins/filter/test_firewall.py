"""What the filter learns of other hosts: addresses, and who speaks BGP with whom."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.filter.firewall import FilterModule, firewall_table

GROUPS = {"control_plane": ["cp1", "cp2"], "etcd": ["e1"], "workers": ["w1"], "routers": ["tor1"]}
HOSTVARS: dict[str, dict[str, Any]] = {
    "cp1": {"ansible_host": "192.0.2.11", "cluster_rack": "a"},
    "cp2": {"ansible_host": "203.0.113.9", "cluster_node_ip": "192.0.2.12", "cluster_rack": "b"},
    "w1": {"ansible_host": "192.0.2.31", "cluster_rack": "a"},
    "e1": {"ansible_host": "192.0.2.21"},
    "tor1": {"ansible_host": "192.0.2.254"},
}
VALUES: dict[str, Any] = {"firewall_admin_cidrs": ["198.51.100.0/24"], "network_plugin": "calico"}
ROUTER = [{"address": "192.0.2.254", "as_number": 64601}]


def senders(name: str, text: str) -> str:
    found = re.search(rf"set {name}_ipv4 \{{.*?elements = \{{ (.*?) \}}", text, re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize(
    ("host", "values", "expected"),
    [
        ("w1", {}, "192.0.2.11, 192.0.2.12"),  # nobody has a router: the nodes mesh
        ("w1", {"bgp_peers": ROUTER}, "192.0.2.254"),
        ("w1", {"bgp_peers": ROUTER, "bgp_topology": "full_mesh"}, "192.0.2.11, 192.0.2.12"),
        ("w1", {"bgp_topology": "none"}, ""),
        ("w1", {"encapsulation": "vxlan"}, ""),
        ("w1", {"bgp_topology": "route_reflectors", "bgp_peers": ROUTER}, "192.0.2.11, 192.0.2.12"),
        ("cp1", {"bgp_topology": "route_reflectors", "bgp_peers": ROUTER}, "192.0.2.12, 192.0.2.31, 192.0.2.254"),
        ("e1", {}, ""),
    ],
)
def test_bgp_is_open_to_the_nodes_own_sessions(host: str, values: dict[str, Any], expected: str) -> None:
    assert senders("bgp_peers", firewall_table({**VALUES, **values}, host, GROUPS, HOSTVARS)) == expected


def test_a_node_without_router_among_nodes_with_some_has_no_sessions() -> None:
    others = {**HOSTVARS, "cp1": {**HOSTVARS["cp1"], "cluster_bgp_peers": ROUTER}}
    assert senders("bgp_peers", firewall_table(VALUES, "w1", GROUPS, others)) == ""


def test_typha_and_node_ports_are_those_of_their_roles() -> None:
    assert "5473" not in firewall_table(VALUES, "w1", GROUPS, HOSTVARS)
    own = {**HOSTVARS["w1"], "calico_typha_replicas": 3, "control_plane_apiserver_extra_args": {"service-node-port-range": "20000-20999"}}  # fmt: skip
    text = firewall_table(VALUES, "w1", GROUPS, {**HOSTVARS, "w1": own})
    assert "tcp dport { 5473 }" in text
    assert "th dport 20000-20999 jump node_ports" in text
    many = [f"n{number}" for number in range(60)]
    hostvars = {**HOSTVARS, **{name: {"ansible_host": f"10.0.0.{number}"} for number, name in enumerate(many, 1)}}
    assert "tcp dport { 5473 }" in firewall_table(VALUES, "w1", {**GROUPS, "workers": ["w1", *many]}, hostvars)


def test_a_host_outside_the_cluster_has_no_firewall_of_ours() -> None:
    assert FilterModule().filters()["firewall_table"](VALUES, "tor1", GROUPS, HOSTVARS) == ""
