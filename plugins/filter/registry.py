# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that point containerd at the bundle's registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _oci_registry
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.registry_hosts import hosts_files


def registry_hosts_toml(upstream: str, registry: str = "", mirrors: Sequence[str] = ()) -> str:
    """The text of ``certs.d/<upstream>/hosts.toml``."""
    try:
        return _oci_registry.registry_hosts_toml(upstream, registry, mirrors)
    except _oci_registry.RegistryNameError as error:
        raise AnsibleFilterError(f"registry_hosts_toml: {error}") from error


def registry_hosts_files(
    upstreams: Sequence[str], registry: str = "", mirrors: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, str]]:
    """``[{path, content}]`` for every upstream host."""
    try:
        return hosts_files(upstreams, registry, mirrors)
    except _oci_registry.RegistryNameError as error:
        raise AnsibleFilterError(f"registry_hosts_files: {error}") from error


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"registry_hosts_toml": registry_hosts_toml, "registry_hosts_files": registry_hosts_files}
