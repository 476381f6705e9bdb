# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a directory stands on, down to the disks, and whether its disk may be measured. Reads /proc and /sys only."""

from __future__ import annotations

import glob
import os
import re
import stat
import typing as t
from dataclasses import dataclass

# They keep nothing (memory), or what they keep lies elsewhere and other people's load is measured with it.
REFUSED_FILESYSTEMS = {
    "tmpfs": "it keeps everything in memory",
    "ramfs": "it keeps everything in memory",
    "devtmpfs": "it keeps everything in memory",
    "squashfs": "it is read-only",
    "overlay": "it is a container's own layer, not the disk below it",
    "aufs": "it is a container's own layer, not the disk below it",
    "nfs": "it is a network file system",
    "nfs4": "it is a network file system",
    "cifs": "it is a network file system",
    "smb3": "it is a network file system",
    "ceph": "it is a network file system",
    "glusterfs": "it is a network file system",
    "9p": "it is a file system of another machine",
    "virtiofs": "it is a file system of another machine",
    "fuse": "a program is between it and the disk",
    "fuseblk": "a program is between it and the disk",
}
RESERVE_BYTES = 256 * 2**20  # stays free, for what else lives there
ETCD_FILE = re.compile(r"(\.wal|/snap/db|/wal/\d+\.tmp)$")


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo. ``device`` is ``major:minor`` (0:x: no block device of its own)."""

    device: str
    path: str
    type: str
    source: str
    options: str


@dataclass(frozen=True)
class Target:
    """A directory that is to be measured, and what was found there. ``measured`` is the nearest directory that exists; ``kind`` is of it."""

    directory: str
    measured: str
    kind: str
    mount: Mount
    free_bytes: int
    device: t.Mapping[str, t.Any]
    live_etcd: tuple[str, ...] = ()


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def parse_mountinfo(text: str) -> list[Mount]:
    """Read /proc/self/mountinfo (proc(5)), in the order of mounting. Options are those of the mount and of the file system, each once."""
    found = []
    for line in text.splitlines():
        front, separator, back = line.partition(" - ")
        words, behind = front.split(), back.split()
        if separator and len(words) > 5 and len(behind) > 1:
            options = ",".join(
                dict.fromkeys([*words[5].split(","), *(behind[2] if len(behind) > 2 else "").split(",")])
            )
            found.append(Mount(words[2], _unescape(words[4]), behind[0], _unescape(behind[1]), options.strip(",")))
    return found


def mount_of(path: str, mounts: t.Sequence[Mount]) -> Mount:
    """The mount that ``path`` is on: the longest mount point above it, the last one where several are stacked."""
    best = Mount("", "", "", "", "")
    for mount in mounts:
        if f"{path.rstrip('/')}/".startswith(f"{mount.path.rstrip('/')}/") and len(mount.path) >= len(best.path):
            best = mount
    return best


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except (OSError, ValueError):
        return ""


def _number(path: str) -> int | None:
    text = _read(path)
    return int(text) if text.isdigit() else None


def chain_of(device: str, sysfs: str = "/sys") -> list[dict[str, t.Any]]:
    """The block devices below ``major:minor``, from the top to the disks: partitions, LVM and dm-crypt, RAID, loop devices and the disk of their file.

    Each has ``name`` and ``kind`` (``partition``, ``dm``, ``md``, ``loop``, ``disk``); a ``md`` has its ``raid`` level, a ``disk`` what
    the kernel says of it, None where it says nothing.
    """
    found: list[dict[str, t.Any]] = []
    todo, seen = [device], set()
    while todo:
        device = todo.pop(0)
        path = os.path.realpath(f"{sysfs}/dev/block/{device}")
        if not device or path in seen or not os.path.isdir(path):
            continue
        seen.add(path)
        name = os.path.basename(path)
        slaves = sorted(glob.glob(f"{path}/slaves/*"))
        entry: dict[str, t.Any] = {"name": name, "kind": "disk"}
        if os.path.exists(f"{path}/partition"):
            entry["kind"] = "partition"
            todo.append(_read(f"{os.path.dirname(path)}/dev"))
        elif os.path.isdir(f"{path}/loop"):
            entry["kind"] = "loop"
            todo.append(_device_of(_read(f"{path}/loop/backing_file")))
        elif os.path.isdir(f"{path}/md"):
            entry |= {"kind": "md", "raid": _read(f"{path}/md/level")}
        elif os.path.isdir(f"{path}/dm") or slaves:
            entry |= {"kind": "dm", "label": _read(f"{path}/dm/name")}
        else:
            entry |= _disk_facts(path)
        todo += [_read(f"{slave}/dev") for slave in slaves]
        found.append(entry)
    return found


def _device_of(path: str) -> str:
    try:
        number = os.stat(path).st_dev
    except (OSError, ValueError):
        return ""
    return f"{os.major(number)}:{os.minor(number)}"


def _disk_facts(path: str) -> dict[str, t.Any]:
    sectors, rotational = _number(f"{path}/size"), _number(f"{path}/queue/rotational")
    scheduler = re.search(r"\[(.+?)\]", _read(f"{path}/queue/scheduler"))
    return {
        "model": _read(f"{path}/device/model") or None,
        "serial": _read(f"{path}/device/serial") or _read(f"{path}/serial") or _read(f"{path}/wwid") or None,
        "size_bytes": None if sectors is None else sectors * 512,
        "rotational": None if rotational is None else bool(rotational),
        "scheduler": scheduler.group(1) if scheduler else None,
        "write_cache": _read(f"{path}/queue/write_cache") or None,
    }


def disks_of(chain: t.Sequence[t.Mapping[str, t.Any]]) -> set[str]:
    """Names of the disks at the lower end of a chain."""
    return {entry["name"] for entry in chain if entry["kind"] == "disk"}


def describe(mount: Mount, sysfs: str = "/sys") -> dict[str, t.Any]:
    """The facts that a result is remembered with: file system, mount options, chain to the disks."""
    device = mount.device
    if not os.path.isdir(f"{sysfs}/dev/block/{device}") and mount.source.startswith("/dev/"):
        # btrfs and others have a device number of their own; the block device is what was mounted.
        try:
            number = os.stat(mount.source).st_rdev
            device = f"{os.major(number)}:{os.minor(number)}"
        except OSError:
            device = ""
    return {
        "filesystem": mount.type,
        "mount": mount.path,
        "mount_options": mount.options,
        "source": mount.source,
        "chain": chain_of(device, sysfs) if device else [],
    }


def live_etcd(disks: t.Set[str], device: str, proc: str = "/proc", sysfs: str = "/sys") -> tuple[str, ...]:
    """The running etcd processes that keep their data on one of ``disks`` or on the file system ``device``.

    A process whose open files may not be read counts: it may be there.
    """
    found = []
    for comm in sorted(glob.glob(f"{proc}/[0-9]*/comm")):
        if _read(comm) != "etcd":
            continue
        process = os.path.dirname(comm)
        try:
            files = [f"{process}/fd/{name}" for name in os.listdir(f"{process}/fd")]
            data = [path for path in files if ETCD_FILE.search(os.readlink(path))]
            devices = {_device_of(path) for path in data}
        except PermissionError:
            found.append(f"process {os.path.basename(process)} (its files cannot be read)")
            continue
        except OSError:
            continue  # it has just ended
        if device in devices or any(disks & disks_of(chain_of(name, sysfs)) for name in devices):
            found.append(f"process {os.path.basename(process)}")
    return tuple(found)


def existing(directory: str) -> str:
    """A directory, or the nearest one above it that is there: where it will be made."""
    path = os.path.realpath(directory)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def device_of(directory: str, proc: str = "/proc", sysfs: str = "/sys") -> dict[str, t.Any]:
    """What :func:`describe` says of the file system that a directory is on, or will be on."""
    return describe(mount_of(existing(directory), parse_mountinfo(_read(f"{proc}/self/mountinfo"))), sysfs)


def observe(directory: str, proc: str = "/proc", sysfs: str = "/sys") -> Target:
    """Look at a directory. A directory that does not exist is judged by the nearest one above it: that is where it will be made."""
    measured = existing(directory)
    mode = os.stat(measured).st_mode
    kind = "directory" if stat.S_ISDIR(mode) else "block device" if stat.S_ISBLK(mode) else "file"
    mount = mount_of(measured, parse_mountinfo(_read(f"{proc}/self/mountinfo")))
    device = describe(mount, sysfs)
    space = os.statvfs(measured)
    return Target(
        directory,
        measured,
        kind,
        mount,
        space.f_bavail * space.f_frsize,
        device,
        live_etcd(disks_of(device["chain"]), mount.device, proc, sysfs),
    )


def refusals(target: Target, needed_bytes: int, allowed: t.Collection[str], allow_live: bool) -> list[str]:
    """Every reason why a target is not measured (pure); empty: it may be. ``allowed``: types of file systems that are measured all the same."""
    found = []
    kind = target.mount.type
    why = REFUSED_FILESYSTEMS.get(kind) or REFUSED_FILESYSTEMS.get(kind.partition(".")[0], "")
    if target.kind == "block device":
        found.append(
            f"'{target.measured}' is a block device: what is on it would be overwritten. Name a directory on it"
        )
    elif target.kind != "directory":
        found.append(f"'{target.measured}' is not a directory")
    elif why and kind not in allowed:
        found.append(
            f"'{target.measured}' is on {kind}: {why}. Name a directory on the disk that etcd will have, or allow '{kind}'"
        )
    elif "ro" in target.mount.options.split(","):
        found.append(f"'{target.measured}' is on a file system that is mounted read-only ({target.mount.path})")
    elif target.free_bytes < needed_bytes + RESERVE_BYTES:
        found.append(
            f"{target.free_bytes // 2**20} MiB are free at '{target.measured}', and the measurement needs {needed_bytes // 2**20} MiB "
            f"beside {RESERVE_BYTES // 2**20} MiB that stay free"
        )
    if target.live_etcd and not allow_live:
        found.append(
            f"etcd runs on this disk ({', '.join(target.live_etcd)}): the measurement would slow it down, and it would slow down the measurement. "
            "Take the member out first, or allow it (allow_live) on a cluster that may lose a leader"
        )
    return found
