"""The DNS cache of a dense node, on a small lab of its own: there by default, asked by pods, no loss without it, off and on, and gone after a reset."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import density_lab, runner
from .density_lab import KUBECTL

pytestmark = [pytest.mark.lab, pytest.mark.slow]

LAB = density_lab.SmallLab(*density_lab.PLACE, {}, {"cluster_pods_per_node": 500})
ADDRESS = "169.254.20.10"
WORKER = f"{LAB.octets}.1.31"
ASK = "crictl exec $(crictl ps -q --state Running --label io.kubernetes.container.name=probe) /echo-server probe --timeout 5s dns:{}"
NAME = "kubernetes.default.svc.cluster.local"


@pytest.fixture(scope="session")
def lab_machines() -> None:
    """None of the shipped lab's: this one is its own."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with LAB.cluster(tmp_path_factory.mktemp("inventory")) as inventory:
        yield inventory


def kubectl(arguments: str) -> str:
    return LAB.on("cp1", f"{KUBECTL} {arguments}")


def asked() -> float:
    """Questions that the cache of the worker has had, by its metrics."""
    said = LAB.on("cp1", f"curl -sf http://{WORKER}:9253/metrics || wget -qO- http://{WORKER}:9253/metrics")
    return sum(float(value) for value in re.findall(r"^coredns_dns_requests_total\{.*\} (\S+)$", said, re.MULTILINE))


def answers(name: str = NAME) -> dict[str, Any]:
    """What the probe pod of the worker gets for a name."""
    (answer,) = json.loads(LAB.on("worker1", ASK.format(name)))
    return dict(answer)


def rows(inventory: Path, path: Path) -> tuple[int, list[dict[str, str]]]:
    done = runner.play("verify", "-e", f"verification_report_path={path}", inventory=inventory)
    return done.rc, [row for row in json.loads(path.read_text())["rows"] if row["check"] == "dns cache"]


def test_a_dense_node_has_a_cache_by_itself_and_the_control_plane_has_none(cluster: Path, tmp_path: Path) -> None:
    labelled = kubectl("get nodes -l bare-metal.kubernetes/node-local-dns -o name").split()
    assert labelled == ["node/worker1"]
    assert f"{ADDRESS}/32" in LAB.on("worker1", "ip address show dev lo")
    assert ADDRESS not in LAB.on("cp1", "ip address show dev lo")
    rc, found = rows(cluster, tmp_path / "verify.json")
    assert (rc, [(row["subject"], row["result"]) for row in found]) == (0, [("worker1", "ok")])


def test_a_second_run_changes_nothing(cluster: Path) -> None:
    done = runner.play("site", inventory=cluster)
    assert (done.rc, done.changed()) == (0, {}), done.output[-4000:]


def test_pods_ask_the_cache(cluster: Path) -> None:
    before = asked()
    answer = answers()
    assert answer["ok"], answer
    assert asked() > before


def test_without_the_cache_pods_go_on_and_it_comes_back(cluster: Path, tmp_path: Path) -> None:
    kubectl("label node worker1 bare-metal.kubernetes/node-local-dns-")
    until = time.monotonic() + 60
    while kubectl("-n kube-system get pods -l app.kubernetes.io/name=node-local-dns -o name"):
        assert time.monotonic() < until
        time.sleep(1)
    answer = answers()
    assert answer["ok"], answer
    rc, found = rows(cluster, tmp_path / "verify.json")
    assert rc != 0
    assert [(row["subject"], row["result"]) for row in found] == [("worker1", "failed")]
    assert f"{ADDRESS} does not answer for {NAME}" in found[0]["detail"]
    assert runner.play("site", inventory=cluster).rc == 0


def test_off_leaves_the_address_for_pods_that_still_ask_it(cluster: Path, tmp_path: Path) -> None:
    off = ("-e", json.dumps({"cluster_node_local_dns": False}))
    done = runner.play("site", *off, inventory=cluster)
    assert done.rc == 0, done.output[-4000:]
    assert kubectl("-n kube-system get daemonsets,configmaps -o name").count("node-local-dns") == 0
    assert kubectl("get nodes -l bare-metal.kubernetes/node-local-dns -o name") == ""
    assert f"{ADDRESS}/32" in LAB.on("worker1", "ip address show dev lo")
    assert answers()["ok"]  # the probe was started with the cache as its first server
    done = runner.play("site", *off, inventory=cluster)
    assert (done.rc, done.changed()) == (0, {}), done.output[-4000:]


def test_on_again_and_reset_takes_it_away(cluster: Path, tmp_path: Path) -> None:
    assert runner.play("site", inventory=cluster).rc == 0
    assert [row["result"] for row in rows(cluster, tmp_path / "verify.json")[1]] == ["ok"]
    done = runner.play("reset", "-e", f"reset_confirm={LAB.name}", inventory=cluster)
    assert done.rc == 0, done.output[-4000:]
    assert ADDRESS not in LAB.on("worker1", "ip address show dev lo")
