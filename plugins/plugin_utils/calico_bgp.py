# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calico's BGP objects: configuration, peers, filters, and where passwords are read from. Pure.

Fields: the definitions in ``calico.yaml`` of 3.28.5 and 3.32.1 and ``confd/pkg/backends/calico/client.go``, which makes BIRD's configuration of them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Protocol

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bgp
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.node_registration import RACK_LABEL

Object = dict[str, Any]

CUSTOM_API = "crd.projectcalico.org/v1"
NAMESPACE = "kube-system"
# One Secret for all sessions: calico-node reads it by this name, and the Role gives it no other.
PASSWORDS = "bare-metal-kubernetes-bgp"
BGP_PORT = 179
# The first AS number for private use (RFC 6996): a node's when nobody says otherwise.
DEFAULT_AS_NUMBER = 64512
MATCHES = {"in": "In", "not_in": "NotIn", "equal": "Equal", "not_equal": "NotEqual"}


@dataclass(frozen=True)
class Peer:
    """A router that a node speaks BGP with; the fields of ``cluster_bgp_peers`` that Calico knows."""

    address: str
    as_number: int
    port: int = BGP_PORT
    password: str = ""
    source_address: str = "node_ip"
    reachable_by: str = ""
    keep_original_next_hop: bool = False
    ttl_security: int = 0
    max_restart_seconds: int = 0
    filters: tuple[str, ...] = ()
    allowed_own_as: int = 0


class Node(Protocol):
    """What is asked of a node here (``calico.Node`` has it)."""

    @property
    def name(self) -> str: ...
    @property
    def rack(self) -> str: ...
    @property
    def peers(self) -> tuple[Peer, ...]: ...
    @property
    def as_number(self) -> int: ...


class Settings(Protocol):
    """What is asked of the settings here (``calico.Settings`` has it)."""

    @property
    def nodes(self) -> Sequence[Node]: ...
    @property
    def bgp_topology(self) -> str: ...
    @property
    def as_number(self) -> int: ...
    @property
    def allowed_own_as(self) -> int: ...
    @property
    def reflectors(self) -> tuple[str, ...]: ...
    @property
    def mesh_password(self) -> str: ...
    @property
    def graceful_restart_seconds(self) -> int: ...
    @property
    def load_balancer_cidrs(self) -> tuple[str, ...]: ...
    @property
    def service_cidrs(self) -> tuple[str, ...]: ...
    @property
    def external_cidrs(self) -> tuple[str, ...]: ...
    @property
    def advertise_cluster_ips(self) -> bool: ...
    @property
    def filters(self) -> tuple[Mapping[str, Any], ...]: ...
    @property
    def communities(self) -> tuple[Mapping[str, Any], ...]: ...
    @property
    def advertisements(self) -> tuple[Mapping[str, Any], ...]: ...


def peer_of(values: Mapping[str, Any]) -> Peer:
    """Read one entry of ``cluster_bgp_peers``.

    :raises ValueError: no address or a number that is none; ``KeyError``: one is missing.
    """
    return Peer(
        address=str(ipaddress.ip_address(values["address"])),
        as_number=int(values["as_number"]),
        port=int(values.get("port") or BGP_PORT),
        password=str(values.get("password") or ""),
        source_address=str(values.get("source_address") or "node_ip"),
        reachable_by=str(values.get("reachable_by") or ""),
        keep_original_next_hop=bool(values.get("keep_original_next_hop")),
        ttl_security=int(values.get("ttl_security") or 0),
        max_restart_seconds=int(values.get("max_restart_seconds") or 0),
        filters=tuple(map(str, values.get("filters") or ())),
        allowed_own_as=int(values.get("allowed_own_as") or 0),
    )


def custom(kind: str, name: str, spec: Mapping[str, Any]) -> Object:
    """A custom resource of Calico's."""
    return {"apiVersion": CUSTOM_API, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def common_as_number(nodes: Sequence[Node]) -> int:
    """The AS of nodes without an annotation: the default when any node has it, else the smallest; never by position."""
    numbers = {node.as_number for node in nodes} or {DEFAULT_AS_NUMBER}
    return DEFAULT_AS_NUMBER if DEFAULT_AS_NUMBER in numbers else min(numbers)


def _password(name: str) -> Object:
    return {"secretKeyRef": {"name": PASSWORDS, "key": name}}


def _seconds(number: int) -> str:
    """A duration as the API server writes it, so that a second run sees no difference."""
    minutes, seconds = divmod(number, 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"


def bgp_configuration(settings: Settings) -> Object:
    """The cluster-wide BGP settings."""
    spec: Object = {
        "asNumber": settings.as_number or common_as_number(settings.nodes),
        "nodeToNodeMeshEnabled": settings.bgp_topology == "full_mesh",
        "logSeverityScreen": "Info",
    }
    if settings.load_balancer_cidrs:
        spec["serviceLoadBalancerIPs"] = [{"cidr": cidr} for cidr in settings.load_balancer_cidrs]
    if settings.advertise_cluster_ips:
        spec["serviceClusterIPs"] = [{"cidr": cidr} for cidr in settings.service_cidrs]
    if settings.external_cidrs:
        spec["serviceExternalIPs"] = [{"cidr": cidr} for cidr in settings.external_cidrs]
    if settings.communities:
        spec["communities"] = [{"name": entry["name"], "value": entry["value"]} for entry in settings.communities]
    if settings.advertisements:
        spec["prefixAdvertisements"] = [
            {"cidr": entry["cidr"], "communities": list(entry["communities"])} for entry in settings.advertisements
        ]
    if settings.bgp_topology == "full_mesh":
        if settings.mesh_password:
            spec["nodeMeshPassword"] = _password(settings.mesh_password)
        if settings.graceful_restart_seconds:
            spec["nodeMeshMaxRestartTime"] = _seconds(settings.graceful_restart_seconds)
    return custom("BGPConfiguration", "default", spec)


def _spec(peer: Peer, settings: Settings) -> Object:
    address = f"[{peer.address}]" if ":" in peer.address else peer.address
    spec: Object = {
        "peerIP": peer.address if peer.port == BGP_PORT else f"{address}:{peer.port}",
        "asNumber": peer.as_number,
    }
    allowed = peer.allowed_own_as or settings.allowed_own_as
    restart = peer.max_restart_seconds or settings.graceful_restart_seconds
    more: Object = {
        "numAllowedLocalASNumbers": allowed,
        "password": _password(peer.password) if peer.password else None,
        "sourceAddress": "None" if peer.source_address == "none" else None,
        "reachableBy": peer.reachable_by,
        # A reflector gives its routers the routes of all nodes: through itself, all traffic of the cluster would pass it.
        "keepOriginalNextHop": peer.keep_original_next_hop or settings.bgp_topology == "route_reflectors",
        "ttlSecurity": peer.ttl_security,
        "maxRestartTime": _seconds(restart) if restart else None,
        "filters": list(peer.filters),
    }
    return {**spec, **{name: value for name, value in more.items() if value}}


def peer_name(*parts: object) -> str:
    """A name for a peer's object."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(str(part) for part in parts).lower()).strip("-")


def bgp_peers(settings: Settings) -> list[Object]:
    """One object for each rack and router when all nodes of the rack have it (selected by label), else one a node; among reflectors one for all
    sessions between nodes.
    """
    racks: dict[str, set[str]] = {}
    users: dict[tuple[Peer, str], set[str]] = {}
    for node in settings.nodes:
        racks.setdefault(node.rack, set()).add(node.name)
        for peer in bgp.peers_of(settings.bgp_topology, node.name, node.peers, settings.reflectors):
            users.setdefault((peer, node.rack), set()).add(node.name)
    objects = []
    for (peer, rack), names in sorted(users.items(), key=lambda item: (item[0][1], astuple(item[0][0]))):
        spec = _spec(peer, settings)
        if rack and names == racks[rack]:
            selector = f"{RACK_LABEL} == '{rack}'"
            objects.append(custom("BGPPeer", peer_name("rack", rack, peer.address), {**spec, "nodeSelector": selector}))
        else:
            objects += [
                custom("BGPPeer", peer_name("node", name, peer.address), {**spec, "node": name})
                for name in sorted(names)
            ]
    if settings.bgp_topology == "route_reflectors":
        spec = {"nodeSelector": "all()", "peerSelector": f"has({bgp.REFLECTOR_LABEL})"}
        if settings.mesh_password:
            spec["password"] = _password(settings.mesh_password)
        if settings.graceful_restart_seconds:
            spec["maxRestartTime"] = _seconds(settings.graceful_restart_seconds)
        objects.append(custom("BGPPeer", "route-reflectors", spec))
    return objects


def _rules(rules: Sequence[Mapping[str, Any]], family: int) -> list[Object]:
    """The rules of one family; one without a network is for both."""
    found = []
    for rule in rules:
        cidr = str(rule.get("cidr") or "")
        if cidr and ipaddress.ip_network(cidr).version != family:
            continue
        entry: Object = {"action": str(rule["action"]).capitalize()}
        if cidr:
            entry |= {"cidr": cidr, "matchOperator": MATCHES[rule.get("match") or "in"]}
        if rule.get("source") == "remote_peers":
            entry["source"] = "RemotePeers"
        if rule.get("interface"):
            entry["interface"] = str(rule["interface"])
        found.append(entry)
    return found


def bgp_filters(settings: Settings) -> list[Object]:
    """The filters that peers name."""
    objects = []
    for entry in sorted(settings.filters, key=lambda one: str(one["name"])):
        fields = {
            f"{direction}V{family}": _rules(entry.get(f"{direction}_rules") or (), family)
            for direction in ("export", "import")
            for family in (4, 6)
        }
        objects.append(
            custom("BGPFilter", str(entry["name"]), {name: value for name, value in fields.items() if value})
        )
    return objects


def password_access(settings: Settings) -> list[Object]:
    """What lets calico-node read the Secret of passwords, when a session has one: ``get``, ``list`` and ``watch`` of this Secret alone, by
    ``metadata.name`` (``confd/pkg/backends/calico/secret_watcher.go``).
    """
    named = {peer.password for node in settings.nodes for peer in node.peers} | {settings.mesh_password}
    if named == {""} or not named:
        return []
    meta = {"name": PASSWORDS, "namespace": NAMESPACE}
    return [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta,
         "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [PASSWORDS],
                    "verbs": ["get", "list", "watch"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": PASSWORDS},
         "subjects": [{"kind": "ServiceAccount", "name": "calico-node", "namespace": NAMESPACE}]},
    ]  # fmt: skip
