# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that Cilium's chart is rendered with, each with its reason, and what is made of the rendered objects.

Pure. Names of values: the chart's ``values.yaml`` of Cilium 1.15 and 1.20. Sizes of BPF maps and their bounds: ``pkg/option/config.go``; limits of
the agent's API: ``daemon/restapi/api_limits.go``, the same in both releases. BGP sessions and address pools are in :mod:`cilium_bgp`.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bgp import AUTO, topology_of
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.density import CONNTRACK_PER_POD
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.kubeadm_config import (
    KubeadmConfigError,
    merged,
    node_cidr_mask_size,
)

Object = dict[str, Any]
Version = tuple[int, int]

NAMESPACE = "kube-system"
AGENT_IMAGE, OPERATOR_IMAGE = "cilium/cilium", "cilium/operator-generic"
ENCAPSULATIONS = ("none", "vxlan", "geneve")
# Prefix lengths of pod network and node range may differ by so much (pkg/ipam/allocator/clusterpool, as in Kubernetes).
MOST_RANGE_BITS = 16
# Entries of a connection-tracking map: the agent's own least and greatest.
CT_MIN, CT_MAX = 1 << 17, 1 << 24
# Bytes of an entry, key and value: connection tracking and NAT 94, neighbours 24 (SizeofCTElement, SizeofNATElement, SizeofNeighElement).
CT_BYTES, NAT_BYTES, NEIGH_BYTES = 94, 94, 24
LB_MAP, LB_ENTRIES_PER_POD = 65536, 4
POLICY_MAP, POLICY_MAP_MAX = 16384, 65536
# A node that comes up full shall have asked for all its endpoints after so many seconds; the agent's default is one in two seconds.
START_SECONDS = 60
# What the agent takes an endpoint's creation to last; so many are then at work at once.
CREATION_SECONDS = 2
CLIENT_QPS, CLIENT_QPS_MAX = 10, 50
SKIP_UNREACHABLE_SINCE: Version = (1, 16)
LB_CLASS_SINCE: Version = (1, 18)
WHOLE_NUMBERS_SINCE: Version = (1, 16)
EXPONENT_FROM = 1_000_000
# Values that follow from variables of the cluster: who sets one of them by hand gets two truths. Path: the variable to set.
OWNED = {
    "MTU": "cluster_mtu",
    "autoDirectNodeRoutes": "cluster_encapsulation",
    "bgpControlPlane.enabled": "cluster_bgp_peers",
    "hubble.enabled": "cluster_cilium_hubble",
    "image": "cluster_release_set",
    "ipam": "cluster_pod_cidrs",
    "ipv4.enabled": "cluster_pod_cidrs",
    "ipv4NativeRoutingCIDR": "cluster_pod_cidrs",
    "ipv6.enabled": "cluster_pod_cidrs",
    "ipv6NativeRoutingCIDR": "cluster_pod_cidrs",
    "k8sServiceHost": "cluster_api_endpoint_address",
    "k8sServicePort": "cluster_api_endpoint_port",
    "kubeProxyReplacement": "cluster_kube_proxy_mode",
    "operator.image": "cluster_release_set",
    "routingMode": "cluster_encapsulation",
    "tunnelProtocol": "cluster_encapsulation",
}


class CiliumError(Exception):
    """The wanted network cannot be built; the message names the setting, its value and what fits."""


@dataclass(frozen=True)
class Peer:
    """A router that a node speaks BGP with. ``password``: a name in :attr:`Settings.passwords`, empty for none."""

    address: str
    as_number: int
    password: str = ""


@dataclass(frozen=True)
class Node:
    """A node: its rack (may be empty), its AS, its routers."""

    name: str
    rack: str
    as_number: int
    peers: tuple[Peer, ...] = ()
    pods_per_node: int = 0


@dataclass(frozen=True)
class Settings:
    """What the role's variables say. ``images``: ``{"cilium/cilium": "name:tag@digest", ...}``; ``mtu`` 0: found by the agent; ``total_pods`` 0: summed up;
    ``pools``: Cilium's
    own LoadBalancer pools, empty when something else gives addresses.
    """

    version: str
    images: Mapping[str, str]
    nodes: tuple[Node, ...]
    pod_cidrs: tuple[str, ...]
    pods_per_node: int
    api_host: str
    total_pods: int = 0
    api_port: int = 6443
    topology: str = AUTO
    encapsulation: str = "none"
    kube_proxy_mode: str = "none"
    mtu: int = 0
    pools: tuple[Mapping[str, Any], ...] = ()
    passwords: Mapping[str, str] = field(default_factory=dict)
    hubble: bool = False
    max_unavailable: str = "10%"
    agent_cpu_request: str = "250m"
    operator_cpu_request: str = "50m"
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def release(self) -> Version:
        """``(1, 15)`` of ``v1.15.19``."""
        return release_of(self.version)

    @property
    def densest(self) -> int:
        """The pods of the node that carries most: one size of range and of maps for all."""
        return max([self.pods_per_node, *(node.pods_per_node for node in self.nodes)])

    @property
    def pods(self) -> int:
        """Pods that all nodes together may carry."""
        return self.total_pods or sum(node.pods_per_node or self.pods_per_node for node in self.nodes) or self.densest

    @property
    def bgp(self) -> bool:
        """Do nodes speak BGP with their routers? Theirs may also be those of MetalLB's speakers."""
        any_peers = any(node.peers for node in self.nodes)
        return any_peers and topology_of(self.topology, any_peers, self.encapsulation) == "tor"

    @property
    def replaces_kube_proxy(self) -> bool:
        """Does Cilium carry the Services?"""
        return self.kube_proxy_mode == "none"


@dataclass(frozen=True)
class Value:
    """One value of the chart: its dotted path, why it has it, and the first release that knows the path."""

    path: str
    value: Any
    reason: str
    since: Version = (0, 0)


def release_of(version: str) -> Version:
    """Major and minor number of ``v1.15.19``; :class:`CiliumError` for what is no version."""
    match = re.match(r"v?(\d+)\.(\d+)\.", version)
    if match is None:
        raise CiliumError(f"'{version}' is not a version of Cilium")
    return int(match[1]), int(match[2])


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Build settings from the role's mapping; ``nodes`` is ``{host: {rack, as_number, peers, pods_per_node}}``.

    :raises CiliumError: an unknown setting or a value of the wrong type.
    """
    known = {entry.name for entry in fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise CiliumError(f"unknown settings: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    try:
        nodes = tuple(
            Node(
                str(name),
                str(node.get("rack") or ""),
                int(node["as_number"]),
                tuple(
                    Peer(
                        str(ipaddress.ip_address(peer["address"])),
                        int(peer["as_number"]),
                        str(peer.get("password") or ""),
                    )
                    for peer in node.get("peers") or ()
                ),
                int(node.get("pods_per_node") or 0),
            )
            for name, node in sorted(values["nodes"].items())
        )
        settings = Settings(
            **{
                **values,
                "nodes": nodes,
                "pod_cidrs": tuple(map(str, values["pod_cidrs"])),
                "pools": tuple(values.get("pools") or ()),
                **{
                    key: int(values[key]) for key in ("pods_per_node", "total_pods", "api_port", "mtu") if key in values
                },
                "values": dict(values.get("values") or {}),
                "passwords": dict(values.get("passwords") or {}),
            }
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CiliumError(f"a setting has a value that does not fit: {error!r}") from error
    if settings.encapsulation not in ENCAPSULATIONS:
        raise CiliumError(f"encapsulation '{settings.encapsulation}' is none of {', '.join(ENCAPSULATIONS)}")
    if not settings.api_host:
        raise CiliumError("api_host is empty: the agent has to reach the API before there are Services")
    return replace(settings, max_unavailable=str(settings.max_unavailable))


# --- arithmetic


def power_of_two(number: int) -> int:
    """The smallest power of two that is not less."""
    return 1 << max(0, number - 1).bit_length()


def connection_entries(pods_per_node: int) -> tuple[int, int]:
    """Entries for TCP and for other connections: as many a pod as the node's own table has, within the agent's bounds."""
    tcp = min(CT_MAX, max(CT_MIN, power_of_two(CONNTRACK_PER_POD * pods_per_node)))
    return tcp, tcp // 2


def nat_entries(pods_per_node: int) -> int:
    """Two thirds of the connections, as upstream has it; more than all connections is refused by the agent."""
    return sum(connection_entries(pods_per_node)) * 2 // 3


def map_mib(pods_per_node: int) -> int:
    """Memory of the kernel that these maps take on every node, whether used or not (their entries are made in advance)."""
    entries, nat = sum(connection_entries(pods_per_node)), nat_entries(pods_per_node)
    return math.ceil((entries * CT_BYTES + nat * (NAT_BYTES + NEIGH_BYTES)) / (1 << 20))


def policy_entries(pods: int) -> int:
    """Identities that one pod's policy may name: at worst each pod is one of its own."""
    return min(POLICY_MAP_MAX, max(POLICY_MAP, power_of_two(pods)))


def service_entries(pods: int) -> int:
    """Entries of the Services' maps: a pod is the backend of a ClusterIP, and of a NodePort or LoadBalancer address."""
    return max(LB_MAP, power_of_two(LB_ENTRIES_PER_POD * pods))


def endpoint_rate(pods_per_node: int) -> int:
    """Endpoints a second that the agent makes."""
    return max(1, math.ceil(pods_per_node / START_SECONDS))


def client_qps(pods_per_node: int) -> int:
    """Requests a second of an agent to the API: two for each endpoint (its object, perhaps an identity) at that rate."""
    return min(CLIENT_QPS_MAX, max(CLIENT_QPS, 2 * endpoint_rate(pods_per_node)))


def api_rate_limit(pods_per_node: int) -> str:
    """The agent's ``--api-rate-limit``, for what starting pods ask of it."""
    rate = endpoint_rate(pods_per_node)
    at_once = max(4, rate * CREATION_SECONDS)
    common = f"rate-limit:{rate}/s,rate-burst:{max(4, 2 * rate)},parallel-requests:{at_once}"
    return ",".join(f"endpoint-{call}={common}" for call in ("create", "patch"))


def node_ranges(settings: Settings) -> dict[int, tuple[str, int]]:
    """``{family: (pod network, prefix length of a node's range)}``; the densest node decides, for the pool has one size.

    :raises CiliumError: the network has no room for one node, or is more than 16 bits larger than a node's range.
    """
    return ranges_of(settings.densest, settings.pod_cidrs)


def range_size(pods_per_node: int, pod_cidrs: Iterable[str]) -> int:
    """The prefix length of a node's IPv4 range, 0 where pods have none. Raises what :func:`node_ranges` raises."""
    return ranges_of(pods_per_node, pod_cidrs).get(4, ("", 0))[1]


def ranges_of(pods_per_node: int, pod_cidrs: Iterable[str]) -> dict[int, tuple[str, int]]:
    """What :func:`node_ranges` says, of so many pods on the densest node."""
    found: dict[int, tuple[str, int]] = {}
    for cidr in pod_cidrs:
        network = ipaddress.ip_network(cidr)
        try:
            length = node_cidr_mask_size(pods_per_node, network.prefixlen, network.version)
        except KubeadmConfigError as error:
            raise CiliumError(f"cluster_pod_cidrs: {cidr}: {error}") from error
        if length - network.prefixlen > MOST_RANGE_BITS:
            raise CiliumError(
                f"cluster_pod_cidrs: {cidr} and a node's /{length} are more than {MOST_RANGE_BITS} bits apart; "
                f"use /{length - MOST_RANGE_BITS} or longer"
            )
        found[network.version] = (str(network), length)
    return found


# --- values


def _addresses(settings: Settings) -> list[Value]:
    reason = "the address plan: the densest node's pods, twice, for addresses of ended pods linger while new ones start"
    ranges = node_ranges(settings)
    found = [Value("ipam.mode", "cluster-pool", "the operator cuts the nodes' ranges out of cluster_pod_cidrs")]
    for family in (4, 6):
        if family in ranges:
            network, length = ranges[family]
            found += [
                Value(f"ipam.operator.clusterPoolIPv{family}PodCIDRList", [network], reason),
                Value(f"ipam.operator.clusterPoolIPv{family}MaskSize", length, reason),
                Value(f"ipv{family}NativeRoutingCIDR", network, "what goes to a pod keeps its source address"),
            ]
        found.append(
            Value(f"ipv{family}.enabled", family in ranges, "the families of cluster_pod_cidrs"),
        )
    return found


def _routing(settings: Settings) -> list[Value]:
    native = settings.encapsulation == "none"
    found = [
        Value(
            "routingMode",
            "native" if native else "tunnel",
            "routers learn the nodes' ranges" if native else "packets between nodes travel in packets of the nodes",
        ),
        Value("bgpControlPlane.enabled", settings.bgp, "the nodes that have routers announce their ranges to them"),
    ]
    if not native:
        found.append(Value("tunnelProtocol", settings.encapsulation, "as asked for"))
    # Behind routers only some nodes are neighbours: releases that cannot tell them apart leave all to the routers.
    direct = native and (not settings.bgp or settings.release >= SKIP_UNREACHABLE_SINCE)
    found.append(Value("autoDirectNodeRoutes", direct, "nodes of one network send to each other without a router"))
    if direct and settings.bgp:
        found.append(
            Value(
                "directRoutingSkipUnreachable",
                True,
                "the other racks' nodes are behind the routers",
                SKIP_UNREACHABLE_SINCE,
            )
        )
    if settings.mtu:
        found.append(Value("MTU", settings.mtu, "as asked for; else the agent takes the interface's"))
    return found


def _services(settings: Settings) -> list[Value]:
    own = settings.replaces_kube_proxy
    found = [
        Value("kubeProxyReplacement", "true" if own else "false", "cluster_kube_proxy_mode"),
        Value("k8sServiceHost", settings.api_host, "the agent reaches the API before there are Services"),
        Value("k8sServicePort", settings.api_port, "the agent reaches the API before there are Services"),
        Value("bpf.masquerade", own, "the same programs do it; without them the agent refuses it and iptables does"),
    ]
    if not settings.pools:
        found.append(
            Value("defaultLBServiceIPAM", "none", "addresses come from elsewhere, or there are none", LB_CLASS_SINCE)
        )
    return found


def _sizes(settings: Settings) -> list[Value]:
    pods = settings.densest
    tcp, other = connection_entries(pods)
    room = f"{CONNTRACK_PER_POD} connections for each of {pods} pods; with NAT and neighbours {map_mib(pods)} MiB of every node"
    qps = client_qps(pods)
    found = [
        Value("bpf.ctTcpMax", tcp, room),
        Value("bpf.ctAnyMax", other, room),
        Value("bpf.natMax", nat_entries(pods), "two thirds of the connections"),
        Value("bpf.neighMax", nat_entries(pods), "as many as NAT entries, as upstream has it"),
        Value("bpf.policyMapMax", policy_entries(settings.pods), f"identities of {settings.pods} pods, filled as used"),
        Value(
            "apiRateLimit",
            api_rate_limit(pods),
            f"{pods} pods start within {START_SECONDS} s; one endpoint in two seconds is the default, {2 * pods} s for all",
        ),
        Value("k8sClientRateLimit.qps", qps, "two requests for each endpoint at that rate"),
        Value("k8sClientRateLimit.burst", 2 * qps, "twice the rate, as in the default"),
    ]
    if settings.replaces_kube_proxy:
        found.append(
            Value(
                "bpf.lbMapMax", service_entries(settings.pods), f"{LB_ENTRIES_PER_POD} entries for each pod that serves"
            )
        )
    return found


def _parts(settings: Settings) -> list[Value]:
    found = [
        Value("image.override", settings.images[AGENT_IMAGE], "from the bundle, by digest"),
        Value("operator.image.override", settings.images[OPERATOR_IMAGE], "from the bundle, by digest"),
        Value("operator.replicas", min(2, max(1, len(settings.nodes))), "one takes over from the other, on two nodes"),
        Value("operator.resources.requests.cpu", settings.operator_cpu_request, "what it uses at rest"),
        Value("resources.requests.cpu", settings.agent_cpu_request, "programs are compiled when pods start"),
        Value("rollOutCiliumPods", True, "the agent reads its settings once, when it starts"),
        Value("operator.rollOutPods", True, "the operator reads its settings once, when it starts"),
        Value("updateStrategy.type", "RollingUpdate", "a changed setting reaches all nodes"),
        Value(
            "updateStrategy.rollingUpdate.maxUnavailable",
            settings.max_unavailable,
            "the other nodes' policies and Services stay current meanwhile",
        ),
        Value("envoy.enabled", False, "the bundle has no Envoy"),
        Value("l7Proxy", False, "policies of layer 7 need Envoy"),
        Value("hubble.enabled", settings.hubble, "cluster_cilium_hubble"),
        Value("policyCIDRMatchMode", ["nodes"], "addresses in NetworkPolicies mean nodes too, the API's among them"),
    ]
    if settings.hubble:
        found += [
            Value(
                "hubble.listenAddress", "", "each agent's own socket only; without relay nobody asks over the network"
            ),
            Value(
                "hubble.tls.enabled", False, "nothing listens, and the chart would make new certificates in every run"
            ),
            Value("hubble.relay.enabled", False, "the bundle has no relay"),
            Value("hubble.ui.enabled", False, "the bundle has no user interface"),
        ]
    return found


def chart_values(settings: Settings) -> list[Value]:
    """All values of ours that this release's chart knows, by path.

    :raises CiliumError: the address plan does not fit, or an image is not in the bundle.
    """
    missing = sorted({AGENT_IMAGE, OPERATOR_IMAGE} - set(settings.images))
    if missing:
        raise CiliumError(f"the bundle has no image {' and no '.join(missing)}")
    found = [*_parts(settings), *_addresses(settings), *_routing(settings), *_services(settings), *_sizes(settings)]
    return sorted((value for value in found if value.since <= settings.release), key=lambda value: value.path)


def nested(values: Iterable[Value]) -> dict[str, Any]:
    """Values as the chart takes them: mappings in mappings."""
    found: dict[str, Any] = {}
    for value in values:
        here = found
        *parents, last = value.path.split(".")
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = value.value
    return found


def owned(values: Mapping[str, Any]) -> dict[str, str]:
    """Paths of the user's own values that follow from a variable, and that variable."""

    def leaves(value: Any, path: str) -> list[str]:
        if isinstance(value, Mapping) and value:
            return [leaf for key, item in value.items() for leaf in leaves(item, f"{path}.{key}" if path else str(key))]
        return [path]

    found = {}
    for leaf in leaves(values, ""):
        for path, variable in OWNED.items():
            if f"{leaf}.".startswith(f"{path}.") or f"{path}.".startswith(f"{leaf}."):
                found[leaf] = variable
    return {leaf: found[leaf] for leaf in sorted(found) if leaf}


def printable(value: Any, release: Version) -> Any:
    """A number as the chart prints it whole: Helm reads numbers as floating point, and charts before 1.16 print a million with an exponent, which
    no flag takes.
    """
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and value >= EXPONENT_FROM
        and release < WHOLE_NUMBERS_SINCE
    ):
        return str(value)
    return value


def values_for(settings: Settings) -> dict[str, Any]:
    """What ``helm template`` is given: ours, and the user's on top where nothing of ours depends on it."""
    conflicts = owned(settings.values)
    if conflicts:
        words = ", ".join(f"{path} (set {variable})" for path, variable in conflicts.items())
        raise CiliumError(f"cluster_cilium_values has what follows from variables of the cluster: {words}")
    ours = (replace(value, value=printable(value.value, settings.release)) for value in chart_values(settings))
    return merged(nested(ours), settings.values)


# --- rendered objects


def _containers(obj: Object) -> list[Object]:
    pod = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def checked(rendered: Sequence[Object], settings: Settings) -> list[Object]:
    """The chart's objects without what is Helm's alone; an image that is not in the bundle is refused, for no node could pull it.

    :raises CiliumError: a foreign image, a hook, or no agent among the objects.
    """
    found = []
    pinned = set(settings.images.values())
    for obj in rendered:
        name = f"{obj.get('kind')} {(obj.get('metadata') or {}).get('name')}"
        if "helm.sh/hook" in ((obj.get("metadata") or {}).get("annotations") or {}):
            raise CiliumError(
                f"{name} is a hook of Helm's, which nobody would run; take out of cluster_cilium_values what asks for it"
            )
        for container in _containers(obj):
            if container.get("image") not in pinned:
                raise CiliumError(
                    f"{name} wants the image {container.get('image')}, which the bundle does not have; "
                    "take out of cluster_cilium_values what asks for it"
                )
        found.append(obj)
    kinds = {(obj.get("kind"), (obj.get("metadata") or {}).get("name")) for obj in found}
    if not {("DaemonSet", "cilium"), ("Deployment", "cilium-operator")} <= kinds:
        raise CiliumError(
            "the chart gave no agent or no operator: it is not Cilium's, or not of a release that is known"
        )
    return found
