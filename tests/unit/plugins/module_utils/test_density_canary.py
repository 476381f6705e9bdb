"""Canaries: when they suffer too much, and how they ask."""

from __future__ import annotations

import http.server
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_canary as canaries


def samples(*seconds: float | None) -> list[canaries.Sample]:
    return [canaries.Sample(float(number), value) for number, value in enumerate(seconds)]


@pytest.mark.parametrize(
    ("asked", "baseline", "said"),
    [
        (samples(*[0.02] * 40), 0.02, None),
        (samples(*[0.02] * 40, *[None] * 4), 0.02, None),
        (samples(*[0.02] * 40, *[None] * 5), 0.02, "no answer 5 times in a row"),
        (samples(*[None] * 5), None, "no answer 5 times in a row"),
        (samples(*[5.0] * 40), 0.02, "longer than 5000 ms, the limit is 1000 ms"),  # 10 times the floor of 100 ms
        (samples(*[5.0] * 40), 0.6, None),  # it was slow before
        (samples(*[5.0] * 19), 0.02, None),  # too few to judge
        (samples(*[5.0] * 40, *[0.02] * 20), 0.02, None),  # it has recovered
        (samples(*[0.02] * 9, *[5.0] * 11), 0.02, "longer than 5000 ms"),
        (samples(*[5.0] * 40), None, None),
    ],
)
def test_degraded(asked: list[canaries.Sample], baseline: float | None, said: str | None) -> None:
    found = canaries.degraded(asked, baseline, 10, 0.1)
    assert found is None if said is None else said in str(found)


def test_summary_counts_what_had_no_answer() -> None:
    found = canaries.summary(samples(0.001, 0.003, None))
    assert (found["count"], found["max"], found["failed"]) == (2, 3.0, 1)


def test_a_canary_asks_and_survives_errors() -> None:
    asked = threading.Event()
    count = iter(range(1000))

    def ask() -> None:
        if next(count) == 0:
            raise OSError("nobody")
        asked.set()

    canary = canaries.Canary("x", ask, pause=0.05)
    begun = time.time()
    canary.start()
    assert asked.wait(10)
    canary.stop()
    canary.join(10)
    assert canary.samples[0].seconds is None
    assert canary.samples[1].seconds is not None
    assert canary.between(begun, time.time()) == canary.samples
    assert canary.between(begun - 9, begun) == []


# --- HTTP


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    made = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def test_get_once(server: http.server.HTTPServer) -> None:
    canaries.get_once("127.0.0.1", server.server_address[1])
    with pytest.raises(OSError, match="status 404"):
        canaries.get_once("127.0.0.1", server.server_address[1], "/other")


def test_waiting_for_an_address(server: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    port = server.server_address[1]
    ask, tries = canaries.get_once, iter(range(100))

    def refused_at_first(address: str, connect_timeout: float) -> None:
        if next(tries) < 3:
            raise ConnectionRefusedError
        ask(address, port, connect_timeout=connect_timeout)

    monkeypatch.setattr(canaries, "get_once", refused_at_first)
    found = canaries.wait_for_answer("127.0.0.1", time.monotonic() + 20, pause=0.001)
    assert found is not None
    assert 0 < found[1] <= found[0]
    assert canaries.wait_for_answer("127.0.0.1", time.monotonic() - 1) is None


# --- DNS


def test_a_question() -> None:
    assert (
        canaries.query("a.bc.", 7) == b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x01\x00\x01"
    )


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (b"short", "no DNS answer"),
        (struct.pack(">HHHHHH", 8, 0x8180, 1, 1, 0, 0), "answer 8"),
        (struct.pack(">HHHHHH", 7, 0x0180, 1, 1, 0, 0), "flags 0x0180"),
        (struct.pack(">HHHHHH", 7, 0x8183, 1, 0, 0, 0), "flags 0x8183"),
    ],
)
def test_what_is_no_answer(packet: bytes, said: str) -> None:
    with pytest.raises(OSError, match=said):
        canaries.answers(packet, 7)


def test_an_answer() -> None:
    assert canaries.answers(struct.pack(">HHHHHH", 7, 0x8180, 1, 2, 0, 0), 7) == 2


@pytest.mark.parametrize("records", [1, 0])
def test_resolving_over_a_socket(monkeypatch: pytest.MonkeyPatch, records: int) -> None:
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plain.bind(("127.0.0.1", 0))
    plain.settimeout(10)

    def answer() -> None:
        asked, peer = plain.recvfrom(4096)
        plain.sendto(asked[:2] + struct.pack(">HHHHH", 0x8180, 1, records, 0, 0), peer)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()

    class Redirected(socket.socket):
        def connect(self, address: object) -> None:
            assert address == ("127.0.0.1", 53)
            super().connect(plain.getsockname())

    monkeypatch.setattr(canaries.socket, "socket", Redirected)
    try:
        if records:
            canaries.resolve("127.0.0.1", "canary")
        else:
            with pytest.raises(OSError, match="no address of canary"):
                canaries.resolve("127.0.0.1", "canary")
    finally:
        thread.join(10)
        plain.close()
