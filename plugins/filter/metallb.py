# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter of the role metallb; what it means is in plugin_utils/metallb.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import metallb


def metallb_objects(
    upstream: str, mode: str, images: Mapping[str, str], pools: Sequence[Mapping[str, Any]], cpu_request: str = "25m"
) -> list[dict[str, Any]]:
    """All objects of MetalLB, from the text of upstream's ``metallb-native.yaml``."""
    try:
        return metallb.objects(upstream, mode, images, pools, cpu_request)
    except metallb.MetallbError as error:
        raise AnsibleFilterError(f"metallb_objects: {error}") from error


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"metallb_objects": metallb_objects}
