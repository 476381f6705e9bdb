"""Who may change a cluster: the table of leases, and what can be told of processes."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _lease as core

RUN = core.Run("root@ctl", "boot-1", "pid:[1]", 100, "5000")
OTHER = dataclasses.replace(RUN, holder="eve@ctl", pid=200, started="6000")
LEASE = core.Lease(OTHER, acquired=1000.0, expires=4600.0)

TABLE: list[tuple[str, core.Lease | None, float, bool | None, str, str]] = [
    ("none", None, 2000.0, None, "", core.FREE),
    ("our own", dataclasses.replace(LEASE, run=RUN), 2000.0, None, "", core.OURS),
    ("our own, expired", dataclasses.replace(LEASE, run=RUN), 9000.0, None, "", core.OURS),
    ("another's, nothing known of it", LEASE, 2000.0, None, "", core.TAKEN),
    ("another's, alive", LEASE, 2000.0, True, "", core.TAKEN),
    ("another's, dead", LEASE, 2000.0, False, "", core.DEAD),
    ("expired, nothing known of it", LEASE, 4600.0, None, "", core.EXPIRED),
    ("expired, yet alive", LEASE, 9000.0, True, "", core.TAKEN),
    ("expired and dead", LEASE, 9000.0, False, "", core.DEAD),
    ("broken by hand", LEASE, 2000.0, True, "eve@ctl", core.BROKEN),
    ("another holder broken", LEASE, 2000.0, None, "mallory@ctl", core.TAKEN),
]


@pytest.mark.parametrize(("_name", "found", "now", "living", "broken", "verdict"), TABLE, ids=[row[0] for row in TABLE])
def test_verdicts(
    _name: str, found: core.Lease | None, now: float, living: bool | None, broken: str, verdict: str
) -> None:
    assert core.judge(found, RUN, now, living, broken) == verdict


ALIVE: list[tuple[str, dict[str, Any], str, bool | None]] = [
    ("same process", {}, "6000", True),
    ("number used again", {}, "7000", False),
    ("no such process", {}, "", False),
    ("other boot or machine", {"boot": "boot-2"}, "", None),
    ("other container of the machine", {"namespace": "pid:[2]"}, "", None),
    ("unknown boot", {"boot": ""}, "", None),
    ("holder without a start", {"started": ""}, "", False),
]


@pytest.mark.parametrize(("_name", "changes", "start", "expected"), ALIVE, ids=[row[0] for row in ALIVE])
def test_life(_name: str, changes: dict[str, Any], start: str, expected: bool | None) -> None:
    holder = dataclasses.replace(OTHER, **changes)
    assert core.alive(holder, RUN, lambda pid: start if pid == 200 else "never") is expected


def test_text_form() -> None:
    assert core.parse(core.render(LEASE)) == LEASE


@pytest.mark.parametrize(
    "text", ["", "{}", "null", '{"run": {"holder": "x"}, "acquired": 1, "expires": 2}', core.render(LEASE)[:-20]]
)
def test_a_damaged_lease_holds_nothing(text: str) -> None:
    assert core.parse(text) is None


def test_refusal_names_the_holder_and_the_way_out() -> None:
    text = core.refusal(LEASE, 1060.0)
    assert "eve@ctl (process 200), which took the lease 60 s ago and has it for 3540 s more" in text
    assert text.endswith("-e cluster_lease_break=eve@ctl")


def test_this_process() -> None:
    run = core.this_run(os.getpid())
    assert run.pid == os.getpid() and run.started == core.process_start(os.getpid()) != ""
    assert core.alive(run, run, core.process_start) is True


def test_a_process_that_ended_is_dead_even_before_its_parent_asks() -> None:
    child = subprocess.Popen(["true"])
    try:
        start = core.process_start(child.pid)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert core.process_start(child.pid) == ""
        assert start in ("", core.process_start(child.pid)) or start.isdigit()
    finally:
        child.wait()
    assert core.process_start(child.pid) == ""
