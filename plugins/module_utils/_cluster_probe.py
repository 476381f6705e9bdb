# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API shows to ``verify``, as small plain records."""

from __future__ import annotations

import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError

Object = t.Mapping[str, t.Any]
Record = t.Dict[str, t.Any]


def _condition(obj: Object, kind: str) -> Object:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry.get("type") == kind), {})


def node_record(node: Object) -> Record:
    """``{name, ready, reason, version, addresses, unschedulable, taints}`` of a Node."""
    ready = _condition(node, "Ready")
    status = node.get("status") or {}
    spec = node.get("spec") or {}
    return {
        "name": node["metadata"]["name"],
        "ready": ready.get("status") == "True",
        "reason": "" if ready.get("status") == "True" else str(ready.get("message") or "no Ready condition"),
        "version": (status.get("nodeInfo") or {}).get("kubeletVersion", ""),
        "addresses": [a["address"] for a in status.get("addresses") or [] if a.get("type") == "InternalIP"],
        "max_pods": int((status.get("allocatable") or {}).get("pods", 0)),
        "unschedulable": bool(spec.get("unschedulable")),
    }


def workload_record(workload: Object, kind: str) -> Record:
    """``{kind, namespace, name, wanted, ready}`` of a Deployment or DaemonSet."""
    status = workload.get("status") or {}
    if kind == "DaemonSet":
        wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    else:
        wanted, ready = (workload.get("spec") or {}).get("replicas", 1), status.get("readyReplicas", 0)
    meta = workload["metadata"]
    return {"kind": kind, "namespace": meta["namespace"], "name": meta["name"], "wanted": wanted, "ready": ready or 0}


def pod_record(pod: Object) -> Record:
    """``{name, node, address, addresses, ready}`` of a Pod; ``addresses`` has one of each family, ``address`` is the first."""
    status = pod.get("status") or {}
    return {
        "name": pod["metadata"]["name"],
        "node": (pod.get("spec") or {}).get("nodeName", ""),
        "address": status.get("podIP", ""),
        "addresses": [entry["ip"] for entry in status.get("podIPs") or [] if entry.get("ip")],
        "ready": _condition(pod, "Ready").get("status") == "True",
    }


def service_record(service: Object) -> Record:
    """``{name, type, cluster_ip, cluster_ips, port, externals, policy}`` of a Service; ``externals`` are its LoadBalancer addresses."""
    spec = service.get("spec") or {}
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return {
        "name": service["metadata"]["name"],
        "type": spec.get("type", ""),
        "cluster_ip": spec.get("clusterIP", ""),
        "cluster_ips": list(spec.get("clusterIPs") or []),
        "port": (spec.get("ports") or [{}])[0].get("port", 0),
        "externals": [entry["ip"] for entry in ingress if entry.get("ip")],
        "policy": spec.get("externalTrafficPolicy", ""),
    }


def announcement_record(status: Object) -> Record:
    """``{service, namespace, node, interfaces, peers}`` of MetalLB's ServiceL2Status or ServiceBGPStatus; the other kind's list is empty."""
    said = status.get("status") or {}
    return {
        "service": said.get("serviceName", ""),
        "namespace": said.get("serviceNamespace", ""),
        "node": said.get("node", ""),
        "interfaces": [entry.get("name", "") for entry in said.get("interfaces") or []],
        "peers": list(said.get("peers") or []),
    }


def block_record(affinity: Object) -> Record:
    """``{node, cidr}`` of a Calico BlockAffinity."""
    spec = affinity.get("spec") or {}
    return {"node": spec.get("node", ""), "cidr": spec.get("cidr", ""), "state": spec.get("state", "")}


def range_records(node: Object) -> list[Record]:
    """``{node, cidr, state}`` of each range of a CiliumNode."""
    ranges = ((node.get("spec") or {}).get("ipam") or {}).get("podCIDRs") or []
    return [{"node": node["metadata"]["name"], "cidr": cidr, "state": "confirmed"} for cidr in ranges]


def _custom(api: KubeApi, api_version: str, kind: str) -> list[Object]:
    """Objects of a kind that another program's installation defines; none where it is not installed."""
    try:
        return list(api.list(api_version, kind))
    except KubeApiError as exc:
        if exc.unreachable:
            raise
        return []


def _blocks(api: KubeApi) -> list[Record]:
    """Calico's blocks, or Cilium's ranges."""
    affinities = _custom(api, "crd.projectcalico.org/v1", "BlockAffinity")
    blocks = [block_record(entry) for entry in affinities if (entry.get("spec") or {}).get("deleted") != "true"]
    return blocks or [entry for node in _custom(api, "cilium.io/v2", "CiliumNode") for entry in range_records(node)]


def _announcements(api: KubeApi, namespace: str) -> list[Record]:
    kinds = ("ServiceL2Status", "ServiceBGPStatus")
    found = [announcement_record(entry) for kind in kinds for entry in _custom(api, "metallb.io/v1beta1", kind)]
    return [entry for entry in found if entry["namespace"] == namespace]


def observe_cluster(api: KubeApi, namespace: str) -> Record:
    """Read everything that ``verify`` asks the API for."""
    requests = api.list("certificates.k8s.io/v1", "CertificateSigningRequest")
    return {
        "nodes": [node_record(entry) for entry in api.list("v1", "Node")],
        "workloads": [
            workload_record(entry, kind) for kind in ("Deployment", "DaemonSet") for entry in api.list("apps/v1", kind)
        ],
        "pods": [
            pod_record(entry) for entry in api.list("v1", "Pod", namespace, labels="app.kubernetes.io/name=probe")
        ],
        "services": [service_record(entry) for entry in api.list("v1", "Service", namespace)],
        "announcements": _announcements(api, namespace),
        "blocks": _blocks(api),
        "pending_requests": [
            entry["metadata"]["name"] for entry in requests if not (entry.get("status") or {}).get("conditions")
        ],
    }
