# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role metallb; what they mean is in plugin_utils/metallb.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import metallb


def metallb_objects(
    upstream: str,
    mode: str,
    images: Mapping[str, str],
    pools: Sequence[Mapping[str, Any]],
    cpu_request: str = "25m",
    nodes: Mapping[str, Mapping[str, Any]] | None = None,
    hold_seconds: int = 9,
    bfd: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """All objects of MetalLB but the passwords, from the text of upstream's manifest."""
    try:
        return metallb.objects(upstream, mode, images, pools, cpu_request, nodes, int(hold_seconds), bfd)
    except metallb.MetallbError as error:
        raise AnsibleFilterError(f"metallb_objects: {error}") from error


def metallb_passwords(nodes: Mapping[str, Mapping[str, Any]], values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Secrets with the passwords of the sessions with routers."""
    try:
        return metallb.passwords(nodes, values)
    except metallb.MetallbError as error:
        raise AnsibleFilterError(f"metallb_passwords: {error}") from error


def metallb_sessions(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], control_plane: Sequence[str]
) -> dict[str, list[str]]:
    """The routers that each node's speaker has a session with."""
    return metallb.sessions_of(hosts, control_plane, hostvars)


def metallb_announced(
    pools: Sequence[Mapping[str, Any]],
    host: str,
    hostvars: Mapping[str, Mapping[str, Any]],
    control_plane: Sequence[str],
) -> list[dict[str, Any]]:
    """``{name, addresses, interfaces}`` of the pools that a host's speaker announces."""
    return [
        {"name": pool["name"], "addresses": list(pool["addresses"]), "interfaces": list(pool.get("interfaces") or [])}
        for pool in metallb.announced_by(host, control_plane, hostvars, pools)
    ]


def metallb_manifest(speaker: str) -> str:
    """Name of the bundle's file that a speaker is installed from."""
    return metallb.MANIFESTS[speaker]


def metallb_image_names(speaker: str) -> list[str]:
    """Images of a speaker, the last two parts of their names."""
    return list(metallb.IMAGES[speaker])


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {
            "metallb_announced": metallb_announced,
            "metallb_image_names": metallb_image_names,
            "metallb_manifest": metallb_manifest,
            "metallb_objects": metallb_objects,
            "metallb_passwords": metallb_passwords,
            "metallb_sessions": metallb_sessions,
        }
