"""MetalLB with sessions of its own and on layer 2, on a small lab beside the first: a control plane, two workers, one router.

The pods' routes are a mesh of the nodes, so the router's sessions are MetalLB's. The router takes addresses of the nodes' own segment (a site's routers
may), so one pool can be announced in both ways and its addresses move from one to the other under traffic.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from . import own_lab, runner
from .own_lab import podman, standing, write_inventory
from .traffic import Felt, steady

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.own_lab, pytest.mark.network]

NAME, OCTETS = "labmetal", "10.235"
WORKERS = {"worker1": 31, "worker2": 32}
GROUPS = {
    "lab": {
        "children": {
            "lab_nodes": {
                "children": {
                    "control_plane": {"hosts": {"server1": {"lab_legs": {"rack1": 11}}}},
                    "etcd": {"children": {"control_plane": None}},
                    "workers": {"hosts": {name: {"lab_legs": {"rack1": number}} for name, number in WORKERS.items()}},
                }
            },
            "routers": {"hosts": {"gateway": {"lab_legs": {"rack1": 254, "edge": 251}}}},
            "outside": {"hosts": {"client": {"lab_legs": {"edge": 10}}}},
        }
    }
}
# 200 to 215: for everybody; 216 to 223: for those that ask, from worker1 only; the last one is for another namespace.
POOLS: list[dict[str, Any]] = [
    {"name": "public", "addresses": [f"{OCTETS}.1.200-{OCTETS}.1.215"]},
    {
        "name": "chosen",
        "addresses": [f"{OCTETS}.1.216/29"],
        "auto_assign": False,
        "node_selectors": [{"match_labels": {"kubernetes.io/hostname": "worker1"}}],
    },
    {"name": "web", "addresses": [f"{OCTETS}.1.230/31"], "namespaces": ["web"], "priority": 1},
]
CHOICES = {
    "lab_name": NAME,
    "lab_network": f"{OCTETS}.0.0/16",
    "cluster_bundle_registry": "",
    "cluster_bgp_topology": "full_mesh",
    "cluster_load_balancer_mode": "metallb_bgp",
    "cluster_load_balancer_pools": POOLS,
}
# On layer 2 nobody speaks with the router, and routers without a session are refused.
LAYER_2 = ("-e", json.dumps({"cluster_load_balancer_mode": "metallb_l2", "cluster_bgp_peers": []}))
# Routers of the lab take no address of their racks; this one is told to take the pools'.
TAKE_POOLS = (
    "configure terminal",
    f"ip prefix-list POOLS seq 5 permit {OCTETS}.1.192/26 le 32",
    "route-map FROM-NODES permit 5",
    "match ip address prefix-list POOLS",
    "end",
    "write memory",
)
#: seconds without an answer that a client may feel: the sessions' hold time is 9 s; a speaker that is silent is given up by memberlist, and the
#: machine that runs all nodes has two cores.
LONGEST_GAP = {"metallb_bgp": 12.0, "metallb_l2": 12.0}
LONGEST_GAP_OF_A_MOVE = 2.0


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped lab's connection, racks, routers and its allowances for containers, with the choices above."""
    return write_inventory(tmp_path_factory.mktemp("inventory"), GROUPS, CHOICES)


def kubectl(*arguments: str, check: bool = True) -> str:
    return podman(
        *("exec", f"{NAME}-server1", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *arguments), check=check
    )


@pytest.fixture(scope="module")
def machines(inventory: Path) -> Callable[[str], None]:
    """A function that runs one of the lab's own playbooks."""
    return partial(own_lab.machines, inventory)


@pytest.fixture(scope="module")
def cluster(inventory: Path) -> Iterator[runner.Run]:
    """The machines, a router that takes the pools' addresses, and the first run."""
    with standing(inventory):
        podman("exec", f"{NAME}-gateway", "vtysh", *(word for line in TAKE_POOLS for word in ("-c", line)))
        yield runner.play("site", inventory=inventory)


def rows(inventory: Path, path: Path, *arguments: str) -> list[dict[str, str]]:
    runner.play("verify", "-e", f"verification_report_path={path}", *arguments, inventory=inventory)
    found: list[dict[str, str]] = json.loads(path.read_text())["rows"]
    return found


def whole(inventory: Path, path: Path, *arguments: str) -> list[dict[str, str]]:
    """The rows of the first verify in which nothing fails, or of the last one."""
    found: list[dict[str, str]] = []
    for _try in range(8):
        found = rows(inventory, path, *arguments)
        if not [row for row in found if row["result"] == "failed"]:
            break
    return found


def of(found: list[dict[str, str]], check: str, result: str = "ok") -> dict[str, str]:
    """Details by subject of one check, those with this result."""
    return {row["subject"]: row["detail"] for row in found if row["check"] == check and row["result"] == result}


def address_of(service: str = "probe-public", namespace: str = "bare-metal-system") -> str:
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    for _try in range(60):
        found = kubectl("-n", namespace, "get", "service", service, "-o", path, check=False)
        if found:
            return found
        time.sleep(1)
    raise AssertionError(f"{namespace}/{service} gets no address")


def announcers(kind: str) -> set[str]:
    """Nodes that say that they announce the Service of the pool public."""
    found = json.loads(kubectl("-n", "metallb-system", "get", kind, "-o", "json"))["items"]
    return {
        entry["status"]["node"] for entry in found if (entry.get("status") or {}).get("serviceName") == "probe-public"
    }


def lose(node: str, machines: Callable[[str], None]) -> Felt:
    """Traffic from outside while a node dies, and until it is back."""
    with steady(f"{NAME}-client", f"http://{address_of()}/", every=0.05, patience=1.0) as felt:
        time.sleep(3)
        podman("kill", f"{NAME}-{node}")
        time.sleep(25)
    machines("create")
    kubectl("wait", "--for=condition=Ready", f"node/{node}", "--timeout=180s")
    print(f"{node} died: {felt}")
    return felt


def test_the_speakers_sessions_stand_and_every_pool_answers(
    cluster: runner.Run, inventory: Path, tmp_path: Path
) -> None:
    assert cluster.rc == 0, cluster.output
    found = whole(inventory, tmp_path / "rows.json")
    assert not [row for row in found if row["result"] == "failed"], found
    assert set(of(found, "speaker")) == set(WORKERS)
    assert of(found, "speaker router") == {"gateway": "2 of 2 speakers Established"}
    for pool in ("public", "chosen"):
        for check in ("load balancer", "client address"):
            assert [subject for subject in of(found, check) if f" of {pool} from client" in subject], (pool, check)
    assert all(f"the client's own address {OCTETS}.3.10" in detail for detail in of(found, "client address").values())
    assert of(found, "load balancer", "skipped").keys() == {"web"}
    # The pool with node selectors is announced by the node that they select.
    assert of(found, "announced by")["chosen"].startswith("worker1 to ")
    assert "worker2" not in of(found, "announced by")["chosen"]


def test_the_router_has_both_workers_as_next_hops_and_one_for_the_chosen_pool(cluster: runner.Run) -> None:
    routes = json.loads(podman("exec", f"{NAME}-gateway", "vtysh", "-c", "show ip route bgp json"))
    hops = {
        service: {hop["ip"] for route in routes[f"{address_of(service)}/32"] for hop in route["nexthops"]}
        for service in ("probe-public", "probe-chosen")
    }
    assert hops == {"probe-public": {f"{OCTETS}.1.31", f"{OCTETS}.1.32"}, "probe-chosen": {f"{OCTETS}.1.31"}}


def test_a_second_run_changes_nothing(cluster: runner.Run, inventory: Path) -> None:
    again = runner.play("site", inventory=inventory)
    assert (again.rc, again.changed()) == (0, {}), again.output


def test_addresses_survive_the_death_of_a_node_with_sessions(
    cluster: runner.Run, machines: Callable[[str], None]
) -> None:
    felt = lose("worker2", machines)
    assert 0 < felt.longest_gap < LONGEST_GAP["metallb_bgp"], str(felt)


MANIFEST = """
apiVersion: v1
kind: Service
metadata:
  name: held
  namespace: web
spec:
  type: LoadBalancer
  selector: {app: nothing}
  ports: [{port: 80}]
"""


def test_a_pool_whose_addresses_are_in_use_is_not_taken_away(cluster: runner.Run, inventory: Path) -> None:
    kubectl("create", "namespace", "web")
    own_lab.on(NAME, "server1", f"{own_lab.KUBECTL} apply -f -", stdin=MANIFEST)
    # The pool for this namespace comes first, by its priority.
    held = address_of("held", "web")
    assert held in (f"{OCTETS}.1.230", f"{OCTETS}.1.231")
    without = ("-e", json.dumps({"cluster_load_balancer_pools": POOLS[:2]}))
    refused = runner.play("site", *without, inventory=inventory)
    assert refused.rc != 0
    assert refused.changed() == {}
    assert f"web/held ({held}: no pool has it)" in refused.output
    # And neither is the way it is announced changed with a gap.
    refused = runner.play("site", *LAYER_2, inventory=inventory)
    assert refused.rc != 0
    assert refused.changed() == {}
    assert "Run bare_metal.kubernetes.load_balancer" in refused.output


def move(inventory: Path, *arguments: str) -> Felt:
    with steady(f"{NAME}-client", f"http://{address_of()}/", every=0.05, patience=1.0) as felt:
        done = runner.play("load_balancer", *arguments, inventory=inventory)
    assert done.rc == 0, done.output
    print(f"moved: {felt}")
    return felt


def test_addresses_move_to_layer_2_under_traffic(cluster: runner.Run, inventory: Path, tmp_path: Path) -> None:
    before = address_of()
    felt = move(inventory, *LAYER_2)
    assert felt.longest_gap < LONGEST_GAP_OF_A_MOVE, str(felt)
    assert address_of() == before
    found = whole(inventory, tmp_path / "rows.json", *LAYER_2)
    assert not [row for row in found if row["result"] == "failed"], found
    assert of(found, "announced by")["public"] in WORKERS
    assert of(found, "announced by")["chosen"] == "worker1"
    assert runner.play("site", *LAYER_2, inventory=inventory).changed() == {}


def test_on_layer_2_another_node_takes_the_address_of_a_dead_one(
    cluster: runner.Run, machines: Callable[[str], None]
) -> None:
    (holder,) = announcers("servicel2status")
    felt = lose(holder, machines)
    assert 0 < felt.longest_gap < LONGEST_GAP["metallb_l2"], str(felt)


def test_addresses_move_back_to_sessions_under_traffic(cluster: runner.Run, inventory: Path, tmp_path: Path) -> None:
    felt = move(inventory)
    assert felt.longest_gap < LONGEST_GAP_OF_A_MOVE, str(felt)
    found = whole(inventory, tmp_path / "rows.json")
    assert not [row for row in found if row["result"] == "failed"], found
