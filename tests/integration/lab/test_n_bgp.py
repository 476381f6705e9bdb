"""BGP's topologies and options on the live lab: what is changed under traffic, what the routers run, and how long a death is felt.

The figures are printed (``pytest -s``).
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from . import runner
from .traffic import Felt, steady_from

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.network]

MACHINES = runner.ROOT / "molecule" / "default" / "create.yml"
RACKS = {"rack1": ("cp1", "cp3", "worker1"), "rack2": ("cp2", "worker2")}
NODES = tuple(node for nodes in RACKS.values() for node in nodes)
TORS = {
    "rack1": {"address": "10.77.1.254", "as_number": 64601},
    "rack2": {"address": "10.77.2.254", "as_number": 64602},
}
#: hold time of the sessions in seconds, and what finding another way may take beyond it
HOLD, SLACK = 9.0, 6.0


def inside(host: str, *argv: str, check: bool = True) -> str:
    done = subprocess.run(
        ["podman", "exec", f"bmk-{host}", *argv], capture_output=True, text=True, timeout=120, check=False
    )
    assert not check or done.returncode == 0, f"{host}: {argv}: {done.stdout}{done.stderr}"
    return done.stdout


def kubectl(*words: str) -> str:
    return inside("cp1", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *words)


def variables(path: Path, **values: Any) -> tuple[str, str]:
    path.write_text(json.dumps(values))
    return "-e", f"@{path}"


def machines(*arguments: str) -> None:
    """The routers take what the inventory says now."""
    argv = ["ansible-playbook", "-i", str(runner.INVENTORY), str(MACHINES), *arguments]
    done = subprocess.run(argv, cwd=runner.ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def network(*arguments: str) -> runner.Run:
    """The part of a run that is about the network."""
    run = runner.play("site", *arguments)
    assert run.rc == 0, run.output
    return run


def addresses() -> tuple[str, str]:
    """URLs of the probe workload: its LoadBalancer address, and the pod on a worker of the second rack."""
    outside = kubectl(
        "-n",
        "bare-metal-system",
        "get",
        "service",
        "probe-public",
        "-o",
        "jsonpath={.status.loadBalancer.ingress[0].ip}",
    )
    pods = json.loads(kubectl("-n", "bare-metal-system", "get", "pods", "-o", "json"))["items"]
    pod = next(
        one["status"]["podIP"] for one in pods if one["spec"]["nodeName"] == "worker2" and one["status"].get("podIP")
    )
    return f"http://{outside}/", f"http://{pod}:8080/healthz"


@contextmanager
def felt(what: str) -> Iterator[list[Felt]]:
    """Traffic to a LoadBalancer address from outside, and from a node of one rack to a pod of the other; what was felt is printed."""
    outside, pod = addresses()
    with steady_from(("bmk-client", outside), ("bmk-worker1", pod), every=0.05, patience=1.0) as clients:
        yield clients
    for client in clients:
        print(f"{what}: {client}")


@pytest.fixture
def given_back(standing: None) -> Iterator[None]:
    """Whatever happens, the lab is given back as its inventory says."""
    yield
    machines()
    assert runner.play("site").rc == 0


def test_the_routers_run_what_tor_config_writes(tmp_path: Path) -> None:
    machines()
    assert runner.play("tor_config", "-e", f"tor_config_directory={tmp_path}").rc == 0
    for router in ("tor1", "tor2"):
        assert inside(router, "cat", "/etc/frr/frr.conf") == (tmp_path / router / "frr.conf").read_text()
    assert runner.play("tor_config", "-e", f"tor_config_directory={tmp_path}").changed() == {}


def peers_with(password: dict[str, str]) -> dict[str, Any]:
    """``cluster_bgp_peers`` by the host's rack, with a password in the racks that have one."""
    table = {rack: [{**tor, "password": password.get(rack, "")}] for rack, tor in TORS.items()}
    return {"lab_peers": table, "cluster_bgp_peers": "{{ lab_peers[lab_primary_segment | default('')] | default([]) }}"}


@pytest.mark.usefixtures("given_back")
def test_passwords_come_rack_by_rack_and_go_again_with_service_kept(tmp_path: Path) -> None:
    secrets = {"cluster_bgp_passwords": {"one": "s3cret-one", "two": "s3cret-two"}}
    steps = [{"rack1": "one"}, {"rack1": "one", "rack2": "two"}, {"rack2": "two"}, {}]
    for number, step in enumerate(steps):
        given = variables(tmp_path / f"{number}.json", **secrets, **peers_with(step))
        with felt(f"passwords {step}") as clients:
            machines(*given)
            run = network(*given)
        assert "s3cret" not in run.output
        assert clients[0].longest_gap < HOLD + SLACK, str(clients[0])
        for rack, nodes in RACKS.items():
            configuration = inside(
                nodes[0],
                "sh",
                "-c",
                "crictl exec $(crictl ps -q --name calico-node) cat /etc/calico/confd/config/bird.cfg",
            )
            assert ("password" in configuration) == (rack in step)
        if len(step) == len(RACKS):
            assert network(*given).changed() == {}


@pytest.mark.usefixtures("given_back")
def test_route_reflectors(tmp_path: Path) -> None:
    given = variables(tmp_path / "rr.json", cluster_bgp_topology="route_reflectors", cluster_bgp_as_number=64512)
    machines(*given)
    with felt("to route reflectors"):
        network(*given)
    chosen = set(
        kubectl(
            "get", "nodes", "-l", "bare-metal.kubernetes/route-reflector", "-o", "jsonpath={.items[*].metadata.name}"
        ).split()
    )
    assert chosen == {"cp1", "cp2"}
    for router, reflector in (("tor1", "10.77.1.11"), ("tor2", "10.77.2.11")):
        summary = json.loads(inside(router, "vtysh", "-c", "show bgp ipv4 unicast summary json"))["peers"]
        assert {address for address in summary if address.endswith((".11", ".12", ".31"))} == {reflector}
    assert network(*given).changed() == {}


@pytest.mark.usefixtures("given_back")
def test_vxlan_without_bgp(tmp_path: Path) -> None:
    """Encapsulation comes first and BGP goes afterwards, so that there is a way all the time."""
    wrapped = variables(tmp_path / "1.json", cluster_encapsulation="vxlan")
    with felt("to VXLAN, BGP stays") as clients:
        network(*wrapped)
    assert clients[1].longest_gap < SLACK, str(clients[1])
    given = variables(
        tmp_path / "2.json",
        cluster_encapsulation="vxlan",
        cluster_bgp_peers=[],
        cluster_load_balancer_mode="none",
        cluster_load_balancer_pools=[],
    )
    run = network(*given)
    assert ", 0 failed" in run.output
    assert "1450 bytes in one piece" in run.output
    assert "dev vxlan.calico" in inside("worker1", "ip", "route")
    assert not inside("worker1", "pgrep", "-x", "bird", check=False)
    assert network(*given).changed() == {}


def wait_for(what: str, seconds: float = 120) -> None:
    """Until verify is content again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if runner.play("verify").rc == 0:
            return
    pytest.fail(f"the cluster is not whole again {seconds} s after {what}")


@contextmanager
def dead(machine: str) -> Iterator[None]:
    """A machine whose power is cut, and that comes back."""
    subprocess.run(["podman", "kill", "--signal", "KILL", f"bmk-{machine}"], check=True, capture_output=True)
    try:
        yield
    finally:
        machines()


@contextmanager
def cut(router: str, interface: str) -> Iterator[None]:
    """A link on which nothing passes any more, without being down."""
    table = "netdev bmk_cut"
    rules = f"add table {table}; add chain {table} c {{ type filter hook ingress device {interface} priority -500; policy drop; }}"
    inside(router, "nft", rules)
    try:
        yield
    finally:
        inside(router, "nft", f"delete table {table}")


DEATHS = {
    "a ToR": lambda: dead("tor1"),
    "a spine link": lambda: cut("tor1", "spine"),
    "a node": lambda: dead("worker2"),
}


@pytest.mark.usefixtures("given_back")
@pytest.mark.parametrize("what", DEATHS)
def test_how_long_a_death_is_felt(what: str) -> None:
    """From outside, the other ToR, the other link and the other nodes take over within the hold time."""
    with felt(f"{what} dies") as clients, DEATHS[what]():
        time.sleep(25)
    assert clients[0].asked > 300
    assert clients[0].longest_gap < HOLD + SLACK, str(clients[0])
    wait_for(f"the death of {what}")


@pytest.mark.usefixtures("standing")
def test_wireguard_is_refused_where_the_kernel_has_none(tmp_path: Path) -> None:
    run = runner.play("preflight", *variables(tmp_path / "wg.json", cluster_wireguard=True))
    assert run.rc != 0
    assert "WireGuard" in run.output
