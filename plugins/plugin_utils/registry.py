# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of an OCI registry: what an image consists of, and a client that writes.

The client speaks the push half of the OCI distribution API with the standard library: one connection a thread, kept alive, no proxy
(the bundle's registry is a neighbour of the nodes).
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode, urljoin, urlsplit

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._oci_registry import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    check_digest,
    normalise_registry,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore, hash_file

CHUNK = 1024 * 1024


class RegistryError(BundleError):
    """A registry that does not do what it should; the text is one complete message."""


class RegistryUnreachableError(RegistryError):
    """A registry that does not answer at all."""


@dataclass(frozen=True)
class Descriptor:
    """A blob that a manifest names."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True)
class ImageContent:
    """Everything an image needs. ``manifests`` are in the order in which they have to be pushed: children before an index."""

    manifests: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]

    @property
    def root(self) -> Descriptor:
        """What the image's digest names."""
        return self.manifests[-1]

    @property
    def digests(self) -> tuple[str, ...]:
        """All of it, each once, the root first."""
        ordered = [*reversed(self.manifests), *self.blobs]
        return tuple(dict.fromkeys(descriptor.digest for descriptor in ordered))


def parse_document(text: bytes, name: str) -> Mapping[str, Any]:
    """An image manifest or index; anything else is refused."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise RegistryError(f"{name}: expected an image manifest, found something that is not JSON") from error
    if not isinstance(document, Mapping) or not ({"manifests", "layers"} & set(document)):
        raise RegistryError(f"{name}: expected an image manifest or index, found other JSON")
    return document


def media_type_of(document: Mapping[str, Any]) -> str:
    """The document's own media type; OCI leaves it out at times, then its keys tell."""
    declared = document.get("mediaType")
    if declared in MANIFEST_TYPES:
        return str(declared)
    return INDEX_TYPES[0] if "manifests" in document else MANIFEST_TYPES[0]


def descriptor_of(entry: Mapping[str, Any]) -> Descriptor:
    """A descriptor as it stands in a manifest."""
    return Descriptor(check_digest(str(entry["digest"])), int(entry["size"]), str(entry.get("mediaType", "")))


def children_of(document: Mapping[str, Any]) -> tuple[Descriptor, ...]:
    """What a manifest needs: its configuration first, then its layers, each once."""
    return tuple(dict.fromkeys(descriptor_of(entry) for entry in (document["config"], *document["layers"])))


def image_content(read: Callable[[str], bytes], digest: str, name: str, has: Callable[[str], bool]) -> ImageContent:
    """Walk an image from its digest.

    :param read: digest to bytes.
    :param has: is a blob there? Manifests of an index for other architectures may be absent.
    """
    text = read(digest)
    document = parse_document(text, name)
    root = Descriptor(digest, len(text), media_type_of(document))
    if "layers" in document:
        return ImageContent((root,), children_of(document))
    manifests: list[Descriptor] = []
    blobs: list[Descriptor] = []
    for entry in document["manifests"]:
        child = descriptor_of(entry)
        if has(child.digest):
            inner = image_content(read, child.digest, name, has)
            manifests += inner.manifests
            blobs += inner.blobs
    if not manifests:
        raise RegistryError(f"{name}: expected one of the manifests that its index {digest} names, found none")
    return ImageContent((*dict.fromkeys(manifests), root), tuple(dict.fromkeys(blobs)))


def stored_image(store: BlobStore, digest: str, name: str) -> ImageContent:
    """Walk an image of the controller's store; what is missing is named, all of it."""

    def read(wanted: str) -> bytes:
        try:
            return store.read(wanted)
        except FileNotFoundError as error:
            raise RegistryError(f"{name}: expected {wanted} in {store.blobs}, found nothing. {MENDED_BY}") from error

    content = image_content(read, digest, name, store.has)
    absent = [blob.digest for blob in content.blobs if not store.has(blob.digest, blob.size)]
    if absent:
        raise RegistryError(
            f"{name}: expected {', '.join(absent)} in {store.blobs}, found nothing of that size. {MENDED_BY}"
        )
    return content


MENDED_BY = "Run the playbook bare_metal.kubernetes.bundle again: it mends its store."


@dataclass(frozen=True)
class Answer:
    """A registry's answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """A header by its name in any case, "" when it is not there."""
        return {key.lower(): value for key, value in self.headers.items()}.get(name.lower(), "")

    @property
    def reason(self) -> str:
        """What it complains about, in its own words."""
        try:
            errors = json.loads(self.body)["errors"]
            return "; ".join(
                f"{error.get('code')}: {error.get('message')} {error.get('detail') or ''}".strip() for error in errors
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return self.body[:200].decode("utf-8", "replace").strip() or "no reason given"


class Progress:
    """A file that tells how much of it has been read."""

    def __init__(self, stream: IO[bytes], told: Callable[[int], None]) -> None:
        self._stream = stream
        self._told = told

    def read(self, size: int = -1) -> bytes:
        """Read on, like a file."""
        piece = self._stream.read(CHUNK if size < 0 else max(size, CHUNK))
        self._told(len(piece))
        return piece

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")


class RegistryClient:
    """Push to one registry (``http://host:port``); a context manager. Every method raises :class:`RegistryError` with a complete message."""

    def __init__(self, registry: str, timeout: float = 60.0) -> None:
        self.registry = normalise_registry(registry)
        self._parts = urlsplit(self.registry)
        self._timeout = timeout
        self._local = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    def _connection(self) -> http.client.HTTPConnection:
        kept: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if kept is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            kept = kind(self._parts.netloc, timeout=self._timeout)
            self._local.connection = kept
            self._opened.append(kept)
        return kept

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of all threads; none may be in use. The next request opens one again."""
        for connection in self._opened:
            connection.close()

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request. A kept-alive connection that the server has closed meanwhile is opened anew, once, when nothing is lost by it."""
        for attempt in (0, 1):
            connection = self._connection()
            fresh = connection.sock is None
            try:
                connection.request(method, path, body=body, headers=dict(headers or {}))
                response = connection.getresponse()
                return Answer(response.status, dict(response.headers.items()), response.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if fresh or attempt or hasattr(body, "read"):
                    raise RegistryUnreachableError(
                        f"The registry {self.registry} does not answer {method} {path.partition('?')[0]}: {error or type(error).__name__}. "
                        "Is it running (playbook bare_metal.kubernetes.bundle_server), and is cluster_bundle_registry its address?"
                    ) from error
        raise AssertionError("unreachable")

    def _expect(self, answer: Answer, statuses: tuple[int, ...], doing: str) -> Answer:
        if answer.status not in statuses:
            raise RegistryError(
                f"{doing} at {self.registry}: expected HTTP {' or '.join(map(str, statuses))}, found HTTP {answer.status} ({answer.reason})"
            )
        return answer

    def check(self) -> None:
        """Make sure that this is a registry that lets us in."""
        answer = self.call("GET", "/v2/")
        kind = answer.header("Content-Type")
        if answer.status != 200 or "html" in kind:
            found = "an HTML page" if "html" in kind else f"HTTP {answer.status}"
            raise RegistryError(f"{self.registry}/v2/: expected an OCI registry that needs no login, found {found}")

    def has_blob(self, repository: str, digest: str, size: int | None = None) -> bool:
        """Does a repository hold a blob? One of another length is refused: a registry does not replace what it believes to have."""
        answer = self.call("HEAD", f"/v2/{repository}/blobs/{digest}")
        if self._expect(answer, (200, 404), f"Looking for {digest} in {repository}").status == 404:
            return False
        found = answer.header("Content-Length")
        if size is not None and found.isdigit() and int(found) != size:
            raise RegistryError(
                f"{digest} in {repository} at {self.registry}: expected {size} bytes, found {found}. The registry's data is damaged: "
                "empty its directory (bundle_serve_directory, /var/lib/bundle-registry), restart it, and publish again."
            )
        return True

    def manifest_digest(self, repository: str, reference: str) -> str:
        """The digest of a manifest, "" when there is none."""
        answer = self.call(
            "HEAD", f"/v2/{repository}/manifests/{reference}", headers={"Accept": ", ".join(MANIFEST_TYPES)}
        )
        if self._expect(answer, (200, 404), f"Looking for {repository}:{reference}").status == 404:
            return ""
        return answer.header("Docker-Content-Digest")

    def put_manifest(self, repository: str, reference: str, text: bytes, media_type: str) -> None:
        """Put a manifest under a tag or digest."""
        answer = self.call(
            "PUT", f"/v2/{repository}/manifests/{reference}", body=text, headers={"Content-Type": media_type}
        )
        self._expect(answer, (201,), f"Pushing the manifest {repository}:{reference}")

    def put_blob(
        self, repository: str, digest: str, path: Path, told: Callable[[int], None], mount_from: str = ""
    ) -> bool:
        """Give a repository a blob: from another repository of the same registry when it has it, else by upload. True: bytes were sent."""
        query = f"?{urlencode({'mount': digest, 'from': mount_from})}" if mount_from else ""
        answer = self.call("POST", f"/v2/{repository}/blobs/uploads/{query}", headers={"Content-Length": "0"})
        if self._expect(answer, (201, 202), f"Beginning the upload of {digest} to {repository}").status == 201:
            return False
        location = answer.header("Location")
        target = urlsplit(urljoin(f"{self.registry}/v2/{repository}/blobs/uploads/", location))
        upload = f"{target.path}?{target.query}{'&' if target.query else ''}{urlencode({'digest': digest})}"
        with path.open("rb") as stream:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
            answer = self.call("PUT", upload, body=Progress(stream, told), headers=headers)
        if answer.status != 201 and f"sha256:{hash_file(path).sha256}" != digest:
            raise RegistryError(f"{path}: expected {digest}, found sha256:{hash_file(path).sha256}. {MENDED_BY}")
        self._expect(answer, (201,), f"Uploading {digest} to {repository}")
        return True
