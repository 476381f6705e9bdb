# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of a machine: what ``_machine`` observed against what is required of it. Pure. docs/preflight.md explains every check."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import (
    _disk_result,
    _link_types,
    _live_cluster,
    _live_load_balancer,
    _ssh_client,
)

Machine = dict[str, t.Any]

ERROR, WARNING = "error", "warning"
HOST_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$")
# What resolv.conf(5) and the kubelet read at most.
MOST_NAMESERVERS = 3


@dataclass(frozen=True)
class Problem:
    """One reason why a machine does not fit, or (``level`` ``warning``) why it will hurt. ``check`` is the name by which it can be waived."""

    check: str
    what: str
    found: str
    why: str
    fix: str
    level: str = ERROR

    def text(self) -> str:
        return f"{self.check}: {self.what}; found {self.found}. {self.why} {self.fix}"


def version_tuple(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, so that ``6.1.0-28-amd64`` is (6, 1, 0)."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(number) for number in match.group().split(".")) if match else ()


def judge(machine: Machine, requirements: t.Mapping[str, t.Any]) -> list[Problem]:
    """Compare a machine with what is required of it. A requirement that is not given is not checked."""
    checks = (
        _judge_size,
        _judge_system,
        _judge_time,
        _judge_addresses,
        _judge_announced,
        _judge_link_types,
        _judge_names,
        _judge_endpoints,
        _judge_disks,
        _judge_qualification,
        _judge_ports,
        _judge_swap,
        _judge_neighbours,
        _judge_way_in,
        _judge_state,
        _judge_live_cluster,
        _judge_layer_2,
    )
    return [problem for check in checks for problem in check(machine, requirements)]


def _judge_size(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    if machine["cpus"] < need.get("min_cpus", 0):
        yield Problem(
            "cpus",
            f"at least {need['min_cpus']} CPUs are needed",
            str(machine["cpus"]),
            "kubeadm refuses smaller control planes, and etcd misses heartbeats on them.",
            "Use a larger machine.",
        )
    if machine["memory_mib"] < need.get("min_memory_mib", 0):
        yield Problem(
            "memory",
            f"at least {need['min_memory_mib']} MiB of memory are needed",
            f"{machine['memory_mib']} MiB",
            "The components of this host and their reservations do not fit.",
            "Use a larger machine, or lower cluster_pods_per_node.",
        )


def _judge_system(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    release = machine["os"]
    supported = need.get("supported_os")
    if supported is not None and not any(
        _same_release(release["version_id"], version) for version in supported.get(release["id"], ())
    ):
        names = "; ".join(f"{name} {', '.join(versions)}" for name, versions in sorted(supported.items()))
        yield Problem(
            "supported_os",
            f"one of these systems is needed: {names}",
            release["pretty_name"] or release["id"] or "an unknown system",
            "Nothing else is tested.",
            "Install one of them, or waive this check with a reason.",
        )
    if need.get("min_kernel") and version_tuple(machine["kernel"]) < version_tuple(need["min_kernel"]):
        yield Problem(
            "kernel",
            f"a kernel of at least {need['min_kernel']} is needed",
            machine["kernel"] or "an unknown one",
            "kube-proxy's nftables mode and the network plugin do not work with older ones.",
            "Install a newer kernel and boot it.",
        )
    if need.get("architecture") and machine["architecture"] != need["architecture"]:
        yield Problem(
            "architecture",
            f"the cluster's binaries are for {need['architecture']}",
            machine["architecture"],
            "They do not run here.",
            "Set cluster_architecture, or take this host out of the inventory.",
        )
    if need.get("cgroup_versions") and machine["cgroup_version"] not in need["cgroup_versions"]:
        yield Problem(
            "cgroup",
            f"cgroup version {' or '.join(str(version) for version in need['cgroup_versions'])} is needed",
            f"version {machine['cgroup_version']}",
            "The kubelet of Kubernetes 1.35 and later refuses to start on version 1.",
            "Remove systemd.unified_cgroup_hierarchy=0 from the kernel command line and reboot.",
        )
    if need.get("metal") and machine["virtualization"] != "none":
        yield Problem(
            "metal",
            "a machine without a hypervisor is wanted",
            machine["virtualization"],
            "The inventory says that this is bare metal.",
            "Correct os_prep_metal of this host, or waive this check with a reason.",
        )


def _judge_time(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    if need.get("time_synchronised") is not None and not machine["time_sync"]["synchronised"]:
        yield Problem(
            "time",
            "the clock has to be synchronised",
            f"not synchronised (asked: {machine['time_sync']['source']})",
            "etcd's leases and every certificate depend on it.",
            "See 'chronyc sources' or 'timedatectl timesync-status'; os_prep_time_servers names the servers that a run sets up.",
            ERROR if need["time_synchronised"] else WARNING,
        )


def _same_release(found: str, wanted: str) -> bool:
    return found == wanted or found.startswith(f"{wanted}.")


def _judge_addresses(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    name = machine["hostname"]
    if need.get("hostname") and (name.split(".")[0] == "localhost" or not HOST_NAME.match(name)):
        yield Problem(
            "hostname",
            "a host name of lower case letters, digits and dashes (RFC 1123) other than localhost is needed",
            f"'{name}'",
            "Certificates and node names are made from it.",
            "Set it with hostnamectl.",
        )
    # Both addresses are often of one interface, whose MTU is one finding.
    found = [
        problem
        for key in ("node_ip", "node_second_ip")
        if need.get(key)
        for problem in _judge_node_ip(machine, f"cluster_{key}", str(need[key]), int(need.get("min_mtu") or 0))
    ]
    yield from dict.fromkeys(found)
    if not re.fullmatch(r"[0-9a-f]{32}", machine["machine_id"]):
        yield Problem(
            "machine_id",
            "/etc/machine-id has to hold 32 hexadecimal digits",
            f"'{machine['machine_id']}'",
            "systemd, the network and the kubelet tell machines apart by it.",
            "Run systemd-machine-id-setup.",
        )


def _judge_node_ip(machine: Machine, name: str, node_ip: str, min_mtu: int) -> t.Iterator[Problem]:
    own = {address.partition("/")[0]: entry for entry in machine["interfaces"] for address in entry["addresses"]}
    try:
        wanted = str(ipaddress.ip_address(node_ip))
    except ValueError:
        yield Problem(
            "node_ip",
            f"{name} has to be an IP address",
            f"'{node_ip}'",
            "Nodes, etcd members and BGP peers are told apart by address, not by name.",
            f"Set {name}{' (or ansible_host)' if name == 'cluster_node_ip' else ''} of this host to its address.",
        )
        return
    if wanted not in own:
        yield Problem(
            "node_ip",
            f"{name} {wanted} has to be an address of this machine",
            ", ".join(sorted(own)) or "no addresses",
            "The node would announce an address that nobody answers on.",
            f"Correct {name}, or is this another machine than the inventory says?",
        )
    elif own[wanted]["mtu"] < min_mtu:
        yield Problem(
            "mtu",
            f"an MTU of at least {min_mtu} is needed on {own[wanted]['name']}",
            str(own[wanted]["mtu"]),
            "Larger packets of pods would be lost without a word.",
            "Raise it on the interface and the switch port, or lower the wanted MTU.",
        )


def _address(text: t.Optional[str]) -> t.Optional[t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]]:
    """What is no address is another judge's."""
    try:
        return ipaddress.ip_address(text or "")
    except ValueError:
        return None


def _judge_announced(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    """An API address that is announced is routed; the announcing session leaves from the subnet of the routers, where the node's own address is."""
    subnets = [ipaddress.ip_interface(text).network for entry in machine["interfaces"] for text in entry["addresses"]]
    # Of one address only: the announced one itself, on machines that have it already.
    subnets = [subnet for subnet in subnets if subnet.prefixlen < subnet.max_prefixlen]
    wanted, source, own = (_address(need.get(key)) for key in ("announced_address", "announcing_source", "node_ip"))
    inside = next((subnet for subnet in subnets if wanted is not None and wanted in subnet), None)
    if inside is not None:
        yield Problem(
            "announced_address",
            f"the API's announced address {wanted} has to be in no subnet of this machine",
            str(inside),
            "Neighbours would ask for it by ARP, and several machines answer; no router would be asked.",
            "Take another cluster_api_endpoint_address, as for a router's loopback.",
        )
    if source is not None and not any(source in subnet and own in subnet for subnet in subnets):
        yield Problem(
            "announcing_source",
            f"cluster_api_endpoint_bgp_source {source} has to be in the subnet of cluster_node_ip {own}",
            ", ".join(sorted({str(subnet) for subnet in subnets if own is not None and own in subnet})) or "no subnet",
            "The rack's router would not find it on the link, and the API's address would lead nowhere.",
            "Take a free address of that subnet.",
        )


def _judge_link_types(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for name in need.get("link_types") or ():
        if not (machine.get("link_types") or {}).get(name):
            words = _link_types.NAMES.get(name, name)
            yield Problem(
                "link_types",
                f"a kernel that makes {words} links is needed",
                f"{machine['kernel']} has neither the driver nor its module",
                f"Packets between nodes travel in {words} as the inventory asks for it.",
                "Use a kernel with it, or another cluster_encapsulation, or cluster_wireguard: false.",
            )


def _judge_names(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    if not need.get("name_resolution"):
        return
    addresses, servers = machine["hostname_addresses"], machine["nameservers"]
    if not addresses:
        yield Problem(
            "hostname_resolves",
            f"the host name '{machine['hostname']}' should resolve on the host itself",
            "no answer in time" if addresses is None else "no address",
            "kubeadm warns of it, and programs that ask for their own name wait for DNS.",
            "Write it into /etc/hosts, or into DNS.",
            WARNING,
        )
    if len(servers) > MOST_NAMESERVERS:
        yield Problem(
            "resolv_conf",
            f"at most {MOST_NAMESERVERS} name servers should stand in /etc/resolv.conf",
            ", ".join(servers),
            "The resolver and the kubelet leave out the rest, and the kubelet reports it for every pod.",
            "Remove those that are not needed.",
            WARNING,
        )
    if servers and all(map(_is_loopback, servers)) and all(map(_is_loopback, machine["resolved_nameservers"])):
        yield Problem(
            "resolv_conf",
            "/etc/resolv.conf should name a server that pods can reach",
            ", ".join(servers),
            "CoreDNS takes the node's servers for names outside the cluster; a loopback address is CoreDNS itself, and it stops at the loop.",
            "Name the servers behind the local one, or set resolvConf in cluster_kubelet_configuration to a file that does.",
            WARNING,
        )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _judge_endpoints(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for entry in need.get("endpoints") or ():
        found = machine["endpoints"][entry["name"]]
        if found == "open" or (found == "refused" and entry.get("may_refuse")):
            continue
        yield Problem(
            "endpoint",
            f"the {entry['name']} at {entry['url']} has to be reachable",
            found,
            entry.get("why") or "This host needs it during the run.",
            "Look for a firewall, a missing route or a wrong address; from the host: 'curl -v --connect-timeout 3 URL'.",
        )


def _judge_disks(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for path, wanted in sorted((need.get("min_free_mib") or {}).items()):
        disk = machine["disks"][path]
        # What is new on a host of the cluster (the data of a second etcd) has to fit as well.
        if disk["free_mib"] < wanted and (not machine["managed"] or not disk.get("exists", True)):
            yield Problem(
                "disk",
                f"{wanted} MiB have to be free at {path} before the first run with it",
                f"{disk['free_mib']} MiB free of {disk['size_mib']} MiB on {disk['mount']}",
                "Images and binaries do not fit.",
                "Free some space, or mount a larger file system there.",
            )


def _judge_qualification(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    wanted = need.get("disk_qualification")
    if wanted and wanted.get("directory"):
        running = bool((machine.get("versions") or {}).get("etcd"))
        for finding in _disk_result.judge(machine["disk_qualification"], wanted, running):
            yield Problem(*finding)


def _judge_ports(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for entry in need.get("ports") or ():
        strangers = [name for name in machine["listeners"].get(str(entry["port"]), ()) if name != entry["process"]]
        if strangers:
            yield Problem(
                "ports",
                f"port {entry['port']} is for {entry['process']}",
                f"{', '.join(strangers)} listening on it",
                f"{entry['process']} could not start.",
                f"Stop what listens there ('ss -ltnp sport = :{entry['port']}'), or configure another port.",
            )


def _judge_swap(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    wanted = need.get("swap", "tolerated")
    if wanted == "tolerated" or not machine["swap_devices"]:
        return
    refused = wanted == "refused"
    yield Problem(
        "swap",
        "swap has to be off" if refused else "swap is on, and a run turns it off for good",
        ", ".join(machine["swap_devices"]),
        "The kubelet does not start with swap, unless failSwapOn says so."
        if refused
        else "What was swapped out has to fit into memory again.",
        "Set os_prep_swap_off, or failSwapOn: false in cluster_kubelet_configuration."
        if refused
        else "Nothing has to be done; os_prep_swap_off: false leaves it on.",
        ERROR if refused else WARNING,
    )


def _judge_neighbours(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    """Programs that run beside the cluster and meddle with it."""
    if need.get("only_our_runtime"):
        # Podman runs no daemon that touches other containers; its socket only says that somebody may start some.
        level = WARNING if machine["other_runtimes"] == ["podman"] else ERROR
        if machine["other_runtimes"]:
            yield Problem(
                "container_runtime",
                "no container runtime but the cluster's containerd should serve on this host",
                ", ".join(machine["other_runtimes"]),
                "Docker shares containerd's configuration and drops forwarded packets, CRI-O is a second runtime for the kubelet; "
                "none of their containers is in the node's accounts.",
                "Stop and disable its service and its socket, or uninstall it.",
                level,
            )
    if need.get("no_firewall") and machine["firewalls"]:
        yield Problem(
            "firewall",
            "no firewall that does not know the cluster should be on",
            ", ".join(machine["firewalls"]),
            "It drops what pods, etcd and the API send each other, often only after its next reload.",
            "Turn it off, or open the cluster's ports and networks in it and waive this check.",
            WARNING,
        )


def _judge_way_in(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    """The firewall that this run will load must not shut its own door."""
    wanted, client = need.get("firewall") or {}, machine.get("ssh_client")
    if not wanted or not client:
        return
    reason = _ssh_client.refusal(_ssh_client.SshClient(**client), wanted["admin_cidrs"], int(wanted["ssh_port"]))
    if reason:
        yield Problem(
            "firewall_admits",
            "the cluster's firewall has to let the controller in",
            f"{client['address']}, on port {client['server_port']}",
            reason,
            "Name the controller's network in cluster_firewall_admin_cidrs, and sshd's port in ansible_port.",
        )


def _judge_state(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    if machine["other_distributions"]:
        yield Problem(
            "other_distribution",
            "no other Kubernetes distribution may be installed",
            ", ".join(machine["other_distributions"]),
            "Two kubelets would fight for the same cgroups, ports and iptables.",
            "Uninstall it with its own uninstaller.",
        )
    if need.get("state_dir") and machine["kubernetes_paths"] and not machine["managed"]:
        yield Problem(
            "stale_cluster",
            "no rests of a cluster that something else made may be there",
            ", ".join(machine["kubernetes_paths"]),
            f"{need['state_dir']} keeps nothing, so this collection did not write them, and it does not take over foreign clusters.",
            "Run 'kubeadm reset' and remove them, if that cluster is not needed any more.",
        )


def _judge_live_cluster(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    """What a live cluster cannot change. A cluster that is not ours is ``stale_cluster``'s, not compared."""
    if need.get("live_cluster") and machine["managed"]:
        for finding in _live_cluster.judge(machine["live_cluster"], need["live_cluster"]):
            yield Problem(*finding)
    if (need.get("load_balancer") or {}).get("live") and machine["managed"]:
        for finding in _live_load_balancer.judge(machine["live_load_balancer"], need["load_balancer"]):
            yield Problem(*finding)


def _judge_layer_2(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    """Pools that this host answers for by ARP and NDP: on which interfaces, and in which networks."""
    wanted = need.get("load_balancer") or {}
    interfaces = {entry["name"]: entry["addresses"] for entry in machine["interfaces"]}
    for pool in (wanted.get("announced") or ()) if wanted.get("mode") == "metallb_l2" else ():
        named = list(pool.get("interfaces") or [])
        missing = [name for name in named if name not in interfaces]
        if missing:
            yield Problem(
                "load_balancer_interfaces",
                f"the pool {pool['name']} is announced on {', '.join(named)}",
                f"no {', '.join(missing)}; there are {', '.join(sorted(interfaces))}",
                "The speaker would answer for the pool's addresses nowhere when it is this node's turn.",
                "Correct interfaces of the pool, or select the nodes that have them (node_selectors).",
            )
            continue
        networks = [
            text
            for name, found in interfaces.items()
            if name != "lo" and (not named or name in named)
            for text in found
        ]
        outside = [text for text in pool["addresses"] if not _in_a_network(text, networks)]
        if outside:
            yield Problem(
                "load_balancer_segment",
                f"the pool {pool['name']} should lie in a network of this host",
                f"{', '.join(outside)} beside {', '.join(networks) or 'no networks'}",
                "Only who is in the segment and takes the address for a neighbour's asks for it by ARP or NDP.",
                "Use addresses of the nodes' network, or make sure that the segment's router has an address of the pool's network there.",
                WARNING,
            )


def _in_a_network(pool: str, networks: t.Iterable[str]) -> bool:
    """Is a network or range inside one of the networks in which a host has addresses?"""
    first, dash, last = pool.partition("-")
    wanted = ipaddress.ip_network(first.strip(), strict=False)
    end = ipaddress.ip_address(last.strip()) if dash else wanted.broadcast_address
    found = [ipaddress.ip_interface(text).network for text in networks]
    return any(wanted.network_address in network and end in network for network in found)


def is_reason(value: t.Any) -> bool:
    """Say whether a waiver has a reason that can be printed."""
    return isinstance(value, str) and bool(value.strip())


def report(machine: Machine, requirements: t.Mapping[str, t.Any], waivers: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return ``machine``, ``problems`` (errors and warnings), ``waived`` (those whose check is waived, with the reason) and ``message`` (the errors)."""
    found = judge(machine, requirements)
    reasons = {check: reason for check, reason in waivers.items() if is_reason(reason)}
    kept = [problem for problem in found if problem.check not in reasons]
    return {
        "machine": machine,
        "problems": [asdict(problem) for problem in kept],
        "waived": [
            {**asdict(problem), "reason": reasons[problem.check]} for problem in found if problem.check in reasons
        ],
        "message": "\n".join(problem.text() for problem in kept if problem.level == ERROR),
    }
