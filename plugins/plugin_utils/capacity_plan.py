# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory makes: ``plan(View, machines) -> dict``.

Pure. The formulas are in ``capacity_figures``, the plan as text in ``plan_table``, as a page in ``plan_page``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    calico,
    cluster_schema,
    density,
    etcd_plan,
    kubeadm_config,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import capacity_figures as figures
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_budgets import (
    events_are_separate,
    kubelet_settings,
    planned_pods,
    requirement,
    shared_mib,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import Host, View, key_of, some
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_rules import (
    LARGEST_CLUSTER_NODES,
    LARGEST_CLUSTER_PODS,
)

SCHEMA = 1
STATIC_PODS = 3  # kube-apiserver, kube-controller-manager, kube-scheduler; etcd is a service of systemd
Plan = dict[str, Any]


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
    daemons = [
        True,  # kube-proxy
        plugin == "calico",  # calico-node
        plugin != "none",  # the probe workload
        plugin != "none" and view.common("cluster_load_balancer_mode") == "metallb_l2",  # MetalLB's speaker
    ]
    return sum(daemons) + (STATIC_PODS if control_plane else 0)


def machine_of(
    view: View, host: Host, known: Mapping[str, figures.Machine], assumed: figures.Machine
) -> figures.Machine:
    """A host's size: known, or the least that the inventory demands of it (``os_prep_requirements``), or assumed."""
    least = [requirement(view, host, name) for name in ("min_cpus", "min_memory_mib")]
    if host.name in known or None in least:
        return known.get(host.name, assumed)
    return figures.Machine(least[0] or 1, least[1] or 1, "required")


@dataclass(frozen=True)
class _Node:
    host: Host
    role: str
    rack: str
    pods: int
    taints: tuple[str, ...]
    machine: figures.Machine
    kubelet_overrides: Mapping[str, Any]
    kernel_overrides: Sequence[Mapping[str, Any]]
    hide_kernel: bool = False

    @property
    def variant(self) -> str:
        """Equal for nodes that get the same settings."""
        return key_of(
            [
                self.machine.cpus,
                self.machine.memory_mib,
                self.machine.basis,
                key_of(self.kubelet_overrides),
                key_of(self.kernel_overrides),
                self.hide_kernel,
            ]
        )


def _kernel_levels(view: View, host: Host) -> list[Mapping[str, Any]]:
    first = _value(view, host, density.LEVELS[0], "cluster_kernel_parameters")
    return [level for level in (first, *(view.value(host, name) for name in density.LEVELS[1:])) if level]


def _nodes(view: View, machines: Mapping[str, figures.Machine], assumed: figures.Machine) -> list[_Node]:
    planes = {host.name for host in view.group("control_plane")}
    found = []
    for host in view.nodes:
        found.append(
            _Node(
                host,
                "control_plane" if host.name in planes else "worker",
                str(view.value(host, "cluster_rack") or ""),
                _number(view, host, "cluster_pods_per_node") or figures.TESTED_PODS_PER_NODE,
                _taints(view, host, host.name in planes),
                machine_of(view, host, machines, assumed),
                kubelet_settings(view, host),
                _kernel_levels(view, host),
                not host.secrets.isdisjoint(("cluster_kernel_parameters", *density.LEVELS)),
            )
        )
    return found


# --- pools


def _role_groups(view: View, role: str) -> list[tuple[int, str, frozenset[str]]]:
    """The inventory groups whose hosts all have the role, the smallest first and the role's own last."""
    own = "control_plane" if role == "control_plane" else "workers"
    members = frozenset(host.name for host in view.group(own))
    others = (
        (frozenset(hosts), name)
        for name, hosts in view.input.groups.items()
        if name not in (own, "all", "ungrouped", "etcd") and len(hosts) <= len(members)
    )
    found = sorted((len(hosts), name, hosts) for hosts, name in others if hosts <= members)
    return [*found, (len(members), own, members)]


def _machine_rows(
    view: View, nodes: Sequence[_Node], own: int
) -> tuple[list[dict[str, Any]], list[tuple[str, list[str]]]]:
    variants: dict[str, list[_Node]] = {}
    for node in nodes:
        variants.setdefault(node.variant, []).append(node)
    rows, warnings = [], []
    shared = shared_mib(view)
    for same in variants.values():
        first = same[0]
        names = [node.host.name for node in same]
        settings, found = figures.kubelet_plan(
            first.pods, first.machine, first.kubelet_overrides, shared.get(first.host.name, 0)
        )
        parameters = figures.sysctls(
            first.pods,
            first.machine,
            view.common("cluster_pod_cidrs") or (),
            view.common("cluster_network_plugin") or "",
            first.kernel_overrides,
            hide=first.hide_kernel,
        )
        warnings += [(text, names) for text in found]
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
    named = {role: _role_groups(view, role) for role in ("control_plane", "worker")}
    for (role, rack, pods, taints), members in sorted(groups.items()):
        own = own_pods(view, role == "control_plane")
        machines, found = _machine_rows(view, members, own)
        hosts = [node.host.name for node in members]
        name = next(name for _size, name, group in named[role] if group.issuperset(hosts))
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
                "hosts": hosts,
                "max_pods": min(row["kubelet"]["max_pods"] for row in machines),
                "own_pods_per_node": own,
                "pods": sum(row["kubelet"]["max_pods"] * row["nodes"] for row in machines),
                "workload_pods": sum(row["workload_pods"] * row["nodes"] for row in machines),
                "addresses": figures.node_addresses(pods, block_size) if block_size else None,
                "machines": machines,
            }
        )
    return pools, warnings


def node_range(flags: Iterable[Mapping[str, str]], family: int) -> int | None:
    """The prefix length of the range that kube-controller-manager gives each node; nothing when it gives none."""
    names = ("node-cidr-mask-size", f"node-cidr-mask-size-ipv{family}")
    found = (row["value"] for row in flags if row["component"] == "kube-controller-manager" and row["flag"] in names)
    return next((int(value) for value in found if value.isdecimal()), None)


def _address_plan(
    view: View, nodes: Sequence[_Node], block_size: int | None, flags: Sequence[Mapping[str, str]]
) -> tuple[dict[str, Any], list[str]]:
    families, warnings = [], []
    for pool in view.pods if nodes else ():
        if block_size:
            length = block_size if pool.family == 4 else 128 - (32 - block_size)
            needs = Counter(calico.blocks_needed(node.pods, block_size) for node in nodes)
            needs[max(needs)] += view.growth.total - view.growth.nodes
        else:
            mask = node_range(flags, pool.family)
            if mask is None or mask < (pool.prefix_length or 0):
                continue
            length = mask
            needs = Counter({1: view.growth.total})
        families.append(figures.family_plan(pool, length, needs))
    largest = min((one["largest"] for one in families), default=None)
    if largest is not None and largest <= view.growth.planned and not view.growth.surge:
        warnings.append(
            f"cluster_pod_cidrs has no room for one more of the densest nodes: {view.growth.planned} nodes are all; "
            "a node cannot be replaced before the old one is gone"
        )
    return {
        "families": families,
        "largest_cluster_nodes": largest,
        "largest_of_the_densest": min((one["largest_of_the_densest"] for one in families), default=None),
        "routes": sum(one["planned"] for one in families),
        "planned_for": f"{view.growth.total} nodes{view.growth.words}",
        "tested_upstream": {
            "nodes": LARGEST_CLUSTER_NODES,
            "pods": LARGEST_CLUSTER_PODS,
            "source": figures.USUAL_SOURCE,
        },
        "source": figures.BLOCK_SOURCE
        if block_size
        else "kube-controller-manager, --node-cidr-mask-size; twice the pods",
    }, warnings


def _load_balancer(view: View) -> dict[str, Any]:
    mode = view.common("cluster_load_balancer_mode")
    pools: dict[str, dict[str, Any]] = {}
    for name, span in view.pools:
        entry = pools.setdefault(name, {"name": name, "addresses": 0, "usable": 0, "ranges": []})
        entry["addresses"] += span.size
        entry["usable"] += span.size - figures.buggy(span)
        entry["ranges"].append(span.text)
    used = list(pools.values()) if mode != "none" else []
    for entry in used:
        lost = entry["addresses"] - entry["usable"]
        entry["arithmetic"] = f"{entry['addresses']} addresses - {lost} that end in .0 or .255 = {entry['usable']}"
    return {
        "mode": mode,
        "pools": used,
        "usable": sum(one["usable"] for one in used),
        "source": figures.LOAD_BALANCER_SOURCE,
    }


def _services(view: View) -> list[dict[str, Any]]:
    return [
        {
            "network": span.text,
            "usable": max(0, span.size - (2 if span.family == 4 else 1)),
            "source": figures.SERVICE_SOURCE,
        }
        for span in view.services
    ]


def _small(host: Host, machine: figures.Machine, cpus: int, memory_gb: float, what: str) -> str:
    """A sentence when a machine that is known is smaller than it should be (a tenth of the memory is the firmware's and the kernel's)."""
    if machine.basis == "assumed" or (machine.cpus >= cpus and machine.memory_mib >= memory_gb * 1e9 / 1048576 * 0.9):
        return ""
    return f"{host.name} has {machine.cpus} CPUs and {machine.memory_mib} MiB; {what} is {cpus} CPUs and {memory_gb} GB"


def _etcd(
    view: View, usual: int, machines: Mapping[str, figures.Machine], assumed: figures.Machine
) -> tuple[dict[str, Any], list[str]]:
    members = view.group("etcd")
    size = figures.etcd_class(usual)
    warnings: list[str] = []
    rows: list[dict[str, Any]] = []
    planes = {host.name for host in view.nodes}
    events = figures.events_etcd(planned_pods(view)) if events_are_separate(view) else None
    more_gb = events["memory_gb"] if events else 0
    for host in members:
        heartbeat = _number(view, host, "etcd_heartbeat_interval_ms")
        election = _number(view, host, "etcd_election_timeout_ms")
        quota = view.value(host, "etcd_quota_backend_gib")
        if quota is None and "etcd_quota_backend_gib" in view.options:
            quota = view.options["etcd_quota_backend_gib"].default
        events_quota = view.value(host, "etcd_events_quota_backend_gib") if events else None
        if events and events_quota is None and "etcd_events_quota_backend_gib" in view.options:
            events_quota = view.options["etcd_events_quota_backend_gib"].default
        rows.append(
            {
                "host": host.name,
                "rack": str(view.value(host, "cluster_rack") or ""),
                "beside_kubernetes": host.name in planes,
                "heartbeat_ms": heartbeat,
                "election_ms": election,
                "quota_gib": None if quota is None else float(quota),
                "events_quota_gib": None if events_quota is None else float(events_quota),
            }
        )
        if heartbeat and election and election < 10 * heartbeat:
            warnings.append(
                f"etcd on {host.name}: an election timeout of {election} ms is less than ten heartbeats of {heartbeat} ms (etcd.io, Tuning)"
            )
        text = _small(
            host,
            machine_of(view, host, machines, assumed),
            size["cpus"],
            round(size["memory_gb"] + more_gb, 1),
            f"etcd's example machine '{size['name']}'{' with the events in a second etcd' if events else ''}",
        )
        warnings += [text] if text else []
    for field, words in (("heartbeat_ms", "heartbeats"), ("election_ms", "election timeouts"), ("quota_gib", "quotas")):
        values = sorted({row[field] for row in rows if row[field] is not None})
        if len(values) > 1:
            warnings.append(f"etcd's members have different {words}: {', '.join(map(str, values))}")
    racks = Counter(str(row["rack"]) for row in rows)
    quorum = figures.quorum_plan(racks)
    warnings += [
        f"rack {rack} has {racks[rack]} of {quorum['members']} etcd members: its loss stops the API, running pods go on"
        for rack in quorum["fatal_racks"]
    ]
    return {"class": size, "members": rows, "quorum": quorum, "events": events}, warnings


EXTRA_ARGUMENTS = (
    "control_plane_apiserver_extra_args",
    "control_plane_controller_manager_extra_args",
    "control_plane_scheduler_extra_args",
)


def _events_endpoints(view: View) -> list[str]:
    addresses = [str(view.value(host, "cluster_node_ip") or host.name) for host in view.group("etcd")]
    port = etcd_plan.PORTS[etcd_plan.EVENTS][0]
    texts = [f"[{address}]" if ":" in address else address for address in addresses]
    return [f"https://{text}:{port}" for text in texts] if events_are_separate(view) else []


def _control_plane(
    view: View, pods: int, densest: int, usual: int, machines: Mapping[str, figures.Machine], assumed: figures.Machine
) -> tuple[dict[str, Any], list[str]]:
    hosts = view.group("control_plane")
    warnings = []
    extra = []
    for name in EXTRA_ARGUMENTS:
        found = {key_of(value): value for value in (view.value(host, name) or {} for host in hosts)}
        if len(found) > 1:
            warnings.append(f"{name} differs between control planes; the plan shows one of them")
        extra.append(found[min(found)] if found else {})
    size = figures.control_plane_class(usual)
    for host in hosts:
        text = _small(
            host,
            machine_of(view, host, machines, assumed),
            size["cpus"],
            size["memory_gb"],
            "a control plane of this size",
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
        etcd_events_endpoints=_events_endpoints(view),
        admission_checksum="-",
        apiserver_extra_args=extra[0],
        controller_manager_extra_args=extra[1],
        scheduler_extra_args=extra[2],
    )
    try:
        hide = any(not host.secrets.isdisjoint(EXTRA_ARGUMENTS) for host in hosts)
        flags = figures.control_plane_flags(settings, hide=hide)
    except kubeadm_config.KubeadmConfigError as error:
        flags = []
        warnings.append(f"the control plane's flags cannot be told: {error}")
    return {"hosts": [host.name for host in hosts], "machine": size, "flags": flags}, warnings


def _survival_warnings(rows: Sequence[Mapping[str, Any]], wanted: int) -> list[str]:
    found = []
    free = next((row for row in rows if not row["taints"]), {"pods": 0, "after_node": 0})
    if wanted > free["pods"]:
        found.append(f"{wanted} pods are wanted, there are places for {free['pods']}")
    elif wanted > free["after_node"]:
        found.append(
            f"{wanted} pods are wanted, and the loss of one node leaves {free['after_node']} places ({free['arithmetic']})"
        )
    for row in rows:
        who = f"pods that tolerate {', '.join(row['taints'])}" if row["taints"] else "pods"
        if row["nodes"] == 1:
            found.append(f"{who}: one node carries them all, its loss leaves no place")
    if not rows:
        found.append("no node takes workload: every one has kubeadm's control-plane taint")
    return found


# --- the whole


def _assumptions(view: View, nodes: Sequence[_Node], assumed: figures.Machine, more: bool) -> list[str]:
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
    found.append(f"one Service for every {figures.PODS_PER_SERVICE} pods (CoreDNS's memory)")
    if view.common("cluster_network_plugin") == "none":
        found.append("the network plugin is yours: its own pods and addresses beyond the nodes' ranges are not counted")
    if not more:
        found.append("what a site run would change is not part of this plan (docs/capacity_plan.md has the command)")
    return found


def _general_warnings(view: View, nodes: Sequence[_Node], grown_pods: int) -> list[str]:
    found = []
    densest = max((node.pods for node in nodes), default=0)
    tested = figures.TESTED_PODS_PER_NODE
    if densest > tested:
        found.append(
            f"{densest} pods a node: upstream tests {tested} (kubernetes.io, Considerations for large clusters); measure it on your machines"
        )
    wanted = figures.typha_replicas(view.growth.total)
    if view.common("cluster_network_plugin") == "calico" and nodes:
        have = _number(view, nodes[0].host, "calico_typha_replicas") or 0
        if have < wanted:
            found.append(
                f"calico_typha_replicas is {have}; {view.growth.total} nodes{view.growth.words} want {wanted} ({figures.TYPHA_SOURCE})"
            )
    dns = next(row for row in figures.controllers(view.growth.planned, grown_pods) if row["name"] == "CoreDNS")
    limit = figures.COREDNS_LIMIT_MB
    if dns["memory_mb"] > limit:
        found.append(f"CoreDNS needs {dns['memory_mb']} MB, kubeadm's limit is {limit} MB: raise it in its Deployment")
    return found


def _change_warnings(found: Mapping[str, Any]) -> list[str]:
    stopped = sorted(name for name, row in (found.get("hosts") or {}).items() if row["failed"] or row["unreachable"])
    return [f"the check run ended early on {some(stopped)}: what comes after is not known"] if stopped else []


def _cluster_name(view: View) -> str:
    hidden = any("cluster_name" in host.secrets for host in view.members)
    return cluster_schema.HIDDEN if hidden else str(view.common("cluster_name") or "")


def plan(
    view: View,
    machines: Mapping[str, figures.Machine] | None = None,
    assumed: figures.Machine = figures.ASSUMED,
    site_changes: Mapping[str, Any] | None = None,
    wanted_pods: int = 0,
) -> Plan:
    """The plan of a valid inventory, as plain data (the keys are described in the module's documentation).

    :param machines: sizes that are known, by host; others are ``assumed``.
    :param site_changes: what ``check_run.parse`` read of a run in check mode.
    :param wanted_pods: pods without tolerations that shall run; more than fit after the loss of a node is a warning. 0: nobody said.
    """
    known = machines or {}
    nodes = _nodes(view, known, assumed)
    densest = max((node.pods for node in nodes), default=0)
    is_calico = view.common("cluster_network_plugin") == "calico"
    block_size = view.block_size(densest) if is_calico and nodes else None
    pools, pool_warnings = _pools(view, nodes, block_size)
    pods = sum(pool["pods"] for pool in pools)
    declared = sum(node.pods for node in nodes)
    # Machines and what they run are sized for what the cluster shall become; flags and settings are those of the next run.
    grown = view.growth.planned
    grown_pods = pods + view.growth.more * densest
    usual = figures.usual_nodes(grown, grown_pods)
    etcd, etcd_warnings = _etcd(view, usual, known, assumed)
    control_plane, control_plane_warnings = _control_plane(view, declared, densest, usual, known, assumed)
    address_plan, address_warnings = _address_plan(view, nodes, block_size, control_plane["flags"])
    rows = figures.survival(pools)
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
            "planned_nodes": grown,
            "surge_nodes": view.growth.surge,
            "planned_pods": grown_pods,
            "like_usual_nodes_arithmetic": f"max({grown} nodes, {grown_pods} pods / {figures.PODS_PER_USUAL_NODE})",
            "like_usual_nodes_source": figures.USUAL_SOURCE,
        },
        "pools": pools,
        "addresses": {**address_plan, "services": _services(view), "load_balancer": _load_balancer(view)},
        "etcd": etcd,
        "control_plane": control_plane,
        "controllers": figures.controllers(grown, grown_pods),
        "typha": {
            "replicas": figures.typha_replicas(view.growth.total) if is_calico else 0,
            "source": figures.TYPHA_SOURCE,
        },
        "survival": rows,
        "site_changes": dict(site_changes) if site_changes else None,
        "assumptions": _assumptions(view, nodes, assumed, bool(site_changes)),
        "warnings": [
            *pool_warnings,
            *address_warnings,
            *etcd_warnings,
            *control_plane_warnings,
            *_survival_warnings(rows, wanted_pods),
            *_change_warnings(site_changes or {}),
            *_general_warnings(view, nodes, grown_pods),
        ],
    }
