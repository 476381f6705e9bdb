"""The description of who may speak with whom, and the policies that come of it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.network_policies import (
    PolicyError,
    Port,
    Surroundings,
    objects,
    port_of,
    problems,
    read,
)

AROUND = Surroundings(nodes=("192.0.2.1", "192.0.2.2"), api=("192.0.2.1",))


def policies(description: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{obj['metadata']['namespace']}/{obj['metadata']['name']}": obj["spec"]
        for obj in objects(read(description, AROUND))
        if obj["kind"] == "NetworkPolicy"
    }


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (8080, Port("TCP", 8080)),
        ("53/UDP", Port("UDP", 53)),
        ("53/udp", Port("UDP", 53)),
        ("8000-8080/TCP", Port("TCP", 8000, 8080)),
        ("80-80", Port("TCP", 80)),
        ("65535", Port("TCP", 65535)),
    ],
)
def test_ports(text: Any, port: Port) -> None:
    assert port_of(text) == port


@pytest.mark.parametrize("text", [0, 65536, "http", "80/ICMP", "90-80", "-1", "", None, True, "1-70000"])
def test_no_ports(text: Any) -> None:
    with pytest.raises(PolicyError, match="no port"):
        port_of(text)


def test_an_empty_description_allows_dns_only() -> None:
    found = policies({"shop": None})
    assert set(found) == {"shop/default-deny", "shop/allow-dns"}
    assert found["shop/default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (rule,) = found["shop/allow-dns"]["egress"]
    assert rule["ports"] == [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    assert rule["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kube-system"}
    assert set(policies({"shop": {"dns": False}})) == {"shop/default-deny"}


def test_a_flow_within_a_namespace_opens_both_ends() -> None:
    flow = {"from": {"pods": {"app": "front"}}, "to": {"pods": {"app": "back"}}, "ports": [8080]}
    found = policies({"shop": {"dns": False, "flows": [flow]}})
    del found["shop/default-deny"]
    ingress, egress = sorted(found.values(), key=lambda spec: spec["policyTypes"], reverse=True)
    assert ingress == {
        "podSelector": {"matchLabels": {"app": "back"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"app": "front"}}}],
                "ports": [{"protocol": "TCP", "port": 8080}],
            }
        ],
    }
    assert egress["podSelector"] == {"matchLabels": {"app": "front"}}
    assert egress["egress"][0]["to"] == [{"podSelector": {"matchLabels": {"app": "back"}}}]


def test_a_flow_between_namespaces_opens_the_described_ends() -> None:
    flow = {"from": {"namespace": "web", "pods": {}}, "to": {"pods": {"app": "api"}}, "ports": [80]}
    one = policies({"shop": {"flows": [flow]}})
    assert not any(name.startswith("web/") for name in one)
    both = policies({"shop": {"flows": [flow]}, "web": {}})
    (name,) = [name for name in both if name.startswith("web/egress")]
    assert both[name]["egress"][0]["to"] == [
        {
            "podSelector": {"matchLabels": {"app": "api"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}},
        }
    ]


def test_addresses_nodes_and_the_api() -> None:
    flows = [
        {"from": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}, "to": {"pods": {}}, "ports": ["443"]},
        {"from": {"nodes": True}, "to": {"pods": {}}},
        {"from": {"pods": {}}, "to": {"api": True}},
    ]
    specs = list(policies({"shop": {"dns": False, "flows": flows}}).values())
    blocks = [rule for spec in specs for rule in spec.get("ingress", []) + spec.get("egress", [])]
    assert {
        "from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}],
        "ports": [{"protocol": "TCP", "port": 443}],
    } in blocks
    assert {"from": [{"ipBlock": {"cidr": "192.0.2.1/32"}}, {"ipBlock": {"cidr": "192.0.2.2/32"}}]} in blocks
    assert {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"protocol": "TCP", "port": 6443}]} in blocks


def test_names_follow_the_content_not_the_order() -> None:
    first = {"from": {"pods": {"app": "a"}}, "to": {"pods": {"app": "b"}}, "ports": [1]}
    second = {"from": {"pods": {"app": "c"}}, "to": {"pods": {"app": "b"}}, "ports": [1]}
    assert policies({"shop": {"flows": [first, second]}}) == policies({"shop": {"flows": [second, first, first]}})
    assert set(policies({"shop": {"flows": [second]}})) < set(policies({"shop": {"flows": [first, second]}}))


@pytest.mark.parametrize(
    ("description", "path", "reason"),
    [
        ({"kube-system": {}}, "cluster_network_policies.kube-system", "own parts"),
        ({"Shop": {}}, "cluster_network_policies.Shop", "no name"),
        ({"shop": []}, "cluster_network_policies.shop", "no description"),
        ({"shop": {"flow": []}}, "cluster_network_policies.shop", "no description"),
        ({"shop": {"dns": "yes"}}, "cluster_network_policies.shop.dns", "'yes'"),
        ({"shop": {"flows": {}, "dns": 1}}, "cluster_network_policies.shop.dns", "1"),
        ({"shop": {"flows": "x"}}, "cluster_network_policies.shop.flows", "'x'"),
        ({"shop": {"flows": [{}]}}, "cluster_network_policies.shop.flows[0]", "no flow"),
        ({"shop": {"flows": [{"from": {"pods": {}}, "to": {}}]}}, "cluster_network_policies.shop.flows[0].to", "{}"),
        ({"shop": {"flows": [{"from": {"pods": {}}, "to": {"pod": {}}}]}}, "cluster_network_policies.shop.flows[0].to", "unknown key pod"),
        ({"shop": {"flows": [{"from": {"pods": {}}, "to": {"pods": {"a": 1}}}]}}, "cluster_network_policies.shop.flows[0].to.pods", "{'a': 1}"),
        ({"shop": {"flows": [{"from": {"pods": {}, "nodes": True}, "to": {"pods": {}}}]}}, "cluster_network_policies.shop.flows[0].from", "exactly one end"),
        ({"shop": {"flows": [{"from": {"pods": {}, "except": []}, "to": {"pods": {}}}]}}, "cluster_network_policies.shop.flows[0].from", "exactly one end"),
        ({"shop": {"flows": [{"from": {"cidr": "10.0.0.1/8"}, "to": {"pods": {}}}]}}, "cluster_network_policies.shop.flows[0].from.cidr", "host bits"),
        (
            {"shop": {"flows": [{"from": {"cidr": "10.0.0.0/8", "except": ["192.0.2.0/24"]}, "to": {"pods": {}}}]}},
            "cluster_network_policies.shop.flows[0].from.except",
            "no part of 10.0.0.0/8",
        ),
        (
            {"shop": {"flows": [{"from": {"namespace": "a", "pods": {}}, "to": {"namespace": "b", "pods": {}}}]}},
            "cluster_network_policies.shop.flows[0]",
            "no end in namespace shop",
        ),
        ({"shop": {"flows": [{"from": {"pods": {}}, "to": {"pods": {}}, "ports": 80}]}}, "cluster_network_policies.shop.flows[0].ports", "80"),
        ({"shop": {"flows": [{"from": {"pods": {}}, "to": {"pods": {}}, "ports": ["x"]}]}}, "cluster_network_policies.shop.flows[0].ports[0]", "'x'"),
        (["shop"], "cluster_network_policies", "['shop']"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(description: Any, path: str, reason: str) -> None:
    (error,) = problems(description, AROUND)
    assert error.path == path
    assert reason in str(error)


def test_all_that_is_wrong_is_said_at_once() -> None:
    flows = [{"from": {}, "to": {}}, {"from": {"pods": {}}, "to": {"pods": {}}, "ports": [0]}]
    assert len(list(problems({"shop": {"flows": flows}, "kube-system": {}}, AROUND))) == 3
    assert list(problems({"shop": {"flows": flows[:0]}}, AROUND)) == []
