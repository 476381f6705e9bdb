"""An etcd of their own for events, on a small lab of its own: who keeps what, what its loss does to the API, and off and on again."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import density_lab, own_lab, runner
from .density_lab import KUBECTL

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.own_lab]

LAB = density_lab.SmallLab("labevents", "10.236", {"cluster_etcd_events": "always"}, {})
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
ETCDCTL = "etcdctl --cacert /etc/etcd/pki/ca.crt --cert /etc/etcd/pki/client.crt --key /etc/etcd/pki/client.key --endpoints https://127.0.0.1:{}"
MAIN, EVENTS = 2379, 2382
NEVER = ("-e", "cluster_etcd_events=never")
# The kubelet restarts an apiserver after eight failed probes, ten seconds apart.
LONGER_THAN_PROBES = 100


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with LAB.cluster(tmp_path_factory.mktemp("inventory")) as inventory:
        yield inventory


def kubectl(arguments: str, check: bool = True) -> str:
    """Through the node's own HAProxy, as every client."""
    return LAB.on("cp1", f"{KUBECTL} --request-timeout=20s {arguments}", check)


def keys(port: int, prefix: str) -> list[str]:
    said = LAB.on("cp1", f"{ETCDCTL.format(port)} get {prefix} --prefix --keys-only")
    return [line for line in said.splitlines() if line]


def apiserver() -> str:
    """The id of the running container: another one after a restart."""
    return LAB.on("cp1", "crictl ps -q --state Running --name kube-apiserver").strip()


def note(name: str) -> dict[str, object]:
    """An event as the newer API takes it."""
    return {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"}, "type": "Normal",
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime()), "reason": "Tried", "action": "Try",
        "reportingController": "example.org/test", "reportingInstance": "test",
        "regarding": {"kind": "Node", "name": "worker1", "apiVersion": "v1"},
    }  # fmt: skip


def record(name: str, check: bool = True) -> str:
    return LAB.on("cp1", f"{KUBECTL} --request-timeout=20s create -f - 2>&1", check, stdin=json.dumps(note(name)))


def rows(inventory: Path, path: Path) -> tuple[int, dict[tuple[str, str], str]]:
    done = runner.play("verify", "-e", f"verification_report_path={path}", inventory=inventory)
    return done.rc, {(row["check"], row["subject"]): row["result"] for row in json.loads(path.read_text())["rows"]}


def test_events_are_in_the_second_etcd_and_all_else_in_the_first(cluster: Path) -> None:
    record("one")
    assert "Tried" in kubectl("-n default get events")
    assert "Tried" in kubectl("get --raw /apis/events.k8s.io/v1/namespaces/default/events")
    assert "/registry/events/default/one" in keys(EVENTS, "/registry/events/")
    assert keys(MAIN, "/registry/events/") == []
    assert {key.split("/")[2] for key in keys(EVENTS, "/registry/")} == {"events"}
    assert "/registry/minions/worker1" in keys(MAIN, "/registry/minions/")


def test_a_second_run_changes_nothing_and_costs_no_task(cluster: Path, tmp_path: Path) -> None:
    done = runner.play("site", inventory=cluster)
    assert (done.rc, done.changed()) == (0, {}), done.output[-4000:]
    assert done.task_count("cp1") <= 40
    rc, found = rows(cluster, tmp_path / "verify.json")
    assert (rc, found["etcd", "cp1"], found["events etcd", "cp1"]) == (0, "ok", "ok")


def test_the_api_serves_while_events_wait(cluster: Path, tmp_path: Path) -> None:
    before, restarts = apiserver(), "crictl ps --name kube-apiserver -o json"
    LAB.on("cp1", "systemctl stop etcd-events")
    try:
        assert "etcd-override-0 failed" in kubectl("get --raw '/livez?verbose'", check=False) + LAB.on(
            "cp1", f"{KUBECTL} get --raw '/livez?verbose' 2>&1", check=False
        )
        began, number = time.monotonic(), 0
        while time.monotonic() < began + LONGER_THAN_PROBES:
            number += 1
            kubectl(f"-n default create configmap kept-{number} --from-literal=x=y")
            assert "worker1" in kubectl("get nodes")
            time.sleep(5)
        assert apiserver() == before, LAB.on("cp1", restarts)
        assert "created" not in record("lost", check=False)
        rc, found = rows(cluster, tmp_path / "verify.json")
        assert rc != 0
        assert (found["events etcd", "cp1"], found["etcd", "cp1"], found["api", "cp1"], found["endpoint", "endpoint"]) == (
            "failed", "ok", "ok", "ok",
        )  # fmt: skip
    finally:
        LAB.on("cp1", "systemctl start etcd-events")
    assert own_lab.becomes(lambda: "created" in record("back", check=False), 120)
    assert "/registry/events/default/one" in keys(EVENTS, "/registry/events/"), "what it had it still has"


def test_off_the_flag_goes_first_and_nothing_is_left(cluster: Path) -> None:
    checked = runner.play("site", "--check", "--diff", *NEVER, inventory=cluster)
    assert checked.rc == 0, checked.output[-4000:]
    assert "remove data" in checked.output
    assert re.search(r"^-\s+- --etcd-servers-overrides=/events#", checked.output, re.MULTILINE)
    assert LAB.on("cp1", "systemctl is-active etcd-events").strip() == "active"
    done = runner.play("site", *NEVER, inventory=cluster)
    assert done.rc == 0, done.output[-4000:]
    flag, retired = (
        next(i for i, name in enumerate(done.tasks) if words in name) for words in ("Rolling |", "Retire |")
    )
    assert flag < retired
    assert "etcd-servers-overrides" not in LAB.on("cp1", f"cat {MANIFEST}")
    assert "exclude=" not in LAB.on("cp1", f"cat {MANIFEST}")
    left = "ls -d /etc/etcd/events /etc/systemd/system/etcd-events.service /var/lib/etcd-events 2>/dev/null; ss -Hltn 'sport >= 2382 and sport <= 2384'"
    assert LAB.on("cp1", left, check=False).strip() == ""
    record("two")
    assert "/registry/events/default/two" in keys(MAIN, "/registry/events/")
    done = runner.play("site", *NEVER, inventory=cluster)
    assert (done.rc, done.changed()) == (0, {}), done.output[-4000:]


def test_on_again_it_begins_empty(cluster: Path) -> None:
    done = runner.play("site", inventory=cluster)
    assert done.rc == 0, done.output[-4000:]
    record("three")
    assert "/registry/events/default/three" in keys(EVENTS, "/registry/events/")
    # What Kubernetes' own etcd had of events stays there until it expires; nobody reads it.
    assert "/registry/events/default/two" in keys(MAIN, "/registry/events/")
    assert "two" not in kubectl("-n default get events -o name")


def test_lost_for_good_with_an_apiserver_that_wants_it_there_is_a_way_out(cluster: Path) -> None:
    """An apiserver does not start without a connection to each etcd that it is told of."""
    LAB.on("cp1", "systemctl stop etcd-events && rm -rf /var/lib/etcd-events/member")
    LAB.on("cp1", f"crictl stop {apiserver()}")
    assert not own_lab.becomes(lambda: "worker1" in kubectl("get nodes", check=False), 45)
    done = runner.play("site", *NEVER, inventory=cluster)
    assert done.rc == 0, done.output[-4000:]
    assert "worker1" in kubectl("get nodes")
    record("four")
    assert "/registry/events/default/four" in keys(MAIN, "/registry/events/")


def test_a_reset_takes_both_away(cluster: Path) -> None:
    assert runner.play("site", inventory=cluster).rc == 0
    done = runner.play("reset", "-e", f"reset_confirm={LAB.name}", inventory=cluster)
    assert done.rc == 0, done.output[-4000:]
    assert (
        LAB.on(
            "cp1",
            "ls -d /etc/etcd /etc/systemd/system/etcd-events.service 2>/dev/null; ls -A /var/lib/etcd-events 2>/dev/null",
            check=False,
        )
        == ""
    )
