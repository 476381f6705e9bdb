"""The density benchmark on the lab's own workers: a restart and a drain under load, and what 110 places are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from . import runner

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("standing")]

KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
PODS = 8
# Latencies are the machine's, which has two cores for all nodes.
OFF = (
    *(
        "scheduled_to_ready_max_seconds",
        "pod_start_p99_seconds",
        "api_mutating_p99_seconds",
        "etcd_fsync_p99_ms",
        "etcd_leader_changes",
    ),
    *("canary_factor", "dns_p99_ms", "container_restarts"),
)


def test_the_default_profile_does_not_carry_500_and_says_what_ends_it() -> None:
    said = json.dumps({"density_benchmark_pods_per_node": 500, "density_benchmark_nodes": ["worker1"]})
    done = runner.play("density_benchmark", "-e", said)
    assert done.rc != 0
    assert "node worker1 cannot carry 500 pods" in done.output
    assert "ended by pods a node" in done.output
    assert "density" not in runner.on("cp1", f"{KUBECTL} get namespaces,priorityclasses -o name")


def test_a_restart_and_a_drain_bring_all_pods_back(tmp_path: Path) -> None:
    name = yaml.safe_load((runner.INVENTORY / "group_vars/all/lab.yml").read_text())["lab_name"]
    values = {
        **{
            "pods": PODS,
            "rate": 1,
            "baseline_seconds": 2,
            "services": 1,
            "probe_period_seconds": 5,
            "settle_seconds": 300,
        },
        **{"abort_factor": 100, "abort_floor_ms": 200, "gates": dict.fromkeys(OFF)},
        **{
            "restart_node": "worker2",
            "restart_command": ["podman", "restart", "-t", "2", f"{name}-worker2"],
            "drain_node": "worker1",
        },
        "report_path": str(tmp_path / "density.json"),
    }
    said = json.dumps({f"density_benchmark_{key}": value for key, value in values.items()})
    done = runner.play("density_benchmark", "-e", said)
    assert done.rc == 0, done.output[-6000:]
    report = json.loads((tmp_path / "density.json").read_text())
    assert report["restart"]["returned"] == report["restart"]["wanted"] > 0
    assert report["drain"]["evicted"] > 0
    assert report["drain"]["elsewhere"] == PODS
    assert report["outside"]["client"]["urls"]["load_balancer"]["ok"]
    assert "SchedulingDisabled" not in runner.on("cp1", f"{KUBECTL} get nodes")
