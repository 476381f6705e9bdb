# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says of a unit, and the few verbs that the modules need."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import run

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "ExecMainStartTimestampMonotonic",
    "MainPID",
    "Result",
)


@dataclass(frozen=True)
class UnitState:
    """A unit as systemd sees it. ``started_at`` is seconds since the epoch (0: never started)."""

    name: str
    load: str
    active: str
    sub: str
    enabled: str
    need_reload: bool
    started_at: float
    main_pid: int
    result: str

    @property
    def running(self) -> bool:
        return self.active in ("active", "activating", "reloading")


def parse_show(name: str, text: str, boot_offset: float) -> UnitState:
    """Read the output of ``systemctl show``.

    :param boot_offset: seconds since the epoch minus the monotonic clock, so that monotonic stamps can be compared with file times.
    """
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    monotonic_us = int(values.get("ExecMainStartTimestampMonotonic") or 0)
    return UnitState(
        name=name,
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        enabled=values.get("UnitFileState", ""),
        need_reload=values.get("NeedDaemonReload", "no") == "yes",
        started_at=boot_offset + monotonic_us / 1e6 if monotonic_us else 0.0,
        main_pid=int(values.get("MainPID") or 0),
        result=values.get("Result", ""),
    )


def show(name: str) -> UnitState:
    """Ask systemd for the state of one unit; an unknown unit has ``load == 'not-found'``."""
    import time

    boot_offset = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    argv = ["systemctl", "show", name, "--no-pager", "--property=" + ",".join(PROPERTIES)]
    return parse_show(name, run(argv, timeout=30).stdout, boot_offset)


def newest_mtime(paths: t.Iterable[str]) -> float:
    """Return the newest modification time (seconds since the epoch) of those of ``paths`` that exist; 0 when none does."""
    return max((os.stat(path).st_mtime for path in paths if os.path.exists(path)), default=0.0)


def is_stale(unit: UnitState, paths: t.Iterable[str]) -> bool:
    """Tell whether a running unit was started before the newest of the files it reads was written."""
    return unit.running and 0 < unit.started_at < newest_mtime(paths)


def systemctl(verb: str, *units: str, timeout: float = 120.0, block: bool = True) -> None:
    """Run one systemctl verb on units, waiting for the job unless ``block`` is false."""
    run(["systemctl", verb, *([] if block else ["--no-block"]), *units], timeout=timeout)
