# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight_report needs of every host (read in one pass: evaluating a host's variables takes milliseconds), and what a node is to hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import node_space


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


def node_load(
    pods_per_node: int,
    manifest: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    containers_per_pod: float = 1,
    control_plane: bool = False,
    registry: str = "",
    shared_mib: int = 0,
) -> dict[str, Any]:
    """The images, programs and logs of a node (:class:`node_space.Load`) as a dictionary; ``manifest`` may be empty before there is a bundle."""
    try:
        load = node_space.load_of(
            manifest, int(pods_per_node), settings, float(containers_per_pod), control_plane, bool(registry)
        )
        load = replace(load, shared_mib=int(shared_mib))
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"node_load: {error!r}") from error
    # Not asdict: it copies nested containers by calling their type, which Ansible's lazy ones refuse.
    return {entry.name: getattr(load, entry.name) for entry in fields(load)}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"node_load": node_load, "preflight_hosts": preflight_hosts}
