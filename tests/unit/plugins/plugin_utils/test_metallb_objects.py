"""MetalLB's objects in each mode, from a manifest with the parts of upstream's in a few lines."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import metallb


def make(kind: str, name: str, image: str = "") -> dict[str, t.Any]:
    obj: dict[str, t.Any] = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "metallb-system"},
    }
    if image:
        obj["spec"] = {"template": {"spec": {"containers": [{"name": name, "image": image}]}}}
    return obj


TEXT = yaml.safe_dump_all(
    [
        make("ServiceAccount", "controller"),
        make("ServiceAccount", "speaker"),
        make("ClusterRole", "metallb-system:controller"),
        make("ClusterRole", "metallb-system:speaker"),
        make("Role", "pod-lister"),
        make("ConfigMap", "metallb-excludel2"),
        make("Deployment", "controller", "quay.io/metallb/controller:v0"),
        make("DaemonSet", "speaker", "quay.io/metallb/speaker:v0"),
    ]
)
IMAGES = {f"metallb/{name}": f"mirror/metallb/{name}:v9" for name in ("controller", "speaker")}
POOLS = [
    {"name": "public", "addresses": ["192.0.2.0/28"]},
    {"name": "b", "addresses": ["192.0.2.20-192.0.2.30"], "auto_assign": False},
]


def build(mode: str, pools: t.Any = None) -> dict[tuple[str, str], dict[str, t.Any]]:
    return {
        (obj["kind"], obj["metadata"]["name"]): obj
        for obj in metallb.objects(TEXT, mode, IMAGES, POOLS if pools is None else pools)
    }


def test_when_calico_announces_only_the_controller_is_installed() -> None:
    assert sorted(build("calico_bgp")) == [
        ("ClusterRole", "metallb-system:controller"),
        ("Deployment", "controller"),
        ("IPAddressPool", "b"),
        ("IPAddressPool", "public"),
        ("ServiceAccount", "controller"),
    ]


def test_in_layer_2_the_speakers_announce_each_pool() -> None:
    named = build("metallb_l2")
    assert named["L2Advertisement", "public"]["spec"] == {"ipAddressPools": ["public"]}
    assert named["L2Advertisement", "b"]["spec"] == {"ipAddressPools": ["b"]}
    assert ("Role", "pod-lister") in named
    (container,) = named["DaemonSet", "speaker"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "mirror/metallb/speaker:v9"
    assert container["resources"] == {"requests": {"cpu": "25m"}}
    assert not [kind for kind, _name in build("metallb_l2", []) if kind == "L2Advertisement"]


def test_pools() -> None:
    named = build("calico_bgp")
    assert named["IPAddressPool", "public"]["spec"] == {
        "addresses": ["192.0.2.0/28"],
        "autoAssign": True,
        "avoidBuggyIPs": True,
    }
    assert named["IPAddressPool", "b"]["spec"] == {
        "addresses": ["192.0.2.20-192.0.2.30"],
        "autoAssign": False,
        "avoidBuggyIPs": True,
    }
    assert named["IPAddressPool", "b"]["metadata"]["namespace"] == "metallb-system"


EDGE = {"match_labels": {"pool": "edge"}}
FULL = {
    "name": "full",
    "addresses": ["192.0.2.0/28", "2001:db8::/120"],
    "avoid_buggy_addresses": False,
    "priority": 5,
    "namespaces": ["web"],
    "namespace_selectors": [{"match_expressions": [{"key": "team", "operator": "Exists"}]}],
    "service_selectors": [{"match_labels": {"tier": "web"}}],
    "node_selectors": [EDGE],
    "interfaces": ["bond0"],
    "peers": ["10.0.1.254"],
    "communities": ["64512:2", "64512:1"],
    "local_preference": 0,
    "aggregation_length": 28,
    "aggregation_length_v6": None,
}


def test_every_option_of_a_pool_reaches_its_field() -> None:
    assert build("metallb_l2", [FULL])["IPAddressPool", "full"]["spec"] == {
        "addresses": ["192.0.2.0/28", "2001:db8::/120"],
        "autoAssign": True,
        "avoidBuggyIPs": False,
        "serviceAllocation": {
            "priority": 5,
            "namespaces": ["web"],
            "namespaceSelectors": [{"matchExpressions": [{"key": "team", "operator": "Exists"}]}],
            "serviceSelectors": [{"matchLabels": {"tier": "web"}}],
        },
    }
    assert build("metallb_l2", [FULL])["L2Advertisement", "full"]["spec"] == {
        "ipAddressPools": ["full"],
        "nodeSelectors": [{"matchLabels": {"pool": "edge"}}],
        "interfaces": ["bond0"],
    }
    assert speakers([FULL])["BGPAdvertisement", "full"]["spec"] == {
        "ipAddressPools": ["full"],
        "nodeSelectors": [{"matchLabels": {"pool": "edge"}}],
        "communities": ["64512:1", "64512:2"],
        "localPref": 0,
        "aggregationLength": 28,
        "peers": ["a-10-0-1-254-64701"],
    }


NODES = {
    "n1": {"rack": "a", "as_number": 64701, "peers": [{"address": "10.0.1.254", "as_number": 64601}]},
    "n2": {"rack": "a", "as_number": "64701", "peers": [{"address": "10.0.1.254", "as_number": "64601"}]},
    "n3": {
        "rack": "b",
        "as_number": 64702,
        "peers": [{"address": "10.0.2.254", "as_number": 64602, "password": "Rack B"}],
    },
    "n4": {"rack": "b", "as_number": 64703, "peers": [{"address": "10.0.2.254", "as_number": 64602}]},
    "n5": {"rack": "b", "as_number": 64702, "peers": []},
}
MAY = {"key": "node.kubernetes.io/exclude-from-external-load-balancers", "operator": "DoesNotExist"}


def speakers(pools: t.Any = None, **options: t.Any) -> dict[tuple[str, str], dict[str, t.Any]]:
    found = metallb.objects(TEXT, "metallb_bgp", IMAGES, pools or POOLS, nodes=NODES, **options)
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}


def test_a_session_for_each_router_rack_and_as() -> None:
    named = speakers()
    peers = {name: obj["spec"] for (kind, name), obj in named.items() if kind == "BGPPeer"}
    assert sorted(peers) == ["a-10-0-1-254-64701", "b-10-0-2-254-64702", "b-10-0-2-254-64703"]
    assert peers["a-10-0-1-254-64701"] == {
        "peerAddress": "10.0.1.254",
        "peerASN": 64601,
        "peerPort": 179,
        "myASN": 64701,
        "holdTime": "9s",
        # All of the rack: found by its label, so a node that is added needs no change. Not those that announce nothing.
        "nodeSelectors": [{"matchLabels": {"bare-metal.kubernetes/rack": "a"}, "matchExpressions": [MAY]}],
    }
    by_name = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n3"]}
    assert peers["b-10-0-2-254-64702"]["nodeSelectors"] == [{"matchExpressions": [by_name, MAY]}]
    assert peers["b-10-0-2-254-64702"]["passwordSecret"] == {
        "name": "bgp-password-rack-b",
        "namespace": "metallb-system",
    }
    assert "passwordSecret" not in peers["b-10-0-2-254-64703"]
    assert named["BGPAdvertisement", "b"]["spec"] == {"ipAddressPools": ["b"]}
    assert named["BGPPeer", "a-10-0-1-254-64701"]["apiVersion"] == "metallb.io/v1beta2"
    assert ("DaemonSet", "speaker") in named


def test_the_order_of_the_inventory_does_not_matter() -> None:
    turned = dict(reversed(NODES.items()))
    assert metallb.bgp_peers(turned, 9) == metallb.bgp_peers(NODES, 9)


def test_a_router_with_two_sessions_of_a_rack_has_two_objects() -> None:
    """By another port or another address of the node: the name cannot be the router's alone."""
    peer = {"address": "10.0.1.254", "as_number": 64601}
    nodes = {"n1": {"as_number": 64701, "peers": [peer]}, "n2": {"as_number": 64701, "peers": [peer | {"port": 1179}]}}
    found, names = metallb.bgp_peers(nodes, 9)
    assert [obj["metadata"]["name"] for obj in found] == ["node-10-0-1-254-64701", "node-10-0-1-254-64701-n2"]
    assert names == {"10.0.1.254": ["node-10-0-1-254-64701", "node-10-0-1-254-64701-n2"]}


def test_bfd_is_one_profile_for_all_sessions() -> None:
    named = speakers(bfd={"detect_multiplier": 3, "receive_interval_milliseconds": 100, "passive": False, "echo": None})
    assert named["BFDProfile", "routers"]["spec"] == {
        "detectMultiplier": 3,
        "receiveInterval": 100,
        "passiveMode": False,
    }
    assert all(obj["spec"]["bfdProfile"] == "routers" for (kind, _name), obj in named.items() if kind == "BGPPeer")
    assert not [kind for kind, _name in speakers() if kind == "BFDProfile"]


def test_passwords_are_secrets_and_one_without_a_value_is_refused() -> None:
    (secret,) = metallb.passwords(NODES, {"Rack B": "s3cret", "other": "x"})
    assert secret["type"] == "kubernetes.io/basic-auth"
    assert secret["metadata"] == {"name": "bgp-password-rack-b", "namespace": "metallb-system"}
    assert secret["data"] == {"password": "czNjcmV0"}
    with pytest.raises(metallb.MetallbError, match="cluster_bgp_passwords has no Rack B"):
        metallb.passwords(NODES, {})


@pytest.mark.parametrize(
    ("mode", "pools", "words"),
    [
        ("bgp", POOLS, "mode 'bgp' is none of calico_bgp, metallb_l2, metallb_bgp"),
        ("metallb_l2", [*POOLS, POOLS[0]], "pool public is given twice"),
        ("metallb_l2", [{"name": "x"}], "a pool is"),
        ("metallb_l2", ["x"], "a pool is"),
        ("metallb_l2", [{"name": "x", "addresses": ["all"]}], "pool 'x': 'all' is neither"),
    ],
)
def test_what_does_not_fit_is_refused(mode: str, pools: t.Any, words: str) -> None:
    with pytest.raises(metallb.MetallbError, match=words):
        metallb.objects(TEXT, mode, IMAGES, POOLS if pools is None else pools)


@pytest.mark.parametrize(("text", "words"), [("", "is not MetalLB's"), ("{", "not YAML")])
def test_another_manifest_is_refused(text: str, words: str) -> None:
    with pytest.raises(metallb.MetallbError, match=words):
        metallb.objects(text, "calico_bgp", IMAGES, POOLS)


def test_an_image_that_the_bundle_lacks_is_named() -> None:
    with pytest.raises(metallb.MetallbError, match="'metallb/controller', which the bundle does not have"):
        metallb.objects(TEXT, "calico_bgp", {}, POOLS)


def test_nodes_that_speak() -> None:
    router = [{"address": "10.0.1.254", "as_number": 64601}]
    hostvars: dict[str, dict[str, t.Any]] = {
        "cp1": {"cluster_bgp_peers": router},
        "cp2": {"cluster_bgp_peers": router, "cluster_node_taints": []},
        "gpu": {"cluster_bgp_peers": router, "cluster_node_taints": [{"key": "gpu", "effect": "NoSchedule"}]},
        "w1": {"cluster_bgp_peers": [*router, {"address": "10.0.2.254", "as_number": 64602}]},
        "w2": {},
    }
    expected = {"cp2": ["10.0.1.254"], "w1": ["10.0.1.254", "10.0.2.254"]}
    assert metallb.sessions_of(hostvars, ["cp1", "cp2"], hostvars) == expected


def test_pools_that_a_host_announces() -> None:
    pools = [{"name": "all"}, {"name": "edge", "node_selectors": [EDGE]}]
    hostvars: dict[str, dict[str, t.Any]] = {
        "cp1": {},
        "gpu": {"cluster_node_taints": [{"key": "gpu", "effect": "NoExecute"}]},
        "w1": {"cluster_node_labels": {"pool": "edge"}},
        "w2": {},
    }
    found = {host: [p["name"] for p in metallb.announced_by(host, ["cp1"], hostvars, pools)] for host in hostvars}
    assert found == {"cp1": [], "gpu": [], "w1": ["all", "edge"], "w2": ["all"]}


def test_as_numbers_of_32_bits_pass_the_definitions_own_schema() -> None:
    """Seen with kube-apiserver 1.36.3 and MetalLB v0.15.2: no BGPPeer at all was taken."""
    number = {"type": "integer", "format": "int32", "minimum": 0}
    schema = {
        "properties": {
            "myASN": number | {"maximum": 4294967295},
            "peerPort": number | {"maximum": 16384},
            "other": number,
        }
    }
    definition = make("CustomResourceDefinition", "bgppeers.metallb.io") | {"spec": {"versions": [{"schema": schema}]}}
    found = metallb.objects(yaml.safe_dump_all([definition, *yaml.safe_load_all(TEXT)]), "metallb_bgp", IMAGES, [])
    (changed,) = [obj for obj in found if obj["kind"] == "CustomResourceDefinition"]
    properties = changed["spec"]["versions"][0]["schema"]["properties"]
    assert {name: value["format"] for name, value in properties.items()} == {
        "myASN": "int64",
        "peerPort": "int32",
        "other": "int32",
    }
    assert properties["myASN"]["maximum"] == 4294967295
