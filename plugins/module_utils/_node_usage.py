# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node uses of what it has: limits of the kernel, memory and CPU by part. Everything is read from /proc; nothing is judged.

Sources: proc(5), inotify(7), keyrings(7), kernel documentation networking/ip-sysctl and nf_conntrack-sysctl.
"""

from __future__ import annotations

import os
import typing as t

Usage = t.Dict[str, t.Any]

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
#: parts of a node, by what a process is called; everything in a pod's cgroup is ``pods``, the rest ``system``
PARTS = {"kubelet": "kubelet", "containerd": "containerd", "containerd-shim": "shims", "etcd": "etcd"}
#: what the kernel has where it has no limit (fs.file-max is the largest number since systemd 240)
NO_LIMIT = 2**60
KERNEL_MEMORY = ("Slab", "SUnreclaim", "KernelStack", "PageTables", "Percpu")


def part_of(name: str, cgroup: str) -> str:
    """Say to which part of a node a process belongs. ``name`` as in /proc/PID/stat (15 characters), ``cgroup`` as in /proc/PID/cgroup."""
    if "kubepods" in cgroup:
        return "pods"
    return PARTS.get("containerd-shim" if name.startswith("containerd-shim") else name, "system")


def parse_stat(text: str) -> t.Tuple[str, float, int]:
    """Read /proc/PID/stat: name, seconds of CPU (its children's that have ended included, because a kubelet's helpers live shortly), threads."""
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    return name, sum(int(value) for value in fields[11:15]) / TICKS, int(fields[17])


def parse_meminfo(text: str) -> t.Dict[str, float]:
    """Read /proc/meminfo as MiB."""
    found = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        words = value.split()
        if colon and words and words[0].isdigit():
            found[name] = int(words[0]) / 1024
    return found


def parse_rollup(text: str) -> float:
    """The proportional share of memory in /proc/PID/smaps_rollup, in MiB: shared pages count once over all who share them."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def parse_key_users(text: str) -> t.Dict[int, int]:
    """Read /proc/key-users: keys by user (keyrings(7))."""
    found = {}
    for line in text.splitlines():
        user, colon, rest = line.partition(":")
        words = rest.split()
        if colon and len(words) >= 4:
            found[int(user)] = int(words[2].split("/")[0])
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _number(path: str) -> t.Optional[int]:
    words = _read(path).split()
    return int(words[0]) if words and words[0].isdigit() else None


class Proc:
    """The tree under ``root`` (/proc)."""

    def __init__(self, root: str = "/proc") -> None:
        self.root = root

    def path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    def sysctl(self, key: str) -> t.Optional[int]:
        return _number(self.path("sys", *key.split(".")))

    def processes(self) -> t.List[str]:
        return [name for name in os.listdir(self.root) if name.isdigit()]

    def inotify_of(self, pid: str) -> t.Tuple[int, int]:
        """Instances and watches of one process."""
        instances = watches = 0
        try:
            descriptors = os.listdir(self.path(pid, "fd"))
        except OSError:
            return 0, 0  # it has ended
        for number in descriptors:
            try:
                target = os.readlink(self.path(pid, "fd", number))
            except OSError:
                continue
            if target in ("anon_inode:inotify", "inotify"):
                instances += 1
                watches += sum(
                    line.startswith("inotify ") for line in _read(self.path(pid, "fdinfo", number)).splitlines()
                )
        return instances, watches


def _parts(proc: Proc) -> t.Tuple[t.Dict[str, Usage], t.Dict[int, t.List[int]], int]:
    """Parts of the node, inotify ``[instances, watches]`` by user, and threads of all processes."""
    parts: t.Dict[str, Usage] = {}
    inotify: t.Dict[int, t.List[int]] = {}
    threads = 0
    for pid in proc.processes():
        stat = _read(proc.path(pid, "stat"))
        if not stat:
            continue
        name, cpu, own_threads = parse_stat(stat)
        try:
            user = os.stat(proc.path(pid)).st_uid
        except OSError:
            continue
        part = parts.setdefault(
            part_of(name, _read(proc.path(pid, "cgroup"))),
            {"processes": 0, "threads": 0, "cpu_seconds": 0.0, "memory_mib": 0.0},
        )
        part["processes"] += 1
        part["threads"] += own_threads
        part["cpu_seconds"] += cpu
        part["memory_mib"] += parse_rollup(_read(proc.path(pid, "smaps_rollup")))
        threads += own_threads
        counts = inotify.setdefault(user, [0, 0])
        for index, value in enumerate(proc.inotify_of(pid)):
            counts[index] += value
    for part in parts.values():
        part["cpu_seconds"], part["memory_mib"] = round(part["cpu_seconds"], 2), round(part["memory_mib"], 1)
    return parts, inotify, threads


def _limit(used: t.Optional[int], limit: t.Optional[int]) -> t.Optional[Usage]:
    return None if used is None or limit is None or not 0 < limit < NO_LIMIT else {"used": used, "limit": limit}


def observe(proc: t.Optional[Proc] = None) -> Usage:
    """Return ``{limits: {name: {used, limit}}, parameters, parts: {name: {processes, threads, cpu_seconds, memory_mib}}, memory_mib, oom_kills, links}``.

    A limit is left out where this machine does not have it (no connection tracking, no keys). inotify and keys are counted for the user that has most.
    """
    proc = proc or Proc()
    parts, inotify, threads = _parts(proc)
    file_nr = _read(proc.path("sys/fs/file-nr")).split()
    keys = parse_key_users(_read(proc.path("key-users")))
    others = max((count for user, count in keys.items() if user), default=0)
    limits = {
        "inotify instances": _limit(
            max((counts[0] for counts in inotify.values()), default=0), proc.sysctl("fs.inotify.max_user_instances")
        ),
        "inotify watches": _limit(
            max((counts[1] for counts in inotify.values()), default=0), proc.sysctl("fs.inotify.max_user_watches")
        ),
        "process numbers": _limit(threads, proc.sysctl("kernel.pid_max")),
        "threads": _limit(threads, proc.sysctl("kernel.threads-max")),
        "open files": _limit(int(file_nr[0]), int(file_nr[2])) if len(file_nr) == 3 else None,
        "connections": _limit(
            _number(proc.path("sys/net/netfilter/nf_conntrack_count")),
            _number(proc.path("sys/net/netfilter/nf_conntrack_max")),
        ),
        "neighbours": _limit(
            max(0, len(_read(proc.path("net/arp")).splitlines()) - 1), proc.sysctl("net.ipv4.neigh.default.gc_thresh3")
        ),
        "keys of root": _limit(keys.get(0), proc.sysctl("kernel.keys.root_maxkeys")),
        "keys of a user": _limit(others, proc.sysctl("kernel.keys.maxkeys")),
    }
    memory = parse_meminfo(_read(proc.path("meminfo")))
    vmstat = dict(line.split(None, 1) for line in _read(proc.path("vmstat")).splitlines() if " " in line)
    names = (
        "fs.inotify.max_user_instances",
        "fs.inotify.max_user_watches",
        "kernel.pid_max",
        "kernel.threads-max",
        "kernel.keys.maxkeys",
    )
    return {
        "limits": {name: value for name, value in limits.items() if value},
        "parameters": {name: value for name in names if (value := proc.sysctl(name)) is not None},
        "parts": parts,
        "memory_mib": {
            # Whole MiB, rounded down as `machine_info` does: the kernel profile follows from it, in both places.
            "total": int(memory.get("MemTotal", 0)),
            "available": round(memory.get("MemAvailable", 0)),
            **{f"kernel {name}": round(memory[name], 1) for name in KERNEL_MEMORY if name in memory},
        },
        "oom_kills": int(vmstat.get("oom_kill", 0)),
        "links": max(0, len(_read(proc.path("net/dev")).splitlines()) - 2),
        "cpus": os.cpu_count() or 1,
    }
