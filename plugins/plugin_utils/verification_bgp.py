# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of ``verify``'s judge that is about routes: what routers took from nodes against the plan, ECMP, the way between racks, and the MTU. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._bgp import Speaker, problems
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bgp import family_of
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification import Row, Wanted, _row, _seen

Observation = Mapping[str, Any]


def _blocks(cluster: Observation) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in cluster["blocks"]:
        found.setdefault(entry["node"], []).append(entry["cidr"])
    return found


def _router_of(wanted: Wanted, hosts: Mapping[str, Observation], router: str) -> list[str]:
    """The nodes that have a session with a router."""
    own = {wanted.routers[router], *((hosts.get(router, {}).get("router") or {}).get("addresses") or [])}
    return sorted(node for node, peers in wanted.bgp_peers.items() if node in wanted.nodes and set(peers) & own)


def _speaker(seen: Observation) -> Speaker:
    return Speaker(
        sessions={address: entry["state"] for address, entry in seen.get("neighbours", {}).items()},
        received={address: tuple(found) for address, found in (seen.get("received") or {}).items()},
        paths={prefix: tuple(hops) for prefix, hops in (seen.get("paths") or {}).items()},
    )


def judge_prefixes(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation]) -> list[Row]:
    """Each router took every block of its nodes, from the node itself, and nothing that is not the cluster's."""
    blocks, rows = _blocks(cluster), []
    networks = [*wanted.pod_cidrs, *wanted.announced_cidrs]
    for router in sorted(wanted.routers):
        nodes = _router_of(wanted, hosts, router)
        seen, problem = _seen(hosts, router, "router")
        expected = {
            "received": {wanted.nodes[node]: blocks.get(node, []) for node in nodes},
            "allowed": {wanted.nodes[node]: networks for node in nodes},
        }
        found = [problem] if problem else problems(_speaker(seen), expected)
        count = sum(len(found) for found in expected["received"].values())
        rows.append(
            _row("bgp prefixes", router, "; ".join(found), f"{count} blocks of {len(nodes)} nodes, nothing else")
        )
    return rows


def judge_ecmp(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """A router spreads each range of Services over every node that announces it to this router."""
    rows = []
    for router in sorted(wanted.routers):
        seen, problem = _seen(hosts, router, "router")
        speaker = _speaker(seen)
        addresses = {wanted.nodes[node] for node in _router_of(wanted, hosts, router)}
        widths = {
            cidr: sum(1 for address in addresses if cidr in speaker.received.get(address, ()))
            for cidr in wanted.announced_cidrs
        }
        found = [problem] if problem else problems(speaker, {"ecmp": widths})
        words = ", ".join(f"{cidr} over {width}" for cidr, width in widths.items())
        rows.append(_row("ecmp", router, "; ".join(found), words or "no range is announced"))
    return rows


def judge_ways(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation]) -> list[Row]:
    """A packet to another node's pods leaves for that node, when both are in one rack, or for a router of the own rack, never for another rack's; to
    another rack it may take every router that the node has a session with.
    """
    blocks, rows = _blocks(cluster), []
    for host in sorted(wanted.nodes):
        seen, problem = _seen(hosts, host, "routes")
        routes = {route["destination"]: tuple(route["via"]) for route in seen.get("routes", []) if route["via"]}
        own, ways, narrow = list(wanted.bgp_peers.get(host, ())), {}, []
        others = [(node, cidr) for node in sorted(set(wanted.nodes) - {host}) for cidr in blocks.get(node, [])]
        for node, cidr in others:
            hops, near = routes.get(cidr, ()), wanted.racks.get(node) == wanted.racks.get(host)
            if not hops:
                continue
            # A link-local next hop cannot be another rack's: it is on the node's own link.
            here = [hop for hop in hops if ipaddress.ip_address(hop).is_link_local]
            ways[cidr] = [*own, *([wanted.nodes[node]] if near else []), *here]
            if not near and len(hops) < len(own):
                narrow.append(f"{cidr} of {node} goes over {len(hops)} of {len(own)} routers")
        found = [problem] if problem else [*problems(Speaker(routes=routes), {"next_hops": ways}), *narrow]
        words = f"{len(ways)} blocks over the own rack{f' and its {len(own)} routers' if len(own) > 1 else ''}"
        rows.append(_row("way to racks", host, "; ".join(found), words))
    return rows


def judge_mtu(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation]) -> list[Row]:
    """Packets of the pods' full size get from every node to a pod in every rack, and back, in one piece; all nodes have the same size."""
    pods = {pod["address"]: pod["node"] for pod in cluster["pods"]}
    family = next((6 if ":" in pod["address"] else 4 for pod in cluster["pods"] if pod["address"]), 4)
    rows, sizes = [], {host: (hosts.get(host, {}).get("mtu") or {}).get("pod_mtu") for host in wanted.nodes}
    largest = max((size for size in sizes.values() if size), default=0)
    for host in sorted(wanted.nodes):
        targets = mtu_targets(cluster, wanted.racks, host, [family])
        why = "" if targets else f"no other node has a pod with an IPv{family} address"
        if wanted.network_plugin == "cilium" and wanted.encapsulation != "none":
            why = "Cilium writes the size on routes inside the pods, where it is not probed"
        if why:
            rows.append(Row("mtu", host, "skipped", why))
            continue
        seen, problem = _seen(hosts, host, "mtu")
        found = [problem] if problem else []
        size = seen.get("pod_mtu", 0)
        asked = {
            answer["target"]: answer for answer in seen.get("answers", []) if family_of(answer["target"]) == family
        }
        if not problem and wanted.mtu and size != wanted.mtu:
            found.append(f"pods have {size} bytes, wanted {wanted.mtu} (cluster_mtu)")
        elif not problem and size != largest:
            found.append(
                f"pods have {size} bytes, other nodes' {largest}: the larger packets to this node need fragmentation"
            )
        found += [
            f"the pod on {pods.get(target, '?')} ({wanted.racks.get(pods.get(target, ''), '')}): {answer['error']}"
            for target, answer in sorted(asked.items())
            if not answer["ok"]
        ]
        racks = sorted({wanted.racks.get(pods.get(target, ""), "") for target in asked})
        detail = f"{size} bytes in one piece to {len(asked)} pods in {len(racks)} racks"
        rows.append(_row("mtu", host, "; ".join(found), detail))
    return rows


def mtu_targets(
    cluster: Observation, racks: Mapping[str, str], own: str, families: Sequence[int] = (4, 6)
) -> list[str]:
    """Addresses of pods that a node asks with full packets: one in every rack, another one for each node of a rack, so that together they reach many;
    of a pod with addresses of both families, both.

    :param racks: ``{node: rack}``.
    """
    if cluster.get("error"):
        return []
    names = sorted(racks)
    turn = names.index(own) if own in names else 0
    found = []
    for rack in sorted(set(racks.values())):
        for family in families:
            there = sorted(
                address
                for pod in cluster.get("pods", [])
                if pod["node"] != own and racks.get(pod["node"]) == rack
                for address in pod.get("addresses") or [pod["address"]]
                if address and family_of(address) == family
            )
            if there:
                found.append(there[turn % len(there)])
    return found


def judge(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation]) -> list[Row]:
    """The rows that apply to the topology."""
    if cluster.get("error") or wanted.network_plugin == "none":
        return []
    rows: list[Row] = []
    if (
        wanted.network_plugin == "calico"
        and wanted.bgp_topology in ("tor", "route_reflectors")
        and any(wanted.bgp_peers.values())
    ):
        if wanted.bgp_topology == "tor":
            rows += judge_prefixes(wanted, cluster, hosts)
        rows += judge_ecmp(wanted, hosts)
    if wanted.network_plugin == "calico" and wanted.bgp_topology == "tor" and wanted.encapsulation == "none":
        rows += judge_ways(wanted, cluster, hosts)
    return [*rows, *judge_mtu(wanted, cluster, hosts)]
