"""What a node's files say of its cluster, and what cannot change any more."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _live_cluster
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._live_cluster import Live, judge, observe
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._machine_judge import Problem

RECORDED = Path(__file__).parent / "recorded"
MANAGER = """apiVersion: v1
kind: Pod
spec:
  containers:
  - command:
    - kube-controller-manager
    - --cluster-cidr=10.244.0.0/16,fd00:1::/104
    - --service-cluster-ip-range=10.96.0.0/16
    image: registry.k8s.io/kube-controller-manager:v1.36.3
status: {}
"""
KUBELET = "apiVersion: kubelet.config.k8s.io/v1beta1\nclusterDNS:\n- 10.96.0.10\nclusterDomain: cluster.local\n"
CONFLIST = {
    "name": "k8s-pod-network",
    "cniVersion": "0.3.1",
    "plugins": [
        {"type": "calico", "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true"}},
        {"type": "portmap", "snat": True},
    ],
}


def node(root: Path, **files: str) -> dict[str, Any]:
    places = {
        "apiserver": "etc/kubernetes/manifests/kube-apiserver.yaml",
        "manager": "etc/kubernetes/manifests/kube-controller-manager.yaml",
        "etcd": "etc/kubernetes/manifests/etcd.yaml",
        "kubelet": "var/lib/kubelet/config.yaml",
        "cni": "etc/cni/net.d/10-calico.conflist",
        "routes": "proc/net/route",
        "other_cni": "etc/cni/net.d/05-cilium.conflist",
    }
    for name, text in files.items():
        path = root / places[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return observe(str(root))


def test_a_control_plane(tmp_path: Path) -> None:
    apiserver = (RECORDED / "kube-apiserver.yaml").read_text()
    found = node(tmp_path, apiserver=apiserver, manager=MANAGER, kubelet=KUBELET, cni=json.dumps(CONFLIST))
    assert Live(**found) == Live(
        pod_cidrs=("10.244.0.0/16", "fd00:1::/104"),
        service_cidrs=("10.96.0.0/16",),
        domain="cluster.local",
        etcd_servers=("10.77.1.11", "10.77.1.12", "10.77.2.11"),
        network_plugin="calico",
        pod_families=(4, 6),
    )


def test_a_worker(tmp_path: Path) -> None:
    found = node(tmp_path, kubelet=KUBELET, other_cni='{"type": "cilium-cni"}', cni=json.dumps(CONFLIST))
    assert Live(**found) == Live(domain="cluster.local", network_plugin="cilium")


def test_a_bare_machine(tmp_path: Path) -> None:
    assert Live(**observe(str(tmp_path))) == Live()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "5", '{"plugins": 5}', '{"plugins": [5]}', '{"type": []}', '{"type": "bridge"}']
)
def test_cni_configurations_that_say_nothing(text: str) -> None:
    assert _live_cluster.cni_of(text) == ("", ())


def test_files_that_are_cut_off_say_nothing(tmp_path: Path) -> None:
    apiserver = (RECORDED / "kube-apiserver.yaml").read_text()
    for length in range(0, len(apiserver), 97):
        found = node(tmp_path, apiserver=apiserver[:length], manager=MANAGER[:length], kubelet=KUBELET[:length])
        assert judge(found, {}) == []


LIVE = Live(
    pod_cidrs=("10.244.0.0/16",),
    service_cidrs=("10.96.0.0/16",),
    domain="cluster.local",
    etcd_servers=("10.77.1.11", "10.77.1.12", "10.77.2.11"),
    network_plugin="calico",
    pod_families=(4,),
    endpoint="10.77.9.1:6443",
)
WANTED: dict[str, Any] = {
    "pod_cidrs": ["10.244.0.0/16"],
    "service_cidrs": ["10.96.0.0/16"],
    "domain": "cluster.local",
    "network_plugin": "calico",
    "etcd_addresses": ["10.77.1.11", "10.77.1.12", "10.77.2.11"],
    "endpoint": "https://10.77.9.1:6443",
}


@pytest.mark.parametrize(
    ("live", "wanted", "check", "old", "new"),
    [
        ({}, {"pod_cidrs": ["10.245.0.0/16"]}, "live_pod_cidrs", "10.244.0.0/16", "10.245.0.0/16"),
        ({}, {"pod_cidrs": ["10.244.0.0/15"]}, "live_pod_cidrs", "10.244.0.0/16", "10.244.0.0/15"),
        ({}, {"service_cidrs": ["10.97.0.0/16"]}, "live_service_cidrs", "10.96.0.0/16", "10.97.0.0/16"),
        ({}, {"service_cidrs": ["10.96.0.0/16", "fd00:2::/112"]}, "live_families", "with IPv4 (", "IPv4 then IPv6"),
        ({}, {"pod_cidrs": ["fd00:1::/104", "10.244.0.0/16"]}, "live_families", "with IPv4 (", "IPv6 then IPv4"),
        (
            {"pod_cidrs": ()},
            {"pod_cidrs": ["10.244.0.0/16", "fd00:1::/104"]},
            "live_families",
            "get IPv4",
            "IPv4 then IPv6",
        ),
        ({}, {"domain": "example.org"}, "live_domain", "cluster.local", "example.org"),
        ({}, {"network_plugin": "none"}, "live_network_plugin", "calico", "none"),
        ({"network_plugin": "cilium"}, {}, "live_network_plugin", "cilium", "calico"),
        ({}, {"endpoint": "https://10.77.9.1:8443"}, "live_api_endpoint", "10.77.9.1:6443", "10.77.9.1:8443"),
        ({}, {"endpoint": "https://127.0.0.1:7443"}, "live_api_endpoint", "10.77.9.1:6443", "127.0.0.1:7443"),
        ({"endpoint": "[fd00::1]:6443"}, {}, "live_api_endpoint", "[fd00::1]:6443", "10.77.9.1:6443"),
        ({}, {"etcd_addresses": ["10.77.9.1"]}, "live_etcd", "10.77.1.11", "10.77.9.1"),
        ({"etcd_servers": ("127.0.0.1",), "stacked_etcd": True}, {}, "live_etcd", "static pod", "as a service"),
    ],
)
def test_what_cannot_change(live: dict[str, Any], wanted: dict[str, Any], check: str, old: str, new: str) -> None:
    (found,) = judge(asdict(LIVE) | live, WANTED | wanted)
    assert found.check == check
    assert old in found.found
    assert new in found.what
    assert found.why
    assert found.fix


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"pod_cidrs": None, "service_cidrs": [], "domain": "", "network_plugin": "", "etcd_addresses": []},
        {"domain": "cluster.local."},
        {"endpoint": ""},
        {"endpoint": "https://10.77.9.1:6443/"},
        {"etcd_addresses": ["10.77.1.11", "10.77.1.12", "10.77.3.1"]},
        {"etcd_addresses": ["10.77.1.11", "10.77.1.12", "10.77.2.11", "10.77.3.1", "10.77.3.2"]},
    ],
)
def test_what_may_be_asked_for(wanted: dict[str, Any]) -> None:
    assert judge(json.loads(json.dumps(asdict(LIVE))), WANTED | wanted) == []


@pytest.mark.parametrize(
    ("families", "wanted"),
    [
        ((4,), ["10.244.0.0/16"]),
        # Another network of the same family: only a control plane's files can tell.
        ((4,), ["10.245.0.0/16"]),
        ((4, 6), ["fd00:1::/104", "10.244.0.0/16"]),
        ((4,), []),
        ((), ["fd00:1::/104"]),
    ],
)
def test_a_worker_that_has_what_is_asked_for(families: tuple[int, ...], wanted: list[str]) -> None:
    live = Live(domain="cluster.local", network_plugin="calico", pod_families=families)
    assert judge(asdict(live), WANTED | {"pod_cidrs": wanted}) == []


def test_a_bare_machine_may_become_anything() -> None:
    assert judge(asdict(Live()), WANTED) == []


def test_all_findings_at_once_in_the_shape_of_problems() -> None:
    found = judge(
        asdict(LIVE),
        {"pod_cidrs": ["10.1.0.0/16"], "domain": "a", "network_plugin": "none", "etcd_addresses": ["10.9.9.9"]},
    )
    assert [Problem(*one).check for one in found] == [
        "live_pod_cidrs",
        "live_domain",
        "live_network_plugin",
        "live_etcd",
    ]
    assert (
        "cluster_pod_cidrs asks for 10.1.0.0/16; found a live cluster with 10.244.0.0/16" in Problem(*found[0]).text()
    )


def test_ipv6_addresses_of_etcd_compare_in_any_spelling() -> None:
    live = asdict(LIVE) | {"etcd_servers": [_live_cluster._host("https://[fd00::b]:2379")]}
    assert judge(live, {"etcd_addresses": ["fd00:0::000b"]}) == []


MARKED = "# Written by bare_metal.kubernetes\n"
HAPROXY = {"parts": ["haproxy"], "binds": ["127.0.0.1:7443"]}
KEEPALIVED = {"parts": ["keepalived", "haproxy"], "binds": ["*:8443"], "vrrp": ["10.77.1.100"]}


@pytest.mark.parametrize(
    ("endpoint", "standing", "wanted", "words"),
    [
        ("127.0.0.1:7443", HAPROXY, {"endpoint": "https://127.0.0.1:7443", "endpoint_mode": "local"}, ""),
        (
            "127.0.0.1:7443",
            HAPROXY,
            {"endpoint": "https://10.77.1.100:8443", "endpoint_mode": "keepalived"},
            "bare_metal.kubernetes.api_endpoint_move moves it with service kept",
        ),
        (
            "127.0.0.1:7443",
            HAPROXY,
            {"endpoint": "https://10.77.1.100:8443", "endpoint_mode": "keepalived", "endpoint_moves": True},
            "",
        ),
        # Its clients have moved, the old one stands yet.
        (
            "10.77.1.100:8443",
            HAPROXY,
            {"endpoint": "https://10.77.1.100:8443", "endpoint_mode": "keepalived"},
            "Run bare_metal.kubernetes.api_endpoint_move again",
        ),
        (
            "10.77.1.100:8443",
            KEEPALIVED,
            {"endpoint": "https://10.77.1.100:8443", "endpoint_mode": "keepalived", "control_plane": True},
            "",
        ),
        # The playbook itself refuses what cannot be done with both.
        (
            "10.77.1.100:8443",
            KEEPALIVED,
            {"endpoint": "https://10.77.1.101:8443", "endpoint_mode": "keepalived", "endpoint_moves": True},
            "Move to another mode first",
        ),
        # On a worker nothing shows who provides it; the port of the same address may change.
        (
            "10.77.1.100:8443",
            {},
            {"endpoint": "https://10.77.1.100:9443", "endpoint_mode": "keepalived", "endpoint_moves": True},
            "",
        ),
    ],
)
def test_the_apis_address_moves_by_its_playbook_only(
    endpoint: str, standing: dict[str, Any], wanted: dict[str, Any], words: str
) -> None:
    findings = judge({"endpoint": endpoint, "standing": standing}, wanted)
    assert [(finding.check, words in finding.fix) for finding in findings] == (
        [("live_api_endpoint", True)] if words else []
    )


def test_what_answers_for_the_api_shows_in_the_files_of_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "etc/haproxy").mkdir(parents=True)
    (tmp_path / "etc/haproxy/haproxy.cfg").write_text(f"{MARKED}frontend x\n  bind 127.0.0.1:7443\n")
    assert node(tmp_path)["standing"] == {}
    (tmp_path / "etc/kubernetes").mkdir()
    (tmp_path / "etc/kubernetes/kubelet.conf").write_text("    server: https://127.0.0.1:7443\n")
    assert node(tmp_path)["standing"]["binds"] == ("127.0.0.1:7443",)


# As the kernel prints it: a default route, a blackhole to 10.244.7.64/26, another node's block, a blackhole to one address.
ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\tFE014D0A\t0003\t0\t0\t0\t00000000\t0\t0\t0
*\t4007F40A\t00000000\t0001\t0\t0\t0\tC0FFFFFF\t0\t0\t0
eth0\t8007F40A\tFE014D0A\t0003\t0\t0\t0\tC0FFFFFF\t0\t0\t0
*\t0507F40A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
*\tspoilt
"""
POOL = ["10.244.0.0/16"]


def test_blocks_are_routes_without_an_interface(tmp_path: Path) -> None:
    calico = json.dumps(CONFLIST)
    assert node(tmp_path, routes=ROUTES, cni=calico)["blocks"] == ("10.244.7.64/26", "10.244.7.5/32")
    assert node(tmp_path / "other", routes=ROUTES)["blocks"] == ()
    assert _live_cluster.routed_over("*", "") == ()


@pytest.mark.parametrize(
    ("interfaces", "plugin", "encapsulation"),
    [
        (("eth0", "cilium_host", "cilium_net"), "cilium-cni", "none"),
        (("cilium_host", "cilium_vxlan"), "cilium-cni", "vxlan"),
        (("cilium_host", "cilium_geneve"), "cilium-cni", "geneve"),
        (("eth0",), "cilium-cni", ""),
        ((), "cilium-cni", ""),
        (("cilium_host", "vxlan.calico"), "calico", ""),
    ],
)
def test_encapsulation_shows_in_the_interfaces(
    tmp_path: Path, interfaces: tuple[str, ...], plugin: str, encapsulation: str
) -> None:
    for name in interfaces:
        (tmp_path / "sys/class/net" / name).mkdir(parents=True)
    assert node(tmp_path, cni=json.dumps({"plugins": [{"type": plugin}]}))["encapsulation"] == encapsulation


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("none", "vxlan", 1),
        ("vxlan", "none", 1),
        ("vxlan", "geneve", 1),
        ("vxlan", "vxlan", 0),
        ("", "vxlan", 0),
        ("none", "", 0),
    ],
)
def test_encapsulation_under_cilium_stays(before: str, after: str, found: int) -> None:
    findings = judge({"encapsulation": before}, {"encapsulation": after})
    assert [finding.check for finding in findings] == ["live_encapsulation"] * found
    if found:
        assert (after in findings[0].what, before in findings[0].found) == (True, True)


# On a node under Cilium: its range, its own address of it, an address of another interface.
CILIUM_ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\tFE014F0A\t0003\t0\t0\t0\t00000000\t0\t0\t0
cilium_host\t0002F40A\t7002F40A\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0
cilium_host\t7002F40A\t00000000\t0001\t0\t0\t0\tFFFFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("size", "words"),
    [(24, ""), (23, "a live node with a range of /24"), (25, "a live node with a range of /24"), (0, "")],
)
def test_a_node_under_cilium_has_its_range_for_life(tmp_path: Path, size: int, words: str) -> None:
    live = node(tmp_path, routes=CILIUM_ROUTES, cni=json.dumps({"plugins": [{"type": "cilium-cni"}]}))
    assert live["blocks"] == ("10.244.2.0/24", "10.244.2.112/32")
    findings = judge(live, {"block_size": size, "pod_cidrs": POOL})
    assert [finding.found for finding in findings] == ([words] if words else [])
    if findings:
        assert f"ranges of /{size}" in findings[0].what
        assert "cluster_pods_per_node" in findings[0].fix


@pytest.mark.parametrize(
    ("blocks", "wanted", "found"),
    [
        (["10.244.7.64/26"], {"block_size": 26, "pod_cidrs": POOL}, 0),
        (["10.244.7.64/26", "10.244.7.5/32"], {"block_size": 24, "pod_cidrs": POOL}, 1),
        (["10.244.7.64/26", "10.244.8.0/24"], {"block_size": 24, "pod_cidrs": POOL}, 0),
        (["10.244.7.5/32"], {"block_size": 24, "pod_cidrs": POOL}, 0),
        (["192.0.2.0/26"], {"block_size": 24, "pod_cidrs": POOL}, 0),
        (["10.244.7.64/26"], {"block_size": 0, "pod_cidrs": POOL}, 0),
        (["10.244.7.64/26"], {"block_size": 24, "pod_cidrs": ["fd00::/64"]}, 0),
        ([], {"block_size": 24, "pod_cidrs": POOL}, 0),
    ],
)
def test_blocks_of_a_live_cluster_keep_their_size(blocks: list[str], wanted: dict[str, Any], found: int) -> None:
    findings = judge({"blocks": blocks}, wanted)
    assert [finding.check for finding in findings] == ["live_block_size"] * found
    if found:
        assert "/24" in findings[0].what
        assert "/26" in findings[0].found
        assert "cluster_calico_block_size to 26" in findings[0].fix
