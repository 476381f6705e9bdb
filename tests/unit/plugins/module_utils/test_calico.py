"""What a node shows of its routing: recorded output of BIRD 1.6.8 and iproute2, and a socket that speaks BIRD's
protocol.
"""

from __future__ import annotations

import json
import socket
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _calico as calico

FIXTURES = Path(__file__).parent / "fixtures" / "calico"
BIRD = (FIXTURES / "bird-1.6.8-protocols.txt").read_text()
ROUTES = calico.parse_routes((FIXTURES / "ip-route.json").read_text())
UP = calico.Session("Node_10_77_1_254", "10.77.1.254", 64601, "Established", 2, 1)
DOWN = calico.Session("Node_10_77_1_253", "10.77.1.253", 64601, "Connect", 0, 0, "Socket: No route to host")
OWN, OTHER = calico.Block("10.244.5.64/26", "w1"), calico.Block("10.244.80.192/26", "w2")


def test_sessions_are_read_and_other_protocols_left_out() -> None:
    assert calico.parse_sessions(BIRD) == [UP, DOWN]
    assert [session.established for session in (UP, DOWN)] == [True, False]


def test_bird_2_is_read_alike() -> None:
    """The speaker that announces the API's address (role api_endpoint) is of another generation."""
    text = (FIXTURES / "bird-2.0.12-protocols.txt").read_text()
    assert calico.parse_sessions(text) == [calico.Session("router1", "10.99.1.254", 64601, "Established", 0, 1)]


@pytest.mark.parametrize("text", ["", "0001 BIRD 1.6.8 ready.\n", "8003 No protocols match\n", "9001 syntax error\n"])
def test_a_reply_without_sessions_has_none(text: str) -> None:
    assert calico.parse_sessions(text) == []


def test_an_ipv6_session_is_known_by_its_address_without_interface() -> None:
    text = "1002-x BGP master up 01:00:00 Established\n1006-  BGP state: Established\n     Neighbor address: fe80::1%eth0\n0000 \n"
    assert calico.parse_sessions(text) == [calico.Session("x", "fe80::1", 0, "Established")]


def test_routes_are_read_with_all_their_next_hops() -> None:
    assert calico.Route("10.244.5.64/26", "blackhole", "bird", ()) in ROUTES
    assert calico.Route("10.244.80.192/26", "unicast", "bird", ("10.77.1.254",)) in ROUTES
    several = [
        {"dst": "10.244.0.0/26", "protocol": "bird", "nexthops": [{"gateway": "10.0.0.1"}, {"gateway": "10.0.0.2"}]}
    ]
    assert calico.parse_routes(json.dumps(several)) == [
        calico.Route("10.244.0.0/26", "unicast", "bird", ("10.0.0.1", "10.0.0.2"))
    ]
    assert calico.parse_routes("") == []


def test_only_confirmed_blocks_count() -> None:
    def affinity(cidr: str, **spec: str) -> dict[str, t.Any]:
        return {"spec": {"cidr": cidr, "node": "w1", "state": "confirmed", "deleted": "false", **spec}}

    found = calico.parse_blocks(
        [affinity("b"), affinity("a"), affinity("p", state="pending"), affinity("d", deleted="true")]
    )
    assert found == [calico.Block("a", "w1"), calico.Block("b", "w1")]


@pytest.mark.parametrize(
    ("peers", "sessions", "blocks", "nodes", "expected"),
    [
        (["10.77.1.254"], [UP, DOWN], [OWN, OTHER], [], []),
        ([], [UP], [OWN, OTHER], [], []),
        ([], [UP, DOWN], [], [], ["the session with 10.77.1.253 (AS 64601) is Connect: Socket: No route to host"]),
        (["10.77.1.9"], [UP], [], [], ["BIRD has no session with 10.77.1.9"]),
        ([], [], [calico.Block("10.9.0.0/26", "w3")], [], ["no route to 10.9.0.0/26, a block of w3"]),
        ([], [], [calico.Block("10.9.0.0/26", "w3")], ["w1", "w2"], []),
        (
            [],
            [],
            [calico.Block("10.244.5.64/26", "w3")],
            [],
            ["the route to 10.244.5.64/26, a block of w3, is blackhole and has no next hop"],
        ),
    ],
)
def test_problems(peers: t.Any, sessions: t.Any, blocks: t.Any, nodes: t.Any, expected: list[str]) -> None:
    assert calico.problems("w1", peers, sessions, blocks, ROUTES, nodes) == expected


class Bird(threading.Thread):
    """Answers one client in pieces, as BIRD does."""

    def __init__(self, path: Path, pieces: t.Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.pieces = pieces
        self.heard = b""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()

    def run(self) -> None:
        link, _address = self.listener.accept()
        with link:
            link.sendall(b"0001 BIRD 1.6.8 ready.\n")
            self.heard = link.recv(1000)
            for piece in self.pieces:
                link.sendall(piece.encode())


@pytest.fixture()
def bird(tmp_path: Path) -> t.Iterator[t.Callable[[t.Sequence[str]], tuple[Bird, str]]]:
    servers: list[Bird] = []

    def start(pieces: t.Sequence[str]) -> tuple[Bird, str]:
        path = tmp_path / "bird.ctl"
        servers.append(Bird(path, pieces))
        servers[-1].start()
        return servers[-1], str(path)

    yield start
    for server in servers:
        server.join(5)
        server.listener.close()


def test_bird_is_asked_over_its_socket(bird: t.Any) -> None:
    reply = BIRD.partition("\n")[2]
    server, path = bird([reply[:700], reply[700:701], reply[701:]])
    assert calico.parse_sessions(calico.ask_bird(path, "show protocols all")) == [UP, DOWN]
    assert server.heard == b"show protocols all\n"


def test_a_reply_that_breaks_off_is_an_error(bird: t.Any) -> None:
    _server, path = bird(["1002-static1 Static"])
    with pytest.raises(calico.CalicoStatusError, match="broke off"):
        calico.ask_bird(path, "show protocols all", timeout=2)


def test_a_bird_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(calico.CalicoStatusError, match="does not answer at"):
        calico.ask_bird(str(tmp_path / "none.ctl"), "show protocols all")
