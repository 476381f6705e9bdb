# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd's ``certs.d`` for a whole node, as entries for ``node_files``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._oci_registry import (
    hosts_directory,
    registry_hosts_toml,
)

CERTS_D = "/etc/containerd/certs.d"


def hosts_files(
    upstreams: Sequence[str],
    registry: str = "",
    mirrors: Mapping[str, Sequence[str]] | None = None,
    directory: str = CERTS_D,
) -> list[dict[str, str]]:
    """``[{path, content}]``: one ``hosts.toml`` for each upstream host that the bundle's registry or a mirror stands in for.

    :param mirrors: base URLs by upstream host; a host that is only named here gets its file too.
    """
    by_host = {host: list(urls) for host, urls in (mirrors or {}).items()}
    wanted = sorted({*(upstreams if registry else ()), *by_host})
    return [
        {
            "path": f"{directory}/{hosts_directory(host)}/hosts.toml",
            "content": registry_hosts_toml(host, registry if host in upstreams else "", by_host.get(host, [])),
        }
        for host in wanted
    ]
