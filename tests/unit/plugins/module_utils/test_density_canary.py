"""Canaries: when they suffer too much, and how they ask."""

from __future__ import annotations

import http.server
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
