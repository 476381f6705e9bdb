"""kubeadm's documents: one golden document, and tables for everything that is computed."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.filter.kubeadm_config import (
    kubeadm_init_documents,
    kubeadm_join_documents,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import kubeadm_config as core

GOLDEN = Path(__file__).parent / "kubeadm_documents.yaml.txt"
CLUSTER: dict[str, Any] = {
    "cluster_name": "lab",
    "kubernetes_version": "v1.36.3",
    "endpoint": "127.0.0.1:7443",
    "pod_cidrs": ["10.244.0.0/16"],
    "service_cidrs": ["10.96.0.0/16"],
    "domain": "cluster.local",
    "etcd_endpoints": ["https://10.77.2.11:2379", "https://10.77.1.11:2379", "https://10.77.1.12:2379"],
    "certificate_sans": ["api.example.com"],
    "control_planes": 3,
    "pods_per_node": 500,
    "pods": 2500,
    "kube_proxy_configuration": {"conntrack": {"maxPerCore": 0}},
    "coredns_version": "v1.15.0",
    "audit_policy_checksum": "0123abcd",
    "admission_checksum": "4567cdef",
    "apiserver_memory_mib": 16384,
}
NODE: dict[str, Any] = {
    "name": "cp1",
    "ip": "10.77.1.11",
    "taints": [dict(core.CONTROL_PLANE_TAINT)],
    "ignore_preflight_errors": ["SystemVerification"],
}


def cluster(**changes: Any) -> core.ClusterSettings:
    return core.settings_from(core.ClusterSettings, {**CLUSTER, **changes})


def flags(document: dict[str, Any], component: str) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in document[component]["extraArgs"]}


def test_golden_documents() -> None:
    built = [
        *kubeadm_init_documents(CLUSTER, NODE),
        *kubeadm_join_documents(NODE, "127.0.0.1:7443", True),
        *kubeadm_join_documents(NODE, "127.0.0.1:7443"),
    ]
    assert built == list(yaml.safe_load_all(GOLDEN.read_text()))


def test_order_of_hosts_means_nothing() -> None:
    wanted = core.cluster_configuration(cluster())
    for seed in range(5):
        shuffled = list(CLUSTER["etcd_endpoints"])
        random.Random(seed).shuffle(shuffled)
        assert (
            core.cluster_configuration(
                cluster(etcd_endpoints=shuffled, certificate_sans=["api.example.com", "127.0.0.1"])
            )
            == wanted
        )


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        (0, (400, 200)),
        (9_999, (400, 200)),
        (10_000, (800, 300)),
        (30_000, (1500, 500)),
        (89_999, (1500, 500)),
        (90_000, (3000, 1000)),
        (500_000, (3000, 1000)),
    ],
)
def test_requests_in_flight(pods: int, expected: tuple[int, int]) -> None:
    assert core.inflight(pods) == expected


@pytest.mark.parametrize(
    ("pods_per_node", "manager", "scheduler"),
    [
        (30, "20", "50"),
        (110, "20", "50"),
        (111, "40", "100"),
        (250, "60", "150"),
        (500, "100", "200"),
        (1000, "100", "200"),
    ],
)
def test_client_rates_follow_density(pods_per_node: int, manager: str, scheduler: str) -> None:
    document = core.cluster_configuration(cluster(pods_per_node=pods_per_node))
    assert flags(document, "controllerManager")["kube-api-qps"] == manager
    assert flags(document, "scheduler")["kube-api-qps"] == scheduler


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"network_plugin": "calico"}, {"allocate-node-cidrs": "false"}),
        ({"network_plugin": "cilium"}, {"allocate-node-cidrs": "false"}),
        (
            {"network_plugin": "none", "pods_per_node": 110},
            {"allocate-node-cidrs": "true", "node-cidr-mask-size": "24"},
        ),
        (
            {"network_plugin": "none", "pods_per_node": 500},
            {"allocate-node-cidrs": "true", "node-cidr-mask-size": "22"},
        ),
        (
            {"network_plugin": "none", "pods_per_node": 250, "pod_cidrs": ["10.0.0.0/8", "fd00::/48"]},
            {"allocate-node-cidrs": "true", "node-cidr-mask-size-ipv4": "23", "node-cidr-mask-size-ipv6": "64"},
        ),
    ],
)
def test_node_ranges(changes: dict[str, Any], expected: dict[str, str]) -> None:
    found = flags(core.cluster_configuration(cluster(**changes)), "controllerManager")
    assert {name: value for name, value in found.items() if "cidr" in name} == expected


def test_pod_range_too_small_for_one_node() -> None:
    with pytest.raises(
        core.KubeadmConfigError, match=r"500 pods a node need a /22 each, which does not fit the pod range's /24"
    ):
        core.cluster_configuration(cluster(network_plugin="none", pod_cidrs=["10.0.0.0/24"]))


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, [("a", "1"), ("b", "false")]),
        ({"a": 2}, [("a", "2"), ("b", "false")]),
        ({"b": None, "c": ["x", "y"]}, [("a", "1"), ("c", "x"), ("c", "y")]),
        ({"b": True}, [("a", "1"), ("b", "true")]),
    ],
)
def test_own_arguments_win(own: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert [(entry["name"], entry["value"]) for entry in core.arguments({"b": False, "a": 1}, own)] == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: core.arguments({}, {"--v": 2}), "flag '--v': write its name without dashes"),
        (
            lambda: core.settings_from(core.ClusterSettings, {**CLUSTER, "etcd_endpoint": []}),
            "unknown setting 'etcd_endpoint', did you mean 'etcd_endpoints'",
        ),
        (lambda: core.settings_from(core.NodeSettings, {"name": "a"}), "missing 1 required positional argument: 'ip'"),
        (
            lambda: core.settings_from(core.NodeSettings, {"name": "a", "ip": "::1", "api_port": "x"}),
            "'api_port' has to be a whole number, not 'x'",
        ),
        (lambda: core.cluster_configuration(cluster(etcd_endpoints=[])), "'etcd_endpoints' is empty"),
        (
            lambda: core.init_configuration(core.NodeSettings("a", "::1", ignore_preflight_errors=["all"])),
            "'all' would hide every real one",
        ),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(core.KubeadmConfigError, match=message):
        call()


def test_filters_refuse_in_ansibles_words() -> None:
    with pytest.raises(AnsibleFilterError, match="kubeadm_init_documents: unknown setting 'endpoin'"):
        kubeadm_init_documents({**CLUSTER, "endpoin": ""}, NODE)
    with pytest.raises(AnsibleFilterError, match="kubeadm_join_documents: missing"):
        kubeadm_join_documents({"name": "a"}, "")


@pytest.mark.parametrize(
    ("taints", "expected"),
    [
        (None, "absent"),
        ([], []),
        ([{"key": "k", "value": "", "effect": "NoSchedule"}], [{"key": "k", "effect": "NoSchedule"}]),
    ],
)
def test_taints(taints: Any, expected: Any) -> None:
    node = dataclasses.replace(core.settings_from(core.NodeSettings, NODE), taints=taints)
    assert core.init_configuration(node)["nodeRegistration"].get("taints", "absent") == expected


def test_no_proxy() -> None:
    documents = core.init_documents(cluster(kube_proxy_mode="none"), core.settings_from(core.NodeSettings, NODE))
    assert [document["kind"] for document in documents] == [
        "InitConfiguration",
        "ClusterConfiguration",
        "KubeletConfiguration",
    ]
    assert documents[1]["proxy"] == {"disabled": True}


def test_single_control_plane_keeps_its_connections() -> None:
    assert "goaway-chance" not in flags(core.cluster_configuration(cluster(control_planes=1)), "apiServer")


def test_no_join_secret_and_no_lasting_token_in_the_documents() -> None:
    text = str([kubeadm_init_documents(CLUSTER, NODE), kubeadm_join_documents(NODE, "x:1", True)])
    assert "'token'" not in text and "certificateKey" not in text
    [token] = core.init_configuration(core.settings_from(core.NodeSettings, NODE))["bootstrapTokens"]
    assert token["groups"] == ["system:bootstrappers:unused"] and token["ttl"] == "1m0s"


def test_merge_is_deep() -> None:
    assert core.merged({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2], "d": 3}}) == {"a": {"b": 1, "c": [2], "d": 3}}
