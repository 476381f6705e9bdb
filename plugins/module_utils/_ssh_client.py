# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From where, and over which connection, the controller has logged in to this host: sshd says it to what it starts, in ``SSH_CONNECTION``."""

from __future__ import annotations

import ipaddress
import os
import typing as t
from dataclasses import dataclass

VARIABLE = "SSH_CONNECTION"


@dataclass(frozen=True)
class SshClient:
    """The ends of a connection as this host sees them. Behind a jump host, ``address`` is the jump host's."""

    address: str
    port: int
    server_address: str
    server_port: int

    @property
    def name(self) -> str:
        """The same for two sessions over one connection, another one for a new connection."""
        return f"{self.address} {self.port}"


def parse(text: str) -> SshClient | None:
    """Read ``192.0.2.1 40000 192.0.2.11 22``; nothing when it is something else."""
    words = text.split()
    if len(words) != 4 or not (words[1].isdigit() and words[3].isdigit()):
        return None
    return SshClient(words[0].partition("%")[0], int(words[1]), words[2].partition("%")[0], int(words[3]))


def find(
    pid: int,
    environment_of: t.Callable[[int], t.Mapping[str, str]],
    parent_of: t.Callable[[int], int],
) -> SshClient | None:
    """Look in a process and its parents, up to sshd: sudo takes the variable away from what it starts, its own process still has it."""
    while pid > 1:
        found = parse(environment_of(pid).get(VARIABLE, ""))
        if found:
            return found
        pid = parent_of(pid)
    return None


def observe() -> SshClient | None:
    """The connection that this process was started over; nothing when it was started otherwise, or the processes above may not be read."""
    return parse(os.environ.get(VARIABLE, "")) or find(os.getpid(), environment_of, parent_of)


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty when it may not be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            entries = stream.read().decode("utf-8", "replace").split("\0")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def parent_of(pid: int) -> int:
    """The parent's number, 0 when the process is gone. The program's name in ``stat`` may have spaces and brackets."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def is_within(address: str, networks: t.Iterable[str]) -> bool:
    """Is an address in one of the networks? An IPv4 address that came in over IPv6 (``::ffff:192.0.2.1``) counts as IPv4."""
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    if mapped is not None:
        found = mapped
    parsed = [ipaddress.ip_network(text, strict=False) for text in networks]
    return any(found.version == network.version and found in network for network in parsed)


def refusal(client: SshClient | None, admins: t.Sequence[str], ssh_port: int) -> str:
    """Why the wanted table would lock the controller out (empty: it does not, or nobody can tell)."""
    if client is None:
        return ""
    if not is_within(client.address, admins):
        return (
            f"the controller comes from {client.address}, which is not in cluster_firewall_admin_cidrs ({', '.join(admins)}): "
            "the firewall would lock it out; add its address or network"
        )
    if client.server_port != ssh_port:
        return (
            f"sshd listens on port {client.server_port}, the firewall would open port {ssh_port}; set ansible_port to {client.server_port} "
            "(behind a jump host, name the port of the host itself)"
        )
    return ""
