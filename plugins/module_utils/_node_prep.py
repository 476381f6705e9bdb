# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine needs before it can run pods: kernel modules, no swap, shared mounts. Everything can be undone.

What was there before is kept in ``node_prep.json`` of the state directory *before* the first change, so that a run which is killed half way
can be undone as well.
"""

from __future__ import annotations

import json
import os
import platform
import re
import typing as t
from dataclasses import asdict, dataclass, field, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import sync_directory, write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

MODULES_LOAD = "/etc/modules-load.d/bare-metal-kubernetes.conf"
FSTAB = "/etc/fstab"
STATE_NAME = "node_prep.json"
MOUNT_UNIT = "bare-metal-kubernetes-mounts.service"
# Comments a line out so that it can be told from a comment of the administrator and be put back.
MARK = "#bare-metal-kubernetes# "
# Services that make swap by themselves, without a swap unit (Debian: zram-tools, dphys-swapfile).
SWAP_SERVICES = ("zramswap.service", "dphys-swapfile.service")

HEADER = "# Written by the Ansible collection bare_metal.kubernetes (role os_prep).\n"
MOUNT_UNIT_TEXT = (
    HEADER
    + """[Unit]
Description=Share mounts between the host and its containers
Documentation=man:mount_namespaces(7)
DefaultDependencies=no
After=local-fs.target
Before=containerd.service kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount --make-rshared /

[Install]
WantedBy=multi-user.target
"""
)


class NodePrepError(Exception):
    """The machine cannot be prepared; the message has one line for each reason."""


@dataclass(frozen=True)
class ModuleSpec:
    """A kernel module. ``feature`` is a path that exists when what the module does is there, however it got there (built in, another namespace)."""

    name: str
    feature: str = ""
    required: bool = True


@dataclass(frozen=True)
class Memory:
    """What was there before the first change, for the way back."""

    masked_units: tuple[str, ...] = ()
    swaps: tuple[str, ...] = ()
    loaded_modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observed:
    """What is there. ``modules`` has one of ``present``, ``loadable``, ``missing`` by name; ``persistable`` are modules that are files."""

    modules: t.Mapping[str, str] = field(default_factory=dict)
    persistable: frozenset[str] = frozenset()
    modules_load: str = ""
    swaps: tuple[str, ...] = ()
    fstab: str = ""
    swap_units: tuple[str, ...] = ()
    root_shared: bool = True
    mount_unit: str = ""
    memory: Memory = Memory()
    state_dir_exists: bool = True


@dataclass(frozen=True)
class Change:
    """One step: ``verb`` (``write``, ``remove``, ``modprobe``, ``swapoff``, ``swapon``, ``mask``, ``unmask``, ``share``, ``mkdir``) and its object."""

    verb: str
    name: str
    before: str = ""
    after: str = ""


# --- parsers (pure) -------------------------------------------------------------------------------------------------------------------------


def normal(name: str) -> str:
    """Return a module's name as sysfs spells it."""
    return name.replace("-", "_")


def parse_module_files(text: str) -> frozenset[str]:
    """Read modules.builtin (one path a line) or modules.dep (``path: paths``): the names of the modules."""
    names = set()
    for line in text.splitlines():
        base = line.split(":")[0].strip().rpartition("/")[2]
        if ".ko" in base:
            names.add(normal(base.partition(".ko")[0]))
    return frozenset(names)


def parse_root_shared(mountinfo: str) -> bool:
    """Tell from mountinfo whether / is in a peer group; the last line for / is the one that is seen."""
    shared = True
    for line in mountinfo.splitlines():
        words = line.split()
        if len(words) > 6 and words[4] == "/":
            shared = any(word.startswith("shared:") for word in words[6 : words.index("-") if "-" in words else None])
    return shared


def is_swap_line(line: str) -> bool:
    """Tell whether a line of fstab(5) makes swap."""
    words = line.split()
    return len(words) >= 3 and not words[0].startswith("#") and words[2] == "swap"


def fstab_without_swap(text: str) -> str:
    """Comment the swap lines of an fstab out."""
    return "".join(MARK + line if is_swap_line(line) else line for line in text.splitlines(keepends=True))


def fstab_restored(text: str) -> str:
    """Put back what :func:`fstab_without_swap` commented out."""
    return "".join(line[len(MARK) :] if line.startswith(MARK) else line for line in text.splitlines(keepends=True))


def modules_load_text(names: t.Iterable[str]) -> str:
    """Return the content of our file in /etc/modules-load.d; empty when there is nothing to load."""
    wanted = sorted(names)
    return HEADER + "".join(f"{name}\n" for name in wanted) if wanted else ""


# --- plan (pure) ----------------------------------------------------------------------------------------------------------------------------


def plan_present(
    seen: Observed, modules: t.Sequence[ModuleSpec], swap_off: bool, shared_mounts: bool, state_dir: str
) -> tuple[Change, ...]:
    """Return the steps that prepare a machine; raise :class:`NodePrepError` when a module that is needed cannot be had."""
    absent = [spec.name for spec in modules if spec.required and seen.modules[spec.name] == "missing"]
    if absent:
        raise NodePrepError(
            f"kernel modules {', '.join(absent)}: neither loaded, nor built in, nor on the disk for the running kernel. "
            "Install the kernel's extra modules (Ubuntu: linux-modules-extra, Red Hat: kernel-modules), or reboot when the kernel was updated."
        )
    changes = [] if seen.state_dir_exists else [Change("mkdir", state_dir, "absent", "directory, mode 0700")]
    text = modules_load_text({spec.name for spec in modules} & seen.persistable)
    changes += _file_change(MODULES_LOAD, seen.modules_load, text)
    changes += [
        Change("modprobe", spec.name, "not loaded", "loaded")
        for spec in modules
        if seen.modules[spec.name] == "loadable"
    ]
    if swap_off:
        changes += _file_change(FSTAB, seen.fstab, fstab_without_swap(seen.fstab))
        changes += [Change("mask", name, "not masked", "masked") for name in seen.swap_units]
        changes += [Change("swapoff", name, "in use", "off") for name in seen.swaps]
    if shared_mounts and (not seen.root_shared or seen.mount_unit):
        # systemd shares / by itself on a real machine; where it did not, it will not after the next boot either.
        changes += _file_change(f"/etc/systemd/system/{MOUNT_UNIT}", seen.mount_unit, MOUNT_UNIT_TEXT)
        if not seen.root_shared:
            changes.append(Change("share", "/", "private", "shared"))
    return tuple(changes)


def plan_absent(seen: Observed) -> tuple[Change, ...]:
    """Return the steps that undo everything; modules stay loaded until the next boot, because others may use them by now."""
    changes = _file_change(MODULES_LOAD, seen.modules_load, "")
    changes += _file_change(FSTAB, seen.fstab, fstab_restored(seen.fstab))
    changes += [Change("unmask", name, "masked", "not masked") for name in seen.memory.masked_units]
    changes += [Change("swapon", name, "off", "in use") for name in seen.memory.swaps if name not in seen.swaps]
    changes += _file_change(f"/etc/systemd/system/{MOUNT_UNIT}", seen.mount_unit, "")
    return tuple(changes)


def _file_change(path: str, before: str, after: str) -> list[Change]:
    if before == after:
        return []
    return [Change("write" if after else "remove", path, before, after)]


def remember(memory: Memory, changes: t.Sequence[Change]) -> Memory:
    """Add to the memory what the steps are going to take away."""

    def added(old: tuple[str, ...], verb: str) -> tuple[str, ...]:
        return tuple(sorted({*old, *(change.name for change in changes if change.verb == verb)}))

    return replace(
        memory,
        masked_units=added(memory.masked_units, "mask"),
        swaps=added(memory.swaps, "swapoff"),
        loaded_modules=added(memory.loaded_modules, "modprobe"),
    )


def diff(changes: t.Sequence[Change]) -> list[dict[str, str]]:
    """Build Ansible's diff from the planned steps."""
    return [
        {
            "before_header": f"{change.verb} {change.name}",
            "after_header": f"{change.verb} {change.name}",
            "before": _line(change.before),
            "after": _line(change.after),
        }
        for change in changes
    ]


def _line(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


# --- observation ----------------------------------------------------------------------------------------------------------------------------


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except OSError:
        return ""


def observe(modules: t.Sequence[ModuleSpec], state_dir: str) -> Observed:
    """Look at the machine; changes nothing."""
    tree = f"/lib/modules/{platform.release()}"
    builtin, files = (
        parse_module_files(_read(f"{tree}/modules.builtin")),
        parse_module_files(_read(f"{tree}/modules.dep")),
    )
    return Observed(
        modules={spec.name: module_state(spec, builtin, files) for spec in modules},
        persistable=frozenset(spec.name for spec in modules if normal(spec.name) in files),
        modules_load=_read(MODULES_LOAD),
        swaps=tuple(
            line.split()[0].replace("\\040", " ") for line in _read("/proc/swaps").splitlines()[1:] if line.split()
        ),
        fstab=_read(FSTAB),
        swap_units=observe_swap_units(),
        root_shared=parse_root_shared(_read("/proc/self/mountinfo")),
        mount_unit=observe_mount_unit(),
        memory=read_memory(state_dir),
        state_dir_exists=os.path.isdir(state_dir),
    )


def observe_mount_unit(directory: str = "/etc/systemd/system") -> str:
    """Return the text of our unit; nothing when it is not enabled, as after a run that was killed in between, so that it is installed again."""
    enabled = os.path.lexists(os.path.join(directory, "multi-user.target.wants", MOUNT_UNIT))
    return _read(os.path.join(directory, MOUNT_UNIT)) if enabled else ""


def module_state(spec: ModuleSpec, builtin: t.AbstractSet[str], files: t.AbstractSet[str], root: str = "/") -> str:
    """Return ``present``, ``loadable`` or ``missing``. Containers and odd kernels have no /proc/modules, so a feature counts as much as a module."""
    name = normal(spec.name)
    if name in builtin or os.path.isdir(os.path.join(root, "sys/module", name)):
        return "present"
    if spec.feature and os.path.exists(os.path.join(root, spec.feature.lstrip("/"))):
        return "present"
    listed = re.search(rf"^(nodev)?\s+{re.escape(spec.name)}$", _read(os.path.join(root, "proc/filesystems")), re.M)
    if listed:
        return "present"
    return "loadable" if name in files else "missing"


def observe_swap_units() -> tuple[str, ...]:
    """Return the units that make swap and are not masked. Those that are made from fstab are left out: they go with their line."""
    try:
        listed = run(
            ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager", "*.swap"], timeout=30
        ).stdout
        # By pattern, not by --type: systemd then finds out the state of these files only, not of every unit's (half a second of a core).
        files = run(
            ["systemctl", "list-unit-files", "--plain", "--no-legend", "--no-pager", "*.swap"], timeout=30, check=False
        ).stdout
        names = {
            line.split()[0]
            for line in (listed + files).splitlines()
            if line.split() and line.split()[0].endswith(".swap")
        }
        names |= set(SWAP_SERVICES)
        properties = "--property=Id,LoadState,UnitFileState,ActiveState,SourcePath"
        shown = run(["systemctl", "show", properties, "--", *sorted(names)], timeout=30).stdout
    except CommandError:
        return ()
    return tuple(sorted(set(parse_swap_units(shown))))


def parse_swap_units(text: str) -> t.Iterator[str]:
    """Read ``systemctl show`` of units that may make swap; yield those that have to be masked."""
    for block in text.strip("\n").split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("LoadState") != "loaded" or values.get("SourcePath") == FSTAB:
            continue
        is_service = values["Id"].endswith(".service")
        if (
            not is_service
            or values.get("UnitFileState", "").startswith("enabled")
            or values.get("ActiveState") == "active"
        ):
            yield values["Id"]


def read_memory(state_dir: str) -> Memory:
    """Read what earlier runs took away."""
    try:
        values = json.loads(_read(os.path.join(state_dir, STATE_NAME)) or "{}")
    except ValueError as exc:
        raise NodePrepError(
            f"{os.path.join(state_dir, STATE_NAME)} is not JSON ({exc}); move it away, then this host cannot be reset fully"
        ) from exc
    return Memory(**{key: tuple(values.get(key, ())) for key in asdict(Memory())})


# --- action ---------------------------------------------------------------------------------------------------------------------------------


def apply(changes: t.Sequence[Change], memory: Memory, state_dir: str) -> None:
    """Carry the steps out; the memory is written first."""
    if any(change.verb != "mkdir" for change in changes) or not os.path.isdir(state_dir):
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
        write_atomic(os.path.join(state_dir, STATE_NAME), (json.dumps(asdict(memory), indent=2) + "\n").encode(), 0o600)
    problems = []
    for change in changes:
        try:
            _ACTIONS[change.verb](change)
        except (CommandError, OSError) as exc:
            problems.append(f"{change.verb} {change.name}: {exc}")
    if problems:
        raise NodePrepError("\n".join(problems))


def forget(state_dir: str) -> None:
    """Remove the memory after everything was undone."""
    path = os.path.join(state_dir, STATE_NAME)
    if os.path.exists(path):
        os.unlink(path)
        sync_directory(state_dir)


def _write(change: Change) -> None:
    mode = os.stat(change.name).st_mode & 0o7777 if os.path.exists(change.name) else 0o644
    os.makedirs(os.path.dirname(change.name), mode=0o755, exist_ok=True)
    write_atomic(change.name, change.after.encode("utf-8", errors="surrogateescape"), mode)
    if change.name.endswith(MOUNT_UNIT):
        run(["systemctl", "daemon-reload"])
        run(["systemctl", "enable", MOUNT_UNIT])
    elif change.name == FSTAB:
        run(["systemctl", "daemon-reload"])


def _remove(change: Change) -> None:
    if change.name.endswith(MOUNT_UNIT):
        run(["systemctl", "disable", MOUNT_UNIT])
    os.unlink(change.name)
    sync_directory(os.path.dirname(change.name))


_ACTIONS: dict[str, t.Callable[[Change], t.Any]] = {
    "mkdir": lambda change: None,
    "write": _write,
    "remove": _remove,
    "modprobe": lambda change: run(["modprobe", "--", change.name]),
    "swapoff": lambda change: run(["swapoff", "--", change.name], timeout=1800),
    "swapon": lambda change: run(["swapon", "--", change.name], timeout=120),
    "mask": lambda change: run(["systemctl", "mask", "--now", "--", change.name], timeout=1800),
    "unmask": lambda change: run(["systemctl", "unmask", "--", change.name]),
    "share": lambda change: run(["mount", "--make-rshared", "/"]),
}
