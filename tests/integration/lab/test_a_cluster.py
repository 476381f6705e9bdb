"""The life of a cluster on the lab, in order: refused, previewed, made, repeated, repeated in another order."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import runner

CONTROL_PLANE = ("cp1", "cp2", "cp3")
WORKERS = ("worker1", "worker2")
NODES = CONTROL_PLANE + WORKERS
WORKER_BUDGET = 20
CONTROL_PLANE_BUDGET = 40


@pytest.fixture(scope="module")
def first() -> runner.Run:
    """The first real run; everything after it looks at the cluster that it left."""
    return runner.play("site")


def test_reset_without_the_name_of_the_cluster_touches_nothing() -> None:
    run = runner.play("reset", "-e", "reset_confirm=another")
    assert run.rc != 0
    assert "reset_confirm=bmk" in run.output
    assert run.changed() == {}


def test_reset_leaves_machines_without_a_cluster() -> None:
    run = runner.play("reset", "-e", "reset_confirm=bmk")
    assert run.rc == 0, run.output
    again = runner.play("reset", "-e", "reset_confirm=bmk")
    assert again.rc == 0, again.output
    assert again.changed() == {}


def test_a_preview_of_the_first_run_says_what_it_would_do_and_does_nothing() -> None:
    run = runner.play("site", "--check", "--diff")
    assert run.rc == 0, run.output
    assert set(NODES) <= set(run.changed())
    assert "/etc/containerd/config.toml" in run.output
    again = runner.play("reset", "-e", "reset_confirm=bmk")
    assert again.changed() == {}, "the preview left something on the machines"


def test_the_first_run_makes_a_cluster_that_verify_calls_good(first: runner.Run) -> None:
    assert first.rc == 0, first.output
    assert ", 0 failed" in first.output


def test_the_first_run_stays_within_the_budget_of_tasks(first: runner.Run) -> None:
    for host in WORKERS:
        assert first.task_count(host) <= WORKER_BUDGET, (host, first.recap[host])
    for host in CONTROL_PLANE:
        assert first.task_count(host) <= CONTROL_PLANE_BUDGET, (host, first.recap[host])


def test_the_second_run_changes_nothing(first: runner.Run) -> None:
    run = runner.play("site")
    assert run.rc == 0, run.output
    assert run.changed() == {}, run.output
    for host in WORKERS:
        assert run.task_count(host) <= WORKER_BUDGET, (host, run.recap[host])
    for host in CONTROL_PLANE:
        assert run.task_count(host) <= CONTROL_PLANE_BUDGET, (host, run.recap[host])


def test_a_preview_after_the_last_run_sees_nothing_to_do(first: runner.Run) -> None:
    run = runner.play("site", "--check", "--diff")
    assert run.rc == 0, run.output
    assert run.changed() == {}, run.output


def _reverse_hosts(group: dict[str, Any]) -> dict[str, Any]:
    """The same group with its hosts and its children in the opposite order; what a host says of itself is left as it is."""
    turned = dict(group)
    if group.get("hosts"):
        turned["hosts"] = dict(reversed(list(group["hosts"].items())))
    if group.get("children"):
        children = reversed(list(group["children"].items()))
        turned["children"] = {name: _reverse_hosts(child) if child else child for name, child in children}
    return turned


def test_the_order_of_the_inventory_means_nothing(first: runner.Run, tmp_path: Path) -> None:
    inventory = tmp_path / "lab"
    subprocess.run(["cp", "-r", str(runner.INVENTORY), str(inventory)], check=True)
    hosts = yaml.safe_load((inventory / "hosts.yml").read_text())
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": _reverse_hosts(hosts["all"])}, sort_keys=False))
    run = runner.play("site", inventory=inventory)
    assert run.rc == 0, run.output
    assert run.changed() == {}, run.output


def test_verify_writes_its_rows_as_json(first: runner.Run, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run = runner.play("verify", "-e", f"verification_report_path={report}")
    assert run.rc == 0, run.output
    rows = json.loads(report.read_text())["rows"]
    checks = {row["check"] for row in rows}
    assert {"nodes", "etcd", "api", "endpoint", "certificates", "bgp node", "bgp router"} <= checks
    assert {"pod routes", "pod to pod", "dns", "cluster ip", "load balancer"} <= checks
    assert all(row["result"] == "ok" for row in rows), rows
    assert run.changed() == {}
