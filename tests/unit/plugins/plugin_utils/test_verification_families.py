"""`verify` in a cluster of two families: a healthy one has no failed row, the second family has rows of its own, and what breaks in it is named there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import verification, verification_bgp
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification import Wanted
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification_families import (
    asked,
    cluster_of,
    judge,
)

ADDRESSES = {"a": ("10.0.1.1", "fd00:0:0:1::1"), "b": ("10.0.1.2", "fd00:0:0:1::2"), "c": ("10.0.2.1", "fd00:0:0:2::1")}
RACKS = {"a": "r1", "b": "r1", "c": "r2"}
TORS = {"r1": ("10.0.1.254", "fd00:0:0:1::fe"), "r2": ("10.0.2.254", "fd00:0:0:2::fe")}
PODS = {"a": ("10.244.0.1", "fd00:244::1"), "b": ("10.244.0.65", "fd00:244::41"), "c": ("10.244.0.129", "fd00:244::81")}
BLOCKS = {
    "a": ("10.244.0.0/26", "fd00:244::/122"),
    "b": ("10.244.0.64/26", "fd00:244::40/122"),
    "c": ("10.244.0.128/26", "fd00:244::80/122"),
}
POOLS = ("203.0.113.0/24", "fd00:200::/112")
WANTED = Wanted(
    nodes={name: pair[0] for name, pair in ADDRESSES.items()},
    # As an inventory may write it; programs write it shorter.
    second={name: pair[1].replace("fd00:0:0:", "FD00:0:0000:") for name, pair in ADDRESSES.items()},
    control_plane={},
    etcd={},
    version="v1",
    routers={"tor1": "10.0.1.254", "tor2": "10.0.2.254"},
    outside=["client"],
    bgp_peers={name: list(TORS[rack]) for name, rack in RACKS.items()},
    racks=RACKS,
    pools=[{"name": "public", "service": "probe-public", "skipped": "", "families": [4, 6]}],
    pod_cidrs=["10.244.0.0/16", "fd00:244::/64"],
    announced_cidrs=list(POOLS),
)
DOMAIN = "cluster.local"


def cluster() -> dict[str, Any]:
    external = {
        "name": "probe-public",
        "type": "LoadBalancer",
        "port": 80,
        "cluster_ip": "10.96.0.8",
        "cluster_ips": [],
    }
    return {
        "error": "",
        "nodes": [
            {"name": name, "ready": True, "reason": "", "version": "v1", "addresses": list(pair), "max_pods": 110}
            for name, pair in ADDRESSES.items()
        ],
        "workloads": [],
        "pods": [{"node": node, "address": pair[0], "addresses": list(pair)} for node, pair in PODS.items()],
        "services": [
            {
                "name": "probe",
                "type": "ClusterIP",
                "port": 80,
                "cluster_ip": "10.96.0.7",
                "cluster_ips": ["10.96.0.7", "fd00:96::7"],
                "externals": [],
                "policy": "",
            },
            {**external, "externals": ["203.0.113.1", "fd00:200::1"], "policy": "Cluster"},
        ],
        "blocks": [{"node": node, "cidr": cidr} for node, pair in BLOCKS.items() for cidr in pair],
        "announcements": [],
    }


def route(destination: str, *via: str) -> dict[str, Any]:
    return {"destination": destination, "via": list(via), "kind": "unicast", "protocol": "bird"}


def hosts() -> dict[str, Any]:
    found: dict[str, Any] = {}
    targets = asked(cluster(), DOMAIN)
    for node, rack in RACKS.items():
        found[node] = {
            "urls": {"endpoint": {"ok": True, "milliseconds": 1.0}},
            "certificates": [
                {"path": "/var/lib/kubelet/pki/kubelet-server-current.pem", "days_left": 300.0, "error": ""}
            ],
            "pod": {
                "error": "",
                "answers": [
                    {"target": target, "ok": True, "milliseconds": 1.0, "error": "", "answer": "10.96.0.7 fd00:96::7"}
                    for target in targets
                ],
            },
            "bgp": {"error": "", "sessions": [{"neighbor": tor, "state": "Established"} for tor in TORS[rack]]},
            "routes": {
                "error": "",
                "routes": [
                    # BIRD 6 takes a neighbour's link-local address as the next hop.
                    route(
                        cidr,
                        (ADDRESSES[other][0] if RACKS[other] == rack else TORS[rack][0]) if number == 0 else "fe80::1",
                    )
                    for other in RACKS
                    if other != node
                    for number, cidr in enumerate(BLOCKS[other])
                ],
            },
            "mtu": {
                "pod_mtu": 1500,
                "error": "",
                "answers": [{"target": pod, "ok": True, "error": ""} for pair in PODS.values() for pod in pair],
            },
        }
    for tor, rack in (("tor1", "r1"), ("tor2", "r2")):
        nodes = [node for node in RACKS if RACKS[node] == rack]
        found[tor] = {
            "router": {
                "error": "",
                "addresses": list(TORS[rack]),
                "neighbours": {address: {"state": "Established"} for node in nodes for address in ADDRESSES[node]},
                "received": {ADDRESSES[node][n]: [BLOCKS[node][n], POOLS[n]] for node in nodes for n in (0, 1)},
                "paths": {POOLS[n]: [ADDRESSES[node][n] for node in nodes] for n in (0, 1)},
            }
        }
    answer = {"ok": True, "answer": '{"node": "c"}', "source": "", "milliseconds": 1.0, "error": ""}
    found["client"] = {"urls": {f"probe-public {address}": dict(answer) for address in ("203.0.113.1", "fd00:200::1")}}
    return found


def failed(seen_cluster: dict[str, Any], seen: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = judge(WANTED, seen_cluster, seen, DOMAIN)
    return [(row.check, row.subject, row.detail) for row in rows if row.result == "failed"]


SECOND = (
    "bgp node",
    "bgp router",
    "pod routes",
    "pod to pod",
    "cluster ip",
    "dns",
    "bgp prefixes",
    "ecmp",
    "way to racks",
    "mtu",
)


def test_a_healthy_cluster_has_each_row_for_each_family() -> None:
    rows = judge(WANTED, cluster(), hosts(), DOMAIN)
    assert [(row.check, row.subject, row.detail) for row in rows if row.result == "failed"] == []
    checks = {row.check for row in rows}
    assert {*SECOND, *(f"{check} IPv6" for check in SECOND), "nodes", "load balancer"} <= checks
    details = {(row.check, row.subject): row.detail for row in rows}
    assert details["nodes", "a"] == "Ready, v1, 110 pods, 10.0.1.1 and fd00:0:0:1::1"
    assert details["dns IPv6", "a"] == "probe is fd00:96::7"
    assert details["bgp prefixes IPv6", "tor1"] == "2 blocks of 2 nodes, nothing else"
    assert details["ecmp IPv6", "tor1"] == "fd00:200::/112 over 2"
    assert ("load balancer", "fd00:200::1 of public from client") in details
    assert not any(row.check.endswith("IPv4") for row in rows)


def test_what_is_asked_of_a_pod_has_both_families() -> None:
    targets = asked(cluster(), DOMAIN)
    assert "http://10.244.0.65:8080/healthz" in targets
    assert "http://[fd00:244::41]:8080/healthz" in targets
    assert "http://[fd00:96::7]:80/healthz" in targets
    assert len(targets) == len(set(targets))


def test_with_ipv6_first_the_second_rows_are_those_of_ipv4() -> None:
    first = {name: pair[1] for name, pair in ADDRESSES.items()}
    turned = replace(WANTED, nodes=first, second={name: pair[0] for name, pair in ADDRESSES.items()})
    seen = cluster()
    for pod in seen["pods"]:
        pod["address"] = pod["addresses"][1]
    rows = judge(turned, seen, hosts(), DOMAIN)
    assert {row.result for row in rows} == {"ok"}
    assert {f"{check} IPv4" for check in SECOND} <= {row.check for row in rows}


def test_a_cluster_of_one_family_has_the_rows_of_old() -> None:
    single = replace(WANTED, second={name: "" for name in ADDRESSES}, bgp_peers={name: [TORS[rack][0]] for name, rack in RACKS.items()},
                     pod_cidrs=WANTED.pod_cidrs[:1], announced_cidrs=POOLS[:1])  # fmt: skip
    seen = cluster_of(cluster(), 4)
    old = verification.judge(single, seen, hosts(), DOMAIN) + verification_bgp.judge(single, seen, hosts())
    assert judge(single, seen, hosts(), DOMAIN) == old


def at(*keys: Any) -> Callable[[dict[str, Any]], Any]:
    def get(seen: dict[str, Any]) -> Any:
        for key in keys:
            seen = seen[key]
        return seen

    return get


def without(answers: list[dict[str, Any]], start: str) -> None:
    next(one for one in answers if one["target"].startswith(start)).update(ok=False, error="refused")


@pytest.mark.parametrize(
    ("breaks", "check", "subject", "words"),
    [
        (lambda c, h: c["nodes"][0]["addresses"].pop(), "nodes", "a", "wanted 10.0.1.1, fd00:0:0:1::1"),
        (lambda c, h: h["a"]["bgp"]["sessions"].pop(), "bgp node IPv6", "a", "fd00:0:0:1::fe is not configured"),
        (
            lambda c, h: h["tor1"]["router"]["neighbours"]["fd00:0:0:1::2"].update(state="Active"),
            "bgp router IPv6",
            "tor1",
            "b (fd00:0:0:1::2) is Active",
        ),
        (lambda c, h: h["a"]["routes"]["routes"].pop(), "pod routes IPv6", "a", "no route to fd00:244::80/122 of c"),
        (
            lambda c, h: without(h["b"]["pod"]["answers"], "http://[fd00:244::81]"),
            "pod to pod IPv6",
            "b",
            "the pod on c: refused",
        ),
        (
            lambda c, h: without(h["b"]["pod"]["answers"], "http://[fd00:96::7]"),
            "cluster ip IPv6",
            "b",
            "probe: refused",
        ),
        (
            lambda c, h: [one.update(answer="10.96.0.7") for one in h["c"]["pod"]["answers"]],
            "dns IPv6",
            "c",
            "without fd00:96::7",
        ),
        (
            lambda c, h: [one.update(answer="fd00:96::7") for one in h["c"]["pod"]["answers"]],
            "dns",
            "c",
            "without 10.96.0.7",
        ),
        (
            lambda c, h: h["tor2"]["router"]["received"].update({"fd00:0:0:2::1": ["fd00:999::/64"]}),
            "bgp prefixes IPv6",
            "tor2",
            "did not announce fd00:244::80/122",
        ),
        (
            lambda c, h: h["tor1"]["router"]["paths"].update({POOLS[1]: ["fd00:0:0:1::1"]}),
            "ecmp IPv6",
            "tor1",
            "wanted 2",
        ),
        (
            lambda c, h: next(r for r in h["a"]["routes"]["routes"] if r["destination"] == "fd00:244::80/122").update(
                via=["fd00:0:0:9::1"]
            ),
            "way to racks IPv6",
            "a",
            "routed over fd00:0:0:9::1",
        ),
        (
            lambda c, h: next(one for one in h["c"]["mtu"]["answers"] if ":" in one["target"]).update(
                ok=False, error="lost"
            ),
            "mtu IPv6",
            "c",
            "lost",
        ),
        (
            lambda c, h: c["services"][1]["externals"].pop(),
            "load balancer",
            "public",
            "has no IPv6 address",
        ),
        (
            lambda c, h: h["client"]["urls"]["probe-public fd00:200::1"].update(ok=False, error="timed out"),
            "load balancer",
            "fd00:200::1 of public from client",
            "timed out",
        ),
    ],
)
def test_what_breaks_in_one_family_is_named_there_alone(
    breaks: Callable[[Any, Any], Any], check: str, subject: str, words: str
) -> None:
    seen_cluster, seen = cluster(), copy.deepcopy(hosts())
    breaks(seen_cluster, seen)
    found = failed(seen_cluster, seen)
    assert [(row[0], row[1]) for row in found] == [(check, subject)]
    assert words in found[0][2]


def test_without_an_answer_of_the_api_there_is_still_a_report() -> None:
    rows = judge(WANTED, {"error": "refused"}, hosts(), DOMAIN)
    assert ("api", "cluster", "failed") in {(row.check, row.subject, row.result) for row in rows}
