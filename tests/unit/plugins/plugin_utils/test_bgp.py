"""What follows from the inventory's BGP variables: topology, reflectors, sessions, overhead; and Calico's objects of them. The rules (bgp_rules) are
tried in test_cluster.py.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.filter import calico as filters
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bgp, bgp_rules, calico, calico_bgp

from .test_calico_objects import RACK1, UPSTREAM, VALUES, build

REFLECTED = {"topology": "route_reflectors", "reflectors": ["a", "c"]}


@pytest.mark.parametrize(
    ("wanted", "peers", "encapsulation", "found"),
    [
        ("auto", True, "none", "tor"),
        ("auto", True, "vxlan", "tor"),
        ("auto", False, "none", "full_mesh"),
        ("auto", False, "vxlan_cross_subnet", "none"),
        ("", False, "none", "full_mesh"),
        ("route_reflectors", True, "none", "route_reflectors"),
    ],
)
def test_topology(wanted: str, peers: bool, encapsulation: str, found: str) -> None:
    assert bgp.topology_of(wanted, peers, encapsulation) == found


def speaker(name: str, rack: str = "", plane: bool = False, wish: bool | None = None) -> bgp.Speaker:
    return bgp.Speaker(name, rack, plane, wish)


def test_reflectors_are_one_of_each_rack_control_planes_first() -> None:
    nodes = [speaker("w1", "r1"), speaker("cp3", "r1", True), speaker("cp1", "r1", True), speaker("w2", "r2")]
    assert bgp.reflectors(nodes) == ["cp1", "w2"]
    assert bgp.reflectors([*nodes, *(speaker(f"x{rack}", rack) for rack in ("r3", "r4"))]) == ["cp1", "w2", "xr3"]


def test_one_rack_has_two_reflectors_and_one_node_one() -> None:
    assert bgp.reflectors([speaker("b"), speaker("a"), speaker("c")]) == ["a", "b"]
    assert bgp.reflectors([speaker("a")]) == ["a"]


def test_the_inventory_names_reflectors_or_keeps_hosts_out() -> None:
    assert bgp.reflectors([speaker("a"), speaker("b", wish=True), speaker("c", wish=True)]) == ["b", "c"]
    assert bgp.reflectors([speaker("a", wish=False), speaker("b"), speaker("c")]) == ["b", "c"]


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("rst"), st.booleans()), unique_by=lambda one: one[0]))
def test_the_election_does_not_depend_on_order_and_is_large_enough(nodes: list[tuple[int, str, bool]]) -> None:
    found = [speaker(f"n{number}", rack, plane) for number, rack, plane in nodes]
    chosen = bgp.reflectors(found)
    assert chosen == bgp.reflectors(reversed(found))
    assert len(chosen) == min(len(found), max(2, min(3, len({rack for _number, rack, _plane in nodes}))))


NODES = {
    "a": (["10.0.0.1"], ["10.0.0.254"]),
    "b": (["10.0.0.2"], ["10.0.0.254"]),
    "c": (["10.0.1.1"], ["10.0.1.254"]),
}
DUAL = {
    "a": (["10.0.0.1", "fd00::1"], ["10.0.0.254", "FD00:0::fe"]),
    "b": (["10.0.0.2", "fd00::2"], []),
    "c": (["10.0.1.1"], []),
}


@pytest.mark.parametrize(
    ("topology", "found"),
    [
        ("tor", {"a": ["10.0.0.254"], "b": ["10.0.0.254"], "c": ["10.0.1.254"]}),
        ("full_mesh", {"a": ["10.0.0.2", "10.0.1.1"], "b": ["10.0.0.1", "10.0.1.1"], "c": ["10.0.0.1", "10.0.0.2"]}),
        ("none", {"a": [], "b": [], "c": []}),
        (
            "route_reflectors",
            {
                "a": ["10.0.0.2", "10.0.0.254", "10.0.1.1"],
                "b": ["10.0.0.1", "10.0.1.1"],
                "c": ["10.0.0.1", "10.0.0.2", "10.0.1.254"],
            },
        ),
    ],
)
def test_sessions(topology: str, found: dict[str, list[str]]) -> None:
    assert bgp.sessions(topology, NODES, ["a", "c"]) == found


@pytest.mark.parametrize(
    ("topology", "found"),
    [
        ("tor", {"a": ["10.0.0.254", "fd00::fe"], "b": [], "c": []}),
        (
            "full_mesh",
            {
                "a": ["10.0.0.2", "10.0.1.1", "fd00::2"],
                "b": ["10.0.0.1", "10.0.1.1", "fd00::1"],
                "c": ["10.0.0.1", "10.0.0.2"],
            },
        ),
        (
            "route_reflectors",
            {
                "a": ["10.0.0.2", "10.0.0.254", "10.0.1.1", "fd00::2", "fd00::fe"],
                "b": ["10.0.0.1", "fd00::1"],
                "c": ["10.0.0.1"],
            },
        ),
    ],
)
def test_sessions_of_both_families(topology: str, found: dict[str, list[str]]) -> None:
    assert bgp.sessions(topology, DUAL, ["a"]) == found


@pytest.mark.parametrize("topology", bgp.TOPOLOGIES)
def test_sessions_between_nodes_have_two_ends(topology: str) -> None:
    found = bgp.sessions(topology, NODES, ["a", "c"])
    names = {address: name for name, ((address,), _routers) in NODES.items()}
    for name, neighbours in found.items():
        for other in (names[address] for address in neighbours if address in names):
            assert NODES[name][0][0] in found[other]


@pytest.mark.parametrize(
    ("way", "wireguard", "family", "size"),
    [
        ("none", False, 4, 0),
        ("vxlan", False, 4, 50),
        ("vxlan", True, 4, 60),
        ("geneve", False, 6, 70),
        ("none", True, 6, 80),
    ],
)
def test_overhead(way: str, wireguard: bool, family: int, size: int) -> None:
    assert bgp.overhead(way, wireguard, family) == size


@pytest.mark.parametrize(("nodes", "replicas"), [(3, 0), (50, 0), (51, 3), (600, 3), (601, 4), (5000, 20), (9000, 20)])
def test_typha_replicas(nodes: int, replicas: int) -> None:
    assert bgp.typha_replicas(nodes) == replicas == filters.calico_typha_replicas(nodes)


def test_tunnels_between_addresses_of_both_families_cost_what_the_larger_costs() -> None:
    assert filters.encapsulation_overhead("vxlan", False, "192.0.2.1") == 50
    assert filters.encapsulation_overhead("vxlan", False, "192.0.2.1", "2001:db8::1") == 70
    assert filters.encapsulation_overhead("vxlan", True, "2001:db8::1", "192.0.2.1") == 80


def test_sessions_are_read_from_the_inventory() -> None:
    hostvars = {
        "a": {
            "cluster_node_ip": "10.0.0.1",
            "cluster_rack": "r1",
            "cluster_bgp_peers": [{"address": "10.0.0.254", "as_number": 1}],
        },
        "b": {"ansible_host": "10.0.1.1", "cluster_rack": "r2"},
    }
    arguments = (["a", "b"], ["a"], hostvars)
    assert filters.bgp_sessions(*arguments, "auto", "none") == {"a": ["10.0.0.254"], "b": []}
    assert filters.bgp_sessions(*arguments, "route_reflectors", "vxlan") == {
        "a": ["10.0.0.254", "10.0.1.1"],
        "b": ["10.0.0.1"],
    }
    assert filters.bgp_sessions(*arguments, "none", "vxlan") == {"a": [], "b": []}


# --- Calico's objects

PASSWORDS = {"rack1": "s3cret-1", "mesh": "s3cret-m", "unused": "x"}


def specs(kind: str, **changes: Any) -> dict[str, Any]:
    return {name: obj["spec"] for (found, name), obj in build(**changes).items() if found == kind}


def with_peer(**options: Any) -> dict[str, Any]:
    return {"nodes": {"a": {"rack": "r", "peers": [{**RACK1, **options}]}}}


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"password": "rack1"}, {"password": {"secretKeyRef": {"name": "bare-metal-kubernetes-bgp", "key": "rack1"}}}),
        ({"source_address": "none"}, {"sourceAddress": "None"}),
        ({"reachable_by": "10.77.1.1"}, {"reachableBy": "10.77.1.1"}),
        ({"keep_original_next_hop": True}, {"keepOriginalNextHop": True}),
        ({"ttl_security": "1"}, {"ttlSecurity": 1}),
        ({"max_restart_seconds": 90}, {"maxRestartTime": "1m30s"}),
        ({"filters": ["x", "a"]}, {"filters": ["x", "a"]}),
        ({"allowed_own_as": 2}, {"numAllowedLocalASNumbers": 2}),
        ({"port": 1790}, {"peerIP": "10.77.1.254:1790"}),
        ({"port": 179, "bfd": False, "max_prefixes": 10}, {}),
        ({"address": "fd00::1", "port": 1790}, {"peerIP": "[fd00::1]:1790"}),
    ],
)
def test_the_options_of_a_session(options: dict[str, Any], fields: dict[str, Any]) -> None:
    plain = {"peerIP": "10.77.1.254", "asNumber": 64601, "nodeSelector": "bare-metal.kubernetes/rack == 'r'"}
    assert list(specs("BGPPeer", **with_peer(**options)).values()) == [{**plain, **fields}]


@pytest.mark.parametrize(("seconds", "text"), [(5, "5s"), (120, "2m0s"), (3600, "1h0m0s"), (4095, "1h8m15s")])
def test_durations_are_written_as_the_api_writes_them(seconds: int, text: str) -> None:
    assert specs("BGPPeer", **with_peer(max_restart_seconds=seconds))["rack-r-10-77-1-254"]["maxRestartTime"] == text
    lonely = specs("BGPConfiguration", nodes={"a": {}}, graceful_restart_seconds=seconds)
    assert lonely["default"]["nodeMeshMaxRestartTime"] == text


def test_reflectors_have_sessions_with_all_and_only_they_with_routers() -> None:
    found = specs("BGPPeer", mesh_password="mesh", **REFLECTED)
    assert sorted(found) == ["node-a-10-77-1-254", "rack-rack2-10-77-2-254", "route-reflectors"]
    assert found["node-a-10-77-1-254"] == {
        "peerIP": "10.77.1.254",
        "asNumber": 64601,
        "keepOriginalNextHop": True,
        "node": "a",
    }
    assert found["route-reflectors"] == {
        "nodeSelector": "all()",
        "peerSelector": "has(bare-metal.kubernetes/route-reflector)",
        "password": {"secretKeyRef": {"name": "bare-metal-kubernetes-bgp", "key": "mesh"}},
    }
    assert specs("BGPConfiguration", **REFLECTED)["default"]["nodeToNodeMeshEnabled"] is False


def test_calico_node_may_read_the_one_secret_that_sessions_name_and_no_other() -> None:
    assert ("Role", "bare-metal-kubernetes-bgp") not in build()
    values = {**VALUES, **with_peer(password="rack1"), "mesh_password": "mesh"}
    named = build(**{key: values[key] for key in ("nodes", "mesh_password")})
    (rule,) = named["Role", "bare-metal-kubernetes-bgp"]["rules"]
    assert rule["resourceNames"] == ["bare-metal-kubernetes-bgp"]
    assert named["RoleBinding", "bare-metal-kubernetes-bgp"]["subjects"][0]["name"] == "calico-node"
    assert filters.calico_secrets(PASSWORDS, values) == {
        "kube-system/bare-metal-kubernetes-bgp": {"mesh": "s3cret-m", "rack1": "s3cret-1"}
    }
    assert filters.calico_secrets(PASSWORDS, VALUES) == {}
    assert "s3cret" not in str(named)
    with pytest.raises(Exception, match="cluster_bgp_passwords has no 'mesh'"):
        filters.calico_secrets({}, values)


def test_filters_have_rules_for_the_families_of_their_networks() -> None:
    rules = [
        {"action": "reject", "cidr": "10.9.0.0/16", "match": "not_in"},
        {"action": "accept", "cidr": "fd00::/8"},
        {"action": "reject", "source": "remote_peers", "interface": "eth*"},
    ]
    assert specs("BGPFilter", filters=[{"name": "f", "import_rules": rules}])["f"] == {
        "importV4": [
            {"action": "Reject", "cidr": "10.9.0.0/16", "matchOperator": "NotIn"},
            {"action": "Reject", "source": "RemotePeers", "interface": "eth*"},
        ],
        "importV6": [
            {"action": "Accept", "cidr": "fd00::/8", "matchOperator": "In"},
            {"action": "Reject", "source": "RemotePeers", "interface": "eth*"},
        ],
    }


def test_communities_and_external_ranges() -> None:
    spec = specs(
        "BGPConfiguration",
        communities=[{"name": "gold", "value": "64512:300"}],
        advertisements=[{"cidr": "10.244.0.0/16", "communities": ["gold"]}],
        external_cidrs=["203.0.113.0/24"],
    )["default"]
    assert spec["communities"] == [{"name": "gold", "value": "64512:300"}]
    assert spec["prefixAdvertisements"] == [{"cidr": "10.244.0.0/16", "communities": ["gold"]}]
    assert spec["serviceExternalIPs"] == [{"cidr": "203.0.113.0/24"}]


# --- pools, encapsulation, data plane


@pytest.mark.parametrize(
    ("way", "mode"), [("none", "Never"), ("vxlan", "Always"), ("vxlan_cross_subnet", "CrossSubnet")]
)
def test_encapsulation(way: str, mode: str) -> None:
    assert specs("IPPool", encapsulation=way)["default-ipv4-ippool"]["vxlanMode"] == mode


def test_what_calico_cannot_do_is_refused() -> None:
    for changes, words in (
        ({"encapsulation": "geneve"}, "Calico has no geneve"),
        ({"data_plane": "ebpf"}, "eBPF data plane"),
        ({"data_plane": "nftables"}, "came with 3.29"),
        ({"topology": "none"}, "without BGP and without encapsulation"),
    ):
        with pytest.raises(calico.CalicoError, match=words):
            build(**changes)


def test_pools_of_racks() -> None:
    pools = [
        {"name": "one", "cidr": "10.244.0.0/18", "racks": ["rack2", "rack1"], "node_labels": {"tier": "gold"}},
        {
            "name": "old",
            "cidr": "10.244.64.0/18",
            "block_size": "28",
            "disabled": True,
            "announced": False,
            "nat_outgoing": False,
        },
    ]
    found = specs("IPPool", pools=pools)
    assert found["one"]["nodeSelector"] == "bare-metal.kubernetes/rack in {'rack1', 'rack2'} && tier == 'gold'"
    assert "disabled" not in found["one"]
    old = found["old"]
    assert (old["blockSize"], old["disabled"], old["disableBGPExport"], old["natOutgoing"]) == (28, True, True, False)
    assert old["nodeSelector"] == "all()"
    with pytest.raises(calico.CalicoError, match=r"cluster_pod_pools: 10.244.0.0/27 is smaller than one block \(/26\)"):
        build(pools=[{"name": "x", "cidr": "10.244.0.0/27"}])


def test_without_bgp_no_bird_runs_and_none_is_asked() -> None:
    upstream = copy.deepcopy(UPSTREAM)
    (container,) = upstream[3]["spec"]["template"]["spec"]["containers"]  # type: ignore[index]
    container["livenessProbe"] = {"exec": {"command": ["/bin/calico-node", "-felix-live", "-bird-live"]}}
    container["readinessProbe"] = {"exec": {"command": ["/bin/calico-node", "-bird-ready", "-felix-ready"]}}
    for topology, backend, live in (("none", "vxlan", 2), ("full_mesh", "bird", 3)):
        values = {**VALUES, "nodes": {"a": {}}, "encapsulation": "vxlan", "topology": topology}
        found = calico.objects(yaml.safe_dump_all(upstream), calico.settings_of(values))
        (config,) = [obj for obj in found if obj["metadata"]["name"] == "calico-config"]
        assert config["data"]["calico_backend"] == backend
        (daemon,) = [obj for obj in found if obj["kind"] == "DaemonSet"]
        (made,) = daemon["spec"]["template"]["spec"]["containers"]
        assert len(made["livenessProbe"]["exec"]["command"]) == len(made["readinessProbe"]["exec"]["command"]) == live


def test_dense_nodes_and_wireguard() -> None:
    assert "ipsetsRefreshInterval" not in specs("FelixConfiguration", pods_per_node=249)["default"]
    assert specs("FelixConfiguration", pods_per_node=250)["default"]["ipsetsRefreshInterval"] == "1m30s"
    assert specs("FelixConfiguration", wireguard=True)["default"]["wireguardEnabled"] is True
    both = specs("FelixConfiguration", wireguard=True, pod_cidrs=["10.244.0.0/16", "fd00::/48"])["default"]
    assert both["wireguardEnabledV6"] is True


def test_every_setting_of_the_role_is_one() -> None:
    text = (Path(__file__).resolve().parents[4] / "roles/calico/vars/main.yml").read_text(encoding="utf-8")
    names = set(yaml.safe_load(text)["__calico_settings"])
    assert names <= set(calico.Settings.__dataclass_fields__)
    assert {"topology", "encapsulation", "reflectors", "pools", "filters"} <= names


def test_names() -> None:
    assert calico_bgp.peer_name("rack", "Ä b", "fd00::1") == "rack-b-fd00-1"
    assert set(bgp_rules.RULES) >= {"bgp_topology", "bgp_sessions", "encapsulation"}
