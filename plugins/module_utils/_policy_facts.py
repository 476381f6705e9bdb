# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods, namespaces, Services and NetworkPolicies of a cluster, cut to what a judgement of policies needs."""

from __future__ import annotations

import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApi

Object = t.Dict[str, t.Any]


def pod_of(pod: t.Mapping[str, t.Any]) -> Object:
    """What policies see of a pod; nothing of its environment, commands or volumes leaves the node."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    owners = [{"kind": owner["kind"], "name": owner["name"]} for owner in metadata.get("ownerReferences") or []]
    containers = [
        {
            "ports": [
                {key: port[key] for key in ("name", "protocol", "containerPort") if key in port}
                for port in container.get("ports") or []
            ]
        }
        for container in spec.get("containers", [])
    ]
    return {
        "metadata": {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "labels": metadata.get("labels") or {},
            "ownerReferences": owners,
        },
        "spec": {
            "nodeName": spec.get("nodeName", ""),
            "hostNetwork": bool(spec.get("hostNetwork")),
            "containers": containers,
        },
        "status": {"podIPs": status.get("podIPs") or []},
    }


def policy_of(policy: t.Mapping[str, t.Any]) -> Object:
    """A NetworkPolicy without what the API keeps beside it."""
    metadata = policy["metadata"]
    return {"metadata": {"namespace": metadata["namespace"], "name": metadata["name"]}, "spec": policy["spec"]}


def read(api: KubeApi) -> Object:
    """Read everything: ``{pods, namespaces: {name: labels}, services: [address], policies}``."""
    running = [pod for pod in api.list("v1", "Pod") if pod.get("status", {}).get("phase") == "Running"]
    addresses = {
        address for service in api.list("v1", "Service") for address in service["spec"].get("clusterIPs") or []
    }
    return {
        "pods": [pod_of(pod) for pod in running],
        "namespaces": {
            entry["metadata"]["name"]: entry["metadata"].get("labels") or {} for entry in api.list("v1", "Namespace")
        },
        "services": sorted(addresses - {"None"}),
        "policies": [policy_of(policy) for policy in api.list("networking.k8s.io/v1", "NetworkPolicy")],
    }
