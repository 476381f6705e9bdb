# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DNS cache on every dense node: which nodes have one, what their pods ask, and the objects that run it. Pure.

The shape is that of Kubernetes' NodeLocal DNSCache (kubernetes.io, "Using NodeLocal DNSCache in Kubernetes Clusters") where kube-proxy is no obstacle:
CoreDNS listens on a link-local address of the node alone, and the kubelet names that address to its pods. Nothing is redirected, so it is the same with
kube-proxy's nftables and iptables modes. docs/node_local_dns.md says what is different from node-cache and why.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

Object = dict[str, Any]

#: the address that Kubernetes' documentation uses; it never leaves the node, so all nodes have the same
ADDRESS = "169.254.20.10"
#: put on nodes whose kubelet names the cache to its pods; the DaemonSet runs there and nowhere else
LABEL = "bare-metal.kubernetes/node-local-dns"
NAME, NAMESPACE = "node-local-dns", "kube-system"
IMAGE = "registry.k8s.io/coredns/coredns"
#: pods of a node from which it has a cache unless the inventory says otherwise; docs/density.md, "What breaks at"
FROM_PODS = 250
#: number of the DNS Service's address in the range of Services (kubeadm, GetDNSIP)
DNS_INDEX = 10
METRICS_PORT, HEALTH_PORT = 9253, 9254
# node-cache's own: answers of the cluster for 30 s, "no such name" for 5 s, as many of each as 256 shards of 39 hold.
CACHED, TTL_SECONDS, DENIED_TTL_SECONDS = 9984, 30, 5
STALE = "1h"
# CoreDNS takes about 30 MiB empty and 1 KiB for an answer.
CPU_REQUEST, MEMORY_REQUEST, MEMORY_LIMIT = "25m", "40Mi", "170Mi"


def has_ipv4(cidrs: Iterable[Any]) -> bool:
    """Have pods of these ranges an IPv4 address, and so a way to :data:`ADDRESS`? Values that are no ranges are passed over."""
    for text in cidrs:
        try:
            if ipaddress.ip_network(str(text), strict=False).version == 4:
                return True
        except ValueError:
            continue
    return False


def wanted(value: Any, network_plugin: str, pods_per_node: int, pod_cidrs: Sequence[Any]) -> bool:
    """Does a node have a cache? ``value`` is ``cluster_node_local_dns``; None leaves it to the pods of the node."""
    if value is None or value == "":
        return network_plugin == "calico" and pods_per_node >= FROM_PODS and has_ipv4(pod_cidrs)
    # On the command line (-e name=value) every value is a text. One that is no boolean is the schema's to refuse.
    return bool(boolean(value, strict=False))


def wanted_of(variables: Mapping[str, Any]) -> bool:
    """:func:`wanted` from a host's variables; what is absent has the collection's default."""
    return wanted(
        variables.get("cluster_node_local_dns"),
        str(variables.get("cluster_network_plugin") or "calico"),
        int(variables.get("cluster_pods_per_node") or 110),
        variables.get("cluster_pod_cidrs") or ["10.244.0.0/16"],
    )


def hosts(names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those of ``names`` that have a cache."""
    return [name for name in names if wanted_of(hostvars[name])]


def service_address(service_cidrs: Sequence[Any]) -> str:
    """The address of the cluster's DNS Service: the tenth of the first range of Services."""
    return str(ipaddress.ip_network(str(service_cidrs[0]))[DNS_INDEX])


def servers(service_cidrs: Sequence[Any]) -> list[str]:
    """``clusterDNS`` of a kubelet with a cache: the cache, and the Service for the time when the cache does not answer.

    A resolver goes on to the second at once when the first refuses, which the node's kernel does for an address where nobody listens.
    """
    return [ADDRESS, service_address(service_cidrs)]


def corefile(upstream: str) -> str:
    """CoreDNS's configuration: a cache in front of the cluster's DNS Service, asked over TCP.

    Everything goes to the Service, names outside the cluster too: what an administrator changes in the cluster's CoreDNS holds for all pods. An answer
    that has expired is still given when the Service does not answer.
    """
    return (
        ".:53 {\n"
        "    errors\n"
        f"    bind {ADDRESS}\n"
        "    cache {\n"
        f"        success {CACHED} {TTL_SECONDS}\n"
        f"        denial {CACHED} {DENIED_TTL_SECONDS}\n"
        f"        serve_stale {STALE} verify\n"
        "    }\n"
        f"    forward . {upstream} {{\n"
        "        force_tcp\n"
        "    }\n"
        f"    health {ADDRESS}:{HEALTH_PORT}\n"
        f"    prometheus {{$NODE_ADDRESS}}:{METRICS_PORT}\n"
        "}\n"
    )


def objects(image: str, service_cidrs: Sequence[Any]) -> list[Object]:
    """The ConfigMap and the DaemonSet. A changed configuration is a changed pod: it is rolled, not read again."""
    text = corefile(service_address(service_cidrs))
    labels = {"app.kubernetes.io/name": NAME}
    about = {"name": NAME, "namespace": NAMESPACE, "labels": labels}
    probe = {"httpGet": {"host": ADDRESS, "path": "/health", "port": HEALTH_PORT}, "timeoutSeconds": 5}
    container: Object = {
        "name": NAME,
        "image": image,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "env": [{"name": "NODE_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}],
        "resources": {
            "requests": {"cpu": CPU_REQUEST, "memory": MEMORY_REQUEST},
            "limits": {"memory": MEMORY_LIMIT},
        },
        # Port 53 of the host: root without any other of its powers.
        "securityContext": {
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        },
        "livenessProbe": {**probe, "initialDelaySeconds": 30, "failureThreshold": 5},
        "readinessProbe": {**probe, "periodSeconds": 5},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    pod: Object = {
        "hostNetwork": True,
        "dnsPolicy": "Default",
        "automountServiceAccountToken": False,
        "priorityClassName": "system-node-critical",
        "nodeSelector": {LABEL: ""},
        "tolerations": [{"operator": "Exists"}],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": NAME, "items": [{"key": "Corefile", "path": "Corefile"}]}}
        ],
    }
    checksum = {"bare-metal.kubernetes/corefile": hashlib.sha256(text.encode()).hexdigest()[:16]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"Corefile": text}},
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": about,
            "spec": {
                "selector": {"matchLabels": labels},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
                "template": {"metadata": {"labels": labels, "annotations": checksum}, "spec": pod},
            },
        },
    ]
