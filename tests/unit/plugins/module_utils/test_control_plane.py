"""What can be seen of a node: files that are whole, cut off or foreign, certificates' names, processes, an apiserver that answers."""

from __future__ import annotations

import base64
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _control_plane as look
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubeadm as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import READY_PATH, Credentials, KubeApi

sys.path.insert(0, str(Path(__file__).parent))
from kube_server import Authority, Server

RECORDED = Path(__file__).parent / "recorded"


def kubeconfig(authority: Authority, name: str) -> str:
    certificate, key = authority.leaf(name)
    one, two, three = (base64.b64encode(part).decode() for part in (authority.pem, certificate, key))
    return (
        f"apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {one}\n    server: https://127.0.0.1:7443\n  name: lab\n"
        f"contexts:\n- context:\n    cluster: lab\n    user: {name}\n  name: {name}@lab\ncurrent-context: {name}@lab\nkind: Config\nusers:\n"
        f"- name: {name}\n  user:\n    client-certificate-data: {two}\n    client-key-data: {three}\n"
    )


@dataclasses.dataclass
class Node:
    """A whole control plane below a directory."""

    paths: look.Paths
    authority: Authority

    def write(self, path: str, content: str | bytes) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_bytes(content.encode() if isinstance(content, str) else content)

    def build(self) -> None:
        for component in core.COMPONENTS:
            self.write(
                self.paths.manifest(component),
                (RECORDED / "kube-apiserver.yaml").read_text().replace("kube-apiserver", component),
            )
        for name in core.LEAVES:
            certificate, key = self.authority.leaf(name, names=["kubernetes", "CP1"], ips=["10.77.1.11", "fd00:0:0::1"])
            self.write(self.paths.leaf(name, "crt"), certificate)
            self.write(self.paths.leaf(name, "key"), key)
        self.write(self.paths.ca, self.authority.pem)
        for name in core.INIT_KUBECONFIGS[:3]:
            self.write(self.paths.kubeconfig(name), kubeconfig(self.authority, name))
        self.write(
            self.paths.kubeconfig("kubelet"),
            f"server: https://x:1\ncurrent-context: a\n    client-certificate: {look.KUBELET_CLIENT}\n    client-key: {look.KUBELET_CLIENT}\n",
        )
        self.write(self.paths.at(look.KUBELET_CLIENT), b"".join(self.authority.leaf("kubelet")))
        for path in self.paths.kubelet_settings:
            self.write(path, "x")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(look.Paths(str(tmp_path)), Authority())
    made.build()
    return made


def observe(node: Node) -> core.NodeState:
    return look.observe_files(node.paths, control_plane=True)


def test_a_whole_control_plane(node: Node) -> None:
    found = observe(node)
    assert found == core.NodeState(
        manifests=frozenset(core.COMPONENTS),
        kubeconfigs=frozenset(core.INIT_KUBECONFIGS),
        leaves=frozenset(core.LEAVES),
        traces=True,
        kubelet_settings=True,
        kubelet_rotates=True,
    )
    assert look.foreign_kubeconfigs(node.paths) == []


def test_nothing_at_all(tmp_path: Path) -> None:
    assert look.observe_files(look.Paths(str(tmp_path)), control_plane=True) == core.NodeState()


def test_authorities_alone_are_no_trace(tmp_path: Path) -> None:
    made = Node(look.Paths(str(tmp_path)), Authority())
    made.write(made.paths.ca, made.authority.pem)
    assert not observe(made).traces


CUT: list[tuple[str, str, Any]] = [
    ("a manifest", "manifest:kube-scheduler", lambda text: text[: len(text) // 2]),
    ("an empty manifest", "manifest:kube-apiserver", lambda _text: b""),
    ("a kubeconfig", "kubeconfig:admin", lambda text: text[:-40]),
    ("an empty kubeconfig", "kubeconfig:scheduler", lambda _text: b""),
    ("a certificate", "leaf:apiserver:crt", lambda text: text[:300]),
    ("a key", "leaf:front-proxy-client:key", lambda _text: b""),
]


@pytest.mark.parametrize(("_name", "what", "cut"), CUT, ids=[row[0] for row in CUT])
def test_files_that_were_cut_off(node: Node, _name: str, what: str, cut: Any) -> None:
    kind, name, *ending = what.split(":")
    path = getattr(node.paths, kind)(name, *ending)
    Path(path).write_bytes(cut(Path(path).read_bytes()))
    found = observe(node)
    assert path in found.cut_off
    gone = {"manifest": found.manifests, "kubeconfig": found.kubeconfigs, "leaf": found.leaves}[kind]
    assert name not in gone and len(gone) == {"manifest": 2, "kubeconfig": 3, "leaf": 2}[kind]


def test_certificate_and_key_of_different_pairs(node: Node) -> None:
    node.write(node.paths.leaf("apiserver", "key"), node.authority.leaf("other")[1])
    found = observe(node)
    assert "apiserver" not in found.leaves
    assert set(found.cut_off) == {node.paths.leaf("apiserver", "crt"), node.paths.leaf("apiserver", "key")}


def test_a_key_without_its_certificate(node: Node) -> None:
    os.unlink(node.paths.leaf("apiserver", "crt"))
    assert observe(node).cut_off == (node.paths.leaf("apiserver", "key"),)


def test_a_kubelet_that_lost_its_certificate(node: Node) -> None:
    os.unlink(node.paths.at(look.KUBELET_CLIENT))
    found = observe(node)
    assert "kubelet" not in found.kubeconfigs and found.cut_off == (node.paths.kubeconfig("kubelet"),)


def test_a_worker_waiting_to_bootstrap(tmp_path: Path) -> None:
    made = Node(look.Paths(str(tmp_path)), Authority())
    made.write(made.paths.kubeconfig("bootstrap-kubelet"), "x")
    assert look.observe_files(made.paths, control_plane=False) == core.NodeState(traces=True, kubelet_token=True)


def test_kubeconfigs_of_another_cluster(node: Node) -> None:
    node.write(node.paths.kubeconfig("admin"), kubeconfig(Authority(), "admin"))
    assert look.foreign_kubeconfigs(node.paths) == [node.paths.kubeconfig("admin")]


def test_names_of_a_certificate(node: Node) -> None:
    pair = [node.paths.leaf("apiserver", ending) for ending in ("crt", "key")]
    assert look.certificate_names(*pair, node.paths.ca) == {"kubernetes", "cp1", "10.77.1.11", "fd00::1"}
    node.write(node.paths.ca, Authority().pem)
    with pytest.raises(core.KubeadmError, match="cannot be used with the CA"):
        look.certificate_names(*pair, node.paths.ca)


def test_own_server_and_name() -> None:
    text = (RECORDED / "kube-apiserver.yaml").read_text()
    assert look.own_server(text) == "https://10.77.1.11:6443"
    assert look.own_server(text.replace("address=10.77.1.11", "address=fd00::1")) == "https://[fd00::1]:6443"
    assert look.own_server("") == ""
    assert look.own_name('KUBELET_KUBEADM_ARGS="--hostname-override=cp1 --x=y"\n', "Host") == "cp1"
    assert look.own_name('KUBELET_KUBEADM_ARGS=""\n', "Host") == "host"


def test_probe_of_an_empty_host(tmp_path: Path) -> None:
    assert look.probe(look.Paths(str(tmp_path)), "CP9") == look.Probe("cp9")


MANIFEST = "spec:\n  containers:\n  - command:\n    - kube-x\n    - --a=1\n    env:\n    - name: SUM\n      value: abc\n    image: i\nstatus: {}\n"


@pytest.mark.parametrize(
    ("process", "since", "runs"),
    [
        (look.Process(("kube-x", "--a=1"), {"SUM": "abc", "PATH": "/"}, 100.0), 0.0, True),
        (look.Process(("kube-x", "--a=1"), {"SUM": "abc"}, 100.0), 100.9, True),
        (look.Process(("kube-x", "--a=1"), {"SUM": "abc"}, 100.0), 102.0, False),
        (look.Process(("kube-x", "--a=2"), {"SUM": "abc"}, 100.0), 0.0, False),
        (look.Process(("kube-x", "--a=1"), {"SUM": "old"}, 100.0), 0.0, False),
        (look.Process(("kube-x", "--a=1"), {}, 100.0), 0.0, False),
    ],
)
def test_a_process_runs_its_manifest(process: look.Process, since: float, runs: bool) -> None:
    assert look.runs_manifest([process], MANIFEST, since) is runs


def test_processes_are_found_by_their_first_word() -> None:
    before = time.time()
    with subprocess.Popen(["kube-x", "30"], executable="/bin/sleep", env={"SUM": "abc"}) as child:
        try:
            until = time.monotonic() + 10
            while not look.processes("kube-x") and time.monotonic() < until:
                time.sleep(0.05)
            [found] = look.processes("kube-x")
        finally:
            child.kill()
    assert found.argv == ("kube-x", "30") and found.environment["SUM"] == "abc"
    assert abs(found.started - before) < 5


@pytest.fixture
def answers() -> dict[str, tuple[int, Any]]:
    return {}


@pytest.fixture
def api(tmp_path: Path, answers: dict[str, tuple[int, Any]]) -> Iterator[tuple[KubeApi, Server]]:
    resources = {
        "/api/v1": [("ConfigMap", "configmaps", True), ("Node", "nodes", False), ("Service", "services", True)],
        "/apis/apps/v1": [("Deployment", "deployments", True), ("DaemonSet", "daemonsets", True)],
        "/apis/rbac.authorization.k8s.io/v1": [
            ("Role", "roles", True),
            ("RoleBinding", "rolebindings", True),
            ("ClusterRole", "clusterroles", False),
            ("ClusterRoleBinding", "clusterrolebindings", False),
        ],
    }

    def handler(_method: str, path: str, _body: Any) -> tuple[int, Any]:
        if path in resources:
            return 200, {
                "resources": [
                    {"kind": kind, "name": name, "namespaced": scoped} for kind, name, scoped in resources[path]
                ]
            }
        return answers.get(path, (404, {"reason": "NotFound"}))

    server = Server(tmp_path, handler)
    client = KubeApi(Credentials(server.url, server.authority.pem), deadline=0.0)
    yield client, server
    client.close()
    server.close()


def test_readiness_is_asked_without_credentials(
    api: tuple[KubeApi, Server], answers: dict[str, Any], tmp_path: Path
) -> None:
    server = api[1]
    ca = str(tmp_path / "ca.pem")
    answers[READY_PATH] = (200, "ok")
    assert look.anonymous_ready(server.url, ca) == ""
    answers[READY_PATH] = (500, "[-]etcd failed:\n reason withheld")
    assert look.anonymous_ready(server.url, ca) == "status 500: [-]etcd failed: reason withheld"
    assert look.anonymous_ready("https://127.0.0.1:1", ca).startswith("no answer: ")
    (tmp_path / "other.pem").write_bytes(Authority().pem)
    assert "certificate verify failed" in look.anonymous_ready(server.url, str(tmp_path / "other.pem"))


def test_patience_only_with_what_can_come(api: tuple[KubeApi, Server], answers: dict[str, Any], tmp_path: Path) -> None:
    server, ca = api[1], str(tmp_path / "ca.pem")
    answers[READY_PATH] = (500, "starting")
    started = time.monotonic()
    assert look.patient_ready(core.NodeState(), server.url, ca, patience=30)
    assert time.monotonic() - started < 5
    running = core.NodeState(kubelet_active=True, manifests=frozenset(core.COMPONENTS))
    asked: list[int] = []

    def ready_at_second_time(_method: str, _path: str, _body: Any) -> tuple[int, Any]:
        asked.append(1)
        return (200, "ok") if len(asked) > 1 else (500, "starting")

    server.handler = ready_at_second_time
    assert look.patient_ready(running, server.url, ca, patience=30) == ""


def test_objects_that_are_missing(api: tuple[KubeApi, Server], answers: dict[str, Any]) -> None:
    expected = core.expected_objects([{"kind": "ClusterConfiguration"}])
    assert look.missing_objects(api[0], expected) == {
        phase: [str(one) for one in objects] for phase, objects in expected.items()
    }
    answers["/api/v1/namespaces/kube-system/configmaps/coredns"] = (200, {"data": {"Corefile": "."}})
    answers["/apis/apps/v1/namespaces/kube-system/deployments/coredns"] = (200, {})
    answers["/api/v1/namespaces/kube-system/services/kube-dns"] = (200, {})
    answers["/api/v1/namespaces/kube-system/configmaps/kube-proxy"] = (200, {"data": {"config.conf": ""}})
    found = look.missing_objects(api[0], {"addon/kube-proxy": expected["addon/kube-proxy"]})
    assert found == {"addon/kube-proxy": ["ConfigMap kube-system/kube-proxy", "DaemonSet kube-system/kube-proxy"]}


def test_an_api_that_does_not_let_us_ask(api: tuple[KubeApi, Server], answers: dict[str, Any]) -> None:
    answers["/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubeadm:cluster-admins"] = (
        403,
        {"reason": "Forbidden"},
    )
    assert look.missing_objects(api[0], core.OBJECTS) is None


@pytest.mark.parametrize(
    ("answer", "registered", "marked"),
    [
        ((404, {}), False, False),
        ((200, {"metadata": {"labels": {}}}), True, False),
        ((200, {"metadata": {"labels": {core.CONTROL_PLANE_LABEL: ""}}}), True, True),
        ((401, {}), None, None),
    ],
)
def test_what_the_api_knows_of_a_node(
    api: tuple[KubeApi, Server], answers: dict[str, Any], answer: Any, registered: Any, marked: Any
) -> None:
    answers["/api/v1/nodes/cp1"] = answer
    found = look.with_node(core.NodeState(), api[0], "cp1")
    assert (found.registered, found.marked) == (registered, marked)
