"""What the waiting interpreter takes from a caller; the whole of it runs in plugin_utils/test_interpreter.py (over _interpreter_call)."""

from __future__ import annotations

import array
import marshal
import os
import socket
import sys
from collections.abc import Iterator

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _interpreter_call, _interpreter_serve


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def send(end: socket.socket, body: bytes, length: int, descriptors: list[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    end.sendmsg([length.to_bytes(8, "big")], rights)
    end.sendall(body)
    end.shutdown(socket.SHUT_WR)


def test_a_request_comes_with_the_callers_streams(ends: tuple[socket.socket, socket.socket]) -> None:
    body = marshal.dumps({"module": "x", "params": "a" * 20_000})
    read, write = os.pipe()
    try:
        send(ends[0], body, len(body), [write, write])
        request, descriptors = _interpreter_serve.receive(ends[1])
        assert request == marshal.loads(body)
        os.write(descriptors[1], b"said")
        assert os.read(read, 10) == b"said"
        for descriptor in descriptors:
            os.close(descriptor)
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize(
    ("body", "length", "descriptors"),
    [
        pytest.param(b"", _interpreter_serve.LONGEST_REQUEST + 1, [1, 2], id="too-long"),
        pytest.param(marshal.dumps({}), len(marshal.dumps({})), [1], id="without-a-stream"),
        pytest.param(b"cut", 100, [1, 2], id="cut-off"),
        pytest.param(b"\xff\xff", 2, [1, 2], id="nonsense"),
    ],
)
def test_what_is_no_request_is_refused(
    ends: tuple[socket.socket, socket.socket], body: bytes, length: int, descriptors: list[int]
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    send(ends[0], body, length, descriptors)
    with pytest.raises((ValueError, EOFError, TypeError)):
        _interpreter_serve.receive(ends[1])
    assert len(os.listdir("/proc/self/fd")) == before
    assert ends[0].recv(1) == _interpreter_call.READY


def test_only_what_is_ours_is_imported_ahead() -> None:
    """A module that is not there is the caller's matter."""
    _interpreter_serve.preload("no_such_module_of_ours")
    assert "no_such_module_of_ours" not in sys.modules
