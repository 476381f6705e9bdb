"""The source `build`: what decides a result, and real images from really compiled programs."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bundle_build as subject
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bundle_go
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_build import BuildSource
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_go import Go
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import (
    BuildImage,
    Lock,
    Patch,
    Tree,
    parse_lock,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_make import make_bundle
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import Blob, BlobStore

GO = Go("go", "go version go1.26.6 linux/amd64")
PROGRAM = """package main

var version = "unset"

func main() { println(version) }
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A component of our own, without modules: compiles within a second."""
    directory = tmp_path / "files" / "go" / "tool"
    directory.mkdir(parents=True)
    (directory / "go.mod").write_text("module bundle.invalid/tool\n\ngo 1.26.0\n")
    (directory / "main.go").write_text(PROGRAM)
    return tmp_path / "files"


def lock_data() -> dict[str, Any]:
    return {
        "schema": 1,
        "release_sets": {
            "small": {
                "description": "for tests",
                "versions": {"kubernetes": "v1.0.0", "borrower": "v1.0.0"},
                "kubernetes_versions": ["v1.0.0"],
            }
        },
        "bases": {"tools": {"suite": "trixie", "packages": ["kmod"], "revision": 1}},
        "components": {
            "kubernetes": {
                "description": "our own program in the place of kubernetes",
                "build": {
                    "directory": "go/tool",
                    "tools": {"tool": "bundle.invalid/tool"},
                    "variables": {"main.version": "{version}"},
                    "files": {"tool": "tool:tool"},
                    "images": [{"name": "x.example/tool", "binaries": {"/tool": "tool"}, "entrypoint": ["/tool"]}],
                },
                "versions": {"v1.0.0": {}},
            },
            "borrower": {
                "description": "an image with another component's program",
                "build": {
                    "directory": "go/tool",
                    "tools": {"own": "bundle.invalid/tool"},
                    "images": [
                        {
                            "name": "x.example/borrower",
                            "binaries": {
                                "/bin/own": "own",
                                "/bin/tool": "kubernetes/tool",
                                "/bin/two": "kubernetes/tool",
                            },
                        }
                    ],
                },
                "versions": {"v1.0.0": {}},
            },
        },
    }


def source(
    data: dict[str, Any], files: Path, store: BlobStore, architecture: str = "amd64", go: Go = GO
) -> BuildSource:
    lock: Lock = parse_lock(data, files)
    return BuildSource(lock, lock.release("small"), architecture, store, lambda: go, lambda text: None)


def set_in(data: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split("/")
    for part in parents:
        data = data[int(part)] if isinstance(data, list) else data[part]
    data[last] = value


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        ("components/kubernetes/build/variables", {"main.version": "x"}, {"kubernetes", "borrower"}),
        ("components/kubernetes/build/tags", ["osusergo"], {"kubernetes", "borrower"}),
        ("components/kubernetes/build/files", {}, {"kubernetes"}),
        ("components/kubernetes/build/images/0/user", "5", {"kubernetes"}),
        ("components/borrower/build/images/0/command", ["x"], {"borrower"}),
        ("components/kubernetes/build/images/0/base", "tools", {"kubernetes"}),
        ("components/kubernetes/description", "other words", set()),
    ],
)
def test_a_key_changes_with_the_recipe(files: Path, tmp_path: Path, path: str, value: Any, changed: set[str]) -> None:
    store, data = BlobStore(tmp_path / "cache"), lock_data()
    before = source(data, files, store)
    set_in(data := json.loads(json.dumps(data)), path, value)
    after = source(data, files, store)
    assert {
        name for name in ("kubernetes", "borrower") if before.key(name, "v1.0.0") != after.key(name, "v1.0.0")
    } == changed


def test_a_key_changes_with_sources_toolchain_architecture_and_base(files: Path, tmp_path: Path) -> None:
    store, data = BlobStore(tmp_path / "cache"), lock_data()
    data["components"]["kubernetes"]["build"]["images"][0]["base"] = "tools"
    revised = json.loads(json.dumps(data))
    revised["bases"]["tools"]["revision"] = 2
    keys = [
        source(data, files, store).key("kubernetes", "v1.0.0"),
        source(data, files, store, architecture="arm64").key("kubernetes", "v1.0.0"),
        source(data, files, store, go=Go("go", "go version go1.27.0 linux/amd64")).key("kubernetes", "v1.0.0"),
        source(revised, files, store).key("kubernetes", "v1.0.0"),
    ]
    (files / "go" / "tool" / "main.go").write_text(PROGRAM + "\n")
    keys.append(source(data, files, store).key("kubernetes", "v1.0.0"))
    assert len(set(keys)) == len(keys)
    assert keys[-1] == source(data, files, store).key("kubernetes", "v1.0.0")


def test_a_lender_that_the_set_does_not_have_is_told(files: Path, tmp_path: Path) -> None:
    data = lock_data()
    data["components"]["lender"] = json.loads(json.dumps(data["components"]["borrower"]))
    data["components"]["lender"]["build"]["images"] = []
    data["components"]["borrower"]["build"]["images"][0]["binaries"] = {"/x": "lender/own"}
    with pytest.raises(
        BundleError, match="borrower needs programs of lender, which the release set 'small' does not have"
    ):
        source(data, files, BlobStore(tmp_path / "cache")).key("borrower", "v1.0.0")


@pytest.mark.skipif(shutil.which("go") is None, reason="needs a Go toolchain")
def test_a_bundle_is_compiled_and_assembled(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bundle_go.build_environment
    # The user's own build cache: the standard library need not be compiled for every test.
    monkeypatch.setattr(
        subject,
        "build_environment",
        lambda *args: {key: value for key, value in real(*args).items() if key != "GOCACHE"},
    )
    go = Go("go", bundle_go.go_version("go") or "")
    store = BlobStore(tmp_path / "cache")
    made = source(lock_data(), files, store, go=go)
    lock = parse_lock(lock_data(), files)
    said: list[str] = []
    outcome = make_bundle(lock.release("small"), "amd64", "build", lambda component: made, store, said.append)
    assert outcome.changed
    (file,) = outcome.manifest.files
    assert (file.name, file.source) == ("tool", "collection:roles/bundle/files/go/tool")
    assert b"v1.0.0" in store.read(file.sha256)
    assert str(tmp_path).encode() not in store.read(file.sha256)
    borrower = next(image for image in outcome.manifest.images if image.name == "x.example/borrower")
    layer = gzip.decompress(store.read(borrower.blobs[-1]))
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        members = {item.name: item for item in archive.getmembers()}
    assert list(members) == ["bin", "bin/own", "bin/tool", "bin/two"]
    assert (members["bin/two"].islnk(), members["bin/two"].linkname) == (True, "bin/tool")
    assert not list(store.tmp.iterdir())

    # A new image recipe assembles anew and compiles nothing.
    changed = lock_data()
    set_in(changed, "components/kubernetes/build/images/0/user", "5")
    broken_go = Go("/nowhere/go", go.version)
    again = source(changed, files, store, go=broken_go)
    assert again.needed_mib("kubernetes", "v1.0.0") == subject.ASSEMBLY_MIB
    outcome = make_bundle(lock.release("small"), "amd64", "build", lambda component: again, store, said.append)
    assert outcome.changed
    assert next(iter(outcome.manifest.files)) == file


def test_trees_lose_what_is_removed_and_get_their_modes(tmp_path: Path) -> None:
    for name, text in {
        "rc.local": "# no interpreter line\n",
        "service/run": "#!/bin/sh\n",
        "plain": 'a\n  krt_tunnel = "{{x}}"; # note\nb\n',
        "kept/.gitkeep": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    tree = Tree("etc", "/etc", 'krt_tunnel = "[^"]*";', ("rc.local",))
    found = {entry.path: entry for entry in subject.tree_entries(tree, tmp_path)}
    assert set(found) == {"/etc/rc.local", "/etc/service/run", "/etc/plain", "/etc/kept"}
    assert {path: oct(entry.mode) for path, entry in found.items() if entry.content is not None} == {
        "/etc/rc.local": "0o755",
        "/etc/service/run": "0o755",
        "/etc/plain": "0o644",
    }
    assert found["/etc/plain"].content == b"a\n   # note\nb\n"
    assert found["/etc/kept"].content is None


def test_a_tree_that_the_module_does_not_have_is_told(tmp_path: Path) -> None:
    image = BuildImage("x.example/x", "v1", trees=(Tree("absent", "/etc"),))
    with pytest.raises(BundleError, match="has no absent: the lock does not fit"):
        subject.image_entries(image, "x", {"x": {"x": Blob("0" * 64, 1)}}, tmp_path, BlobStore(tmp_path))


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module as it lies in the module cache: read-only."""
    directory = tmp_path / "module"
    (directory / "chart" / "templates").mkdir(parents=True)
    (directory / "chart" / "Chart.yaml").write_text("name: chart\n")
    (directory / "chart" / "templates" / "run.sh").write_text("#!/bin/sh\n")
    (directory / "main.go").write_text("one\ntwo\n")
    for path in sorted(directory.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return directory


def test_a_patch_changes_a_copy_of_the_module_only(module: Path, tmp_path: Path) -> None:
    subject.patched_module(module, tmp_path / "copy", [Patch("main.go", "one", "1"), Patch("main.go", "two", "2")])
    assert (tmp_path / "copy" / "main.go").read_text() == "1\n2\n"
    assert (tmp_path / "copy" / "chart" / "Chart.yaml").read_text() == "name: chart\n"
    assert (module / "main.go").read_text() == "one\ntwo\n"
    shutil.rmtree(tmp_path / "copy")


@pytest.mark.parametrize(("find", "times"), [("three", 0), ("o", 2)])
def test_a_patch_that_does_not_fit_is_refused(module: Path, tmp_path: Path, find: str, times: int) -> None:
    with pytest.raises(BundleError, match=rf"main\.go .* is there {times} times and not once"):
        subject.patched_module(module, tmp_path / "copy", [Patch("main.go", find, "x")])
    assert not (tmp_path / "copy").exists()


def test_a_patched_module_is_compiled_through_a_replaced_go_mod(
    module: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = lock_data()
    data["components"]["kubernetes"]["build"] |= {
        "module": "example.org/tool",
        "patches": [{"file": "main.go", "find": "one", "replace": "1"}],
    }
    made = source(data, files, store := BlobStore(tmp_path / "cache"))
    assert made.key("kubernetes", "v1.0.0") != source(lock_data(), files, store).key("kubernetes", "v1.0.0")
    monkeypatch.setattr(made, "_module_directory", lambda component, recipe: module)
    seen = {}

    def run_go(go: Go, arguments: list[str], directory: Path, *rest: Any) -> str:
        seen["go.mod"] = (directory / "go.mod").read_text()
        seen["main.go"] = (directory / ".." / "module" / "main.go").read_text()
        output = Path(arguments[arguments.index("-o") + 1])
        (output / "tool").write_text("program")
        return ""

    monkeypatch.setattr(subject, "run_go", run_go)
    store.prepare()
    made.tools("kubernetes", "v1.0.0")
    assert seen["go.mod"].endswith("\nreplace example.org/tool => ../module\n")
    assert seen["main.go"] == "1\ntwo\n"
    assert (files / "go/tool/go.mod").read_text().count("replace") == 0
    assert not list(store.tmp.iterdir())


def test_an_archive_is_a_directory_of_the_module_below_its_own_name(
    module: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = lock_data()
    data["components"]["kubernetes"]["build"] |= {
        "module": "example.org/tool",
        "files": {"chart.tgz": "archive:chart"},
        "images": [],
    }
    data["components"]["borrower"]["build"]["images"] = []
    made = source(data, files, store := BlobStore(tmp_path / "cache"))
    store.prepare()
    monkeypatch.setattr(made, "_module_directory", lambda component, recipe: module)
    monkeypatch.setattr(made, "tools", lambda component, version: {})
    first, second = (made.produce("kubernetes", "v1.0.0").files for _time in range(2))
    assert first == second
    assert first[0].source == "go:example.org/tool@v1.0.0/chart"
    with tarfile.open(store.path(first[0].sha256)) as archive:
        members = {info.name: (info.mode, info.mtime) for info in archive.getmembers() if info.isfile()}
    assert members == {"chart/Chart.yaml": (0o644, 0), "chart/templates/run.sh": (0o755, 0)}


def test_a_tree_that_is_one_file_becomes_that_file(module: Path) -> None:
    entries = subject.tree_entries(Tree("chart/templates/run.sh", "/run.sh"), module / "chart/templates/run.sh")
    assert [(entry.path, entry.mode, entry.content) for entry in entries] == [("/run.sh", 0o755, b"#!/bin/sh\n")]
