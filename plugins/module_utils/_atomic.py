# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either the old one or the new one, whole, whatever happens in between."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import typing as t
from dataclasses import dataclass

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class FileState:
    """What stands at a path. ``kind`` is ``absent``, ``file``, ``directory``, ``link`` or ``other``; ``mode`` is the 12 permission bits."""

    path: str
    kind: str
    mode: int = 0
    uid: int = -1
    gid: int = -1
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0


def file_state(path: str) -> FileState:
    """Describe what stands at ``path`` without following a link."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return FileState(path, "absent")
    kind = "other"
    for name, test in (("file", stat.S_ISREG), ("directory", stat.S_ISDIR), ("link", stat.S_ISLNK)):
        if test(info.st_mode):
            kind = name
    return FileState(
        path,
        kind,
        stat.S_IMODE(info.st_mode),
        info.st_uid,
        info.st_gid,
        info.st_size,
        info.st_mtime_ns,
        info.st_ctime_ns,
        info.st_ino,
    )


def sha256_of_file(path: str) -> str:
    """Return the hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(CHUNK_BYTES), b""):
            digest.update(piece)
    return digest.hexdigest()


def sync_directory(path: str) -> None:
    """Make a rename in ``path`` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: str, data: bytes | t.Iterable[bytes], mode: int = 0o644, uid: int = -1, gid: int = -1) -> None:
    """Replace ``path`` by ``data``: a temporary file beside it, its rights set, flushed, then renamed over it.

    The content is never readable by anyone whom ``mode`` does not allow, not even for a moment. ``uid``/``gid`` -1 keep the caller's.
    """
    directory = os.path.dirname(path) or "."
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            for piece in [data] if isinstance(data, bytes) else data:
                stream.write(piece)
            stream.flush()
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
    sync_directory(directory)
