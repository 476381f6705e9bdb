"""Downloads into a bundle: a server with the upstreams' path layout, whole runs of make_bundle, everything that can go wrong."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._download import Policy
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import fetch
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import Lock, parse_lock
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_make import Outcome, make_bundle
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_upstream import UpstreamSource
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.fetch import Origin

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))
from file_server import FileServer, Page, sha256

QUICK = Policy(attempts=2, timeout=5, backoff=0, direct=True)
KUBELET = b"\x7fELF kubelet" * 20000
MEMBERS = {
    "etcd-v3.7.3-linux-amd64/etcd": b"etcd" * 3000,
    "etcd-v3.7.3-linux-amd64/etcdctl": b"etcdctl" * 3000,
    "./LICENSE": b"text",
}


def tar_gz(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{sha256(data)}"


def image(name: str, architecture: str = "amd64") -> dict[str, bytes]:
    """The parts of an image by role: root (an index), manifest, config, layer, shared."""
    config = json.dumps({"os": "linux", "architecture": architecture, "of": name}).encode()
    parts = {"config": config, "layer": name.encode() * 9000, "shared": b"base" * 9000}
    described = {key: {"digest": digest(data), "size": len(data)} for key, data in parts.items()}
    manifest = json.dumps(
        {"schemaVersion": 2, "config": described["config"], "layers": [described["shared"], described["layer"]]}
    ).encode()
    index = json.dumps(
        {
            "schemaVersion": 2,
            "manifests": [
                {"digest": "sha256:" + "9" * 64, "size": 1, "platform": {"os": "linux", "architecture": "arm64"}},
                {
                    "digest": digest(manifest),
                    "size": len(manifest),
                    "platform": {"os": "linux", "architecture": "amd64"},
                },
            ],
        }
    ).encode()
    return {"root": index, "manifest": manifest, **parts}


ARCHIVE = tar_gz(MEMBERS)
PROXY, DNS = image("kube-proxy"), image("coredns")


def image_pages(base: str, parts: dict[str, bytes]) -> dict[str, Page]:
    return {
        f"{base}/{'manifests' if key in ('root', 'manifest') else 'blobs'}/{digest(data)}": Page(data)
        for key, data in parts.items()
    }


def mirror_pages(prefix: str = "") -> dict[str, Page]:
    return {
        f"{prefix}/dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet": Page(KUBELET),
        f"{prefix}/github.com/etcd-io/etcd/releases/download/v3.7.3/etcd-v3.7.3-linux-amd64.tar.gz": Page(ARCHIVE),
        **image_pages(f"{prefix}/v2/registry.k8s.io/kube-proxy", PROXY),
        **image_pages(f"{prefix}/v2/registry.k8s.io/coredns/coredns", DNS),
    }


def lock(
    files: str = "https://dl.k8s.io",
    releases: str = "https://github.com",
    registry: str = "registry.k8s.io",
    sum_: str = "",
) -> Lock:
    data: dict[str, Any] = {
        "schema": 1,
        "release_sets": {
            "small": {
                "description": "for tests",
                "versions": {"kubernetes": "v1.36.3", "etcd": "v3.7.3"},
                "kubernetes_versions": ["v1.36.3"],
            }
        },
        "bases": {},
        "components": {
            "kubernetes": {
                "description": "released",
                "upstream": {
                    "files": [{"name": "kubelet", "url": files + "/release/{version}/bin/linux/{arch}/kubelet"}],
                    "images": [
                        {"name": f"{registry}/kube-proxy", "tag": "{version}"},
                        {"name": f"{registry}/coredns/coredns", "tag": "v1"},
                    ],
                },
                "versions": {
                    "v1.36.3": {
                        "sha256": {"amd64": {"kubelet": sum_ or sha256(KUBELET)}},
                        "digests": {
                            "amd64": {
                                f"{registry}/kube-proxy": digest(PROXY["root"]),
                                f"{registry}/coredns/coredns": digest(DNS["manifest"]),
                            }
                        },
                    }
                },
            },
            "etcd": {
                "description": "released as an archive",
                "upstream": {
                    "files": [
                        {
                            "url": releases
                            + "/etcd-io/etcd/releases/download/{version}/etcd-{version}-linux-{arch}.tar.gz",
                            "members": {
                                "etcd": "etcd-{version}-linux-{arch}/etcd",
                                "etcdctl": "./etcd-{version}-linux-{arch}/etcdctl",
                            },
                        }
                    ]
                },
                "versions": {"v3.7.3": {"sha256": {"amd64": {"etcd-v3.7.3-linux-amd64.tar.gz": sha256(ARCHIVE)}}}},
            },
        },
    }
    return parse_lock(data)


KUBELET_PATH = "/dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet"
Run = Callable[..., Outcome]


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "cache")


@pytest.fixture
def run(store: BlobStore) -> Run:
    def make(used: Lock, mirror_url: str = "") -> Outcome:
        source = UpstreamSource(used, "amd64", store, lambda _text: None, mirror_url, QUICK)
        return make_bundle(
            used.release("small"), "amd64", "mirror", lambda _component: source, store, lambda _text: None
        )

    return make


def leftovers(store: BlobStore) -> list[str]:
    return sorted(path.name for path in (store.cache_dir / "downloads").iterdir())


@pytest.mark.parametrize("prefix", ["", "/kubernetes/mirror"])
def test_a_mirror_keeps_the_upstreams_hosts_in_its_paths(run: Run, store: BlobStore, prefix: str) -> None:
    with FileServer(mirror_pages(prefix)) as server:
        outcome = run(lock(), server.url + prefix + "/")
        asked = len(server.requests)
        assert not run(lock(), server.url + prefix).changed
        assert len(server.requests) == asked
    files = {file.name: file for file in outcome.manifest.files}
    assert store.read(files["kubelet"].sha256) == KUBELET
    assert store.read(files["etcdctl"].sha256) == MEMBERS["etcd-v3.7.3-linux-amd64/etcdctl"]
    assert files["kubelet"].source == "https://dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet"
    assert {entry.reference: entry.digest for entry in outcome.manifest.images} == {
        "registry.k8s.io/coredns/coredns:v1": digest(DNS["manifest"]),
        "registry.k8s.io/kube-proxy:v1.36.3": digest(PROXY["manifest"]),  # the index led there
    }
    for entry in outcome.manifest.images:
        assert store.damaged(entry.blobs) == []
        assert entry.size == sum(len(store.read(blob)) for blob in entry.blobs)
    assert leftovers(store) == []


def test_the_same_from_the_upstreams_with_redirects_and_tokens(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub sends on to its storage; registries ask for an anonymous token first, and send on to storage that must not see it."""
    real = Origin.repository_url
    monkeypatch.setattr(
        Origin, "repository_url", lambda self, name: real(self, name).replace("https://registry.k8s.io", server.url)
    )
    with (
        FileServer({}) as storage,
        FileServer({"/token": Page(b'{"token": "t0ken"}')}) as logins,
        FileServer({}) as server,
    ):
        challenge = f'Bearer realm="{logins.url}/token",service="registry.k8s.io",scope="repository:kube-proxy:pull"'
        guarded = {
            **image_pages("/v2/kube-proxy", PROXY),
            **image_pages("/v2/coredns/coredns", DNS),
        }
        layer = f"/v2/kube-proxy/blobs/{digest(PROXY['layer'])}"
        storage.pages["/layer"] = guarded[layer]
        guarded[layer] = Page(status=307, headers={"Location": f"{storage.url}/layer"})
        for page in guarded.values():
            page.token = "t0ken"
            page.headers["WWW-Authenticate"] = challenge
        release = "/etcd-io/etcd/releases/download/v3.7.3/etcd-v3.7.3-linux-amd64.tar.gz"
        storage.pages["/etcd"] = Page(ARCHIVE)
        server.pages |= {
            "/release/v1.36.3/bin/linux/amd64/kubelet": Page(KUBELET),
            release: Page(status=302, headers={"Location": f"{storage.url}/etcd"}),
            **guarded,
        }
        outcome = run(lock(server.url, server.url))
        assert len(outcome.manifest.images) == 2
        assert "authorization" not in storage.asked("/layer")[0]
        assert {path for _method, path, _headers in logins.requests} == {
            "/token?service=registry.k8s.io&scope=repository%3Akube-proxy%3Apull"
        }


def test_a_token_that_ran_out_is_renewed(store: BlobStore) -> None:
    with FileServer({}) as server:
        challenge = {"WWW-Authenticate": f'Bearer realm="{server.url}/token"'}
        server.pages |= {
            path: Page(page.body, token="new", headers=challenge) for path, page in image_pages("/v2/dns", DNS).items()
        }
        server.pages[f"/v2/dns/manifests/{digest(DNS['manifest'])}"].token = ""
        server.pages["/token"] = Page(b'{"access_token": "new"}')
        downloader = fetch.Downloader(store, Origin(), QUICK)
        repository = fetch.Repository(f"{server.url}/v2/dns", "dns", QUICK)
        repository._token = "old"
        server.pages[f"/v2/dns/manifests/{digest(DNS['layer'])}"] = Page(b"", 401, headers=challenge)
        downloader._blob(repository, fetch.Descriptor(digest(DNS["layer"]), len(DNS["layer"]), ""))
        assert store.has(digest(DNS["layer"]))


@pytest.mark.parametrize(
    ("path", "page", "reason"),
    [
        (KUBELET_PATH, Page(b"other"), f"kubelet: expected sha256 {sha256(KUBELET)}, found sha256 {sha256(b'other')}"),
        (
            KUBELET_PATH,
            Page(b"<html><title>Blocked</title></html>", content_type="text/html"),
            "kubelet: expected a file, found an HTML page titled 'Blocked'",
        ),
        (KUBELET_PATH, Page(status=404), "found HTTP 404"),
        (KUBELET_PATH, Page(KUBELET, cut=[9, 9]), "kubelet: expected the whole file, found the connection closed"),
        (
            "/github.com/etcd-io/etcd/releases/download/v3.7.3/etcd-v3.7.3-linux-amd64.tar.gz",
            Page(b"x"),
            "etcd-v3.7.3-linux-amd64.tar.gz: expected sha256",
        ),
        (
            f"/v2/registry.k8s.io/kube-proxy/manifests/{digest(PROXY['root'])}",
            Page(b"{}"),
            f"registry.k8s.io/kube-proxy:v1.36.3: expected a manifest with {digest(PROXY['root'])}",
        ),
        (
            f"/v2/registry.k8s.io/kube-proxy/blobs/{digest(PROXY['layer'])}",
            Page(b"x" * len(PROXY["layer"])),
            "registry.k8s.io/kube-proxy:v1.36.3 (",
        ),
        (
            f"/v2/registry.k8s.io/coredns/coredns/manifests/{digest(DNS['manifest'])}",
            Page(status=500),
            "found HTTP 500",
        ),
        (
            f"/v2/registry.k8s.io/coredns/coredns/manifests/{digest(DNS['manifest'])}",
            Page(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}),
            "expected a registry for everyone",
        ),
    ],
    ids=["sum", "page", "404", "cut", "archive", "manifest", "blob", "500", "login"],
)
def test_what_is_wrong_is_refused_and_the_next_run_fetches_only_that(
    run: Run, store: BlobStore, path: str, page: Page, reason: str
) -> None:
    with FileServer(mirror_pages()) as server:
        good = server.pages[path]
        server.pages[path] = page
        with pytest.raises(BundleError) as caught:
            run(lock(), server.url)
        assert reason in str(caught.value)
        assert not (store.cache_dir / "bundle").exists()
        arrived = {f"sha256:{entry.name}" for entry in store.blobs.iterdir()}
        assert store.damaged(arrived) == []
        server.pages[path] = good
        server.requests.clear()
        run(lock(), server.url)
        asked = {asked.rsplit("/", 1)[1] for _method, asked, _headers in server.requests}
        assert not asked & arrived
        assert sha256(KUBELET) not in {digest[7:] for digest in arrived} or not server.asked(KUBELET_PATH)


def test_all_failures_of_a_component_come_at_once(run: Run) -> None:
    pages = mirror_pages()
    del pages["/dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet"]
    del pages[f"/v2/registry.k8s.io/kube-proxy/blobs/{digest(PROXY['layer'])}"]
    del pages[f"/v2/registry.k8s.io/kube-proxy/blobs/{digest(PROXY['config'])}"]
    with FileServer(pages) as server, pytest.raises(BundleError) as caught:
        run(lock(), server.url)
    assert len(str(caught.value).splitlines()) == 3


def test_a_cut_download_is_continued_by_the_next_run(run: Run, store: BlobStore) -> None:
    path = "/dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet"
    with FileServer(mirror_pages()) as server:
        server.pages[path].cut = [1000, 1000]
        with pytest.raises(BundleError):
            run(lock(), server.url)
        assert leftovers(store) == [f"{sha256(KUBELET)}.part"]
        server.requests.clear()
        run(lock(), server.url)
        assert server.asked(path)[0]["range"] == "bytes=2000-"
    assert leftovers(store) == []


def test_a_layer_of_two_images_is_fetched_once(run: Run) -> None:
    with FileServer(mirror_pages()) as server:
        run(lock(), server.url)
        shared = [
            path for _method, path, _headers in server.requests if path.endswith(f"/blobs/{digest(PROXY['shared'])}")
        ]
    assert len(shared) == 1


def test_the_source_of_the_bytes_does_not_decide_the_key(store: BlobStore) -> None:
    keys = {
        UpstreamSource(lock(), "amd64", store, print, mirror).key("kubernetes", "v1.36.3")
        for mirror in ("", "http://m.example")
    }
    assert len(keys) == 1
    assert UpstreamSource(lock(sum_="1" * 64), "amd64", store, print).key("kubernetes", "v1.36.3") not in keys


def test_an_image_for_other_machines_is_refused(store: BlobStore) -> None:
    parts = image("kube-proxy", "arm64")
    pages = image_pages("/v2/registry.k8s.io/kube-proxy", parts)
    with FileServer(pages) as server:
        downloader = fetch.Downloader(store, Origin(server.url), QUICK)
        with pytest.raises(BundleError, match="expected an image for linux/amd64, found one for linux/arm64"):
            downloader.image("registry.k8s.io/kube-proxy", "v1", digest(parts["manifest"]), "amd64")
        with pytest.raises(BundleError, match=r"expected an image for linux/s390x, found linux/arm64, linux/amd64"):
            downloader.image("registry.k8s.io/kube-proxy", "v1", digest(parts["root"]), "s390x")


def test_a_member_that_is_not_there_is_named_with_its_likes(tmp_path: Path, store: BlobStore) -> None:
    (tmp_path / "x.tgz").write_bytes(ARCHIVE)
    with pytest.raises(
        BundleError, match=r"member of the archive x\.tgz: 'etcd-v3\.7\.4-linux-amd64/etcd'.*etcd-v3\.7\.3"
    ):
        fetch.extract(store, tmp_path / "x.tgz", "x.tgz", {"etcd": "etcd-v3.7.4-linux-amd64/etcd"})


@pytest.mark.parametrize("content", [b"not an archive", ARCHIVE[: len(ARCHIVE) // 2], b""])
def test_what_is_no_archive_is_refused(tmp_path: Path, store: BlobStore, content: bytes) -> None:
    (tmp_path / "x.tgz").write_bytes(content)
    with pytest.raises(BundleError, match=r"x\.tgz: expected a tar archive"):
        fetch.extract(store, tmp_path / "x.tgz", "x.tgz", {"etcdctl": "etcd-v3.7.3-linux-amd64/etcdctl"})


def test_a_link_in_an_archive_is_not_a_file(tmp_path: Path, store: BlobStore) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("bin/etcd")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(member)
    with pytest.raises(BundleError, match="member of the archive"):
        fetch.extract(store, tmp_path / "x.tar", "x.tar", {"etcd": "bin/etcd"})


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """A file size limit makes write() fail half way, as a full disk does; the error number is then a full disk's."""
    program = """
import errno, resource, signal, sys
from pathlib import Path
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _download
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.fetch import Downloader, gather
_download.FULL_DISK = frozenset({errno.EFBIG})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    gather([lambda: Downloader(BlobStore(Path(sys.argv[1]))).file("kubelet", sys.argv[2], sys.argv[3])])
except Exception as exc:
    print(type(exc).__name__, exc)
"""
    with FileServer({"/kubelet": Page(KUBELET)}) as server:
        argv = [sys.executable, "-c", program, str(tmp_path), f"{server.url}/kubelet", sha256(KUBELET)]
        environment = {"PYTHONPATH": ":".join(sys.path), "no_proxy": "127.0.0.1"}
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.stdout.startswith(
        f"BundleError kubelet: expected room for it in {tmp_path}/downloads, found a full disk"
    ), done
    assert list((tmp_path / "downloads").iterdir()) == []


@pytest.mark.parametrize("mirror", ["mirror.example.com", "ftp://x", "http://", "http://x?y=1"])
def test_a_mirror_needs_a_base_url(mirror: str) -> None:
    with pytest.raises(BundleError, match="not a base URL"):
        Origin(mirror)


@pytest.mark.parametrize(
    ("mirror", "name", "url"),
    [
        ("", "registry.k8s.io/pause", "https://registry.k8s.io/v2/pause"),
        ("", "docker.io/calico/node", "https://registry-1.docker.io/v2/calico/node"),
        ("http://m.example/base/", "docker.io/calico/node", "http://m.example/base/v2/docker.io/calico/node"),
    ],
)
def test_where_images_are_asked_for(mirror: str, name: str, url: str) -> None:
    assert Origin(mirror).repository_url(name) == url


def test_where_files_are_asked_for() -> None:
    assert (
        Origin("http://m.example/base/").file_url("https://dl.k8s.io/a/b?c=d")
        == "http://m.example/base/dl.k8s.io/a/b?c=d"
    )
