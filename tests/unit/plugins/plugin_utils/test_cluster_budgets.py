"""Quantities of Kubernetes, wishes for kernel parameters, and the tables of budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    cluster_budgets,
    cluster_schema,
    density,
    kubelet,
)

SPECS = cluster_schema.load_specs(Path(__file__).resolve().parents[4] / "roles")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("200Mi", 200 * 2**20),
        ("1.5Gi", 1.5 * 2**30),
        ("1G", 1e9),
        ("250m", 0.25),
        ("4", 4.0),
        (4, 4.0),
        (0, 0.0),
        ("", None),
        ("lots", None),
        ("-1", None),
        ("1 Gi", None),
        ("1gi", None),
        ("5%", None),
        (-1, None),
        (True, None),
        (None, None),
        (1.5, None),
        ("9" * 100, None),
    ],
)
def test_quantity(value: Any, number: float | None) -> None:
    assert cluster_budgets.quantity(value) == number


@pytest.mark.parametrize(
    ("value", "mib"), [("5%", 200.0), ("100%", 4000.0), ("1Gi", 1024.0), ("x%", None), ("%", None)]
)
def test_shares_of_the_memory(value: str, mib: float | None) -> None:
    assert cluster_budgets.mib_of(value, 4000) == mib


@pytest.mark.parametrize(
    ("wish", "floor"),
    [
        (5, 5),
        ("5", 5),
        ({"exactly": 5}, 5),
        ({"min": 5, "max": 9}, 5),
        ({"max": 9}, 9),
        ({"one_of": [7, "5"]}, 5),
        ({"one_of": [7, "x"]}, None),
        ({"one_of": []}, None),
        ({}, None),
        (None, None),
        ("-5", None),
        ("1 2 3", None),
        (True, None),
    ],
)
def test_the_least_that_a_wish_allows(wish: Any, floor: int | None) -> None:
    assert cluster_budgets._floor(wish) == floor


@given(st.integers(1, 2048))
def test_what_the_collection_computes_itself_fits(pods: int) -> None:
    """The profile of the kernel has numbers for all pods at the limit that the kubelet gets, whatever the density."""
    wanted = density.kernel_parameters(pods, 64, 1 << 20)
    assert wanted["kernel.pid_max"]["min"] >= density.SYSTEM_PROCESSES + pods * kubelet.pod_pid_limit(pods)


def test_variables_that_are_said_once_are_declared() -> None:
    names = {name for role in SPECS.values() for name in role}
    assert set(cluster_budgets.SAID_ONCE) <= names
    assert set(cluster_budgets.SAID_ONCE.values()) <= set(SPECS["cluster"])


@pytest.mark.parametrize(
    ("pods", "overrides", "least"),
    [
        (110, {}, 255 + 17 * 110 + 256 + 200 + 1),
        (500, {}, 255 + 17 * 500 + 256 + 200 + 1),
        (110, {"kubeReserved": {"memory": "1Gi"}, "systemReserved": {"memory": "0"}}, 1024 + 200 + 1),
        (110, {"evictionHard": {"memory.available": "50%"}}, 2 * (2125 + 256) + 1),
        # What cannot be read, and what leaves nothing on any machine, demands nothing: that is other rules' affair.
        (110, {"kubeReserved": "1Gi"}, 0),
        (110, {"evictionHard": {"memory.available": "100%"}}, 0),
    ],
)
def test_the_least_machine(pods: int, overrides: dict[str, Any], least: int) -> None:
    found = cluster_budgets.least_memory_mib(pods, overrides)
    assert abs(found - least) <= 1
    if found:
        assert sum(cluster_budgets.reserved_mib(pods, found, overrides) or []) < found
        assert sum(cluster_budgets.reserved_mib(pods, found - 2, overrides) or []) >= found - 2
