# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind ``cluster_firewall_table``; what it means is in plugin_utils/firewall.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.filter.nodes import node_addresses
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bgp, firewall, node_local_dns, others
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import CLUSTER_GROUPS, NODE_GROUPS


def firewall_table(
    values: Mapping[str, Any],
    host: str,
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
) -> str:
    """The nftables table of ``host``, as ``nft -f`` reads it; ``values`` are its ``cluster_*`` variables by their names without the prefix."""
    members = {name for group in CLUSTER_GROUPS for name in groups.get(group, ())}
    if host not in members:
        return ""
    nodes = sorted({name for group in NODE_GROUPS for name in groups.get(group, ())})
    addresses = node_addresses(members, hostvars)
    # Of other roles, whose defaults do not reach here.
    own = hostvars[host]
    flags = own.get("control_plane_apiserver_extra_args")
    more = {
        "bgp_sessions": _sessions(values, host, nodes, groups, hostvars, addresses) if host in nodes else [],
        "typha_replicas": own.get("calico_typha_replicas", bgp.typha_replicas(len(nodes))),
        "node_local_dns_here": host in nodes and node_local_dns.wanted_of(own),
        "node_port_range": flags.get("service-node-port-range") if isinstance(flags, Mapping) else None,
    }
    try:
        return firewall.render(firewall.from_inventory({**more, **values}, host, groups, addresses))
    except (firewall.FirewallError, ValueError) as error:
        raise AnsibleFilterError(f"firewall_table: {error}") from error


def _sessions(
    values: Mapping[str, Any],
    host: str,
    nodes: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    addresses: Mapping[str, Sequence[str]],
) -> list[str]:
    """The addresses that a node of Calico has BGP sessions with."""
    routers = [str(peer["address"]) for peer in values.get("bgp_peers") or ()]
    known = others.known(nodes, hostvars, ("cluster_bgp_peers", "cluster_rack", "cluster_bgp_route_reflector"))
    any_peers = bool(routers) or any(known[node].get("cluster_bgp_peers") for node in nodes)
    topology = bgp.topology_of(values.get("bgp_topology") or bgp.AUTO, any_peers, values.get("encapsulation") or "none")
    if topology == "none":
        return []
    reflecting = topology == "route_reflectors"
    names = bgp.reflectors(bgp.speakers_of(nodes, groups.get("control_plane", ()), known)) if reflecting else []
    # The routers of others are not this host's neighbours.
    speakers = {node: (addresses[node], routers if node == host else []) for node in nodes}
    return bgp.sessions(topology, speakers, names)[host]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"firewall_table": firewall_table}
