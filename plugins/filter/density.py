# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that compute a node's kernel parameters and the memory that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster_budgets, density


def kernel_parameters(
    machine: Mapping[str, Any],
    pods_per_node: int,
    pod_cidrs: Sequence[str] = (),
    network_plugin: str = "calico",
    overrides: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
) -> dict[str, Any]:
    """Kernel parameters of a machine (``cpus``, ``memory_mib``) that shall carry ``pods_per_node`` pods."""
    try:
        cpus, memory_mib = int(machine["cpus"]), int(machine["memory_mib"])
        return density.kernel_parameters(int(pods_per_node), cpus, memory_mib, pod_cidrs, network_plugin, overrides)
    except KeyError as error:
        raise AnsibleFilterError(
            f"kernel_parameters: the machine facts lack {error}; machine_info has not run on this host"
        ) from error
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"kernel_parameters: {error}") from error


def least_memory_mib(pods_per_node: int, overrides: Mapping[str, Any] | None = None, shared_mib: int = 0) -> int:
    """MiB of the smallest machine on which the kubelet's reservations for that many pods leave anything for them."""
    try:
        return cluster_budgets.least_memory_mib(int(pods_per_node), overrides or {}, int(shared_mib))
    except (AttributeError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"least_memory_mib: {error}") from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"kernel_parameters": kernel_parameters, "least_memory_mib": least_memory_mib}
