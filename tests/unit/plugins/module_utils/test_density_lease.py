"""Who holds the benchmark's lease, and what happens to nodes that it closed."""

from __future__ import annotations

import os
import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_lease as leases
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_objects as objects

from .fake_cluster import FakeCluster, node

OURS = {"metadata": {"labels": {"app.kubernetes.io/name": objects.NAMESPACE}}}


def job(beat: str, **meta: t.Any) -> dict[str, t.Any]:
    return {"metadata": {"annotations": {objects.RUN_ANNOTATION: "r1", objects.BEAT_ANNOTATION: beat}, **meta}}


@pytest.mark.parametrize(
    ("lease", "namespace", "said"),
    [
        (None, None, ""),
        (None, OURS, ""),
        (job("950"), OURS, "run r1 of the benchmark gave a sign of life 50 s ago"),
        (job("870"), OURS, ""),
        (job("950", deletionTimestamp="x"), OURS, ""),
        (job(""), OURS, ""),
        (None, {"metadata": {"labels": {}}}, "was not made by a benchmark"),
        (None, {"metadata": {}}, "was not made by a benchmark"),
    ],
)
def test_who_holds_it(lease: dict[str, t.Any] | None, namespace: dict[str, t.Any] | None, said: str) -> None:
    found = leases.held_by(lease, namespace, 1000.0, 120.0)
    assert (said in found) if said else found == ""


def test_somebody_elses_namespace_is_not_removed() -> None:
    cluster = FakeCluster()
    cluster.put("Namespace", {"metadata": {"name": objects.NAMESPACE, "labels": {}}})
    with pytest.raises(leases.LeaseError, match="was not made by a benchmark"):
        leases.clean(cluster, 1)  # type: ignore[arg-type]
    assert cluster.names("Namespace") == [objects.NAMESPACE]


def test_only_nodes_that_a_benchmark_closed_are_opened() -> None:
    cluster = FakeCluster()
    closed, others = node("n1"), node("n2")
    closed["spec"]["unschedulable"] = others["spec"]["unschedulable"] = True
    closed["metadata"]["annotations"][objects.CORDONED_ANNOTATION] = "true"
    cluster.put("Node", closed)
    cluster.put("Node", others)
    assert leases.found(cluster) == ["node n1 that a benchmark closed"]  # type: ignore[arg-type]
    assert leases.uncordon(cluster) == ["n1"]  # type: ignore[arg-type]
    first, second = (cluster.get("v1", "Node", name) for name in ("n1", "n2"))
    assert first is not None
    assert second is not None
    assert (first["spec"], first["metadata"]["annotations"]) == ({}, {})
    assert second["spec"] == {"unschedulable": True}


def test_names_of_runs() -> None:
    assert leases.run_name().endswith(f"-{os.getpid()}")
