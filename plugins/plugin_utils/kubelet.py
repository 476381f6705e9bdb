# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubelet's per-node settings, from the pods it shall carry and the machine it runs on.

docs/density.md explains each formula. Sources: the tiers of memory and CPU are those that GKE documents for its nodes, as are the 400 millicores
more beyond 110 pods; 255 MiB + 11 MiB a pod is what EKS reserves (both were fitted to measured kubelet and runtime use); what a shim takes was
measured here. Defaults are those of Kubernetes 1.36 (pkg/kubelet/apis/config/v1beta1/defaults.go).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# (MiB up to which the tier reaches, share reserved)
MEMORY_TIERS: Sequence[tuple[float, float]] = (
    (4 * 1024, 0.25),
    (8 * 1024, 0.20),
    (16 * 1024, 0.10),
    (128 * 1024, 0.06),
    (float("inf"), 0.02),
)
# (cores up to which the tier reaches, share reserved)
CPU_TIERS: Sequence[tuple[float, float]] = ((1, 0.06), (2, 0.01), (4, 0.005), (float("inf"), 0.0025))
BASE_MIB = 255
PER_POD_MIB = 11
# containerd-shim-runc-v2 2.4.2 on amd64: 5.2 to 5.9 MiB of private memory and 12 or 13 threads each (28 shims; what they share is one binary).
SHIM_MIB = 6
SHIM_PIDS = 16
# GKE, "Plan node sizes": 400 millicores more for more than 110 pods, of which it allows 256. Every pod beyond 110 counts alike here.
DEFAULT_PODS = 110
DENSE_MILLICORES_PER_POD = 400 / (256 - DEFAULT_PODS)
#: pods a node up to which one process may fork freely; beyond, the node's PIDs are shared more tightly
PID_LIMIT_MAX = 4096
PID_LIMIT_MIN = 1024
PID_BUDGET = 1_000_000
# Memory at which pods are evicted: 1/512 of the machine, because a large one fills by more between two looks (10 s).
EVICTION_MIB, EVICTION_SHARE, EVICTION_MIB_LIMIT = 200, 512, 1024
# Starting a pod takes about six requests (token, status patches, volumes); a full node's pods are to be started within half a minute.
API_QPS, REQUESTS_PER_POD, START_SECONDS = 50, 6, 30
PULL_QPS, PODS_PER_PULL_QPS = 5, 25
EVENT_QPS, EVENT_BURST = 50, 100
# Images at a time: one for eight cores, because unpacking is CPU and disk.
PULLS_MIN, PULLS_MAX, CPUS_PER_PULL = 5, 10, 8
LOG_FILES, LOG_MIB_MIN, LOG_MIB_MAX = 3, 4, 20
# Of the disk, what the rotated logs of all pods may take together, each with one container.
LOG_SHARE = 0.2
# One worker rotates a log in well under a second; the monitor looks every 10 s.
LOG_WORKERS_MAX = 8


def _tiered(amount: float, tiers: Sequence[tuple[float, float]]) -> float:
    total, below = 0.0, 0.0
    for limit, share in tiers:
        total += max(0.0, min(amount, limit) - below) * share
        below = limit
        if amount <= limit:
            break
    return total


def pods_memory_mib(pods_per_node: int) -> int:
    """MiB that kubelet, runtime and shims take by the pods alone: 255 + (11 + 6) a pod."""
    return BASE_MIB + (PER_POD_MIB + SHIM_MIB) * pods_per_node


def reserved_memory_mib(memory_mib: int, pods_per_node: int) -> int:
    """MiB kept for kubelet, runtime and shims: the larger of the tiered rule and :func:`pods_memory_mib`."""
    return round(max(_tiered(memory_mib, MEMORY_TIERS), pods_memory_mib(pods_per_node)))


def reserved_cpu_millicores(cpus: int, pods_per_node: int = DEFAULT_PODS) -> int:
    """Millicores kept for kubelet and runtime: the tiered rule, and more for every pod beyond 110."""
    return round(_tiered(cpus, CPU_TIERS) * 1000 + DENSE_MILLICORES_PER_POD * max(0, pods_per_node - DEFAULT_PODS))


def pod_pid_limit(pods_per_node: int) -> int:
    """PIDs that one pod may have, so that all pods together stay within :data:`PID_BUDGET`."""
    return max(PID_LIMIT_MIN, min(PID_LIMIT_MAX, PID_BUDGET // max(1, pods_per_node)))


def eviction_memory_mib(memory_mib: int) -> int:
    """Available memory in MiB below which the kubelet evicts pods."""
    return max(EVICTION_MIB, min(EVICTION_MIB_LIMIT, memory_mib // EVICTION_SHARE))


def api_qps(pods_per_node: int) -> int:
    """Requests a second that the kubelet may make of the API: all pods of a full node started within :data:`START_SECONDS`, never below 50."""
    return max(API_QPS, math.ceil(pods_per_node * REQUESTS_PER_POD / START_SECONDS))


def parallel_image_pulls(cpus: int) -> int:
    """Images that a node pulls at a time."""
    return max(PULLS_MIN, min(PULLS_MAX, cpus // CPUS_PER_PULL))


def container_log_mib(pods_per_node: int, disk_mib: int) -> int:
    """MiB of one log file of a container, so that all files of all pods stay within :data:`LOG_SHARE` of the disk; 20 when that is unknown (0)."""
    if not disk_mib:
        return LOG_MIB_MAX
    return max(LOG_MIB_MIN, min(LOG_MIB_MAX, int(disk_mib * LOG_SHARE) // (LOG_FILES * pods_per_node)))


def kubelet_configuration(
    pods_per_node: int,
    cpus: int,
    memory_mib: int,
    overrides: Mapping[str, Any] | None = None,
    *,
    disk_mib: int = 0,
    shared_mib: int = 0,
) -> dict[str, Any]:
    """Return the ``KubeletConfiguration`` drop-in of one node, ``overrides`` merged over it by top-level key and one level below.

    ``nodeStatusUpdateFrequency`` is left alone on purpose: once it is set, ``nodeStatusReportFrequency`` follows it, and every node writes its status
    every 10 seconds instead of every 5 minutes.

    :param pods_per_node: the kubelet's maxPods.
    :param cpus: logical processors of the machine.
    :param memory_mib: its memory in MiB.
    :param disk_mib: size of the disk with the containers' logs in MiB; 0 when it is not known.
    :param shared_mib: MiB that a control plane needs on a machine that runs workloads as well.
    """
    dense, qps, pulls = pods_per_node > DEFAULT_PODS, api_qps(pods_per_node), parallel_image_pulls(cpus)
    pull_qps = max(PULL_QPS, pods_per_node // PODS_PER_PULL_QPS)
    configuration: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "maxPods": pods_per_node,
        "podPidsLimit": pod_pid_limit(pods_per_node),
        "cgroupDriver": "systemd",
        "serializeImagePulls": False,
        "maxParallelImagePulls": pulls,
        "registryPullQPS": pull_qps,
        "registryBurst": 2 * pull_qps,
        "imageGCHighThresholdPercent": 80 if dense else 85,
        "imageGCLowThresholdPercent": 70 if dense else 80,
        "kubeAPIQPS": qps,
        "kubeAPIBurst": 2 * qps,
        "eventRecordQPS": EVENT_QPS,
        "eventBurst": max(EVENT_BURST, pods_per_node),
        "serverTLSBootstrap": True,
        "rotateCertificates": True,
        "tlsMinVersion": "VersionTLS12",
        "readOnlyPort": 0,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        "containerLogMaxSize": f"{container_log_mib(pods_per_node, disk_mib)}Mi",
        "containerLogMaxFiles": LOG_FILES,
        "containerLogMaxWorkers": min(LOG_WORKERS_MAX, math.ceil(pods_per_node / DEFAULT_PODS)),
        "kubeReserved": {
            "cpu": f"{reserved_cpu_millicores(cpus, pods_per_node)}m",
            "memory": f"{reserved_memory_mib(memory_mib, pods_per_node)}Mi",
            "pid": str(1000 + SHIM_PIDS * pods_per_node),
        },
        "systemReserved": {"cpu": "100m", "memory": f"{256 + shared_mib}Mi", "pid": "1000"},
        "enforceNodeAllocatable": ["pods"],
        # What is not named here is not watched: the kubelet's own thresholds are dropped as soon as there is one of ours.
        "evictionHard": {
            "memory.available": f"{eviction_memory_mib(memory_mib)}Mi",
            "nodefs.available": "10%",
            "nodefs.inodesFree": "5%",
            "imagefs.available": "10%",
            "imagefs.inodesFree": "5%",
        },
        "shutdownGracePeriod": "60s",
        "shutdownGracePeriodCriticalPods": "20s",
    }
    for key, value in (overrides or {}).items():
        base = configuration.get(key)
        configuration[key] = {**base, **value} if isinstance(base, dict) and isinstance(value, Mapping) else value
    return configuration
