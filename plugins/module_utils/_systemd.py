# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says of a unit, and the few verbs that the modules need."""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run, tail

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "ExecMainStartTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
    "MainPID",
    "Result",
    "Type",
    "NRestarts",
    "FragmentPath",
    "DropInPaths",
)

# Where an administrator's units live (systemd.unit(5)). A change of a packaged unit below /usr is the package's own affair.
UNIT_DIRECTORIES = ("/etc/systemd/system/", "/run/systemd/system/")


@dataclass(frozen=True)
class UnitState:
    """A unit as systemd sees it.

    ``started_at`` is when its main process was started (a unit without one: when it became active), in seconds since the epoch, 0: never.
    ``files`` are the unit's own file and drop-ins, ``restarts`` how often systemd restarted it by itself.
    """

    name: str
    load: str
    active: str
    sub: str
    enabled: str
    need_reload: bool
    started_at: float
    main_pid: int
    result: str
    kind: str = ""
    restarts: int = 0
    files: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.load not in ("not-found", "")

    @property
    def running(self) -> bool:
        return self.active in ("active", "activating", "reloading")

    @property
    def own_files(self) -> tuple[str, ...]:
        """The unit files that an administrator (or this collection) wrote."""
        return tuple(path for path in self.files if path.startswith(UNIT_DIRECTORIES))


def unit_name(name: str) -> str:
    """Return the full name of a unit: systemctl's own rule, no suffix means ``.service``."""
    suffixes = (
        ".service",
        ".socket",
        ".timer",
        ".mount",
        ".path",
        ".target",
        ".slice",
        ".swap",
        ".automount",
        ".device",
        ".scope",
    )
    return name if name.endswith(suffixes) else f"{name}.service"


def _number(values: t.Mapping[str, str], key: str) -> int:
    text = values.get(key, "")
    return int(text) if text.isdigit() else 0


def parse_show(name: str, text: str, boot_offset: float) -> UnitState:
    """Read the output of ``systemctl show`` for one unit.

    :param boot_offset: seconds since the epoch minus the monotonic clock, so that monotonic stamps can be compared with file times.
    """
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    monotonic_us = _number(values, "ExecMainStartTimestampMonotonic") or _number(
        values, "ActiveEnterTimestampMonotonic"
    )
    fragment = values.get("FragmentPath", "")
    return UnitState(
        name=name,
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        enabled=values.get("UnitFileState", ""),
        need_reload=values.get("NeedDaemonReload", "no") == "yes",
        started_at=boot_offset + monotonic_us / 1e6 if monotonic_us else 0.0,
        main_pid=_number(values, "MainPID"),
        result=values.get("Result", ""),
        kind=values.get("Type", ""),
        restarts=_number(values, "NRestarts"),
        files=tuple(path for path in (fragment, *values.get("DropInPaths", "").split()) if path),
    )


def show_many(names: t.Sequence[str]) -> dict[str, UnitState]:
    """Ask systemd for several units in one call; an unknown unit has ``load == 'not-found'``. The order of the answer is that of the question."""
    if not names:
        return {}
    boot_offset = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    argv = [
        "systemctl",
        "show",
        "--no-pager",
        "--property=" + ",".join(PROPERTIES),
        "--",
        *[unit_name(name) for name in names],
    ]
    blocks = run(argv, timeout=30).stdout.strip("\n").split("\n\n")
    if len(blocks) != len(names):
        raise CommandError(f"systemctl show answered for {len(blocks)} of {len(names)} units ({', '.join(names)})")
    return {name: parse_show(name, block, boot_offset) for name, block in zip(names, blocks)}


def show(name: str) -> UnitState:
    """Ask systemd for the state of one unit; an unknown unit has ``load == 'not-found'``."""
    return show_many([name])[name]


def newest_mtime(paths: t.Iterable[str]) -> float:
    """Return the newest modification time (seconds since the epoch) of those of ``paths`` that exist; 0 when none does.

    A directory counts with everything below it, so that a file removed from it counts too.
    """
    newest = 0.0
    for path in paths:
        for entry in walk(path):
            try:
                newest = max(newest, os.stat(entry).st_mtime)
            except OSError:
                continue
    return newest


def walk(path: str) -> t.Iterator[str]:
    """Yield ``path`` and, when it is a directory, everything below it."""
    yield path
    for directory, subdirectories, files in os.walk(path):
        for name in (*subdirectories, *files):
            yield os.path.join(directory, name)


def is_stale(unit: UnitState, paths: t.Iterable[str]) -> bool:
    """Tell whether a running unit was started before the newest of the files it reads (its own unit files included) was written."""
    return unit.running and 0 < unit.started_at < newest_mtime([*paths, *unit.own_files])


def systemctl(verb: str, *units: str, timeout: float = 120.0, block: bool = True) -> None:
    """Run one systemctl verb on units, waiting for the job unless ``block`` is false."""
    run(["systemctl", verb, *([] if block else ["--no-block"]), *units], timeout=timeout)


def explain(name: str, lines: int = 15) -> str:
    """Say what systemd and the journal know of a unit that does not run, for an error message."""
    name = unit_name(name)
    argvs = (
        ["systemctl", "status", "--no-pager", "--full", "--lines=0", name],
        ["journalctl", "--no-pager", "--output=cat", f"--lines={lines}", "--unit", name],
    )
    said = []
    for argv in argvs:
        try:
            said.append(tail(run(argv, timeout=20, check=False).stdout, lines))
        except CommandError as exc:
            said.append(str(exc))
    return "\n".join(text for text in said if text)


def wait_active(name: str, seconds: float, settle: float = 0.5) -> str:
    """Wait until a unit is active and stays so; return "" or, when it is not, why.

    :param settle: seconds that the same process has to live on, because a ``Type=simple`` unit is active before its program has read its files.
    """
    deadline = time.monotonic() + seconds
    while True:
        unit = show(name)
        if unit.active == "active" or _has_finished(unit):
            if unit.started_at and time.time() - unit.started_at < settle:
                time.sleep(settle)
            again = show(name)
            if again.active == unit.active and again.main_pid == unit.main_pid and again.restarts == unit.restarts:
                return ""
        elif unit.active == "failed":
            return f"{name} failed (result: {unit.result})"
        if time.monotonic() > deadline:
            return (
                f"{name} is {unit.active}/{unit.sub} after {seconds:g} s (restarted by systemd {unit.restarts} times)"
            )
        time.sleep(0.2)


def _has_finished(unit: UnitState) -> bool:
    return unit.kind == "oneshot" and unit.active == "inactive" and unit.result == "success" and unit.started_at > 0
