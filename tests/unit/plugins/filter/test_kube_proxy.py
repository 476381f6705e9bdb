"""Which nodes the plays about kube-proxy take."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.filter.kube_proxy import kube_proxy_awaited, kube_proxy_left


def seen(awaits: bool) -> dict[str, Any]:
    return {"ansible_facts": {"bare_metal_machine": {"awaits_kube_proxy": awaits}}}


@pytest.mark.parametrize(
    ("hostvars", "expected"),
    [
        ({"a": seen(True), "b": seen(False), "c": seen(True)}, ["a", "c"]),
        ({"a": seen(False), "b": {}, "c": {"ansible_facts": {}}}, ["!all"]),
        ({}, ["!all"]),
    ],
)
def test_nodes_that_go_back(hostvars: dict[str, Any], expected: list[str]) -> None:
    assert kube_proxy_awaited(["a", "b", "c", "a"], hostvars) == expected


@pytest.mark.parametrize(
    ("hostvars", "expected"),
    [
        ({"a": {"told": {"kube_proxy": ["a process"]}}, "b": {"told": {"kube_proxy": []}}}, ["a"]),
        # One agent does not carry the Services: kube-proxy stays for all.
        (
            {
                "a": {"told": {"kube_proxy": ["a process"]}},
                "b": {"told": {"failed": True, "kube_proxy": ["a process"]}},
            },
            ["!all"],
        ),
        # A node that is down does not hold the others up.
        ({"a": {"told": {"kube_proxy": ["a process"]}}, "b": {"told": {"unreachable": True}}, "c": {}}, ["a"]),
        ({"a": {"told": {"skipped": True}}, "b": {"told": None}, "c": {"other": {"kube_proxy": ["x"]}}}, ["!all"]),
        ({}, ["!all"]),
    ],
)
def test_nodes_with_something_left(hostvars: dict[str, Any], expected: list[str]) -> None:
    assert kube_proxy_left(["a", "b", "c", "a"], hostvars, "told") == expected
