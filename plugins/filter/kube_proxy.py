# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that name the nodes of plays about kube-proxy, by what was seen of the nodes earlier in the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Hostvars = Mapping[str, Mapping[str, Any]]
NOBODY = ["!all"]


def kube_proxy_awaited(hosts: Iterable[str], hostvars: Hostvars) -> list[str]:
    """Nodes of which ``machine_info`` said that kube-proxy is to carry the Services, and an agent does so until now."""

    def awaits(variables: Mapping[str, Any]) -> bool:
        facts = variables.get("ansible_facts") or {}
        return bool((facts.get("bare_metal_machine") or {}).get("awaits_kube_proxy"))

    return [host for host in dict.fromkeys(hosts) if host in hostvars and awaits(hostvars[host])] or NOBODY


def kube_proxy_left(hosts: Iterable[str], hostvars: Hostvars, name: str) -> list[str]:
    """Nodes on which the result of ``cilium_status``, registered as ``name``, has something of kube-proxy's.

    None at all while one node has failed to show that its agent carries the Services: kube-proxy serves all nodes or none. A node that was not reached says
    nothing.
    """
    results = {host: hostvars[host].get(name) or {} for host in dict.fromkeys(hosts) if host in hostvars}
    if any(result.get("failed") for result in results.values()):
        return NOBODY
    return [host for host, result in results.items() if result.get("kube_proxy")] or NOBODY


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"kube_proxy_awaited": kube_proxy_awaited, "kube_proxy_left": kube_proxy_left}
