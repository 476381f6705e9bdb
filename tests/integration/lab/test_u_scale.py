"""How much a control plane carries: `make scale`. Its processes are real, on a small cluster beside the lab's; the nodes that it fills are simulated (kwok).

Two shapes at 93 %: four nodes of 500 places, as published, and fifty. The machine's two cores carry API server, etcd, scheduler, controllers, kwok and
the generator, so the gates of latency are off; completeness, failures of the API and return are what is proven, and the figures are in the
reports, build/scale-4.json and build/scale-50.json, and pages beside them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_control_plane, kubeadm_config

from . import density_lab, runner, simulation
from .density_lab import KUBECTL

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.own_lab, pytest.mark.density]

PLACES, SHARE = 500, 0.93
# Fewer on a machine that has no half hour for it.
MANY = int(os.environ.get("SCALE_NODES", "50"))
RATE = float(os.environ.get("SCALE_RATE", "60"))
# The inventory has two nodes: what the profile gives a control plane for all of them is given here, as it would be for machines.
WORKERS = {
    **density_control_plane.sync_workers(MANY * PLACES, PLACES),
    **density_control_plane.batching(MANY * PLACES),
}
READING, CHANGING = kubeadm_config.inflight(MANY * PLACES)
LAB = density_lab.SmallLab(
    *density_lab.PLACE,
    {
        "control_plane_controller_manager_extra_args": {name: str(value) for name, value in WORKERS.items()},
        "control_plane_apiserver_extra_args": {
            "max-requests-inflight": str(READING),
            "max-mutating-requests-inflight": str(CHANGING),
            # A namespace's pods are deleted one after the other by default, which is most of what taking the load away takes.
            "delete-collection-workers": "16",
        },
    },
    # Not the control plane: on two cores the reservations of a dense node leave no room for its own pods.
    {"cluster_pods_per_node": PLACES},
)
OFF: dict[str, Any] = dict.fromkeys(density_lab.LATENCIES)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    simulation.kwok()
    with LAB.cluster(tmp_path_factory.mktemp("inventory")) as inventory:
        yield inventory


def kubectl(arguments: str, given: str | None = None, check: bool = True) -> str:
    return LAB.on("cp1", f"{KUBECTL} {arguments}", check=check, stdin=given)


def filled(inventory: Path, count: int, rate: float, seconds: int) -> tuple[runner.Run, dict[str, Any]]:
    """The benchmark on so many simulated nodes; they are gone afterwards."""
    density_lab.BUILD.mkdir(exist_ok=True)
    name = f"scale-{count}"
    log = density_lab.BUILD / f"{name}.kwok.log"
    with simulation.nodes(inventory / "admin.conf", count, PLACES, kubectl, log) as names:
        return density_lab.benchmark(
            inventory,
            density_lab.BUILD,
            OFF,
            name=name,
            nodes=names,
            workload="pause",
            share=SHARE,
            rate=rate,
            baseline_seconds=10,
            settle_seconds=seconds,
            stall_seconds=180,
            services=3,
        )


def holds(done: runner.Run, report: dict[str, Any], count: int) -> None:
    assert done.rc == 0, done.output[-6000:]
    assert report["failed"] == []
    seen = report["benchmark"]
    assert seen["load"]["pods"] == int(count * PLACES * SHARE)
    assert seen["ready_now"] == seen["load"]["pods"]
    assert seen["create_errors"] == {}
    assert len(seen["simulated"]) == count
    assert "kernel_profile" in report["not_applicable"]
    assert report["remarks"][0].startswith(f"Simulated: {count} nodes")
    figures = seen["metrics"]
    assert figures["api"]["rss_mib"] > 100
    assert figures["api"]["mutating"]["count"] >= 3 * seen["load"]["pods"]
    assert figures["etcd"]["fsync_p99_ms"] > 0
    assert report["cleaned"]["left"] == []
    gone = kubectl("get nodes,leases -A -o name")
    assert "kwok" not in gone
    assert gone.count("node/") == 2


def test_the_published_shape(cluster: Path) -> None:
    """Four nodes of 500 at 93 %: 1,860 pods."""
    done, report = filled(cluster, 4, RATE / 2, 600)
    holds(done, report, 4)


def test_many_nodes(cluster: Path) -> None:
    """Fifty nodes of 500 at 93 %: 23,250 pods."""
    done, report = filled(cluster, MANY, RATE, 1500)
    holds(done, report, MANY)


def test_the_cluster_is_as_it_was(cluster: Path) -> None:
    assert runner.play("verify", inventory=cluster).rc == 0
