# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role calico; what they mean is in plugin_utils/calico.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import calico


def calico_objects(upstream: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All objects of Calico, from the text of upstream's ``calico.yaml``."""
    try:
        return calico.objects(upstream, calico.settings_of(settings))
    except calico.CalicoError as error:
        raise AnsibleFilterError(f"calico_objects: {error}") from error


def calico_nodes(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``{host: {rack, peers}}`` of hosts."""
    return calico.nodes_of(hosts, hostvars)


def calico_block_size(pods_per_node: int, wanted: int = 0) -> int:
    """Prefix length of an IPv4 block: ``wanted``, or the one that fits the pods when that is 0."""
    return int(wanted) or calico.block_size_for(int(pods_per_node))


def pool_cidrs(pools: Iterable[Mapping[str, Any]]) -> list[str]:
    """All CIDRs of ``cluster_load_balancer_pools``."""
    try:
        return calico.pool_cidrs(pools)
    except calico.CalicoError as error:
        raise AnsibleFilterError(f"pool_cidrs: {error}") from error


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {
            "calico_objects": calico_objects,
            "calico_nodes": calico_nodes,
            "calico_block_size": calico_block_size,
            "pool_cidrs": pool_cidrs,
        }
