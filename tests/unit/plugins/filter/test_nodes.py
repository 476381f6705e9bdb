"""Which hosts a rolling play takes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.filter.nodes import restarts_due

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
