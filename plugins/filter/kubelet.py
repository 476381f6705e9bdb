# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that computes a node's kubelet settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import kubelet


def kubelet_configuration(
    machine: Mapping[str, Any], pods_per_node: int, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """``KubeletConfiguration`` of a machine (``cpus``, ``memory_mib``) that shall carry ``pods_per_node`` pods."""
    try:
        return kubelet.kubelet_configuration(
            int(pods_per_node), int(machine["cpus"]), int(machine["memory_mib"]), overrides
        )
    except KeyError as error:
        raise AnsibleFilterError(
            f"kubelet_configuration: the machine facts lack {error}; machine_info has not run on this host"
        ) from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"kubelet_configuration": kubelet_configuration}
