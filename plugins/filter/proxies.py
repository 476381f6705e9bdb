# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters for processes behind a proxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import proxies


def proxy_exceptions(cluster: Mapping[str, Any]) -> list[str]:
    """What of a cluster goes directly."""
    try:
        return proxies.exceptions(cluster)
    except proxies.ProxyError as error:
        raise AnsibleFilterError(f"proxy_exceptions: {error}") from error


def proxy_environment(exceptions: Sequence[str], http: str, https: str) -> dict[str, str]:
    """The variables of a process."""
    try:
        return proxies.environment(http, https, exceptions)
    except proxies.ProxyError as error:
        raise AnsibleFilterError(f"proxy_environment: {error}") from error


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"proxy_exceptions": proxy_exceptions, "proxy_environment": proxy_environment}
