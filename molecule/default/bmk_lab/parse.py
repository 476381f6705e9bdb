# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What routers and the API say, as data. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Session:
    router: str
    peer: str
    as_number: int
    established: bool
    state: str
    prefixes: int


@dataclass(frozen=True)
class Node:
    name: str
    ready: str
    version: str
    address: str
    runtime: str


def parse_sessions(text: str, router: str = "") -> list[Session]:
    """:param text: of `vtysh -c 'show bgp summary json'`."""
    try:
        told = json.loads(text)
    except ValueError:
        return []
    # A session of one family is told in that family's part only (no bgp default ipv4-unicast).
    peers = {
        peer: value
        for family in ("ipv4Unicast", "ipv6Unicast")
        for peer, value in told.get(family, {}).get("peers", {}).items()
    }
    return [
        Session(
            router,
            peer,
            int(value["remoteAs"]),
            value["state"] == "Established",
            str(value["state"]),
            int(value.get("pfxRcd", 0)),
        )
        for peer, value in sorted(peers.items())
    ]


def parse_nodes(text: str) -> list[Node]:
    """:param text: of `kubectl get nodes -o json`."""
    try:
        items = json.loads(text)["items"]
    except (ValueError, KeyError):
        return []
    nodes = []
    for item in items:
        status = item["status"]
        conditions = {condition["type"]: condition["status"] for condition in status.get("conditions", [])}
        addresses = [address["address"] for address in status.get("addresses", []) if address["type"] == "InternalIP"]
        ready = "Ready" if conditions.get("Ready") == "True" else "NotReady"
        unschedulable = ",unschedulable" if item.get("spec", {}).get("unschedulable") else ""
        info = status["nodeInfo"]
        nodes.append(
            Node(
                item["metadata"]["name"],
                ready + unschedulable,
                info["kubeletVersion"],
                ",".join(addresses),
                info["containerRuntimeVersion"],
            )
        )
    return sorted(nodes, key=lambda node: node.name)


def with_server(kubeconfig: str, server: str) -> str:
    """kubeadm's kubeconfig with another server."""
    return re.sub(r"(?m)^(\s*server:).*$", rf"\1 {server}", kubeconfig)
