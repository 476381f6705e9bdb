# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stages of a pod's start, from the objects that a watch gives. Pure.

A stage ends when the watch first shows it; the times are those of the host that watches, in seconds since the epoch, so they have one clock and
milliseconds. A pod's own times (conditions, container states) have whole seconds and two clocks; they are kept beside, as a check.

=========  ==================================================================================================
stage      ends with
=========  ==================================================================================================
created    the API's answer to the request that creates it, or the first event that shows it
scheduled  condition ``PodScheduled``
sandbox    condition ``PodReadyToStartContainers`` (KEP-3085): the sandbox stands and its network is configured
started    all containers run, or have run
ready      condition ``Ready``
=========  ==================================================================================================
"""

from __future__ import annotations

import calendar
import math
import re
import time
import typing as t
from dataclasses import dataclass, field

Object = t.Mapping[str, t.Any]

STAGES = ("created", "scheduled", "sandbox", "started", "ready")
CONDITIONS = {"scheduled": "PodScheduled", "sandbox": "PodReadyToStartContainers", "ready": "Ready"}
PERCENTILES = (50.0, 90.0, 95.0, 99.0)
#: name of a span -> the stages that it lies between
SPANS: t.Dict[str, t.Tuple[str, str]] = {
    "created_to_scheduled": ("created", "scheduled"),
    "scheduled_to_sandbox": ("scheduled", "sandbox"),
    "sandbox_to_started": ("sandbox", "started"),
    "started_to_ready": ("started", "ready"),
    "created_to_started": ("created", "started"),
    "scheduled_to_ready": ("scheduled", "ready"),
    "created_to_ready": ("created", "ready"),
}

#: what an event, a status or a waiting container says -> the ingredient that is missing; the first match counts
REASONS: t.Tuple[t.Tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("inotify", r"inotify|too many open files"),
        (
            "pod addresses",
            r"assigned \d+ out of \d+ requested|no more free affine blocks|no (more )?ip(v4|v6)? addresses"
            r"|no addresses? (are )?available|max(imum)? (number of )?blocks|range is full"
            r"|failed to (allocate|request|assign).{0,30}(ip|address)|ipam.*(exhaust|full)",
        ),
        (
            "process numbers",
            r"resource temporarily unavailable|pids? (limit|cgroup)|pids\.max|newosproc|cannot fork|can't fork|PIDPressure",
        ),
        ("pods a node", r"too many pods|OutOfpods"),
        ("quota", r"exceeded quota"),
        (
            "memory",
            r"OOMKilled|insufficient memory|OutOfmemory|MemoryPressure|cannot allocate memory|low on resource: memory",
        ),
        ("cpu", r"insufficient cpu|OutOfcpu"),
        ("disk", r"no space left|DiskPressure|ephemeral-storage|low on resource: (nodefs|imagefs)"),
        ("image", r"ErrImage|ImagePull|ErrImageNeverPull|failed to pull"),
        ("node", r"NodeLost|node.*(not ready|unreachable)|NodeNotReady|untolerated taint|unschedulable"),
        ("preempted", r"preempt"),
        ("evicted", r"evicted"),
        ("network plugin", r"\bcni\b|network is not ready|plugin type=|networkPlugin"),
        ("readiness probe", r"readiness probe|Unhealthy"),
        (
            "container runtime",
            r"runc|shim|containerd|FailedCreatePodSandBox|RunContainerError|CrashLoopBackOff|context deadline exceeded|DeadlineExceeded",
        ),
    )
)


@dataclass
class Track:
    """One pod over its life: when each stage was seen first, what its own status says, and how it ended."""

    name: str
    node: str = ""
    seen: t.Dict[str, float] = field(default_factory=dict)
    said: t.Dict[str, float] = field(default_factory=dict)
    gone: t.Optional[float] = None
    restarts: int = 0
    trouble: str = ""
    oom_killed: bool = False
    evicted: bool = False


def parse_time(text: str) -> float:
    """Read ``2026-11-22T11:21:59Z`` (a fraction is allowed) as seconds since the epoch; 0 for what is no time."""
    whole, dot, fraction = text.rstrip("Z").partition(".")
    try:
        return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + (float(f"0.{fraction}") if dot else 0.0)
    except ValueError:
        return 0.0


def ingredient(text: str) -> str:
    """Name what is missing when something says ``text``; ``other`` for what is not known."""
    return next((name for name, pattern in REASONS if pattern.search(text)), "other")


def _conditions(pod: Object) -> t.Dict[str, Object]:
    return {entry.get("type", ""): entry for entry in (pod.get("status") or {}).get("conditions") or []}


def _containers(pod: Object) -> t.List[Object]:
    return list((pod.get("status") or {}).get("containerStatuses") or [])


def started_at(pod: Object) -> t.Optional[float]:
    """When the last of a pod's containers started, by the kubelet's clock; None as long as one has not."""
    wanted = len((pod.get("spec") or {}).get("containers") or [])
    times = []
    for entry in _containers(pod):
        state = entry.get("state") or {}
        last = entry.get("lastState") or {}
        begun = (state.get("running") or state.get("terminated") or last.get("terminated") or {}).get("startedAt")
        if begun:
            times.append(parse_time(begun))
    return max(times) if times and len(times) >= wanted else None


def is_ready(pod: Object) -> bool:
    """Whether a pod is Ready and not on its way out."""
    leaving = pod["metadata"].get("deletionTimestamp")
    return not leaving and _conditions(pod).get("Ready", {}).get("status") == "True"


def _trouble(pod: Object) -> str:
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        return " ".join(str(status.get(key) or "") for key in ("reason", "message")).strip() or "Failed"
    for entry in _containers(pod):
        waiting = (entry.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "", "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']} {waiting.get('message') or ''}".strip()
    scheduled = _conditions(pod).get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return str(scheduled.get("message") or scheduled.get("reason") or "")
    return ""


class Tracks:
    """All pods of a run by name. Feed it with :meth:`observe`; it is only added to, so a repeated event changes nothing."""

    def __init__(self) -> None:
        self.pods: t.Dict[str, Track] = {}

    def asked(self, name: str, at: float) -> None:
        """The API answered the request that creates a pod."""
        self.pods.setdefault(name, Track(name)).seen.setdefault("created", at)

    def observe(self, kind: str, pod: Object, at: float) -> Track:
        """Take one event of the watch (``ADDED``, ``MODIFIED``, ``DELETED``) that arrived ``at``."""
        name = pod["metadata"]["name"]
        track = self.pods.setdefault(name, Track(name))
        track.seen.setdefault("created", at)
        track.seen["created"] = min(track.seen["created"], at)
        track.said.setdefault("created", parse_time(str(pod["metadata"].get("creationTimestamp") or "")))
        track.node = (pod.get("spec") or {}).get("nodeName") or track.node
        conditions = _conditions(pod)
        for stage, kind_of in CONDITIONS.items():
            condition = conditions.get(kind_of, {})
            if condition.get("status") == "True":
                track.seen.setdefault(stage, at)
                track.said.setdefault(stage, parse_time(str(condition.get("lastTransitionTime") or "")))
        begun = started_at(pod)
        if begun is not None:
            track.seen.setdefault("started", at)
            track.said.setdefault("started", begun)
        self._misfortunes(track, pod)
        if kind == "DELETED":
            track.gone = at
        return track

    @staticmethod
    def _misfortunes(track: Track, pod: Object) -> None:
        track.trouble = _trouble(pod)
        track.evicted = track.evicted or (pod.get("status") or {}).get("reason") == "Evicted"
        for entry in _containers(pod):
            track.restarts = max(track.restarts, int(entry.get("restartCount") or 0))
            for state in ("state", "lastState"):
                ended = (entry.get(state) or {}).get("terminated") or {}
                track.oom_killed = track.oom_killed or ended.get("reason") == "OOMKilled"

    def reached(self, stage: str) -> int:
        """Pods that have come to a stage, gone ones included."""
        return sum(stage in track.seen for track in self.pods.values())

    def spans(self) -> t.Dict[str, t.List[float]]:
        """Seconds of every span, of all pods that have both of its ends."""
        found: t.Dict[str, t.List[float]] = {name: [] for name in SPANS}
        for track in self.pods.values():
            for name, (start, end) in SPANS.items():
                if start in track.seen and end in track.seen:
                    found[name].append(max(0.0, track.seen[end] - track.seen[start]))
        return found

    def said_spans(self) -> t.Dict[str, t.List[float]]:
        """The same by the pods' own times (whole seconds, the clocks of API server, scheduler and kubelet)."""
        found: t.Dict[str, t.List[float]] = {name: [] for name in SPANS}
        for track in self.pods.values():
            for name, (start, end) in SPANS.items():
                if track.said.get(start) and track.said.get(end):
                    found[name].append(track.said[end] - track.said[start])
        return found

    def rows(self, origin: float) -> t.Dict[str, t.Any]:
        """Columns and rows for the report, times in seconds after ``origin``."""
        rows = []
        for track in sorted(self.pods.values(), key=lambda one: one.seen.get("created", math.inf)):
            times = [round(track.seen[stage] - origin, 3) if stage in track.seen else None for stage in STAGES]
            gone = None if track.gone is None else round(track.gone - origin, 3)
            rows.append([track.name, track.node, *times, gone, track.restarts])
        return {"columns": ["name", "node", *STAGES, "gone", "restarts"], "rows": rows}


def percentile(values: t.Sequence[float], share: float) -> t.Optional[float]:
    """The nearest-rank percentile (``share`` in per cent): a value that was measured, never one between two. None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


def summary(values: t.Sequence[float]) -> t.Dict[str, t.Any]:
    """``{count, p50, p90, p95, p99, max}``, in the values' unit, rounded to a thousandth."""
    found: t.Dict[str, t.Any] = {"count": len(values)}
    for share in PERCENTILES:
        value = percentile(values, share)
        found[f"p{share:g}"] = None if value is None else round(value, 3)
    found["max"] = round(max(values), 3) if values else None
    return found


def sustained(times: t.Sequence[float]) -> t.Optional[float]:
    """Pods a second over the middle of a run: between the 10th and the 90th percentile of ``times``, so that start and tail do not count.
    None for fewer than ten.
    """
    if len(times) < 10:
        return None
    ordered = sorted(times)
    first, last = len(ordered) // 10, len(ordered) * 9 // 10
    length = ordered[last] - ordered[first]
    return round((last - first) / length, 2) if length > 0 else None


def failures(tracks: t.Iterable[Track], events: t.Mapping[str, str]) -> t.Dict[str, t.Dict[str, t.Any]]:
    """Pods that never became Ready, by the ingredient that is missing: ``{ingredient: {pods, example}}``.

    :param events: the last warning of each pod. It says more than the pod's own status, which only says that it waits.
    """
    found: t.Dict[str, t.Dict[str, t.Any]] = {}
    for track in tracks:
        if "ready" in track.seen or (track.gone is not None and not track.trouble):
            continue  # one that was taken away in good health (churn) did not fail
        said = events.get(track.name) or track.trouble
        name = ingredient(said) if said else ("never scheduled" if "scheduled" not in track.seen else "still starting")
        entry = found.setdefault(name, {"pods": 0, "example": f"{track.name}: {said}"[:600]})
        entry["pods"] += 1
    return found
