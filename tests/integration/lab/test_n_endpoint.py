"""The API's address when something dies: 50 requests a second, six watches and an exec stream through it, while HAProxy, an API server, a machine and a
ToR are killed in turn.

`keepalived` and `bgp_anycast` stand on small labs of their own, `local` on the shipped one, asked from a worker. The figures are printed (`pytest -s`), one
JSON line a death.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import runner
from .api_traffic import Client, Felt, clients

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.own_lab, pytest.mark.network]

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "inventories" / "lab" / "group_vars"
#: most seconds without an answer, by mode. A ToR that dies is missed by the other routers after their hold time, 9 s.
GOALS = {"keepalived": 3.0, "local": 1.0, "bgp_anycast": 3.0}
ROUTERS_HOLD = 12.0
#: seconds after which a silent watch is stuck: clients' own keep-alives (15 s, or HTTP/2 pings after 30 s) have found a dead machine by then
STUCK = 45.0
OCTETS = {"keepalived": "10.243", "bgp_anycast": "10.241"}


@dataclass(frozen=True)
class Scene:
    """A cluster and a client of its API. ``name``: the lab's; ``planes``: addresses of the control planes; ``machine``: where the client is."""

    mode: str
    name: str
    inventory: Path
    planes: dict[str, str]
    machine: str
    address: str
    port: int

    def inside(self, host: str, command: str, check: bool = True) -> str:
        argv = ["podman", "exec", f"{self.name}-{host}", "sh", "-c", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False)
        assert not check or done.returncode == 0, f"{host}: {command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def kubectl(self, words: str, plane: str = "", check: bool = True) -> str:
        """Ask one control plane for itself, by default any that is up."""
        for name in [plane] if plane else sorted(self.planes):
            ask = f"kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://{self.planes[name]}:6443 --request-timeout=10s {words}"
            if plane or self.inside(name, "curl -skf -m 2 https://127.0.0.1:6443/readyz", check=False) == "ok":
                return self.inside(name, ask, check)
        pytest.fail("no control plane is ready")

    def whole(self) -> bool:
        """Every API server is ready, every node is Ready, and so is every pod."""
        for name in self.planes:
            if self.inside(name, "curl -skf -m 3 https://127.0.0.1:6443/readyz", check=False) != "ok":
                return False
        path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
        return all(
            set(self.kubectl(f'get {what} -o "{path}"', check=False).split()) == {"True"}
            for what in ("nodes", "pods --all-namespaces")
        )

    def wait_until_whole(self, seconds: float = 240) -> None:
        until = time.monotonic() + seconds
        while not self.whole():
            assert time.monotonic() < until, f"{self.name} is not whole again after {seconds} s"
            time.sleep(2)
        time.sleep(5)

    def machines(self, play: str = "create") -> None:
        argv = ["ansible-playbook", "-i", str(self.inventory), str(ROOT / "molecule/default" / f"{play}.yml")]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# --- labs


def own_lab(directory: Path, mode: str) -> Scene:
    """Three servers and a client. `keepalived`: all in one network. `bgp_anycast`: two racks with a ToR each, the client behind a third router."""
    name, octets = f"lab{mode[:3]}", OCTETS[mode]
    choices: dict[str, Any] = {
        "lab_name": name,
        "lab_network": f"{octets}.0.0/16",
        "cluster_bundle_registry": "",
        "cluster_node_taints": [],
        "cluster_load_balancer_mode": "none",
        "cluster_load_balancer_pools": [],
        "cluster_api_endpoint_mode": mode,
        "control_plane_kubeconfig_path": str(directory / "admin.conf"),
    }
    nodes = yaml.safe_load((SHIPPED / "lab_nodes.yml").read_text())
    if mode == "keepalived":
        places = {f"server{n}": {"lab_legs": {"rack1": 10 + n}} for n in (1, 2, 3)}
        routers: dict[str, Any] = {"gateway": {"lab_legs": {"rack1": 254, "edge": 251}}}
        client = {"lab_legs": {"rack1": 10}}
        choices |= {
            "cluster_api_endpoint_address": f"{octets}.1.100",
            "cluster_firewall_api_cidrs": [f"{octets}.1.0/24"],
        }
        nodes = {"lab_volumes": nodes["lab_volumes"]}
        planes = {f"server{n}": f"{octets}.1.{10 + n}" for n in (1, 2, 3)}
        address, port = f"{octets}.1.100", 8443
    else:
        legs = {"server1": ("rack1", 1, 11), "server2": ("rack2", 2, 11), "server3": ("rack2", 2, 12)}
        places = {
            server: {"lab_legs": {rack: number}, "cluster_api_endpoint_bgp_source": f"{octets}.{third}.{100 + number}"}
            for server, (rack, third, number) in legs.items()
        }
        numbers = {"tor1": (64601, 2), "tor2": (64602, 3), "core": (64600, 4)}
        routers = {
            router: {
                "lab_legs": {"edge": 251, "spine": leg}
                if router == "core"
                else {f"rack{router[-1]}": 254, "spine": leg},
                "lab_as_number": number,
                **({"tor_config_neighbours": "explicit"} if router == "core" else {}),
                "tor_config_uplinks": [
                    {"address": f"{octets}.0.{other_leg}", "as_number": other_number, "description": other}
                    for other, (other_number, other_leg) in numbers.items()
                    if other != router
                ],
            }
            for router, (number, leg) in numbers.items()
        }
        client = {"lab_legs": {"edge": 10}}
        choices |= {
            "cluster_api_endpoint_address": f"{octets}.9.1",
            "cluster_firewall_api_cidrs": [f"{octets}.3.0/24"],
            # All machines share two busy cores: 300 ms ends sessions that are well.
            "api_endpoint_bfd_interval_milliseconds": 1000,
        }
        planes = {server: f"{octets}.{third}.{number}" for server, (_rack, third, number) in legs.items()}
        address, port = f"{octets}.9.1", 6443
    groups = {
        "lab_nodes": {
            "children": {
                "control_plane": {"hosts": places},
                "etcd": {"children": {"control_plane": None}},
                "workers": None,
            }
        },
        "routers": {"hosts": routers},
        "outside": {"hosts": {"client": client}},
    }
    (directory / "hosts.yml").write_text(
        yaml.safe_dump({"all": {"children": {"lab": {"children": groups}}}}, sort_keys=False)
    )
    (directory / "group_vars/all").mkdir(parents=True)
    (directory / "group_vars/lab").symlink_to(SHIPPED / "lab")
    (directory / "group_vars/routers.yml").symlink_to(SHIPPED / "routers.yml")
    common: dict[str, Any] = {}
    for part in ("lab.yml", "cluster.yml"):
        common |= yaml.safe_load((SHIPPED / "all" / part).read_text())
    (directory / "group_vars/all/all.yml").write_text(yaml.safe_dump(common | choices, sort_keys=False))
    (directory / "group_vars/lab_nodes.yml").write_text(yaml.safe_dump(nodes, sort_keys=False))
    return Scene(mode, name, directory, planes, f"{name}-client", address, port)


@pytest.fixture(scope="module", params=["keepalived", "bgp_anycast"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A lab of its own with a cluster, whose client has kubectl."""
    made = own_lab(tmp_path_factory.mktemp(request.param), request.param)
    made.machines("destroy")
    made.machines()
    try:
        run = runner.play("site", inventory=made.inventory)
        assert run.rc == 0, run.output
        assert ", 0 failed" in run.output
        binary = subprocess.run(
            ["podman", "exec", f"{made.name}-server1", "cat", "/usr/local/bin/kubectl"],
            capture_output=True,
            timeout=60,
            check=True,
        ).stdout
        place = [
            "podman",
            "exec",
            "-i",
            made.machine,
            "sh",
            "-c",
            "cat > /usr/local/bin/kubectl; chmod 0755 /usr/local/bin/kubectl",
        ]
        subprocess.run(place, input=binary, timeout=60, check=True)
        yield made
    finally:
        made.machines("destroy")


@pytest.fixture(scope="module")
def shipped(standing: None) -> Iterator[Scene]:
    """The lab that all share, asked by a worker through its own HAProxy."""
    planes = {"cp1": "10.77.1.11", "cp2": "10.77.2.11", "cp3": "10.77.1.12"}
    made = Scene("local", "bmk", runner.INVENTORY, planes, "bmk-worker1", "127.0.0.1", 7443)
    try:
        yield made
    finally:
        made.machines()
        made.wait_until_whole()
        made.kubectl("delete clusterrolebinding endpoint-test", check=False)
        made.kubectl("-n default delete serviceaccount,configmap endpoint-test", check=False)
        made.inside("worker1", "rm -f /run/endpoint-test.kubeconfig")


def client_of(scene: Scene, node: str) -> Client:
    """A client that may do everything, whose exec stream ends in a pod on ``node``."""
    for words in (
        "-n default create serviceaccount endpoint-test",
        "create clusterrolebinding endpoint-test --clusterrole=cluster-admin --serviceaccount=default:endpoint-test",
        "-n default create configmap endpoint-test",
    ):
        scene.kubectl(words, check=False)
    token = scene.kubectl("-n default create token endpoint-test --duration=2h")
    path = "jsonpath={.items[0].metadata.name}"
    pod = scene.kubectl(
        f'-n kube-system get pods -l k8s-app=kube-proxy --field-selector=spec.nodeName={node} -o "{path}"'
    )
    return Client(scene.machine, scene.address, scene.port, token, pod)


# --- deaths: what is done, and what is done afterwards


@contextmanager
def shell(scene: Scene, host: str, command: str, undo: str = "true") -> Iterator[None]:
    scene.inside(host, command)
    try:
        yield
    finally:
        scene.inside(host, undo)


@contextmanager
def dead(scene: Scene, host: str) -> Iterator[None]:
    """A machine whose power is cut, and that comes back. It says nothing at its end: a killed container's kernel would close its connections."""
    links = ", ".join(
        name for name in scene.inside(host, "ls /sys/class/net").split() if not name.startswith(("lo", "cali"))
    )
    hooks = [
        f"add chain netdev dead {way} {{ type filter hook {way} devices = {{ {links} }} priority 0; policy drop; }}"
        for way in ("ingress", "egress")
    ]
    scene.inside(host, f"nft '{'; '.join(['add table netdev dead', *hooks])}'")
    subprocess.run(["podman", "kill", "--signal", "KILL", f"{scene.name}-{host}"], check=True, capture_output=True)
    try:
        yield
    finally:
        scene.machines()


def holder(scene: Scene) -> str:
    """The control plane that has the VRRP address."""
    (found,) = [name for name in scene.planes if f"inet {scene.address}/" in scene.inside(name, "ip -4 address show")]
    return found


CRASH = "pkill -KILL -x kube-apiserver"
Death = tuple[str, Callable[[Scene], Any], float]
DEATHS: dict[str, tuple[Death, ...]] = {
    "keepalived": (
        ("HAProxy crashes", lambda s: shell(s, holder(s), "systemctl kill --signal=KILL haproxy"), 10),
        ("HAProxy is away", lambda s: shell(s, holder(s), "systemctl stop haproxy", "systemctl start haproxy"), 10),
        ("the API server crashes", lambda s: shell(s, holder(s), CRASH), 20),
        ("the machine dies", lambda s: dead(s, holder(s)), 40),
    ),
    "bgp_anycast": (
        (
            "the speaker crashes",
            lambda s: shell(s, "server3", "systemctl kill --signal=KILL bare-metal-api-announcer"),
            10,
        ),
        ("the API server crashes", lambda s: shell(s, "server3", CRASH), 20),
        (
            "the API server hangs",
            lambda s: shell(s, "server3", "pkill -STOP -x kube-apiserver", "pkill -CONT -x kube-apiserver"),
            # Long enough for a watch on it to find another by its client's keep-alives.
            25,
        ),
        ("the machine dies", lambda s: dead(s, "server3"), 40),
        ("a ToR dies", lambda s: dead(s, "tor1"), 40),
    ),
    "local": (
        ("HAProxy crashes", lambda s: shell(s, "worker1", "systemctl kill --signal=KILL haproxy"), 10),
        ("the API server crashes", lambda s: shell(s, "cp1", CRASH), 20),
        ("the machine dies", lambda s: dead(s, "cp3"), 30),
        ("a ToR dies", lambda s: dead(s, "tor2"), 30),
    ),
}


def measured(scene: Scene, node: str) -> dict[str, Felt]:
    """What the clients felt of each death, one JSON line each on the screen."""
    found = {}
    for what, kill, seconds in DEATHS[scene.mode]:
        scene.wait_until_whole()
        # The exec stream's own machine is none of the dying ones.
        stays = node or next(name for name in sorted(scene.planes) if name != holder(scene))
        # The clients end before what was killed comes back.
        with ExitStack() as undone, clients(client_of(scene, stays)) as felt:
            time.sleep(3)
            undone.enter_context(kill(scene))
            time.sleep(seconds)
        found[what] = felt
        print(json.dumps({"mode": scene.mode, "death": what, **asdict(felt)}))
    scene.wait_until_whole()
    return found


def judge(mode: str, found: dict[str, Felt]) -> None:
    for what, felt in found.items():
        assert felt.asked > 400, f"{what}: {felt}"
        assert felt.watch_seen > 20, f"{what}: {felt}"
        assert felt.longest_gap < (ROUTERS_HOLD if "ToR" in what and mode == "bgp_anycast" else GOALS[mode]), (
            f"{what}: {felt}"
        )
        assert felt.watch_longest < STUCK, f"{what}: {felt}"


# New connections to the announced address, and whose certificate each was shown.
WHO = """
import collections, json, ssl, sys
planes, address, port = json.loads(sys.argv[1])
owner = {ssl.get_server_certificate((ip, 6443)): name for name, ip in planes.items()}
print(json.dumps(collections.Counter(owner[ssl.get_server_certificate((address, port))] for _ in range(120))))
"""


def answering(scene: Scene) -> dict[str, int]:
    """How many of the client's connections each control plane takes."""
    given = json.dumps([scene.planes, scene.address, scene.port])
    argv = ["podman", "exec", scene.machine, "python3", "-c", WHO, given]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    print(json.dumps({"mode": scene.mode, "connections": found}))
    return found


def test_an_own_address_survives(scene: Scene) -> None:
    if scene.mode == "bgp_anycast":
        # Else the death of one that nobody asks would prove nothing.
        taken = answering(scene)
        assert all(taken.get(name, 0) > 5 for name in scene.planes), taken
    judge(scene.mode, measured(scene, "" if scene.mode == "keepalived" else "server2"))


def test_the_node_local_address_survives(shipped: Scene) -> None:
    judge("local", measured(shipped, "worker1"))


def test_verify_sees_who_announces(scene: Scene) -> None:
    run = runner.play("verify", inventory=scene.inventory)
    assert run.rc == 0, run.output
    assert ("api announced" in run.output) == (scene.mode == "bgp_anycast")
    if scene.mode == "bgp_anycast":
        # One in the first rack, two in the second; the third router has none of its own.
        assert run.output.count(f"{scene.address}/32 over 1 control planes") == 1
        assert run.output.count(f"{scene.address}/32 over 2 control planes") == 1


def test_the_mode_of_a_live_cluster_is_refused_with_old_and_new(scene: Scene) -> None:
    other = {
        "cluster_api_endpoint_mode": "local",
        "cluster_api_endpoint_address": "127.0.0.1",
        "cluster_api_endpoint_port": 7443,
    }
    run = runner.play("preflight", "-e", json.dumps(other), inventory=scene.inventory)
    assert run.rc != 0
    assert "live_api_endpoint" in run.output
    assert f"{scene.address}:{scene.port}" in run.output
    assert "127.0.0.1:7443" in run.output


def test_the_second_run_changes_nothing_and_reset_takes_all_of_it_back(scene: Scene) -> None:
    again = runner.play("site", "--diff", inventory=scene.inventory)
    assert again.changed() == {}, again.output
    assert runner.play("reset", "-e", f"reset_confirm={scene.name}", inventory=scene.inventory).rc == 0
    for name in scene.planes:
        left = scene.inside(
            name,
            "ip -4 -brief address; systemctl list-units --all --plain --no-legend 'bare-metal-*'; ls /etc/bare-metal-kubernetes",
            check=False,
        )
        assert scene.address not in left
        assert len([line for line in left.split() if line.startswith(OCTETS[scene.mode])]) == 1, left
        assert "bare-metal-api" not in left
    assert runner.play("reset", "-e", f"reset_confirm={scene.name}", inventory=scene.inventory).changed() == {}
