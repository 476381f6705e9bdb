# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about proxies: one that can be reached before there is a cluster, and that never gets what is the cluster's own. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, cluster_schema, proxies
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    Host,
    Problem,
    Rule,
    View,
    registry,
)

RULES: dict[str, Rule] = {}
rule = registry(RULES)

PROXIES = ("cluster_http_proxy", "cluster_https_proxy", "container_runtime_http_proxy", "container_runtime_https_proxy")
# Whoever sets this takes the place of what is computed, so it is compared with that.
REPLACED = "container_runtime_no_proxy"


@rule
def proxies_can_be_reached(view: View) -> Iterator[Problem]:
    """A proxy stands outside the cluster: nodes need it before there is one."""
    spans = [*view.pods, *view.services, *(span for _name, span in view.pools)]
    owners = {(span.family, span.first): host for host, span in view.node_addresses}
    endpoint = view.endpoint()
    for name in PROXIES:
        for host, like in view.alike(view.nodes, name, "cluster_bundle_registry"):
            value = view.value(host, name)
            where, port = proxies.host_of(value or "")
            try:
                proxy = addresses.address(where)
            except addresses.AddressError:
                proxy = None
            inside = next((span for span in spans if proxy and span.contains(replace(proxy, text="", label=""))), None)
            reason = ""
            if value and (where, port) == proxies.host_of(view.value(host, "cluster_bundle_registry") or ""):
                reason, fix = (
                    "is the bundle's registry (cluster_bundle_registry), not a proxy",
                    "give the proxy's address",
                )
            elif inside:
                reason = f"is among {inside.label}: {inside.text}, where nothing answers before the cluster stands"
                fix = "use a proxy outside the cluster"
            elif (
                proxy
                and endpoint
                and (proxy.family, proxy.first) == (endpoint.family, endpoint.first)
                and _is_api(view, port)
            ):
                reason, fix = "is the API's endpoint, not a proxy", "give the proxy's address and port"
            elif proxy and (proxy.family, proxy.first) in owners:
                reason = f"is {owners[proxy.family, proxy.first].name}'s own address: no node pulls an image while that one is down"
                yield replace(
                    view.about(host, name, reason, "use a proxy outside the cluster", warning=True), hosts=like
                )
                continue
            if reason:
                yield replace(view.about(host, name, reason, fix), hosts=like)


def _is_api(view: View, port: int) -> bool:
    return port in (cluster_schema.as_int(view.common("cluster_api_endpoint_port") or 0), 6443)


@rule
def proxies_spare_the_cluster(view: View) -> Iterator[Problem]:
    """What is the cluster's own never goes through a proxy: it would be slow, cut off by the proxy's rules, or seen by it."""
    for host, like in view.alike(view.nodes, *PROXIES, "cluster_no_proxy"):
        given = view.value(host, "cluster_no_proxy")
        if given and not any(view.value(host, name) for name in PROXIES):
            reason = "is not used: there is no proxy (cluster_http_proxy)"
            yield replace(view.about(host, "cluster_no_proxy", reason, "remove it", warning=True), hosts=like)
    for host, like in view.alike(view.nodes, REPLACED, "cluster_bundle_registry"):
        entries = view.value(host, REPLACED)
        if entries is None or REPLACED not in host.given:
            continue
        missing = [words for words, target in _own_targets(view, host) if not proxies.bypassed(target, entries)]
        if missing:
            reason = f"leaves out {missing[0]}{f' and {len(missing) - 1} more of the cluster' if missing[1:] else ''}: containerd would ask the proxy for it"
            fix = "remove it and give your own entries in cluster_no_proxy; the rest is computed"
            yield replace(view.about(host, REPLACED, reason, fix), hosts=like)


def _own_targets(view: View, host: Host) -> Iterator[tuple[str, str]]:
    """What no proxy may get, in words and as a host that stands for it."""
    source, _port = proxies.host_of(view.value(host, "cluster_bundle_registry") or "")
    if source:
        yield f"the bundle's registry {source}", source
    endpoint = view.common("cluster_api_endpoint_address")
    if endpoint:
        yield f"the API's endpoint {endpoint}", endpoint
    for label, spans in (
        ("pods", view.pods),
        ("Services", view.services),
        ("load-balancer pool", [span for _name, span in view.pools]),
    ):
        for span in spans:
            for edge in (span.first, span.last):
                yield f"{label} {span.text}", addresses.nth(span, edge - span.first)
    for other, span in view.node_addresses:
        yield f"{other.name} ({span.text})", span.text
    domain = view.common("cluster_domain")
    if domain:
        yield f"Services' names (.{domain})", f"a.b.svc.{domain}"
