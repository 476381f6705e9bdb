# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind ``cluster_firewall_table``; what it means is in plugin_utils/firewall.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.filter.nodes import node_ips
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import firewall
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import CLUSTER_GROUPS


def firewall_table(
    values: Mapping[str, Any],
    host: str,
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
) -> str:
    """The nftables table of ``host``, as ``nft -f`` reads it; ``values`` are its ``cluster_*`` variables by their names without the prefix."""
    members = {name for group in CLUSTER_GROUPS for name in groups.get(group, ())}
    if host not in members:
        return ""
    # Of other roles, and so without a default here: Typha is off, and the API server has a range of its own.
    own = hostvars[host]
    flags = own.get("control_plane_apiserver_extra_args")
    more = {
        "typha_replicas": own.get("calico_typha_replicas", 0),
        "node_port_range": flags.get("service-node-port-range") if isinstance(flags, Mapping) else None,
    }
    try:
        return firewall.render(firewall.from_inventory({**more, **values}, host, groups, node_ips(members, hostvars)))
    except (firewall.FirewallError, ValueError) as error:
        raise AnsibleFilterError(f"firewall_table: {error}") from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"firewall_table": firewall_table}
