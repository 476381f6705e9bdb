"""_systemd: what systemctl prints, read; when a process is older than its files."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _systemd
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._systemd import (
    UnitState,
    is_stale,
    newest_mtime,
    parse_show,
    show_many,
)

RUNNING = """\
Type=notify
NRestarts=2
ExecMainStartTimestampMonotonic=5000000
MainPID=42
Result=success
Id=containerd.service
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/etc/systemd/system/containerd.service
DropInPaths=/etc/systemd/system/containerd.service.d/10-a.conf /usr/lib/systemd/system/service.d/x.conf
UnitFileState=enabled
NeedDaemonReload=yes
ActiveEnterTimestampMonotonic=6000000
"""
MISSING = "MainPID=0\nId=nosuch.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\nNeedDaemonReload=no\n"
TIMER = "Id=a.timer\nLoadState=loaded\nActiveState=active\nSubState=waiting\nActiveEnterTimestampMonotonic=7000000\n"


def unit(**values: object) -> UnitState:
    base = UnitState("a.service", "loaded", "active", "running", "enabled", False, 100.0, 1, "success")
    return replace(base, **values)  # type: ignore[arg-type]


def test_a_running_unit_is_read_whole() -> None:
    state = parse_show("containerd", RUNNING, boot_offset=1000.0)
    assert (state.active, state.sub, state.enabled, state.need_reload) == ("active", "running", "enabled", True)
    assert (state.started_at, state.main_pid, state.kind, state.restarts) == (1005.0, 42, "notify", 2)
    assert state.running
    assert state.exists
    assert state.own_files == (
        "/etc/systemd/system/containerd.service",
        "/etc/systemd/system/containerd.service.d/10-a.conf",
    )


def test_an_unknown_unit_neither_exists_nor_runs() -> None:
    state = parse_show("nosuch", MISSING, boot_offset=1000.0)
    assert not state.exists
    assert not state.running
    assert state.started_at == 0.0


def test_a_unit_without_a_process_started_when_it_became_active() -> None:
    assert parse_show("a.timer", TIMER, boot_offset=1.0).started_at == 8.0


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("kubelet", "kubelet.service"),
        ("a.timer", "a.timer"),
        ("x@1", "x@1.service"),
        ("v1.2", "v1.2.service"),
        ("data.mount", "data.mount"),
    ],
)
def test_a_name_without_a_suffix_is_a_service(name: str, full: str) -> None:
    assert _systemd.unit_name(name) == full


@pytest.mark.parametrize(
    ("state", "mtime", "stale"),
    [
        (unit(), 101, True),
        (unit(), 99, False),
        (unit(active="inactive"), 101, False),
        (unit(active="activating", sub="auto-restart"), 101, True),
        (unit(started_at=0.0), 101, False),
    ],
)
def test_stale_means_running_and_older_than_a_file(tmp_path: Path, state: UnitState, mtime: int, stale: bool) -> None:
    (tmp_path / "a").write_text("x")
    os.utime(tmp_path / "a", (mtime, mtime))
    assert is_stale(state, [str(tmp_path / "a"), str(tmp_path / "none")]) is stale


def test_a_directory_counts_with_everything_below_it(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_text("x")
    for path, when in (("d/e/f", 500), ("d/e", 300), ("d", 200)):
        os.utime(tmp_path / path, (when, when))
    assert newest_mtime([str(tmp_path / "d")]) == 500
    assert newest_mtime([str(tmp_path / "none")]) == 0


def fake_systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (tmp_path / "bin" / "journalctl").write_text("#!/bin/sh\necho 'the journal says why'\n")
    (tmp_path / "bin" / "journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_many_units_are_asked_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_systemctl(
        tmp_path, monkeypatch, f"printf '%s\\n' \"$@\" >> {tmp_path}/calls\ncat <<'EOF'\n{RUNNING}\n{MISSING}EOF"
    )
    units = show_many(["containerd", "nosuch"])
    assert units["containerd"].main_pid == 42
    assert not units["nosuch"].exists
    words = (tmp_path / "calls").read_text().splitlines()
    assert words.count("show") == 1
    assert words[-2:] == ["containerd.service", "nosuch.service"]


def test_an_answer_of_another_length_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_systemctl(tmp_path, monkeypatch, f"cat <<'EOF'\n{RUNNING}EOF")
    with pytest.raises(CommandError, match="1 of 2 units"):
        show_many(["containerd", "other"])


def test_no_units_need_no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert show_many([]) == {}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([unit()], ""),
        ([unit(active="activating", sub="start"), unit()], ""),
        ([unit(active="failed", result="exit-code")], "failed (result: exit-code)"),
        ([unit(active="activating", sub="auto-restart", restarts=3)], "restarted by systemd 3 times"),
        ([unit(active="inactive", kind="oneshot")], ""),
        # Active at the first look, dead at the second: a simple unit whose program fell over its configuration.
        (
            [
                unit(started_at=time.time()),
                unit(active="failed", result="exit-code"),
                unit(active="failed", result="exit-code"),
            ],
            "failed",
        ),
    ],
)
def test_waiting_for_a_unit(monkeypatch: pytest.MonkeyPatch, states: list[UnitState], expected: str) -> None:
    left = list(states)
    monkeypatch.setattr(_systemd, "show", lambda name: left.pop(0) if len(left) > 1 else left[0])
    monkeypatch.setattr(_systemd.time, "sleep", lambda seconds: None)
    said = _systemd.wait_active("a.service", 0.05)
    assert expected in said if expected else said == ""


def test_a_failure_is_explained_by_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_systemctl(tmp_path, monkeypatch, "echo 'Active: failed'; exit 3")
    assert _systemd.explain("a") == "Active: failed\nthe journal says why"
