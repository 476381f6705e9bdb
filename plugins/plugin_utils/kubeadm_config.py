# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm's documents (kubeadm.k8s.io/v1beta4) and the component documents that go with them, as data.

Pure: the same settings give the same documents, in the same order, whatever the order of hosts in the inventory. Two groups of settings come in:
:class:`ClusterSettings`, the same on every control plane, and :class:`NodeSettings`, of one node.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    addresses,
    calico,
    density_control_plane,
    etcd_events,
)

KUBEADM_API = "kubeadm.k8s.io/v1beta4"
PKI = "/etc/kubernetes/pki"
AUDIT_DIRECTORY = "/etc/kubernetes/audit"
AUDIT_POLICY = f"{AUDIT_DIRECTORY}/policy.yaml"
AUDIT_LOG_DIRECTORY = "/var/log/kubernetes/audit"
ENCRYPTION_CONFIGURATION = f"{PKI}/encryption.json"  # role pki keeps it the same on all control planes
ADMISSION_DIRECTORY = "/etc/kubernetes/admission"
ADMISSION_CONFIGURATION = f"{ADMISSION_DIRECTORY}/configuration.yaml"
# NodeRestriction is kubeadm's.
ADMISSION_PLUGINS = "NodeRestriction,EventRateLimit"
ADMISSION_CHECKSUM_VARIABLE = "BARE_METAL_KUBERNETES_ADMISSION"
AUDIT_CHECKSUM_VARIABLE = "BARE_METAL_KUBERNETES_AUDIT_POLICY"
CRI_SOCKET = "unix:///run/containerd/containerd.sock"
CONTROL_PLANE_TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}

# Requests that an apiserver works on at once, by the pods that the cluster may hold. Kubernetes' own scale tests (cluster/gce/config-default.sh and
# util.sh) use 1500/500 from 1,000 nodes and 3000/1000 from 3,000 nodes, each with 30 pods a node; 400/200 are the apiserver's defaults. Steps, not a
# line, so that one more worker does not restart every apiserver.
INFLIGHT_STEPS = ((0, 400, 200), (10_000, 800, 300), (30_000, 1500, 500), (90_000, 3000, 1000))
# The controller manager's default is 20 requests a second (burst 30), made for 110 pods a node; scale tests run with 100.
MANAGER_QPS, MANAGER_QPS_LIMIT = 20, 100
# The scheduler's default is 50 requests a second (burst 100); a node that takes 500 pods at once should not wait for its binder.
SCHEDULER_QPS, SCHEDULER_QPS_LIMIT = 50, 200
DEFAULT_PODS_PER_NODE = 110


class KubeadmConfigError(Exception):
    """Settings that cannot become documents; the message names the setting, its value and what fits."""


@dataclass(frozen=True)
class ClusterSettings:
    """What all control planes share. ``endpoint`` is ``host:port``; ``*_extra_args`` map flag names to a value, a list of values, or null to leave a
    computed flag out; ``pods_per_node`` is that of the densest node, ``pods`` what all nodes together may carry;
    ``audit_policy_checksum`` and ``admission_checksum`` make a changed file a changed manifest (empty: there is none);
    ``apiserver_memory_mib`` is the soft limit of an apiserver's heap on this machine (0: none); ``etcd_events_endpoints`` is the etcd of the events
    (empty: they are with the rest).
    """

    cluster_name: str
    kubernetes_version: str
    endpoint: str
    pod_cidrs: Sequence[str]
    service_cidrs: Sequence[str]
    domain: str
    etcd_endpoints: Sequence[str]
    certificate_sans: Sequence[str] = ()
    control_planes: int = 1
    pods_per_node: int = DEFAULT_PODS_PER_NODE
    pods: int = DEFAULT_PODS_PER_NODE
    network_plugin: str = "calico"
    kube_proxy_mode: str = "nftables"
    kube_proxy_configuration: Mapping[str, Any] = field(default_factory=dict)
    coredns_version: str = ""
    image_repository: str = "registry.k8s.io"
    audit_policy_checksum: str = ""
    admission_checksum: str = ""
    apiserver_memory_mib: int = 0
    event_ttl: str = "1h0m0s"
    etcd_events_endpoints: Sequence[str] = ()
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    apiserver_extra_args: Mapping[str, Any] = field(default_factory=dict)
    controller_manager_extra_args: Mapping[str, Any] = field(default_factory=dict)
    scheduler_extra_args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeSettings:
    """What is one node's own. ``taints`` None keeps kubeadm's default of the node's role, an empty list is none."""

    name: str
    ip: str
    api_port: int = 6443
    taints: Sequence[Mapping[str, str]] | None = None
    ignore_preflight_errors: Sequence[str] = ()


Settings = TypeVar("Settings", ClusterSettings, NodeSettings)


def settings_from(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Build settings from a mapping; a name that does not exist is an error with a suggestion."""
    known = {one.name: one for one in fields(kind)}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise KubeadmConfigError(f"unknown setting '{name}'" + (f", did you mean '{near[0]}'?" if near else ""))
    numbers = {name: _integer(name, value) for name, value in values.items() if known[name].type == "int"}
    try:
        return kind(**{**values, **numbers})
    except TypeError as error:
        raise KubeadmConfigError(str(error).split("__init__() ", 1)[-1]) from error


def _integer(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise KubeadmConfigError(f"'{name}' has to be a whole number, not {value!r}") from error


def flag_text(value: Any) -> str:
    """A flag's value as text: booleans in lower case, as Go's flags want them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def arguments(computed: Mapping[str, Any], own: Mapping[str, Any]) -> list[dict[str, str]]:
    """``[{name, value}]`` sorted by name; ``own`` wins, null leaves a flag out, a list repeats it."""
    found: list[dict[str, str]] = []
    for name, value in sorted({**computed, **own}.items()):
        if value is None:
            continue
        if name.startswith("-"):
            raise KubeadmConfigError(f"flag '{name}': write its name without dashes")
        values = value if isinstance(value, list | tuple) else [value]
        found += [{"name": name, "value": flag_text(one)} for one in values]
    return found


def inflight(pods: int) -> tuple[int, int]:
    """Requests in flight (reading, changing) that an apiserver of a cluster for ``pods`` pods may work on."""
    return next((reading, changing) for least, reading, changing in reversed(INFLIGHT_STEPS) if pods >= least)


def scaled_qps(base: int, limit: int, pods_per_node: int) -> int:
    """``base`` requests a second for every 110 pods a node begun, up to ``limit``."""
    return min(limit, base * max(1, math.ceil(pods_per_node / DEFAULT_PODS_PER_NODE)))


def node_cidr_mask_size(pods_per_node: int, prefix_length: int, family: int = 4) -> int:
    """Prefix length of a node's range that holds twice its pods: an address is not used again at once, so a full node needs the double.

    :raises KubeadmConfigError: the pods' network (``prefix_length``) is smaller than one such range.
    """
    size = addresses.node_range(calico.ADDRESSES_PER_POD * pods_per_node, family)
    if size < prefix_length:
        raise KubeadmConfigError(
            f"{pods_per_node} pods a node need a /{size} each, which does not fit the pod range's /{prefix_length}"
        )
    return size


def _node_cidr_arguments(cluster: ClusterSettings) -> dict[str, Any]:
    """Calico and Cilium hand out addresses themselves; ranges from the controller manager would only be wasted. Without a plugin of ours, it does."""
    if cluster.network_plugin in ("calico", "cilium"):
        return {"allocate-node-cidrs": False}
    networks = [ipaddress.ip_network(cidr) for cidr in cluster.pod_cidrs]
    dual = len(networks) > 1
    found: dict[str, Any] = {"allocate-node-cidrs": True}
    for network in networks:
        size = node_cidr_mask_size(cluster.pods_per_node, network.prefixlen, network.version)
        found[f"node-cidr-mask-size-ipv{network.version}" if dual else "node-cidr-mask-size"] = size
    return found


def _mount(name: str, path: str, *, read_only: bool) -> dict[str, Any]:
    return {"name": name, "hostPath": path, "mountPath": path, "readOnly": read_only, "pathType": "DirectoryOrCreate"}


def _apiserver(cluster: ClusterSettings) -> dict[str, Any]:
    reading, changing = inflight(cluster.pods)
    computed: dict[str, Any] = {
        "audit-log-maxage": 30,
        "audit-log-maxbackup": 10,
        "audit-log-maxsize": 100,
        "audit-log-path": f"{AUDIT_LOG_DIRECTORY}/audit.log",
        "audit-policy-file": AUDIT_POLICY,
        "encryption-provider-config": ENCRYPTION_CONFIGURATION,
        "encryption-provider-config-automatic-reload": True,
        "event-ttl": cluster.event_ttl,
        # Serving certificates of the kubelets are signed by the cluster's CA (serverTLSBootstrap), so they can be checked.
        "kubelet-certificate-authority": f"{PKI}/ca.crt",
        "max-mutating-requests-inflight": changing,
        "max-requests-inflight": reading,
        "profiling": False,
        "tls-min-version": "VersionTLS12",
    }
    if cluster.control_planes > 1:
        # Connections are long-lived: one in a thousand requests asks its client to connect anew, so that load finds its way back to a restarted apiserver.
        computed["goaway-chance"] = "0.001"
    if cluster.etcd_events_endpoints:
        computed[etcd_events.FLAG] = etcd_events.override(cluster.etcd_events_endpoints)
    volumes = [
        _mount("audit-policy", AUDIT_DIRECTORY, read_only=True),
        _mount("audit-log", AUDIT_LOG_DIRECTORY, read_only=False),
    ]
    variables: dict[str, str] = {}
    # The apiserver reads these files once: with the checksum in the manifest, a changed one rolls the apiservers like a changed flag.
    if cluster.audit_policy_checksum:
        variables[AUDIT_CHECKSUM_VARIABLE] = cluster.audit_policy_checksum
    if cluster.admission_checksum:
        computed |= {
            "admission-control-config-file": ADMISSION_CONFIGURATION,
            "enable-admission-plugins": ADMISSION_PLUGINS,
        }
        volumes.append(_mount("admission", ADMISSION_DIRECTORY, read_only=True))
        variables[ADMISSION_CHECKSUM_VARIABLE] = cluster.admission_checksum
    if cluster.apiserver_memory_mib:
        variables["GOMEMLIMIT"] = f"{cluster.apiserver_memory_mib}MiB"
    found: dict[str, Any] = {
        "certSANs": sorted({"localhost", "127.0.0.1", *cluster.certificate_sans}),
        "extraArgs": arguments(computed, cluster.apiserver_extra_args),
        "extraVolumes": volumes,
    }
    if variables:
        found["extraEnvs"] = [{"name": name, "value": value} for name, value in sorted(variables.items())]
    return found


def cluster_configuration(cluster: ClusterSettings) -> dict[str, Any]:
    """``ClusterConfiguration``: external etcd, one stable endpoint, scaled flags."""
    if not cluster.etcd_endpoints:
        raise KubeadmConfigError("'etcd_endpoints' is empty: group 'etcd' needs at least one host")
    manager_qps = scaled_qps(MANAGER_QPS, MANAGER_QPS_LIMIT, cluster.pods_per_node)
    scheduler_qps = scaled_qps(SCHEDULER_QPS, SCHEDULER_QPS_LIMIT, cluster.pods_per_node)
    manager = {
        **_node_cidr_arguments(cluster),
        **density_control_plane.batching(cluster.pods),
        **density_control_plane.sync_workers(cluster.pods, cluster.pods_per_node),
        "kube-api-burst": manager_qps * 3 // 2,
        "kube-api-qps": manager_qps,
        "profiling": False,
        "tls-min-version": "VersionTLS12",
    }
    scheduler = {
        "kube-api-burst": scheduler_qps * 2,
        "kube-api-qps": scheduler_qps,
        "profiling": False,
        "tls-min-version": "VersionTLS12",
    }
    found: dict[str, Any] = {
        "apiVersion": KUBEADM_API,
        "kind": "ClusterConfiguration",
        "clusterName": cluster.cluster_name,
        "kubernetesVersion": cluster.kubernetes_version,
        "controlPlaneEndpoint": cluster.endpoint,
        "certificatesDir": PKI,
        "imageRepository": cluster.image_repository,
        "networking": {
            "dnsDomain": cluster.domain,
            "podSubnet": ",".join(cluster.pod_cidrs),
            "serviceSubnet": ",".join(cluster.service_cidrs),
        },
        "etcd": {
            "external": {
                "endpoints": sorted(cluster.etcd_endpoints),
                "caFile": f"{PKI}/etcd/ca.crt",
                "certFile": f"{PKI}/apiserver-etcd-client.crt",
                "keyFile": f"{PKI}/apiserver-etcd-client.key",
            }
        },
        "apiServer": _apiserver(cluster),
        "controllerManager": {"extraArgs": arguments(manager, cluster.controller_manager_extra_args)},
        "scheduler": {"extraArgs": arguments(scheduler, cluster.scheduler_extra_args)},
    }
    if cluster.coredns_version:
        found["dns"] = {"imageTag": cluster.coredns_version}
    if cluster.kube_proxy_mode == "none":
        found["proxy"] = {"disabled": True}
    if cluster.feature_gates:
        found["featureGates"] = dict(sorted(cluster.feature_gates.items()))
    return found


def _registration(node: NodeSettings) -> dict[str, Any]:
    if "all" in node.ignore_preflight_errors:
        raise KubeadmConfigError("preflight errors are ignored by name; 'all' would hide every real one")
    found: dict[str, Any] = {
        "name": node.name,
        "criSocket": CRI_SOCKET,
        "imagePullPolicy": "IfNotPresent",
        "imagePullSerial": False,
    }
    if node.taints is not None:
        found["taints"] = [{key: one[key] for key in ("key", "value", "effect") if one.get(key)} for one in node.taints]
    if node.ignore_preflight_errors:
        found["ignorePreflightErrors"] = sorted(set(node.ignore_preflight_errors))
    return found


def init_configuration(node: NodeSettings) -> dict[str, Any]:
    """``InitConfiguration``. kubeadm always makes a bootstrap token, by default one that lets nodes join for a day: this one's group may do nothing, and it
    lives for a minute."""
    return {
        "apiVersion": KUBEADM_API,
        "kind": "InitConfiguration",
        "bootstrapTokens": [
            {
                "description": "Made by kubeadm init, not used to join.",
                "groups": ["system:bootstrappers:unused"],
                "ttl": "1m0s",
                "usages": ["authentication"],
            }
        ],
        "localAPIEndpoint": {"advertiseAddress": node.ip, "bindPort": node.api_port},
        "nodeRegistration": _registration(node),
    }


def join_configuration(node: NodeSettings, endpoint: str, *, control_plane: bool) -> dict[str, Any]:
    """``JoinConfiguration`` without its secrets: the module that runs kubeadm puts token and CA hash in on the node."""
    found: dict[str, Any] = {
        "apiVersion": KUBEADM_API,
        "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": {"apiServerEndpoint": endpoint}},
        "nodeRegistration": _registration(node),
    }
    if control_plane:
        found["controlPlane"] = {"localAPIEndpoint": {"advertiseAddress": node.ip, "bindPort": node.api_port}}
    return found


def kubelet_configuration() -> dict[str, Any]:
    """The cluster-wide ``KubeletConfiguration``: only what kubeadm has to know. Each node's own settings are files of role ``kubelet``."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "rotateCertificates": True,
        "serverTLSBootstrap": True,
    }


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top: mappings are merged at every depth, everything else is replaced."""
    found = dict(base)
    for key, value in over.items():
        known = found.get(key)
        found[key] = merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return found


def kube_proxy_configuration(cluster: ClusterSettings) -> dict[str, Any]:
    """``KubeProxyConfiguration`` with the user's own fields on top."""
    base = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": cluster.kube_proxy_mode,
        # The role kernel_tuning owns nf_conntrack_max; kube-proxy would set it back to 32768 a CPU at each of its starts.
        "conntrack": {"maxPerCore": 0},
    }
    return merged(base, cluster.kube_proxy_configuration)


def init_documents(cluster: ClusterSettings, node: NodeSettings) -> list[dict[str, Any]]:
    """All that ``kubeadm init`` and its phases read on one control plane."""
    found = [init_configuration(node), cluster_configuration(cluster), kubelet_configuration()]
    return found if cluster.kube_proxy_mode == "none" else [*found, kube_proxy_configuration(cluster)]
