"""Address arithmetic against hand-made tables, and against brute force on small networks."""

from __future__ import annotations

import ipaddress
import itertools
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, calico, kubeadm_config
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.addresses import AddressError, Span


@pytest.mark.parametrize(
    ("text", "family", "size"),
    [("10.244.0.0/16", 4, 65536), ("0.0.0.0/0", 4, 1 << 32), ("10.1.2.3/32", 4, 1), ("fd00:10::/56", 6, 1 << 72)],
)
def test_network(text: str, family: int, size: int) -> None:
    span = addresses.network(text)
    assert (span.family, span.size, span.text) == (family, size, text)


@pytest.mark.parametrize(
    ("text", "reason", "fix"),
    [
        ("10.244.0.1/16", "behind its /16 mask", "write 10.244.0.0/16"),
        ("fd00::1/64", "behind its /64 mask", "write fd00::/64"),
        ("10.244.0.0", "prefix length is missing", ""),
        ("10.244/16", "is not an IPv4 or IPv6 network", ""),
        ("10.244.0.0/33", "is not an IPv4 or IPv6 network", ""),
        ("10.244.0.0/255.255.0.0", "is not an IPv4 or IPv6 network", ""),
        ("10.244.0.0/-1", "is not an IPv4 or IPv6 network", ""),
        ("/", "is not an IPv4 or IPv6 network", ""),
        ("\x00/1", "is not an IPv4 or IPv6 network", ""),
    ],
)
def test_network_refused(text: str, reason: str, fix: str) -> None:
    with pytest.raises(AddressError) as caught:
        addresses.network(text)
    assert reason in caught.value.reason
    assert fix in caught.value.fix


@pytest.mark.parametrize("text", ["10.1", "010.0.0.1", "1", "", "node1", "10.0.0.1/32", "fe80::1%eth0", " 10.0.0.1"])
def test_address_refused(text: str) -> None:
    with pytest.raises(AddressError):
        addresses.address(text)


@pytest.mark.parametrize(
    ("text", "size", "networks"),
    [
        ("10.0.0.0/30", 4, ["10.0.0.0/30"]),
        ("10.0.0.1-10.0.0.4", 4, ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]),
        ("fd00::1 - fd00::1", 1, ["fd00::1/128"]),
    ],
)
def test_ranges(text: str, size: int, networks: list[str]) -> None:
    span = addresses.network_or_range(text)
    assert span.size == size
    assert addresses.networks_of(span) == networks


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.9-10.0.0.1", "ends before"),
        ("10.0.0.1-fd00::1", "mixes"),
        ("10.0.0.1-", "is not an"),
        ("a-b", "is not an"),
    ],
)
def test_ranges_refused(text: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        addresses.network_or_range(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [("127.0.0.1", "loopback"), ("::1", "loopback"), ("0.0.0.0", "unspecified"), ("224.0.0.5", "multicast"), ("169.254.1.1", "link-local"),
     ("fe80::1", "link-local"), ("255.255.255.255", "broadcast"), ("10.0.0.1", ""), ("fd00::1", "")],
)  # fmt: skip
def test_special(text: str, word: str) -> None:
    found = addresses.is_special(addresses.address(text))
    assert word in found
    assert bool(word) == bool(found)


@st.composite
def v4_networks(draw: st.DrawFn) -> str:
    prefix = draw(st.integers(8, 32))
    return str(ipaddress.ip_network((draw(st.integers(0, 2**32 - 1)), prefix), strict=False))


@st.composite
def v6_networks(draw: st.DrawFn) -> str:
    prefix = draw(st.integers(8, 128))
    return str(ipaddress.ip_network((draw(st.integers(0, 2**128 - 1)), prefix), strict=False))


@given(st.one_of(v4_networks(), v6_networks()))
def test_networks_as_the_standard_library_sees_them(text: str) -> None:
    span, expected = addresses.network(text), ipaddress.ip_network(text)
    assert (span.first, span.last) == (int(expected.network_address), int(expected.broadcast_address))
    assert span.prefix_length == expected.prefixlen
    # Compared as networks: netaddr writes the low half of ::/96 with dots.
    assert ipaddress.ip_network(span.text) == expected
    assert [ipaddress.ip_network(found) for found in addresses.networks_of(span)] == [expected]


@given(v4_networks(), st.integers(20, 32))
def test_blocks_in_a_pool(text: str, size: int) -> None:
    expected = ipaddress.ip_network(text)
    count = math.floor(expected.num_addresses / 2 ** (32 - size))
    assert addresses.blocks_in(addresses.network(text), size) == count


# A small world, so that brute force over every address is possible and overlaps are frequent.
small = st.builds(lambda first, length: Span(4, first, first + length, "", ""), st.integers(0, 60), st.integers(0, 12))


@given(st.lists(small, max_size=12))
def test_overlaps_against_brute_force(spans: list[Span]) -> None:
    found = list(addresses.overlaps(spans))
    for one, other in found:
        assert set(range(one.first, one.last + 1)) & set(range(other.first, other.last + 1))
    clash = any(
        set(range(a.first, a.last + 1)) & set(range(b.first, b.last + 1))
        for i, a in enumerate(spans)
        for b in spans[i + 1 :]
    )
    assert bool(found) == clash
    # What remains when the named ones are taken away does not overlap: every conflict is on the list.
    rest = sorted(spans)
    for _one, other in found:
        rest.remove(other)
    assert all(a.last < b.first for a, b in itertools.pairwise(rest))


@given(st.lists(small, max_size=6), st.lists(small, max_size=6))
def test_families_do_not_overlap(four: list[Span], six: list[Span]) -> None:
    mixed = [*four, *(Span(6, span.first, span.last) for span in six)]
    assert all(one.family == other.family for one, other in addresses.overlaps(mixed))
    assert len(list(addresses.overlaps(mixed))) == len(list(addresses.overlaps(four))) + len(
        list(addresses.overlaps(six))
    )


def test_nth() -> None:
    span = addresses.network("10.96.0.0/29")
    assert addresses.nth(span, 7) == "10.96.0.7"
    with pytest.raises(AddressError, match="8 addresses"):
        addresses.nth(span, 10)


def test_contains() -> None:
    pool = addresses.network("10.0.0.0/8")
    assert pool.contains(addresses.address("10.1.2.3"))
    assert not pool.contains(addresses.address("11.0.0.0"))
    assert not pool.contains(addresses.address("fd00::1"))


# --- a plan against brute force: addresses are handed out one by one


@given(st.integers(1, 600), st.integers(22, 32))
def test_blocks_of_a_node_are_the_fewest_that_hold_twice_its_pods(pods: int, size: int) -> None:
    free, blocks = 0, 0
    for _address in range(calico.ADDRESSES_PER_POD * pods):
        if not free:
            blocks, free = blocks + 1, 1 << (32 - size)
        free -= 1
    assert calico.blocks_needed(pods, size) == blocks


@given(st.integers(1, 2048))
def test_the_computed_block_is_the_smallest_of_which_four_hold_twice_the_pods(pods: int) -> None:
    fitting = [size for size in range(20, 27) if 4 * (1 << (32 - size)) >= 2 * pods]
    assert calico.block_size_for(pods) == (max(fitting) if fitting else 20)


def pod_addresses(network: str) -> int:
    """Addresses of a node's range for pods, counted: neither the network's own nor the last, and one is the gateway's."""
    gateway, *others = ipaddress.ip_network(network).hosts()
    return len([address for address in others if address != gateway])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2048), st.integers(16, 24))
@example(128, 16)
@example(256, 16)
@example(512, 16)
def test_a_nodes_range_holds_twice_its_pods(pods: int, prefix: int) -> None:
    """128, 256 and 512 pods need more than the 256, 512 and 1,024 addresses of a range of which no pod gets three."""
    fitting = [length for length in range(prefix, 31) if pod_addresses(f"10.0.0.0/{length}") >= 2 * pods]
    if not fitting:
        with pytest.raises(kubeadm_config.KubeadmConfigError, match=f"{pods} pods a node need"):
            kubeadm_config.node_cidr_mask_size(pods, prefix)
        return
    mask = kubeadm_config.node_cidr_mask_size(pods, prefix)
    assert mask == max(fitting)
    assert addresses.for_pods(mask, 4) == pod_addresses(f"10.0.0.0/{mask}")


@pytest.mark.parametrize(
    ("pods", "length"),
    [(1, 29), (126, 24), (127, 23), (128, 23), (254, 23), (255, 22), (500, 22), (510, 22), (511, 21)],
)
def test_node_ranges(pods: int, length: int) -> None:
    assert addresses.node_range(calico.ADDRESSES_PER_POD * pods, 4) == length
    assert addresses.node_range(calico.ADDRESSES_PER_POD * pods, 6) == 64
