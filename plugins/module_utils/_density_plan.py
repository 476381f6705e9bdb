# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many pods a benchmark creates, where, and what forbids it; and when each of them is due. Pure.

Room on a node is the least of what its kubelet takes (``allocatable.pods``), its free memory and CPU requests, and the addresses that it can get.
"""

from __future__ import annotations

import ipaddress
import math
import re
import typing as t
from dataclasses import dataclass, field

Object = t.Mapping[str, t.Any]

SUFFIXES = {
    **{"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18},
    **{f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)},
}
QUANTITY = re.compile(r"([+-]?[0-9.]+)([A-Za-z]*)")
#: taints that the control plane sets and takes away by itself: a pod that tolerated them would run on a node in trouble
AUTOMATIC_TAINTS = "node.kubernetes.io/"
#: what kwok's documentation has simulated nodes carry (kwok.sigs.k8s.io, "Manage nodes"): there is no machine, kubelet or container behind them
SIMULATED = "kwok.x-k8s.io/node"
#: what a benchmark needs on the nodes beside its load: one pod that keeps its lease
EXTRA_PODS = 1
ENDED = ("Succeeded", "Failed")


class PlanError(Exception):
    """The benchmark cannot run as asked; ``reasons`` says all of why, each with what was asked, what was found and what to change."""

    def __init__(self, reasons: t.Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)


def quantity(text: t.Any) -> float:
    """Read a quantity of the API: ``100m``, ``8Mi``, ``2``, ``1e3``."""
    said = str(text).strip()
    try:
        return float(said)
    except ValueError:
        pass
    match = QUANTITY.fullmatch(said)
    if not match or match.group(2) not in SUFFIXES:
        raise ValueError(f"'{text}' is no quantity")
    return float(match.group(1)) * SUFFIXES[match.group(2)]


def requested(pod: Object, resource: str) -> float:
    """What the scheduler counts for a pod: the sum of its containers and sidecars, or what starts before them where that is more."""
    spec = pod.get("spec") or {}

    def of(container: Object) -> float:
        return quantity(((container.get("resources") or {}).get("requests") or {}).get(resource, 0))

    sidecars = largest = 0.0
    for one in spec.get("initContainers") or []:
        if one.get("restartPolicy") == "Always":
            sidecars += of(one)
            largest = max(largest, sidecars)
        else:
            largest = max(largest, sidecars + of(one))
    staying = sidecars + sum(of(one) for one in spec.get("containers") or [])
    return max(staying, largest) + quantity((spec.get("overhead") or {}).get(resource, 0))


@dataclass(frozen=True)
class Room:
    """One node: ``pods`` it carries now, ``places`` its kubelet takes, how many more fit and what ends it (``least``)."""

    name: str
    pods: int
    places: int
    free: int
    least: str
    limits: t.Dict[str, int]
    ready: bool = True
    taints: t.Tuple[t.Tuple[str, str, str], ...] = ()
    daemon_pods: int = 0
    simulated: bool = False

    def as_data(self) -> t.Dict[str, t.Any]:
        return {
            **{"name": self.name, "pods": self.pods, "places": self.places, "free": self.free, "least": self.least},
            **{"limits": dict(self.limits), "daemon_pods": self.daemon_pods},
        }


def is_simulated(node: Object) -> bool:
    """Whether a node says of itself that kwok plays it."""
    return SIMULATED in (node["metadata"].get("annotations") or {})


def room(node: Object, pods: t.Sequence[Object], cpu: float, memory: float, addresses: t.Optional[int]) -> Room:
    """Count what fits on a node.

    :param pods: all pods of the cluster.
    :param cpu: cores that one more pod requests; ``memory``: bytes.
    :param addresses: pods that the node has addresses for beside those that it carries; None: not known.
    """
    name = node["metadata"]["name"]
    own = [
        pod
        for pod in pods
        if (pod.get("spec") or {}).get("nodeName") == name and (pod.get("status") or {}).get("phase") not in ENDED
    ]
    status = node.get("status") or {}
    allocatable = status.get("allocatable") or {}
    places = int(quantity(allocatable.get("pods", 0)))
    limits = {"pods a node": places - len(own)}
    for resource, each in (("cpu", cpu), ("memory", memory)):
        free = quantity(allocatable.get(resource, 0)) - sum(requested(pod, resource) for pod in own)
        if each > 0:
            limits[resource] = math.floor(free / each + 1e-9)
    if addresses is not None:
        limits["pod addresses"] = addresses
    least = min(limits, key=lambda key: limits[key])
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or [])
    spec = node.get("spec") or {}
    taints = tuple(
        (one.get("key", ""), one.get("value") or "", one.get("effect", ""))
        for one in spec.get("taints") or []
        if one.get("effect") in ("NoSchedule", "NoExecute")
    )
    daemons = sum(
        any(owner.get("kind") == "DaemonSet" for owner in pod["metadata"].get("ownerReferences") or []) for pod in own
    )
    return Room(
        name, len(own), places, max(0, limits[least]), least, limits, ready, taints, daemons, is_simulated(node)
    )


# --- addresses


def node_network_room(node: Object, pods_on_node: int) -> t.Optional[int]:
    """Pods that still get an address when the node's addresses are its ``podCIDR``; network, gateway and broadcast addresses are not given out."""
    cidr = (node.get("spec") or {}).get("podCIDR")
    if not cidr:
        return None
    return max(0, ipaddress.ip_network(cidr).num_addresses - 3 - pods_on_node)


@dataclass(frozen=True)
class CalicoBlocks:
    """Calico's IPv4 addresses. ``used``: by node; ``blocks``: blocks by node; ``free_blocks``: those that no node has."""

    size: int
    most_blocks: int
    used: t.Dict[str, int] = field(default_factory=dict)
    blocks: t.Dict[str, int] = field(default_factory=dict)
    free_blocks: int = 0

    def room(self, node: str) -> int:
        """Addresses that a node can still give out, with all the blocks that it may and can take."""
        owned = self.blocks.get(node, 0)
        more = min(self.free_blocks, max(0, self.most_blocks - owned)) if self.most_blocks else self.free_blocks
        return max(0, (owned + more) * self.size - self.used.get(node, 0))

    def as_data(self) -> t.Dict[str, t.Any]:
        return {
            **{"block_addresses": self.size, "most_blocks_a_node": self.most_blocks, "free_blocks": self.free_blocks},
            "nodes": {
                node: {"blocks": self.blocks[node], "used": self.used.get(node, 0), "addresses": self.blocks[node] * self.size}
                for node in sorted(self.blocks)
            },
        }  # fmt: skip


def calico_blocks(
    pools: t.Sequence[Object], blocks: t.Sequence[Object], config: t.Optional[Object]
) -> t.Optional[CalicoBlocks]:
    """Read Calico's IPPools, IPAMBlocks and IPAMConfig; None without a usable IPv4 pool.

    ``maxBlocksPerHost`` is 0 (no limit) when IPAMConfig does not say it (Calico's reference, IPAMConfig).
    """
    usable = [
        pool["spec"]
        for pool in pools
        if ":" not in pool["spec"].get("cidr", ":")
        and not pool["spec"].get("disabled")
        and "Workload" in (pool["spec"].get("allowedUses") or ["Workload"])
    ]
    if not usable:
        return None
    size = max(2 ** (32 - int(pool.get("blockSize") or 26)) for pool in usable)
    networks = [ipaddress.ip_network(pool["cidr"]) for pool in usable]
    whole = sum(
        2 ** max(0, int(pool.get("blockSize") or 26) - network.prefixlen) for pool, network in zip(usable, networks)
    )
    used: t.Dict[str, int] = {}
    count: t.Dict[str, int] = {}
    taken = 0
    for block in blocks:
        spec = block.get("spec") or {}
        network = ipaddress.ip_network(spec.get("cidr", "::/128"))
        if network.version != 4 or not any(network.subnet_of(one) for one in networks if one.version == 4):
            continue
        taken += 1
        node = str(spec.get("affinity") or "").partition("host:")[2]
        count[node] = count.get(node, 0) + 1
        used[node] = used.get(node, 0) + sum(entry is not None for entry in spec.get("allocations") or [])
    most = int(((config or {}).get("spec") or {}).get("maxBlocksPerHost") or 0)
    return CalicoBlocks(size, most, used, count, max(0, whole - taken))


# --- how many


@dataclass(frozen=True)
class Wish:
    """How much is asked for: the first of ``pods`` (in all) and ``pods_per_node`` (with what a node carries already) that is set, or a share of the room."""

    pods: int = 0
    pods_per_node: int = 0
    share: float = 0.93
    per_unit: int = 1  # pods that only make sense together


@dataclass(frozen=True)
class Load:
    """What is created: ``pods`` on ``nodes``, of which each gets its ``shares``."""

    pods: int
    nodes: t.Tuple[Room, ...]
    explained: str
    shares: t.Dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> t.List[str]:
        return [one.name for one in self.nodes]

    def as_data(self) -> t.Dict[str, t.Any]:
        nodes = [{**one.as_data(), "share": self.shares.get(one.name, 0)} for one in self.nodes]
        return {"pods": self.pods, "explained": self.explained, "nodes": nodes}


def _unfit(rooms: t.Sequence[Room]) -> t.List[str]:
    reasons = []
    for one in rooms:
        if not one.ready:
            reasons.append(f"node {one.name} is not Ready; leave it out of density_benchmark_nodes or repair it")
        for key, value, effect in one.taints:
            if key.startswith(AUTOMATIC_TAINTS):
                said = f"{key}={value}" if value else key
                reasons.append(f"node {one.name} has the taint {said}:{effect}; uncordon or repair it")
    if not rooms:
        reasons.append("no node to load: density_benchmark_nodes names none that the cluster has")
    simulated = [one.name for one in rooms if one.simulated]
    if simulated and len(simulated) < len(rooms):
        reasons.append(
            f"{', '.join(simulated)} are simulated by kwok and the other nodes are real: figures of both together say nothing of either; name nodes of "
            "one kind in density_benchmark_nodes"
        )
    return reasons


def _too_many(rooms: t.Sequence[Room], wish: Wish, own: int) -> t.List[str]:
    free = sum(one.free for one in rooms)
    if wish.pods and wish.pods + own > free:
        ends = ", ".join(f"{one.name} {one.free} (ended by {one.least})" for one in rooms)
        return [f"{wish.pods} pods and {own} of the benchmark's own were asked for, {free} fit: {ends}"]
    if wish.pods or not wish.pods_per_node:
        return []
    reasons = []
    for one in rooms:
        if one.pods + one.free < wish.pods_per_node:
            found = ", ".join(f"{name} {limit}" for name, limit in sorted(one.limits.items()))
            reasons.append(
                f"node {one.name} cannot carry {wish.pods_per_node} pods: it has {one.pods} and room for {one.free} more, "
                f"ended by {one.least} (room by {found})"
            )
    return reasons


def plan(rooms: t.Sequence[Room], wish: Wish) -> Load:
    """Say how many pods are created, or raise :class:`PlanError` with every reason why they cannot."""
    # The lease's pod, and a canary on every node. Those of a benchmark on simulated nodes run on real ones.
    own = 0 if any(one.simulated for one in rooms) else EXTRA_PODS + len(rooms)
    reasons = _unfit(rooms) + _too_many(rooms, wish, own)
    if wish.pods:
        count, words = wish.pods, f"{wish.pods} pods as asked"
    elif wish.pods_per_node:
        there = sum(one.pods for one in rooms)
        count = wish.pods_per_node * len(rooms) - there - own
        words = (
            f"{wish.pods_per_node} pods on each of {len(rooms)} nodes; {there} are there, {own} are the benchmark's own"
        )
    else:
        free = sum(one.free for one in rooms)
        count = math.floor(wish.share * free) - own
        words = (
            f"{wish.share * 100:g} % of {free} free places on {len(rooms)} nodes; {own} of it are the benchmark's own"
        )
    count -= count % wish.per_unit
    if count < wish.per_unit and not reasons:
        reasons.append(f"nothing fits ({words})")
    if reasons:
        raise PlanError(reasons)
    room_of = {one.name: one.free for one in rooms}
    if wish.pods_per_node and not wish.pods:
        room_of = {one.name: max(0, wish.pods_per_node - one.pods) for one in rooms}
    return Load(count, tuple(rooms), words, divided(count, room_of))


def divided(count: int, room_of: t.Mapping[str, int]) -> t.Dict[str, int]:
    """Divide ``count`` pods over nodes in proportion to their room (the largest remainders get what is left); none gets more than its room."""
    whole = sum(room_of.values())
    if not whole:
        return dict.fromkeys(room_of, 0)
    exact = {name: count * free / whole for name, free in room_of.items()}
    found = {name: math.floor(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda one: (found[one] - exact[one], one))[: count - sum(found.values())]:
        found[name] += 1
    return found


def sequence(shares: t.Mapping[str, int]) -> t.List[str]:
    """The node of each pod in the order of creation, so that all nodes fill at an even pace."""
    slots = [((number + 0.5) / share, name) for name, share in shares.items() for number in range(share)]
    return [name for _at, name in sorted(slots)]


def survives_loss(rooms: t.Sequence[Room]) -> t.Dict[str, t.Any]:
    """Whether what the nodes carry without the benchmark fits when the largest of them is lost; pods of DaemonSets go with their node."""
    moving = sum(one.pods - one.daemon_pods for one in rooms)
    largest = max((one.places - one.daemon_pods for one in rooms), default=0)
    left = sum(one.places - one.daemon_pods for one in rooms) - largest
    return {
        "pods": moving,
        "places_after_loss": left,
        "kept": moving <= left,
        "largest_share": round(left / (left + largest), 3) if left + largest else 0.0,
    }


# --- when


def due(index: int, rate: float) -> float:
    """Seconds after the start at which the pod of this index is due."""
    return index / rate


def churn_due(minutes: float, percent_a_minute: float, pods: int) -> t.List[float]:
    """Seconds after the start of the churn at which a pod is replaced, evenly: ``percent_a_minute`` of ``pods`` in every minute."""
    count = math.floor(minutes * percent_a_minute / 100 * pods + 1e-9)
    return [minutes * 60 * index / count for index in range(count)]
