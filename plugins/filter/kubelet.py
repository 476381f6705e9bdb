# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that computes a node's kubelet settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import kubelet

# The path in ``machine_info``'s ``disks`` under which containers' logs are (/var/log/pods).
LOGS = "/var/log"


def kubelet_configuration(
    machine: Mapping[str, Any], pods_per_node: int, overrides: Mapping[str, Any] | None = None, shared_mib: int = 0
) -> dict[str, Any]:
    """``KubeletConfiguration`` of a machine (``cpus``, ``memory_mib``, ``disks``) that shall carry ``pods_per_node`` pods."""
    try:
        disk = (machine.get("disks") or {}).get(LOGS) or {}
        return kubelet.kubelet_configuration(
            int(pods_per_node),
            int(machine["cpus"]),
            int(machine["memory_mib"]),
            overrides,
            disk_mib=int(disk.get("size_mib") or 0),
            shared_mib=int(shared_mib),
        )
    except KeyError as error:
        raise AnsibleFilterError(
            f"kubelet_configuration: the machine facts lack {error}; machine_info has not run on this host"
        ) from error


def parallel_image_pulls(machine: Mapping[str, Any]) -> int:
    """Images that a machine (``cpus``) pulls at a time."""
    try:
        return kubelet.parallel_image_pulls(int(machine["cpus"]))
    except KeyError as error:
        raise AnsibleFilterError(
            f"parallel_image_pulls: the machine facts lack {error}; machine_info has not run on this host"
        ) from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"kubelet_configuration": kubelet_configuration, "parallel_image_pulls": parallel_image_pulls}
