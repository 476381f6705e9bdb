# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The formulas of a capacity plan: numbers in, numbers out, with the arithmetic and the source of each.

Pure, and without an inventory. Nothing is estimated here that the roles compute: kernel parameters, kubelet settings, blocks and flags come from the
functions that the roles use. Figures of others (etcd, CoreDNS, Prometheus, ...) carry their source; docs/capacity_plan.md explains each formula.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import normal_key
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    addresses,
    calico,
    cluster_schema,
    density,
    density_control_plane,
    density_limits,
    kubeadm_config,
    kubelet,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.addresses import Span
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_budgets import mib_of
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_rules import (
    LARGEST_CLUSTER_NODES,
    LARGEST_CLUSTER_PODS,
)

# A large cluster of upstream's is 5,000 nodes with 150,000 pods (kubernetes.io, "Considerations for large clusters"): 30 pods a node. Published sizes are
# by nodes like these; a dense node counts as so many of them.
PODS_PER_USUAL_NODE = LARGEST_CLUSTER_PODS // LARGEST_CLUSTER_NODES
USUAL_SOURCE = "kubernetes.io, Considerations for large clusters: 150,000 pods on 5,000 nodes"

# etcd.io, Hardware recommendations: (name, nodes of Kubernetes, CPUs, GB of memory, concurrent IOPS, MB/s).
ETCD_CLASSES = (
    ("small", 50, 2, 8, 3600, 56.25),
    ("medium", 250, 4, 16, 6000, 93.75),
    ("large", 1000, 8, 32, 8000, 125),
    ("xlarge", 3000, 16, 64, 16000, 250),
)
ETCD_SOURCE = "etcd.io, Hardware recommendations"
# Beside the database: five log files of 64 MiB (etcd's max-wals) and a snapshot that is written while the old one stands, rounded up.
EVENTS_DISK_GIB = 1
# docs.okd.io 4.10, Control plane node sizing (cluster-density test): (workers, CPUs, GB of memory).
CONTROL_PLANE_CLASSES = ((24, 4, 16), (120, 8, 32), (252, 16, 64), (501, 16, 96))
CONTROL_PLANE_SOURCE = "OKD 4.10, Recommended host practices, Control plane node sizing"

PROMETHEUS_MB_PER_POD = 2.8
PROMETHEUS_SOURCE = "OKD 4.9, Scaling the cluster monitoring operator: 10 GB of RAM at 3,600 pods on 100 nodes"
COREDNS_SOURCE = "coredns/deployment, Scaling_CoreDNS.md: (pods + Services) / 1000 + 54 MB, default settings"
COREDNS_LIMIT_MB, PODS_PER_SERVICE = 178, 10  # kubeadm's Deployment: limit 170Mi
METRICS_SERVER_SOURCE = "metrics-server README, Scaling: 200 MiB up to 100 nodes of 70 pods, 2 MiB for each node more"
STATE_METRICS_SOURCE = "kube-state-metrics 1.9 README, Resource recommendation: 200 MiB up to 100 nodes of 30 pods, 2 MiB for each node more"
TYPHA_SOURCE = "Calico, Install Typha: from 50 nodes on, one for 200 nodes, at least 3, at most 20"
TYPHA_NODES = 50
TESTED_PODS_PER_NODE = 110

KUBELET_SOURCE = "memory: the larger of GKE's tiers and EKS's 255 MiB + 11 MiB a pod, 6 more for its shim; CPU: GKE's tiers, more beyond 110 pods"
EVICTION_SOURCE = "kubelet, evictionHard"
BLOCK_SOURCE = "Calico IPAM blocks; two addresses for each pod, because those of ended pods linger"
INFLIGHT_SOURCE = "Kubernetes' scale tests, cluster/gce: 1500/500 from 30,000 pods, 3000/1000 from 90,000"
RATE_SOURCE = "the component's default, made for 110 pods a node, times the density"
WORKERS_SOURCE = "kube-controller-manager's defaults, multiplied (docs/density.md)"
LOAD_BALANCER_SOURCE = "MetalLB, avoidBuggyIPs: addresses that end in .0 and .255 are not given out"
SERVICE_SOURCE = "kube-apiserver, ipallocator: neither the network's own address nor IPv4's broadcast"
QUORUM_SOURCE = "etcd.io, FAQ: a quorum is (n/2)+1"

MB_PER_MIB = 1.048576


@dataclass(frozen=True)
class Machine:
    """A machine's size. ``basis``: ``measured`` (preflight), ``given`` (to the plan), ``required`` (the least that
    ``os_prep_requirements`` demands) or ``assumed``."""

    cpus: int
    memory_mib: int
    basis: str = "assumed"


ASSUMED = Machine(16, 65536)
MOST_CPUS, MOST_MEMORY_MIB = 65536, 1 << 30


class PlanError(ValueError):
    """Sizes of machines that cannot be used; the message names the entry and what fits."""


def machine_of(value: Any, name: str, basis: str) -> Machine:
    """Read ``{cpus, memory_mib}``.

    :raises PlanError: other keys, or numbers that no machine has.
    """
    if not isinstance(value, Mapping) or set(value) != {"cpus", "memory_mib"}:
        raise PlanError(f"{name}: write {{cpus: <number>, memory_mib: <number>}}")
    sizes = {}
    for key, most in (("cpus", MOST_CPUS), ("memory_mib", MOST_MEMORY_MIB)):
        size = value[key]
        if isinstance(size, str) and re.fullmatch(r"[0-9]{1,10}", size):
            size = int(size)
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= most:
            raise PlanError(f"{name}: {key} is a whole number from 1 to {most}")
        sizes[key] = size
    return Machine(sizes["cpus"], sizes["memory_mib"], basis)


def machines_of(
    given: Mapping[str, Any], measured: Mapping[str, Any], groups: Mapping[str, Sequence[str]]
) -> dict[str, Machine]:
    """The sizes that are known, by host: what preflight measured, else what is given for the host, else for the smallest of its groups.

    :param given: ``{host or group: {cpus, memory_mib}}``.
    :param measured: what ``machine_info`` said of hosts; one without usable numbers is passed over.
    :raises PlanError: a name that is no host and no group, or sizes that do not fit.
    """
    hosts = {host for members in groups.values() for host in members}
    found: dict[str, Machine] = {}
    known = {*hosts, *groups}
    for name in sorted(given, key=lambda name: (name in hosts, -len(set(groups.get(name, ()))), name)):
        if name not in known:
            near = cluster_schema.suggestion(str(name), known)
            raise PlanError(
                f"{cluster_schema.shown('', str(name))} is neither a host nor a group{'; ' + near if near else ''}"
            )
        machine = machine_of(given[name], str(name), "given")
        found |= {host: machine for host in ([name] if name in hosts else groups[name])}
    for host, facts in measured.items():
        try:
            sizes = {key: facts[key] for key in ("cpus", "memory_mib")}
            found[host] = machine_of(sizes, host, "measured")
        except (PlanError, KeyError, TypeError):
            continue
    return found


def usual_nodes(nodes: int, pods: int) -> int:
    """How many nodes of 30 pods a cluster is like: its nodes, or more when they are dense."""
    return max(nodes, math.ceil(pods / PODS_PER_USUAL_NODE))


def kubelet_plan(
    pods: int, machine: Machine, overrides: Mapping[str, Any] | None = None, shared_mib: int = 0
) -> tuple[dict[str, Any], list[str]]:
    """What the kubelet of a machine keeps for itself and what is left for pods, and warnings.

    Memory is in MiB. ``shared_mib`` is what a control plane keeps to itself beside workloads. ``max_pods`` is what ``podsPerCore`` leaves of maxPods.
    """
    settings = kubelet.kubelet_configuration(pods, machine.cpus, machine.memory_mib, overrides, shared_mib=shared_mib)
    most, per_core = int(settings["maxPods"]), int(settings.get("podsPerCore") or 0)
    effective = min(most, per_core * machine.cpus) if per_core else most
    warnings = []
    if effective < most:
        warnings.append(
            f"podsPerCore {per_core} x {machine.cpus} CPUs caps maxPods {most} at {effective}: raise it or drop it"
        )
    parts = {
        "kube_reserved_mib": (settings.get("kubeReserved") or {}).get("memory", 0),
        "system_reserved_mib": (settings.get("systemReserved") or {}).get("memory", 0),
        "eviction_mib": (settings.get("evictionHard") or {}).get("memory.available", 0),
    }
    # What is no quantity is refused with the inventory; here it is nothing.
    kept = {name: round(mib_of(text, machine.memory_mib) or 0) for name, text in parts.items()}
    left = machine.memory_mib - sum(kept.values())
    sums = " - ".join(str(amount) for amount in (machine.memory_mib, *kept.values()))
    if left <= 0:
        warnings.append(
            f"{sums} = {left} MiB: reservations leave no memory for pods; use more memory or fewer pods per node"
        )
    tiers, linear = kubelet.reserved_memory_mib(machine.memory_mib, 0), kubelet.pods_memory_mib(pods)
    each = kubelet.PER_POD_MIB + kubelet.SHIM_MIB
    how = (
        f"max(tiers of {machine.memory_mib} MiB: {tiers}, {kubelet.BASE_MIB} + {each} x {pods}: {linear}) MiB reserved"
    )
    if (overrides or {}).get("kubeReserved") is not None:
        how = "the inventory says what is reserved"
    if shared_mib:
        how += f", {shared_mib} MiB of the control plane in systemReserved"
    carrier = density_limits.Machine(machine.memory_mib, shared_mib=shared_mib, cpus=machine.cpus)
    limits = density_limits.exceeded(most, carrier, overrides)
    if limits and left > 0:
        warnings.append(f"this machine carries at most {density_limits.words(limits)}")
    return {
        "max_pods": effective,
        "pod_pids_limit": settings.get("podPidsLimit"),
        "kube_reserved": dict(settings.get("kubeReserved") or {}),
        "system_reserved": dict(settings.get("systemReserved") or {}),
        "eviction_hard": dict(settings.get("evictionHard") or {}),
        "allocatable_mib": left,
        "mib_per_pod": max(0, left // max(1, effective)),
        "arithmetic": f"{how}; {sums} = {left} MiB for pods",
        "source": f"{KUBELET_SOURCE}; {EVICTION_SOURCE}",
    }, warnings


def _plain(key: Any) -> str:
    """A parameter's name, however it is written."""
    return normal_key(str(key).strip().removeprefix("-"))


def sysctls(
    pods: int,
    machine: Machine,
    pod_cidrs: Sequence[str],
    network_plugin: str,
    overrides: Sequence[Mapping[str, Any]] = (),
    *,
    hide: bool = False,
) -> list[dict[str, Any]]:
    """Kernel parameters as rows: ``key``, ``bound`` (``exactly``, ``min``, ``max``, ``one_of``), ``value``, ``reason``, ``source``.

    :param overrides: the user's own parameters, level by level, the more special last.
    :param hide: the overrides come from a vault: their values are not shown.
    """
    own = {_plain(key) for level in overrides for key in level}
    levels = overrides[0] if len(overrides) == 1 else overrides
    found = density.kernel_parameters(
        pods, machine.cpus, machine.memory_mib, pod_cidrs, network_plugin, overrides=levels
    )
    rows = []
    for key, wanted in sorted(found.items()):
        given = wanted if isinstance(wanted, Mapping) else {"exactly": wanted}
        for bound in ("exactly", "min", "max", "one_of"):
            if bound in given:
                rows.append(
                    {
                        "key": key,
                        "bound": bound,
                        "value": cluster_schema.HIDDEN if hide and _plain(key) in own else given[bound],
                        "reason": str(given.get("reason") or "set by the inventory"),
                        "source": str(given.get("source") or "cluster_kernel_parameters"),
                    }
                )
    return rows


# --- addresses


def node_addresses(pods: int, block_size: int) -> dict[str, Any]:
    """Addresses and Calico blocks (IPv4 prefix length) that a node with ``pods`` pods needs."""
    wanted, in_block = calico.ADDRESSES_PER_POD * pods, 1 << (32 - block_size)
    blocks = calico.blocks_needed(pods, block_size)
    return {
        "wanted": wanted,
        "block_size": block_size,
        "addresses_per_block": in_block,
        "blocks": blocks,
        "addresses": blocks * in_block,
        "most_blocks": calico.max_blocks_per_node(pods, block_size),
        "arithmetic": f"{calico.ADDRESSES_PER_POD} x {pods} pods = {wanted} addresses; {wanted} / {in_block}, rounded up, "
        f"is {blocks} block{'s' if blocks > 1 else ''} of /{block_size}",
        "source": BLOCK_SOURCE,
    }


def family_plan(pool: Span, block_length: int, needs: Mapping[int, int]) -> dict[str, Any]:
    """How far one pod network reaches.

    :param block_length: prefix length of a block (or of a node's own range) in the family of ``pool``.
    :param needs: ``{blocks that a node needs: number of such nodes}``.
    """
    blocks = addresses.blocks_in(pool, block_length)
    planned = sum(per_node * nodes for per_node, nodes in needs.items())
    nodes, densest = sum(needs.values()), max(needs)
    free = blocks - planned
    more = max(0, free // densest)
    sums = " + ".join(f"{count} x {per_node}" for per_node, count in sorted(needs.items()))
    return {
        "family": pool.family,
        "network": pool.text,
        "block_length": block_length,
        "blocks": blocks,
        "planned": planned,
        "free": free,
        "more_nodes": more,
        "largest_of_the_densest": blocks // densest,
        "largest": nodes + more,
        "arithmetic": f"{pool.text} has {blocks} blocks of /{block_length}; {nodes} nodes ({sums}) need {planned}; "
        f"{max(0, free)} free / {densest}, rounded down, is {more} more nodes of the densest",
    }


def buggy(span: Span) -> int:
    """How many IPv4 addresses of a span end in .0 or .255."""
    if span.family != 4:
        return 0
    return sum((span.last - end) // 256 - (span.first - 1 - end) // 256 for end in (0, 255))


# --- etcd and control plane


def etcd_class(usual: int) -> dict[str, Any]:
    """The smallest of etcd's example machines for a cluster like ``usual`` nodes; the largest where none is large enough."""
    fitting = next((one for one in ETCD_CLASSES if usual <= one[1]), ETCD_CLASSES[-1])
    name, up_to, cpus, memory, iops, bandwidth = fitting
    return {
        "name": name,
        "up_to_nodes": up_to,
        "cpus": cpus,
        "memory_gb": memory,
        "iops": iops,
        "bandwidth_mb_s": bandwidth,
        "source": ETCD_SOURCE,
    }


def events_etcd(pods: int) -> dict[str, Any]:
    """What the second member of an etcd host takes, where events have an etcd of their own. ``pods``: planned for the cluster."""
    mib = density_control_plane.events_etcd_mib(pods)
    return {
        "memory_mib": mib,
        "memory_gb": round(mib * 1048576 / 1e9, 1),
        "disk_gib_beside_quota": EVENTS_DISK_GIB,
        "arithmetic": f"{density_control_plane.EVENTS_ETCD_MIB} MiB + {density_control_plane.EVENTS_COPIES} x {density_control_plane.EVENTS_PER_POD} events of "
        f"{density_control_plane.EVENT_KIB} KiB x {pods} pods",
        "source": "ours (docs/density.md)",
    }


def control_plane_class(usual: int) -> dict[str, Any]:
    """The smallest published control plane for a cluster like ``usual`` nodes."""
    up_to, cpus, memory = next((one for one in CONTROL_PLANE_CLASSES if usual <= one[0]), CONTROL_PLANE_CLASSES[-1])
    return {"up_to_nodes": up_to, "cpus": cpus, "memory_gb": memory, "source": CONTROL_PLANE_SOURCE}


def quorum_plan(racks: Mapping[str, int]) -> dict[str, Any]:
    """Etcd's quorum and which racks it cannot lose. ``racks``: members by rack."""
    members = sum(racks.values())
    quorum = members // 2 + 1
    return {
        "members": members,
        "quorum": quorum,
        "tolerates": members - quorum,
        "fatal_racks": sorted(rack for rack, count in racks.items() if rack and members - count < quorum),
        "arithmetic": f"{members} members need {quorum}, {members - quorum} may fail",
        "source": QUORUM_SOURCE,
    }


SIZED_FLAGS = {*density_control_plane.SYNC_WORKERS, "endpointslice-updates-batch-period"}
FLAG_REASONS = {
    ("kube-apiserver", "max-requests-inflight"): "inflight",
    ("kube-apiserver", "max-mutating-requests-inflight"): "inflight",
    ("kube-controller-manager", "kube-api-qps"): "rate",
    ("kube-controller-manager", "kube-api-burst"): "rate",
    ("kube-scheduler", "kube-api-qps"): "rate",
    ("kube-scheduler", "kube-api-burst"): "rate",
}


def control_plane_flags(settings: kubeadm_config.ClusterSettings, *, hide: bool = False) -> list[dict[str, str]]:
    """All flags that kubeadm's configuration sets, as ``component``, ``flag``, ``value``, ``reason``, ``source``; empty reason: not by size.

    :param hide: the inventory's own flags come from a vault: their values are not shown.
    :raises KubeadmConfigError: a setting from which no configuration can be made.
    """
    document = kubeadm_config.cluster_configuration(settings)
    own = {
        "kube-apiserver": settings.apiserver_extra_args,
        "kube-controller-manager": settings.controller_manager_extra_args,
        "kube-scheduler": settings.scheduler_extra_args,
    }
    reasons = {
        "inflight": (f"for {settings.pods} pods in the cluster", INFLIGHT_SOURCE),
        "rate": (f"for {settings.pods_per_node} pods a node", RATE_SOURCE),
        "workers": (
            f"for {settings.pods} pods in the cluster and {settings.pods_per_node} pods a node",
            WORKERS_SOURCE,
        ),
    }
    rows = []
    for component, section in (
        ("kube-apiserver", "apiServer"),
        ("kube-controller-manager", "controllerManager"),
        ("kube-scheduler", "scheduler"),
    ):
        for argument in document[section]["extraArgs"]:
            flag = argument["name"]
            by_size = FLAG_REASONS.get((component, flag), "workers" if flag in SIZED_FLAGS else "")
            value = argument["value"]
            if flag in own[component]:
                reason, source = "set by the inventory", "control_plane_*_extra_args"
                value = cluster_schema.HIDDEN if hide or cluster_schema.is_secret(flag) else value
            else:
                reason, source = reasons.get(by_size, ("", ""))
            rows.append({"component": component, "flag": flag, "value": value, "reason": reason, "source": source})
    return rows


# --- what else needs memory


def typha_replicas(nodes: int) -> int:
    """Typhas that Calico recommends; none up to 50 nodes."""
    return 0 if nodes <= TYPHA_NODES else max(3, min(20, math.ceil(nodes / 200)))


def controllers(nodes: int, pods: int) -> list[dict[str, Any]]:
    """Memory (MB, an instance) that controllers need whose size follows from nodes and pods. ``installed``: by this collection."""
    services = math.ceil(pods / PODS_PER_SERVICE)
    usual, of_seventy = usual_nodes(nodes, pods), max(nodes, math.ceil(pods / 70))
    more, more_state = max(0, of_seventy - 100), max(0, usual - 100)
    names = {
        "CoreDNS": f"({pods} pods + {services} Services) / 1000 + 54 MB",
        "Prometheus": f"{PROMETHEUS_MB_PER_POD} MB x {pods} pods",
        "kube-state-metrics": f"200 MiB + 2 MiB x {more_state} (like {usual} nodes, less 100)",
        "metrics-server": f"200 MiB + 2 MiB x {more} (like {of_seventy} nodes, less 100)",
    }
    amounts = {
        "CoreDNS": (
            True,
            density_control_plane.coredns_replicas(pods, nodes),
            (pods + services) / 1000 + 54,
            COREDNS_SOURCE,
        ),
        "Prometheus": (False, 1, PROMETHEUS_MB_PER_POD * pods, PROMETHEUS_SOURCE),
        "kube-state-metrics": (False, 1, (200 + 2 * more_state) * MB_PER_MIB, STATE_METRICS_SOURCE),
        "metrics-server": (False, 1, (200 + 2 * more) * MB_PER_MIB, METRICS_SERVER_SOURCE),
    }
    return [
        {
            "name": name,
            "installed": installed,
            "instances": instances,
            "memory_mb": round(memory),
            "arithmetic": names[name],
            "source": source,
        }
        for name, (installed, instances, memory, source) in amounts.items()
    ]


# --- what a loss leaves


def survival(pools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Workload pods before and after losing the largest node, or the largest rack, for each set of taints.

    Pods move only to nodes whose taints they tolerate, so each set of taints is a class of its own; control planes with kubeadm's taint carry no
    workload. ``after_rack`` is None where fewer than two racks are named.
    """
    control = f"{kubeadm_config.CONTROL_PLANE_TAINT['key']}:{kubeadm_config.CONTROL_PLANE_TAINT['effect']}"
    classes: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for pool in pools:
        if control not in pool["taints"]:
            classes.setdefault(tuple(pool["taints"]), []).append(pool)
    rows = []
    for taints, members in sorted(classes.items()):
        total = sum(pool["workload_pods"] for pool in members)
        node = max(row["workload_pods"] for pool in members for row in pool["machines"])
        racks: Counter[str] = Counter()
        for pool in members:
            racks[pool["rack"]] += pool["workload_pods"]
        named = {rack: count for rack, count in racks.items() if rack}
        worst = max(sorted(named), key=lambda rack: named[rack]) if len(racks) > 1 and named else ""
        rows.append(
            {
                "taints": list(taints),
                "nodes": sum(pool["nodes"] for pool in members),
                "pods": total,
                "after_node": total - node,
                "worst_rack": worst,
                "after_rack": total - named[worst] if worst else None,
                "arithmetic": f"{total} - {node} = {total - node} pods without the largest node"
                + (f"; {total} - {named[worst]} = {total - named[worst]} without rack {worst}" if worst else ""),
            }
        )
    return rows
