"""What `tor_config` writes for BIRD 2, spoken for real: a router and a node in two network namespaces of this machine, with a password.

FRR is spoken by the lab's routers. Needs root and BIRD 2 (tests/tools/router_tools unpacks it).
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from .namespaces import SPACES

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = """
all:
  children:
    control_plane: {hosts: {node1: {ansible_host: 10.99.1.11}}}
    etcd: {children: {control_plane: }}
    routers:
      hosts:
        tor1: {ansible_host: 10.99.1.254, tor_config_neighbours: NEIGHBOURS, tor_config_listen_ranges: [10.99.1.0/24]}
  vars:
    cluster_node_taints: []
    cluster_bgp_as_number: 4200000011
    cluster_bgp_passwords: {one: s3cret-one}
    cluster_bgp_peers: [{address: 10.99.1.254, as_number: 64601, password: one}]
    cluster_load_balancer_pools: [{name: public, addresses: [192.0.2.0/28]}]
"""
# A node as Calico's BIRD is one: its block, a range of Services, and what it must not announce.
NODE = """
router id 10.99.1.11;
protocol device {}
protocol static { ipv4; route 10.244.0.64/26 blackhole; route 192.0.2.0/28 blackhole; route 10.244.0.0/16 blackhole; route 0.0.0.0/0 blackhole; }
protocol bgp tor { local as 4200000011; neighbor 10.99.1.254 as 64601; password "PASSWORD"; connect retry time 1; connect delay time 1;
  ipv4 { import all; export all; }; }
"""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are root's")


@pytest.mark.parametrize("neighbours", ["explicit", "listen"])
@pytest.mark.parametrize("password", ["s3cret-one", "another"])
def test_a_node_is_heard_with_its_password_and_only_of_what_is_its(
    neighbours: str, password: str, programs: dict[str, str], cable: None, tmp_path: Path
) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(INVENTORY.replace("NEIGHBOURS", neighbours))
    argv = [
        "ansible-playbook",
        "-i",
        str(inventory),
        "bare_metal.kubernetes.tor_config",
        "-e",
        f"tor_config_directory={tmp_path}",
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s3cret" not in done.stdout
    (tmp_path / "node.conf").write_text(NODE.replace("PASSWORD", password))
    environment = {**os.environ, "LD_LIBRARY_PATH": programs["libraries"]}
    files = {SPACES[0]: tmp_path / "tor1" / "bird.conf", SPACES[1]: tmp_path / "node.conf"}
    running = []
    try:
        for space, path in files.items():
            words = [
                "ip",
                "netns",
                "exec",
                space,
                programs["bird"],
                "-f",
                "-c",
                str(path),
                "-s",
                str(tmp_path / f"{space}.ctl"),
            ]
            running.append(
                subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )

        def ask(*words: str) -> str:
            control = [programs["birdc"], "-s", str(tmp_path / f"{SPACES[0]}.ctl"), *words]
            return subprocess.run(
                control, env=environment, capture_output=True, text=True, timeout=30, check=False
            ).stdout

        until = time.monotonic() + (45 if password == "s3cret-one" else 12)
        while "Established" not in ask("show", "protocols") and time.monotonic() < until:
            time.sleep(0.5)
        time.sleep(1)
        established = "Established" in ask("show", "protocols")
        routes = {line.split()[0] for line in ask("show", "route").splitlines() if "/" in line.split(" ")[0]}
    finally:
        for process in running:
            process.terminate()
            process.wait(timeout=20)
    assert established == (password == "s3cret-one")
    heard = {"10.244.0.64/26", "192.0.2.0/28"} if established else set()
    assert routes == {"10.99.1.0/24"} | heard
