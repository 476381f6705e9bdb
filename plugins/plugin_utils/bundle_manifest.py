# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bundle contains: the typed form of ``<cache>/bundle/<name>/manifest.json``.

Pure but for :func:`load_manifest`. The JSON form is the contract with the roles (docs/architecture.md, section 4)::

    {"schema": 1, "release_set": str, "architecture": str, "source": "upstream|mirror|build", "features": [str],
     "versions": {component: version},
     "files":  [{"name", "component", "version", "sha256" (hex), "size" (bytes), "source"}],
     "images": [{"name", "tag", "digest" ("sha256:hex" of the image manifest), "size" (bytes of all blobs),
                 "blobs" (["sha256:hex"], the image manifest first), "component", "version", "source"}]}
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1
CACHE_VARIABLE = "BARE_METAL_KUBERNETES_CACHE"
# What a bundle has besides what every cluster needs; a bundle with these has no word for it in its name.
DEFAULT_FEATURES = ("calico",)
_HEX = re.compile(r"[0-9a-f]{64}")


class BundleError(Exception):
    """Everything that can go wrong with a bundle; the text is one complete message for the user."""


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle. ``sha256`` is bare hex, ``size`` is in bytes."""

    name: str
    component: str
    version: str
    sha256: str
    size: int
    source: str


@dataclass(frozen=True)
class BundleImage:
    """One image of a bundle. ``blobs`` lists every blob it needs, the image manifest (= ``digest``) first."""

    name: str
    tag: str
    digest: str
    size: int
    blobs: tuple[str, ...]
    component: str
    version: str
    source: str

    @property
    def reference(self) -> str:
        """``name:tag``, the name under which containerd knows the image."""
        return f"{self.name}:{self.tag}"


@dataclass(frozen=True)
class Manifest:
    """A whole bundle."""

    release_set: str
    architecture: str
    source: str
    versions: Mapping[str, str]
    files: tuple[BundleFile, ...]
    images: tuple[BundleImage, ...]
    features: tuple[str, ...] = DEFAULT_FEATURES

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; entries sorted by name, so that equal bundles are equal texts."""
        return {
            "schema": SCHEMA,
            "release_set": self.release_set,
            "architecture": self.architecture,
            "source": self.source,
            "features": sorted(self.features),
            "versions": dict(sorted(self.versions.items())),
            "files": [asdict(entry) for entry in sorted(self.files, key=lambda entry: entry.name)],
            "images": [
                {**asdict(entry), "blobs": list(entry.blobs)}
                for entry in sorted(self.images, key=lambda entry: entry.name)
            ],
        }

    def digests(self) -> frozenset[str]:
        """Every blob that the bundle needs, as ``sha256:hex``."""
        blobs = {f"sha256:{entry.sha256}" for entry in self.files}
        return frozenset(blobs.union(*(entry.blobs for entry in self.images)))


def default_cache_dir(environment: Mapping[str, str] | None = None) -> Path:
    """The controller's cache: ``$BARE_METAL_KUBERNETES_CACHE``, else below the XDG cache directory."""
    environment = os.environ if environment is None else environment
    explicit = environment.get(CACHE_VARIABLE)
    if explicit:
        return Path(explicit).expanduser()
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "bare_metal_kubernetes"


def resolve_cache_dir(value: str | os.PathLike[str] | None) -> Path:
    """``value`` with ``~`` and variables expanded; :func:`default_cache_dir` when it is empty."""
    if not value:
        return default_cache_dir()
    return Path(os.path.expandvars(os.fspath(value))).expanduser()


def bundle_name(
    release_set: str, architecture: str, kubernetes_version: str = "", features: Iterable[str] = DEFAULT_FEATURES
) -> str:
    """Directory name of a bundle below ``<cache>/bundle``; without a version it is the set's default one.

    ``built-amd64`` has :data:`DEFAULT_FEATURES`, ``built-amd64+cilium`` has Cilium, ``built-amd64+none`` no network plugin.
    """
    name = "-".join(part for part in (release_set, architecture, kubernetes_version) if part)
    wanted = sorted(set(features))
    return name if wanted == sorted(DEFAULT_FEATURES) else f"{name}+{'+'.join(wanted) or 'none'}"


def manifest_path(
    cache_dir: Path,
    release_set: str,
    architecture: str,
    kubernetes_version: str = "",
    features: Iterable[str] = DEFAULT_FEATURES,
) -> Path:
    """Where the manifest of a bundle is. The default version's is written under both names, so readers need no lock."""
    return cache_dir / "bundle" / bundle_name(release_set, architecture, kubernetes_version, features) / "manifest.json"


def parse_manifest(data: Any) -> Manifest:
    """The typed form of a parsed ``manifest.json``; a :class:`BundleError` names what is wrong with it."""
    if not isinstance(data, Mapping):
        raise BundleError(f"A bundle manifest is a mapping, not {type(data).__name__}.")
    if data.get("schema") != SCHEMA:
        raise BundleError(
            f"The bundle manifest has schema {data.get('schema')!r}, this collection reads schema {SCHEMA}. "
            "Run the bundle playbook again to write it anew."
        )
    try:
        manifest = Manifest(
            release_set=str(data["release_set"]),
            architecture=str(data["architecture"]),
            source=str(data["source"]),
            versions={str(key): str(value) for key, value in data["versions"].items()},
            files=tuple(BundleFile(**entry) for entry in data["files"]),
            images=tuple(BundleImage(**{**entry, "blobs": tuple(entry["blobs"])}) for entry in data["images"]),
            features=tuple(map(str, data.get("features", DEFAULT_FEATURES))),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"The bundle manifest is not complete: {error!r}. Run the bundle playbook again.") from error
    for file in manifest.files:
        if not _HEX.fullmatch(file.sha256):
            raise BundleError(f"The bundle manifest has no sha256 for file {file.name!r}: {file.sha256!r}.")
    for image in manifest.images:
        if not image.blobs or image.blobs[0] != image.digest:
            raise BundleError(f"The bundle manifest's image {image.reference} does not begin with its own manifest.")
        for blob in image.blobs:
            if not blob.startswith("sha256:") or not _HEX.fullmatch(blob[7:]):
                raise BundleError(f"The bundle manifest's image {image.reference} has no digest: {blob!r}.")
    return manifest


def load_manifest(path: Path) -> Manifest:
    """Read and parse a manifest; a missing or broken one is a :class:`BundleError` that says what to run."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(
            f"There is no bundle at {path}. Run `ansible-playbook bare_metal.kubernetes.bundle` with the same inventory."
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(
            f"The bundle manifest {path} cannot be read: {error}. Run the bundle playbook again."
        ) from error
    return parse_manifest(data)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> BundleError:
    """One message for a name that is not there: near names first, all names when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(repr(item) for item in near)}?" if near else f"There are: {', '.join(names)}."
    return BundleError(f"Unknown {kind} {name!r}. {hint}")


def select_files(manifest: Manifest, names: Sequence[str]) -> list[BundleFile]:
    """The files called ``names``, in that order. ``cni/*`` means every file below ``cni/``."""
    by_name = {entry.name: entry for entry in manifest.files}
    selected: dict[str, BundleFile] = {}
    for name in names:
        if name.endswith("/*"):
            matches = [entry for key, entry in sorted(by_name.items()) if key.startswith(name[:-1])]
        else:
            matches = [by_name[name]] if name in by_name else []
        if not matches:
            raise unknown_name(f"file of the bundle {manifest.release_set!r}:", name, by_name)
        selected.update((entry.name, entry) for entry in matches)
    return list(selected.values())


def select_image(manifest: Manifest, name: str) -> BundleImage:
    """The image called ``name``: in full (``quay.io/calico/node``) or its last path components (``calico/node``).

    The short form is for roles that work with several release sets: the projects change registries between versions.
    """
    exact = [entry for entry in manifest.images if entry.name == name]
    matches = exact or [entry for entry in manifest.images if entry.name.endswith(f"/{name}")]
    if len(matches) > 1:
        found = ", ".join(sorted(entry.name for entry in matches))
        raise BundleError(f"The image name {name!r} is ambiguous in the bundle {manifest.release_set!r}: {found}.")
    if not matches:
        known = {entry.name for entry in manifest.images}
        short = {entry.split("/", 1)[1] for entry in known}
        raise unknown_name(f"image of the bundle {manifest.release_set!r}:", name, known if "." in name else short)
    return matches[0]


def select_images(manifest: Manifest, names: Sequence[str]) -> list[BundleImage]:
    """The images called ``names`` (see :func:`select_image`), in that order, each once."""
    return list({entry.name: entry for entry in (select_image(manifest, name) for name in names)}.values())
