"""The plan of an inventory, as data, as a table and as a page."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster_schema, density_control_plane
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.capacity_figures import Machine
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.capacity_plan import plan
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster import capacity, validate
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import ClusterInput, Host, View
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.html_page import breakable, text
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.html_page import table as html_table
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.plan_page import page
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.plan_table import table

ROLES = Path(__file__).resolve().parents[4] / "roles"
SPECS = cluster_schema.load_specs(ROLES)
DEFAULTS = {
    name: value
    for role in ("cluster", "etcd")
    for name, value in yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8")).items()
    if "{{" not in str(value)
} | {"cluster_api_endpoint_address": "127.0.0.1", "cluster_api_endpoint_port": 7443}
# Two racks with 500 pods a node, and small control planes.
DENSE = {"cluster_pods_per_node": 500, "cluster_pod_cidrs": ["10.128.0.0/14"]}

Change = Callable[[dict[str, dict[str, Any]]], Any]


def inventory(
    common: dict[str, Any] | None = None,
    own: dict[str, dict[str, Any]] | None = None,
    *,
    planes: int = 3,
    workers: int = 4,
    groups: dict[str, list[str]] | None = None,
    racks: bool = True,
) -> ClusterInput:
    """Control planes cp1.., workers w1.., in racks a and b by turns."""
    names = [f"cp{number}" for number in range(1, planes + 1)] + [f"w{number}" for number in range(1, workers + 1)]
    hosts = []
    for number, name in enumerate(names):
        rack = "ab"[number % 2]
        values = {
            **DEFAULTS,
            "cluster_node_ip": f"192.{number // 65536}.{number // 256 % 256}.{number % 256}",
            **({"cluster_rack": rack, "cluster_bgp_as_number": 64700 + ord(rack)} if racks else {}),
            **(common or {}),
            **(own or {}).get(name, {}),
        }
        hosts.append(Host(name, values))
    base = {"control_plane": names[:planes], "etcd": names[:planes], "workers": names[planes:], "all": names}
    return ClusterInput(hosts=tuple(hosts), groups={**base, **(groups or {})}, specs=SPECS)


def planned(given: ClusterInput, **arguments: Any) -> dict[str, Any]:
    return plan(View(given), **arguments)


def dense(**more: Any) -> ClusterInput:
    small = {f"cp{number}": {"cluster_pods_per_node": 110} for number in (1, 2, 3)}
    return inventory({**DENSE, **more}, small)


def test_the_inventories_of_these_tests_are_valid() -> None:
    assert validate(dense()).errors == ()
    assert validate(inventory(racks=False, workers=1)).errors == ()


# --- pools


def test_a_pool_is_a_role_a_rack_and_a_density() -> None:
    found = planned(dense())["pools"]
    assert [(pool["role"], pool["rack"], pool["pods_per_node"], pool["hosts"]) for pool in found] == [
        ("control_plane", "a", 110, ["cp1", "cp3"]),
        ("control_plane", "b", 110, ["cp2"]),
        ("worker", "a", 500, ["w2", "w4"]),
        ("worker", "b", 500, ["w1", "w3"]),
    ]
    assert [pool["workload_pods"] for pool in found] == [208, 104, 994, 994]
    assert [pool["addresses"]["blocks"] for pool in found] == [1, 1, 4, 4]


@pytest.mark.parametrize(
    ("groups", "name"),
    [
        ({}, "workers"),
        ({"dense": ["w1", "w2", "w3", "w4"]}, "dense"),
        ({"dense": ["w1", "w2", "w3", "w4"], "b": ["w1", "w3"]}, "b"),
        ({"rack_b": ["cp2", "w1", "w3"]}, "workers"),
        ({"some": ["w1"]}, "workers"),
    ],
)
def test_a_pool_has_the_name_of_its_smallest_group(groups: dict[str, list[str]], name: str) -> None:
    given = inventory(groups=groups)
    assert planned(given)["pools"][-1]["name"] == name


def test_machines_of_a_pool_are_told_apart() -> None:
    known = {"w2": Machine(64, 262144, "measured")}
    pool = planned(dense(), machines=known)["pools"][2]
    assert [(row["cpus"], row["basis"], row["hosts"]) for row in pool["machines"]] == [
        (64, "measured", ["w2"]),
        (16, "assumed", ["w4"]),
    ]
    assert pool["machines"][0]["kubelet"]["allocatable_mib"] == 262144 - 12165 - 256 - 512


def test_what_a_host_has_of_its_own_is_its_own() -> None:
    own = {
        "w1": {"cluster_kubelet_configuration": {"podsPerCore": 2}},
        "w3": {"cluster_kernel_parameters": {"vm.max_map_count": 999999}},
    }
    found = planned(inventory(own=own))
    pool = found["pools"][3]
    by_host = {row["hosts"][0]: row for row in pool["machines"]}
    assert by_host["w1"]["kubelet"]["max_pods"] == 32
    assert pool["max_pods"] == 32
    assert pool["pods"] == 32 + 110
    assert [row["value"] for row in by_host["w3"]["sysctls"] if row["key"] == "vm.max_map_count"] == [999999]
    assert any("podsPerCore 2 x 16 CPUs caps" in warning and "(w1)" in warning for warning in found["warnings"])


def test_levels_of_kernel_parameters_are_merged_as_the_role_does() -> None:
    common = {
        "cluster_kernel_parameters": {"vm.max_map_count": 1, "kernel.panic": 1},
        "kernel_tuning_group_parameters": {"vm/max_map_count": 2},
        "kernel_tuning_host_parameters": {"kernel.panic": None},
    }
    (machine,) = planned(inventory(common))["pools"][-1]["machines"]
    rows = {row["key"]: row["value"] for row in machine["sysctls"]}
    assert rows["vm.max_map_count"] == 2
    assert "kernel.panic" not in rows


def test_what_the_inventory_demands_of_machines_stands_in_for_their_size() -> None:
    common = {"os_prep_requirements": {"min_cpus": 48, "min_memory_mib": 98304}}
    found = planned(inventory(common), machines={"w2": Machine(64, 131072, "measured")})
    sizes = {(row["cpus"], row["basis"]) for pool in found["pools"] for row in pool["machines"]}
    assert sizes == {(48, "required"), (64, "measured")}
    assert "assumed" not in "\n".join(found["assumptions"])
    half = planned(inventory({"os_prep_requirements": {"min_cpus": 48}}))
    assert {row["basis"] for pool in half["pools"] for row in pool["machines"]} == {"assumed"}


@pytest.mark.parametrize(
    ("common", "worker", "plane"),
    [
        ({}, 3, 6),
        ({"cluster_load_balancer_mode": "metallb_l2"}, 4, 7),
        ({"cluster_network_plugin": "none", "cluster_load_balancer_mode": "metallb_l2"}, 1, 4),
    ],
)
def test_the_clusters_own_pods(common: dict[str, Any], worker: int, plane: int) -> None:
    pools = planned(inventory(common))["pools"]
    assert (pools[0]["own_pods_per_node"], pools[-1]["own_pods_per_node"]) == (plane, worker)


# --- addresses


def test_the_largest_cluster() -> None:
    found = planned(dense())["addresses"]
    (family,) = found["families"]
    assert (family["blocks"], family["planned"], family["free"]) == (1024, 3 + 16, 1005)
    assert found["largest_cluster_nodes"] == 7 + 1005 // 4 == 258
    assert found["largest_of_the_densest"] == 256 == capacity(View(dense()))["largest_cluster_nodes"]
    assert found["routes"] == 19


def test_the_smaller_family_decides() -> None:
    given = dense(
        cluster_pod_cidrs=["10.128.0.0/14", "fd00:10::/112"], cluster_service_cidrs=["10.96.0.0/16", "fd00:20::/112"]
    )
    found = planned(given)["addresses"]
    assert [one["blocks"] for one in found["families"]] == [1024, 1 << (120 - 112)]
    assert found["largest_cluster_nodes"] == 7 + (256 - 19) // 4
    assert [one["usable"] for one in found["services"]] == [65534, 65535]


def test_without_our_plugin_nodes_have_ranges() -> None:
    found = planned(dense(cluster_network_plugin="none", cluster_pod_cidrs=["10.128.0.0/19"]))
    (family,) = found["addresses"]["families"]
    assert (family["block_length"], family["blocks"], family["planned"]) == (22, 8, 7)
    assert found["addresses"]["largest_cluster_nodes"] == 8
    full = planned(dense(cluster_network_plugin="none", cluster_pod_cidrs=["10.128.0.0/23"]))
    assert any("need a /22 each" in warning for warning in full["warnings"])
    assert full["addresses"]["largest_cluster_nodes"] is None
    smaller = {"node-cidr-mask-size": 23}
    own = planned(
        dense(
            cluster_network_plugin="none",
            cluster_pod_cidrs=["10.128.0.0/19"],
            control_plane_controller_manager_extra_args=smaller,
        )
    )
    assert own["addresses"]["families"][0]["blocks"] == 16


def test_a_plan_without_room_for_a_replacement_says_so() -> None:
    found = planned(dense(cluster_pod_cidrs=["10.128.0.0/19"]))
    assert found["addresses"]["families"][0]["free"] == 32 - 19
    assert not any("no room" in warning for warning in found["warnings"])
    tight = planned(inventory({"cluster_pod_cidrs": ["10.128.0.0/21"]}))
    assert tight["addresses"]["families"][0]["free"] == 32 - 28
    tighter = planned(inventory({"cluster_pod_cidrs": ["10.128.0.0/21"]}, workers=5))
    assert any("no room for one more of the densest nodes: 8 nodes" in warning for warning in tighter["warnings"])
    assert not any("no room" in warning for warning in tight["warnings"])


def test_load_balancer_pools() -> None:
    pools = [
        {"name": "public", "addresses": ["203.0.113.0/24", "192.0.2.10-192.0.2.19"]},
        {"name": "six", "addresses": ["2001:db8::/112"]},
    ]
    found = planned(dense(cluster_load_balancer_pools=pools))["addresses"]["load_balancer"]
    assert [(one["name"], one["addresses"], one["usable"]) for one in found["pools"]] == [
        ("public", 266, 264),
        ("six", 65536, 65536),
    ]
    assert found["usable"] == 264 + 65536
    unused = planned(dense(cluster_load_balancer_pools=pools, cluster_load_balancer_mode="none"))
    assert unused["addresses"]["load_balancer"]["usable"] == 0


# --- the control plane and etcd


def test_etcd_and_control_plane_are_sized_by_pods_too() -> None:
    found = planned(dense())
    assert found["cluster"]["like_usual_nodes"] == 78
    assert found["etcd"]["class"]["name"] == "medium"
    assert found["control_plane"]["machine"]["cpus"] == 8
    assert [(row["heartbeat_ms"], row["election_ms"], row["quota_gib"]) for row in found["etcd"]["members"]] == [
        (100, 1000, 8.0)
    ] * 3
    flags = {(row["component"], row["flag"]): row["value"] for row in found["control_plane"]["flags"]}
    assert flags["kube-controller-manager", "kube-api-qps"] == "100"
    assert flags["kube-apiserver", "max-requests-inflight"] == "400"


@pytest.mark.parametrize(
    ("own", "machines", "words"),
    [
        (
            {"cp1": {"etcd_heartbeat_interval_ms": 500}},
            {},
            "etcd on cp1: an election timeout of 1000 ms is less than ten",
        ),
        ({"cp1": {"etcd_heartbeat_interval_ms": 50}}, {}, "different heartbeats: 50, 100"),
        ({"cp2": {"etcd_quota_backend_gib": 2}}, {}, "different quotas: 2.0, 8.0"),
        (
            {},
            {"cp1": Machine(1, 65536, "measured")},
            "cp1 has 1 CPUs and 65536 MiB; etcd's example machine 'small' is 2",
        ),
        (
            {},
            {"cp1": Machine(8, 4096, "given")},
            "cp1 has 8 CPUs and 4096 MiB; a control plane of this size is 8 CPUs and 32 GB",
        ),
        ({"cp1": {"control_plane_scheduler_extra_args": {"v": 4}}}, {}, "control_plane_scheduler_extra_args differs"),
        (
            {name: {"control_plane_scheduler_extra_args": {"--v": 4}} for name in ("cp1", "cp2", "cp3")},
            {},
            "flags cannot be told: flag '--v'",
        ),
    ],
)
def test_what_will_hurt_is_said(own: dict[str, Any], machines: dict[str, Machine], words: str) -> None:
    plain = planned(inventory())["warnings"]
    found = [one for one in planned(inventory(own=own), machines=machines)["warnings"] if one not in plain]
    assert any(words in warning for warning in found), found


def test_a_machine_of_the_right_size_is_no_warning() -> None:
    machines = {f"cp{number}": Machine(4, 15700, "measured") for number in (1, 2, 3)}
    given = inventory(workers=1)
    assert planned(given, machines=machines)["warnings"] == planned(given)["warnings"]


def test_racks_that_etcd_cannot_lose() -> None:
    assert (
        "rack a has 2 of 3 etcd members: its loss stops the API, running pods go on" in planned(inventory())["warnings"]
    )
    third = planned(inventory(own={"cp3": {"cluster_rack": "c"}}))
    assert third["etcd"]["quorum"]["fatal_racks"] == []
    assert not any("etcd members" in warning for warning in third["warnings"])


def test_typha_is_asked_for_from_51_nodes_on() -> None:
    many = planned(inventory(workers=48))
    assert any("calico_typha_replicas is 0; 51 nodes want 3" in warning for warning in many["warnings"])
    assert not any("typha" in one for one in planned(inventory(workers=47))["warnings"])
    assert not any("typha" in one for one in planned(inventory({"calico_typha_replicas": 3}, workers=48))["warnings"])


def test_a_crowded_dns_is_said() -> None:
    assert any("CoreDNS needs" in one for one in planned(inventory(DENSE, workers=240))["warnings"])
    assert not any("CoreDNS needs" in one for one in planned(dense())["warnings"])


# --- losses


def test_control_planes_with_taints_carry_no_workload() -> None:
    (row,) = planned(dense())["survival"]
    assert (row["nodes"], row["pods"], row["after_node"], row["after_rack"]) == (4, 1988, 1491, 994)
    everywhere = planned(inventory({"cluster_node_taints": []}, workers=0))
    assert everywhere["survival"][0]["pods"] == 3 * 104
    nowhere = planned(inventory(workers=0))
    assert nowhere["survival"] == []
    assert any("no node takes workload" in warning for warning in nowhere["warnings"])


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (0, ""),
        (1491, ""),
        (1492, "1492 pods are wanted, and the loss of one node leaves 1491 places (1988 - 497 = 1491"),
        (1988, "leaves 1491 places"),
        (1989, "1989 pods are wanted, there are places for 1988"),
    ],
)
def test_more_pods_than_survive_a_node_are_a_warning(wanted: int, words: str) -> None:
    found = [warning for warning in planned(dense(), wanted_pods=wanted)["warnings"] if "wanted" in warning]
    assert [words in warning for warning in found] == ([True] if words else [])


def test_places_behind_taints_are_not_for_pods_without_tolerations() -> None:
    tainted = {"cluster_node_taints": [{"key": "gpu", "effect": "NoSchedule"}]}
    found = planned(inventory(tainted), wanted_pods=1)["warnings"]
    assert "1 pods are wanted, there are places for 0" in found


def test_tainted_workers_are_a_class_of_their_own() -> None:
    taint = [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}, {"key": "soft", "effect": "PreferNoSchedule"}]
    found = planned(inventory(own={"w1": {"cluster_node_taints": taint}}))
    assert [(row["taints"], row["nodes"]) for row in found["survival"]] == [([], 3), (["gpu=yes:NoSchedule"], 1)]
    assert (
        "pods that tolerate gpu=yes:NoSchedule: one node carries them all, its loss leaves no place"
        in found["warnings"]
    )


# --- what it rests on


def test_assumptions_are_named_and_go_away() -> None:
    def lines(**arguments: Any) -> str:
        return "\n".join(planned(dense(), **arguments)["assumptions"])

    assert "7 of 7 machines are assumed to have 16 CPUs and 65536 MiB (cp1, cp2, cp3 and 4 more)" in lines()
    assert "7 of 7 machines are assumed to have 2 CPUs and 4096 MiB" in lines(assumed=Machine(2, 4096))
    known = {name: Machine(32, 131072, "measured") for name in ("cp1", "cp2", "cp3", "w1", "w2", "w3", "w4")}
    assert "assumed" not in lines(machines=known)
    assert "site run would change" in lines()
    changes = {"hosts": {"w1": {"changed": 1, "failed": False, "unreachable": False, "tasks": ["x"]}}}
    assert "site run" not in lines(site_changes=changes)
    assert "no rack is named" in "\n".join(planned(inventory(racks=False))["assumptions"])
    assert "without cluster_rack count as outside of all racks: w1" in "\n".join(
        planned(inventory(own={"w1": {"cluster_rack": ""}}))["assumptions"]
    )


def test_a_check_run_that_ended_early_is_a_warning() -> None:
    changes = {"hosts": {"w1": {"changed": 1, "failed": True, "unreachable": False, "tasks": ["x"]}}}
    found = planned(dense(), site_changes=changes)
    assert "the check run ended early on w1: what comes after is not known" in found["warnings"]
    assert found["site_changes"] == changes


def test_names_parameters_and_flags_from_a_vault_are_hidden() -> None:
    common = {
        "cluster_name": "canary",
        "cluster_kernel_parameters": {"vm.max_map_count": "canary"},
        "control_plane_apiserver_extra_args": {"v": "canary"},
    }
    given = inventory(common)
    hidden = tuple(replace(host, secrets=frozenset(common)) for host in given.hosts)
    assert "canary" in json.dumps(planned(given))
    found = planned(replace(given, hosts=hidden))
    assert "canary" not in json.dumps(found) + table(found) + page(found)


def test_every_number_has_a_source() -> None:
    """Whoever has an arithmetic has a source beside it, or in the enclosing section."""

    def walk(value: Any, sourced: bool) -> None:
        if isinstance(value, dict):
            here = sourced or bool(value.get("source"))
            assert "arithmetic" not in value or here, value
            for child in value.values():
                walk(child, here)
        elif isinstance(value, list):
            for child in value:
                walk(child, sourced)

    found = planned(dense(cluster_load_balancer_pools=[{"name": "x", "addresses": ["203.0.113.0/24"]}]))
    del found["survival"]  # sums of the numbers above
    walk(found, False)


@pytest.mark.parametrize(
    "given",
    [
        dense(),
        inventory(racks=False),
        inventory(planes=1, workers=0),
        inventory({"cluster_network_plugin": "none"}),
        inventory({"cluster_pod_cidrs": ["fd00:1::/108"], "cluster_service_cidrs": ["fd00:2::/112"]}),
    ],
)
def test_a_plan_is_plain_data(given: ClusterInput) -> None:
    found = planned(given)
    assert json.loads(json.dumps(found)) == found
    assert table(found)
    assert page(found)


def calls(count: int) -> int:
    """Calls of Python functions that a plan of so many nodes with its table and page takes."""
    view = View(inventory({"cluster_pod_cidrs": ["10.0.0.0/8"]}, workers=count - 3))
    seen = 0

    def tracer(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal seen
        seen += event == "call"

    sys.setprofile(tracer)
    try:
        found = plan(view)
        table(found), page(found)
    finally:
        sys.setprofile(None)
    return seen


def test_the_work_grows_with_the_hosts_not_their_square() -> None:
    assert calls(800) < 5 * calls(200)


def test_a_plan_of_thousands_of_hosts_can_be_read() -> None:
    found = plan(View(inventory({"cluster_pod_cidrs": ["10.0.0.0/8"]}, workers=4997)))
    assert found["cluster"]["nodes"] == 5000
    assert len(table(found)) < 20_000
    assert len(page(found)) < 200_000


# --- the table


def test_the_table_says_what_matters() -> None:
    changes = {"hosts": {"w1": {"changed": 2, "failed": True, "unreachable": False, "tasks": ["kubelet : Configure"]}}}
    words = table(planned(dense(), site_changes=changes))
    for part in (
        "7 nodes (3 control planes, 4 workers), 2330 pods, 1988 of them yours",
        "10.128.0.0/14 has 1024 blocks of /24; 7 nodes (3 x 1 + 4 x 4) need 19",
        "largest cluster: 258 nodes (256 if all were of the densest kind)",
        "etcd class medium",
        "heartbeat 100 ms, election 1000 ms, quota 8 GiB",
        "kube-apiserver --max-requests-inflight=400: for 2330 pods",
        "1988 - 497 = 1491 pods without the largest node; 1988 - 994 = 994 without rack a",
        "2.8 MB x 2330 pods",
        ">= 2080768",
        "w1: 2 tasks would change something, failed",
        "    kubelet : Configure",
    ):
        assert part in words, part


def test_growth_and_surge_take_addresses_and_size_the_machines() -> None:
    plain, found = planned(dense()), planned(dense(cluster_planned_nodes=100, cluster_surge_nodes=2))
    (now,), (then,) = plain["addresses"]["families"], found["addresses"]["families"]
    assert then["planned"] == now["planned"] + (93 + 2) * 4, "each of the densest kind"
    assert then["largest"] == now["largest"], "how far the network reaches does not follow from what is planned in it"
    assert found["cluster"]["planned_pods"] == plain["cluster"]["pods"] + 93 * 500
    assert found["cluster"]["pods"] == plain["cluster"]["pods"]
    flags = [row for row in found["control_plane"]["flags"] if row["flag"] != "etcd-servers-overrides"]
    assert flags == plain["control_plane"]["flags"], (
        "flags are those of the next run, but for the events, whose place is planned"
    )
    assert found["etcd"]["class"]["name"] == "xlarge"
    assert (plain["typha"]["replicas"], found["typha"]["replicas"]) == (0, 3)
    assert any(
        "102 nodes = 7 now + 93 more (cluster_planned_nodes) + 2 beside them" in one for one in found["warnings"]
    )
    memory = {row["name"]: row["memory_mb"] for row in found["controllers"]}
    assert memory["Prometheus"] == round(2.8 * found["cluster"]["planned_pods"])
    assert "planned for 102 nodes = 7 now" in table(found)
    assert "planned for" not in table(plain)


def test_a_second_etcd_for_events_is_counted_and_shown() -> None:
    without, found = planned(dense()), planned(dense(cluster_etcd_events="always", etcd_events_quota_backend_gib=2.0))
    assert without["etcd"]["events"] is None
    pods = found["cluster"]["planned_pods"]
    assert found["etcd"]["events"]["memory_mib"] == density_control_plane.events_etcd_mib(pods)
    assert {row["events_quota_gib"] for row in found["etcd"]["members"]} == {2.0}
    words = f"{density_control_plane.events_etcd_mib(pods)} MiB of memory, 2 GiB of database and 1 GiB beside it"
    assert words in table(found)
    (flag,) = [row["value"] for row in found["control_plane"]["flags"] if row["flag"] == "etcd-servers-overrides"]
    assert flag.count(":2382") == 3
    for shown, word in ((page(found), True), (page(without), False), (table(without), False)):
        assert ("etcd of the events" in shown, "quota GiB</th>" in shown) == (word, word)
    small = {name: Machine(2, 8 * 1024, "measured") for name in ("cp1", "cp2", "cp3")}
    told = planned(dense(cluster_etcd_events="always"), machines=small)["warnings"]
    assert any("with the events in a second etcd" in one for one in told), "a host that is small for the two is named"


def test_the_end_of_the_network_is_told_for_the_planned_nodes() -> None:
    words = "no room for one more of the densest nodes: 16 nodes are all"
    tight = {"cluster_pod_cidrs": ["10.0.0.0/20"], "cluster_planned_nodes": 16}
    assert any(words in one for one in planned(inventory(tight))["warnings"])
    assert not any("no room" in one for one in planned(inventory({**tight, "cluster_planned_nodes": 15}))["warnings"])


def test_kinds_of_nodes_with_the_same_size_and_other_parameters_have_columns_of_their_own() -> None:
    own = {"w1": {"cluster_kernel_parameters": {"vm.max_map_count": 999999}}}
    words = table(planned(inventory(own=own)))
    (line,) = [line for line in words.splitlines() if "vm.max_map_count" in line]
    assert "999999" in line
    assert ">= 262144" in line


# --- the page

HOSTILE = "</text><script>alert(1)</script>\"'><img src=x onerror=y>\u202e\x00\x1b[31m"


class Reader(HTMLParser):
    """Elements that are not closed, and all tags and attributes."""

    VOID = ("meta", "wbr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.values: list[str] = []
        self.boxes: list[tuple[float, float, dict[str, str]]] = []
        self.size = (0.0, 0.0)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = {name: value or "" for name, value in attrs}
        self.attributes |= set(values)
        self.values += values.values()
        if tag == "svg":
            width, height = values["viewbox"].split()[2:]
            self.size = (float(width), float(height))
        if tag in ("rect", "text"):
            right = float(values["x"]) + float(values.get("width", 0))
            bottom = float(values["y"]) + float(values.get("height", 0))
            assert 0 <= float(values["x"]) <= right <= self.size[0] + 0.5, (values, self.size)
            assert 0 <= float(values["y"]) <= bottom <= self.size[1] + 0.5, (values, self.size)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(words: str) -> Reader:
    reader = Reader()
    reader.feed(words)
    reader.close()
    assert reader.open == []
    return reader


def test_text_is_escaped() -> None:
    assert text("<a href='x'>&\"\u202e\n") == "&lt;a href=&#x27;x&#x27;&gt;&amp;&quot;??"


@pytest.mark.parametrize(
    "given",
    [
        dense(cluster_load_balancer_pools=[{"name": "x", "addresses": ["203.0.113.0/24"]}]),
        inventory(workers=300),
        inventory(racks=False, planes=1, workers=0),
        inventory(own={f"w{number}": {"cluster_rack": f"rack-{number}"} for number in range(1, 5)}),
        inventory({"cluster_network_plugin": "none"}),
    ],
)
def test_the_page_is_whole_and_needs_nothing_from_elsewhere(given: ClusterInput) -> None:
    words = page(planned(given))
    reader = read(words)
    assert not reader.tags & {"script", "link", "iframe", "img", "object", "embed", "base", "form"}
    assert not any(name.startswith("on") for name in reader.attributes)
    assert not reader.attributes & {"href", "src", "style", "action", "xlink:href"}
    assert "url(" not in words
    assert "@import" not in words
    assert "default-src 'none'" in reader.values[2] or any("default-src 'none'" in value for value in reader.values)
    assert "prefers-color-scheme: dark" in words
    for head in ("Racks", "Address blocks", "What a loss leaves", "Pools", "Kernel parameters", "Controllers"):
        assert f"<h2>{head}</h2>" in words


def test_hostile_names_stay_text() -> None:
    given = inventory({"cluster_rack": HOSTILE, "cluster_name": "x"}, groups={HOSTILE: ["w1", "w2", "w3", "w4"]})
    hosts = tuple(replace(host, name=f"{HOSTILE}{host.name}") for host in given.hosts)
    groups = {name: [f"{HOSTILE}{host}" for host in members] for name, members in given.groups.items()}
    changes = {"hosts": {HOSTILE: {"changed": 1, "failed": False, "unreachable": True, "tasks": [HOSTILE]}}}
    found = planned(replace(given, hosts=hosts, groups=groups), site_changes=changes)
    found["cluster"]["name"] = HOSTILE
    found["pools"][0]["machines"][0]["sysctls"][0]["reason"] = HOSTILE
    found["control_plane"]["flags"][0]["value"] = HOSTILE
    words = page(found)
    reader = read(words)
    assert not reader.tags & {"script", "img"}
    assert not any(name.startswith("on") for name in reader.attributes)
    assert words.count("&lt;script&gt;") > 10
    assert not re.search(r"[\x00\x1b\u202e]", words)
    assert not re.search(r"[\x00\x1b\u202e]", table(found))


def test_the_picture_has_a_square_for_each_node_as_far_as_there_is_room() -> None:
    words = page(planned(dense()))
    assert len(re.findall(r"<title>w\d:", words)) == 4
    assert len(re.findall(r"<title>cp\d:", words)) == 3
    many = page(planned(inventory(workers=300)))
    assert "150 nodes with 110 pods each, 54 of them not drawn" in many
    assert len(re.findall(r"<title>cp\d: 110 pods, etcd</title>", words)) == 3


def test_a_rack_that_etcd_cannot_lose_says_so() -> None:
    fatal, (head, *racks) = "Its loss takes etcd's quorum.", page(planned(dense())).split('<div class="rack">')
    assert [("Rack a" in rack, fatal in rack) for rack in racks] == [(True, True), (False, False)]
    assert fatal not in head


def test_nodes_to_come_are_in_the_picture_of_the_blocks() -> None:
    words = page(planned(dense(cluster_planned_nodes=60, cluster_surge_nodes=2)))
    assert "<title>nodes to come: 220 of 1024 blocks</title>" in words
    assert "Planned for 62 nodes = 7 now + 53 more" in words
    assert "nodes to come" not in page(planned(dense()))


def test_cells_of_a_table() -> None:
    words = html_table(("Name", "Number", "None"), [("a_b/c", 1234, ""), ("<", 5, "")], ["bad"])
    assert '<th class="number">Number</th>' in words
    assert '<tr class="bad"><td data-head="Name"><span>a_<wbr>b/<wbr>c</span></td>' in words
    assert '<td data-head="Number" class="number"><span>1,234</span></td>' in words
    assert '<td data-head="None" class="empty"><span></span></td>' in words
    assert '<tr><td data-head="Name"><span>&lt;</span></td>' in words


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("NodeRestriction,EventRateLimit", ["NodeRestriction,", "EventRateLimit"]),
        ("fs.inotify.max", ["fs.", "inotify.", "max"]),
        (".255 and 1, 2", [".255 and 1, 2"]),
        ("--a=/etc/x", ["--a=/etc/", "x"]),
        ("0.3 ms > 1 sample", ["0.3&nbsp;ms &gt;&nbsp;1 sample"]),
        ("16 CPUs, 5 %", ["16&nbsp;CPUs, 5&nbsp;%"]),
        ("a.b<", ["a.", "b&lt;"]),
    ],
)
def test_long_names_may_go_on_in_the_next_line(value: str, parts: list[str]) -> None:
    assert breakable(value).split("<wbr>") == parts


def test_the_picture_of_the_blocks_is_to_scale() -> None:
    words = page(planned(dense(cluster_pod_cidrs=["10.128.0.0/18"])))
    widths = [
        float(width)
        for width, title in re.findall(r'width="([\d.]+)" height="10"[^>]*><title>(.*?)</title>', words)
        if "of 64 blocks" in title
    ]
    assert widths == pytest.approx([1000 * blocks / 64 for blocks in (2, 1, 8, 8)], rel=1e-4)
