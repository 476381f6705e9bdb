# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time: who holds a cluster, and whether another run may take it over. Pure but for :func:`process_start` and :func:`this_run`.

A lease is a small file on every control plane. Its holder is a process on a controller; a process that can be shown to be gone holds nothing any more. That
can only be shown on the same controller: same boot, same namespace of process numbers, no process of that number with that start time.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import subprocess
import time
import typing as t
from dataclasses import asdict, dataclass

FREE, OURS, TAKEN, EXPIRED, DEAD, BROKEN = "free", "ours", "taken", "expired", "dead", "broken"
MINE = frozenset({FREE, OURS, BROKEN})  # may be taken without a look for the holder's process


@dataclass(frozen=True)
class Run:
    """A run of ansible-playbook. ``boot`` and ``namespace`` say where ``pid`` means something (empty: unknown); ``started`` is that process's start, in
    a form that only has to be equal for the same process."""

    holder: str
    boot: str
    namespace: str
    pid: int
    started: str


@dataclass(frozen=True)
class Lease:
    """What stands in the file. Times are seconds since the epoch by the clock of the host that keeps the file."""

    run: Run
    acquired: float
    expires: float


def parse(text: str) -> t.Optional[Lease]:
    """Read a lease; None for a text that is none (it holds nothing)."""
    try:
        values = json.loads(text)
        return Lease(Run(**values["run"]), float(values["acquired"]), float(values["expires"]))
    except (ValueError, KeyError, TypeError):
        return None


def render(lease: Lease) -> str:
    """A lease as it is written."""
    return json.dumps(asdict(lease), indent=1, sort_keys=True) + "\n"


def alive(run: Run, controller: Run, start_of: t.Callable[[int], str]) -> t.Optional[bool]:
    """Whether a run's process still exists, asked on a controller; None when that cannot be told from there.

    :param controller: the run that asks.
    :param start_of: gives the start of a process by its number, empty when there is none.
    """
    if not run.boot or not run.namespace or (run.boot, run.namespace) != (controller.boot, controller.namespace):
        return None
    return bool(run.started) and start_of(run.pid) == run.started


def judge(found: t.Optional[Lease], run: Run, now: float, living: t.Optional[bool], broken: str = "") -> str:
    """Decide what a lease means for a run that wants to begin.

    :param living: whether the holder's process exists (:func:`alive`).
    :param broken: the holder whose lease the user breaks by hand.
    """
    if found is None:
        return FREE
    if found.run == run:
        return OURS
    if broken and broken == found.run.holder:
        return BROKEN
    if living is False:
        return DEAD
    if found.expires <= now and living is not True:
        return EXPIRED
    return TAKEN


def refusal(found: Lease, now: float) -> str:
    """Why a run may not begin, and what to do."""
    ago, left = max(0, round(now - found.acquired)), max(0, round(found.expires - now))
    return (
        f"another run is changing this cluster: {found.run.holder} (process {found.run.pid}), which took the lease {ago} s ago and has it for {left} s more. "
        f"Wait for it. If you know that it is gone, run again with -e cluster_lease_break={found.run.holder}"
    )


def process_start(pid: int) -> str:
    """The start of a process of this machine, empty when there is none of that number."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        if os.path.exists("/proc/self/stat"):
            return ""
    done = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.stdout.strip()


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.readline().strip()
    except OSError:
        return ""


def this_run(pid: int) -> Run:
    """The run whose main process is ``pid``, on this machine."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = socket.gethostname()  # no namespaces: the machine is one
    boot = _first_line("/proc/sys/kernel/random/boot_id") or socket.gethostname()
    return Run(f"{getpass.getuser()}@{socket.gethostname()}", boot, namespace, pid, process_start(pid))


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
