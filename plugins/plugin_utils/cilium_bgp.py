# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cilium's own objects: BGP sessions in the form that a release knows, pools of LoadBalancer addresses.

Pure. Up to 1.15 a session stands in a ``CiliumBGPPeeringPolicy`` (``v2alpha1``), later in cluster configurations, peer configurations and
advertisements (``v2`` from 1.18 on). Fields: the definitions below ``pkg/k8s/apis/cilium.io/client/crds`` of 1.15.19 and 1.20.2.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cilium import (
    NAMESPACE,
    CiliumError,
    Node,
    Object,
    Peer,
    Settings,
    Version,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.node_registration import RACK_LABEL

HOST_LABEL = "kubernetes.io/hostname"
POOL_LABEL = "bare-metal.kubernetes/load-balancer-pool"
ADVERTISEMENT_LABEL = "bare-metal.kubernetes/advertisement"
CLUSTER_CONFIG_SINCE: Version = (1, 16)
STABLE_OBJECTS_SINCE: Version = (1, 18)
# Cilium has no BFD: a router that is gone is missed after the hold time. The default of 120 s between attempts to connect would be
# two minutes without routes after a router's restart.
HOLD_SECONDS, KEEPALIVE_SECONDS, CONNECT_RETRY_SECONDS = 15, 5, 5
# While an agent restarts, the routers keep its routes: the node's packets are carried by the kernel.
RESTART_SECONDS = 120
# Every Service: a selector that nothing fails to match, because an empty one matches none.
ALL_SERVICES = {"matchExpressions": [{"key": "bare-metal.kubernetes/never", "operator": "DoesNotExist"}]}


@dataclass(frozen=True)
class Group:
    """Nodes with the same AS and the same routers, and the labels that they and no other node have."""

    name: str
    as_number: int
    peers: tuple[Peer, ...]
    selector: Mapping[str, Any]


def api(release: Version) -> str:
    """API version of the objects that have left alpha in 1.18."""
    return "cilium.io/v2" if release >= STABLE_OBJECTS_SINCE else "cilium.io/v2alpha1"


def _name(*parts: object) -> str:
    return re.sub(r"[^a-z0-9]+", "-", "-".join(str(part) for part in parts).lower()).strip("-")


def groups(nodes: Sequence[Node]) -> list[Group]:
    """Nodes that share sessions: a whole rack by its label, so that a new machine needs no change; else by the nodes' names.

    A node is in one group only: two policies for one node are an error of Cilium's.
    """
    racks: dict[str, set[str]] = {}
    alike: dict[tuple[str, int, tuple[Peer, ...]], set[str]] = {}
    for node in nodes:
        racks.setdefault(node.rack, set()).add(node.name)
        alike.setdefault((node.rack, node.as_number, node.peers), set()).add(node.name)
    found = []
    for (rack, as_number, peers), names in alike.items():
        if not peers:
            continue
        if rack and names == racks[rack]:
            found.append(Group(_name("rack", rack), as_number, peers, {"matchLabels": {RACK_LABEL: rack}}))
            continue
        expression = {"key": HOST_LABEL, "operator": "In", "values": sorted(names)}
        found.append(Group(_name("nodes", min(names)), as_number, peers, {"matchExpressions": [expression]}))
    return sorted(found, key=lambda group: group.name)


def _secret_name(password: str) -> str:
    return _name("bgp-password", password)


def _families(settings: Settings) -> list[str]:
    versions = {ipaddress.ip_network(cidr).version for cidr in settings.pod_cidrs}
    return [f"ipv{version}" for version in sorted(versions)]


def passwords(settings: Settings) -> list[Object]:
    """One Secret for each password that a peer names.

    :raises CiliumError: a name without a password.
    """
    names = sorted({peer.password for node in settings.nodes for peer in node.peers if peer.password})
    for name in names:
        if not settings.passwords.get(name):
            raise CiliumError(f"cluster_bgp_passwords has no '{name}', which a BGP peer names")
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": _secret_name(name), "namespace": NAMESPACE},
            "type": "Opaque",
            "stringData": {"password": str(settings.passwords[name])},
        }
        for name in names
    ]


def _neighbour(peer: Peer, families: Sequence[str]) -> Object:
    """A neighbour of a peering policy (1.15)."""
    bits = ipaddress.ip_address(peer.address).max_prefixlen
    found: Object = {
        "peerAddress": f"{peer.address}/{bits}",
        "peerASN": peer.as_number,
        "holdTimeSeconds": HOLD_SECONDS,
        "keepAliveTimeSeconds": KEEPALIVE_SECONDS,
        "connectRetryTimeSeconds": CONNECT_RETRY_SECONDS,
        "gracefulRestart": {"enabled": True, "restartTimeSeconds": RESTART_SECONDS},
        "families": [{"afi": family, "safi": "unicast"} for family in families],
    }
    if peer.password:
        found["authSecretRef"] = _secret_name(peer.password)
    return found


def peering_policies(settings: Settings) -> Iterator[Object]:
    """The form of 1.15: one policy a group of nodes."""
    for group in groups(settings.nodes):
        router: Object = {
            "localASN": group.as_number,
            "exportPodCIDR": settings.encapsulation == "none",
            "neighbors": [_neighbour(peer, _families(settings)) for peer in group.peers],
        }
        if settings.pools:
            router["serviceSelector"] = ALL_SERVICES
        yield {
            "apiVersion": "cilium.io/v2alpha1",
            "kind": "CiliumBGPPeeringPolicy",
            "metadata": {"name": group.name},
            "spec": {"nodeSelector": dict(group.selector), "virtualRouters": [router]},
        }


def _peer_config_name(peer: Peer) -> str:
    return _name("router", peer.password) if peer.password else "router"


def cluster_configs(settings: Settings) -> Iterator[Object]:
    """The form of 1.16 and later: sessions by group, one peer configuration for each password, one advertisement."""
    version = api(settings.release)
    label = {ADVERTISEMENT_LABEL: "nodes"}
    for group in groups(settings.nodes):
        yield {
            "apiVersion": version,
            "kind": "CiliumBGPClusterConfig",
            "metadata": {"name": group.name},
            "spec": {
                "nodeSelector": dict(group.selector),
                "bgpInstances": [
                    {
                        "name": "fabric",
                        "localASN": group.as_number,
                        "peers": [
                            {
                                "name": _name(peer.address),
                                "peerASN": peer.as_number,
                                "peerAddress": peer.address,
                                "peerConfigRef": {"name": _peer_config_name(peer)},
                            }
                            for peer in group.peers
                        ],
                    }
                ],
            },
        }
    for name in sorted({peer.password for node in settings.nodes for peer in node.peers}):
        spec: Object = {
            "timers": {
                "holdTimeSeconds": HOLD_SECONDS,
                "keepAliveTimeSeconds": KEEPALIVE_SECONDS,
                "connectRetryTimeSeconds": CONNECT_RETRY_SECONDS,
            },
            "gracefulRestart": {"enabled": True, "restartTimeSeconds": RESTART_SECONDS},
            "families": [
                {"afi": family, "safi": "unicast", "advertisements": {"matchLabels": label}}
                for family in _families(settings)
            ],
        }
        if name:
            spec["authSecretRef"] = _secret_name(name)
        yield {
            "apiVersion": version,
            "kind": "CiliumBGPPeerConfig",
            "metadata": {"name": _name("router", name) if name else "router"},
            "spec": spec,
        }
    advertised: list[Object] = [{"advertisementType": "PodCIDR"}] if settings.encapsulation == "none" else []
    if settings.pools:
        advertised.append(
            {
                "advertisementType": "Service",
                "service": {"addresses": ["LoadBalancerIP"]},
                "selector": ALL_SERVICES,
            }
        )
    if advertised:
        yield {
            "apiVersion": version,
            "kind": "CiliumBGPAdvertisement",
            "metadata": {"name": "nodes", "labels": label},
            "spec": {"advertisements": advertised},
        }


def _block(addresses: str) -> Object:
    if "-" in addresses:
        start, stop = (str(ipaddress.ip_address(part.strip())) for part in addresses.split("-", 1))
        return {"start": start, "stop": stop}
    return {"cidr": str(ipaddress.ip_network(addresses.strip(), strict=False))}


def address_pools(settings: Settings) -> Iterator[Object]:
    """``CiliumLoadBalancerIPPool`` for each pool. One without ``auto_assign`` serves Services with the label :data:`POOL_LABEL` of its name.

    :raises CiliumError: what is neither a network nor a range.
    """
    for pool in settings.pools:
        try:
            # The first and the last address of a network look like its own and broadcast's to some clients, as MetalLB's .0 and .255 do.
            spec: Object = {"blocks": [_block(str(text)) for text in pool["addresses"]], "allowFirstLastIPs": "No"}
        except (ValueError, KeyError, TypeError) as error:
            raise CiliumError(
                f"pool '{pool.get('name')}' has an address that is neither a network nor a range: {error}"
            ) from error
        if not pool.get("auto_assign", True):
            spec["serviceSelector"] = {"matchLabels": {POOL_LABEL: str(pool["name"])}}
        yield {
            "apiVersion": api(settings.release),
            "kind": "CiliumLoadBalancerIPPool",
            "metadata": {"name": str(pool["name"])},
            "spec": spec,
        }


def objects(settings: Settings) -> list[Object]:
    """Everything beside the chart's own objects."""
    sessions = cluster_configs if settings.release >= CLUSTER_CONFIG_SINCE else peering_policies
    found = passwords(settings) if settings.bgp else []
    found += list(sessions(settings)) if settings.bgp else []
    return [*found, *address_pools(settings)]
