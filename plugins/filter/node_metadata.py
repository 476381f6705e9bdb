# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that reads the wanted metadata of all nodes from the inventory; what it means is in
plugin_utils/node_metadata.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import node_metadata


def wanted_node_metadata(
    hostvars: Mapping[str, Mapping[str, Any]],
    control_plane: Sequence[str],
    workers: Sequence[str] = (),
    network_plugin: str = "calico",
) -> dict[str, Any]:
    """``{node: {labels, annotations, taints}}`` for M(bare_metal.kubernetes.node_metadata)."""
    return node_metadata.wanted(hostvars, control_plane, workers, network_plugin)


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"wanted_node_metadata": wanted_node_metadata}
