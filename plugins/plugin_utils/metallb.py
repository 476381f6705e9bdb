# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MetalLB's objects: upstream's manifest cut to the wanted mode, the address pools, and who announces them.

Pure functions. Three ways to announce an address (metallb.io/concepts): ``calico_bgp`` leaves that to Calico, so only the controller, which
allocates, is installed; ``metallb_l2`` answers ARP and NDP on the nodes' own network; ``metallb_bgp`` has sessions of its own with the routers.
Fields of the custom resources: the definitions in the manifest itself (v0.15.2).
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._label_selectors import as_object, selected
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.calico import (
    CalicoError,
    Object,
    cidrs_of,
    parse,
    with_images,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.node_registration import (
    CONTROL_PLANE_TAINT,
    EXCLUDE_LABEL,
    RACK_LABEL,
    registrations,
)

NAMESPACE = "metallb-system"
API = "metallb.io/v1beta1"
PEER_API = "metallb.io/v1beta2"
SPEAKING_MODES = ("metallb_l2", "metallb_bgp")
MODES = ("calico_bgp", *SPEAKING_MODES)
# What each speaker is installed from, and the images that it is made of.
MANIFESTS = {"native": "metallb-native.yaml", "frr": "metallb-frr.yaml"}
IMAGES = {
    "native": ("metallb/controller", "metallb/speaker"),
    "frr": ("metallb/controller", "metallb/speaker", "frrouting/frr"),
}
# What only the speaker needs.
SPEAKER_NAMES = frozenset({"speaker", "metallb-system:speaker", "pod-lister", "metallb-excludel2", "frr-startup"})
BFD_PROFILE = "routers"
DEFAULT_BGP_PORT = 179
BFD_FIELDS = {
    "transmit_interval_milliseconds": "transmitInterval",
    "receive_interval_milliseconds": "receiveInterval",
    "detect_multiplier": "detectMultiplier",
    "minimum_ttl": "minimumTtl",
    "passive": "passiveMode",
    "echo": "echoMode",
    "echo_interval_milliseconds": "echoInterval",
}
HOST_NAME_LABEL = "kubernetes.io/hostname"
LARGEST_INT32 = 2**31 - 1


class MetallbError(Exception):
    """The wanted load balancing cannot be built; the message names the setting, its value and what fits."""


@dataclass(frozen=True)
class Pool:
    """A range of addresses for Services of type LoadBalancer: an entry of ``cluster_load_balancer_pools``, its addresses checked."""

    name: str
    addresses: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def get(self, option: str, default: Any = None) -> Any:
        """The value of an option; the default where it is not said."""
        value = self.options.get(option)
        return default if value is None else value


@dataclass(frozen=True)
class Router:
    """A router as nodes of one AS and one rack see it. ``password``: name of the secret value, or empty."""

    address: str
    as_number: int
    own_as_number: int
    rack: str
    port: int = DEFAULT_BGP_PORT
    password: str = ""


def pool_of(value: Mapping[str, Any]) -> Pool:
    """Read one entry of ``cluster_load_balancer_pools``; every address is checked."""
    try:
        pool = Pool(str(value["name"]), tuple(map(str, value["addresses"])), value)
        for text in pool.addresses:
            cidrs_of(text)
    except (KeyError, TypeError) as error:
        raise MetallbError(f"a pool is {{name, addresses: [...], auto_assign}}, not {value!r}") from error
    except CalicoError as error:
        raise MetallbError(f"pool '{value['name']}': {error}") from error
    return pool


def _custom(kind: str, name: str, spec: Mapping[str, Any], api: str = API) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": dict(spec)}


def _selectors(pool: Pool, option: str) -> list[Object]:
    return [as_object(selector) for selector in pool.get(option, ())]


def _present(values: Mapping[str, Any]) -> Object:
    return {key: value for key, value in values.items() if value not in (None, [], {})}


def address_pool(pool: Pool) -> Object:
    """The addresses, and which Services get them."""
    allocation = _present(
        {
            "priority": pool.get("priority"),
            "namespaces": list(pool.get("namespaces", ())),
            "namespaceSelectors": _selectors(pool, "namespace_selectors"),
            "serviceSelectors": _selectors(pool, "service_selectors"),
        }
    )
    spec = {
        "addresses": list(pool.addresses),
        "autoAssign": bool(pool.get("auto_assign", True)),
        "avoidBuggyIPs": bool(pool.get("avoid_buggy_addresses", True)),
        "serviceAllocation": allocation,
    }
    return _custom("IPAddressPool", pool.name, _present(spec))


def layer_2_advertisement(pool: Pool) -> Object:
    """Who answers ARP and NDP for a pool, and on which interfaces."""
    spec = {
        "ipAddressPools": [pool.name],
        "nodeSelectors": _selectors(pool, "node_selectors"),
        "interfaces": list(pool.get("interfaces", ())),
    }
    return _custom("L2Advertisement", pool.name, _present(spec))


def bgp_advertisement(pool: Pool, routers: Mapping[str, Sequence[str]]) -> Object:
    """The routes of a pool. ``routers``: names of the BGPPeer objects by the routers' addresses."""
    wanted = [str(ipaddress.ip_address(address)) for address in pool.get("peers", ())]
    spec = {
        "ipAddressPools": [pool.name],
        "nodeSelectors": _selectors(pool, "node_selectors"),
        "communities": sorted(pool.get("communities", ())),
        "localPref": pool.get("local_preference"),
        "aggregationLength": pool.get("aggregation_length"),
        "aggregationLengthV6": pool.get("aggregation_length_v6"),
        "peers": sorted(name for address in wanted for name in routers.get(address, ())),
    }
    return _custom("BGPAdvertisement", pool.name, _present(spec))


# --- who speaks


def has_speaker(taints: Iterable[Mapping[str, Any]] | None) -> bool:
    """Does the speaker run on a node? Upstream's DaemonSet tolerates the taint of control planes and no other."""
    return all(
        taint["effect"] == "PreferNoSchedule" or taint["key"] == CONTROL_PLANE_TAINT["key"] for taint in taints or ()
    )


def sessions_of(
    hosts: Iterable[str], control_plane: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """The routers that each node's speaker has a session with in ``metallb_bgp``: ``{node: [address]}``; nodes without any are left out."""
    found: dict[str, list[str]] = {}
    for host, metadata in registrations(hosts, control_plane, hostvars, calico=False).items():
        routers = [str(ipaddress.ip_address(peer["address"])) for peer in hostvars[host].get("cluster_bgp_peers") or ()]
        if routers and EXCLUDE_LABEL not in metadata["labels"] and has_speaker(metadata["taints"]):
            found[host] = routers
    return found


def announced_by(
    host: str,
    control_plane: Iterable[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    pools: Sequence[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """The pools that a host's speaker announces, by the labels and taints that the inventory gives its node."""
    metadata = registrations([host], control_plane, hostvars, calico=False)[host]
    if EXCLUDE_LABEL in metadata["labels"] or not has_speaker(metadata["taints"]):
        return []
    labels = {HOST_NAME_LABEL: host, "kubernetes.io/os": "linux", **metadata["labels"]}
    return [pool for pool in pools if selected(pool.get("node_selectors"), labels)]


# --- sessions


def routers_of(nodes: Mapping[str, Mapping[str, Any]]) -> dict[Router, tuple[str, ...]]:
    """The routers of all nodes with the nodes that speak to each, in the order of racks and addresses.

    :param nodes: ``{name: {rack, as_number, peers: [{address, as_number, port, password}]}}``; a peer's last two may be absent.
    """
    users: dict[Router, list[str]] = {}
    for name, node in sorted(nodes.items()):
        for peer in node.get("peers") or ():
            router = Router(
                str(ipaddress.ip_address(peer["address"])),
                int(peer["as_number"]),
                int(node["as_number"]),
                str(node.get("rack") or ""),
                int(peer.get("port") or DEFAULT_BGP_PORT),
                str(peer.get("password") or ""),
            )
            users.setdefault(router, []).append(name)
    order = sorted(users, key=lambda router: (router.rack, router.address, router.own_as_number, users[router]))
    return {router: tuple(users[router]) for router in order}


def _name(*parts: object) -> str:
    return re.sub(r"[^a-z0-9]+", "-", "-".join(str(part) for part in parts).lower()).strip("-")


def secret_name(password: str) -> str:
    """Name of the Secret that carries a password of ``cluster_bgp_passwords``."""
    return _name("bgp-password", password)


def _node_selector(router: Router, users: Sequence[str], rack: Iterable[str]) -> Object:
    """A rack by its label when all its nodes have the router and the AS, else the nodes by name; never those that announce nothing."""
    may_announce = {"key": EXCLUDE_LABEL, "operator": "DoesNotExist"}
    if router.rack and set(users) == set(rack):
        return {"matchLabels": {RACK_LABEL: router.rack}, "matchExpressions": [may_announce]}
    return {"matchExpressions": [{"key": HOST_NAME_LABEL, "operator": "In", "values": list(users)}, may_announce]}


def bgp_peers(
    nodes: Mapping[str, Mapping[str, Any]], hold_seconds: int, bfd: bool = False
) -> tuple[list[Object], dict[str, list[str]]]:
    """A BGPPeer for each router, rack and AS of nodes; and the objects' names by the routers' addresses."""
    racks: dict[str, set[str]] = {}
    for name, node in nodes.items():
        racks.setdefault(str(node.get("rack") or ""), set()).add(name)
    found: list[Object] = []
    names: dict[str, list[str]] = {}
    for router, users in routers_of(nodes).items():
        name = _name(router.rack or "node", router.address, router.own_as_number)
        if any(obj["metadata"]["name"] == name for obj in found):
            name = _name(name, *users)
        spec = {
            "peerAddress": router.address,
            "peerASN": router.as_number,
            "peerPort": router.port,
            "myASN": router.own_as_number,
            "holdTime": f"{hold_seconds}s",
            "bfdProfile": BFD_PROFILE if bfd else None,
            "passwordSecret": {"name": secret_name(router.password), "namespace": NAMESPACE}
            if router.password
            else None,
            "nodeSelectors": [_node_selector(router, users, racks[router.rack])],
        }
        found.append(_custom("BGPPeer", name, _present(spec), PEER_API))
        names.setdefault(router.address, []).append(name)
    return found, names


def passwords(nodes: Mapping[str, Mapping[str, Any]], values: Mapping[str, str]) -> list[Object]:
    """The Secrets of the passwords that routers ask for; a name without a value is refused."""
    wanted = sorted({router.password for router in routers_of(nodes) if router.password})
    missing = [name for name in wanted if not values.get(name)]
    if missing:
        raise MetallbError(f"cluster_bgp_passwords has no {', '.join(missing)}, which cluster_bgp_peers refer to")
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/basic-auth",
            "metadata": {"name": secret_name(name), "namespace": NAMESPACE},
            "data": {"password": base64.b64encode(str(values[name]).encode()).decode()},
        }
        for name in wanted
    ]


def bfd_profile(options: Mapping[str, Any]) -> Object:
    """How soon a silent router is given up."""
    spec = {BFD_FIELDS[key]: value for key, value in options.items() if value is not None}
    return _custom("BFDProfile", BFD_PROFILE, spec)


def announcement_objects(
    mode: str,
    pools: Sequence[Pool],
    nodes: Mapping[str, Mapping[str, Any]],
    hold_seconds: int,
    bfd: Mapping[str, Any],
) -> list[Object]:
    """The pools, and the word to announce them in the mode's way."""
    found = [address_pool(pool) for pool in pools]
    if mode == "metallb_l2":
        found += [layer_2_advertisement(pool) for pool in pools]
    elif mode == "metallb_bgp":
        sessions, names = bgp_peers(nodes, hold_seconds, bool(bfd))
        found += [*([bfd_profile(bfd)] if bfd else []), *sessions, *(bgp_advertisement(pool, names) for pool in pools)]
    return found


# --- upstream's objects


def _wanted(obj: Object, mode: str) -> bool:
    return mode in SPEAKING_MODES or obj["metadata"]["name"] not in SPEAKER_NAMES


def with_wide_numbers(schema: Any) -> Any:
    """A definition's schema in which numbers that do not fit into 32 bits do not say that they do.

    v0.15.2 has ``format: int32`` with ``maximum: 4294967295`` for AS numbers; kube-apiserver 1.36 refuses every object by such a schema ("Maximum boundary
    value must be of type integer with format int32").
    """
    if isinstance(schema, list):
        return [with_wide_numbers(entry) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: with_wide_numbers(value) for key, value in schema.items()}
    maximum = found.get("maximum")
    if found.get("format") == "int32" and isinstance(maximum, (int, float)) and maximum > LARGEST_INT32:
        found["format"] = "int64"
    return found


def _adapted(obj: Object, images: Mapping[str, str], cpu_request: str) -> Object:
    if obj["kind"] == "CustomResourceDefinition":
        return dict(with_wide_numbers(obj))
    if obj["kind"] not in ("Deployment", "DaemonSet"):
        return obj
    result = with_images(obj, images)
    for container in result["spec"]["template"]["spec"]["containers"]:
        container.setdefault("resources", {}).setdefault("requests", {}).setdefault("cpu", cpu_request)
    return result


def objects(
    upstream: str,
    mode: str,
    images: Mapping[str, str],
    pools: Sequence[Mapping[str, Any]],
    cpu_request: str = "25m",
    nodes: Mapping[str, Mapping[str, Any]] | None = None,
    hold_seconds: int = 9,
    bfd: Mapping[str, Any] | None = None,
) -> list[Object]:
    """Everything that MetalLB needs in ``mode``, but for the passwords (:func:`passwords`).

    :param images: ``{"metallb/controller": "name:tag", "metallb/speaker": ...}``.
    :param nodes: as for :func:`routers_of`; for ``metallb_bgp``.
    :param bfd: ``cluster_load_balancer_bfd``; for ``metallb_bgp``.
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
            raise MetallbError("the upstream manifest is not MetalLB's: it has no Deployment 'controller'")
        kept = [_adapted(obj, images, cpu_request) for obj in found if _wanted(obj, mode)]
    except CalicoError as error:
        raise MetallbError(str(error)) from error
    return kept + announcement_objects(mode, wanted, nodes or {}, hold_seconds, bfd or {})
