from __future__ import annotations

from dataclasses import replace

import pytest
from bmk_lab.model import Topology, build_topology
from bmk_lab.plan import (
    Container,
    Kind,
    Observed,
    container_arguments,
    container_spec,
    judge_health,
    network_arguments,
    network_spec,
    plan_create,
    plan_destroy,
    volume_name,
)


@pytest.fixture
def topology() -> Topology:
    return build_topology(
        "bmk",
        "10.77.0.0/16",
        {"rack1": {"number": 1}, "edge": {"number": 3}},
        {
            "cp1": {"legs": {"rack1": 11}, "volumes": ["/var/lib/etcd"]},
            "client": {"legs": {"edge": 10}},
            "tor1": {"legs": {"rack1": 254, "edge": 251}, "as_number": 64601},
        },
    )


@pytest.fixture
def specs(topology: Topology) -> dict[str, str]:
    return {host.name: f"spec-{host.name}" for host in topology.hosts}


@pytest.fixture
def standing(topology: Topology, specs: dict[str, str]) -> Observed:
    return Observed(
        networks={segment.network: network_spec(segment) for segment in topology.segments},
        containers={host.container: Container(specs[host.name], "running") for host in topology.hosts},
        volumes=frozenset({"bmk-cp1-var-lib-etcd"}),
        directory=True,
    )


def steps(actions) -> list[tuple[Kind, str]]:
    return [(action.kind, action.target) for action in actions]


def with_container(standing: Observed, name: str, container: Container | None) -> Observed:
    containers = {key: value for key, value in standing.containers.items() if key != name}
    return replace(standing, containers={**containers, **({name: container} if container else {})})


def test_a_lab_that_stands_needs_nothing(topology, standing, specs) -> None:
    assert plan_create(topology, standing, specs) == []


def test_nothing_there_is_made_in_an_order_that_works(topology, specs) -> None:
    observed = Observed(
        missing_packages=("runc",),
        host_recorded=False,
        low_limits={"fs.inotify.max_user_instances": "1024"},
        image=False,
        stale_files=frozenset({"cp1", "client", "tor1"}),
    )
    assert steps(plan_create(topology, observed, specs)) == [
        (Kind.INSTALL_PACKAGES, "runc"),
        (Kind.RECORD_HOST, ""),
        (Kind.RAISE_LIMITS, "fs.inotify.max_user_instances=1024"),
        (Kind.BUILD_IMAGE, ""),
        (Kind.CREATE_NETWORK, "rack1"),
        (Kind.CREATE_NETWORK, "edge"),
        (Kind.WRITE_FILES, "client cp1 tor1"),
        (Kind.CREATE_CONTAINER, "tor1"),
        (Kind.CREATE_CONTAINER, "client"),
        (Kind.CREATE_CONTAINER, "cp1"),
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Container("spec-cp1", "exited"), [(Kind.START_CONTAINER, "cp1")]),
        (Container("spec-cp1", "paused"), [(Kind.START_CONTAINER, "cp1")]),
        (Container("spec-cp1", "created"), [(Kind.START_CONTAINER, "cp1")]),
        (Container("spec-cp1", "running", broken="x"), [(Kind.RESTART_CONTAINER, "cp1")]),
        (Container("spec-cp1", "running", unset="x"), [(Kind.REFRESH, "cp1")]),
        (None, [(Kind.REMOVE_VOLUME, "bmk-cp1-var-lib-etcd"), (Kind.CREATE_CONTAINER, "cp1")]),
        (
            Container("old", "running"),
            [
                (Kind.REMOVE_CONTAINER, "bmk-cp1"),
                (Kind.REMOVE_VOLUME, "bmk-cp1-var-lib-etcd"),
                (Kind.CREATE_CONTAINER, "cp1"),
            ],
        ),
    ],
)
def test_one_machine_in_each_state(topology, standing, specs, found, expected) -> None:
    assert steps(plan_create(topology, with_container(standing, "bmk-cp1", found), specs)) == expected


def test_a_machine_that_is_repaired_keeps_its_disks(topology, standing, specs) -> None:
    for found in (Container("spec-cp1", "exited"), Container("spec-cp1", "running", broken="x")):
        kinds = [action.kind for action in plan_create(topology, with_container(standing, "bmk-cp1", found), specs)]
        assert Kind.REMOVE_VOLUME not in kinds
        assert Kind.CREATE_CONTAINER not in kinds


def test_a_changed_network_takes_its_machines_with_it(topology, standing, specs) -> None:
    observed = replace(standing, networks={**standing.networks, "bmk-edge": "old"})
    assert steps(plan_create(topology, observed, specs)) == [
        (Kind.REMOVE_CONTAINER, "bmk-client"),
        (Kind.REMOVE_CONTAINER, "bmk-tor1"),
        (Kind.REMOVE_NETWORK, "bmk-edge"),
        (Kind.CREATE_NETWORK, "edge"),
        (Kind.CREATE_CONTAINER, "tor1"),
        (Kind.CREATE_CONTAINER, "client"),
    ]


def test_what_left_the_inventory_goes(topology, standing, specs) -> None:
    observed = replace(
        standing,
        networks={**standing.networks, "bmk-rack9": "x"},
        containers={**standing.containers, "bmk-worker9": Container("x", "running")},
        volumes=standing.volumes | {"bmk-worker9-var-lib-etcd"},
    )
    assert steps(plan_create(topology, observed, specs)) == [
        (Kind.REMOVE_CONTAINER, "bmk-worker9"),
        (Kind.REMOVE_VOLUME, "bmk-worker9-var-lib-etcd"),
        (Kind.REMOVE_NETWORK, "bmk-rack9"),
    ]


def test_changed_files_reach_a_running_machine_without_a_restart(topology, standing, specs) -> None:
    observed = replace(standing, stale_files=frozenset({"tor1"}))
    assert steps(plan_create(topology, observed, specs)) == [(Kind.WRITE_FILES, "tor1"), (Kind.REFRESH, "tor1")]


def test_a_machine_is_refreshed_once(topology, standing, specs) -> None:
    observed = with_container(
        replace(standing, stale_files=frozenset({"cp1"})), "bmk-cp1", Container("spec-cp1", "running", unset="x")
    )
    assert steps(plan_create(topology, observed, specs)) == [(Kind.WRITE_FILES, "cp1"), (Kind.REFRESH, "cp1")]


def test_destroy_takes_everything_and_puts_the_host_back(standing) -> None:
    kinds = [action.kind for action in plan_destroy(standing)]
    assert kinds == [
        *[Kind.REMOVE_CONTAINER] * 3,
        Kind.REMOVE_VOLUME,
        *[Kind.REMOVE_NETWORK] * 2,
        Kind.RESTORE_HOST,
        Kind.REMOVE_DIRECTORY,
    ]


def test_destroy_leaves_the_host_alone_while_another_lab_stands(standing) -> None:
    assert Kind.RESTORE_HOST not in [action.kind for action in plan_destroy(replace(standing, other_labs=True))]


def test_destroy_of_nothing_does_nothing() -> None:
    assert plan_destroy(Observed(host_recorded=False)) == []


@pytest.mark.parametrize(
    ("code", "output", "broken", "unset"),
    [
        (0, "running\nactive\nactive\nrouted\n", "", ""),
        (0, "degraded\nactive\nactive\nrouted\n", "", ""),
        (3, "starting\ninactive\ninactive\nunrouted\n", "", ""),
        (0, "running\nactive\nactive\nunrouted\n", "", "it has no default route"),
        (0, "running\nfailed\nactive\nrouted\n", "", "lab-boot.service is failed"),
        (3, "running\nactive\ninactive\nrouted\n", "ssh.service is inactive", ""),
        (1, "maintenance\nactive\nactive\nrouted\n", "systemd is maintenance", ""),
        (255, "", "it does not answer", ""),
        (-1, "", "it does not answer", ""),
    ],
)
def test_health(code: int, output: str, broken: str, unset: str) -> None:
    assert judge_health(Container("s", "running"), code, output) == Container("s", "running", broken, unset)


def test_the_flags_that_were_found_by_their_failures(topology: Topology) -> None:
    cp1 = next(host for host in topology.hosts if host.name == "cp1")
    arguments = container_arguments("bmk", cp1, "image:tag", "/files")
    for flag in (
        "--privileged",
        "--systemd=false",
        "--env=container=podman",
        "--stop-signal=SIGRTMIN+3",
        "--cgroupns=private",
        "--pids-limit=-1",
        "--tmpfs=/run",
        "--tmpfs=/run/lock",
        "--tmpfs=/tmp",
        "--volume=/files:/lab:ro",
        f"--volume={volume_name(cp1, '/var/lib/etcd')}:/var/lib/etcd",
    ):
        assert flag in arguments
    assert f"--network=bmk-rack1:ip=10.77.1.11,mac={cp1.legs[0].mac},interface_name=eth0" in arguments
    assert arguments[-1] == "image:tag"


def test_the_spec_changes_with_what_a_machine_is_made_from(topology: Topology) -> None:
    cp1, client = (next(host for host in topology.hosts if host.name == name) for name in ("cp1", "client"))
    base = container_spec(container_arguments("bmk", cp1, "image:1", "/files"))
    assert base == container_spec(container_arguments("bmk", cp1, "image:1", "/files"))
    assert base != container_spec(container_arguments("bmk", cp1, "image:2", "/files"))
    assert base != container_spec(container_arguments("bmk", replace(cp1, volumes=()), "image:1", "/files"))
    assert base != container_spec(container_arguments("bmk", client, "image:1", "/files"))


def test_networks_have_no_way_out_and_an_address_for_the_controller(topology: Topology) -> None:
    arguments = network_arguments("bmk", topology.segments[0])
    assert arguments[:4] == ["--internal", "--disable-dns", "--subnet=10.77.1.0/24", "--gateway=10.77.1.1"]
    assert arguments[-1] == "bmk-rack1"


def test_with_ipv6_a_network_has_two_subnets_and_a_machine_two_addresses() -> None:
    second = build_topology(
        "bmk",
        "10.77.0.0/16",
        {"rack1": {"number": 1}},
        {"cp1": {"legs": {"rack1": 11}}, "tor1": {"legs": {"rack1": 254}, "as_number": 64601}},
        "fd77:77:0::/48",
    )
    options = network_arguments("bmk", second.segments[0])
    assert options[2:7] == [
        "--subnet=10.77.1.0/24",
        "--gateway=10.77.1.1",
        "--ipv6",
        "--subnet=fd77:77:0:1::/64",
        "--gateway=fd77:77:0:1::1",
    ]
    (leg,) = [word for word in container_arguments("bmk", second.hosts[0], "i", "/f") if word.startswith("--network=")]
    assert leg.startswith("--network=bmk-rack1:ip=10.77.1.11,ip6=fd77:77:0:1::11,mac=")
