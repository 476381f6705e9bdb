"""What policies allow, the trials that prove it, and what they would cut."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.network_policies import Surroundings, objects, read
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.policy_verdict import (
    Connection,
    Pod,
    Rules,
    judged,
    pod_of,
    seen_connections,
    selects,
    trials,
    untested,
    would_be_cut,
)

NAMESPACES = {name: {"kubernetes.io/metadata.name": name} for name in ("shop", "web", "kube-system")}


def pod(name: str, namespace: str = "shop", address: str = "10.244.0.1", **values: Any) -> Pod:
    ports = (("http", "TCP", 8080),)
    return Pod(
        namespace, name, values.pop("node", "n1"), (address,), {"app": name}, ports, f"ReplicaSet/{name}", **values
    )


FRONT, BACK = pod("front"), pod("back", address="10.244.0.2")
WEB = pod("web", "web", "10.244.0.3")
DNS = Pod("kube-system", "coredns", "n1", ("10.244.0.9",), {"k8s-app": "kube-dns"}, (("dns", "UDP", 53),), "rs")
DESCRIPTION = {
    "shop": {
        "flows": [
            {"from": {"pods": {"app": "front"}}, "to": {"pods": {"app": "back"}}, "ports": [8080]},
            {
                "from": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]},
                "to": {"pods": {"app": "front"}},
                "ports": ["8000-8100"],
            },
        ]
    }
}


def rules() -> Rules:
    made = objects(read(DESCRIPTION, Surroundings()))
    return Rules([obj for obj in made if obj["kind"] == "NetworkPolicy"], NAMESPACES)


@pytest.mark.parametrize(
    ("connection", "cut"),
    [
        (Connection(FRONT, BACK, "TCP", 8080), ""),
        (Connection(FRONT, BACK, "TCP", 8081), "Egress"),
        (Connection(FRONT, BACK, "UDP", 8080), "Egress"),
        (Connection(BACK, FRONT, "TCP", 8080), "Egress"),
        (Connection(WEB, FRONT, "TCP", 8080), "Ingress"),
        (Connection(WEB, BACK, "TCP", 8080), "Ingress"),
        (Connection(BACK, WEB, "TCP", 8080), "Egress"),
        (Connection(FRONT, DNS, "UDP", 53), ""),
        (Connection(FRONT, DNS, "TCP", 53), ""),
        (Connection(FRONT, DNS, "TCP", 9153), "Egress"),
        (Connection("192.0.2.7", FRONT, "TCP", 8050), ""),
        (Connection("192.0.2.200", FRONT, "TCP", 8050), "Ingress"),
        (Connection("192.0.2.7", FRONT, "TCP", 8101), "Ingress"),
        (Connection("192.0.2.7", BACK, "TCP", 8080), "Ingress"),
        (Connection("192.0.2.7", WEB, "TCP", 8080), ""),
        (Connection(FRONT, "192.0.2.7", "TCP", 443), "Egress"),
        (Connection(pod("agent", "web", "192.0.2.7", host_network=True), FRONT, "TCP", 8050), ""),
    ],
)
def test_the_meaning_of_policies(connection: Connection, cut: str) -> None:
    assert rules().cut_by(connection) == cut


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}], "matchLabels": {"b": "1"}}, False),
    ],
)
def test_selectors(selector: dict[str, Any], fits: bool) -> None:
    assert selects(selector, {"a": "1"}) is fits


def test_named_ports_and_absent_policy_types() -> None:
    policy = {
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": "http"}]}]},
    }
    by_name = Rules([policy], NAMESPACES)
    assert by_name.cut_by(Connection(WEB, FRONT, "TCP", 8080)) == ""
    assert by_name.cut_by(Connection(WEB, FRONT, "TCP", 8081)) == "Ingress"
    # Without policyTypes and without an egress list it says nothing about what goes out.
    assert by_name.cut_by(Connection(FRONT, WEB, "TCP", 1)) == ""


def test_trials_are_between_one_pod_of_each_workload() -> None:
    twin = Pod("shop", "front-2", "n2", ("10.244.0.5",), FRONT.labels, FRONT.ports, FRONT.workload)
    host = pod("agent", address="192.0.2.1", host_network=True)
    found = trials([FRONT, twin, BACK, WEB, host], rules(), ["shop"])
    pairs = {(str(trial.connection.source), str(trial.connection.target)) for trial in found}
    assert pairs == {
        ("shop/front", "shop/back"),
        ("shop/back", "shop/front"),
        ("shop/front", "web/web"),
        ("shop/back", "web/web"),
        ("web/web", "shop/front"),
        ("web/web", "shop/back"),
    }
    passing = [trial for trial in found if trial.passes]
    assert [str(trial.connection) for trial in passing] == ["shop/front -> shop/back 8080/TCP"]


def test_a_sample_keeps_both_kinds_and_is_the_same_again() -> None:
    many = [pod(f"p{number}", "web", f"10.244.1.{number}") for number in range(20)]
    whole = trials([FRONT, BACK, *many], rules(), ["shop"])
    sample = trials([FRONT, BACK, *many], rules(), ["shop"], limit=10, seed=3)
    assert len(whole) > 50
    assert len(sample) == 10
    assert any(trial.passes for trial in sample)
    assert sample == trials([FRONT, BACK, *many], rules(), ["shop"], limit=10, seed=3)


def test_a_policy_without_pods_is_untested() -> None:
    of = rules()
    assert not list(untested([FRONT, BACK], of.policies, NAMESPACES))
    names = list(untested([BACK], of.policies, NAMESPACES))
    assert len(names) == 2  # what front may send, and what it may be sent
    assert all(name.startswith("shop/") for name in names)


@pytest.mark.parametrize(
    ("passes", "outcome", "wrong"),
    [
        (True, "connected", ""),
        (True, "refused", ""),
        (True, "dropped", "must pass and is dropped"),
        (False, "dropped", ""),
        (False, "connected", "must not pass and is connected"),
        (False, "refused", "must not pass and is refused"),
        (False, "no such pod", "not tried: no such pod"),
        (True, "no such pod", "not tried: no such pod"),
    ],
)
def test_outcomes(passes: bool, outcome: str, wrong: str) -> None:
    trial = next(trial for trial in trials([FRONT, BACK, WEB], rules(), ["shop"]) if trial.passes is passes)
    assert wrong in judged(trial, outcome)
    assert bool(judged(trial, outcome)) is bool(wrong)


def test_present_connections_that_would_be_cut() -> None:
    tracked = [
        {"protocol": "tcp", "source": "10.244.0.1", "target": "10.244.0.2", "port": 8080},
        {"protocol": "tcp", "source": "10.244.0.1", "target": "10.244.0.2", "port": 8080},
        {"protocol": "tcp", "source": "10.244.0.3", "target": "10.244.0.2", "port": 8080},
        {"protocol": "tcp", "source": "10.244.0.1", "target": "203.0.113.9", "port": 443},
        {"protocol": "tcp", "source": "192.0.2.1", "target": "10.244.0.2", "port": 8080},
        {"protocol": "tcp", "source": "192.0.2.2", "target": "10.244.0.2", "port": 8080},
        {"protocol": "tcp", "source": "192.0.2.1", "target": "192.0.2.2", "port": 10250},
        {"protocol": "tcp", "source": "10.244.0.1", "target": "10.96.0.1", "port": 443},
    ]
    seen = seen_connections(tracked, [FRONT, BACK, WEB], ["10.96.0.1"])
    assert len(seen) == 5
    cut = would_be_cut(seen, rules(), {"192.0.2.1": "n1", "192.0.2.2": "n2"})
    assert [(str(connection), end) for connection, end in cut] == [
        ("192.0.2.2 -> shop/back 8080/TCP", "Ingress"),
        ("shop/front -> 203.0.113.9 443/TCP", "Egress"),
        ("web/web -> shop/back 8080/TCP", "Ingress"),
    ]


def test_reading_a_pod() -> None:
    read_pod = pod_of(
        {
            "metadata": {
                "namespace": "shop",
                "name": "x-1",
                "labels": {"a": "b"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "x"}],
            },
            "spec": {
                "nodeName": "n1",
                "containers": [
                    {"ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 53, "protocol": "UDP"}]}
                ],
            },
            "status": {"podIPs": [{"ip": "10.244.0.1"}, {"ip": "fd00::1"}]},
        }
    )
    assert read_pod == Pod(
        "shop",
        "x-1",
        "n1",
        ("10.244.0.1", "fd00::1"),
        {"a": "b"},
        (("http", "TCP", 80), ("", "UDP", 53)),
        "ReplicaSet/x",
    )
    bare = pod_of({"metadata": {"namespace": "a", "name": "b"}, "spec": {"hostNetwork": True}})
    assert (bare.workload, bare.host_network, bare.addresses) == ("Pod/b", True, ())
