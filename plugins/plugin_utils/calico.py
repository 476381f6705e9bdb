# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calico's objects: upstream's ``calico.yaml`` changed for a routed or encapsulated network, and our own custom resources (those of BGP are in
``calico_bgp``).

Pure functions. Fields of the custom resources: docs.tigera.io/calico/latest/reference/resources; the node's own AS
number is the annotation
``projectcalico.org/ASNumber`` (libcalico-go, Kubernetes datastore).
"""

from __future__ import annotations

import copy
import hashlib
import ipaddress
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import yaml

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bgp, calico_bgp
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.calico_bgp import (
    DEFAULT_AS_NUMBER,
    NAMESPACE,
    Peer,
    custom,
    peer_of,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.node_registration import RACK_LABEL

Object = dict[str, Any]

CONFIGURATION_ANNOTATION = "bare-metal.kubernetes/configuration"
# A node may hold twice its pods: addresses of ended pods linger while new ones start (kubelet allows both during a
# rollout).
ADDRESSES_PER_POD = 2
# At most this many routes a node in every router's and node's table, as long as blocks can grow.
WANTED_BLOCKS_PER_NODE = 4
SMALLEST_BLOCK, LARGEST_BLOCK = 26, 20
# Calico gives a node at most 20 blocks unless IPAMConfig says otherwise (libcalico-go/lib/ipam).
UPSTREAM_BLOCKS_PER_NODE = 20
TYPHA_PORT = 5473
# Links that the smallest MTU is taken of: upstream's list (felix/config/config_params.go) and what bare metal has above it. A VLAN on a bond may have
# less than its ports.
MTU_INTERFACES = "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan|bond|team|vlan).*)"
# From so many pods on Felix compares less often: each time it reads every rule, route and set of the node. Its own are 180, 90 and 10 s; the main loop
# of a node that starts hundreds of pods is busy for longer than the 90 s after which it is killed.
DENSE_PODS = 250
DENSE_FELIX: Mapping[str, Any] = {
    "iptablesRefreshInterval": "5m0s",
    "routeRefreshInterval": "3m0s",
    "ipsetsRefreshInterval": "1m30s",
    "healthTimeoutOverrides": [{"name": "InternalDataplaneMainLoop", "timeout": "5m0s"}],
}


class CalicoError(Exception):
    """The wanted network cannot be built; the message names the setting, its value and what fits."""


@dataclass(frozen=True)
class Node:
    """A node: its rack (may be empty), its AS and its routers, and how many pods it shall carry (0: as the cluster
    says).
    """

    name: str
    rack: str = ""
    peers: tuple[Peer, ...] = ()
    as_number: int = DEFAULT_AS_NUMBER
    pods_per_node: int = 0


@dataclass(frozen=True)
class Pool:
    """A pool of ``cluster_pod_pools``. ``block_size`` 0: the cluster's."""

    name: str
    cidr: str
    block_size: int = 0
    racks: tuple[str, ...] = ()
    node_labels: tuple[tuple[str, str], ...] = ()
    nat_outgoing: bool = True
    announced: bool = True
    disabled: bool = False

    @property
    def selector(self) -> str:
        """Which nodes take addresses from it, in Calico's words."""
        parts = [f"{RACK_LABEL} in {{{', '.join(repr(rack) for rack in self.racks)}}}"] if self.racks else []
        parts += [f"{key} == '{value}'" for key, value in self.node_labels]
        return " && ".join(parts) or "all()"


@dataclass(frozen=True)
class Settings:
    """What the role's variables say.

    ``mtu`` 0: found by Calico from the node's interface; ``as_number`` 0: from the nodes'; ``block_size`` 0:
    computed;
    ``images``: ``{"calico/node": "name:tag"}``.
    """

    images: Mapping[str, str]
    nodes: tuple[Node, ...]
    pod_cidrs: tuple[str, ...]
    pods_per_node: int
    block_size: int = 0
    as_number: int = 0
    api_host: str = ""
    api_port: int = 6443
    mtu: int = 0
    nat_outgoing: bool = True
    load_balancer_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    advertise_cluster_ips: bool = False
    allowed_own_as: int = 0
    kube_proxy_mode: str = "nftables"
    node_cpu_request: str = "250m"
    controllers_cpu_request: str = "50m"
    max_unavailable: str = "10%"
    typha_replicas: int = 0
    felix: Mapping[str, Any] = field(default_factory=dict)
    topology: str = bgp.AUTO
    encapsulation: str = "none"
    wireguard: bool = False
    data_plane: str = "auto"
    reflectors: tuple[str, ...] = ()
    mesh_password: str = ""
    filters: tuple[Mapping[str, Any], ...] = ()
    communities: tuple[Mapping[str, Any], ...] = ()
    advertisements: tuple[Mapping[str, Any], ...] = ()
    external_cidrs: tuple[str, ...] = ()
    graceful_restart_seconds: int = 0
    pools: tuple[Pool, ...] = ()

    @property
    def bgp_topology(self) -> str:
        """Who speaks BGP with whom."""
        return bgp.topology_of(self.topology, any(node.peers for node in self.nodes), self.encapsulation)

    @property
    def densest(self) -> int:
        """The pods of the node that carries most: all nodes take their blocks from the same pools."""
        return max([self.pods_per_node, *(node.pods_per_node for node in self.nodes)])

    @property
    def ipv4_block_size(self) -> int:
        """Prefix length of an IPv4 block."""
        return self.block_size or block_size_for(self.densest)

    @property
    def ipv6(self) -> bool:
        """Do pods have IPv6 addresses?"""
        return any(":" in cidr for cidr in self.pod_cidrs)

    @property
    def ipv4(self) -> bool:
        """Do pods have IPv4 addresses?"""
        return any(":" not in cidr for cidr in self.pod_cidrs)


def _node(name: str, values: Mapping[str, Any]) -> Node:
    return Node(
        name,
        str(values.get("rack") or ""),
        tuple(peer_of(peer) for peer in values.get("peers") or ()),
        int(values.get("as_number") or DEFAULT_AS_NUMBER),
        int(values.get("pods_per_node") or 0),
    )


def _pool(values: Mapping[str, Any]) -> Pool:
    return Pool(
        str(values["name"]),
        str(ipaddress.ip_network(values["cidr"])),
        int(values.get("block_size") or 0),
        tuple(sorted(map(str, values.get("racks") or ()))),
        tuple(sorted((str(key), str(value)) for key, value in (values.get("node_labels") or {}).items())),
        bool(values.get("nat_outgoing", True)),
        bool(values.get("announced", True)),
        bool(values.get("disabled", False)),
    )


NUMBERS = (
    *("pods_per_node", "block_size", "as_number", "api_port", "mtu", "allowed_own_as", "typha_replicas"),
    "graceful_restart_seconds",
)
LISTS = ("pod_cidrs", "load_balancer_cidrs", "service_cidrs", "external_cidrs", "reflectors")
TABLES = ("filters", "communities", "advertisements")


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Build settings from the role's mapping. ``nodes`` is what :func:`nodes_of` makes.

    :raises CalicoError: an unknown setting or a value of the wrong type.
    """
    known = {entry.name for entry in fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise CalicoError(f"unknown settings: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    try:
        nodes = tuple(_node(str(name), node) for name, node in sorted(values["nodes"].items()))
        return Settings(
            **{
                **values,
                "nodes": nodes,
                "pools": tuple(_pool(pool) for pool in values.get("pools") or ()),
                **{key: tuple(map(str, values.get(key) or ())) for key in LISTS},
                **{key: tuple(values.get(key) or ()) for key in TABLES},
                **{key: int(values[key]) for key in NUMBERS if key in values},
                "max_unavailable": str(values.get("max_unavailable") or "10%"),
            }
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalicoError(f"a setting has a value that does not fit: {error!r}") from error


# --- address arithmetic


def blocks_needed(pods_per_node: int, block_size: int) -> int:
    """How many blocks of prefix length ``block_size`` (IPv4) a node needs for twice its pods."""
    return math.ceil(ADDRESSES_PER_POD * pods_per_node / 2 ** (32 - block_size))


def block_size_for(pods_per_node: int) -> int:
    """Choose the prefix length of IPv4 blocks: the smallest block of which four carry twice a node's pods, from /26 to
    /20.

    110 pods: /26 (4 blocks of 64), 250: /25, 500: /24, 1000: /23. Small blocks waste few addresses on a node with few
    pods; few blocks keep
    the routing tables short.
    """
    for size in range(SMALLEST_BLOCK, LARGEST_BLOCK, -1):
        if blocks_needed(pods_per_node, size) <= WANTED_BLOCKS_PER_NODE:
            return size
    return LARGEST_BLOCK


def max_blocks_per_node(pods_per_node: int, block_size: int) -> int:
    """Calico's own limit, or more where small blocks are asked for."""
    return max(UPSTREAM_BLOCKS_PER_NODE, blocks_needed(pods_per_node, block_size))


def cidrs_of(addresses: str) -> list[str]:
    """``192.0.2.0/28``, one address, or a range ``192.0.2.10-192.0.2.20`` as CIDRs."""
    try:
        if "-" in addresses:
            first, last = (ipaddress.ip_address(part.strip()) for part in addresses.split("-", 1))
            return [str(network) for network in ipaddress.summarize_address_range(first, last)]
        return [str(ipaddress.ip_network(addresses.strip(), strict=False))]
    except (ValueError, TypeError) as error:
        raise CalicoError(f"'{addresses}' is neither a CIDR nor a range of addresses: {error}") from error


def pool_cidrs(pools: Iterable[Mapping[str, Any]]) -> list[str]:
    """All CIDRs of ``cluster_load_balancer_pools``, merged where they touch, in order."""
    networks = [
        ipaddress.ip_network(cidr) for pool in pools for text in pool["addresses"] for cidr in cidrs_of(str(text))
    ]
    merged: list[str] = []
    for version in (4, 6):
        of_version: Any = [network for network in networks if network.version == version]
        merged += [str(network) for network in ipaddress.collapse_addresses(of_version)]
    return merged


# --- custom resources


def ip_pools(settings: Settings) -> list[Object]:
    """The pools: the inventory's, or one for each pod CIDR that all nodes use."""
    pools = list(settings.pools)
    for number, cidr in enumerate([] if pools else settings.pod_cidrs):
        version = ipaddress.ip_network(cidr).version
        name = f"default-ipv{version}-ippool" + (f"-{number}" if number > 1 else "")
        pools.append(Pool(name, str(ipaddress.ip_network(cidr)), nat_outgoing=settings.nat_outgoing))
    return [_ip_pool(pool, settings) for pool in pools]


VXLAN_MODES = {"none": "Never", "vxlan": "Always", "vxlan_cross_subnet": "CrossSubnet"}


def _ip_pool(pool: Pool, settings: Settings) -> Object:
    network = ipaddress.ip_network(pool.cidr)
    size = pool.block_size or (
        settings.ipv4_block_size if network.version == 4 else 128 - (32 - settings.ipv4_block_size)
    )
    if network.prefixlen > size:
        raise CalicoError(
            f"{'cluster_pod_pools' if settings.pools else 'cluster_pod_cidrs'}: {pool.cidr} is smaller than one block (/{size}); "
            "take a larger range or smaller blocks"
        )
    if settings.encapsulation not in VXLAN_MODES:
        raise CalicoError(
            f"cluster_encapsulation: Calico has no {settings.encapsulation}; it has {', '.join(VXLAN_MODES)}"
        )
    spec: Object = {
        "cidr": pool.cidr,
        "blockSize": size,
        "ipipMode": "Never",
        "vxlanMode": VXLAN_MODES[settings.encapsulation],
        "natOutgoing": pool.nat_outgoing,
        "nodeSelector": pool.selector,
        "allowedUses": ["Workload", "Tunnel"],
    }
    # Fields at their default are left out, as they were before they could be asked for.
    return custom(
        "IPPool",
        pool.name,
        spec | ({} if pool.announced else {"disableBGPExport": True}) | ({"disabled": True} if pool.disabled else {}),
    )


def ipam_config(settings: Settings) -> Object:
    """Nodes use their own blocks only: a borrowed address would be one more route in every table."""
    blocks = max_blocks_per_node(settings.densest, settings.ipv4_block_size)
    return custom(
        "IPAMConfig",
        "default",
        {
            "strictAffinity": True,
            "autoAllocateBlocks": True,
            "maxBlocksPerHost": blocks,
        },
    )


def felix_configuration(settings: Settings, properties: Iterable[str]) -> Object:
    """Felix's settings; ``properties`` are those that this release's definition knows (``nftablesMode`` came with
    3.29).
    """
    known = set(properties)
    spec: Object = {"logSeverityScreen": "Info", "mtuIfacePattern": MTU_INTERFACES}
    if settings.data_plane == "ebpf":
        raise CalicoError("cluster_calico_data_plane: the eBPF data plane is not in the images of this collection")
    if settings.data_plane == "nftables" and "nftablesMode" not in known:
        raise CalicoError(
            "cluster_calico_data_plane: this release of Calico has no nftables data plane, which came with 3.29"
        )
    if "nftablesMode" in known:
        wanted = settings.data_plane if settings.data_plane != "auto" else settings.kube_proxy_mode
        spec["nftablesMode"] = "Enabled" if wanted == "nftables" else "Disabled"
    if settings.densest >= DENSE_PODS:
        spec |= DENSE_FELIX
    if settings.wireguard:
        versions = {ipaddress.ip_network(cidr).version for cidr in settings.pod_cidrs}
        spec |= {{4: "wireguardEnabled", 6: "wireguardEnabledV6"}[version]: True for version in versions}
    return custom("FelixConfiguration", "default", {**spec, **settings.felix})


# --- upstream's objects


def parse(text: str) -> list[Object]:
    """The objects of a manifest of several YAML documents."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # As bytes: the C loader takes no subclass of str, and Ansible's strings are one.
        return [document for document in yaml.load_all(text.encode(), Loader=loader) if document]
    except yaml.YAMLError as error:
        raise CalicoError(f"the upstream manifest is not YAML: {error}") from error


def with_images(obj: Object, images: Mapping[str, str]) -> Object:
    """Take every container's image from the bundle, found by its last two path components; nothing is pulled when it is
    there.
    """
    result = copy.deepcopy(obj)
    pod = result["spec"]["template"]["spec"]
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        short = "/".join(container["image"].partition("@")[0].split("/")[-2:]).partition(":")[0]
        if short not in images:
            raise CalicoError(
                f"{result['kind']} {result['metadata']['name']} wants image '{short}', which the bundle does not have"
            )
        container["image"] = images[short]
        container["imagePullPolicy"] = "IfNotPresent"
    return result


def with_environment(container: Object, values: Mapping[str, str | None]) -> None:
    """Set variables of a container in place; None removes one."""
    kept = [entry for entry in container.get("env", []) if entry["name"] not in values]
    container["env"] = kept + [{"name": name, "value": value} for name, value in values.items() if value is not None]


def _node_environment(settings: Settings) -> dict[str, str | None]:
    ipv6 = settings.ipv6
    typha = "calico-typha" if settings.typha_replicas else None
    return {
        # Pools are ours, as objects: the node must not make one of its own.
        "NO_DEFAULT_POOLS": "true",
        "CALICO_IPV4POOL_CIDR": None,
        "CALICO_IPV4POOL_IPIP": None,
        "CALICO_IPV4POOL_VXLAN": None,
        "CALICO_IPV6POOL_VXLAN": None,
        "IP": "autodetect" if settings.ipv4 else "none",
        "IP_AUTODETECTION_METHOD": "kubernetes-internal-ip" if settings.ipv4 else None,
        # A router identifier has 32 bits. Without an IPv4 address it is a hash of the node's name.
        "CALICO_ROUTER_ID": None if settings.ipv4 else "hash",
        "IP6": "autodetect" if ipv6 else None,
        "IP6_AUTODETECTION_METHOD": "kubernetes-internal-ip" if ipv6 else None,
        "FELIX_IPV6SUPPORT": "true" if ipv6 else "false",
        # Also here, because it counts from the first start on, before the object is there.
        "FELIX_IPTABLESBACKEND": str(settings.felix.get("iptablesBackend", "NFT")),
        "FELIX_TYPHAK8SSERVICENAME": typha,
    }


def _probe_birds(container: Object, settings: Settings) -> None:
    """Each family's BIRD is asked whether it lives; where nobody speaks BGP none runs."""
    birds = [] if settings.bgp_topology == "none" else ["-bird"] * settings.ipv4 + ["-bird6"] * settings.ipv6
    for name in ("livenessProbe", "readinessProbe"):
        command = container.get(name, {}).get("exec", {}).get("command")
        if command:
            container[name]["exec"]["command"] = [
                word.replace("-bird", bird, 1) if bird else word
                for word in command
                for bird in (birds if word.startswith("-bird-") else [""])
            ]


def _daemon_set(obj: Object, settings: Settings, configuration: str) -> Object:
    result = with_images(obj, settings.images)
    result["spec"]["updateStrategy"] = {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": settings.max_unavailable},
    }
    template = result["spec"]["template"]
    template["metadata"].setdefault("annotations", {})[CONFIGURATION_ANNOTATION] = configuration
    for container in template["spec"]["containers"]:
        if container["name"] == "calico-node":
            with_environment(container, _node_environment(settings))
            container.setdefault("resources", {})["requests"] = {"cpu": settings.node_cpu_request}
            _probe_birds(container, settings)
    return result


def _deployment(obj: Object, settings: Settings) -> Object:
    result = with_images(obj, settings.images)
    for container in result["spec"]["template"]["spec"]["containers"]:
        container.setdefault("resources", {}).setdefault("requests", {})["cpu"] = settings.controllers_cpu_request
        for entry in container.get("env", []):
            if entry["name"] == "ENABLED_CONTROLLERS":
                # MetalLB allocates LoadBalancer addresses: Calico's own controller (3.30) would do it a second time.
                kept = [name for name in entry["value"].split(",") if name != "loadbalancer"]
                entry["value"] = ",".join(kept)
    return result


def cni_configuration(text: str, settings: Settings) -> str:
    """The CNI template with both address families asked for when the pods have both."""
    versions = {ipaddress.ip_network(cidr).version for cidr in settings.pod_cidrs}
    if versions == {4}:
        return text
    flags = {f"assign_ipv{version}": "true" if version in versions else "false" for version in (4, 6)}
    addition = "".join(f',\n          "{key}": "{value}"' for key, value in flags.items())
    return re.sub(r'("type": "calico-ipam")', lambda match: match.group(1) + addition, text)


def _config_map(obj: Object, settings: Settings) -> Object:
    result = copy.deepcopy(obj)
    result["data"]["veth_mtu"] = str(settings.mtu)
    result["data"]["calico_backend"] = "vxlan" if settings.bgp_topology == "none" else "bird"
    result["data"]["typha_service_name"] = "calico-typha" if settings.typha_replicas else "none"
    result["data"]["cni_network_config"] = cni_configuration(result["data"]["cni_network_config"], settings)
    return result


def endpoint_config_map(settings: Settings) -> Object:
    """Where calico-node finds the API without kube-proxy (read by upstream's ``envFrom``)."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kubernetes-services-endpoint", "namespace": NAMESPACE},
        "data": {"KUBERNETES_SERVICE_HOST": settings.api_host, "KUBERNETES_SERVICE_PORT": str(settings.api_port)},
    }


def _felix_properties(definitions: Iterable[Object]) -> set[str]:
    for obj in definitions:
        if obj["kind"] == "CustomResourceDefinition" and obj["spec"]["names"]["kind"] == "FelixConfiguration":
            schema = obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            return set(schema["properties"]["spec"]["properties"])
    return set()


def typha(settings: Settings, configuration: str = "") -> list[Object]:
    """Typha between the nodes and the API, for clusters of more than about 50 nodes (one replica for each 100 to 200)."""
    labels = {"k8s-app": "calico-typha"}
    meta = {"name": "calico-typha", "namespace": NAMESPACE, "labels": labels}
    probe = {
        "httpGet": {"path": "/readiness", "port": 9098, "host": "localhost"},
        "periodSeconds": 10,
        "timeoutSeconds": 10,
    }
    environment = {
        "TYPHA_LOGSEVERITYSCREEN": "info",
        "TYPHA_LOGFILEPATH": "none",
        "TYPHA_LOGSEVERITYSYS": "none",
        "TYPHA_CONNECTIONREBALANCINGMODE": "kubernetes",
        "TYPHA_DATASTORETYPE": "kubernetes",
        "TYPHA_HEALTHENABLED": "true",
        "TYPHA_SHUTDOWNTIMEOUTSECS": "300",
    }
    container = {
        "name": "calico-typha",
        "image": settings.images["calico/typha"],
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": TYPHA_PORT, "name": "calico-typha", "protocol": "TCP"}],
        "envFrom": [{"configMapRef": {"name": "kubernetes-services-endpoint", "optional": True}}],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": {"requests": {"cpu": "100m"}},
        "securityContext": {"runAsNonRoot": True, "allowPrivilegeEscalation": False},
        "readinessProbe": probe,
        "livenessProbe": {
            "httpGet": {"path": "/liveness", "port": 9098, "host": "localhost"},
            "periodSeconds": 30,
            "initialDelaySeconds": 30,
            "timeoutSeconds": 10,
        },
    }
    spread = {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "podAffinityTerm": {
                        "labelSelector": {"matchLabels": labels},
                        "topologyKey": "kubernetes.io/hostname",
                    },
                }
            ]
        }
    }
    pod = {
        "hostNetwork": True,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "calico-node",
        "securityContext": {"fsGroup": 65534},
        "terminationGracePeriodSeconds": 300,
        "tolerations": [{"effect": effect, "operator": "Exists"} for effect in ("NoSchedule", "NoExecute")],
        "affinity": spread,
        "containers": [container],
    }
    return [
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta,
         "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta,
         "spec": {"selector": labels, "ports": [
             {"name": "calico-typha", "port": TYPHA_PORT, "protocol": "TCP", "targetPort": "calico-typha"}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
         "spec": {"replicas": settings.typha_replicas, "revisionHistoryLimit": 2, "selector": {"matchLabels": labels},
                  "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
                  "template": {"metadata": {"labels": labels, "annotations": {CONFIGURATION_ANNOTATION: configuration}},
                               "spec": pod}}},
    ]  # fmt: skip


def objects(upstream: str, settings: Settings) -> list[Object]:
    """Everything that Calico needs, from upstream's ``calico.yaml`` and the settings.

    :raises CalicoError: the manifest is not the one that is expected, an image is not in the bundle, a setting does not
    fit.
    """
    if not settings.api_host:
        raise CalicoError("api_host is empty: calico-node has to reach the API before there are Services")
    found = parse(upstream)
    endpoint = endpoint_config_map(settings)
    config_map = next((_config_map(obj, settings) for obj in found if obj["kind"] == "ConfigMap"), None)
    kinds = {obj["kind"] for obj in found}
    if config_map is None or not {"DaemonSet", "Deployment", "CustomResourceDefinition"} <= kinds:
        raise CalicoError(f"the upstream manifest is not a calico.yaml: it has {', '.join(sorted(kinds)) or 'nothing'}")
    # Pods read these at their start only, so a change has to make new pods.
    text = json.dumps([endpoint["data"], config_map["data"]], sort_keys=True)
    configuration = hashlib.sha256(text.encode()).hexdigest()[:16]
    result = [endpoint]
    for obj in found:
        if obj["kind"] == "ConfigMap":
            result.append(config_map)
        elif obj["kind"] == "DaemonSet":
            result.append(_daemon_set(obj, settings, configuration))
        elif obj["kind"] == "Deployment":
            result.append(_deployment(obj, settings))
        else:
            result.append(obj)
    if settings.typha_replicas:
        result += typha(settings, configuration)
    if settings.bgp_topology == "none" and settings.encapsulation == "none":
        raise CalicoError(
            "cluster_bgp_topology: without BGP and without encapsulation no node has a route to another's pods"
        )
    return [
        *result,
        *calico_bgp.password_access(settings),
        calico_bgp.bgp_configuration(settings),
        ipam_config(settings),
        felix_configuration(settings, _felix_properties(found)),
        *ip_pools(settings),
        *calico_bgp.bgp_filters(settings),
        *calico_bgp.bgp_peers(settings),
    ]


def nodes_of(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``{host: {rack, peers: [{address, as_number, ...}], as_number, pods_per_node}}`` from each host's ``cluster_*``
    variables.

    In the order of the names. A role's defaults do not reach into ``hostvars``, so theirs are applied here; what a task
    that runs once computes must not depend on the host that happens to run it.
    """
    found = {}
    for host in sorted(hosts):
        values = hostvars[host]
        found[host] = {
            "rack": values.get("cluster_rack") or "",
            "peers": values.get("cluster_bgp_peers") or [],
            "as_number": int(values.get("cluster_bgp_as_number") or DEFAULT_AS_NUMBER),
            "pods_per_node": int(values.get("cluster_pods_per_node") or 0),
        }
    return found
