"""One run at a time, and nothing secret where it can be read."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from . import runner

#: a secret shorter than this could stand in an output by chance
SHORTEST = 24


def _file(host: str, path: str) -> str:
    """Content of a file on a node, whole."""
    encoded = runner.on(host, "base64", "-w0", path).rsplit("(stdout)", 1)[1].strip()
    return base64.b64decode(encoded).decode()


def _secrets() -> set[str]:
    """What must never be seen: lines of private keys, the encryption key."""
    found = set()
    for path in ("ca.key", "sa.key", "front-proxy-ca.key", "etcd/ca.key", "apiserver-etcd-client.key"):
        body = _file("cp1", f"/etc/kubernetes/pki/{path}").splitlines()
        found |= {line for line in body if not line.startswith("-----")}
    configuration = json.loads(_file("cp1", "/etc/kubernetes/pki/encryption.json"))
    for provider in configuration["resources"][0]["providers"]:
        found |= {key["secret"] for key in provider.get("secretbox", {}).get("keys", [])}
    return {secret for secret in found if len(secret) >= SHORTEST}


def test_a_second_run_at_once_is_stopped_and_names_the_first() -> None:
    second: list[runner.Run] = []

    def start_second(begun: int) -> None:
        if begun >= 12 and not second:
            second.append(runner.play("site"))

    first = runner.play("site", watch=start_second)
    assert first.rc == 0, first.output
    assert second, "the second run was never started"
    assert second[0].rc != 0
    assert "@" in second[0].output
    assert "cluster_lease_break" in second[0].output
    assert second[0].changed() == {}


NODES = ["cp1", "cp2", "cp3", "worker1", "worker2"]
CONTROL_PLANES = NODES[:3]
STABLE = {"cluster_release_set": "stable", "cluster_bundle_source": "upstream"}


@pytest.mark.parametrize(
    ("wanted", "errors"),
    [
        # back, by a patch and by a minor version
        ({"cluster_kubernetes_version": "v1.36.1"}, {("upgrade_step", tuple(NODES))}),
        ({"cluster_kubernetes_version": "v1.35.4"}, {("upgrade_step", tuple(NODES))}),
        # forward by a patch version, with an older etcd and an older containerd
        (
            STABLE,
            {
                ("kubernetes_version", tuple(NODES)),
                ("etcd_version", tuple(CONTROL_PLANES)),
                ("containerd_version", tuple(NODES)),
            },
        ),
    ],
)
def test_another_version_is_refused_by_its_step_before_anything_is_touched(
    tmp_path: Path, wanted: dict[str, str], errors: set[tuple[str, tuple[str, ...]]]
) -> None:
    report = tmp_path / "preflight.json"
    run = runner.play("site", "-e", json.dumps({"os_prep_report_path": str(report), **wanted}))
    assert run.rc != 0
    assert run.changed() == {}
    found: dict[str, set[str]] = {}
    for entry in json.loads(report.read_text())["findings"]:
        if entry["level"] == "error":
            found.setdefault(entry["check"], set()).update(entry["hosts"])
    assert {(check, tuple(sorted(hosts))) for check, hosts in found.items()} == errors


def test_one_machine_that_does_not_fit_stops_the_run_for_all(tmp_path: Path) -> None:
    """Another distribution on a worker: it is the one finding, the report says so, and no host is touched."""
    report = tmp_path / "preflight.json"
    runner.on("worker2", "mkdir", "-p", "/etc/rancher/k3s")
    try:
        run = runner.play("site", "-e", f"os_prep_report_path={report}")
    finally:
        runner.on("worker2", "rm", "-r", "/etc/rancher")
    assert run.rc != 0
    assert run.changed() == {}
    errors = [entry for entry in json.loads(report.read_text())["findings"] if entry["level"] == "error"]
    assert [(entry["check"], entry["hosts"]) for entry in errors] == [("other_distribution", ["worker2"])]
    assert runner.play("preflight").rc == 0


@pytest.mark.slow
def test_no_secret_is_printed_or_handed_over_on_a_command_line(tmp_path: Path) -> None:
    """A whole first run with -vvv and diffs; the machine's process list is read all the while (it holds every node's)."""
    assert runner.play("reset", "-e", "reset_confirm=bmk").rc == 0
    words: set[str] = set()

    def read_processes(_begun: int) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words.add(path.read_bytes().decode("utf-8", "replace").replace("\0", " "))
            except OSError:
                continue

    run = runner.play("site", "-vvv", "--diff", watch=read_processes)
    assert run.rc == 0, run.output[-5000:]
    assert any("kubeadm init" in line for line in words), "the process list was not read while kubeadm ran"
    secrets = _secrets()
    assert len(secrets) > 5
    printed = {secret for secret in secrets if secret in run.output}
    assert not printed, f"{len(printed)} secrets were printed"
    handed = {secret for secret in secrets for line in words if secret in line}
    assert not handed, f"{len(handed)} secrets were on command lines"
    # Bootstrap tokens have a shape of their own: six and sixteen characters.
    assert "--token " not in run.output
    assert not [line for line in words if "--token" in line or "--certificate-key" in line]
