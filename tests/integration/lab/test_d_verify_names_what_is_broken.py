"""Each thing that is broken on the live cluster is named by its own row of verify, and is good again afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import runner

pytestmark = [pytest.mark.usefixtures("standing")]


def _dropped(chain: str, what: str) -> tuple[str, str]:
    """Commands that drop packets in a table of our own before anyone else sees them, and that take the table away."""
    table = "inet bmk_break"
    rules = f"add table {table}; add chain {table} c {{ type filter hook {chain} priority -300; }}; add rule {table} c {what} drop"
    return f"nft '{rules}'", f"nft delete table {table}"


# name: (host, command that breaks, command that mends, the row's check, what its subject holds)
BREAKS = {
    "etcd": ("cp2", "systemctl stop etcd", "systemctl start etcd", "etcd", "cp2"),
    "api": (
        "cp3",
        "mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/kube-apiserver.yaml",
        "mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/kube-apiserver.yaml",
        "api",
        "cp3",
    ),
    "endpoint": ("worker1", "systemctl stop haproxy", "systemctl start haproxy", "endpoint", "endpoint"),
    "node": ("worker2", "systemctl stop kubelet", "systemctl start kubelet", "nodes", "worker2"),
    "bgp": (
        "tor1",
        "vtysh -c 'configure terminal' -c 'router bgp 64601' -c 'neighbor nodes shutdown'",
        "vtysh -c 'configure terminal' -c 'router bgp 64601' -c 'no neighbor nodes shutdown'",
        "bgp node",
        "worker1",
    ),
    "bgp of the other side": (
        "worker2",
        *_dropped("prerouting", "ip saddr 10.77.2.254"),
        "bgp router",
        "tor2",
    ),
    "pod routes": (
        "tor1",
        "vtysh -c 'configure terminal' -c 'route-map TO-NODES deny 5'",
        "vtysh -c 'configure terminal' -c 'no route-map TO-NODES deny 5'",
        "pod routes",
        "worker1",
    ),
    "pod to pod": ("worker2", *_dropped("forward", "tcp dport 8080"), "pod to pod", "worker2"),
    "cluster ip": ("worker1", *_dropped("prerouting", "ip daddr 10.96.0.0/16 tcp dport 80"), "cluster ip", "worker1"),
    "certificate": (
        "worker1",
        "mv /var/lib/kubelet/pki/kubelet-server-current.pem /root/server.pem",
        "mv /root/server.pem /var/lib/kubelet/pki/kubelet-server-current.pem",
        "certificates",
        "worker1",
    ),
    "dns": (
        "cp1",
        "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system scale deployment coredns --replicas=0",
        "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system scale deployment coredns --replicas=2",
        "dns",
        "worker1",
    ),
    "load balancer": (
        "client",
        "ip route add blackhole 10.77.200.0/24 metric 1",
        "ip route del blackhole 10.77.200.0/24 metric 1",
        "load balancer",
        "from client",
    ),
}


def _failed_rows(path: Path) -> list[tuple[str, str]]:
    return [(r["check"], r["subject"]) for r in json.loads(path.read_text())["rows"] if r["result"] == "failed"]


@contextmanager
def _broken(host: str, breaks: str, mends: str) -> Iterator[None]:
    runner.on(host, breaks)
    try:
        yield
    finally:
        runner.on(host, mends)


def _verify(path: Path, tries: int, until: str = "", subject: str = "") -> list[tuple[str, str]]:
    """Run verify until it names a row (or none at all), at most ``tries`` times: what breaks or mends takes its time to be seen."""
    failed: list[tuple[str, str]] = []
    for _try in range(tries):
        runner.play("verify", "-e", f"verification_report_path={path}")
        failed = _failed_rows(path)
        if until and any(check == until and subject in name for check, name in failed):
            break
        if not until and not failed:
            break
    return failed


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_named_and_its_end_is_seen(name: str, tmp_path: Path) -> None:
    host, breaks, mends, check, subject = BREAKS[name]
    report = tmp_path / "report.json"
    with _broken(host, breaks, mends):
        failed = _verify(report, 12, check, subject)
        assert any(row == check and subject in told for row, told in failed), failed
    assert _verify(report, 25) == []


@pytest.mark.slow
def test_check_mode_alone_does_not_hide_a_break_and_a_preview_of_site_reports_it() -> None:
    with _broken("client", *BREAKS["load balancer"][1:3]):
        alone, preview = runner.play("verify", "--check"), runner.play("site", "--check")
    assert alone.rc != 0
    assert "load balancer" in alone.output
    assert preview.rc == 0, preview.output[-3000:]
    assert "A preview: what is not true yet is no failure" in preview.output
