"""Two families on a small lab of its own: one control plane and two workers in two racks; the first rack has two routers. Dual stack, then IPv6 alone.

Everything is shown from both ends: nodes, pods, Services, names, BGP sessions and routes of each family, LoadBalancer addresses from outside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from . import own_lab, runner
from .own_lab import KUBECTL, becomes, podman, standing, write_inventory
from .traffic import steady_from

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.own_lab, pytest.mark.network]

NAME, OCTETS, PREFIX = "labdual", "10.237", "fd77:237:0"
NODES = {"plane1": ("rack1", 11), "node1": ("rack1", 31), "node2": ("rack2", 31)}
ROUTERS = {"gate1": ("rack1", 254, 2, 251), "gate3": ("rack1", 253, 4, 253), "gate2": ("rack2", 254, 3, 252)}
RACKS = {"rack1": 1, "rack2": 2}
#: seconds: the sessions' hold time, and what finding another way may take beyond it on two cores
HOLD, SLACK = 9.0, 6.0


def addresses(number: int, host: int) -> dict[int, str]:
    """A host's address of each family in a segment."""
    return {4: f"{OCTETS}.{number}.{host}", 6: f"{PREFIX}:{number}::{host}"}


def uplinks(router: str) -> list[dict[str, Any]]:
    """A router's sessions with those of the other rack, over the spine and of each family. Both of a rack have one AS, so they have none."""
    others = {name: legs for name, legs in ROUTERS.items() if legs[0] != ROUTERS[router][0]}
    return [
        {
            "address": f"{OCTETS}.0.{spine}" if family == 4 else f"{PREFIX}:0::{spine}",
            "as_number": f"{{{{ lab_segments.{other}.router_as_number }}}}",
            "description": f"{name} over spine, IPv{family}",
        }
        for name, (other, _rack, spine, _edge) in others.items()
        for family in (4, 6)
    ]


GROUPS = {
    "lab": {
        "children": {
            "lab_nodes": {
                "children": {
                    "control_plane": {"hosts": {"plane1": {"lab_legs": {"rack1": 11}}}},
                    "etcd": {"children": {"control_plane": None}},
                    "workers": {"hosts": {name: {"lab_legs": {NODES[name][0]: 31}} for name in ("node1", "node2")}},
                }
            },
            "routers": {
                "hosts": {
                    name: {
                        "lab_legs": {rack: number, "spine": spine, "edge": edge},
                        "tor_config_uplinks": uplinks(name),
                    }
                    for name, (rack, number, spine, edge) in ROUTERS.items()
                }
            },
            "outside": {"hosts": {"visitor": {"lab_legs": {"edge": 10}}}},
        }
    }
}
NETWORKS = {
    "cluster_pod_cidrs": {4: "10.244.0.0/16", 6: f"{PREFIX}:244::/64"},
    "cluster_service_cidrs": {4: "10.96.0.0/16", 6: f"{PREFIX}:96::/112"},
}
POOL = {4: f"{OCTETS}.200.0/24", 6: f"{PREFIX}:200::/112"}


def choices(families: list[int]) -> dict[str, Any]:
    """What makes a cluster of these families, in this order."""
    return {
        "lab_families": families,
        **{name: [networks[family] for family in families] for name, networks in NETWORKS.items()},
        "cluster_load_balancer_pools": [{"name": "public", "addresses": [POOL[family] for family in families]}],
    }


COMMON = {
    "lab_name": NAME,
    "lab_network": f"{OCTETS}.0.0/16",
    "lab_network6": f"{PREFIX}::/48",
    "lab_segments": {
        "spine": {"number": 0, "prefix_length": 28},
        "rack1": {"number": 1, "as_number": 64701, "router": 254, "second_router": 253, "router_as_number": 64601},
        "rack2": {"number": 2, "as_number": 64702, "router": 254, "router_as_number": 64602},
        "edge": {"number": 3},
    },
    "cluster_bundle_registry": "",
}
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: both, namespace: bare-metal-system}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app.kubernetes.io/name: probe}
  ports: [{port: 80, targetPort: 8080}]
"""
on = partial(own_lab.on, NAME)


def kubectl(words: str, check: bool = True) -> str:
    return on("plane1", f"{KUBECTL} {words}", check)


@dataclass(frozen=True)
class Built:
    """A cluster of ``families`` after its first run."""

    families: list[int]
    inventory: Path
    first: runner.Run

    @property
    def second(self) -> str:
        """What rows of the second family end with; empty in a cluster of one."""
        return f" IPv{self.families[1]}" if len(self.families) > 1 else ""


@pytest.fixture(scope="module", params=[[4, 6], [6]], ids=["dual", "ipv6"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Machines with addresses of both families, and the first run."""
    families: list[int] = request.param
    inventory = write_inventory(tmp_path_factory.mktemp("inventory"), GROUPS, COMMON | choices(families))
    with standing(inventory):
        yield Built(families, inventory, runner.play("site", inventory=inventory, seconds=2400))


def rows(cluster: Built, path: Path) -> list[dict[str, str]]:
    runner.play("verify", "-e", f"verification_report_path={path}", inventory=cluster.inventory)
    found: list[dict[str, str]] = json.loads(path.read_text())["rows"]
    return found


def test_the_first_run_makes_a_whole_cluster(cluster: Built) -> None:
    assert cluster.first.rc == 0, cluster.first.output
    assert ", 0 failed" in cluster.first.output


def test_verify_has_its_rows_for_each_family(cluster: Built, tmp_path: Path) -> None:
    found = rows(cluster, tmp_path / "rows.json")
    assert {row["result"] for row in found} == {"ok"}, [row for row in found if row["result"] != "ok"]
    checks = {row["check"] for row in found}
    routed = ("bgp node", "bgp router", "bgp prefixes", "ecmp", "pod routes", "way to racks", "mtu")
    for check in (*routed, "pod to pod", "cluster ip", "dns"):
        assert {check, f"{check}{cluster.second}"} <= checks
    seen = {row["subject"].split(" ")[0] for row in found if row["check"] in ("load balancer", "client address")}
    assert {6 if ":" in address else 4 for address in seen} == set(cluster.families)
    # Two routers in the first rack, one in the second, of each family.
    details = {(row["check"], row["subject"]): row["detail"] for row in found}
    for check in ("bgp node", f"bgp node{cluster.second}"):
        assert [details[check, name] for name in NODES] == [f"{n} of {n} Established" for n in (2, 2, 1)]
    assert "and its 2 routers" in details["way to racks" + cluster.second, "node1"]


def test_nodes_register_their_addresses(cluster: Built) -> None:
    for name, (rack, number) in NODES.items():
        told = kubectl(
            f"get node {name} -o jsonpath='{{.status.addresses[?(@.type==\"InternalIP\")].address}}'"
        ).split()
        assert told == [addresses(RACKS[rack], number)[family] for family in cluster.families]


def test_pods_have_an_address_of_each_family_and_are_reached_from_outside(cluster: Built) -> None:
    pods = json.loads(kubectl("-n bare-metal-system get pods -o json"))["items"]
    assert len(pods) == len(NODES)
    for pod in pods:
        told = [entry["ip"] for entry in pod["status"]["podIPs"]]
        assert [6 if ":" in address else 4 for address in told] == cluster.families
        for address in told:
            url = f"http://[{address}]:8080/healthz" if ":" in address else f"http://{address}:8080/healthz"
            assert on("visitor", f"curl -s -m 5 -g {url}").strip() == "ok"


def test_names_and_services_have_an_address_of_each_family(cluster: Built) -> None:
    if len(cluster.families) == 1:
        refused = on("plane1", f"{KUBECTL} apply -f - 2>&1", check=False, stdin=SERVICE)
        assert "not configured for dual-stack" in refused, refused
        return
    on("plane1", f"{KUBECTL} apply -f -", stdin=SERVICE)
    told = json.loads(kubectl("-n bare-metal-system get service both -o json"))["spec"]
    assert told["ipFamilies"] == [f"IPv{family}" for family in cluster.families]
    pod = kubectl("-n bare-metal-system get pods --field-selector spec.nodeName=node2 -o name").strip()
    ask = f"-n bare-metal-system exec {pod} -- /echo-server"
    # A and AAAA.
    assert becomes(
        lambda: (
            set(kubectl(f"{ask} resolve both.bare-metal-system.svc.cluster.local", check=False).split()[1:])
            == set(told["clusterIPs"])
        )
    )
    for address in told["clusterIPs"]:
        url = f"http://[{address}]/healthz" if ":" in address else f"http://{address}/healthz"
        assert becomes(lambda url=url: kubectl(f"{ask} get {url}", check=False).strip() == "ok")  # type: ignore[misc]


def test_routers_have_each_family_s_blocks_from_their_nodes(cluster: Built) -> None:
    blocks = json.loads(kubectl("get blockaffinities.crd.projectcalico.org -o json"))["items"]
    found = [(one["spec"]["node"], one["spec"]["cidr"]) for one in blocks]
    assert {6 if ":" in cidr else 4 for _node, cidr in found} == set(cluster.families)
    for router, (rack, *_legs) in ROUTERS.items():
        for family in cluster.families:
            table = json.loads(on(router, f"vtysh -c 'show bgp ipv{family} unicast json'"))["routes"]
            for node, cidr in ((node, cidr) for node, cidr in found if (":" in cidr) == (family == 6)):
                givers = {path["peerId"] for path in table[cidr]}
                own = addresses(RACKS[NODES[node][0]], NODES[node][1])[family]
                assert (own in givers) == (NODES[node][0] == rack), f"{router}: {cidr} of {node} from {givers}"


def test_loadbalancer_addresses_of_each_family_answer_from_outside(cluster: Built) -> None:
    told = json.loads(kubectl("-n bare-metal-system get service probe-public -o json"))
    given = [entry["ip"] for entry in told["status"]["loadBalancer"]["ingress"]]
    assert {6 if ":" in address else 4 for address in given} == set(cluster.families)
    for address in given:
        url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
        answer = json.loads(on("visitor", f"curl -s -m 5 -g {url}"))
        assert answer["node"] in NODES


def test_the_second_run_changes_nothing(cluster: Built) -> None:
    second = runner.play("site", inventory=cluster.inventory)
    assert second.rc == 0, second.output
    assert second.changed() == {}


def test_a_preview_says_that_nothing_would_change(cluster: Built) -> None:
    preview = runner.play("site", "--check", "--diff", inventory=cluster.inventory)
    assert (preview.rc, preview.changed()) == (0, {}), preview.output


def test_other_families_are_refused_on_a_live_cluster(cluster: Built) -> None:
    others = choices([4])
    refused = runner.play("site", "-e", json.dumps(others), inventory=cluster.inventory)
    assert refused.rc != 0
    assert refused.changed() == {}
    words = " then ".join(f"IPv{family}" for family in cluster.families)
    assert f"a live cluster with {words}" in " ".join(refused.output.split()), refused.output


def test_the_routes_to_another_rack_use_both_routers(cluster: Built) -> None:
    blocks = json.loads(kubectl("get blockaffinities.crd.projectcalico.org -o json"))["items"]
    for family in cluster.families:
        routes = {one["dst"]: one for one in json.loads(on("node1", f"ip -json -{family} route"))}
        far = [one["spec"]["cidr"] for one in blocks if one["spec"]["node"] == "node2"]
        for cidr in (cidr for cidr in far if (":" in cidr) == (family == 6)):
            assert len(routes[cidr].get("nexthops", [])) == 2, routes[cidr]


def test_one_of_two_routers_of_a_rack_may_die(cluster: Built, tmp_path: Path) -> None:
    """A pod of the rack is asked from outside, by each family, while the power of its second router is cut."""
    pods = json.loads(kubectl("-n bare-metal-system get pods -o json"))["items"]
    told = next(pod["status"]["podIPs"] for pod in pods if pod["spec"]["nodeName"] == "node1")
    urls = [f"http://[{one['ip']}]:8080/" if ":" in one["ip"] else f"http://{one['ip']}:8080/" for one in told]
    # From the other rack: what the client's own default route does is not what is tried.
    with steady_from(*((f"{NAME}-node2", url) for url in urls), every=0.2, patience=1.0) as felt:
        podman("kill", "--signal", "KILL", f"{NAME}-gate3")
        try:
            assert becomes(lambda: "gate3" not in podman("ps", "--format", "{{.Names}}"))
            becomes(lambda: False, HOLD + SLACK)
        finally:
            own_lab.machines(cluster.inventory, "create")
    for one in felt:
        print(f"one of two routers of a rack dies: {one}")
        assert one.longest_gap < HOLD + SLACK, str(one)

    def whole() -> bool:
        return not [row for row in rows(cluster, tmp_path / "rows.json") if row["result"] == "failed"]

    assert becomes(whole, 120), (tmp_path / "rows.json").read_text()
