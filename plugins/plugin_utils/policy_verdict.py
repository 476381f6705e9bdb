# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NetworkPolicy objects allow, which connections prove it, and which of the present connections they would cut.

Pure functions. The meaning of the objects is that of the API (kubernetes.io/docs/concepts/services-networking/network-policies): a pod that no policy
selects for a direction is open in it; one that any selects is open for the union of their rules; a connection needs both ends.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]
INGRESS, EGRESS = "Ingress", "Egress"


@dataclass(frozen=True)
class Pod:
    """A pod as policies see it. ``ports`` are ``(name, protocol, number)`` of its containers."""

    namespace: str
    name: str
    node: str = ""
    addresses: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[tuple[str, str, int], ...] = ()
    workload: str = ""
    host_network: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Connection:
    """``source`` and ``target`` are pods, or addresses of something else; ``source_address`` may be empty."""

    source: Pod | str
    target: Pod | str
    protocol: str
    port: int

    def __str__(self) -> str:
        return f"{self.source} -> {self.target} {self.port}/{self.protocol}"


def pod_of(obj: Object) -> Pod:
    """Read a Pod object of the API."""
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status", {})
    owners = metadata.get("ownerReferences") or []
    ports = tuple(
        (str(port.get("name", "")), str(port.get("protocol", "TCP")), int(port["containerPort"]))
        for container in spec.get("containers", [])
        for port in container.get("ports", [])
    )
    return Pod(
        str(metadata["namespace"]),
        str(metadata["name"]),
        str(spec.get("nodeName", "")),
        tuple(str(entry["ip"]) for entry in status.get("podIPs") or []),
        dict(metadata.get("labels") or {}),
        ports,
        f"{owners[0]['kind']}/{owners[0]['name']}" if owners else f"Pod/{metadata['name']}",
        bool(spec.get("hostNetwork")),
    )


# --- selectors


def _expression(labels: Mapping[str, str], entry: Object) -> bool:
    key, values = entry["key"], entry.get("values") or []
    present = key in labels
    return {
        "In": present and labels.get(key) in values,
        "NotIn": not present or labels.get(key) not in values,
        "Exists": present,
        "DoesNotExist": not present,
    }[entry["operator"]]


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Does a LabelSelector match? An empty one matches everything."""
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        _expression(labels, entry) for entry in selector.get("matchExpressions") or []
    )


@dataclass(frozen=True)
class Rules:
    """NetworkPolicy objects, and the labels of the namespaces that they select by."""

    policies: Sequence[Object]
    namespaces: Mapping[str, Mapping[str, str]]

    def _of(self, pod: Pod, direction: str) -> list[Object]:
        found = []
        for policy in self.policies:
            spec = policy["spec"]
            types = spec.get("policyTypes") or [INGRESS, *([EGRESS] if "egress" in spec else [])]
            if (
                policy["metadata"]["namespace"] == pod.namespace
                and direction in types
                and selects(spec.get("podSelector") or {}, pod.labels)
            ):
                found.append(policy)
        return found

    def _is_peer(self, peer: Object, other: Pod | str, home: str) -> bool:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            addresses = other.addresses if isinstance(other, Pod) else (other,)
            return any(
                _within(address, block["cidr"])
                and not any(_within(address, part) for part in block.get("except") or [])
                for address in addresses
            )
        # A pod on its node's network is its node: policies see the node's address only.
        if isinstance(other, str) or other.host_network:
            return False
        if "namespaceSelector" in peer:
            near = selects(peer["namespaceSelector"] or {}, self.namespaces.get(other.namespace, {}))
        else:
            near = other.namespace == home
        return near and selects(peer.get("podSelector") or {}, other.labels)

    def _one_way(self, pod: Pod, other: Pod | str, connection: Connection, direction: str) -> bool:
        policies = self._of(pod, direction)
        key = "from" if direction == INGRESS else "to"
        return not policies or any(
            (not rule.get(key) or any(self._is_peer(peer, other, pod.namespace) for peer in rule[key]))
            and _port_fits(rule.get("ports") or [], connection)
            for policy in policies
            for rule in policy["spec"].get(direction.lower()) or []
        )

    def cut_by(self, connection: Connection) -> str:
        """Which end cuts the connection: ``Egress`` of the source, ``Ingress`` of the target, or nothing (empty: it passes)."""
        source, target = connection.source, connection.target
        if (
            isinstance(source, Pod)
            and not source.host_network
            and not self._one_way(source, target, connection, EGRESS)
        ):
            return EGRESS
        if (
            isinstance(target, Pod)
            and not target.host_network
            and not self._one_way(target, source, connection, INGRESS)
        ):
            return INGRESS
        return ""


def _within(address: str, cidr: str) -> bool:
    network = ipaddress.ip_network(cidr)
    parsed = ipaddress.ip_address(address)
    return parsed.version == network.version and parsed in network


def _port_fits(ports: Sequence[Object], connection: Connection) -> bool:
    if not ports:
        return True
    for entry in ports:
        if entry.get("protocol", "TCP") != connection.protocol:
            continue
        wanted = entry.get("port")
        if wanted is None:
            return True
        if isinstance(wanted, str):
            named = connection.target.ports if isinstance(connection.target, Pod) else ()
            if (wanted, connection.protocol, connection.port) in named:
                return True
        elif wanted <= connection.port <= entry.get("endPort", wanted):
            return True
    return False


# --- what proves it


@dataclass(frozen=True)
class Trial:
    """A connection that is to be tried, from the source pod's own network, and what has to happen."""

    connection: Connection
    address: str
    passes: bool

    @property
    def id(self) -> str:
        return f"{self.connection} at {self.address}"


def _one_of_each(pods: Iterable[Pod]) -> list[Pod]:
    """One pod of every workload, the first by name: its others have the same labels."""
    found: dict[tuple[str, str], Pod] = {}
    for pod in sorted(pods, key=str):
        if pod.addresses and not pod.host_network:
            found.setdefault((pod.namespace, pod.workload), pod)
    return list(found.values())


def _tcp_ports(pod: Pod, rules: Rules) -> list[int]:
    own = {number for _name, protocol, number in pod.ports if protocol == "TCP"}
    for policy in rules.policies:
        spec = policy["spec"]
        if policy["metadata"]["namespace"] == pod.namespace and selects(spec.get("podSelector") or {}, pod.labels):
            own |= {
                port["port"]
                for rule in spec.get("ingress") or []
                for port in rule.get("ports") or []
                if port.get("protocol", "TCP") == "TCP" and isinstance(port.get("port"), int)
            }
    return sorted(own)


def trials(pods: Iterable[Pod], rules: Rules, described: Iterable[str], limit: int = 400, seed: int = 0) -> list[Trial]:
    """Connections between one pod of every workload, with an end in a described namespace: those that must pass and those that must not.

    Only TCP can be told apart from silence. Of more than ``limit`` a sample is taken, the same for the same ``seed``, in which both kinds keep half.
    """
    wanted = frozenset(described)
    few = _one_of_each(pods)
    found = [
        Trial(connection := Connection(source, target, "TCP", port), address, not rules.cut_by(connection))
        for source in few
        for target in few
        if source != target and wanted & {source.namespace, target.namespace}
        for port in _tcp_ports(target, rules)
        for address in target.addresses
        if _families(source) & {ipaddress.ip_address(address).version}
    ]
    if len(found) <= limit:
        return found
    chooser = random.Random(seed)  # a sample of tests, nothing secret
    kinds = [[trial for trial in found if trial.passes is passes] for passes in (True, False)]
    smaller = min(kinds, key=len)
    larger = max(kinds, key=len)
    kept = chooser.sample(smaller, min(len(smaller), limit // 2))
    kept += chooser.sample(larger, limit - len(kept))
    return [trial for trial in found if trial in kept]


def _families(pod: Pod) -> set[int]:
    return {ipaddress.ip_address(address).version for address in pod.addresses}


def untested(
    pods: Iterable[Pod], policies: Sequence[Object], namespaces: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Policies that select no pod that runs: nothing was tried for them."""
    listed = [pod for pod in pods if pod.addresses]
    rules = Rules(policies, namespaces)
    for policy in policies:
        if not any(policy in rules._of(pod, direction) for pod in listed for direction in (INGRESS, EGRESS)):
            yield f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"


def judged(trial: Trial, outcome: str) -> str:
    """Why a trial's outcome is wrong, or nothing. ``refused`` is an answer of the target: the connection was let through."""
    through = outcome in ("connected", "refused")
    if through == trial.passes and outcome in ("connected", "refused", "dropped"):
        return ""
    if outcome not in ("connected", "refused", "dropped"):
        return f"{trial.connection}: not tried: {outcome}"
    must = "must pass and is dropped" if trial.passes else f"must not pass and is {outcome}"
    return f"{trial.connection}: {must}"


# --- what would be cut


def seen_connections(
    tracked: Iterable[Mapping[str, Any]], pods: Iterable[Pod], services: Iterable[str] = ()
) -> list[Connection]:
    """Connections of the nodes' tables with a pod at one end, each once.

    :param tracked: ``{protocol, source, target, port}``: the client, and the server behind a Service's address.
    :param services: addresses of Services: an entry that still has one was never answered.
    """
    by_address = {address: pod for pod in pods if not pod.host_network for address in pod.addresses}
    skipped = frozenset(services)
    found: dict[str, Connection] = {}
    for entry in tracked:
        if entry["target"] in skipped:
            continue
        source: Pod | str = by_address.get(entry["source"], entry["source"])
        target: Pod | str = by_address.get(entry["target"], entry["target"])
        if isinstance(source, Pod) or isinstance(target, Pod):
            connection = Connection(source, target, str(entry["protocol"]).upper(), int(entry["port"]))
            found.setdefault(str(connection), connection)
    return [found[key] for key in sorted(found)]


def would_be_cut(
    connections: Iterable[Connection], rules: Rules, node_addresses: Mapping[str, str]
) -> list[tuple[Connection, str]]:
    """Present connections that the policies end, and at which end.

    :param node_addresses: ``{address: node}``: a node may always reach the pods that it runs itself (its kubelet's probes).
    """
    found = []
    for connection in connections:
        source, target = connection.source, connection.target
        own_node = (
            isinstance(source, str)
            and isinstance(target, Pod)
            and source in node_addresses
            and node_addresses[source] == target.node
        )
        end = "" if own_node else rules.cut_by(connection)
        if end:
            found.append((connection, end))
    return found


# --- the whole, for the report


@dataclass(frozen=True)
class Picture:
    """A cluster's pods under the wanted policies, beside those of others that it has."""

    pods: tuple[Pod, ...]
    rules: Rules
    wanted: tuple[Object, ...]
    described: tuple[str, ...]
    services: tuple[str, ...]


def picture(facts: Object, wanted: Iterable[Object]) -> Picture:
    """Join what ``policy_facts`` read with the objects that are wanted: namespaces that are to be made, policies that replace those of their name."""
    objects = list(wanted)
    spaces = [obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"]
    policies = [obj for obj in objects if obj["kind"] == "NetworkPolicy"]
    labels = {name: {"kubernetes.io/metadata.name": name} for name in spaces}
    names = {(policy["metadata"]["namespace"], policy["metadata"]["name"]) for policy in policies}
    # Policies add up: one that somebody else wrote in a described namespace opens what it says.
    others = [
        policy
        for policy in facts["policies"]
        if (policy["metadata"]["namespace"], policy["metadata"]["name"]) not in names
    ]
    return Picture(
        tuple(map(pod_of, facts["pods"])),
        Rules([*policies, *others], {**labels, **facts["namespaces"]}),
        tuple(policies),
        tuple(sorted(spaces)),
        tuple(facts["services"]),
    )


def trials_of(
    facts: Object, wanted: Iterable[Object], api: Iterable[str] = (), api_port: int = 6443, limit: int = 400
) -> list[Trial]:
    """All trials for a cluster: between its workloads, and from described ones to the API, which few need."""
    seen = picture(facts, wanted)
    found = trials(seen.pods, seen.rules, seen.described, limit)
    sources = [pod for pod in _one_of_each(seen.pods) if pod.namespace in seen.described]
    for source in sources:
        for address in api:
            connection = Connection(source, address, "TCP", api_port)
            if _families(source) & {ipaddress.ip_address(address).version}:
                found.append(Trial(connection, address, not seen.rules.cut_by(connection)))
    return found


def trials_from(found: Iterable[Trial], node: str) -> list[dict[str, Any]]:
    """The trials whose source runs on one node, as ``policy_probe`` takes them."""
    return [
        {
            "id": trial.id,
            "namespace": trial.connection.source.namespace,
            "pod": trial.connection.source.name,
            "address": trial.address,
            "port": trial.connection.port,
            "passes": trial.passes,
        }
        for trial in found
        if isinstance(trial.connection.source, Pod) and trial.connection.source.node == node
    ]


def left_over(facts: Object, wanted: Iterable[Object]) -> list[str]:
    """Policies in described namespaces that the description does not make: they open more than is described, or less."""
    objects = list(wanted)
    mine = {(obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) for obj in objects}
    spaces = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
    found = [(entry["metadata"]["namespace"], entry["metadata"]["name"]) for entry in facts["policies"]]
    return sorted(f"{space}/{name}" for space, name in found if space in spaces and (space, name) not in mine)
