from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from bmk_lab.model import LabError, build_topology, mac_address

SEGMENTS = {"spine": {"number": 0, "prefix_length": 28}, "rack1": {"number": 1}, "edge": {"number": 3}}
HOSTS: dict[str, dict[str, Any]] = {
    "cp1": {"legs": {"rack1": 11}, "volumes": ["/var/lib/etcd"]},
    "client": {"legs": {"edge": 10}},
    "tor1": {"legs": {"rack1": 254, "spine": 2, "edge": 251}, "as_number": 64601},
}


def built(**changes: Any):
    arguments = {"name": "bmk", "network": "10.77.0.0/16", "segments": SEGMENTS, "hosts": HOSTS, **changes}
    return build_topology(**arguments)


def test_addresses_follow_from_the_network_and_the_numbers() -> None:
    topology = built()
    assert {segment.name: str(segment.subnet) for segment in topology.segments} == {
        "spine": "10.77.0.0/28",
        "rack1": "10.77.1.0/24",
        "edge": "10.77.3.0/24",
    }
    assert {host.name: str(host.address) for host in topology.hosts} == {
        "client": "10.77.3.10",
        "cp1": "10.77.1.11",
        "tor1": "10.77.1.254",
    }


def test_a_host_with_one_leg_has_eth0_and_a_router_interfaces_named_by_segment() -> None:
    legs = {host.name: [leg.interface for leg in host.legs] for host in built().hosts}
    assert legs == {"cp1": ["eth0"], "client": ["eth0"], "tor1": ["rack1", "spine", "edge"]}


def test_gateways_are_the_routers_of_the_first_segment() -> None:
    hosts = {**HOSTS, "tor2": {"legs": {"spine": 3, "edge": 252}, "as_number": 64602}}
    topology = built(hosts=hosts)
    found = {host.name: topology.gateways(host) for host in topology.hosts if not host.router}
    assert found == {
        "cp1": (IPv4Address("10.77.1.254"),),
        "client": (IPv4Address("10.77.3.251"), IPv4Address("10.77.3.252")),
    }


def test_two_routers_of_a_rack_are_both_its_machines_gateways() -> None:
    hosts = {**HOSTS, "tor9": {"legs": {"rack1": 253, "spine": 9}, "as_number": 64609}}
    topology = built(hosts=hosts, network6="fd77:77:0::/48")
    cp1 = next(host for host in topology.hosts if host.name == "cp1")
    assert [str(address) for address in topology.gateways(cp1)] == ["10.77.1.254", "10.77.1.253"]
    assert [str(address) for address in topology.gateways6(cp1)] == ["fd77:77:0:1::254", "fd77:77:0:1::253"]


def test_ipv6_addresses_end_with_the_numbers_as_they_are_written() -> None:
    topology = built(network6="fd77:77:0::/48", segments={**SEGMENTS, "rack2": {"number": 12}})
    assert {segment.name: str(segment.subnet6) for segment in topology.segments} == {
        "spine": "fd77:77::/64",
        "rack1": "fd77:77:0:1::/64",
        "edge": "fd77:77:0:3::/64",
        "rack2": "fd77:77:0:12::/64",
    }
    assert {host.name: str(host.legs[0].address6) for host in topology.hosts} == {
        "client": "fd77:77:0:3::10",
        "cp1": "fd77:77:0:1::11",
        "tor1": "fd77:77:0:1::254",
    }


def test_without_a_network_of_ipv6_there_is_none() -> None:
    topology = built()
    assert {segment.subnet6 for segment in topology.segments} == {None}
    assert {topology.gateways6(host) for host in topology.hosts} == {()}


def test_another_name_and_network_share_nothing_with_the_first() -> None:
    first, second = built(), built(name="second", network="10.78.0.0/16")
    for one, other in zip(first.hosts, second.hosts, strict=True):
        assert one.container != other.container
        assert not {leg.mac for leg in one.legs} & {leg.mac for leg in other.legs}
        assert not {leg.address for leg in one.legs} & {leg.address for leg in other.legs}
    assert not {s.network for s in first.segments} & {s.network for s in second.segments}


def test_mac_addresses_are_local_unicast_and_stay() -> None:
    address = mac_address("bmk", "tor1", "rack1")
    assert address == mac_address("bmk", "tor1", "rack1")
    assert int(address.split(":")[0], 16) & 0b11 == 0b10


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"network": "10.77.0.0/24"}, "lab_network: wants a /16"),
        ({"network": "nonsense"}, "lab_network: wants a /16"),
        ({"network6": "fd77:77::/48"}, "lab_network6: wants a /48"),
        ({"network6": "fd77::/64"}, "lab_network6: wants a /48"),
        ({"network6": "10.77.0.0/16"}, "lab_network6: wants a /48"),
        ({"name": "Bad Name"}, "lab_name: 'Bad Name'"),
        ({"hosts": {}}, "the inventory's group `lab` is empty"),
        ({"segments": {**SEGMENTS, "rack2": {"number": 1}}}, "lab_segments.rack2: 10.77.1.0/24 overlaps rack1"),
        ({"segments": {**SEGMENTS, "a-much-too-long-name": {"number": 9}}}, "becomes an interface name"),
        ({"segments": {**SEGMENTS, "rack2": {"number": 300}}}, "number must be 0-255"),
        ({"segments": {**SEGMENTS, "rack2": {}}}, "lab_segments.rack2: wants {number: 0-255}"),
        (
            {"hosts": {**HOSTS, "w": {"legs": {"rack9": 5}}}},
            "w: lab_legs names the segment 'rack9'; there are spine, rack1, edge",
        ),
        ({"hosts": {**HOSTS, "w": {"legs": {}}}}, "w: lab_legs is missing"),
        ({"hosts": {**HOSTS, "w": {"legs": {"rack1": 1}}}}, "host numbers 2 to 254 (1 is the bridge)"),
        ({"hosts": {**HOSTS, "w": {"legs": {"spine": 15}}}}, "host numbers 2 to 14"),
        ({"hosts": {**HOSTS, "w": {"legs": {"rack1": 11}}}}, "w: 10.77.1.11 is cp1's already"),
        ({"hosts": {**HOSTS, "w": {"legs": {"spine": 9}, "as_number": 0}}}, "w: lab_as_number must be 1 to 4294967295"),
        ({"hosts": {"cp1": HOSTS["cp1"]}}, "cp1: no router (group `routers`) has a leg in rack1"),
    ],
)
def test_what_cannot_work_is_refused_with_its_name(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(LabError) as caught:
        built(**changes)
    assert expected in str(caught.value)


def test_all_errors_come_at_once() -> None:
    with pytest.raises(LabError) as caught:
        built(name="Bad", hosts={**HOSTS, "w": {"legs": {"rack9": 5}}, "v": {"legs": {"rack1": 11}}})
    assert all(part in str(caught.value) for part in ("lab_name", "rack9", "10.77.1.11"))
