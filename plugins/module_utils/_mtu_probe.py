# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do packets of the pods' full size get through? ICMP echo requests of either family that may not be fragmented, from the node.

Written with a raw socket instead of ``ping``, which minimal systems do not have and which has several incompatible makers. An answer has the size of its
question, so both ways are tried.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
import typing as t

# linux/in.h: IP_MTU_DISCOVER, and IP_PMTUDISC_PROBE, which sets "don't fragment" and does not look at what the kernel has learnt of the path.
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
# linux/in6.h: the same for IPv6, where no router fragments, and that the sender does not either (RFC 3542, section 11.2).
IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE, IPV6_DONTFRAG = 23, 3, 62
IP_HEADER, IPV6_HEADER, ICMP_HEADER = 20, 40, 8
ECHO_REQUEST, ECHO_REPLY = 8, 0
# RFC 4443, section 4
ECHO_REQUEST6, ECHO_REPLY6 = 128, 129
# Interfaces that end in a pod: Calico's and Cilium's.
POD_INTERFACES = ("cali", "lxc")
TRIES, SECONDS = 3, 1.0


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def request(identifier: int, sequence: int, size: int) -> bytes:
    """An echo request that makes an IPv4 packet of ``size`` bytes."""
    payload = b"\xa5" * (size - IP_HEADER - ICMP_HEADER)
    header = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, identifier, sequence)
    return struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum(header + payload), identifier, sequence) + payload


def request6(identifier: int, sequence: int, size: int) -> bytes:
    """An echo request that makes an IPv6 packet of ``size`` bytes. Its checksum covers addresses, so the kernel makes it (RFC 3542, section 3.1)."""
    payload = b"\xa5" * (size - IPV6_HEADER - ICMP_HEADER)
    return struct.pack("!BBHHH", ECHO_REQUEST6, 0, 0, identifier, sequence) + payload


def is_reply6(message: bytes, identifier: int, size: int) -> bool:
    """Is this ICMPv6 message, which comes without the IPv6 header, the whole answer to our question?"""
    if len(message) < max(size - IPV6_HEADER, ICMP_HEADER):
        return False
    kind, _code, _sum, found, _sequence = struct.unpack("!BBHHH", message[:ICMP_HEADER])
    return kind == ECHO_REPLY6 and found == identifier


def is_reply(packet: bytes, identifier: int, size: int) -> bool:
    """Is this IPv4 packet the whole answer to our question?"""
    start = (packet[0] & 0x0F) * 4 if packet else 0
    if len(packet) < max(size, start + ICMP_HEADER):
        return False
    kind, _code, _sum, found, _sequence = struct.unpack("!BBHHH", packet[start : start + ICMP_HEADER])
    return kind == ECHO_REPLY and found == identifier


def pod_mtu(interfaces: t.Mapping[str, int]) -> int:
    """The smallest MTU of interfaces that end in pods; 0 when there are none."""
    return min((mtu for name, mtu in interfaces.items() if name.startswith(POD_INTERFACES)), default=0)


def read_interfaces(root: str = "/sys/class/net") -> dict[str, int]:
    """``{interface: MTU}``; one that goes meanwhile is left out."""
    found = {}
    for name in os.listdir(root):
        try:
            with open(os.path.join(root, name, "mtu"), encoding="ascii") as stream:
                found[name] = int(stream.read())
        except (OSError, ValueError):
            continue
    return found


def _link(address: str) -> socket.socket:
    """A raw socket to an address, whose packets are never fragmented."""
    if ":" in address:
        link = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        options = [
            (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE),
            (socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1),
        ]
    else:
        link = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        options = [(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)]
    try:
        for option in options:
            link.setsockopt(*option)
        link.connect((address, 0))
    except OSError:
        link.close()
        raise
    return link


def ask(address: str, size: int, tries: int = TRIES, seconds: float = SECONDS) -> dict[str, t.Any]:
    """Send packets of ``size`` bytes until one is answered: ``{target, ok, milliseconds, error}``."""
    identifier = os.getpid() & 0xFFFF ^ hash(address) & 0xFFFF
    error = f"no answer to {tries} packets of {size} bytes that may not be fragmented"
    question, answered = (request6, is_reply6) if ":" in address else (request, is_reply)
    begun = time.monotonic()
    try:
        with _link(address) as link:
            for sequence in range(1, tries + 1):
                begun = time.monotonic()
                link.send(question(identifier, sequence, size))
                while select.select([link], [], [], max(0.0, begun + seconds - time.monotonic()))[0]:
                    if answered(link.recv(65535), identifier, size):
                        passed = round((time.monotonic() - begun) * 1000, 1)
                        return {"target": address, "ok": True, "milliseconds": passed, "error": ""}
    except OSError as exc:
        error = f"a packet of {size} bytes cannot be sent: {exc.strerror or exc}"
    return {"target": address, "ok": False, "milliseconds": 0.0, "error": error}


def observe(targets: t.Sequence[str]) -> dict[str, t.Any]:
    """Ask ``targets`` with packets of this node's pod MTU: ``{pod_mtu, answers, error}``."""
    try:
        size = pod_mtu(read_interfaces())
    except OSError as exc:
        return {"pod_mtu": 0, "answers": [], "error": str(exc)}
    if not size:
        return {"pod_mtu": 0, "answers": [], "error": "no interface of a pod on this node"}
    return {"pod_mtu": size, "answers": [ask(target, size) for target in targets], "error": ""}
