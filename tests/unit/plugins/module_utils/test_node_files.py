"""_node_files: the plan is a pure function, the work follows it, and secrets stay secret."""

from __future__ import annotations

import base64
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_files as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import FileState
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._node_files import (
    Desired,
    NodeFilesError,
    Observed,
    ServiceSpec,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._systemd import UnitState

ME = str(os.geteuid()), str(os.getegid())
UNIT_FILE = "/etc/systemd/system/demo.service"


def desired(**params: Any) -> Desired:
    return core.parse(params, *ME)


def unit(**values: Any) -> UnitState:
    base: dict[str, Any] = {
        "name": "demo.service",
        "load": "loaded",
        "active": "active",
        "sub": "running",
        "enabled": "enabled",
        "need_reload": False,
        "started_at": 100.0,
        "main_pid": 7,
        "result": "success",
    }
    return UnitState(**{**base, **values})


MISSING = unit(load="not-found", active="inactive", sub="dead", enabled="", started_at=0.0, main_pid=0)


def observed(wanted: Desired, state: UnitState = MISSING, newest: float = 0.0, **states: FileState) -> Observed:
    paths = [*(d.path for d in wanted.directories), *(f.path for f in wanted.files), *wanted.absent]
    return Observed(
        {path: FileState(path, "absent") for path in paths},
        {},
        {ME[0]: 0},
        {ME[1]: 0},
        {service.name: state for service in wanted.services},
        {service.name: newest for service in wanted.services},
    )


# --- services -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "state", "newest", "verbs"),
    [
        ({}, unit(), 99.0, ()),
        ({}, unit(), 101.0, ("restart",)),
        ({"restart": False}, unit(), 101.0, ()),
        ({"restart": True}, unit(), 0.0, ("restart",)),
        ({}, unit(active="inactive"), 101.0, ("start",)),
        ({}, unit(active="failed"), 0.0, ("start",)),
        ({}, unit(active="activating", sub="auto-restart"), 101.0, ("restart",)),
        ({"enabled": True}, unit(enabled="disabled"), 0.0, ("enable",)),
        ({"enabled": True}, unit(enabled="static"), 0.0, ()),
        ({"enabled": False}, unit(), 0.0, ("disable",)),
        ({"enabled": False}, unit(enabled="disabled"), 0.0, ()),
        ({"state": "stopped"}, unit(), 0.0, ("stop",)),
        ({"state": "stopped"}, unit(active="inactive"), 0.0, ()),
        ({"state": "stopped", "enabled": False}, MISSING, 0.0, ()),
        ({"state": "present"}, unit(active="inactive"), 0.0, ()),
        ({"state": "present"}, unit(), 101.0, ("restart",)),
        ({"state": "present"}, unit(active="activating", sub="auto-restart"), 101.0, ()),
        ({"state": "present", "restart": True}, unit(active="inactive"), 101.0, ()),
        ({"state": "present", "restart": False}, unit(), 101.0, ()),
        ({"state": "stopped", "restart": True}, unit(active="inactive"), 101.0, ()),
        ({"state": "present", "enabled": True}, MISSING, 0.0, ("enable",)),
        ({"enabled": True}, MISSING, 0.0, ("enable", "start")),
        ({}, unit(need_reload=True), 0.0, ("daemon-reload",)),
        ({"state": "stopped"}, unit(load="masked", active="inactive"), 0.0, ()),
    ],
)
def test_verbs_of_a_service(asked: dict[str, Any], state: UnitState, newest: float, verbs: tuple[str, ...]) -> None:
    wanted = desired(services=[{"name": "demo", **asked}])
    plan = core.plan(wanted, observed(wanted, state, newest))
    assert not plan.problems
    assert tuple(verb for change in plan.changes for verb in change.verbs) == verbs


@pytest.mark.parametrize(
    ("asked", "state", "newest", "files", "due"),
    [
        ({"restart": False}, unit(), 101.0, [], True),
        ({"restart": False}, unit(), 99.0, [], False),
        ({"restart": False}, unit(active="inactive"), 101.0, [], False),
        ({"restart": False}, unit(active="activating", sub="auto-restart"), 101.0, [], False),
        ({}, unit(), 101.0, [], False),  # this call restarts it
        # A preview has not written the file yet.
        (
            {"restart": False, "restart_when_newer": ["/etc/demo"]},
            unit(),
            99.0,
            [{"path": "/etc/demo", "content": "x"}],
            True,
        ),
        ({"restart": False}, unit(), 99.0, [{"path": UNIT_FILE, "content": "x"}], True),
    ],
)
def test_restarts_that_are_left_to_others(
    asked: dict[str, Any], state: UnitState, newest: float, files: list[dict[str, Any]], due: bool
) -> None:
    wanted = desired(files=files, services=[{"name": "demo", "state": "present", **asked}])
    seen = observed(wanted, state, newest)
    assert core.restarts_due(wanted, seen, core.plan(wanted, seen).changes) == (["demo.service"] if due else [])


def test_a_masked_unit_is_refused_with_the_way_out() -> None:
    wanted = desired(services=[{"name": "demo"}])
    plan = core.plan(wanted, observed(wanted, unit(load="masked", active="inactive")))
    assert plan.changes == ()
    assert "systemctl unmask demo.service" in plan.problems[0]


@pytest.mark.parametrize(
    ("written", "reads", "verbs"),
    [
        (UNIT_FILE, [], ("daemon-reload", "restart")),
        ("/etc/systemd/system/demo.service.d/10-x.conf", [], ("daemon-reload", "restart")),
        ("/etc/demo/a.conf", ["/etc/demo/a.conf"], ("restart",)),
        ("/etc/demo/a.conf", ["/etc/demo"], ("restart",)),
        ("/etc/demolition", ["/etc/demo"], ()),
        ("/etc/demo/a.conf", [], ()),
        ("/etc/systemd/system/other.service", [], ()),
    ],
)
def test_a_service_follows_the_files_of_the_same_call(written: str, reads: list[str], verbs: tuple[str, ...]) -> None:
    wanted = desired(
        files=[{"path": written, "content": "x"}], services=[{"name": "demo", "restart_when_newer": reads}]
    )
    plan = core.plan(wanted, observed(wanted, unit()))
    assert tuple(verb for change in plan.of("service") for verb in change.verbs) == verbs


def test_an_instance_follows_the_file_of_its_template() -> None:
    wanted = desired(files=[{"path": "/etc/systemd/system/x@.service", "content": "x"}], services=[{"name": "x@1"}])
    assert core.plan(wanted, observed(wanted, unit())).of("service")[0].verbs == ("daemon-reload", "restart")


def test_a_file_that_goes_away_restarts_its_reader() -> None:
    wanted = desired(absent=["/etc/demo/a.conf"], services=[{"name": "demo", "restart_when_newer": ["/etc/demo"]}])
    seen = observed(wanted, unit())
    seen.states["/etc/demo/a.conf"] = FileState("/etc/demo/a.conf", "file")  # type: ignore[index]
    assert [change.verbs for change in core.plan(wanted, seen).changes] == [("remove",), ("restart",)]


# --- arguments ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"files": [{"path": "/a/b"}]}, "rendered by the action plugin"),
        ({"files": [{"path": "/a/b", "content": "", "mode": "420x"}]}, "octal"),
        ({"files": [{"path": "/a/b", "content": "", "mode": "888"}]}, "octal"),
        ({"files": [{"path": "a/b", "content": ""}]}, "absolute"),
        ({"files": [{"path": "/a/../b", "content": ""}]}, "absolute"),
        ({"files": [{"path": "/a/b", "content": "", "validate": ["true"]}]}, "{path}"),
        ({"files": [{"path": "/a/b", "content": ""}, {"path": "/a/b", "content": ""}]}, "twice"),
        ({"files": [{"path": "/a/b/c", "content": ""}], "absent": ["/a/b"]}, "listed as absent"),
        ({"directories": [{"path": "/a/b"}], "absent": ["/a/b"]}, "listed as absent"),
        ({"absent": ["/etc"]}, "never removed"),
        ({"absent": ["/"]}, "never removed"),
        ({"files": [{"path": "/a/b", "secret": True}], "secret_contents": {"/a/b": "***"}}, "base64"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(NodeFilesError, match=said):
        core.parse(params, *ME)


def test_all_wrong_arguments_are_named_at_once() -> None:
    with pytest.raises(NodeFilesError) as caught:
        desired(files=[{"path": "a", "content": ""}, {"path": "/b/c", "content": "", "mode": "9"}], absent=["/"])
    assert len(caught.value.problems) == 3


def test_secret_files_are_private_by_default() -> None:
    wanted = desired(
        files=[{"path": "/a/b", "secret": True}, {"path": "/a/c", "content": ""}],
        secret_contents={"/a/b": base64.b64encode(b"s").decode()},
    )
    assert [file.mode for file in wanted.files] == [0o600, 0o644]
    assert wanted.files[0].content == b"s"


# --- the whole way, on real files -------------------------------------------------------------------------------------------------------------


def converge(wanted: Desired) -> tuple[core.Plan, list[dict[str, str]]]:
    seen = core.observe(wanted)
    plan = core.plan(wanted, seen)
    if plan.problems:
        raise NodeFilesError(plan.problems)
    core.apply(wanted, seen, plan.changes)
    return plan, core.explain_diff(wanted, seen, plan.changes)


def settled(wanted: Desired) -> bool:
    return core.plan(wanted, core.observe(wanted)).changes == ()


def test_files_and_directories_are_made_once(tmp_path: Path) -> None:
    wanted = desired(
        directories=[{"path": f"{tmp_path}/d", "mode": "0700"}],
        files=[
            {"path": f"{tmp_path}/d/a", "content": "new\n"},
            {"path": f"{tmp_path}/x/y/b", "content": "b", "mode": "0600"},
        ],
    )
    plan, _diff = converge(wanted)
    assert [(change.kind, change.verbs) for change in plan.changes] == [
        ("directory", ("create",)),
        ("file", ("create",)),
        ("file", ("create",)),
    ]
    assert (tmp_path / "d/a").read_text() == "new\n"
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "x/y/b").stat().st_mode) == 0o600
    assert settled(wanted)


def test_rights_alone_leave_the_content_and_its_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same")
    (tmp_path / "a").chmod(0o666)
    os.utime(tmp_path / "a", (5, 5))
    wanted = desired(files=[{"path": f"{tmp_path}/a", "content": "same"}])
    plan, diff = converge(wanted)
    assert plan.changes[0].verbs == ("chmod",)
    assert (tmp_path / "a").stat().st_mtime == 5
    assert "mode 0666" in diff[0]["before"]
    assert "mode 0644" in diff[0]["after"]
    assert settled(wanted)


def test_a_link_is_replaced_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "far").write_text("x")
    (tmp_path / "a").symlink_to("far")
    wanted = desired(files=[{"path": f"{tmp_path}/a", "content": "x"}])
    plan, _diff = converge(wanted)
    assert plan.changes[0].verbs == ("replace",)
    assert not (tmp_path / "a").is_symlink()
    assert settled(wanted)


def test_a_directory_may_be_a_link_to_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "data").symlink_to("disk")
    wanted = desired(directories=[{"path": f"{tmp_path}/data", "mode": "0700"}])
    converge(wanted)
    assert (tmp_path / "data").is_symlink()
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o700
    assert settled(wanted)


def test_what_stands_in_the_way_is_all_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "d").write_text("")
    wanted = desired(files=[{"path": f"{tmp_path}/a", "content": ""}], directories=[{"path": f"{tmp_path}/d"}])
    with pytest.raises(NodeFilesError) as caught:
        converge(wanted)
    assert len(caught.value.problems) == 2


def test_absent_removes_files_and_trees(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").write_text("")
    (tmp_path / "link").symlink_to("d")
    (tmp_path / "keep").write_text("")
    wanted = desired(absent=[f"{tmp_path}/link", f"{tmp_path}/d", f"{tmp_path}/never"])
    converge(wanted)
    assert os.listdir(tmp_path) == ["keep"]
    assert settled(wanted)


def test_a_tree_with_a_mount_in_it_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    monkeypatch.setattr(core, "_mount_points", lambda: ["/", f"{tmp_path}/d/e"])
    with pytest.raises(NodeFilesError, match="is mounted there"):
        converge(desired(absent=[f"{tmp_path}/d"]))
    assert (tmp_path / "d/e").is_dir()


def test_one_refused_file_keeps_all_others_out(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("old")
    wanted = desired(
        files=[
            {"path": f"{tmp_path}/a", "content": "good"},
            {
                "path": f"{tmp_path}/b",
                "content": "bad",
                "validate": ["sh", "-c", "echo line 3: no such option; exit 1", "sh", "{path}"],
            },
            {
                "path": f"{tmp_path}/c",
                "content": "bad",
                "validate": ["sh", "-c", "echo nonsense >&2; exit 2", "sh", "{path}"],
            },
        ]
    )
    with pytest.raises(NodeFilesError) as caught:
        converge(wanted)
    assert [("line 3: no such option" in p, "nonsense" in p) for p in caught.value.problems] == [
        (True, False),
        (False, True),
    ]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "old"}


def test_a_validator_sees_a_private_file_with_the_same_name(tmp_path: Path) -> None:
    script = f'basename "$1" > {tmp_path}/seen; stat -c %a "$1" "$(dirname "$1")" >> {tmp_path}/seen'
    converge(
        desired(
            files=[{"path": f"{tmp_path}/a.service", "content": "", "validate": ["sh", "-c", script, "sh", "{path}"]}]
        )
    )
    assert (tmp_path / "seen").read_text().split() == ["a.service", "600", "700"]


def test_a_validator_that_is_not_there_yet_is_no_error_in_check_mode_only(tmp_path: Path) -> None:
    wanted = desired(files=[{"path": f"{tmp_path}/a", "content": "", "validate": ["no-such-validator", "{path}"]}])
    changes = core.plan(wanted, core.observe(wanted)).changes
    assert core.validate_files(wanted, changes, check_mode=True) == []
    assert "not installed" in core.validate_files(wanted, changes, check_mode=False)[0]


def test_unknown_owners_are_collected(tmp_path: Path) -> None:
    wanted = desired(
        files=[
            {"path": f"{tmp_path}/a", "content": "", "owner": "nobody-here"},
            {"path": f"{tmp_path}/b", "content": "", "group": "no-group"},
        ]
    )
    with pytest.raises(NodeFilesError) as caught:
        converge(wanted)
    assert ["nobody-here" in caught.value.problems[0], "no-group" in caught.value.problems[1]] == [True, True]


def test_no_secret_is_in_the_diff_or_in_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("OLDCANARY")
    entry = {"path": f"{tmp_path}/a", "secret": True}
    secret = {f"{tmp_path}/a": base64.b64encode(b"NEWCANARY").decode()}
    wanted = desired(files=[entry], secret_contents=secret)
    _plan, diff = converge(wanted)
    assert diff
    assert "CANARY" not in json.dumps(diff)
    assert (tmp_path / "a").read_text() == "NEWCANARY"
    refused = desired(
        files=[{**entry, "validate": ["sh", "-c", 'cat "$1"; exit 1', "sh", "{path}"]}],
        secret_contents={f"{tmp_path}/a": base64.b64encode(b"OTHERCANARY").decode()},
    )
    with pytest.raises(NodeFilesError) as caught:
        converge(refused)
    assert "CANARY" not in str(caught.value)
    assert "withheld" in str(caught.value)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (b"\xff\x00", "binary content of 2 bytes"),
        (b"x" * (core.DIFF_LIMIT_BYTES + 1), "too long to show"),
        (b"old\n", "old\n"),
    ],
)
def test_what_a_diff_shows(tmp_path: Path, before: bytes, expected: str) -> None:
    (tmp_path / "a").write_bytes(before)
    _plan, diff = converge(desired(files=[{"path": f"{tmp_path}/a", "content": "new\n"}]))
    assert expected in diff[0]["before"]
    assert diff[0]["after"] == "new\n"


# --- services, with a systemctl of our own ------------------------------------------------------------------------------------------------------


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """A systemctl that knows one unit, whose state is a file; it notes every verb. The unit fails when the file ``broken`` exists."""
    home = tmp_path / "fake"
    home.mkdir()
    (home / "state").write_text("inactive")
    script = f"""#!/bin/sh
cd {home}
case $1 in
show) echo "Id=demo.service
LoadState=$(cat load 2>/dev/null || echo loaded)
ActiveState=$(cat state)
SubState=x
UnitFileState=$(cat enabled 2>/dev/null || echo disabled)
NeedDaemonReload=no
MainPID=9
Result=exit-code
NRestarts=0
ExecMainStartTimestampMonotonic=1"; exit;;
status) echo "demo.service - Demo"; exit 3;;
enable) echo enabled > enabled;;
start|restart) if [ -e broken ]; then echo failed > state; else echo active > state; fi;;
stop) echo inactive > state;;
esac
echo "$1" >> verbs
"""
    (home / "systemctl").write_text(script)
    (home / "journalctl").write_text("#!/bin/sh\necho 'demo: cannot read its configuration'\n")
    for name in ("systemctl", "journalctl"):
        (home / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")

    def verbs(setting: str = "") -> list[str]:
        if setting:
            name, _sep, value = setting.partition("=")
            (home / name).write_text(value)
        return (home / "verbs").read_text().split() if (home / "verbs").exists() else []

    return verbs


def test_a_service_is_enabled_started_and_then_left_alone(systemctl: Callable[..., list[str]]) -> None:
    wanted = desired(services=[{"name": "demo", "enabled": True}])
    converge(wanted)
    assert systemctl() == ["enable", "start"]
    converge(wanted)
    assert systemctl() == ["enable", "start"]


def test_a_service_that_fails_is_explained_by_its_journal(systemctl: Callable[..., list[str]]) -> None:
    systemctl("broken=yes")
    with pytest.raises(NodeFilesError, match="cannot read its configuration"):
        converge(desired(services=[{"name": "demo"}]))


def test_an_unknown_unit_is_an_error_when_it_matters_and_only_then(systemctl: Callable[..., list[str]]) -> None:
    systemctl("load=not-found")
    wanted = desired(services=[{"name": "demo"}])
    assert core.plan(wanted, core.observe(wanted)).changes  # check mode stops here
    with pytest.raises(NodeFilesError, match="no such unit"):
        converge(wanted)
    converge(desired(services=[{"name": "demo", "state": "stopped"}]))


def test_where_no_systemd_runs_check_mode_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    wanted = desired(services=[{"name": "demo"}])
    assert core.plan(wanted, core.observe(wanted)).of("service")[0].verbs == ("start",)


def test_files_from_a_future_that_the_clock_took_back_do_not_restart_for_ever(
    systemctl: Callable[..., list[str]], tmp_path: Path
) -> None:
    systemctl("state=active")
    (tmp_path / "conf").write_text("")
    os.utime(tmp_path / "conf", (time.time() + 9999, time.time() + 9999))
    converge(desired(services=[{"name": "demo", "restart_when_newer": [f"{tmp_path}/conf"]}]))
    assert systemctl() == ["restart"]
    assert (tmp_path / "conf").stat().st_mtime <= time.time()


def test_service_specs_have_the_documented_defaults() -> None:
    assert desired(services=[{"name": "demo"}]).services == (ServiceSpec("demo.service"),)


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ("theirs", "# Written by bare_metal.kubernetes\n", True),
        ("# Written by bare_metal.kubernetes 1\n", "# Written by bare_metal.kubernetes 2\n", False),
        ("{}", '{"a": 1}', False),
    ],
)
def test_a_file_of_someone_else_is_kept_before_a_marked_one_takes_its_place(
    tmp_path: Path, before: str, after: str, kept: bool
) -> None:
    path, state = tmp_path / "proxy.cfg", tmp_path / "state"
    path.write_text(before)
    wanted = desired(files=[{"path": str(path), "content": after}], state_dir=str(state))
    seen = core.observe(wanted)
    core.apply(wanted, seen, core.plan(wanted, seen).changes)
    assert path.read_text() == after
    assert [file.read_text() for file in state.rglob("proxy.cfg")] == ([before] if kept else [])
