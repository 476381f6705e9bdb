# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role probe; what they mean is in plugin_utils/probe.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import probe
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.calico import CalicoError


def probe_objects(image: str, pools: Sequence[Mapping[str, Any]], made_for: str = "") -> list[dict[str, Any]]:
    """The objects of the probe workload of ``image`` (``name:tag``), with an address of each of ``pools``; see ``probe.objects``."""
    try:
        return probe.objects(str(image), pools, str(made_for))
    except CalicoError as error:
        raise AnsibleFilterError(f"probe_objects: {error}") from error


def probed_pools(pools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``{name, service, skipped, families}`` of each pool; ``skipped`` says why the probe has no address of it."""
    return [
        {
            "name": pool["name"],
            "service": probe.service_name(pool["name"]),
            "skipped": probe.not_probed(pool),
            "families": probe.families(pool),
        }
        for pool in pools
    ]


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"probe_objects": probe_objects, "probed_pools": probed_pools}
