# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filling a bundle: component by component, each once, whatever its source.

A source (:class:`ComponentSource`) brings the files and images of one component into the store. What it brought is
recorded under a key (``<cache>/results/<key>.json``) that changes when anything that could change the result does; a
component whose record and blobs are there is not produced again. The manifest is written last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import Release
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    BundleError,
    BundleFile,
    BundleImage,
    Manifest,
    manifest_path,
    unknown_name,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import (
    BlobStore,
    check_space,
    write_json,
)

# Left free for everything else on the controller.
RESERVE_MIB = 1024


@dataclass(frozen=True)
class ComponentResult:
    """What one component contributes to a bundle; all its blobs are in the store."""

    files: tuple[BundleFile, ...] = ()
    images: tuple[BundleImage, ...] = ()

    def digests(self) -> frozenset[str]:
        """Every blob of it, as ``sha256:hex``."""
        return frozenset(f"sha256:{file.sha256}" for file in self.files).union(*(image.blobs for image in self.images))

    @property
    def size(self) -> int:
        """Bytes of all files and images."""
        return sum(file.size for file in self.files) + sum(image.size for image in self.images)


class ComponentSource(Protocol):
    """Where components come from. One object serves one run (one lock, release and architecture)."""

    def key(self, component: str, version: str) -> str:
        """A hash of everything that decides the result. Cheap, and without changing anything."""

    def needed_mib(self, component: str, version: str) -> int:
        """Free disk space that :meth:`produce` needs at most."""

    def produce(self, component: str, version: str) -> ComponentResult:
        """Bring the component into the store. Raises :class:`BundleError`; leaves nothing half-done behind."""


@dataclass(frozen=True)
class Outcome:
    """A finished run. ``path`` is the manifest's, None when only some components were asked for."""

    changed: bool
    manifest: Manifest
    path: Path | None


def key_of(*parts: Any) -> str:
    """A hash of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class Records:
    """Small JSON files by key: ``<cache>/results/<kind>-<key>.json``. Unreadable ones count as missing."""

    def __init__(self, cache_dir: Path) -> None:
        self._directory = cache_dir / "results"

    def _path(self, kind: str, key: str) -> Path:
        return self._directory / f"{kind}-{key[:24]}.json"

    def get(self, kind: str, key: str) -> Any | None:
        """The recorded data, or None."""
        with contextlib.suppress(OSError, ValueError):
            data = json.loads(self._path(kind, key).read_text(encoding="utf-8"))
            if isinstance(data, dict) and data.get("key") == key:
                return data.get("data")
        return None

    def put(self, kind: str, key: str, data: Any) -> None:
        """Record data; atomic."""
        write_json(self._path(kind, key), {"key": key, "data": data})


def result_to_data(result: ComponentResult) -> dict[str, Any]:
    """Plain data for :class:`Records`."""
    return {"files": [asdict(file) for file in result.files], "images": [asdict(image) for image in result.images]}


def result_from_data(data: Any) -> ComponentResult | None:
    """The reverse; None when the data has another shape (an older version of the collection wrote it)."""
    try:
        return ComponentResult(
            tuple(BundleFile(**file) for file in data["files"]),
            tuple(BundleImage(**{**image, "blobs": tuple(image["blobs"])}) for image in data["images"]),
        )
    except (KeyError, TypeError):
        return None


def chosen_components(release: Release, only: Sequence[str]) -> list[str]:
    """The components of a release, or those of ``only``, which must be among them."""
    for name in only:
        if name not in release.versions:
            raise unknown_name(f"component of the release set {release.name!r}:", name, release.versions)
    return [name for name in release.versions if not only or name in only]


def known_results(
    components: Iterable[str], keys: Mapping[str, str], records: Records, store: BlobStore
) -> dict[str, ComponentResult]:
    """The components that need not be produced: recorded, and every blob there with its sum."""
    recorded = {name: result_from_data(records.get("component", keys[name])) for name in components}
    found = {name: result for name, result in recorded.items() if result is not None}
    wanted = frozenset[str]().union(*(item.digests() for item in found.values()))
    damaged = {f"sha256:{digest}" for digest in store.damaged(wanted)}
    for digest in damaged:
        store.path(digest).unlink(missing_ok=True)
    return {name: result for name, result in found.items() if not result.digests() & damaged}


def make_bundle(
    release: Release,
    architecture: str,
    source_name: str,
    source_of: Callable[[str], ComponentSource],
    store: BlobStore,
    say: Callable[[str], None],
    only: Sequence[str] = (),
) -> Outcome:
    """Produce what is missing and write the manifest.

    ``source_of`` gives the source of a component; ``only`` limits the run to some components, and then no manifest is
    written, for it would be incomplete.
    """
    components = chosen_components(release, only)
    store.prepare()
    with store.lock(say):
        store.sweep()
        records = Records(store.cache_dir)
        keys = {name: source_of(name).key(name, release.versions[name]) for name in components}
        results = known_results(components, keys, records, store)
        missing = [name for name in components if name not in results]
        if missing:
            needed = sum(source_of(name).needed_mib(name, release.versions[name]) for name in missing)
            check_space(store.cache_dir, needed + RESERVE_MIB)
            todo = f"{len(missing)} of {len(components)} components to do: {', '.join(missing)}"
            say(f"bundle: {release.name} {architecture}: {todo}")
        for number, name in enumerate(missing, 1):
            version = release.versions[name]
            started = time.monotonic()
            say(f"bundle: [{number}/{len(missing)}] {name} {version}: started")
            results[name] = source_of(name).produce(name, version)
            records.put("component", keys[name], result_to_data(results[name]))
            seconds, mib = time.monotonic() - started, results[name].size / 1024**2
            say(f"bundle: [{number}/{len(missing)}] {name} {version}: done in {seconds:.0f} s, {mib:.0f} MiB")
        manifest = Manifest(
            release_set=release.name,
            architecture=architecture,
            source=source_name,
            versions={name: release.versions[name] for name in components},
            files=tuple(sorted((file for name in components for file in results[name].files), key=attrgetter("name"))),
            images=tuple(
                sorted((image for name in components for image in results[name].images), key=attrgetter("name"))
            ),
            features=release.features,
        )
        if only:
            return Outcome(bool(missing), manifest, None)
        check_unique(manifest)
        path, written = write_manifest(store.cache_dir, release, architecture, manifest)
        return Outcome(bool(missing) or written, manifest, path)


def check_unique(manifest: Manifest) -> None:
    """Two components must not bring the same name."""
    names = [f"file {file.name}" for file in manifest.files] + [f"image {image.reference}" for image in manifest.images]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BundleError(
            f"Two components of the release set {manifest.release_set!r} bring the same: {', '.join(twice)}."
        )


def write_manifest(cache_dir: Path, release: Release, architecture: str, manifest: Manifest) -> tuple[Path, bool]:
    """Write the manifest under its full name and, for the set's default version, under the short one too."""
    path = manifest_path(cache_dir, release.name, architecture, release.versions["kubernetes"], release.features)
    written = write_json(path, manifest.to_dict())
    if release.is_default:
        path = manifest_path(cache_dir, release.name, architecture, "", release.features)
        written = write_json(path, manifest.to_dict()) or written
    return path, written
