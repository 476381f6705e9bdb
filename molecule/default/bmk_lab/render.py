# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The text files that a lab machine finds in /lab at boot. Pure: topology in, text out."""

from __future__ import annotations

from bmk_lab.model import Host, Topology

# Seconds. The `datacenter` profile of FRR has 3 and 9; stated, because `verify` and the HA tests wait for them.
BGP_KEEPALIVE, BGP_HOLD, BGP_CONNECT = 3, 9, 5
# FRR's own limit of dynamic neighbours is 100 (`bgp listen limit`).
BGP_LISTEN_LIMIT = 1000


def hosts_file(host: Host) -> str:
    return f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{host.address} {host.name}\n"


def resolv_conf(host: Host, topology: Topology) -> str:
    """The rack's router, where nothing listens: a name that is not the cluster's fails at once instead of hanging."""
    servers = topology.gateways(host) or (host.address,)
    return "".join(f"nameserver {server}\n" for server in servers[:3])


def routes(host: Host, topology: Topology) -> str:
    """A batch for `ip`: the default route, over all routers of the first segment. Routers have none: BGP tells them all there is."""
    gateways = () if host.router else topology.gateways(host)
    if not gateways:
        return ""
    hops = "".join(f" nexthop via {gateway}" for gateway in gateways) if len(gateways) > 1 else f" via {gateways[0]}"
    return f"route replace default{hops}\n"


def sysctl_conf(host: Host) -> str:
    """Network parameters only: those belong to the machine, `fs.*` and `kernel.*` to all of them and the host."""
    # Loose, because a packet may come back over the other router. fib_multipath: hash over ports, skip a dead next hop.
    lines = [
        "net.ipv4.conf.all.rp_filter = 2",
        "net.ipv4.fib_multipath_use_neigh = 1",
        "net.ipv4.fib_multipath_hash_policy = 1",
    ]
    if host.router:
        lines.append("net.ipv4.ip_forward = 1")
    return "\n".join(lines) + "\n"


def frr_conf(router: Host, topology: Topology) -> str:
    """A ToR: eBGP with its rack's nodes (dynamic, any AS but its own) and with every other router over every shared segment.

    Nodes may announce anything but the fabric itself and a default route; they are given other nodes' prefixes, not the fabric, to which
    their default route leads. `as-override` lets nodes with one AS number (a rack's, or the cluster's) accept each other's prefixes.
    """
    fabric = [
        f"ip prefix-list FABRIC seq {5 * (i + 1)} permit {s.subnet} le 32" for i, s in enumerate(topology.segments)
    ]
    peers = topology.peers(router)
    neighbours = [
        line
        for other, leg in peers
        for line in (
            f" neighbor {leg.address} remote-as {other.as_number}",
            f" neighbor {leg.address} description {other.name} over {leg.segment.name}",
            f" neighbor {leg.address} timers {BGP_KEEPALIVE} {BGP_HOLD}",
            f" neighbor {leg.address} timers connect {BGP_CONNECT}",
        )
    ]
    activations = [f"  neighbor {leg.address} activate" for _router, leg in peers]
    return "\n".join(
        [
            "frr defaults datacenter",
            f"hostname {router.name}",
            "log syslog informational",
            "service integrated-vtysh-config",
            "!",
            *fabric,
            "ip prefix-list DEFAULT seq 5 permit 0.0.0.0/0",
            "!",
            "route-map CONNECTED permit 10",
            " match ip address prefix-list FABRIC",
            "exit",
            "!",
            "route-map FROM-NODES deny 10",
            " match ip address prefix-list FABRIC",
            "exit",
            "!",
            "route-map FROM-NODES deny 20",
            " match ip address prefix-list DEFAULT",
            "exit",
            "!",
            "route-map FROM-NODES permit 30",
            "exit",
            "!",
            "route-map TO-NODES deny 10",
            " match ip address prefix-list FABRIC",
            "exit",
            "!",
            "route-map TO-NODES permit 20",
            "exit",
            "!",
            f"router bgp {router.as_number}",
            f" bgp router-id {router.address}",
            " no bgp ebgp-requires-policy",
            " no bgp default ipv4-unicast",
            " bgp bestpath as-path multipath-relax",
            " bgp graceful-restart",
            " neighbor nodes peer-group",
            " neighbor nodes remote-as external",
            f" neighbor nodes timers {BGP_KEEPALIVE} {BGP_HOLD}",
            *neighbours,
            f" bgp listen limit {BGP_LISTEN_LIMIT}",
            f" bgp listen range {router.legs[0].segment.subnet} peer-group nodes",
            " !",
            " address-family ipv4 unicast",
            "  redistribute connected route-map CONNECTED",
            "  neighbor nodes activate",
            "  neighbor nodes as-override",
            "  neighbor nodes route-map FROM-NODES in",
            "  neighbor nodes route-map TO-NODES out",
            *activations,
            "  maximum-paths 64",
            " exit-address-family",
            "exit",
            "!",
            "",
        ]
    )


def host_files(host: Host, topology: Topology) -> dict[str, str]:
    """`{file name in /lab: text}`, keys and the boot script apart."""
    files = {
        "hostname": f"{host.name}\n",
        "hosts": hosts_file(host),
        "resolv.conf": resolv_conf(host, topology),
        "routes": routes(host, topology),
        "sysctl.conf": sysctl_conf(host),
    }
    if host.router:
        files["frr.conf"] = frr_conf(host, topology)
    return files


def known_hosts(topology: Topology, public_keys: dict[str, str]) -> str:
    """:param public_keys: `{host name: "ssh-ed25519 AAAA..."}`."""
    return "".join(f"{host.address} {public_keys[host.name]}\n" for host in topology.hosts)
