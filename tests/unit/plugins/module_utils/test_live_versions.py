"""_live_versions: what programs print in, versions by component out."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _live_versions as core

BIN = core.PROGRAMS
SHOWN = "Id=kubelet.service\nMainPID=812\n\nId=containerd.service\nMainPID=0\n\nId=etcd.service\nMainPID=77\n"
METRICS = """# HELP etcd_server_version Which version is running.
# TYPE etcd_server_version gauge
etcd_server_version{server_version="3.7.3"} 1
etcd_cluster_version{cluster_version="3.6"} 1
"""
MANIFEST = """spec:
  containers:
  - command:
    - kube-apiserver
    image: registry.k8s.io/kube-apiserver:v1.36.3
"""


def container(name: str, image: str, created: int = 1) -> dict[str, Any]:
    inner = {"image": "sha256:0123", "userSpecifiedImage": image}
    return {"metadata": {"name": name}, "image": inner, "createdAt": str(created)}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Kubernetes v1.36.3\n", "v1.36.3"),
        ("Kubernetes v1.36.3-vendor.1\n", "v1.36.3-vendor.1"),
        ("containerd github.com/containerd/containerd/v2 v2.4.2 0a1b2c3\n", "v2.4.2"),
        ("containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+b4\n", "v1.7.24~ds1"),
        ("etcd Version: 3.6.14\nGit SHA: 1234.5.6\nGo Version: go1.26.1\n", "v3.6.14"),
        ("go1.26.1", ""),
        ("10.0.0.1.5", "v10.0.0"),
        ("", ""),
    ],
)
def test_versions_in_what_programs_print(text: str, version: str) -> None:
    assert core.version_in(text) == version


def test_only_units_that_run_have_a_process() -> None:
    assert core.parse_main_pids(SHOWN) == {"kubelet": 812, "etcd": 77}
    assert core.parse_main_pids("") == {}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (METRICS, "v3.7.3"),
        (METRICS.replace("} 1", "} 0"), ""),
        ('etcd_cluster_version{cluster_version="3.6.0"} 1\n', ""),
        ("", ""),
    ],
)
def test_the_servers_version_is_not_the_clusters(text: str, version: str) -> None:
    assert core.parse_metrics(text) == version


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("registry.k8s.io/kube-proxy:v1.36.3", "v1.36.3"),
        ("10.0.0.5:5000/kube-proxy:v1.36.3@sha256:00", "v1.36.3"),
        ("10.0.0.5:5000/kube-proxy", ""),
        ("kube-proxy:latest", ""),
        ("sha256:0123", ""),
    ],
)
def test_tags(image: str, version: str) -> None:
    assert core.tag_of(image) == version


def test_running_containers_the_younger_of_two_and_only_known_names() -> None:
    listed = [
        container("kube-apiserver", "r/kube-apiserver:v1.36.3", 20),
        container("kube-apiserver", "r/kube-apiserver:v1.35.4", 10),
        container("kube-proxy", "r/kube-proxy:v1.36.1"),
        container("coredns", "r/coredns:v1.14.2"),
        container("kube-scheduler", "r/kube-scheduler@sha256:00"),
    ]
    expected = {"kube-apiserver": "v1.36.3", "kube-proxy": "v1.36.1"}
    assert core.parse_containers(json.dumps({"containers": listed})) == expected


@pytest.mark.parametrize("text", ["", "level=fatal", "[]", '{"containers": null}', '{"containers": [{}]}'])
def test_a_runtime_that_does_not_answer_shows_nothing(text: str) -> None:
    assert core.parse_containers(text) == {}


@pytest.mark.parametrize("image", ["registry/x:v1.36.3", '"registry/x:v1.36.3"', "'r:5/x:v1.36.3@sha256:0'"])
def test_a_manifests_image(image: str) -> None:
    assert core.parse_manifest(f"    image: {image}\n    imagePullPolicy: Always\n") == "v1.36.3"
    assert core.parse_manifest("kind: Pod\n") == ""


class Machine:
    """Programs as a node has them; every call is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path, prints: dict[str, str], metrics: str) -> None:
        self.calls: list[str] = []
        self.root, self.prints = root, prints
        monkeypatch.setattr(core, "_output", self.output)
        monkeypatch.setattr(core, "_metrics", lambda: metrics)

    def output(self, argv: Sequence[str]) -> str:
        self.calls.append(argv[0])
        return self.prints.get(argv[0], "")

    def observe(self) -> dict[str, str]:
        return core.observe(str(self.root))

    def write(self, path: str, text: str = "") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)


def test_a_machine_in_no_cluster_is_asked_nothing_but_for_its_services(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(
        monkeypatch, tmp_path, {f"{BIN}/kubelet": "Kubernetes v1.30.0", f"{BIN}/etcd": "etcd Version: 3.5.16"}, ""
    )
    assert machine.observe() == {}
    assert machine.calls == ["systemctl"]


def test_what_runs_is_told_not_what_lies_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed = json.dumps({"containers": [container("kube-proxy", "r/kube-proxy:v1.35.4")]})
    prints = {
        "systemctl": SHOWN,
        "/proc/812/exe": "Kubernetes v1.35.4",
        f"{BIN}/kubelet": "Kubernetes v1.36.3",
        f"{BIN}/containerd": "containerd x v2.4.2",
        f"{BIN}/etcd": "etcd Version: 3.9.9",
        f"{BIN}/crictl": listed,
    }
    machine = Machine(monkeypatch, tmp_path, prints, METRICS)
    machine.write(core.MEMBER_PATH)
    machine.write(f"{core.MANIFESTS}/kube-apiserver.yaml", MANIFEST)
    assert machine.observe() == {
        "etcd": "v3.7.3",
        "kubelet": "v1.35.4",
        "containerd": "v2.4.2",
        "kube-apiserver": "v1.36.3",
        "kube-proxy": "v1.35.4",
    }
    # etcd's process is another user's: its file is not started as root through it.
    assert "/proc/77/exe" not in machine.calls


def test_an_etcd_that_does_not_answer_is_judged_by_its_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, tmp_path, {"systemctl": SHOWN, f"{BIN}/etcd": "etcd Version: 3.6.14"}, "")
    assert machine.observe() == {"etcd": "v3.6.14"}


def test_kubeadms_own_etcd_is_seen_by_its_manifest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, tmp_path, {}, METRICS)
    machine.write(f"{core.MANIFESTS}/etcd.yaml")
    assert machine.observe() == {"etcd": "v3.7.3"}


def test_metrics_over_http_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(METRICS.encode())

        def log_message(self, *arguments: Any) -> None:
            """No lines on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(core, "METRICS", server.server_address)
    assert core.parse_metrics(core._metrics()) == "v3.7.3"
    server.shutdown()
    server.server_close()
    assert core._metrics() == ""


def test_a_programs_own_file_still_answers_when_its_name_is_gone(tmp_path: Path) -> None:
    """What /proc/<pid>/exe is for: the file was replaced under the process."""
    assert core._output([f"/proc/{os.getpid()}/exe", "--version"]).startswith("Python 3")
    assert core._output([str(tmp_path / "none")]) == ""
