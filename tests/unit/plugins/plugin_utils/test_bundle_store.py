"""The store: blobs are there in full or not at all, and only one run fills it."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bundle_store as subject
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    made = BlobStore(tmp_path / "cache")
    made.prepare()
    return made


def test_a_blob_is_named_by_its_bytes(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    for blob in (store.add_bytes(b"data"), store.add_file(tmp_path / "file")):
        assert blob.sha256 == hashlib.sha256(b"data").hexdigest()
        assert (blob.size, blob.digest) == (4, f"sha256:{blob.sha256}")
        assert store.read(blob.digest) == b"data"
        assert store.has(blob.sha256, 4)
        assert not store.has(blob.sha256, 5)
    assert [path.name for path in store.blobs.iterdir()] == [blob.sha256]
    assert not list(store.tmp.iterdir())


def test_an_aborted_writer_leaves_nothing(store: BlobStore) -> None:
    with pytest.raises(RuntimeError), store.writer() as (handle, _done):
        handle.write(b"half")
        raise RuntimeError
    assert not list(store.tmp.iterdir())
    assert not list(store.blobs.iterdir())


def test_a_full_disk_is_said_and_leaves_nothing(store: BlobStore) -> None:
    with (
        pytest.raises(BundleError, match=r"is full.*finished components are not repeated"),
        store.writer() as (handle, _done),
    ):
        handle.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(store.tmp.iterdir())


def test_damaged_blobs_are_found(store: BlobStore) -> None:
    good, cut, wrong = (store.add_bytes(data) for data in (b"good", b"cut off", b"wrong"))
    store.path(cut.sha256).write_bytes(b"cut")
    store.path(wrong.sha256).write_bytes(b"WRONG")
    absent = "0" * 64
    assert store.damaged([good.digest, cut.digest, wrong.sha256, absent]) == sorted([cut.sha256, wrong.sha256, absent])


def test_what_killed_runs_left_is_swept(store: BlobStore) -> None:
    (store.tmp / "go-etcd-1").mkdir()
    (store.tmp / "go-etcd-1" / "etcd").write_bytes(b"x")
    (store.tmp / "blob-1").write_bytes(b"x")
    (store.tmp / "link").symlink_to(store.blobs)
    store.sweep()
    assert not list(store.tmp.iterdir())
    assert store.blobs.is_dir()


def test_a_workspace_goes_away(store: BlobStore) -> None:
    with store.workspace("x") as path:
        (path / "file").write_bytes(b"x")
    assert not path.exists()


def _hold(directory: Path, ready: Event, release: Event) -> None:
    with BlobStore(directory).lock(lambda text: None):
        ready.set()
        release.wait(30)


def test_the_second_run_waits_and_says_for_whom(store: BlobStore) -> None:
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(store.cache_dir, ready, release))
    holder.start()
    assert ready.wait(30)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        release.set()

    started = time.monotonic()
    with store.lock(say, poll_seconds=0.05):
        assert said == [f"bundle: waiting for process {holder.pid}, which is filling {store.cache_dir}"]
        assert time.monotonic() - started < 20
    holder.join(10)
    assert holder.exitcode == 0


def test_waiting_has_an_end(store: BlobStore) -> None:
    with (
        store.lock(lambda text: None),
        pytest.raises(BundleError, match="still being filled by process"),
        store.lock(lambda text: None, timeout_seconds=0.1, poll_seconds=0.02),
    ):
        raise AssertionError


def test_json_is_written_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    assert subject.write_json(path, {"a": 1})
    before = path.stat().st_ino
    assert not subject.write_json(path, {"a": 1})
    assert path.stat().st_ino == before
    assert subject.write_json(path, {"a": 2})
    assert [item.name for item in path.parent.iterdir()] == ["file.json"]


@pytest.mark.parametrize(("free", "refused"), [(99, True), (100, False)])
def test_space_is_checked_first(tmp_path: Path, free: float, refused: bool) -> None:
    if not refused:
        subject.check_space(tmp_path, 100, free)
        return
    with pytest.raises(BundleError, match="Not enough space for the bundle"):
        subject.check_space(tmp_path, 100, free)
