# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that says what the Node objects shall carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.node_registration import registrations


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"node_registrations": registrations}
