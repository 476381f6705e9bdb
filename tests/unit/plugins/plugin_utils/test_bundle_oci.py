"""Images: the same bytes from the same input, and a form that others can read."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bundle_oci as subject
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_oci import Entry, ImageConfig
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore


def new_store(path: Path) -> BlobStore:
    store = BlobStore(path)
    store.prepare()
    return store


def entries(program: Path) -> list[Entry]:
    return [
        Entry("/usr/bin/program", file=program),
        Entry("/usr/bin/a-second-name", link="/usr/bin/program"),
        Entry("/etc/file", 0o640, 1, 2, content=b"text"),
        Entry("/status", 0o700, 999, 999),
    ]


def members(store: BlobStore, layer: subject.Layer) -> list[tarfile.TarInfo]:
    plain = gzip.decompress(store.read(layer.blob.digest))
    assert f"sha256:{hashlib.sha256(plain).hexdigest()}" == layer.diff_id
    return tarfile.open(fileobj=io.BytesIO(plain)).getmembers()


def build(directory: Path, age: int) -> tuple[BlobStore, subject.StoredImage, subject.Layer]:
    directory.mkdir()
    program = directory / "program"
    program.write_bytes(b"\x7fELF" + bytes(100_000))
    os.utime(program, (age, age))
    program.chmod(0o600 + age % 8)
    store = new_store(directory / "cache")
    layer = subject.store_layer(store, subject.with_parents(entries(program)))
    config = ImageConfig(
        "amd64", ["/usr/bin/program"], ["serve"], {"B": "2", "A": "1"}, "999", "/etc", {"version": "v1"}
    )
    return store, subject.store_image(store, config, [layer]), layer


def test_equal_input_gives_equal_digests(tmp_path: Path) -> None:
    assert build(tmp_path / "a", 1)[1] == build(tmp_path / "b", 2_000_000_000)[1]


def test_the_image_reads_as_oci_says(tmp_path: Path) -> None:
    store, image, layer = build(tmp_path / "a", 1)
    assert image.blobs[0] == image.digest
    assert store.damaged(image.blobs) == []
    assert image.size == sum(store.path(blob).stat().st_size for blob in image.blobs)
    manifest = json.loads(store.read(image.digest))
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    for part in (manifest["config"], *manifest["layers"]):
        assert store.path(part["digest"]).stat().st_size == part["size"]
    assert [part["digest"] for part in (manifest["config"], *manifest["layers"])] == list(image.blobs[1:])
    config = json.loads(store.read(manifest["config"]["digest"]))
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer.diff_id]}
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"])
    assert config["config"] == {
        "Cmd": ["serve"],
        "Entrypoint": ["/usr/bin/program"],
        "Env": ["A=1", "B=2", f"PATH={subject.DEFAULT_PATH}"],
        "Labels": {"version": "v1"},
        "User": "999",
        "WorkingDir": "/etc",
    }


def test_an_image_without_settings_has_a_path(tmp_path: Path) -> None:
    config = subject.config_document(ImageConfig("arm64"), [])
    assert config["config"] == {"Env": [f"PATH={subject.DEFAULT_PATH}"]}


def test_a_layer_has_parents_owners_links_and_no_time(tmp_path: Path) -> None:
    store, _image, layer = build(tmp_path / "a", 1)
    found = {item.name: item for item in members(store, layer)}
    assert list(found) == ["etc", "etc/file", "status", "usr", "usr/bin", "usr/bin/program", "usr/bin/a-second-name"]
    assert all(item.mtime == 0 and not item.uname and not item.gname for item in found.values())
    assert found["usr/bin"].isdir()
    assert (found["usr/bin"].mode, found["usr/bin"].uid) == (0o755, 0)
    assert (found["usr/bin/program"].mode, found["usr/bin/program"].size) == (0o755, 100_004)
    assert found["usr/bin/a-second-name"].islnk()
    assert found["usr/bin/a-second-name"].linkname == "usr/bin/program"
    assert (found["etc/file"].mode, found["etc/file"].uid, found["etc/file"].gid) == (0o640, 1, 2)
    assert (found["status"].isdir(), found["status"].mode, found["status"].uid) == (True, 0o700, 999)


def test_the_same_thing_twice_is_once() -> None:
    assert subject.in_order([Entry("/a"), Entry("/a/")]) == [Entry("/a")]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([Entry("/a"), Entry("/a", content=b"")], "two things at /a"),
        ([Entry("a")], "cannot have the path 'a'"),
        ([Entry("/a/../b")], "cannot have the path"),
    ],
)
def test_impossible_paths_are_refused(given: list[Entry], reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        subject.in_order(given)


def rootfs(path: Path, order: int, time: int) -> Path:
    """A root file system's tar: members in either order, any time, with a device and a link."""

    def member(name: str, **fields: Any) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.mtime = time
        info.uname = "somebody"
        for key, value in fields.items():
            setattr(info, key, value)
        return info

    made = [
        (member("./", type=tarfile.DIRTYPE), b""),
        (member("./usr/", type=tarfile.DIRTYPE, mode=0o755), b""),
        (member("./usr/z", size=1, uid=5, mode=0o4755), b"z"),
        (member("./usr/a-link", type=tarfile.LNKTYPE, linkname="./usr/z"), b""),
        (member("./bin", type=tarfile.SYMTYPE, linkname="usr"), b""),
        (member("./dev/", type=tarfile.DIRTYPE), b""),
        (member("./dev/null", type=tarfile.CHRTYPE), b""),
        (member("./var/log/", type=tarfile.DIRTYPE), b""),
        (member("./var/log/x", size=4), time.to_bytes(4, "big")),
    ]
    with tarfile.open(path, "w") as archive:
        head, rest = made[:3], made[3:]
        for info, data in head + rest[::order]:
            archive.addfile(info, io.BytesIO(data))
    return path


def test_a_root_file_system_is_made_deterministic(tmp_path: Path) -> None:
    store = new_store(tmp_path / "cache")
    dropped = ["/dev/", "/var/log/"]
    first = subject.store_rootfs_layer(store, rootfs(tmp_path / "1.tar", 1, 1), dropped)
    second = subject.store_rootfs_layer(store, rootfs(tmp_path / "2.tar", -1, 2_000_000), dropped)
    assert first == second
    found = {item.name: item for item in members(store, first)}
    assert list(found) == ["bin", "dev", "usr", "usr/z", "var/log", "usr/a-link"]
    assert (found["usr/z"].mode, found["usr/z"].uid, found["usr/z"].uname, found["usr/z"].mtime) == (0o4755, 5, "", 0)
    assert found["bin"].linkname == "usr"
    assert found["usr/a-link"].linkname == "usr/z"
    assert subject.store_rootfs_layer(store, tmp_path / "1.tar") != first
