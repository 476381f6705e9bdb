# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the control plane needs for the pods of the whole cluster: rates, workers, memory, events, replicas of CoreDNS.

``pods`` are what all nodes together may carry, ``pods_per_node`` what the densest one may: small control planes of a cluster with dense workers get
the same as any other. Steps instead of lines wherever a change restarts the apiservers, so that one more worker does not. docs/density.md explains each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

# Sync workers of kube-controller-manager, as 1.36 starts them (pkg/controller/*/config/v1alpha1/defaults.go). The rest is either never the bottleneck
# or has its own limit (gc: 20, namespaces: 10).
SYNC_WORKERS: Mapping[str, int] = {
    "concurrent-daemonset-syncs": 2,
    "concurrent-deployment-syncs": 5,
    "concurrent-job-syncs": 5,
    "concurrent-replicaset-syncs": 5,
    "concurrent-service-endpoint-syncs": 5,
    "concurrent-statefulset-syncs": 5,
}
# (pods of the cluster, pods of a node) from which the workers are multiplied. A node of 250 pods that is lost hands as much to one controller at once.
SYNC_STEPS: Sequence[tuple[int, int, int]] = ((30_000, 0, 4), (10_000, 0, 2), (0, 250, 2))
# Kubernetes' own scale tests (kops, tests/e2e/scenarios/scalability) gather changes of EndpointSlices for so long.
BATCH_PODS, BATCH_PERIOD = 10_000, "500ms"
# kube-apiserver's --target-ram-mb (until 1.20) reckoned with 60 MB for a node of 30 pods. The base is what an empty apiserver, controller manager and
# scheduler take together here.
CONTROL_PLANE_MIB, CONTROL_PLANE_MIB_PER_POD = 512, 2
# etcd.io, Hardware recommendations: 8 GB for 50 nodes of 30 pods to 64 GB for 3,000, page cache included; about a tenth of that is the process.
ETCD_MIB, ETCD_MIB_PER_POD = 512, 0.5
# Go's soft limit for its heap, as a share of the machine: the collector works harder before the kernel's OOM killer comes.
MEMORY_SHARE, MEMORY_SHARE_BESIDE_WORKLOADS = 0.5, 0.25
GIB = 1024
# An event with its key is about 1 KiB in etcd; a half more for pages that are not full. All that live at a time may take three quarters of role etcd's
# default quota of 8 GiB, shared by the apiservers, because each of them counts for itself.
EVENT_KIB, EVENTS_MIB = 1.5, 6 * GIB
# The same of the 4 GiB that the events' own etcd has by default.
OWN_EVENTS_MIB = 3 * GIB
# What the start of a pod records: scheduled, pulled, created, started, and one to spare.
EVENTS_PER_POD = 5
# A user (a kubelet, the scheduler) at its own limit: the kubelet's eventRecordQPS is 50, the scheduler records one event for each of its requests.
EVENTS_OF_A_USER = 200
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
# Cluster proportional autoscaler's defaults for DNS: one replica for 16 nodes, which are 30 pods each, and never a single one.
COREDNS_PODS_PER_REPLICA, COREDNS_REPLICAS = 16 * 30, 2
# kubernetes.io, "Considerations for large clusters": large clusters may keep events in an etcd of their own; it names no number. 30,000 pods are 1,000 nodes
# of 30 pods, from which the scripts of Kubernetes' scale tests size an apiserver for a large cluster (kubeadm_config.INFLIGHT_STEPS). That a rollout of
# all of them writes 150,000 events, more than all else, is ours.
EVENTS_ETCD_PODS = 30_000
# The second process: what an idle etcd takes with room for its log and buffers, and the events of all pods that start within one TTL, in the database and
# as much again on the heap (index, leases, caches). Ours.
EVENTS_ETCD_MIB, EVENTS_COPIES = 256, 2


def sync_workers(pods: int, pods_per_node: int) -> dict[str, int]:
    """Flags of kube-controller-manager for its sync workers; none where its defaults will do."""
    factor = next((each for total, node, each in SYNC_STEPS if pods >= total and pods_per_node >= node), 1)
    return {name: factor * workers for name, workers in SYNC_WORKERS.items()} if factor > 1 else {}


def batching(pods: int) -> dict[str, str]:
    """Flags of kube-controller-manager that gather changes of EndpointSlices in large clusters."""
    return {"endpointslice-updates-batch-period": BATCH_PERIOD} if pods >= BATCH_PODS else {}


def control_plane_mib(pods: int, *, etcd: bool, events: bool = False) -> int:
    """MiB that the control plane's processes (and etcd's, where it stands beside them) take for so many pods in the cluster.

    :param events: events have an etcd of their own, beside the other.
    """
    stores = (ETCD_MIB + ETCD_MIB_PER_POD * pods if etcd else 0) + (events_etcd_mib(pods) if etcd and events else 0)
    return math.ceil(CONTROL_PLANE_MIB + CONTROL_PLANE_MIB_PER_POD * pods + stores)


def events_etcd_mib(pods: int) -> int:
    """MiB that a member of the events' etcd takes for so many pods in the cluster."""
    return math.ceil(EVENTS_ETCD_MIB + EVENTS_COPIES * EVENTS_PER_POD * EVENT_KIB * pods / GIB)


def runs_workloads(taints: Sequence[Mapping[str, Any]] | None) -> bool:
    """Does a control plane with these taints (None: kubeadm's) run ordinary pods?"""
    return taints is not None and not any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in taints)


def memory_limit_mib(memory_mib: int, *, workloads: bool) -> int:
    """The apiserver's GOMEMLIMIT in MiB: half of the machine, or a quarter where pods run as well.

    A kernel keeps some of the memory to itself, not the same on equal machines; whole GiB make them equal again.
    """
    machine = math.ceil(memory_mib / GIB) * GIB
    return round(machine * (MEMORY_SHARE_BESIDE_WORKLOADS if workloads else MEMORY_SHARE))


def seconds(duration: str) -> int:
    """A duration in Go's notation (``1h0m0s``).

    :raises ValueError: it is none of hours, minutes and seconds, or nothing.
    """
    found = DURATION.fullmatch(duration)
    total = sum(int(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0
    if not total:
        raise ValueError(f"'{duration}' is not a duration of hours, minutes and seconds, as 1h30m is")
    return total


def _step(number: int) -> int:
    """The next power of two, so that growth changes it seldom."""
    return 1 << max(0, number - 1).bit_length()


def event_limits(
    pods: int, pods_per_node: int, control_planes: int, event_ttl: str, *, own_etcd: bool = False
) -> list[dict[str, Any]]:
    """Limits of the admission plugin EventRateLimit: what etcd holds for a TTL, and nothing that a dense node needs.

    ``Server``: the rate at which events of one TTL stay within :data:`EVENTS_MIB` (``own_etcd``: :data:`OWN_EVENTS_MIB`); its burst is all pods of the
    cluster starting at once. ``User``: a program that writes events in a loop ends here; its burst is a full node that starts.
    """
    space = OWN_EVENTS_MIB if own_etcd else EVENTS_MIB
    rate = int(space * GIB / EVENT_KIB / seconds(event_ttl) / max(1, control_planes))
    node = max(2 * EVENTS_OF_A_USER, EVENTS_PER_POD * _step(pods_per_node))
    burst = max(EVENTS_PER_POD * _step(pods), node)
    return [
        {"type": "Server", "qps": max(EVENTS_OF_A_USER, rate), "burst": burst},
        # The scheduler is one user for all nodes.
        {"type": "User", "qps": EVENTS_OF_A_USER, "burst": burst},
    ]


def admission_configuration(limits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The apiserver's ``AdmissionConfiguration`` with the limits of events."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [
            {
                "name": "EventRateLimit",
                "configuration": {
                    "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
                    "kind": "Configuration",
                    "limits": [dict(limit) for limit in limits],
                },
            }
        ],
    }


def coredns_replicas(pods: int, nodes: int) -> int:
    """Replicas of CoreDNS for so many pods, at most one for each node, at least two."""
    return max(COREDNS_REPLICAS, min(max(COREDNS_REPLICAS, nodes), math.ceil(pods / COREDNS_PODS_PER_REPLICA)))
