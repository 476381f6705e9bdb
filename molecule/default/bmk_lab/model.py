# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's topology: what the inventory says, checked and with every address worked out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

# podman gives the first address of every network to the host's end of its bridge.
PODMAN_HOST_NUMBER = 1
# IFNAMSIZ is 16 with the final zero (include/uapi/linux/if.h); the segment's name becomes an interface name.
NAME = re.compile(r"^[a-z][a-z0-9-]{0,13}$")
# Legs, routes and BGP sessions of these are what the lab proves; the container's name is <lab>-<host>.
HOST_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")

# Three groups, to which the inventory appends the segment's number and the host's.
NETWORK6 = re.compile(r"^[0-9a-f]{1,4}(:[0-9a-f]{1,4}){2}::/48$")


class LabError(Exception):
    """Something a user of the lab must be told; the text is complete."""


@dataclass(frozen=True)
class Segment:
    """One layer-2 network: `subnet` is cut from the lab's /16, `subnet6` (a /64) from its /48, `network` is podman's name for it."""

    name: str
    network: str
    subnet: IPv4Network
    subnet6: IPv6Network | None = None


@dataclass(frozen=True)
class Leg:
    """A machine's port in a segment."""

    segment: Segment
    address: IPv4Address
    interface: str
    mac: str
    address6: IPv6Address | None = None


@dataclass(frozen=True)
class Host:
    """A machine. `legs[0]` carries ssh; a router has an AS number and forwards, `uplinks` are the routers' addresses that it has sessions with."""

    name: str
    container: str
    legs: tuple[Leg, ...]
    volumes: tuple[str, ...] = ()
    as_number: int | None = None
    frr_conf: str = ""
    uplinks: tuple[str, ...] = ()

    @property
    def router(self) -> bool:
        return self.as_number is not None

    @property
    def address(self) -> IPv4Address:
        return self.legs[0].address

    def leg_in(self, segment: Segment) -> Leg | None:
        return next((leg for leg in self.legs if leg.segment == segment), None)


@dataclass(frozen=True)
class Topology:
    name: str
    segments: tuple[Segment, ...]
    hosts: tuple[Host, ...]

    @property
    def routers(self) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if host.router)

    def gateways(self, host: Host) -> tuple[IPv4Address, ...]:
        """The routers' addresses in a host's first segment: its next hops to everywhere."""
        legs = (router.leg_in(host.legs[0].segment) for router in self.routers if router != host)
        return tuple(leg.address for leg in legs if leg)

    def gateways6(self, host: Host) -> tuple[IPv6Address, ...]:
        """The same for IPv6; none in a lab without it."""
        legs = (router.leg_in(host.legs[0].segment) for router in self.routers if router != host)
        return tuple(leg.address6 for leg in legs if leg and leg.address6)


def mac_address(lab: str, host: str, segment: str) -> str:
    """A locally administered unicast address that is the same every time.

    A restarted container with a new address is unreachable until its neighbours forget the old one.
    """
    digest = hashlib.sha256(f"{lab}/{host}/{segment}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def address6(network: IPv6Network, number: int) -> IPv6Address:
    """The address that ends with a host's number as it is written: 31 is `::31`, so that people find it again."""
    return network[int(str(number), 16)]


def _subnet6(network: IPv6Network | None, number: int) -> IPv6Network | None:
    """A segment's /64: its number as it is written is the fourth group of the lab's /48."""
    if network is None:
        return None
    return IPv6Network((int(network.network_address) + (int(str(number), 16) << 64), 64))


def _segments(
    lab: str, network: IPv4Network, network6: IPv6Network | None, wanted: Mapping[str, Any], errors: list[str]
) -> dict[str, Segment]:
    segments: dict[str, Segment] = {}
    for name, value in wanted.items():
        if not NAME.match(name):
            errors.append(
                f"lab_segments: {name!r} becomes an interface name: 1 to 14 of a-z, 0-9 and -, first a letter"
            )
            continue
        try:
            number, length = int(value["number"]), int(value.get("prefix_length", 24))
        except (KeyError, TypeError, ValueError):
            errors.append(f"lab_segments.{name}: wants {{number: 0-255}}, found {value!r}")
            continue
        if not 0 <= number <= 255 or not 24 <= length <= 29:
            errors.append(
                f"lab_segments.{name}: number must be 0-255 and prefix_length 24-29, found {number} and {length}"
            )
            continue
        subnet = IPv4Network((int(network.network_address) + number * 256, length))
        twin = next((other for other in segments.values() if other.subnet.overlaps(subnet)), None)
        if twin:
            errors.append(f"lab_segments.{name}: {subnet} overlaps {twin.name} ({twin.subnet}): give it another number")
            continue
        segments[name] = Segment(name, f"{lab}-{name}", subnet, _subnet6(network6, number))
    return segments


def _host(
    lab: str, name: str, value: Mapping[str, Any], segments: Mapping[str, Segment], errors: list[str]
) -> Host | None:
    raw = value.get("legs") or {}
    legs: list[Leg] = []
    if not HOST_NAME.match(name):
        errors.append(f"{name}: not a host name (a-z, 0-9, -)")
    if not raw:
        errors.append(f"{name}: lab_legs is missing, e.g. {{rack1: 32}}")
    for segment_name, number in raw.items():
        segment = segments.get(segment_name)
        if segment is None:
            errors.append(
                f"{name}: lab_legs names the segment {segment_name!r}; there are {', '.join(segments) or 'none'}"
            )
            continue
        if not isinstance(number, int) or not PODMAN_HOST_NUMBER < number < segment.subnet.num_addresses - 1:
            errors.append(
                f"{name}: lab_legs.{segment_name} is {number!r}; {segment.subnet} has host numbers "
                f"{PODMAN_HOST_NUMBER + 1} to {segment.subnet.num_addresses - 2} ({PODMAN_HOST_NUMBER} is the bridge)"
            )
            continue
        interface = "eth0" if len(raw) == 1 else segment_name
        second = address6(segment.subnet6, number) if segment.subnet6 else None
        legs.append(Leg(segment, segment.subnet[number], interface, mac_address(lab, name, segment_name), second))
    as_number = value.get("as_number")
    if as_number is not None and not (isinstance(as_number, int) and 0 < as_number < 2**32):
        errors.append(f"{name}: lab_as_number must be 1 to 4294967295, found {as_number!r}")
        as_number = None
    frr_conf = str(value.get("frr_conf") or "")
    volumes, uplinks = tuple(value.get("volumes") or ()), tuple(value.get("uplinks") or ())
    return Host(name, f"{lab}-{name}", tuple(legs), volumes, as_number, frr_conf, uplinks) if legs else None


def build_topology(
    name: str, network: str, segments: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]], network6: str = ""
) -> Topology:
    """Check the inventory's description of a lab and work out every address.

    :param network: the lab's /16 in CIDR notation.
    :param segments: `{name: {number: third octet, prefix_length: 24}}`.
    :param hosts: `{name: {legs: {segment: host number}, as_number: int | None, volumes: [path], frr_conf: text of a router, uplinks: [address]}}`.
    :param network6: the lab's /48 of IPv6; empty: none.
    :raises LabError: with every error at once.
    """
    errors: list[str] = []
    if not NAME.match(name):
        errors.append(f"lab_name: {name!r} must be 1 to 14 of a-z, 0-9 and -, first a letter")
    try:
        base = IPv4Network(network)
        if base.prefixlen != 16:
            raise ValueError(f"{network} is a /{base.prefixlen}")
    except ValueError as error:
        raise LabError(f"lab_network: wants a /16 like 10.77.0.0/16: {error}") from None
    try:
        if network6 and not NETWORK6.match(network6):
            raise ValueError(f"{network6} is written otherwise")
        base6 = IPv6Network(network6) if network6 else None
    except ValueError as error:
        raise LabError(f"lab_network6: wants a /48 like fd77:77:0::/48, or nothing: {error}") from None
    known = _segments(name, base, base6, segments, errors)
    found = [_host(name, host, hosts[host], known, errors) for host in sorted(hosts)]
    machines = tuple(host for host in found if host)
    owners: dict[IPv4Address, str] = {}
    for host in machines:
        for leg in host.legs:
            if leg.address in owners:
                errors.append(
                    f"{host.name}: {leg.address} is {owners[leg.address]}'s already: give one of them another number"
                )
            owners.setdefault(leg.address, host.name)
    topology = Topology(name, tuple(known.values()), machines)
    errors += [
        f"{host.name}: no router (group `routers`) has a leg in {host.legs[0].segment.name}: it would have no default route"
        for host in machines
        if not host.router and not topology.gateways(host)
    ]
    if not machines:
        errors.append("no hosts: the inventory's group `lab` is empty")
    if errors:
        raise LabError("The lab's inventory cannot work:\n" + "\n".join(f"  - {error}" for error in errors))
    return topology
