"""A worker leaves the cluster and joins it again; nobody else is touched, or even contacted but for what is delegated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from . import runner
from .own_lab import KUBECTL, on

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("standing")]

LAB, NEW = "bmk", "worker2"
OTHERS = ("cp1", "cp2", "cp3", "worker1")
MARK = "/run/before-the-worker"
# What this collection writes, and what kubeadm does. Calico renews its own credentials in /etc/cni.
WRITTEN = "/etc/kubernetes /etc/containerd /etc/systemd /etc/etcd /etc/haproxy /etc/sysctl.d /etc/nftables.d /usr/local /opt/cni /var/lib/bare-metal-kubernetes"
UNITS = "kubelet containerd haproxy"


def kubectl(words: str) -> str:
    return on(LAB, "cp1", f"{KUBECTL} {words}")


def items(what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl(f"get {what} -o json"))["items"]
    return found


def touched(host: str) -> set[str]:
    """Files that were written on a host since the mark."""
    return set(on(LAB, host, f"find {WRITTEN} -newer {MARK} -type f 2>/dev/null || true").split())


def started(host: str) -> str:
    """When the units of a node were started."""
    return on(LAB, host, f"systemctl show --property ActiveEnterTimestampMonotonic --value {UNITS}")


def test_a_worker_leaves_and_joins_again_and_nobody_else_is_touched() -> None:
    kubectl(f"drain {NEW} --ignore-daemonsets --delete-emptydir-data --force --timeout=120s")
    kubectl(f"delete node {NEW}")
    gone = runner.play("reset", "--limit", NEW, "-e", "reset_confirm=bmk")
    assert gone.rc == 0, gone.output
    assert set(gone.recap) == {NEW}
    assert NEW not in {node["metadata"]["name"] for node in items("nodes")}

    refused = runner.play("add_workers", "--limit", f"{NEW},cp1")
    assert refused.rc != 0
    assert "The limit names cp1" in " ".join(refused.output.split())
    assert refused.changed() == {}

    for host in OTHERS:
        on(LAB, host, f"touch {MARK}")
    before = {host: started(host) for host in OTHERS}
    run = runner.play("add_workers", "--limit", NEW)
    assert run.rc == 0, run.output
    # Delegated tasks are counted where they belong to: a control plane that was asked, or made a token, is not in the recap.
    assert {host for host, counts in run.recap.items() if counts["ok"] or counts["changed"]} == {NEW}, run.recap
    for host in OTHERS:
        assert touched(host) <= {"/var/lib/bare-metal-kubernetes/lease.lock"}, host
    assert {host: started(host) for host in OTHERS} == before

    conditions = {node["metadata"]["name"]: node["status"]["conditions"] for node in items("nodes")}
    assert {"type": "Ready", "status": "True"}.items() <= next(
        c for c in conditions[NEW] if c["type"] == "Ready"
    ).items()
    pods = items(f"pods --all-namespaces --field-selector spec.nodeName={NEW}")
    assert {pod["metadata"]["labels"].get("k8s-app") for pod in pods} >= {"calico-node", "kube-proxy"}
    for pod in pods:
        ready = next(c["status"] for c in pod["status"]["conditions"] if c["type"] == "Ready")
        assert ready == "True", pod["metadata"]["name"]
    assert items("secrets --namespace kube-system --field-selector type=bootstrap.kubernetes.io/token") == []

    again = runner.play("add_workers", "--limit", NEW)
    assert again.rc == 0, again.output
    assert again.changed() == {}
    whole = runner.play("site")
    assert whole.rc == 0, whole.output
    assert whole.changed() == {}, whole.output
    assert ", 0 failed" in whole.output
