# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a live cluster cannot change, as its nodes have it on disk, against what the inventory wants.

On a control plane the manifests of the static pods say the networks of pods and Services, the DNS domain and where etcd is; on every node the kubelet's
settings say the domain and the CNI configuration the network plugin and the families of pods. Where a node asks the API stands in
its kubeconfig, of which nothing but the server is read. Nothing is asked of the API. The size of Calico's
blocks is in an IPPool and nowhere on disk, but BIRD keeps a route without an interface (a blackhole) to each of the node's own blocks. Cilium's agent
routes the range of its node, and of others where it encapsulates, over the interface ``cilium_host``.

kubeadm writes the flags that are read here (cmd/kubeadm/app/phases/controlplane of Kubernetes 1.35 and 1.36).
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import typing as t
from dataclasses import asdict, dataclass, field, replace
from urllib.parse import urlsplit

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _endpoint_move, _kubeadm

MANIFESTS = "etc/kubernetes/manifests"
ROUTES = "proc/net/route"
KUBELET_SETTINGS = "var/lib/kubelet/config.yaml"
CNI_DIRECTORY = "etc/cni/net.d"
# kubeadm writes the endpoint into the administrator's on control planes; on workers the kubelet's has it.
KUBECONFIGS = ("etc/kubernetes/admin.conf", "etc/kubernetes/kubelet.conf")
ISSUER = "https://kubernetes.default.svc."
# Types of CNI plugins that make the pod's network; others in a list only add to it.
CNI_PLUGINS = {"calico": "calico", "cilium-cni": "cilium"}
# Where Cilium's packets between nodes leave, when they are encapsulated.
INTERFACES = "sys/class/net"
CILIUM_TUNNELS = {"cilium_vxlan": "vxlan", "cilium_geneve": "geneve"}
# The interface of routes to a node's own blocks in /proc/net/route; BIRD's have none.
BLOCKS_OVER = {"calico": "*", "cilium": "cilium_host"}
LARGEST_FILE = 1 << 20


@dataclass(frozen=True)
class Live:
    """What a node shows of its cluster; empty where it does not show it."""

    pod_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    domain: str = ""
    etcd_servers: tuple[str, ...] = ()
    stacked_etcd: bool = False
    network_plugin: str = ""
    pod_families: tuple[int, ...] = ()
    blocks: tuple[str, ...] = ()
    endpoint: str = ""
    encapsulation: str = ""
    standing: t.Mapping[str, t.Any] = field(default_factory=dict)


class Finding(t.NamedTuple):
    """One wish that the live cluster cannot be given: the fields of machine_info's problems, in their order."""

    check: str
    what: str
    found: str
    why: str
    fix: str


# --- observation


def observe(root: str = "/") -> dict[str, t.Any]:
    """Read the node's files: :class:`Live` as a dictionary. A file that is missing, cut off or not kubeadm's shows nothing."""
    live = live_of(
        _read(root, f"{MANIFESTS}/kube-apiserver.yaml"),
        _read(root, f"{MANIFESTS}/kube-controller-manager.yaml"),
        bool(_read(root, f"{MANIFESTS}/etcd.yaml")),
        _read(root, KUBELET_SETTINGS),
        _cni(root),
        _read(root, ROUTES),
        next((text for text in (_read(root, path) for path in KUBECONFIGS) if text), ""),
        _interfaces(root),
    )
    standing = _endpoint_move.standing_of(lambda path: _read(root, path.lstrip("/")))
    # A machine without a cluster may have files of one that was never made.
    return asdict(replace(live, standing=asdict(standing) if live.endpoint else {}))


def _read(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as stream:
            return stream.read(LARGEST_FILE)
    except OSError:
        return ""


def _interfaces(root: str) -> tuple[str, ...]:
    try:
        return tuple(os.listdir(os.path.join(root, INTERFACES)))
    except OSError:
        return ()


def _cni(root: str) -> str:
    """The CNI configuration that the runtime takes: the first by name."""
    directory = os.path.join(root, CNI_DIRECTORY)
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith((".conf", ".conflist", ".json")))
    except OSError:
        return ""
    return _read(directory, names[0]) if names else ""


# --- parsing (pure)


def live_of(
    apiserver: str,
    manager: str,
    stacked_etcd: bool,
    kubelet: str,
    cni: str,
    routes: str,
    kubeconfig: str = "",
    interfaces: t.Collection[str] = (),
) -> Live:
    """What the texts of a node's files say."""
    api, controllers = _kubeadm.manifest_command(apiserver), _kubeadm.manifest_command(manager)
    issuer = _kubeadm.flag_of(api, "service-account-issuer")
    domain = re.search(r"^clusterDomain: *[\"']?([^\s\"']+)", kubelet, re.M)
    plugin, families = cni_of(cni)
    server = re.search(r"^ *server: *[\"']?(https://[^\s\"']+)", kubeconfig, re.M)
    return Live(
        pod_cidrs=_split(_kubeadm.flag_of(controllers, "cluster-cidr")),
        service_cidrs=_split(_kubeadm.flag_of(api, "service-cluster-ip-range")),
        domain=issuer[len(ISSUER) :] if issuer.startswith(ISSUER) else domain.group(1) if domain else "",
        etcd_servers=tuple(_host(url) for url in _split(_kubeadm.flag_of(api, "etcd-servers"))),
        stacked_etcd=stacked_etcd,
        network_plugin=plugin,
        pod_families=families,
        blocks=routed_over(BLOCKS_OVER[plugin], routes) if plugin else (),
        endpoint=endpoint_of(server.group(1)) if server else "",
        encapsulation=encapsulation_of(interfaces) if plugin == "cilium" else "",
    )


def endpoint_of(url: str) -> str:
    """``host:port`` in one spelling; empty when it is no URL of an API server."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError:
        return ""
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}") if host else ""


def routed_over(interface: str, routes: str) -> tuple[str, ...]:
    """Destinations over an interface (``*``: over none) in ``/proc/net/route`` (IPv4; addresses as the little-endian numbers that the kernel prints there)."""
    found = []
    for line in routes.splitlines()[1:]:
        words = line.split()
        try:
            if words[0] == interface:
                address, mask = (ipaddress.ip_address(bytes.fromhex(words[column])[::-1]) for column in (1, 7))
                found.append(str(ipaddress.ip_network(f"{address}/{mask}")))
        except (ValueError, IndexError):
            continue
    return tuple(found)


def encapsulation_of(interfaces: t.Collection[str]) -> str:
    """How packets between nodes travel under Cilium; empty where its agent has not yet made an interface."""
    if "cilium_host" not in interfaces:
        return ""
    return next((name for interface, name in CILIUM_TUNNELS.items() if interface in interfaces), "none")


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


def cni_of(text: str) -> tuple[str, tuple[int, ...]]:
    """The network plugin in a CNI configuration (empty: none that is known) and the families that Calico's IPAM assigns (empty: not said)."""
    try:
        document = json.loads(text)
        plugins = document.get("plugins", [document])
        main = next(plugin for plugin in plugins if plugin.get("type") in CNI_PLUGINS)
        ipam = main.get("ipam") or {}
        # Without a word calico-ipam assigns IPv4 only.
        wanted = {4: str(ipam.get("assign_ipv4", "true")), 6: str(ipam.get("assign_ipv6", "false"))}
    except (ValueError, AttributeError, TypeError, StopIteration):
        return "", ()
    families = tuple(family for family, value in wanted.items() if value.lower() == "true")
    return CNI_PLUGINS[main["type"]], families if main["type"] == "calico" else ()


# --- the judge (pure)


def judge(live: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> list[Finding]:
    """Everything that is wanted and cannot be had, with what is and what was asked for.

    :param live: what :func:`observe` returned, also when it has been JSON in between.
    :param wanted: ``{pod_cidrs: [..], service_cidrs: [..], domain, network_plugin, etcd_addresses: [..], block_size: n, endpoint: URL,
        encapsulation}``; what is not given is not judged.
    """
    checks = (
        _judge_networks,
        _judge_domain,
        _judge_plugin,
        _judge_encapsulation,
        _judge_blocks,
        _judge_endpoint,
        _judge_etcd,
    )
    return [finding for check in checks for finding in check(live, wanted)]


def _judge_networks(live: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    for key, what, why in (
        ("pod_cidrs", "pods", "Every pod has an address of it, and every node and router has its routes."),
        (
            "service_cidrs",
            "Services",
            "Every Service has an address of it for life, and the API's certificate names one.",
        ),
    ):
        before, after = _networks(live.get(key) or ()), _networks(wanted.get(key) or ())
        if not before or not after or before == after:
            continue
        old, new = _families(before), _families(after)
        if old != new:
            yield Finding(
                "live_families",
                f"cluster_{key} asks for {_words(new)} ({', '.join(after)})",
                f"a live cluster with {_words(old)} ({', '.join(before)})",
                "The families of a live cluster and their order are in every node, Service and pod.",
                f"Set cluster_{key} back to {list(before)}, or build another cluster beside it.",
            )
        else:
            yield Finding(
                f"live_{key}",
                f"cluster_{key} asks for {', '.join(after)}",
                f"a live cluster with {', '.join(before)}",
                f"The network of {what} cannot change on a live cluster. {why}",
                f"Set cluster_{key} back to {list(before)}, or build another cluster beside it.",
            )
    families = tuple(live.get("pod_families") or ())
    asked = _families(_networks(wanted.get("pod_cidrs") or ()))
    # On a worker there is no manifest, only the CNI configuration.
    if families and asked and not live.get("pod_cidrs") and sorted(families) != sorted(asked):
        yield Finding(
            "live_families",
            f"cluster_pod_cidrs asks for {_words(asked)}",
            f"a live node whose pods get {_words(families)}",
            "The families of a live cluster are in every node, Service and pod.",
            f"Set cluster_pod_cidrs back to {_words(families)}, or build another cluster beside it.",
        )


def _networks(texts: t.Iterable[str]) -> tuple[str, ...]:
    """Networks in one spelling; what is none stays as it is."""
    found = []
    for text in texts:
        try:
            found.append(str(ipaddress.ip_network(str(text), strict=False)))
        except ValueError:
            found.append(str(text))
    return tuple(found)


def _families(networks: t.Iterable[str]) -> tuple[int, ...]:
    return tuple(6 if ":" in network else 4 for network in networks)


def _words(families: t.Iterable[int]) -> str:
    return " then ".join(f"IPv{family}" for family in families)


def _judge_domain(live: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    before, after = str(live.get("domain") or "").rstrip("."), str(wanted.get("domain") or "").rstrip(".")
    if before and after and before != after:
        yield Finding(
            "live_domain",
            f"cluster_domain asks for {after}",
            f"a live cluster with {before}",
            "It is the issuer of every service account's token and in every pod's resolv.conf: all of them would be refused at once.",
            f"Set cluster_domain back to {before}.",
        )


def _judge_plugin(live: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    before, after = str(live.get("network_plugin") or ""), str(wanted.get("network_plugin") or "")
    if before and after and before != after:
        yield Finding(
            "live_network_plugin",
            f"cluster_network_plugin asks for {after}",
            f"a live node with {before}",
            "Two plugins would share the nodes' routes and rules, and pods of the old one lose their network.",
            f"Set cluster_network_plugin back to {before}, or build another cluster beside it.",
        )


def _judge_encapsulation(live: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    before, after = str(live.get("encapsulation") or ""), str(wanted.get("encapsulation") or "")
    if before and after and before != after:
        yield Finding(
            "live_encapsulation",
            f"cluster_encapsulation asks for {after}",
            f"a live node under Cilium with {before}",
            "Cilium's agents change one after the other, and a node of one kind drops what a node of the other kind sends: pods of different nodes "
            "would be cut off from each other until the last one has changed.",
            f"Set cluster_encapsulation back to {before}; or waive this finding in a window in which pods may be cut off.",
        )


def _judge_blocks(live: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    size, after = wanted.get("block_size") or 0, _networks(wanted.get("pod_cidrs") or ())
    pools = [ipaddress.IPv4Network(text) for text in after if ":" not in text and "/" in text]
    blocks = [ipaddress.IPv4Network(text) for text in live.get("blocks") or ()]
    sizes = {block.prefixlen for block in blocks if any(block.subnet_of(pool) for pool in pools)}
    # A block is larger than one address: those belong to a pod that moved.
    sizes.discard(32)
    before = ", ".join(f"/{found}" for found in sorted(sizes))
    if size and sizes and int(size) not in sizes and live.get("network_plugin") == "cilium":
        yield Finding(
            "live_block_size",
            f"nodes are to have ranges of /{size}, as the densest node's cluster_pods_per_node says",
            f"a live node with a range of {before}",
            "A node has its range for life: its pods and the routers' routes are of it.",
            f"Set cluster_pods_per_node back to what fits into {before}, or build another cluster beside it.",
        )
    elif size and sizes and int(size) not in sizes:
        yield Finding(
            "live_block_size",
            f"Calico's blocks are to be /{size}, as cluster_calico_block_size or the densest node's cluster_pods_per_node says",
            f"a live node with blocks of {before}",
            "A pool that is in use cannot be cut anew: its blocks have pods.",
            f"Set cluster_calico_block_size to {min(sizes)}: the nodes take more blocks each; or build another cluster beside it.",
        )


def _judge_endpoint(live: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    before, after = str(live.get("endpoint") or ""), endpoint_of(str(wanted.get("endpoint") or ""))
    if not before or not after:
        return
    what = f"cluster_api_endpoint_mode, _address and _port make the API's address {after}"
    mode = str(wanted.get("endpoint_mode") or "")
    to = _endpoint_move.Endpoint(mode, *_endpoint_move.split(after))
    seen = _endpoint_move.Seen.of({"standing": live.get("standing") or {}})
    if wanted.get("endpoint_moves"):
        # What is only asked here may be provided on other machines: all of them together are looked at later.
        for why, fix in _endpoint_move.refusals(_endpoint_move.endpoints_of({"": seen}, to), to):
            yield Finding(
                "live_api_endpoint", what, f"a live cluster with {before}", f"{why}.", f"{fix[0].upper()}{fix[1:]}."
            )
        return
    moved_by = f"{_endpoint_move.PLAYBOOK} moves it with service kept"
    rest = _endpoint_move.left_over(seen.standing, to, bool(wanted.get("control_plane"))) if mode else []
    if before != after:
        host = before.rpartition(":")[0].strip("[]")
        yield Finding(
            "live_api_endpoint",
            what,
            f"a live cluster with {before}",
            "It is in every node's kubeconfig, in the API's certificates and in ConfigMaps: what answers at the old one would go, and every node with it.",
            f"{moved_by}; or set them back, to the mode that answers at {host} port {before.rpartition(':')[2]}.",
        )
    elif rest:
        yield Finding(
            "live_api_endpoint",
            what,
            f"beside it {', '.join(rest)}, of another endpoint",
            "A move of the API's address has not ended: some of its clients may still ask at the other endpoint.",
            f"Run {_endpoint_move.PLAYBOOK} again, which ends it; or with the former values, which takes it back.",
        )


def _judge_etcd(live: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    after = [_kubeadm.plain_name(str(address)) for address in wanted.get("etcd_addresses") or ()]
    before = [_kubeadm.plain_name(str(address)) for address in live.get("etcd_servers") or ()]
    if not after or not before:
        return
    if live.get("stacked_etcd"):
        yield Finding(
            "live_etcd",
            f"etcd runs as a service on {', '.join(after)}",
            "a live cluster whose etcd is a static pod of kubeadm's",
            "The new members would be another, empty etcd.",
            "Build another cluster beside it, or move the members by hand first.",
        )
    elif not set(before) & set(after):
        yield Finding(
            "live_etcd",
            f"the group etcd has the members {', '.join(sorted(after))}",
            f"a live cluster with {', '.join(sorted(before))}",
            "None of them is a member that lives: the cluster's state is elsewhere. Members are replaced one at a time.",
            "Put the live members back into the group etcd, and exchange one of them in each run.",
        )
