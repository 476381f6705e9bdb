"""The plan tells what `site` would change on the live cluster: nothing, and what one changed variable means on each host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import runner

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("standing")]

NODES = {"cp1", "cp2", "cp3", "worker1", "worker2"}
# As many pods as four blocks of /26 have two addresses for: the live cluster's blocks stay as they are.
DENSER = ["-e", "cluster_pods_per_node=120"]


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run `site` in check mode, and then `plan` with what it printed: ``(the check run, the plan's output, hosts by name, the page)``."""
    monkeypatch.setenv("ANSIBLE_CHECK_MODE_MARKERS", "true")

    def look(*arguments: str) -> tuple[runner.Run, str, dict[str, Any], Path]:
        run = runner.play("site", "--check", *arguments)
        output, data, page = (tmp_path / name for name in ("site.txt", "plan.json", "plan.html"))
        output.write_text(run.output, encoding="utf-8")
        assert run.rc == 0, run.output[-3000:]
        paths = {"site_check": output, "json": data, "html": page}
        more = [word for name, path in paths.items() for word in ("-e", f"capacity_plan_{name}_path={path}")]
        plan = runner.play("plan", *more, *arguments)
        assert plan.rc == 0, plan.output[-3000:]
        return run, plan.output, json.loads(data.read_text(encoding="utf-8"))["site_changes"]["hosts"], page

    return look


def test_the_plan_tells_what_site_would_change(checked: Any, reader: Any) -> None:
    before = runner.on("worker1", "cat", "/etc/kubernetes/kubelet.conf.d/50-bare-metal.conf")
    run, output, hosts, page = checked()
    assert run.changed() == {}
    assert set(hosts) >= NODES
    assert f"Nothing would change on {len(hosts)} hosts." in output
    assert reader.show(page, 390).findings == []

    run, output, hosts, page = checked(*DENSER)
    assert {host for host, row in hosts.items() if row["changed"]} >= NODES
    assert {host: row["changed"] for host, row in hosts.items() if row["changed"]} == run.changed()
    for host in NODES:
        assert any("kubelet : Configure" in task for task in hosts[host]["tasks"]), hosts[host]
        assert len(hosts[host]["tasks"]) == hosts[host]["changed"]
    assert "hosts would change, in" in output
    for width in (1280, 390):
        assert reader.show(page, width, dark=True).findings == []
    assert runner.on("worker1", "cat", "/etc/kubernetes/kubelet.conf.d/50-bare-metal.conf") == before
