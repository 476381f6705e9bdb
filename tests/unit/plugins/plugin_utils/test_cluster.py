"""The rules of validate_cluster: for each, inventories that break it, and the proof that no other rule would have noticed."""

from __future__ import annotations

import copy
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster_rules, cluster_schema
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster import RULES, render, validate
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import ClusterInput, Host, Problem
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_rules import HOST_VARIABLES

ROLES = Path(__file__).resolve().parents[4] / "roles"
SPECS = cluster_schema.load_specs(ROLES)
DEFAULTS = {
    name: value
    for name, value in yaml.safe_load((ROLES / "cluster" / "defaults" / "main.yml").read_text(encoding="utf-8")).items()
    if "{{" not in str(value)
}
IMAGES = {"stable": frozenset({"calico/node"}), "built": frozenset({"calico/node", "calico/typha"})}
COMPONENTS = {"stable": {"calico": "v3.32.1", "etcd": "v3.6.14"}, "built": {"calico": "v3.28.5", "etcd": "v3.7.3"}}
VERSIONS = {"stable": ("v1.36.3", "v1.36.1", "v1.35.4"), "built": ("v1.36.3",)}


@dataclass
class Draft:
    """A valid cluster in two racks, to be broken: variables for all, variables for a host, groups."""

    common: dict[str, Any]
    own: dict[str, dict[str, Any]]
    groups: dict[str, list[str]]
    given: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    unbuildable: dict[str, str] = field(default_factory=dict)
    controller: dict[str, Any] = field(default_factory=dict)

    def build(self) -> ClusterInput:
        names = sorted({name for group in self.groups.values() for name in group})
        return ClusterInput(
            hosts=tuple(
                Host(name, {**self.common, **self.own.get(name, {})}, self.given, self.failures) for name in names
            ),
            groups=self.groups,
            specs=SPECS,
            kubernetes_versions=VERSIONS,
            unbuildable=self.unbuildable,
            controller=Host("localhost", {**self.common, **self.controller}),
            images=IMAGES,
            component_versions=COMPONENTS,
        )


def draft() -> Draft:
    planes, workers = ["cp1", "cp2", "cp3"], ["w1", "w2"]
    own = {}
    for number, name in enumerate([*planes, *workers]):
        rack = number % 2 + 1
        own[name] = {
            "cluster_node_ip": f"10.77.{rack}.{11 + number}",
            "cluster_rack": f"rack{rack}",
            "cluster_bgp_as_number": 64700 + rack,
            "cluster_bgp_peers": [{"address": f"10.77.{rack}.254", "as_number": 64600 + rack}],
        }
    common = copy.deepcopy(DEFAULTS) | {
        "cluster_api_endpoint_address": "127.0.0.1",
        "cluster_api_endpoint_port": 7443,
        "cluster_load_balancer_pools": [{"name": "default", "addresses": ["192.0.2.0/28"]}],
        "api_endpoint_vrrp_prefix_length": 32,
    }
    groups = {"all": planes + workers, "control_plane": planes, "etcd": list(planes), "workers": workers}
    return Draft(common, own, groups)


def test_the_draft_is_valid() -> None:
    report = validate(draft().build())
    assert report.errors == ()
    assert report.warnings == ()


# --- rule by rule: (rule, what breaks it, words of the problem). `-> warning` in front of the words: it is one.

Break = Callable[[Draft], Any]


def common(**values: Any) -> Break:
    return lambda d: d.common.update(values)


def own(host: str, **values: Any) -> Break:
    return lambda d: d.own[host].update(values)


def group(**values: list[str]) -> Break:
    return lambda d: d.groups.update(values)


def both(*breaks: Break) -> Break:
    return lambda d: [one(d) for one in breaks]


def keepalived(address: str, **more: Any) -> Break:
    return common(
        cluster_api_endpoint_mode="keepalived",
        cluster_api_endpoint_port=6443,
        cluster_api_endpoint_address=address,
        **more,
    )


def anycast(*breaks: Break, **more: Any) -> Break:
    """An API address that the control planes announce, with all that it needs."""
    given = {
        "cluster_api_endpoint_mode": "bgp_anycast",
        "cluster_api_endpoint_port": 6443,
        "cluster_api_endpoint_address": "198.18.7.1",
    }

    def add(d: Draft) -> None:
        d.common.update(given | more)
        for number, name in enumerate(d.groups["control_plane"]):
            rack = number % 2 + 1
            d.own[name]["cluster_api_endpoint_bgp_peers"] = copy.deepcopy(d.own[name]["cluster_bgp_peers"])
            d.own[name]["cluster_api_endpoint_bgp_source"] = f"10.77.{rack}.{111 + number}"

    return both(add, *breaks)


def announced_to(host: str, **option: Any) -> Break:
    return lambda d: d.own[host]["cluster_api_endpoint_bgp_peers"][0].update(option)


def everywhere(**values: Any) -> Break:
    return both(*(own(name, **values) for name in ("cp1", "cp2", "cp3", "w1", "w2")))


no_peers = everywhere(cluster_bgp_peers=[])
one_rack = both(
    *(
        own(name, cluster_rack="rack1", cluster_bgp_as_number=64701, cluster_node_ip=f"10.77.1.{index}")
        for index, name in enumerate(["cp1", "cp2", "cp3"], 11)
    )
)
pool = "cluster_load_balancer_pools"
kcm = "control_plane_controller_manager_extra_args"


def second_family(first: int = 4) -> Break:
    """Every host with an address and a router of both families, the addresses in this order."""

    def change(d: Draft) -> None:
        for number, name in enumerate(("cp1", "cp2", "cp3", "w1", "w2")):
            rack = number % 2 + 1
            pair = [f"10.77.{rack}.{11 + number}", f"fd00:77:{rack}::{11 + number}"][:: 1 if first == 4 else -1]
            routers = [
                {"address": address, "as_number": 64600 + rack}
                for address in (f"10.77.{rack}.254", f"fd00:77:{rack}::254")
            ]
            d.own[name] |= {
                "cluster_node_ip": pair[0],
                "cluster_node_second_ip": pair[1],
                "cluster_bgp_peers": routers,
            }

    return change


dual = both(
    common(cluster_pod_cidrs=["10.244.0.0/16", "fd00:1::/104"], cluster_service_cidrs=["10.96.0.0/16", "fd00:2::/112"]),
    second_family(),
)
v6_first = both(
    common(cluster_pod_cidrs=["fd00:1::/104", "10.244.0.0/16"], cluster_service_cidrs=["fd00:2::/112", "10.96.0.0/16"]),
    second_family(6),
)
only_v6 = both(
    second_family(6),
    common(cluster_pod_cidrs=["fd00:1::/104"], cluster_service_cidrs=["fd00:2::/112"], **{pool: []}),
    *(
        own(name, cluster_node_second_ip="", cluster_bgp_peers=[{"address": "fd00:77::254", "as_number": 64600}])
        for name in ("cp1", "cp2", "cp3", "w1", "w2")
    ),
)


def sysctl(**parameters: Any) -> Break:
    return common(cluster_kernel_parameters=parameters)


def kubelet(**settings: Any) -> Break:
    return common(cluster_kubelet_configuration=settings)


def machines(**requirements: Any) -> Break:
    return common(os_prep_requirements=requirements)


def peer(**values: Any) -> Break:
    """One option of one host's session."""
    return own("w1", cluster_bgp_peers=[{"address": "10.77.2.254", "as_number": 64602, **values}])


def pods(*pools: dict[str, Any]) -> Break:
    return common(cluster_pod_pools=[{"name": f"pool{number}", **pool} for number, pool in enumerate(pools)])


reflected = both(common(cluster_bgp_topology="route_reflectors"), everywhere(cluster_bgp_as_number=64512))


def hundred_and_one_nodes(draft: Draft) -> None:
    names = [f"n{number}" for number in range(96)]
    draft.own.update({name: {"cluster_node_ip": f"10.78.0.{number + 1}"} for number, name in enumerate(names)})
    draft.groups["workers"] += names


def plain(**values: Any) -> Break:
    """Without a network plugin of ours, kube-controller-manager cuts ranges for the nodes."""
    return common(cluster_network_plugin="none", cluster_load_balancer_mode="none", **{pool: []}, **values)


def announced(mode: str, *breaks: Break, **options: Any) -> Break:
    """A pool with options, in a mode; MetalLB's own sessions are beside a mesh of the nodes."""
    one = {"name": "a", "addresses": ["192.0.2.0/28"], **options}
    topology = "full_mesh" if mode == "metallb_bgp" else "auto"
    return both(
        common(cluster_load_balancer_mode=mode, cluster_bgp_topology=topology, **{pool: [one]}),
        *breaks,
    )


def labels(**match: str) -> list[dict[str, Any]]:
    return [{"match_labels": match}]


rack1 = labels(**{"bare-metal.kubernetes/rack": "rack1"})
internal = both(
    *(
        own(name, cluster_bgp_as_number=64600 + number % 2 + 1)
        for number, name in enumerate(["cp1", "cp2", "cp3", "w1", "w2"])
    )
)


def said(**values: Any) -> Break:
    """Variables of roles that the inventory sets."""
    return both(common(**values), lambda d: d.given.update(dict.fromkeys(values, "x.yml:1")))


def firewall(*rules: dict[str, Any], **values: Any) -> Break:
    return common(
        **{
            "cluster_firewall": True,
            "cluster_firewall_admin_cidrs": ["198.51.100.0/24"],
            "cluster_firewall_rules": list(rules),
        }
        | values
    )


def rule(**values: Any) -> dict[str, Any]:
    return {"name": "exporter", "ports": [9100]} | values


def cilium(*breaks: Break, **values: Any) -> Break:
    """A cluster with Cilium instead of Calico and kube-proxy, then broken."""
    choices = {
        "cluster_network_plugin": "cilium",
        "cluster_kube_proxy_mode": "none",
        "cluster_load_balancer_mode": "cilium_bgp",
    }
    return both(common(**{**choices, **values}), *breaks)


def peer_option(**options: Any) -> Break:
    """A session of w1 with an option."""
    return own("w1", cluster_bgp_peers=[{"address": "10.77.1.254", "as_number": 64601, **options}])


CASES: list[tuple[str, Break, str]] = [
    ("described_policies", common(cluster_network_policies={"kube-system": {}}), "own parts"),
    ("described_policies", common(cluster_network_policies={"shop": {"flows": [{"from": {}, "to": {}}]}}), "is {}"),
    ("described_policies", plain(cluster_network_policies={"shop": {}}), "-> warning is enforced by the network plugin"),
    ("services_have_a_carrier", common(cluster_kube_proxy_mode="none"), "only Cilium carries them here"),
    ("services_have_a_carrier", plain(cluster_kube_proxy_mode="none"), "only Cilium carries them here"),
    ("cilium_values_are_free", cilium(cluster_cilium_values={"ipam": {"mode": "kubernetes"}}), "follows from cluster_pod_cidrs"),
    ("cilium_values_are_free", cilium(cluster_cilium_values={"routingMode": "tunnel"}), "follows from cluster_encapsulation"),
    ("cilium_routes", cilium(cluster_bgp_topology="route_reflectors"), "Cilium announces and learns nothing"),
    ("cilium_routes", cilium(cluster_bgp_topology="full_mesh", cluster_load_balancer_mode="metallb_l2"), "Cilium announces and learns nothing"),
    ("cilium_routes", cilium(cluster_wireguard=True), "made for Calico"),
    ("cilium_routes", cilium(own("w1", cluster_bgp_peers=[])), "nobody learns where this node's pods are"),
    ("cilium_routes", cilium(no_peers, cluster_load_balancer_mode="none", **{pool: []}), "routes pods between 2 racks (rack1, rack2)"),
    ("cilium_sessions", cilium(peer_option(bfd=True)), "is nothing that a session of Cilium's can have"),
    ("cilium_sessions", cilium(peer_option(ttl_security=1)), "is nothing that a session of Cilium's can have"),
    ("cilium_sessions", cilium(cluster_bgp_external_cidrs=["192.0.2.128/28"]), "is Calico's"),
    ("cilium_sessions", cilium(cluster_bgp_advertise_cluster_ips=True), "is Calico's, Cilium announces no ClusterIPs"),
    ("cilium_announces", cilium(cluster_load_balancer_mode="calico_bgp"), "the network plugin is Cilium"),
    ("cilium_announces", common(cluster_load_balancer_mode="cilium_bgp"), "cluster_network_plugin is calico"),
    ("cilium_announces", cilium(no_peers, cluster_encapsulation="vxlan"), "no node has a session with a router"),
    ("cilium_announces", cilium(**{pool: [{"name": "default", "addresses": ["192.0.2.0/28"], "priority": 1}]}), "Cilium's pools do not have it"),
    ("encapsulation", cilium(cluster_encapsulation="vxlan_cross_subnet"), "is Calico's, Cilium does not have it"),
    ("node_ranges", cilium(cluster_pod_cidrs=["10.0.0.0/7"]), "bits apart, Cilium allows 16"),
    ("node_ranges", cilium(cluster_pod_cidrs=["10.244.0.0/22"]), "10.244.0.0/22 has 4 ranges of /24, one for each node; there are 5 nodes"),
    ("evaluable", lambda d: d.failures.update(cluster_domain="'nope' is undefined"), "cannot be evaluated: 'nope' is undefined"),
    ("fits_declaration", common(cluster_pods_per_node="lots"), "is a text, must be a whole number"),
    ("fits_declaration", common(cluster_kubernetes_version=1.3), "is a number with a fraction, must be a text"),
    ("fits_declaration", common(cluster_network_plugin="calcio"), "is not one of calico, cilium, none"),
    ("fits_declaration", common(cluster_kube_proxy_mode="ipvs"), "deprecated since Kubernetes 1.35"),
    ("fits_declaration", common(cluster_kubeadm_ignore_preflight_errors=["all"]), "every check of kubeadm"),
    ("known_names", lambda d: d.given.update(cluster_pods_per_nod="x.yml:1"), "is not a variable of the role cluster"),
    ("known_names", lambda d: d.given.update(__cluster_x=""), "computed by a role"),
    ("known_names", lambda d: d.given.update(clutser_pods_per_node=""), "-> warning misspelt"),
    ("one_value_in_the_cluster", own("w1", cluster_domain="other.local"), "'other.local' on w1"),
    ("one_value_in_the_cluster", own("w1", cluster_pod_cidrs=["10.10.0.0/16"]), "one value in a cluster"),
    ("one_value_in_the_group", own("cp1", control_plane_apiserver_extra_args={"v": 4}), "all of the group control_plane, here it is its default on cp2, cp3"),
    ("one_value_in_the_group", own("cp1", etcd_election_timeout_ms=5000), "is one for all of the group etcd"),
    ("one_value_in_the_group", own("w1", calico_nat_outgoing=False), "here it is its default on cp1, cp2, cp3 and 1 more, false on w1"),
    ("one_bundle", lambda d: d.controller.update(cluster_release_set="built"), "but localhost fills the bundle and sees another value"),
    ("one_bundle", lambda d: d.controller.update(cluster_kubernetes_version="v1.36.1"), "sees another value"),
    ("one_bundle", both(group(bundle_server=["b1"]), lambda d: d.own.update(b1={"cluster_architecture": "arm64"})), "but b1 serves the bundle"),
    ("groups_exist", group(control_plane=[]), "has no hosts"),
    ("groups_exist", lambda d: d.groups.pop("etcd"), "does not exist"),
    ("etcd_can_vote", group(etcd=["cp1", "cp2"]), "quorum of 2 survives 0 failures, as 1 members do"),
    ("etcd_can_vote", group(etcd=["cp1", "cp2", "cp3", "w1"]), "quorum of 3 survives 1 failures, as 3 members do"),
    ("survives_a_failure", group(etcd=["cp1"]), "-> warning has 1 host: the cluster's state"),
    ("survives_a_failure", group(control_plane=["cp1", "cp2"], etcd=["cp1", "cp2", "w1"]), "-> warning has 2 hosts: the API"),
    ("one_role_a_host", group(workers=["w1", "w2", "cp1"]), "have the same host"),
    ("one_role_a_host", group(routers=["w1"]), "has a host of the cluster"),
    ("one_role_a_host", group(outside=["cp3"]), "has a host of the cluster"),
    ("pods_have_a_place", group(workers=[]), "-> warning no control plane is schedulable"),
    ("host_names", group(workers=["w1", "w2", "Node_1"]), "is not a DNS name"),
    ("host_names", group(workers=["w1", "w2", "W1"]), "in case only"),
    ("host_names", group(workers=["w1", "w2", "w" * 32 + "." + "w" * 31]), "has 64 characters"),
    ("fits_declaration", common(control_plane_kubeadm_ignore_preflight_errors=["All"]), "every check of kubeadm"),
    ("fits_declaration", own("w1", worker_kubeadm_ignore_preflight_errors=["all"]), "every check of kubeadm"),
    ("own_addresses", own("w1", cluster_node_ip="10.77.1.11"), "is cp1's address too"),
    ("own_addresses", own("w1", cluster_node_ip="127.0.0.1"), "is a loopback address"),
    ("own_addresses", own("w1", cluster_node_ip="fd00::1"), "is IPv6, cluster_pod_cidrs has IPv4 only"),
    ("families", common(cluster_pod_cidrs=[]), "has 0 networks"),
    ("families", common(cluster_pod_cidrs=["10.1.0.0/16", "10.2.0.0/16"]), "two IPv4 networks"),
    ("families", common(cluster_service_cidrs=["10.96.0.0/16", "fd00:96::/112", "10.97.0.0/16"]), "has 3 networks"),
    ("families", common(cluster_pod_cidrs=["10.244.0.0/16", "fd00::/104"]), "families of cluster_pod_cidrs"),
    (
        "families",
        common(cluster_pod_cidrs=["10.244.0.0/16", "fd00::/104"], cluster_service_cidrs=["fd00:96::/112", "10.96.0.0/16"]),
        "families of cluster_pod_cidrs",
    ),
    ("nothing_overlaps", common(cluster_pod_cidrs=["10.96.0.0/15"]), "10.96.0.0/15 overlaps Services"),
    ("nothing_overlaps", common(cluster_pod_cidrs=["10.77.0.0/16"]), "10.77.1.11 and 4 more overlap pods (cluster_pod_cidrs): 10.77.0.0/16"),
    ("second_addresses", own("w1", cluster_node_second_ip="fd00::1"), "is of no use: pods have IPv4 only"),
    ("second_addresses", both(dual, own("w1", cluster_node_second_ip="")), "is empty: pods have an IPv6 address each"),
    ("second_addresses", both(dual, own("w1", cluster_node_second_ip="fe80::1")), "is a link-local address"),
    ("second_addresses", both(dual, own("w1", cluster_node_second_ip="10.77.2.77")), "is IPv4, the second family of cluster_pod_cidrs is IPv6"),
    ("second_addresses", both(dual, own("w1", cluster_node_second_ip="fd00:77:1::11")), "address too"),
    ("second_addresses", both(dual, own("w1", cluster_node_second_ip="fd00:2::77")), "overlaps Services (cluster_service_cidrs): fd00:2::/112"),
    ("second_addresses", both(v6_first, own("w1", cluster_node_ip="10.77.2.14", cluster_node_second_ip="fd00:77::14")),
     "is IPv4, the first family of cluster_pod_cidrs is IPv6"),
    ("routers_of_each_family", both(dual, own("w1", cluster_bgp_peers=[{"address": "10.77.2.254", "as_number": 64602}])),
     "has no router with an IPv6 address"),
    ("routers_of_each_family", own("w1", cluster_bgp_peers=[
        {"address": "10.77.2.254", "as_number": 64602}, {"address": "fd00::254", "as_number": 64602}]), "is IPv6, pods and nodes have IPv4 only"),
    ("routers_of_each_family", both(dual, common(cluster_encapsulation="vxlan", **{pool: [{"name": "six", "addresses": ["fd00:3::/120"]}]}),
     own("w1", cluster_bgp_peers=[{"address": "10.77.2.254", "as_number": 64602}])), "has no router with an IPv6 address"),
    ("nothing_overlaps", common(cluster_pod_cidrs=["10.77.1.14/31"]), "host w2 (cluster_node_ip): 10.77.1.15 overlaps pods"),
    ("nothing_overlaps", own("w1", cluster_bgp_peers=[{"address": "10.96.0.1", "as_number": 64601}]), "BGP router"),
    ("nothing_overlaps", common(**{pool: [{"name": "a", "addresses": ["10.77.1.10-10.77.1.11"]}]}), "overlaps load-balancer pool a"),
    ("nothing_overlaps", common(**{pool: [{"name": "a", "addresses": ["192.0.2.0/28", "192.0.2.8/29"]}]}), "192.0.2.8/29 overlaps"),
    ("nothing_overlaps", both(one_rack, keepalived("192.0.2.1")), "API endpoint (cluster_api_endpoint_address): 192.0.2.1 overlaps"),
    ("docker_default", common(cluster_pod_cidrs=["172.16.0.0/12"]), "-> warning Docker"),
    ("service_range", common(cluster_service_cidrs=["10.96.0.0/11"]), "has 21 host bits, kube-apiserver allows 20"),
    ("service_range", common(cluster_service_cidrs=["10.96.0.0/29"]), "has 8 addresses"),
    ("pods_have_addresses", common(cluster_pod_cidrs=["10.244.0.0/25"]), "has 2 blocks of /26; 5 nodes (5 x 110 pods) need 10"),
    ("pods_have_addresses", common(cluster_pod_cidrs=["10.244.0.0/22"]), "-> warning has 16 blocks of /26; 5 nodes (5 x 110 pods with 2"),
    ("pods_have_addresses", both(group(workers=["w1"]), common(cluster_pod_cidrs=["10.244.0.0/22"], cluster_pods_per_node=127)),
     "-> warning ends with these nodes: they need 16 of its 16 blocks of /26, one more node of 127 pods needs 4"),
    ("pods_have_addresses", common(cluster_pod_cidrs=["10.244.0.0/27"]), "smaller than one block"),
    ("pods_have_addresses", common(cluster_pod_cidrs=["10.244.0.0/20"], cluster_planned_nodes=40),
     "has 64 blocks of /26; 40 nodes = 5 now + 35 more (cluster_planned_nodes) (40 x 110 pods) need 80"),
    ("pods_have_addresses", common(cluster_pod_cidrs=["10.244.0.0/20"], cluster_planned_nodes=15, cluster_surge_nodes=2),
     "-> warning 17 nodes = 5 now + 10 more (cluster_planned_nodes) + 2 beside them (cluster_surge_nodes) (17 x 110 pods with 2"),
    ("pods_have_addresses", common(cluster_pod_cidrs=["10.244.0.0/20"], cluster_planned_nodes=16),
     "-> warning ends with the 16 nodes of cluster_planned_nodes: they need 64 of its 64 blocks"),
    ("namespaces_share_the_pods", common(cluster_planned_nodes=28), "-> warning 3080 pods, upstream tests 3000 in a namespace: 3080 / 3000 are 2"),
    ("growth", common(cluster_planned_nodes="4"), "is less than the 5 nodes of the inventory"),
    ("fits_declaration", common(cluster_surge_nodes=-1), "is not from 0 to 1024"),
    ("fits_declaration", common(cluster_planned_nodes=-1), "is not from 1 to 65536 (or 0)"),
    ("node_ranges", plain(cluster_pod_cidrs=["10.244.0.0/20"], cluster_planned_nodes=15, cluster_surge_nodes=2),
     "has 16 ranges of /24, one for each node; there are 17 nodes = 5 now + 10 more (cluster_planned_nodes) + 2 beside them"),
    ("node_ranges", plain(cluster_pod_cidrs=["10.244.0.0/20"], cluster_planned_nodes=16), "-> warning ends with the 16 nodes of cluster_planned_nodes"),
    ("size_is_known_to_work", common(cluster_pod_cidrs=["10.0.0.0/9"], cluster_planned_nodes=5001),
     "-> warning have 5001 nodes = 5 now + 4996 more (cluster_planned_nodes), upstream tests 5000"),
    ("size_is_known_to_work", common(cluster_pod_cidrs=["10.0.0.0/9"], cluster_planned_nodes=1400),
     "-> warning allows 154000 pods in all on 1400 nodes = 5 now"),
    ("pods_have_addresses", common(cluster_calico_block_size=20, cluster_pod_cidrs=["10.244.0.0/18"]), "need 5"),
    ("endpoint_fits_mode", common(cluster_api_endpoint_address="10.9.9.9"), "is not a loopback address"),
    ("endpoint_fits_mode", common(cluster_api_endpoint_mode="external", cluster_api_endpoint_address=""), "is empty"),
    ("endpoint_fits_mode", common(cluster_api_endpoint_mode="external"), "is a loopback address"),
    ("endpoint_fits_mode", both(one_rack, keepalived("api.example.org")), "is a name"),
    ("endpoint_is_nobodys", both(one_rack, keepalived("10.77.1.11")), "is cp1's own address"),
    ("endpoint_is_nobodys", common(cluster_api_endpoint_mode="external", cluster_api_endpoint_address="10.77.1.11"), "-> warning own address"),
    ("endpoint_port", common(cluster_api_endpoint_port=6443), "kube-apiserver's own port"),
    ("endpoint_fits_mode", anycast(cluster_api_endpoint_address=""), "is empty, the mode bgp_anycast needs it"),
    ("endpoint_is_nobodys", anycast(cluster_api_endpoint_address="10.77.1.11"), "is cp1's own address"),
    ("no_second_endpoint", common(cluster_api_endpoint_also=[{"mode": "local", "address": "127.0.0.1", "port": 7443}]), "playbook api_endpoint_move sets it"),
    ("announced_address", anycast(cluster_api_endpoint_port=8443), "is not the port of kube-apiserver"),
    ("announced_address", anycast(cluster_api_endpoint_address="api.example.org"), "is a name; what is announced is an address"),
    ("announced_address", anycast(cluster_api_endpoint_address="10.77.1.250"), "-> warning is next to cp1 (10.77.1.11)"),
    ("announced_address", anycast(lambda d: (d.groups.update(routers=["tor1"]), d.own.update(
        tor1={"cluster_node_ip": "192.0.2.9", "tor_config_networks": ["198.18.0.0/16"]}))),
     "is in 198.18.0.0/16, a subnet of tor1 (tor_config_networks)"),
    ("announcing_sessions", anycast(own("cp2", cluster_api_endpoint_bgp_peers=[])), "has nobody to announce the API's address to"),
    ("announcing_sessions", anycast(announced_to("cp1", address="fd00::1")), "is of another family than the API's address 198.18.7.1"),
    ("announcing_sessions", anycast(announced_to("cp1", reachable_by="10.77.1.1")), "names a gateway"),
    ("announcing_sessions", anycast(announced_to("cp1", ttl_security=2)), "is more than the one hop to a neighbour"),
    ("announcing_sessions", anycast(announced_to("cp1", password="no")), "is no name in cluster_bgp_passwords"),
    ("announcing_sessions", anycast(own("cp1", cluster_api_endpoint_bgp_source="")), "this host has another session with 10.77.1.254"),
    ("announcing_sessions", anycast(own("cp1", cluster_api_endpoint_bgp_source="fd00::1")), "is of another family than cluster_node_ip (10.77.1.11)"),
    ("announcing_sessions", anycast(own("cp1", cluster_api_endpoint_bgp_source="10.77.1.11")), "is this host's own address, which needs not"),
    ("announcing_sessions", anycast(own("cp1", cluster_api_endpoint_bgp_source="10.77.2.14")), "is w1's own address"),
    ("announcing_sessions", anycast(own("cp2", cluster_api_endpoint_bgp_source="10.77.1.111")), "is cp1's as well"),
    ("announcing_sessions", anycast(own("cp1", cluster_api_endpoint_bgp_source="198.18.7.1")), "is the API's address itself"),
    ("announcing_sessions", anycast(own("cp1", cluster_api_endpoint_bgp_source="10.77.1.254")), "is the router's address"),
    ("announcing_sessions", anycast(cluster_load_balancer_mode="metallb_bgp", cluster_load_balancer_bfd={"transmit_interval_milliseconds": 300}),
     "UDP port 3784 has one owner"),
    ("vip_in_one_segment", keepalived("10.77.1.250"), "control planes in 2 racks (rack1, rack2)"),
    ("vip_in_one_segment", keepalived("10.77.1.250", api_endpoint_vrrp_prefix_length=24), "is not in 10.77.1.0/24"),
    ("version_in_lock", common(cluster_kubernetes_version="1.36.3"), "is not in the lock file"),
    ("version_in_lock", common(cluster_kubernetes_version="v1.36.1", cluster_release_set="built"), "release set built"),
    ("bundle_can_be_had", common(cluster_bundle_source="mirror"), "is empty"),
    (
        "bundle_can_be_had",
        lambda d: (d.common.update(cluster_bundle_source="build"), d.unbuildable.update(stable="calico has no go.mod")),
        "cannot be built: calico has no go.mod",
    ),
    ("bgp_peers", own("w1", cluster_bgp_peers=[]), "the node mesh is off"),
    ("bgp_peers", own("w1", cluster_bgp_peers=[{"address": "10.77.2.14", "as_number": 64602}]), "is the host itself"),
    ("bgp_peers", own("w1", cluster_bgp_peers=[{"address": "127.0.0.1", "as_number": 64602}]), "is a loopback address"),
    ("bgp_peers", own("w1", cluster_bgp_peers=[{"address": "10.77.2.254", "as_number": 64602}] * 2), "is in the list twice"),
    (
        "as_numbers_let_routes_through",
        both(*(own(name, cluster_bgp_as_number=64700) for name in ("cp1", "cp2", "cp3", "w1", "w2"))),
        "-> warning is the AS of nodes in 2 racks (rack1, rack2)",
    ),
    ("bgp_topology", both(no_peers, common(cluster_bgp_topology="tor")), "needs routers, no node has cluster_bgp_peers"),
    ("bgp_topology", common(cluster_bgp_topology="full_mesh"), "leaves the routers of cp1, cp2, cp3 and 2 more (cluster_bgp_peers) without"),
    ("bgp_topology", both(no_peers, hundred_and_one_nodes), "is a mesh of 101 nodes, 5050 sessions"),
    ("bgp_topology", both(no_peers, common(cluster_bgp_topology="none")), "without BGP and without encapsulation"),
    ("bgp_topology", common(cluster_bgp_topology="route_reflectors"), "has 2 values (64701, 64702): a reflector reflects inside one AS"),
    ("bgp_topology", both(reflected, own("w1", cluster_bgp_route_reflector=True)), "are 1 (w1)"),
    ("bgp_topology", both(reflected, own("w1", cluster_bgp_route_reflector=True), own("cp2", cluster_bgp_route_reflector=True)),
     "-> warning are all in the rack rack2 (cp2, w1)"),
    ("bgp_sessions", peer(password="tor"), "is no name in cluster_bgp_passwords"),
    ("bgp_sessions", common(cluster_bgp_mesh_password="mesh"), "is no name in cluster_bgp_passwords"),
    ("bgp_sessions", common(cluster_bgp_passwords={"a": "x" * 81}), "has 81 characters, TCP MD5 takes 80"),
    ("bgp_sessions", common(cluster_bgp_passwords={"a": "two words"}), "has spaces"),
    ("bgp_sessions", common(cluster_bgp_passwords={"a": 'qu"ote'}), "has spaces, other than ASCII"),
    ("bgp_sessions", common(cluster_bgp_passwords={"a b": "x"}), "has a name that is no key of a Secret"),
    ("bgp_sessions", common(cluster_bgp_passwords={"a": 12}), "is not a text"),
    ("bgp_sessions", peer(filters=["in"]), "names the filter in, which cluster_bgp_filters does not have"),
    ("bgp_sessions", peer(reachable_by="fd00::1"), "is of another family"),
    ("bgp_sessions", peer(bfd=True), "is built and configured without BFD"),
    ("bgp_sessions", peer(local_preference=200), "have no local preference"),
    ("bgp_sessions", own("w1", cluster_bgp_peers=[{"address": "10.77.2.254", "as_number": 64609}]), "has several AS numbers: 64602 for cp2, 64609 for w1"),
    ("bgp_announcements", common(cluster_bgp_filters=[{"name": "a"}, {"name": "a"}]), "has 2 entries with the name a"),
    ("bgp_announcements", common(cluster_bgp_filters=[{"name": "a", "import_rules": [{"action": "accept", "match": "equal"}]}]), "match compares with it"),
    ("bgp_announcements", common(cluster_bgp_communities=[{"name": "a", "value": "65536:1"}]), "is no community"),
    ("bgp_announcements", common(cluster_bgp_advertisements=[{"cidr": "10.244.0.0/16", "communities": ["gold"]}]), "has gold, which is neither"),
    ("encapsulation", common(cluster_encapsulation="geneve"), "is Cilium's"),
    ("encapsulation", no_peers, "-> warning routes pods between 2 racks (rack1, rack2) whose routers do not know"),
    ("pod_pools", pods({"cidr": "10.250.0.0/20"}), "10.250.0.0/20 is not inside cluster_pod_cidrs"),
    ("pod_pools", pods({"cidr": "10.244.0.0/20"}, {"cidr": "10.244.8.0/21"}), "have addresses in common"),
    ("pod_pools", pods({"cidr": "10.244.0.0/20", "racks": ["rack1"]}), "has no IPv4 pool for this node (rack 'rack2')"),
    ("pod_pools", pods({"cidr": "10.244.0.0/27"}), "cannot be cut into blocks of /26"),
    ("pod_pools", pods({"cidr": "10.244.0.0/24"}), "has 4 blocks of /26 for 5 nodes"),
    ("calico_data_plane", common(cluster_calico_data_plane="ebpf"), "compiled with cgo and clang"),
    ("calico_data_plane", common(cluster_calico_data_plane="nftables", cluster_release_set="built"), "came with Calico 3.29, the release set has v3.28.5"),
    ("pod_mtu", both(no_peers, machines(min_mtu=1500), common(cluster_encapsulation="vxlan", cluster_mtu=1480)),
     "is more than the links' 1500 - 50 of overhead = 1450 bytes"),
    ("pod_mtu", both(dual, no_peers, machines(min_mtu=1330), common(cluster_encapsulation="vxlan", cluster_wireguard=True)),
     "follows from links of 1330 bytes (os_prep_requirements.min_mtu) less 80 of overhead, which is less than 1280"),
    ("load_balancer", common(**{pool: [{"name": "a", "addresses": ["192.0.2.0/29"]}, {"name": "a", "addresses": ["192.0.2.8/29"]}]}), "2 pools"),
    ("load_balancer", common(cluster_network_plugin="none"), "lets Calico announce"),
    ("load_balancer", common(cluster_network_plugin="none", cluster_load_balancer_mode="metallb_l2"), "installs MetalLB after the pods' network"),
    ("load_balancer", common(cluster_load_balancer_mode="none"), "-> warning is not used"),
    ("load_balancer", common(**{pool: [{"name": "a", "addresses": ["fd00:1::/120"]}]}), "has IPv6 addresses"),
    ("pool_addresses", announced("calico_bgp", addresses=[]), "is empty"),
    ("pool_addresses", announced("calico_bgp", addresses=["224.0.0.0/28"]), "a multicast address"),
    ("pool_addresses", announced("calico_bgp", addresses=["223.255.255.250-224.0.0.5"]), "a multicast address"),
    ("pool_addresses", announced("calico_bgp", addresses=["172.17.5.0/24"]), "-> warning the default of Docker's bridge"),
    ("pool_addresses", announced("calico_bgp", addresses=["192.0.2.255-192.0.3.0"]), "no address that does not end with"),
    ("pool_options", announced("metallb_bgp", communities=["1:2", "1:2"]), "has an entry twice"),
    ("pool_options", announced("calico_bgp", service_selectors=[{}]), "neither match_labels nor match_expressions"),
    ("pool_options", announced("calico_bgp", node_selectors=rack1), "has no effect in the mode calico_bgp: Calico announces a pool as a whole"),
    ("pool_options", announced("metallb_l2", communities=["64512:1"]), "there is no route to carry it"),
    ("pool_options", announced("metallb_bgp", interfaces=["bond0"]), "not on an interface"),
    ("pools_are_announced", announced("metallb_l2", node_selectors=labels(pool="edge")), "no node that may announce has these labels"),
    ("pools_are_announced", announced("metallb_l2", node_selectors=labels(**{"kubernetes.io/hostname": "cp1"})), "no node that may announce"),
    ("pools_are_announced", both(group(workers=[]), announced("calico_bgp")), "is announced by nobody: control planes with their taint"),
    ("pools_are_announced", announced("metallb_l2", common(cluster_node_taints=[{"key": "gpu", "effect": "NoSchedule"}])), "nor do nodes with other taints"),
    ("calico_announces", no_peers, "-> warning only the nodes learn of the pools"),
    ("one_speaker_a_router", announced("metallb_bgp", common(cluster_bgp_topology="auto")), "with the routers that calico's nodes have sessions with"),
    ("speakers_have_routers", announced("metallb_bgp", no_peers), "metallb_bgp needs routers"),
    ("speakers_have_routers", announced("metallb_bgp", peers=["192.0.2.99"]), "192.0.2.99 is no node's router"),
    ("speakers_have_routers", announced("metallb_bgp", peers=["10.77.1.254"], node_selectors=labels(**{"kubernetes.io/hostname": "w1"})),
     "none of the nodes that announce it has one of these routers"),
    ("speakers_have_routers", announced("metallb_bgp", own("w1", cluster_bgp_peers=[])), "-> warning w1 announces it to no router"),
    ("speaker_can", announced("metallb_bgp", common(cluster_load_balancer_bgp_speaker="frr")), "frrouting/frr, which the release set stable does not have"),
    ("speaker_can", announced("metallb_bgp", common(cluster_load_balancer_bfd={"passive": True})), "MetalLB's native one has no BFD"),
    ("speaker_can", announced("metallb_l2", common(cluster_load_balancer_bfd={"passive": True})), "is not used in the mode metallb_l2"),
    ("speaker_can", both(dual, announced("metallb_bgp", addresses=["fd00:3::/120"])), "announces IPv4 only"),
    ("speaker_can", announced("metallb_bgp", communities=["large:1:2:3"]), "sends standard communities only"),
    ("speaker_can", announced("metallb_bgp", own("w1", cluster_bgp_peers=[{"address": "fd00:9::1", "as_number": 64601}])), "is IPv6: the native speaker"),
    ("speaker_can", announced("metallb_bgp", own("w1", cluster_bgp_peers=[{"address": "10.77.1.254", "as_number": 64601, "ttl_security": 1}])),
     "is an option that MetalLB's speakers do not have"),
    ("calico_announces", both(no_peers, common(cluster_encapsulation="vxlan")), "cluster_bgp_topology: none gives it no BGP"),
    ("pool_routes", announced("metallb_bgp", aggregation_length=24), "192.0.2.0/28 is at most a /28"),
    ("pool_routes", announced("metallb_bgp", addresses=["192.0.2.1-192.0.2.6"], aggregation_length=30), "is at most a /31"),
    ("pool_routes", announced("metallb_bgp", local_preference=200), "LOCAL_PREF is not sent to another AS"),
    ("layer_2_in_one_segment", announced("metallb_l2"), "is announced from 2 racks (rack1, rack2)"),
    ("layer_2_in_one_segment", announced("metallb_l2", common(cluster_load_balancer_l2_prefix_length=24)), "from 2 segments (10.77.1.0/24, 10.77.2.0/24)"),
    ("layer_2_in_one_segment", announced("metallb_l2", common(cluster_load_balancer_l2_prefix_length=16)), "-> warning is not in 10.77.0.0/16"),
    ("layer_2_in_one_segment", announced("metallb_l2", common(cluster_load_balancer_l2_prefix_length=22), addresses=["10.77.3.240-10.77.3.255"],
     avoid_buggy_addresses=False), "has the broadcast address of 10.77.0.0/22"),
    ("fits_declaration", announced("metallb_bgp", communities=["64512:70000"]), "is not a BGP community"),
    ("fits_declaration", announced("metallb_bgp", priority=0), "MetalLB takes 0 for no priority"),
    ("labels_and_taints", own("w1", cluster_node_labels={"gpu": True}), "is a boolean"),
    ("labels_and_taints", own("w1", cluster_node_labels={"gpu": "a b"}), "is not a label's value"),
    ("labels_and_taints", own("w1", cluster_node_labels={"-gpu": "a"}), "is not a label's key"),
    ("labels_and_taints", own("w1", cluster_node_labels={5: "a"}), "is not a label's key"),
    ("labels_and_taints", own("w1", cluster_node_taints=[{"key": "a/b/c", "effect": "NoSchedule"}]), "does not accept"),
    ("labels_and_taints", own("w1", cluster_node_taints=[{"key": "a", "effect": "NoSchedule"}] * 2), "is in the list twice"),
    ("density_is_said_once", own("w1", cluster_kubelet_configuration={"maxPods": 500}), "contradicts cluster_pods_per_node = 110"),
    ("kernel_parameters", sysctl(**{"vm swappiness": 1}), "not the name of one parameter"),
    ("kernel_parameters", sysctl(**{"net.ipv4.conf.*.rp_filter": 1}), "is a pattern; each parameter is set"),
    ("kernel_parameters", sysctl(**{"vm.swappiness": {"minimum": 1}}), "unknown minimum"),
    ("kernel_parameters", sysctl(**{"vm.swappiness": {"min": 1, "exactly": 2}}), "cannot be set"),
    ("kernel_parameters", sysctl(**{"vm.swappiness": True}), "cannot be set"),
    ("kernel_parameters", sysctl(**{"vm.swappiness": {"min": "lots"}}), "not a number"),
    ("kernel_parameters", common(cluster_kernel_parameters={5: 1}), "is not the name of a kernel parameter"),
    ("kernel_parameters", own("w1", kernel_tuning_parameters={"vm swappiness": 1}), "not the name of one parameter"),
    ("typha_in_bundle", common(calico_typha_replicas=3), "whose image the release set stable does not have"),
    ("kubelet_values", kubelet(podPidsLimit="1024"), "is a text, must be a whole number"),
    ("kubelet_values", kubelet(podsPerCore=None), "is null, must be a whole number"),
    ("kubelet_values", kubelet(kubeReserved="1Gi"), "is a text, must be a dictionary"),
    ("kubelet_values", kubelet(kubeReserved={"memory": "lots"}), "not a quantity"),
    ("kubelet_values", kubelet(systemReserved={"cpu": 1}), "not a quantity of Kubernetes in quotes"),
    ("kubelet_values", kubelet(evictionHard={"memory.available": "5 %"}), "not a quantity"),
    ("kernel_parameters", own("w1", kernel_tuning_host_parameters={"vm.swappiness": {"minimum": 1}}), "unknown minimum"),
    ("process_numbers", own("w1", kernel_tuning_host_parameters={"kernel.pid_max": 65536}), "are 483328, kernel.pid_max is 65536"),
    ("process_numbers", kubelet(podPidsLimit=8192), "110 pods x 8192 process numbers + 32768 of the system are 933888, kernel.pid_max is 483328"),
    ("process_numbers", sysctl(**{"kernel.pid_max": 65536}), "110 pods x 4096 process numbers + 32768 of the system are 483328, kernel.pid_max is 65536"),
    ("process_numbers", sysctl(**{"kernel/pid_max": {"min": "65536"}}), "kernel.pid_max is 65536"),
    ("process_numbers", sysctl(**{"kernel.threads-max": {"one_of": [100000, 500000]}}), "110 pods x 1024 threads + 32768 of the system are 145408"),
    ("process_numbers", kubelet(podPidsLimit=-1), "-> warning every process number"),
    ("pods_per_core", kubelet(podsPerCore=10), "-> warning on machines with less than 11 CPUs (110 / 10)"),
    ("pods_per_core", both(kubelet(podsPerCore=10), machines(min_cpus=8)), "caps the pods at 10 x 8 CPUs = 80"),
    ("memory_remains", both(common(cluster_pods_per_node=500), machines(min_memory_mib=6000)), "are 8755 + 256 + 200 = 9211 MiB"),
    ("memory_remains", both(kubelet(kubeReserved={"memory": "3Gi"}), machines(min_memory_mib=3500)), "are 3072 + 256 + 200 = 3528 MiB"),
    ("memory_remains", both(kubelet(evictionHard={"memory.available": "90%"}), machines(min_memory_mib=4000)), "2125 + 256 + 3600"),
    ("machine_carries", both(common(cluster_pods_per_node=500), machines(min_memory_mib=12000)), "carry: at most 342 by memory"),
    ("status_pace", kubelet(nodeStatusUpdateFrequency="10s"), "-> warning instead of every 5 minutes"),
    ("serial_pulls", kubelet(serializeImagePulls=True), "the kubelet does not start with both"),
    ("cache_can_be_reached", cilium(cluster_node_local_dns=True), "is made for Calico"),
    ("cache_is_named_once", both(common(cluster_node_local_dns=True), kubelet(clusterDNS=["192.0.2.53"])), "takes the place of the node's own DNS cache"),
    ("event_limits", common(control_plane_event_rate_limits=[{"type": "Server", "qps": 5}]), "is not a limit of EventRateLimit"),
    ("event_limits", common(control_plane_event_ttl="a day"), "'a day' is not a duration"),
    ("events_share_etcd", both(common(cluster_pods_per_node=500, cluster_pod_cidrs=["10.128.0.0/13"], cluster_etcd_events="never"), hundred_and_one_nodes),
     "-> warning they have an etcd of their own by default"),
    ("events_etcd_override",
     common(cluster_etcd_events="always", control_plane_apiserver_extra_args={"etcd-servers-overrides": "/events#https://192.0.2.9:2379"}),
     "takes the place of the computed flag"),
    ("events_etcd_directory", common(etcd_events_data_directory="/var/lib/etcd/events"), "are one inside the other"),
    ("events_etcd_size", common(etcd_events_quota_backend_gib=0.1), "is less than 0.25 GiB"),
    ("events_etcd_size", common(etcd_events_quota_backend_gib=16), "-> warning is more than the 8 GiB that etcd recommends"),
    ("events_etcd_size", common(etcd_events_auto_compaction_retention="15"), "is not a duration of hours, minutes and seconds"),
    ("events_etcd_fields", common(etcd_events_extra_arguments={"heartbeat-intervall": 100}), "is not a field of etcd's configuration file"),
    ("logs_fit", machines(min_free_mib={"/var/log": 5000}), "-> warning 110 x 3 files x 20 MiB = 6600 MiB"),
    ("blocks_of_a_node", common(cluster_calico_block_size=29), "-> warning makes 28 blocks of a node: 110 pods x 2 addresses / 8 in a /29"),
    ("pod_mtu", common(calico_mtu=500), "is less than the 576 bytes that IPv4 needs"),
    ("pod_mtu", both(dual, common(calico_mtu=1279)), "is less than the 1280 bytes that IPv6 needs"),
    ("pod_mtu", both(machines(min_mtu=1500), common(calico_mtu=9000)), "is more than the links' 1500 - 0 of overhead = 1500 bytes"),
    ("node_ranges", common(**{kcm: {"allocate-node-cidrs": True}}), "Calico hands out blocks of its own"),
    ("node_ranges", both(*(own(cp, **{kcm: {"node-cidr-mask-size": 24}}) for cp in ("cp1", "cp2", "cp3"))), "Calico hands out blocks of its own"),
    ("node_ranges", both(plain(), *(own(cp, **{kcm: {"node-cidr-mask-size": 25}}) for cp in ("cp1", "cp2", "cp3"))), "-> warning a node's /25"),
    ("node_ranges", plain(cluster_pods_per_node=500, cluster_pod_cidrs=["10.244.0.0/23"]), "cannot be cut into a /22 for each node (500 pods at two"),
    ("node_ranges", plain(cluster_pod_cidrs=["10.244.0.0/22"]), "has 4 ranges of /24, one for each node; there are 5 nodes"),
    ("node_ranges", both(plain(cluster_pod_cidrs=["10.244.0.0/22"]), group(workers=["w1"])), "-> warning all its 4 ranges of /24 are taken"),
    ("node_ranges", plain(cluster_pod_cidrs=["11.0.0.0/8"], **{kcm: {"node-cidr-mask-size": 25}}), "are 17 bits apart, kube-controller-manager allows 16"),
    ("node_ranges", plain(cluster_pods_per_node=500, **{kcm: {"node-cidr-mask-size": 24}}), "a node's /24 has 253 addresses for pods, 500 pods need 500"),
    ("node_ranges", plain(cluster_pods_per_node=512, **{kcm: {"node-cidr-mask-size": 22}}), "-> warning has 1021 addresses for pods, 512 pods need 1024"),
    ("node_ranges", both(dual, plain(cluster_pod_cidrs=["10.244.0.0/16", "fd00:1::/40"])), "are 24 bits apart"),
    ("node_ranges", plain(**{kcm: {"node-cidr-mask-size": "lots"}}), "cannot be cut into a /lots"),
    ("said_once", said(kubelet_pods_per_node=500), "contradicts cluster_pods_per_node = 110"),
    ("said_once", said(calico_pod_cidrs=["10.1.0.0/16"]), "contradicts cluster_pod_cidrs"),
    ("etcd_timing", common(etcd_heartbeat_interval_ms=100, etcd_election_timeout_ms=400), "less than 5 heartbeats of 100 ms"),
    ("etcd_timing", common(etcd_heartbeat_interval_ms=0, etcd_election_timeout_ms=400), "less than 5 heartbeats of 0 ms"),
    ("etcd_timing", common(etcd_heartbeat_interval_ms=100, etcd_election_timeout_ms=60000), "more than 50000 ms"),
    ("etcd_timing", common(etcd_quota_backend_gib=16), "-> warning more than the 8 GiB"),
    ("flags", common(control_plane_apiserver_extra_args={"--v": 4}), "is not the name of a flag of kube-apiserver"),
    ("flags", common(control_plane_scheduler_extra_args={"v": {"a": 1}}), "is a dictionary, a flag's value is plain"),
    ("flags", common(control_plane_apiserver_extra_args={"cloud-provider": "x"}), "does not have since v1.33; v1.36 does not start"),
    ("flags", own("w1", kubelet_extra_arguments={"pod-infra-container-image": "x"}), "kubelet does not have since v1.35"),
    ("feature_gates", common(control_plane_apiserver_extra_args={"feature-gates": "AllAlpha=true,WatchBookmark=true"}), "gate WatchBookmark,"),
    ("feature_gates", common(control_plane_scheduler_extra_args={"feature-gates": ["MemoryManager=true"]}), "gate MemoryManager,"),
    ("feature_gates", kubelet(featureGates={"CPUManager": True}), "v1.36 does not know"),
    ("feature_gates", common(cluster_kube_proxy_configuration={"featureGates": {"TopologyAwareHints": True}}), "does not know"),
    ("etcd_fields", common(etcd_extra_arguments={"max-request-byte": 1}), "is not a field of etcd's configuration file"),
    ("etcd_fields", common(etcd_extra_arguments={7: 1}), "is not a field of etcd's configuration file"),
    ("etcd_fields", common(etcd_extra_arguments={"peer-transport-security": {"cert-fil": "x"}}), "ignores it without a word"),
    ("etcd_fields", common(etcd_extra_arguments={"experimental-corrupt-check-time": "1h"}), "-> warning goes with etcd v3.7"),
    ("etcd_fields", common(cluster_release_set="built", etcd_extra_arguments={"experimental-corrupt-check-time": "1h"}), "does not have since v3.7"),
    ("kubelet_fields", kubelet(maxpods=110), "is not a field of KubeletConfiguration"),
    ("kubelet_fields", both(common(cluster_kubernetes_version="v1.35.4"), kubelet(tlsCurvePreferences=["x"])), "is a field since v1.36"),
    ("known_names", lambda d: d.given.update(cluster_old_name=""), "is gone, nothing reads it"),
    ("fits_declaration", common(cluster_http_proxy="https://proxy:3128"), "spoken to by https"),
    ("fits_declaration", common(cluster_https_proxy="http://me:hunter2@:1"), "is not the URL of an HTTP proxy"),
    ("fits_declaration", own("w1", cluster_no_proxy=["*.example.org"]), "is a pattern that Python does not know"),
    ("proxies_can_be_reached", common(cluster_http_proxy="http://10.244.9.9:3128"), "is among pods (cluster_pod_cidrs): 10.244.0.0/16"),
    ("proxies_can_be_reached", common(cluster_https_proxy="http://me:hunter2@10.96.0.1:1"), "is among Services (cluster_service_cidrs): 10.96.0.0/16"),
    ("proxies_can_be_reached", common(cluster_http_proxy="http://10.77.1.11:3128"), "-> warning is cp1's own address"),
    ("proxies_can_be_reached", common(cluster_http_proxy="http://127.0.0.1:7443"), "is the API's endpoint, not a proxy"),
    ("proxies_can_be_reached", common(cluster_http_proxy="http://10.77.3.20:5000", cluster_bundle_registry="http://10.77.3.20:5000"),
     "is the bundle's registry"),
    ("proxies_spare_the_cluster", common(cluster_no_proxy=["example.org"]), "-> warning is not used: there is no proxy"),
    ("proxies_spare_the_cluster", both(said(container_runtime_no_proxy=["127.0.0.1"]), common(cluster_bundle_registry="http://10.77.3.20:5000")),
     "leaves out the bundle's registry 10.77.3.20 and"),
    ("proxies_spare_the_cluster", said(container_runtime_no_proxy=["localhost"]), "leaves out the API's endpoint 127.0.0.1 and"),
    ("proxies_spare_the_cluster", said(container_runtime_no_proxy=["127.0.0.1", "10.0.0.0/8", "192.0.0.0/8"]),
     "leaves out Services' names (.cluster.local): containerd would ask the proxy for it"),
    ("firewall_lets_admins_in", common(cluster_firewall=True), "let nobody in by ssh, not even the controller"),
    ("firewall_lets_admins_in", firewall(cluster_firewall_admin_cidrs=["::/0"]), "-> warning lets everybody try ssh"),
    ("firewall_knows_the_balancer", firewall(cluster_api_endpoint_mode="external", cluster_api_endpoint_address="192.0.2.99"), "-> warning health checks"),
    ("firewall_sees_node_ports", firewall(cluster_calico_data_plane="ebpf"), "-> warning eBPF rewrites their packets before a firewall sees them"),
    ("firewall_rules", firewall(rule(sources=["pod"])), "is neither a network nor a name of senders"),
    ("firewall_rules", firewall(rule(groups=["worker"])), "is no group with hosts of the cluster"),
    ("firewall_rules", firewall(rule(), rule()), "is the name of two rules"),
    ("firewall_rules", firewall(rule(name='a" accept')), "does not fit a comment of nftables"),
    ("firewall_rules", firewall(rule(ports=[])), "is empty"),
    ("firewall_rules", firewall(rule(action="drop", ports=["22"])), "-> warning drops ssh before"),
    ("fits_declaration", firewall(rule(ports=["22-21"])), "is neither a port nor a range of ports"),
    ("fits_declaration", firewall(rule(ports=[0])), "is neither a port nor a range of ports"),
    ("fits_declaration", firewall(rule(ports=[70000])), "is neither a port nor a range of ports"),
    ("fits_declaration", firewall(rule(ports=[True])), "is neither a port nor a range of ports"),
    ("fits_declaration", firewall(cluster_firewall_scraper_cidrs=["192.0.2.1/24"]), "has bits set behind its /24 mask"),
    ("fits_declaration", firewall(cluster_firewall_api_cidrs=["lb.example.org"]), "is not an IPv4 or IPv6 address"),
]  # fmt: skip


def texts(problems: tuple[Problem, ...]) -> list[str]:
    return [f"{problem.variable} = {problem.value}: {problem.reason} ({problem.fix})" for problem in problems]


@pytest.fixture(autouse=True)
def _a_removed_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """No release has taken a name away yet; the table works all the same."""
    monkeypatch.setitem(cluster_rules.REMOVED_NAMES, "cluster_old_name", "write cluster_name")


@pytest.mark.parametrize(
    ("rule", "break_it", "words"), CASES, ids=[f"{case[0]}-{index}" for index, case in enumerate(CASES)]
)
def test_rule(rule: str, break_it: Break, words: str) -> None:
    broken = draft()
    break_it(broken)
    warning, words = words.startswith("-> warning "), words.removeprefix("-> warning ")
    report = validate(broken.build())
    found = [problem for problem in (report.warnings if warning else report.errors) if problem.rule == rule]
    assert found, texts(report.errors + report.warnings)
    assert any(words in problem.reason for problem in found), texts(tuple(found))
    assert all(problem.fix for problem in found)
    # Without the rule nobody says it.
    without = validate(broken.build(), {name: function for name, function in RULES.items() if name != rule})
    assert not any(words and words in problem.reason for problem in without.errors + without.warnings)


def test_every_rule_has_a_case() -> None:
    assert set(RULES) == {case[0] for case in CASES} | {"size_is_known_to_work"}


def test_every_rule_is_explained_and_no_other() -> None:
    text = (ROLES.parent / "docs" / "validation.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.M)
    assert sorted(name for name, _words in explained) == sorted(RULES)
    # Rules that only warn say so, and no others.
    for name, words in explained:
        levels = {case[2].startswith("-> warning ") for case in CASES if case[0] == name} or {True}
        assert (levels == {True}) == words.startswith("(warning)"), name


def test_every_finding_of_the_live_cluster_is_explained() -> None:
    text = (ROLES.parent / "docs" / "validation.md").read_text(encoding="utf-8")
    utils = ROLES.parent / "plugins" / "module_utils"
    source = "".join(
        (utils / name).read_text(encoding="utf-8") for name in ("_live_cluster.py", "_live_load_balancer.py")
    )
    checks = {"live_pod_cidrs", "live_service_cidrs", *re.findall(r'"(live_[a-z_]+)"', source)}
    assert len(checks) >= 6
    assert all(f"`{check}`" in text for check in checks)


def test_shared_variables_are_declared() -> None:
    for role, names in cluster_rules.SHARED_VARIABLES.items():
        assert set(names) <= set(SPECS[role])
    assert set(cluster_rules.SHARED_ROLES) <= set(SPECS)


@pytest.mark.parametrize("name", sorted(name for name in HOST_VARIABLES))
def test_host_variables_are_declared(name: str) -> None:
    assert name in SPECS["cluster"]


VALID: list[tuple[str, Break]] = [
    ("a pool for each rack by layer 2", common(cluster_load_balancer_mode="metallb_l2", **{pool: [
        {"name": "one", "addresses": ["10.77.1.200-10.77.1.220"], "node_selectors": rack1, "interfaces": ["bond0"]},
        {"name": "two", "addresses": ["10.77.2.200-10.77.2.220"], "node_selectors": labels(**{"bare-metal.kubernetes/rack": "rack2"})}]})),
    ("racks that are one segment", announced(
        "metallb_l2", common(cluster_load_balancer_l2_prefix_length=16), addresses=["10.77.250.0/24"], namespaces=["web"], priority=1)),
    ("speakers with sessions of their own", announced(
        "metallb_bgp", peers=["10.77.1.254", "10.77.2.254"], communities=["64512:1"], aggregation_length=28, service_selectors=labels(tier="web"))),
    ("speakers beside a mesh of the nodes", announced("metallb_bgp")),
    ("speakers beside tunnels", announced("metallb_bgp", common(cluster_bgp_topology="none", cluster_encapsulation="vxlan"))),
    ("a preference that routers of the own AS hear", announced("metallb_bgp", internal, local_preference=200)),
    ("the last address of a block that clients refuse is left out", announced(
        "metallb_l2", common(cluster_load_balancer_l2_prefix_length=16), addresses=["10.77.255.0/24"])),
    ("dual stack", dual),
    ("dual stack with IPv6 first", v6_first),
    ("IPv6 only", only_v6),
    ("dual stack in tunnels beside routers of one family", both(
        dual, common(cluster_encapsulation="vxlan"), everywhere(cluster_bgp_peers=[{"address": "10.77.9.254", "as_number": 64600}]))),
    ("numbers from the command line are texts", common(cluster_pods_per_node="110", cluster_api_endpoint_port="7443")),
    ("keepalived in one rack", both(one_rack, keepalived("10.77.1.250"))),
    ("keepalived in a stretched segment", both(
        one_rack, own("cp1", cluster_rack="r9", cluster_bgp_as_number=64709), keepalived("10.77.1.250", api_endpoint_vrrp_prefix_length=24))),
    ("an external balancer by name", common(
        cluster_api_endpoint_mode="external", cluster_api_endpoint_address="api.example.org", cluster_api_endpoint_port=6443)),
    ("500 pods a node", common(cluster_pods_per_node=500)),
    ("a pool with its own density", own("w1", cluster_pods_per_node=500)),
    ("schedulable control planes only", both(group(workers=[], all=["cp1", "cp2", "cp3"]), common(cluster_node_taints=[]))),
    ("etcd on hosts of its own", both(
        group(etcd=["e1", "e2", "e3"]), lambda d: d.own.update({f"e{n}": {"cluster_node_ip": f"10.77.3.{n}"} for n in (1, 2, 3)}))),
    ("Cilium with routers, without kube-proxy", cilium()),
    ("Cilium with kube-proxy and MetalLB", cilium(
        cluster_kube_proxy_mode="nftables", cluster_load_balancer_mode="metallb_l2", **{pool: []})),
    ("Cilium encapsulated", cilium(no_peers, cluster_encapsulation="geneve", cluster_load_balancer_mode="none", **{pool: []})),
    ("values of the user's own for Cilium", cilium(cluster_cilium_values={"debug": {"enabled": True}})),
    ("passwords of Cilium's sessions", cilium(peer_option(password="tor"), cluster_bgp_passwords={"tor": "s3cret"})),
    ("reflectors and their routers", reflected),
    ("an announced API address", anycast()),
    ("an announced API address from the nodes' own addresses, beside VXLAN", both(anycast(
        no_peers, *(own(name, cluster_api_endpoint_bgp_source="") for name in ("cp1", "cp2", "cp3"))),
        common(cluster_encapsulation="vxlan", **{pool: []}))),
    ("reflectors without routers, encapsulated", both(reflected, no_peers, common(cluster_encapsulation="vxlan_cross_subnet", **{pool: []}))),
    ("passwords, filters and communities", both(
        peer(password="tor", filters=["in"], reachable_by="10.77.2.1", ttl_security=1), common(
            cluster_bgp_passwords={"tor": "s3cret"},
            cluster_bgp_filters=[{"name": "in", "import_rules": [{"action": "reject", "cidr": "10.9.0.0/16", "match": "in"}]}],
            cluster_bgp_communities=[{"name": "gold", "value": "64512:300"}],
            cluster_bgp_advertisements=[{"cidr": "10.244.0.0/16", "communities": ["gold", "1:2:3"]}]))),
    ("VXLAN without BGP", both(no_peers, common(cluster_encapsulation="vxlan", **{pool: []}))),
    ("a pool a rack", pods({"cidr": "10.244.0.0/20", "racks": ["rack1"]}, {"cidr": "10.244.16.0/20", "racks": ["rack2"]})),
    ("an nftables data plane", common(cluster_calico_data_plane="nftables")),
    ("a mesh without routers", both(no_peers, common(
        cluster_encapsulation="vxlan_cross_subnet", cluster_bgp_topology="full_mesh", **{pool: []}))),
    ("kernel parameters in every form", common(cluster_kernel_parameters={
        "net/ipv4/conf/eth0.100/rp_filter": 0, "-vm.swappiness": "10", "net.ipv4.conf.all.rp_filter": {"min": 1, "reason": "x", "optional": True},
        "vm.max_map_count": None, "vm.overcommit_memory": {"one_of": [0, 1]}, "fs.file-max": {"min": 1, "max": 9000000}})),
    ("process numbers that are enough", both(sysctl(**{"kernel.pid_max": {"min": 600000}}), kubelet(podPidsLimit=4096))),
    ("the kernel's own number of processes", sysctl(**{"kernel.pid_max": None})),
    ("podsPerCore on machines that are large enough", both(kubelet(podsPerCore=10), machines(min_cpus=11))),
    ("memory for pods", both(common(cluster_pods_per_node=500), machines(min_memory_mib=65536, min_mtu=9000, min_free_mib={"/var": 40000}))),
    ("quantities", kubelet(kubeReserved={"cpu": "250m", "memory": "1Gi"}, evictionHard={"memory.available": "5%", "nodefs.available": "10Gi"})),
    ("jumbo frames", both(common(calico_mtu="9000"), machines(min_mtu=9000))),
    ("ranges of kube-controller-manager at 500", plain(cluster_pods_per_node=500)),
    ("ranges of kube-controller-manager at 512, where 1,024 addresses are too few", plain(cluster_pods_per_node=512)),
    ("ranges of its own IPAM", plain(cluster_pod_cidrs=["10.244.0.0/24"], **{kcm: {"allocate-node-cidrs": False}})),
    ("ranges of both families", both(dual, plain(cluster_pod_cidrs=["10.244.0.0/16", "fd00:1::/48"]))),
    ("typha in a set that has it", common(calico_typha_replicas=3, cluster_release_set="built")),
    ("a role's variable that says the same", said(kubelet_pods_per_node="110")),
    ("slow etcd across sites", common(etcd_heartbeat_interval_ms="300", etcd_election_timeout_ms=3000)),
    ("flags for all control planes", both(*(own(cp, control_plane_scheduler_extra_args={"v": 4}) for cp in ("cp1", "cp2", "cp3")))),
    ("how long one host waits", own("w1", calico_wait_seconds=900)),
    ("flags and gates", common(control_plane_apiserver_extra_args={"v": 2, "event-ttl": None, "feature-gates": "AllAlpha=true"},
                               cluster_kube_proxy_configuration={"featureGates": {"AllBeta": False}, "iptables": {}})),
    ("a feature gate that is still known", both(common(cluster_kubernetes_version="v1.35.4"), kubelet(featureGates={"TopologyAwareHints": True}))),
    ("as many pods as one namespace may have", common(cluster_pods_per_node=100, cluster_planned_nodes=30)),
    ("growth that fits to the last block", common(cluster_pod_cidrs=["10.244.0.0/20"], cluster_planned_nodes="12", cluster_surge_nodes=4)),
    ("growth that fits to the last range", plain(cluster_pod_cidrs=["10.244.0.0/20"], cluster_planned_nodes=15, cluster_surge_nodes=1)),
    ("proxies", both(
        common(cluster_http_proxy="http://me:secret@proxy.example.org:3128", cluster_no_proxy=["example.net", ".example.org", "198.51.100.0/24"]),
        own("w1", cluster_http_proxy="http://198.51.100.1:3128"))),
    ("a proxy on each machine", common(cluster_http_proxy="http://127.0.0.1:3128")),
    ("everything that is the cluster's in a list of one's own", both(common(cluster_http_proxy="http://p:1"), said(
        container_runtime_no_proxy=["127.0.0.1", "10.0.0.0/8", "192.0.0.0/8", ".cluster.local"]))),
    ("labels", own("w1", cluster_node_labels={"bare-metal.kubernetes/pool": "gpu", "a": ""})),
    ("maxPods said twice alike", own("w1", cluster_kubelet_configuration={"maxPods": 110})),
    ("another version in the lock", common(cluster_kubernetes_version="v1.36.1")),
    ("names of others", lambda d: d.given.update(ansible_user="", site_contact="", worker="")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "change"), VALID, ids=[case[0] for case in VALID])
def test_valid(words: str, change: Break) -> None:
    changed = draft()
    change(changed)
    report = validate(changed.build())
    assert texts(report.errors + report.warnings) == [], words


# --- the report


def test_all_errors_at_once_and_equal_ones_together() -> None:
    broken = draft()
    broken.common.update(cluster_name="Bad_Name", cluster_pods_per_node="lots")
    broken.own["w1"]["cluster_node_ip"] = "nowhere"
    report = validate(broken.build())
    assert [(problem.variable, len(problem.hosts)) for problem in report.errors] == [
        ("cluster_name", 5),
        ("cluster_node_ip", 1),
        ("cluster_pods_per_node", 5),
    ]


def test_render() -> None:
    problems = [
        Problem("cluster_x", "is wrong", "mend it", "'a'", ("w1", "w2"), "group_vars/workers.yml:3"),
        Problem("cluster_y", "is \x1b[31mred\x1b[0m", "mend it", hosts=("cp1",)),
        Problem("group etcd", "has no hosts", "add some"),
        Problem("cluster_z", "is wrong", "mend it", hosts=("cp1", "cp2", "cp3", "w1")),
    ]
    assert render(problems, draft().groups).splitlines() == [
        "  1. cluster_x = 'a'",
        "     where: all 2 hosts of the group workers, set in group_vars/workers.yml:3",
        "     why:   is wrong",
        "     fix:   mend it",
        "  2. cluster_y",
        "     where: host cp1",
        "     why:   is ?[31mred?[0m",
        "     fix:   mend it",
        "  3. group etcd",
        "     why:   has no hosts",
        "     fix:   add some",
        "  4. cluster_z",
        "     where: hosts cp1, cp2, cp3 and 1 more",
        "     why:   is wrong",
        "     fix:   mend it",
    ]


def test_secrets_of_hosts_are_hidden() -> None:
    given_input = draft().build()
    hosts = tuple(
        replace(host, variables={**host.variables, "cluster_name": "Hunter_2"}, secrets=frozenset({"cluster_name"}))
        for host in given_input.hosts
    )
    report = validate(replace(given_input, hosts=hosts))
    assert [problem.value for problem in report.errors] == [cluster_schema.HIDDEN]
    assert "Hunter_2" not in str(report)


def test_secrets_do_not_come_back_in_reasons() -> None:
    broken = draft()
    broken.common.update(cluster_kernel_parameters={"vm.swappiness": {"min": "Hunter_2"}})
    broken.common.update(cluster_domain="hunter-2.example.org", cluster_node_labels={"a": "Hunter_2 "})
    said(kubelet_pods_per_node=5)(broken)
    given_input = broken.build()
    secret = frozenset(broken.common)
    report = validate(replace(given_input, hosts=tuple(replace(host, secrets=secret) for host in given_input.hosts)))
    assert {problem.rule for problem in report.errors} >= {"kernel_parameters", "labels_and_taints", "said_once"}
    assert "hunter" not in str(report.errors).lower()


def test_passwords_of_proxies_are_hidden() -> None:
    broken = draft()
    broken.common.update(
        cluster_http_proxy="http://me:hunter2@10.96.0.1:1", cluster_https_proxy="http://me:hun/ter2@p:1"
    )
    problems = texts(validate(broken.build()).errors)
    assert len(problems) == 2
    assert all("********@" in problem for problem in problems)
    assert not re.search("hun|ter2|me:", str(problems))


def test_reasons_are_bounded() -> None:
    broken = draft()
    broken.common.update(cluster_kernel_parameters={"vm.swappiness": {"min": "x" * 10**6, "y" * 10**6: 1}})
    assert len(str(validate(broken.build()).errors)) < 5000


def test_capacity() -> None:
    dense = draft()
    dense.own["w1"]["cluster_pods_per_node"] = 500
    capacity = validate(dense.build()).capacity
    assert capacity == {
        "control_planes": 3,
        "etcd_members": 3,
        "workers": 2,
        "pods": 4 * 110 + 500,
        "pods_per_node": [{"pods": 110, "nodes": 4}, {"pods": 500, "nodes": 1}],
        "block_size": 24,
        "blocks": 256,
        "blocks_per_node": 4,  # 1,000 addresses in blocks of 256
        "blocks_planned": 8,  # and one for each of the others
        "largest_cluster_nodes": 64,
        "planned_nodes": 5,
        "surge_nodes": 0,
        "namespaces": 1,  # 3,000 pods in one
        "pods_without_largest_node": 4 * 110,
    }
    dense.common.update(cluster_planned_nodes="20", cluster_surge_nodes=2)
    grown = validate(dense.build()).capacity
    assert (grown["planned_nodes"], grown["surge_nodes"]) == (20, 2)
    assert grown["blocks_planned"] == 8 + 17 * 4
    assert grown["pods"] == capacity["pods"]


def large(hosts: int, **values: Any) -> ClusterInput:
    big = draft()
    names = [f"n{index}" for index in range(hosts)]
    big.groups["workers"] = names
    big.groups["all"] = [*big.groups["control_plane"], *names]
    for index, name in enumerate(names):
        big.own[name] = {
            "cluster_node_ip": f"11.{index // 62500}.{index // 250 % 250}.{index % 250 + 1}",
            "cluster_rack": f"rack{index % 100 + 10}",
            "cluster_bgp_as_number": 65000 + index % 100,
            "cluster_bgp_peers": [{"address": f"12.0.0.{index % 100 + 1}", "as_number": 64602}],
        }
    big.common.update(cluster_pod_cidrs=["10.128.0.0/9"], **values)
    return big.build()


def test_large_clusters_are_warned_about() -> None:
    reasons = {problem.reason for problem in validate(large(5000)).warnings if problem.rule == "size_is_known_to_work"}
    assert reasons == {
        "have 5003 nodes, upstream tests 5000",
        "allows 550330 pods in all on 5003 nodes, upstream tests 150000",
    }
    assert not any(problem.rule == "size_is_known_to_work" for problem in validate(large(1000)).warnings)


def test_the_work_grows_with_the_hosts_not_their_square() -> None:
    """Counted in calls of Python functions, not in seconds: four times the hosts, at most five times the calls."""
    assert calls(large(800)) < 5 * calls(large(200))


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda index, host: {"cluster_pod_cidrs": ["11.0.0.0/8"]},
        lambda index, host: {"cluster_node_ip": "11.0.0.1"},
        lambda index, host: {"cluster_node_ip": f"nowhere{index}"},
        lambda index, host: {"cluster_domain": f"d{index}.local"},
        lambda index, host: {"cluster_bgp_peers": [{"address": "10.128.0.1", "as_number": 64602}] if index % 2 else []},
        lambda index, host: {"cluster_kernel_parameters": {"vm swappiness": index}},
        lambda index, host: {"calico_mtu": 100 + index},
    ],
    ids=["overlap", "one address", "no address", "domains", "peers", "parameters", "group"],
)
def test_errors_of_all_hosts_cost_no_square_either(spoilt: Callable[[int, Host], dict[str, Any]]) -> None:
    """Each host is wrong, as it is when one line in group_vars/all is."""

    def wrong(count: int) -> ClusterInput:
        right = large(count)
        hosts = (
            replace(host, variables={**host.variables, **spoilt(index, host)}) for index, host in enumerate(right.hosts)
        )
        return replace(right, hosts=tuple(hosts))

    assert validate(wrong(200)).errors
    assert calls(wrong(800)) < 5 * calls(wrong(200))


def test_a_network_over_all_machines_is_one_finding() -> None:
    given_input = large(1000)
    hosts = (
        replace(host, variables={**host.variables, "cluster_pod_cidrs": ["11.0.0.0/8"]}) for host in given_input.hosts
    )
    (problem,) = validate(replace(given_input, hosts=tuple(hosts))).errors
    assert problem.variable == "cluster_node_ip"
    assert len(problem.hosts) == 1000


def calls(given_input: ClusterInput) -> int:
    count = 0

    def tracer(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(tracer)
    try:
        validate(given_input)
    finally:
        sys.setprofile(None)
    return count


# --- the address rules against brute force: addresses are handed out one by one


def handed_out(blocks: int, size: int, nodes: list[int], each: int) -> bool:
    """Do blocks of ``size`` addresses last, when nodes take them one by one for ``each`` addresses a pod?"""
    for pods in nodes:
        free = 0
        for _address in range(each * pods):
            if not free:
                if not blocks:
                    return False
                blocks, free = blocks - 1, size
            free -= 1
    return True


def said_by(rule: str, given_input: ClusterInput) -> str:
    report = validate(given_input, {rule: RULES[rule]})
    return "error" if report.errors else "warning" if report.warnings else ""


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.lists(st.integers(1, 300), min_size=5, max_size=5),
    st.integers(22, 30),
    st.integers(-1, 8),
    st.booleans(),
    st.integers(0, 12),
    st.integers(0, 3),
)
def test_pods_have_addresses_as_brute_force_finds(
    pods: list[int], block: int, longer: int, ipv6: bool, planned: int, surge: int
) -> None:
    broken = draft()
    network = f"fd00:1::/{96 + block - longer}" if ipv6 else f"10.0.0.0/{max(8, block - longer)}"
    broken.common.update(cluster_pod_cidrs=[network], cluster_calico_block_size=block)
    for name, count in zip(["cp1", "cp2", "cp3", "w1", "w2"], pods, strict=True):
        broken.own[name]["cluster_pods_per_node"] = count
    broken.common.update(cluster_planned_nodes=planned, cluster_surge_nodes=surge)
    blocks, size = (1 << longer if longer >= 0 else 0), 1 << (32 - block)
    nodes = [*pods, *[max(pods)] * (max(0, planned - 5) + surge)]
    spare = [] if surge else [max(pods)]  # nobody planned for a replacement: one more node should fit
    expected = (
        "error"
        if not handed_out(blocks, size, nodes, 1)
        else ""
        if handed_out(blocks, size, [*nodes, *spare], 2)
        else "warning"
    )
    assert said_by("pods_have_addresses", broken.build()) == expected


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.integers(1, 600),
    st.integers(22, 30),
    st.integers(0, 20),
    st.sampled_from([["w1"], ["w1", "w2"]]),
    st.integers(0, 12),
    st.integers(0, 3),
)
def test_node_ranges_as_brute_force_finds(
    pods: int, mask: int, longer: int, workers: list[str], planned: int, surge: int
) -> None:
    broken = draft()
    broken.groups["workers"] = workers
    nodes = max(planned, 3 + len(workers)) + surge
    broken.common.update(cluster_planned_nodes=planned, cluster_surge_nodes=surge)
    plain(cluster_pods_per_node=pods, cluster_pod_cidrs=[f"10.0.0.0/{max(8, mask - longer)}"])(broken)
    broken.common[kcm] = {"node-cidr-mask-size": mask}
    longer = mask - max(8, mask - longer)
    # Each of the nodes takes a range; its first and last address and one more are not a pod's.
    usable = (1 << (32 - mask)) - 3
    refused = longer > 16 or (1 << longer) < nodes or not handed_out(1, usable, [pods], 1)
    doubtful = (1 << longer) <= nodes - (surge > 0) or not handed_out(1, usable, [pods], 2)
    assert said_by("node_ranges", broken.build()) == ("error" if refused else "warning" if doubtful else "")


# --- mutated inventories: refused or valid, never an exception

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.sampled_from(
        [
            "",
            "all",
            "no",
            "1.30",
            "10.0.0.0/8",
            "10.0.0.1/8",
            "::/0",
            "0.0.0.0/0",
            "fd00::/64",
            "fe80::1",
            "127.0.0.1",
            "10.77.1.11",
            "10.0.0.1-10.0.0.0",
            "v1.36.3",
            "http://",
            "http://[::1",
            "{{ x }}",
            "calico",
            "none",
            "keepalived",
            "external",
            "mirror",
            "build",
            "500Mi",
            "5%",
            "AllAlpha=true,CPUManager=true",
            24,
            100,
            4096,
            "https://mirror.example.org",
            "v1.35.4",
            "built",
        ]
    )
)
KEYS: list[Any] = [
    *("address", "as_number", "name", "addresses", "key", "effect", "value", "maxPods", "podPidsLimit"),
    *("podsPerCore", "kubeReserved", "evictionHard", "memory", "memory.available", "featureGates"),
    *("containerLogMaxSize", "min_cpus", "min_memory_mib", "min_free_mib", "/var/log", "min_mtu"),
    *("kernel.pid_max", "kernel/threads-max", "-vm.swappiness", "net.*", "exactly", "min", "one_of"),
    *("node-cidr-mask-size", "allocate-node-cidrs", "feature-gates", "cloud-provider", "docker.io"),
    *(1, None),
]
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
names = sorted(name for role in SPECS.values() for name in role)
mappings = sorted(name for role in SPECS.values() for name, option in role.items() if option.type == "dict")
variables = st.sampled_from(names)
hosts = st.sampled_from(["cp1", "cp2", "cp3", "w1", "w2"])


@st.composite
def mutated(draw: st.DrawFn) -> ClusterInput:
    broken = draft()
    for _mutation in range(draw(st.integers(1, 4))):
        match draw(st.integers(0, 6)):
            case 0 | 1:
                broken.common[draw(variables)] = draw(values)
            case 2:
                broken.own[draw(hosts)][draw(variables)] = draw(values)
            case 6:
                keys = st.sampled_from(KEYS)
                broken.common[draw(st.sampled_from(mappings))] = draw(st.dictionaries(keys, values, max_size=3))
            case 3:
                broken.common.pop(draw(variables), None)
            case 4:
                broken.groups[draw(st.sampled_from(["control_plane", "etcd", "workers", "routers", "x"]))] = draw(
                    st.lists(hosts | st.text(max_size=5), max_size=5)
                )
            case _:
                broken.given[draw(variables | st.text(max_size=20))] = draw(st.text(max_size=5))
                broken.failures[draw(variables)] = draw(st.text(max_size=5))
    return broken.build()


MUTATED = 5000


def test_mutated_inventories() -> None:
    """Each is refused or valid, none a traceback; a few hundred of each, or the mutations say nothing."""
    verdicts: Counter[str] = Counter()

    @settings(max_examples=MUTATED, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(mutated())
    def judge(given_input: ClusterInput) -> None:
        report = validate(given_input)
        verdicts["refused" if report.errors else "valid"] += 1
        problems = report.errors + report.warnings
        text = render(problems, given_input.groups)
        assert all(character.isprintable() or character == "\n" for character in text)
        assert len(text.splitlines()) >= 3 * len(problems)
        assert all(problem.reason and problem.fix and problem.rule for problem in problems)
        assert "pods" in report.capacity

    judge()
    assert verdicts.total() >= MUTATED
    assert min(verdicts["refused"], verdicts["valid"]) > 100, verdicts
