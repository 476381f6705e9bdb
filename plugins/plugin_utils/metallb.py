# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MetalLB's objects: upstream's ``metallb-native.yaml`` cut to the wanted mode, and the address pools.

Pure functions. Two ways to announce an address (metallb.io/concepts): ``calico_bgp`` leaves that to Calico, so only the
controller, which
allocates, is installed; ``metallb_l2`` answers ARP and NDP on the nodes' own network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.calico import (
    CalicoError,
    Object,
    cidrs_of,
    parse,
    with_images,
)

NAMESPACE = "metallb-system"
API = "metallb.io/v1beta1"
MODES = ("calico_bgp", "metallb_l2")
# What only the speaker needs.
SPEAKER_NAMES = frozenset({"speaker", "metallb-system:speaker", "pod-lister", "metallb-excludel2"})


class MetallbError(Exception):
    """The wanted load balancing cannot be built; the message names the setting, its value and what fits."""


@dataclass(frozen=True)
class Pool:
    """A range of addresses for Services of type LoadBalancer."""

    name: str
    addresses: tuple[str, ...]
    auto_assign: bool = True


def pool_of(value: Mapping[str, Any]) -> Pool:
    """Read one entry of ``cluster_load_balancer_pools``; every address is checked."""
    try:
        pool = Pool(str(value["name"]), tuple(map(str, value["addresses"])), bool(value.get("auto_assign", True)))
        for text in pool.addresses:
            cidrs_of(text)
    except (KeyError, TypeError) as error:
        raise MetallbError(f"a pool is {{name, addresses: [...], auto_assign}}, not {value!r}") from error
    except CalicoError as error:
        raise MetallbError(f"pool '{value['name']}': {error}") from error
    return pool


def _custom(kind: str, name: str, spec: Mapping[str, Any]) -> Object:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": dict(spec)}


def pool_objects(mode: str, pools: Sequence[Pool]) -> list[Object]:
    """The pools (without .0 and .255, which some clients refuse), and for ``metallb_l2`` the word to announce them."""
    found = [
        _custom(
            "IPAddressPool",
            pool.name,
            {"addresses": list(pool.addresses), "autoAssign": pool.auto_assign, "avoidBuggyIPs": True},
        )
        for pool in pools
    ]
    if mode == "metallb_l2" and pools:
        found.append(_custom("L2Advertisement", "pools", {"ipAddressPools": [pool.name for pool in pools]}))
    return found


def _wanted(obj: Object, mode: str) -> bool:
    return mode == "metallb_l2" or obj["metadata"]["name"] not in SPEAKER_NAMES


def _adapted(obj: Object, images: Mapping[str, str], cpu_request: str) -> Object:
    if obj["kind"] not in ("Deployment", "DaemonSet"):
        return obj
    result = with_images(obj, images)
    for container in result["spec"]["template"]["spec"]["containers"]:
        container.setdefault("resources", {}).setdefault("requests", {}).setdefault("cpu", cpu_request)
    return result


def objects(
    upstream: str, mode: str, images: Mapping[str, str], pools: Sequence[Mapping[str, Any]], cpu_request: str = "25m"
) -> list[Object]:
    """Everything that MetalLB needs in ``mode``.

    :param images: ``{"metallb/controller": "name:tag", "metallb/speaker": ...}``.
    :raises MetallbError: an unknown mode, a pool that does not fit, another manifest than the one that is expected.
    """
    if mode not in MODES:
        raise MetallbError(f"mode '{mode}' is none of {', '.join(MODES)}")
    wanted = [pool_of(pool) for pool in pools]
    names = [pool.name for pool in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MetallbError(f"pool {', '.join(twice)} is given twice")
    try:
        found = parse(upstream)
        if not any(obj["kind"] == "Deployment" and obj["metadata"]["name"] == "controller" for obj in found):
            raise MetallbError("the upstream manifest is not a metallb-native.yaml: it has no Deployment 'controller'")
        kept = [_adapted(obj, images, cpu_request) for obj in found if _wanted(obj, mode)]
    except CalicoError as error:
        raise MetallbError(str(error)) from error
    return kept + pool_objects(mode, wanted)
