# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the inventory's BGP and encapsulation variables, for every part that needs it: the topology, the route reflectors, the
packets' overhead, Typha's size. Pure.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOPOLOGIES = ("tor", "route_reflectors", "full_mesh", "none")
AUTO = "auto"
# A full mesh has n x (n - 1) / 2 sessions; Calico's documentation calls 100 nodes the end of it ("Configure BGP peering").
LARGEST_MESH = 100
# RFC 4456: clients keep a session with each reflector, so more of them cost every node one more; fewer than two are a single point of failure.
LEAST_REFLECTORS, MOST_ELECTED_REFLECTORS = 2, 3
REFLECTOR_LABEL = "bare-metal.kubernetes/route-reflector"
# libcalico-go/lib/backend/k8s/resources/node.go; one identifier for all reflectors makes them non-clients of each other.
REFLECTOR_ANNOTATION = "projectcalico.org/RouteReflectorClusterID"
REFLECTOR_CLUSTER_ID = "244.0.0.1"
# Bytes that an encapsulation adds, by the family of the nodes' addresses: VXLAN is 14 (inner Ethernet) + 8 + 8 (UDP) + 20 or 40 (RFC 7348, section 5;
# felix/dataplane/linux/int_dataplane.go has 50 and 70), Geneve the same without options, WireGuard 32 + 8 + 20 or 40 (felix has 60 and 80).
OVERHEAD: Mapping[tuple[str, int], int] = {
    ("none", 4): 0,
    ("none", 6): 0,
    ("vxlan", 4): 50,
    ("vxlan", 6): 70,
    ("vxlan_cross_subnet", 4): 50,
    ("vxlan_cross_subnet", 6): 70,
    ("geneve", 4): 50,
    ("geneve", 6): 70,
    ("wireguard", 4): 60,
    ("wireguard", 6): 80,
}
# Calico's documentation of Typha: from 50 nodes on with the Kubernetes datastore, one for every 200 nodes, at least 3 for a rolling update, at most 20.
TYPHA_FROM_NODES, NODES_PER_TYPHA, LEAST_TYPHAS, MOST_TYPHAS = 51, 200, 3, 20


@dataclass(frozen=True)
class Speaker:
    """A node as the election sees it. ``wish``: what ``cluster_bgp_route_reflector`` says (None: nothing)."""

    name: str
    rack: str = ""
    control_plane: bool = False
    wish: bool | None = None


def topology_of(wanted: str, any_peers: bool, encapsulation: str = "none") -> str:
    """The topology: what is asked for, or for ``auto`` the routers when any node has one, nothing where packets are encapsulated, else a mesh."""
    if wanted and wanted != AUTO:
        return wanted
    if any_peers:
        return "tor"
    return "full_mesh" if encapsulation == "none" else "none"


def reflectors(speakers: Iterable[Speaker]) -> list[str]:
    """The names of the route reflectors: those that the inventory names, else an election.

    The election takes one node of each rack, up to three racks, control planes before workers and then by name, and a second one of the same rack
    when there is only one. It depends on nothing but the inventory, so a reflector that is down stays one.
    """
    found = sorted(speakers, key=lambda speaker: (not speaker.control_plane, speaker.name))
    named = sorted(speaker.name for speaker in found if speaker.wish)
    if named:
        return named
    chosen: list[Speaker] = []
    for speaker in (one for one in found if one.wish is None):
        if len(chosen) < MOST_ELECTED_REFLECTORS and speaker.rack not in {one.rack for one in chosen}:
            chosen.append(speaker)
    for speaker in (one for one in found if one.wish is None and one not in chosen):
        if len(chosen) < LEAST_REFLECTORS:
            chosen.append(speaker)
    return sorted(speaker.name for speaker in chosen)


def speakers_of(
    hosts: Iterable[str], control_plane: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> list[Speaker]:
    """The nodes of an inventory for the election."""
    planes = set(control_plane)
    return [
        Speaker(
            host,
            str(hostvars[host].get("cluster_rack") or ""),
            host in planes,
            hostvars[host].get("cluster_bgp_route_reflector"),
        )
        for host in hosts
    ]


def overhead(encapsulation: str, wireguard: bool = False, family: int = 4) -> int:
    """Bytes that the largest encapsulation in use adds to a pod's packet. A packet takes WireGuard or the other one, never both."""
    return max(OVERHEAD[encapsulation, family], OVERHEAD["wireguard", family] if wireguard else 0)


def typha_replicas(nodes: int) -> int:
    """How many Typhas a cluster of so many nodes wants: none up to 50, then one for every 200 nodes, 3 to 20."""
    if nodes < TYPHA_FROM_NODES:
        return 0
    return min(MOST_TYPHAS, max(LEAST_TYPHAS, math.ceil(nodes / NODES_PER_TYPHA)))


def peers_of(topology: str, name: str, peers: Sequence[Any], reflector_names: Iterable[str]) -> list[Any]:
    """The routers that a node's CNI has sessions with: its own where routers tie the nodes together, among reflectors only theirs, else none (a
    mesh is of nodes alone).
    """
    if topology == "tor" or (topology == "route_reflectors" and name in set(reflector_names)):
        return list(peers)
    return []


def sessions(
    topology: str, nodes: Mapping[str, tuple[Sequence[str], Sequence[str]]], reflector_names: Sequence[str]
) -> dict[str, list[str]]:
    """The addresses that each node must have a session with, by name; between nodes one of each family that both have.

    :param nodes: ``{name: ([its addresses, one of each family], [addresses of its routers])}``.
    """
    found = {}
    for name, (own, routers) in nodes.items():
        neighbours = [canonical(address) for address in peers_of(topology, name, routers, reflector_names)]
        mates: Iterable[str] = ()
        if topology == "full_mesh":
            mates = nodes
        elif topology == "route_reflectors":
            mates = nodes if name in reflector_names else [other for other in reflector_names if other in nodes]
        families = {family_of(address) for address in own}
        neighbours += [
            canonical(address)
            for other in mates
            if other != name
            for address in nodes[other][0]
            if family_of(address) in families
        ]
        found[name] = sorted(neighbours)
    return found


def family_of(address: str) -> int:
    """4 or 6, by the look of an address or network: a host whose address is a name is taken for IPv4."""
    return 6 if ":" in address else 4


def canonical(address: str) -> str:
    """An address as programs write it; a name stays as it is."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def of_family(addresses: Iterable[str], family: int) -> str:
    """The first address of a family, empty when there is none."""
    return next((address for address in addresses if family_of(address) == family), "")
