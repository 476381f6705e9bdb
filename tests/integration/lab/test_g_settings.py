"""Settings of every part are changed on the live cluster, and taken back: one node at a time, while the API answers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import runner

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CONTROL_PLANES = ("cp1", "cp2", "cp3")
LAB = yaml.safe_load((runner.INVENTORY / "group_vars/all/cluster.yml").read_text())
CHANGED = {
    "control_plane_event_ttl": "2h0m0s",
    "control_plane_apiserver_extra_args": {"max-requests-inflight": "500"},
    "control_plane_controller_manager_extra_args": {"terminated-pod-gc-threshold": "100"},
    "control_plane_scheduler_extra_args": {"kube-api-qps": "60"},
    "etcd_heartbeat_interval_ms": 150,
    "etcd_election_timeout_ms": 1500,
    "cluster_kubelet_configuration": LAB["cluster_kubelet_configuration"] | {"containerLogMaxFiles": 4},
    "cluster_kube_proxy_configuration": LAB["cluster_kube_proxy_configuration"] | {"nftables": {"minSyncPeriod": "2s"}},
    "cluster_node_labels": {"example.com/tier": "gold"},
    "cluster_node_taints": [],
}
# Asks the API's address on a worker five times a second, and prints the most failures in a row and the number of questions.
ASK = """
import signal, ssl, sys, time, urllib.request
context, row, worst, asked, go = ssl._create_unverified_context(), 0, 0, 0, []
signal.signal(signal.SIGTERM, lambda *_: go.append(1))
while not go:
    asked += 1
    try:
        urllib.request.urlopen('https://127.0.0.1:7443/readyz', timeout=5, context=context).read()
        row = 0
    except OSError as error:
        row += 1
        worst = max(worst, row)
    time.sleep(0.2)
print(worst, asked)
"""
#: HAProxy sees a dead apiserver after two checks, a second apart; a question to it may fail meanwhile
MOST_FAILURES_IN_A_ROW = 10


@contextmanager
def asking() -> Iterator[dict[str, int]]:
    """Ask the API all the while; afterwards the dictionary has ``worst`` (failures in a row) and ``asked``."""
    found: dict[str, int] = {}
    exec_in = ["podman", "exec", "bmk-worker1"]
    with subprocess.Popen([*exec_in, "python3", "-c", ASK], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield found
        finally:
            subprocess.run([*exec_in, "pkill", "-TERM", "-f", "^python3 -c"], check=False)
            told = process.communicate(timeout=60)[0]
    found["worst"], found["asked"] = (int(word) for word in told.split())


def kubectl(*words: str) -> str:
    argv = ["podman", "exec", "bmk-cp1", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def flags(component: str) -> dict[str, str]:
    """``{control plane: command line}`` of the running component."""
    found = {}
    for host in CONTROL_PLANES:
        argv = ["podman", "exec", f"bmk-{host}", "pgrep", "-a", "-x", component[:15]]
        found[host] = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return found


def etcd_settings(host: str) -> dict[str, Any]:
    argv = ["podman", "exec", f"bmk-{host}", "cat", "/etc/etcd/etcd.yaml"]
    settings: dict[str, Any] = yaml.safe_load(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    return settings


def all_nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    return nodes


def test_changed_settings_reach_every_part_of_the_live_cluster_and_go_again(tmp_path: Path) -> None:
    assert runner.play("site").rc == 0
    wanted = tmp_path / "settings.json"
    wanted.write_text(json.dumps(CHANGED))

    preview = runner.play("site", "--check", "--diff", "-e", f"@{wanted}")
    assert preview.rc == 0, preview.output
    with asking() as api:
        run = runner.play("site", "-e", f"@{wanted}")
    assert run.rc == 0, run.output
    assert ", 0 failed" in run.output
    assert api["asked"] > 50
    assert api["worst"] <= MOST_FAILURES_IN_A_ROW
    # The preview named the same hosts, all of them.
    assert set(run.changed()) == {*CONTROL_PLANES, "worker1", "worker2"}
    assert set(preview.changed()) == set(run.changed())
    # Also what follows from a file that the preview did not write: each member of etcd restarts.
    assert preview.output.count("+restart: it runs with older files") == len(CONTROL_PLANES)

    for line in flags("kube-apiserver").values():
        assert "--event-ttl=2h0m0s" in line
        assert "--max-requests-inflight=500" in line
    for line in flags("kube-controller-manager").values():
        assert "--terminated-pod-gc-threshold=100" in line
    for line in flags("kube-scheduler").values():
        assert "--kube-api-qps=60" in line
    assert {etcd_settings(host)["heartbeat-interval"] for host in CONTROL_PLANES} == {150}
    for node in all_nodes():
        name = node["metadata"]["name"]
        assert node["metadata"]["labels"]["example.com/tier"] == "gold"
        assert not node["spec"].get("taints")
        live = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{name}/proxy/configz"))["kubeletconfig"]
        assert live["containerLogMaxFiles"] == 4
    proxies = json.loads(kubectl("-n", "kube-system", "get", "configmap", "kube-proxy", "-o", "json"))
    assert yaml.safe_load(proxies["data"]["config.conf"])["nftables"]["minSyncPeriod"] == "2s"
    assert runner.play("site", "-e", f"@{wanted}").changed() == {}

    with asking() as api:
        back = runner.play("site")
    assert back.rc == 0, back.output
    assert api["worst"] <= MOST_FAILURES_IN_A_ROW
    assert all("--event-ttl=1h0m0s" in line and "max-requests" not in line for line in flags("kube-apiserver").values())
    for node in all_nodes():
        is_control_plane = node["metadata"]["name"] in CONTROL_PLANES
        assert "example.com/tier" not in node["metadata"]["labels"]
        assert bool(node["spec"].get("taints")) == is_control_plane
    assert runner.play("site").changed() == {}
