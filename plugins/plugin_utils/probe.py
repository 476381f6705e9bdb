# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe workload: one tiny echo server on every node, behind a ClusterIP and (when there are pools) a LoadBalancer
address.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

NAMESPACE = "bare-metal-system"
NAME = "probe"
EXTERNAL_NAME = "probe-external"
PORT = 8080
LABELS = {"app.kubernetes.io/name": NAME}
# Anybody but root; the image has no users of its own.
NOBODY = 65534


def _pod(image: str) -> Object:
    downward = {"POD_NAME": "metadata.name", "NODE_NAME": "spec.nodeName"}
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in downward.items()],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10, "timeoutSeconds": 5},
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 2,
        # Every node is to be proven, whatever its taints say.
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }


def _service(name: str, kind: str) -> Object:
    spec: Object = {
        "type": kind,
        "selector": LABELS,
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
    }
    if kind == "LoadBalancer":
        spec["externalTrafficPolicy"] = "Cluster"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS},
        "spec": spec,
    }


def objects(image: str, *, external: bool) -> list[Object]:
    """The probe workload of ``image`` (``name:tag``); ``external``: with a LoadBalancer address."""
    level = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": level}},
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": LABELS},
            "spec": {
                "selector": {"matchLabels": LABELS},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}},
                "template": {"metadata": {"labels": LABELS}, "spec": _pod(image)},
            },
        },
        _service(NAME, "ClusterIP"),
        *([_service(EXTERNAL_NAME, "LoadBalancer")] if external else []),
    ]
