"""What the benchmark reads of a cluster."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_read as reading
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._density_plan import PlanError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApiError, Response

from .fake_cluster import FakeCluster, node


def test_rooms_in_the_order_asked_for() -> None:
    cluster = FakeCluster()
    cluster.put("Node", node("n1", pods=50))
    assert [(one.name, one.free) for one in reading.rooms(cluster, ["n2", "n1"], 0.001, 1.0)] == [
        ("n2", 110),
        ("n1", 50),
    ]  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="the cluster has no node nx, ny; it has n1, n2"):
        reading.rooms(cluster, ["ny", "nx"], 0.001, 1.0)  # type: ignore[arg-type]


def test_a_small_node_network_ends_the_room() -> None:
    cluster = FakeCluster()
    small = node("n1", pods=500)
    small["spec"]["podCIDR"] = "10.244.1.0/25"
    cluster.put("Node", small)
    (one,) = reading.rooms(cluster, ["n1"], 0.001, 1.0)  # type: ignore[arg-type]
    assert (one.free, one.least) == (125, "pod addresses")


def test_other_trouble_with_calicos_objects_is_not_hidden() -> None:
    class Down(FakeCluster):
        def list(self, *_given: t.Any, **_more: t.Any) -> t.Any:
            raise KubeApiError("no answer", 0, "Unreachable")

    with pytest.raises(KubeApiError):
        reading.calico(Down())  # type: ignore[arg-type]
    assert reading.calico(FakeCluster()) is None  # type: ignore[arg-type]


def test_conditions_name_what_is_wrong() -> None:
    cluster = FakeCluster()
    sick = node("n1")
    sick["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}, {"type": "PIDPressure", "status": "True"}]
    cluster.put("Node", sick)
    assert reading.conditions(cluster, ["n1", "n2"]) == {"n1": ["PIDPressure", "NotReady"]}  # type: ignore[arg-type]
    assert reading.conditions(cluster, ["n2"]) == {}  # type: ignore[arg-type]


def test_hardware() -> None:
    rows = reading.hardware(FakeCluster(), ["n1"])  # type: ignore[arg-type]
    assert [(row["name"], row["loaded"], row["memory_gib"], row["roles"]) for row in rows] == [
        ("n1", True, 8.0, ["worker"]),
        ("n2", False, 8.0, ["worker"]),
    ]


class Proxy(FakeCluster):
    """A cluster whose kubelet on n2 does not answer."""

    def raw(self, path: str, *, deadline: float | None = None) -> Response:
        return Response(502, "bad gateway") if "/n2/" in path else Response(200, "process_cpu_seconds_total 3\n")


def test_who_does_not_answer_is_missing_and_nothing_more() -> None:
    scraper = reading.Scraper.__new__(reading.Scraper)
    scraper._api, scraper.nodes, scraper._servers, scraper._etcd = Proxy(), ["n1", "n2"], {}, {}  # type: ignore[assignment]
    found = scraper.read(5.0)
    assert sorted(found.kubelets) == ["n1"]
    assert found.missing == ["kubelet of n2: status 502"]
    figures = reading.figures(found, found)
    assert figures["missing"] == ["kubelet of n2: status 502"] * 2
    assert figures["kubelets"]["n1"]["cpu_cores"] is None


def test_addresses_do_not_bound_simulated_nodes() -> None:
    cluster = FakeCluster()
    fake = node("n1", pods=500)
    fake["metadata"]["annotations"] = {"kwok.x-k8s.io/node": "fake"}
    fake["spec"]["podCIDR"] = "10.244.1.0/25"
    cluster.put("Node", fake)
    (one,) = reading.rooms(cluster, ["n1"], 0.001, 1.0)  # type: ignore[arg-type]
    assert (one.free, one.simulated) == (500, True)
