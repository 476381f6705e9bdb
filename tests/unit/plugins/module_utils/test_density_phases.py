"""Restart and drain of a node under load."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_objects as objects
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_phases as phases
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_stages as stages

from .fake_cluster import FakeCluster

SINCE = stages.parse_time("2026-11-22T11:00:00Z")


def pod(name: str, node: str, started: str = "2026-11-22T11:00:30Z", ready: str = "True") -> dict[str, t.Any]:
    return {
        "metadata": {"name": name, "namespace": objects.NAMESPACE, "labels": {objects.ROLE: "load"}},
        "spec": {"nodeName": node, "containers": [{}]},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"state": {"running": {"startedAt": started}}}],
        },
    }


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (pod("a", "n1"), True),
        (pod("a", "n1", ready="False"), False),
        (pod("a", "n1", started="2026-11-22T10:59:59Z"), False),
    ],
)
def test_a_pod_came_back(one: dict[str, t.Any], wanted: bool) -> None:
    assert phases.came_back(one, SINCE) is wanted


def test_the_return_of_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(phases.time, "time", lambda: SINCE + 40)
    cluster = FakeCluster()
    cluster.put("Pod", pod("a", "n1"))
    cluster.put("Pod", pod("b", "n1", started="2026-11-22T10:00:00Z"))
    cluster.put("Pod", pod("c", "n2"))
    found = phases.watch_return(cluster, "n1", SINCE, 1, 10)  # type: ignore[arg-type]
    assert (found["returned"], found["seconds"]) == (1, 40.0)
    found = phases.watch_return(cluster, "n1", SINCE, 2, 10)  # type: ignore[arg-type]
    assert (found["returned"], found["seconds"]) == (1, None)


class Replacing(FakeCluster):
    """A cluster that makes a pod anew elsewhere when it is evicted."""

    def request(self, method: str, path: str, **more: t.Any) -> t.Any:
        answer = super().request(method, path, **more)
        if method == "POST":
            name = more["body"]["metadata"]["name"]
            assert (self.get("v1", "Node", "n1") or {})["spec"]["unschedulable"] is True
            self.put("Pod", pod(f"{name}-new", "n2"))
        return answer


@pytest.mark.parametrize(("kind", "moved"), [(Replacing, True), (FakeCluster, False)])
def test_a_drain_opens_the_node_again(monkeypatch: pytest.MonkeyPatch, kind: type[FakeCluster], moved: bool) -> None:
    monkeypatch.setattr(phases, "PAUSE_SECONDS", 0.01)
    cluster = kind()
    for name, node in (("a", "n1"), ("b", "n1"), ("c", "n2")):
        cluster.put("Pod", pod(name, node))
    found = phases.drain(cluster, "n1", 0.3)  # type: ignore[arg-type]
    assert (found["evicted"], found["wanted"], found["elsewhere"]) == (2, 3, 3 if moved else 1)
    assert (found["seconds"] is not None) is moved
    assert (cluster.get("v1", "Node", "n1") or {})["spec"] == {}
