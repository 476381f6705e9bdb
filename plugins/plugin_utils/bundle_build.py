# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source ``build``: components compiled from Go modules, images assembled without a container engine.

Three steps, each recorded under its own key, so that a changed image does not compile anything again:
tools (the compiled programs, as blobs), bases (Debian layers), component (files and images made of them).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_debian import (
    DROPPED,
    make_rootfs,
    mmdebstrap_arguments,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_go import (
    Go,
    build_arguments,
    build_environment,
    executable_name,
    run_go,
    source_hash,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import (
    BuildImage,
    BuildRecipe,
    Lock,
    Patch,
    Release,
    Tree,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_make import ComponentResult, Records, key_of
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    BundleError,
    BundleFile,
    BundleImage,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_oci import (
    COMPRESSION,
    Entry,
    ImageConfig,
    Layer,
    in_order,
    store_image,
    store_layer,
    store_rootfs_layer,
    with_parents,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import Blob, BlobStore

# Raise it when this code makes something else of the same lock.
RECIPE_FORMAT = 1
# What assembling needs beside the compiled programs: a root file system's tar and the layers.
ASSEMBLY_MIB = 512


class BuildSource:
    """See :class:`..bundle_make.ComponentSource`."""

    def __init__(
        self,
        lock: Lock,
        release: Release,
        architecture: str,
        store: BlobStore,
        go: Callable[[], Go],
        say: Callable[[str], None],
        debian_mirror: str = "",
    ) -> None:
        self._lock = lock
        self._release = release
        self._architecture = architecture
        self._store = store
        self._find_go = go
        self._found_go: Go | None = None
        self._say = say
        self._debian_mirror = debian_mirror
        self._records = Records(store.cache_dir)
        self._environment = build_environment(store.cache_dir, architecture)

    @property
    def _go(self) -> Go:
        if self._found_go is None:
            self._found_go = self._find_go()
        return self._found_go

    def _recipe(self, component: str, version: str) -> BuildRecipe:
        return self._lock.build_recipe(component, version)

    def _directory(self, recipe: BuildRecipe) -> Path:
        return self._lock.files / recipe.directory

    # Keys

    def _tools_key(self, component: str, version: str) -> str:
        recipe = self._recipe(component, version)
        return key_of(
            "tools",
            RECIPE_FORMAT,
            build_arguments(recipe, ""),
            self._architecture,
            self._go.version,
            source_hash(self._directory(recipe)),
            *([asdict(patch) for patch in recipe.patches]),
        )

    def _base_key(self, name: str) -> str:
        base = self._lock.base(name)
        arguments = mmdebstrap_arguments(base, self._architecture, "", "")
        return key_of("base", RECIPE_FORMAT, COMPRESSION, DROPPED, base.revision, arguments)

    def key(self, component: str, version: str) -> str:
        """Changes with sources, modules, toolchain, flags, architecture, image recipes and borrowed programs."""
        recipe = self._recipe(component, version)
        tools = {name: self._tools_key(name, self._version(name, component)) for name in _lenders(component, recipe)}
        bases = {image.base: self._base_key(image.base) for image in recipe.images if image.base != "scratch"}
        return key_of("component", RECIPE_FORMAT, COMPRESSION, component, version, asdict(recipe), tools, bases)

    def _version(self, component: str, for_component: str) -> str:
        if component not in self._release.versions:
            raise BundleError(
                f"{for_component} needs programs of {component}, which the release set {self._release.name!r} does not have."
            )
        return self._release.versions[component]

    def needed_mib(self, component: str, version: str) -> int:
        """The lock's figure for a cold build; only the assembly's when the programs are there already."""
        recipe = self._recipe(component, version)
        compiled = self._known_tools(self._tools_key(component, version)) is not None
        return ASSEMBLY_MIB if compiled else recipe.disk_mib + ASSEMBLY_MIB

    # Tools

    def _known_tools(self, key: str) -> dict[str, Blob] | None:
        data = self._records.get("tools", key)
        if not isinstance(data, dict):
            return None
        tools = {name: Blob(**blob) for name, blob in data.items()}
        return tools if not self._store.damaged(blob.sha256 for blob in tools.values()) else None

    def tools(self, component: str, version: str) -> dict[str, Blob]:
        """The compiled programs of a component: tool name -> blob."""
        key = self._tools_key(component, version)
        known = self._known_tools(key)
        if known is not None:
            return known
        recipe = self._recipe(component, version)
        self._say(f"bundle: {component} {version}: compiling {', '.join(sorted(recipe.tools))}")
        with self._store.workspace(f"go-{component}") as output, self._sources(component, recipe) as directory:
            run_go(self._go, build_arguments(recipe, output), directory, self._environment, component, self._say)
            tools = {
                name: self._store.add_file(output / executable_name(package)) for name, package in recipe.tools.items()
            }
        self._records.put("tools", key, {name: asdict(blob) for name, blob in tools.items()})
        return tools

    def _module_directory(self, component: str, recipe: BuildRecipe) -> Path:
        """Where the component's own module is unpacked; downloads it when the module cache has been cleaned."""
        directory = self._directory(recipe)
        run_go(self._go, ["mod", "download", recipe.module], directory, self._environment, component, self._say)
        arguments = ["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", recipe.module]
        return Path(run_go(self._go, arguments, directory, self._environment, component, self._say).strip())

    @contextlib.contextmanager
    def _sources(self, component: str, recipe: BuildRecipe) -> Iterator[Path]:
        """The directory to compile in: the recipe's, or with patches a copy of it whose ``go.mod`` names a changed copy of the module."""
        if not recipe.patches:
            yield self._directory(recipe)
            return
        module = self._module_directory(component, recipe)
        with self._store.workspace(f"patched-{component}") as workspace:
            patched_module(module, workspace / "module", recipe.patches)
            shutil.copytree(self._directory(recipe), workspace / "build")
            with (workspace / "build" / "go.mod").open("a", encoding="utf-8") as stream:
                # A relative path: the programs carry it.
                stream.write(f"\nreplace {recipe.module} => ../module\n")
            yield workspace / "build"

    # Components

    def produce(self, component: str, version: str) -> ComponentResult:
        """Compile what is not compiled, then make files and images of it."""
        recipe = self._recipe(component, version)
        tools = {name: self.tools(name, self._version(name, component)) for name in _lenders(component, recipe)}
        needs_module = any(not item.startswith("tool:") for item in recipe.files.values()) or any(
            image.trees for image in recipe.images
        )
        module = self._module_directory(component, recipe) if needs_module else Path()
        files = [
            self._file(name, item, component, version, recipe, tools, module)
            for name, item in sorted(recipe.files.items())
        ]
        images = [self._image(image, component, version, recipe, tools, module) for image in recipe.images]
        return ComponentResult(tuple(files), tuple(images))

    def _file(
        self,
        name: str,
        item: str,
        component: str,
        version: str,
        recipe: BuildRecipe,
        tools: dict[str, dict[str, Blob]],
        module: Path,
    ) -> BundleFile:
        kind, _colon, rest = item.partition(":")
        if kind == "tool":
            blob, source = tools[component][rest], _origin(recipe, recipe.tools[rest])
        elif kind == "archive":
            directory = _inside(module, rest)
            entries = tree_entries(Tree(rest, f"/{directory.name}"), directory)
            blob = store_layer(self._store, with_parents(entries)).blob
            source = f"{_origin(recipe, recipe.module)}/{rest}"
        else:
            blob, source = self._store.add_file(_inside(module, rest)), f"{_origin(recipe, recipe.module)}/{rest}"
        return BundleFile(name, component, version, blob.sha256, blob.size, source)

    def _image(
        self,
        image: BuildImage,
        component: str,
        version: str,
        recipe: BuildRecipe,
        tools: dict[str, dict[str, Blob]],
        module: Path,
    ) -> BundleImage:
        entries = image_entries(image, component, tools, module, self._store)
        scratch = image.base == "scratch"
        own = store_layer(self._store, with_parents(entries) if scratch else in_order(entries))
        layers = [own] if scratch else [self._base(image.base), own]
        config = ImageConfig(
            architecture=self._architecture,
            entrypoint=image.entrypoint,
            command=image.command,
            environment=image.environment,
            user=image.user,
            working_directory=image.working_directory,
            labels={
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.title": f"{component} (built)",
            },
        )
        stored = store_image(self._store, config, layers)
        source = f"{_origin(recipe, recipe.module or min(recipe.tools.values()))} on {image.base}"
        return BundleImage(image.name, image.tag, stored.digest, stored.size, stored.blobs, component, version, source)

    def _base(self, name: str) -> Layer:
        key = self._base_key(name)
        data = self._records.get("base", key)
        if isinstance(data, dict) and not self._store.damaged([data["sha256"]]):
            return Layer(Blob(data["sha256"], data["size"]), data["diff_id"])
        base = self._lock.base(name)
        self._say(f"bundle: making the Debian {base.suite} base {name} with {', '.join(base.packages)}")
        with self._store.workspace(f"base-{name}") as directory:
            make_rootfs(base, self._architecture, directory / "rootfs.tar", self._say, self._debian_mirror)
            layer = store_rootfs_layer(self._store, directory / "rootfs.tar", DROPPED)
        self._records.put("base", key, {**asdict(layer.blob), "diff_id": layer.diff_id})
        return layer


def _lenders(component: str, recipe: BuildRecipe) -> list[str]:
    """The component itself and those whose programs its images borrow."""
    borrowed = {binary.rpartition("/")[0] for image in recipe.images for binary in image.binaries.values()}
    return [component, *sorted(borrowed - {"", component})]


def _origin(recipe: BuildRecipe, package: str) -> str:
    """Where something comes from, for the manifest."""
    if package.startswith("bundle.invalid/"):
        return f"collection:roles/bundle/files/{recipe.directory}"
    if recipe.module and package.startswith(recipe.module):
        return f"go:{recipe.module}@{recipe.module_version}{package.removeprefix(recipe.module)}"
    return f"go:{package}@{recipe.module_version}"


def _inside(module: Path, path: str) -> Path:
    found = module / path
    if not found.exists():
        raise BundleError(f"The Go module in {module} has no {path}: the lock does not fit this version.")
    return found


def patched_module(module: Path, target: Path, patches: Sequence[Patch]) -> None:
    """Copy a module (hard links where the file system has them) and change it; the module cache stays as it is."""
    changed: dict[str, str] = {}
    for patch in patches:
        text = changed.get(patch.file) or _inside(module, patch.file).read_text(encoding="utf-8")
        if text.count(patch.find) != 1:
            raise BundleError(
                f"The lock changes {patch.file} of the Go module in {module}, but what it looks for is there {text.count(patch.find)} "
                "times and not once: the lock does not fit this version."
            )
        changed[patch.file] = text.replace(patch.find, patch.replace)

    def link(source: str, destination: str) -> None:
        try:
            os.link(source, destination)
        except OSError:
            shutil.copyfile(source, destination)

    shutil.copytree(module, target, copy_function=link)
    for directory in (target, *(path for path in target.rglob("*") if path.is_dir())):
        directory.chmod(0o755)
    for name, text in changed.items():
        (target / name).unlink()
        (target / name).write_text(text, encoding="utf-8")


def image_entries(
    image: BuildImage, component: str, tools: dict[str, dict[str, Blob]], module: Path, store: BlobStore
) -> list[Entry]:
    """What an image's own layer holds. A program that is there under two names is a hard link the second time."""
    entries = [Entry(path, item.mode, item.uid, item.gid) for path, item in image.directories.items()]
    entries += [Entry(path, item.mode, content=item.content.encode()) for path, item in image.files.items()]
    first: dict[str, str] = {}
    for path, binary in sorted(image.binaries.items()):
        owner, _slash, tool = binary.rpartition("/")
        blob = tools[owner or component][tool]
        if blob.sha256 in first:
            entries.append(Entry(path, link=first[blob.sha256]))
        else:
            first[blob.sha256] = path
            entries.append(Entry(path, file=store.path(blob.sha256)))
    for tree in image.trees:
        entries += tree_entries(tree, _inside(module, tree.source))
    return entries


def _is_git(path: Path) -> bool:
    """Is it there for git alone (``.gitkeep``, ``.gitignore``)?"""
    return path.name.startswith(".git")


def tree_entries(tree: Tree, directory: Path) -> list[Entry]:
    """The files below a directory of a module, with ``remove`` cut out; directories that would be empty are kept.

    A single file becomes the file ``tree.to``.
    """
    entries = []
    if directory.is_file():
        return [_tree_entry(tree, directory, tree.to, directory.name)]
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory).as_posix()
        if path.is_dir():
            if all(_is_git(child) for child in path.iterdir()):
                entries.append(Entry(f"{tree.to}/{relative}"))
            continue
        if _is_git(path):
            continue
        entries.append(_tree_entry(tree, path, f"{tree.to}/{relative}", relative))
    return entries


def _tree_entry(tree: Tree, path: Path, target: str, relative: str) -> Entry:
    content = path.read_bytes()
    if tree.remove:
        content = re.sub(tree.remove.encode(), b"", content)
    executable = content.startswith(b"#!") or relative in tree.executable
    return Entry(target, 0o755 if executable else 0o644, content=content)
