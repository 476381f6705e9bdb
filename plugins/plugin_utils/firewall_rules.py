# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about the nodes' firewall: whom it would lock out, and what it cannot do. Pure.

Whether the controller's own address is among the administrators is seen on the hosts only, by ``machine_info`` and ``node_firewall``: they know from
where it is logged in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import firewall
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import Problem, Rule, View, registry
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import suggestion

RULES: dict[str, Rule] = {}
rule = registry(RULES)

EVERYBODY = ("0.0.0.0/0", "::/0")
# A comment of nftables: 128 bytes, in double quotes (NFTNL_UDATA_COMMENT_MAXLEN).
RULE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/+-]{0,63}")
RULES_VARIABLE = "cluster_firewall_rules"


def _all_of(networks: list[str]) -> bool:
    return any(text in EVERYBODY for text in networks)


@rule
def firewall_lets_admins_in(view: View) -> Iterator[Problem]:
    """Without them the first run would be the last one."""
    if not view.common("cluster_firewall"):
        return
    admins = view.common("cluster_firewall_admin_cidrs")
    if admins == []:
        reason = "is empty: with cluster_firewall the hosts would let nobody in by ssh, not even the controller"
        yield view.cluster_problem(
            "cluster_firewall_admin_cidrs",
            reason,
            "give the networks of the controller and of those who log in",
            value="[]",
        )
    elif admins and _all_of(admins):
        reason = "lets everybody try ssh and the API; the firewall keeps the rest of the ports only"
        yield view.cluster_problem(
            "cluster_firewall_admin_cidrs", reason, "name the networks of the administrators", warning=True
        )


@rule
def firewall_knows_the_balancer(view: View) -> Iterator[Problem]:
    """An external balancer asks the API from addresses that only the site knows."""
    if not view.common("cluster_firewall") or view.common("cluster_api_endpoint_mode") != "external":
        return
    if view.common("cluster_firewall_api_cidrs") == []:
        reason = "is empty: an external balancer's health checks and connections come from addresses of its own, and only its virtual one is let in"
        yield view.cluster_problem(
            "cluster_firewall_api_cidrs", reason, "give the balancer's own addresses", value="[]", warning=True
        )


@rule
def firewall_sees_node_ports(view: View) -> Iterator[Problem]:
    """eBPF programs at the interface rewrite a packet before netfilter has it."""
    by_ebpf = view.common("cluster_calico_data_plane") == "ebpf" or view.common("cluster_kube_proxy_mode") == "none"
    if not view.common("cluster_firewall") or not by_ebpf:
        return
    if not _all_of(view.common("cluster_firewall_node_port_cidrs") or []):
        reason = "does not close node ports here: eBPF rewrites their packets before a firewall sees them"
        fix = "restrict them with the network plugin (Cilium: nodePort.addresses, host policies), and say so with [0.0.0.0/0, '::/0']"
        yield view.cluster_problem("cluster_firewall_node_port_cidrs", reason, fix, warning=True)


@rule
def firewall_rules(view: View) -> Iterator[Problem]:
    """The inventory's own rules: names that nftables takes, senders and groups that exist, and none that throws the administrators out."""
    seen: set[str] = set()
    for index, entry in enumerate(view.common(RULES_VARIABLE) or ()):
        path = f"{RULES_VARIABLE}[{index}]"
        for problem in (_name(entry, seen), *_sources(view, entry), *_groups(view, entry), _ports(entry)):
            if problem:
                yield view.cluster_problem(path + problem[0], problem[1], problem[2], value=problem[3])
        seen.add(entry["name"])
        ports = {str(port) for port in entry["ports"]}
        if entry.get("action") == "drop" and "22" in ports and entry.get("protocol", "tcp") == "tcp":
            reason = "drops ssh before the rule that lets the administrators in; a run that is thrown out by it goes back by itself"
            yield view.cluster_problem(path, reason, "leave ssh to cluster_firewall_admin_cidrs", warning=True)


Found = tuple[str, str, str, Any]


def _name(entry: Mapping[str, Any], seen: set[str]) -> Found | None:
    if entry["name"] in seen:
        return ".name", "is the name of two rules", "give each its own", entry["name"]
    if not RULE_NAME.fullmatch(entry["name"]):
        return (
            ".name",
            "does not fit a comment of nftables",
            "use at most 64 letters, digits, spaces and ._/+-",
            entry["name"],
        )
    return None


def _sources(view: View, entry: Mapping[str, Any]) -> Iterator[Found]:
    for index, text in enumerate(entry.get("sources") or ()):
        if text not in firewall.SENDERS and not firewall.is_network(text):
            fix = suggestion(text, firewall.SENDERS) or f"write a network, or one of {', '.join(firewall.SENDERS)}"
            yield f".sources[{index}]", "is neither a network nor a name of senders", fix, text


def _groups(view: View, entry: Mapping[str, Any]) -> Iterator[Found]:
    members = {host.name for host in view.members}
    for index, name in enumerate(entry.get("groups") or ()):
        if not members & set(view.input.groups.get(name, ())):
            fix = suggestion(name, view.input.groups) or "name a group with hosts of the cluster"
            yield f".groups[{index}]", "is no group with hosts of the cluster", fix, name


def _ports(entry: Mapping[str, Any]) -> Found | None:
    return None if entry["ports"] else (".ports", "is empty", "name the ports", "[]")
