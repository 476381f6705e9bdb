# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease of a benchmark: who runs it, how long its load lives when nobody looks after it, and how all of it is taken away again."""

from __future__ import annotations

import os
import threading
import time
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_objects as objects
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import caller_is_gone
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._density_stages import parse_time
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, Object

#: how often the deadline is moved on, in shares of what it is moved by
BEATS = 4
CLEAN_PAUSE_SECONDS = 0.5
JOB: Object = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": objects.LEASE, "namespace": objects.NAMESPACE},
}
NAMESPACE: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": objects.NAMESPACE}}
PRIORITY_CLASS: Object = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": objects.PRIORITY_CLASS},
}


class LeaseError(Exception):
    """Another run holds the lease, or the namespace belongs to somebody else."""


def held_by(job: t.Optional[Object], namespace: t.Optional[Object], now: float, seconds: float) -> str:
    """Say who runs a benchmark just now; empty when nobody does. Pure.

    :param seconds: a run whose last sign of life is older than this is taken for dead.
    """
    if (
        namespace is not None
        and (namespace["metadata"].get("labels") or {}).get("app.kubernetes.io/name") != objects.NAMESPACE
    ):
        return f"the namespace {objects.NAMESPACE} was not made by a benchmark: remove or rename it"
    if job is None:
        return ""
    notes = job["metadata"].get("annotations") or {}
    beat = float(notes.get(objects.BEAT_ANNOTATION) or 0)
    if job["metadata"].get("deletionTimestamp") or now - beat > seconds:
        return ""
    return (
        f"run {notes.get(objects.RUN_ANNOTATION, '?')} of the benchmark gave a sign of life {now - beat:.0f} s ago; wait for its end, or take its load "
        "away with -e density_benchmark_state=absent"
    )


def check_free(api: KubeApi, seconds: float) -> None:
    """Refuse to start when somebody else's benchmark runs."""
    namespace = api.get("v1", "Namespace", objects.NAMESPACE)
    job = api.get("batch/v1", "Job", objects.LEASE, objects.NAMESPACE) if namespace else None
    said = held_by(job, namespace, time.time(), seconds)
    if said:
        raise LeaseError(said)


class Lease(threading.Thread):
    """Keeps a run's Job alive. ``over`` is set, with ``why``, when it cannot: then the run has to end.

    :param seconds: what the load may live for without this thread.
    """

    def __init__(self, api: KubeApi, seconds: int, watch_controller: bool = True) -> None:
        super().__init__(name="lease", daemon=True)
        self._api = api
        self._seconds = seconds
        self._watch_controller = watch_controller
        self._stopped = threading.Event()
        self.over = threading.Event()
        self.why = ""

    def extend(self, seconds: float) -> None:
        """Let the load live for so many seconds from now."""
        job = self._api.get("batch/v1", "Job", objects.LEASE, objects.NAMESPACE)
        if job is None or job["metadata"].get("deletionTimestamp"):
            raise LeaseError("the lease is gone: somebody takes the benchmark away, or its deadline passed")
        now = time.time()
        begun = parse_time(str((job.get("status") or {}).get("startTime") or "")) or now
        patch = {
            "metadata": {"annotations": {objects.BEAT_ANNOTATION: f"{now:.0f}"}},
            "spec": {"activeDeadlineSeconds": int(now - begun + seconds)},
        }
        self._api.patch(JOB, patch)

    def run(self) -> None:
        pause = max(1.0, self._seconds / BEATS)
        next_beat = 0.0
        while not self._stopped.wait(1.0):
            if self._watch_controller and caller_is_gone():
                self._end("the controller is gone")
                return
            if time.monotonic() < next_beat:
                continue
            next_beat = time.monotonic() + pause
            try:
                self.extend(self._seconds)
            except LeaseError as exc:
                self._end(str(exc))
                return
            except KubeApiError:
                next_beat = time.monotonic() + 5  # the deadline is far enough away for more tries

    def stop(self) -> None:
        self._stopped.set()

    def _end(self, why: str) -> None:
        self.why = why
        self.over.set()


def uncordon(api: KubeApi) -> t.List[str]:
    """Let pods on the nodes again that a benchmark closed; return their names."""
    opened = []
    for node in api.list("v1", "Node"):
        if objects.CORDONED_ANNOTATION in (node["metadata"].get("annotations") or {}):
            patch = {"metadata": {"annotations": {objects.CORDONED_ANNOTATION: None}}, "spec": {"unschedulable": None}}
            api.patch({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node["metadata"]["name"]}}, patch)
            opened.append(str(node["metadata"]["name"]))
    return opened


def found(api: KubeApi) -> t.List[str]:
    """What there is of a benchmark on the cluster."""
    left = []
    if api.get("v1", "Namespace", objects.NAMESPACE):
        left.append(f"namespace {objects.NAMESPACE}")
    if api.get("scheduling.k8s.io/v1", "PriorityClass", objects.PRIORITY_CLASS):
        left.append(f"PriorityClass {objects.PRIORITY_CLASS}")
    for node in api.list("v1", "Node"):
        if objects.CORDONED_ANNOTATION in (node["metadata"].get("annotations") or {}):
            left.append(f"node {node['metadata']['name']} that a benchmark closed")
    return left


def clean(api: KubeApi, seconds: float) -> t.Dict[str, t.Any]:
    """Take everything away and wait for it: ``{removed, left, seconds, pods_gone_seconds, pods}``.

    ``left`` names what is still there after ``seconds``; it goes by itself, the API has taken the order.
    """
    begun = time.monotonic()
    removed = found(api)
    uncordon(api)
    namespace = api.get("v1", "Namespace", objects.NAMESPACE)
    pods, pods_gone = 0, None
    if namespace is not None:
        said = held_by(None, namespace, 0, 0)
        if said:
            raise LeaseError(said)
        pods = api.count("v1", "Pod", objects.NAMESPACE)
        api.delete(NAMESPACE)
    api.delete(PRIORITY_CLASS)
    course = []
    while True:
        passed = time.monotonic() - begun
        there = api.get("v1", "Namespace", objects.NAMESPACE) is not None
        remaining = api.count("v1", "Pod", objects.NAMESPACE) if there else 0
        course.append((round(passed, 1), remaining))
        if not remaining and pods_gone is None:
            pods_gone = round(passed, 1)
        if not there or passed > seconds:
            break
        time.sleep(CLEAN_PAUSE_SECONDS)
    return {
        "removed": removed,
        "left": found(api),
        "seconds": round(time.monotonic() - begun, 1),
        "pods": pods,
        "pods_gone_seconds": pods_gone,
        "course": course,
    }


def run_name() -> str:
    """A name for a run that nobody else gives: start time and process."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"
