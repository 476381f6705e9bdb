"""NetworkPolicies from a description: foreseen, applied, proven with packets, and named when somebody opens a hole."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import runner

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.network]

KUBECTL = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf")
DESCRIPTION = {
    "policy-shop": {
        "flows": [
            {"from": {"namespace": "policy-web", "pods": {"app": "caller"}}, "to": {"pods": {"app": "front"}}, "ports": [8080]},
            {"from": {"pods": {"app": "front"}}, "to": {"pods": {"app": "back"}}, "ports": [8080]},
            {"from": {"pods": {"app": "back"}}, "to": {"api": True}},
        ]
    },
}  # fmt: skip
# No flow selects the idle one: nothing but the default denies what comes to it.
PODS = {"policy-shop": ("front", "back", "idle"), "policy-web": ("caller", "stranger")}
WANTED = ("-e", json.dumps({"cluster_network_policies": DESCRIPTION}))


def kubectl(*words: str, text: str | None = None) -> str:
    argv = ["podman", "exec", *(["-i"] if text is not None else []), "bmk-cp1", *KUBECTL, *words]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout


def deployment(namespace: str, name: str, image: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "echo", "image": image, "ports": [{"containerPort": 8080}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


@pytest.fixture(scope="module")
def workloads() -> Iterator[None]:
    """Two namespaces with two workloads each; the stranger speaks with the back all the while."""
    assert runner.play("site").rc == 0
    image = kubectl("-n", "bare-metal-system", "get", "daemonset", "probe", "-o", "jsonpath={..containers[0].image}")
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in PODS]
    made = [*spaces, *(deployment(space, name, image) for space, names in PODS.items() for name in names)]
    kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
    for space, names in PODS.items():
        for name in names:
            kubectl("-n", space, "rollout", "status", f"deployment/{name}", "--timeout=120s")
    yield
    kubectl("delete", "namespace", *PODS, "--wait=true", "--timeout=120s")


def test_policies_are_foreseen_applied_and_proven(workloads: None, tmp_path: Path) -> None:
    back = kubectl("-n", "policy-shop", "get", "pod", "-l", "app=back", "-o", "jsonpath={.items[0].status.podIP}")
    for name in ("stranger", "caller"):
        kubectl("-n", "policy-web", "exec", f"deployment/{name}", "--", "/echo-server", "probe", f"http://{back}:8080/")
    report = tmp_path / "policies.json"
    path = ("-e", f"network_policies_report_path={report}")

    preview = runner.play("network_policies_preview", *WANTED, *path, "-e", "network_policies_observe_seconds=3")
    assert preview.rc == 0, preview.output
    assert preview.changed() == {}
    cut = [entry["connection"] for entry in json.loads(report.read_text())["would_be_cut"]]
    assert any(line.startswith("policy-web/stranger") and " -> policy-shop/back" in line for line in cut)

    assert runner.play("network_policies", *WANTED, "--check", "--diff").changed()
    applied = runner.play("network_policies", *WANTED, *path)
    assert applied.rc == 0, applied.output
    told = json.loads(report.read_text())
    assert {entry["outcome"] for entry in told["tried"] if not entry["must_pass"]} == {"dropped"}
    assert sum(entry["must_pass"] for entry in told["tried"]) >= 4
    assert told["untested"] == []
    again = runner.play("network_policies", *WANTED)
    assert again.rc == 0, again.output
    assert again.changed() == {}

    # Somebody opens a hole: more passes than is described, and it is named.
    kubectl("-n", "policy-shop", "delete", "networkpolicy", "default-deny")
    time.sleep(2)
    broken = runner.play("network_policies_verify", *WANTED)
    assert broken.rc != 0
    assert "policy-shop/default-deny is not in the cluster" in broken.output
    assert "must not pass and is" in broken.output

    assert runner.play("network_policies", *WANTED).rc == 0
    gone = runner.play("network_policies")
    assert gone.rc == 0, gone.output
    left = kubectl("get", "networkpolicy", "-A", "-l", "bare-metal.kubernetes/owner=network-policies", "-o", "name")
    assert left == ""
