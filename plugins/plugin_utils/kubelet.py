# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubelet's per-node settings, from the pods it shall carry and the machine it runs on.

Sources: the tiers of memory and CPU are those that GKE documents for its nodes; 255 MiB + 11 MiB a pod is what EKS reserves (both were fitted to measured
kubelet and runtime use). KubeletConfiguration v1beta1 is described in the Kubernetes reference.
"""

from __future__ import annotations

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
#: pods a node up to which one process may fork freely; beyond, the node's PIDs are shared more tightly
PID_LIMIT_MAX = 4096
PID_LIMIT_MIN = 1024
PID_BUDGET = 1_000_000


def _tiered(amount: float, tiers: Sequence[tuple[float, float]]) -> float:
    total, below = 0.0, 0.0
    for limit, share in tiers:
        total += max(0.0, min(amount, limit) - below) * share
        below = limit
        if amount <= limit:
            break
    return total


def reserved_memory_mib(memory_mib: int, pods_per_node: int) -> int:
    """MiB kept for kubelet and runtime: the larger of the tiered rule and 255 MiB + 11 MiB a pod."""
    return round(max(_tiered(memory_mib, MEMORY_TIERS), BASE_MIB + PER_POD_MIB * pods_per_node))


def reserved_cpu_millicores(cpus: int) -> int:
    """Millicores kept for kubelet and runtime, by the tiered rule."""
    return round(_tiered(cpus, CPU_TIERS) * 1000)


def pod_pid_limit(pods_per_node: int) -> int:
    """PIDs that one pod may have, so that all pods together stay within :data:`PID_BUDGET`."""
    return max(PID_LIMIT_MIN, min(PID_LIMIT_MAX, PID_BUDGET // max(1, pods_per_node)))


def kubelet_configuration(
    pods_per_node: int,
    cpus: int,
    memory_mib: int,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the ``KubeletConfiguration`` drop-in of one node, ``overrides`` merged over it by top-level key and one level below.

    :param pods_per_node: the kubelet's maxPods.
    :param cpus: logical processors of the machine.
    :param memory_mib: its memory in MiB.
    """
    dense = pods_per_node > 110
    configuration: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "maxPods": pods_per_node,
        "podPidsLimit": pod_pid_limit(pods_per_node),
        "cgroupDriver": "systemd",
        "serializeImagePulls": False,
        "maxParallelImagePulls": 5,
        "kubeAPIQPS": 100 if dense else 50,
        "kubeAPIBurst": 200 if dense else 100,
        "eventRecordQPS": 50,
        "eventBurst": 100,
        "serverTLSBootstrap": True,
        "rotateCertificates": True,
        "tlsMinVersion": "VersionTLS12",
        "readOnlyPort": 0,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        "containerLogMaxSize": "20Mi",
        "containerLogMaxFiles": 3,
        "containerLogMaxWorkers": 4 if dense else 1,
        "kubeReserved": {
            "cpu": f"{reserved_cpu_millicores(cpus)}m",
            "memory": f"{reserved_memory_mib(memory_mib, pods_per_node)}Mi",
            "pid": "2000",
        },
        "systemReserved": {"cpu": "100m", "memory": "256Mi", "pid": "1000"},
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "10%",
            "nodefs.inodesFree": "5%",
            "imagefs.available": "10%",
        },
        "shutdownGracePeriod": "60s",
        "shutdownGracePeriodCriticalPods": "20s",
    }
    for key, value in (overrides or {}).items():
        base = configuration.get(key)
        configuration[key] = {**base, **value} if isinstance(base, dict) and isinstance(value, Mapping) else value
    return configuration
