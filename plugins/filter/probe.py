# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter of the role probe; what it means is in plugin_utils/probe.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import probe


def probe_objects(image: str, external: bool) -> list[dict[str, Any]]:
    """The objects of the probe workload of ``image`` (``name:tag``); ``external``: with a LoadBalancer address."""
    return probe.objects(str(image), external=bool(external))


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"probe_objects": probe_objects}
