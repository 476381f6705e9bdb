# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to one DNS server (RFC 1035)."""

from __future__ import annotations

import secrets
import socket
import struct


def query(name: str, number: int) -> bytes:
    """A DNS question for an IPv4 address (RFC 1035, section 4)."""
    labels = b"".join(struct.pack("B", len(label)) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def answers(packet: bytes, number: int) -> int:
    """Records in a DNS answer; an error when it is none, of another question, or says that there is no such name."""
    if len(packet) < 12:
        raise OSError("no DNS answer")
    identity, flags, _questions, records = struct.unpack(">HHHH", packet[:8])
    if identity != number or not flags & 0x8000 or flags & 0x000F:
        raise OSError(f"DNS answer {identity} with flags {flags:#06x}")
    return int(records)


def resolve(server: str, name: str, timeout: float = 5.0) -> None:
    """Ask a DNS server for a name; no record is an error."""
    number = secrets.randbelow(65536)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as plain:
        plain.settimeout(timeout)
        plain.connect((server, 53))
        plain.send(query(name, number))
        if not answers(plain.recv(4096), number):
            raise OSError(f"no address of {name}")
