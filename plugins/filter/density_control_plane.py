# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that size the control plane for the pods of the whole cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_control_plane as core

Taints = Sequence[Mapping[str, Any]] | None


def apiserver_memory_mib(machine: Mapping[str, Any], taints: Taints = None) -> int:
    """The apiserver's GOMEMLIMIT on a machine (``memory_mib``) whose control plane has these taints."""
    try:
        return core.memory_limit_mib(int(machine["memory_mib"]), workloads=core.runs_workloads(taints))
    except KeyError as error:
        raise AnsibleFilterError(
            f"apiserver_memory_mib: the machine facts lack {error}; machine_info has not run on this host"
        ) from error


def event_rate_limits(
    densities: Sequence[int], control_planes: int, event_ttl: str, own_etcd: bool = False
) -> list[dict[str, Any]]:
    """Limits of events for nodes that may carry so many pods each (``densities``)."""
    pods = [int(each) for each in densities]
    try:
        return core.event_limits(sum(pods), max(pods), int(control_planes), str(event_ttl), own_etcd=bool(own_etcd))
    except ValueError as error:
        raise AnsibleFilterError(f"event_rate_limits: {error}") from error


def control_plane_memory_mib(
    densities: Sequence[int], taints: Taints = None, etcd: bool = False, events: bool = False
) -> int:
    """MiB that a control plane keeps to itself on a machine that runs workloads as well; 0 on one that does not."""
    if not core.runs_workloads(taints):
        return 0
    return core.control_plane_mib(sum(int(each) for each in densities), etcd=bool(etcd), events=bool(events))


def etcd_events_memory_mib(densities: Sequence[int]) -> int:
    """MiB that a member of the events' etcd takes, for nodes that may carry so many pods each."""
    return core.events_etcd_mib(sum(int(each) for each in densities))


def coredns_replicas(densities: Sequence[int]) -> int:
    """Replicas of CoreDNS for nodes that may carry so many pods each."""
    return core.coredns_replicas(sum(int(each) for each in densities), len(densities))


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "admission_configuration": core.admission_configuration,
            "apiserver_memory_mib": apiserver_memory_mib,
            "control_plane_memory_mib": control_plane_memory_mib,
            "coredns_replicas": coredns_replicas,
            "etcd_events_memory_mib": etcd_events_memory_mib,
            "event_rate_limits": event_rate_limits,
        }
