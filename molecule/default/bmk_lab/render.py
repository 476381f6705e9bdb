# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The text files that a lab machine finds in /lab at boot. Pure: topology in, text out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from bmk_lab.model import Host, Topology


def hosts_file(host: Host) -> str:
    second = f"{host.legs[0].address6} {host.name}\n" if host.legs[0].address6 else ""
    return f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{host.address} {host.name}\n{second}"


def resolv_conf(host: Host, topology: Topology) -> str:
    """The rack's router, where nothing listens: a name that is not the cluster's fails at once instead of hanging."""
    servers = topology.gateways(host) or (host.address,)
    return "".join(f"nameserver {server}\n" for server in servers[:3])


def routes(host: Host, topology: Topology) -> str:
    """A batch for `ip`: the default routes, over all routers of the first segment. Routers have none: BGP tells them all there is."""
    if host.router:
        return ""
    return _default("default", topology.gateways(host)) + _default("::/0", topology.gateways6(host))


def _default(target: str, gateways: Sequence[object]) -> str:
    if not gateways:
        return ""
    hops = "".join(f" nexthop via {gateway}" for gateway in gateways) if len(gateways) > 1 else f" via {gateways[0]}"
    return f"route replace {target}{hops}\n"


def sysctl_conf(host: Host) -> str:
    """Network parameters only: those belong to the machine, `fs.*` and `kernel.*` to all of them and the host."""
    # Loose, because a packet may come back over the other router. fib_multipath: hash over ports, skip a dead next hop.
    lines = ["net.ipv4.conf.all.rp_filter = 2", "net.ipv4.fib_multipath_use_neigh = 1"]
    families = [4, 6] if host.legs[0].address6 is not None else [4]
    if host.router:
        # All share one kernel. A packet keeps the hash that its sender's socket gave it, and policy 1 believes it: the second router on a way would
        # choose as the first one did, and some next hops would never be taken. Policy 3 (Linux 5.14) computes it anew, of addresses (1, 2), protocol (4)
        # and ports (16, 32), with the router's own seed (6.11; an older kernel's boot script leaves it out).
        lines += [f"net.ipv{family}.fib_multipath_hash_fields = {1 + 2 + 4 + 16 + 32}" for family in families]
        lines.append(f"net.ipv4.fib_multipath_hash_seed = {zlib.crc32(host.name.encode()) or 1}")
        lines.append("net.ipv4.ip_forward = 1")
        lines += ["net.ipv6.conf.all.forwarding = 1"] if len(families) > 1 else []
    policy = 3 if host.router else 1
    lines += [f"net.ipv{family}.fib_multipath_hash_policy = {policy}" for family in families]
    return "\n".join(lines) + "\n"


def host_files(host: Host, topology: Topology) -> dict[str, str]:
    """`{file name in /lab: text}`, keys and the boot script apart. A router's FRR configuration comes with the topology, as `tor_config` makes it."""
    files = {
        "hostname": f"{host.name}\n",
        "hosts": hosts_file(host),
        "resolv.conf": resolv_conf(host, topology),
        "routes": routes(host, topology),
        "sysctl.conf": sysctl_conf(host),
    }
    if host.router:
        files["frr.conf"] = host.frr_conf
    return files


def known_hosts(topology: Topology, public_keys: dict[str, str]) -> str:
    """:param public_keys: `{host name: "ssh-ed25519 AAAA..."}`."""
    return "".join(f"{host.address} {public_keys[host.name]}\n" for host in topology.hosts)
