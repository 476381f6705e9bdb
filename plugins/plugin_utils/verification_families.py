# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``verify`` in a cluster of two families: the same judges look at each family alone, and the second one's rows carry its name. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import verification, verification_bgp
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bgp import canonical, family_of, of_family
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification import Row, Wanted, _row, _seen

Observation = Mapping[str, Any]


def second_family(wanted: Wanted) -> int:
    """The second family of the cluster; 0 when there is one only."""
    return next((family_of(address) for address in wanted.second.values() if address), 0)


def wanted_of(wanted: Wanted, family: int) -> Wanted:
    """What is wanted of one family: its addresses, sessions and networks."""

    def own(addresses: Sequence[str]) -> list[str]:
        return [address for address in addresses if family_of(address) == family]

    both = {name: [address, wanted.second.get(name, "")] for name, address in wanted.nodes.items()}
    return replace(
        wanted,
        nodes={name: address for name, pair in both.items() if (address := of_family(pair, family))},
        bgp_peers={name: own(peers) for name, peers in wanted.bgp_peers.items()},
        pod_cidrs=own(wanted.pod_cidrs),
        announced_cidrs=own(wanted.announced_cidrs),
    )


def cluster_of(cluster: Observation, family: int) -> Observation:
    """What the API showed of one family; pods and Services without an address of it have none."""
    if cluster.get("error"):
        return cluster
    return {
        **cluster,
        "blocks": [block for block in cluster["blocks"] if family_of(block["cidr"]) == family],
        "pods": [
            {**pod, "address": of_family(pod.get("addresses") or [pod["address"]], family)} for pod in cluster["pods"]
        ],
        "services": [
            {**one, "cluster_ip": of_family(one.get("cluster_ips") or [one["cluster_ip"]], family)}
            for one in cluster["services"]
        ],
    }


def judge(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation], domain: str) -> list[Row]:
    """All rows of ``verify``: the first family's, and those of the second that is wanted too."""
    wanted = replace(
        wanted,
        nodes={name: canonical(address) for name, address in wanted.nodes.items()},
        second={name: canonical(address) for name, address in wanted.second.items()},
    )
    second = second_family(wanted)
    if not second:
        return verification.judge(wanted, cluster, hosts, domain) + verification_bgp.judge(wanted, cluster, hosts)
    rows = verification.judge_hosts(wanted, cluster, hosts)
    if not cluster.get("error") and wanted.network_plugin != "none":
        for family in (10 - second, second):
            own, seen = wanted_of(wanted, family), cluster_of(cluster, family)
            found = [
                *verification.judge_routing(own, seen, hosts),
                *_judge_pods(own, seen, hosts, domain),
                *verification_bgp.judge(own, seen, hosts),
            ]
            rows += [replace(row, check=f"{row.check} IPv{second}") if family == second else row for row in found]
    return rows + verification.judge_balancing(wanted, cluster, hosts)


def asked(cluster: Observation, domain: str) -> list[str]:
    """Everything that a probe pod is to ask, of each family that pods have."""
    families = dict.fromkeys(
        family_of(address) for pod in cluster["pods"] for address in pod.get("addresses") or [pod["address"]] if address
    )
    found = [
        target
        for family in families or (4,)
        for targets in verification.probe_targets(cluster_of(cluster, family), domain).values()
        for target in targets
    ]
    return list(dict.fromkeys(found))


def _judge_pods(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation], domain: str) -> list[Row]:
    """Pods and Services by their addresses of one family; their names have to be answered with those (A and AAAA)."""
    targets = verification.probe_targets(cluster, domain)
    names = targets.pop("dns")
    rows = verification.judge_pod_answers(wanted, hosts, targets)
    inner = next((one for one in cluster["services"] if one["type"] == "ClusterIP" and one["cluster_ip"]), None)
    target = next((target for target, name in names.items() if inner and name == inner["name"]), "")
    for host in sorted(wanted.nodes):
        seen, problem = _seen(hosts, host, "pod")
        answer = next((one for one in seen.get("answers", []) if one["target"] == target), None)
        if inner is None:
            problem = "there is nothing to ask: no Service of the probe workload has an address of this family"
        elif not problem and (answer is None or not answer["ok"]):
            problem = f"{inner['name']}: {answer['error']}" if answer else f"{inner['name']} was not asked"
        elif not problem and answer and inner["cluster_ip"] not in str(answer["answer"]).split():
            problem = f"{inner['name']} is answered with {answer['answer']}, without {inner['cluster_ip']}"
        rows.append(_row("dns", host, problem, f"{inner['name']} is {inner['cluster_ip']}" if inner else ""))
    return rows
