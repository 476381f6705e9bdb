# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch of a benchmark: threads that follow its pods and their warnings, and keep :class:`_density_stages.Tracks`."""

from __future__ import annotations

import json
import threading
import time
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_stages as stages
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._density_objects import LABEL, NAMESPACE, ROLE
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, Object

#: a watch ends by itself after this, and is silent for less
WATCH_SECONDS, SILENCE_SECONDS = 240, 300.0
PAUSE_SECONDS = 1.0


class Follower(threading.Thread):
    """Lists a collection, then watches it from there, and again when the watch is lost: nothing is missed, ``restarts`` says how often it was late."""

    def __init__(self, api: KubeApi, path: str, labels: str, take: t.Callable[[str, Object, float], None]) -> None:
        super().__init__(name=f"follow-{path}", daemon=True)
        self._api = api
        self._path = path
        self._query = {"labelSelector": labels} if labels else {}
        self._take = take
        self._over = threading.Event()
        self._known: t.Dict[str, Object] = {}
        self.restarts = -1
        self.listed = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            self.restarts += 1
            try:
                self._follow(self._list())
            except (KubeApiError, KeyError, ValueError):
                self._over.wait(PAUSE_SECONDS)

    def stop(self) -> None:
        self._over.set()

    def _list(self) -> str:
        """Take what there is, and what is no longer there; return the version to watch from."""
        page = json.loads(self._api.request("GET", self._path, query=self._query).text)
        now = time.time()
        items = {item["metadata"]["name"]: item for item in page.get("items") or []}
        for name in set(self._known) - set(items):
            self._give("DELETED", self._known[name], now)
        for item in items.values():
            self._give("ADDED", item, now)
        self.listed.set()
        return str(page["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> None:
        while not self._over.is_set():
            query = {
                **self._query,
                "resourceVersion": version,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(WATCH_SECONDS),
            }
            for event in self._api.stream(self._path, query=query, timeout=SILENCE_SECONDS):
                now = time.time()
                if self._over.is_set():
                    return
                kind, item = event["type"], event["object"]
                if kind == "ERROR":
                    return  # usually 410: the version is too old, so it is listed anew
                version = item["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    self._give(kind, item, now)

    def _give(self, kind: str, item: Object, now: float) -> None:
        name = item["metadata"]["name"]
        if kind == "DELETED":
            self._known.pop(name, None)
        else:
            self._known[name] = {"metadata": item["metadata"]}
        self._take(kind, item, now)


class Watch:
    """The pods of a run's load, their stages, and the last warning of each. All reads are safe while it runs."""

    def __init__(self, api: KubeApi, run: str) -> None:
        self.tracks = stages.Tracks()
        self.lock = threading.Lock()
        self.ready_now: t.Set[str] = set()
        self.standing: t.Set[str] = set()
        self.warnings: t.Dict[str, str] = {}
        self.warning_counts: t.Dict[str, int] = {}
        prefix = f"/api/v1/namespaces/{NAMESPACE}"
        self._followers = [
            Follower(api, f"{prefix}/pods", f"{LABEL}={run},{ROLE}=load", self._pod),
            Follower(api, f"{prefix}/events", "", self._event),
        ]

    def start(self) -> None:
        """Begin, and return once both collections were listed."""
        for follower in self._followers:
            follower.start()
        for follower in self._followers:
            if not follower.listed.wait(60):
                raise KubeApiError("the benchmark's pods cannot be watched", 0, "Unreachable")

    def stop(self) -> None:
        for follower in self._followers:
            follower.stop()

    @property
    def restarts(self) -> int:
        """How often a watch was lost: events around it were seen late."""
        return sum(max(0, follower.restarts) for follower in self._followers)

    def asked(self, name: str, at: float) -> None:
        with self.lock:
            self.tracks.asked(name, at)

    def _pod(self, kind: str, pod: Object, at: float) -> None:
        with self.lock:
            name = pod["metadata"]["name"]
            self.tracks.observe(kind, pod, at)
            if kind == "DELETED":
                self.ready_now.discard(name)
                self.standing.discard(name)
                return
            self.standing.add(name)
            if stages.is_ready(pod):
                self.ready_now.add(name)
            else:
                self.ready_now.discard(name)

    def _event(self, kind: str, event: Object, _at: float) -> None:
        involved = event.get("involvedObject") or {}
        if kind == "DELETED" or event.get("type") != "Warning" or involved.get("kind") not in ("Pod", "ReplicaSet"):
            return
        said = f"{event.get('reason') or ''} {event.get('message') or ''}".strip()
        with self.lock:
            self.warnings[str(involved.get("name"))] = said
            reason = str(event.get("reason") or "")
            self.warning_counts[reason] = self.warning_counts.get(reason, 0) + 1

    def progress(self) -> t.Tuple[int, ...]:
        """Pods at each stage, and those that are Ready now: as long as this changes, something is going on."""
        with self.lock:
            return (*(self.tracks.reached(stage) for stage in stages.STAGES), len(self.ready_now))

    def result(self, origin: float) -> t.Dict[str, t.Any]:
        """Everything that was seen, for the report."""
        with self.lock:
            tracks = list(self.tracks.pods.values())
            pods = self.tracks
            return {
                "stages": {name: stages.summary(values) for name, values in pods.spans().items()},
                "stages_by_status": {name: stages.summary(values) for name, values in pods.said_spans().items()},
                "reached": {stage: pods.reached(stage) for stage in stages.STAGES},
                "ready_now": len(self.ready_now),
                "ready_a_second": stages.sustained([one.seen["ready"] for one in tracks if "ready" in one.seen]),
                "created_a_second": stages.sustained([one.seen["created"] for one in tracks if "created" in one.seen]),
                "failures": stages.failures(tracks, self.warnings),
                "warnings": dict(self.warning_counts),
                "restarts": sum(one.restarts for one in tracks),
                "oom_killed": sum(one.oom_killed for one in tracks),
                "evicted": sum(one.evicted for one in tracks),
                "watch_restarts": self.restarts,
                "pods": pods.rows(origin),
            }
