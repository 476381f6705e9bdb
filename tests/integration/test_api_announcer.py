"""`bgp_anycast` spoken for real: a router with what `tor_config` writes and a control plane with what the role writes, in two network namespaces.

The API server is a TLS server of the test's own, killed and made to hang. Beside the announcing BIRD, the node's own address has a session with the same
router, as Calico's BIRD has. Needs root and BIRD 2 (tests/tools/router_tools unpacks it). The times are printed (``pytest -s``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from .namespaces import SPACES, sh
from .test_routers_speak import ROOT

ADDRESS, OWN, SOURCE, ROUTER = "198.18.7.1", "10.99.1.11", "10.99.1.111", "10.99.1.254"
CLUSTER: dict[str, Any] = {
    "cluster_bgp_as_number": 64701,
    "cluster_bgp_peers": [{"address": ROUTER, "as_number": 64601, "password": "one"}],
    "cluster_bgp_passwords": {"one": "s3cret-one"},
    "cluster_api_endpoint_mode": "bgp_anycast",
    "cluster_api_endpoint_address": ADDRESS,
    "cluster_api_endpoint_bgp_source": SOURCE,
    "cluster_node_taints": [],
    "cluster_load_balancer_pools": [],
}
INVENTORY = {
    "all": {
        "children": {
            "control_plane": {"hosts": {"node1": {"ansible_host": OWN}}},
            "etcd": {"children": {"control_plane": None}},
            "routers": {"hosts": {"tor1": {"ansible_host": ROUTER}}},
        },
        "vars": CLUSTER,
    }
}
# Renders the role's file with its own variables.
RENDER = f"""
- hosts: node1
  connection: local
  gather_facts: false
  vars_files:
    - {ROOT}/roles/cluster/defaults/main.yml
    - {ROOT}/roles/api_endpoint/defaults/main.yml
    - {ROOT}/roles/api_endpoint/vars/main.yml
  tasks:
    - ansible.builtin.template:
        src: {ROOT}/roles/api_endpoint/templates/etc/bare-metal-kubernetes/api-announcer/bird.conf.j2
        dest: "{{{{ place }}}}/node.conf"
        mode: "0600"
"""
# The network plugin's speaker: the same router, from the node's own address, and port 179 of every address.
PLUGIN = f"""
router id {OWN};
log stderr all;
protocol device {{}}
protocol static {{ ipv4; route 10.244.0.64/26 blackhole; }}
protocol bgp tor {{ local {OWN} as 64701; neighbor {ROUTER} as 64601; password "s3cret-one"; connect retry time 1; connect delay time 1;
  ipv4 {{ import all; export all; }}; }}
"""
# Answers /readyz until it is killed; with SIGSTOP it hangs, as an API server without CPU does.
API = """
import http.server, ssl, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'ok')
    def log_message(self, *words): pass
server = http.server.ThreadingHTTPServer((sys.argv[1], 6443), Ready)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are root's")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What both ends run, written by the collection, and a certificate of the API server."""
    (tmp_path / "hosts.json").write_text(json.dumps(INVENTORY))
    (tmp_path / "render.yml").write_text(RENDER)
    (tmp_path / "values.json").write_text(json.dumps({**CLUSTER, "cluster_node_ip": OWN, "place": str(tmp_path)}))
    inventory = ["-i", str(tmp_path / "hosts.json")]
    argv = [
        "ansible-playbook",
        *inventory,
        "bare_metal.kubernetes.tor_config",
        "-e",
        f"tor_config_directory={tmp_path}",
    ]
    for words in (
        argv,
        ["ansible-playbook", *inventory, str(tmp_path / "render.yml"), "-e", f"@{tmp_path / 'values.json'}"],
    ):
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "s3cret" not in done.stdout
    (tmp_path / "plugin.conf").write_text(PLUGIN)
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=api",
    ]
    sh(*argv, "-addext", f"subjectAltName=IP:{OWN}", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt"))
    return tmp_path


@contextmanager
def running(space: str, *argv: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    words = ["ip", "netns", "exec", space, *argv]
    with subprocess.Popen(words, env={**os.environ, **environment}, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def seconds_until(what: Callable[[], bool], limit: float) -> float:
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < limit, f"not within {limit} s"
        time.sleep(0.02)
    return time.monotonic() - begun


def routed() -> bool:
    """Does the router's kernel have the address, over the announcing session?"""
    return f"via {SOURCE}" in sh("ip", "-n", SPACES[0], "route", "show", ADDRESS)


def test_the_address_follows_the_api_and_the_plugins_session_stays(
    files: Path,
    programs: dict[str, str],
    cable: None,
) -> None:
    tor, node = SPACES
    for space in SPACES:
        sh("ip", "-n", space, "link", "set", "lo", "up")
    sh("ip", "-n", node, "address", "add", f"{SOURCE}/32", "dev", "eth0")
    control = {name: str(files / f"{name}.ctl") for name in ("tor", "node", "plugin")}
    health = [
        *(sys.executable, str(ROOT / "plugins/module_utils/_api_health.py"), "--url", f"https://{OWN}:6443/readyz"),
        *("--timeout", "2", "--ca", str(files / "crt"), "--address", f"{ADDRESS}/32@lo", "--keep", f"{SOURCE}/32@eth0"),
    ]
    api = [sys.executable, "-c", API, OWN, str(files / "crt"), str(files / "key")]

    def shows(name: str) -> str:
        argv = [programs["birdc"], "-s", control[name], "show", "protocols", "all"]
        libraries = {**os.environ, "LD_LIBRARY_PATH": programs["libraries"]}
        return subprocess.run(argv, env=libraries, capture_output=True, text=True, timeout=30, check=False).stdout

    def established() -> int:
        return sum(shows(name).count("BGP state:          Established") for name in ("plugin", "node"))

    def bird(space: str, name: str, path: Path) -> Any:
        return running(
            space, programs["bird"], "-f", "-c", str(path), "-s", control[name], LD_LIBRARY_PATH=programs["libraries"]
        )

    with ExitStack() as stack:
        stack.enter_context(bird(tor, "tor", files / "tor1" / "bird.conf"))
        stack.enter_context(bird(node, "plugin", files / "plugin.conf"))
        stack.enter_context(bird(node, "node", files / "node.conf"))
        watcher = stack.enter_context(running(node, *health))
        seconds_until(lambda: all(Path(path).exists() for path in control.values()), 20)
        seconds_until(lambda: established() == 2, 60)
        assert not routed()
        with running(node, *api) as server:
            came = seconds_until(routed, 20)
            # The plugin's route came over its own session, the API's address over the other one only.
            assert f"via {OWN}" in sh("ip", "-n", tor, "route", "show", "10.244.0.64/26")
            assert f"Neighbor address: {ROUTER}" in shows("node")
            assert "0 imported, 1 exported" in shows("node")
            server.kill()
            killed = seconds_until(lambda: not routed(), 10)
        with running(node, *api) as server:
            seconds_until(routed, 20)
            server.send_signal(19)
            hung = seconds_until(lambda: not routed(), 10)
            server.send_signal(18)
            seconds_until(routed, 20)
            # Nothing passes any more and no interface is down: only BFD can tell.
            time.sleep(3)
            sh(
                "ip",
                "netns",
                "exec",
                node,
                "nft",
                "add table netdev cut; add chain netdev cut c { type filter hook ingress device eth0 priority 0; policy drop; }",
            )
            cut = seconds_until(lambda: not routed(), 20)
            sh("ip", "netns", "exec", node, "nft", "delete table netdev cut")
            # The router takes the node again at once: BIRD's own wait after an error is a minute.
            healed = seconds_until(routed, 20)
            watcher.terminate()
            ended = seconds_until(lambda: not routed(), 10)
        assert established() == 2
    times = {
        "comes": came,
        "API killed": killed,
        "API hangs": hung,
        "link silent": cut,
        "link heard again": healed,
        "watcher ended": ended,
    }
    print("\n" + ", ".join(f"{what}: {seconds * 1000:.0f} ms" for what, seconds in times.items()))
    assert killed < 1.5
    assert hung < 7
    assert cut < 4
    assert ended < 1.5
