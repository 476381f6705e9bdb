"""The manifest: its form, its errors, and picking things out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bundle_manifest as subject
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    BundleError,
    BundleFile,
    BundleImage,
    Manifest,
)


def hexes(character: str) -> str:
    return character * 64


def image(name: str, character: str = "a") -> BundleImage:
    digest = f"sha256:{hexes(character)}"
    return BundleImage(name, "v1", digest, 3, (digest, f"sha256:{hexes('f')}"), "c", "v1", "s")


MANIFEST = Manifest(
    release_set="built",
    architecture="amd64",
    source="build",
    versions={"kubernetes": "v1.36.3"},
    files=tuple(BundleFile(name, "c", "v1", hexes("b"), 2, "s") for name in ("kubelet", "cni/bridge", "cni/loopback")),
    images=(image("registry.k8s.io/pause"), image("quay.io/calico/node"), image("docker.io/other/node")),
)


def test_the_written_form_reads_back_as_itself() -> None:
    written = json.loads(json.dumps(MANIFEST.to_dict()))
    assert subject.parse_manifest(written).to_dict() == written
    assert [file["name"] for file in written["files"]] == ["cni/bridge", "cni/loopback", "kubelet"]


def test_digests_are_all_blobs() -> None:
    assert MANIFEST.digests() == {f"sha256:{hexes(character)}" for character in "abf"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.update(schema=2), "has schema 2"),
        (lambda data: data.pop("files"), "is not complete"),
        (lambda data: data["files"][0].pop("sha256"), "is not complete"),
        (lambda data: data["files"][0].update(sha256="abc"), "no sha256 for file 'cni/bridge'"),
        (lambda data: data["images"][0].update(digest="sha256:" + hexes("9")), "does not begin with its own manifest"),
        (lambda data: data["images"][0]["blobs"].append("abc"), "has no digest: 'abc'"),
    ],
)
def test_a_broken_manifest_is_refused(change: Any, reason: str) -> None:
    data = json.loads(json.dumps(MANIFEST.to_dict()))
    change(data)
    with pytest.raises(BundleError, match=reason):
        subject.parse_manifest(data)


def test_a_manifest_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(BundleError, match="not list"):
        subject.parse_manifest([])


def test_a_missing_manifest_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"ansible-playbook bare_metal\.kubernetes\.bundle"):
        subject.load_manifest(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        subject.load_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["kubelet"], ["kubelet"]),
        (["cni/*", "kubelet"], ["cni/bridge", "cni/loopback", "kubelet"]),
        (["cni/bridge", "cni/*"], ["cni/bridge", "cni/loopback"]),
        ([], []),
    ],
)
def test_files_are_selected_once_and_in_order(names: list[str], found: list[str]) -> None:
    assert [file.name for file in subject.select_files(MANIFEST, names)] == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [("kublet", "Did you mean 'kubelet'"), ("csi/*", "Did you mean|There are"), ("zzz", "There are: cni/bridge")],
)
def test_an_unknown_file_gets_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(BundleError, match=hint):
        subject.select_files(MANIFEST, [name])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("registry.k8s.io/pause", "registry.k8s.io/pause"),
        ("pause", "registry.k8s.io/pause"),
        ("calico/node", "quay.io/calico/node"),
    ],
)
def test_images_are_found_by_full_and_short_name(name: str, found: str) -> None:
    assert subject.select_image(MANIFEST, name).name == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("node", "ambiguous.*docker.io/other/node, quay.io/calico/node"),
        ("calico/nod", "Did you mean 'calico/node'"),
        ("quay.io/calico/nod", "Did you mean 'quay.io/calico/node'"),
        ("ause", "Did you mean 'pause'"),
    ],
)
def test_unknown_and_ambiguous_images_are_refused(name: str, hint: str) -> None:
    with pytest.raises(BundleError, match=hint):
        subject.select_image(MANIFEST, name)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"BARE_METAL_KUBERNETES_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, Path("/c")),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/bare_metal_kubernetes")),
        ({}, Path("~/.cache/bare_metal_kubernetes").expanduser()),
        ({"BARE_METAL_KUBERNETES_CACHE": ""}, Path("~/.cache/bare_metal_kubernetes").expanduser()),
    ],
)
def test_where_the_cache_is(environment: dict[str, str], expected: Path) -> None:
    assert subject.default_cache_dir(environment) == expected


def test_a_given_cache_wins_and_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_FOR_TEST", "/b")
    assert subject.resolve_cache_dir("$BASE_FOR_TEST/c") == Path("/b/c")
    assert subject.resolve_cache_dir("") == subject.default_cache_dir()


def test_bundles_of_one_cache_do_not_collide() -> None:
    questions: list[tuple[Any, ...]] = [
        ("built", "amd64"),
        ("built", "arm64"),
        ("stable", "amd64"),
        ("built", "amd64", "v1.36.1"),
        ("built", "amd64", "", ["cilium"]),
        ("built", "amd64", "v1.36.1", ["cilium"]),
        ("built", "amd64", "", []),
        ("built", "amd64", "", ["calico", "cilium"]),
    ]
    assert len({subject.manifest_path(Path("/c"), *question) for question in questions}) == len(questions)


@pytest.mark.parametrize(
    ("features", "name"),
    [
        (["calico"], "built-amd64"),
        (["cilium"], "built-amd64+cilium"),
        ([], "built-amd64+none"),
        (["cilium", "calico"], "built-amd64+calico+cilium"),
    ],
)
def test_the_name_of_a_bundle_tells_its_features(features: list[str], name: str) -> None:
    assert subject.bundle_name("built", "amd64", "", features) == name


def test_a_manifest_from_before_features_is_one_with_the_default_ones() -> None:
    data = subject.Manifest("built", "amd64", "build", {}, (), (), ("cilium",)).to_dict()
    assert subject.parse_manifest(data).features == ("cilium",)
    del data["features"]
    assert subject.parse_manifest(data).features == ("calico",)
