# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight_report needs of every host, read in one pass: evaluating a host's variables takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def preflight_hosts(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], name: str
) -> dict[str, dict[str, Any]]:
    """``{host: {answer, waivers, rack, node_ip}}``; ``name`` is the variable in which ``machine_info`` was registered."""
    found = {}
    for host in hosts:
        variables = hostvars[host]
        # Of another type they are machine_info's to refuse.
        waivers = variables.get("os_prep_waivers")
        found[host] = {
            "answer": variables.get(name) or {},
            "waivers": dict(waivers) if isinstance(waivers, Mapping) else {},
            "rack": str(variables.get("cluster_rack") or ""),
            "node_ip": str(variables.get("cluster_node_ip") or variables.get("ansible_host") or host),
        }
    return found


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"preflight_hosts": preflight_hosts}
