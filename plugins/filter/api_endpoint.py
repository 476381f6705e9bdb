# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters about the API's address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.filter.nodes import node_ips


def announced_endpoint(address: str, hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Who announces the API's address, from where and to whom: ``{prefix, sources: {host: address}, peers: {host: [routers]}}``.

    Other hosts' variables come without role defaults, so the defaults of role cluster are repeated here.
    """
    names = sorted(hosts)
    own = node_ips(names, hostvars)
    peers = {
        host: hostvars[host].get("cluster_api_endpoint_bgp_peers", hostvars[host].get("cluster_bgp_peers")) or ()
        for host in names
    }
    return {
        "prefix": f"{address}/{128 if ':' in address else 32}",
        "sources": {host: str(hostvars[host].get("cluster_api_endpoint_bgp_source") or own[host]) for host in names},
        "peers": {host: [str(peer["address"]) for peer in found] for host, found in peers.items()},
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"announced_endpoint": announced_endpoint}
