"""Publishing a bundle: to a strict registry in memory, and to the real one where the bundle's cache has its binary."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._oci_registry import FILES_REPOSITORY, file_url
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import publish
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    BundleError,
    BundleFile,
    BundleImage,
    Manifest,
    default_cache_dir,
    load_manifest,
    manifest_path,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.registry import (
    RegistryClient,
    RegistryError,
    RegistryUnreachableError,
    image_content,
    stored_image,
)

sys.path.insert(0, str(Path(__file__).parent))
from registry_server import RegistryServer

BASE_LAYER = b"the base that two images share" * 1000


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    made = BlobStore(tmp_path / "cache")
    made.prepare()
    return made


def add_image(store: BlobStore, name: str, layer: bytes) -> BundleImage:
    config = store.add_bytes(json.dumps({"os": "linux", "architecture": "amd64", "of": name}).encode())
    layers = [store.add_bytes(BASE_LAYER), store.add_bytes(layer)]
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config.digest,
            "size": config.size,
        },
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": blob.digest, "size": blob.size}
            for blob in layers
        ],
    }
    root = store.add_bytes(json.dumps(document).encode())
    blobs = (root.digest, config.digest, *(blob.digest for blob in layers))
    return BundleImage(name, "v1", root.digest, 0, blobs, "test", "v1", "test")


@pytest.fixture
def manifest(store: BlobStore) -> Manifest:
    files = []
    for name in ("kubelet", "kubeadm", "calico", "calico-ipam"):
        blob = store.add_bytes(b"the same program" if name.startswith("calico") else name.encode() * 5000)
        files.append(BundleFile(name, "test", "v1", blob.sha256, blob.size, "test"))
    images = (add_image(store, "registry.k8s.io/pause", b"pause"), add_image(store, "docker.io/calico/node", b"node"))
    return Manifest("built", "amd64", "build", {"kubernetes": "v1.36.3"}, tuple(files), images)


def run(url: str, store: BlobStore, manifest: Manifest) -> tuple[list[str], int]:
    with RegistryClient(url) as client:
        todo = publish.plan(client, store, manifest)
        sent = publish.apply(client, store, todo, lambda _text: None) if todo.uploads else 0
    return todo.names, sent


def test_everything_arrives_where_nodes_look_for_it(store: BlobStore, manifest: Manifest) -> None:
    with RegistryServer() as registry:
        names, _sent = run(registry.url, store, manifest)
        assert names == [
            "files of built-amd64-v1.36.3 (3 of 3)",
            "registry.k8s.io/pause:v1",
            "docker.io/calico/node:v1",
        ]
        for file in manifest.files:
            with urllib.request.urlopen(file_url(registry.url, file.sha256)) as response:
                assert response.read() == store.read(file.sha256)
        for image in manifest.images:
            assert registry.manifests[image.name]["v1"] == store.read(image.digest)
            assert registry.types[image.digest] == "application/vnd.oci.image.manifest.v1+json"
        tagged = json.loads(registry.manifests[FILES_REPOSITORY]["built-amd64-v1.36.3"])
        titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in tagged["layers"]]
        assert titles == ["calico", "calico-ipam", "kubeadm", "kubelet"]


def test_the_second_run_only_asks(store: BlobStore, manifest: Manifest) -> None:
    with RegistryServer() as registry:
        run(registry.url, store, manifest)
        registry.log.clear()
        assert run(registry.url, store, manifest) == ([], 0)
        assert registry.count("HEAD") == len(registry.log) - 1 == 6  # and one GET /v2/


def test_a_layer_that_two_images_share_is_sent_once(store: BlobStore, manifest: Manifest) -> None:
    with RegistryServer() as registry:
        run(registry.url, store, manifest)
        mounts = [line for line in registry.log if "mount=" in line]
        assert len(mounts) == 1
        assert "from=registry.k8s.io%2Fpause" in mounts[0]
        for image in manifest.images:
            assert BASE_LAYER in registry.blobs[image.name].values()


def test_only_what_is_missing_is_sent(store: BlobStore, manifest: Manifest) -> None:
    with RegistryServer() as registry:
        run(registry.url, store, manifest)
        gone = manifest.files[0]
        del registry.blobs[FILES_REPOSITORY][f"sha256:{gone.sha256}"]
        del registry.manifests["docker.io/calico/node"]
        registry.log.clear()
        names, sent = run(registry.url, store, manifest)
        assert names == ["files of built-amd64-v1.36.3 (1 of 3)", "docker.io/calico/node:v1"]
        assert sent == gone.size
        assert registry.blobs[FILES_REPOSITORY][f"sha256:{gone.sha256}"] == store.read(gone.sha256)


def test_a_tag_that_somebody_moved_is_put_right(store: BlobStore, manifest: Manifest) -> None:
    with RegistryServer() as registry:
        run(registry.url, store, manifest)
        pause, node = (registry.manifests[image.name] for image in manifest.images)
        registry.types[f"sha256:{'0' * 64}"] = ""
        pause["v1"] = node["v1"]
        assert run(registry.url, store, manifest)[0] == ["registry.k8s.io/pause:v1"]
        assert pause["v1"] == store.read(manifest.images[0].digest)


def test_two_versions_live_side_by_side(store: BlobStore, manifest: Manifest) -> None:
    older = replace(manifest, versions={"kubernetes": "v1.36.1"}, files=manifest.files[:1])
    with RegistryServer() as registry:
        run(registry.url, store, manifest)
        assert run(registry.url, store, older)[0] == ["files of built-amd64-v1.36.1 (0 of 1)"]
        assert run(registry.url, store, manifest) == ([], 0)


def test_a_killed_upload_is_gone_on_with(store: BlobStore, manifest: Manifest) -> None:
    with RegistryServer() as registry:
        registry.kill_uploads_after = 3
        with pytest.raises(RegistryError, match="does not answer PUT"):
            run(registry.url, store, manifest)
        assert sum(len(blobs) for blobs in registry.blobs.values()) == 3
        registry.kill_uploads_after = None
        before = registry.count("PUT")
        run(registry.url, store, manifest)
        blobs = (
            len({file.sha256 for file in manifest.files})
            + 1
            + len({blob for image in manifest.images for blob in image.blobs[1:]})
        )
        assert registry.count("PUT") - before == blobs - 3 + 3  # the blobs that were not there, three manifests
        assert run(registry.url, store, manifest) == ([], 0)


def test_a_damaged_store_is_named(store: BlobStore, manifest: Manifest) -> None:
    target = store.path(manifest.files[0].sha256)
    target.write_bytes(b"x" * manifest.files[0].size)
    with (
        RegistryServer() as registry,
        pytest.raises(BundleError, match=f"expected sha256:{manifest.files[0].sha256}, found sha256:"),
    ):
        run(registry.url, store, manifest)


def test_a_damaged_registry_is_named(store: BlobStore, manifest: Manifest) -> None:
    digest = f"sha256:{manifest.files[0].sha256}"
    with RegistryServer() as registry:
        run(registry.url, store, manifest)
        registry.blobs[FILES_REPOSITORY][digest] = b"short"
        with pytest.raises(
            RegistryError, match=f"{digest} in {FILES_REPOSITORY} .* expected {manifest.files[0].size} bytes, found 5"
        ):
            run(registry.url, store, manifest)


def test_a_store_that_lacks_blobs_is_refused_before_anything_is_sent(store: BlobStore, manifest: Manifest) -> None:
    store.path(manifest.images[1].blobs[-1]).unlink()
    with RegistryServer() as registry:
        with pytest.raises(BundleError, match=f"docker.io/calico/node:v1: expected {manifest.images[1].blobs[-1]}"):
            run(registry.url, store, manifest)
        assert registry.count("POST") == 0
    store.path(manifest.files[0].sha256).unlink()
    store.path(manifest.images[1].blobs[-1]).write_bytes(b"node")
    with RegistryServer() as registry, pytest.raises(BundleError, match="kubelet"):
        run(registry.url, store, manifest)


def test_a_registry_that_is_not_there(store: BlobStore, manifest: Manifest) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(RegistryUnreachableError, match=f"{url} does not answer GET /v2/"):
        publish.plan(RegistryClient(url), store, manifest)
    todo = publish.plan(RegistryClient(url), store, manifest, absent_is_empty=True)
    assert len(todo.uploads) == 3


def test_the_files_manifest_is_the_same_for_the_same_bundle(manifest: Manifest) -> None:
    shuffled = replace(manifest, files=manifest.files[::-1])
    assert publish.files_manifest(manifest) == publish.files_manifest(shuffled)


def test_an_index_is_walked_down_to_what_is_there(store: BlobStore) -> None:
    image = add_image(store, "a.b/c", b"layer")
    elsewhere = "sha256:" + "e" * 64
    index = store.add_bytes(
        json.dumps({"manifests": [{"digest": elsewhere, "size": 1}, {"digest": image.digest, "size": 2}]}).encode()
    )
    content = stored_image(store, index.digest, "a.b/c:v1")
    assert [entry.digest for entry in content.manifests] == [image.digest, index.digest]
    assert content.digests == (index.digest, *image.blobs)
    with pytest.raises(RegistryError, match="expected one of the manifests"):
        image_content(store.read, index.digest, "a.b/c:v1", lambda _digest: False)


@pytest.mark.parametrize("text", [b"<html>", b"[]", b'{"a": 1}'])
def test_what_is_not_a_manifest_is_refused(store: BlobStore, text: bytes) -> None:
    with pytest.raises(RegistryError, match=r"a\.b/c:v1: expected an image manifest"):
        stored_image(store, store.add_bytes(text).digest, "a.b/c:v1")


def _real_registry() -> Path | None:
    """The registry's binary in the bundle's cache, when a bundle was built."""
    cache = default_cache_dir()
    try:
        bundle = load_manifest(manifest_path(cache, "built", "amd64"))
    except BundleError:
        return None
    paths = [BlobStore(cache).path(file.sha256) for file in bundle.files if file.name == "registry"]
    return paths[0] if paths and paths[0].exists() else None


@pytest.fixture
def real_registry(tmp_path: Path) -> Iterator[str]:
    binary = _real_registry()
    if binary is None:
        pytest.skip("no built bundle in the cache: its registry is what this test runs")
    program = tmp_path / "registry"
    program.write_bytes(binary.read_bytes())
    program.chmod(0o755)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    config = tmp_path / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    with subprocess.Popen([str(program), "serve", str(config)], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            for _attempt in range(100):
                try:
                    with RegistryClient(f"http://{address}") as client:
                        client.check()
                    break
                except RegistryError:
                    time.sleep(0.1)
            yield f"http://{address}"
        finally:
            process.terminate()


def test_the_real_registry_takes_and_serves_it(real_registry: str, store: BlobStore, manifest: Manifest) -> None:
    names, _sent = run(real_registry, store, manifest)
    assert len(names) == 3
    assert run(real_registry, store, manifest) == ([], 0)
    for file in manifest.files:
        request = urllib.request.Request(file_url(real_registry, file.sha256), headers={"Range": "bytes=5-"})
        with urllib.request.urlopen(request) as response:
            assert (response.status, response.read()) == (206, store.read(file.sha256)[5:])
