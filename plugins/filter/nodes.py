# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters about addresses: of other hosts, where a role's defaults do not reach, and of interfaces."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import others


def node_ips(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """``{host: address}`` in the order of the names: ``cluster_node_ip``, else ``ansible_host``, else the name itself."""
    found = {}
    for host, variables in others.known(sorted(hosts), hostvars, ("cluster_node_ip", "ansible_host")).items():
        found[host] = str(variables.get("cluster_node_ip") or variables.get("ansible_host") or host)
    return found


def node_addresses(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """``{host: [address]}``: :func:`node_ips`, and ``cluster_node_second_ip`` where a host has one."""
    first = node_ips(hosts, hostvars)
    seconds = others.known(first, hostvars, ("cluster_node_second_ip",))
    found = {}
    for host, address in first.items():
        second = seconds[host].get("cluster_node_second_ip")
        found[host] = [address, *([str(second)] if second else [])]
    return found


def interface_of(machine: Mapping[str, Any], address: str) -> str:
    """Name of the machine's interface that carries ``address``; ``machine`` is what ``machine_info`` found."""
    for interface in machine["interfaces"]:
        if address in (entry.partition("/")[0] for entry in interface["addresses"]):
            return str(interface["name"])
    raise AnsibleFilterError(f"interface_of: no interface of this machine carries {address}")


def restarts_due(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], name: str) -> list[str]:
    """Hosts whose result of ``node_files``, registered as ``name``, has units left to restart; where there are none, a pattern of no host."""
    found = [
        host
        for host in dict.fromkeys(hosts)
        if host in hostvars and (hostvars[host].get(name) or {}).get("restarts_due")
    ]
    return found or ["!all"]


def ready_to_fork(pattern: str) -> str:
    """The pattern itself. Evaluated in the process that tasks are forked from, it has all filters loaded there, and all that is there kept out of the
    garbage collection of the forks (``gc.freeze``), which would look through it and copy it.
    """
    gc.freeze()
    return pattern


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "node_ips": node_ips,
            "node_addresses": node_addresses,
            "interface_of": interface_of,
            "ready_to_fork": ready_to_fork,
            "restarts_due": restarts_due,
        }
