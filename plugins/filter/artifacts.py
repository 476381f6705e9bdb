# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that say where a bundle's files go on a node."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def placed_in(files: Sequence[Mapping[str, Any]], directory: str, mode: str = "0755") -> list[dict[str, Any]]:
    """Turn ``bundle_files`` entries into ``node_artifacts`` entries: each lands in ``directory`` under the last part of its name."""
    return [
        {
            "name": entry["name"],
            "sha256": entry["sha256"],
            "size": entry["size"],
            "dest": posixpath.join(directory, posixpath.basename(entry["name"])),
            "mode": mode,
        }
        for entry in files
    ]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"placed_in": placed_in}
