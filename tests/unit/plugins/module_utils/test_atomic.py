"""_atomic: the old file or the new one, never a part, never open to those who may not read it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _atomic
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import (
    file_state,
    sha256_of_file,
    write_atomic,
)


def test_a_new_file_has_its_content_and_mode_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_atomic(str(target), b"text", 0o640)
    assert target.read_bytes() == b"text"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a"]


def test_pieces_are_joined(tmp_path: Path) -> None:
    write_atomic(str(tmp_path / "a"), iter([b"one", b"two"]))
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_a_source_that_breaks_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        write_atomic(str(target), pieces())
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_the_temporary_file_is_private_until_its_rights_are_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = os.fchmod

    def spy(descriptor: int, mode: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        real(descriptor, mode)

    monkeypatch.setattr(_atomic.os, "fchmod", spy)
    write_atomic(str(tmp_path / "a"), b"secret", 0o644)
    assert seen == [0o600]


def test_it_is_flushed_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        order.append("fsync")
        fsync(descriptor)

    def spy_replace(source: str, target: str) -> None:
        order.append("rename")
        replace(source, target)

    monkeypatch.setattr(_atomic.os, "fsync", spy_fsync)
    monkeypatch.setattr(_atomic.os, "replace", spy_replace)
    write_atomic(str(tmp_path / "a"), b"x")
    assert order == ["fsync", "rename", "fsync"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "far").write_text("far")
    (tmp_path / "link").symlink_to(tmp_path / "far")
    write_atomic(str(tmp_path / "link"), b"near")
    assert (tmp_path / "far").read_text() == "far"
    assert file_state(str(tmp_path / "link")).kind == "file"


def test_kinds(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    kinds = {
        name: file_state(str(tmp_path / name)).kind for name in ("file", "link", "pipe", "none", "file/below", ".")
    }
    assert kinds == {
        "file": "file",
        "link": "link",
        "pipe": "other",
        "none": "absent",
        "file/below": "absent",
        ".": "directory",
    }


def test_the_sum_of_a_file_longer_than_a_piece(tmp_path: Path) -> None:
    content = os.urandom(_atomic.CHUNK_BYTES + 7)
    (tmp_path / "a").write_bytes(content)
    assert sha256_of_file(str(tmp_path / "a")) == hashlib.sha256(content).hexdigest()
