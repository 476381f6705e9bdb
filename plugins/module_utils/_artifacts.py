# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the bundle on a node: observe, plan, fetch, install. The module ``node_artifacts`` is its shell.

A file is fetched into ``.<name>.<sum>.part`` beside its destination, checked, given its owner and mode, and only when *all* files of the
call are there is the first of them renamed into place. So a call that fails has changed nothing, and a killed one is continued.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import glob
import grp
import json
import os
import pwd
import time
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _atomic, _download, _oci_registry

PARTIAL_SUFFIX = ".part"


class ArtifactError(Exception):
    """Everything that is wrong with a call, one line each."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Artifact:
    """A wanted file: bare hex sum, bytes, absolute path, permission bits, names of its owner and group."""

    name: str
    sha256: str
    size: int
    dest: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"

    @property
    def partial(self) -> str:
        """Where it is fetched to: in the same directory, because a rename has to stay on one file system."""
        directory, base = os.path.split(self.dest)
        return os.path.join(directory, f".{base}.{self.sha256[:16]}{PARTIAL_SUFFIX}")


@dataclass(frozen=True)
class Observed:
    """What stands at a destination. ``sha256`` is "" unless it is a file."""

    kind: str
    sha256: str = ""
    mode: int = 0
    owner: str = ""
    group: str = ""

    def line(self, path: str) -> str:
        """One line for a diff."""
        if self.kind != "file":
            return f"{path}: {self.kind}"
        return f"{path}: sha256:{self.sha256} {self.mode:04o} {self.owner}:{self.group}"


@dataclass(frozen=True)
class Change:
    """A file that has to change; ``fetch``: its content too, otherwise only owner or mode."""

    artifact: Artifact
    before: Observed
    fetch: bool

    @property
    def after(self) -> Observed:
        wanted = self.artifact
        return Observed("file", wanted.sha256, wanted.mode, wanted.owner, wanted.group)


# --- what is wanted


def _problems_of(entry: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    name = entry.get("name")
    if not _oci_registry.is_hex_sha256(str(entry.get("sha256"))):
        yield f"{name}: sha256 {entry.get('sha256')!r} is not 64 lower-case hexadecimal digits"
    if not isinstance(entry.get("size"), int) or entry["size"] < 0:
        yield f"{name}: size {entry.get('size')!r} is not a number of bytes"
    dest = str(entry.get("dest"))
    if not os.path.isabs(dest) or os.path.normpath(dest) != dest:
        yield f"{name}: dest {dest!r} is not an absolute path in its shortest form"
    mode = str(entry.get("mode", "0755"))
    if not (mode.isdigit() and set(mode) <= set("01234567") and 3 <= len(mode) <= 4):
        yield f"{name}: mode {mode!r} is not octal, like '0755'"


def parse_artifacts(entries: t.Sequence[t.Mapping[str, t.Any]]) -> list[Artifact]:
    """Turn ``[{name, sha256, size, dest, mode, owner, group}]`` into typed form; all that is wrong is told at once."""
    problems = [problem for entry in entries for problem in _problems_of(entry)]
    by_dest: dict[str, str] = {}
    for entry in entries:
        dest, name = str(entry.get("dest")), str(entry.get("name"))
        if dest in by_dest:
            problems.append(f"{name}: dest {dest} is also that of {by_dest[dest]}")
        by_dest[dest] = name
    if problems:
        raise ArtifactError(problems)
    return [
        Artifact(
            str(entry["name"]),
            entry["sha256"],
            entry["size"],
            entry["dest"],
            int(str(entry.get("mode", "0755")), 8),
            entry.get("owner", "root"),
            entry.get("group", "root"),
        )
        for entry in entries
    ]


# --- what is there


class SumCache:
    """Sums of files that have not changed since they were hashed, in a JSON file.

    An entry counts while inode, size, mtime and ctime are those of the file; no program can set a ctime.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._entries = self._load()
        self._dirty = False
        self.hashed = 0

    def _load(self) -> dict[str, t.Any]:
        try:
            with open(self.path, encoding="utf-8") as stream:
                loaded = json.load(stream)
        except (OSError, ValueError):
            return {}
        return loaded if isinstance(loaded, dict) else {}

    @staticmethod
    def _stamp(state: _atomic.FileState) -> dict[str, int]:
        return {"inode": state.inode, "size": state.size, "mtime_ns": state.mtime_ns, "ctime_ns": state.ctime_ns}

    def sum_of(self, state: _atomic.FileState) -> str:
        """Return the sum of a file, hashed only when the cache does not know it as it stands."""
        entry = self._entries.get(state.path)
        stamp = self._stamp(state)
        if (
            isinstance(entry, dict)
            and isinstance(entry.get("sha256"), str)
            and entry == {**stamp, "sha256": entry["sha256"]}
        ):
            return str(entry["sha256"])
        self.hashed += 1
        found = _atomic.sha256_of_file(state.path)
        self.remember(state, found)
        return found

    def remember(self, state: _atomic.FileState, sha256: str) -> None:
        """Note the sum of a file as it stands."""
        self._entries[state.path] = {**self._stamp(state), "sha256": sha256}
        self._dirty = True

    def save(self) -> None:
        """Write the cache when it has changed, without the files that are gone."""
        if not self._dirty:
            return
        kept = {path: entry for path, entry in sorted(self._entries.items()) if os.path.lexists(path)}
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        _atomic.write_atomic(self.path, (json.dumps(kept, indent=1) + "\n").encode(), 0o600)
        self._dirty = False


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def observe(artifact: Artifact, cache: SumCache) -> Observed:
    """Look at one destination, without following a link."""
    state = _atomic.file_state(artifact.dest)
    if state.kind != "file":
        return Observed(state.kind)
    return Observed("file", cache.sum_of(state), state.mode, _user_name(state.uid), _group_name(state.gid))


# --- what has to be done


def plan(artifacts: t.Sequence[Artifact], observed: t.Mapping[str, Observed]) -> list[Change]:
    """Return what has to change. A link is replaced by the file; a directory or device in the way is refused."""
    problems = [
        f"{artifact.name}: expected a file (or nothing) at {artifact.dest}, found a {observed[artifact.dest].kind}"
        for artifact in artifacts
        if observed[artifact.dest].kind in ("directory", "other")
    ]
    if problems:
        raise ArtifactError(problems)
    changes = [
        Change(artifact, observed[artifact.dest], fetch=observed[artifact.dest].sha256 != artifact.sha256)
        for artifact in artifacts
    ]
    return [change for change in changes if change.before != change.after]


def diff(changes: t.Sequence[Change]) -> dict[str, str]:
    """Before and after of every changed path."""
    return {
        "before": "".join(change.before.line(change.artifact.dest) + "\n" for change in changes),
        "after": "".join(change.after.line(change.artifact.dest) + "\n" for change in changes),
    }


def missing_sums(changes: t.Sequence[Change]) -> list[str]:
    """Sums of the content that has to be brought to the node, each once, in the order of the call."""
    return list(dict.fromkeys(change.artifact.sha256 for change in changes if change.fetch))


def describe(changes: t.Sequence[Change]) -> list[dict[str, t.Any]]:
    """Describe the changes for the module's result."""
    return [
        {
            "name": change.artifact.name,
            "dest": change.artifact.dest,
            "fetch": change.fetch,
            "before": asdict(change.before),
        }
        for change in changes
    ]


# --- doing it


def _existing_parent(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def space_problems(changes: t.Sequence[Change], free: t.Callable[[str], tuple[int, int]]) -> list[str]:
    """Compare what is still to be fetched with the free space of each file system.

    :param free: directory to (file system's number, free bytes).
    """
    needed: dict[int, int] = {}
    room: dict[int, tuple[str, int]] = {}
    for change in changes:
        if not change.fetch:
            continue
        directory = _existing_parent(os.path.dirname(change.artifact.dest))
        device, available = free(directory)
        partial = _atomic.file_state(change.artifact.partial)
        needed[device] = needed.get(device, 0) + max(change.artifact.size - partial.size, 0)
        room.setdefault(device, (directory, available))
    return [
        f"{room[device][0]}: expected {bytes_needed} bytes of free space for what is to be installed there, found {room[device][1]}"
        for device, bytes_needed in needed.items()
        if bytes_needed > room[device][1]
    ]


def free_space(directory: str) -> tuple[int, int]:
    """File system's number and free bytes of a directory."""
    numbers = os.statvfs(directory)
    return os.stat(directory).st_dev, numbers.f_bavail * numbers.f_frsize


def _account(artifact: Artifact) -> tuple[int, int]:
    """Numbers of a file's owner and group; names may be numbers."""
    uid = int(artifact.owner) if artifact.owner.isdigit() else pwd.getpwnam(artifact.owner).pw_uid
    gid = int(artifact.group) if artifact.group.isdigit() else grp.getgrnam(artifact.group).gr_gid
    return uid, gid


def account_problems(changes: t.Sequence[Change]) -> list[str]:
    """Name the owners and groups that the node does not have."""
    problems = []
    for change in changes:
        try:
            _account(change.artifact)
        except KeyError as exc:
            wanted = f"{change.artifact.owner}:{change.artifact.group}"
            problems.append(
                f"{change.artifact.name}: expected the account {wanted} on this host, found none ({exc.args[0]})"
            )
    return problems


Fetcher = t.Callable[[Artifact], int]


def from_registry(registry: str, policy: t.Optional[_download.Policy] = None) -> Fetcher:
    """Fetch from the bundle's registry."""
    used = policy or _download.Policy(direct=True)

    def fetch(artifact: Artifact) -> int:
        url = _oci_registry.file_url(registry, artifact.sha256)
        return _download.fetch(
            _download.Wanted(artifact.name, url, artifact.sha256, artifact.size), artifact.partial, used
        )

    return fetch


def from_staged(staged: t.Mapping[str, str]) -> Fetcher:
    """Take what the controller has put on the node: sum to path. It is checked like a download."""

    def fetch(artifact: Artifact) -> int:
        source = staged.get(artifact.sha256)
        if source is None:
            raise _download.DownloadError(
                artifact.name, "a registry or its bytes from the controller", "neither", "unreachable"
            )
        with open(source, "rb") as stream, _download.open_partial(artifact.partial) as partial:
            partial.truncate(0)
            for piece in iter(lambda: stream.read(_download.CHUNK_BYTES), b""):
                _download.write_all(artifact.name, partial, piece)
            os.fsync(partial.fileno())
        found, size = _atomic.sha256_of_file(artifact.partial), os.path.getsize(artifact.partial)
        if found != artifact.sha256:
            os.unlink(artifact.partial)
            expected = f"sha256 {artifact.sha256} ({artifact.size} bytes)"
            raise _download.DownloadError(artifact.name, expected, f"sha256 {found} ({size} bytes) from the controller")
        return size

    return fetch


def _sweep(artifact: Artifact) -> None:
    """Remove what an interrupted run left of another version of this file."""
    directory, base = os.path.split(artifact.dest)
    pattern = os.path.join(glob.escape(directory), f".{glob.escape(base)}.{'[0-9a-f]' * 16}{PARTIAL_SUFFIX}")
    for path in glob.glob(pattern):
        if path != artifact.partial:
            os.unlink(path)


def fetch_all(changes: t.Sequence[Change], fetch: Fetcher, parallel: int) -> int:
    """Fetch every missing file to its partial file; return the bytes. All failures are raised together."""
    wanted = [change.artifact for change in changes if change.fetch]
    for artifact in wanted:
        os.makedirs(os.path.dirname(artifact.dest), mode=0o755, exist_ok=True)
        _sweep(artifact)

    silent: list[
        str
    ] = []  # the server does not answer: the files that are still to come need not find out each for itself

    def attempt(artifact: Artifact) -> t.Union[int, str]:
        if silent:
            return f"{artifact.name}: not tried, because of {silent[0]}"
        try:
            return fetch(artifact)
        except _download.DownloadError as exc:
            if exc.kind == "unreachable":
                silent.append(exc.name)
            return str(exc)
        except OSError as exc:
            return f"{artifact.name}: {exc}"

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, parallel)) as pool:
        outcomes = list(pool.map(attempt, wanted))
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if problems:
        raise ArtifactError(problems)
    return sum(outcome for outcome in outcomes if isinstance(outcome, int))


def install(changes: t.Sequence[Change], cache: SumCache) -> None:
    """Give every fetched file its owner, mode and name, and the others their owner and mode."""
    for change in changes:
        artifact = change.artifact
        uid, gid = _account(artifact)
        path = artifact.partial if change.fetch else artifact.dest
        os.chown(path, uid, gid, follow_symlinks=False)
        os.chmod(path, artifact.mode)  # after chown, which clears setuid bits
        if change.fetch:
            # A file may have been fetched long before: its time has to be that of its installation, units are restarted by it.
            now = time.time_ns()
            os.utime(path, ns=(now, now))
            os.replace(path, artifact.dest)
        cache.remember(_atomic.file_state(artifact.dest), artifact.sha256)
    for directory in {os.path.dirname(change.artifact.dest) for change in changes if change.fetch}:
        with contextlib.suppress(OSError):  # some network file systems cannot
            _atomic.sync_directory(directory)


def apply(changes: t.Sequence[Change], fetch: Fetcher, cache: SumCache, parallel: int = 4) -> int:
    """Do what :func:`plan` listed; return the bytes that were fetched. Raises :class:`ArtifactError` before anything is installed."""
    problems = account_problems(changes) + space_problems(changes, free_space)
    if problems:
        raise ArtifactError(problems)
    fetched = fetch_all(changes, fetch, parallel)
    install(changes, cache)
    return fetched
