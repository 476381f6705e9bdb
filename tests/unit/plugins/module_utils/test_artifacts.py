"""Files of the bundle on a node: what is planned, what is fetched, what is left after failures."""

from __future__ import annotations

import grp
import json
import os
import pwd
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _artifacts
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._artifacts import (
    Artifact,
    ArtifactError,
    Change,
    Observed,
    SumCache,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._download import Policy

sys.path.insert(0, str(Path(__file__).parent))
from file_server import FileServer, Page, sha256

ME = pwd.getpwuid(os.getuid()).pw_name
MINE = grp.getgrgid(os.getgid()).gr_name
QUICK = Policy(attempts=2, timeout=5, backoff=0, direct=True)
CONTENT = {"kubelet": b"\x7fELF kubelet" * 5000, "kubeadm": b"\x7fELF kubeadm" * 7000, "cni/bridge": b"bridge"}


def blob(data: bytes) -> str:
    return f"/v2/bare-metal-kubernetes/files/blobs/sha256:{sha256(data)}"


def pages() -> dict[str, Page]:
    return {blob(data): Page(data) for data in CONTENT.values()}


def artifacts(directory: Path) -> list[Artifact]:
    return [
        Artifact(name, sha256(data), len(data), str(directory / "bin" / os.path.basename(name)), 0o755, ME, MINE)
        for name, data in CONTENT.items()
    ]


def run(directory: Path, wanted: list[Artifact], server: FileServer) -> tuple[list[Change], SumCache]:
    cache = SumCache(str(directory / "state" / "artifacts.json"))
    changes = _artifacts.plan(wanted, {item.dest: _artifacts.observe(item, cache) for item in wanted})
    _artifacts.apply(changes, _artifacts.from_registry(server.url, QUICK), cache)
    cache.save()
    return changes, cache


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


# --- what is wanted


def entry(**changes: t.Any) -> dict[str, t.Any]:
    return {"name": "kubelet", "sha256": "a" * 64, "size": 3, "dest": "/usr/local/bin/kubelet", **changes}


def test_entries_get_defaults() -> None:
    assert _artifacts.parse_artifacts([entry()]) == [
        Artifact("kubelet", "a" * 64, 3, "/usr/local/bin/kubelet", 0o755, "root", "root")
    ]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    entries = [entry(), entry(name="kubeadm"), entry(sha256="abc", size=-1, dest="relative", mode="0999")]
    with pytest.raises(ArtifactError) as caught:
        _artifacts.parse_artifacts(entries)
    assert [problem.split(" ")[1] for problem in caught.value.problems] == ["sha256", "size", "dest", "mode", "dest"]
    assert "is also that of kubelet" in caught.value.problems[-1]


@pytest.mark.parametrize("dest", ["", "a", "/a/../b", "/a//b", "/a/"])
def test_paths_that_mean_another_are_refused(dest: str) -> None:
    with pytest.raises(ArtifactError, match="dest"):
        _artifacts.parse_artifacts([entry(dest=dest)])


# --- what has to be done

WANTED = Artifact("kubelet", "a" * 64, 3, "/x/kubelet")
RIGHT = Observed("file", "a" * 64, 0o755, "root", "root")


@pytest.mark.parametrize(
    ("observed", "fetch"),
    [
        (RIGHT, None),
        (Observed("absent"), True),
        (Observed("link"), True),
        (Observed("file", "b" * 64, 0o755, "root", "root"), True),
        (Observed("file", "a" * 64, 0o644, "root", "root"), False),
        (Observed("file", "a" * 64, 0o755, "etcd", "root"), False),
        (Observed("file", "a" * 64, 0o755, "root", "etcd"), False),
    ],
)
def test_the_plan(observed: Observed, fetch: t.Optional[bool]) -> None:
    changes = _artifacts.plan([WANTED], {"/x/kubelet": observed})
    assert [change.fetch for change in changes] == ([] if fetch is None else [fetch])


def test_a_directory_in_the_way_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"expected a file \(or nothing\) at /x/kubelet, found a directory"):
        _artifacts.plan([WANTED], {"/x/kubelet": Observed("directory")})


def test_the_diff_says_from_and_to() -> None:
    changes = _artifacts.plan([WANTED], {"/x/kubelet": Observed("file", "b" * 64, 0o700, "root", "root")})
    assert _artifacts.diff(changes) == {
        "before": f"/x/kubelet: sha256:{'b' * 64} 0700 root:root\n",
        "after": f"/x/kubelet: sha256:{'a' * 64} 0755 root:root\n",
    }


def test_space_is_counted_for_each_file_system(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    wanted = [
        Artifact(f"f{i}", f"{i}" * 64, 100, str(directory / "deep" / f"f{i}"))
        for i, directory in enumerate((one, one, two))
    ]
    changes = _artifacts.plan(wanted, {item.dest: Observed("absent") for item in wanted})
    free = {str(one): (1, 199), str(two): (2, 100)}
    assert _artifacts.space_problems(changes, lambda path: free[path]) == [
        f"{one}: expected 200 bytes of free space for what is to be installed there, found 199"
    ]


def test_what_was_fetched_already_needs_no_space(tmp_path: Path) -> None:
    wanted = Artifact("f", "1" * 64, 100, str(tmp_path / "f"))
    Path(wanted.partial).write_bytes(b"x" * 60)
    changes = _artifacts.plan([wanted], {wanted.dest: Observed("absent")})
    assert _artifacts.space_problems(changes, lambda _path: (1, 40)) == []
    assert len(_artifacts.space_problems(changes, lambda _path: (1, 39))) == 1


# --- doing it


def test_files_are_installed_and_the_second_run_reads_nothing(tmp_path: Path) -> None:
    with FileServer(pages()) as server:
        changes, _cache = run(tmp_path, artifacts(tmp_path), server)
        assert len(changes) == 3
        asked = len(server.requests)
        changes, cache = run(tmp_path, artifacts(tmp_path), server)
        assert (changes, cache.hashed, len(server.requests)) == ([], 0, asked)
    for item in artifacts(tmp_path):
        assert sha256(Path(item.dest).read_bytes()) == item.sha256
        assert Path(item.dest).stat().st_mode & 0o7777 == 0o755
    assert names(tmp_path / "bin") == ["bridge", "kubeadm", "kubelet"]


def test_a_changed_file_is_seen_even_with_its_old_times(tmp_path: Path) -> None:
    with FileServer(pages()) as server:
        run(tmp_path, artifacts(tmp_path), server)
        target = tmp_path / "bin" / "kubelet"
        times = target.stat()
        target.write_bytes(b"\x7fELF another" * 5000)
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert target.stat().st_size == times.st_size
        changes, cache = run(tmp_path, artifacts(tmp_path), server)
    assert [change.artifact.name for change in changes] == ["kubelet"]
    assert cache.hashed == 1


def test_only_the_mode_is_mended_without_a_download(tmp_path: Path) -> None:
    with FileServer(pages()) as server:
        run(tmp_path, artifacts(tmp_path), server)
        os.chmod(tmp_path / "bin" / "kubelet", 0o600)
        asked = len(server.requests)
        changes, _cache = run(tmp_path, artifacts(tmp_path), server)
        assert len(server.requests) == asked
    assert [(change.artifact.name, change.fetch) for change in changes] == [("kubelet", False)]
    assert (tmp_path / "bin" / "kubelet").stat().st_mode & 0o7777 == 0o755


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "bin" / "kubelet").symlink_to(tmp_path / "elsewhere")
    with FileServer(pages()) as server:
        run(tmp_path, artifacts(tmp_path), server)
    assert not (tmp_path / "bin" / "kubelet").is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_one_bad_file_and_nothing_is_installed_but_all_failures_are_told(tmp_path: Path) -> None:
    served = pages()
    served[blob(CONTENT["kubelet"])] = Page(CONTENT["kubelet"][:-1] + b"?")
    served[blob(CONTENT["cni/bridge"])] = Page(status=404)
    with FileServer(served) as server, pytest.raises(ArtifactError) as caught:
        run(tmp_path, artifacts(tmp_path), server)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["kubelet", "cni/bridge"]
    assert not [name for name in names(tmp_path / "bin") if not name.startswith(".")]

    with FileServer(pages()) as server:
        run(tmp_path, artifacts(tmp_path), server)
        assert server.asked(blob(CONTENT["kubeadm"])) == []  # it was complete before
    assert names(tmp_path / "bin") == ["bridge", "kubeadm", "kubelet"]


def test_old_files_stay_when_new_ones_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kubelet").write_bytes(b"old")
    with FileServer({}) as server, pytest.raises(ArtifactError):
        run(tmp_path, artifacts(tmp_path), server)
    assert (tmp_path / "bin" / "kubelet").read_bytes() == b"old"


def test_a_silent_server_is_waited_for_once_not_once_a_file(tmp_path: Path) -> None:
    tried: list[str] = []

    def fetch(item: Artifact) -> int:
        tried.append(item.name)
        raise _artifacts._download.DownloadError(item.name, "an answer", "none", "unreachable")

    changes = _artifacts.plan(artifacts(tmp_path), {item.dest: Observed("absent") for item in artifacts(tmp_path)})
    with pytest.raises(ArtifactError) as caught:
        _artifacts.fetch_all(changes, fetch, parallel=1)
    assert tried == ["kubelet"]
    assert len(caught.value.problems) == 3


def test_leftovers_of_another_version_are_removed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    stale = tmp_path / "bin" / f".kubelet.{'0' * 16}.part"
    stale.write_bytes(b"half of an old kubelet")
    neighbour = tmp_path / "bin" / ".kubelet.notes.part"
    neighbour.write_bytes(b"not ours")
    with FileServer(pages()) as server:
        run(tmp_path, artifacts(tmp_path), server)
    assert not stale.exists()
    assert neighbour.exists()


def test_an_installed_file_is_as_new_as_its_installation(tmp_path: Path) -> None:
    """Units are restarted when a file is newer than their process: a file fetched long before must not look old."""
    item = artifacts(tmp_path)[0]
    (tmp_path / "bin").mkdir()
    Path(item.partial).write_bytes(CONTENT["kubelet"])
    os.utime(item.partial, (1, 1))
    with FileServer({}) as server:
        run(tmp_path, [item], server)
    assert os.stat(item.dest).st_mtime > 1_000_000_000


def test_unknown_accounts_are_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    item = Artifact("kubelet", sha256(b"x"), 1, str(tmp_path / "kubelet"), 0o755, "no-such-user", MINE)
    with FileServer({}) as server, pytest.raises(ArtifactError, match="no-such-user"):
        run(tmp_path, [item], server)
    assert names(tmp_path) == []


def test_what_the_controller_sent_is_checked_too(tmp_path: Path) -> None:
    item = artifacts(tmp_path)[0]
    changes = _artifacts.plan([item], {item.dest: Observed("absent")})
    (tmp_path / "sent").write_bytes(b"truncated")
    cache = SumCache(str(tmp_path / "cache.json"))
    with pytest.raises(
        ArtifactError, match=f"kubelet: expected sha256 {item.sha256} .* found sha256 {sha256(b'truncated')}"
    ):
        _artifacts.apply(changes, _artifacts.from_staged({item.sha256: str(tmp_path / "sent")}), cache)
    with pytest.raises(ArtifactError, match="expected a registry or its bytes from the controller, found neither"):
        _artifacts.apply(changes, _artifacts.from_staged({}), cache)
    assert not os.path.exists(item.dest)
    (tmp_path / "sent").write_bytes(CONTENT["kubelet"])
    _artifacts.apply(changes, _artifacts.from_staged({item.sha256: str(tmp_path / "sent")}), cache)
    assert Path(item.dest).read_bytes() == CONTENT["kubelet"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"PATH": 3}', '{"PATH": {"inode": 1}}', '{"PATH": {}}'])
def test_a_broken_cache_is_no_cache(tmp_path: Path, text: str) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"x")
    (tmp_path / "cache.json").write_text(text.replace("PATH", str(target)))
    cache = SumCache(str(tmp_path / "cache.json"))
    assert cache.sum_of(_artifacts._atomic.file_state(str(target))) == sha256(b"x")
    assert cache.hashed == 1


def test_the_cache_forgets_files_that_are_gone(tmp_path: Path) -> None:
    cache = SumCache(str(tmp_path / "cache.json"))
    for name in ("kept", "gone"):
        (tmp_path / name).write_bytes(b"x")
        cache.sum_of(_artifacts._atomic.file_state(str(tmp_path / name)))
    (tmp_path / "gone").unlink()
    cache.save()
    assert list(json.loads((tmp_path / "cache.json").read_text())) == [str(tmp_path / "kept")]
