"""Cilium's values and objects: each follows from the cluster, in the form that the release knows; what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.filter.cilium import cilium_range_size
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cilium, cilium_bgp
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import default_cache_dir
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cilium import CiliumError, Settings

jsonschema = pytest.importorskip("jsonschema")

OLD, NEW = "v1.15.19", "v1.20.2"
IMAGES = {
    "cilium/cilium": "quay.io/cilium/cilium:v1@sha256:aa",
    "cilium/operator-generic": "quay.io/cilium/operator-generic:v1@sha256:bb",
}
ROUTER1, ROUTER2 = {"address": "10.77.1.254", "as_number": 64601}, {"address": "10.77.2.254", "as_number": 64602}
NODES: dict[str, Any] = {
    "cp1": {"rack": "rack1", "as_number": 64701, "peers": [ROUTER1], "pods_per_node": 110},
    "worker1": {"rack": "rack1", "as_number": 64701, "peers": [ROUTER1], "pods_per_node": 500},
    "worker2": {"rack": "rack2", "as_number": 64702, "peers": [ROUTER2], "pods_per_node": 500},
}
POOLS = [{"name": "public", "addresses": ["198.51.100.0/24", "203.0.113.10-203.0.113.20"]}]
# What the chart says of the values that are set here: the types in values.schema.json of 1.20.2 (1.15 has no schema); null: below an object of free form.
TYPES: dict[str, list[str] | None] = json.loads((Path(__file__).parent / "cilium_1_20_2_types.json").read_text())
CHART = default_cache_dir() / "go/mod/github.com/cilium/cilium@v1.20.2/install/kubernetes/cilium"
DEFINITIONS = default_cache_dir() / "go/mod/github.com/cilium/cilium@{version}/pkg/k8s/apis/cilium.io/client/crds"


def settings(version: str = OLD, **values: Any) -> Settings:
    base = {
        "version": version,
        "images": IMAGES,
        "nodes": NODES,
        "pod_cidrs": ["10.244.0.0/16"],
        "pods_per_node": 110,
        "api_host": "127.0.0.1",
        "api_port": 7443,
    }
    return cilium.settings_of({**base, **values})


def value_of(path: str, subject: Settings) -> Any:
    return next((value.value for value in cilium.chart_values(subject) if value.path == path), None)


@pytest.mark.parametrize(
    ("version", "choices", "path", "expected"),
    [
        (OLD, {}, "ipam.operator.clusterPoolIPv4PodCIDRList", ["10.244.0.0/16"]),
        (OLD, {}, "ipam.operator.clusterPoolIPv4MaskSize", 22),
        (OLD, {"nodes": {"cp1": NODES["cp1"]}}, "ipam.operator.clusterPoolIPv4MaskSize", 24),
        (OLD, {"pod_cidrs": ["10.244.0.0/16", "fd00:1::/56"]}, "ipam.operator.clusterPoolIPv6MaskSize", 64),
        (OLD, {}, "ipv6.enabled", False),
        (OLD, {"pod_cidrs": ["10.244.0.0/16", "fd00:1::/56"]}, "ipv6NativeRoutingCIDR", "fd00:1::/56"),
        (OLD, {}, "routingMode", "native"),
        (OLD, {}, "autoDirectNodeRoutes", False),
        (OLD, {}, "directRoutingSkipUnreachable", None),
        (NEW, {}, "autoDirectNodeRoutes", True),
        (NEW, {}, "directRoutingSkipUnreachable", True),
        (NEW, {"topology": "none"}, "directRoutingSkipUnreachable", None),
        (OLD, {"topology": "none"}, "autoDirectNodeRoutes", True),
        (OLD, {"topology": "none"}, "bgpControlPlane.enabled", False),
        (OLD, {}, "bgpControlPlane.enabled", True),
        (OLD, {"encapsulation": "vxlan"}, "routingMode", "tunnel"),
        (OLD, {"encapsulation": "geneve"}, "tunnelProtocol", "geneve"),
        (OLD, {"encapsulation": "vxlan"}, "autoDirectNodeRoutes", False),
        (OLD, {}, "tunnelProtocol", None),
        (OLD, {}, "kubeProxyReplacement", "true"),
        (OLD, {"kube_proxy_mode": "nftables"}, "kubeProxyReplacement", "false"),
        (OLD, {"kube_proxy_mode": "nftables"}, "bpf.masquerade", False),
        (OLD, {"kube_proxy_mode": "nftables"}, "bpf.lbMapMax", None),
        (OLD, {}, "MTU", None),
        (OLD, {"mtu": 8950}, "MTU", 8950),
        (OLD, {}, "bpf.ctTcpMax", 1 << 20),
        (OLD, {}, "bpf.natMax", 1 << 20),
        (OLD, {"nodes": {"cp1": NODES["cp1"]}}, "bpf.ctTcpMax", 1 << 18),
        (OLD, {}, "k8sClientRateLimit.qps", 18),
        (OLD, {"nodes": {"cp1": NODES["cp1"]}}, "k8sClientRateLimit.qps", 10),
        (OLD, {"total_pods": 30_000}, "bpf.policyMapMax", 32768),
        (OLD, {"total_pods": 150_000}, "bpf.policyMapMax", 65536),
        (OLD, {"total_pods": 30_000}, "bpf.lbMapMax", 131072),
        (OLD, {}, "hubble.enabled", False),
        (OLD, {"hubble": True}, "hubble.listenAddress", ""),
        (OLD, {}, "operator.replicas", 2),
        (OLD, {"nodes": {"cp1": NODES["cp1"]}}, "operator.replicas", 1),
        (OLD, {}, "defaultLBServiceIPAM", None),
        (NEW, {}, "defaultLBServiceIPAM", "none"),
        (NEW, {"pools": POOLS}, "defaultLBServiceIPAM", None),
        (OLD, {}, "image.override", IMAGES["cilium/cilium"]),
    ],
)
def test_a_value_follows_from_the_cluster(version: str, choices: dict[str, Any], path: str, expected: Any) -> None:
    assert value_of(path, settings(version, **choices)) == expected


def test_every_value_has_a_reason_and_stands_once() -> None:
    for version in (OLD, NEW):
        for choices in ({}, {"encapsulation": "vxlan", "hubble": True, "mtu": 1400}):
            found = cilium.chart_values(settings(version, **choices))
            assert all(len(value.reason) > 5 for value in found)
            assert len({value.path for value in found}) == len(found)


def test_a_full_node_has_asked_for_all_its_endpoints_within_a_minute() -> None:
    """The agent's default is one in two seconds: 1000 s for 500 pods."""
    told = str(value_of("apiRateLimit", settings()))
    assert told.startswith(
        "endpoint-create=rate-limit:9/s,rate-burst:18,parallel-requests:18,endpoint-patch=rate-limit:9/s"
    )


@given(st.integers(1, 2500))
def test_maps_hold_a_full_node_within_the_agent_s_bounds(pods: int) -> None:
    tcp, other = cilium.connection_entries(pods)
    assert cilium.CT_MIN <= tcp <= cilium.CT_MAX
    assert tcp >= 2048 * pods
    # daemon: more NAT entries than connections are refused.
    assert 1024 <= cilium.nat_entries(pods) <= tcp + other
    assert cilium.endpoint_rate(pods) * cilium.START_SECONDS >= pods
    assert cilium.client_qps(pods) <= cilium.CLIENT_QPS_MAX


@given(st.integers(0, 1 << 30))
def test_power_of_two(number: int) -> None:
    found = cilium.power_of_two(number)
    assert found >= number
    assert found & (found - 1) == 0
    assert number <= 1 or found < 2 * number


def test_numbers_from_a_million_on_are_texts_for_charts_that_print_an_exponent() -> None:
    assert cilium.values_for(settings(OLD))["bpf"]["ctTcpMax"] == "1048576"
    assert cilium.values_for(settings(OLD))["bpf"]["ctAnyMax"] == 524288
    assert cilium.values_for(settings(NEW))["bpf"]["ctTcpMax"] == 1048576
    assert cilium.printable(True, (1, 15)) is True


def test_the_user_s_values_lie_on_top() -> None:
    values = cilium.values_for(settings(values={"debug": {"enabled": True}, "bpf": {"policyMapMax": 20000}}))
    assert values["debug"] == {"enabled": True}
    assert values["bpf"]["policyMapMax"] == 20000
    assert values["bpf"]["ctAnyMax"] == 524288


@pytest.mark.parametrize(
    ("values", "owned"),
    [
        ({}, {}),
        ({"bpf": {"masquerade": False}}, {}),
        ({"ipam": {"mode": "kubernetes"}}, {"ipam.mode": "cluster_pod_cidrs"}),
        ({"ipam": {}}, {"ipam": "cluster_pod_cidrs"}),
        ({"kubeProxyReplacement": True}, {"kubeProxyReplacement": "cluster_kube_proxy_mode"}),
        ({"image": {"tag": "v9"}}, {"image.tag": "cluster_release_set"}),
        ({"operator": {"image": {"tag": "v9"}, "replicas": 1}}, {"operator.image.tag": "cluster_release_set"}),
        ({"hubble": {"enabled": True, "metrics": {}}}, {"hubble.enabled": "cluster_cilium_hubble"}),
        ({"ipv4": None}, {"ipv4": "cluster_pod_cidrs"}),
        ({"imagePullSecrets": []}, {}),
    ],
)
def test_values_that_follow_from_variables_are_named(values: dict[str, Any], owned: dict[str, str]) -> None:
    assert cilium.owned(values) == owned
    if owned:
        with pytest.raises(CiliumError, match=next(iter(owned.values()))):
            cilium.values_for(settings(values=values))


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"api_host": ""}, "api_host is empty"),
        ({"encapsulation": "ipip"}, "encapsulation 'ipip' is none of none, vxlan, geneve"),
        ({"version": "latest"}, "'latest' is not a version"),
        ({"images": {}}, "no image cilium/cilium and no cilium/operator-generic"),
        ({"pod_cidrs": ["10.244.0.0/24"]}, "does not fit the pod range's /24"),
        ({"colour": "blue"}, "unknown settings: colour"),
        ({"pods_per_node": "many"}, "does not fit"),
    ],
)
def test_what_does_not_fit_is_refused(choices: dict[str, Any], words: str) -> None:
    with pytest.raises((CiliumError, ValueError), match=words):
        cilium.chart_values(settings(**choices))


def test_a_range_more_than_16_bits_from_its_pool_is_refused() -> None:
    with pytest.raises(CiliumError, match="/8 and a node's /26 are more than 16 bits apart; use /10 or longer"):
        cilium.chart_values(
            settings(pod_cidrs=["10.0.0.0/8"], nodes={"a": {"as_number": 1, "pods_per_node": 30}}, pods_per_node=30)
        )


# --- against the current release's chart


@pytest.mark.parametrize("hubble", [False, True])
@pytest.mark.parametrize("encapsulation", ["none", "vxlan"])
@pytest.mark.parametrize("mode", ["none", "nftables"])
def test_the_current_chart_s_schema_takes_every_value(mode: str, encapsulation: str, hubble: bool) -> None:
    """By the recorded types of those paths; the next test holds the record against the schema itself where the module is at hand."""
    subject = settings(NEW, kube_proxy_mode=mode, encapsulation=encapsulation, hubble=hubble, mtu=1400, topology="auto")
    for value in cilium.chart_values(subject):
        assert value.path in TYPES, value.path
        types = TYPES[value.path]
        jsonschema.validate(value.value, {} if types is None else {"type": types})


def test_the_recorded_types_are_those_of_the_schema() -> None:
    if not CHART.is_dir():
        pytest.skip(
            "Cilium 1.20.2's module is not in the Go client's cache: go mod download github.com/cilium/cilium@v1.20.2"
        )
    schema = json.loads((CHART / "values.schema.json").read_text())
    for path, types in TYPES.items():
        here: Any = schema
        for part in path.split("."):
            here = here["properties"].get(part, {}) if "properties" in here else {"type": None}
        told = here["type"]
        assert types == ([told] if isinstance(told, str) else told), path
    jsonschema.validate(cilium.values_for(settings(NEW, hubble=True, pools=POOLS)), schema)


def test_objects_are_valid_by_the_definitions_of_their_release() -> None:
    seen = 0
    for version in (OLD, NEW):
        directory = Path(str(DEFINITIONS).format(version=version))
        if not directory.is_dir():
            continue
        schemas = {}
        for path in directory.rglob("*.yaml"):
            definition = yaml.safe_load(path.read_text())
            for entry in definition["spec"]["versions"]:
                name = (f"cilium.io/{entry['name']}", definition["spec"]["names"]["kind"])
                schemas[name] = entry["schema"]["openAPIV3Schema"]
        for obj in cilium_bgp.objects(settings(version, pools=POOLS, passwords={"tor": "x"}, nodes=with_password())):
            if obj["kind"] == "Secret":
                continue
            schema = schemas[(obj["apiVersion"], obj["kind"])]
            jsonschema.validate(obj, schema)
            assert set(obj["spec"]) <= set(schema["properties"]["spec"]["properties"])
            seen += 1
    if not seen:
        pytest.skip("no module of Cilium's is in the Go client's cache")


# --- sessions and pools


def with_password() -> dict[str, Any]:
    return {**NODES, "worker2": {**NODES["worker2"], "peers": [{**ROUTER2, "password": "tor"}]}}


def test_the_old_release_gets_a_policy_a_rack() -> None:
    first, second = cilium_bgp.objects(settings(OLD))
    assert (first["kind"], first["metadata"]["name"]) == ("CiliumBGPPeeringPolicy", "rack-rack1")
    assert first["spec"]["nodeSelector"] == {"matchLabels": {"bare-metal.kubernetes/rack": "rack1"}}
    (router,) = second["spec"]["virtualRouters"]
    assert (router["localASN"], router["exportPodCIDR"], "serviceSelector" in router) == (64702, True, False)
    (neighbour,) = router["neighbors"]
    assert (neighbour["peerAddress"], neighbour["peerASN"]) == ("10.77.2.254/32", 64602)
    assert neighbour["families"] == [{"afi": "ipv4", "safi": "unicast"}]


def test_the_new_release_gets_cluster_configurations() -> None:
    kinds = [obj["kind"] for obj in cilium_bgp.objects(settings(NEW, pools=POOLS))]
    assert kinds == [
        "CiliumBGPClusterConfig",
        "CiliumBGPClusterConfig",
        "CiliumBGPPeerConfig",
        "CiliumBGPAdvertisement",
        "CiliumLoadBalancerIPPool",
    ]
    advertised = cilium_bgp.objects(settings(NEW, pools=POOLS))[3]
    assert [entry["advertisementType"] for entry in advertised["spec"]["advertisements"]] == ["PodCIDR", "Service"]
    label = advertised["metadata"]["labels"]
    config = cilium_bgp.objects(settings(NEW))[2]
    assert config["spec"]["families"][0]["advertisements"] == {"matchLabels": label}


@pytest.mark.parametrize("version", [OLD, NEW])
def test_encapsulated_pods_are_announced_to_nobody(version: str) -> None:
    text = json.dumps(cilium_bgp.objects(settings(version, encapsulation="vxlan", pools=POOLS)))
    assert "PodCIDR" not in text.replace("exportPodCIDR", "")
    assert '"exportPodCIDR": true' not in text


@pytest.mark.parametrize("topology", ["none", "full_mesh"])
@pytest.mark.parametrize("version", [OLD, NEW])
def test_routers_of_somebody_else_get_no_session(version: str, topology: str) -> None:
    assert cilium_bgp.objects(settings(version, topology=topology)) == []


def test_a_part_of_a_rack_is_selected_by_name() -> None:
    nodes = {**NODES, "worker3": {"rack": "rack1", "as_number": 65001, "peers": [ROUTER1]}}
    found = {group.name: group for group in cilium_bgp.groups(settings(nodes=nodes).nodes)}
    assert set(found) == {"nodes-cp1", "nodes-worker3", "rack-rack2"}
    (expression,) = found["nodes-cp1"].selector["matchExpressions"]
    assert expression == {"key": "kubernetes.io/hostname", "operator": "In", "values": ["cp1", "worker1"]}


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a", "b"]), st.integers(64512, 64514), st.booleans()), min_size=1, max_size=8
    )
)
def test_a_node_is_in_one_group_and_those_with_routers_are_in_one(rows: list[tuple[str, int, bool]]) -> None:
    nodes = {
        f"n{index}": {"rack": rack, "as_number": number, "peers": [ROUTER1] if peers else []}
        for index, (rack, number, peers) in enumerate(rows)
    }
    subject = settings(nodes=nodes)
    found = cilium_bgp.groups(subject.nodes)
    assert len({group.name for group in found}) == len(found)
    for node in subject.nodes:
        labels = {"bare-metal.kubernetes/rack": node.rack, "kubernetes.io/hostname": node.name}
        matching = [
            group
            for group in found
            if all(labels[key] == value for key, value in group.selector.get("matchLabels", {}).items())
            and all(labels[entry["key"]] in entry["values"] for entry in group.selector.get("matchExpressions", []))
        ]
        assert len(matching) == (1 if node.peers else 0)


@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_password_is_a_secret_that_the_session_names(version: str) -> None:
    objects = cilium_bgp.objects(settings(version, nodes=with_password(), passwords={"tor": "s3cret", "other": "y"}))
    (secret,) = [obj for obj in objects if obj["kind"] == "Secret"]
    assert secret["stringData"] == {"password": "s3cret"}
    others = json.dumps([obj for obj in objects if obj["kind"] != "Secret"])
    assert others.count(f'"authSecretRef": "{secret["metadata"]["name"]}"') == 1
    assert "s3cret" not in others
    with pytest.raises(CiliumError, match="has no 'tor'"):
        cilium_bgp.objects(settings(version, nodes=with_password()))


def test_pools_of_addresses() -> None:
    pools = [*POOLS, {"name": "mail", "addresses": ["203.0.113.64"], "auto_assign": False}]
    first, second = (
        obj for obj in cilium_bgp.objects(settings(pools=pools)) if obj["kind"] == "CiliumLoadBalancerIPPool"
    )
    assert first["spec"]["blocks"] == [{"cidr": "198.51.100.0/24"}, {"start": "203.0.113.10", "stop": "203.0.113.20"}]
    assert "serviceSelector" not in first["spec"]
    assert second["spec"]["serviceSelector"] == {"matchLabels": {"bare-metal.kubernetes/load-balancer-pool": "mail"}}
    with pytest.raises(CiliumError, match="pool 'bad' has an address"):
        cilium_bgp.objects(settings(pools=[{"name": "bad", "addresses": ["10.0.0.0/99"]}]))


# --- what the chart gave


def rendered(image: str = IMAGES["cilium/cilium"], **metadata: Any) -> list[dict[str, Any]]:
    def workload(kind: str, name: str, used: str) -> dict[str, Any]:
        spec = {"template": {"spec": {"initContainers": [{"image": used}], "containers": [{"image": used}]}}}
        return {"kind": kind, "metadata": {"name": name}, "spec": spec}

    return [
        {"kind": "ConfigMap", "metadata": {"name": "cilium-config", **metadata}},
        workload("DaemonSet", "cilium", image),
        workload("Deployment", "cilium-operator", IMAGES["cilium/operator-generic"]),
    ]


def test_the_chart_s_objects_are_kept_as_they_are() -> None:
    assert cilium.checked(rendered(), settings()) == rendered()


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        (rendered("docker.io/library/busybox:1"), "DaemonSet cilium wants the image docker.io/library/busybox:1"),
        (rendered(annotations={"helm.sh/hook": "pre-install"}), "ConfigMap cilium-config is a hook"),
        (rendered()[:2], "no agent or no operator"),
    ],
)
def test_a_chart_that_gives_something_else_is_refused(objects: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(CiliumError, match=words):
        cilium.checked(objects, settings())


@pytest.mark.parametrize(
    ("pods", "cidrs", "size"),
    [
        (110, ["10.244.0.0/16"], 24),
        (500, ["10.244.0.0/16", "fd00::/56"], 22),
        (110, ["fd00::/56"], 0),
    ],
)
def test_the_range_of_a_node(pods: int, cidrs: list[str], size: int) -> None:
    assert cilium.range_size(pods, cidrs) == size


def test_ranges_that_do_not_fit_are_said_by_the_rules_not_by_preflight() -> None:
    assert cilium_range_size(500, ["10.244.0.0/24"]) == 0
