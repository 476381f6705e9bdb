# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OCI images in pure Python, byte for byte the same from the same input.

Format: OCI image specification 1.1 (manifest, config, layer media types; whiteouts are not needed here). Layers are PAX
tars with sorted names, time 0, numeric owners, gzip without name and time.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import Blob, BlobStore

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
EPOCH = "1970-01-01T00:00:00Z"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# 1: binaries shrink to about 45 % within seconds; 9 would save a tenth of that and take a minute for a big one.
COMPRESSION = 1


@dataclass(frozen=True)
class Entry:
    """One thing in a layer. Exactly one of ``file`` (a path to copy), ``content``, ``link`` (hard link) or none (directory)."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    file: Path | None = None
    content: bytes | None = None
    link: str | None = None


@dataclass(frozen=True)
class Layer:
    """A stored layer: the compressed blob and the digest of the bare tar."""

    blob: Blob
    diff_id: str


@dataclass(frozen=True)
class ImageConfig:
    """What runs, as in the OCI image configuration."""

    architecture: str
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_directory: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredImage:
    """An image in the store. ``blobs``: manifest, config, layers; ``size``: bytes of all of them."""

    digest: str
    blobs: tuple[str, ...]
    size: int


class _Hashing:
    """The writable half of a file that hashes what passes through it."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self._position = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._target.write(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def with_parents(entries: Iterable[Entry]) -> list[Entry]:
    """:func:`in_order`, with a plain directory for every parent that has none. For layers on ``scratch``."""
    ordered = in_order(entries)
    paths = {entry.path for entry in ordered}
    parents: dict[str, Entry] = {}
    for path in paths:
        parent = posixpath.dirname(path)
        while parent != "/":
            if parent not in paths:
                parents[parent] = Entry(parent)
            parent = posixpath.dirname(parent)
    return in_order([*ordered, *parents.values()])


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Sorted by path, links last, so that parents and link targets come before what needs them.

    The same entry twice counts once; two different things at one path, or a path that leaves the image, are an error.
    """
    by_path: dict[str, Entry] = {}
    for entry in entries:
        path = posixpath.normpath(entry.path)
        if not path.startswith("/") or ".." in entry.path.split("/"):
            raise BundleError(f"An image cannot have the path {entry.path!r}.")
        clean = replace(entry, path=path)
        if by_path.setdefault(path, clean) != clean:
            raise BundleError(f"An image cannot have two things at {path}.")
    return sorted(by_path.values(), key=lambda entry: (entry.link is not None, entry.path))


def _member(entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.path.lstrip("/"))
    info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.uid, entry.gid, 0
    info.uname = info.gname = ""
    if entry.link is not None:
        info.type, info.linkname = tarfile.LNKTYPE, posixpath.normpath(entry.link).lstrip("/")
    elif entry.content is not None:
        info.size = len(entry.content)
    elif entry.file is not None:
        info.size = entry.file.stat().st_size
    else:
        info.type = tarfile.DIRTYPE
    return info


def _write_entries(archive: tarfile.TarFile, entries: Iterable[Entry]) -> None:
    for entry in entries:
        info = _member(entry)
        if entry.content is not None:
            archive.addfile(info, io.BytesIO(entry.content))
        elif entry.file is not None:
            with entry.file.open("rb") as stream:
                archive.addfile(info, stream)
        else:
            archive.addfile(info)


def _store_layer(store: BlobStore, members: Callable[[tarfile.TarFile], None]) -> Layer:
    with store.writer() as (handle, done):
        with gzip.GzipFile(filename="", mode="wb", fileobj=handle, compresslevel=COMPRESSION, mtime=0) as compressed:
            plain = _Hashing(compressed)
            with tarfile.TarFile(
                fileobj=cast("Any", plain), mode="w", format=tarfile.PAX_FORMAT, copybufsize=512 * 1024
            ) as archive:
                members(archive)
        return Layer(done(), f"sha256:{plain.hexdigest()}")


def store_layer(store: BlobStore, entries: Iterable[Entry]) -> Layer:
    """Write entries (see :func:`with_parents`, :func:`in_order`) as one layer."""
    ordered = list(entries)
    return _store_layer(store, lambda archive: _write_entries(archive, ordered))


def normalised_members(source: tarfile.TarFile, dropped: Sequence[str]) -> Iterator[tarfile.TarInfo]:
    """Members of a root file system by name, time 0, without devices and without what lies below ``dropped``."""
    for info in sorted(source.getmembers(), key=lambda member: posixpath.normpath(member.name)):
        name = posixpath.normpath(info.name)
        if name in (".", "/") or (info.isdev() and not info.isfile()):
            continue
        if any(f"/{name}".startswith(prefix) for prefix in dropped):
            continue
        clean = tarfile.TarInfo(name.lstrip("/"))
        clean.type, clean.mode, clean.uid, clean.gid = info.type, info.mode, info.uid, info.gid
        clean.size, clean.linkname, clean.mtime = info.size, info.linkname, 0
        if info.islnk():
            clean.linkname = posixpath.normpath(info.linkname).lstrip("/")
        yield clean


def store_rootfs_layer(store: BlobStore, rootfs: Path, dropped: Sequence[str] = ()) -> Layer:
    """Write a root file system's tar as a layer, made deterministic. ``dropped``: path prefixes to leave out."""
    with tarfile.open(rootfs, "r:") as source:
        by_name = {posixpath.normpath(info.name).lstrip("/"): info for info in source.getmembers()}

        def write(archive: tarfile.TarFile) -> None:
            links = []
            for info in normalised_members(source, dropped):
                if info.islnk():
                    links.append(info)
                elif info.isfile():
                    archive.addfile(info, source.extractfile(by_name[info.name]))
                else:
                    archive.addfile(info)
            for info in links:
                archive.addfile(info)

        return _store_layer(store, write)


def canonical_json(data: Any) -> bytes:
    """One text for one value."""
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def config_document(config: ImageConfig, layers: Sequence[Layer]) -> dict[str, Any]:
    """The OCI image configuration."""
    environment = {"PATH": DEFAULT_PATH, **config.environment}
    running: dict[str, Any] = {"Env": [f"{key}={value}" for key, value in sorted(environment.items())]}
    optional = {
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "User": config.user,
        "WorkingDir": config.working_directory,
        "Labels": dict(config.labels),
    }
    running |= {key: value for key, value in optional.items() if value}
    return {
        "architecture": config.architecture,
        "os": "linux",
        "created": EPOCH,
        "config": running,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": EPOCH, "created_by": "bare_metal.kubernetes"} for _layer in layers],
    }


def descriptor(media_type: str, blob: Blob) -> dict[str, Any]:
    """An OCI content descriptor."""
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def store_image(store: BlobStore, config: ImageConfig, layers: Sequence[Layer]) -> StoredImage:
    """Write the configuration and the manifest of an image whose layers are stored."""
    config_blob = store.add_bytes(canonical_json(config_document(config, layers)))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, config_blob),
        "layers": [descriptor(LAYER_TYPE, layer.blob) for layer in layers],
    }
    manifest_blob = store.add_bytes(canonical_json(manifest))
    blobs = [manifest_blob, config_blob, *(layer.blob for layer in layers)]
    return StoredImage(manifest_blob.digest, tuple(blob.digest for blob in blobs), sum(blob.size for blob in blobs))
