# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The typed form of ``roles/bundle/files/bundle.lock.yml``: what a bundle is made of, every byte pinned.

Pure but for :func:`load_lock`. A lock that is wrong is refused as a whole, with every path and reason at once.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

try:
    from jsonschema import Draft202012Validator
except ImportError:  # ansible-test imports plugins without third-party libraries; parse_lock tells users
    Draft202012Validator = None

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    DEFAULT_FEATURES,
    BundleError,
    unknown_name,
)

ARCHITECTURES = ("amd64", "arm64")
BUNDLE_FILES = Path(__file__).resolve().parents[2] / "roles" / "bundle" / "files"
LOCK_PATH = BUNDLE_FILES / "bundle.lock.yml"


def _object(required: Sequence[str] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def _map(value: Any, names: str | None = None) -> dict[str, Any]:
    if names:
        return {"type": "object", "additionalProperties": False, "patternProperties": {names: value}}
    return {"type": "object", "additionalProperties": value}


_STRING = {"type": "string", "minLength": 1}
_STRINGS = {"type": "array", "items": _STRING}
_PATH = {"type": "string", "pattern": "^/"}
_VERSION = {"type": "string", "pattern": r"^v?[0-9]+\.[0-9]+(\.[0-9]+)?(-[0-9A-Za-z.-]+)?$"}
_HEX = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_DIGEST = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_PER_ARCHITECTURE = f"^({'|'.join(ARCHITECTURES)})$"
_MODE = {"type": "string", "pattern": "^0[0-7]{3,4}$"}
_IMAGE_NAME = {"type": "string", "pattern": r"^[a-z0-9.-]+(/[a-z0-9._-]+)+$"}

_BUILD_IMAGE = _object(
    ["name"],
    name=_IMAGE_NAME,
    tag=_STRING,
    base=_STRING,
    binaries=_map(_STRING, "^/"),
    trees={
        "type": "array",
        "items": _object(["from", "to"], **{"from": _STRING, "to": _PATH, "remove": _STRING, "executable": _STRINGS}),
    },
    files=_map(_object(["content"], content={"type": "string"}, mode=_MODE), "^/"),
    directories=_map(_object([], mode=_MODE, uid={"type": "integer"}, gid={"type": "integer"}), "^/"),
    entrypoint=_STRINGS,
    command=_STRINGS,
    environment=_map({"type": "string"}),
    user=_STRING,
    working_directory=_PATH,
)

SCHEMA: dict[str, Any] = _object(
    ["schema", "release_sets", "components"],
    schema={"const": 1},
    release_sets=_map(
        _object(
            ["description", "versions", "kubernetes_versions"],
            description=_STRING,
            versions=_map(_VERSION),
            kubernetes_versions={"type": "array", "items": _VERSION, "minItems": 1},
        )
    ),
    bases=_map(
        _object(["suite", "packages", "revision"], suite=_STRING, packages=_STRINGS, revision={"type": "integer"})
    ),
    components=_map(
        _object(
            ["description", "versions"],
            description=_STRING,
            feature=_STRING,
            build=_object(
                ["tools"],
                directory=_STRING,
                module=_STRING,
                tags=_STRINGS,
                patches={
                    "type": "array",
                    "items": _object(["file", "find", "replace"], file=_STRING, find=_STRING, replace=_STRING),
                },
                tools=_map(_STRING),
                variables=_map(_STRING),
                files=_map(_STRING),
                images={"type": "array", "items": _BUILD_IMAGE},
                disk_mib={"type": "integer", "minimum": 1},
            ),
            upstream=_object(
                [],
                files={
                    "type": "array",
                    "items": {
                        **_object(["url"], name=_STRING, url=_STRING, members=_map(_STRING)),
                        "oneOf": [{"required": ["name"]}, {"required": ["members"]}],
                    },
                },
                images={"type": "array", "items": _object(["name", "tag"], name=_IMAGE_NAME, tag=_STRING)},
            ),
            versions=_map(
                _object(
                    [],
                    module_version=_STRING,
                    sha256=_map(_map(_HEX), _PER_ARCHITECTURE),
                    digests=_map(_map(_DIGEST), _PER_ARCHITECTURE),
                )
            ),
        ),
    ),
)


@dataclass(frozen=True)
class Tree:
    """A directory of the component's Go module that is copied into an image.

    ``remove`` is a pattern that is cut out of its files. Module archives carry no modes: a file is executable when it
    begins with ``#!`` or when ``executable`` has its path below ``source``.
    """

    source: str
    to: str
    remove: str = ""
    executable: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageFile:
    """A small file that is written into an image."""

    content: str
    mode: int = 0o644


@dataclass(frozen=True)
class ImageDirectory:
    """A directory of an image that needs an owner or a mode of its own."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class BuildImage:
    """How an image is assembled: on ``base`` (``scratch`` or a Debian base of the lock), from binaries, trees, files.

    ``binaries`` maps a path in the image to a tool, or to ``<component>/<tool>`` of another component.
    """

    name: str
    tag: str
    base: str = "scratch"
    binaries: Mapping[str, str] = field(default_factory=dict)
    trees: tuple[Tree, ...] = ()
    files: Mapping[str, ImageFile] = field(default_factory=dict)
    directories: Mapping[str, ImageDirectory] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_directory: str = ""


@dataclass(frozen=True)
class Patch:
    """A change of the component's own module: the one place in ``file`` that reads ``find`` becomes ``replace``."""

    file: str
    find: str
    replace: str


@dataclass(frozen=True)
class BuildRecipe:
    """How a component is compiled.

    ``directory`` (below ``roles/bundle/files``) has ``go.mod`` and ``go.sum`` and, for programs of our own, the sources.
    ``tools`` maps the name of a binary to its main package, ``variables`` what the linker sets (``-X``).
    ``files`` maps names of bundle files to ``tool:<binary>``, ``module:<path in the Go module>`` or
    ``archive:<directory of the Go module>`` (a gzipped tar with that directory's last part as its top).
    ``tags`` are build tags. With ``patches`` a changed copy of the module is compiled.
    """

    directory: str
    module: str
    module_version: str
    tools: Mapping[str, str]
    variables: Mapping[str, str]
    files: Mapping[str, str]
    images: tuple[BuildImage, ...]
    disk_mib: int
    tags: tuple[str, ...] = ()
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True)
class UpstreamFile:
    """A released file: ``url`` (complete) whose bytes have ``sha256``; ``member`` names what is taken out of an archive."""

    name: str
    url: str
    sha256: str
    member: str = ""


@dataclass(frozen=True)
class UpstreamImage:
    """A released image, pinned by the digest of its index or of its manifest for one architecture."""

    name: str
    tag: str
    digest: str


@dataclass(frozen=True)
class Base:
    """A Debian root file system for images. A raised ``revision`` has it made again, with the packages of that day."""

    name: str
    suite: str
    packages: tuple[str, ...]
    revision: int


@dataclass(frozen=True)
class Release:
    """One release set with one version of Kubernetes and some features. ``is_default``: it is the set's own version."""

    name: str
    versions: Mapping[str, str]
    is_default: bool
    features: tuple[str, ...] = DEFAULT_FEATURES


class Lock:
    """Questions to a lock that has passed :func:`parse_lock`."""

    def __init__(self, data: Mapping[str, Any], files: Path = BUNDLE_FILES) -> None:
        self._data = data
        self.files = files

    @property
    def release_sets(self) -> tuple[str, ...]:
        """Names of the release sets."""
        return tuple(self._data["release_sets"])

    def kubernetes_versions(self, release_set: str) -> tuple[str, ...]:
        """The versions of Kubernetes that a release set knows."""
        return tuple(self._data["release_sets"][release_set]["kubernetes_versions"])

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what a bundle has only when it is asked for: network plugins."""
        found = {entry["feature"] for entry in self._data["components"].values() if "feature" in entry}
        return tuple(sorted(found.union(DEFAULT_FEATURES)))

    def release(self, name: str, kubernetes_version: str = "", features: Sequence[str] = DEFAULT_FEATURES) -> Release:
        """A release set; ``kubernetes_version`` steps Kubernetes back to another version that the set knows.

        Components of a feature that is not among ``features`` are left out.
        """
        for feature in features:
            if feature not in self.features:
                raise unknown_name("feature of a bundle", feature, self.features)
        if name not in self._data["release_sets"]:
            raise unknown_name("release set", name, self.release_sets)
        entry = self._data["release_sets"][name]
        default = entry["versions"]["kubernetes"]
        version = kubernetes_version or default
        if version not in entry["kubernetes_versions"]:
            raise unknown_name(
                f"Kubernetes version for the release set {name!r}:", version, entry["kubernetes_versions"]
            )
        versions = {
            component: found
            for component, found in {**entry["versions"], "kubernetes": version}.items()
            if self._data["components"][component].get("feature") in (None, *features)
        }
        return Release(name, versions, version == default, tuple(sorted(features)))

    def base(self, name: str) -> Base:
        """A Debian base by its name."""
        entry = self._data["bases"][name]
        return Base(name, entry["suite"], tuple(entry["packages"]), entry["revision"])

    def build_recipe(self, component: str, version: str) -> BuildRecipe:
        """How to compile one version; a :class:`BundleError` when it can only be downloaded."""
        entry = self._data["components"][component]
        recipe = entry.get("build")
        if recipe is None:
            raise BundleError(
                f"{component} {version} cannot be built from Go modules. Use a release set without it, or the sources 'upstream' "
                "or 'mirror'."
            )
        fill = Fill(component, version)
        directory = fill(recipe.get("directory", "go/{component}/{version}"))
        if not (self.files / directory / "go.mod").is_file():
            raise BundleError(
                f"{component} {version} cannot be built: there is no roles/bundle/files/{directory}/go.mod. "
                "Use a release set that is built from modules, or the sources 'upstream' or 'mirror'."
            )
        return BuildRecipe(
            directory=directory,
            module=recipe.get("module", ""),
            module_version=entry["versions"][version].get("module_version", version),
            tools=dict(recipe["tools"]),
            variables={key: fill(value) for key, value in recipe.get("variables", {}).items()},
            files={key: fill(value) for key, value in recipe.get("files", {}).items()},
            images=tuple(_build_image(image, fill) for image in recipe.get("images", ())),
            disk_mib=recipe.get("disk_mib", 1024),
            tags=tuple(recipe.get("tags", ())),
            patches=tuple(Patch(**patch) for patch in recipe.get("patches", ())),
        )

    def has_upstream(self, component: str) -> bool:
        """Does the project publish it? What is not published is built in every release set, from this collection's sources."""
        return "upstream" in self._data["components"][component]

    def upstream_files(self, component: str, version: str, architecture: str) -> tuple[UpstreamFile, ...]:
        """The released files of one version; a :class:`BundleError` when a checksum is not in the lock."""
        fill = Fill(component, version, architecture)
        files = []
        for item, url, sha256 in self._pinned_files(component, version, architecture):
            if not sha256:
                raise BundleError(f"The lock has no {_file_pin(component, version, architecture, url)} ({url}).")
            files += [UpstreamFile(name, url, sha256, fill(member)) for name, member in _members(item).items()]
        return tuple(files)

    def upstream_images(self, component: str, version: str, architecture: str) -> tuple[UpstreamImage, ...]:
        """The released images of one version; a :class:`BundleError` when a digest is not in the lock."""
        images = []
        for name, tag, digest in self._pinned_images(component, version, architecture):
            if not digest:
                raise BundleError(f"The lock has no {_image_pin(component, version, architecture, name)}.")
            images.append(UpstreamImage(name, tag, digest))
        return tuple(images)

    def check_pinned(self, release: Release, architecture: str, components: Sequence[str] = ()) -> None:
        """Refuse a release that cannot be downloaded as a whole, naming every sum and digest that the lock has not.

        ``components`` (default: all) limits the question. What no project publishes is not asked for.
        """
        missing = []
        for component, version in release.versions.items():
            if (components and component not in components) or not self.has_upstream(component):
                continue
            missing += [
                f"{_file_pin(component, version, architecture, url)} ({url})"
                for _item, url, sha256 in self._pinned_files(component, version, architecture)
                if not sha256
            ] + [
                _image_pin(component, version, architecture, f"{name}:{tag}")
                for name, tag, digest in self._pinned_images(component, version, architecture)
                if not digest
            ]
        if missing:
            raise BundleError(
                f"The release set {release.name!r} with Kubernetes {release.versions['kubernetes']} cannot be downloaded for "
                f"{architecture}: the lock does not pin all of it. Missing:\n"
                + "\n".join(f"  - {entry}" for entry in missing)
                + "\nUse another release set, Kubernetes version or architecture, the source 'build' where the set can be built, "
                "or add what the projects publish to roles/bundle/files/bundle.lock.yml."
            )

    def _pinned_files(
        self, component: str, version: str, architecture: str
    ) -> Iterator[tuple[Mapping[str, Any], str, str]]:
        """Each upstream file: its entry, its URL, its sum (empty: none in the lock)."""
        fill = Fill(component, version, architecture)
        sums = self._version(component, version).get("sha256", {}).get(architecture, {})
        for item in self._upstream(component, version).get("files", ()):
            url = fill(item["url"])
            yield item, url, sums.get(url.rsplit("/", 1)[1], "")

    def _pinned_images(self, component: str, version: str, architecture: str) -> Iterator[tuple[str, str, str]]:
        """Each upstream image: its name, its tag, its digest (empty: none in the lock)."""
        fill = Fill(component, version, architecture)
        digests = self._version(component, version).get("digests", {}).get(architecture, {})
        for item in self._upstream(component, version).get("images", ()):
            yield item["name"], fill(item["tag"]), digests.get(item["name"], "")

    def _version(self, component: str, version: str) -> Mapping[str, Any]:
        return dict(self._data["components"][component]["versions"][version])

    def _upstream(self, component: str, version: str) -> Mapping[str, Any]:
        recipe = self._data["components"][component].get("upstream")
        if recipe is None:
            raise BundleError(f"{component} {version} has no upstream release: it is built. Use the source 'build'.")
        return dict(recipe)


class Fill:
    """Fills ``{component} {version} {number} {major} {minor} {patch} {arch}``; ``{number}`` is the version without its v."""

    def __init__(self, component: str, version: str, architecture: str = "") -> None:
        number = version.removeprefix("v")
        parts = [*number.split("."), "", ""]
        self._values = {
            "component": component,
            "version": version,
            "number": number,
            "major": parts[0],
            "minor": parts[1],
            "patch": parts[2],
        }
        if architecture:
            self._values["arch"] = architecture

    def __call__(self, text: str) -> str:
        """``text`` with its placeholders filled."""
        return text.format_map(self._values)


PLACEHOLDERS = ("component", "version", "number", "major", "minor", "patch", "arch")


def _file_pin(component: str, version: str, architecture: str, url: str) -> str:
    return f"sha256 of {url.rsplit('/', 1)[1]} for {component} {version} on {architecture}"


def _image_pin(component: str, version: str, architecture: str, image: str) -> str:
    return f"digest of {image} for {component} {version} on {architecture}"


def _members(item: Mapping[str, Any]) -> Mapping[str, str]:
    """Bundle names of an upstream file and the path of each inside the archive (empty: the file itself)."""
    return dict(item["members"]) if "members" in item else {item["name"]: ""}


def _build_image(image: Mapping[str, Any], fill: Fill) -> BuildImage:
    return BuildImage(
        name=image["name"],
        tag=fill(image.get("tag", "{version}")),
        base=image.get("base", "scratch"),
        binaries=dict(image.get("binaries", {})),
        trees=tuple(
            Tree(tree["from"], tree["to"], tree.get("remove", ""), tuple(tree.get("executable", ())))
            for tree in image.get("trees", ())
        ),
        files={
            path: ImageFile(item["content"], int(item.get("mode", "0644"), 8))
            for path, item in image.get("files", {}).items()
        },
        directories={
            path: ImageDirectory(int(item.get("mode", "0755"), 8), item.get("uid", 0), item.get("gid", 0))
            for path, item in image.get("directories", {}).items()
        },
        entrypoint=tuple(image.get("entrypoint", ())),
        command=tuple(image.get("command", ())),
        environment=dict(image.get("environment", {})),
        user=image.get("user", ""),
        working_directory=image.get("working_directory", ""),
    )


def _schema_problems(data: Any) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in error.absolute_path) or '(top)'}: {error.message}"
        for error in sorted(
            Draft202012Validator(SCHEMA).iter_errors(data), key=lambda error: list(map(str, error.absolute_path))
        )
    ]


def _texts(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, Mapping):
        return [found for key, item in value.items() for found in _texts(item, f"{path}.{key}" if path else str(key))]
    if isinstance(value, (list, tuple)):
        return [found for index, item in enumerate(value) for found in _texts(item, f"{path}.{index}")]
    return []


def _placeholder_problems(path: str, text: str) -> list[str]:
    try:
        fields = [name for _text, name, _spec, _conversion in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        return [f"{path}: {text!r} is not a template: {error}"]
    return [
        f"{path}: unknown placeholder {{{name}}}; there are {', '.join(PLACEHOLDERS)}"
        for name in fields
        if name not in PLACEHOLDERS
    ]


def _template_problems(name: str, component: Mapping[str, Any]) -> list[str]:
    build, upstream = component.get("build", {}), component.get("upstream", {})
    templates: dict[str, Any] = {
        "build.directory": build.get("directory", ""),
        "build.variables": build.get("variables", {}),
        "build.files": build.get("files", {}),
        "upstream": upstream,
    }
    templates |= {
        f"build.images.{index}.tag": image.get("tag", "") for index, image in enumerate(build.get("images", ()))
    }
    return [
        problem
        for key, value in templates.items()
        for path, text in _texts(value, f"components.{name}.{key}")
        for problem in _placeholder_problems(path, text)
    ]


def _release_problems(data: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, entry in data["release_sets"].items():
        for component, version in entry["versions"].items():
            path = f"release_sets.{name}.versions.{component}"
            if component not in data["components"]:
                problems.append(f"{path}: there is no such component")
            elif version not in data["components"][component]["versions"]:
                problems.append(f"{path}: components.{component}.versions has no {version}")
        known = data["components"].get("kubernetes", {}).get("versions", {})
        if entry["versions"].get("kubernetes") not in entry["kubernetes_versions"]:
            problems.append(f"release_sets.{name}.kubernetes_versions: the default version is not among them")
        problems += [
            f"release_sets.{name}.kubernetes_versions: components.kubernetes.versions has no {version}"
            for version in entry["kubernetes_versions"]
            if version not in known
        ]
    return problems


def _image_problems(
    path: str, image: Mapping[str, Any], build: Mapping[str, Any], data: Mapping[str, Any]
) -> list[str]:
    problems = []
    base = image.get("base", "scratch")
    if base != "scratch" and base not in data.get("bases", {}):
        problems.append(f"{path}.base: there is no base {base!r}")
    for target, binary in image.get("binaries", {}).items():
        other, _slash, tool = binary.rpartition("/")
        tools = data["components"].get(other, {}).get("build", {}).get("tools", {}) if other else build["tools"]
        if tool not in tools:
            problems.append(f"{path}.binaries.{target}: there is no tool {binary!r}")
    for index, tree in enumerate(image.get("trees", ())):
        if not build.get("module"):
            problems.append(f"{path}.trees.{index}: the component has no module")
        try:
            re.compile(tree.get("remove", ""))
        except re.error as error:
            problems.append(f"{path}.trees.{index}.remove: not a regular expression: {error}")
    return problems


def _build_problems(name: str, build: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    problems = []
    for file, source in build.get("files", {}).items():
        kind, _colon, rest = source.partition(":")
        path = f"components.{name}.build.files.{file}"
        if kind not in ("tool", "module", "archive") or not rest:
            problems.append(f"{path}: {source!r} is none of tool:<binary>, module:<path>, archive:<directory>")
        elif kind == "tool" and rest not in build["tools"]:
            problems.append(f"{path}: there is no tool {rest!r}")
        elif kind != "tool" and not build.get("module"):
            problems.append(f"{path}: the component has no module")
    if build.get("patches") and not build.get("module"):
        problems.append(f"components.{name}.build.patches: the component has no module")
    for index, image in enumerate(build.get("images", ())):
        problems += _image_problems(f"components.{name}.build.images.{index}", image, build, data)
    return problems


def _duplicate_problems(data: Mapping[str, Any]) -> list[str]:
    problems = []
    for recipe in ("build", "upstream"):
        owner: dict[tuple[str, str], str] = {}
        for name, component in data["components"].items():
            part = component.get(recipe, {})
            files = part.get("files", {})
            names = list(files) if isinstance(files, Mapping) else [name for item in files for name in _members(item)]
            entries = [("file", item) for item in names] + [("image", item["name"]) for item in part.get("images", ())]
            for entry in entries:
                if entry in owner:
                    problems.append(
                        f"components.{name}.{recipe}: {entry[0]} {entry[1]!r} is already made by {owner[entry]}"
                    )
                owner[entry] = name
    return problems


def parse_lock(data: Any, files: Path = BUNDLE_FILES, origin: str = "bundle.lock.yml") -> Lock:
    """Check a parsed lock and wrap it. A :class:`BundleError` lists every problem with its path."""
    if Draft202012Validator is None:
        raise BundleError("The bundle needs the Python library jsonschema on the controller: pip install jsonschema.")
    problems = _schema_problems(data)
    if not problems:
        problems += _release_problems(data)
        problems += _duplicate_problems(data)
        for name, component in data["components"].items():
            problems += _template_problems(name, component)
            if "build" in component:
                problems += _build_problems(name, component["build"], data)
    if problems:
        raise BundleError(
            f"The bundle's lock {origin} is wrong:\n" + "\n".join(f"  - {problem}" for problem in problems)
        )
    return Lock(data, files)


def load_lock(path: Path = LOCK_PATH) -> Lock:
    """Read, check and wrap the lock."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"The bundle's lock {path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise BundleError(f"The bundle's lock {path} is not YAML: {error}") from error
    return parse_lock(data, path.parent, path.name)
