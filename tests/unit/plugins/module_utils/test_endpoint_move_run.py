"""_endpoint_move_run on a tree of files, with stand-ins for systemd, the API and the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _control_plane as look
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _endpoint_move as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _endpoint_move_run as shell
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._endpoint_move import Endpoint
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApiError

OLD, NEW = Endpoint("local", "127.0.0.1", 7443), Endpoint("keepalived", "10.1.1.100", 8443)
MARK = "# Written by bare_metal.kubernetes\n"


def kubeconfig(url: str) -> str:
    return f"clusters:\n- cluster:\n    server: {url}\n  name: x\ncurrent-context: x\n"


class Node:
    """A worker's files, and what was done to it."""

    def __init__(self, root: Path) -> None:
        self.root, self.done = root, list[str]()
        self.write("/etc/kubernetes/kubelet.conf", kubeconfig(OLD.url), 0o600)
        self.answers: Callable[[str], str] = lambda _server: ""

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def server(self, name: str = "kubelet") -> str:
        return shell.observe(look.Paths(str(self.root))).clients[name]

    def request(self, wanted: Endpoint = NEW, **more: Any) -> shell.Request:
        return shell.Request(wanted, "w1", seconds=0.0, paths=look.Paths(str(self.root)), **more)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    made = Node(tmp_path)
    monkeypatch.setattr(shell, "_asked", lambda _request, server, **_more: made.answers(server))
    monkeypatch.setattr(shell._systemd, "systemctl", lambda *words: made.done.append(" ".join(words)))
    monkeypatch.setattr(shell, "_lease_problem", lambda _request, _since: [])
    return made


def due(node: Node) -> list[str]:
    place = node.root / shell.DUE_DIRECTORY
    return sorted(os.listdir(place)) if place.is_dir() else []


def test_a_node_moves_once(node: Node) -> None:
    outcome = shell.move(node.request())
    assert outcome.steps == ("/etc/kubernetes/kubelet.conf: 127.0.0.1:7443 -> 10.1.1.100:8443", "restart kubelet")
    assert [(one["before"], one["after"]) for one in outcome.diff] == [(f"server: {OLD.url}\n", f"server: {NEW.url}\n")]
    assert node.server() == NEW.url
    assert node.done == ["restart kubelet.service"]
    assert due(node) == []
    assert (node.root / "etc/kubernetes/kubelet.conf").stat().st_mode & 0o777 == 0o600
    assert shell.move(node.request()) == shell.Outcome()
    assert len(node.done) == 1


def test_check_mode_says_the_same_and_does_nothing(node: Node) -> None:
    before = node.server()
    assert shell.move(node.request(check=True)).steps == (
        "/etc/kubernetes/kubelet.conf: 127.0.0.1:7443 -> 10.1.1.100:8443",
        "restart kubelet",
    )
    assert (node.server(), node.done, due(node)) == (before, [], [])


def test_an_endpoint_that_does_not_answer_moves_nobody(node: Node) -> None:
    node.answers = lambda _server: "no answer: timed out"
    with pytest.raises(
        core.EndpointMoveError, match=r"10\.1\.1\.100:8443 does not answer this node.*No program was moved"
    ):
        shell.move(node.request())
    assert (node.server(), node.done) == (OLD.url, [])
    assert "does not answer" in shell.prove(node.request(check=True)).problems[0]


def test_a_control_planes_own_api_server_has_to_know_the_name(node: Node) -> None:
    node.answers = lambda server: "certificate verify failed" if "10.1.1.11" in server else ""
    own = "https://10.1.1.11:6443"
    assert shell.unproven(node.request(), own) == [
        "this machine's own API server does not answer for 10.1.1.100: certificate verify failed"
    ]
    assert shell.unproven(node.request(), "") == []


def test_a_kubelet_that_does_not_come_back_gets_its_file_back(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        shell, "_lease_problem", lambda _request, _since: [] if node.server() == OLD.url else ["no lease"]
    )
    with pytest.raises(core.EndpointMoveError, match=r"no lease.*was put back, and it is well again"):
        shell.move(node.request())
    assert node.server() == OLD.url
    assert node.done == ["restart kubelet.service"] * 2
    assert due(node) == []


@pytest.mark.parametrize("at", ["write", "restart", "proof"])
def test_killed_anywhere_the_next_run_ends_it(node: Node, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    class Killed(BaseException):
        pass

    def die(*_words: Any, **_more: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if at == "write":
            patched.setattr(shell, "_write_text", die)
        elif at == "restart":
            patched.setattr(shell._systemd, "systemctl", die)
        else:
            patched.setattr(shell, "_lease_problem", die)
        with pytest.raises(Killed):
            shell.move(node.request())
    assert due(node) == ["kubelet"]
    assert "restart kubelet" in shell.move(node.request(check=True)).steps
    shell.move(node.request())
    assert (node.server(), due(node)) == (NEW.url, [])
    assert node.done[-1] == "restart kubelet.service"
    assert shell.move(node.request()) == shell.Outcome()


def test_the_way_back_is_a_move(node: Node) -> None:
    shell.move(node.request())
    assert shell.move(node.request(OLD)).steps[0].endswith("10.1.1.100:8443 -> 127.0.0.1:7443")
    assert node.server() == OLD.url


def test_a_scheduler_that_asks_at_the_endpoint_is_restarted(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.write("/etc/kubernetes/scheduler.conf", kubeconfig(OLD.url), 0o600)
    ended: list[int] = []
    monkeypatch.setattr(shell, "pids_of", lambda name: [17] if name == "kube-scheduler" else [])
    monkeypatch.setattr(shell.os, "kill", lambda pid, _signal: ended.append(pid))
    monkeypatch.setattr(shell, "_component_problem", lambda *_arguments: [])
    assert "restart kube-scheduler" in shell.move(node.request()).steps
    assert ended == [17]
    assert node.server("kube-scheduler") == NEW.url


def test_facts_name_servers_and_nothing_secret(node: Node) -> None:
    node.write("/etc/kubernetes/kubelet.conf", kubeconfig(OLD.url) + "users:\n- user:\n    token: very-secret\n")
    found = shell.facts(look.Paths(str(node.root)), True)
    assert found["clients"] == {"kubelet": OLD.url}
    assert found["nodes"] is None
    assert "very-secret" not in str(found)


# --- what joining nodes are told


class Api:
    def __init__(self, objects: dict[str, Any]) -> None:
        self.objects, self.patched = objects, list[Any]()

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_exc: object) -> None:
        return None

    def get(self, _version: str, kind: str, _name: str, _namespace: str = "") -> Any:
        return self.objects.get(kind)

    def patch(self, target: Any, patch: Any) -> None:
        self.patched.append((target["metadata"]["name"], patch))


def daemon_set(updated: int) -> dict[str, Any]:
    status = {
        "observedGeneration": 2,
        "desiredNumberScheduled": 3,
        "updatedNumberScheduled": updated,
        "numberAvailable": 3,
        "numberReady": 3,
    }
    return {"metadata": {"generation": 2}, "status": status}


@pytest.mark.parametrize(
    ("server", "check", "changed", "patched"),
    [(OLD.url, False, True, True), (OLD.url, True, True, False), (NEW.url, False, False, False)],
)
def test_joining_nodes_are_told(
    node: Node, monkeypatch: pytest.MonkeyPatch, server: str, check: bool, changed: bool, patched: bool
) -> None:
    api = Api({"ConfigMap": {"data": {"kubeconfig": kubeconfig(server)}}, "DaemonSet": daemon_set(3)})
    monkeypatch.setattr(shell, "_api", lambda *_words, **_more: api)
    outcome = shell.store(node.request(check=check))
    assert outcome.steps == (("ConfigMap kube-public/cluster-info",) if changed else ())
    assert api.patched == ([("cluster-info", {"data": {"kubeconfig": kubeconfig(NEW.url)}})] if patched else [])


def test_kube_proxy_is_waited_for(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = {"ConfigMap": {"data": {"kubeconfig": kubeconfig(NEW.url)}}, "DaemonSet": daemon_set(2)}
    monkeypatch.setattr(shell, "_api", lambda *_words, **_more: Api(objects))
    with pytest.raises(core.EndpointMoveError, match=r"DaemonSet kube-proxy: .*Both endpoints stand"):
        shell.store(node.request())
    # Without kube-proxy (Cilium) there is nobody to wait for.
    objects["DaemonSet"] = None  # type: ignore[assignment]
    assert shell.store(node.request()) == shell.Outcome()


# --- may the old endpoint go?


def test_nothing_goes_while_somebody_asks_there(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell.core, "connections", lambda *_words: [])
    with pytest.raises(core.EndpointMoveError, match=r"kubelet.conf asks 127\.0\.0\.1:7443.*nothing was taken away"):
        shell.settle(node.request(others=(OLD,)))
    with pytest.raises(core.EndpointMoveError, match="asks"):
        shell.settle(node.request(others=(OLD,), cut=True))
    shell.move(node.request())
    assert shell.settle(node.request(others=(OLD,))) == shell.Outcome()


def test_a_connection_that_is_left_is_named_or_cut_on_demand(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.move(node.request())
    monkeypatch.setattr(
        shell.core, "connections", lambda _text, targets: ["5"] if ("127.0.0.1", 7443) in targets else []
    )
    monkeypatch.setattr(shell, "owners", lambda _inodes: ["agent"])
    with pytest.raises(core.EndpointMoveError, match=r"still connected to 127\.0\.0\.1:7443: agent"):
        shell.settle(node.request(others=(OLD,)))
    assert shell.settle(node.request(others=(OLD,), cut=True)).problems == ("still connected to 127.0.0.1:7443: agent",)
    # The same address and port in another way is no other endpoint.
    assert shell.settle(node.request(OLD, others=(OLD,), check=True)) == shell.Outcome()


def test_the_owner_of_a_connection_is_found() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            inodes = core.connections(Path("/proc/net/tcp").read_text(), {("127.0.0.1", port)})
            assert len(inodes) == 1
            own = Path("/proc/self/comm").read_text().strip()
            assert shell.owners(set(inodes)) == [own]
        assert core.connections(Path("/proc/net/tcp").read_text(), {("127.0.0.1", port)}) == []


# --- the end of the old one


def test_units_stop_before_their_files_go_and_the_mark_is_last() -> None:
    steps = [str((step.verb, step.subject)) for step in shell.plan_removal(core.PARTS, {"/etc/haproxy/haproxy.cfg"})]
    assert steps.index("('stop', 'keepalived.service')") < steps.index("('stop', 'haproxy.service')")
    assert "('restore', '/etc/haproxy/haproxy.cfg')" in steps
    assert "('remove', '/etc/keepalived/keepalived.conf')" in steps
    health, announcer = (f"('stop', 'bare-metal-api-{name}.service')" for name in ("health", "announcer"))
    assert steps.index(health) < steps.index(announcer)
    assert steps[-3:] == [
        "('reload', 'systemd')",
        "('remove', '/etc/bare-metal-kubernetes/api-announcer/bird.conf')",
        "('remove', '/etc/bare-metal-kubernetes/api-announcer')",
    ]


@pytest.mark.parametrize("check", [True, False])
def test_only_what_the_wanted_mode_has_not_is_taken_away(
    node: Node, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    node.write("/etc/haproxy/haproxy.cfg", f"{MARK}  bind 127.0.0.1:7443\n")
    node.write("/etc/keepalived/keepalived.conf", MARK)
    acted: list[str] = []
    monkeypatch.setattr(shell._node_reset, "act", lambda step, _state: acted.append(f"{step.verb} {step.subject}"))
    monkeypatch.setattr(shell._originals, "kept", lambda _state: ["/etc/keepalived/keepalived.conf"])
    monkeypatch.setattr(shell._systemd, "show", lambda _name: type("Unit", (), {"load": "loaded"}))
    expected = ("stop keepalived.service", "restore /etc/keepalived/keepalived.conf")
    outcome = shell.remove(node.request(OLD, control_plane=True, check=check))
    assert outcome.steps == expected
    assert acted == ([] if check else list(expected))
    # A worker of keepalived's has nothing.
    assert "stop haproxy.service" in shell.remove(node.request(NEW, check=True)).steps
    assert shell.remove(node.request(NEW, control_plane=True, check=True)).steps == ()


def test_an_api_that_cannot_be_asked_is_said(tmp_path: Path) -> None:
    request = shell.Request(NEW, "w1", paths=look.Paths(str(tmp_path)))
    assert "cannot be read" in shell._asked(request, NEW.url)
    assert "cannot be read" in shell._lease_problem(request, 0.0)[0]
    with pytest.raises(KubeApiError):
        shell.store(request)
