"""Who holds the API's address: the judge by tables and by hypothesis, the question against real TLS servers, the program in a network namespace."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _api_health as health
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._api_health import Answer, Verdict, judge

GOOD, BAD, GONE = Answer(True), Answer(False), Answer(False, True)


def walk(answers: list[Answer], fall: int = 2, rise: int = 2) -> list[bool]:
    verdict, found = Verdict(), []
    for answer in answers:
        verdict = judge(verdict, answer, fall, rise)
        found.append(verdict.holds)
    return found


@pytest.mark.parametrize(
    ("answers", "holds"),
    [
        ([GOOD, GOOD, GOOD], [False, True, True]),
        ([GOOD, BAD, GOOD, GOOD], [False, False, False, True]),
        ([GOOD, GOOD, BAD, GOOD, BAD], [False, True, True, True, True]),
        ([GOOD, GOOD, BAD, BAD, GOOD], [False, True, True, False, False]),
        ([GOOD, GOOD, GONE], [False, True, False]),
        ([GONE, GONE, GOOD, GOOD], [False, False, False, True]),
        ([GOOD, GONE, GOOD, GOOD], [False, False, False, True]),
    ],
)
def test_the_judge(answers: list[Answer], holds: list[bool]) -> None:
    assert walk(answers) == holds


@given(st.lists(st.sampled_from([GOOD, BAD, GONE])), st.integers(1, 4), st.integers(1, 4))
def test_nobody_holds_it_without_good_answers_in_a_row(answers: list[Answer], fall: int, rise: int) -> None:
    before = False
    for index, holds in enumerate(walk(answers, fall, rise)):
        if holds and not before:
            assert all(answer.ready for answer in answers[index + 1 - rise : index + 1])
        if before and not holds:
            last = answers[index + 1 - fall : index + 1]
            assert answers[index].gone or not any(answer.ready for answer in last)
        before = holds
    assert answers[-1:] != [GONE] or not before


@pytest.mark.parametrize(("begun", "now", "expected"), [(10.0, 10.1, 0.4), (10.0, 10.5, 0.0), (10.0, 12.0, 0.0)])
def test_looks_begin_at_fixed_times_and_a_slow_one_is_followed_at_once(
    begun: float, now: float, expected: float
) -> None:
    assert health.pause(begun, now, 0.5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n", 200),
        (b"HTTP/1.1 500 Internal\r\n", 500),
        (b"", 0),
        (b"SSH-2.0 x\r\n", 0),
        (b"HTTP/1.1 x\r\n", 0),
        (b"HTTP/1.1", 0),
    ],
)
def test_the_status(said: bytes, status: int) -> None:
    assert health.status_of(said) == status


@pytest.mark.parametrize(
    ("verb", "place", "argv"),
    [
        ("replace", "198.18.7.1/32@lo", ["ip", "address", "replace", "198.18.7.1/32", "dev", "lo"]),
        ("replace", "fd00::1/128@lo", ["ip", "address", "replace", "fd00::1/128", "dev", "lo", "nodad"]),
        ("del", "fd00::1/128@lo", ["ip", "address", "del", "fd00::1/128", "dev", "lo"]),
    ],
)
def test_the_calls_of_ip(verb: str, place: str, argv: list[str]) -> None:
    assert health.address_argv(verb, place) == argv


@pytest.mark.parametrize(
    ("verb", "said", "wrong"),
    [
        ("del", "Error: ipv4: Address not found.\n", ""),
        ("del", "RTNETLINK answers: Cannot assign requested address\n", ""),
        ("del", "RTNETLINK answers: Operation not permitted\n", "RTNETLINK answers: Operation not permitted"),
        ("replace", "Error: ipv4: Address not found.\n", "Error: ipv4: Address not found."),
    ],
)
def test_an_address_that_is_gone_already_is_no_trouble(
    verb: str, said: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 2, "", said)
    monkeypatch.setattr(health.subprocess, "run", lambda *_argv, **_more: done)
    assert health.change(verb, "198.18.7.1/32@lo") == wrong


# --- the question, to real servers


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is its own authority: ``server.crt``, ``server.key``; and ``other.crt`` of somebody else."""
    directory = tmp_path_factory.mktemp("pki")
    for name in ("server", "other"):
        argv = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
        ]
        argv += [
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(directory / f"{name}.key"),
            "-out",
            str(directory / f"{name}.crt"),
        ]
        subprocess.run(argv, check=True, capture_output=True, timeout=30)
    return directory


@contextmanager
def server(pki: Path, says: Any) -> Iterator[str]:
    """A TLS server that lets ``says(channel)`` answer each client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.crt", pki / "server.key")
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def serve() -> None:
            while not over.is_set():
                try:
                    client, _peer = listener.accept()
                    with client, context.wrap_socket(client, server_side=True) as channel:
                        says(channel)
                except (OSError, ValueError):
                    continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/readyz?exclude=x"
        finally:
            over.set()
            thread.join(5)


def answering(status: str) -> Any:
    def say(channel: ssl.SSLSocket) -> None:
        assert channel.recv(4096).startswith(b"GET /readyz?exclude=x HTTP/1.1\r\nHost: 127.0.0.1:")
        channel.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok".encode())

    return say


def dripping(channel: ssl.SSLSocket) -> None:
    for _turn in range(40):
        channel.sendall(b"H")
        time.sleep(0.05)


def test_an_api_that_is_ready(authority: Path) -> None:
    with server(authority, answering("200 OK")) as url:
        assert health.ask(url, str(authority / "server.crt"), 5) == Answer(True)


def test_an_api_that_says_no(authority: Path) -> None:
    with server(authority, answering("500 Internal Server Error")) as url:
        assert health.ask(url, str(authority / "server.crt"), 5) == Answer(False, False, "it answers 500")


def test_somebody_elses_certificate_is_no_answer(authority: Path) -> None:
    with server(authority, answering("200 OK")) as url:
        found = health.ask(url, str(authority / "other.crt"), 5)
    assert (found.ready, found.gone) == (False, False)
    assert "CERTIFICATE_VERIFY_FAILED" in found.reason


@pytest.mark.parametrize("says", [dripping, lambda _channel: time.sleep(2)], ids=["a byte now and then", "nothing"])
def test_an_api_that_hangs_is_not_waited_for(authority: Path, says: Any) -> None:
    begun = time.monotonic()
    with server(authority, says) as url:
        found = health.ask(url, str(authority / "server.crt"), 0.4)
        took = time.monotonic() - begun
    assert not found.ready
    assert not found.gone
    assert took < 1.5


def test_nobody_there_is_known_at_once(authority: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = health.ask(f"https://127.0.0.1:{port}/readyz", str(authority / "server.crt"), 5)
    assert found == Answer(False, True, "nothing listens")


def test_before_the_cluster_is_there_is_no_authority(tmp_path: Path) -> None:
    found = health.ask("https://127.0.0.1:1/readyz", str(tmp_path / "ca.crt"), 1)
    assert (found.ready, found.gone) == (False, True)


# --- the loop


class Machine:
    """Records what is done to addresses, and answers by a script; the last answer ends the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: list[Answer]) -> None:
        self.done: list[tuple[str, str]] = []
        self.told: list[str] = []
        self.over = threading.Event()
        self.answers = answers
        monkeypatch.setattr(health, "ask", self.ask)
        monkeypatch.setattr(health, "change", lambda verb, place: self.done.append((verb, place)) or "")  # type: ignore[func-returns-value]
        monkeypatch.setattr(health, "notify", self.told.append)

    def ask(self, *_arguments: Any) -> Answer:
        answer = self.answers.pop(0)
        if not self.answers:
            self.over.set()
        return answer


OPTIONS = ["--url", "https://x:6443/readyz", "--ca", "c", "--address", "198.18.7.1/32@lo", "--interval", "0"]


def test_the_address_comes_and_goes_once_and_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, [BAD, GOOD, GOOD, GOOD, GONE, GONE])
    health.watch(health.parse([*OPTIONS, "--keep", "10.0.0.1/32@eth0"]), machine.over)
    moves = [entry for entry in machine.done if entry[1] == "198.18.7.1/32@lo"]
    # At first what an earlier one may have left is taken away.
    assert moves == [
        ("del", "198.18.7.1/32@lo"),
        ("replace", "198.18.7.1/32@lo"),
        ("del", "198.18.7.1/32@lo"),
        ("del", "198.18.7.1/32@lo"),
    ]
    assert ("replace", "10.0.0.1/32@eth0") in machine.done
    assert ("del", "10.0.0.1/32@eth0") not in machine.done
    assert all("WATCHDOG=1" in told for told in machine.told)
    assert "STATUS=announced" in machine.told[3]


def test_systemd_is_told_over_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        health.notify("READY=1")
        assert listener.recv(100) == b"READY=1"
    monkeypatch.delenv("NOTIFY_SOCKET")
    health.notify("READY=1")
