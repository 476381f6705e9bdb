"""What a machine cannot carry is refused with the most that it can."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_limits as core
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import kubelet, node_space, preflight
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.density_limits import Machine, exceeded, limits


@pytest.mark.parametrize(
    ("machine", "settings", "resource", "most"),
    [
        # 255 + 17 p + 256 + 200 + 16 p <= 8192
        (Machine(8192), {}, "memory", 226),
        (Machine(32768), {}, "memory", 971),
        # the same, and 4512 MiB of a control plane
        (Machine(32768, shared_mib=4512), {}, "memory", 834),
        (Machine(524288), {}, "PIDs", 4064),  # (4194304 - 32768) / 1024
        (Machine(524288), {"podPidsLimit": 8192}, "PIDs", 508),
        (Machine(524288), {"podPidsLimit": "many"}, "PIDs", 4064),
        # 0.2 x 20480 / 12
        (Machine(524288, 20480), {}, "disk", 341),
        (Machine(524288, 20480), {"containerLogMaxSize": "1Mi"}, "PIDs", 4064),
        # 64 x 16384 / 2048, with next to nothing reserved
        (Machine(16384), {"kubeReserved": {"memory": "100Mi"}}, "conntrack", 512),
        (Machine(), {}, "PIDs", 4064),
        # 70 + 100 + 250 + 2.74 for each pod beyond 110 <= 2000; a control plane's static pods take 550 more
        (Machine(131072, cpus=2), {}, "CPU", 686),
        (Machine(131072, cpus=2, control_plane=True), {}, "CPU", 486),
        (Machine(524288, cpus=2, control_plane=True), {"kubeReserved": {"cpu": "1.1"}}, "PIDs", 4064),
        (Machine(524288, cpus=2), {"systemReserved": {"cpu": "lots"}}, "PIDs", 4064),
    ],
)
def test_what_ends_first(machine: Machine, settings: dict[str, Any], resource: str, most: int) -> None:
    first = limits(machine, settings)[0]
    assert (first.resource, first.most) == (resource, most)
    assert exceeded(most, machine, settings) == []
    assert exceeded(most + 1, machine, settings)[0] == first


def test_reservations_of_ones_own_that_leave_no_processor_for_the_static_pods() -> None:
    machine = Machine(131072, cpus=2, control_plane=True)
    (found,) = exceeded(111, machine, {"kubeReserved": {"cpu": "1101m"}})
    assert (found.resource, found.most) == ("CPU", 0)
    assert "1101 + 100 millicores reserved and 800" in found.why


def test_what_cannot_be_read_is_other_rules_affair() -> None:
    assert [limit.resource for limit in limits(Machine(8192), {"kubeReserved": "1Gi"})] == ["conntrack", "PIDs"]


def test_nobody_promised_to_fill_a_machine_up_to_kubernetes_own_default() -> None:
    assert limits(Machine(2048))[0].most < kubelet.DEFAULT_PODS
    assert exceeded(kubelet.DEFAULT_PODS, Machine(2048)) == []


@settings(deadline=None)
@given(st.integers(1, 1 << 21), st.integers(0, 1 << 24), st.integers(0, 1 << 16))
def test_the_most_is_the_most(memory: int, disk: int, shared: int) -> None:
    machine = Machine(memory, disk, shared)
    for limit in limits(machine):
        assert 0 <= limit.most <= core.MOST_PODS
    most = limits(machine)[0].most
    if most >= kubelet.DEFAULT_PODS:
        assert exceeded(most, machine) == []
        assert exceeded(most + 1, machine)


@settings(deadline=None)
@given(st.integers(0, 70000))
def test_halving_finds_the_last_that_fits(edge: int) -> None:
    assert core.most_that(lambda pods: pods <= edge) == min(edge, core.MOST_PODS)


# --- preflight


def judged(machines: dict[str, dict[str, Any]], **loads: node_space.Load) -> list[tuple[str, ...]]:
    inventory = preflight.Inventory(hosts=sorted(machines), loads=loads)
    return [
        (finding.level, *finding.hosts, finding.what, finding.found, finding.why, finding.fix)
        for finding in preflight.judge_density(inventory, machines)
    ]


def test_a_machine_that_is_too_small_is_refused_with_its_number() -> None:
    small = {"memory_mib": 8192, "disks": {"/var/log": {"size_mib": 102400}}}
    large = {"memory_mib": 524288, "disks": {}}
    dense = node_space.Load(500)
    ((level, host, what, found, why, fix),) = judged(
        {"cp1": small, "w1": small, "w2": large, "etcd1": small},
        cp1=node_space.Load(110),
        w1=dense,
        w2=dense,
        gone=dense,
    )
    assert (level, host) == ("error", "w1")
    assert what == "cluster_pods_per_node asks for 500 pods"
    assert found == "a machine for 226"
    assert "226 by memory: 4097 + 256 + 200 MiB reserved and 16 MiB a pod fill 8192 MiB; 256 by conntrack" in why
    assert "226 or less" in fix


def test_a_control_plane_with_workloads_keeps_its_part() -> None:
    machines = {"cp1": {"memory_mib": 32768}}
    assert judged(machines, cp1=node_space.Load(900)) == []
    assert judged(machines, cp1=node_space.Load(900, shared_mib=4512))[0][3] == "a machine for 834"


@pytest.mark.parametrize(("running", "warned"), [(0, False), (110, False), (111, True)])
def test_fewer_pods_than_there_are_is_a_warning(running: int, warned: bool) -> None:
    found = judged({"w1": {"memory_mib": 524288, "pods": running}}, w1=node_space.Load(110))
    assert [(finding[0], finding[3]) for finding in found] == (
        [("warning", f"a kubelet that has {running}")] if warned else []
    )


def test_what_the_inventory_says_of_the_kubelet_counts() -> None:
    settings = {"podPidsLimit": 16384}
    assert "by PIDs" in judged({"w1": {"memory_mib": 524288}}, w1=node_space.Load(500, settings=settings))[0][4]
