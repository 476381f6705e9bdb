"""The formulas of a capacity plan, each by a table; what can be counted is counted."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, kubeadm_config
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.capacity_figures import (
    Machine,
    PlanError,
    buggy,
    control_plane_class,
    control_plane_flags,
    controllers,
    etcd_class,
    family_plan,
    kubelet_plan,
    machines_of,
    node_addresses,
    quorum_plan,
    survival,
    sysctls,
    typha_replicas,
    usual_nodes,
)


@pytest.mark.parametrize(
    ("nodes", "pods", "usual"), [(3, 90, 3), (3, 91, 4), (7, 2330, 78), (5000, 150_000, 5000), (0, 0, 0)]
)
def test_a_dense_node_counts_as_many(nodes: int, pods: int, usual: int) -> None:
    assert usual_nodes(nodes, pods) == usual


# --- the kubelet


@pytest.mark.parametrize(
    ("pods", "cpus", "memory", "reserved", "cpu", "left"),
    [
        # 25 % of 4 GiB, less than 255 + 17 x 110 = 2125
        (110, 2, 4096, "2125Mi", "70m", 4096 - 2125 - 256 - 200),
        # 1024 + 819.2 + 819.2 + 2949.12 = 5611.52, more than 2125
        (110, 16, 65536, "5612Mi", "110m", 65536 - 5612 - 256 - 200),
        # 255 + 17 x 500 = 8755, more than the tiers; 110 + 390 x 400 / 146 millicores
        (500, 16, 65536, "8755Mi", "1178m", 65536 - 8755 - 256 - 200),
        # 1024 + 819.2 + 819.2 + 6881.28 + 2 % of 896 GiB; evictions at 1 GiB, not 1/512 of 1 TiB
        (500, 128, 1048576, "27894Mi", "1458m", 1048576 - 27894 - 256 - 1024),
    ],
)
def test_reservations(pods: int, cpus: int, memory: int, reserved: str, cpu: str, left: int) -> None:
    found, warnings = kubelet_plan(pods, Machine(cpus, memory))
    assert warnings == []
    assert found["kube_reserved"]["memory"] == reserved
    assert found["kube_reserved"]["cpu"] == cpu
    assert found["allocatable_mib"] == left
    assert found["mib_per_pod"] == left // pods
    assert found["max_pods"] == pods
    assert f"= {left} MiB for pods" in found["arithmetic"]
    assert "GKE" in found["source"]


@pytest.mark.parametrize(
    ("overrides", "max_pods", "left", "words"),
    [
        ({"podsPerCore": 10}, 40, 8192 - 2125 - 256 - 200, "podsPerCore 10 x 4 CPUs caps maxPods 110 at 40"),
        ({"podsPerCore": 100}, 110, 8192 - 2125 - 256 - 200, ""),
        ({"kubeReserved": {"memory": "1Gi"}}, 110, 8192 - 1024 - 256 - 200, ""),
        ({"evictionHard": {"memory.available": "5%"}}, 110, 8192 - 2125 - 256 - 410, ""),
        ({"kubeReserved": {"memory": "9Gi"}}, 110, 8192 - 9216 - 256 - 200, "reservations leave no memory for pods"),
    ],
)
def test_reservations_that_the_inventory_changes(
    overrides: dict[str, Any], max_pods: int, left: int, words: str
) -> None:
    found, warnings = kubelet_plan(110, Machine(4, 8192), overrides)
    assert found["max_pods"] == max_pods
    assert found["allocatable_mib"] == left
    assert found["mib_per_pod"] >= 0
    assert [words in text for text in warnings] == ([True] if words else [])
    if "kubeReserved" in overrides:
        assert found["arithmetic"].startswith("the inventory says")


# --- kernel parameters


def test_kernel_parameters_say_bound_reason_and_source() -> None:
    rows = {row["key"]: row for row in sysctls(500, Machine(16, 65536), ["10.244.0.0/16"], "calico")}
    assert rows["kernel.pid_max"]["bound"] == "min"
    assert rows["kernel.pid_max"]["value"] == 32768 + 4096 * 500
    assert rows["net.ipv4.conf.all.rp_filter"] | {"reason": "", "source": ""} == {
        "key": "net.ipv4.conf.all.rp_filter",
        "bound": "one_of",
        "value": [0, 1],
        "reason": "",
        "source": "",
    }
    assert all(row["reason"] and row["source"] for row in rows.values())
    assert not any("ipv6" in key for key in rows)


@pytest.mark.parametrize(("hide", "value"), [(False, 262200), (True, "********")])
def test_the_inventorys_parameters_replace_ours(hide: bool, value: Any) -> None:
    overrides = {"vm/max_map_count": 262200, "kernel.panic": None}
    rows = {row["key"]: row for row in sysctls(110, Machine(4, 8192), [], "none", [overrides], hide=hide)}
    assert rows["vm.max_map_count"]["value"] == value
    assert rows["vm.max_map_count"]["source"] == "cluster_kernel_parameters"
    assert "kernel.panic" not in rows
    assert rows["vm.overcommit_memory"]["value"] == 1


# --- addresses


@pytest.mark.parametrize(
    ("pods", "size", "blocks", "words"),
    [
        (110, 26, 4, "220 / 64, rounded up, is 4 blocks of /26"),
        (110, 24, 1, "220 / 256, rounded up, is 1 block of /24"),
        (500, 24, 4, "1000 / 256, rounded up, is 4 blocks of /24"),
        (500, 26, 16, "1000 / 64, rounded up, is 16 blocks of /26"),
        (32, 26, 1, "64 / 64, rounded up, is 1 block of /26"),
        (33, 26, 2, "66 / 64, rounded up, is 2 blocks of /26"),
    ],
)
def test_blocks_of_a_node(pods: int, size: int, blocks: int, words: str) -> None:
    found = node_addresses(pods, size)
    assert found["blocks"] == blocks
    assert found["addresses"] == blocks * found["addresses_per_block"] >= 2 * pods
    assert words in found["arithmetic"]
    assert found["most_blocks"] >= blocks


@given(
    st.integers(8, 20),
    st.integers(0, 8),
    st.dictionaries(st.integers(1, 16), st.integers(1, 20), min_size=1, max_size=4),
)
def test_families_against_counting(prefix: int, more_bits: int, needs: dict[int, int]) -> None:
    length = prefix + more_bits
    pool = addresses.network(f"10.0.0.0/{prefix}" if prefix >= 8 else "10.0.0.0/8")
    found = family_plan(pool, length, needs)
    blocks = sum(1 for _block in ipaddress.ip_network(pool.text).subnets(new_prefix=length))
    assert found["blocks"] == blocks
    free = blocks - sum(each * nodes for each, nodes in needs.items())
    nodes = sum(needs.values())
    while free >= max(needs):
        free -= max(needs)
        nodes += 1
    assert found["largest"] == nodes
    assert found["more_nodes"] == nodes - sum(needs.values())


def test_an_ipv6_network_reaches_as_far() -> None:
    found = family_plan(addresses.network("fd00:1::/108"), 122, {4: 3})
    assert (found["blocks"], found["planned"], found["largest"]) == (16384, 12, 3 + (16384 - 12) // 4)


@pytest.mark.parametrize(
    "text", ["192.0.2.0/24", "192.0.2.240-192.0.2.250", "192.0.2.250-192.0.3.5", "10.0.0.0/20", "10.0.0.255/32"]
)
def test_addresses_that_end_badly_are_counted(text: str) -> None:
    span = addresses.network_or_range(text)
    assert buggy(span) == sum(1 for number in range(span.first, span.last + 1) if number % 256 in (0, 255))


def test_ipv6_addresses_all_end_well() -> None:
    assert buggy(addresses.network("fd00::/112")) == 0


# --- etcd and control plane


@pytest.mark.parametrize(
    ("usual", "name"),
    [
        (1, "small"),
        (50, "small"),
        (51, "medium"),
        (250, "medium"),
        (1000, "large"),
        (1001, "xlarge"),
        (9000, "xlarge"),
    ],
)
def test_etcd_classes(usual: int, name: str) -> None:
    found = etcd_class(usual)
    assert found["name"] == name
    assert found["iops"] >= 3600
    assert "etcd.io" in found["source"]


@pytest.mark.parametrize(
    ("usual", "cpus", "memory"), [(3, 4, 16), (24, 4, 16), (25, 8, 32), (252, 16, 64), (253, 16, 96), (5000, 16, 96)]
)
def test_control_plane_machines(usual: int, cpus: int, memory: int) -> None:
    found = control_plane_class(usual)
    assert (found["cpus"], found["memory_gb"]) == (cpus, memory)


@pytest.mark.parametrize(
    ("racks", "quorum", "tolerates", "fatal"),
    [
        ({"": 3}, 2, 1, []),
        ({"a": 1, "b": 1, "c": 1}, 2, 1, []),
        ({"a": 2, "b": 1}, 2, 1, ["a"]),
        ({"a": 2, "b": 2, "c": 1}, 3, 2, []),
        ({"a": 3, "b": 2}, 3, 2, ["a"]),
        ({"a": 1}, 1, 0, ["a"]),
        ({"a": 1, "": 2}, 2, 1, []),
    ],
)
def test_quorum(racks: dict[str, int], quorum: int, tolerates: int, fatal: list[str]) -> None:
    found = quorum_plan(racks)
    assert (found["quorum"], found["tolerates"], found["fatal_racks"]) == (quorum, tolerates, fatal)


def settings(**values: Any) -> kubeadm_config.ClusterSettings:
    base = {
        "cluster_name": "x",
        "kubernetes_version": "",
        "endpoint": "",
        "pod_cidrs": ["10.244.0.0/16"],
        "service_cidrs": ["10.96.0.0/16"],
        "domain": "cluster.local",
        "etcd_endpoints": ["-"],
    }
    return kubeadm_config.ClusterSettings(**{**base, **values})


@pytest.mark.parametrize(
    ("pods_per_node", "pods", "reading", "changing", "manager", "scheduler"),
    [
        (110, 330, "400", "200", "20", "50"),
        (250, 10_000, "800", "300", "60", "150"),
        (500, 30_000, "1500", "500", "100", "200"),
        (500, 90_000, "3000", "1000", "100", "200"),
    ],
)
def test_flags_follow_from_size(
    pods_per_node: int, pods: int, reading: str, changing: str, manager: str, scheduler: str
) -> None:
    rows = {
        (row["component"], row["flag"]): row
        for row in control_plane_flags(settings(pods_per_node=pods_per_node, pods=pods))
    }
    assert rows["kube-apiserver", "max-requests-inflight"]["value"] == reading
    assert rows["kube-apiserver", "max-mutating-requests-inflight"]["value"] == changing
    assert rows["kube-controller-manager", "kube-api-qps"]["value"] == manager
    assert rows["kube-scheduler", "kube-api-qps"]["value"] == scheduler
    assert rows["kube-scheduler", "kube-api-qps"]["source"]
    assert rows["kube-apiserver", "profiling"]["reason"] == ""


def test_own_flags_are_shown_as_such_and_secrets_are_not() -> None:
    own = {"max-requests-inflight": 1, "service-account-signing-secret": "canary", "feature": "x"}
    rows = {row["flag"]: row for row in control_plane_flags(settings(apiserver_extra_args=own))}
    assert rows["max-requests-inflight"]["value"] == "1"
    assert rows["max-requests-inflight"]["reason"] == "set by the inventory"
    assert rows["service-account-signing-secret"]["value"] == "********"
    hidden = {row["flag"]: row for row in control_plane_flags(settings(apiserver_extra_args=own), hide=True)}
    assert hidden["feature"]["value"] == "********"
    assert hidden["profiling"]["value"] == "false"


# --- controllers


@pytest.mark.parametrize(
    ("nodes", "pods", "dns", "prometheus", "state", "metrics"),
    [
        (3, 330, 54, 924, 210, 210),
        (100, 3600, 58, 10080, 252, 210),  # OKD's row: 10 GB; like 120 nodes of 30 pods
        (7, 2330, 57, 6524, 210, 210),
        (300, 150_000, 219, 420_000, 10_486, 4494),
        (5000, 150_000, 219, 420_000, 10_486, 10_486),
    ],
)
def test_memory_of_controllers(nodes: int, pods: int, dns: int, prometheus: int, state: int, metrics: int) -> None:
    rows = {row["name"]: row for row in controllers(nodes, pods)}
    assert rows["CoreDNS"]["memory_mb"] == dns
    assert rows["Prometheus"]["memory_mb"] == prometheus
    assert rows["kube-state-metrics"]["memory_mb"] == state
    assert rows["metrics-server"]["memory_mb"] == metrics
    assert [row["name"] for row in rows.values() if row["installed"]] == ["CoreDNS"]
    assert all(row["source"] and row["arithmetic"] for row in rows.values())


@pytest.mark.parametrize(("nodes", "replicas"), [(1, 0), (50, 0), (51, 3), (600, 3), (601, 4), (4000, 20), (5000, 20)])
def test_typha(nodes: int, replicas: int) -> None:
    assert typha_replicas(nodes) == replicas


# --- losses


def pool(rack: str, nodes: int, pods: int, taints: list[str] | None = None) -> dict[str, Any]:
    return {
        "rack": rack,
        "nodes": nodes,
        "taints": taints or [],
        "workload_pods": nodes * pods,
        "machines": [{"workload_pods": pods, "nodes": nodes}],
    }


CONTROL = ["node-role.kubernetes.io/control-plane:NoSchedule"]


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        ([pool("", 3, 100)], [(300, 200, None)]),
        ([pool("a", 2, 100), pool("b", 1, 100)], [(300, 200, 100)]),
        # the largest node is not in the largest rack
        ([pool("a", 4, 100), pool("b", 1, 250)], [(650, 400, 250)]),
        # one named rack and nodes outside of it
        ([pool("a", 2, 100), pool("", 1, 100)], [(300, 200, 100)]),
        # a tainted pool helps nobody else
        ([pool("a", 2, 100), pool("b", 2, 100, ["gpu:NoSchedule"])], [(200, 100, None), (200, 100, None)]),
        ([pool("a", 3, 100, CONTROL), pool("a", 1, 50)], [(50, 0, None)]),
        ([pool("a", 3, 100, CONTROL)], []),
    ],
)
def test_what_a_loss_leaves(pools: list[dict[str, Any]], expected: list[tuple[int, int, int | None]]) -> None:
    assert [(row["pods"], row["after_node"], row["after_rack"]) for row in survival(pools)] == expected


# --- machines


GROUPS = {"all": ["a", "b", "c"], "pair": ["a", "b"]}


@pytest.mark.parametrize(
    ("wanted", "measured", "expected"),
    [
        ({}, {}, {}),
        ({"all": (4, 8192), "pair": (8, 8192), "a": (2, 4096)}, {}, {"a": 2, "b": 8, "c": 4}),
        ({"a": (2, 4096), "all": (4, 8192)}, {"a": {"cpus": 64, "memory_mib": 999}}, {"a": 64, "b": 4, "c": 4}),
        ({"all": ("4", "8192")}, {}, {"a": 4, "b": 4, "c": 4}),
    ],
)
def test_the_nearest_size_counts(wanted: dict[str, Any], measured: dict[str, Any], expected: dict[str, int]) -> None:
    given_sizes = {name: {"cpus": cpus, "memory_mib": memory} for name, (cpus, memory) in wanted.items()}
    found = machines_of(given_sizes, measured, GROUPS)
    assert {name: machine.cpus for name, machine in found.items()} == expected
    assert {name for name, machine in found.items() if machine.basis == "measured"} == set(measured)


@pytest.mark.parametrize(
    "facts",
    [{}, {"cpus": 4}, {"cpus": "x", "memory_mib": 1}, {"cpus": 10**30, "memory_mib": 1}, {"cpus": True, "memory_mib": 1}, None],
)  # fmt: skip
def test_facts_that_make_no_sense_are_no_facts(facts: Any) -> None:
    assert machines_of({}, {"a": facts}, GROUPS) == {}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"pairs": {"cpus": 1, "memory_mib": 1}}, "did you mean pair?"),
        ({"a": {"cpus": 1}}, "a: write"),
        ({"a": {"cpus": 0, "memory_mib": 1}}, "cpus is a whole number from 1"),
        ({"a": {"cpus": 1, "memory_mib": "64Gi"}}, "memory_mib is a whole number"),
        ({"a": [1, 2]}, "a: write"),
        ({"a": {"cpus": 1, "memory_mib": 1, "disk": 1}}, "a: write"),
        ({"a": {"cpus": 1, "memory_mib": 10**9999}}, "memory_mib is a whole number"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        machines_of(wanted, {}, GROUPS)
