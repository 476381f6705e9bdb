"""What a BGP speaker shows, and the comparison with what is expected (module bgp_status, _bgp)."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _bgp
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._bgp import (
    Speaker,
    parse_bird_routes,
    parse_frr_table,
    problems,
)

# As FRR 8.4 printed it, shortened.
FRR = {
    "vrfName": "default",
    "routes": {
        "10.244.0.0/26": [
            {
                "valid": True,
                "bestpath": True,
                "peerId": "10.77.1.11",
                "path": "64701",
                "nexthops": [{"ip": "10.77.1.11", "used": True}],
            },
            {
                "valid": True,
                "peerId": "10.77.0.3",
                "path": "64602 64701",
                "nexthops": [{"ip": "10.77.0.3", "used": True}],
            },
        ],
        "10.77.200.0/24": [
            {"valid": True, "multipath": True, "peerId": "10.77.1.31", "nexthops": [{"ip": "10.77.1.31"}]},
            {
                "valid": True,
                "bestpath": True,
                "multipath": True,
                "peerId": "10.77.1.11",
                "nexthops": [{"ip": "10.77.1.11"}],
            },
            {"valid": True, "peerId": "10.77.0.3", "nexthops": [{"ip": "10.77.0.3"}]},
        ],
        "10.77.1.0/24": [{"valid": True, "bestpath": True, "peerId": "(unspec)", "nexthops": [{"ip": "0.0.0.0"}]}],
    },
}
# An IPv6 neighbour on the same link is told by both of its addresses.
FRR6 = {
    "routes": {
        "fd00:200::/112": [
            {
                "valid": True,
                "bestpath": True,
                "peerId": peer,
                "nexthops": [
                    {"ip": peer, "afi": "ipv6", "scope": "global"},
                    {"ip": "fe80::42:1", "afi": "ipv6", "scope": "link-local", "used": True},
                ],
            }
            for peer in ("fd00:1::11", "fd00:1::31")
        ],
        "fd00:9::/64": [
            {
                "valid": True,
                "bestpath": True,
                "peerId": "fd00::3",
                "nexthops": [{"ip": "fe80::3", "scope": "link-local"}],
            }
        ],
    }
}
# Recorded from BIRD 1.6.8 beside FRR 8.4: `show route`.
BIRD = (
    "1007-10.77.1.0/24       dev eth0 [direct1 12:58:48] * (240)\n"
    " 10.244.0.64/26     blackhole [static1 12:58:48] * (200)\n"
    "                    via 10.77.1.254 on eth0 [Node_10_77_1_254 12:58:54] (100/0) [AS64601i]\n"
    " 10.244.0.0/16      blackhole [static1 12:58:48] * (200)\n"
    " 10.244.0.0/26      via 10.77.1.254 on eth0 [Node_10_77_1_254 12:58:54] * (100/0) [AS64601i]\n"
    " 10.77.200.0/24     blackhole [static1 12:58:48] * (200)\n"
    "                    via 10.77.1.253 on eth0 [Node_10_77_1_253 12:58:54] (100/0) [AS64601i]\n"
    "0000 \n"
)


def test_frr() -> None:
    received, paths = parse_frr_table(FRR)
    assert received == {
        "10.77.1.11": ("10.244.0.0/26", "10.77.200.0/24"),
        "10.77.1.31": ("10.77.200.0/24",),
        "10.77.0.3": ("10.244.0.0/26", "10.77.200.0/24"),
    }
    assert paths["10.77.200.0/24"] == ("10.77.1.11", "10.77.1.31")
    assert paths["10.244.0.0/26"] == ("10.77.1.11",)
    assert parse_frr_table({}) == ({}, {})


def test_bird() -> None:
    names = {"Node_10_77_1_254": "10.77.1.254", "Node_10_77_1_253": "10.77.1.253"}
    assert parse_bird_routes(BIRD, names) == {
        "10.77.1.254": ("10.244.0.0/26", "10.244.0.64/26"),
        "10.77.1.253": ("10.77.200.0/24",),
    }


SEEN = Speaker(
    sessions={"10.0.0.1": "Established", "10.0.0.2": "Active"},
    received={"10.0.0.1": ("10.244.0.0/26", "10.9.0.0/16")},
    paths={"192.0.2.0/24": ("10.0.0.1", "10.0.0.2")},
    routes={"10.244.0.0/26": ("10.0.0.1",), "10.244.1.0/26": ()},
)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({}, []),
        ({"sessions": ["10.0.0.1"]}, []),
        ({"sessions": ["10.0.0.2"]}, ["the session with 10.0.0.2 is Active"]),
        ({"sessions": ["10.0.0.3"]}, ["the session with 10.0.0.3 is not configured"]),
        ({"received": {"10.0.0.1": ["10.244.0.0/26"]}}, []),
        ({"received": {"10.0.0.2": ["10.244.0.0/26"]}}, ["10.0.0.2 did not announce 10.244.0.0/26"]),
        ({"allowed": {"10.0.0.1": ["10.0.0.0/8", "fd00::/8"]}}, []),
        (
            {"allowed": {"10.0.0.1": ["10.244.0.0/16"]}},
            ["10.0.0.1 announces 10.9.0.0/16, which is none of its networks"],
        ),
        ({"ecmp": {"192.0.2.0/24": 2}}, []),
        ({"ecmp": {"192.0.2.0/24": 3}}, ["192.0.2.0/24 has 2 next hops in use, wanted 3"]),
        ({"ecmp": {"198.51.100.0/24": 1}}, ["198.51.100.0/24 has 0 next hops in use, wanted 1"]),
        ({"next_hops": {"10.244.0.0/26": ["10.0.0.1", "10.0.0.2"]}}, []),
        ({"next_hops": {"10.244.0.0/26": ["10.0.0.9"]}}, ["10.244.0.0/26 is routed over 10.0.0.1, wanted 10.0.0.9"]),
        ({"next_hops": {"10.244.1.0/26": ["10.0.0.9"]}}, ["the route to 10.244.1.0/26 has no next hop"]),
        ({"next_hops": {"10.244.2.0/26": ["10.0.0.9"]}}, ["there is no route to 10.244.2.0/26"]),
    ],
)
def test_problems(expected: dict[str, Any], found: list[str]) -> None:
    assert problems(SEEN, expected) == found


def test_a_speaker_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(_bgp._calico.CalicoStatusError, match="frr cannot be asked"):
        _bgp.observe("frr", [4])


def test_an_ipv6_path_counts_once_whatever_addresses_tell_it() -> None:
    received, paths = parse_frr_table(FRR6)
    assert paths == {"fd00:200::/112": ("fd00:1::11", "fd00:1::31"), "fd00:9::/64": ("fe80::3",)}
    assert received["fd00:1::31"] == ("fd00:200::/112",)


def test_bird6_prints_link_local_next_hops() -> None:
    text = "1007-fd00:244::40/122   via fe80::1 on eth0 [Node_fd00_1__fe 12:58:54] * (100/0) [AS64601i]\n0000 \n"
    assert parse_bird_routes(text, {"Node_fd00_1__fe": "fd00:1::fe"}) == {"fd00:1::fe": ("fd00:244::40/122",)}
