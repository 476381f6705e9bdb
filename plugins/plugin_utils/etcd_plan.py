# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller works out for etcd: the members' addresses, and which hosts are known to have data."""

from __future__ import annotations

import ipaddress
import typing as t

CLIENT_PORT = 2379
PEER_PORT = 2380
# A host has a member of Kubernetes' etcd and, in clusters that keep events apart, one of the events': name of the cluster -> (clients, peers).
MAIN, EVENTS = "kubernetes", "events"
PORTS: t.Mapping[str, tuple[int, int]] = {MAIN: (CLIENT_PORT, PEER_PORT), EVENTS: (2382, 2383)}


class EtcdPlanError(Exception):
    """An inventory from which no member can be made."""


def url(address: str, port: int) -> str:
    """Return an https URL; IPv6 addresses get their brackets and shortest form."""
    parsed = ipaddress.ip_address(address)
    return f"https://[{parsed}]:{port}" if parsed.version == 6 else f"https://{parsed}:{port}"


def address_of(host: str, variables: t.Mapping[str, t.Any]) -> str:
    """Return the node's address: ``cluster_node_ip``, else what Ansible connects to.

    :raises EtcdPlanError: when that is not an IP address.
    """
    address = str(variables.get("cluster_node_ip") or variables.get("ansible_host") or host)
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise EtcdPlanError(f"{host}: '{address}' is no IP address; set cluster_node_ip for this host") from None


def members(
    hosts: t.Iterable[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]], cluster: str = MAIN
) -> list[dict[str, str]]:
    """Return the wanted members, by name: ``name``, ``peer_url``, ``client_url``. The order of the inventory means nothing.

    :param cluster: which etcd of these hosts, a key of :data:`PORTS`.
    :raises EtcdPlanError: when a host has no address, or two have the same, or there is no such cluster.
    """
    if cluster not in PORTS:
        raise EtcdPlanError(f"there is no etcd '{cluster}', only {' and '.join(PORTS)}")
    client_port, peer_port = PORTS[cluster]
    found = []
    owners: dict[str, str] = {}
    for host in sorted(hosts):
        address = address_of(host, hostvars[host])
        if address in owners:
            raise EtcdPlanError(f"{owners[address]} and {host} have the same address {address}")
        owners[address] = host
        found.append({"name": host, "peer_url": url(address, peer_port), "client_url": url(address, client_port)})
    return found


def endpoints(
    hosts: t.Iterable[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]], cluster: str = MAIN
) -> list[str]:
    """Return the client URLs of all members, in the members' order."""
    return [member["client_url"] for member in members(hosts, hostvars, cluster)]


def _observed(
    host: str, hostvars: t.Mapping[str, t.Mapping[str, t.Any]], variable: str, cluster: str
) -> t.Mapping[str, t.Any]:
    said = hostvars[host].get(variable) or {}
    return said if cluster == MAIN else (said.get("also") or {}).get(cluster) or {}


def data(
    hosts: t.Iterable[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]], variable: str, cluster: str = MAIN
) -> dict[str, bool | None]:
    """Return which hosts had data when the run began; None for a host that was not asked (unreachable, or outside of ``--limit``).

    :param variable: name under which the result of etcd_member ``state=observed`` is registered.
    """
    return {host: _observed(host, hostvars, variable, cluster).get("has_data") for host in sorted(hosts)}


def left(
    hosts: t.Iterable[str],
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    observed: str,
    joined: str,
    cluster: str = EVENTS,
) -> list[str]:
    """Return the hosts on which something of a member of that cluster stood when the run began, and which this run did not want to have one.

    :param observed: name under which the result of etcd_member ``state=observed`` is registered; ``joined``: that of ``state=joined``, which names the
        clusters that are wanted. A host on which either did not run is none.
    """
    return [
        host
        for host in sorted(hosts)
        if host in hostvars
        and _observed(host, hostvars, observed, cluster).get("installed")
        and "also" in (hostvars[host].get(joined) or {})
        and cluster not in hostvars[host][joined]["also"]
    ]
