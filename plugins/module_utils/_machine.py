# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine is: observations (read only, each tolerant of a missing source), and a pure judge of them."""

from __future__ import annotations

import glob
import ipaddress
import json
import os
import platform
import re
import shlex
import shutil
import socket
import time
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

Machine = dict[str, t.Any]

# Interfaces that a cluster makes by itself, hundreds of them on a dense node: nothing that preflight needs.
POD_INTERFACES = re.compile(r"^(cali|veth|lxc|cilium_|nodelocaldns|kube-)")
KUBERNETES_PATHS = (
    "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/kubelet/config.yaml",
    "/var/lib/etcd/member",
)
# The kubelet's own credentials: kubeadm leaves them when it ends, and they stay until a reset.
MEMBER_PATH = "/etc/kubernetes/kubelet.conf"
OTHER_DISTRIBUTIONS = {
    "k3s": "/etc/rancher/k3s",
    "rke2": "/etc/rancher/rke2",
    "k0s": "/etc/k0s",
    "microk8s": "/var/snap/microk8s",
    "talos": "/etc/talos",
}
PACKAGE_MANAGERS = (("apt", "apt-get", "debian"), ("dnf", "dnf", "redhat"), ("zypper", "zypper", "suse"))
HOST_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$")


@dataclass(frozen=True)
class Problem:
    """One reason why a machine does not fit. ``check`` is the name by which it can be waived."""

    check: str
    what: str
    found: str
    why: str
    fix: str

    def text(self) -> str:
        return f"{self.check}: {self.what}; found {self.found}. {self.why} {self.fix}"


# --- parsers (pure) -------------------------------------------------------------------------------------------------------------------------


def parse_os_release(text: str) -> dict[str, str]:
    """Read os-release(5): ``id``, ``version_id``, ``id_like``, ``pretty_name``; empty when a key is not there."""
    values = {}
    for line in text.splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and not key.startswith("#"):
            words = shlex.split(value)
            values[key] = words[0] if words else ""
    return {key.lower(): values.get(key, "") for key in ("ID", "VERSION_ID", "ID_LIKE", "PRETTY_NAME")}


def parse_meminfo(text: str) -> dict[str, int]:
    """Return ``memory_mib`` and ``swap_mib`` of /proc/meminfo, which counts in KiB."""
    kib = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if len(line.split()) > 1}
    return {"memory_mib": kib.get("MemTotal", 0) // 1024, "swap_mib": kib.get("SwapTotal", 0) // 1024}


def parse_swaps(text: str) -> list[str]:
    """Return the devices and files of /proc/swaps."""
    return [line.split()[0].replace("\\040", " ") for line in text.splitlines()[1:] if line.split()]


def parse_range(text: str) -> list[int]:
    """Read a list of numbers as the kernel writes it, such as ``0-1,4``."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, _dash, last = part.partition("-")
        if first.isdigit():
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def parse_mounts(text: str) -> list[dict[str, str]]:
    """Read /proc/mounts: ``device``, ``path``, ``type``, in the order of mounting."""
    fields = [line.split() for line in text.splitlines() if len(line.split()) >= 3]
    return [{"device": words[0], "path": words[1].replace("\\040", " "), "type": words[2]} for words in fields]


def mount_of(path: str, mounts: t.Sequence[t.Mapping[str, str]]) -> t.Mapping[str, str]:
    """Return the mount that ``path`` is on: the longest mount point above it, the last one where several are stacked."""
    best: t.Mapping[str, str] = {"device": "", "path": "", "type": ""}
    for mount in mounts:
        prefix = mount["path"].rstrip("/") + "/"
        if (path.rstrip("/") + "/").startswith(prefix) and len(mount["path"]) >= len(best["path"]):
            best = mount
    return best


def parse_listeners(text: str) -> dict[int, list[int]]:
    """Read /proc/net/tcp or tcp6: port -> inodes of the sockets that listen on it (state 0A)."""
    listeners: dict[int, list[int]] = {}
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == "0A":
            listeners.setdefault(int(words[1].rpartition(":")[2], 16), []).append(int(words[9]))
    return listeners


def parse_interfaces(addresses: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Read ``ip -json address``: interfaces with ``mac``, ``mtu``, ``state`` and ``addresses`` (``address/prefix``, link-local ones left out)."""
    found = []
    for entry in addresses:
        name = entry.get("ifname", "")
        if not name or name == "lo" or POD_INTERFACES.match(name):
            continue
        found.append(
            {
                "name": name,
                "mac": entry.get("address", ""),
                "mtu": entry.get("mtu", 0),
                "state": entry.get("operstate", "UNKNOWN").lower(),
                "addresses": [
                    f"{a['local']}/{a['prefixlen']}"
                    for a in entry.get("addr_info", ())
                    if a.get("local") and a.get("scope") != "link"
                ],
            }
        )
    return found


def parse_default_routes(routes: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, str]]:
    """Read ``ip -json route show default``; a route with several next hops gives one entry each."""
    found = []
    for route in routes:
        for hop in route.get("nexthops") or [route]:
            found.append(
                {"gateway": hop.get("gateway", hop.get("via", {}).get("host", "")), "interface": hop.get("dev", "")}
            )
    return found


def parse_time_sync(timedatectl: str, chronyc: str) -> dict[str, t.Any]:
    """Judge time from ``timedatectl show`` and ``chronyc -c tracking`` (either may be empty): ``synchronised``, ``source``, ``offset_seconds``.

    In chronyc's CSV the second field is the reference's name, the third its stratum (0: none), the fifth the offset from it in seconds.
    """
    fields = chronyc.strip().split(",")
    if len(fields) > 5 and fields[2].isdigit():
        synchronised = 0 < int(fields[2]) < 16
        return {
            "synchronised": synchronised,
            "source": "chrony",
            "offset_seconds": float(fields[4]) if synchronised else None,
        }
    values = dict(line.split("=", 1) for line in timedatectl.splitlines() if "=" in line)
    source = "timedatectl" if values else "unknown"
    return {"synchronised": values.get("NTPSynchronized") == "yes", "source": source, "offset_seconds": None}


def version_tuple(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, so that ``6.1.0-28-amd64`` is (6, 1, 0)."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(number) for number in match.group().split(".")) if match else ()


# --- observation ----------------------------------------------------------------------------------------------------------------------------


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _output(argv: t.Sequence[str]) -> str:
    """Return what a program prints, or nothing when it cannot be asked."""
    try:
        return run(argv, timeout=15, check=False).stdout
    except CommandError:
        return ""


def _json(argv: t.Sequence[str]) -> list[dict[str, t.Any]]:
    try:
        return t.cast("list[dict[str, t.Any]]", json.loads(_output(argv) or "[]"))
    except ValueError:
        return []


def collect(requirements: t.Mapping[str, t.Any]) -> Machine:
    """Look at this machine. ``requirements`` only says which packages, commands, paths and ports are of interest."""
    release = parse_os_release(_read("/etc/os-release") or _read("/usr/lib/os-release"))
    mounts = parse_mounts(_read("/proc/self/mounts"))
    manager, family = next(
        ((name, family) for name, program, family in PACKAGE_MANAGERS if shutil.which(program)), ("", "")
    )
    return {
        "architecture": platform.machine(),
        "cpus": os.cpu_count() or 1,
        **parse_meminfo(_read("/proc/meminfo")),
        "numa_nodes": len(parse_range(_read("/sys/devices/system/node/online"))) or 1,
        "swap_devices": parse_swaps(_read("/proc/swaps")),
        "kernel": platform.release(),
        "hostname": socket.gethostname(),
        "os": release,
        "os_family": family,
        "package_manager": manager,
        "missing_packages": missing_packages(manager, (requirements.get("packages") or {}).get(family) or []),
        "commands": {name: shutil.which(name) or "" for name in requirements.get("commands") or ()},
        "virtualization": _output(["systemd-detect-virt"]).strip() or "unknown",
        "cgroup_version": 2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1,
        "interfaces": observe_interfaces(),
        "default_routes": parse_default_routes(_json(["ip", "-json", "route", "show", "default"]))
        + parse_default_routes(_json(["ip", "-json", "-6", "route", "show", "default"])),
        "disks": observe_disks(sorted({"/", "/var/lib", *(requirements.get("min_free_mib") or {})}), mounts),
        "time_sync": parse_time_sync(_output(["timedatectl", "show"]), _output(["chronyc", "-c", "tracking"])),
        "epoch_seconds": time.time(),
        "machine_id": _read("/etc/machine-id").strip(),
        "product_uuid": _read("/sys/class/dmi/id/product_uuid").strip().lower(),
        "listeners": observe_listeners([int(entry["port"]) for entry in requirements.get("ports") or ()]),
        "kubernetes_paths": [path for path in KUBERNETES_PATHS if os.path.exists(path)],
        "other_distributions": sorted(name for name, path in OTHER_DISTRIBUTIONS.items() if os.path.exists(path)),
        "kubelet_version": member_version() if requirements.get("kubernetes_version") else "",
        "managed": bool(requirements.get("state_dir")) and os.path.isdir(requirements["state_dir"]),
        "network_managers": [name for name in ("systemd-networkd", "NetworkManager") if _is_active(name)],
    }


def member_version(kubeconfig: str = MEMBER_PATH) -> str:
    """The version of the installed kubelet, such as ``v1.36.3``, of a machine that has joined a cluster; else an empty string."""
    return _output(["kubelet", "--version"]).strip().rpartition(" ")[2] if os.path.exists(kubeconfig) else ""


def _is_active(unit: str) -> bool:
    return _output(["systemctl", "is-active", unit]).strip() == "active"


def observe_interfaces() -> list[dict[str, t.Any]]:
    """Return the interfaces with ``speed_mbps`` (0: not known, as for virtual ones)."""
    found = parse_interfaces(_json(["ip", "-json", "address"]))
    for entry in found:
        speed = _read(f"/sys/class/net/{entry['name']}/speed").strip()
        entry["speed_mbps"] = int(speed) if speed.isdigit() else 0
    return found


def observe_disks(paths: t.Sequence[str], mounts: t.Sequence[t.Mapping[str, str]]) -> dict[str, dict[str, t.Any]]:
    """Return what is free at each path (for a path that does not exist yet: at the nearest one above it)."""
    found = {}
    for path in paths:
        real = path
        while not os.path.exists(real):
            real = os.path.dirname(real)
        info = os.statvfs(real)
        mount = mount_of(os.path.realpath(real), mounts)
        found[path] = {
            "free_mib": info.f_bavail * info.f_frsize // 2**20,
            "size_mib": info.f_blocks * info.f_frsize // 2**20,
            "mount": mount["path"],
            "type": mount["type"],
            "device": mount["device"],
        }
    return found


def missing_packages(manager: str, wanted: t.Sequence[str]) -> list[str]:
    """Return those of ``wanted`` that are not installed."""
    if not wanted or not manager:
        return []
    if manager == "apt":
        text = _output(["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n", *wanted])
        installed = {line.split()[0] for line in text.splitlines() if line.endswith(" installed")}
        return sorted(set(wanted) - installed)
    return sorted(name for name in set(wanted) if not _rpm_provides(name))


def _rpm_provides(name: str) -> bool:
    try:
        return run(["rpm", "--query", "--whatprovides", name], timeout=30, check=False).rc == 0
    except CommandError:
        return False


def observe_listeners(ports: t.Sequence[int]) -> dict[str, list[str]]:
    """Return, for those of ``ports`` that somebody listens on, the names of the processes (``?`` when not found)."""
    inodes: dict[int, list[int]] = {}
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for port, found in parse_listeners(_read(path)).items():
            if port in ports:
                inodes.setdefault(port, []).extend(found)
    if not inodes:
        return {}
    owners = _socket_owners({inode for found in inodes.values() for inode in found})
    return {str(port): sorted({owners.get(inode, "?") for inode in found}) for port, found in inodes.items()}


def _socket_owners(wanted: set[int]) -> dict[int, str]:
    owners: dict[int, str] = {}
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:[") and int(target[8:-1]) in wanted:
            owners[int(target[8:-1])] = _read(f"/proc/{link.split('/')[2]}/comm").strip()
            if len(owners) == len(wanted):
                break
    return owners


# --- judge (pure) ---------------------------------------------------------------------------------------------------------------------------


def judge(machine: Machine, requirements: t.Mapping[str, t.Any]) -> list[Problem]:
    """Compare a machine with what is required of it. A requirement that is not given is not checked."""
    checks = (_judge_size, _judge_system, _judge_addresses, _judge_disks, _judge_ports, _judge_state, _judge_version)
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
            "Correct the inventory, or waive this check with a reason.",
        )
    if need.get("time_synchronised") and not machine["time_sync"]["synchronised"]:
        yield Problem(
            "time",
            "the clock has to be synchronised",
            f"not synchronised (asked: {machine['time_sync']['source']})",
            "etcd's leases and every certificate depend on it.",
            "See 'chronyc sources' or 'timedatectl timesync-status'.",
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
    if need.get("node_ip"):
        yield from _judge_node_ip(machine, str(need["node_ip"]), int(need.get("min_mtu") or 0))
    if not re.fullmatch(r"[0-9a-f]{32}", machine["machine_id"]):
        yield Problem(
            "machine_id",
            "/etc/machine-id has to hold 32 hexadecimal digits",
            f"'{machine['machine_id']}'",
            "systemd, the network and the kubelet tell machines apart by it.",
            "Run systemd-machine-id-setup.",
        )


def _judge_node_ip(machine: Machine, node_ip: str, min_mtu: int) -> t.Iterator[Problem]:
    own = {address.partition("/")[0]: entry for entry in machine["interfaces"] for address in entry["addresses"]}
    try:
        wanted = str(ipaddress.ip_address(node_ip))
    except ValueError:
        yield Problem(
            "node_ip",
            "cluster_node_ip has to be an IP address",
            f"'{node_ip}'",
            "Nodes, etcd members and BGP peers are told apart by address, not by name.",
            "Set cluster_node_ip (or ansible_host) of this host to its address.",
        )
        return
    if wanted not in own:
        yield Problem(
            "node_ip",
            f"cluster_node_ip {wanted} has to be an address of this machine",
            ", ".join(sorted(own)) or "no addresses",
            "The node would announce an address that nobody answers on.",
            "Correct cluster_node_ip, or is this another machine than the inventory says?",
        )
    elif own[wanted]["mtu"] < min_mtu:
        yield Problem(
            "mtu",
            f"an MTU of at least {min_mtu} is needed on {own[wanted]['name']}",
            str(own[wanted]["mtu"]),
            "Larger packets of pods would be lost without a word.",
            "Raise it on the interface and the switch port, or lower the wanted MTU.",
        )


def _judge_disks(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for path, wanted in sorted((need.get("min_free_mib") or {}).items()):
        disk = machine["disks"][path]
        if disk["free_mib"] < wanted and not machine["managed"]:
            yield Problem(
                "disk",
                f"{wanted} MiB have to be free at {path} before the first run",
                f"{disk['free_mib']} MiB free of {disk['size_mib']} MiB on {disk['mount']}",
                "Images and binaries do not fit.",
                "Free some space, or mount a larger file system there.",
            )


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
            f"{need['state_dir']} does not exist, so this collection did not write them, and it does not take over foreign clusters.",
            "Run 'kubeadm reset' and remove them, if that cluster is not needed any more.",
        )


def _judge_version(machine: Machine, need: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    wanted = need.get("kubernetes_version")
    if wanted and machine["kubelet_version"] not in ("", wanted):
        yield Problem(
            "kubernetes_version",
            f"this node is in a cluster, and the inventory asks for Kubernetes {wanted}",
            machine["kubelet_version"],
            "An upgrade has its own order (control planes one minor version at a time, kubelets after them); this run does not keep it.",
            f"Set cluster_kubernetes_version (or cluster_release_set) back to what gives {machine['kubelet_version']}, or reset the node.",
        )


def report(machine: Machine, requirements: t.Mapping[str, t.Any], waivers: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return ``machine``, ``problems`` and ``waived`` (problems whose check is waived, with the reason)."""
    found = judge(machine, requirements)
    return {
        "machine": machine,
        "problems": [asdict(problem) for problem in found if problem.check not in waivers],
        "waived": [
            {**asdict(problem), "reason": waivers[problem.check]} for problem in found if problem.check in waivers
        ],
        "message": "\n".join(problem.text() for problem in found if problem.check not in waivers),
    }
