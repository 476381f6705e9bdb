"""_machine: recorded outputs in, observations out; a pure judge that names everything at once."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _machine as core

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
    "kubelet_version": "",
    "managed": False,
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
    "kubernetes_version": "v1.36.3",
    "state_dir": "/var/lib/bare-metal-kubernetes",
}


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
        ("kubelet_version", "v1.35.4", "kubernetes_version"),
        ("kubelet_version", "v1.36.30", "kubernetes_version"),
        ("kubernetes_paths", ["/etc/kubernetes/kubelet.conf"], "stale_cluster"),
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
        ("listeners", {"6443": ["kube-apiserver"]}),
        ("listeners", {"22": ["sshd"]}),
        ("kubelet_version", "v1.36.3"),
        ("os|version_id", "12"),
        ("kernel", "5.13"),
        ("kernel", "10.0-rc1"),
    ],
)
def test_what_is_no_problem(path: str, value: Any) -> None:
    assert checks(changed(path, value)) == []


def test_only_a_node_that_joined_has_a_version_to_keep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        core, "_output", lambda argv: "Kubernetes v1.36.3\n" if argv == ["kubelet", "--version"] else ""
    )
    kubeconfig = tmp_path / "kubelet.conf"
    assert core.member_version(str(kubeconfig)) == ""
    kubeconfig.write_text("")
    assert core.member_version(str(kubeconfig)) == "v1.36.3"


def test_a_minor_version_stands_for_its_major() -> None:
    machine = changed("os", {"id": "rocky", "version_id": "9.4", "id_like": "", "pretty_name": ""})
    assert checks(machine) == []


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


def test_a_machine_that_is_managed_already_keeps_its_cluster_and_its_full_disk() -> None:
    machine = {**changed("disks|/|free_mib", 5), "kubernetes_paths": ["/etc/kubernetes/kubelet.conf"], "managed": True}
    assert checks(machine) == []


def test_all_problems_come_at_once_and_a_waiver_takes_out_one_by_name() -> None:
    machine = {**FITTING, "cpus": 1, "memory_mib": 1, "cgroup_version": 1}
    found = core.report(machine, NEED, {"memory": "a test machine"})
    assert [problem["check"] for problem in found["problems"]] == ["cpus", "cgroup"]
    assert found["message"].splitlines()[1].startswith("cgroup: ")
    assert [(problem["check"], problem["reason"]) for problem in found["waived"]] == [("memory", "a test machine")]


# --- parsers --------------------------------------------------------------------------------------------------------------------------------


def test_os_release() -> None:
    text = '# c\nNAME="Rocky Linux"\nVERSION_ID="9.4"\nID="rocky"\nID_LIKE="rhel centos fedora"\nPRETTY_NAME=\'Rocky 9.4\'\nEMPTY=\n'
    assert core.parse_os_release(text) == {
        "id": "rocky",
        "version_id": "9.4",
        "id_like": "rhel centos fedora",
        "pretty_name": "Rocky 9.4",
    }
    assert core.parse_os_release("") == {"id": "", "version_id": "", "id_like": "", "pretty_name": ""}


def test_memory_and_swap() -> None:
    assert core.parse_meminfo("MemTotal:       24684084 kB\nSwapTotal:  2097152 kB\n") == {
        "memory_mib": 24105,
        "swap_mib": 2048,
    }
    text = "Filename\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/zram0  partition 100 0 -2\n/a\\040b file 1 0 -3\n"
    assert core.parse_swaps(text) == ["/dev/zram0", "/a b"]


@pytest.mark.parametrize(("text", "numbers"), [("0\n", [0]), ("0-1,4", [0, 1, 4]), ("", [])])
def test_ranges(text: str, numbers: list[int]) -> None:
    assert core.parse_range(text) == numbers


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
/dev/sdb1 /var/lib xfs rw 0 0
/dev/sdc1 /var/lib/etcd xfs rw 0 0
tmpfs /var/lib/etcd tmpfs rw 0 0
/dev/sdd1 /var/library ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "device"),
    [
        ("/", "/dev/sda1"),
        ("/etc", "/dev/sda1"),
        ("/var/lib", "/dev/sdb1"),
        ("/var/lib/etcd/member", "tmpfs"),
        ("/var/lib/other", "/dev/sdb1"),
    ],
)
def test_the_mount_of_a_path(path: str, device: str) -> None:
    assert core.mount_of(path, core.parse_mounts(MOUNTS))["device"] == device


def test_listeners() -> None:
    text = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:192B 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0
"""
    assert core.parse_listeners(text) == {6443: [4711], 22: [4713]}
    assert core.parse_listeners("") == {}


def test_own_listeners_are_found_by_name() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        comm = Path("/proc/self/comm").read_text().strip()
        assert core.observe_listeners([port, 1]) == {str(port): [comm]}


def test_interfaces_without_those_of_pods() -> None:
    text = json.dumps(
        [
            {"ifname": "lo", "mtu": 65536, "addr_info": [{"local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
            {
                "ifname": "bond0.100",
                "mtu": 9000,
                "operstate": "UP",
                "address": "aa:bb:cc:dd:ee:ff",
                "addr_info": [
                    {"local": "10.0.0.11", "prefixlen": 24, "scope": "global"},
                    {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
                    {"local": "fd00::11", "prefixlen": 64, "scope": "global"},
                ],
            },
            {"ifname": "cali0123456789a", "mtu": 9000, "addr_info": []},
            {},
        ]
    )
    assert core.parse_interfaces(json.loads(text)) == [
        {
            "name": "bond0.100",
            "mac": "aa:bb:cc:dd:ee:ff",
            "mtu": 9000,
            "state": "up",
            "addresses": ["10.0.0.11/24", "fd00::11/64"],
        }
    ]


def test_default_routes_with_one_and_with_several_next_hops() -> None:
    routes: list[dict[str, Any]] = [
        {"dst": "default", "gateway": "10.0.0.1", "dev": "bond0"},
        {
            "dst": "default",
            "nexthops": [
                {"gateway": "10.1.0.1", "dev": "eno1"},
                {"via": {"family": "inet6", "host": "fe80::1"}, "dev": "eno2"},
            ],
        },
        {"dst": "default", "dev": "wg0"},
    ]
    assert core.parse_default_routes(routes) == [
        {"gateway": "10.0.0.1", "interface": "bond0"},
        {"gateway": "10.1.0.1", "interface": "eno1"},
        {"gateway": "fe80::1", "interface": "eno2"},
        {"gateway": "", "interface": "wg0"},
    ]


CHRONY = "A29FC87B,time.example.org,3,1763786400.123,0.000012,-0.000004,0.000020,-1.2,0.0,0.1,0.02,0.001,64.2,Normal\n"
LOST = "7F7F0101,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.0,1.0,0.0,Not synchronised\n"


@pytest.mark.parametrize(
    ("timedatectl", "chronyc", "expected"),
    [
        ("", CHRONY, {"synchronised": True, "source": "chrony", "offset_seconds": 0.000012}),
        ("NTPSynchronized=yes\n", LOST, {"synchronised": False, "source": "chrony", "offset_seconds": None}),
        ("NTP=yes\nNTPSynchronized=yes\n", "", {"synchronised": True, "source": "timedatectl", "offset_seconds": None}),
        (
            "NTPSynchronized=no\n",
            "506 Cannot talk to daemon\n",
            {"synchronised": False, "source": "timedatectl", "offset_seconds": None},
        ),
        ("", "", {"synchronised": False, "source": "unknown", "offset_seconds": None}),
    ],
)
def test_time(timedatectl: str, chronyc: str, expected: dict[str, Any]) -> None:
    assert core.parse_time_sync(timedatectl, chronyc) == expected


@pytest.mark.parametrize(("manager", "expected"), [("apt", ["gone", "half"]), ("dnf", ["gone", "half"]), ("", [])])
def test_missing_packages(monkeypatch: pytest.MonkeyPatch, manager: str, expected: list[str]) -> None:
    monkeypatch.setattr(core, "_output", lambda argv: "there installed\nhalf config-files\nold-there installed\n")
    monkeypatch.setattr(core, "_rpm_provides", lambda name: name == "there")
    assert core.missing_packages(manager, ["there", "half", "gone"]) == expected


def test_this_very_machine_can_be_looked_at_without_any_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    need = {
        "min_free_mib": {"/no/such/path": 1},
        "commands": ["ip"],
        "ports": [{"port": 1, "process": "x"}],
        "state_dir": str(tmp_path),
    }
    machine = core.collect(need)
    assert machine["cpus"] > 0
    assert machine["memory_mib"] > 0
    assert machine["disks"]["/no/such/path"]["mount"]
    assert machine["commands"] == {"ip": ""}
    assert machine["managed"] is True
    assert json.loads(json.dumps(machine)) == machine
    assert [problem.check for problem in core.judge(machine, {"min_cpus": 10**6})] >= ["cpus"]
