"""_fio_device: what a directory stands on, and which disks are not measured."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio_device as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._fio_device import Mount, Target, refusals

GIB = 2**30
EXT4 = Mount("8:1", "/", "ext4", "/dev/sda1", "rw,relatime")
TARGET = Target("/var/lib/etcd", "/var/lib/etcd", "directory", EXT4, 100 * GIB, {"chain": []})
MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 22 0:27 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=100k
31 22 253:0 / /var/lib/etcd rw,noatime shared:9 master:2 - xfs /dev/mapper/vg-etcd rw,attr2
32 22 8:17 / /srv/with\\040space rw - ext4 /dev/sdb1 rw
33 32 0:44 / /srv/with\\040space rw - nfs4 server:/x rw,vers=4.2
34 22 0:50 / /data rw - btrfs /dev/sdc rw
a broken line
"""


def test_mountinfo() -> None:
    found = core.parse_mountinfo(MOUNTINFO)
    assert len(found) == 6
    assert found[0] == Mount("8:1", "/", "ext4", "/dev/sda1", "rw,relatime,errors=remount-ro")
    assert found[2].options == "rw,noatime,attr2"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/", "/dev/sda1"),
        ("/var/lib", "/dev/sda1"),
        ("/var/lib/etcd", "/dev/mapper/vg-etcd"),
        ("/var/lib/etcd/member/wal", "/dev/mapper/vg-etcd"),
        ("/var/lib/etcd-backup", "/dev/sda1"),
        ("/srv/with space/x", "server:/x"),  # mounted over the other one
    ],
)
def test_the_mount_of_a_path(path: str, source: str) -> None:
    assert core.mount_of(path, core.parse_mountinfo(MOUNTINFO)).source == source


# --- the chain to the disks


class Sysfs:
    """A tree like /sys/block, with /sys/dev/block pointing into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "dev/block").mkdir(parents=True)

    def add(self, name: str, device: str, files: dict[str, str] | None = None, slaves: tuple[str, ...] = ()) -> None:
        path = self.root / "block" / name
        path.mkdir(parents=True)
        for file, text in {"dev": device, **(files or {})}.items():
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_text(f"{text}\n")
        (path / "slaves").mkdir()
        for slave in slaves:
            (path / "slaves" / Path(slave).name).symlink_to(self.root / "block" / slave)
        (self.root / "dev/block" / device).symlink_to(path)


DISK = {
    "size": "2048",
    "queue/rotational": "0",
    "queue/scheduler": "none [mq-deadline] bfq",
    "queue/write_cache": "write back",
    "device/model": "SAMSUNG MZ7L3  ",
    "device/serial": "S1",
}


@pytest.fixture(name="sysfs")
def make_sysfs(tmp_path: Path) -> Sysfs:
    sysfs = Sysfs(tmp_path)
    for name, device in (("sda", "8:0"), ("sdb", "8:16")):
        sysfs.add(name, device, DISK)
        sysfs.add(f"{name}/{name}1", device[:-1] + str(int(device[-1]) + 1), {"partition": "1"})
    sysfs.add("md0", "9:0", {"md/level": "raid1"}, ("sda/sda1", "sdb/sdb1"))
    sysfs.add("dm-0", "253:0", {"dm/name": "vg-etcd"}, ("md0",))
    return sysfs


def test_a_chain_goes_through_lvm_raid_and_partitions(sysfs: Sysfs) -> None:
    found = core.chain_of("253:0", str(sysfs.root))
    assert [(entry["name"], entry["kind"]) for entry in found] == [
        ("dm-0", "dm"),
        ("md0", "md"),
        ("sda1", "partition"),
        ("sdb1", "partition"),
        ("sda", "disk"),
        ("sdb", "disk"),
    ]
    assert found[0]["label"] == "vg-etcd"
    assert found[1]["raid"] == "raid1"
    assert found[4] == {
        "name": "sda",
        "kind": "disk",
        "model": "SAMSUNG MZ7L3",
        "serial": "S1",
        "size_bytes": 1048576,
        "rotational": False,
        "scheduler": "mq-deadline",
        "write_cache": "write back",
    }
    assert core.disks_of(found) == {"sda", "sdb"}


def test_a_disk_of_which_the_kernel_says_nothing(sysfs: Sysfs) -> None:
    sysfs.add("vdz", "254:9")
    (found,) = core.chain_of("254:9", str(sysfs.root))
    assert {value for key, value in found.items() if key not in ("name", "kind")} == {None}


def test_a_loop_device_stands_on_the_disk_of_its_file(sysfs: Sysfs, tmp_path: Path) -> None:
    number = os.stat(tmp_path).st_dev
    sysfs.add("nvme0n1", f"{os.major(number)}:{os.minor(number)}", DISK)
    (tmp_path / "image").touch()
    sysfs.add("loop3", "7:3", {"loop/backing_file": str(tmp_path / "image")})
    sysfs.add("loop4", "7:4", {"loop/backing_file": str(tmp_path / "gone")})
    assert [entry["name"] for entry in core.chain_of("7:3", str(sysfs.root))] == ["loop3", "nvme0n1"]
    assert [entry["name"] for entry in core.chain_of("7:4", str(sysfs.root))] == ["loop4"]


def test_a_file_system_without_a_block_device_has_no_chain(sysfs: Sysfs) -> None:
    assert core.chain_of("0:44", str(sysfs.root)) == []
    assert core.describe(Mount("0:44", "/x", "nfs4", "server:/x", "rw"), str(sysfs.root))["chain"] == []
    assert core.describe(Mount("0:45", "/x", "btrfs", "/dev/no-such-device", "rw"), str(sysfs.root))["chain"] == []


# --- a live etcd


def proc_with(root: Path, comm: str, *files: Path) -> str:
    """A /proc with one process that has the files open."""
    (root / "proc/77/fd").mkdir(parents=True)
    (root / "proc/77/comm").write_text(f"{comm}\n")
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        (root / "proc/77/fd" / str(number)).symlink_to(file)
    return str(root / "proc")


@pytest.mark.parametrize(
    ("comm", "name", "live"),
    [
        ("etcd", "member/wal/0000000000000000-0000000000000000.wal", True),
        ("etcd", "member/wal/0.tmp", True),
        ("etcd", "member/snap/db", True),
        ("etcd", "etcd.log", False),  # its log may be anywhere
        ("etcdctl", "member/snap/db", False),
    ],
)
def test_etcd_is_live_where_its_data_is_open(tmp_path: Path, comm: str, name: str, live: bool) -> None:
    sysfs = Sysfs(tmp_path)
    number = os.stat(tmp_path).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    sysfs.add("nvme0n1", device, DISK)
    proc = proc_with(tmp_path, comm, tmp_path / "data" / name)
    # By the disk, though the target is on another partition of it; by the file system, though its disk is not known; neither.
    assert core.live_etcd({"nvme0n1"}, "8:99", proc, str(tmp_path)) == (("process 77",) if live else ())
    assert core.live_etcd(set(), device, proc, str(tmp_path)) == (("process 77",) if live else ())
    assert core.live_etcd({"sdx"}, "8:99", proc, str(tmp_path)) == ()


def test_an_etcd_that_cannot_be_looked_into_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: str) -> list[str]:
        raise PermissionError(path)

    proc = proc_with(tmp_path, "etcd")
    monkeypatch.setattr(core.os, "listdir", forbidden)
    assert core.live_etcd({"sda"}, "8:1", proc) == ("process 77 (its files cannot be read)",)


# --- refusals


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"kind": "block device", "measured": "/dev/sda"},
            "'/dev/sda' is a block device: what is on it would be overwritten",
        ),
        ({"kind": "file", "measured": "/etc/fstab"}, "'/etc/fstab' is not a directory"),
        ({"mount": replace(EXT4, type="tmpfs")}, "on tmpfs: it keeps everything in memory"),
        ({"mount": replace(EXT4, type="overlay")}, "on overlay: it is a container's own layer"),
        ({"mount": replace(EXT4, type="nfs4")}, "on nfs4: it is a network file system"),
        ({"mount": replace(EXT4, type="fuse.sshfs")}, "on fuse.sshfs: a program is between"),
        ({"mount": replace(EXT4, type="fuseblk")}, "on fuseblk: a program is between"),
        ({"mount": replace(EXT4, options="ro,relatime")}, "mounted read-only (/)"),
        ({"free_bytes": GIB + core.RESERVE_BYTES - 1}, "the measurement needs 1024 MiB beside 256 MiB"),
        ({"live_etcd": ("process 7",)}, "etcd runs on this disk (process 7)"),
    ],
)
def test_refusals(change: dict[str, Any], reason: str) -> None:
    found = refusals(replace(TARGET, **change), GIB, (), allow_live=False)
    assert len(found) == 1
    assert reason in found[0]


@pytest.mark.parametrize("kind", sorted(core.REFUSED_FILESYSTEMS))
def test_every_refused_file_system_can_be_allowed_by_its_name_only(kind: str) -> None:
    target = replace(TARGET, mount=replace(EXT4, type=kind))
    assert refusals(target, GIB, ("zfs",), False)
    assert refusals(target, GIB, (kind,), False) == []


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "f2fs"])
def test_file_systems_on_disks_are_measured(kind: str) -> None:
    assert refusals(replace(TARGET, mount=replace(EXT4, type=kind)), GIB, (), False) == []


def test_what_is_allowed_does_not_allow_the_rest() -> None:
    both = replace(TARGET, kind="block device", live_etcd=("process 7",))
    assert len(refusals(both, GIB, (), False)) == 2
    assert len(refusals(both, GIB, ("ext4",), allow_live=True)) == 1
    assert refusals(replace(TARGET, free_bytes=GIB + core.RESERVE_BYTES), GIB, (), False) == []


# --- this machine


def test_a_directory_that_does_not_exist_is_judged_by_the_one_above_it(tmp_path: Path) -> None:
    found = core.observe(str(tmp_path / "var/lib/etcd"))
    assert (found.measured, found.kind) == (str(tmp_path), "directory")
    assert found.mount.path
    assert found.free_bytes > 0


def test_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert core.observe(str(tmp_path / "link")).kind == "file"
    assert core.observe(str(tmp_path / "file" / "below")).kind == "file"
