"""Debian bases: the command, and what is said when it cannot be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bundle_debian as subject
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import Base
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError

BASE = Base("tools", "trixie", ("nftables", "kmod"), 1)


def fake(directory: Path, name: str, body: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{body}\n")
    (directory / name).chmod(0o755)


def test_the_command_has_suite_packages_and_security() -> None:
    arguments = subject.mmdebstrap_arguments(BASE, "arm64", "http://mirror.example/debian", "out.tar", Path("/k.gpg"))
    assert "--include=kmod,nftables" in arguments
    assert "--architectures=arm64" in arguments
    assert "--keyring=/k.gpg" in arguments
    assert arguments[-4:] == [
        "trixie",
        "out.tar",
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]


def test_packages_have_no_order() -> None:
    turned = Base("tools", "trixie", ("kmod", "nftables"), 1)
    assert subject.mmdebstrap_arguments(BASE, "amd64", "m", "o") == subject.mmdebstrap_arguments(
        turned, "amd64", "m", "o"
    )


def test_who_cannot_install_it_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match=r"Install the packages mmdebstrap.*or use the sources"):
        subject.ensure_mmdebstrap(pytest.fail)


def test_it_is_installed_when_that_is_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(tmp_path / "bin", "apt-get", f'echo "$@" >> {tmp_path}/calls')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.setattr(subject.os, "geteuid", lambda: 0)
    said: list[str] = []
    subject.ensure_mmdebstrap(said.append)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == "-q update"
    assert calls[1].endswith("install mmdebstrap debian-archive-keyring")
    assert said == ["bundle: installing mmdebstrap"]


def test_a_failure_has_the_command_and_its_last_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(tmp_path / "bin", "mmdebstrap", "echo 'E: cannot find the archive'; exit 25")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/bin")
    with pytest.raises(BundleError) as caught:
        subject.make_rootfs(BASE, "amd64", tmp_path / "out.tar", lambda text: None, "http://mirror.example/debian")
    message = str(caught.value)
    assert message.startswith("Making the Debian trixie base 'tools' failed. Check that http://mirror.example/debian")
    assert "Command: mmdebstrap --variant=minbase" in message
    assert "(25)" in message
    assert message.endswith("  E: cannot find the archive")


def test_the_epoch_is_fixed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(tmp_path / "bin", "mmdebstrap", f'echo "$SOURCE_DATE_EPOCH $LC_ALL" > {tmp_path}/seen')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/bin")
    subject.make_rootfs(BASE, "amd64", tmp_path / "out.tar", lambda text: None)
    assert (tmp_path / "seen").read_text() == "0 C\n"


def test_without_a_mirror_mmdebstrap_decides() -> None:
    arguments = subject.mmdebstrap_arguments(BASE, "amd64", "", "out.tar")
    assert arguments[-2:] == ["trixie", "out.tar"]
