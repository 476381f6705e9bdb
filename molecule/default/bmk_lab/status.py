# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`make lab-status`: what stands, in tables. Pure but for `gather`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from bmk_lab import host as machine
from bmk_lab.engine import WORKERS, Lab
from bmk_lab.parse import Node, Session, parse_nodes, parse_sessions
from bmk_lab.plan import Container


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [headings, *rows]
    ]


def render(
    lab: Lab, containers: Mapping[str, Container], sessions: Sequence[Session], nodes: Sequence[Node]
) -> list[str]:
    topology, directory = lab.topology, lab.directory
    if not containers:
        return [f"There is no lab {topology.name}. `make lab` creates it."]
    lines = [
        f"Lab {topology.name}: "
        + ", ".join(
            f"{segment.name} {segment.subnet} {segment.subnet6 or ''}".strip() for segment in topology.segments
        ),
        "",
    ]
    rows = []
    for host in topology.hosts:
        found = containers.get(host.container)
        health = "missing" if not found else found.broken or found.unset or ("ok" if found.state == "running" else "-")
        addresses = " ".join(
            f"{leg.interface}={leg.address}{f',{leg.address6}' if leg.address6 else ''}" for leg in host.legs
        )
        rows.append([host.name, found.state if found else "-", health, addresses])
    lines += table(["MACHINE", "STATE", "HEALTH", "ADDRESSES"], rows)
    names = {
        str(address): host.name
        for host in topology.hosts
        for leg in host.legs
        for address in (leg.address, leg.address6)
    }
    lines += (
        [
            "",
            *table(
                ["ROUTER", "PEER", "NAME", "AS", "BGP", "PREFIXES"],
                [
                    [s.router, s.peer, names.get(s.peer, "?"), str(s.as_number), s.state, str(s.prefixes)]
                    for s in sessions
                ],
            ),
        ]
        if sessions
        else ["", "No BGP session: no router answers."]
    )
    lines += (
        [
            "",
            *table(
                ["NODE", "STATUS", "VERSION", "ADDRESS", "RUNTIME"],
                [[n.name, n.ready, n.version, n.address, n.runtime] for n in nodes],
            ),
        ]
        if nodes
        else ["", "No cluster answers on its control planes yet."]
    )
    kubeconfig = (
        str(directory.kubeconfig) if directory.kubeconfig.exists() else f"{directory.kubeconfig} (not there yet)"
    )
    key, known = directory.key, directory.known_hosts
    return [
        *lines,
        "",
        f"kubeconfig  {kubeconfig}",
        f"ssh         ssh -i {key} -o UserKnownHostsFile={known} root@<address>",
    ]


def gather(lab: Lab, control_planes: Sequence[str]) -> tuple[dict[str, Container], list[Session], list[Node]]:
    """Asks through podman, so that a machine whose network is broken still answers."""
    status = machine.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]).stdout
    if machine.missing_packages(status, ["podman"]):
        return {}, [], []
    containers = lab.containers()
    running = [
        host
        for host in lab.topology.hosts
        if host.container in containers and containers[host.container].state == "running"
    ]

    def ask(container: str, *argv: str) -> str:
        done = machine.run(["podman", "exec", container, *argv], timeout=30, check=False)
        return done.stdout if done.returncode == 0 else ""

    routers = [host for host in running if host.router]
    with ThreadPoolExecutor(WORKERS) as pool:
        texts = pool.map(lambda host: ask(host.container, "vtysh", "-c", "show bgp summary json"), routers)
        sessions = [
            session for host, text in zip(routers, texts, strict=True) for session in parse_sessions(text, host.name)
        ]
    kubectl = [
        "kubectl",
        "--kubeconfig",
        "/etc/kubernetes/admin.conf",
        "--request-timeout=20s",
        "get",
        "nodes",
        "-o",
        "json",
    ]
    for host in running:
        if host.name in control_planes:
            nodes = parse_nodes(ask(host.container, *kubectl))
            if nodes:
                return containers, sessions, nodes
    return containers, sessions, []
