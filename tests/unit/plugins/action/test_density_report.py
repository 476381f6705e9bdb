"""The action density_report through ansible-playbook: files, failure, and refusal before anything runs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plugins.plugin_utils.density_result import SETTINGS, result

ROOT = Path(__file__).resolve().parents[4]


def play(directory: Path, **arguments: Any) -> subprocess.CompletedProcess[str]:
    task = {
        "name": "Report",
        "bare_metal.kubernetes.density_report": {"settings": SETTINGS, "cluster": "lab", **arguments},
    }
    book = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]
    (directory / "play.yml").write_text(yaml.safe_dump(book))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        ["ansible-playbook", "-i", "localhost,", str(directory / "play.yml")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_good_run_writes_both_files(tmp_path: Path) -> None:
    done = play(tmp_path, **result(), path=str(tmp_path / "new/report.json"), page_path=str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all_ready" in done.stdout
    assert json.loads((tmp_path / "new/report.json").read_text())["failed"] == []
    assert "gates passed." in (tmp_path / "page.html").read_text()


def test_a_bad_run_fails_with_its_reasons_and_still_writes(tmp_path: Path) -> None:
    found = result()
    found["benchmark"]["evicted"] = 3
    done = play(tmp_path, **found, path=str(tmp_path / "report.json"))
    assert done.returncode != 0
    assert "evictions: the number of evicted pods is 3, more than 0" in done.stdout + done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["failed"] == ["evictions"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"gates": {"pod_start": 1}}, "there is no gate pod_start"),
        (
            {"compare_path": "/nonexistent/report.json"},
            "density_benchmark_compare_path: /nonexistent/report.json cannot be read",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_before_the_run(tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    done = play(tmp_path, **arguments)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert play(tmp_path).returncode == 0
