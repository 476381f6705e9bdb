"""Filling a bundle: every component once, resumed after a kill, mended when damaged, the manifest last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bundle_make as subject
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import Release
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_make import (
    ComponentResult,
    Outcome,
    make_bundle,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    BundleError,
    BundleFile,
    BundleImage,
    load_manifest,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore

RELEASE = Release("small", {"kubernetes": "v1.36.3", "etcd": "v3.7.3", "pause": "3.10.2"}, True)


class FakeSource:
    """Brings one file and one image a component; ``dies`` names the component at which the run is killed."""

    def __init__(self, store: BlobStore, recipe: str = "1", dies: str = "", needs_mib: int = 1) -> None:
        self.store, self.recipe, self.dies, self.needs_mib = store, recipe, dies, needs_mib
        self.produced: list[str] = []

    def key(self, component: str, version: str) -> str:
        return subject.key_of(component, version, self.recipe)

    def needed_mib(self, component: str, version: str) -> int:
        return self.needs_mib

    def produce(self, component: str, version: str) -> ComponentResult:
        self.produced.append(component)
        blob = self.store.add_bytes(f"{component} {version} {self.recipe}".encode())
        if component == self.dies:
            raise KeyboardInterrupt
        file = BundleFile(component, component, version, blob.sha256, blob.size, "fake")
        image = BundleImage(
            f"x.example/{component}", version, blob.digest, blob.size, (blob.digest,), component, version, "fake"
        )
        return ComponentResult((file,), (image,))


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "cache")


def make(store: BlobStore, source: FakeSource, release: Release = RELEASE, only: tuple[str, ...] = ()) -> Outcome:
    return make_bundle(release, "amd64", "build", lambda component: source, store, lambda text: None, only)


def test_a_first_run_makes_all_and_a_second_nothing(store: BlobStore) -> None:
    first = make(store, source := FakeSource(store))
    assert (first.changed, source.produced) == (True, ["kubernetes", "etcd", "pause"])
    assert first.path == store.cache_dir / "bundle" / "small-amd64" / "manifest.json"
    assert load_manifest(first.path).to_dict() == first.manifest.to_dict()
    full_name = store.cache_dir / "bundle" / "small-amd64-v1.36.3" / "manifest.json"
    assert full_name.read_text() == first.path.read_text()
    second = make(store, source := FakeSource(store))
    assert (second.changed, source.produced, second.manifest) == (False, [], first.manifest)


def test_a_killed_run_is_resumed(store: BlobStore) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(store, FakeSource(store, dies="etcd"))
    assert not (store.cache_dir / "bundle").exists()
    outcome = make(store, source := FakeSource(store))
    assert (outcome.changed, source.produced) == (True, ["etcd", "pause"])


@pytest.mark.parametrize("damage", ["remove", "cut", "change"])
def test_damage_is_mended(store: BlobStore, damage: str) -> None:
    before = make(store, FakeSource(store))
    path = store.path(next(file.sha256 for file in before.manifest.files if file.name == "etcd"))
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "cut" else path.read_bytes().upper())
    after = make(store, source := FakeSource(store))
    assert (after.changed, source.produced, after.manifest) == (True, ["etcd"], before.manifest)
    assert not store.damaged(after.manifest.digests())


def test_an_unreadable_record_counts_as_missing(store: BlobStore) -> None:
    make(store, FakeSource(store))
    records = sorted((store.cache_dir / "results").iterdir())
    records[0].write_text("{")
    records[1].write_text(json.dumps({"key": "another", "data": {}}))
    data = json.loads(records[2].read_text())
    records[2].write_text(json.dumps({**data, "data": {"files": [{"name": "old form"}], "images": []}}))
    make(store, source := FakeSource(store))
    assert len(source.produced) == 3


def test_a_changed_recipe_is_made_again(store: BlobStore) -> None:
    before = make(store, FakeSource(store))
    after = make(store, FakeSource(store, recipe="2"))
    assert after.changed
    assert after.manifest != before.manifest
    assert after.path is not None
    assert load_manifest(after.path) == after.manifest


def test_another_version_has_its_own_manifest_and_shares_the_rest(store: BlobStore) -> None:
    default = make(store, FakeSource(store))
    stepped = Release("small", {**RELEASE.versions, "kubernetes": "v1.35.4"}, False)
    back = make(store, source := FakeSource(store), stepped)
    assert source.produced == ["kubernetes"]
    assert back.path == store.cache_dir / "bundle" / "small-amd64-v1.35.4" / "manifest.json"
    assert default.path is not None
    assert load_manifest(default.path) == default.manifest


def test_some_components_fill_the_cache_but_write_no_manifest(store: BlobStore) -> None:
    outcome = make(store, source := FakeSource(store), only=("etcd",))
    assert (outcome.changed, outcome.path, source.produced) == (True, None, ["etcd"])
    assert not (store.cache_dir / "bundle").exists()
    assert not make(store, FakeSource(store), only=("etcd",)).changed
    make(store, source := FakeSource(store))
    assert source.produced == ["kubernetes", "pause"]


def test_an_unknown_component_is_refused_before_anything(store: BlobStore) -> None:
    with pytest.raises(BundleError, match=r"Unknown component.*'etc'.*Did you mean 'etcd'"):
        make(store, FakeSource(store), only=("etc",))
    assert not store.cache_dir.exists()


def test_too_little_space_is_refused_before_anything(store: BlobStore) -> None:
    source = FakeSource(store, needs_mib=10**9)
    with pytest.raises(BundleError, match="Not enough space"):
        make(store, source)
    assert source.produced == []


def test_space_is_not_asked_for_what_is_there(store: BlobStore) -> None:
    make(store, FakeSource(store))
    assert not make(store, FakeSource(store, needs_mib=10**9)).changed


def test_one_name_from_two_components_is_refused(store: BlobStore) -> None:
    source = FakeSource(store)
    real = source.produce
    source.produce = lambda component, version: real("etcd", version)  # type: ignore[method-assign]
    with pytest.raises(BundleError, match="bring the same: file etcd"):
        make(store, source)


def test_progress_has_a_line_for_start_and_end(store: BlobStore) -> None:
    said: list[str] = []
    source = FakeSource(store)
    make_bundle(RELEASE, "amd64", "build", lambda component: source, store, said.append)
    assert said[0] == "bundle: small amd64: 3 of 3 components to do: kubernetes, etcd, pause"
    assert said[1] == "bundle: [1/3] kubernetes v1.36.3: started"
    assert said[2].startswith("bundle: [1/3] kubernetes v1.36.3: done in 0 s, ")
    said.clear()
    make_bundle(RELEASE, "amd64", "build", lambda component: source, store, said.append)
    assert said == []
