"""A run of the benchmark against a cluster in memory: what it creates, how it ends, what it leaves."""

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_canary as canaries
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_lease as leases
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_objects as objects
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_plan as planning
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_read as reading
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_run as running

from .fake_cluster import FakeCluster, node

SETTINGS = objects.Settings("run-1", "web", "pause:1", "echo:1", ("n1", "n2"))


class Scraper(reading.Scraper):
    """Reads nothing."""

    def __init__(self) -> None:
        self.nodes = ["n1", "n2"]

    def kubelet(self, node: str, missing: list[str]) -> None:
        missing.append(f"kubelet of {node}: nobody")

    def read(self, at: float) -> reading.Reading:
        return reading.Reading(at, {}, {}, {}, [])


@pytest.fixture(autouse=True)
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses in memory answer at once."""
    monkeypatch.setattr(canaries, "get_once", lambda _address, **_more: None)
    monkeypatch.setattr(leases, "caller_is_gone", lambda: False)


def run(cluster: FakeCluster, **options: t.Any) -> running.Run:
    given: dict[str, t.Any] = {
        **{
            "settings": SETTINGS,
            "wish": planning.Wish(pods=12),
            "rate": 200.0,
            "baseline_seconds": 0.2,
            "settle_seconds": 30.0,
        },
        **{"stall_seconds": 20.0, "services": 1, "sample_seconds": 0.2},
        **options,
    }
    return running.Run(cluster, Scraper(), running.Options(**given))  # type: ignore[arg-type]


def test_all_pods_become_ready_and_stay_for_those_who_look() -> None:
    cluster = FakeCluster()
    one = run(cluster, hold_seconds=777)
    one.load()
    found = one.result()
    assert found["aborted"] == ""
    assert found["ready_now"] == found["load"]["pods"] == 12
    assert found["stages"]["created_to_ready"]["count"] == 12
    assert found["failures"] == {}
    assert found["reached"] == dict.fromkeys(("created", "scheduled", "sandbox", "started", "ready"), 12)
    assert len([name for name in cluster.names("Pod") if name.startswith("web-")]) == 12
    lease = cluster.get("batch/v1", "Job", objects.LEASE, objects.NAMESPACE)
    assert lease is not None
    assert 775 <= lease["spec"]["activeDeadlineSeconds"] <= 790
    assert set(found["canaries"]) == {"api_read", "api_write", "http"}
    assert len(found["services"]["peak"]) == 1


def test_everything_but_lease_namespace_and_quota_hangs_on_the_lease() -> None:
    cluster = FakeCluster()
    run(cluster).load()
    free = {"Namespace", "PriorityClass", "ResourceQuota", "Job", "Node"}
    owned = [obj for (kind, _namespace, _name), obj in cluster.objects.items() if kind not in free]
    assert len(owned) > 12
    assert all(obj["metadata"]["ownerReferences"][0]["uid"] == "uid-lease" for obj in owned)


def test_cleaning_leaves_nothing() -> None:
    cluster = FakeCluster()
    run(cluster).load()
    cleaned = leases.clean(cluster, 10)  # type: ignore[arg-type]
    assert cleaned["left"] == []
    assert cleaned["pods"] >= 12
    assert {kind for kind, _namespace, _name in cluster.objects} == {"Node"}
    assert leases.clean(cluster, 10)["removed"] == []  # type: ignore[arg-type]


def test_pods_that_never_start_end_the_wait_and_are_named() -> None:
    cluster = FakeCluster(stuck=["web-00003"], refused=["web-00005"])
    one = run(cluster, stall_seconds=1.5)
    one.load()
    found = one.result()
    assert found["ready_now"] == 10
    assert found["failures"] == {"still starting": {"pods": 1, "example": "web-00003: "}}
    assert found["create_errors"] == {"Forbidden: exceeded quota": 1}
    assert any("10 of 12 pods are Ready" in what for _at, what in found["timeline"])


def test_pods_come_at_the_rate() -> None:
    one = run(FakeCluster(), rate=20.0)
    one.load()
    times = [row[2] for row in one.result()["pods"]["rows"]]
    assert times == sorted(times)
    assert times[-1] >= 11 / 20 - 0.01


def test_churn_replaces_pods() -> None:
    cluster = FakeCluster()
    one = run(cluster, churn_minutes=0.02, churn_percent=2500)
    one.load()
    found = one.result()
    assert found["ready_now"] == 12
    assert len(found["pods"]["rows"]) == 12 + 6
    assert sum(row[7] is not None for row in found["pods"]["rows"]) == 6
    assert found["failures"] == {}


def test_a_suffering_canary_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = time.monotonic()

    def ask(_address: str, **_more: t.Any) -> None:
        if time.monotonic() > begun + 1.5:
            raise OSError("no answer")

    monkeypatch.setattr(canaries, "get_once", ask)
    monkeypatch.setattr(canaries, "FAILURES", 2)
    one = run(FakeCluster(), rate=1.0)
    one.load()
    found = one.result()
    assert "canary http: no answer 2 times in a row" in found["aborted"]
    assert found["reached"]["created"] < 12


def test_nothing_is_loaded_without_a_quota_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "QUOTA_SECONDS", 0.2)
    cluster = FakeCluster()
    cluster.counts_quotas = False
    one = run(cluster)
    one.load()
    assert "does a kube-controller-manager run?" in one.result()["aborted"]
    assert cluster.names("Pod") == []


def test_a_canary_that_never_answers_ends_the_run_before_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "wait_for_answer", lambda _address, _until: None)
    cluster = FakeCluster(stuck=["canary-0"])
    one = run(cluster)
    one.load()
    assert (
        "canary at 192.0.2.10 did not answer within 30 s before the load (canary-0 not Ready" in one.result()["aborted"]
    )
    assert not [name for name in cluster.names("Pod") if name.startswith("web-")]


def test_a_lost_lease_ends_the_run() -> None:
    cluster = FakeCluster()
    one = run(cluster, rate=1.0, lease_seconds=4)
    load = running.threading.Thread(target=one.load)
    load.start()
    while not any(name.startswith("web-") for name in cluster.names("Pod")):
        time.sleep(0.05)
    cluster.delete({"kind": "Job", "metadata": {"name": objects.LEASE, "namespace": objects.NAMESPACE}})
    load.join(30)
    assert not load.is_alive()
    assert "the lease is gone" in one.result()["aborted"]


def test_what_an_earlier_run_left_is_taken_away_first() -> None:
    cluster = FakeCluster()
    run(cluster).load()
    lease = cluster.objects[("Job", objects.NAMESPACE, objects.LEASE)]
    lease["metadata"]["annotations"][objects.BEAT_ANNOTATION] = "1000"  # its run is long dead
    second = run(cluster, settings=objects.Settings("run-2", "web", "pause:1", "echo:1", ("n1",)))
    second.load()
    assert second.result()["ready_now"] == 12
    assert any("removed what an earlier run left" in what for _at, what in second.result()["timeline"])
    assert {pod["metadata"]["labels"][objects.LABEL] for pod in cluster.list("v1", "Pod")} == {"run-2"}


def test_a_run_that_lives_is_not_disturbed() -> None:
    cluster = FakeCluster()
    run(cluster).load()
    calls = list(cluster.calls)
    with pytest.raises(leases.LeaseError, match="run run-1 of the benchmark gave a sign of life"):
        run(cluster).load()
    assert cluster.calls == calls


def test_refusals_come_before_anything_is_made() -> None:
    cluster = FakeCluster()
    cluster.put("Node", node("n1", pods=5))
    with pytest.raises(planning.PlanError, match="400 pods and 3 of the benchmark's own were asked for"):
        run(cluster, wish=planning.Wish(pods=400)).load()
    with pytest.raises(planning.PlanError, match="the cluster has no node n9; it has n1, n2"):
        run(cluster, settings=objects.Settings("r", "web", "p", "e", ("n9",))).load()
    cluster.put("PriorityClass", {"metadata": {"name": "bulk"}, "value": -1_500_000_000})
    with pytest.raises(planning.PlanError, match="PriorityClass bulk is not above"):
        run(cluster).load()
    assert cluster.calls == []


def test_check_mode_says_what_would_be() -> None:
    cluster = FakeCluster()
    assert run(cluster).plan_only()["pods"] == 12
    assert cluster.calls == []


def test_on_simulated_nodes_what_is_asked_runs_on_real_ones() -> None:
    cluster = FakeCluster()
    for name in ("kwok-0", "kwok-1"):
        fake = node(name, pods=20)
        fake["metadata"]["annotations"]["kwok.x-k8s.io/node"] = "fake"
        fake["spec"]["taints"] = [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]
        cluster.put("Node", fake)
    settings = objects.Settings("run-1", "web", "pause:1", "echo:1", ("kwok-0", "kwok-1"))
    one = run(cluster, settings=settings)
    one.load()
    found = one.result()
    assert found["simulated"] == ["kwok-0", "kwok-1"]
    assert found["ready_now"] == 12
    assert found["kubelet_course"] == []
    assert not [what for _at, what in found["timeline"] if "kubelet" in what]
    pods = {pod["metadata"]["name"]: pod["spec"] for pod in cluster.list("v1", "Pod")}
    assert [name for name in pods if name.startswith("canary")] == ["canary-0"]
    assert not {"affinity", "tolerations"} & set(pods["canary-0"])
    assert pods["web-00000"]["tolerations"][0]["key"] == "kwok.x-k8s.io/node"
    lease = cluster.get("batch/v1", "Job", objects.LEASE, objects.NAMESPACE)
    assert lease is not None
    assert "tolerations" not in lease["spec"]["template"]["spec"]
