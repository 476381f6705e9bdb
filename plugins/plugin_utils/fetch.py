# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads into the controller's store: released files, members of archives, images by digest. Nothing enters the store unchecked.

A download is kept in ``<cache>/downloads`` while it is not complete, so the next run continues it. Proxies are taken from the environment, into which
the action puts the inventory's (``proxies.applied``).
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import posixpath
import re
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _download
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._oci_registry import (
    MANIFEST_TYPES,
    RegistryNameError,
    check_digest,
    split_image_name,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError, unknown_name
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import (
    CHUNK,
    Blob,
    BlobStore,
    disk_error,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.registry import (
    Descriptor,
    ImageContent,
    children_of,
    media_type_of,
    parse_document,
)

PARALLEL = 4
# The OCI distribution specification asks registries to take manifests of 4 MiB at least; no project comes near it.
LARGEST_MANIFEST = 4 * 1024 * 1024
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_T = TypeVar("_T")


@dataclass(frozen=True)
class Origin:
    """Where upstream URLs are really asked for: at the upstream itself, or below one base URL (``mirror_url``).

    A mirror keeps the upstream's host as the first part of its paths: ``https://dl.k8s.io/x`` is ``<mirror>/dl.k8s.io/x``, and the registry
    ``registry.k8s.io`` is ``<mirror>/v2/registry.k8s.io/``, as a registry has it that several upstreams were copied to.
    """

    mirror_url: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.mirror_url)
        if self.mirror_url and (
            parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment
        ):
            raise BundleError(
                f"The mirror {self.mirror_url!r} is not a base URL like 'https://mirror.example.com/kubernetes'."
            )

    def file_url(self, url: str) -> str:
        """Where the file of an upstream URL is fetched."""
        parts = urlsplit(url)
        if not self.mirror_url:
            return url
        query = f"?{parts.query}" if parts.query else ""
        return f"{self.mirror_url.rstrip('/')}/{parts.netloc}{parts.path}{query}"

    def repository_url(self, image_name: str) -> str:
        """The base URL of an image's repository, to which ``/manifests/`` and ``/blobs/`` are added."""
        host, path = split_image_name(image_name)
        if self.mirror_url:
            return f"{self.mirror_url.rstrip('/')}/v2/{host}/{path}"
        return f"https://{'registry-1.docker.io' if host == 'docker.io' else host}/v2/{path}"


@dataclass(frozen=True)
class Downloader:
    """Fetches into one store."""

    store: BlobStore
    origin: Origin = field(default_factory=Origin)
    policy: _download.Policy = field(default_factory=_download.Policy)
    _locks: collections.defaultdict[str, threading.Lock] = field(
        default_factory=lambda: collections.defaultdict(threading.Lock), repr=False
    )

    @property
    def directory(self) -> Path:
        """Where incomplete downloads and archives are."""
        return self.store.cache_dir / "downloads"

    # --- files

    def file(self, name: str, url: str, sha256: str) -> Blob:
        """Bring a released file into the store."""
        if not self.store.has(sha256):
            self._into_store(_download.Wanted(name, self.origin.file_url(url), sha256))
        return Blob(sha256, self.store.path(sha256).stat().st_size)

    def members(self, url: str, sha256: str, members: Mapping[str, str]) -> dict[str, Blob]:
        """Bring members of an archive into the store: ``{name: path in the archive}`` to ``{name: blob}``. The archive does not stay."""
        archive = self.directory / f"{sha256}.archive"
        title = posixpath.basename(urlsplit(url).path)
        if not archive.exists():
            partial = self._partial(sha256)
            self._fetch(_download.Wanted(title, self.origin.file_url(url), sha256), partial)
            os.replace(partial, archive)
        try:
            return extract(self.store, archive, title, members)
        finally:
            archive.unlink(missing_ok=True)

    def _partial(self, sha256: str) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / f"{sha256}.part"

    def _fetch(self, wanted: _download.Wanted, partial: Path) -> None:
        try:
            _download.fetch(wanted, str(partial), self.policy)
        except _download.DownloadError:
            raise
        except OSError as error:
            raise disk_error(self.directory, error) from error

    def _into_store(self, wanted: _download.Wanted) -> None:
        """Fetch a blob, once even when two images that share a layer ask for it at the same time."""
        with self._locks[wanted.sha256]:
            if self.store.has(wanted.sha256, wanted.size):
                return
            self.store.prepare()
            partial = self._partial(wanted.sha256)
            self._fetch(wanted, partial)
            os.chmod(partial, 0o644)
            os.replace(partial, self.store.path(wanted.sha256))

    # --- images

    def image(self, name: str, tag: str, digest: str, architecture: str) -> ImageContent:
        """Bring an image into the store by its digest, that of a manifest or of an index with one for this architecture."""
        reference = f"{name}:{tag}"
        try:
            repository = Repository(self.origin.repository_url(name), reference, self.policy)
            check_digest(digest)
        except RegistryNameError as error:
            raise BundleError(str(error)) from error
        text, document = self._manifest(repository, digest)
        if "manifests" in document:
            digest = platform_manifest(document, architecture, reference).digest
            text, document = self._manifest(repository, digest)
        blobs = children_of(document)
        gather([lambda blob=blob: self._blob(repository, blob) for blob in blobs])  # type: ignore[misc]
        check_platform(self.store.read(blobs[0].digest), architecture, reference)
        return ImageContent((Descriptor(digest, len(text), media_type_of(document)),), blobs)

    def _manifest(self, repository: Repository, digest: str) -> tuple[bytes, Mapping[str, Any]]:
        if self.store.has(digest):
            text = self.store.read(digest)
        else:
            text = repository.manifest(digest)
            self.store.prepare()
            self.store.add_bytes(text)
        return text, parse_document(text, repository.name)

    def _blob(self, repository: Repository, blob: Descriptor) -> None:
        if self.store.has(blob.digest, blob.size):
            return
        title = f"{repository.name} ({blob.digest[7:19]})"
        for last in (False, True):
            url = f"{repository.url}/blobs/{blob.digest}"
            wanted = _download.Wanted(title, url, blob.digest[7:], blob.size, repository.headers())
            try:
                self._into_store(wanted)
                return
            except _download.DownloadError as error:
                if error.status != 401 or last:  # a token lives for minutes, a large image may take longer
                    raise
                repository.log_in(digest=blob.digest)


class Repository:
    """One image repository, read with an anonymous bearer token where the registry asks for one (distribution: "Token Authentication")."""

    def __init__(self, url: str, name: str, policy: _download.Policy) -> None:
        self.url = url
        self.name = name
        self._policy = policy
        self._token = ""
        self._lock = threading.Lock()

    def headers(self) -> dict[str, str]:
        """What a request has to carry."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def manifest(self, digest: str) -> bytes:
        """A manifest or index by digest, checked."""
        url = f"{self.url}/manifests/{digest}"
        text = self._get(url, {"Accept": ", ".join(MANIFEST_TYPES)}, f"the manifest {digest}")
        found = _download.sha256_text(text)
        if found != digest:
            page = f" ({_download.describe_page(text)})" if _download.looks_like_html(text[:512]) else ""
            raise _download.DownloadError(self.name, f"a manifest with {digest}", f"{found}{page} at {url}")
        return text

    def log_in(self, challenge: str = "", digest: str = "") -> None:
        """Get a token; the challenge is asked for when it is not given."""
        with self._lock:
            if not challenge:
                challenge = self._challenge(f"{self.url}/manifests/{digest}")
            fields = dict(_CHALLENGE.findall(challenge))
            if not challenge.lower().startswith("bearer ") or "realm" not in fields:
                raise _download.DownloadError(
                    self.name,
                    "a registry for everyone, or one with anonymous tokens",
                    f"HTTP 401 ({challenge or 'no challenge'})",
                )
            query = urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
            text = self._get(
                f"{fields['realm']}{'&' if '?' in fields['realm'] else '?'}{query}", {}, "an anonymous token", False
            )
            try:
                answer = json.loads(text)
                self._token = answer.get("token") or answer["access_token"]
            except (ValueError, KeyError, AttributeError) as error:
                raise _download.DownloadError(self.name, f"a token from {fields['realm']}", "something else") from error

    def _challenge(self, url: str) -> str:
        try:
            self._policy.open(urllib.request.Request(url, method="HEAD")).close()
        except urllib.error.HTTPError as error:
            with error:
                return error.headers.get("WWW-Authenticate", "")
        except OSError as error:
            raise _download.DownloadError(
                self.name, f"an answer from {url}", _download.describe_failure(error)
            ) from error
        return ""

    def _get(self, url: str, headers: Mapping[str, str], what: str, authorised: bool = True) -> bytes:
        failure, attempt = "", 0
        while attempt < self._policy.attempts:
            self._policy.pause(attempt)
            try:
                return self._once(url, headers, authorised)
            except urllib.error.HTTPError as error:
                with error:
                    failure = f"HTTP {error.code} {error.reason}"
                    if error.code == 401 and authorised and not self._token:
                        self.log_in(error.headers.get("WWW-Authenticate", ""))
                        continue
                    if error.code not in _download.RETRIED_STATUS:
                        raise _download.DownloadError(
                            self.name, f"{what} at {url}", failure, "status", error.code
                        ) from error
            except OSError as error:
                failure = _download.describe_failure(error)
            attempt += 1
        raise _download.DownloadError(self.name, f"{what} at {url}", failure, "unreachable")

    def _once(self, url: str, headers: Mapping[str, str], authorised: bool) -> bytes:
        request = urllib.request.Request(url, headers={"User-Agent": "bare-metal-kubernetes", **headers})
        for key, value in (self.headers() if authorised else {}).items():
            request.add_unredirected_header(key, value)
        with contextlib.closing(self._policy.open(request)) as response:
            return response.read(LARGEST_MANIFEST + 1)


def platform_manifest(index: Mapping[str, Any], architecture: str, name: str) -> Descriptor:
    """The manifest of an index for Linux on this architecture."""
    platforms = []
    for entry in index["manifests"]:
        platform = entry.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == ("linux", architecture):
            return Descriptor(check_digest(entry["digest"]), int(entry["size"]), str(entry.get("mediaType", "")))
        platforms.append(f"{platform.get('os')}/{platform.get('architecture')}")
    raise BundleError(f"{name}: expected an image for linux/{architecture}, found {', '.join(platforms) or 'none'}")


def check_platform(configuration: bytes, architecture: str, name: str) -> None:
    """Refuse an image for other machines; its configuration says for which it is (image-spec, config.md)."""
    try:
        document = json.loads(configuration)
        found = f"{document['os']}/{document['architecture']}"
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{name}: expected an image configuration, found something else") from error
    if found != f"linux/{architecture}":
        raise BundleError(f"{name}: expected an image for linux/{architecture}, found one for {found}")


def extract(store: BlobStore, archive: Path, title: str, members: Mapping[str, str]) -> dict[str, Blob]:
    """Copy members of a tar archive into the store in one pass; ``./bin/x`` and ``bin/x`` are the same."""
    wanted: dict[str, list[str]] = {}
    for name, member in members.items():
        wanted.setdefault(posixpath.normpath(member), []).append(name)
    found: dict[str, Blob] = {}
    seen: list[str] = []
    store.prepare()
    try:
        with tarfile.open(archive, "r:*") as tar:
            for entry in tar:
                path = posixpath.normpath(entry.name)
                seen.append(path)
                source = tar.extractfile(entry) if path in wanted and entry.isreg() else None
                if source:
                    blob = _copy(store, source)
                    found.update({name: blob for name in wanted[path]})
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BundleError(f"{title}: expected a tar archive, found one that cannot be read ({error})") from error
    for name, member in members.items():
        if name not in found:
            raise unknown_name(f"member of the archive {title}:", posixpath.normpath(member), seen)
    return found


def _copy(store: BlobStore, source: Any) -> Blob:
    with store.writer() as (handle, done):
        for piece in _pieces(source):
            handle.write(piece)
        return done()


def _pieces(stream: Any) -> Iterator[bytes]:
    return iter(lambda: stream.read(CHUNK), b"")


def gather(jobs: Sequence[Callable[[], _T]], parallel: int = PARALLEL) -> list[_T]:
    """Run downloads side by side; all failures come as one :class:`BundleError`, a line each."""
    with ThreadPoolExecutor(parallel) as pool:
        futures = [pool.submit(job) for job in jobs]
    problems = [
        str(error)
        for error in (future.exception() for future in futures)
        if isinstance(error, (BundleError, _download.DownloadError))
    ]
    for future in futures:
        if not isinstance(future.exception(), (BundleError, _download.DownloadError, type(None))):
            future.result()
    if problems:
        raise BundleError("\n".join(dict.fromkeys(problems)))
    return [future.result() for future in futures]
