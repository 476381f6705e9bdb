"""One question to one DNS server."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _dns


def test_a_question() -> None:
    assert _dns.query("a.bc.", 7) == b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x01\x00\x01"


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
        _dns.answers(packet, 7)


def test_an_answer() -> None:
    assert _dns.answers(struct.pack(">HHHHHH", 7, 0x8180, 1, 2, 0, 0), 7) == 2


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

    monkeypatch.setattr(_dns.socket, "socket", Redirected)
    try:
        if records:
            _dns.resolve("127.0.0.1", "canary")
        else:
            with pytest.raises(OSError, match="no address of canary"):
                _dns.resolve("127.0.0.1", "canary")
    finally:
        thread.join(10)
        plain.close()
