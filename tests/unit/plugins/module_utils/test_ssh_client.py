"""From where the controller has logged in."""

from __future__ import annotations

import os

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _ssh_client as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._ssh_client import SshClient

LINE = "192.0.2.1 40000 192.0.2.11 22"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LINE, SshClient("192.0.2.1", 40000, "192.0.2.11", 22)),
        ("fe80::1%eth0 40000 fe80::2%eth0 22", SshClient("fe80::1", 40000, "fe80::2", 22)),
        ("", None),
        ("192.0.2.1 40000", None),
        ("192.0.2.1 x 192.0.2.11 22", None),
    ],
)
def test_parse(text: str, expected: SshClient | None) -> None:
    assert core.parse(text) == expected


def test_a_new_connection_has_another_name_than_a_second_session() -> None:
    first, new = core.parse(LINE), core.parse("192.0.2.1 40001 192.0.2.11 22")
    assert first is not None and new is not None
    assert first.name == "192.0.2.1 40000"
    assert first.name != new.name


def test_sudo_takes_the_variable_away_and_its_parent_has_it() -> None:
    processes = {30: ({}, 20), 20: ({"PATH": "/bin"}, 10), 10: ({"SSH_CONNECTION": LINE}, 1)}
    found = core.find(30, lambda pid: processes[pid][0], lambda pid: processes[pid][1])
    assert found == core.parse(LINE)


def test_nobody_above_was_started_by_sshd() -> None:
    assert core.find(30, lambda _pid: {}, {30: 10, 10: 1}.__getitem__) is None
    assert core.find(30, lambda _pid: {}, lambda _pid: 0) is None


def test_it_is_read_from_the_kernel() -> None:
    assert core.parent_of(os.getpid()) == os.getppid()
    assert core.environment_of(os.getpid()).get("PATH") is not None
    assert core.parent_of(2**22 + 1) == 0
    assert core.environment_of(2**22 + 1) == {}


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("192.0.2.1", ["192.0.2.0/24"], True),
        ("192.0.2.1", ["192.0.2.1"], True),
        ("192.0.2.1", ["198.51.100.0/24", "::/0"], False),
        ("2001:db8::5", ["2001:db8::/64"], True),
        ("::ffff:192.0.2.1", ["192.0.2.0/24"], True),
        ("192.0.2.1", [], False),
    ],
)
def test_is_within(address: str, networks: list[str], expected: bool) -> None:
    assert core.is_within(address, networks) is expected


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (None, ""),
        (SshClient("192.0.2.9", 1, "192.0.2.11", 22), ""),
        (SshClient("198.51.100.1", 1, "192.0.2.11", 22), "comes from 198.51.100.1, which is not in cluster_firewall_admin_cidrs"),
        (SshClient("192.0.2.9", 1, "192.0.2.11", 2222), "sshd listens on port 2222, the firewall would open port 22"),
    ],
)  # fmt: skip
def test_a_table_that_locks_the_controller_out_is_refused(client: SshClient | None, words: str) -> None:
    found = core.refusal(client, ["192.0.2.0/24"], 22)
    assert (words in found) if words else found == ""
