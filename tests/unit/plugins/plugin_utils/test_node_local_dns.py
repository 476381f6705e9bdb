"""Which nodes have a DNS cache, what their pods ask, and what runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import firewall, network_policies, node_local_dns
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.node_registration import registration

V4, V6 = ["10.244.0.0/16"], ["fd00:10:244::/56"]
SERVICES = ["10.96.0.0/16"]


@pytest.mark.parametrize(
    ("value", "plugin", "pods", "cidrs", "found"),
    [
        (None, "calico", 110, V4, False),
        (None, "calico", 249, V4, False),
        (None, "calico", 250, V4, True),
        (None, "calico", 500, V6 + V4, True),
        (None, "calico", 500, V6, False),
        (None, "cilium", 500, V4, False),
        (None, "none", 500, V4, False),
        (True, "calico", 30, V4, True),
        (False, "calico", 1000, V4, False),
        ("false", "calico", 1000, V4, False),
        ("True", "calico", 30, V4, True),
        ("", "calico", 500, ["broken", *V4], True),
    ],
)
def test_who_has_a_cache(value: Any, plugin: str, pods: int, cidrs: list[str], found: bool) -> None:
    assert node_local_dns.wanted(value, plugin, pods, cidrs) is found


def test_hosts_with_their_own_pods_have_their_own_answer() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "cp1": {},
        "dense": {"cluster_pods_per_node": 500},
        "told": {"cluster_pods_per_node": 500, "cluster_node_local_dns": False},
        "cilium": {"cluster_pods_per_node": 500, "cluster_network_plugin": "cilium"},
    }
    assert node_local_dns.hosts(hostvars, hostvars) == ["dense"]


@pytest.mark.parametrize(
    ("cidrs", "address"),
    [(SERVICES, "10.96.0.10"), (["10.96.1.0/28"], "10.96.1.10"), (["fd00::/108", "10.96.0.0/16"], "fd00::a")],
)
def test_the_service_stands_behind_the_cache(cidrs: list[str], address: str) -> None:
    assert node_local_dns.servers(cidrs) == ["169.254.20.10", address]
    assert f"forward . {address} {{" in node_local_dns.corefile(address)


def test_it_listens_on_its_own_address_only() -> None:
    text = node_local_dns.corefile("10.96.0.10")
    assert "bind 169.254.20.10\n" in text
    assert "health 169.254.20.10:9254\n" in text
    assert "prometheus {$NODE_ADDRESS}:9253\n" in text
    assert text.count("{") == text.count("}")


def test_the_daemonset_runs_where_the_label_is_and_with_one_power() -> None:
    config, daemons = node_local_dns.objects("registry.k8s.io/coredns/coredns@sha256:1", SERVICES)
    spec = daemons["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {node_local_dns.LABEL: ""}
    assert (spec["hostNetwork"], spec["dnsPolicy"], spec["automountServiceAccountToken"]) == (True, "Default", False)
    (container,) = spec["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    assert container["image"] == "registry.k8s.io/coredns/coredns@sha256:1"
    assert container["readinessProbe"]["httpGet"] == {"host": "169.254.20.10", "path": "/health", "port": 9254}
    assert config["data"]["Corefile"] == node_local_dns.corefile("10.96.0.10")


def test_another_service_range_rolls_the_pods() -> None:
    def checksum(cidrs: list[str]) -> str:
        return json.dumps(node_local_dns.objects("x", cidrs)[1]["spec"]["template"]["metadata"]["annotations"])

    assert checksum(SERVICES) == checksum(SERVICES) != checksum(["10.97.0.0/16"])


def test_the_node_is_labelled() -> None:
    assert node_local_dns.LABEL in registration({"cluster_pods_per_node": 500}, True, True)["labels"]
    assert node_local_dns.LABEL not in registration({}, True, True)["labels"]


def test_the_firewall_lets_pods_ask() -> None:
    def opened(here: bool) -> list[str]:
        groups = {"workers": ["n1"]}
        cluster = firewall.from_inventory({"node_local_dns_here": here}, "n1", groups, {"n1": ["192.0.2.1"]})
        return [line.name for line in firewall.opened(cluster) if line.name.startswith("node-local dns")]

    assert opened(True) == ["node-local dns", "node-local dns metrics"]
    assert opened(False) == []


def test_without_a_cache_the_firewall_refuses_instead_of_being_silent() -> None:
    def rules(here: bool, groups: dict[str, list[str]]) -> list[str]:
        values = {"node_local_dns_here": here, "firewall_admin_cidrs": ["192.0.2.9"], "pod_cidrs": V4}
        text = firewall.render(firewall.from_inventory(values, "n1", groups, {"n1": ["192.0.2.1"]}))
        return [line.strip() for line in text.splitlines() if "169.254.20.10" in line]

    refused = 'ip daddr 169.254.20.10 meta l4proto { tcp, udp } th dport 53 reject comment "no dns cache"'
    assert rules(False, {"workers": ["n1"]}) == [refused]
    assert rules(True, {"workers": ["n1"]}) == []
    assert rules(False, {"etcd": ["n1"]}) == []


def test_policies_that_allow_dns_allow_the_cache() -> None:
    described = network_policies.read({"shop": {"dns": True}}, network_policies.Surroundings())

    def peers(cached: bool) -> list[dict[str, Any]]:
        found = {one["metadata"]["name"]: one for one in network_policies.objects(described, cached)}
        return list(found[network_policies.ALLOW_DNS]["spec"]["egress"][0]["to"])

    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in peers(True)
    assert len(peers(True)) == len(peers(False)) + 1
