"""The judge's part about routes and MTU (verification_bgp): a healthy cluster has no failed row, and each thing that breaks is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification import Wanted
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification_bgp import judge, mtu_targets

NODES = {"a": "10.0.1.1", "b": "10.0.1.2", "c": "10.0.2.1"}
RACKS = {"a": "r1", "b": "r1", "c": "r2"}
BLOCKS = {"a": "10.244.0.0/26", "b": "10.244.0.64/26", "c": "10.244.0.128/26"}
PODS = {"a": "10.244.0.1", "b": "10.244.0.65", "c": "10.244.0.129"}
WANTED = Wanted(
    nodes=NODES,
    control_plane={},
    etcd={},
    version="v1",
    routers={"tor1": "10.0.1.254", "tor2": "192.0.2.2"},
    bgp_peers={"a": ["10.0.1.254"], "b": ["10.0.1.254"], "c": ["10.0.2.254"]},
    racks=RACKS,
    pod_cidrs=["10.244.0.0/16"],
    announced_cidrs=["203.0.113.0/24"],
)
CLUSTER: dict[str, Any] = {
    "error": "",
    "blocks": [{"node": node, "cidr": cidr} for node, cidr in BLOCKS.items()],
    "pods": [{"node": node, "address": address} for node, address in PODS.items()],
}


def route(destination: str, *via: str) -> dict[str, Any]:
    return {"destination": destination, "via": list(via), "kind": "unicast", "protocol": "bird"}


def hosts() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node, address in NODES.items():
        tor = "10.0.1.254" if RACKS[node] == "r1" else "10.0.2.254"
        found[node] = {
            "routes": {
                "error": "",
                "routes": [
                    route(BLOCKS[other], NODES[other] if RACKS[other] == RACKS[node] else tor)
                    for other in NODES
                    if other != node
                ],
            },
            "mtu": {
                "pod_mtu": 1500,
                "error": "",
                "answers": [{"target": pod, "ok": True, "error": ""} for pod in PODS.values() if address],
            },
        }
    found["tor1"] = {
        "router": {
            "error": "",
            "addresses": ["10.0.1.254"],
            "neighbours": {},
            "received": {
                "10.0.1.1": ["10.244.0.0/26", "203.0.113.0/24"],
                "10.0.1.2": ["10.244.0.64/26", "203.0.113.0/24"],
            },
            "paths": {"203.0.113.0/24": ["10.0.1.1", "10.0.1.2"]},
        }
    }
    found["tor2"] = {
        "router": {
            "error": "",
            "addresses": ["10.0.2.254"],
            "neighbours": {},
            "received": {"10.0.2.1": ["10.244.0.128/26"]},
            "paths": {"203.0.113.0/24": ["10.0.0.1"]},
        }
    }
    return found


def failed(seen: dict[str, Any], wanted: Wanted = WANTED) -> list[tuple[str, str, str]]:
    return [(row.check, row.subject, row.detail) for row in judge(wanted, CLUSTER, seen) if row.result == "failed"]


def test_a_healthy_cluster_has_no_failed_row() -> None:
    rows = judge(WANTED, CLUSTER, hosts())
    assert {row.result for row in rows} == {"ok"}
    assert {row.check for row in rows} == {"bgp prefixes", "ecmp", "way to racks", "mtu"}
    assert next(row.detail for row in rows if (row.check, row.subject) == ("ecmp", "tor1")) == "203.0.113.0/24 over 2"


def at(*keys: Any) -> Callable[[dict[str, Any]], Any]:
    def get(seen: dict[str, Any]) -> Any:
        for key in keys:
            seen = seen[key]
        return seen

    return get


BREAKS: list[tuple[Callable[[dict[str, Any]], Any], str, str, str]] = [
    (
        lambda d: at("tor1", "router", "received", "10.0.1.1")(d).remove("10.244.0.0/26"),
        "bgp prefixes",
        "tor1",
        "10.0.1.1 did not announce 10.244.0.0/26",
    ),
    (
        lambda d: at("tor1", "router", "received", "10.0.1.2")(d).append("0.0.0.0/0"),
        "bgp prefixes",
        "tor1",
        "announces 0.0.0.0/0",
    ),
    (
        lambda d: at("tor1", "router", "paths")(d).update({"203.0.113.0/24": ["10.0.1.1"]}),
        "ecmp",
        "tor1",
        "has 1 next hops in use, wanted 2",
    ),
    (lambda d: d.pop("tor2"), "bgp prefixes", "tor2", "the host was not reached"),
    (
        lambda d: at("a", "routes", "routes")(d).__setitem__(1, route(BLOCKS["c"], "10.0.2.254")),
        "way to racks",
        "a",
        "10.244.0.128/26 is routed over 10.0.2.254, wanted 10.0.1.254",
    ),
    (lambda d: at("c", "mtu")(d).update(pod_mtu=1400), "mtu", "c", "pods have 1400 bytes, other nodes' 1500"),
    (
        lambda d: at("b", "mtu", "answers", 2)(d).update(ok=False, error="no answer"),
        "mtu",
        "b",
        "the pod on c (r2): no answer",
    ),
    (
        lambda d: at("b", "mtu")(d).update(error="no interface of a pod on this node"),
        "mtu",
        "b",
        "no interface of a pod",
    ),
]


@pytest.mark.parametrize(("break_it", "check", "subject", "words"), BREAKS)
def test_what_is_broken_is_named(
    break_it: Callable[[dict[str, Any]], Any], check: str, subject: str, words: str
) -> None:
    seen = copy.deepcopy(hosts())
    break_it(seen)
    assert [found for found in failed(seen) if found[:2] == (check, subject) and words in found[2]], failed(seen)


def test_the_inventorys_mtu_counts() -> None:
    assert ("mtu", "a", "pods have 1500 bytes, wanted 1400 (cluster_mtu)") in failed(hosts(), replace(WANTED, mtu=1400))


def test_the_rows_follow_the_topology() -> None:
    def checks(**changes: Any) -> set[str]:
        return {row.check for row in judge(replace(WANTED, **changes), CLUSTER, hosts())}

    assert checks(bgp_topology="none", encapsulation="vxlan", bgp_peers={}) == {"mtu"}
    assert checks(encapsulation="vxlan") == {"bgp prefixes", "ecmp", "mtu"}
    assert checks(bgp_topology="route_reflectors") == {"ecmp", "mtu"}
    assert checks(network_plugin="cilium") == {"mtu"}
    assert checks(network_plugin="none") == set()


def test_what_cannot_be_asked_is_skipped_with_the_reason() -> None:
    alone = {**CLUSTER, "pods": CLUSTER["pods"][:1]}
    rows = {row.subject: row for row in judge(WANTED, alone, hosts()) if row.check == "mtu"}
    assert (rows["a"].result, rows["a"].detail) == ("skipped", "no other node has a pod with an IPv4 address")
    assert rows["b"].result == "ok"
    tunnelled = judge(replace(WANTED, network_plugin="cilium", encapsulation="vxlan"), CLUSTER, hosts())
    assert {row.result for row in tunnelled} == {"skipped"}


def test_all_pairs_of_racks_are_asked() -> None:
    for own, rack in RACKS.items():
        asked = mtu_targets(CLUSTER, RACKS, own)
        nodes = {node for node, address in PODS.items() if address in asked}
        assert {RACKS[node] for node in nodes} == ({"r1", "r2"} if rack == "r1" else {"r1"})
        assert own not in nodes
    assert mtu_targets({"error": "nobody"}, RACKS, "a") == []
