from __future__ import annotations

import re

import pytest
from bmk_lab.model import Topology, build_topology
from bmk_lab.render import host_files, known_hosts


@pytest.fixture
def topology() -> Topology:
    return built()


def built(network6: str = "") -> Topology:
    return build_topology(
        "bmk",
        "10.77.0.0/16",
        {
            "spine": {"number": 0, "prefix_length": 28},
            "rack1": {"number": 1},
            "rack2": {"number": 2},
            "edge": {"number": 3},
        },
        {
            "cp1": {"legs": {"rack1": 11}},
            "client": {"legs": {"edge": 10}},
            "tor1": {
                "legs": {"rack1": 254, "spine": 2, "edge": 251},
                "as_number": 64601,
                "frr_conf": "router bgp 64601\n",
            },
            "tor2": {
                "legs": {"rack2": 254, "spine": 3, "edge": 252},
                "as_number": 64602,
                "frr_conf": "router bgp 64602\n",
            },
        },
        network6,
    )


def files(topology: Topology, name: str) -> dict[str, str]:
    return host_files(next(host for host in topology.hosts if host.name == name), topology)


@pytest.mark.parametrize(
    ("host", "route"),
    [
        ("cp1", "route replace default via 10.77.1.254\n"),
        ("client", "route replace default nexthop via 10.77.3.251 nexthop via 10.77.3.252\n"),
        ("tor1", ""),
    ],
)
def test_default_routes(topology: Topology, host: str, route: str) -> None:
    assert files(topology, host)["routes"] == route


@pytest.mark.parametrize(
    ("host", "route"),
    [
        ("cp1", "route replace default via 10.77.1.254\nroute replace ::/0 via fd77:77:0:1::254\n"),
        (
            "client",
            "route replace default nexthop via 10.77.3.251 nexthop via 10.77.3.252\n"
            "route replace ::/0 nexthop via fd77:77:0:3::251 nexthop via fd77:77:0:3::252\n",
        ),
        ("tor1", ""),
    ],
)
def test_default_routes_of_both_families(host: str, route: str) -> None:
    assert files(built("fd77:77:0::/48"), host)["routes"] == route


def test_with_ipv6_a_machine_knows_its_second_address_and_a_router_forwards_it() -> None:
    second = built("fd77:77:0::/48")
    assert files(second, "cp1")["hosts"].endswith("10.77.1.11 cp1\nfd77:77:0:1::11 cp1\n")
    assert "net.ipv6.conf.all.forwarding = 1\n" in files(second, "tor1")["sysctl.conf"]
    assert "forwarding" not in files(second, "cp1")["sysctl.conf"]


def test_only_routers_forward_and_speak_bgp(topology: Topology) -> None:
    assert "net.ipv4.ip_forward = 1\n" in files(topology, "tor1")["sysctl.conf"]
    assert "ip_forward" not in files(topology, "cp1")["sysctl.conf"]
    assert "frr.conf" in files(topology, "tor2")
    assert "frr.conf" not in files(topology, "client")


def test_each_router_chooses_among_next_hops_in_its_own_way(topology: Topology) -> None:
    """One kernel has one seed: the second router on a way would repeat the choice of the first."""

    def seed(name: str) -> list[str]:
        return re.findall("hash_seed = ([1-9][0-9]*)\n", files(topology, name)["sysctl.conf"])

    assert len({*seed("tor1"), *seed("tor2")}) == 2
    assert seed("cp1") == []
    # Policy 1 would take the hash that the packet has from its sender.
    assert "fib_multipath_hash_policy = 3\n" in files(topology, "tor1")["sysctl.conf"]


def test_nodes_set_no_parameter_of_the_shared_kernel(topology: Topology) -> None:
    for host in topology.hosts:
        keys = [line.split(" = ")[0] for line in host_files(host, topology)["sysctl.conf"].splitlines()]
        assert keys
        assert all(key.startswith("net.ipv4.") for key in keys)


def test_a_router_runs_what_tor_config_writes(topology: Topology) -> None:
    assert files(topology, "tor1")["frr.conf"] == "router bgp 64601\n"


def test_known_hosts_names_every_address_once(topology: Topology) -> None:
    keys = {host.name: f"ssh-ed25519 {host.name}" for host in topology.hosts}
    assert known_hosts(topology, keys).splitlines() == [
        "10.77.3.10 ssh-ed25519 client",
        "10.77.1.11 ssh-ed25519 cp1",
        "10.77.1.254 ssh-ed25519 tor1",
        "10.77.2.254 ssh-ed25519 tor2",
    ]
