"""The tables of what versions of Kubernetes no longer know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster_schema, cluster_versions, kubelet
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import load_lock

SPECS = cluster_schema.load_specs(Path(__file__).resolve().parents[4] / "roles")


def test_removals_add_up() -> None:
    assert "WatchBookmark" in cluster_versions.gone_gates(35)
    assert "MemoryManager" not in cluster_versions.gone_gates(35)
    assert {"WatchBookmark", "MemoryManager"} <= cluster_versions.gone_gates(36)
    assert cluster_versions.gone_gates(34) == frozenset()
    assert not cluster_versions.REMOVED_GATES[35] & cluster_versions.REMOVED_GATES[36]


def test_the_tables_are_for_the_versions_of_the_lock() -> None:
    """A new minor version in the lock needs a look at what it removed."""
    lock = load_lock()
    minors = {int(version.split(".")[1]) for name in lock.release_sets for version in lock.kubernetes_versions(name)}
    assert minors <= set(cluster_versions.REMOVED_GATES)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("A=true,B=false", ["A", "B"]),
        (" A=true", ["A"]),
        (["A=true", "B=true,C=true"], ["A", "B", "C"]),
        ({"A": True}, ["A"]),
        ("", [""]),
        (None, []),
        (5, []),
        ([5, {"A": 1}], []),
    ],
)
def test_gates_of(value: Any, names: list[str]) -> None:
    assert cluster_versions.gates_of(value) == names


def test_what_the_collection_sets_itself_is_known() -> None:
    assert set(kubelet.kubelet_configuration(500, 64, 262144)) <= cluster_versions.KUBELET_FIELDS
    assert set(cluster_versions.KUBELET_FIELDS_SINCE) <= cluster_versions.KUBELET_FIELDS


def test_variables_with_flags_are_declared() -> None:
    names = {name for role in SPECS.values() for name in role}
    assert set(cluster_versions.FLAG_VARIABLES) <= names
    assert set(cluster_versions.FLAG_VARIABLES.values()) == set(cluster_versions.REMOVED_FLAGS)


def test_flags_that_are_still_there_are_not_in_the_table() -> None:
    """The kubelet kept --cloud-provider when kube-apiserver lost it."""
    assert "cloud-provider" in cluster_versions.REMOVED_FLAGS["kube-apiserver"]
    assert "cloud-provider" not in cluster_versions.REMOVED_FLAGS["kubelet"]
