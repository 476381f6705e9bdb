# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LoadBalancer addresses that Services of a live cluster have, against the pools that the inventory wants.

A control plane is asked by its own API. One that does not answer shows nothing here: its state is ``control_plane_probe``'s to judge, and the others
are asked as well.
"""

from __future__ import annotations

import ipaddress
import os
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    ADMIN_KUBECONFIG,
    KubeApi,
    KubeApiError,
    load_credentials,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._label_selectors import selected
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._live_cluster import Finding

Record = t.Dict[str, t.Any]
Mapping = t.Mapping[str, t.Any]

METALLB_API, METALLB_NAMESPACE = "metallb.io/v1beta1", "metallb-system"
POOL_ANNOTATIONS = ("metallb.io/address-pool", "metallb.universe.tf/address-pool")
# The probe workload follows the pools by itself.
OWN_NAMESPACE = "bare-metal-system"
DEADLINE_SECONDS = 5.0
SERVICES_SHOWN = 5


# --- observation


def observe(kubeconfig: str = ADMIN_KUBECONFIG) -> Record:
    """``{mode, services: [{name, namespace, labels, namespace_labels, addresses, pool}], pools: {name: [address]}}``; empty where nobody answers."""
    if not os.path.exists(kubeconfig):
        return {}
    try:
        with KubeApi(load_credentials(kubeconfig), timeout=DEADLINE_SECONDS, deadline=DEADLINE_SECONDS) as api:
            return observe_api(api)
    except (KubeApiError, OSError):
        return {}


def _custom(api: KubeApi, version: str, kind: str) -> t.List[Mapping]:
    try:
        return list(api.list(version, kind))
    except KubeApiError as exc:
        if exc.unreachable:
            raise
        return []


def observe_api(api: KubeApi) -> Record:
    """The same from a client of the API."""
    services = [entry for entry in api.list("v1", "Service") if (entry.get("spec") or {}).get("type") == "LoadBalancer"]
    namespaces = {
        entry["metadata"]["name"]: entry["metadata"].get("labels") or {} for entry in api.list("v1", "Namespace")
    }
    return {
        "mode": _mode(api),
        "services": [
            record for entry in services for record in [service_record(entry, namespaces)] if record["addresses"]
        ],
        "pools": {
            entry["metadata"]["name"]: list((entry.get("spec") or {}).get("addresses") or [])
            for entry in _custom(api, METALLB_API, "IPAddressPool")
        },
    }


def _mode(api: KubeApi) -> str:
    """Who announces; empty where nobody that is known does."""
    if api.get("apps/v1", "DaemonSet", "speaker", METALLB_NAMESPACE) is not None:
        kinds = (("L2Advertisement", "metallb_l2"), ("BGPAdvertisement", "metallb_bgp"))
        return next((mode for kind, mode in kinds if _custom(api, METALLB_API, kind)), "")
    configurations = _custom(api, "crd.projectcalico.org/v1", "BGPConfiguration")
    announced = any((entry.get("spec") or {}).get("serviceLoadBalancerIPs") for entry in configurations)
    return "calico_bgp" if announced else ""


def service_record(service: Mapping, namespaces: t.Mapping[str, t.Mapping[str, str]]) -> Record:
    """What is of interest of a Service; ``pool`` is the one that it asks for by name."""
    meta = service["metadata"]
    annotations = meta.get("annotations") or {}
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return {
        "name": meta["name"],
        "namespace": meta["namespace"],
        "labels": meta.get("labels") or {},
        "namespace_labels": dict(namespaces.get(meta["namespace"]) or {}),
        "addresses": [entry["ip"] for entry in ingress if entry.get("ip")],
        "pool": next((annotations[key] for key in POOL_ANNOTATIONS if annotations.get(key)), ""),
    }


# --- the judge (pure)


def holds(addresses: t.Iterable[str], address: str) -> bool:
    """Is an address in one of some networks and ranges (``first-last``)?"""
    wanted = ipaddress.ip_address(address)
    for text in addresses:
        first, dash, last = str(text).partition("-")
        if dash:
            ends = [ipaddress.ip_address(part.strip()) for part in (first, last)]
            within = wanted.version == ends[0].version and int(ends[0]) <= int(wanted) <= int(ends[1])
        else:
            within = wanted in ipaddress.ip_network(str(text), strict=False)
        if within:
            return True
    return False


def allows(pool: Mapping, service: Mapping) -> bool:
    """May a Service have an address of a pool (of ``cluster_load_balancer_pools``)?"""
    namespaces, selectors = pool.get("namespaces") or [], pool.get("namespace_selectors") or []
    labels = {"kubernetes.io/metadata.name": service["namespace"], **service["namespace_labels"]}
    here = not (namespaces or selectors) or service["namespace"] in namespaces
    here = here or bool(selectors and selected(selectors, labels))
    return here and selected(pool.get("service_selectors"), service["labels"])


def _loss(service: Mapping, address: str, pools: t.Sequence[Mapping]) -> str:
    """Why a Service would lose an address; empty when it keeps it."""
    holding = [pool for pool in pools if holds(pool["addresses"], address)]
    if not holding:
        return "no pool has it"
    if not any(allows(pool, service) for pool in holding):
        return f"pool {holding[0]['name']} is for others"
    if service["pool"] and service["pool"] not in [pool["name"] for pool in holding]:
        return f"it asks for the pool {service['pool']} by name"
    return ""


def judge(live: Mapping, wanted: Mapping) -> t.List[Finding]:
    """Addresses that would be taken from Services, and a mode that ``site`` would change with a gap.

    :param live: what :func:`observe` returned.
    :param wanted: ``{mode, pools: [..], moves: bool}``; ``moves``: the play changes the mode in the right order.
    """
    services = [entry for entry in live.get("services") or () if entry["namespace"] != OWN_NAMESPACE]
    pools = [] if wanted["mode"] == "none" else list(wanted.get("pools") or ())
    ours = [text for addresses in (live.get("pools") or {}).values() for text in addresses]
    lost = [
        f"{entry['namespace']}/{entry['name']} ({address}: {reason})"
        for entry in services
        for address in entry["addresses"]
        if holds(ours, address)
        for reason in [_loss(entry, address, pools)]
        if reason
    ]
    found = []
    if lost:
        more = f" and {len(lost) - SERVICES_SHOWN} more" if len(lost) > SERVICES_SHOWN else ""
        found.append(
            Finding(
                "live_load_balancer_pools",
                "cluster_load_balancer_pools leaves Services without the addresses that they have",
                f"{', '.join(lost[:SERVICES_SHOWN])}{more}",
                "MetalLB takes an address away at once when its pool is gone, and clients know the old one.",
                "Keep the pool (auto_assign: false gives no more of it away) until these Services are moved or deleted.",
            )
        )
    before, after = str(live.get("mode") or ""), str(wanted["mode"])
    if before and after not in (before, "none") and services and not lost and not wanted.get("moves"):
        found.append(
            Finding(
                "live_load_balancer_mode",
                f"cluster_load_balancer_mode asks for {after}",
                f"a live cluster with {before}, and {len(services)} Services with addresses",
                "A run of site stops the old announcement before the new one begins, and their clients would feel it.",
                "Run bare_metal.kubernetes.load_balancer, which announces in the new way first; then site.",
            )
        )
    return found
