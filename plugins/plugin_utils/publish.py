# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a bundle into an OCI registry: plan by questions only, then upload what is missing.

Files become blobs of one repository, held together by an artifact manifest (OCI image specification 1.1, "artifactType") under the
bundle's tag: a registry serves, and its garbage collection keeps, only blobs that a manifest of the repository names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._oci_registry import (
    FILES_REPOSITORY,
    MANIFEST_TYPES,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleImage, Manifest
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.registry import (
    MENDED_BY,
    Descriptor,
    ImageContent,
    RegistryClient,
    RegistryError,
    RegistryUnreachableError,
    stored_image,
)

ARTIFACT_TYPE = "application/vnd.bare-metal-kubernetes.bundle.v1"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
EMPTY_DIGEST = f"sha256:{hashlib.sha256(EMPTY).hexdigest()}"
CONNECTIONS = 4
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Upload:
    """One thing that the registry does not hold: blobs and manifests of a repository, told of as ``name``."""

    name: str
    repository: str
    tag: str
    content: ImageContent

    @property
    def root(self) -> Descriptor:
        """The manifest that gets the tag."""
        return self.content.root


@dataclass(frozen=True)
class Plan:
    """What has to be uploaded. ``files_text`` is the artifact manifest that holds the files together."""

    uploads: tuple[Upload, ...]
    files_text: bytes

    @property
    def names(self) -> list[str]:
        """For people."""
        return [upload.name for upload in self.uploads]


def bundle_tag(manifest: Manifest) -> str:
    """The tag of a bundle's files: ``<release set>-<architecture>-<Kubernetes version>``."""
    parts = (manifest.release_set, manifest.architecture, manifest.versions.get("kubernetes", ""))
    return "-".join(part for part in parts if part)


def files_manifest(manifest: Manifest) -> bytes:
    """The artifact manifest that names every file of a bundle; the same bundle gives the same bytes."""
    layers = [
        {
            "mediaType": "application/octet-stream",
            "digest": f"sha256:{file.sha256}",
            "size": file.size,
            "annotations": {"org.opencontainers.image.title": file.name},
        }
        for file in sorted(manifest.files, key=lambda file: file.name)
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPES[0],
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": EMPTY_TYPE, "digest": EMPTY_DIGEST, "size": len(EMPTY)},
        "layers": layers,
        "annotations": {f"version.{component}": version for component, version in sorted(manifest.versions.items())},
    }
    return json.dumps(document, separators=(",", ":")).encode()


class _NothingThere:
    """Stands in for a registry that is not there yet: it holds nothing."""

    def has_blob(self, repository: str, digest: str, size: int | None = None) -> bool:
        return False

    def manifest_digest(self, repository: str, reference: str) -> str:
        return ""

    def close(self) -> None:
        """Nothing to close."""


def _each(client: RegistryClient | _NothingThere, work: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        try:
            return list(pool.map(work, items))
        finally:
            client.close()


def _files_upload(client: RegistryClient | _NothingThere, manifest: Manifest, text: bytes) -> Upload | None:
    digest, tag = f"sha256:{hashlib.sha256(text).hexdigest()}", bundle_tag(manifest)
    sizes = {f"sha256:{file.sha256}": file.size for file in manifest.files}
    there = _each(client, lambda blob: client.has_blob(FILES_REPOSITORY, blob, sizes[blob]), sizes)
    missing = [Descriptor(blob, sizes[blob], "") for blob, found in zip(sizes, there, strict=True) if not found]
    if not missing and client.manifest_digest(FILES_REPOSITORY, tag) == digest:
        return None
    name = f"files of {tag} ({len(missing)} of {len(sizes)})"
    return Upload(
        name, FILES_REPOSITORY, tag, ImageContent((Descriptor(digest, len(text), MANIFEST_TYPES[0]),), tuple(missing))
    )


def plan(client: RegistryClient, store: BlobStore, manifest: Manifest, *, absent_is_empty: bool = False) -> Plan:
    """Ask the registry what it has. Nothing is changed; a bundle that is all there costs one short question an entry.

    :param absent_is_empty: a registry that does not answer counts as one that holds nothing (check mode before the first run).
    """
    asked: RegistryClient | _NothingThere = client
    try:
        client.check()
    except RegistryUnreachableError:
        if not absent_is_empty:
            raise
        asked = _NothingThere()
    text = files_manifest(manifest)
    files = _files_upload(asked, manifest, text)

    def missing(image: BundleImage) -> bool:
        return asked.manifest_digest(image.name, image.tag) != image.digest

    flags = _each(asked, missing, manifest.images)
    images = [
        Upload(image.reference, image.name, image.tag, stored_image(store, image.digest, image.reference))
        for image, flag in zip(manifest.images, flags, strict=True)
        if flag
    ]
    if files:
        absent = [
            f"{file.name} ({store.path(file.sha256)})"
            for file in manifest.files
            if not store.has(file.sha256, file.size)
        ]
        if absent:
            raise RegistryError(f"The controller's store lacks {', '.join(absent)}. {MENDED_BY}")
    return Plan((*([files] if files else []), *images), text)


def apply(client: RegistryClient, store: BlobStore, todo: Plan, say: Callable[[str], None]) -> int:
    """Upload what :func:`plan` listed; returns the bytes that were sent. A killed upload is repeated from the last finished blob."""
    where: dict[str, str] = {}
    sent = 0

    def push_blob(job: tuple[str, Descriptor]) -> int:
        repository, blob = job
        source = where.get(blob.digest, "")
        if source == repository or client.has_blob(repository, blob.digest, blob.size):
            return 0
        return (
            blob.size
            if client.put_blob(repository, blob.digest, store.path(blob.digest), lambda _bytes: None, source)
            else 0
        )

    for number, upload in enumerate(todo.uploads, 1):
        size = sum(blob.size for blob in upload.content.blobs)
        say(f"publish: {number} of {len(todo.uploads)}: {upload.name}, {size / 2**20:.1f} MiB")
        sent += sum(_each(client, push_blob, [(upload.repository, blob) for blob in upload.content.blobs]))
        where.update((blob.digest, upload.repository) for blob in upload.content.blobs)
        if upload.repository == FILES_REPOSITORY:
            _put_bytes(client, store, upload.repository, EMPTY)
            client.put_manifest(upload.repository, upload.tag, todo.files_text, MANIFEST_TYPES[0])
        else:
            for entry in upload.content.manifests:
                reference = upload.tag if entry == upload.root else entry.digest
                client.put_manifest(upload.repository, reference, store.read(entry.digest), entry.media_type)
        found = client.manifest_digest(upload.repository, upload.tag)
        if found != upload.root.digest:
            raise RegistryError(
                f"{upload.name}: expected {upload.root.digest} at {client.registry}, found {found or 'nothing'}"
            )
    return sent


def _put_bytes(client: RegistryClient, store: BlobStore, repository: str, data: bytes) -> None:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if not client.has_blob(repository, digest):
        store.prepare()
        client.put_blob(repository, digest, store.path(store.add_bytes(data).sha256), lambda _bytes: None)
