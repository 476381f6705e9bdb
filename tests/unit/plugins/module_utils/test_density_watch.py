"""The watch: nothing is missed when it is lost."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Callable

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_objects as objects
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_watch as watching
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApiError

from .fake_cluster import FakeCluster


def pod(name: str, run: str = "r1", ready: bool = True) -> dict[str, t.Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": objects.NAMESPACE,
            "labels": {objects.LABEL: run, objects.ROLE: "load"},
        },
        "spec": {"containers": [{}]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def until(said: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not said():
        assert time.monotonic() < end
        time.sleep(0.01)


class Cut(FakeCluster):
    """A cluster whose first watches end: after an event, and with an expired version."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts = 0

    def stream(self, path: str, *, query: t.Any, timeout: float) -> t.Iterator[t.Any]:
        if path.endswith("/pods") and self.cuts < 2:
            self.cuts += 1
            if self.cuts == 1:
                # while nobody watches, one comes and one goes
                self.put("Pod", pod("b"))
                self.drop(("Pod", objects.NAMESPACE, "a"))
                raise KubeApiError("the watch ended", 0, "Unreachable")
            yield {"type": "ERROR", "object": {"code": 410}}
            return
        yield from super().stream(path, query=query, timeout=timeout)


def test_what_happens_while_nobody_watches_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.05)
    cluster = Cut()
    cluster.put("Pod", pod("a"))
    watch = watching.Watch(cluster, "r1")  # type: ignore[arg-type]
    watch.start()
    until(lambda: watch.ready_now == {"b"})
    until(lambda: watch.restarts == 2)
    assert watch.tracks.pods["a"].gone is not None
    watch.stop()


def test_only_this_runs_load_counts() -> None:
    cluster = FakeCluster()
    cluster.put("Pod", pod("other", run="r0"))
    cluster.put("Pod", pod("a"))
    watch = watching.Watch(cluster, "r1")  # type: ignore[arg-type]
    watch.start()
    until(lambda: watch.ready_now == {"a"})
    cluster.put("Pod", pod("a", ready=False))
    until(lambda: not watch.ready_now)
    assert watch.progress()[-2:] == (1, 0)
    watch.stop()


def test_warnings_are_kept_by_pod() -> None:
    cluster = FakeCluster()
    watch = watching.Watch(cluster, "r1")  # type: ignore[arg-type]
    watch.start()
    for number, kind in enumerate(("Normal", "Warning", "Warning")):
        event = {
            "metadata": {"name": f"e{number}"},
            "type": kind,
            "reason": "FailedCreatePodSandBox",
            "message": f"message {number}",
            "involvedObject": {"kind": "Pod", "name": "a"},
        }
        cluster.put("Event", event)
    until(lambda: watch.warning_counts == {"FailedCreatePodSandBox": 2})
    assert watch.warnings == {"a": "FailedCreatePodSandBox message 2"}
    watch.stop()
