# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that names the run's leader from what the control planes said of themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.leader import LeaderError, candidate, elect

PROBE_VARIABLE = "control_plane_probe"


def elect_leader(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> str:
    """Name of the control plane that acts for the cluster; each host's ``control_plane_probe`` result is read from ``hostvars``."""
    try:
        return elect(candidate(host, (hostvars[host].get(PROBE_VARIABLE) or {}).get("probe")) for host in hosts)
    except LeaderError as error:
        raise AnsibleFilterError(f"elect_leader: {error}") from error


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"elect_leader": elect_leader}
