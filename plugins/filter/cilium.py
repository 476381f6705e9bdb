# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role cilium; what they mean is in plugin_utils/cilium.py and cilium_bgp.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cilium, cilium_bgp


def cilium_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the chart is rendered with."""
    try:
        return cilium.values_for(cilium.settings_of(settings))
    except cilium.CiliumError as error:
        raise AnsibleFilterError(f"cilium_values: {error}") from error


def cilium_range_size(pods_per_node: int, pod_cidrs: Sequence[str]) -> int:
    """The prefix length of a node's IPv4 range; 0 where there is none, or it does not fit (the inventory's rules say so)."""
    try:
        return cilium.range_size(int(pods_per_node), [str(cidr) for cidr in pod_cidrs])
    except (cilium.CiliumError, ValueError):
        return 0


def cilium_objects(rendered: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All objects of Cilium: the chart's, then sessions and pools."""
    try:
        read = cilium.settings_of(settings)
        return [*cilium.checked([dict(obj) for obj in rendered], read), *cilium_bgp.objects(read)]
    except cilium.CiliumError as error:
        raise AnsibleFilterError(f"cilium_objects: {error}") from error


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {
            "cilium_values": cilium_values,
            "cilium_objects": cilium_objects,
            "cilium_range_size": cilium_range_size,
        }
