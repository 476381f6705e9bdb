# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for etcd and for those who talk to it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import etcd_plan

HostVars = t.Mapping[str, t.Mapping[str, t.Any]]
OBSERVED_VARIABLE = "__etcd_observed"


def etcd_members(hosts: t.Iterable[str], hostvars: HostVars) -> list[dict[str, str]]:
    """Return ``[{name, peer_url, client_url}]`` for the hosts of group etcd."""
    try:
        return etcd_plan.members(hosts, hostvars)
    except etcd_plan.EtcdPlanError as exc:
        raise AnsibleFilterError(f"etcd_members: {exc}") from exc


def etcd_endpoints(hosts: t.Iterable[str], hostvars: HostVars) -> list[str]:
    """Return the client URLs of the hosts of group etcd."""
    try:
        return etcd_plan.endpoints(hosts, hostvars)
    except etcd_plan.EtcdPlanError as exc:
        raise AnsibleFilterError(f"etcd_endpoints: {exc}") from exc


def etcd_data(hosts: t.Iterable[str], hostvars: HostVars) -> dict[str, bool | None]:
    """Return which hosts had data when the run began."""
    return etcd_plan.data(hosts, hostvars, OBSERVED_VARIABLE)


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Names of the filters."""
        return {"etcd_members": etcd_members, "etcd_endpoints": etcd_endpoints, "etcd_data": etcd_data}
