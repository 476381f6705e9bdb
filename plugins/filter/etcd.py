# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for etcd and for those who talk to it."""

from __future__ import annotations

import typing as t
from collections import Counter

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import etcd_events, etcd_plan, others
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import NODE_GROUPS
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.kubeadm_config import DEFAULT_PODS_PER_NODE

HostVars = t.Mapping[str, t.Mapping[str, t.Any]]
OBSERVED_VARIABLE = "__etcd_observed"
JOINED_VARIABLE = "__etcd_joined"


def etcd_members(hosts: t.Iterable[str], hostvars: HostVars, cluster: str = etcd_plan.MAIN) -> list[dict[str, str]]:
    """Return ``[{name, peer_url, client_url}]`` for the hosts of group etcd."""
    try:
        return etcd_plan.members(hosts, hostvars, cluster)
    except etcd_plan.EtcdPlanError as exc:
        raise AnsibleFilterError(f"etcd_members: {exc}") from exc


def etcd_endpoints(hosts: t.Iterable[str], hostvars: HostVars, cluster: str = etcd_plan.MAIN) -> list[str]:
    """Return the client URLs of the hosts of group etcd."""
    try:
        return etcd_plan.endpoints(hosts, hostvars, cluster)
    except etcd_plan.EtcdPlanError as exc:
        raise AnsibleFilterError(f"etcd_endpoints: {exc}") from exc


def etcd_data(hosts: t.Iterable[str], hostvars: HostVars, cluster: str = etcd_plan.MAIN) -> dict[str, bool | None]:
    """Return which hosts had data when the run began."""
    return etcd_plan.data(hosts, hostvars, OBSERVED_VARIABLE, cluster)


def etcd_events_separate(
    mode: str, groups: t.Mapping[str, t.Sequence[str]], hostvars: HostVars, planned_nodes: int = 0
) -> bool:
    """Whether events have an etcd of their own; only V(auto) looks at the hosts."""
    if mode != etcd_events.AUTO:
        return etcd_events.separate(mode, 0)
    nodes = {host for group in NODE_GROUPS for host in groups.get(group, ())}
    known = others.known(nodes, hostvars, ("cluster_pods_per_node",))
    pods = Counter(int(entry.get("cluster_pods_per_node", DEFAULT_PODS_PER_NODE)) for entry in known.values())
    return etcd_events.separate(mode, etcd_events.planned_pods(pods, int(planned_nodes)))


def etcd_events_left(hosts: t.Iterable[str], hostvars: HostVars) -> list[str]:
    """Hosts that have a member of the events' etcd which nobody wants any more; where there are none, a pattern of no host."""
    return etcd_plan.left(hosts, hostvars, OBSERVED_VARIABLE, JOINED_VARIABLE) or ["!all"]


def etcd_events_patches(endpoints: t.Sequence[str]) -> dict[str, t.Mapping[str, t.Any]]:
    """kubeadm's patches for control planes whose events have these endpoints; none where there are none."""
    return etcd_events.probe_patches() if endpoints else {}


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Names of the filters."""
        return {
            "etcd_data": etcd_data,
            "etcd_endpoints": etcd_endpoints,
            "etcd_events_left": etcd_events_left,
            "etcd_events_patches": etcd_events_patches,
            "etcd_events_separate": etcd_events_separate,
            "etcd_members": etcd_members,
        }
