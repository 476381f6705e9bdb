# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe workload: one tiny echo server on every node, behind a ClusterIP and two addresses of each LoadBalancer pool.

One Service of a pool has ``externalTrafficPolicy: Cluster``, which proves the way to any node, one has ``Local``, to whose pods the client's address has
to come. MetalLB lets Services share an address only where they ask for that very one, so each has its own.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._label_selectors import selected
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.calico import cidrs_of

Object = dict[str, Any]

NAMESPACE = "bare-metal-system"
NAME = "probe"
PORT = 8080
SERVICE_PORT = 80
POOL_ANNOTATION = "metallb.io/address-pool"
# A smaller pool is somebody's with few Services: the probe's two addresses are what they need.
LEAST_ADDRESSES = 8
LONGEST_LABEL = 63
LABELS = {"app.kubernetes.io/name": NAME}
# Of the network, what a pod is given when it is made and keeps: another value makes the probe's pods anew, so they are what new pods are.
MADE_FOR_ANNOTATION = "bare-metal.kubernetes/made-for"
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


def not_probed(pool: Mapping[str, Any]) -> str:
    """Why a pool (an entry of ``cluster_load_balancer_pools``) gives the probe no address; empty when it does."""
    namespaces, selectors = pool.get("namespaces") or [], pool.get("namespace_selectors") or []
    own = {"kubernetes.io/metadata.name": NAMESPACE}
    if (namespaces or selectors) and NAMESPACE not in namespaces and not (selectors and selected(selectors, own)):
        return f"it is for other namespaces than {NAMESPACE}"
    if not selected(pool.get("service_selectors"), LABELS):
        return "its service_selectors do not select the probe"
    networks = [ipaddress.ip_network(cidr) for text in pool["addresses"] for cidr in cidrs_of(str(text))]
    for family in families(pool):
        count = sum(network.num_addresses for network in networks if network.version == family)
        if count < LEAST_ADDRESSES:
            return (
                f"it has {count} IPv{family} address{'es' if count > 1 else ''}: the probe leaves them to its Services"
            )
    return ""


def families(pool: Mapping[str, Any]) -> list[int]:
    """The families of a pool's addresses."""
    return sorted({ipaddress.ip_network(cidr).version for text in pool["addresses"] for cidr in cidrs_of(str(text))})


def service_name(pool: str) -> str:
    """The Service of a pool: its name is a DNS label, a pool's may have dots and be longer."""
    plain = f"{NAME}-{pool}"
    if "." not in plain and len(f"{plain}-local") <= LONGEST_LABEL:
        return plain
    return f"{NAME}-{hashlib.sha256(pool.encode()).hexdigest()[:16]}"


def _service(name: str, kind: str, families_policy: Object, more: Object | None = None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS},
        "spec": {
            "type": kind,
            "selector": LABELS,
            **families_policy,
            "ports": [{"name": "http", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": "http"}],
            **(more or {}),
        },
    }


def pool_services(pool: Mapping[str, Any]) -> list[Object]:
    """Both Services of a pool; none when it is not probed."""
    if not_probed(pool):
        return []
    name, found = service_name(pool["name"]), families(pool)
    policy: Object = (
        {"ipFamilyPolicy": "RequireDualStack"}
        if len(found) > 1
        else {"ipFamilyPolicy": "SingleStack", "ipFamilies": [f"IPv{found[0]}"]}
    )
    services = [
        _service(name, "LoadBalancer", policy, {"externalTrafficPolicy": "Cluster"}),
        _service(f"{name}-local", "LoadBalancer", policy, {"externalTrafficPolicy": "Local"}),
    ]
    for service in services:
        service["metadata"]["annotations"] = {POOL_ANNOTATION: pool["name"]}
    return services


def objects(image: str, pools: Sequence[Mapping[str, Any]], made_for: str = "") -> list[Object]:
    """The probe workload of ``image`` (``name:tag``), with an address of each of ``pools``.

    :param made_for: what pods take from the network when they are made (the size of their packets); its pods are made anew when that changes.
    """
    template: Object = {"labels": LABELS}
    if made_for:
        template["annotations"] = {MADE_FOR_ANNOTATION: made_for}
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
                "template": {"metadata": template, "spec": _pod(image)},
            },
        },
        _service(NAME, "ClusterIP", {"ipFamilyPolicy": "PreferDualStack"}),
        *(service for pool in pools for service in pool_services(pool)),
    ]
