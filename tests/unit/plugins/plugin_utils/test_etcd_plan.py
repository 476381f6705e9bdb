"""Addresses of the members, and what is known of their data."""

from __future__ import annotations

import random

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import etcd_plan

HOSTVARS = {
    "b": {"ansible_host": "10.0.0.2"},
    "a": {"ansible_host": "192.0.2.1", "cluster_node_ip": "10.0.0.1"},
    "10.0.0.3": {},
    "c": {"cluster_node_ip": "FD00:0::4"},
}


def test_members_do_not_depend_on_the_order_of_the_inventory():
    hosts = list(HOSTVARS)
    expected = [
        {"name": "10.0.0.3", "peer_url": "https://10.0.0.3:2380", "client_url": "https://10.0.0.3:2379"},
        {"name": "a", "peer_url": "https://10.0.0.1:2380", "client_url": "https://10.0.0.1:2379"},
        {"name": "b", "peer_url": "https://10.0.0.2:2380", "client_url": "https://10.0.0.2:2379"},
        {"name": "c", "peer_url": "https://[fd00::4]:2380", "client_url": "https://[fd00::4]:2379"},
    ]
    for _round in range(5):
        random.shuffle(hosts)
        assert etcd_plan.members(hosts, HOSTVARS) == expected
        assert etcd_plan.endpoints(hosts, HOSTVARS) == [member["client_url"] for member in expected]


@pytest.mark.parametrize(
    ("hostvars", "words"),
    [
        ({"a": {"ansible_host": "node-a.example"}}, "a: 'node-a.example' is no IP address; set cluster_node_ip"),
        (
            {"a": {"cluster_node_ip": "10.0.0.1"}, "b": {"ansible_host": "10.0.0.1"}},
            "a and b have the same address 10.0.0.1",
        ),
    ],
)
def test_unusable_inventories_are_refused(hostvars, words):
    with pytest.raises(etcd_plan.EtcdPlanError, match=words):
        etcd_plan.members(hostvars, hostvars)


def test_a_host_that_was_not_asked_is_unknown():
    hostvars = {
        "a": {"seen": {"has_data": True}},
        "b": {"seen": {"has_data": False}},
        "c": {},
        "d": {"seen": {"unreachable": True}},
    }
    assert etcd_plan.data(["d", "c", "b", "a"], hostvars, "seen") == {"a": True, "b": False, "c": None, "d": None}
