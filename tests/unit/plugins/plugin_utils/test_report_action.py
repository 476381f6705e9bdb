"""report_action: the frame, driven by Ansible's own machinery around a small report, and the reports that stand in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.action import disk_report, preflight_report, verification_report
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import report_action
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.report_action import Report, ReportAction


class Counted(ReportAction):
    """Says how many there are; more than ``most`` is a failure."""

    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        "names": {"type": "list", "elements": "str", "required": True},
        "most": {"type": "int", "default": 2},
        "path": {"type": "path", "default": ""},
    }

    def report(self, arguments: Mapping[str, Any]) -> Report:
        count = len(arguments["names"])
        failure = f"{count} are too many" if count > arguments["most"] else ""
        return Report(f"TABLE of {count}", {"count": count}, {arguments["path"]: f"{count}\n"}, failure)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(report_action.display, "display", lines.append)
    return lines


def run(kind: type[ReportAction], **arguments: Any) -> dict[str, Any]:
    task = MagicMock(args=arguments, async_val=0, check_mode=True, diff=False, environment=[])
    action = kind(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    return action.run(task_vars={})


def test_table_file_and_result_also_in_check_mode(shown: list[str], tmp_path: Path) -> None:
    path = tmp_path / "new" / "report"
    result = run(Counted, names=["a"], path=str(path))
    assert shown == ["TABLE of 1"]
    assert path.read_text() == "1\n"
    assert (result["count"], result["changed"]) == (1, False)


def test_a_failure_still_has_table_file_and_result(shown: list[str], tmp_path: Path) -> None:
    path = tmp_path / "report"
    with pytest.raises(AnsibleActionFail, match="3 are too many") as caught:
        run(Counted, names=["a", "b", "c"], path=str(path))
    assert (shown, path.read_text()) == (["TABLE of 3"], "3\n")
    assert caught.value.result["count"] == 3


def test_arguments_are_checked_before_anything_is_shown(shown: list[str]) -> None:
    with pytest.raises(AnsibleActionFail, match="mosst"):
        run(Counted, names=[], mosst=1)
    assert shown == []


def test_no_path_no_file_and_a_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    report_action.write_report("", "nothing")
    assert list(tmp_path.iterdir()) == []
    report_action.write_report("~/deep/report", "text")
    assert (tmp_path / "home/deep/report").read_text() == "text"


@pytest.mark.parametrize("kind", [disk_report, preflight_report, verification_report])
def test_the_collections_reports_stand_in_the_frame(kind: Any) -> None:
    assert issubclass(kind.ActionModule, ReportAction)
    assert "run" not in vars(kind.ActionModule)


WANTED = {"nodes": {"cp1": "10.0.0.1"}, "control_plane": {"cp1": "10.0.0.1"}, "etcd": {}, "version": "v1.36.3"}


def test_what_is_not_true_of_a_cluster_is_named_and_the_rows_are_in_the_file(shown: list[str], tmp_path: Path) -> None:
    path = tmp_path / "verify.json"
    with pytest.raises(AnsibleActionFail, match=r"statements about the cluster are not true:\n- ") as caught:
        run(
            verification_report.ActionModule,
            wanted=WANTED,
            cluster={"error": "no API answers"},
            hosts={},
            path=str(path),
        )
    written = json.loads(path.read_text())
    assert written["failed"] == caught.value.result["failed_count"] > 0
    assert "rows" not in caught.value.result
    assert shown[0].count("\n") > 1


def test_a_preview_tells_what_is_not_true_yet_and_goes_on(shown: list[str]) -> None:
    result = run(
        verification_report.ActionModule, wanted=WANTED, cluster={"error": "no API answers"}, hosts={}, preview=True
    )
    assert result["failed_count"] > 0
    assert "failed" not in result
    assert shown[0].endswith("A preview: what is not true yet is no failure, for nothing was changed.")


def test_a_statement_that_nobody_knows_is_refused() -> None:
    with pytest.raises(AnsibleActionFail, match="'wanted' has a key that is not known"):
        run(verification_report.ActionModule, wanted={**WANTED, "moon": "full"}, cluster={}, hosts={})


def test_preflight_of_nobody_is_no_success() -> None:
    with pytest.raises(AnsibleActionFail, match="no host to report on"):
        run(preflight_report.ActionModule, hosts={})
