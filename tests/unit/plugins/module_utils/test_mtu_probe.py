"""Packets of full size that may not be fragmented (_mtu_probe)."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _mtu_probe as probe


@given(st.binary(min_size=0, max_size=99))
def test_the_checksum_of_data_with_its_checksum_is_zero(data: bytes) -> None:
    padded = data + b"\0" * (len(data) % 2)
    assert probe.checksum(padded + struct.pack("!H", probe.checksum(padded))) == 0


def test_the_checksum_of_rfc_1071s_example() -> None:
    assert probe.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


@given(st.integers(28, 9000))
def test_a_request_makes_a_packet_of_the_size_that_is_asked_for(size: int) -> None:
    packet = probe.request(7, 1, size)
    assert len(packet) == size - 20
    assert probe.checksum(packet) == 0


def test_only_the_whole_answer_to_our_question_counts() -> None:
    header = bytes([0x45]) + bytes(19)
    answer = header + struct.pack("!BBHHH", 0, 0, 0, 7, 1) + bytes(72)
    assert probe.is_reply(answer, 7, 100)
    assert not probe.is_reply(answer, 8, 100)
    assert not probe.is_reply(answer[:-1], 7, 100)
    assert not probe.is_reply(header + struct.pack("!BBHHH", 3, 4, 0, 7, 1) + bytes(72), 7, 100)
    assert not probe.is_reply(b"", 7, 0)


@given(st.integers(48, 9000))
def test_a_request_of_ipv6_makes_a_packet_of_the_size_that_is_asked_for(size: int) -> None:
    assert len(probe.request6(7, 1, size)) == size - 40


def test_only_the_whole_answer_of_ipv6_counts() -> None:
    answer = struct.pack("!BBHHH", 129, 0, 0, 7, 1) + bytes(52)
    assert probe.is_reply6(answer, 7, 100)
    assert not probe.is_reply6(answer, 8, 100)
    assert not probe.is_reply6(answer[:-1], 7, 100)
    # Our own question, which loops back to a raw socket on the same machine.
    assert not probe.is_reply6(probe.request6(7, 1, 100), 7, 100)
    assert not probe.is_reply6(b"", 7, 0)


def test_the_smallest_interface_of_a_pod_counts(tmp_path: Path) -> None:
    assert probe.pod_mtu({"eth0": 1400, "cali1": 1500, "lxc2": 1450}) == 1450
    assert probe.pod_mtu({"eth0": 1500}) == 0
    for name, mtu in (("eth0", "1500\n"), ("cali0", "1450\n"), ("gone", "x")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mtu").write_text(mtu)
    assert probe.read_interfaces(str(tmp_path)) == {"eth0": 1500, "cali0": 1450}


@pytest.mark.skipif(os.geteuid() != 0, reason="a raw socket is root's")
def test_this_machine_answers_itself() -> None:
    for address in ("127.0.0.1", "::1"):
        assert probe.ask(address, 1500)["ok"], address
        too_large = probe.ask(address, 70000, tries=1)
        assert not too_large["ok"]
        assert "cannot be sent" in too_large["error"]
