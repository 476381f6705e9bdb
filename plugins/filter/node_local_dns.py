# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters about the DNS cache of dense nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import node_local_dns as core
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import others


def node_local_dns_wanted(value: Any, network_plugin: str, pods_per_node: int, pod_cidrs: Sequence[str]) -> bool:
    """Does a node have a DNS cache? ``value`` is ``cluster_node_local_dns``."""
    return core.wanted(value, network_plugin, int(pods_per_node), pod_cidrs)


def node_local_dns_hosts(names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those hosts that have a DNS cache."""
    hosts = list(names)
    asked = ("cluster_node_local_dns", "cluster_network_plugin", "cluster_pods_per_node", "cluster_pod_cidrs")
    return core.hosts(hosts, others.known(hosts, hostvars, asked))


def node_local_dns_servers(service_cidrs: Sequence[str]) -> list[str]:
    """``clusterDNS`` of a kubelet with a cache."""
    return core.servers(service_cidrs)


def node_local_dns_objects(image: str, service_cidrs: Sequence[str]) -> list[dict[str, Any]]:
    """The objects that run the caches."""
    return core.objects(image, service_cidrs)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "node_local_dns_hosts": node_local_dns_hosts,
            "node_local_dns_objects": node_local_dns_objects,
            "node_local_dns_servers": node_local_dns_servers,
            "node_local_dns_wanted": node_local_dns_wanted,
        }
