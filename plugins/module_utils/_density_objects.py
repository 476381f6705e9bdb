# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of a density benchmark. Pure.

Everything hangs on one Job, the lease: its pod only waits, its deadline is moved on while the benchmark runs. When nobody moves it any more, the Job
controller ends it, the TTL controller deletes it, and the garbage collector deletes everything that names it as owner: all pods, Deployments and Services.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

Object = t.Dict[str, t.Any]

NAMESPACE = "density-benchmark"
PRIORITY_CLASS = "density-benchmark"
#: lower than anything that somebody sets with a purpose; what is below -10 does not make a cluster autoscaler add nodes
PRIORITY = -1_000_000_000
LEASE = "lease"
LABEL = "bare-metal.kubernetes/density-benchmark"
ROLE = "bare-metal.kubernetes/density-role"
RUN_ANNOTATION = "bare-metal.kubernetes/density-run"
BEAT_ANNOTATION = "bare-metal.kubernetes/density-beat"
CORDONED_ANNOTATION = "bare-metal.kubernetes/density-cordoned"
PORT = 8080
NOBODY = 65534
WORKLOADS = ("pause", "web", "heavy")


@dataclass(frozen=True)
class Settings:
    """How the pods look. ``tolerations``: (key, value, effect) of the taints that the loaded nodes carry."""

    run: str
    workload: str
    pause_image: str
    web_image: str
    nodes: t.Tuple[str, ...]
    tolerations: t.Tuple[t.Tuple[str, str, str], ...] = ()
    cpu: str = "1m"
    memory: str = "8Mi"
    memory_limit: str = "64Mi"
    probe_delay_seconds: int = 0
    probe_period_seconds: int = 10
    most_seconds: int = 7200
    owner: Object = field(default_factory=dict)


def _labels(settings: Settings, role: str, **more: str) -> t.Dict[str, str]:
    return {LABEL: settings.run, ROLE: role, **more}


def meta(settings: Settings, name: str, role: str, **more: str) -> Object:
    """Metadata of an object of this run, owned by its lease."""
    found: Object = {"name": name, "namespace": NAMESPACE, "labels": _labels(settings, role, **more)}
    if settings.owner:
        found["ownerReferences"] = [settings.owner]
    return found


def _container(settings: Settings, image: str, name: str) -> Object:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {
            "requests": {"cpu": settings.cpu, "memory": settings.memory},
            "limits": {"memory": settings.memory_limit},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _served(settings: Settings, container: Object) -> Object:
    """A container with a port and a readiness probe over HTTP."""
    return {
        **container,
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": "http"},
            "initialDelaySeconds": settings.probe_delay_seconds,
            "periodSeconds": settings.probe_period_seconds,
            "timeoutSeconds": 5,
        },
    }


def _pod_spec(settings: Settings, container: Object, nodes: t.Sequence[str]) -> Object:
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": PRIORITY_CLASS,
        "terminationGracePeriodSeconds": 2,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if nodes:
        term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}]}
        spec["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        }
    if settings.tolerations:
        spec["tolerations"] = [
            {"key": key, "operator": "Equal", "value": value, "effect": effect}
            for key, value, effect in settings.tolerations
        ]
    return spec


def namespace() -> Object:
    """The benchmark's own namespace, with the strictest pod security."""
    level = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    labels = {**level, "app.kubernetes.io/name": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def priority_class() -> Object:
    """Below everything else, and never in anybody's way: others preempt the benchmark, it preempts nobody."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY_CLASS},
        "value": PRIORITY,
        "preemptionPolicy": "Never",
        "globalDefault": False,
        "description": "The load of the density benchmark: anything else comes first.",
    }


def quota(pods: int, services: int, load_balancers: int) -> Object:
    """No more than what is planned, whatever goes wrong; some places more for pods that are ending while others replace them."""
    hard = {
        "count/pods": str(pods + max(10, pods // 5)),
        "count/services": str(services),
        "services.loadbalancers": str(load_balancers),
        "services.nodeports": str(load_balancers),
        "persistentvolumeclaims": "0",
    }
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": NAMESPACE, "namespace": NAMESPACE},
        "spec": {"hard": hard},
    }


def lease(settings: Settings, seconds: int, beat: float) -> Object:
    """The Job that everything hangs on; ``seconds`` after its start it ends, unless somebody moves the deadline on."""
    pod = _pod_spec(settings, _container(settings, settings.pause_image, LEASE), ())
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": LEASE,
            "namespace": NAMESPACE,
            "labels": _labels(settings, LEASE),
            "annotations": {RUN_ANNOTATION: settings.run, BEAT_ANNOTATION: f"{beat:.0f}"},
        },
        "spec": {
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": 0,
            "backoffLimit": 1000,
            "template": {
                "metadata": {"labels": _labels(settings, LEASE)},
                "spec": {**pod, "restartPolicy": "OnFailure"},
            },
        },
    }


def owner_reference(job: t.Mapping[str, t.Any]) -> Object:
    """How the objects of a run name the lease that they hang on."""
    return {"apiVersion": "batch/v1", "kind": "Job", "name": LEASE, "uid": job["metadata"]["uid"]}


def pod(settings: Settings, name: str, node: str = "") -> Object:
    """One pod of the load, bare: no controller stands between the request and the pod, so its stages are all there is to measure.

    :param node: the node that it is meant for, so that nodes are filled as planned; the scheduler still places it. Empty: any of the loaded nodes.
    """
    web = settings.workload == "web"
    container = _container(settings, settings.web_image if web else settings.pause_image, settings.workload)
    spec = _pod_spec(settings, _served(settings, container) if web else container, [node] if node else settings.nodes)
    # A second belt: the kubelet itself ends a pod after this, also when no controller lives.
    spec["activeDeadlineSeconds"] = settings.most_seconds
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta(settings, name, "load"), "spec": spec}


def deployment(settings: Settings, name: str, container: Object, **labels: str) -> Object:
    """A Deployment of one pod; all of a run are spread over the loaded nodes."""
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {LABEL: settings.run, ROLE: "load"}},
    }
    selector = {LABEL: settings.run, "app": name}
    template_labels = _labels(settings, "load", app=name, **labels)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta(settings, name, "load", app=name, **labels),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": template_labels},
                "spec": {**_pod_spec(settings, container, settings.nodes), "topologySpreadConstraints": [spread]},
            },
        },
    }


def service(settings: Settings, name: str, selector: t.Mapping[str, str], kind: str = "ClusterIP") -> Object:
    """A Service on the port of the echo server."""
    spec: Object = {
        "type": kind,
        "selector": dict(selector),
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": PORT}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta(settings, name, "service"),
        "spec": spec,
    }


def replicated(settings: Settings, index: int) -> t.List[Object]:
    """One pod of the load as a Deployment, for what has to come back somewhere else (a drain)."""
    name = f"{settings.workload}-{index:05d}"
    web = settings.workload == "web"
    container = _container(settings, settings.web_image if web else settings.pause_image, settings.workload)
    return [deployment(settings, name, _served(settings, container) if web else container)]


def heavy(settings: Settings, index: int) -> t.List[Object]:
    """A pair: a server with its Service, and a client that is Ready once it reaches the server through the Service."""
    server, client = f"server-{index:05d}", f"client-{index:05d}"
    serving = _served(settings, _container(settings, settings.web_image, "server"))
    asking = {
        **_container(settings, settings.web_image, "client"),
        "readinessProbe": {
            "exec": {"command": ["/echo-server", "get", "--timeout", "4s", f"http://{server}.{NAMESPACE}/healthz"]},
            "initialDelaySeconds": settings.probe_delay_seconds,
            "periodSeconds": settings.probe_period_seconds,
            "timeoutSeconds": 5,
        },
    }
    return [
        service(settings, server, {LABEL: settings.run, "app": server}),
        deployment(settings, server, serving, part="server"),
        deployment(settings, client, asking, part="client"),
    ]


def canary(settings: Settings, index: int, node: str) -> Object:
    """A small server on one of the loaded nodes (empty: wherever it fits), there before the load: who suffers from it is asked all the time."""
    container = _served(settings, _container(settings, settings.web_image, "canary"))
    container["readinessProbe"] = {**container["readinessProbe"], "initialDelaySeconds": 0, "periodSeconds": 5}
    spec = _pod_spec(settings, container, [node] if node else [])
    spec["activeDeadlineSeconds"] = settings.most_seconds
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta(settings, f"canary-{index}", "canary"), "spec": spec}


def canary_services(settings: Settings, external: bool) -> t.List[Object]:
    """The canaries' Services: a ClusterIP, and where the cluster has addresses for it a LoadBalancer."""
    selector = {LABEL: settings.run, ROLE: "canary"}
    kinds = {"canary": "ClusterIP", **({"canary-external": "LoadBalancer"} if external else {})}
    return [service(settings, name, selector, kind) for name, kind in kinds.items()]
