"""What a node uses, from a tree like /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_usage as usage


def stat(name: str, ticks: int, threads: int) -> str:
    return f"7 ({name}) S 1 7 7 0 -1 4194560 1 0 0 0 {ticks} {ticks} 0 0 20 0 {threads} 0 100 1 1"


@pytest.mark.parametrize(
    ("name", "cgroup", "wanted"),
    [
        ("kubelet", "0::/system.slice/kubelet.service", "kubelet"),
        ("containerd-shim", "0::/system.slice/containerd.service", "shims"),
        ("containerd", "0::/system.slice/containerd.service", "containerd"),
        ("pause", "0::/kubepods.slice/kubepods-burstable.slice/x", "pods"),
        ("etcd", "0::/system.slice/etcd.service", "etcd"),
        ("sshd", "0::/system.slice/ssh.service", "system"),
    ],
)
def test_parts(name: str, cgroup: str, wanted: str) -> None:
    assert usage.part_of(name, cgroup) == wanted


def test_a_name_with_brackets_and_blanks() -> None:
    name, cpu, threads = usage.parse_stat(stat("tmux: (x) 1", usage.TICKS, 3))
    assert (name, cpu, threads) == ("tmux: (x) 1", 2.0, 3)


def test_key_users() -> None:
    text = "    0:   167 166/166 131/1000000 2714/25000000\n65534:    40 40/40 39/2000 800/20000\n"
    assert usage.parse_key_users(text) == {0: 131, 65534: 39}


@pytest.fixture
def proc(tmp_path: Path) -> usage.Proc:
    files = {
        "10/stat": stat("kubelet", 50, 12),
        "10/cgroup": "0::/system.slice/kubelet.service\n",
        "10/smaps_rollup": "x\nRss: 4096 kB\nPss:  2048 kB\n",
        "10/fdinfo/3": "pos: 0\ninotify wd:1 ino:2\ninotify wd:2 ino:3\n",
        "11/stat": stat("echo-server", 1, 5),
        "11/cgroup": "0::/kubepods.slice/x\n",
        "sys/fs/inotify/max_user_instances": "128\n",
        "sys/fs/inotify/max_user_watches": "65536\n",
        "sys/fs/file-nr": "900\t0\t100000\n",
        "sys/kernel/pid_max": "32768\n",
        "sys/net/netfilter/nf_conntrack_count": "12\n",
        "sys/net/netfilter/nf_conntrack_max": "4096\n",
        "net/arp": "IP address\n192.0.2.1\n192.0.2.2\n",
        "net/dev": "Inter-|\n face |\n lo: 0\n eth0: 0\n",
        "meminfo": "MemTotal:  2098000 kB\nMemAvailable: 1048576 kB\nSlab: 1024 kB\nHugePages_Total: 0\n",
        "vmstat": "nr_free_pages 1\noom_kill 4\n",
        "key-users": "    0: 5 5/5 5/1000000 50/25000000\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for number, target in (("3", "anon_inode:inotify"), ("4", "/dev/null")):
        (tmp_path / "10/fd").mkdir(exist_ok=True)
        (tmp_path / "10/fd" / number).symlink_to(target)
    return usage.Proc(str(tmp_path))


def test_all_of_it(proc: usage.Proc) -> None:
    found = usage.observe(proc)
    assert found["limits"] == {
        "inotify instances": {"used": 1, "limit": 128},
        "inotify watches": {"used": 2, "limit": 65536},
        "process numbers": {"used": 17, "limit": 32768},
        "open files": {"used": 900, "limit": 100000},
        "connections": {"used": 12, "limit": 4096},
    }
    assert found["parameters"] == {
        "fs.inotify.max_user_instances": 128,
        "fs.inotify.max_user_watches": 65536,
        "kernel.pid_max": 32768,
    }
    assert found["parts"]["kubelet"] == {
        "processes": 1,
        "threads": 12,
        "cpu_seconds": round(100 / usage.TICKS, 2),
        "memory_mib": 2.0,
    }
    assert found["parts"]["pods"]["threads"] == 5
    assert found["memory_mib"] == {"total": 2048, "available": 1024, "kernel Slab": 1.0}
    assert (found["oom_kills"], found["links"]) == (4, 2)


def test_this_machine() -> None:
    found = usage.observe()
    assert found["limits"]["process numbers"]["used"] > 0
    assert found["memory_mib"]["total"] > 0
