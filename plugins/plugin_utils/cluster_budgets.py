# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about what a node has to share: process numbers, CPUs, memory, disk, addresses, and the timing of etcd. Pure.

Each compares what the inventory asks for with what it says of the machines (``os_prep_requirements``) or with the limits that it sets itself. What the
inventory does not say is machine_info's affair.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl import normal_key
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    bgp,
    calico,
    cluster_schema,
    density,
    density_control_plane,
    etcd_events,
    kubelet,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    Host,
    Problem,
    Rule,
    View,
    registry,
)

RULES: dict[str, Rule] = {}
rule = registry(RULES)

# SIG Scalability, "Kubernetes scalability thresholds": pods in one namespace.
PODS_PER_NAMESPACE = 3000
# etcd refuses to start with less than five heartbeats to an election, or with an election above 50 s (server/embed/config.go).
ELECTION_HEARTBEATS, LONGEST_ELECTION_MS = 5, 50_000
ETCD_RECOMMENDED_GIB = 8
# RFC 791 and RFC 8200: what every link has to carry.
SMALLEST_MTU = {4: 576, 6: 1280}
# Role variables whose default is a cluster variable that other parts go by as well: two values are two truths.
SAID_ONCE: Mapping[str, str] = {
    "api_endpoint_address": "cluster_api_endpoint_address",
    "api_endpoint_mode": "cluster_api_endpoint_mode",
    "api_endpoint_port": "cluster_api_endpoint_port",
    "bundle_architecture": "cluster_architecture",
    "bundle_kubernetes_version": "cluster_kubernetes_version",
    "bundle_release_set": "cluster_release_set",
    "calico_block_size": "cluster_calico_block_size",
    "calico_kube_proxy_mode": "cluster_kube_proxy_mode",
    "calico_pod_cidrs": "cluster_pod_cidrs",
    "calico_service_cidrs": "cluster_service_cidrs",
    "cilium_encapsulation": "cluster_encapsulation",
    "cilium_kube_proxy_mode": "cluster_kube_proxy_mode",
    "cilium_mtu": "cluster_mtu",
    "cilium_pod_cidrs": "cluster_pod_cidrs",
    "cilium_service_cidrs": "cluster_service_cidrs",
    "control_plane_node_ip": "cluster_node_ip",
    "kernel_tuning_pods_per_node": "cluster_pods_per_node",
    "kubelet_node_ip": "cluster_node_ip",
    "kubelet_node_second_ip": "cluster_node_second_ip",
    "kubelet_pods_per_node": "cluster_pods_per_node",
    "pki_node_ip": "cluster_node_ip",
    "worker_node_ip": "cluster_node_ip",
}

UNITS = {
    "": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%")
MIB = 2**20
# Reservations of more than nine tenths of a machine are not followed to their end.
LONGEST_SEARCH = 100
# What the kubelet reads as quantities, and where a share of the machine will do as well.
QUANTITY_FIELDS = ("kubeReserved", "systemReserved")
THRESHOLD_FIELDS = ("evictionHard", "evictionSoft", "evictionMinimumReclaim")


def quantity(value: Any) -> float | None:
    """A quantity of Kubernetes (``200Mi``, ``1G``, ``250m``, ``4``) as a number; nothing when it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return float(value) if 0 <= value < 1 << 63 else None
    found = QUANTITY.fullmatch(value) if isinstance(value, str) else None
    return float(found.group(1)) * UNITS[found.group(2) or ""] if found else None


def mib_of(value: Any, memory_mib: int) -> float | None:
    """A quantity, or a share of the memory, in MiB."""
    share = PERCENT.fullmatch(value) if isinstance(value, str) else None
    if share:
        return float(share.group(1)) / 100 * memory_mib
    found = quantity(value)
    return None if found is None else found / MIB


def millicores_of(value: Any) -> int | None:
    """A quantity of processors in millicores, rounded up."""
    found = quantity(value)
    return None if found is None else math.ceil(found * 1000)


def kubelet_variable(view: View, host: Host) -> str:
    """The variable that a host's kubelet settings come from: the role's own where it is set."""
    return (
        "cluster_kubelet_configuration"
        if view.value(host, "kubelet_configuration") is None
        else "kubelet_configuration"
    )


def kubelet_settings(view: View, host: Host) -> Mapping[str, Any]:
    """The user's fields of KubeletConfiguration on a host."""
    return view.value(host, kubelet_variable(view, host)) or {}


def requirement(view: View, host: Host, name: str) -> int | None:
    """What the inventory says that the machine has at least (``os_prep_requirements``), as a positive number."""
    value = (view.value(host, "os_prep_requirements") or {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def nodes_alike(view: View) -> Iterator[tuple[Host, tuple[str, ...], int]]:
    """Nodes with equal budgets: one of them, the names of all, and the pods that each shall carry."""
    names = (
        "cluster_pods_per_node",
        "cluster_kubelet_configuration",
        "kubelet_configuration",
        "cluster_kernel_parameters",
        *density.LEVELS,
        "os_prep_requirements",
    )
    shared = shared_mib(view)
    kinds: dict[int, list[Host]] = {}
    for host in view.nodes:
        kinds.setdefault(shared.get(host.name, 0), []).append(host)
    for host, like in (pair for kind in kinds.values() for pair in view.alike(kind, *names)):
        pods = view.number(host, "cluster_pods_per_node")
        if pods is not None:
            yield host, like, pods


# --- the kubelet's own numbers


@rule
def kubelet_values(view: View) -> Iterator[Problem]:
    """The kubelet does not start with a number in quotes, or with a reservation that it cannot read."""
    for host, like, _pods in nodes_alike(view):
        variable = kubelet_variable(view, host)
        for path, value, words, fix in _unreadable(kubelet_settings(view, host)):
            text = "null" if value is None else value
            yield replace(view.about(host, f"{variable}.{path}", words, fix, value=text), hosts=like)


def _unreadable(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, str]]:
    for name in ("maxPods", "podPidsLimit", "podsPerCore"):
        if name in settings and (isinstance(settings[name], bool) or not isinstance(settings[name], int)):
            words = f"is {cluster_schema.kind(settings[name])}, must be a whole number"
            yield name, settings[name], words, "write a whole number without quotes"
    for name in (*QUANTITY_FIELDS, *THRESHOLD_FIELDS):
        values = settings.get(name)
        if name in settings and not isinstance(values, Mapping):
            yield name, values, f"is {cluster_schema.kind(values)}, must be a dictionary", "write key: value pairs"
            continue
        for key, value in (values or {}).items():
            share = name in THRESHOLD_FIELDS and isinstance(value, str) and PERCENT.fullmatch(value)
            # A bare number is read as text by the kubelet's map of strings, so it has to be one.
            if not share and (not isinstance(value, str) or quantity(value) is None):
                also = " or a share (10%)" if name in THRESHOLD_FIELDS else ""
                yield (
                    f"{name}.{key}",
                    value,
                    "is not a quantity of Kubernetes in quotes",
                    f"write '500Mi' or '2Gi'{also}",
                )


# --- process numbers


def _floor(spec: Any) -> int | None:
    """The least that a kernel parameter's wish allows."""
    values = [spec]
    if isinstance(spec, Mapping):
        given = next((spec[form] for form in ("exactly", "min", "max", "one_of") if spec.get(form) is not None), None)
        values = list(given) if isinstance(given, (list, tuple)) else [given]
    numbers = [cluster_schema.as_int(value) for value in values if re.fullmatch(r"[0-9]{1,18}", str(value))]
    return min(numbers) if numbers and len(numbers) == len(values) else None


def _overrides(view: View, host: Host) -> dict[str, tuple[str, Any]]:
    """The user's kernel parameters: ``{normal key: (variable, wish)}``."""
    found: dict[str, tuple[str, Any]] = {}
    first, *special = density.LEVELS
    if view.value(host, first) is None:
        first = "cluster_kernel_parameters"
    for variable in (first, *special):
        for key, value in (view.value(host, variable) or {}).items():
            if isinstance(key, str):
                found[normal_key(key.strip().removeprefix("-"))] = (variable, value)
    return found


@rule
def process_numbers(view: View) -> Iterator[Problem]:
    """All pods at their limit must find process numbers, or one tenant's fork bomb stops the others' pods and sshd."""
    for host, like, pods in nodes_alike(view):
        settings, overrides = kubelet_settings(view, host), _overrides(view, host)
        limit = settings.get("podPidsLimit", kubelet.pod_pid_limit(pods))
        if isinstance(limit, bool) or not isinstance(limit, int):
            continue
        if limit <= 0:
            reason = f"lets one pod take every process number of a node of {pods} pods"
            fix = f"remove it; {kubelet.pod_pid_limit(pods)} follows from the pods per node"
            path = f"{kubelet_variable(view, host)}.podPidsLimit"
            yield replace(view.about(host, path, reason, fix, value=limit, warning=True), hosts=like)
            continue
        for key, each in (
            ("kernel.pid_max", limit),
            ("kernel.threads-max", min(limit, density.THREADS_PER_POD)),
        ):
            yield from _shortage(view, host, like, pods, key, each, overrides)


def _shortage(
    view: View,
    host: Host,
    like: tuple[str, ...],
    pods: int,
    key: str,
    each: int,
    overrides: Mapping[str, tuple[str, Any]],
) -> Iterator[Problem]:
    need = density.SYSTEM_PROCESSES + pods * each
    if key in overrides:
        variable, wish = overrides[key]
        have, path = _floor(wish), f"{variable}['{key}']"
    elif key == "kernel.pid_max":
        wish = density.kernel_parameters(pods, 1, MIB)[key]
        have, path = _floor(wish), f"{kubelet_variable(view, host)}.podPidsLimit"
    else:
        return  # the profile bounds it by the memory on purpose
    if have is not None and have < need:
        words = "process numbers" if key == "kernel.pid_max" else "threads"
        reason = (
            f"is too little: {pods} pods x {each} {words} + {density.SYSTEM_PROCESSES} of the system are {need}, {key} is {have}"
            if key in overrides
            else f"is too much: {pods} pods x {each} {words} + {density.SYSTEM_PROCESSES} of the system are {need}, {key} is {have}"
        )
        fix = "lower podPidsLimit or the pods per node"
        if need <= density.PID_MAX_LIMIT:
            fix += f", or set cluster_kernel_parameters['{key}'] to at least {need}"
        value = wish if key in overrides else each
        yield replace(view.about(host, path, reason, fix, value=value), hosts=like)


# --- CPUs, memory, disk


@rule
def pods_per_core(view: View) -> Iterator[Problem]:
    """The kubelet takes the lesser of maxPods and podsPerCore x CPUs, without a word."""
    for host, like, pods in nodes_alike(view):
        each = kubelet_settings(view, host).get("podsPerCore", 0)
        if isinstance(each, bool) or not isinstance(each, int) or each <= 0:
            continue
        cpus, need = requirement(view, host, "min_cpus"), math.ceil(pods / each)
        path = f"{kubelet_variable(view, host)}.podsPerCore"
        if cpus is None:
            reason = f"caps cluster_pods_per_node = {pods} on machines with less than {need} CPUs ({pods} / {each})"
            fix = f"remove it, or say what the machines have: os_prep_requirements: {{min_cpus: {need}}}"
            yield replace(view.about(host, path, reason, fix, value=each, warning=True), hosts=like)
        elif cpus < need:
            reason = f"caps the pods at {each} x {cpus} CPUs = {each * cpus}, cluster_pods_per_node is {pods}"
            fix = f"remove it, or set at least {math.ceil(pods / cpus)}"
            yield replace(view.about(host, path, reason, fix, value=each), hosts=like)


def planned_pods(view: View) -> int:
    """Pods that the cluster is planned for."""
    return etcd_events.planned_pods(view.pods_per_node(), view.growth.planned)


def events_are_separate(view: View) -> bool:
    """Do events have an etcd of their own in this inventory?"""
    return etcd_events.separate(view.common("cluster_etcd_events") or etcd_events.AUTO, planned_pods(view))


def shared_mib(view: View) -> dict[str, int]:
    """MiB that control planes keep to themselves, by host, of those that run workloads as well."""
    members = {host.name for host in view.group("etcd")}
    pods = sum(pods * nodes for pods, nodes in view.pods_per_node().items())
    events = events_are_separate(view)
    return {
        host.name: density_control_plane.control_plane_mib(pods, etcd=host.name in members, events=events)
        for host in view.group("control_plane")
        if density_control_plane.runs_workloads(view.value(host, "cluster_node_taints"))
    }


def reserved_mib(pods: int, memory_mib: int, settings: Mapping[str, Any], shared: int = 0) -> list[int] | None:
    """MiB that kubeReserved, systemReserved and evictionHard take of a machine; nothing when one of them cannot be read."""
    document = kubelet.kubelet_configuration(pods, 1, memory_mib, settings, shared_mib=shared)
    found = []
    for name, key in (
        ("kubeReserved", "memory"),
        ("systemReserved", "memory"),
        ("evictionHard", "memory.available"),
    ):
        values = document[name]
        amount = mib_of(values.get(key, 0), memory_mib) if isinstance(values, Mapping) else None
        if amount is None:
            return None
        found.append(math.ceil(amount))
    return found


def reserved_millicores(pods: int, cpus: int, settings: Mapping[str, Any]) -> list[int] | None:
    """Millicores that kubeReserved and systemReserved take of a machine; nothing when one of them cannot be read."""
    document = kubelet.kubelet_configuration(pods, cpus, 1, settings)
    found = []
    for name in ("kubeReserved", "systemReserved"):
        values = document[name]
        amount = millicores_of(values.get("cpu", 0)) if isinstance(values, Mapping) else None
        if amount is None:
            return None
        found.append(amount)
    return found


def least_memory_mib(pods: int, settings: Mapping[str, Any], shared: int = 0) -> int:
    """The smallest machine on which anything is left for pods; 0 when that cannot be told.

    The kubelet does not start with reservations above the machine's memory (pkg/kubelet/cm, validateNodeAllocatable).
    """
    least = 0
    # Shares grow with the machine, so each answer is the next question.
    for _round in range(LONGEST_SEARCH):
        amounts = reserved_mib(pods, least, settings, shared)
        if amounts is None:
            return 0
        if sum(amounts) < least:
            return least
        least = sum(amounts) + 1
    return 0


@rule
def memory_remains(view: View) -> Iterator[Problem]:
    """What is reserved for the system, the kubelet and evictions has to leave memory for pods."""
    for host, like, pods in nodes_alike(view):
        memory = requirement(view, host, "min_memory_mib")
        if memory is None:
            continue
        amounts = reserved_mib(pods, memory, kubelet_settings(view, host), shared_mib(view).get(host.name, 0))
        if amounts is None:
            continue
        if sum(amounts) >= memory:
            sums = " + ".join(str(amount) for amount in amounts)
            reason = (
                f"leaves no memory for pods: kubeReserved + systemReserved + evictionHard are {sums} = {sum(amounts)} MiB, "
                f"the machine has at least {memory} MiB (os_prep_requirements.min_memory_mib)"
            )
            yield replace(
                view.about(
                    host, "cluster_pods_per_node", reason, "use machines with more memory, or fewer pods per node"
                ),
                hosts=like,
            )


@rule
def logs_fit(view: View) -> Iterator[Problem]:
    """Every container may keep its last log files; a full disk evicts pods."""
    for host, like, pods in nodes_alike(view):
        free = (view.value(host, "os_prep_requirements") or {}).get("min_free_mib")
        if not isinstance(free, Mapping):
            continue
        path = next((path for path in ("/var/log/pods", "/var/log", "/var", "/") if path in free), None)
        have = free.get(path)
        document = kubelet.kubelet_configuration(pods, 1, 1024, kubelet_settings(view, host))
        size, files = quantity(document["containerLogMaxSize"]), document["containerLogMaxFiles"]
        if size is None or any(isinstance(one, bool) or not isinstance(one, int) for one in (have, files)):
            continue
        need = math.ceil(pods * files * size / MIB)
        if need > have:
            reason = (
                f"{path} is asked to have {have} MiB free; logs of {pods} pods with one container each may take "
                f"{pods} x {files} files x {round(size / MIB)} MiB = {need} MiB"
            )
            fix = "ask for more, or lower containerLogMaxSize or containerLogMaxFiles in cluster_kubelet_configuration"
            yield replace(
                view.about(host, "os_prep_requirements.min_free_mib", reason, fix, value=have, warning=True), hosts=like
            )


# --- addresses of a node


@rule
def blocks_of_a_node(view: View) -> Iterator[Problem]:
    """Each block of a node is a route in every node's and router's table, and Calico's own limit is 20 blocks a node."""
    counts = view.pods_per_node()
    if view.common("cluster_network_plugin") != "calico" or not counts:
        return
    densest = max(counts)
    size = view.block_size(densest)
    need = calico.blocks_needed(densest, size)
    if need > calico.UPSTREAM_BLOCKS_PER_NODE:
        each = 1 << (32 - size)
        reason = (
            f"makes {need} blocks of a node: {densest} pods x {calico.ADDRESSES_PER_POD} addresses / {each} in a /{size}; "
            f"Calico's default limit is {calico.UPSTREAM_BLOCKS_PER_NODE}, and each block is a route everywhere"
        )
        fix = f"use /{calico.block_size_for(densest)}, or 0 to have it computed"
        yield view.cluster_problem("cluster_calico_block_size", reason, fix, warning=True)


@rule
def pod_mtu(view: View) -> Iterator[Problem]:
    """A pod's packet and what encapsulation adds must fit the links. Of two variables the role's is the one that counts."""
    least = max((SMALLEST_MTU[span.family] for span in view.pods), default=SMALLEST_MTU[4])
    outer = max((span.family for _host, span in (*view.node_addresses, *view.second_addresses)), default=4)
    way, wireguard = view.common("cluster_encapsulation") or "none", bool(view.common("cluster_wireguard"))
    overhead = bgp.overhead(way, wireguard, outer)
    for host, like in view.alike(view.nodes, "calico_mtu", "cluster_mtu", "os_prep_requirements"):
        own = view.number(host, "calico_mtu")
        name = "cluster_mtu" if own is None else "calico_mtu"
        mtu, link = own or view.number(host, "cluster_mtu") or 0, requirement(view, host, "min_mtu")
        if mtu and mtu < least:
            words = "IPv6" if least == SMALLEST_MTU[6] else "IPv4"
            reason = f"is less than the {least} bytes that {words} needs on every link"
        elif mtu and link is not None and mtu > link - overhead:
            reason = f"is more than the links' {link} - {overhead} of overhead = {link - overhead} bytes (os_prep_requirements.min_mtu)"
        elif not mtu and link is not None and link - overhead < least:
            reason = f"follows from links of {link} bytes (os_prep_requirements.min_mtu) less {overhead} of overhead, which is less than {least}"
        else:
            continue
        fix = "set it to 0, which takes the node's" if mtu else "use links with a larger MTU, or less encapsulation"
        yield replace(view.about(host, name, reason, fix, value=mtu), hosts=like)


@rule
def namespaces_share_the_pods(view: View) -> Iterator[Problem]:
    """Controllers and the scheduler list the pods of a namespace at once; upstream's tests end at 3,000."""
    pods = sum(number * nodes for number, nodes in view.pods_per_planned_node().items())
    if pods > PODS_PER_NAMESPACE:
        least = -(-pods // PODS_PER_NAMESPACE)
        reason = f"makes room for {pods} pods, upstream tests {PODS_PER_NAMESPACE} in a namespace: {pods} / {PODS_PER_NAMESPACE} are {least} namespaces"
        fix = f"spread them over at least {least} namespaces, a quota (count/pods) keeps to it"
        yield view.cluster_problem("cluster_pods_per_node", reason, fix, warning=True)


# --- one truth


@rule
def said_once(view: View) -> Iterator[Problem]:
    """A role's own variable that says something else than the cluster's: other roles, and these rules, go by the cluster's."""
    for name, cluster_name in SAID_ONCE.items():
        for host in view.members:
            if name not in host.given:
                continue
            value, wanted = view.value(host, name), view.value(host, cluster_name)
            if value is None or wanted is None or str(value) == str(wanted):
                continue
            reason = f"contradicts {cluster_name} = {cluster_schema.shown(cluster_name, wanted, cluster_name in host.secrets)}, by which other roles go"
            yield view.about(host, name, reason, f"set {cluster_name} instead")


@rule
def etcd_timing(view: View) -> Iterator[Problem]:
    """etcd refuses timings that would make every lost packet an election."""
    for host, like in view.alike(view.group("etcd"), "etcd_heartbeat_interval_ms", "etcd_election_timeout_ms"):
        heartbeat, election = (
            view.number(host, f"etcd_{name}_ms") for name in ("heartbeat_interval", "election_timeout")
        )
        if heartbeat is None or election is None:
            continue
        if heartbeat < 1 or election < ELECTION_HEARTBEATS * heartbeat:
            reason = f"is less than {ELECTION_HEARTBEATS} heartbeats of {heartbeat} ms; etcd does not start"
            fix = f"set at least {ELECTION_HEARTBEATS * max(1, heartbeat)}, ten heartbeats are usual"
        elif election > LONGEST_ELECTION_MS:
            reason, fix = f"is more than {LONGEST_ELECTION_MS} ms; etcd does not start", "ten heartbeats are usual"
        else:
            continue
        yield replace(view.about(host, "etcd_election_timeout_ms", reason, fix), hosts=like)
    for host, like in view.alike(view.group("etcd"), "etcd_quota_backend_gib"):
        quota = view.value(host, "etcd_quota_backend_gib")
        if isinstance(quota, (int, float)) and quota > ETCD_RECOMMENDED_GIB:
            reason = f"is more than the {ETCD_RECOMMENDED_GIB} GiB that etcd recommends: a restart reads all of it"
            yield replace(
                view.about(host, "etcd_quota_backend_gib", reason, f"use at most {ETCD_RECOMMENDED_GIB}", warning=True),
                hosts=like,
            )
