"""_machine: recorded outputs in, observations out."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _machine as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._machine_judge import judge

RESULT = {"at": 1763786400, "verdict": "fail", "profile": "loaded", "p99_ns": 41_500_000, "reasons": ["slow"]}


def test_a_spoilt_line_of_os_release_is_an_unknown_system_not_a_crash() -> None:
    found = core.parse_os_release('ID=debian\nPRETTY_NAME="Debian\nVERSION_ID="13"\n')
    assert found == {"id": "debian", "version_id": "13", "id_like": "", "pretty_name": ""}


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


def test_links_have_the_speed_that_the_kernel_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in (("eno1", "25000\n"), ("eno2", "-1\n")):
        (tmp_path / "class/net" / name).mkdir(parents=True)
        (tmp_path / "class/net" / name / "speed").write_text(text)
    monkeypatch.setattr(
        core, "_json", lambda argv: [{"ifname": name, "mtu": 9000} for name in ("eno1", "eno2", "eno3")]
    )
    speeds = [(entry["name"], entry["speed_mbps"], entry["mtu"]) for entry in core.observe_interfaces(str(tmp_path))]
    assert speeds == [("eno1", 25000, 9000), ("eno2", 0, 9000), ("eno3", 0, 9000)]


def test_disks_without_what_is_made_of_them(tmp_path: Path) -> None:
    for name, files in {
        "nvme0n1": {"size": "1875385008\n", "queue/rotational": "0\n", "device/model": "FAST 960   \n"},
        "sda": {"size": "7814037168\n", "queue/rotational": "1\n", "device/vendor": "X"},
        "dm-0": {"size": "4096\n", "queue/rotational": "0\n"},
        "loop0": {"size": "8\n"},
    }.items():
        for path, text in files.items():
            (tmp_path / "block" / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "block" / name / path).write_text(text)
    assert core.observe_block_devices(str(tmp_path)) == [
        {"name": "nvme0n1", "size_mib": 915715, "rotational": False, "model": "FAST 960"},
        {"name": "sda", "size_mib": 3815447, "rotational": True, "model": ""},
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
    need: dict[str, Any] = {
        "min_free_mib": {"/no/such/path": 1},
        "commands": ["ip"],
        "ports": [{"port": 1, "process": "x"}],
        "state_dir": str(tmp_path),
        "name_resolution": True,
        "endpoints": [{"name": "nowhere", "url": "http://127.0.0.1:1"}],
        "disk_qualification": {"directory": "/var/lib/etcd"},
        "live_cluster": {"domain": "cluster.local"},
    }
    (tmp_path / "disk-qualification.json").write_text(json.dumps({"schema": 1, "results": {"/var/lib/etcd/": RESULT}}))
    machine = core.collect(need)
    assert machine["cpus"] > 0
    assert machine["memory_mib"] > 0
    assert machine["disks"]["/no/such/path"]["mount"]
    assert [machine["disks"][path]["exists"] for path in ("/no/such/path", "/")] == [False, True]
    assert machine["commands"] == {"ip": ""}
    assert machine["managed"] is False
    assert machine["epoch_seconds_begun"] <= machine["epoch_seconds"] <= time.time()
    assert machine["endpoints"] == {"nowhere": "refused"}
    assert machine["disk_qualification"]["verdict"] == "fail"
    assert "domain" in machine["live_cluster"]
    machine["live_cluster"] = json.loads(json.dumps(machine["live_cluster"]))  # its tuples are lists then
    assert machine["hostname_addresses"] is None or isinstance(machine["hostname_addresses"], list)
    assert json.loads(json.dumps(machine)) == machine
    # Whatever was found, and all of it, can be judged.
    need |= {
        "min_cpus": 10**6,
        "time_synchronised": True,
        "swap": "refused",
        "only_our_runtime": True,
        "no_firewall": True,
    }
    found = [problem.check for problem in judge(machine, need)]
    assert {"cpus", "endpoint", "disk_qualification"} <= set(found)


def test_active_units_are_those_whose_line_says_so() -> None:
    names = ("systemd-networkd", "NetworkManager", "firewalld", "ufw")
    assert core.parse_units(names, "active\ninactive\nfailed\nactive\n") == ["systemd-networkd", "ufw"]
    assert core.parse_units(names, "") == []


def test_nameservers() -> None:
    text = "# made by hand\nsearch example.org\nnameserver 10.0.0.53\nnameserver fd00::53 # second\n;nameserver 1.2.3.4\nnameserver\n"
    assert core.parse_nameservers(text) == ["10.0.0.53", "fd00::53"]


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("ENABLED=yes\n", True),
        ("#ENABLED=yes\nENABLED=no\n", False),
        ('LOGLEVEL=low\nENABLED="yes"\n', True),
        ("", False),
    ],
)
def test_ufw(text: str, on: bool) -> None:
    assert core.parse_ufw(text) is on


@pytest.mark.parametrize(
    ("units", "ufw", "expected"),
    [
        ([], "ENABLED=yes\n", []),
        (["ufw"], "ENABLED=no\n", []),
        (["ufw"], "ENABLED=yes\n", ["ufw"]),
        (["firewalld", "NetworkManager"], "", ["firewalld"]),
    ],
)
def test_a_firewall_is_on_when_its_service_and_its_configuration_say_so(
    monkeypatch: pytest.MonkeyPatch, units: list[str], ufw: str, expected: list[str]
) -> None:
    monkeypatch.setattr(core, "_read", lambda path: ufw if path == "/etc/ufw/ufw.conf" else "")
    assert core.observe_firewalls(units) == expected


STORED = json.dumps({"schema": 1, "results": {"/var/lib/etcd": RESULT, "/data/": {**RESULT, "verdict": "good"}}})


def test_endpoints_are_asked_all_at_once_and_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        urls = {
            "open": f"http://127.0.0.1:{server.getsockname()[1]}/v2/",
            "refused": f"https://127.0.0.1:{closed.getsockname()[1]}",
            "no port": "http://127.0.0.1:seventy",
        }
        found = core.observe_network("", [{"name": name, "url": url} for name, url in urls.items()])
    assert found["hostname_addresses"] == []
    assert found["endpoints"]["open"] == "open"
    assert found["endpoints"]["refused"] == "refused"
    assert "seventy" in found["endpoints"]["no port"]


def test_nobody_waits_for_a_resolver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both answer only after the observation is over: with a wait for them there would be answers in it."""
    over, answered = threading.Event(), []

    def late(*_arguments: Any) -> str:
        over.wait(60)
        answered.append("late")
        return "late"

    monkeypatch.setattr(core, "addresses_of", late)
    monkeypatch.setattr(core, "connect", late)
    found = core.observe_network("node1", [{"name": "registry", "url": "http://10.0.0.5"}], seconds=0.2)
    assert answered == []
    over.set()
    assert found == {"hostname_addresses": None, "endpoints": {"registry": "timed out"}}


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (socket.gaierror(-2, "Name or service not known"), "no address"),
        (TimeoutError("timed out"), "timed out"),
        (OSError(113, "No route to host"), "No route to host"),
    ],
)
def test_why_nothing_answers(monkeypatch: pytest.MonkeyPatch, raised: OSError, expected: str) -> None:
    asked = []

    def fail(address: tuple[str, int], timeout: float) -> None:
        asked.append(address)
        raise raised

    monkeypatch.setattr(socket, "create_connection", fail)
    assert core.connect("https://[fd00::6]", 1) == expected
    assert core.connect("http://registry.example.org", 1) == expected
    assert asked == [("fd00::6", 443), ("registry.example.org", 80)]


def test_addresses_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert core.addresses_of("127.0.0.1") == ["127.0.0.1"]

    def unknown(name: str, port: None) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert core.addresses_of("node1") == []


def test_pods_of_a_kubelet_are_counted(tmp_path: Path) -> None:
    assert core.count_pods(str(tmp_path / "missing")) == 0
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert core.count_pods(str(tmp_path)) == 2


@pytest.mark.parametrize(
    ("names", "managed"),
    [
        ([], False),
        (["disk-qualification.json", "lease.json", "lease.lock", ".lease.json.x"], False),
        (["lease.lock", "artifacts.json"], True),
        (["sysctl"], True),
    ],
)
def test_a_host_is_managed_when_a_run_has_prepared_it(tmp_path: Path, names: list[str], managed: bool) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    assert core.is_managed(str(tmp_path)) is managed
    assert not core.is_managed(str(tmp_path / "none"))
    assert not core.is_managed("")


@pytest.mark.parametrize(
    ("plugin", "mode", "agent", "awaits"),
    [
        ("cilium", "nftables", True, True),
        ("cilium", "iptables", True, True),
        # An agent that cannot be asked may carry the Services.
        ("cilium", "nftables", None, True),
        ("cilium", "nftables", False, False),
        ("cilium", "none", True, False),
        ("cilium", "", True, False),
        ("calico", "nftables", True, False),
        ("", "nftables", True, False),
    ],
)
def test_kube_proxy_is_awaited_where_an_agent_carries_the_services(
    monkeypatch: pytest.MonkeyPatch, plugin: str, mode: str, agent: bool | None, awaits: bool
) -> None:
    monkeypatch.setattr(core._live_cluster, "observe", lambda: {"network_plugin": plugin})
    monkeypatch.setattr(core._cilium, "replaces_kube_proxy", lambda: agent)
    wanted = {"kube_proxy_mode": mode} if mode else {"domain": "cluster.local"}
    assert core.observe_live_cluster(wanted)["awaits_kube_proxy"] is awaits


def test_who_asks_for_nothing_of_a_live_cluster_is_told_nothing() -> None:
    assert core.observe_live_cluster({}) == {"live_cluster": {}, "awaits_kube_proxy": False}
