# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes' firewall: which ports a host opens to whom, as data, and the nftables table that says so. Pure.

A packet is let in when it answers something, comes over the loopback, or a line of :data:`PORTS` (or of the inventory's own rules) names its port and
its sender. What a cluster does not use is not opened: each line names the feature that it belongs to.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import node_local_dns

TABLE = "bare_metal_firewall"
FAMILY = "inet"

# Who a host is. "node" is a control plane or a worker, "any" each host of the cluster.
ROLES = ("control_plane", "etcd", "node", "any")
# Who a sender may be: the names of the sets.
SENDERS: Mapping[str, str] = {
    "admins": "cluster_firewall_admin_cidrs: the controller and people",
    "api_clients": "cluster_firewall_api_cidrs, and the endpoint's own address when it is external",
    "scrapers": "cluster_firewall_scraper_cidrs: monitoring outside the cluster",
    "control_plane": "addresses of the control planes",
    "etcd": "addresses of the etcd members",
    "nodes": "addresses of control planes and workers",
    "members": "addresses of all hosts of the cluster",
    "pods": "cluster_pod_cidrs: a pod that asks its own node, or a node without masquerading, comes with its own address",
    "bgp_peers": "whom this node has BGP sessions with: its routers, its route reflectors or the nodes that it reflects for, or all nodes of a mesh",
    "routers": "this host's cluster_bgp_peers",
    "api_routers": "this control plane's cluster_api_endpoint_bgp_peers",
    "anybody": "every address",
}
PROTOCOLS = ("tcp", "udp", "sctp")


@dataclass(frozen=True)
class Port:
    """One line of the table: on hosts of ``role``, ``ports`` of ``protocol`` (``tcp``, ``udp``, ``tcp+udp``, or ``vrrp``, which has no ports) are open to
    ``senders`` when the cluster has ``feature`` (empty: always). ``{name}`` in a port is a value of :class:`Cluster`.
    """

    name: str
    role: str
    protocol: str
    ports: tuple[str, ...]
    senders: tuple[str, ...]
    feature: str
    why: str


API_ENDPOINT_PORT = "{api_endpoint_port}"
PROXIED_ELSEWHERE = ("local", "external", "bgp_anycast")
PORTS: tuple[Port, ...] = (
    Port("ssh", "any", "tcp", ("{ssh_port}",), ("admins",), "", "the controller and people"),
    Port(
        "api",
        "control_plane",
        "tcp",
        ("6443",),
        ("nodes", "pods", "admins", "api_clients", "scrapers"),
        "",
        "kube-apiserver: kubelets and HAProxy of every node, pods through the Service kubernetes, people; its metrics",
    ),
    Port(
        "api endpoint",
        "control_plane",
        "tcp",
        (API_ENDPOINT_PORT,),
        ("nodes", "pods", "admins", "api_clients"),
        "api_endpoint",
        "the address that moves between the control planes (cluster_api_endpoint_mode: keepalived)",
    ),
    Port("vrrp", "control_plane", "vrrp", (), ("control_plane",), "keepalived", "keepalived's advertisements"),
    Port(
        "etcd client",
        "etcd",
        "tcp",
        ("2379",),
        ("control_plane", "etcd"),
        "",
        "API servers, and members that ask others",
    ),
    Port("etcd peer", "etcd", "tcp", ("2380",), ("etcd",), "", "Raft between the members"),
    Port(
        "events etcd client",
        "etcd",
        "tcp",
        ("2382",),
        ("control_plane", "etcd"),
        "etcd_events",
        "the same for the etcd of the events (cluster_etcd_events)",
    ),
    Port("events etcd peer", "etcd", "tcp", ("2383",), ("etcd",), "etcd_events", "Raft between its members"),
    Port(
        "kubelet",
        "node",
        "tcp",
        ("10250",),
        ("nodes", "pods", "scrapers"),
        "",
        "API servers (logs, exec, metrics); metrics-server and monitoring in pods, which come as a pod or, masqueraded, as a node",
    ),
    Port("kube-proxy health", "node", "tcp", ("10256",), ("scrapers",), "kube_proxy", "/healthz for monitoring"),
    Port("bgp", "node", "tcp", ("179",), ("bgp_peers",), "calico_bgp", "either side may open the session with BIRD"),
    Port("vxlan", "node", "udp", ("4789",), ("nodes",), "calico_vxlan", "pods' packets between nodes (Calico)"),
    Port("cilium vxlan", "node", "udp", ("8472",), ("nodes",), "cilium_vxlan", "pods' packets between nodes (Cilium)"),
    Port("geneve", "node", "udp", ("6081",), ("nodes",), "cilium_geneve", "pods' packets between nodes (Cilium)"),
    Port(
        "wireguard", "node", "udp", ("51820", "51821"), ("nodes",), "calico_wireguard", "IPv4 and IPv6 tunnels (Calico)"
    ),
    Port("cilium wireguard", "node", "udp", ("51871",), ("nodes",), "cilium_wireguard", "the tunnel of Cilium"),
    Port(
        "typha",
        "node",
        "tcp",
        ("5473",),
        ("nodes",),
        "typha",
        "felix of every node asks Typha, which runs on the host network",
    ),
    Port("cilium health", "node", "tcp", ("4240",), ("nodes",), "cilium", "agents probe each other"),
    Port(
        "memberlist", "node", "tcp+udp", ("7946",), ("nodes",), "metallb_speaker", "MetalLB's speakers find dead ones"
    ),
    Port(
        "speaker metrics",
        "node",
        "tcp",
        ("7472",),
        ("scrapers",),
        "metallb_speaker",
        "MetalLB's speakers for monitoring",
    ),
    Port(
        "bfd",
        "node",
        "udp",
        ("3784", "3785", "4784"),
        ("routers",),
        "metallb_bfd",
        "RFC 5881, echo, RFC 5883 (multihop)",
    ),
    Port(
        "api bfd",
        "control_plane",
        "udp",
        ("3784", "4784"),
        ("api_routers",),
        "api_bfd",
        "RFC 5881, RFC 5883: the announcing session (cluster_api_endpoint_mode: bgp_anycast), which the control plane opens",
    ),
    Port(
        "node-local dns",
        "node",
        "tcp+udp",
        ("53",),
        ("pods",),
        "node_local_dns",
        "pods ask the DNS cache of their node, at a link-local address",
    ),
    Port(
        "node-local dns metrics",
        "node",
        "tcp",
        ("9253",),
        ("nodes", "pods", "scrapers"),
        "node_local_dns",
        "the DNS cache's metrics for monitoring, in pods or outside",
    ),
    Port(
        "registry",
        "any",
        "tcp",
        ("{registry_port}",),
        ("members", "admins"),
        "registry",
        "the bundle's registry, where a host of the group bundle_server is one of the cluster",
    ),
)

# Listeners that stay closed to everybody but the host itself, with the reason.
LOCAL_ONLY: Mapping[str, str] = {
    "2381": "etcd's metrics, plain HTTP on 127.0.0.1",
    "2384": "those of the events' etcd, the same",
    "9099": "felix's health, on 127.0.0.1",
    "10248": "the kubelet's health, on 127.0.0.1",
    "10249": "kube-proxy's metrics, on 127.0.0.1",
    "10257": "kube-controller-manager, on 127.0.0.1",
    "10259": "kube-scheduler, on 127.0.0.1",
    "7443": "HAProxy in front of the API (cluster_api_endpoint_mode: local), on 127.0.0.1",
}

# RFC 4890: without these an IPv6 host has no neighbours and no path MTU; the IPv4 ones are their likes.
ICMP = ("destination-unreachable", "echo-request", "time-exceeded", "parameter-problem")
ICMPV6 = (
    *("destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem", "echo-request"),
    *("mld-listener-query", "mld-listener-report", "mld-listener-done", "mld2-listener-report"),
    *("nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert"),
)
NODE_PORT_RANGE = "30000-32767"
IN_ALL = "anybody"


class FirewallError(Exception):
    """The table cannot be made of these values; the message says which and why."""


@dataclass(frozen=True)
class Rule:
    """A rule of the inventory (``cluster_firewall_rules``). Empty ``senders``: everybody. ``senders`` are networks or names of :data:`SENDERS`,
    ``groups`` the groups whose hosts get it (empty: all).
    """

    name: str
    action: str
    protocol: str
    ports: tuple[str, ...]
    senders: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """What the table of one host follows from.

    ``host_groups``: the inventory's groups of this host. ``senders``: addresses and networks by the names of :data:`SENDERS`.
    ``features``: see :func:`features`. ``node_ports``: networks from which node ports are reached, besides nodes and pods.
    """

    host_groups: frozenset[str]
    senders: Mapping[str, Sequence[str]]
    features: frozenset[str] = frozenset()
    ssh_port: int = 22
    api_endpoint_port: int = 6443
    more_api_endpoint_ports: Sequence[int] = ()
    registry_port: int = 5000
    node_ports: Sequence[str] = ()
    node_port_range: str = NODE_PORT_RANGE
    rules: Sequence[Rule] = ()
    log_drops: bool = False


def api_endpoints(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The API's endpoints, ``mode``, ``address`` and ``port`` of each: the wanted one, and while it moves those beside it."""
    wanted = {key: values.get(f"api_endpoint_{key}") for key in ("mode", "address", "port")}
    return [wanted, *(values.get("api_endpoint_also") or ())]


def features(values: Mapping[str, Any]) -> frozenset[str]:
    """The features of a cluster that open ports, from its variables (by their names without ``cluster_``)."""
    plugin, encapsulation = str(values.get("network_plugin", "")), str(values.get("encapsulation") or "none")
    balancer = str(values.get("load_balancer_mode", ""))
    wireguard = bool(values.get("wireguard"))
    modes = {str(one.get("mode")) for one in api_endpoints(values)}
    found = {
        "calico_bgp": plugin == "calico" and bool(values.get("bgp_sessions")),
        "calico_vxlan": plugin == "calico" and encapsulation.startswith("vxlan"),
        "calico_wireguard": plugin == "calico" and wireguard,
        "typha": plugin == "calico" and int(values.get("typha_replicas") or 0) > 0,
        "cilium": plugin == "cilium",
        "cilium_vxlan": plugin == "cilium" and encapsulation.startswith("vxlan"),
        "cilium_geneve": plugin == "cilium" and encapsulation == "geneve",
        "cilium_wireguard": plugin == "cilium" and wireguard,
        "kube_proxy": values.get("kube_proxy_mode") != "none",
        "keepalived": "keepalived" in modes,
        # In mode local HAProxy listens on the loopback, an external balancer has its own machine, and an announced address is answered by the API itself.
        "api_endpoint": bool(modes - set(PROXIED_ELSEWHERE)),
        "api_bfd": "bgp_anycast" in modes and bool(values.get("api_endpoint_bfd")),
        "metallb_speaker": balancer.startswith("metallb_"),
        # Only FRR has BFD, MetalLB's native speaker refuses it.
        "metallb_bfd": balancer == "metallb_bgp" and bool(values.get("load_balancer_bfd")),
        "registry": bool(values.get("registry_here")),
        "node_local_dns": bool(values.get("node_local_dns_here")),
        "etcd_events": bool(values.get("etcd_events")),
    }
    return frozenset(name for name, present in found.items() if present)


def collapse(networks: Iterable[str], version: int) -> list[str]:
    """Addresses and networks of one family without what others contain, in the order of the numbers; a single address is written without length."""
    parsed = [ipaddress.ip_network(text, strict=False) for text in networks]
    merged = ipaddress.collapse_addresses(network for network in parsed if network.version == version)  # type: ignore[type-var]
    return [str(n.network_address) if n.prefixlen == n.max_prefixlen else str(n) for n in merged]


def roles_of(groups: frozenset[str]) -> frozenset[str]:
    """Which of :data:`ROLES` a host has, by its groups."""
    roles = {"any"} | (groups & {"control_plane", "etcd"})
    return frozenset(roles | ({"node"} if groups & {"control_plane", "workers"} else set()))


def opened(cluster: Cluster) -> list[Port]:
    """The lines of :data:`PORTS` that this host opens, with the numbers filled in."""
    numbers = {name: getattr(cluster, name) for name in ("ssh_port", "api_endpoint_port", "registry_port")}
    roles = roles_of(cluster.host_groups)
    return [
        Port(
            line.name,
            line.role,
            line.protocol,
            tuple(text for port in line.ports for text in _numbered(port, numbers, cluster.more_api_endpoint_ports)),
            line.senders,
            line.feature,
            line.why,
        )
        for line in PORTS
        if line.role in roles and (not line.feature or line.feature in cluster.features)
    ]


def _numbered(port: str, numbers: Mapping[str, int], more: Iterable[int]) -> list[str]:
    """A port of the table as numbers; while the API's address moves there may be several of its."""
    return [port.format(**numbers), *(map(str, more) if port == API_ENDPOINT_PORT else ())]


def own_rules(cluster: Cluster, action: str) -> list[Rule]:
    """The inventory's rules for this host with one action."""
    return [
        rule
        for rule in cluster.rules
        if rule.action == action and (not rule.groups or cluster.host_groups & set(rule.groups))
    ]


def is_network(text: str) -> bool:
    """Is it an address or a network, and no name of a set?"""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


# --- the table in nftables' words


def _set_name(sender: str, version: int) -> str:
    return f"{sender}_ipv{version}"


def _match_ports(protocol: str, ports: Sequence[str]) -> str:
    if protocol == "vrrp":
        return "meta l4proto 112"
    listed = "{ " + ", ".join(sorted(ports, key=lambda port: int(port.partition("-")[0]))) + " }"
    if "+" in protocol:
        return "meta l4proto { " + protocol.replace("+", ", ") + " } th dport " + listed
    return f"{protocol} dport {listed}"


@dataclass
class _Text:
    """The table as it is written: which sets are needed is known when the rules are."""

    cluster: Cluster
    sets: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def senders(self, sender: str) -> Iterator[str]:
        """The beginnings of the rules for one sender, one a family that it has addresses of."""
        if sender == IN_ALL:
            yield ""
            return
        networks = [sender] if is_network(sender) else list(self.cluster.senders.get(sender, ()))
        for version, word in ((4, "ip"), (6, "ip6")):
            members = collapse(networks, version)
            if members and is_network(sender):
                yield f"{word} saddr {members[0]} "
            elif members:
                self.sets[_set_name(sender, version)] = (version, members)
                yield f"{word} saddr @{_set_name(sender, version)} "

    def rules(self, name: str, match: str, senders: Iterable[str], verdict: str) -> list[str]:
        return [f'{begin}{match} {verdict} comment "{name}"' for sender in senders for begin in self.senders(sender)]

    def declared(self) -> list[str]:
        lines = []
        for name, (version, members) in sorted(self.sets.items()):
            lines += [
                f"\tset {name} {{",
                f"\t\ttype ipv{version}_addr",
                "\t\tflags interval",
                "\t\telements = { " + ", ".join(members) + " }",
                "\t}",
            ]
        return lines


def _input_rules(text: _Text) -> list[str]:
    cluster = text.cluster
    lines = [
        'iifname "lo" accept',
        "ct state established,related accept",
        # kube-proxy's iptables mode sets route_localnet: 127.0.0.0/8 is this host's alone (CVE-2020-8558).
        'ip daddr 127.0.0.0/8 drop comment "loopback from outside"',
    ]
    for rule in own_rules(cluster, "drop"):
        lines += text.rules(rule.name, _match_ports(rule.protocol, rule.ports), rule.senders or (IN_ALL,), "drop")
    lines += [
        "icmp type { " + ", ".join(ICMP) + " } accept",
        "icmpv6 type { " + ", ".join(ICMPV6) + " } accept",
        'udp sport 67 udp dport 68 accept comment "dhcp"',
        'ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept comment "dhcpv6"',
    ]
    for port in opened(cluster):
        lines += text.rules(port.name, _match_ports(port.protocol, port.ports), port.senders, "accept")
    if "node" in roles_of(cluster.host_groups):
        # Who may is the affair of the chain node_ports; what comes this far is for a listener of the host itself (health checks of Services).
        lines.append(
            f'meta l4proto {{ tcp, udp, sctp }} th dport {cluster.node_port_range} accept comment "node ports"'
        )
    if "node" in roles_of(cluster.host_groups) and "node_local_dns" not in cluster.features:
        # Pods that were started while the node had a DNS cache still ask it first: a refusal sends them on at once, silence after five seconds.
        lines.append(
            f'ip daddr {node_local_dns.ADDRESS} meta l4proto {{ tcp, udp }} th dport 53 reject comment "no dns cache"'
        )
    for rule in own_rules(cluster, "accept"):
        lines += text.rules(rule.name, _match_ports(rule.protocol, rule.ports), rule.senders or (IN_ALL,), "accept")
    if cluster.log_drops:
        lines.append('limit rate 5/second burst 20 packets log prefix "bare-metal-firewall: "')
    return [*lines, 'counter comment "dropped"']


def _node_port_rules(text: _Text) -> list[str]:
    """Node ports are rewritten before the input hook sees them, to a pod perhaps: who may use them is asked before that."""
    lines = ['iifname "lo" accept']
    for sender in ("nodes", "pods", *text.cluster.node_ports):
        lines += [f"{begin}accept" for begin in text.senders(sender)]
    return [*lines, 'counter drop comment "dropped"']


def render(cluster: Cluster) -> str:
    """The file that ``nft -f`` loads: the whole table, in one transaction, whatever was there before. No other table is named.

    :raises FirewallError: when nobody could log in to the host any more.
    """
    if not cluster.senders.get("admins"):
        raise FirewallError("cluster_firewall_admin_cidrs is empty: nobody could log in to the hosts any more")
    text = _Text(cluster)
    incoming = _input_rules(text)
    chains = [
        "\tchain input {",
        "\t\ttype filter hook input priority filter; policy drop;",
        *(f"\t\t{line}" for line in incoming),
        "\t}",
    ]
    if "node" in roles_of(cluster.host_groups):
        node_ports = _node_port_rules(text)
        chains += [
            "\tchain node_ports {",
            *(f"\t\t{line}" for line in node_ports),
            "\t}",
            "\tchain prerouting {",
            "\t\ttype filter hook prerouting priority mangle; policy accept;",
            "\t\tct state new fib daddr type local meta l4proto { tcp, udp, sctp } "
            f"th dport {cluster.node_port_range} jump node_ports",
            "\t}",
        ]
    head = [
        "# Written by bare_metal.kubernetes (role node_firewall). The ports: docs/firewall.md of the collection.",
        f"table {FAMILY} {TABLE}",
        f"delete table {FAMILY} {TABLE}",
        f"table {FAMILY} {TABLE} {{",
    ]
    return "\n".join([*head, *text.declared(), *chains, "}"]) + "\n"


# --- from an inventory


def from_inventory(
    values: Mapping[str, Any],
    host: str,
    groups: Mapping[str, Sequence[str]],
    node_addresses: Mapping[str, Sequence[str]],
) -> Cluster:
    """The cluster as one of its hosts sees it.

    :param values: the host's variables, by their names without ``cluster_`` (``firewall_admin_cidrs``, ``network_plugin``, ...), ``ssh_port``,
        ``bgp_sessions`` (addresses), ``typha_replicas``, ``node_port_range``, ``node_local_dns_here``.
    :param groups: the inventory's groups with all their hosts.
    :param node_addresses: addresses by host, one of each family, of all hosts of the cluster.
    """

    def addresses(*names: str) -> list[str]:
        return [
            address
            for group in names
            for name in sorted(groups.get(group, ()))
            for address in node_addresses.get(name, ())
        ]

    endpoints = api_endpoints(values)
    outside = [str(one.get("address") or "") for one in endpoints if one.get("mode") == "external"]
    balancer = [address for address in outside if is_network(address)]
    ports = [int(one.get("port") or 6443) for one in endpoints if one.get("mode") not in PROXIED_ELSEWHERE]
    registry = str(values.get("bundle_registry") or "")
    here = bool(registry) and host in groups.get("bundle_server", ())
    port = registry.rpartition(":")[2].strip("/")
    return Cluster(
        host_groups=frozenset(name for name, hosts in groups.items() if host in hosts),
        senders={
            "admins": [str(text) for text in values.get("firewall_admin_cidrs") or ()],
            "api_clients": [*map(str, values.get("firewall_api_cidrs") or ()), *balancer],
            "scrapers": [str(text) for text in values.get("firewall_scraper_cidrs") or ()],
            "control_plane": addresses("control_plane"),
            "etcd": addresses("etcd"),
            "nodes": addresses("control_plane", "workers"),
            "members": addresses("control_plane", "workers", "etcd"),
            "pods": [str(text) for text in values.get("pod_cidrs") or ()],
            "bgp_peers": [str(text) for text in values.get("bgp_sessions") or ()],
            "routers": [str(peer["address"]) for peer in values.get("bgp_peers") or ()],
            "api_routers": [str(peer["address"]) for peer in values.get("api_endpoint_bgp_peers") or ()],
        },
        features=features({**values, "registry_here": here}),
        ssh_port=int(values.get("ssh_port") or 22),
        api_endpoint_port=ports[0] if ports else int(values.get("api_endpoint_port") or 6443),
        more_api_endpoint_ports=tuple(sorted(set(ports[1:]) - set(ports[:1]))),
        registry_port=int(port) if port.isdigit() else 5000,
        node_ports=[str(text) for text in values.get("firewall_node_port_cidrs") or ()],
        node_port_range=str(values.get("node_port_range") or NODE_PORT_RANGE),
        rules=[rule_of(entry) for entry in values.get("firewall_rules") or ()],
        log_drops=bool(values.get("firewall_log_drops")),
    )


def rule_of(entry: Mapping[str, Any]) -> Rule:
    """One entry of ``cluster_firewall_rules``."""
    return Rule(
        str(entry["name"]),
        str(entry.get("action") or "accept"),
        str(entry.get("protocol") or "tcp"),
        tuple(str(port) for port in entry["ports"]),
        tuple(str(sender) for sender in entry.get("sources") or ()),
        tuple(str(group) for group in entry.get("groups") or ()),
    )
