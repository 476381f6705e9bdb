"""Downloads against a real server that cuts, lies and stumbles."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _download
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._download import (
    DownloadError,
    Policy,
    Wanted,
    fetch,
)

sys.path.insert(0, str(Path(__file__).parent))
from file_server import FileServer, Page, sha256

DATA = bytes(range(256)) * 9000  # 2.3 MB: several pieces
QUICK = Policy(attempts=3, timeout=5, backoff=0, direct=True)


def wanted(server: FileServer, path: str = "/kubelet", data: bytes = DATA, size: t.Optional[int] = len(DATA)) -> Wanted:
    return Wanted("kubelet", server.url + path, sha256(data), size)


def test_a_file_is_fetched_whole_and_private(tmp_path: Path) -> None:
    with FileServer({"/kubelet": Page(DATA)}) as server:
        assert fetch(wanted(server), str(tmp_path / "part"), QUICK) == len(DATA)
    assert (tmp_path / "part").read_bytes() == DATA
    assert (tmp_path / "part").stat().st_mode & 0o777 == 0o600


def test_a_cut_connection_is_continued_where_it_broke(tmp_path: Path) -> None:
    with FileServer({"/kubelet": Page(DATA, cut=[1_500_000, 700_000])}) as server:
        assert fetch(wanted(server), str(tmp_path / "part"), QUICK) == len(DATA) - 1_500_000 - 700_000
        ranges = [headers.get("range") for headers in server.asked("/kubelet")]
    assert ranges == [None, "bytes=1500000-", "bytes=2200000-"]
    assert (tmp_path / "part").read_bytes() == DATA


def test_what_a_killed_run_left_is_continued(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA[:2_000_000])
    with FileServer({"/kubelet": Page(DATA)}) as server:
        assert fetch(wanted(server), str(tmp_path / "part"), QUICK) == len(DATA) - 2_000_000
    assert (tmp_path / "part").read_bytes() == DATA


def test_a_complete_partial_file_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA)
    assert fetch(Wanted("kubelet", "http://127.0.0.1:1/x", sha256(DATA), len(DATA)), str(tmp_path / "part"), QUICK) == 0


@pytest.mark.parametrize(
    "beginning",
    [b"x" * 1000, DATA + b"more", b"x" * len(DATA)],
    ids=["of another file", "too long", "as long, but wrong"],
)
@pytest.mark.parametrize("size", [len(DATA), None])
def test_a_wrong_beginning_is_thrown_away(tmp_path: Path, beginning: bytes, size: t.Optional[int]) -> None:
    (tmp_path / "part").write_bytes(beginning)
    with FileServer({"/kubelet": Page(DATA)}) as server:
        fetch(wanted(server, size=size), str(tmp_path / "part"), QUICK)
    assert (tmp_path / "part").read_bytes() == DATA


def test_a_server_without_ranges_starts_again(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA[:500])
    with FileServer({"/kubelet": Page(DATA, ranges=False)}) as server:
        assert fetch(wanted(server), str(tmp_path / "part"), QUICK) == len(DATA)
    assert (tmp_path / "part").read_bytes() == DATA


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    pauses: list[float] = []
    policy = Policy(attempts=4, timeout=5, backoff=0.5, direct=True, sleep=pauses.append)
    with FileServer({"/kubelet": Page(DATA, statuses=[503, 429])}) as server:
        fetch(wanted(server), str(tmp_path / "part"), policy)
    assert pauses == [0.5, 1.0]


HTML = b"<!DOCTYPE html><html><head><title>Please log in</title></head></html>"


@pytest.mark.parametrize(
    ("page", "kind", "found"),
    [
        (Page(DATA[:-1] + b"?"), "content", f"found sha256 {sha256(DATA[:-1] + b'?')}"),
        (Page(HTML, content_type="text/html; charset=utf-8"), "content", "found an HTML page titled 'Please log in'"),
        (Page(HTML + b" " * (len(DATA) - len(HTML))), "content", "found an HTML page titled 'Please log in'"),
        (Page(DATA + b"x"), "content", f"expected {len(DATA)} bytes, found {len(DATA) + 1} bytes"),
        (Page(status=404), "status", "found HTTP 404"),
        (Page(status=403), "status", "found HTTP 403"),
        (Page(b"oops", status=500), "unreachable", "found HTTP 500"),
    ],
    ids=["sum", "page", "page called a file", "longer", "404", "403", "500"],
)
def test_what_is_wrong_is_refused_with_name_expected_and_found(
    tmp_path: Path, page: Page, kind: str, found: str
) -> None:
    with FileServer({"/kubelet": page}) as server, pytest.raises(DownloadError) as caught:
        fetch(wanted(server), str(tmp_path / "part"), QUICK)
    assert caught.value.kind == kind
    assert str(caught.value).startswith("kubelet: expected ")
    assert found in str(caught.value)
    assert not (tmp_path / "part").exists()


def test_a_download_that_is_always_cut_off_says_how_far_it_came_and_keeps_it(tmp_path: Path) -> None:
    with (
        FileServer({"/kubelet": Page(DATA, cut=[100, 100, 100, 100])}) as server,
        pytest.raises(DownloadError) as caught,
    ):
        fetch(wanted(server), str(tmp_path / "part"), QUICK)
    assert caught.value.kind == "truncated"
    assert f"expected {len(DATA)} bytes" in str(caught.value)
    assert "after 300 bytes" in str(caught.value)
    assert (tmp_path / "part").read_bytes() == DATA[:300]


def test_a_file_without_a_known_size_is_not_taken_for_whole_when_cut(tmp_path: Path) -> None:
    page = Page(DATA, cut=[5, 5, 5])
    with FileServer({"/kubelet": page}) as server, pytest.raises(DownloadError) as caught:
        fetch(wanted(server, size=None), str(tmp_path / "part"), QUICK)
    assert caught.value.kind == "truncated"


def test_nobody_listening_is_said_so(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(DownloadError) as caught:
        fetch(Wanted("kubelet", f"http://127.0.0.1:{port}/x", sha256(DATA), 1), str(tmp_path / "part"), QUICK)
    assert caught.value.kind == "unreachable"
    assert "Connection refused" in str(caught.value)
    assert not (tmp_path / "part").exists()


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file size limit stands in for a full disk: both make write() fail half way; the error number is then a full disk's."""
    program = """
import errno, resource, signal, sys
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _download
_download.FULL_DISK = frozenset({errno.EFBIG})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
url, sum, size, part = sys.argv[1:]
try:
    _download.fetch(_download.Wanted("kubelet", url, sum, int(size)), part, _download.Policy(attempts=1, direct=True))
except _download.DownloadError as exc:
    print(exc.kind, exc)
"""
    part = tmp_path / "part"
    with FileServer({"/kubelet": Page(DATA)}) as server:
        argv = [sys.executable, "-c", program, server.url + "/kubelet", sha256(DATA), str(len(DATA)), str(part)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.stdout.startswith(f"disk kubelet: expected room for it in {tmp_path}, found a full disk"), done
    assert not part.exists()


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    with _download.open_partial(str(tmp_path / "part")) as other, FileServer({"/kubelet": Page(DATA)}) as server:
        _download.fcntl.flock(other, _download.fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another run") as caught:
            fetch(wanted(server), str(tmp_path / "part"), QUICK)
    assert caught.value.kind == "busy"


def test_a_link_in_place_of_the_partial_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "part").symlink_to(tmp_path / "victim")
    with FileServer({"/kubelet": Page(DATA)}) as server, pytest.raises(OSError, match="symbolic links"):
        fetch(wanted(server), str(tmp_path / "part"), QUICK)
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_token_does_not_follow_a_redirect_to_another_host(tmp_path: Path) -> None:
    with FileServer({"/blob": Page(DATA)}) as storage:
        moved = Page(status=307, headers={"Location": storage.url + "/blob"})
        with FileServer({"/kubelet": moved}) as server:
            want = Wanted(
                "kubelet", server.url + "/kubelet", sha256(DATA), len(DATA), {"Authorization": "Bearer secret"}
            )
            fetch(want, str(tmp_path / "part"), QUICK)
            assert server.asked("/kubelet")[0]["authorization"] == "Bearer secret"
        assert "authorization" not in storage.asked("/blob")[0]


def test_proxies_of_the_environment_are_ignored_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with FileServer({"/kubelet": Page(DATA)}) as server:
        fetch(wanted(server), str(tmp_path / "part"), QUICK)
        with pytest.raises(DownloadError):
            fetch(wanted(server), str(tmp_path / "other"), Policy(attempts=1, timeout=5, backoff=0))


@pytest.mark.parametrize(
    ("start", "is_page"),
    [
        (b"<html>", True),
        (b"\xef\xbb\xbf\n <!doctype HTML PUBLIC", True),
        (b"\x7fELF", False),
        (b"<?xml", False),
        (b"", False),
    ],
)
def test_web_pages_are_recognised(start: bytes, is_page: bool) -> None:
    assert _download.looks_like_html(start) is is_page
