from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from bmk_lab import host as machine
from bmk_lab import image
from bmk_lab.directory import SOCKET_DIRECTORY_MAXIMUM
from bmk_lab.engine import Lab
from bmk_lab.model import LabError, build_topology
from bmk_lab.parse import parse_nodes, parse_sessions, with_server
from bmk_lab.podman import ALIVE, EXITS, LEASES, RUNC, boot_seconds, stale_run_files
from bmk_lab.status import table

DEB822 = """# comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
"""


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([DEB822], "http://mirror.example/debian"),
        (["deb http://one.example/debian bookworm main contrib\n"], "http://one.example/debian"),
        (
            ["deb [arch=amd64 signed-by=/k.gpg] http://two.example/debian/ bookworm main\n"],
            "http://two.example/debian/",
        ),
        (["deb http://other.example/apt stable main\n", DEB822], "http://mirror.example/debian"),
        (["# deb http://off.example/debian bookworm main\n"], ""),
        (
            ["Types: deb\nURIs: http://off.example\nSuites: bookworm\nComponents: main\nEnabled: no\n"],
            "",
        ),
        (["Types: deb-src\nURIs: http://src.example\nSuites: bookworm\nComponents: main\n"], ""),
        ([], ""),
    ],
)
def test_the_hosts_own_mirror_is_found(texts: list[str], expected: str) -> None:
    assert machine.debian_mirror(texts, "bookworm") == expected


def test_the_hosts_proxy_is_passed_on() -> None:
    dump = 'APT "";\nAcquire::http::Proxy "http://proxy.example:3128";\nAcquire::http::Timeout "30";\n'
    assert machine.apt_proxy_options(dump) == ['--aptopt=Acquire::http::Proxy "http://proxy.example:3128";']


def test_missing_packages_are_those_not_fully_installed() -> None:
    assert machine.missing_packages("runc installed\npodman config-files\n", ["runc", "podman", "uidmap"]) == (
        "podman",
        "uidmap",
    )


@pytest.mark.parametrize(
    ("recorded", "current", "expected"),
    [
        ({"fs.a": "1"}, {"fs.a": "1"}, {}),
        ({"fs.a": "1"}, {"fs.a": "2"}, {"fs.a": "1"}),
        ({"fs.gone": "1"}, {}, {}),
        ({}, {"fs.new": "2"}, {}),
        # dirty_ratio and dirty_bytes clear each other: the cleared one is not written back.
        (
            {"vm.dirty_ratio": "20", "vm.dirty_bytes": "0"},
            {"vm.dirty_ratio": "0", "vm.dirty_bytes": "1048576"},
            {"vm.dirty_ratio": "20"},
        ),
    ],
)
def test_only_what_changed_is_put_back(
    recorded: dict[str, str], current: dict[str, str], expected: dict[str, str]
) -> None:
    assert machine.to_restore(recorded, current) == expected


def test_reading_parameters_leaves_out_what_is_volatile_or_read_only(tmp_path: Path) -> None:
    for name, mode in (
        ("fs/inotify/max_user_instances", 0o644),
        ("fs/file-nr", 0o444),
        ("kernel/hostname", 0o644),
        ("kernel/random/boot_id", 0o644),
        ("kernel/printk", 0o644),
        ("vm/drop_caches", 0o200),
        ("net/ipv4/ip_forward", 0o644),
        ("net/ipv4/tcp_rmem", 0o644),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("4\t4  1\n")
        path.chmod(mode)
    assert machine.read_sysctls(tmp_path) == {
        "fs.inotify.max_user_instances": "4 4 1",
        "kernel.printk": "4 4 1",
        "net.ipv4.ip_forward": "4 4 1",
    }


def test_a_record_from_before_the_last_boot_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    assert machine.recorded_sysctls(path) is None
    path.write_text(json.dumps({"boot_id": machine.boot_id(), "values": {"fs.a": "1"}}))
    assert machine.recorded_sysctls(path) == {"fs.a": "1"}
    path.write_text(json.dumps({"boot_id": "another", "values": {"fs.a": "1"}}))
    assert machine.recorded_sysctls(path) is None
    path.write_text('{"boot_id": ')
    assert machine.recorded_sysctls(path) is None


def test_what_the_kernel_turns_back_for_nobody_is_told_and_the_rest_is_an_error(tmp_path: Path) -> None:
    """A directory in a parameter's place cannot be written: the stand-in for the kernel's refusal, for root as well."""
    (tmp_path / "kernel" / "unprivileged_bpf_disabled").mkdir(parents=True)
    values = {"kernel.unprivileged_bpf_disabled": "0", "kernel.pid_max": "32768"}
    assert machine.write_sysctls(values, tmp_path) == ["kernel.unprivileged_bpf_disabled"]
    assert (tmp_path / "kernel" / "pid_max").read_text() == "32768\n"
    (tmp_path / "fs" / "file-max").mkdir(parents=True)
    with pytest.raises(LabError, match=r"^[^\n]*\n  - fs\.file-max = 1: Is a directory$"):
        machine.write_sysctls({"fs.file-max": "1", **values}, tmp_path)


def test_limits_are_raised_never_lowered() -> None:
    minima = {"fs.x": 1024}
    assert machine.too_low({"fs.x": "128"}, minima) == {"fs.x": "1024"}
    assert machine.too_low({"fs.x": "8192"}, minima) == {}


def test_atomic_write_leaves_no_other_file(tmp_path: Path) -> None:
    machine.write_atomically(tmp_path / "a", "one")
    machine.write_atomically(tmp_path / "a", "two", mode=0o640)
    assert [(path.name, path.read_text(), path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [
        ("a", "two", 0o640)
    ]


def test_a_failing_command_is_told_with_what_it_said() -> None:
    with pytest.raises(LabError, match="exit status 3\nno luck"):
        machine.run(["sh", "-c", "echo no luck >&2; exit 3"])
    with pytest.raises(LabError, match="no answer within"):
        machine.run(["sleep", "5"], timeout=0.1)
    with pytest.raises(LabError, match="no such command"):
        machine.run(["/nonexistent/command"])


def test_the_image_is_named_by_its_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    shutil.copytree(image.RECIPE, recipe)
    base = image.recipe_hash(recipe)
    assert base == image.recipe_hash()
    (recipe / "packages.txt").write_text((recipe / "packages.txt").read_text() + "strace\n")
    assert image.recipe_hash(recipe) != base


def test_the_recipe_says_no_containerd_and_a_mirror_of_the_host(tmp_path: Path) -> None:
    argv = image.mmdebstrap_argv("http://mirror.example/debian", [], tmp_path / "out.tar")
    included = next(word for word in argv if word.startswith("--include=")).removeprefix("--include=").split(",")
    assert "containerd" not in included
    assert {
        "systemd",
        "openssh-server",
        "python3",
        "runc",
        "frr",
        "haproxy",
        "keepalived",
        "nftables",
        "conntrack",
    } <= set(included)
    assert argv[-1] == f"deb [signed-by={image.KEYRING}] http://mirror.example/debian trixie main"


def run_directory(root: Path, age: int) -> None:
    for name in (ALIVE, f"{EXITS}/c1", f"{RUNC}/c1/state.json", LEASES):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        os.utime(path, (age, age))
    os.utime(root / RUNC / "c1", (age, age))


@pytest.mark.parametrize(("age", "booted", "stale"), [(1000, 2000, True), (3000, 2000, False)])
def test_run_files_from_before_the_boot_are_stale(tmp_path: Path, age: int, booted: int, stale: bool) -> None:
    run_directory(tmp_path, age)
    found = {str(path.relative_to(tmp_path)) for path in stale_run_files(tmp_path, booted)}
    assert found == ({ALIVE, f"{EXITS}/c1", f"{RUNC}/c1/state.json", LEASES} if stale else set())


def test_nothing_is_stale_once_a_container_runs_since_the_boot(tmp_path: Path) -> None:
    run_directory(tmp_path, 1000)
    (tmp_path / RUNC / "c2").mkdir()
    assert stale_run_files(tmp_path, 2000) == []


def test_nothing_is_stale_where_run_is_empty(tmp_path: Path) -> None:
    assert stale_run_files(tmp_path, 2000) == []


def test_boot_time() -> None:
    assert boot_seconds("cpu  1 2 3\nbtime 1700000000\nprocesses 5\n") == 1700000000


def test_a_cache_path_too_long_for_sockets_is_refused() -> None:
    topology = build_topology(
        "bmk", "10.77.0.0/16", {"rack1": {"number": 1}}, {"tor1": {"legs": {"rack1": 254}, "as_number": 64601}}
    )
    Lab(topology, Path("/" + "x" * (SOCKET_DIRECTORY_MAXIMUM - len("//ssh"))))
    with pytest.raises(LabError, match="BARE_METAL_KUBERNETES_CACHE"):
        Lab(topology, Path("/" + "x" * SOCKET_DIRECTORY_MAXIMUM))


def test_bgp_sessions_are_read_from_frr() -> None:
    peers = {
        "10.77.0.3": {"remoteAs": 64602, "state": "Established", "pfxRcd": 3},
        "10.77.1.11": {"remoteAs": 64701, "state": "Connect"},
    }
    found = parse_sessions(json.dumps({"ipv4Unicast": {"peers": peers}}), "tor1")
    assert [(s.router, s.peer, s.as_number, s.established, s.prefixes) for s in found] == [
        ("tor1", "10.77.0.3", 64602, True, 3),
        ("tor1", "10.77.1.11", 64701, False, 0),
    ]
    assert parse_sessions("% Unknown command") == []
    assert parse_sessions("{}") == []


def test_nodes_are_read_from_the_api() -> None:
    item = {
        "metadata": {"name": "cp1"},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "Hostname", "address": "cp1"}, {"type": "InternalIP", "address": "10.77.1.11"}],
            "nodeInfo": {"kubeletVersion": "v1.36.3", "containerRuntimeVersion": "containerd://2.4.2"},
        },
    }
    (node,) = parse_nodes(json.dumps({"items": [item]}))
    assert (node.name, node.ready, node.version, node.address) == (
        "cp1",
        "Ready,unschedulable",
        "v1.36.3",
        "10.77.1.11",
    )
    assert parse_nodes("The connection was refused") == []


def test_kubeconfig_gets_another_server_and_keeps_the_rest() -> None:
    text = "clusters:\n- cluster:\n    certificate-authority-data: QQ==\n    server: https://127.0.0.1:7443\n  name: kubernetes\n"
    changed = with_server(text, "https://10.77.1.11:6443")
    assert changed == text.replace("https://127.0.0.1:7443", "https://10.77.1.11:6443")


def test_table_aligns_its_columns() -> None:
    assert table(["A", "LONG"], [["value", "x"]]) == ["A      LONG", "value  x"]
