# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role calico; what they mean is in plugin_utils/calico.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.filter.nodes import node_addresses
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bgp, calico, calico_bgp, others


def calico_objects(upstream: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All objects of Calico, from the text of upstream's ``calico.yaml``."""
    try:
        return calico.objects(upstream, calico.settings_of(settings))
    except calico.CalicoError as error:
        raise AnsibleFilterError(f"calico_objects: {error}") from error


def calico_nodes(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``{host: {rack, peers}}`` of hosts."""
    asked = ("cluster_rack", "cluster_bgp_peers", "cluster_bgp_as_number", "cluster_pods_per_node")
    return calico.nodes_of(hosts, others.known(hosts, hostvars, asked))


def calico_block_size(pods_per_node: int, wanted: int = 0) -> int:
    """Prefix length of an IPv4 block: ``wanted``, or the one that fits the pods when that is 0."""
    return int(wanted) or calico.block_size_for(int(pods_per_node))


def pool_cidrs(pools: Iterable[Mapping[str, Any]]) -> list[str]:
    """All CIDRs of ``cluster_load_balancer_pools``."""
    try:
        return calico.pool_cidrs(pools)
    except calico.CalicoError as error:
        raise AnsibleFilterError(f"pool_cidrs: {error}") from error


def calico_secrets(passwords: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """``{namespace/name: {password's name: password}}`` of the passwords that sessions name; empty when none does."""
    try:
        read = calico.settings_of(settings)
        named = {peer.password for node in read.nodes for peer in node.peers} | {read.mesh_password}
        data = {name: str(passwords[name]) for name in sorted(named - {""})}
    except calico.CalicoError as error:
        raise AnsibleFilterError(f"calico_secrets: {error}") from error
    except KeyError as error:
        raise AnsibleFilterError(f"calico_secrets: cluster_bgp_passwords has no {error}") from error
    return {f"{calico_bgp.NAMESPACE}/{calico_bgp.PASSWORDS}": data} if data else {}


def calico_typha_replicas(nodes: int) -> int:
    """How many Typhas a cluster of so many nodes wants."""
    return bgp.typha_replicas(int(nodes))


def bgp_reflectors(
    hosts: Sequence[str], control_plane: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """The nodes that reflect routes, named by the inventory or elected from it."""
    known = others.known(hosts, hostvars, ("cluster_rack", "cluster_bgp_route_reflector"))
    return bgp.reflectors(bgp.speakers_of(hosts, control_plane, known))


def bgp_sessions(
    hosts: Sequence[str],
    control_plane: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    topology: str,
    encapsulation: str,
) -> dict[str, list[str]]:
    """The addresses that each node must have a BGP session with, by name."""
    addresses = node_addresses(hosts, hostvars)
    known = others.known(hosts, hostvars, ("cluster_bgp_peers",))
    routers = {host: [str(peer["address"]) for peer in known[host].get("cluster_bgp_peers") or ()] for host in hosts}
    found = bgp.topology_of(topology, any(routers.values()), encapsulation)
    chosen = bgp_reflectors(hosts, control_plane, hostvars)
    return bgp.sessions(found, {host: (addresses[host], routers[host]) for host in hosts}, chosen)


def bgp_topology(
    hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str], topology: str, encapsulation: str
) -> str:
    """Who speaks BGP with whom; ``auto`` is worked out."""
    known = others.known(hosts, hostvars, ("cluster_bgp_peers",))
    return bgp.topology_of(topology, any(entry.get("cluster_bgp_peers") for entry in known.values()), encapsulation)


def encapsulation_overhead(encapsulation: str, wireguard: bool, address: str, second: str = "") -> int:
    """Bytes that encapsulation adds to a pod's packet between nodes with addresses like these; of two families the one that adds more."""
    return max(bgp.overhead(encapsulation, wireguard, bgp.family_of(str(one))) for one in (address, second or address))


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {
            "calico_objects": calico_objects,
            "calico_nodes": calico_nodes,
            "calico_block_size": calico_block_size,
            "calico_secrets": calico_secrets,
            "calico_typha_replicas": calico_typha_replicas,
            "bgp_reflectors": bgp_reflectors,
            "bgp_sessions": bgp_sessions,
            "bgp_topology": bgp_topology,
            "encapsulation_overhead": encapsulation_overhead,
            "pool_cidrs": pool_cidrs,
        }
