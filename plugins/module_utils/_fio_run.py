# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures a directory's disk with fio and leaves nothing behind.

The files that fio writes have no name: they are made in a private directory, opened and unlinked at once, and fio gets them as open descriptors. So
the kernel frees them when the last process that has them ends, whichever way that happens. fio itself ends with this process
(signals, timeouts, a caller that is gone, SIGKILL).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
import types
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio_device as disks
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import (
    CommandError,
    caller_is_gone,
    run,
    tail,
)

PREFIX = ".bare-metal-kubernetes-fio."
RESULTS = "disk-qualification.json"
GRACE_SECONDS = 60  # for what fio does before and after its runtime: its last commit, on a disk that hangs
LOOK_SECONDS = 0.5
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class StoppedError(Exception):
    """The measurement was told to end."""


class RefusedError(Exception):
    """The disk may not be measured; ``reasons`` has one text each."""

    def __init__(self, reasons: t.Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True)
class Request:
    """What is to be measured, how, and where the result is remembered (the caller's arguments)."""

    directory: str
    profile: str = "standard"
    seconds: int = 0
    limits: core.Limits = field(default_factory=core.Limits)
    allow_filesystems: tuple[str, ...] = ()
    allow_live: bool = False
    max_age_seconds: float = 0
    state_dir: str = "/var/lib/bare-metal-kubernetes"

    def parameters(self) -> dict[str, t.Any]:
        """What a result depends on besides the machine."""
        return {"profile": self.profile, "seconds": self.seconds, **asdict(self.limits)}


def qualify(request: Request, act: bool = True) -> dict[str, t.Any]:
    """Measure, judge and remember; or take the remembered result, as long as it is young enough and of the same disk, kernel and parameters.

    Without ``act`` nothing is written and no fio runs. The result has ``verdict`` (core.MEASURED_VERDICTS, or ``refused``, ``error``,
    ``unmeasured``), ``reasons``, ``summary``, ``reused``, ``measured_directory`` and the keys of an entry of disk-qualification.json.
    StoppedError when a signal came or the caller is gone.
    """
    runs = core.plan(request.profile, request.seconds)
    directory = os.path.abspath(request.directory)  # one name for it, so that its result is found again
    target = disks.observe(directory)
    same = {"device": dict(target.device), "kernel": platform.release(), "parameters": request.parameters()}
    entry: dict[str, t.Any] = {"at": int(time.time()), "profile": request.profile, "p99_ns": 0, "windows": [], **same}
    remembered = results(request.state_dir).get(directory, {})
    reused = core.reusable(remembered, time.time(), request.max_age_seconds, same)
    summary: t.Mapping[str, t.Any] = {}
    sizes = core.file_sizes(request.profile)
    refusals = disks.refusals(target, sum(sizes.values()), request.allow_filesystems, request.allow_live)
    if reused:
        entry = dict(remembered)
        summary = core.summary([core.from_data(window) for window in entry["windows"]])
    elif refusals:
        entry |= {"verdict": "refused", "reasons": refusals}
    elif not act:
        entry |= {
            "verdict": "unmeasured",
            "reasons": ["check mode measures nothing: no file was written, fio did not run"],
        }
    else:
        try:
            windows = measure(target, runs, sizes, request.limits)
        except RefusedError as exc:
            entry |= {"verdict": "refused", "reasons": list(exc.reasons)}
        except (core.FioError, CommandError, OSError) as exc:
            entry |= {"verdict": "error", "reasons": [str(exc)]}
        else:
            found = core.judge(windows, request.limits)
            entry |= {"verdict": found.verdict, "reasons": list(found.reasons), "p99_ns": found.p99_ns}
            entry |= {"at": int(time.time()), "windows": [core.as_data(window) for window in windows]}
            summary = found.summary
            remember(request.state_dir, directory, entry)
    return {
        **entry,
        "directory": directory,
        "measured_directory": target.measured,
        "summary": dict(summary),
        "reused": reused,
    }


def results(state_dir: str) -> dict[str, t.Any]:
    """The remembered results by directory; none when there is no file."""
    try:
        with open(f"{state_dir}/{RESULTS}", encoding="utf-8", errors="replace") as stream:
            return core.parse_results(stream.read())
    except FileNotFoundError:
        return {}


def remember(state_dir: str, directory: str, entry: t.Mapping[str, t.Any]) -> None:
    """Put a result in the place of an older one of the same directory."""
    os.makedirs(state_dir, mode=0o755, exist_ok=True)
    text = core.render_results({**results(state_dir), directory: entry})
    write_atomic(f"{state_dir}/{RESULTS}", text.encode("utf-8"))


# --- measuring --------------------------------------------------------------------------------------------------------------------------------


def measure(
    target: disks.Target, runs: t.Sequence[core.Run], sizes: t.Mapping[str, int], limits: core.Limits
) -> list[core.Window]:
    """All runs, one after the other. RefusedError while another measurement goes on; StoppedError, FioError, CommandError, OSError."""
    version = core.fio_version(run(["fio", "--version"], timeout=30).stdout)
    if version < core.OLDEST_FIO:
        raise core.FioError(
            f"fio {'.'.join(map(str, core.OLDEST_FIO))} or newer is needed, here is {version or 'an unknown one'}"
        )
    with ended_by_signals(), locked(target.mount.path), scratch(target.measured, sizes) as files:
        direct = fill(files, sizes)
        paths = {name: descriptor_path(descriptor) for name, descriptor in files.items()}
        windows = []
        for number, wanted in enumerate(runs, 1):
            preallocate(files["commit"], sizes["commit"])
            argv = core.fio_argv(wanted, sizes, paths, direct)
            try:
                text = run_fio(argv, tuple(files.values()), wanted.seconds + GRACE_SECONDS)
                windows.append(core.parse_window(text, wanted, limits))
            except core.FioError as exc:
                raise core.FioError(f"window {number} of {len(runs)} ({wanted.title()}): {exc}") from exc
        return windows


def descriptor_path(descriptor: int) -> str:
    """The path by which a child opens an inherited descriptor's file anew."""
    return f"/proc/self/fd/{descriptor}"


@contextlib.contextmanager
def ended_by_signals() -> t.Iterator[None]:
    """Turn the signals that end a process into :class:`StoppedError`, so that what has to be undone is undone. Only the first one counts."""

    def stop(number: int, _frame: types.FrameType | None) -> None:
        for name in SIGNALS:
            signal.signal(name, signal.SIG_IGN)
        raise StoppedError(f"the measurement was stopped by {signal.Signals(number).name}; nothing of it is left")

    before = {name: signal.signal(name, stop) for name in SIGNALS}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextlib.contextmanager
def locked(path: str) -> t.Iterator[None]:
    """Let one measurement at a time have a file system. The lock is on its mount point itself, so no file is left, and it ends with the process."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise RefusedError(
                [f"another measurement is going on on the file system at '{path}': two would measure each other"]
            ) from exc
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def scratch(directory: str, names: t.Iterable[str]) -> t.Iterator[dict[str, int]]:
    """Open files without a name on the disk of ``directory``. Call it with the lock held: what a killed run left is removed."""
    for entry in os.scandir(directory):
        if (
            entry.name.startswith(PREFIX)
            and entry.is_dir(follow_symlinks=False)
            and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
        ):
            shutil.rmtree(entry.path)
    files: dict[str, int] = {}
    private = tempfile.mkdtemp(prefix=PREFIX, dir=directory)  # 0700
    try:
        for name in names:
            path = os.path.join(private, name)
            files[name] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(private)  # NFS keeps unlinked files as names until they are closed
        yield files
    finally:
        for descriptor in files.values():
            os.close(descriptor)
        if os.path.isdir(private):
            shutil.rmtree(private)


def preallocate(descriptor: int, size: int) -> None:
    """Give an empty file its space but no content, as etcd does with a new segment of its WAL."""
    os.ftruncate(descriptor, 0)
    os.posix_fallocate(descriptor, 0, size)
    os.fsync(descriptor)


def fill(files: t.Mapping[str, int], sizes: t.Mapping[str, int]) -> bool:
    """Make the files of the load, the one that is read with content. Says whether this file system reads past the page cache (O_DIRECT)."""
    if "writer" in files:
        preallocate(files["writer"], sizes["writer"])
    if "reader" not in files:
        return True
    for _number in range(sizes["reader"] // core.MIB):
        os.write(files["reader"], os.urandom(core.MIB))
    os.fsync(files["reader"])
    os.posix_fadvise(files["reader"], 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        os.close(os.open(descriptor_path(files["reader"]), os.O_RDONLY | os.O_DIRECT))
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        return False
    return True


def run_fio(argv: t.Sequence[str], descriptors: t.Collection[int], timeout: float) -> str:
    """Run fio and return what it printed. FioError when it failed or did not end; StoppedError when nobody waits for the result any more."""
    parent = os.getpid()

    def end_with_parent() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    with subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "LC_ALL": "C"},
        pass_fds=tuple(descriptors),
        start_new_session=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509  # no threads here
    ) as process:
        try:
            stdout, stderr = _wait(process, time.monotonic() + timeout, timeout)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        said = tail(stderr, 3) or next(
            (line for line in stdout.splitlines() if line.startswith("fio:")), "it did not say why"
        )
        raise core.FioError(f"fio failed with exit code {process.returncode}: {said}")
    return stdout


def _wait(process: subprocess.Popen[str], deadline: float, timeout: float) -> tuple[str, str]:
    while True:
        try:
            return process.communicate(timeout=LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise core.FioError(f"fio did not end within {timeout:g} s: the disk hangs") from None
            if caller_is_gone():
                raise StoppedError("nobody waits for the result any more") from None
