"""Which hosts a rolling play takes."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.filter.nodes import node_addresses, ready_to_fork, restarts_due

DUE: dict[str, Any] = {"answer": {"restarts_due": ["kubelet.service"]}}
DONE: dict[str, Any] = {"answer": {"restarts_due": []}}


@pytest.mark.parametrize(
    ("hostvars", "expected"),
    [
        ({"a": DUE, "b": DONE, "c": DUE}, ["a", "c"]),
        ({"a": DONE, "b": {}, "c": {"answer": None}}, ["!all"]),
        ({"a": {"answer": {"skipped": True}}, "b": {"answer": {"unreachable": True}}, "c": {}}, ["!all"]),
        ({}, ["!all"]),  # ansible-playbook --list-hosts knows none
    ],
)
def test_hosts_with_restarts_left(hostvars: dict[str, Any], expected: list[str]) -> None:
    assert restarts_due(["a", "b", "c", "a"], hostvars, "answer") == expected


def test_a_host_has_its_second_address_too() -> None:
    hostvars: dict[str, Any] = {
        "a": {"ansible_host": "192.0.2.1", "cluster_node_second_ip": ""},
        "b": {"cluster_node_ip": "192.0.2.2", "cluster_node_second_ip": "2001:db8::2"},
    }
    assert node_addresses(["b", "a"], hostvars) == {"a": ["192.0.2.1"], "b": ["192.0.2.2", "2001:db8::2"]}


def test_what_is_in_memory_before_forks_is_kept_out_of_garbage_collection() -> None:
    before = gc.get_freeze_count()
    try:
        assert ready_to_fork("control_plane:workers") == "control_plane:workers"
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
