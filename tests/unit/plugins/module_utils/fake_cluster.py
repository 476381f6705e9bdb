"""A cluster in memory for tests of the benchmark: it keeps objects, starts pods step by step and tells watchers."""

from __future__ import annotations

import copy
import itertools
import json
import queue
import threading
import time
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApiError, Response

Object = dict[str, t.Any]
STEPS = ("PodScheduled", "PodReadyToStartContainers", "running", "Ready")


def node(name: str, pods: int = 110) -> Object:
    return {
        "metadata": {"name": name, "labels": {"node-role.kubernetes.io/worker": ""}, "annotations": {}},
        "spec": {},
        "status": {
            "allocatable": {"pods": str(pods), "cpu": "4", "memory": "8Gi"},
            "capacity": {"pods": str(pods), "cpu": "4", "memory": "8Gi"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


class FakeCluster:
    """As much of :class:`_kube_api.KubeApi` as the benchmark uses.

    :param stuck: names of pods that never start; ``refused``: names whose creation is refused.
    """

    server = "https://192.0.2.1:6443"
    counts_quotas = True

    def __init__(
        self, *, step_seconds: float = 0.01, stuck: t.Collection[str] = (), refused: t.Collection[str] = ()
    ) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.lock = threading.RLock()
        self.versions = itertools.count(1)
        self.watchers: list[tuple[str, queue.Queue[Object]]] = []
        self.step_seconds = step_seconds
        self.stuck, self.refused = stuck, refused
        for name in ("n1", "n2"):
            self.put("Node", node(name))

    # --- storage

    def put(self, kind: str, obj: Object) -> Object:
        with self.lock:
            meta = obj["metadata"]
            key = (kind, meta.get("namespace", ""), meta["name"])
            event = "MODIFIED" if key in self.objects else "ADDED"
            meta["resourceVersion"] = str(next(self.versions))
            meta.setdefault("uid", f"uid-{meta['name']}")
            self.objects[key] = obj
            self.tell(kind, event, obj)
            return copy.deepcopy(obj)

    def tell(self, kind: str, event: str, obj: Object) -> None:
        for watched, waiting in self.watchers:
            if watched == kind:
                waiting.put({"type": event, "object": copy.deepcopy(obj)})

    def names(self, kind: str) -> list[str]:
        with self.lock:
            return sorted(name for found, _namespace, name in self.objects if found == kind)

    def drop(self, key: tuple[str, str, str]) -> None:
        with self.lock:
            obj = self.objects.pop(key, None)
            if obj is not None:
                obj["metadata"]["resourceVersion"] = str(next(self.versions))
                self.tell(key[0], "DELETED", obj)

    # --- what a kubelet does

    def start(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        for number, step in enumerate(STEPS):
            time.sleep(self.step_seconds)
            with self.lock:
                key = ("Pod", obj["metadata"]["namespace"], name)
                if key not in self.objects or (name in self.stuck and number):
                    return
                current = copy.deepcopy(self.objects[key])
                current["spec"]["nodeName"] = "n1"
                status = current.setdefault("status", {"phase": "Running"})
                if step == "running":
                    status["containerStatuses"] = [
                        {"restartCount": 0, "state": {"running": {"startedAt": "2026-11-22T11:00:00Z"}}}
                    ]
                else:
                    status.setdefault("conditions", []).append({"type": step, "status": "True"})
                self.put("Pod", current)

    # --- the client

    def get(self, _version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        with self.lock:
            found = self.objects.get((kind, namespace, name))
            return copy.deepcopy(found) if found else None

    def list(
        self,
        version: str,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> list[Object]:
        if version.startswith("crd."):
            raise KubeApiError("no such kind", 404, "UnknownKind")
        wanted = dict(part.split("=") for part in labels.split(",") if part)
        with self.lock:
            return [
                copy.deepcopy(obj)
                for (found, place, _name), obj in self.objects.items()
                if found == kind
                and (not namespace or place == namespace)
                and wanted.items() <= (obj["metadata"].get("labels") or {}).items()
                and (not fields or (obj.get("spec") or {}).get("nodeName") == fields.partition("=")[2])
            ]

    def count(self, version: str, kind: str, namespace: str = "") -> int:
        return len(self.list(version, kind, namespace))

    def create(self, obj: Object) -> Object:
        kind, meta = obj["kind"], obj["metadata"]
        self.calls.append(("create", kind, meta["name"]))
        if meta["name"] in self.refused:
            raise KubeApiError("exceeded quota", 403, "Forbidden")
        made = copy.deepcopy(obj)
        if kind == "Service":
            made["spec"]["clusterIP"] = "192.0.2.10"
        if kind == "Job":
            made["status"] = {"startTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        found = self.put(kind, made)
        if kind == "Pod":
            threading.Thread(target=self.start, args=(found,), daemon=True).start()
        return found

    def apply(self, obj: Object) -> Object:
        self.calls.append(("apply", obj["kind"], obj["metadata"]["name"]))
        if obj["kind"] == "ResourceQuota" and self.counts_quotas:
            obj = {**obj, "status": {"hard": obj["spec"]["hard"]}}
        return self.put(obj["kind"], copy.deepcopy(obj))

    def patch(self, obj: Object, patch: Object) -> Object:
        with self.lock:
            meta = obj["metadata"]
            found = self.get("", obj["kind"], meta["name"], meta.get("namespace", ""))
            if found is None:
                raise KubeApiError("not found", 404, "NotFound")
            for section, values in patch.items():
                merge(found.setdefault(section, {}), values)
            return self.put(obj["kind"], found)

    def delete(self, obj: Object) -> bool:
        meta = obj["metadata"]
        key = (obj["kind"], meta.get("namespace", ""), meta["name"])
        self.calls.append(("delete", obj["kind"], meta["name"]))
        with self.lock:
            there = key in self.objects
            if there and obj["kind"] == "Namespace":
                for other in [one for one in self.objects if one[1] == meta["name"]]:
                    self.drop(other)
            self.drop(key)
            return there

    def request(
        self, method: str, path: str, *, query: t.Any = None, body: t.Any = None, judge: bool = True
    ) -> Response:
        if method == "POST" and path.endswith("/eviction"):
            self.drop(("Pod", body["metadata"]["namespace"], body["metadata"]["name"]))
            return Response(201, "{}")
        kind = "Pod" if path.endswith("/pods") else "Event"
        items = self.list("v1", kind, labels=(query or {}).get("labelSelector", ""))
        return Response(200, json.dumps({"metadata": {"resourceVersion": str(next(self.versions))}, "items": items}))

    def stream(self, path: str, *, query: t.Any, timeout: float) -> t.Iterator[Object]:
        waiting: queue.Queue[Object] = queue.Queue()
        kind = "Pod" if path.endswith("/pods") else "Event"
        wanted = dict(part.split("=") for part in (query.get("labelSelector") or "").split(",") if part)
        with self.lock:
            self.watchers.append((kind, waiting))
            for (found, _place, _name), obj in self.objects.items():
                if found == kind and int(obj["metadata"]["resourceVersion"]) > int(query["resourceVersion"]):
                    waiting.put({"type": "ADDED", "object": copy.deepcopy(obj)})
        while True:
            event = waiting.get()
            if wanted.items() <= (event["object"]["metadata"].get("labels") or {}).items():
                yield event

    def raw(self, _path: str, *, deadline: float | None = None) -> Response:
        return Response(200, "")


def merge(found: Object, values: Object) -> None:
    """A merge patch (RFC 7386)."""
    for key, value in values.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            merge(found.setdefault(key, {}), value)
        else:
            found[key] = value
