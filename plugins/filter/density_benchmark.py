# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter of the role density_benchmark: what node_usage saw of several nodes at several times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def density_usage(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """``{host: {when: usage}}``; ``names`` says in which variable each ``when`` was registered. Empty where a host did not answer."""
    return {
        host: {when: (hostvars[host].get(name) or {}).get("usage") or {} for when, name in names.items()}
        for host in hosts
        if host in hostvars
    }


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"density_usage": density_usage}
