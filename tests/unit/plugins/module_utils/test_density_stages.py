"""Stages of pods from the events of a watch."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_stages as stages


def pod(
    name: str = "a", *, conditions: t.Sequence[str] = (), containers: t.Sequence[t.Any] = (), **status: t.Any
) -> dict[str, t.Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-11-22T11:00:00Z"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
        "status": {
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": "2026-11-22T11:00:07Z"} for kind in conditions
            ],
            "containerStatuses": list(containers),
            **status,
        },
    }


RUNNING = {"state": {"running": {"startedAt": "2026-11-22T11:00:05Z"}}, "restartCount": 0}


def test_a_pod_goes_through_its_stages() -> None:
    tracks = stages.Tracks()
    tracks.asked("a", 100.0)
    tracks.observe("ADDED", pod(), 100.2)
    tracks.observe("MODIFIED", pod(conditions=["PodScheduled"]), 101.0)
    tracks.observe("MODIFIED", pod(conditions=["PodScheduled", "PodReadyToStartContainers"]), 102.5)
    tracks.observe(
        "MODIFIED", pod(conditions=["PodScheduled", "PodReadyToStartContainers"], containers=[RUNNING]), 103.0
    )
    everything = ["PodScheduled", "PodReadyToStartContainers", "Ready"]
    tracks.observe("MODIFIED", pod(conditions=everything, containers=[RUNNING]), 113.0)
    tracks.observe(
        "MODIFIED", pod(conditions=everything, containers=[RUNNING]), 150.0
    )  # a repeated event changes nothing
    assert tracks.pods["a"].seen == {
        "created": 100.0,
        "scheduled": 101.0,
        "sandbox": 102.5,
        "started": 103.0,
        "ready": 113.0,
    }
    assert tracks.spans()["created_to_started"] == [3.0]
    assert tracks.spans()["started_to_ready"] == [10.0]
    assert tracks.said_spans()["created_to_started"] == [5.0]
    assert tracks.rows(100.0) == {
        "columns": ["name", "node", "created", "scheduled", "sandbox", "started", "ready", "gone", "restarts"],
        "rows": [["a", "n1", 0.0, 1.0, 2.5, 3.0, 13.0, None, 0]],
    }


def test_stages_that_arrive_together_take_no_time() -> None:
    tracks = stages.Tracks()
    tracks.observe(
        "ADDED", pod(conditions=["PodScheduled", "PodReadyToStartContainers", "Ready"], containers=[RUNNING]), 5.0
    )
    assert all(values == [0.0] for values in tracks.spans().values())


def test_a_container_that_ended_at_once_did_start() -> None:
    ended = {
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"startedAt": "2026-11-22T11:00:05Z"}},
    }
    assert stages.started_at(pod(containers=[ended])) == stages.parse_time("2026-11-22T11:00:05Z")


def test_all_containers_have_to_start() -> None:
    two = pod(containers=[RUNNING])
    two["spec"]["containers"].append({"name": "d"})
    assert stages.started_at(two) is None


def test_a_pod_on_its_way_out_is_not_ready() -> None:
    leaving = pod(conditions=["Ready"])
    assert stages.is_ready(leaving)
    leaving["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    assert not stages.is_ready(leaving)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        # As the components said it, on the lab or in their own issues.
        (
            'FailedCreatePodSandBox plugin type="calico" failed (add): failed to request IPv4 addresses: Assigned 0 out of 1 requested '
            "IPv4 addresses; No more free affine blocks and strict affinity enabled",
            "pod addresses",
        ),
        ('FailedCreatePodSandBox plugin type="host-local" failed (add): no IP addresses available in range set: 10.244.1.1-10.244.1.126', "pod addresses"),
        ("FailedCreatePodContainer unable to ensure pod container exists: failed to create container: inotify_init: too many open files", "inotify"),
        ("Error failed to create fsnotify watcher: too many open files", "inotify"),
        ("FailedCreatePodSandBox failed to start shim: fork/exec /usr/local/bin/containerd-shim-runc-v2: resource temporarily unavailable", "process numbers"),
        ("runtime: failed to create new OS thread (have 5 already; errno=11); newosproc", "process numbers"),
        ("0/5 nodes are available: 1 Too many pods, 4 node(s) didn't match Pod's node affinity/selector.", "pods a node"),
        ("OutOfpods Node didn't have enough resource: pods, requested: 1, used: 110, capacity: 110", "pods a node"),
        ('pods "x" is forbidden: exceeded quota: density-benchmark, requested: count/pods=1', "quota"),
        ("0/3 nodes are available: 3 Insufficient memory.", "memory"),
        ("0/3 nodes are available: 3 Insufficient cpu.", "cpu"),
        ("Evicted The node was low on resource: memory. Threshold quantity: 100Mi", "memory"),
        ("Failed to pull image: write /var/lib/containerd/x: no space left on device", "disk"),
        ("ErrImageNeverPull Container image is not present with pull policy of Never", "image"),
        ("Unhealthy Readiness probe failed: dial tcp 10.0.0.1:8080: connect: connection refused", "readiness probe"),
        ("FailedCreatePodSandBox rpc error: code = DeadlineExceeded desc = context deadline exceeded", "container runtime"),
        ("NetworkNotReady network is not ready: cni plugin not initialized", "network plugin"),
        ("something nobody has heard of", "other"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(said: str, wanted: str) -> None:
    assert stages.ingredient(said) == wanted


def test_failures_count_pods_by_what_they_lack() -> None:
    tracks = stages.Tracks()
    for name in ("a", "b", "c", "d"):
        tracks.observe("ADDED", pod(name, conditions=["PodScheduled"]), 1.0)
    tracks.observe("MODIFIED", pod("c", conditions=["PodScheduled", "Ready"], containers=[RUNNING]), 2.0)
    tracks.observe("DELETED", pod("d"), 3.0)  # taken away before it was Ready, in good health
    unscheduled = pod("e")
    unscheduled["spec"]["nodeName"] = ""
    tracks.observe("ADDED", unscheduled, 1.0)
    found = stages.failures(tracks.pods.values(), {"a": "FailedCreatePodSandBox inotify_init: too many open files"})
    assert {name: row["pods"] for name, row in found.items()} == {
        "inotify": 1,
        "still starting": 1,
        "never scheduled": 1,
    }
    assert found["inotify"]["example"].startswith("a: FailedCreatePodSandBox")


def test_misfortunes() -> None:
    tracks = stages.Tracks()
    killed = {
        "restartCount": 2,
        "state": RUNNING["state"],
        "lastState": {"terminated": {"reason": "OOMKilled", "startedAt": "2026-11-22T11:00:05Z"}},
    }
    tracks.observe("MODIFIED", pod("a", containers=[killed]), 1.0)
    tracks.observe(
        "MODIFIED", pod("b", phase="Failed", reason="Evicted", message="The node was low on resource: memory."), 1.0
    )
    assert (tracks.pods["a"].oom_killed, tracks.pods["a"].restarts) == (True, 2)
    assert tracks.pods["b"].evicted
    assert tracks.pods["b"].trouble == "Evicted The node was low on resource: memory."


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [
        ([1, 2, 3, 4], 50, 2),
        ([1, 2, 3, 4], 99, 4),
        ([1, 2, 3, 4], 25, 1),
        ([7], 1, 7),
        (list(range(1, 201)), 99, 198),
        ([], 99, None),
    ],
)
def test_percentile(values: list[float], share: float, wanted: float | None) -> None:
    assert stages.percentile(values, share) == wanted


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_a_percentile_was_measured_and_has_its_share_below(values: list[float], share: float) -> None:
    found = stages.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share / 100 * len(values) - 1e-6


def test_summary() -> None:
    assert stages.summary([]) == {"count": 0, "p50": None, "p90": None, "p95": None, "p99": None, "max": None}
    assert stages.summary([1.00049, 2.0])["p50"] == 1.0


def test_sustained_leaves_start_and_tail_out() -> None:
    assert stages.sustained([float(number) / 2 for number in range(100)]) == 2.0
    assert stages.sustained([0.0, *[float(number) / 2 for number in range(98)], 5000.0]) == pytest.approx(2.0)
    assert stages.sustained([1.0] * 9) is None
    assert stages.sustained([1.0] * 90) is None


@pytest.mark.parametrize(
    ("text", "wanted"), [("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T00:00:00.5Z", 0.5), ("", 0.0), ("tomorrow", 0.0)]
)
def test_times(text: str, wanted: float) -> None:
    assert stages.parse_time(text) == wanted
