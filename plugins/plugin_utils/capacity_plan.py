# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory makes: ``plan(View, machines) -> dict``, and the plan as a table.

Pure. Nothing is estimated here that the roles compute: kernel parameters, kubelet settings, blocks and flags come from the functions that the roles
use, so the plan cannot say another number than the run sets. Figures of others (etcd, CoreDNS, Prometheus, ...) carry their source.
``docs/capacity_plan.md`` explains each formula.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl import normal_key
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    addresses,
    calico,
    cluster_schema,
    density,
    kubeadm_config,
    kubelet,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.addresses import Span
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import Host, View, key_of, some
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_rules import (
    LARGEST_CLUSTER_NODES,
    LARGEST_CLUSTER_PODS,
)

SCHEMA = 1
Plan = dict[str, Any]

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
# docs.okd.io 4.10, Control plane node sizing (cluster-density test): (workers, CPUs, GB of memory).
CONTROL_PLANE_CLASSES = ((24, 4, 16), (120, 8, 32), (252, 16, 64), (501, 16, 96))
CONTROL_PLANE_SOURCE = "OKD 4.10, Recommended host practices, Control plane node sizing"

PROMETHEUS_MB_PER_POD = 2.8
PROMETHEUS_SOURCE = "OKD 4.9, Scaling the cluster monitoring operator: 10 GB of RAM at 3,600 pods on 100 nodes"
COREDNS_SOURCE = "coredns/deployment, Scaling_CoreDNS.md: (pods + Services) / 1000 + 54 MB, default settings"
COREDNS_REPLICAS, COREDNS_LIMIT_MB, PODS_PER_SERVICE = 2, 178, 10  # kubeadm's Deployment: two replicas, limit 170Mi
METRICS_SERVER_SOURCE = "metrics-server README, Scaling: 200 MiB up to 100 nodes of 70 pods, 2 MiB for each node more"
STATE_METRICS_SOURCE = "kube-state-metrics 1.9 README, Resource recommendation: 200 MiB up to 100 nodes of 30 pods, 2 MiB for each node more"
TYPHA_SOURCE = "Calico, Install Typha: from 50 nodes on, one for 200 nodes, at least 3, at most 20"
TYPHA_NODES = 50
TESTED_PODS_PER_NODE = 110

KUBELET_SOURCE = "memory: the larger of GKE's tiers and EKS's 255 MiB + 11 MiB a pod; CPU: GKE's tiers"
EVICTION_SOURCE = "kubelet, evictionHard"
BLOCK_SOURCE = "Calico IPAM blocks; two addresses for each pod, because those of ended pods linger"
INFLIGHT_SOURCE = "Kubernetes' scale tests, cluster/gce: 1500/500 from 30,000 pods, 3000/1000 from 90,000"
RATE_SOURCE = "the component's default, made for 110 pods a node, times the density"
LOAD_BALANCER_SOURCE = "MetalLB, avoidBuggyIPs: addresses that end in .0 and .255 are not given out"
SERVICE_SOURCE = "kube-apiserver, ipallocator: neither the network's own address nor IPv4's broadcast"
QUORUM_SOURCE = "etcd.io, FAQ: a quorum is (n/2)+1"

MB_PER_MIB = 1.048576
MIB = {"": 1 / 1048576, "k": 1000 / 1048576, "M": 1e6 / 1048576, "G": 1e9 / 1048576, "T": 1e12 / 1048576}
MIB |= {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024, "Ti": 1048576}
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(%|[KMGT]i|[kMGT])?")


@dataclass(frozen=True)
class Machine:
    """A machine's size. ``basis``: ``measured`` (preflight), ``given`` (by the user) or ``assumed``."""

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
        text = str(value[key])
        if isinstance(value[key], bool) or not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= most:
            raise PlanError(f"{name}: {key} is a whole number from 1 to {most}")
        sizes[key] = int(text)
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


def quantity_mib(text: Any, whole_mib: float) -> float | None:
    """A quantity of Kubernetes (``200Mi``, ``1G``, ``5%`` of ``whole_mib``) in MiB; nothing when it is none."""
    match = QUANTITY.fullmatch(str(text).strip())
    if match is None:
        return None
    if match[2] == "%":
        return whole_mib * float(match[1]) / 100
    return float(match[1]) * MIB[match[2] or ""]


def usual_nodes(nodes: int, pods: int) -> int:
    """How many nodes of 30 pods a cluster is like: its nodes, or more when they are dense."""
    return max(nodes, math.ceil(pods / PODS_PER_USUAL_NODE))


# --- a node


def _number(view: View, host: Host, *names: str) -> int | None:
    """The first of several variables that has a value: a role's own before the cluster's, and then the declared default."""
    for name in names:
        found = view.number(host, name)
        if found is not None:
            return found
    default = view.options[names[-1]].default if names[-1] in view.options else None
    return None if default is None else int(default)


def _value(view: View, host: Host, *names: str) -> Any:
    return next((found for name in names if (found := view.value(host, name)) is not None), None)


def _taints(view: View, host: Host, control_plane: bool) -> tuple[str, ...]:
    """The taints that keep pods away, as ``key=value:effect``."""
    name = "control_plane_node_taints" if control_plane else "worker_node_taints"
    taints = _value(view, host, name, "cluster_node_taints")
    if taints is None:
        taints = [kubeadm_config.CONTROL_PLANE_TAINT] if control_plane else []
    blocking = [one for one in taints if one["effect"] in ("NoSchedule", "NoExecute")]
    return tuple(
        sorted(f"{one['key']}{'=' + one['value'] if one.get('value') else ''}:{one['effect']}" for one in blocking)
    )


def own_pods(view: View, control_plane: bool) -> int:
    """Pods of a node's maxPods that the cluster itself takes: DaemonSets of this collection and kubeadm's static pods."""
    plugin = view.common("cluster_network_plugin")
    taken = [
        view.common("cluster_kube_proxy_mode") != "none",  # kube-proxy
        plugin == "calico",  # calico-node
        plugin != "none",  # the probe workload
        plugin != "none" and view.common("cluster_load_balancer_mode") == "metallb_l2",  # MetalLB's speaker
    ]
    return sum(taken) + (3 if control_plane else 0)


def kubelet_plan(
    pods: int, machine: Machine, overrides: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """What the kubelet of a machine keeps for itself and what is left for pods, and warnings.

    Memory is in MiB. ``max_pods`` is what ``podsPerCore`` leaves of maxPods.
    """
    settings = kubelet.kubelet_configuration(pods, machine.cpus, machine.memory_mib, overrides)
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
    amounts = {name: quantity_mib(text, machine.memory_mib) for name, text in parts.items()}
    for name, amount in amounts.items():
        if amount is None:
            warnings.append(f"{name}: {parts[name]!r} is not a quantity of memory; it counts as nothing here")
    kept = {name: round(amount or 0) for name, amount in amounts.items()}
    left = machine.memory_mib - sum(kept.values())
    sums = " - ".join(str(amount) for amount in (machine.memory_mib, *kept.values()))
    if left <= 0:
        warnings.append(
            f"{sums} = {left} MiB: reservations leave no memory for pods; use more memory or fewer pods per node"
        )
    tiers, linear = kubelet.reserved_memory_mib(machine.memory_mib, 0), kubelet.BASE_MIB + kubelet.PER_POD_MIB * pods
    how = f"max(tiers of {machine.memory_mib} MiB: {tiers}, {kubelet.BASE_MIB} + {kubelet.PER_POD_MIB} x {pods}: {linear}) MiB reserved"
    if (overrides or {}).get("kubeReserved") is not None:
        how = "the inventory says what is reserved"
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


def sysctls(
    pods: int,
    machine: Machine,
    pod_cidrs: Sequence[str],
    network_plugin: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    hide: bool = False,
) -> list[dict[str, Any]]:
    """Kernel parameters as rows: ``key``, ``bound`` (``exactly``, ``min``, ``max``, ``one_of``), ``value``, ``reason``, ``source``.

    :param hide: the overrides come from a vault: their values are not shown.
    """
    own = {normal_key(str(key)) for key in overrides or {}}
    found = density.kernel_parameters(
        pods, machine.cpus, machine.memory_mib, pod_cidrs, network_plugin, overrides=overrides
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
                        "value": cluster_schema.HIDDEN if hide and key in own else given[bound],
                        "reason": str(given.get("reason") or "set by the inventory"),
                        "source": str(given.get("source") or "cluster_kernel_parameters"),
                    }
                )
    return rows


def pids_warning(settings: Mapping[str, Any], parameters: Iterable[Mapping[str, Any]]) -> list[str]:
    """Pods that may together start more processes than the machine is sure to have numbers for."""
    sure = next((row["value"] for row in parameters if row["key"] == "kernel.pid_max" and row["bound"] != "max"), None)
    limit, pods = settings["pod_pids_limit"], settings["max_pods"]
    if not isinstance(sure, int) or not isinstance(limit, int) or limit * pods <= sure:
        return []
    return [f"podPidsLimit {limit} x {pods} pods = {limit * pods}, kernel.pid_max is sure to be {sure} only"]


@dataclass(frozen=True)
class _Node:
    host: Host
    role: str
    rack: str
    pods: int
    tuned_for: int
    taints: tuple[str, ...]
    machine: Machine
    kubelet_overrides: Mapping[str, Any]
    kernel_overrides: Mapping[str, Any]
    hide_kernel: bool = False

    @property
    def variant(self) -> str:
        """Equal for nodes that get the same settings."""
        return key_of(
            [
                self.machine.cpus,
                self.machine.memory_mib,
                self.machine.basis,
                self.tuned_for,
                key_of(self.kubelet_overrides),
                key_of(self.kernel_overrides),
                self.hide_kernel,
            ]
        )


def _nodes(view: View, machines: Mapping[str, Machine], assumed: Machine) -> list[_Node]:
    planes = {host.name for host in view.group("control_plane")}
    found = []
    for host in view.nodes:
        inventory = _number(view, host, "cluster_pods_per_node") or TESTED_PODS_PER_NODE
        found.append(
            _Node(
                host,
                "control_plane" if host.name in planes else "worker",
                str(view.value(host, "cluster_rack") or ""),
                view.number(host, "kubelet_pods_per_node") or inventory,
                view.number(host, "kernel_tuning_pods_per_node") or inventory,
                _taints(view, host, host.name in planes),
                machines.get(host.name, assumed),
                _value(view, host, "kubelet_configuration", "cluster_kubelet_configuration") or {},
                _value(view, host, "kernel_tuning_parameters", "cluster_kernel_parameters") or {},
                not host.secrets.isdisjoint(("kernel_tuning_parameters", "cluster_kernel_parameters")),
            )
        )
    return found


# --- pools


def _pool_name(view: View, names: frozenset[str], role: str) -> str:
    """The smallest inventory group of the role that has all these hosts; the role's own group only when there is no other."""
    group = "control_plane" if role == "control_plane" else "workers"
    members = {host.name for host in view.group(group)}
    others = [
        (len(set(hosts)), name)
        for name, hosts in view.input.groups.items()
        if name not in (group, "all", "ungrouped", "etcd") and names <= set(hosts) <= members
    ]
    return min(others)[1] if others else group


def _machine_rows(
    view: View, nodes: Sequence[_Node], pods: int, own: int
) -> tuple[list[dict[str, Any]], list[tuple[str, list[str]]]]:
    variants: dict[str, list[_Node]] = {}
    for node in nodes:
        variants.setdefault(node.variant, []).append(node)
    rows, warnings = [], []
    for same in variants.values():
        first = same[0]
        names = [node.host.name for node in same]
        settings, found = kubelet_plan(pods, first.machine, first.kubelet_overrides)
        parameters = sysctls(
            first.tuned_for,
            first.machine,
            view.common("cluster_pod_cidrs") or (),
            view.common("cluster_network_plugin") or "",
            first.kernel_overrides,
            hide=first.hide_kernel,
        )
        warnings += [(text, names) for text in (*found, *pids_warning(settings, parameters))]
        rows.append(
            {
                "cpus": first.machine.cpus,
                "memory_mib": first.machine.memory_mib,
                "basis": first.machine.basis,
                "nodes": len(same),
                "hosts": names,
                "workload_pods": max(0, settings["max_pods"] - own),
                "kubelet": settings,
                "sysctls": parameters,
            }
        )
    return rows, warnings


def _pools(view: View, nodes: Sequence[_Node], block_size: int | None) -> tuple[list[dict[str, Any]], list[str]]:
    groups: dict[tuple[str, str, int, tuple[str, ...]], list[_Node]] = {}
    for node in nodes:
        groups.setdefault((node.role, node.rack, node.pods, node.taints), []).append(node)
    pools, warnings = [], []
    for (role, rack, pods, taints), members in sorted(groups.items()):
        own = own_pods(view, role == "control_plane")
        machines, found = _machine_rows(view, members, pods, own)
        name = _pool_name(view, frozenset(node.host.name for node in members), role)
        label = f"{name}, rack {rack}" if rack else name
        warnings += [f"{label}: {text} ({some(names)})" for text, names in found]
        pools.append(
            {
                "name": name,
                "label": label,
                "role": role,
                "rack": rack,
                "taints": list(taints),
                "pods_per_node": pods,
                "nodes": len(members),
                "hosts": [node.host.name for node in members],
                "max_pods": min(row["kubelet"]["max_pods"] for row in machines),
                "own_pods_per_node": own,
                "pods": sum(row["kubelet"]["max_pods"] * row["nodes"] for row in machines),
                "workload_pods": sum(row["workload_pods"] * row["nodes"] for row in machines),
                "addresses": node_addresses(pods, block_size) if block_size else None,
                "machines": machines,
            }
        )
    return pools, warnings


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


def _address_plan(view: View, nodes: Sequence[_Node], block_size: int | None) -> tuple[dict[str, Any], list[str]]:
    families, warnings = [], []
    densest = max((node.pods for node in nodes), default=0)
    for pool in view.pods if nodes else ():
        if block_size:
            length = block_size if pool.family == 4 else 128 - (32 - block_size)
            needs = Counter(calico.blocks_needed(node.pods, block_size) for node in nodes)
        else:
            try:
                prefix = pool.prefix_length or 0
                length = kubeadm_config.node_cidr_mask_size(densest, prefix) if pool.family == 4 else max(64, prefix)
            except kubeadm_config.KubeadmConfigError as error:
                warnings.append(f"cluster_pod_cidrs: {error}")
                continue
            needs = Counter({1: len(nodes)})
        families.append(family_plan(pool, length, needs))
    largest = min((one["largest"] for one in families), default=None)
    if largest is not None and largest <= len(nodes):
        warnings.append(
            f"cluster_pod_cidrs has no room for one more of the densest nodes: {len(nodes)} nodes are all; "
            "a node cannot be replaced before the old one is gone"
        )
    return {
        "families": families,
        "largest_cluster_nodes": largest,
        "largest_of_the_densest": min((one["largest_of_the_densest"] for one in families), default=None),
        "routes": sum(one["planned"] for one in families),
        "tested_upstream": {"nodes": LARGEST_CLUSTER_NODES, "pods": LARGEST_CLUSTER_PODS, "source": USUAL_SOURCE},
        "source": BLOCK_SOURCE if block_size else "kube-controller-manager, --node-cidr-mask-size; twice the pods",
    }, warnings


def buggy(span: Span) -> int:
    """How many IPv4 addresses of a span end in .0 or .255."""
    if span.family != 4:
        return 0
    return sum((span.last - end) // 256 - (span.first - 1 - end) // 256 for end in (0, 255))


def _load_balancer(view: View) -> dict[str, Any]:
    mode = view.common("cluster_load_balancer_mode")
    pools: dict[str, dict[str, Any]] = {}
    for name, span in view.pools:
        entry = pools.setdefault(name, {"name": name, "addresses": 0, "usable": 0, "ranges": []})
        entry["addresses"] += span.size
        entry["usable"] += span.size - buggy(span)
        entry["ranges"].append(span.text)
    used = list(pools.values()) if mode != "none" else []
    for entry in used:
        lost = entry["addresses"] - entry["usable"]
        entry["arithmetic"] = f"{entry['addresses']} addresses - {lost} that end in .0 or .255 = {entry['usable']}"
    return {
        "mode": mode,
        "pools": used,
        "usable": sum(one["usable"] for one in used),
        "source": LOAD_BALANCER_SOURCE,
    }


def _services(view: View) -> list[dict[str, Any]]:
    return [
        {
            "network": span.text,
            "usable": max(0, span.size - (2 if span.family == 4 else 1)),
            "source": SERVICE_SOURCE,
        }
        for span in view.services
    ]


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


def _small(host: Host, machine: Machine, cpus: int, memory_gb: float, what: str) -> str:
    """A sentence when a machine that is known is smaller than it should be (a tenth of the memory is the firmware's and the kernel's)."""
    if machine.basis == "assumed" or (machine.cpus >= cpus and machine.memory_mib >= memory_gb * 1e9 / 1048576 * 0.9):
        return ""
    return f"{host.name} has {machine.cpus} CPUs and {machine.memory_mib} MiB; {what} is {cpus} CPUs and {memory_gb} GB"


def _etcd(
    view: View, usual: int, machines: Mapping[str, Machine], assumed: Machine
) -> tuple[dict[str, Any], list[str]]:
    members = view.group("etcd")
    size = etcd_class(usual)
    warnings: list[str] = []
    rows: list[dict[str, Any]] = []
    planes = {host.name for host in view.nodes}
    for host in members:
        heartbeat = _number(view, host, "etcd_heartbeat_interval_ms")
        election = _number(view, host, "etcd_election_timeout_ms")
        quota = view.value(host, "etcd_quota_backend_gib")
        if quota is None and "etcd_quota_backend_gib" in view.options:
            quota = view.options["etcd_quota_backend_gib"].default
        rows.append(
            {
                "host": host.name,
                "rack": str(view.value(host, "cluster_rack") or ""),
                "beside_kubernetes": host.name in planes,
                "heartbeat_ms": heartbeat,
                "election_ms": election,
                "quota_gib": None if quota is None else float(quota),
            }
        )
        if heartbeat and election and election < 10 * heartbeat:
            warnings.append(
                f"etcd on {host.name}: an election timeout of {election} ms is less than ten heartbeats of {heartbeat} ms (etcd.io, Tuning)"
            )
        text = _small(
            host,
            machines.get(host.name, assumed),
            size["cpus"],
            size["memory_gb"],
            f"etcd's example machine '{size['name']}'",
        )
        warnings += [text] if text else []
    for field, words in (("heartbeat_ms", "heartbeats"), ("election_ms", "election timeouts"), ("quota_gib", "quotas")):
        values = sorted({row[field] for row in rows if row[field] is not None})
        if len(values) > 1:
            warnings.append(f"etcd's members have different {words}: {', '.join(map(str, values))}")
    racks = Counter(str(row["rack"]) for row in rows)
    quorum = quorum_plan(racks)
    warnings += [
        f"rack {rack} has {racks[rack]} of {quorum['members']} etcd members: its loss stops the API, running pods go on"
        for rack in quorum["fatal_racks"]
    ]
    return {"class": size, "members": rows, "quorum": quorum}, warnings


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
    }
    rows = []
    for component, section in (
        ("kube-apiserver", "apiServer"),
        ("kube-controller-manager", "controllerManager"),
        ("kube-scheduler", "scheduler"),
    ):
        for argument in document[section]["extraArgs"]:
            flag = argument["name"]
            value = argument["value"]
            if flag in own[component]:
                reason, source = "set by the inventory", "control_plane_*_extra_args"
                value = cluster_schema.HIDDEN if hide or cluster_schema.is_secret(flag) else value
            else:
                reason, source = reasons.get(FLAG_REASONS.get((component, flag), ""), ("", ""))
            rows.append({"component": component, "flag": flag, "value": value, "reason": reason, "source": source})
    return rows


EXTRA_ARGUMENTS = (
    "control_plane_apiserver_extra_args",
    "control_plane_controller_manager_extra_args",
    "control_plane_scheduler_extra_args",
)


def _control_plane(
    view: View, pods: int, densest: int, usual: int, machines: Mapping[str, Machine], assumed: Machine
) -> tuple[dict[str, Any], list[str]]:
    hosts = view.group("control_plane")
    warnings = []
    extra = []
    for name in EXTRA_ARGUMENTS:
        found = {key_of(value): value for host in hosts if (value := view.value(host, name)) is not None}
        if len(found) > 1:
            warnings.append(f"{name} differs between control planes; the plan shows one of them")
        extra.append(found[min(found)] if found else {})
    size = control_plane_class(usual)
    for host in hosts:
        text = _small(
            host, machines.get(host.name, assumed), size["cpus"], size["memory_gb"], "a control plane of this size"
        )
        warnings += [text] if text else []
    settings = kubeadm_config.ClusterSettings(
        cluster_name=view.common("cluster_name") or "",
        kubernetes_version=view.common("cluster_kubernetes_version") or "",
        endpoint="",
        pod_cidrs=view.common("cluster_pod_cidrs") or (),
        service_cidrs=view.common("cluster_service_cidrs") or (),
        domain=view.common("cluster_domain") or "",
        etcd_endpoints=["-"],
        control_planes=len(hosts),
        pods_per_node=max(1, densest),
        pods=pods,
        network_plugin=view.common("cluster_network_plugin") or "",
        apiserver_extra_args=extra[0],
        controller_manager_extra_args=extra[1],
        scheduler_extra_args=extra[2],
    )
    try:
        hide = any(not host.secrets.isdisjoint(EXTRA_ARGUMENTS) for host in hosts)
        flags = control_plane_flags(settings, hide=hide)
    except kubeadm_config.KubeadmConfigError as error:
        flags = []
        warnings.append(f"the control plane's flags cannot be told: {error}")
    return {"hosts": [host.name for host in hosts], "machine": size, "flags": flags}, warnings


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
        "CoreDNS": (True, COREDNS_REPLICAS, (pods + services) / 1000 + 54, COREDNS_SOURCE),
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


def _survival_warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for row in rows:
        who = f"pods that tolerate {', '.join(row['taints'])}" if row["taints"] else "pods"
        if row["nodes"] == 1:
            found.append(f"{who}: one node carries them all, its loss leaves no place")
    if not rows:
        found.append("no node takes workload: every one has kubeadm's control-plane taint")
    return found


# --- the whole


# Variables of roles that the plan does not follow: it shows what the cluster's own say.
NOT_FOLLOWED = ("calico_block_size", "calico_pod_cidrs", "calico_pods_per_node", "calico_service_cidrs")


def _assumptions(view: View, nodes: Sequence[_Node], assumed: Machine, more: bool) -> list[str]:
    found = []
    guessed = [node.host.name for node in nodes if node.machine.basis == "assumed"]
    if guessed:
        found.append(
            f"{len(guessed)} of {len(nodes)} machines are assumed to have {assumed.cpus} CPUs and {assumed.memory_mib} MiB ({some(guessed)}); "
            "run preflight in the same command, or give their sizes, for their own numbers"
        )
    if not any(node.rack for node in nodes):
        found.append("no rack is named (cluster_rack): the loss of a rack is not computed")
    elif not all(node.rack for node in nodes):
        names = [node.host.name for node in nodes if not node.rack]
        found.append(f"nodes without cluster_rack count as outside of all racks: {some(names)}")
    found.append(f"one Service for every {PODS_PER_SERVICE} pods (CoreDNS's memory)")
    if view.common("cluster_network_plugin") == "none":
        found.append("the network plugin is yours: its own pods and addresses beyond the nodes' ranges are not counted")
    if not more:
        found.append("what a site run would change is not part of this plan (docs/capacity_plan.md has the command)")
    return found


def _general_warnings(view: View, nodes: Sequence[_Node], pods: int) -> list[str]:
    found = []
    densest = max((node.pods for node in nodes), default=0)
    if densest > TESTED_PODS_PER_NODE:
        found.append(
            f"{densest} pods a node: upstream tests {TESTED_PODS_PER_NODE} (kubernetes.io, Considerations for large clusters); measure it on your machines"
        )
    wanted = typha_replicas(len(nodes))
    if view.common("cluster_network_plugin") == "calico" and nodes:
        have = _number(view, nodes[0].host, "calico_typha_replicas") or 0
        if have < wanted:
            found.append(f"calico_typha_replicas is {have}; {len(nodes)} nodes want {wanted} ({TYPHA_SOURCE})")
    dns = next(row for row in controllers(len(nodes), pods) if row["name"] == "CoreDNS")
    if dns["memory_mb"] > COREDNS_LIMIT_MB:
        found.append(
            f"CoreDNS needs {dns['memory_mb']} MB, kubeadm's limit is {COREDNS_LIMIT_MB} MB: raise it in its Deployment"
        )
    for name in NOT_FOLLOWED:
        if any(name in host.given for host in view.nodes):
            found.append(f"{name} is set; the plan shows what cluster_* variables make of it")
    return found


def _change_warnings(found: Mapping[str, Any]) -> list[str]:
    stopped = sorted(name for name, row in (found.get("hosts") or {}).items() if row["failed"] or row["unreachable"])
    return [f"the check run ended early on {some(stopped)}: what comes after is not known"] if stopped else []


def _cluster_name(view: View) -> str:
    hidden = any("cluster_name" in host.secrets for host in view.members)
    return cluster_schema.HIDDEN if hidden else str(view.common("cluster_name") or "")


def plan(
    view: View,
    machines: Mapping[str, Machine] | None = None,
    assumed: Machine = ASSUMED,
    site_changes: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a valid inventory, as plain data (the keys are described in the module's documentation).

    :param machines: sizes that are known, by host; others are ``assumed``.
    :param site_changes: what ``check_run.parse`` read of a run in check mode.
    """
    known = machines or {}
    nodes = _nodes(view, known, assumed)
    densest = max((node.pods for node in nodes), default=0)
    is_calico = view.common("cluster_network_plugin") == "calico"
    block_size = view.block_size(densest) if is_calico and nodes else None
    pools, pool_warnings = _pools(view, nodes, block_size)
    pods = sum(pool["pods"] for pool in pools)
    declared = sum(node.pods for node in nodes)
    usual = usual_nodes(len(nodes), pods)
    address_plan, address_warnings = _address_plan(view, nodes, block_size)
    etcd, etcd_warnings = _etcd(view, usual, known, assumed)
    control_plane, control_plane_warnings = _control_plane(view, declared, densest, usual, known, assumed)
    rows = survival(pools)
    return {
        "schema": SCHEMA,
        "cluster": {
            "name": _cluster_name(view),
            "network_plugin": view.common("cluster_network_plugin"),
            "nodes": len(nodes),
            "control_planes": len(view.group("control_plane")),
            "workers": len(view.group("workers")),
            "etcd_members": len(view.group("etcd")),
            "racks": sorted({node.rack for node in nodes if node.rack}),
            "pods": pods,
            "workload_pods": sum(row["pods"] for row in rows),
            "like_usual_nodes": usual,
            "like_usual_nodes_arithmetic": f"max({len(nodes)} nodes, {pods} pods / {PODS_PER_USUAL_NODE})",
            "like_usual_nodes_source": USUAL_SOURCE,
        },
        "pools": pools,
        "addresses": {**address_plan, "services": _services(view), "load_balancer": _load_balancer(view)},
        "etcd": etcd,
        "control_plane": control_plane,
        "controllers": controllers(len(nodes), pods),
        "typha": {"replicas": typha_replicas(len(nodes)) if is_calico else 0, "source": TYPHA_SOURCE},
        "survival": rows,
        "site_changes": dict(site_changes) if site_changes else None,
        "assumptions": _assumptions(view, nodes, assumed, bool(site_changes)),
        "warnings": [
            *pool_warnings,
            *address_warnings,
            *etcd_warnings,
            *control_plane_warnings,
            *_survival_warnings(rows),
            *_change_warnings(site_changes or {}),
            *_general_warnings(view, nodes, pods),
        ],
    }


# --- for the terminal

MOST_COLUMNS = 4


def columns(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows as lines with columns; the last column is as long as it is."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(cells[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]


def _pool_lines(plan_: Plan) -> list[str]:
    rows: list[Sequence[Any]] = [
        ("POOL", "NODES", "MAXPODS", "YOURS", "BLOCKS", "MACHINE", "RESERVED", "EVICTION", "FOR PODS", "MIB A POD", "PIDS")
    ]  # fmt: skip
    for pool in plan_["pools"]:
        blocks = f"{pool['addresses']['blocks']} x /{pool['addresses']['block_size']}" if pool["addresses"] else "-"
        for machine in pool["machines"]:
            settings = machine["kubelet"]
            reserved = f"{settings['kube_reserved'].get('cpu', '-')} {settings['kube_reserved'].get('memory', '-')}"
            rows.append(
                (
                    pool["label"],
                    machine["nodes"],
                    settings["max_pods"],
                    machine["workload_pods"],
                    blocks,
                    f"{machine['cpus']} CPUs {machine['memory_mib']} MiB {machine['basis']}",
                    reserved,
                    settings["eviction_hard"].get("memory.available", "-"),
                    f"{settings['allocatable_mib']} MiB",
                    settings["mib_per_pod"],
                    settings["pod_pids_limit"],
                )
            )
    return columns(rows)


def _sysctl_lines(plan_: Plan) -> list[str]:
    """One column for each kind of node: the values that differ are what one looks for."""
    seen: dict[str, tuple[str, list[dict[str, Any]]]] = {}
    for pool in plan_["pools"]:
        for machine in pool["machines"]:
            head = f"{pool['pods_per_node']} pods, {machine['cpus']} CPUs, {machine['memory_mib']} MiB"
            seen.setdefault(key_of(machine["sysctls"]), (head, machine["sysctls"]))
    kinds = list(seen.values())[:MOST_COLUMNS]
    signs = {"min": ">= ", "max": "<= ", "one_of": "one of ", "exactly": ""}
    tables = [{row["key"]: f"{signs[row['bound']]}{row['value']}" for row in rows} for _head, rows in kinds]
    keys = {row["key"]: row["source"] for _head, rows in kinds for row in rows}
    lines = columns(
        [
            ("KERNEL PARAMETER", *(head for head, _rows in kinds), "SOURCE"),
            *((key, *(table.get(key, "-") for table in tables), source) for key, source in sorted(keys.items())),
        ]
    )
    if len(seen) > len(kinds):
        lines.append(f"  and {len(seen) - len(kinds)} more kinds of nodes, in the JSON and the page")
    return lines


def _address_lines(plan_: Plan) -> list[str]:
    found = plan_["addresses"]
    lines = [f"  {pool['label']}: {pool['addresses']['arithmetic']}" for pool in plan_["pools"] if pool["addresses"]]
    lines += [f"  {one['arithmetic']}" for one in found["families"]]
    if found["largest_cluster_nodes"] is not None:
        lines.append(
            f"  largest cluster: {found['largest_cluster_nodes']} nodes ({found['largest_of_the_densest']} if all were of the densest kind); "
            f"upstream tests {found['tested_upstream']['nodes']}"
        )
    if found["families"] and plan_["cluster"]["network_plugin"] == "calico":
        lines.append(f"  routes to blocks, in every node and router: up to {found['routes']}")
    lines += [f"  Services: {one['network']}, {one['usable']} addresses" for one in found["services"]]
    lines += [
        f"  load balancer pool {one['name']} ({found['load_balancer']['mode']}): {one['arithmetic']}"
        for one in found["load_balancer"]["pools"]
    ]
    return lines


def _control_lines(plan_: Plan) -> list[str]:
    etcd, plane = plan_["etcd"], plan_["control_plane"]
    size, machine = etcd["class"], plane["machine"]
    cluster = plan_["cluster"]
    lines = [
        f"  sized like {cluster['like_usual_nodes']} usual nodes: {cluster['like_usual_nodes_arithmetic']}",
        f"  etcd class {size['name']}: {size['cpus']} CPUs, {size['memory_gb']} GB, {size['iops']} IOPS, {size['bandwidth_mb_s']:g} MB/s ({size['source']})",
        f"  etcd quorum: {etcd['quorum']['arithmetic']}",
    ]
    kinds = Counter((row["heartbeat_ms"], row["election_ms"], row["quota_gib"]) for row in etcd["members"])
    lines += [
        f"  etcd, {count} members: heartbeat {heartbeat} ms, election {election} ms, quota {quota:g} GiB"
        for (heartbeat, election, quota), count in kinds.items()
        if None not in (heartbeat, election, quota)
    ]
    lines.append(f"  control plane machine: {machine['cpus']} CPUs, {machine['memory_gb']} GB ({machine['source']})")
    lines += [
        f"  {row['component']} --{row['flag']}={row['value']}: {row['reason']}"
        for row in plane["flags"]
        if row["reason"]
    ]
    return lines


def _change_lines(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for host, row in sorted(found["hosts"].items()):
        state = "".join(f", {word}" for word in ("failed", "unreachable") if row[word])
        lines.append(f"  {host}: {row['changed']} tasks would change something{state}")
        lines += [f"    {task}" for task in row["tasks"]]
    return lines


def table(plan_: Plan) -> str:
    """The plan for a terminal. Without control characters, whatever the inventory says."""
    cluster = plan_["cluster"]
    head = (
        f"{cluster['name']}: {cluster['nodes']} nodes ({cluster['control_planes']} control planes, {cluster['workers']} workers), "
        f"{cluster['pods']} pods, {cluster['workload_pods']} of them yours"
    )
    lines = [
        head,
        "",
        *_pool_lines(plan_),
        "",
        "Addresses",
        *_address_lines(plan_),
        "",
        "Control plane and etcd",
        *_control_lines(plan_),
    ]
    lines += ["", "What a loss leaves"]
    for row in plan_["survival"]:
        who = f"tolerating {', '.join(row['taints'])}: " if row["taints"] else ""
        lines.append(f"  {who}{row['arithmetic']}")
    rows = [("CONTROLLER", "INSTANCES", "MB EACH", "INSTALLED", "HOW"), *(
        (row["name"], row["instances"], row["memory_mb"], "yes" if row["installed"] else "no", f"{row['arithmetic']} ({row['source']})")
        for row in plan_["controllers"]
    )]  # fmt: skip
    lines += ["", *columns(rows), "", *_sysctl_lines(plan_)]
    if plan_["site_changes"]:
        lines += ["", "What site would change", *_change_lines(plan_["site_changes"])]
    for title in ("assumptions", "warnings"):
        if plan_[title]:
            lines += ["", title.capitalize(), *(f"  - {text}" for text in plan_[title])]
    text = "\n".join(lines)
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
