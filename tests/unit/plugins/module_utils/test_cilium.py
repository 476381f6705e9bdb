"""What a node shows of Cilium: the agent's answers read, judged, and asked for over a real socket."""

from __future__ import annotations

import json
import socketserver
import threading
import typing as t
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _cilium as subject
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._calico import Route, Session

# As the agent of 1.15.19 answers; shortened.
PEERS = [
    {
        "applied-hold-time-seconds": 15,
        "families": [
            {"accepted": 4, "advertised": 2, "afi": "ipv4", "received": 5, "safi": "unicast"},
            {"accepted": 1, "advertised": 1, "afi": "ipv6", "received": 1, "safi": "unicast"},
        ],
        "local-asn": 64701,
        "peer-address": "10.79.1.254",
        "peer-asn": 64601,
        "peer-port": 179,
        "session-state": "established",
    },
    {
        "local-asn": 64701,
        "peer-address": "10.79.1.253",
        "peer-asn": 64601,
        "session-state": "open_sent",
        "families": None,
    },
]
NODES = {
    "nodes-added": [
        {
            "name": "default/worker1",
            "primary-address": {
                "ipv4": {"alloc-range": "10.244.1.0/24", "enabled": True, "ip": "10.79.1.31"},
                "ipv6": {"enabled": False},
            },
            "source": "local",
        },
        {"name": "default/cp1.example", "primary-address": {"ipv4": {"alloc-range": "10.244.0.0/24"}}},
    ],
    "nodes-removed": None,
    "self": "default/worker1",
}
ROUTES = (Route("default", "unicast", "static", ("10.79.1.254",)), Route("10.244.0.0/24", "unicast", "kernel", ()))


def status(**changes: t.Any) -> subject.Status:
    base: t.Dict[str, t.Any] = {
        "health": "Ok",
        "reason": "",
        "sessions": tuple(subject.parse_sessions(PEERS[:1])),
        "ranges": tuple(subject.parse_ranges(NODES)),
        "routes": ROUTES,
    }
    return subject.Status(**{**base, **changes})


def test_sessions() -> None:
    assert subject.parse_sessions(PEERS) == [
        Session("peer_10.79.1.253", "10.79.1.253", 64601, "OpenSent"),
        Session("peer_10.79.1.254", "10.79.1.254", 64601, "Established", 5, 3),
    ]


def test_ranges() -> None:
    assert subject.parse_ranges(NODES) == [
        subject.Range("cp1.example", "10.244.0.0/24"),
        subject.Range("worker1", "10.244.1.0/24"),
    ]
    assert subject.parse_ranges({"nodes-added": None}) == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"cilium": {"state": "Ok", "msg": "1.15.19"}}, ("Ok", "1.15.19")),
        ({"cilium": {"state": "Failure"}}, ("Failure", "")),
        ({}, ("unknown", "")),
    ],
)
def test_health(answer: dict[str, t.Any], expected: tuple[str, str]) -> None:
    assert subject.parse_health(answer) == expected


@pytest.mark.parametrize(
    ("changes", "peers", "nodes", "words"),
    [
        ({}, ["10.79.1.254"], [], ""),
        ({}, [], ["worker1", "cp1.example"], ""),
        ({"health": "Failure", "reason": "no API"}, [], [], "the agent is Failure: no API"),
        ({}, ["10.79.1.1"], [], "no session with 10.79.1.1"),
        (
            {"sessions": tuple(subject.parse_sessions(PEERS))},
            ["10.79.1.253"],
            [],
            "the session with 10.79.1.253 (AS 64601) is OpenSent",
        ),
        ({"ranges": ()}, [], ["cp1.example", "worker1"], "the agent does not know cp1.example"),
        ({"routes": ROUTES[:1]}, [], ["cp1.example"], "no route to 10.244.0.0/24, the range of cp1.example"),
        (
            {"routes": (Route("10.244.0.0/16", "blackhole", "kernel", ()),)},
            [],
            ["cp1.example"],
            "no route to 10.244.0.0/24",
        ),
        ({"routes": (Route("10.244.0.0/16", "unicast", "kernel", ()),)}, [], ["cp1.example"], ""),
        ({"routes": ROUTES[:1]}, [], [], ""),
    ],
)
def test_problems(changes: dict[str, t.Any], peers: list[str], nodes: list[str], words: str) -> None:
    found = subject.problems("worker1", peers, nodes, status(**changes))
    assert (words in "; ".join(found)) if words else found == []


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"kube-proxy-replacement": {"mode": "True", "devices": ["eth0"]}}, True),
        ({"kube-proxy-replacement": {"mode": "False"}}, False),
        ({"kube-proxy-replacement": None}, None),
        ({}, None),
    ],
)
def test_who_carries_the_services(told: dict[str, t.Any], expected: bool | None) -> None:
    assert subject.parse_replacement(told) is expected


@pytest.mark.parametrize(
    ("seen", "wanted", "words"),
    [
        (True, True, ""),
        (False, False, ""),
        (None, None, ""),
        (True, None, ""),
        (False, True, "the agent does not carry the Services"),
        (None, True, "the agent does not carry the Services"),
        (True, False, "the agent carries the Services still"),
        # What it does not say is not believed to be right.
        (None, False, "the agent carries the Services still"),
    ],
)
def test_it_carries_the_services_as_wanted(seen: bool | None, wanted: bool | None, words: str) -> None:
    assert subject.problems("worker1", [], [], status(replaces_kube_proxy=seen), wanted) == ([words] if words else [])


class Agent(BaseHTTPRequestHandler):
    """Answers as the agent does."""

    answers: t.ClassVar[t.Dict[str, t.Tuple[int, bytes]]] = {}

    def do_GET(self) -> None:
        code, body = self.answers.get(self.path, (404, b"{}"))
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "agent"

    def log_message(self, *_arguments: t.Any) -> None:
        """Nothing."""


@pytest.fixture
def agent(tmp_path: Path) -> t.Iterator[str]:
    path = str(tmp_path / "agent.sock")
    with socketserver.UnixStreamServer(path, Agent) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield path
        server.shutdown()
        thread.join(5)


def answer(monkeypatch: pytest.MonkeyPatch, **answers: t.Any) -> None:
    paths = {"health": "/v1/healthz", "peers": "/v1/bgp/peers", "nodes": "/v1/cluster/nodes"}
    found = {
        paths[name]: value if isinstance(value, tuple) else (200, json.dumps(value).encode())
        for name, value in answers.items()
    }
    monkeypatch.setattr(Agent, "answers", found)


def test_the_agent_is_asked_over_its_socket(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, health={"cilium": {"state": "Ok"}}, peers=PEERS, nodes={"nodes-added": []})
    seen = subject.observe(agent)
    assert (seen.health, len(seen.sessions), seen.ranges) == ("Ok", 2, ())


def test_an_agent_is_asked_who_carries_the_services(
    agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, health={"cilium": {"state": "Ok"}, "kube-proxy-replacement": {"mode": "True"}})
    assert subject.replaces_kube_proxy(agent) is True
    assert subject.replaces_kube_proxy(str(tmp_path / "nobody.sock")) is None


def test_an_agent_without_bgp_has_no_session(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, peers=(501, b"BGP is off"))
    assert subject.observe_sessions(agent) == []


@pytest.mark.parametrize(
    ("reply", "words"), [((500, b"oh"), "with status 500: b'oh'"), ((200, b"{"), "does not answer at")]
)
def test_an_agent_that_answers_badly(
    agent: str, monkeypatch: pytest.MonkeyPatch, reply: tuple[int, bytes], words: str
) -> None:
    answer(monkeypatch, peers=reply)
    with pytest.raises(subject.CiliumStatusError, match=words):
        subject.observe_sessions(agent)


def test_nobody_at_the_socket(tmp_path: Path) -> None:
    with pytest.raises(subject.CiliumStatusError, match=r"does not answer at .*none\.sock"):
        subject.observe_sessions(str(tmp_path / "none.sock"))
