# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arithmetic of address plans, IPv4 and IPv6: canonical networks, ranges, overlaps, blocks a node needs.

Pure. Numbers of addresses are plain integers, prefix lengths are bits. Errors that a user can mend are :class:`AddressError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

try:
    import netaddr
except (
    ImportError
) as error:  # ansible-test imports plugins without third-party libraries; the action reports it to users
    NETADDR_MISSING: ImportError | None = error
else:
    NETADDR_MISSING = None

BITS = {4: 32, 6: 128}
# Of a node's own range no pod gets the first and the last address (host-local, Cilium's IPAM) and the bridge's, the pods' gateway.
NODE_RANGE_OVERHEAD = 3
# kube-controller-manager's default for IPv6; a /64 is more than any node's pods need.
IPV6_NODE_RANGE = 64


class AddressError(ValueError):
    """A text that is not the address, network or range it should be. ``fix`` says what to write, when that is known."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


@dataclass(frozen=True, order=True)
class Span:
    """Neighbouring addresses ``first`` to ``last`` (both included, as integers) of one family (4 or 6), and what they are."""

    family: int
    first: int
    last: int
    text: str = ""
    label: str = ""

    @property
    def size(self) -> int:
        """Number of addresses."""
        return self.last - self.first + 1

    @property
    def prefix_length(self) -> int | None:
        """The prefix length when the span is exactly one network, else nothing."""
        bits = self.size.bit_length() - 1
        return BITS[self.family] - bits if self.size == 1 << bits and self.first % self.size == 0 else None

    def contains(self, other: Span) -> bool:
        """Is every address of ``other`` in this span?"""
        return self.family == other.family and self.first <= other.first and other.last <= self.last

    def overlaps(self, other: Span) -> bool:
        """Have both an address in common?"""
        return self.family == other.family and self.first <= other.last and other.first <= self.last


def address(text: str, label: str = "") -> Span:
    """One address, written the usual way: four numbers without leading zeros, or IPv6 without a zone."""
    try:
        found = netaddr.IPAddress(text, flags=netaddr.INET_PTON)
    except (netaddr.AddrFormatError, ValueError, TypeError):
        raise AddressError("is not an IPv4 or IPv6 address") from None
    return Span(found.version, int(found), int(found), str(found), label)


def network(text: str, label: str = "") -> Span:
    """A network in canonical form; with bits set behind the mask it is refused, and the canonical form is the fix."""
    if "/" not in text:
        raise AddressError("is not a network: the prefix length is missing", "write it as <address>/<prefix length>")
    try:
        found = netaddr.IPNetwork(text)
        if not text.rpartition("/")[2].isdecimal():
            raise ValueError(text)
    except (netaddr.AddrFormatError, ValueError, TypeError):
        raise AddressError("is not an IPv4 or IPv6 network", "write it as <address>/<prefix length>") from None
    if found.ip != found.network:
        raise AddressError(f"has bits set behind its /{found.prefixlen} mask", f"write {found.cidr}")
    return Span(found.version, found.first, found.last, str(found.cidr), label)


def segment(span: Span, length: int) -> Span:
    """The network with the prefix length ``length`` that an address is in."""
    return network(str(netaddr.IPNetwork(f"{_netaddr(span, span.first)}/{length}").cidr))


def network_or_range(text: str, label: str = "") -> Span:
    """A network, or a range written ``first-last``."""
    if "-" not in text:
        return network(text, label)
    first, last = (address(part.strip()) for part in text.split("-", 1))
    if first.family != last.family:
        raise AddressError("mixes IPv4 and IPv6")
    if first.first > last.first:
        raise AddressError("ends before it begins", f"write {last.text}-{first.text}")
    return Span(first.family, first.first, last.first, f"{first.text}-{last.text}", label)


def networks_of(span: Span) -> list[str]:
    """The networks that together are exactly ``span``, as text, in order."""
    return [str(found) for found in netaddr.iprange_to_cidrs(_netaddr(span, span.first), _netaddr(span, span.last))]


def _netaddr(span: Span, value: int) -> netaddr.IPAddress:
    return netaddr.IPAddress(value, version=span.family)


def is_special(span: Span) -> str:
    """Why an address can be no node's (``loopback``, ``multicast``, ...), or an empty text."""
    found = _netaddr(span, span.first)
    if span.first == 0:
        return "the unspecified address"
    if found.is_loopback():
        return "a loopback address"
    if found.is_multicast():
        return "a multicast address"
    if found.is_link_local():
        return "a link-local address"
    return "the broadcast address" if span.family == 4 and span.first == (1 << 32) - 1 else ""


def overlaps(spans: Iterable[Span]) -> Iterator[tuple[Span, Span]]:
    """Pairs of spans that have addresses in common: every span that overlaps an earlier one, with the earlier one that reaches furthest.

    One sort and one pass, so that thousands of node addresses cost what they must. Not every pair is named, but every span in conflict is.
    """
    reach: Span | None = None
    for span in sorted(spans):
        if reach is not None and reach.overlaps(span):
            yield reach, span
        if reach is None or reach.family != span.family or span.last > reach.last:
            reach = span


def blocks_in(pool: Span, block_size: int) -> int:
    """How many whole blocks of the prefix length ``block_size`` a pool has; 0 when it is smaller than one."""
    return pool.size >> (BITS[pool.family] - block_size)


def node_range(wanted: int, family: int) -> int:
    """The prefix length of the smallest range of a node that has ``wanted`` addresses for pods, beside those that no pod gets.

    Without a network plugin of ours, the flags of kube-controller-manager, the rules and the plan all take it from here.
    """
    return IPV6_NODE_RANGE if family == 6 else BITS[4] - (wanted + NODE_RANGE_OVERHEAD - 1).bit_length()


def for_pods(length: int, family: int) -> int:
    """How many addresses of a node's range of the prefix length ``length`` pods can have."""
    return max(0, (1 << (BITS[family] - length)) - NODE_RANGE_OVERHEAD)


def nth(span: Span, index: int) -> str:
    """The address number ``index`` (from 0) of a span, as text; an :class:`AddressError` when it has no so many."""
    if not 0 <= index < span.size:
        raise AddressError(f"has {span.size} addresses, none has the number {index}")
    return str(_netaddr(span, span.first + index))


def families(spans: Sequence[Span]) -> tuple[int, ...]:
    """The families of spans, in their order."""
    return tuple(span.family for span in spans)
