# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many pods a machine can carry, by what ends first. Pure; docs/density.md explains each figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster_budgets, density, kubelet

# The smallest pod: its sandbox, the kernel's part (a network namespace, a veth pair, cgroups) and a process that does next to nothing.
LEAST_POD_MIB = 16
# The least that a pod of one small program may fork, and its shim's threads.
LEAST_POD_PIDS = 64 + kubelet.SHIM_PIDS
# What the pods that belong to the node itself request: kubeadm's static pods (cmd/kubeadm/app/phases/controlplane: 250m, 200m, 100m), and this
# collection's defaults for the network plugin's agent (calico_node_cpu_request, cilium_agent_cpu_request).
STATIC_PODS_MILLICORES, AGENT_MILLICORES = 550, 250
# No node with more was ever described by anybody.
MOST_PODS = 1 << 16


@dataclass(frozen=True)
class Machine:
    """A machine, or the least that a pool's machines are. 0 is unknown: what depends on it is not judged.

    ``disk_mib``: size of the disk with the containers' logs. ``shared_mib``: what a control plane keeps to itself beside workloads.
    ``control_plane``: it runs the static pods too.
    """

    memory_mib: int = 0
    disk_mib: int = 0
    shared_mib: int = 0
    cpus: int = 0
    control_plane: bool = False


@dataclass(frozen=True)
class Limit:
    """The most pods that one resource lets a machine carry, and the arithmetic."""

    resource: str
    most: int
    why: str


def most_that(fits: Callable[[int], bool]) -> int:
    """The largest number of pods that fits, by halving; ``fits`` holds for all numbers up to it and none beyond."""
    low, high = 0, MOST_PODS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _memory(machine: Machine, settings: Mapping[str, Any]) -> Limit | None:
    def taken(pods: int) -> list[int] | None:
        return cluster_budgets.reserved_mib(pods, machine.memory_mib, settings, machine.shared_mib)

    if taken(1) is None:
        return None
    most = most_that(lambda pods: sum(taken(pods) or []) + LEAST_POD_MIB * pods <= machine.memory_mib)
    sums = " + ".join(str(part) for part in taken(max(1, most)) or [])
    why = f"{sums} MiB reserved and {LEAST_POD_MIB} MiB a pod fill {machine.memory_mib} MiB"
    return Limit("memory", most, why)


def _processors(machine: Machine, settings: Mapping[str, Any]) -> Limit | None:
    """The scheduler must find room for the node's own pods; without the network plugin's agent the node never becomes Ready."""
    own = AGENT_MILLICORES + (STATIC_PODS_MILLICORES if machine.control_plane else 0)

    def reserved(pods: int) -> list[int] | None:
        return cluster_budgets.reserved_millicores(pods, machine.cpus, settings)

    if reserved(1) is None:
        return None
    most = most_that(lambda pods: sum(reserved(pods) or []) + own <= 1000 * machine.cpus)
    sums = " + ".join(str(part) for part in reserved(max(1, most)) or [])
    whose = "the static pods and the network plugin's agent" if machine.control_plane else "the network plugin's agent"
    return Limit(
        "CPU", most, f"{sums} millicores reserved and {own} that {whose} request fill {machine.cpus} processors"
    )


def _processes(machine: Machine, settings: Mapping[str, Any]) -> Limit:
    own = settings.get("podPidsLimit")
    own = own if isinstance(own, int) and not isinstance(own, bool) and own > 0 else 0
    numbers = density.PID_MAX_LIMIT - density.SYSTEM_PROCESSES
    most = most_that(lambda pods: pods * (own or kubelet.pod_pid_limit(pods)) <= numbers)
    why = f"podPidsLimit {own or kubelet.PID_LIMIT_MIN} for each of them fills the kernel's {density.PID_MAX_LIMIT} process numbers"
    threads = max(0, density.THREADS_PER_MIB * machine.memory_mib - density.SYSTEM_PROCESSES) // LEAST_POD_PIDS
    if machine.memory_mib and threads < most:
        most = threads
        why = f"{LEAST_POD_PIDS} threads a pod fill what {machine.memory_mib} MiB hold of stacks at {density.THREADS_PER_MIB} a MiB"
    return Limit("PIDs", most, why)


def _disk(machine: Machine, settings: Mapping[str, Any]) -> Limit:
    each = kubelet.LOG_FILES * kubelet.LOG_MIB_MIN
    why = (
        f"{kubelet.LOG_FILES} log files of {kubelet.LOG_MIB_MIN} MiB a pod fill {kubelet.LOG_SHARE:.0%} of {machine.disk_mib} MiB; "
        "containerLogMaxSize in cluster_kubelet_configuration decides otherwise"
    )
    own = {"containerLogMaxSize", "containerLogMaxFiles"} & set(settings)
    most = MOST_PODS if own else int(machine.disk_mib * kubelet.LOG_SHARE) // each
    return Limit("disk", min(MOST_PODS, most), why)


def _connections(machine: Machine) -> Limit:
    entries = density.CONNTRACK_PER_MIB * machine.memory_mib
    why = f"{density.CONNTRACK_PER_POD} tracked connections a pod fill 2 % of {machine.memory_mib} MiB"
    return Limit("conntrack", max(density.CONNTRACK, entries) // density.CONNTRACK_PER_POD, why)


def limits(machine: Machine, settings: Mapping[str, Any] | None = None) -> list[Limit]:
    """What limits the pods of a machine, the tightest first.

    :param settings: the user's fields of KubeletConfiguration.
    """
    settings = settings or {}
    found = [_processes(machine, settings)]
    if machine.memory_mib:
        memory = _memory(machine, settings)
        found += [*([memory] if memory else []), _connections(machine)]
    if machine.cpus:
        processors = _processors(machine, settings)
        found += [processors] if processors else []
    if machine.disk_mib:
        found.append(_disk(machine, settings))
    return sorted(found, key=lambda limit: (limit.most, limit.resource))


def exceeded(pods: int, machine: Machine, settings: Mapping[str, Any] | None = None) -> list[Limit]:
    """Those limits that ``pods`` go beyond, the tightest first. Up to Kubernetes' own 110 nobody promised that a machine can be filled."""
    if pods <= kubelet.DEFAULT_PODS:
        return []
    return [limit for limit in limits(machine, settings) if limit.most < pods]


def words(found: list[Limit]) -> str:
    """Limits in words: ``146 (memory: ...), 256 (conntrack: ...)``."""
    return "; ".join(f"{limit.most} by {limit.resource}: {limit.why}" for limit in found)
