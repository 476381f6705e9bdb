"""Which control plane's answer counts, and who is asked what."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.filter.verification import (
    first_observation,
    host_values,
    registered,
    verification_load_balancer_urls,
    verification_targets,
)

GOOD = {"error": "", "initialised": True}
BAD = {"error": "refused", "initialised": True}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"cp1": BAD, "cp2": GOOD}, GOOD),
        ({"cp2": GOOD, "cp1": {**GOOD, "nodes": [1]}}, {**GOOD, "nodes": [1]}),
        ({"cp1": BAD}, BAD),
    ],
)
def test_the_first_good_answer_by_name_counts(seen: dict[str, Any], expected: dict[str, Any]) -> None:
    assert first_observation(seen) == expected


def test_nobody_reached_is_an_answer_too() -> None:
    assert first_observation({})["error"]


def test_only_hosts_that_registered_are_read() -> None:
    hostvars: dict[str, Any] = {"a": {"probe": {"observation": 1}}, "b": {"probe": {"msg": "unreachable"}}, "c": {}}
    assert registered(["a", "b", "c"], hostvars, "probe", "observation") == {"a": 1}


def test_values_of_hosts_with_a_default() -> None:
    assert host_values(["b", "a"], {"a": {"x": 500}, "b": {}}, "x", 110) == {"a": 500, "b": 110}


def test_without_an_api_nothing_is_asked() -> None:
    assert verification_targets({"error": "refused"}, "cluster.local") == []
    assert verification_load_balancer_urls({"error": "refused"}) == {}
