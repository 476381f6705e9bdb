# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's content-addressed store: ``<cache>/store/blobs/sha256/<hex>``, in the layout of an OCI image store.

Files and image blobs alike are blobs. A blob appears by one rename after its bytes are on disk, so a killed run leaves
temporary files only (``<cache>/tmp``), which the next holder of the lock removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError

CHUNK = 1024 * 1024
GIB = 1024**3


@dataclass(frozen=True)
class Blob:
    """A blob of the store: bare hex and bytes."""

    sha256: str
    size: int

    @property
    def digest(self) -> str:
        """``sha256:hex``, as OCI writes it."""
        return f"sha256:{self.sha256}"


class BlobStore:
    """All reads and writes of one cache directory's store."""

    def __init__(self, cache_dir: Path) -> None:
        self.cache_dir = cache_dir
        self.blobs = cache_dir / "store" / "blobs" / "sha256"
        self.tmp = cache_dir / "tmp"

    def prepare(self) -> None:
        """Make the directories and the ``oci-layout`` marker."""
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.tmp.mkdir(parents=True, exist_ok=True)
        marker = self.cache_dir / "store" / "oci-layout"
        if not marker.exists():
            write_atomic(marker, b'{"imageLayoutVersion": "1.0.0"}\n')

    def path(self, digest: str) -> Path:
        """The path of a blob, given as bare hex or as ``sha256:hex``."""
        return self.blobs / digest.removeprefix("sha256:")

    def has(self, digest: str, size: int | None = None) -> bool:
        """Is the blob there, and (when ``size`` is given) as long as it should be? No hashing: see :meth:`damaged`."""
        try:
            found = self.path(digest).stat().st_size
        except FileNotFoundError:
            return False
        return size is None or found == size

    def damaged(self, digests: Iterable[str]) -> list[str]:
        """Those of ``digests`` that are missing or whose bytes do not have their sum."""
        wanted = sorted({digest.removeprefix("sha256:") for digest in digests})
        return [digest for digest in wanted if not self.has(digest) or hash_file(self.path(digest)).sha256 != digest]

    def read(self, digest: str) -> bytes:
        """The bytes of a (small) blob."""
        return self.path(digest).read_bytes()

    def add_bytes(self, data: bytes) -> Blob:
        """Store ``data``."""
        with self.writer() as (handle, done):
            handle.write(data)
            return done()

    def add_file(self, source: Path) -> Blob:
        """Store a copy of ``source`` (made readable and executable: a node sets its own mode)."""
        with self.writer() as (handle, done), source.open("rb") as stream:
            shutil.copyfileobj(stream, handle, CHUNK)
            return done()

    @contextlib.contextmanager
    def writer(self) -> Iterator[tuple[IO[bytes], Callable[[], Blob]]]:
        """A temporary file and a function that turns it into a blob. Nothing is left when it is not called."""
        descriptor, name = tempfile.mkstemp(dir=self.tmp, prefix="blob-")
        temporary = Path(name)
        handle = os.fdopen(descriptor, "w+b")

        def done() -> Blob:
            handle.flush()
            os.fsync(handle.fileno())
            blob = hash_file(temporary)
            os.chmod(temporary, 0o644)
            os.replace(temporary, self.path(blob.sha256))
            return blob

        try:
            yield handle, done
        except OSError as error:
            raise disk_error(self.cache_dir, error) from error
        finally:
            handle.close()
            temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def workspace(self, prefix: str) -> Iterator[Path]:
        """An empty directory below ``<cache>/tmp`` that is removed afterwards."""
        path = Path(tempfile.mkdtemp(dir=self.tmp, prefix=f"{prefix}-"))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed runs left. Only for the holder of the lock."""
        for entry in self.tmp.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(
        self, say: Callable[[str], None], timeout_seconds: float = 7200, poll_seconds: float = 1.0
    ) -> Iterator[None]:
        """Only one run at a time fills a cache. The second says for whom it waits, and goes on when the first is done."""
        path = self.cache_dir / "lock"
        with path.open("a+", encoding="utf-8") as handle:
            started, told = time.monotonic(), False
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    handle.seek(0)
                    holder = handle.read().strip() or "another run"
                    if time.monotonic() - started > timeout_seconds:
                        raise BundleError(
                            f"The cache {self.cache_dir} is still being filled by {holder} after {timeout_seconds:.0f} s. "
                            "Wait for that run or stop it, then run this one again."
                        ) from error
                    if not told:
                        say(f"bundle: waiting for {holder}, which is filling {self.cache_dir}")
                        told = True
                    time.sleep(poll_seconds)
            handle.seek(0)
            handle.truncate()
            handle.write(f"process {os.getpid()}\n")
            handle.flush()
            try:
                yield
            finally:
                handle.seek(0)
                handle.truncate()
                handle.flush()


def hash_file(path: Path) -> Blob:
    """sha256 and size of a file."""
    with path.open("rb") as handle:
        return Blob(hashlib.file_digest(handle, "sha256").hexdigest(), os.fstat(handle.fileno()).st_size)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there in full or not at all, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise disk_error(path.parent, error) from error


def write_json(path: Path, data: Any) -> bool:
    """Write ``data`` as JSON when the file does not already say the same; returns whether it was written."""
    text = (json.dumps(data, indent=2) + "\n").encode()
    with contextlib.suppress(OSError):
        if path.read_bytes() == text:
            return False
    write_atomic(path, text)
    return True


def disk_error(directory: Path, error: OSError) -> BundleError:
    """An operating system's error as one message; a full disk gets its own words."""
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return BundleError(
            f"The disk of {directory} is full ({free_gib(directory):.1f} GiB free). Nothing half-written was kept. "
            "Free space or point cache_dir elsewhere, then run again: finished components are not repeated."
        )
    return BundleError(f"Cannot write below {directory}: {error}.")


def free_gib(directory: Path) -> float:
    """Free space, in GiB, for an ordinary user."""
    return shutil.disk_usage(directory).free / GIB


def check_space(directory: Path, needed_mib: int, free_mib: float | None = None) -> None:
    """Refuse to begin what cannot be finished."""
    free = free_gib(directory) * 1024 if free_mib is None else free_mib
    if free < needed_mib:
        raise BundleError(
            f"Not enough space for the bundle: {directory} has {free / 1024:.1f} GiB free, {needed_mib / 1024:.1f} GiB are "
            "needed for what is not there yet. Free space or point cache_dir elsewhere."
        )
