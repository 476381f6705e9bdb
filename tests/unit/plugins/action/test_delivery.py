"""The actions through ansible-core itself, on this machine: pushes, check mode, refusals."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))
from test_images import make_image

ROOT = Path(__file__).resolve().parents[4]
ME, MINE = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name


def call(tmp_path: Path, module: str, arguments: dict[str, Any], *extra: str) -> tuple[int, dict[str, Any]]:
    """Call an action; return the exit code and its result."""
    command = [
        sys.executable,
        "-m",
        "ansible",
        "adhoc",
        "localhost",
        "-c",
        "local",
        "-m",
        f"bare_metal.kubernetes.{module}",
    ]
    environment = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_STDOUT_CALLBACK": "oneline",
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_NOCOLOR": "1",
    }
    argv = [*command, "-a", json.dumps(arguments), *extra]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=environment)
    assert "Traceback" not in done.stdout + done.stderr, done
    line = next(line for line in done.stdout.splitlines() if " => {" in line)
    return done.returncode, json.loads(line.partition(" => ")[2])


def fill(cache: Path, *blobs: bytes) -> None:
    directory = cache / "store" / "blobs" / "sha256"
    directory.mkdir(parents=True, exist_ok=True)
    for blob in blobs:
        (directory / hashlib.sha256(blob).hexdigest()).write_bytes(blob)


def wanted(tmp_path: Path, name: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "dest": str(tmp_path / "node" / name),
        "owner": ME,
        "group": MINE,
        **more,
    }


def arguments(tmp_path: Path, *files: dict[str, Any]) -> dict[str, Any]:
    return {"files": list(files), "cache_dir": str(tmp_path / "cache"), "state_dir": str(tmp_path / "state")}


def test_files_are_pushed_from_the_controllers_store(tmp_path: Path) -> None:
    fill(tmp_path / "cache", b"one", b"two")
    call_it = arguments(
        tmp_path,
        wanted(tmp_path, "one", b"one", version="v1", component="x", source="y"),
        wanted(tmp_path, "two", b"two", mode="0640"),
    )
    code, checked = call(tmp_path, "node_artifacts", call_it, "--check")
    assert (code, checked["changed"], (tmp_path / "node").exists(), (tmp_path / "state").exists()) == (
        0,
        True,
        False,
        False,
    )
    code, result = call(tmp_path, "node_artifacts", call_it)
    assert (code, result["changed"], result["fetched_bytes"]) == (0, True, 6)
    assert result["changes"] == checked["changes"]
    assert (tmp_path / "node" / "one").read_bytes() == b"one"
    assert (tmp_path / "node" / "two").stat().st_mode & 0o777 == 0o640
    code, result = call(tmp_path, "node_artifacts", call_it)
    assert (code, result["changed"], result["hashed"]) == (0, False, 0)
    remote = tmp_path / ".ansible" / "tmp"
    assert [path for path in remote.iterdir() if path.name.startswith("ansible-tmp")] == []


def test_a_damaged_store_installs_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "cache", b"one", b"two")
    damaged = hashlib.sha256(b"two").hexdigest()
    (tmp_path / "cache" / "store" / "blobs" / "sha256" / damaged).write_bytes(b"owt")
    call_it = arguments(tmp_path, wanted(tmp_path, "one", b"one"), wanted(tmp_path, "two", b"two"))
    code, result = call(tmp_path, "node_artifacts", call_it)
    assert code == 2
    assert f"two: expected sha256 {damaged}" in result["msg"]
    assert not (tmp_path / "node" / "one").exists()


def test_a_store_without_the_file_says_what_to_run(tmp_path: Path) -> None:
    code, result = call(tmp_path, "node_artifacts", arguments(tmp_path, wanted(tmp_path, "one", b"one")))
    assert code == 2
    assert "one: " in result["msg"] and "bare_metal.kubernetes.bundle again" in result["msg"]


@pytest.mark.parametrize(("key", "reason"), [("onwer", "onwer"), ("blobs", "blobs")])
def test_a_misspelt_key_is_not_dropped(tmp_path: Path, key: str, reason: str) -> None:
    code, result = call(tmp_path, "node_artifacts", arguments(tmp_path, wanted(tmp_path, "one", b"one", **{key: "x"})))
    assert code == 2
    assert reason in result["msg"]


@pytest.fixture
def containerd(tmp_path: Path) -> Path:
    """A ctr that behaves like containerd's, first on the module's PATH."""
    program = tmp_path / "bin" / "ctr"
    program.parent.mkdir()
    source = (ROOT / "tests/unit/plugins/module_utils/fake_ctr.py").read_text().split("\n", 1)[1]
    program.write_text(f"#!{sys.executable}\n{source}")
    program.chmod(0o755)
    return program.with_name("containerd.json")


def test_images_are_pushed_from_the_controllers_store(tmp_path: Path, containerd: Path) -> None:
    image, blobs = make_image()
    fill(tmp_path / "cache", *blobs.values())
    entry = {
        "name": image.name,
        "tag": image.tag,
        "digest": image.digest,
        "size": 1,
        "blobs": list(blobs),
        "reference": "x",
        "pinned": "y",
    }
    call_it = {"images": [entry], "cache_dir": str(tmp_path / "cache")}
    code, checked = call(tmp_path, "node_images", call_it, "--check")
    assert (code, checked["changed"]) == (0, True)
    assert not json.loads(containerd.read_text())["images"]
    code, result = call(tmp_path, "node_images", call_it)
    assert (code, result["changed"], result["changes"]) == (0, True, checked["changes"])
    assert json.loads(containerd.read_text())["images"] == {image.reference: image.digest, image.pinned: image.digest}
    code, result = call(tmp_path, "node_images", call_it)
    assert (code, result["changed"]) == (0, False)


def test_check_mode_before_containerd_is_there(tmp_path: Path) -> None:
    image, _blobs = make_image()
    call_it = {
        "images": [{"name": image.name, "tag": image.tag, "digest": image.digest}],
        "address": str(tmp_path / "nothing.sock"),
    }
    code, result = call(tmp_path, "node_images", call_it, "--check")
    assert (code, result["changed"]) == (0, True)
    code, result = call(tmp_path, "node_images", call_it)
    assert code == 2
