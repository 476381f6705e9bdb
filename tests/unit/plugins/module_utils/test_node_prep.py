"""_node_prep: modules, swap, mounts; and the way back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_prep as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._node_prep import (
    Change,
    Memory,
    ModuleSpec,
    NodePrepError,
    Observed,
    plan_absent,
    plan_present,
)

STATE = "/var/lib/state"
FSTAB = """\
# a comment about swap
UUID=1 / ext4 defaults 0 1
UUID=2\tnone\tswap\tsw\t0 0
/swap.img none swap sw 0 0
#/old none swap sw 0 0
UUID=3 /swap ext4 defaults 0 2
"""
WITHOUT = f"""\
# a comment about swap
UUID=1 / ext4 defaults 0 1
{core.MARK}UUID=2\tnone\tswap\tsw\t0 0
{core.MARK}/swap.img none swap sw 0 0
#/old none swap sw 0 0
UUID=3 /swap ext4 defaults 0 2
"""


def verbs(changes: tuple[Change, ...]) -> list[tuple[str, str]]:
    return [(change.verb, change.name) for change in changes]


def present(seen: Observed, modules: tuple[ModuleSpec, ...] = (), **options: Any) -> tuple[Change, ...]:
    return plan_present(seen, modules, **{"swap_off": True, "shared_mounts": True, "state_dir": STATE, **options})


def test_a_machine_that_has_everything_is_left_alone() -> None:
    assert present(Observed(modules={"overlay": "present"}, fstab=WITHOUT), (ModuleSpec("overlay"),)) == ()


def test_modules_are_loaded_and_persisted_only_when_they_are_files() -> None:
    specs = (
        ModuleSpec("overlay"),
        ModuleSpec("br_netfilter"),
        ModuleSpec("nf_conntrack"),
        ModuleSpec("ip_vs", required=False),
    )
    seen = Observed(
        modules={"overlay": "present", "br_netfilter": "loadable", "nf_conntrack": "present", "ip_vs": "missing"},
        persistable=frozenset({"br_netfilter", "nf_conntrack"}),
    )
    changes = present(seen, specs)
    assert verbs(changes) == [("write", core.MODULES_LOAD), ("modprobe", "br_netfilter")]
    assert changes[0].after.splitlines()[1:] == ["br_netfilter", "nf_conntrack"]
    after = replace(seen, modules={**seen.modules, "br_netfilter": "present"}, modules_load=changes[0].after)
    assert present(after, specs) == ()


def test_all_modules_that_cannot_be_had_are_named_with_the_way_out() -> None:
    specs = (ModuleSpec("overlay"), ModuleSpec("br_netfilter"))
    with pytest.raises(NodePrepError, match=r"overlay, br_netfilter.*linux-modules-extra"):
        present(Observed(modules={"overlay": "missing", "br_netfilter": "missing"}), specs)


def test_swap_goes_from_fstab_units_and_memory_and_comes_back() -> None:
    seen = Observed(fstab=FSTAB, swaps=("/swap.img",), swap_units=("dev-zram0.swap",))
    changes = present(seen)
    assert verbs(changes) == [("write", "/etc/fstab"), ("mask", "dev-zram0.swap"), ("swapoff", "/swap.img")]
    assert changes[0].after == WITHOUT
    memory = core.remember(Memory(), changes)
    assert (memory.masked_units, memory.swaps) == (("dev-zram0.swap",), ("/swap.img",))
    back = plan_absent(Observed(fstab=WITHOUT, memory=memory))
    assert verbs(back) == [("write", "/etc/fstab"), ("unmask", "dev-zram0.swap"), ("swapon", "/swap.img")]
    assert back[0].after == FSTAB


def test_swap_that_is_wanted_stays() -> None:
    assert present(Observed(fstab=FSTAB, swaps=("/swap.img",), swap_units=("a.swap",)), swap_off=False) == ()


def test_a_second_run_keeps_what_the_first_one_remembered() -> None:
    memory = core.remember(Memory(swaps=("/a",), masked_units=("a.swap",)), (Change("swapoff", "/b"),))
    assert memory == Memory(masked_units=("a.swap",), swaps=("/a", "/b"))


@pytest.mark.parametrize(
    ("shared", "unit", "expected"),
    [
        (True, "", []),
        (True, core.MOUNT_UNIT_TEXT, []),
        (True, "older text\n", ["write"]),
        (False, "", ["write", "share"]),
        (False, core.MOUNT_UNIT_TEXT, ["share"]),
    ],
)
def test_mounts_are_shared_and_stay_so_only_where_systemd_did_not(shared: bool, unit: str, expected: list[str]) -> None:
    assert [change.verb for change in present(Observed(root_shared=shared, mount_unit=unit))] == expected
    assert present(Observed(root_shared=shared), shared_mounts=False) == ()


def test_the_state_directory_is_a_change_of_its_own() -> None:
    assert verbs(present(Observed(state_dir_exists=False))) == [("mkdir", STATE)]


# --- parsers --------------------------------------------------------------------------------------------------------------------------------


def test_module_lists() -> None:
    builtin = "kernel/fs/overlayfs/overlay.ko\nkernel/net/bridge/br_netfilter.ko\n"
    dep = "kernel/net/netfilter/nf_conntrack.ko.xz: kernel/lib/libcrc32c.ko.xz\nkernel/drivers/snd-pcm.ko.zst:\n"
    assert core.parse_module_files(builtin) == {"overlay", "br_netfilter"}
    assert core.parse_module_files(dep) == {"nf_conntrack", "snd_pcm"}


@pytest.mark.parametrize(
    ("mountinfo", "shared"),
    [
        ("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw", True),
        ("863 222 0:178 / / rw,relatime - overlay overlay rw", False),
        ("863 222 0:178 / / rw,relatime master:1 - overlay overlay rw", False),
        ("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /sys rw shared:2 - sysfs sysfs rw", False),
        ("1 1 0:1 / / rw - rootfs rootfs rw\n22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw", True),
    ],
)
def test_whether_the_root_is_shared(mountinfo: str, shared: bool) -> None:
    assert core.parse_root_shared(mountinfo) is shared


def test_units_that_make_swap() -> None:
    text = """\
Id=swap.img.swap
LoadState=loaded
UnitFileState=generated
ActiveState=active
SourcePath=/etc/fstab

Id=dev-disk-by\\x2dpartuuid-1.swap
LoadState=loaded
UnitFileState=generated
ActiveState=active
SourcePath=

Id=dev-zram0.swap
LoadState=masked
UnitFileState=masked
ActiveState=inactive
SourcePath=

Id=zramswap.service
LoadState=loaded
UnitFileState=enabled
ActiveState=active
SourcePath=

Id=dphys-swapfile.service
LoadState=not-found
UnitFileState=
ActiveState=inactive
SourcePath=
"""
    assert list(core.parse_swap_units(text)) == ["dev-disk-by\\x2dpartuuid-1.swap", "zramswap.service"]


@pytest.mark.parametrize(
    ("path", "spec", "state"),
    [
        ("sys/module/br_netfilter/x", ModuleSpec("br_netfilter"), "present"),
        ("sys/module/snd_pcm/x", ModuleSpec("snd-pcm"), "present"),
        ("proc/sys/net/bridge/x", ModuleSpec("br_netfilter", "/proc/sys/net/bridge/x"), "present"),
        ("other", ModuleSpec("built_in"), "present"),
        ("other", ModuleSpec("on_disk"), "loadable"),
        ("other", ModuleSpec("br_netfilter", "/proc/sys/net/bridge/x"), "missing"),
    ],
)
def test_the_state_of_a_module(tmp_path: Path, path: str, spec: ModuleSpec, state: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("")
    assert core.module_state(spec, {"built_in"}, {"on_disk"}, str(tmp_path)) == state


def test_a_file_system_that_the_kernel_knows_is_present(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/filesystems").write_text("nodev\tsysfs\nnodev\toverlay\n\text4\n")
    assert [
        core.module_state(ModuleSpec(name), set(), set(), str(tmp_path)) for name in ("overlay", "ext4", "lay")
    ] == ["present", "present", "missing"]


# --- action -----------------------------------------------------------------------------------------------------------------------------------


def test_the_memory_is_on_the_disk_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    memory_file = tmp_path / "state" / core.STATE_NAME
    monkeypatch.setitem(core._ACTIONS, "swapoff", lambda change: seen.append(json.loads(memory_file.read_text())))
    changes = (Change("swapoff", "/swap.img"),)
    core.apply(changes, core.remember(Memory(), changes), str(tmp_path / "state"))
    assert seen[0]["swaps"] == ["/swap.img"]
    assert core.read_memory(str(tmp_path / "state")).swaps == ("/swap.img",)
    assert memory_file.stat().st_mode & 0o777 == 0o600
    core.forget(str(tmp_path / "state"))
    assert core.read_memory(str(tmp_path / "state")) == Memory()


def test_a_step_that_fails_does_not_keep_the_others_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def mask(change: Change) -> None:
        raise OSError("no bus")

    monkeypatch.setitem(core._ACTIONS, "mask", mask)
    monkeypatch.setitem(core._ACTIONS, "swapoff", lambda change: done.append(change.name))
    with pytest.raises(NodePrepError, match=r"mask a\.swap: no bus"):
        core.apply((Change("mask", "a.swap"), Change("swapoff", "/a")), Memory(), str(tmp_path))
    assert done == ["/a"]


def test_a_spoilt_memory_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / core.STATE_NAME).write_text("{")
    with pytest.raises(NodePrepError, match=core.STATE_NAME):
        core.read_memory(str(tmp_path))


def test_an_fstab_keeps_its_mode_and_odd_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fstab"
    path.write_bytes(b"# \xff\n")
    path.chmod(0o600)
    core._write(Change("write", str(path), "", "# \udcff more\n"))
    assert path.read_bytes() == b"# \xff more\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_unit_that_was_written_but_not_enabled_is_installed_again(tmp_path: Path) -> None:
    (tmp_path / core.MOUNT_UNIT).write_text(core.MOUNT_UNIT_TEXT)
    assert core.observe_mount_unit(str(tmp_path)) == ""
    (tmp_path / "multi-user.target.wants").mkdir()
    (tmp_path / "multi-user.target.wants" / core.MOUNT_UNIT).symlink_to(f"../{core.MOUNT_UNIT}")
    assert core.observe_mount_unit(str(tmp_path)) == core.MOUNT_UNIT_TEXT
