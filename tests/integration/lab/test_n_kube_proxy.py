"""kube-proxy changes its mode on the live cluster, there and back: one node at a time, old rules gone, Services answering."""

from __future__ import annotations

import json
import subprocess

import pytest

from . import runner
from .traffic import Felt, steady_from

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.network]

NODES = ("cp1", "cp2", "cp3", "worker1", "worker2")
#: seconds without an answer that a client of a Service may feel while its node's rules are written anew
LONGEST_GAP = 5.0


def on(host: str, *argv: str) -> str:
    return subprocess.run(["podman", "exec", f"bmk-{host}", *argv], capture_output=True, text=True, check=True).stdout


def address_of(service: str, path: str) -> str:
    kubectl = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "-n", "bare-metal-system"]
    return on("cp1", *kubectl, "get", "service", service, "-o", f"jsonpath={path}")


def rules() -> dict[str, tuple[bool, bool]]:
    """``{node: (rules of nftables mode, rules of iptables mode)}``: are there any?"""
    found = {}
    for node in NODES:
        tables = on(node, "nft", "list", "tables")
        found[node] = ("kube-proxy" in tables, "KUBE-SVC-" in on(node, "iptables-save"))
    return found


def modes() -> set[str]:
    """What each kube-proxy says that it runs as."""
    return {on(node, "python3", "-c", ASK_MODE) for node in NODES}


ASK_MODE = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:10249/proxyMode', timeout=5).read().decode(), end='')"


def switched(*arguments: str) -> list[Felt]:
    inside = f"http://{address_of('probe', '{.spec.clusterIP}')}/"
    outside = f"http://{address_of('probe-public', '{.status.loadBalancer.ingress[0].ip}')}/"
    with steady_from(("bmk-worker1", inside), ("bmk-worker2", inside), ("bmk-client", outside)) as felt:
        run = runner.play("site", *arguments)
    assert run.rc == 0, run.output
    for client in felt:
        print(client)
    return felt


def test_the_mode_changes_under_traffic_and_back_again() -> None:
    assert runner.play("site").rc == 0
    assert rules() == dict.fromkeys(NODES, (True, False))

    other = ("-e", json.dumps({"cluster_kube_proxy_mode": "iptables"}))
    there = switched(*other)
    assert modes() == {"iptables"}
    assert rules() == dict.fromkeys(NODES, (False, True))
    assert runner.play("site", *other).changed() == {}

    back = switched()
    assert modes() == {"nftables"}
    assert rules() == dict.fromkeys(NODES, (True, False))
    assert runner.play("site").changed() == {}

    for client in [*there, *back]:
        assert client.asked > 100
        assert client.longest_gap < LONGEST_GAP, str(client)
