"""Connections that are tried from pods' networks, and those that the kernel tracks."""

from __future__ import annotations

import errno
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _policy_probe as probe
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, CommandResult

TRACKED = """\
tcp      6 431997 ESTABLISHED src=10.244.0.3 dst=10.96.0.10 sport=34698 dport=80 src=10.244.0.7 dst=10.244.0.3 sport=8080 dport=34698 [ASSURED]
tcp      6 100 TIME_WAIT src=10.77.1.31 dst=10.244.235.128 sport=35198 dport=7472 src=10.244.235.128 dst=10.77.1.31 sport=7472 dport=35198 [ASSURED]
tcp      6 118 SYN_SENT src=10.244.0.3 dst=10.244.0.9 sport=40000 dport=9 [UNREPLIED] src=10.244.0.9 dst=10.244.0.3 sport=9 dport=40000
udp      17 28 src=fd00::3 dst=fd00::10 sport=5000 dport=53 src=fd00::9 dst=fd00::3 sport=53 dport=5000
icmp     1 29 src=10.244.0.3 dst=10.244.0.9 type=8 code=0 id=1 src=10.244.0.9 dst=10.244.0.3 type=0 code=0 id=1
"""


def test_the_server_is_who_answers() -> None:
    assert probe.parse_tracked(TRACKED) == [
        {"protocol": "tcp", "source": "10.244.0.3", "target": "10.244.0.7", "port": 8080},
        {"protocol": "tcp", "source": "10.77.1.31", "target": "10.244.235.128", "port": 7472},
        {"protocol": "udp", "source": "fd00::3", "target": "fd00::9", "port": 53},
    ]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, "connected"),
        (errno.ECONNREFUSED, "refused"),
        (errno.ETIMEDOUT, "dropped"),
        (errno.EHOSTUNREACH, "dropped"),
        (errno.EADDRNOTAVAIL, "error: EADDRNOTAVAIL"),
    ],
)
def test_outcomes(code: int, outcome: str) -> None:
    assert probe.outcome_of(code) == outcome


def _runtime(monkeypatch: pytest.MonkeyPatch, connect: Any) -> list[tuple[str, ...]]:
    """A runtime with one pod whose network is that of the test; ``connect`` answers what runs in it."""
    asked: list[tuple[str, ...]] = []

    def run(argv: Any, **values: Any) -> CommandResult:
        asked.append(tuple(argv))
        if "inspectp" in argv:
            spaces = [{"type": "pid"}, {"type": "network", "path": "/run/netns/cni-1"}]
            text = json.dumps({"info": {"runtimeSpec": {"linux": {"namespaces": spaces}}}})
        elif "pods" in argv:
            text = json.dumps({"items": [{"id": "x", "metadata": {"namespace": "shop", "name": "front"}}]})
        else:
            text = connect(json.loads(values["input_text"]))
        return CommandResult(tuple(argv), 0, text, "")

    monkeypatch.setattr(probe, "run", run)
    return asked


def trial(number: int = 1, pod: str = "front", passes: bool = True) -> dict[str, Any]:
    return {
        "id": str(number),
        "namespace": "shop",
        "pod": pod,
        "address": "10.244.0.2",
        "port": number,
        "passes": passes,
    }


def test_each_pod_is_entered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _runtime(
        monkeypatch,
        lambda wanted: json.dumps([0 if port == 1 else errno.ETIMEDOUT for _address, port in wanted["targets"]]),
    )
    found = probe.tried([trial(1), trial(2, passes=False), trial(3, "gone")], 1.0, tries=1)
    assert found["1"] == "connected"
    assert found["2"] == "dropped"
    assert "does not run here" in found["3"]
    assert [argv[:2] for argv in asked if argv[0] == "nsenter"] == [("nsenter", "--net=/run/netns/cni-1")]


def test_what_goes_otherwise_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [[0, 0], [errno.ETIMEDOUT]]
    asked = _runtime(monkeypatch, lambda wanted: json.dumps(answers.pop(0)))
    assert probe.tried([trial(1), trial(2, passes=False)], 1.0, pause=0) == {"1": "connected", "2": "dropped"}
    assert len([argv for argv in asked if argv[0] == "nsenter"]) == 2


def test_a_runtime_that_is_not_there_is_an_error_of_each_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_argv: Any, **_values: Any) -> CommandResult:
        raise CommandError("'crictl' is not installed (or not on the PATH)", missing=True)

    monkeypatch.setattr(probe, "run", missing)
    assert "crictl" in probe.tried([trial()], 1.0, pause=0)["1"]
    assert "crictl" in probe.tracked(0.1)["error"]


def test_the_program_that_connects(tmp_path: Path) -> None:
    """As it runs in a pod's network, here in the test's own: a server, a port without one."""
    script = tmp_path / "connect.py"
    script.write_text(probe.CONNECT)
    with socket.socket() as server, socket.socket() as unused:
        server.bind(("127.0.0.1", 0))
        server.listen()
        unused.bind(("127.0.0.1", 0))
        targets = [("127.0.0.1", server.getsockname()[1]), ("127.0.0.1", unused.getsockname()[1])]
        argv = [probe.sys.executable, str(script)]
        done = probe.run(argv, input_text=json.dumps({"targets": targets, "timeout": 2}), timeout=10)
    assert [probe.outcome_of(code) for code in json.loads(done.stdout)] == ["connected", "refused"]


def test_a_pod_on_its_nodes_network_has_none_of_its_own() -> None:
    assert probe.network_of({"info": {"runtimeSpec": {"linux": {"namespaces": [{"type": "network"}]}}}}) == ""
    assert probe.network_of({}) == ""
