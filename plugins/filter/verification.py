# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role verification: who is asked what, and what they said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import others, verification_families
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification import outside_urls
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification_bgp import mtu_targets


def verification_targets(cluster: Mapping[str, Any], domain: str) -> list[str]:
    """Everything that a probe pod is to ask, as one list; empty when the API could not be read."""
    if cluster.get("error"):
        return []
    return verification_families.asked(cluster, domain)


def verification_load_balancer_urls(cluster: Mapping[str, Any]) -> dict[str, str]:
    """``{"service address": URL}`` of every LoadBalancer address of the probe workload."""
    return outside_urls(cluster)


def registered(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], name: str, key: str) -> dict[str, Any]:
    """``{host: value}`` of ``key`` in the registered variable ``name``, for the hosts that have it."""
    found = {}
    for host in hosts:
        value = hostvars[host].get(name) or {}
        if key in value:
            found[host] = value[key]
    return found


def first_observation(observations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The first of several hosts' ``cluster_probe`` observations that has no error; else the first; else one that says so."""
    seen = [observations[host] for host in sorted(observations)]
    nobody = {"error": "no control plane was reached", "initialised": False, "services": []}
    return dict(next((entry for entry in seen if not entry["error"]), seen[0] if seen else nobody))


def host_values(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], name: str, default: Any
) -> dict[str, Any]:
    """``{host: value}`` of a variable of other hosts, ``default`` where a host has none of its own."""
    names = sorted(hosts)
    known: Mapping[str, Mapping[str, Any]] = (
        others.known(names, hostvars, (name,)) if name in others.NAMES else hostvars
    )
    return {host: known[host].get(name, default) for host in names}


def verification_mtu_targets(cluster: Mapping[str, Any], racks: Mapping[str, str], own: str) -> list[str]:
    """The pods that a node asks with full packets, one in each rack."""
    return mtu_targets(cluster, racks, own)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "verification_targets": verification_targets,
            "verification_load_balancer_urls": verification_load_balancer_urls,
            "verification_mtu_targets": verification_mtu_targets,
            "registered": registered,
            "first_observation": first_observation,
            "host_values": host_values,
        }
