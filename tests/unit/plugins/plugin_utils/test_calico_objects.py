"""Calico's objects: what is made of upstream's manifest (here one with the same parts in a few lines) and what is
added.
"""

from __future__ import annotations

import copy
import typing as t

import pytest
import yaml

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import calico

FELIX_DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "felixconfigurations.crd.projectcalico.org"},
    "spec": {
        "names": {"kind": "FelixConfiguration"},
        "versions": [
            {"schema": {"openAPIV3Schema": {"properties": {"spec": {"properties": {"iptablesBackend": {}}}}}}}
        ],
    },
}


def workload(kind: str, name: str, containers: list[t.Any], init: t.Sequence[t.Any] = ()) -> dict[str, t.Any]:
    pod = {"initContainers": list(init), "containers": containers}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"template": {"metadata": {"labels": {}}, "spec": pod}},
    }


UPSTREAM = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "calico-node"}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "calico-config"},
        "data": {
            "veth_mtu": "0",
            "calico_backend": "vxlan",
            "typha_service_name": "none",
            "cni_network_config": '{"ipam": {\n          "type": "calico-ipam"\n      }}',
        },
    },
    FELIX_DEFINITION,
    workload(
        "DaemonSet",
        "calico-node",
        [
            {
                "name": "calico-node",
                "image": "docker.io/calico/node:v3",
                "imagePullPolicy": "Always",
                "env": [{"name": "CALICO_IPV4POOL_IPIP", "value": "Always"}, {"name": "KEPT", "value": "x"}],
                "livenessProbe": {"exec": {"command": ["/bin/calico-node", "-felix-live", "-bird-live"]}},
                "readinessProbe": {"exec": {"command": ["/bin/calico-node", "-felix-ready", "-bird-ready"]}},
            }
        ],
        [{"name": "install-cni", "image": "registry.example.com:5000/mirror/calico/cni@sha256:00"}],
    ),
    workload(
        "Deployment",
        "calico-kube-controllers",
        [
            {
                "name": "c",
                "image": "quay.io/calico/kube-controllers:v3",
                "env": [{"name": "ENABLED_CONTROLLERS", "value": "node,loadbalancer"}],
            }
        ],
    ),
]
TEXT = yaml.safe_dump_all([*UPSTREAM, None])
IMAGES = {f"calico/{name}": f"quay.io/calico/{name}:v9" for name in ("node", "cni", "kube-controllers", "typha")}
RACK1, RACK2 = {"address": "10.77.1.254", "as_number": 64601}, {"address": "10.77.2.254", "as_number": 64602}
VALUES: dict[str, t.Any] = {
    "images": IMAGES,
    "nodes": {
        "a": {"rack": "rack1", "peers": [RACK1], "as_number": 64701},
        "b": {"rack": "rack1", "peers": [RACK1], "as_number": 64701},
        "c": {"rack": "rack2", "peers": [RACK2], "as_number": 64702},
    },
    "pod_cidrs": ["10.244.0.0/16"],
    "pods_per_node": 110,
    "api_host": "127.0.0.1",
    "api_port": "7443",
}


def build(**changes: t.Any) -> dict[tuple[str, str], dict[str, t.Any]]:
    found = calico.objects(TEXT, calico.settings_of({**VALUES, **changes}))
    named = {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}
    assert len(named) == len(found)
    return named


def environment(container: dict[str, t.Any]) -> dict[str, t.Any]:
    return {entry["name"]: entry.get("value") for entry in container["env"]}


@pytest.mark.parametrize(
    ("pods", "size", "blocks"),
    [(30, 26, 1), (110, 26, 4), (128, 26, 4), (129, 25, 3), (250, 25, 4), (500, 24, 4), (1000, 23, 4), (10_000, 20, 5)],
)
def test_block_size(pods: int, size: int, blocks: int) -> None:
    assert calico.block_size_for(pods) == size
    assert calico.blocks_needed(pods, size) == blocks
    assert blocks * 2 ** (32 - size) >= 2 * pods


@pytest.mark.parametrize(("pods", "size", "limit"), [(110, 26, 20), (500, 26, 20), (500, 28, 63), (110, 32, 220)])
def test_a_node_may_always_have_the_blocks_that_it_needs(pods: int, size: int, limit: int) -> None:
    assert calico.max_blocks_per_node(pods, size) == limit


def test_the_densest_node_decides_over_the_blocks_whoever_asks() -> None:
    nodes = {**VALUES["nodes"], "b": {"pods_per_node": 500}}
    named = build(nodes=nodes)
    assert named["IPPool", "default-ipv4-ippool"]["spec"]["blockSize"] == 24
    assert build(nodes=nodes, block_size="27")["IPPool", "default-ipv4-ippool"]["spec"]["blockSize"] == 27
    assert build(nodes=nodes, block_size=27)["IPAMConfig", "default"]["spec"] == {
        "strictAffinity": True,
        "autoAllocateBlocks": True,
        "maxBlocksPerHost": 32,
    }


def test_pools_are_routed_and_never_encapsulated() -> None:
    named = build(pod_cidrs=["10.244.0.0/16", "fd00:10::/56"], pods_per_node=500)
    assert named["IPPool", "default-ipv4-ippool"]["spec"] == {
        "cidr": "10.244.0.0/16",
        "blockSize": 24,
        "ipipMode": "Never",
        "vxlanMode": "Never",
        "natOutgoing": True,
        "nodeSelector": "all()",
        "allowedUses": ["Workload", "Tunnel"],
    }
    assert named["IPPool", "default-ipv6-ippool"]["spec"]["blockSize"] == 120


def test_a_pool_smaller_than_a_block_is_refused() -> None:
    with pytest.raises(calico.CalicoError, match=r"10.244.0.0/27 is smaller than one block \(/26\)"):
        build(pod_cidrs=["10.244.0.0/27"])


def test_a_router_of_a_whole_rack_is_one_peer_selected_by_the_racks_label() -> None:
    peers = {name: obj["spec"] for (kind, name), obj in build().items() if kind == "BGPPeer"}
    assert peers == {
        "rack-rack1-10-77-1-254": {
            "peerIP": "10.77.1.254",
            "asNumber": 64601,
            "nodeSelector": "bare-metal.kubernetes/rack == 'rack1'",
        },
        "rack-rack2-10-77-2-254": {
            "peerIP": "10.77.2.254",
            "asNumber": 64602,
            "nodeSelector": "bare-metal.kubernetes/rack == 'rack2'",
        },
    }


def test_a_router_of_some_nodes_is_a_peer_of_each() -> None:
    extra = {"address": "2001:db8::1", "as_number": 64601}
    nodes = {
        "a": {"rack": "r", "peers": [RACK1, extra]},
        "b": {"rack": "r", "peers": [RACK1]},
        "c": {"peers": [RACK2]},
        "d": {"peers": [RACK2]},
    }
    peers = {
        name: obj["spec"] for (kind, name), obj in build(nodes=nodes, allowed_own_as=1).items() if kind == "BGPPeer"
    }
    assert sorted(peers) == ["node-a-2001-db8-1", "node-c-10-77-2-254", "node-d-10-77-2-254", "rack-r-10-77-1-254"]
    assert peers["node-a-2001-db8-1"] == {
        "peerIP": "2001:db8::1",
        "asNumber": 64601,
        "numAllowedLocalASNumbers": 1,
        "node": "a",
    }


def test_the_order_of_the_inventory_means_nothing() -> None:
    turned = dict(reversed(list(VALUES["nodes"].items())))
    assert calico.objects(TEXT, calico.settings_of(VALUES)) == calico.objects(
        TEXT, calico.settings_of({**VALUES, "nodes": turned})
    )


def test_bgp_configuration() -> None:
    named = build(load_balancer_cidrs=["10.77.200.0/24"], service_cidrs=["10.96.0.0/16"], advertise_cluster_ips=True)
    assert named["BGPConfiguration", "default"]["spec"] == {
        "asNumber": 64701,
        "nodeToNodeMeshEnabled": False,
        "logSeverityScreen": "Info",
        "serviceLoadBalancerIPs": [{"cidr": "10.77.200.0/24"}],
        "serviceClusterIPs": [{"cidr": "10.96.0.0/16"}],
    }
    assert build(as_number=65000)["BGPConfiguration", "default"]["spec"]["asNumber"] == 65000
    lonely = build(nodes={"a": {}})["BGPConfiguration", "default"]["spec"]
    assert lonely == {"asNumber": 64512, "nodeToNodeMeshEnabled": True, "logSeverityScreen": "Info"}


def test_images_come_from_the_bundle_whatever_registry_upstream_names() -> None:
    named = build()
    pod = named["DaemonSet", "calico-node"]["spec"]["template"]["spec"]
    assert [one["image"] for one in (*pod["initContainers"], *pod["containers"])] == [
        "quay.io/calico/cni:v9",
        "quay.io/calico/node:v9",
    ]
    assert {one["imagePullPolicy"] for one in (*pod["initContainers"], *pod["containers"])} == {"IfNotPresent"}
    with pytest.raises(
        calico.CalicoError, match="DaemonSet calico-node wants image 'calico/cni', which the bundle does not have"
    ):
        build(images={"calico/node": "x"})


def test_the_node_makes_no_pool_of_its_own_and_finds_its_address_by_the_kubelets() -> None:
    (container,) = build()["DaemonSet", "calico-node"]["spec"]["template"]["spec"]["containers"]
    found = environment(container)
    assert not [name for name in found if name.startswith("CALICO_IPV")]
    assert found["KEPT"] == "x"
    assert found["NO_DEFAULT_POOLS"] == "true"
    assert found["IP_AUTODETECTION_METHOD"] == "kubernetes-internal-ip"
    assert found["FELIX_IPTABLESBACKEND"] == "NFT"
    assert "IP6" not in found
    (container,) = build(pod_cidrs=["fd00::/48"])["DaemonSet", "calico-node"]["spec"]["template"]["spec"]["containers"]
    assert environment(container)["IP6_AUTODETECTION_METHOD"] == "kubernetes-internal-ip"
    assert environment(container)["FELIX_IPV6SUPPORT"] == "true"


def test_a_change_of_what_pods_read_at_their_start_makes_new_pods() -> None:
    def mark(**changes: t.Any) -> str:
        template = build(**changes)["DaemonSet", "calico-node"]["spec"]["template"]
        return t.cast(str, template["metadata"]["annotations"]["bare-metal.kubernetes/configuration"])

    assert mark() == mark(load_balancer_cidrs=["192.0.2.0/24"])
    assert len({mark(), mark(api_port=6443), mark(mtu=9000)}) == 3


def test_the_api_is_found_without_kube_proxy() -> None:
    assert build()["ConfigMap", "kubernetes-services-endpoint"]["data"] == {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": "7443",
    }
    with pytest.raises(calico.CalicoError, match="api_host is empty"):
        build(api_host="")


def test_the_cni_configuration_asks_for_the_families_that_pods_have() -> None:
    def text(cidrs: list[str]) -> str:
        return t.cast(str, build(pod_cidrs=cidrs)["ConfigMap", "calico-config"]["data"]["cni_network_config"])

    assert "assign" not in text(["10.244.0.0/16"])
    assert yaml.safe_load(text(["10.244.0.0/16", "fd00::/48"]))["ipam"] == {
        "type": "calico-ipam",
        "assign_ipv4": "true",
        "assign_ipv6": "true",
    }
    assert yaml.safe_load(text(["fd00::/48"]))["ipam"]["assign_ipv4"] == "false"


@pytest.mark.parametrize(
    ("cidrs", "expected", "birds"),
    [
        (
            ["10.244.0.0/16"],
            {"IP": "autodetect", "IP6": None, "FELIX_IPV6SUPPORT": "false", "CALICO_ROUTER_ID": None},
            ["-bird"],
        ),
        (
            ["10.244.0.0/16", "fd00::/48"],
            {"IP": "autodetect", "IP6": "autodetect", "FELIX_IPV6SUPPORT": "true", "CALICO_ROUTER_ID": None},
            ["-bird", "-bird6"],
        ),
        (
            ["fd00::/48"],
            {"IP": "none", "IP6": "autodetect", "FELIX_IPV6SUPPORT": "true", "CALICO_ROUTER_ID": "hash"},
            ["-bird6"],
        ),
    ],
)
def test_a_node_has_the_addresses_and_daemons_of_its_families(
    cidrs: list[str], expected: dict[str, str | None], birds: list[str]
) -> None:
    (container,) = build(pod_cidrs=cidrs)["DaemonSet", "calico-node"]["spec"]["template"]["spec"]["containers"]
    given = environment(container)
    assert {name: given.get(name) for name in expected} == expected
    for probe, word in (("livenessProbe", "live"), ("readinessProbe", "ready")):
        asked = [flag for flag in container[probe]["exec"]["command"] if "bird" in flag]
        assert asked == [f"{bird}-{word}" for bird in birds]


def test_calico_leaves_load_balancer_addresses_to_metallb() -> None:
    (container,) = build()["Deployment", "calico-kube-controllers"]["spec"]["template"]["spec"]["containers"]
    assert environment(container)["ENABLED_CONTROLLERS"] == "node"
    assert container["resources"]["requests"]["cpu"] == "50m"


def test_nftables_is_asked_for_where_the_release_knows_it() -> None:
    assert "nftablesMode" not in build()["FelixConfiguration", "default"]["spec"]
    newer = copy.deepcopy(FELIX_DEFINITION)
    newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["nftablesMode"] = {}  # type: ignore[index]
    text = yaml.safe_dump_all([newer if obj is FELIX_DEFINITION else obj for obj in UPSTREAM])
    for mode, expected in (("nftables", "Enabled"), ("iptables", "Disabled"), ("none", "Disabled")):
        found = calico.objects(text, calico.settings_of({**VALUES, "kube_proxy_mode": mode}))
        (felix,) = [obj["spec"] for obj in found if obj["kind"] == "FelixConfiguration"]
        assert felix["nftablesMode"] == expected


def test_the_users_felix_settings_win() -> None:
    named = build(felix={"logSeverityScreen": "Debug", "iptablesBackend": "Legacy"})
    felix = named["FelixConfiguration", "default"]["spec"]
    assert {**felix, "mtuIfacePattern": ""} == {
        "logSeverityScreen": "Debug",
        "iptablesBackend": "Legacy",
        "mtuIfacePattern": "",
    }
    (container,) = named["DaemonSet", "calico-node"]["spec"]["template"]["spec"]["containers"]
    assert environment(container)["FELIX_IPTABLESBACKEND"] == "Legacy"


def test_typha_is_there_when_it_is_wanted() -> None:
    assert ("Deployment", "calico-typha") not in build()
    named = build(typha_replicas="3")
    assert named["Deployment", "calico-typha"]["spec"]["replicas"] == 3
    assert named["ConfigMap", "calico-config"]["data"]["typha_service_name"] == "calico-typha"
    (container,) = named["DaemonSet", "calico-node"]["spec"]["template"]["spec"]["containers"]
    assert environment(container)["FELIX_TYPHAK8SSERVICENAME"] == "calico-typha"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it has nothing"),
        (
            "kind: ConfigMap\napiVersion: v1\nmetadata: {}\ndata: {cni_network_config: ''}",
            "is not a calico.yaml: it has ConfigMap",
        ),
        ("{", "is not YAML"),
    ],
)
def test_another_manifest_is_refused(text: str, words: str) -> None:
    with pytest.raises(calico.CalicoError, match=words):
        calico.objects(text, calico.settings_of(VALUES))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colour": 1}, "unknown settings: colour"),
        ({"pods_per_node": "many"}, "does not fit"),
        ({"nodes": {"a": {"peers": [{"address": "nowhere", "as_number": 1}]}}}, "nowhere"),
        ({"nodes": {"a": {"peers": [{"address": "192.0.2.1"}]}}}, "as_number"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, t.Any], words: str) -> None:
    with pytest.raises(calico.CalicoError, match=words):
        calico.settings_of({**VALUES, **changes})


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["10.77.200.0/24"], ["10.77.200.0/24"]),
        (["10.0.0.10-10.0.0.13"], ["10.0.0.10/31", "10.0.0.12/31"]),
        (["10.0.0.0/25", "10.0.0.128/25", "10.0.0.7"], ["10.0.0.0/24"]),
        (["fd00::/120", "192.0.2.1"], ["192.0.2.1/32", "fd00::/120"]),
    ],
)
def test_pools_become_networks(addresses: list[str], expected: list[str]) -> None:
    assert calico.pool_cidrs([{"name": "p", "addresses": addresses}]) == expected


@pytest.mark.parametrize("text", ["10.0.0.9-10.0.0.1", "10.0.0.1-fd00::1", "ten", ""])
def test_addresses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(calico.CalicoError, match="neither a CIDR nor a range"):
        calico.pool_cidrs([{"name": "p", "addresses": [text]}])


def test_nodes_are_read_from_the_inventory_with_the_defaults_of_a_cluster() -> None:
    hostvars = {
        "w": {
            "cluster_rack": "r",
            "cluster_bgp_peers": [RACK1],
            "cluster_bgp_as_number": "64701",
            "cluster_pods_per_node": 500,
        },
        "c": {},
    }
    found = calico.nodes_of(["w", "c"], hostvars)
    assert list(found) == ["c", "w"]
    assert found["c"] == {"rack": "", "peers": [], "as_number": 64512, "pods_per_node": 0}
    assert found["w"] == {"rack": "r", "peers": [RACK1], "as_number": 64701, "pods_per_node": 500}
