# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that reads other hosts' addresses where a role's defaults do not reach: in ``hostvars``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def node_ips(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """``{host: address}`` in the order of the names: ``cluster_node_ip``, else ``ansible_host``, else the name itself."""
    found = {}
    for host in sorted(hosts):
        variables = hostvars[host]
        found[host] = str(variables.get("cluster_node_ip") or variables.get("ansible_host") or host)
    return found


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"node_ips": node_ips}
