"""The judge behind verify: a healthy cluster has no failed row, and each thing that breaks is named by its own row."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Callable

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification import (
    Wanted,
    as_data,
    judge,
    judge_dns_caches,
    judge_etcd,
    judge_firewall,
    outside_urls,
    probe_targets,
    table,
)

NODES = {"cp1": "10.0.1.1", "cp2": "10.0.2.1", "worker1": "10.0.1.2"}
BLOCKS = {"cp1": "10.244.0.0/26", "cp2": "10.244.0.64/26", "worker1": "10.244.0.128/26"}
PODS = {"cp1": "10.244.0.1", "cp2": "10.244.0.65", "worker1": "10.244.0.129"}
WANTED = Wanted(
    nodes=NODES,
    control_plane={name: NODES[name] for name in ("cp1", "cp2")},
    etcd={name: NODES[name] for name in ("cp1", "cp2", "worker1")},
    version="v1.36.3",
    pods_per_node={name: 110 for name in NODES},
    routers={"tor1": "10.0.0.1"},
    outside=["client"],
    load_balancer="metallb_bgp",
    pools=[
        {"name": "public", "service": "probe-public", "skipped": ""},
        {"name": "tiny", "service": "probe-tiny", "skipped": "it has 1 IPv4 address"},
    ],
    speakers={"worker1": ["10.0.1.253"]},
    bgp_peers={name: ["10.0.1.254"] for name in NODES},
)


def cluster() -> dict[str, Any]:
    return {
        "error": "",
        "nodes": [
            {
                "name": name,
                "ready": True,
                "reason": "",
                "version": "v1.36.3",
                "addresses": [address],
                "max_pods": 110,
                "unschedulable": False,
            }
            for name, address in NODES.items()
        ],
        "workloads": [{"kind": "Deployment", "namespace": "kube-system", "name": "coredns", "wanted": 2, "ready": 2}],
        "pods": [{"name": f"probe-{n}", "node": n, "address": a, "ready": True} for n, a in PODS.items()],
        "services": [
            {
                "name": "probe",
                "type": "ClusterIP",
                "cluster_ip": "10.96.0.7",
                "port": 80,
                "externals": [],
                "policy": "",
            },
            *(
                {
                    "name": name,
                    "type": "LoadBalancer",
                    "cluster_ip": "10.96.0.8",
                    "port": port,
                    "externals": ["10.9.0.1"],
                    "policy": policy,
                }
                for name, port, policy in (("probe-public", 80, "Cluster"), ("probe-public-local", 8080, "Local"))
            ),
        ],
        "announcements": [
            {
                "service": "probe-public",
                "namespace": "bare-metal-system",
                "node": "worker1",
                "interfaces": [],
                "peers": ["tor"],
            }
        ],
        "blocks": [{"node": n, "cidr": c, "state": "confirmed"} for n, c in BLOCKS.items()],
        "pending_requests": [],
    }


def hosts() -> dict[str, Any]:
    targets = [t for asked in probe_targets(cluster(), "cluster.local").values() for t in asked]
    found: dict[str, Any] = {}
    for name in NODES:
        found[name] = {
            "urls": {
                key: {"ok": True, "milliseconds": 3.0, "error": "", "answer": "ok"}
                for key in ("cp1", "cp2", "endpoint")
            },
            "pod": {
                "answers": [{"target": t, "ok": True, "milliseconds": 1.0, "error": ""} for t in targets],
                "error": "",
            },
            "certificates": [
                {"path": "/var/lib/kubelet/pki/kubelet-server-current.pem", "days_left": 300.0, "error": ""}
            ],
            "etcd": {
                "members": [
                    {"name": n, "learner": False, "healthy": True, "leader": n == "cp1", "errors": []}
                    for n in ("cp1", "cp2", "worker1")
                ],
                "error": "",
            },
            "bgp": {"sessions": [{"neighbor": "10.0.1.254", "state": "Established"}], "error": ""},
            "speaker": {"sessions": [{"peer": "10.0.1.253", "up": True}], "error": ""},
            "routes": {
                "routes": [
                    {"destination": c, "kind": "blackhole" if owner == name else "unicast"}
                    for owner, c in BLOCKS.items()
                ],
                "error": "",
            },
        }
    found["tor1"] = {
        "urls": {},
        "router": {
            "neighbours": {a: {"state": "Established"} for a in NODES.values()},
            "addresses": ["10.0.1.254", "10.0.1.253"],
            "error": "",
        },
    }
    found["client"] = {
        "urls": {
            f"{service} 10.9.0.1": {
                "ok": True,
                "answer": '{"node": "cp2", "client": "10.7.7.7"}',
                "source": "10.7.7.7",
                "milliseconds": 2.0,
                "error": "",
            }
            for service in ("probe-public", "probe-public-local")
        }
    }
    return found


# In one cluster only one of them speaks; here each judge has something to judge.
CALICO = replace(WANTED, load_balancer="calico_bgp")


def failures(seen_cluster: dict[str, Any], seen_hosts: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (r.check, r.subject)
        for wanted in (WANTED, CALICO)
        for r in judge(wanted, seen_cluster, seen_hosts, "cluster.local")
        if r.result == "failed"
    }


def test_a_healthy_cluster_has_no_failed_row() -> None:
    rows = [row for wanted in (WANTED, CALICO) for row in judge(wanted, cluster(), hosts(), "cluster.local")]
    assert failures(cluster(), hosts()) == set()
    assert {row.check for row in rows} == {
        "nodes",
        "workloads",
        "etcd",
        "api",
        "endpoint",
        "certificates",
        "bgp node",
        "bgp router",
        "pod routes",
        "pod to pod",
        "dns",
        "cluster ip",
        "load balancer",
        "client address",
        "announced by",
        "speaker",
        "speaker router",
    }
    (skipped,) = {row for row in rows if row.result == "skipped"}
    assert (skipped.check, skipped.subject, skipped.detail) == ("load balancer", "tiny", "it has 1 IPv4 address")


def _answer(observed: dict[str, Any], host: str, start: str) -> dict[str, Any]:
    answers: list[dict[str, Any]] = observed[host]["pod"]["answers"]
    return next(a for a in answers if a["target"].startswith(start))


BREAKS: list[tuple[str, Callable[[dict[str, Any], dict[str, Any]], object], set[tuple[str, str]]]] = [
    ("node not ready", lambda c, h: c["nodes"][0].update(ready=False, reason="x"), {("nodes", "cp1")}),
    ("node of another version", lambda c, h: c["nodes"][1].update(version="v1.35.4"), {("nodes", "cp2")}),
    ("node too small", lambda c, h: c["nodes"][2].update(max_pods=50), {("nodes", "worker1")}),
    ("node with another address", lambda c, h: c["nodes"][2].update(addresses=["10.9.9.9"]), {("nodes", "worker1")}),
    ("node missing", lambda c, h: c["nodes"].pop(), {("nodes", "worker1")}),
    ("node unknown", lambda c, h: c["nodes"].append({**c["nodes"][0], "name": "stray"}), {("nodes", "stray")}),
    ("coredns short", lambda c, h: c["workloads"][0].update(ready=1), {("workloads", "kube-system/coredns")}),
    (
        "etcd member down",
        lambda c, h: h["cp1"]["etcd"]["members"][2].update(healthy=False, errors=["x"]),
        {("etcd", "cp1")},
    ),
    ("etcd learner", lambda c, h: h["cp2"]["etcd"]["members"][2].update(learner=True), {("etcd", "cp2")}),
    ("etcd without leader", lambda c, h: h["cp2"]["etcd"]["members"][0].update(leader=False), {("etcd", "cp2")}),
    ("etcd silent", lambda c, h: h["cp2"]["etcd"].update(members=[], error="timeout"), {("etcd", "cp2")}),
    (
        "etcd nearly full",
        lambda c, h: h["cp1"]["etcd"]["members"][0].update(db_size=7 << 30, db_quota=7 << 30),
        {("etcd", "cp1")},
    ),
    ("one api not ready", lambda c, h: h["cp1"]["urls"]["cp2"].update(ok=False, error="refused"), {("api", "cp2")}),
    ("endpoint", lambda c, h: h["worker1"]["urls"]["endpoint"].update(ok=False, error="x"), {("endpoint", "endpoint")}),
    ("certificate ends", lambda c, h: h["cp1"]["certificates"][0].update(days_left=3.0), {("certificates", "cp1")}),
    (
        "no serving certificate",
        lambda c, h: h["cp1"]["certificates"][0].update(path="/x.crt"),
        {("certificates", "cp1")},
    ),
    ("session down", lambda c, h: h["cp1"]["bgp"]["sessions"][0].update(state="Active"), {("bgp node", "cp1")}),
    ("session not configured", lambda c, h: h["cp1"]["bgp"].update(sessions=[]), {("bgp node", "cp1")}),
    (
        "router side down",
        lambda c, h: h["tor1"]["router"]["neighbours"]["10.0.2.1"].update(state="Idle"),
        {("bgp router", "tor1")},
    ),
    ("route missing", lambda c, h: h["cp1"]["routes"]["routes"].pop(), {("pod routes", "cp1")}),
    (
        "route is a blackhole",
        lambda c, h: h["cp1"]["routes"]["routes"][2].update(kind="blackhole"),
        {("pod routes", "cp1")},
    ),
    ("node has no block", lambda c, h: c["blocks"].pop(0), {("pod routes", "cp1")}),
    ("pod unreachable", lambda c, h: _answer(h, "cp2", "http://10.244.0.1:").update(ok=False), {("pod to pod", "cp2")}),
    ("dns", lambda c, h: _answer(h, "worker1", "dns:kubernetes").update(ok=False, error="x"), {("dns", "worker1")}),
    (
        "cluster ip",
        lambda c, h: _answer(h, "cp1", "http://10.96.0.7").update(ok=False, error="x"),
        {("cluster ip", "cp1")},
    ),
    (
        "load balancer silent",
        lambda c, h: h["client"]["urls"]["probe-public 10.9.0.1"].update(ok=False, error="timeout"),
        {("load balancer", "10.9.0.1 of public from client")},
    ),
    (
        "load balancer answered by something else",
        lambda c, h: h["client"]["urls"]["probe-public 10.9.0.1"].update(answer="<html>"),
        {("load balancer", "10.9.0.1 of public from client")},
    ),
    (
        "load balancer not asked",
        lambda c, h: h["client"]["urls"].pop("probe-public 10.9.0.1"),
        {("load balancer", "10.9.0.1 of public from client")},
    ),
    ("no external address", lambda c, h: c["services"][1].update(externals=[]), {("load balancer", "public")}),
    ("no service", lambda c, h: c.update(services=c["services"][:1]), {("load balancer", "public")}),
    (
        "client hidden behind a node",
        lambda c, h: h["client"]["urls"]["probe-public-local 10.9.0.1"].update(
            answer='{"node": "cp2", "client": "10.0.2.1"}'
        ),
        {("client address", "10.9.0.1 of public from client")},
    ),
    (
        "client hidden behind a pod network",
        lambda c, h: h["client"]["urls"]["probe-public-local 10.9.0.1"].update(
            answer='{"node": "cp2", "client": "10.244.0.70"}'
        ),
        {("client address", "10.9.0.1 of public from client")},
    ),
    ("nobody announces", lambda c, h: c.update(announcements=[]), {("announced by", "public")}),
    ("a stranger announces", lambda c, h: c["announcements"][0].update(node="old"), {("announced by", "public")}),
    (
        "speaker's session down",
        lambda c, h: h["worker1"]["speaker"]["sessions"][0].update(up=False),
        {("speaker", "worker1")},
    ),
    (
        "speaker silent",
        lambda c, h: h["worker1"]["speaker"].update(sessions=[], error="refused"),
        {("speaker", "worker1")},
    ),
    (
        "speaker unknown to the router",
        lambda c, h: h["tor1"]["router"]["neighbours"].pop("10.0.1.2"),
        {("speaker router", "tor1"), ("bgp router", "tor1")},
    ),
    ("router not reached", lambda c, h: h.pop("tor1"), {("bgp router", "tor1"), ("speaker router", "tor1")}),
]


@pytest.mark.parametrize(("broken", "expected"), [b[1:] for b in BREAKS], ids=[b[0] for b in BREAKS])
def test_each_break_is_named(broken: Callable[[Any, Any], object], expected: set[tuple[str, str]]) -> None:
    seen_cluster, seen_hosts = cluster(), copy.deepcopy(hosts())
    for answer in (a for h in seen_hosts.values() for a in h.get("pod", {}).get("answers", [])):
        answer.setdefault("error", "refused")
    broken(seen_cluster, seen_hosts)
    assert failures(seen_cluster, seen_hosts) == expected


def test_a_host_that_is_gone_fails_every_statement_about_it() -> None:
    seen = hosts()
    del seen["worker1"]
    named = failures(cluster(), seen)
    assert {("etcd", "worker1"), ("certificates", "worker1"), ("bgp node", "worker1"), ("dns", "worker1")} <= named


def test_an_api_that_does_not_answer_still_gives_a_report() -> None:
    rows = judge(WANTED, {"error": "refused"}, hosts(), "cluster.local")
    assert ("api", "cluster", "failed") in {(r.check, r.subject, r.result) for r in rows}
    assert any(r.check == "etcd" and r.result == "ok" for r in rows)


def test_without_an_outside_host_the_row_says_so() -> None:
    wanted = Wanted(**{**WANTED.__dict__, "outside": []})
    rows = [r for r in judge(wanted, cluster(), hosts(), "cluster.local") if r.check == "load balancer"]
    assert [r.result for r in rows] == ["skipped", "skipped"]


def test_the_table_counts_and_the_data_is_plain() -> None:
    rows = judge(WANTED, cluster(), hosts(), "cluster.local")
    assert f"{len(rows)} statements: {len(rows) - 1} ok, 0 failed, 1 skipped" in table(rows)
    assert as_data(rows)[0].keys() == {"check", "subject", "result", "detail"}


def test_the_firewall_is_judged_on_every_host_of_the_cluster_when_it_is_wanted() -> None:
    wanted = replace(WANTED, firewall=True)
    hosts: dict[str, Any] = {
        host: {"firewall": {"differences": [], "error": ""}} for host in {*WANTED.nodes, *WANTED.etcd}
    }
    assert {row.result for row in judge_firewall(wanted, hosts)} == {"ok"}
    broken = sorted(hosts)[0]
    hosts[broken] = {"firewall": {"differences": ["load table inet bare_metal_firewall"], "error": ""}}
    rows = {row.subject: row for row in judge_firewall(wanted, hosts)}
    assert rows[broken].detail == "a run would: load table inet bare_metal_firewall"
    hosts[broken] = {"firewall": {"differences": [], "error": "nft refuses the table"}}
    assert {row.subject: row for row in judge_firewall(wanted, hosts)}[broken].result == "failed"
    del hosts[broken]
    assert {row.subject: row for row in judge_firewall(wanted, hosts)}[broken].detail == "the host was not reached"
    asked = [row.check for row in judge(wanted, cluster(), {}, "cluster.local")]
    assert asked.count("firewall") == len({*WANTED.nodes, *WANTED.etcd})
    assert "firewall" not in [row.check for row in judge(WANTED, cluster(), {}, "cluster.local")]


def test_a_client_that_a_router_translates_is_not_the_clusters_fault() -> None:
    seen = hosts()
    seen["client"]["urls"]["probe-public-local 10.9.0.1"]["source"] = "192.168.1.5"
    (row,) = [row for row in judge(CALICO, cluster(), seen, "cluster.local") if row.check == "client address"]
    assert (row.result, row.detail) == (
        "ok",
        "the pod sees 10.7.7.7 for the client's 192.168.1.5: translated outside the cluster",
    )


def test_two_nodes_that_answer_for_one_address_are_a_fault() -> None:
    seen = cluster()
    seen["announcements"].append({**seen["announcements"][0], "node": "cp2"})
    layer_2 = replace(WANTED, load_balancer="metallb_l2", speakers={})
    failed = [row for row in judge(layer_2, seen, hosts(), "cluster.local") if row.result == "failed"]
    assert [row.check for row in failed] == ["announced by"]
    assert failed[0].detail.startswith("2 nodes answer for one address: cp2 to tor, worker1 to tor")


def test_every_address_is_asked_of_both_families() -> None:
    seen = cluster()
    seen["services"][1]["externals"] = ["10.9.0.1", "2001:db8::1"]
    assert outside_urls(seen) == {
        "probe-public 10.9.0.1": "http://10.9.0.1:80/",
        "probe-public 2001:db8::1": "http://[2001:db8::1]:80/",
        "probe-public-local 10.9.0.1": "http://10.9.0.1:8080/",
    }


# --- Cilium

CILIUM = replace(WANTED, network_plugin="cilium", load_balancer="cilium_bgp")


def router_routes(**changes: Any) -> dict[str, Any]:
    """What the hosts show when the router has a route to each node's range, through the node."""
    found = hosts()
    routes = {
        cidr: {"destination": cidr, "kind": "unicast", "protocol": "bgp", "via": [NODES[node]]}
        for node, cidr in BLOCKS.items()
    }
    found["tor1"]["router"]["routes"] = [*{**routes, **changes}.values()]
    for name in NODES:
        found[name]["routes"]["routes"] = [{"destination": "default", "kind": "unicast"}]
    return found


def failed(wanted: Wanted, seen: dict[str, Any], told: dict[str, Any] | None = None) -> dict[tuple[str, str], str]:
    rows = judge(wanted, told or cluster(), seen, "cluster.local")
    return {(row.check, row.subject): row.detail for row in rows if row.result == "failed"}


def test_under_cilium_the_routers_know_the_ranges() -> None:
    assert failed(CILIUM, router_routes()) == {}
    checks = {row.check for row in judge(CILIUM, cluster(), router_routes(), "cluster.local")}
    assert checks == {row.check for row in judge(CALICO, cluster(), hosts(), "cluster.local")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"destination": "10.0.0.0/8", "kind": "unicast", "via": []}, "no route to 10.244.0.64/26 of cp2"),
        ({"destination": BLOCKS["cp2"], "kind": "blackhole", "via": []}, "no route to 10.244.0.64/26 of cp2"),
        (
            {"destination": BLOCKS["cp2"], "kind": "unicast", "via": ["10.0.0.9"]},
            "10.244.0.64/26 of cp2 goes to 10.0.0.9, not to the node",
        ),
    ],
)
def test_a_range_that_the_router_does_not_send_to_its_node(change: dict[str, Any], words: str) -> None:
    found = failed(CILIUM, router_routes(**{BLOCKS["cp2"]: change}))
    assert found == {("pod routes", "tor1"): words}


def test_a_range_behind_another_router_may_go_there() -> None:
    wanted = replace(CILIUM, bgp_peers={**WANTED.bgp_peers, "cp2": ["10.0.2.254"]})
    route = {"destination": BLOCKS["cp2"], "kind": "unicast", "via": ["10.0.0.2"]}
    seen = router_routes(**{BLOCKS["cp2"]: route})
    seen["cp2"]["bgp"]["sessions"][0]["neighbor"] = "10.0.2.254"
    assert failed(wanted, seen) == {}


def test_a_node_without_a_range() -> None:
    told = cluster()
    told["blocks"] = told["blocks"][1:]
    assert failed(CILIUM, router_routes(), told) == {("pod routes", "tor1"): "cp1 has no range"}


def test_no_router_to_ask_is_said() -> None:
    rows = judge(replace(CILIUM, routers={}), cluster(), router_routes(), "cluster.local")
    assert [(row.result, row.detail) for row in rows if row.check == "pod routes"] == [
        ("skipped", "no host in the group 'routers' to ask")
    ]


def test_encapsulated_the_nodes_know_the_ranges() -> None:
    assert failed(replace(CILIUM, encapsulation="vxlan"), hosts()) == {}
    assert ("pod routes", "cp1") in failed(replace(CILIUM, encapsulation="vxlan"), router_routes())


def test_each_dns_cache_answers() -> None:
    wanted = replace(WANTED, dns_caches=["worker1", "cp1"])
    hosts = {
        "cp1": {"dns_cache": {"milliseconds": 1.5, "error": ""}},
        "worker1": {"dns_cache": {"milliseconds": None, "error": "169.254.20.10 does not answer for a: refused"}},
    }
    found = [(row.check, row.subject, row.result, row.detail) for row in judge_dns_caches(wanted, hosts)]
    assert found == [
        ("dns cache", "cp1", "ok", "answers in 1.5 ms"),
        ("dns cache", "worker1", "failed", "169.254.20.10 does not answer for a: refused"),
    ]
    assert [row.result for row in judge_dns_caches(wanted, {})] == ["failed", "failed"]
    assert judge_dns_caches(WANTED, hosts) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda h: None, {}),
        (lambda h: h["cp1"]["etcd_events"]["members"][1].update(healthy=False, errors=["does not answer"]), {"cp1": "cp2: does not answer"}),
        (lambda h: h["cp2"]["etcd_events"].update(members=[], error="timeout"), {"cp2": "timeout"}),
        (lambda h: h["worker1"]["etcd_events"]["members"].pop(), {"worker1": "voters are ['cp1', 'cp2']"}),
        (lambda h: h["worker1"].pop("etcd_events"), {"worker1": "was not asked for 'etcd_events'"}),
        (
            lambda h: h["cp2"]["etcd_events"]["members"][1].update(db_size=3700 << 20, db_quota=4096 << 20),
            {"cp2": "its database has 3700 of 4096 MiB, full it takes no more writes"},
        ),
    ],
)  # fmt: skip
def test_the_etcd_of_the_events_has_rows_of_its_own(change: Callable[[Any], object], named: dict[str, str]) -> None:
    wanted, observed = replace(WANTED, etcd_events=True), hosts()
    for name in WANTED.etcd:
        observed[name]["etcd_events"] = copy.deepcopy(observed[name]["etcd"])
    change(observed)
    rows = [row for row in judge_etcd(wanted, observed) if row.check == "events etcd"]
    assert [row.subject for row in rows] == sorted(WANTED.etcd)
    bad = {row.subject: row.detail for row in rows if row.result != "ok"}
    assert bad.keys() == named.keys()
    assert all(words in bad[host] for host, words in named.items())
    assert {row.check for row in judge_etcd(WANTED, hosts())} == {"etcd"}
