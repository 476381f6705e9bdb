"""_machine_judge: a machine as observed in, everything that is wrong with it out."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _machine_judge as core

FITTING: dict[str, Any] = {
    "architecture": "x86_64",
    "cpus": 40,
    "memory_mib": 515000,
    "kernel": "6.12.41+deb13-amd64",
    "hostname": "node1",
    "os": {"id": "debian", "version_id": "13", "id_like": "", "pretty_name": "Debian GNU/Linux 13 (trixie)"},
    "virtualization": "none",
    "cgroup_version": 2,
    "interfaces": [
        {
            "name": "bond0",
            "mac": "aa:00",
            "mtu": 9000,
            "state": "up",
            "speed_mbps": 25000,
            "addresses": ["10.0.0.11/24", "fd00::11/64"],
        },
        {"name": "eno4", "mac": "aa:01", "mtu": 1500, "state": "up", "speed_mbps": 1000, "addresses": ["192.0.2.9/24"]},
    ],
    "disks": {"/": {"free_mib": 90000, "size_mib": 100000, "mount": "/", "type": "ext4", "device": "/dev/sda1"}},
    "time_sync": {"synchronised": True, "source": "chrony", "offset_seconds": 0.0001},
    "machine_id": "0123456789abcdef0123456789abcdef",
    "listeners": {},
    "kubernetes_paths": [],
    "other_distributions": [],
    "managed": False,
    "swap_devices": [],
    "firewalls": [],
    "other_runtimes": [],
    "nameservers": ["10.0.0.53"],
    "resolved_nameservers": [],
    "hostname_addresses": ["10.0.0.11"],
    "endpoints": {"registry": "open", "API endpoint": "refused"},
    "disk_qualification": {
        "at": 1763786400.0,
        "age_days": 1.0,
        "verdict": "good",
        "p99_ns": 2_100_000,
        "profile": "standard",
        "reasons": [],
        "kernel": "6.12.41+deb13-amd64",
        "kernel_now": "6.12.41+deb13-amd64",
        "other_disk": [],
        "other_settings": [],
    },
}
NEED: dict[str, Any] = {
    "min_cpus": 2,
    "min_memory_mib": 1700,
    "architecture": "x86_64",
    "min_kernel": "5.13",
    "supported_os": {"debian": ["12", "13"], "rocky": ["9"]},
    "cgroup_versions": [2],
    "metal": True,
    "time_synchronised": True,
    "hostname": True,
    "node_ip": "10.0.0.11",
    "min_mtu": 1500,
    "min_free_mib": {"/": 10240},
    "ports": [{"port": 6443, "process": "kube-apiserver"}],
    "state_dir": "/var/lib/bare-metal-kubernetes",
    "name_resolution": True,
    "endpoints": [
        {"name": "registry", "url": "http://10.0.0.5:5000", "why": "Images come from it."},
        {"name": "API endpoint", "url": "https://10.0.0.6:6443", "may_refuse": True},
    ],
    "only_our_runtime": True,
    "no_firewall": True,
    "swap": "turned_off",
    "disk_qualification": {"directory": "/var/lib/etcd", "required": False},
}
LIVE = {
    "pod_cidrs": ["10.244.0.0/16"],
    "service_cidrs": ["10.96.0.0/16"],
    "domain": "cluster.local",
    "etcd_servers": ["10.0.0.11"],
    "stacked_etcd": False,
    "network_plugin": "calico",
    "pod_families": [4],
}
QUALIFIED = FITTING["disk_qualification"]


def changed(path: str, value: Any) -> dict[str, Any]:
    machine = copy.deepcopy(FITTING)
    target = machine
    *parents, last = path.split("|")
    for name in parents:
        target = target[name]
    target[last] = value
    return machine


def checks(machine: dict[str, Any], need: dict[str, Any] | None = None) -> list[str]:
    return [problem.check for problem in core.judge(machine, NEED if need is None else need)]


def test_a_machine_that_fits_has_no_problems() -> None:
    assert checks(FITTING) == []


@pytest.mark.parametrize(
    ("path", "value", "check"),
    [
        ("cpus", 1, "cpus"),
        ("memory_mib", 1024, "memory"),
        ("architecture", "aarch64", "architecture"),
        ("kernel", "5.4.0-216-generic", "kernel"),
        ("kernel", "", "kernel"),
        ("os|id", "alpine", "supported_os"),
        ("os|version_id", "11", "supported_os"),
        ("os|version_id", "130", "supported_os"),
        ("cgroup_version", 1, "cgroup"),
        ("virtualization", "kvm", "metal"),
        ("time_sync|synchronised", False, "time"),
        ("hostname", "Node_1", "hostname"),
        ("hostname", "localhost.localdomain", "hostname"),
        ("hostname", "", "hostname"),
        ("machine_id", "", "machine_id"),
        ("machine_id", "uninitialized", "machine_id"),
        ("interfaces", [], "node_ip"),
        ("disks|/", {"free_mib": 5, "size_mib": 9, "mount": "/", "type": "ext4", "device": "d"}, "disk"),
        ("listeners", {"6443": ["nginx"]}, "ports"),
        ("listeners", {"6443": ["kube-apiserver", "nginx"]}, "ports"),
        ("listeners", {"6443": ["?"]}, "ports"),
        ("other_distributions", ["k3s"], "other_distribution"),
        ("kubernetes_paths", ["/etc/kubernetes/kubelet.conf"], "stale_cluster"),
        ("hostname_addresses", [], "hostname_resolves"),
        ("hostname_addresses", None, "hostname_resolves"),
        ("nameservers", ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"], "resolv_conf"),
        ("nameservers", ["127.0.0.53"], "resolv_conf"),
        ("nameservers", ["::1", "127.0.0.1"], "resolv_conf"),
        ("endpoints|registry", "refused", "endpoint"),
        ("endpoints|registry", "no address", "endpoint"),
        ("endpoints|API endpoint", "timed out", "endpoint"),
        ("other_runtimes", ["docker"], "container_runtime"),
        ("other_runtimes", ["podman"], "container_runtime"),
        ("firewalls", ["firewalld"], "firewall"),
        ("swap_devices", ["/dev/zram0"], "swap"),
        ("disk_qualification", {}, "disk_qualification"),
        ("disk_qualification", {"error": "schema 2, not 1"}, "disk_qualification"),
        ("disk_qualification", {**QUALIFIED, "verdict": "fail"}, "disk_qualification"),
        ("disk_qualification", {**QUALIFIED, "verdict": "implausible"}, "disk_qualification"),
        ("disk_qualification", {**QUALIFIED, "verdict": "insufficient"}, "disk_qualification"),
    ],
)
def test_each_problem_is_found_explained_and_not_checked_unless_asked(path: str, value: Any, check: str) -> None:
    machine = changed(path, value)
    problems = core.judge(machine, NEED)
    assert [problem.check for problem in problems] == [check]
    assert all((problems[0].what, problems[0].found, problems[0].why, problems[0].fix))
    if check not in ("machine_id", "other_distribution"):
        assert checks(machine, {}) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # Exactly what is asked for is enough.
        ("cpus", NEED["min_cpus"]),
        ("memory_mib", NEED["min_memory_mib"]),
        ("disks|/|free_mib", NEED["min_free_mib"]["/"]),
        ("nameservers", ["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        ("listeners", {"6443": ["kube-apiserver"]}),
        ("listeners", {"22": ["sshd"]}),
        ("os|version_id", "12"),
        ("kernel", "5.13"),
        ("kernel", "10.0-rc1"),
        ("endpoints|API endpoint", "refused"),
        ("nameservers", []),
        ("nameservers", ["127.0.0.1", "10.0.0.1"]),
        ("nameservers", ["fe80::1%eth0"]),
        ("disk_qualification", {**QUALIFIED, "verdict": "excellent"}),
        ("disk_qualification", {**QUALIFIED, "verdict": "pass"}),
    ],
)
def test_what_is_no_problem(path: str, value: Any) -> None:
    assert checks(changed(path, value)) == []


def level(machine: dict[str, Any], **need: Any) -> str:
    (problem,) = core.judge(machine, need)
    return problem.level


@pytest.mark.parametrize(
    ("machine", "need", "expected"),
    [
        (changed("time_sync|synchronised", False), {"time_synchronised": True}, "error"),
        (changed("time_sync|synchronised", False), {"time_synchronised": False}, "warning"),
        (changed("other_runtimes", ["docker", "podman"]), {"only_our_runtime": True}, "error"),
        (changed("other_runtimes", ["podman"]), {"only_our_runtime": True}, "warning"),
        (changed("swap_devices", ["/dev/sda2"]), {"swap": "refused"}, "error"),
        (changed("swap_devices", ["/dev/sda2"]), {"swap": "turned_off"}, "warning"),
        (changed("firewalls", ["ufw"]), {"no_firewall": True}, "warning"),
        (changed("hostname_addresses", []), {"name_resolution": True}, "warning"),
        (changed("virtualization", "kvm"), {"metal": True}, "error"),
    ],
)
def test_what_is_an_error_and_what_a_warning(machine: dict[str, Any], need: dict[str, Any], expected: str) -> None:
    assert level(machine, **need) == expected


@pytest.mark.parametrize(("versions", "expected"), [({}, "error"), ({"etcd": "v3.7.3"}, "warning")])
def test_the_disk_of_a_member_that_runs_is_not_measured_again_without_need(
    versions: dict[str, str], expected: str
) -> None:
    machine = {**changed("disk_qualification|age_days", 400.0), "versions": versions}
    need = {"directory": "/var/lib/etcd", "required": True, "max_age_days": 365}
    assert level(machine, disk_qualification=need) == expected
    assert checks(machine, {"disk_qualification": {}}) == []


def test_a_local_resolver_is_fine_when_the_servers_behind_it_are_known() -> None:
    machine = {**FITTING, "nameservers": ["127.0.0.53"], "resolved_nameservers": ["10.0.0.53"]}
    assert checks(machine) == []


def test_swap_that_is_wanted_is_no_problem() -> None:
    assert checks(changed("swap_devices", ["/dev/sda2"]), {"swap": "tolerated"}) == []


@pytest.mark.parametrize("reason", ["", "  ", None, True, 1, ["because"]])
def test_without_a_reason_nothing_is_waived(reason: Any) -> None:
    found = core.report(changed("cpus", 1), NEED, {"cpus": reason})
    assert [problem["check"] for problem in found["problems"]] == ["cpus"]
    assert found["waived"] == []
    assert found["message"].startswith("cpus: ")


def test_warnings_are_returned_and_do_not_refuse() -> None:
    found = core.report(changed("firewalls", ["ufw"]), NEED, {})
    assert [(problem["check"], problem["level"]) for problem in found["problems"]] == [("firewall", "warning")]
    assert found["message"] == ""


def test_a_minor_version_stands_for_its_major() -> None:
    machine = changed("os", {"id": "rocky", "version_id": "9.4", "id_like": "", "pretty_name": ""})
    assert checks(machine) == []


@pytest.mark.parametrize(
    ("address", "source", "expected"),
    [
        ("198.18.7.1", "10.0.0.111", []),
        ("198.18.7.1", "", []),
        ("198.18.7.2", "", []),
        ("10.0.0.99", "10.0.0.111", ["announced_address"]),
        ("198.18.7.1", "10.0.1.111", ["announcing_source"]),
        ("fd00::1", "fd00::2", ["announcing_source"]),
        ("", "", []),
    ],
)
def test_an_announced_address_is_in_no_subnet_and_its_source_in_the_nodes(
    address: str, source: str, expected: list[str]
) -> None:
    places = [
        {"name": "lo", "mtu": 65536, "addresses": ["127.0.0.1/8", "198.18.7.1/32"]},
        {"name": "eth0", "mtu": 1500, "addresses": ["10.0.0.11/24", "10.0.0.111/32", "fe80::1/64"]},
    ]
    asked = {"node_ip": "10.0.0.11", "announced_address": address, "announcing_source": source}
    assert checks({**FITTING, "interfaces": places}, asked) == expected


@pytest.mark.parametrize(
    ("node_ip", "min_mtu", "expected"),
    [
        ("10.0.0.11", 9000, []),
        ("10.0.0.11", 9001, ["mtu"]),
        ("192.0.2.9", 9000, ["mtu"]),
        ("fd00:0::11", 1500, []),
        ("10.0.0.12", 0, ["node_ip"]),
        ("node1.example.org", 0, ["node_ip"]),
    ],
)
def test_the_nodes_address_has_to_be_one_of_the_machine(node_ip: str, min_mtu: int, expected: list[str]) -> None:
    assert checks(FITTING, {"node_ip": node_ip, "min_mtu": min_mtu}) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [({}, ["link_types"] * 2), ({"vxlan": True}, ["link_types"]), ({"vxlan": True, "wireguard": True}, [])],
)
def test_the_kernel_makes_the_links_that_are_asked_for(found: dict[str, bool], expected: list[str]) -> None:
    assert checks({**FITTING, "link_types": found}, {"link_types": ["vxlan", "wireguard"]}) == expected


def test_a_machine_that_is_managed_already_keeps_its_cluster_and_its_full_disk() -> None:
    machine = {**changed("disks|/|free_mib", 5), "kubernetes_paths": ["/etc/kubernetes/kubelet.conf"], "managed": True}
    assert checks(machine) == []


@pytest.mark.parametrize(("exists", "found"), [(True, []), (False, ["disk"])])
def test_what_is_new_on_a_managed_machine_has_to_fit(exists: bool, found: list[str]) -> None:
    machine = {**changed("disks|/|free_mib", 5), "managed": True}
    machine["disks"]["/"]["exists"] = exists
    assert checks(machine) == found


def test_all_problems_come_at_once_and_a_waiver_takes_out_one_by_name() -> None:
    machine = {**FITTING, "cpus": 1, "memory_mib": 1, "cgroup_version": 1}
    found = core.report(machine, NEED, {"memory": "a test machine"})
    assert [problem["check"] for problem in found["problems"]] == ["cpus", "cgroup"]
    assert found["message"].splitlines()[1].startswith("cgroup: ")
    assert [(problem["check"], problem["reason"]) for problem in found["waived"]] == [("memory", "a test machine")]


@pytest.mark.parametrize(
    ("wish", "value", "check"),
    [
        ("pod_cidrs", ["10.0.0.0/8"], "live_pod_cidrs"),
        ("service_cidrs", ["10.97.0.0/16"], "live_service_cidrs"),
        ("service_cidrs", ["fd00::/112"], "live_families"),
        ("domain", "example.org", "live_domain"),
        ("network_plugin", "cilium", "live_network_plugin"),
        ("etcd_addresses", ["10.0.0.99"], "live_etcd"),
    ],
)
def test_what_a_live_cluster_cannot_change_is_an_error(wish: str, value: Any, check: str) -> None:
    machine = {**FITTING, "managed": True, "live_cluster": LIVE}
    need = {
        "live_cluster": {"pod_cidrs": ["10.244.0.0/16"], "domain": "cluster.local", "etcd_addresses": ["10.0.0.11"]}
    }
    assert checks(machine, need) == []
    need["live_cluster"][wish] = value
    (problem,) = core.judge(machine, need)
    assert (problem.check, problem.level) == (check, "error")
    assert checks({**machine, "managed": False}, need) == []
    assert checks(machine, {}) == []


SSH = {"address": "198.51.100.7", "port": 40000, "server_address": "10.0.0.11", "server_port": 22}


@pytest.mark.parametrize(
    ("client", "firewall", "words"),
    [
        (SSH, {"admin_cidrs": ["198.51.100.0/24"], "ssh_port": 22}, ""),
        (SSH, {"admin_cidrs": ["192.0.2.0/24"], "ssh_port": 22}, "which is not in cluster_firewall_admin_cidrs (192.0.2.0/24)"),
        (SSH, {"admin_cidrs": ["198.51.100.0/24"], "ssh_port": "2222"}, "the firewall would open port 2222"),
        (SSH, {}, ""),
        ({}, {"admin_cidrs": ["192.0.2.0/24"], "ssh_port": 22}, ""),  # not by ssh: nobody can tell
    ],
)  # fmt: skip
def test_the_firewall_of_the_cluster_may_not_shut_out_the_controller(
    client: dict[str, Any], firewall: dict[str, Any], words: str
) -> None:
    found = core.judge(changed("ssh_client", client), {**NEED, "firewall": firewall})
    assert [problem.check for problem in found] == (["firewall_admits"] if words else [])
    assert all(words in problem.why for problem in found)


NIC = {"name": "bond0", "mac": "", "mtu": 1500, "state": "UP", "addresses": ["10.0.0.11/24", "2001:db8::b/64"]}
LOOPBACK = {"name": "lo", "mac": "", "mtu": 65536, "state": "UNKNOWN", "addresses": ["192.0.2.1/8"]}


@pytest.mark.parametrize(
    ("addresses", "interfaces", "mode", "expected"),
    [
        (["10.0.0.200-10.0.0.220", "10.0.0.64/28", "2001:db8::100/120"], [], "metallb_l2", []),
        (["10.0.0.200-10.0.0.220"], ["bond0"], "metallb_l2", []),
        (["10.0.0.200-10.0.0.220"], ["bond1"], "metallb_l2", [("load_balancer_interfaces", "error")]),
        (["10.0.0.200-10.0.1.3"], [], "metallb_l2", [("load_balancer_segment", "warning")]),
        (["10.0.0.0/23"], [], "metallb_l2", [("load_balancer_segment", "warning")]),
        (["192.0.2.0/28"], [], "metallb_l2", [("load_balancer_segment", "warning")]),
        (["192.0.2.0/28"], ["bond1"], "metallb_bgp", []),
    ],
)
def test_pools_of_layer_2_on_a_machine(
    addresses: list[str], interfaces: list[str], mode: str, expected: list[tuple[str, str]]
) -> None:
    pool = {"name": "public", "addresses": addresses, "interfaces": interfaces}
    machine = {**FITTING, "interfaces": [NIC, LOOPBACK]}
    found = core.judge(machine, {"load_balancer": {"mode": mode, "pools": [pool], "announced": [pool]}})
    assert [(p.check, p.level) for p in found if p.check.startswith("load_balancer")] == expected


def test_addresses_of_services_are_judged_where_the_api_was_asked() -> None:
    live = {
        "mode": "metallb_l2",
        "pools": {"public": ["192.0.2.0/28"]},
        "services": [
            {
                "name": "web",
                "namespace": "shop",
                "labels": {},
                "namespace_labels": {},
                "addresses": ["192.0.2.5"],
                "pool": "",
            }
        ],
    }
    machine = {**FITTING, "managed": True, "live_load_balancer": live}
    need = {"load_balancer": {"mode": "metallb_l2", "pools": [], "live": True}}
    assert "live_load_balancer_pools" in {problem.check for problem in core.judge(machine, need)}
    need["load_balancer"]["live"] = False
    assert core.judge(machine, need) == []
