# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to bring a list of Kubernetes objects to a cluster, without talking to one: order, comparison, diff,
readiness.

An object is the plain dictionary that the API knows. Nothing here does I/O; :mod:`_manifests_run` does.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import json
import typing as t
from dataclasses import dataclass

OWNER_LABEL = "bare-metal.kubernetes/owner"
HIDDEN = "(hidden)"
Object = dict[str, t.Any]

# Written by the server; never part of what is wanted.
SERVER_METADATA = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
# Where Calico's datastore keeps the metadata of a custom resource that one of its programs wrote.
CALICO_METADATA = "projectcalico.org/metadata"
SERVER_ANNOTATIONS = ("deprecated.daemonset.template.generation", "deployment.kubernetes.io/revision")
# The groups that kube-apiserver serves itself; a kind of any other group is a custom resource.
BUILT_IN_GROUPS = frozenset(
    {
        *("apps", "autoscaling", "batch", "extensions", "policy"),
        *("admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "authentication.k8s.io"),
        *("authorization.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io"),
        *("flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io"),
        *("rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io"),
        "storagemigration.k8s.io",
    }
)
WORKLOADS = frozenset({"Deployment", "DaemonSet", "StatefulSet", "Job", "CronJob", "Pod", "ReplicaSet"})
# Phases of an application: what a later one needs is there before it begins.
NAMESPACES, DEFINITIONS, CONFIGURATION, WORK, WEBHOOKS, CUSTOM = range(6)
# Removing one of these removes what others put there, so prune reports it and leaves it.
NEVER_PRUNED = frozenset(
    {
        *("Namespace", "CustomResourceDefinition", "Node", "PersistentVolume", "PersistentVolumeClaim"),
        # Pods keep their addresses, and BIRD would no longer announce them.
        "IPPool",
    }
)


class ManifestError(Exception):
    """The wanted objects cannot be applied as they are; the message lists every reason."""


@dataclass(frozen=True)
class Ref:
    """The name of an object."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


@dataclass(frozen=True)
class Change:
    """One object that is not as wanted. ``action`` is ``create``, ``update`` or ``delete``; ``before``/``after`` are
    comparable forms.
    """

    action: str
    ref: Ref
    before: Object | None
    after: Object | None


def ref_of(obj: t.Mapping[str, t.Any]) -> Ref:
    """Return the name of a (valid) object."""
    meta = obj["metadata"]
    return Ref(obj["apiVersion"], obj["kind"], meta.get("namespace") or "", meta["name"])


def group_of(api_version: str) -> str:
    """``apps/v1`` -> ``apps``; ``v1`` -> the empty core group."""
    return api_version.rpartition("/")[0]


def phase(obj: t.Mapping[str, t.Any]) -> int:
    """Return the phase in which an object is applied."""
    kind, group = obj["kind"], group_of(obj["apiVersion"])
    if group and group not in BUILT_IN_GROUPS:
        return CUSTOM
    if kind == "Namespace":
        return NAMESPACES
    if kind == "CustomResourceDefinition":
        return DEFINITIONS
    if group == "admissionregistration.k8s.io":
        return WEBHOOKS
    return WORK if kind in WORKLOADS else CONFIGURATION


def _problem(obj: t.Any) -> str:
    if not isinstance(obj, dict):
        return f"is a {type(obj).__name__}, not a mapping"
    for key in ("apiVersion", "kind"):
        if not isinstance(obj.get(key), str) or not obj[key]:
            return f"has no {key}"
    meta = obj.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str) or not meta["name"]:
        return f"({obj['kind']}) has no metadata.name"
    return ""


def prepare(objects: t.Sequence[t.Any], owner: str) -> list[Object]:
    """Check the wanted objects, label them with their owner, drop what the server writes, put them in order of
    application.

    :raises ManifestError: an entry that is no object, or two entries for one object.
    """
    problems = [f"object number {index} {why}" for index, why in enumerate(map(_problem, objects), 1) if why]
    prepared: dict[tuple[str, str, str, str], Object] = {}
    if not problems:
        for obj in objects:
            clean = comparable(obj)
            labels = clean["metadata"].setdefault("labels", {}) or {}
            clean["metadata"]["labels"] = {**labels, OWNER_LABEL: owner}
            key = _identity(ref_of(obj))
            if key in prepared:
                problems.append(f"{ref_of(obj)} is given twice")
            prepared[key] = clean
    if problems:
        raise ManifestError("; ".join(problems))
    return sorted(prepared.values(), key=phase)


def _moved_labels(meta: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Labels that Calico's datastore moved into its annotation when a Calico program wrote the object: they are not lost."""
    kept = (meta.get("annotations") or {}).get(CALICO_METADATA)
    try:
        stored = json.loads(kept) if kept else {}
    except ValueError:
        return {}
    return dict(stored.get("labels") or {}) if isinstance(stored, dict) else {}


def comparable(obj: t.Mapping[str, t.Any]) -> Object:
    """Return a copy without what the server writes: two comparable forms are equal when nothing that matters differs."""
    result = copy.deepcopy({key: value for key, value in obj.items() if key != "status"})
    meta = result.get("metadata")
    if isinstance(meta, dict):
        for key in SERVER_METADATA:
            meta.pop(key, None)
        meta["labels"] = {**_moved_labels(meta), **(meta.get("labels") or {})}
        for key in SERVER_ANNOTATIONS:
            (meta.get("annotations") or {}).pop(key, None)
        for key in ("labels", "annotations", "finalizers"):
            if not meta.get(key):
                meta.pop(key, None)
    return result


def change_of(wanted: Object, live: Object | None, would: Object | None) -> Change | None:
    """Compare one object as it is with what an application would make of it.

    :param live: the object now; None: there is none.
    :param would: what the server answers to a dry run of the application; None: it was not asked.
    """
    if live is None:
        return Change("create", ref_of(wanted), None, comparable(wanted))
    before, after = comparable(live), comparable(wanted if would is None else would)
    return None if before == after else Change("update", ref_of(wanted), before, after)


def merged(live: t.Any, wanted: t.Any) -> t.Any:
    """Lay ``wanted`` over ``live``, mapping by mapping: what an application would make of it when the server cannot
    say.
    """
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {**live, **{key: merged(live.get(key), value) for key, value in wanted.items()}}
    return wanted


def value_at(obj: t.Mapping[str, t.Any] | None, path: str) -> t.Any:
    """Return the value at a dotted path (``spec.cidr``), None when it is not there."""
    here: t.Any = obj
    for part in path.split("."):
        if not isinstance(here, t.Mapping):
            return None
        here = here.get(part)
    return here


def refused_changes(changes: t.Iterable[Change], immutable: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Say which changes touch a field that must stay as it is. ``immutable`` maps kinds to dotted paths."""
    found = []
    for change in changes:
        if change.action != "update":
            continue
        for path in immutable.get(change.ref.kind, ()):
            before, after = value_at(change.before, path), value_at(change.after, path)
            if before != after:
                found.append(f"{change.ref}: {path} is {before!r} and cannot become {after!r} while it is in use")
    return found


def _identity(ref: Ref) -> tuple[str, str, str, str]:
    """An object is the same one in every version of its group."""
    return group_of(ref.api_version), ref.kind, ref.namespace, ref.name


def prunable(found: t.Iterable[Object], wanted: t.Iterable[Object], manager: str) -> tuple[list[Change], list[str]]:
    """Choose what to remove among the objects that carry the owner's label.

    An object counts as ours only when ``manager`` applied it too: controllers copy labels to objects that they make
    (Endpoints for
    instance). Objects that another object owns are left to their owner. Returns the removals and warnings for what is
    left.
    """
    kept = {
        (group_of(obj["apiVersion"]), ref.kind, ref.namespace, ref.name) for obj in wanted for ref in (ref_of(obj),)
    }
    removals, left = [], []
    for obj in found:
        ref, meta = ref_of(obj), obj["metadata"]
        managers = {(entry.get("manager"), entry.get("operation")) for entry in meta.get("managedFields") or []}
        if _identity(ref) in kept or (manager, "Apply") not in managers or meta.get("ownerReferences"):
            continue
        if ref.kind in NEVER_PRUNED:
            left.append(str(ref))
        elif not meta.get("deletionTimestamp"):
            removals.append(Change("delete", ref, comparable(obj), None))
    order = sorted(removals, key=lambda change: -phase({"kind": change.ref.kind, "apiVersion": change.ref.api_version}))
    words = f"no longer wanted, but left, because removing them removes what others put there: {', '.join(left)}"
    return order, [words] if left else []


# --- diff


def secrets_of(wanted: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[Object]:
    """Secrets of ``{namespace/name: {key: text}}``.

    :raises ManifestError: a name without its namespace.
    """
    found = []
    for place, data in sorted(wanted.items()):
        namespace, slash, name = place.partition("/")
        if not (namespace and slash and name):
            raise ManifestError(f"secrets: '{place}' is not namespace/name")
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in sorted(data.items())}
        meta = {"name": name, "namespace": namespace}
        found.append({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": encoded})
    return found


def secret_values(objects: t.Iterable[t.Any]) -> set[str]:
    """Return every value of the Secrets among ``objects``, encoded and plain, so that it can be kept out of all output."""
    found: set[str] = set()
    for obj in objects:
        if not isinstance(obj, dict) or obj.get("kind") != "Secret":
            continue
        found |= {str(value) for value in (obj.get("stringData") or {}).values()}
        for value in (obj.get("data") or {}).values():
            found.add(str(value))
            try:
                found.add(base64.b64decode(str(value), validate=True).decode())
            except (binascii.Error, ValueError):
                continue
    return {value for value in found if value}


def _presentable(obj: Object | None, other: Object | None) -> Object | None:
    """Hide the values of a Secret and shorten a definition's schema; what differs from ``other`` is still seen to
    differ.
    """
    if obj is None:
        return None
    shown = copy.deepcopy(obj)
    if shown.get("kind") == "Secret":
        for key in ("data", "stringData"):
            for name, value in (shown.get(key) or {}).items():
                same = other is None or (other.get(key) or {}).get(name) == value
                shown[key][name] = HIDDEN if same else f"{HIDDEN[:-1]}, differs)"
    if shown.get("kind") == "CustomResourceDefinition":
        for version in (shown.get("spec") or {}).get("versions") or []:
            text = json.dumps(version.pop("schema", None), sort_keys=True)
            version["schema"] = f"(sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]})"
    return shown


def _lines(value: t.Any, indent: int = 0) -> list[str]:
    """Render a value as YAML does it, near enough for a reader (the standard library has no YAML)."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        out = []
        for key in sorted(value, key=str):
            inner = value[key]
            if isinstance(inner, (dict, list)) and inner:
                out += [f"{pad}{key}:", *_lines(inner, indent + 1)]
            elif isinstance(inner, str) and "\n" in inner:
                out += [f"{pad}{key}: |", *(f"{pad}  {line}" for line in inner.splitlines())]
            else:
                out.append(f"{pad}{key}: {_scalar(inner)}")
        return out
    if isinstance(value, list) and value:
        out = []
        for inner in value:
            if isinstance(inner, (dict, list)) and inner:
                first, *rest = _lines(inner, indent + 1)
                out += [f"{pad}- {first.lstrip()}", *rest]
            else:
                out.append(f"{pad}- {_scalar(inner)}")
        return out
    return [f"{pad}{_scalar(value)}"]


def _scalar(value: t.Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable() or not value[0].isalnum():
        return json.dumps(value)
    ambiguous = value.lower() in ("true", "false", "null", "yes", "no") or value.replace(".", "", 1).isdigit()
    return json.dumps(value) if ambiguous or ": " in value else value


def diff_of(changes: t.Iterable[Change]) -> list[dict[str, str]]:
    """Return Ansible diffs, one for each changed object, as readable text without secrets."""
    diffs = []
    for change in changes:
        texts = []
        for mine, other in ((change.before, change.after), (change.after, change.before)):
            shown = _presentable(mine, other)
            texts.append("" if shown is None else "\n".join(_lines(shown)) + "\n")
        header = f"{change.ref.api_version} {change.ref}"
        diffs.append({"before_header": header, "after_header": header, "before": texts[0], "after": texts[1]})
    return diffs


# --- readiness


def _condition(obj: t.Mapping[str, t.Any], name: str) -> t.Mapping[str, t.Any]:
    for entry in (obj.get("status") or {}).get("conditions") or []:
        if entry.get("type") == name:
            return t.cast(t.Mapping[str, t.Any], entry)
    return {}


def _deployment(obj: Object) -> str:
    status, wanted = obj.get("status") or {}, (obj.get("spec") or {}).get("replicas", 1)
    if status.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return "its controller has not seen the change yet"
    if _condition(obj, "Progressing").get("reason") == "ProgressDeadlineExceeded":
        return "its rollout exceeded the progress deadline"
    updated, total, available = (
        int(status.get(key) or 0) for key in ("updatedReplicas", "replicas", "availableReplicas")
    )
    if updated < wanted:
        return f"{updated} of {wanted} replicas are of the wanted version"
    if total > updated:
        return f"{total - updated} old replicas are still there"
    return "" if available >= wanted else f"{available} of {wanted} replicas are available"


def _daemon_set(obj: Object) -> str:
    status = obj.get("status") or {}
    if status.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return "its controller has not seen the change yet"
    wanted, updated, available = (
        int(status.get(key) or 0) for key in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    )
    if updated < wanted:
        return f"{updated} of {wanted} nodes run the wanted version"
    return "" if available >= wanted else f"{available} of {wanted} nodes have an available pod"


def _stateful_set(obj: Object) -> str:
    status, wanted = obj.get("status") or {}, (obj.get("spec") or {}).get("replicas", 1)
    if status.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return "its controller has not seen the change yet"
    updated, ready = int(status.get("updatedReplicas") or 0), int(status.get("readyReplicas") or 0)
    if updated < wanted:
        return f"{updated} of {wanted} replicas are of the wanted version"
    return "" if ready >= wanted else f"{ready} of {wanted} replicas are ready"


def _job(obj: Object) -> str:
    if _condition(obj, "Failed").get("status") == "True":
        return f"it failed: {_condition(obj, 'Failed').get('message', '')}"
    return "" if _condition(obj, "Complete").get("status") == "True" else "it has not completed"


def _definition(obj: Object) -> str:
    for name in ("NamesAccepted", "Established"):
        found = _condition(obj, name)
        if found.get("status") != "True":
            return f"{name} is {found.get('status', 'not known yet')}: {found.get('message', '')}".rstrip(": ")
    return ""


def _service(obj: Object) -> str:
    if (obj.get("spec") or {}).get("type") != "LoadBalancer":
        return ""
    entries = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return (
        "" if any(entry.get("ip") or entry.get("hostname") for entry in entries) else "it has no external address yet"
    )


_PREDICATES: dict[str, t.Callable[[Object], str]] = {
    "Deployment": _deployment,
    "DaemonSet": _daemon_set,
    "StatefulSet": _stateful_set,
    "Job": _job,
    "CustomResourceDefinition": _definition,
    "Service": _service,
}
# What the choices of a `wait` list mean, in kinds.
WAIT_KINDS = {"rolled_out": ("Deployment", "DaemonSet", "StatefulSet", "Job"), "load_balancer": ("Service",)}


def not_ready(obj: Object) -> str:
    """Say why an object is not ready; the empty string: it is (kinds without a notion of readiness always are)."""
    predicate = _PREDICATES.get(obj["kind"])
    return predicate(obj) if predicate else ""


def waited_for(objects: t.Iterable[Object], wait: t.Iterable[str]) -> list[Object]:
    """Choose the objects whose readiness is to be waited for."""
    kinds = {kind for choice in wait for kind in WAIT_KINDS[choice]}
    return [obj for obj in objects if obj["kind"] in kinds and group_of(obj["apiVersion"]) in ("", "apps", "batch")]


def selector_text(obj: t.Mapping[str, t.Any]) -> str:
    """Return a workload's ``matchLabels`` as a label selector."""
    labels = value_at(obj, "spec.selector.matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _container_trouble(status: t.Mapping[str, t.Any]) -> str:
    state, name = status.get("state") or {}, status.get("name", "?")
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    last = (status.get("lastState") or {}).get("terminated") or {}
    words = []
    if waiting:
        words.append(
            ": ".join(filter(None, (waiting.get("reason", "waiting"), str(waiting.get("message", "")).strip())))
        )
    if ended and ended.get("exitCode"):
        words.append(f"ended with exit code {ended['exitCode']} ({ended.get('reason', '')})")
    if last:
        words.append(f"last ended with exit code {last.get('exitCode')} ({last.get('reason', '')})")
    if not words and not status.get("ready") and "running" in state:
        words.append("runs, but is not ready")
    return f"container {name} {'; '.join(words)}" if words else ""


def describe_pod(pod: t.Mapping[str, t.Any], events: t.Sequence[t.Mapping[str, t.Any]] = ()) -> str:
    """Say in one line why a pod is not ready: scheduling, containers, then its latest warnings. Empty: it is ready."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded" or _condition(pod, "Ready").get("status") == "True":
        return ""
    reasons = []
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        reasons.append(f"not scheduled: {scheduled.get('message', scheduled.get('reason', ''))}")
    for key in ("initContainerStatuses", "containerStatuses"):
        for entry in status.get(key) or []:
            trouble = _container_trouble(entry)
            # Containers of a pod whose init containers still run say only PodInitializing.
            if trouble and not (reasons and "PodInitializing" in trouble):
                reasons.append(trouble)
    warnings = [event for event in events if event.get("type") == "Warning"]
    warnings.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    reasons += [f"{event.get('reason')}: {str(event.get('message', '')).strip()}" for event in warnings[-2:]]
    where = value_at(pod, "spec.nodeName") or "no node"
    return f"pod {pod['metadata']['name']} on {where} ({status.get('phase', 'Unknown')}): {'; '.join(reasons) or 'no reason given'}"
