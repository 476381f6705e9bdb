"""The nodes' firewall on the lab: a scan from each role to each role and from outside equals the table, a host that shuts the controller out opens itself.


A port that is let in answers or refuses (nobody listens); a port that is not is silent.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from . import runner

pytestmark = [pytest.mark.lab, pytest.mark.network, pytest.mark.usefixtures("standing")]

NODES = {
    "cp1": "10.77.1.11",
    "cp3": "10.77.1.12",
    "worker1": "10.77.1.31",
    "cp2": "10.77.2.11",
    "worker2": "10.77.2.31",
}
ROUTER_OF = {"10.77.1": "tor1", "10.77.2": "tor2"}
TABLE = ("nft", "--stateless", "list", "table", "inet", "bare_metal_firewall")
# Reads [[address, protocol, port], ...] and answers with open, refused, silent or the error for each, in the same order.
SCAN = """
import errno, json, selectors, socket, sys, time
asked, answers, chosen = json.load(sys.stdin), {}, selectors.DefaultSelector()
for number, (address, protocol, port) in enumerate(asked):
    kind = socket.SOCK_STREAM if protocol == 'tcp' else socket.SOCK_DGRAM
    family, _kind, _protocol, _name, place = socket.getaddrinfo(address, port, type=kind)[0]
    one = socket.socket(family, kind)
    one.setblocking(False)
    code = one.connect_ex(place)
    if protocol == 'udp':
        one.send(b'x')
    elif code not in (0, errno.EINPROGRESS):
        answers[number] = errno.errorcode[code]
        continue
    chosen.register(one, selectors.EVENT_WRITE if protocol == 'tcp' else selectors.EVENT_READ, number)
until = time.monotonic() + 3.5  # a second SYN after one second, a third after three
while time.monotonic() < until and chosen.get_map():
    for key, _mask in chosen.select(max(0, until - time.monotonic())):
        code = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        answers[key.data] = {0: 'open', errno.ECONNREFUSED: 'refused'}.get(code, errno.errorcode.get(code, str(code)))
        chosen.unregister(key.fileobj)
        key.fileobj.close()
print(json.dumps([answers.get(number, 'silent') for number in range(len(asked))]))
"""
Target = tuple[str, str, int]


def inside(host: str, *argv: str, stdin: str = "") -> str:
    """Run a program in a machine of the lab, past its firewall."""
    done = subprocess.run(
        ["podman", "exec", "-i", f"bmk-{host}", *argv],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{host}: {argv}: {done.stderr}"
    return done.stdout


def pod_of(node: str) -> str:
    """The process of the probe workload's pod on a node: its network namespace is the pod's."""
    container = inside(node, "crictl", "ps", "--quiet", "--label", "io.kubernetes.container.name=probe").split()[0]
    return str(json.loads(inside(node, "crictl", "inspect", container))["info"]["pid"])


def scan(source: str, targets: list[Target]) -> dict[Target, str]:
    """What ``targets`` answer to a machine, to ``pod@<node>``, or to the controller."""
    asked = json.dumps(targets)
    if source == "controller":
        argv = [sys.executable, "-c", SCAN]
        said = subprocess.run(argv, input=asked, capture_output=True, text=True, timeout=60, check=True).stdout
    elif source.startswith("pod@"):
        node = source.removeprefix("pod@")
        said = inside(node, "nsenter", "--net", "--target", pod_of(node), "python3", "-c", SCAN, stdin=asked)
    else:
        said = inside(source, "python3", "-c", SCAN, stdin=asked)
    return dict(zip(targets, json.loads(said), strict=True))


def listeners(host: str) -> set[tuple[str, int]]:
    """Everything that listens on a host, on whatever address."""
    found = set()
    for line in inside(host, "ss", "-Hltun").splitlines():
        words = line.split()
        found.add((words[0], int(words[4].rpartition(":")[2])))
    return found


def node_port() -> int:
    """The node port of the probe workload's external Service."""
    told = inside(
        "cp1", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "-n", "bare-metal-system", "get", "services", "-o", "json"
    )  # fmt: skip
    ports = [port.get("nodePort") for item in json.loads(told)["items"] for port in item["spec"]["ports"]]
    return int(next(port for port in ports if port))


#: who may reach what, written down here once more: by the target's role, port -> kinds of sources. Everything else is silent to everybody.
ANY_NODE = {"control_plane", "worker"}
LET_IN: dict[str, dict[tuple[str, int], set[str]]] = {
    "control_plane": {
        ("tcp", 22): {"controller"},
        ("tcp", 6443): {"controller", "pod", *ANY_NODE},
        ("tcp", 2379): {"control_plane"},
        ("tcp", 2380): {"control_plane"},
        ("tcp", 10250): {"pod", *ANY_NODE},
        ("tcp", 179): {"own router"},
    },
    "worker": {
        ("tcp", 22): {"controller"},
        ("tcp", 10250): {"pod", *ANY_NODE},
        ("tcp", 179): {"own router"},
    },
}
#: of features that this cluster does not have, and some that nobody has
CLOSED = {("tcp", port) for port in (1, 23, 80, 111, 2381, 4240, 5000, 5473, 7443, 7472, 7946, 8080, 8443, 9100, 10248, 10249, 10256, 10257, 10259, 65000)} | {
    ("udp", port) for port in (53, 3784, 4789, 7946, 8472, 51820)
}  # fmt: skip
SOURCES = ["cp1", "cp2", "worker1", "pod@worker1", "pod@worker2", "tor1", "tor2", "client", "bundle1", "controller"]


def kinds_of(source: str, target: str) -> set[str]:
    """What a source is to a target. A pod behind another node comes with that node's address."""
    if source.startswith("pod@"):
        return {"pod"}
    if source == ROUTER_OF[NODES[target].rpartition(".")[0]]:
        return {"own router"}
    return {"control_plane" if source.startswith("cp") else "worker" if source.startswith("worker") else source}


def test_the_port_matrix_equals_the_table() -> None:
    run = runner.play("nodes", "--tags", "node_firewall")
    assert run.rc == 0, run.output
    port = node_port()
    node_ports = {("tcp", port), ("tcp", 31999), ("udp", 31999)}
    ports = {host: listeners(host) | set(LET_IN[role_of(host)]) | CLOSED | node_ports for host in NODES}

    def answers(source: str) -> dict[Target, str]:
        targets = [
            (address, protocol, number)
            for host, address in NODES.items()
            if host != source
            for protocol, number in sorted(ports[host])
            # These answer with an error of their own, an ICMP message for each, of which a kernel sends few a second.
            if protocol == "tcp" or number < 32768
        ]
        return scan(source, targets)

    with ThreadPoolExecutor(max_workers=len(SOURCES)) as pool:
        seen = dict(zip(SOURCES, pool.map(answers, SOURCES), strict=True))
    host_of = {address: host for host, address in NODES.items()}
    wrong, let_in, silent = [], 0, 0
    for source, found in seen.items():
        for (address, protocol, number), answer in found.items():
            target = host_of[address]
            kinds = kinds_of(source, target)
            allowed = bool(kinds & LET_IN[role_of(target)].get((protocol, number), set()))
            if 30000 <= number <= 32767:
                allowed = bool(kinds & {"pod", *ANY_NODE})
            if allowed and protocol == "udp":
                continue  # silence says nothing of a UDP port that is let in
            let_in, silent = let_in + allowed, silent + (not allowed)
            if (answer in ("open", "refused")) != allowed:
                wrong.append(
                    f"{source} -> {target} {protocol} {number}: {answer}, {'open' if allowed else 'closed'} in the table"
                )
    assert not wrong, "\n".join(wrong)
    assert let_in > 80 and silent > 1000, (let_in, silent)
    # The node port of a Service really answers to those who may.
    assert seen["worker1"][NODES["worker2"], "tcp", port] == "open"
    assert seen["client"][NODES["worker2"], "tcp", port] == "silent"


def role_of(host: str) -> str:
    return "worker" if host.startswith("worker") else "control_plane"


def test_the_other_family_is_closed_as_well() -> None:
    told = json.loads(inside("cp1", "ip", "-json", "-6", "address", "show", "dev", "eth0"))
    # The rack's router sees it on its own link.
    address = next(entry["local"] for entry in told[0]["addr_info"] if entry["family"] == "inet6") + "%rack1"
    found = scan("tor1", [(address, "tcp", port) for port in (22, 6443, 10250, 2379, 8080)])
    assert set(found.values()) == {"silent"}, found
    # ... and is alive: neighbours and echo pass.
    assert "1 received" in inside("tor1", "ping", "-6", "-c", "1", "-W", "5", address)


def rules_of_others(host: str) -> dict[str, list[str]]:
    """The tables of everybody else, without what they count and renew by themselves."""
    tables = [line for line in inside(host, "nft", "list", "tables").splitlines() if "bare_metal_firewall" not in line]
    chains = re.findall(r"^:(cali-INPUT|KUBE-FIREWALL)\b", inside(host, "iptables-save"), re.MULTILINE)
    return {"tables": sorted(tables), "chains": sorted(chains)}


def test_off_and_on_again_touches_no_other_table_and_opens_and_closes() -> None:
    before, listed = rules_of_others("worker2"), inside("worker2", *TABLE)
    kubelet: Target = (NODES["worker2"], "tcp", 10250)
    limited = ("nodes", "--tags", "node_firewall", "--limit", "worker2")
    off = ("-e", '{"cluster_firewall": false}')
    preview = runner.play(*limited, *off, "--check", "--diff")
    assert preview.changed() == {"worker2": 1}, preview.output
    assert '-\t\tip saddr @nodes_ipv4 tcp dport 10250 accept comment "kubelet"' in preview.output
    assert inside("worker2", *TABLE) == listed, "a preview changed the table"
    assert scan("client", [kubelet])[kubelet] == "silent"

    assert runner.play(*limited, *off).changed() == {"worker2": 1}
    assert scan("client", [kubelet])[kubelet] == "open"
    assert "bare_metal_firewall" not in inside("worker2", "nft", "list", "tables")
    assert "not-found" in inside("worker2", "systemctl", "show", "--property=LoadState", "bare-metal-firewall")
    assert rules_of_others("worker2") == before
    assert runner.play(*limited, *off).changed() == {}

    run = runner.play(*limited)
    assert (run.rc, run.changed()) == (0, {"worker2": 1}), run.output
    assert scan("client", [kubelet])[kubelet] == "silent"
    assert inside("worker2", *TABLE) == listed
    assert rules_of_others("worker2") == before
    assert runner.play(*limited).changed() == {}


def test_a_table_that_cuts_ssh_is_rolled_back_by_the_host_itself(tmp_path: Path) -> None:
    listed = inside("worker2", *TABLE)
    values = tmp_path / "values.json"
    values.write_text(
        json.dumps(
            {
                "cluster_firewall_rules": [{"name": "cut", "action": "drop", "ports": [22]}],
                "node_firewall_rollback_seconds": 25,
            }
        )
    )
    ssh: Target = (NODES["worker2"], "tcp", 22)
    cut: list[str] = []

    def watch(_begun: int) -> None:
        if not cut and '"cut"' in inside("worker2", *TABLE):
            cut.append(scan("controller", [ssh])[ssh])
        time.sleep(0.2)

    run = runner.play("nodes", "--tags", "node_firewall", "--limit", "worker2", "-e", f"@{values}", watch=watch)
    assert cut == ["silent"], "the table that cuts ssh was never live"
    assert run.rc != 0
    assert "given its former rules back by itself" in run.output
    assert scan("controller", [ssh])[ssh] == "open"
    assert inside("worker2", *TABLE) == listed
    assert "cut" not in inside("worker2", "cat", "/etc/bare-metal-kubernetes/firewall.nft")
    assert runner.play("nodes", "--tags", "node_firewall", "--limit", "worker2").changed() == {}


def test_a_table_that_leaves_the_controller_out_is_refused_before_it_is_loaded() -> None:
    listed = inside("worker2", *TABLE)
    elsewhere: dict[str, Any] = {"cluster_firewall_admin_cidrs": ["198.51.100.0/24"]}
    run = runner.play(
        "nodes", "--tags", "node_firewall", "--limit", "worker2", "-e", json.dumps(elsewhere), "-e", "x=1"
    )
    assert run.rc != 0
    assert "comes from 10.77.2.1, which is not in cluster_firewall_admin_cidrs" in run.output
    assert inside("worker2", *TABLE) == listed
    preflight = runner.play("preflight", "-e", json.dumps(elsewhere))
    assert preflight.rc != 0
    assert "firewall_admits" in preflight.output


def test_verify_sees_what_somebody_changed_by_hand(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    inside("worker2", "nft", "insert", "rule", "inet", "bare_metal_firewall", "input", "tcp", "dport", "8080", "accept")
    run = runner.play("verify", "-e", f"verification_report_path={report}")
    rows = [row for row in json.loads(report.read_text())["rows"] if row["check"] == "firewall"]
    assert {row["subject"]: row["result"] for row in rows} == {
        **dict.fromkeys(NODES, "ok"),
        "worker2": "failed",
    }, run.output
    mended = runner.play("nodes", "--tags", "node_firewall")
    assert mended.changed() == {"worker2": 1}
    assert runner.play("verify").rc == 0
