"""A live cluster gets another address of the API and goes back, under 50 requests a second of a client that asks where its node's kubeconfig says: killed on
the way there, ended by a second run, and `site` has nothing to do afterwards.

The shipped lab moves between `local` and `bgp_anycast` (its control planes stand in two racks, where VRRP cannot move an address), three servers in one network
between `keepalived` and `local`. Figures are printed (`pytest -s`), one JSON line a move.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from . import runner
from .api_traffic import Client, Felt, clients
from .test_n_endpoint import Scene, client_of, own_lab

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.own_lab, pytest.mark.network]

PLAY = "api_endpoint_move"
# The clients' watches are none of the cluster's own programs.
CUT = ("-e", json.dumps({"endpoint_move_cut": True}))
#: seconds without an answer that a client may feel while HAProxy restarts on its node, or its kubeconfig has just been changed
LONGEST_GAP = 3.0
LOCAL = {
    "cluster_api_endpoint_mode": "local",
    "cluster_api_endpoint_address": "127.0.0.1",
    "cluster_api_endpoint_port": 7443,
}
ANYCAST = {
    "cluster_api_endpoint_mode": "bgp_anycast",
    "cluster_api_endpoint_address": "10.77.9.1",
    # Host 11 of a rack announces from 111; the routers' other sessions are with its own address.
    "cluster_api_endpoint_bgp_source": "{{ ansible_host | regex_replace('[.]([0-9]+)$', '.1\\1') if inventory_hostname in groups['control_plane'] else '' }}",
    # All machines share two busy cores: 300 ms ends sessions that are well.
    "api_endpoint_bfd_interval_milliseconds": 1000,
}


@dataclass(frozen=True)
class Stage:
    """A cluster as its inventory has it, and where it moves. ``follow``: the kubeconfig that the client's machine asks by; ``impossible``: a move that cannot
    be made, and words of its refusal."""

    scene: Scene
    other: dict[str, Any]
    other_name: str
    follow: str
    impossible: dict[str, Any]
    words: str

    def play(self, playbook: str, *arguments: str, moved: bool, **more: Any) -> runner.Run:
        there = ("-e", json.dumps(self.other)) if moved else ()
        return runner.play(playbook, *there, *arguments, inventory=self.scene.inventory, **more)

    def servers(self) -> dict[str, str]:
        """Whom the administrator's kubeconfig of each control plane asks."""
        ask = "sed -n 's/.*server: https:..//p' /etc/kubernetes/admin.conf"
        return {name: self.scene.inside(name, ask) for name in self.scene.planes}

    @property
    def client(self) -> Client:
        node = self.scene.machine.removeprefix(f"{self.scene.name}-")
        return replace(client_of(self.scene, node), exec_pod="", follow=self.follow)


def routers_for(choices: dict[str, Any]) -> None:
    """The shipped lab's machines and routers, as the inventory with these choices has them."""
    argv = ["ansible-playbook", "-i", str(runner.INVENTORY), "molecule/default/create.yml", "-e", json.dumps(choices)]
    done = subprocess.run(
        argv, cwd=runner.ROOT, env=runner.environment(), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def shipped_stage() -> Iterator[Stage]:
    planes = {"cp1": "10.77.1.11", "cp2": "10.77.2.11", "cp3": "10.77.1.12"}
    scene = Scene("local", "bmk", runner.INVENTORY, planes, "bmk-worker1", "127.0.0.1", 7443)
    routers_for(ANYCAST)
    made = Stage(
        scene,
        ANYCAST,
        "10.77.9.1:6443",
        "/etc/kubernetes/kubelet.conf",
        # Somebody's own proxy where HAProxy listens already.
        {**LOCAL, "cluster_api_endpoint_mode": "external", "cluster_api_endpoint_address": "127.0.0.1"},
        "loopback",
    )
    try:
        assert made.play("site", moved=False).rc == 0
        yield made
    finally:
        back = made.play(PLAY, *CUT, moved=False)
        scene.kubectl("delete clusterrolebinding endpoint-test", check=False)
        scene.kubectl("-n default delete serviceaccount,configmap endpoint-test", check=False)
        scene.inside("worker1", "rm -f /run/endpoint-test.kubeconfig")
        routers_for({})
        assert back.rc == 0, back.output


def own_stage(directory: Path) -> Iterator[Stage]:
    scene = own_lab(directory, "keepalived")
    scene = replace(scene, machine=f"{scene.name}-server2")
    scene.machines("destroy")
    scene.machines()
    octets = scene.address.rpartition(".")[0]
    made = Stage(
        scene,
        LOCAL,
        "127.0.0.1:7443",
        "/etc/kubernetes/admin.conf",
        {"cluster_api_endpoint_address": f"{octets}.101"},
        "keepalived moves one address",
    )
    try:
        run = made.play("site", moved=False)
        assert run.rc == 0, run.output
        yield made
    finally:
        scene.machines("destroy")


@pytest.fixture(scope="module", params=["bgp_anycast", "keepalived"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if request.param == "keepalived":
        yield from own_stage(tmp_path_factory.mktemp("move"))
    else:
        request.getfixturevalue("lab_machines")
        yield from shipped_stage()


def judge(stage: Stage, way: str, felt: Felt) -> None:
    print(json.dumps({"mode": stage.scene.mode, "move": way, **asdict(felt)}))
    assert felt.asked > 400, str(felt)
    assert felt.longest_gap < LONGEST_GAP, str(felt)
    assert felt.watch_seen > 20, str(felt)


def test_what_cannot_be_moved_is_refused_and_nothing_changes(stage: Stage) -> None:
    before = stage.servers()
    refused = stage.play("site", moved=True)
    assert refused.rc != 0
    assert "bare_metal.kubernetes.api_endpoint_move moves it with service kept" in refused.output
    assert refused.changed() == {}
    impossible = stage.play(PLAY, "-e", json.dumps(stage.impossible), moved=False)
    assert impossible.rc != 0
    assert stage.words in impossible.output
    assert impossible.changed() == {}
    left = sorted(stage.scene.planes)[-1]
    part = stage.play(PLAY, "--limit", f"all:!{left}", moved=True)
    assert part.rc != 0
    assert "did not answer, or is left out by --limit" in part.output
    assert part.changed() == {}
    assert stage.servers() == before


def test_a_preview_says_what_would_change_and_changes_nothing(stage: Stage) -> None:
    before = stage.servers()
    preview = stage.play(PLAY, "--check", "--diff", moved=True)
    assert preview.rc == 0, preview.output
    assert f"+server: https://{stage.other_name}" in preview.output
    assert set(stage.scene.planes) <= set(preview.changed())
    assert stage.servers() == before
    assert stage.play("site", moved=False).changed() == {}


def test_there_killed_on_the_way_and_ended_by_the_next_run(stage: Stage) -> None:
    with clients(stage.client, watches=2) as felt:
        killed = stage.play(PLAY, *CUT, moved=True, kill_at_task="Tell joining nodes")
        assert killed.rc != 0
        unfinished = stage.play("site", moved=True)
        run = stage.play(PLAY, *CUT, moved=True)
    assert unfinished.rc != 0
    assert "has not ended" in unfinished.output
    assert unfinished.changed() == {}
    assert run.rc == 0, run.output
    assert ", 0 failed" in run.output
    assert set(stage.servers().values()) == {stage.other_name}
    judge(stage, f"{stage.scene.mode} to {stage.other['cluster_api_endpoint_mode']}, killed once", felt)
    assert stage.play(PLAY, moved=True).changed() == {}
    assert stage.play("site", moved=True).changed() == {}


def test_and_back(stage: Stage) -> None:
    name = f"{stage.scene.address}:{stage.scene.port}"
    with clients(stage.client, watches=2) as felt:
        run = stage.play(PLAY, *CUT, moved=False)
    assert run.rc == 0, run.output
    assert ", 0 failed" in run.output
    assert set(stage.servers().values()) == {name}
    judge(stage, f"{stage.other['cluster_api_endpoint_mode']} to {stage.scene.mode}", felt)
    assert stage.play(PLAY, moved=False).changed() == {}
    assert stage.play("site", moved=False).changed() == {}
    for host in stage.scene.planes:
        left = stage.scene.inside(
            host,
            "ip -4 -brief address; ls /etc/bare-metal-kubernetes; systemctl is-active haproxy keepalived",
            check=False,
        )
        assert stage.other["cluster_api_endpoint_address"] not in left or stage.other is LOCAL
        assert "api-announcer" not in left
