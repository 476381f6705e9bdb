# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of ``cluster_node_local_dns``. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import node_local_dns
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_budgets import (
    kubelet_settings,
    kubelet_variable,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import Problem, Rule, View, registry

RULES: dict[str, Rule] = {}
rule = registry(RULES)
VARIABLE = "cluster_node_local_dns"


@rule
def cache_can_be_reached(view: View) -> Iterator[Problem]:
    """Pods have a way to a link-local address of their node."""
    plugin, cidrs = view.common("cluster_network_plugin"), view.common("cluster_pod_cidrs") or ()
    for host, like in view.alike(view.nodes, VARIABLE):
        if view.value(host, VARIABLE) is not True:
            continue
        if plugin == "cilium":
            reason = (
                "is made for Calico, which hands packets for a link-local address to the node; Cilium, where it carries the Services, wants a "
                "CiliumLocalRedirectPolicy, which is not made here"
            )
            yield replace(
                view.about(host, VARIABLE, reason, "leave it out, or use cluster_network_plugin: calico"), hosts=like
            )
        elif plugin == "none":
            reason = "is run with the objects of the network plugin, and cluster_network_plugin is none"
            yield replace(
                view.about(host, VARIABLE, reason, "leave it out, or use cluster_network_plugin: calico"), hosts=like
            )
        elif cidrs and not node_local_dns.has_ipv4(cidrs):
            reason = f"listens on {node_local_dns.ADDRESS}, and pods have IPv6 addresses only"
            yield replace(
                view.about(host, VARIABLE, reason, "leave it out, or give the pods an IPv4 range too"), hosts=like
            )


@rule
def cache_is_named_once(view: View) -> Iterator[Problem]:
    """A kubelet that names other DNS servers leaves the cache without anybody who asks it."""
    plugin, cidrs = str(view.common("cluster_network_plugin")), view.common("cluster_pod_cidrs") or ()
    names = (VARIABLE, "cluster_pods_per_node", "cluster_kubelet_configuration", "kubelet_configuration")
    for host, like in view.alike(view.nodes, *names):
        pods = view.number(host, "cluster_pods_per_node") or 0
        found = node_local_dns.wanted(view.value(host, VARIABLE), plugin, pods, cidrs)
        settings = kubelet_settings(view, host)
        if found and "clusterDNS" in settings:
            path = f"{kubelet_variable(view, host)}.clusterDNS"
            reason = f"takes the place of the node's own DNS cache (cluster_node_local_dns; it is on from {node_local_dns.FROM_PODS} pods a node)"
            fix = "remove it, or set cluster_node_local_dns: false"
            yield replace(view.about(host, path, reason, fix, value=settings["clusterDNS"]), hosts=like)
