# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters about the API's address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.filter.nodes import node_ips
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import endpoint_move, others

FACTS_VARIABLE = "endpoint_move_facts"


def announced_endpoint(address: str, hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Who announces the API's address, from where and to whom: ``{prefix, sources: {host: address}, peers: {host: [routers]}}``.

    Other hosts' variables come without role defaults, so the defaults of role cluster are repeated here.
    """
    names = sorted(hosts)
    own = node_ips(names, hostvars)
    asked = ("cluster_api_endpoint_bgp_peers", "cluster_api_endpoint_bgp_source", "cluster_bgp_peers")
    known = others.known(names, hostvars, asked)
    peers = {
        host: known[host].get("cluster_api_endpoint_bgp_peers", known[host].get("cluster_bgp_peers")) or ()
        for host in names
    }
    return {
        "prefix": f"{address}/{128 if ':' in address else 32}",
        "sources": {host: str(known[host].get("cluster_api_endpoint_bgp_source") or own[host]) for host in names},
        "peers": {host: [str(peer["address"]) for peer in found] for host, found in peers.items()},
    }


def _facts(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What each host showed in this run; one that did not answer is left out."""
    found = {host: (hostvars[host].get(FACTS_VARIABLE) or {}).get("facts") for host in hosts if host in hostvars}
    return {host: facts for host, facts in found.items() if facts}


def api_endpoint_others(
    wanted: Mapping[str, Any], hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The endpoints that stand or are asked in a cluster beside the wanted one."""
    return endpoint_move.others(wanted, _facts(hosts, hostvars))


def api_endpoint_refusals(
    wanted: Mapping[str, Any], hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Why a move is not begun, as sentences."""
    names = list(hosts)
    return endpoint_move.refusals(wanted, names, _facts(names, hostvars))


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "announced_endpoint": announced_endpoint,
            "api_endpoint_others": api_endpoint_others,
            "api_endpoint_refusals": api_endpoint_refusals,
            "api_endpoint_binds": endpoint_move.binds,
        }
