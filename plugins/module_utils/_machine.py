# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine is: observations, read only, each tolerant of a missing source. ``_machine_judge`` judges them."""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import shlex
import shutil
import socket
import threading
import time
import typing as t
import urllib.parse
from dataclasses import asdict

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import (
    _cilium,
    _disk_result,
    _fio_device,
    _link_types,
    _live_cluster,
    _live_load_balancer,
    _live_versions,
    _ssh_client,
)
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
OTHER_DISTRIBUTIONS = {
    "k3s": "/etc/rancher/k3s",
    "rke2": "/etc/rancher/rke2",
    "k0s": "/etc/k0s",
    "microk8s": "/var/snap/microk8s",
    "talos": "/etc/talos",
}
# Services that preflight asks systemd about, all in one call.
UNITS = ("systemd-networkd", "NetworkManager", "firewalld", "ufw")
# Sockets of container runtimes that are not this collection's containerd.
OTHER_RUNTIMES = {
    "docker": "/run/docker.sock",
    "cri-dockerd": "/run/cri-dockerd.sock",
    "cri-o": "/run/crio/crio.sock",
    "podman": "/run/podman/podman.sock",
}
# Where systemd-resolved keeps the servers behind its stub.
RESOLVED_CONF = "/run/systemd/resolve/resolv.conf"
QUALIFICATION_FILE = "disk-qualification.json"
# These may be in the state directory of a host to which nothing has been done yet.
FOREIGN_TO_STATE = (QUALIFICATION_FILE, "lease.json", "lease.lock")
# How long names and TCP connections together may take; a live neighbour answers in milliseconds.
NETWORK_SECONDS = 3.0
# Where a node keeps what grows: state, images, the kubelet's volumes, logs, programs.
DISK_PATHS = ("/", "/usr/local/bin", "/var/lib", "/var/lib/containerd", "/var/lib/kubelet", "/var/log")
PACKAGE_MANAGERS = (("apt", "apt-get", "debian"), ("dnf", "dnf", "redhat"), ("zypper", "zypper", "suse"))


# --- parsers (pure) -------------------------------------------------------------------------------------------------------------------------


def parse_os_release(text: str) -> dict[str, str]:
    """Read os-release(5): ``id``, ``version_id``, ``id_like``, ``pretty_name``; empty when a key is not there."""
    values = {}
    for line in text.splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and not key.startswith("#"):
            try:
                words = shlex.split(value)
            except ValueError:  # a quotation mark without its other half: a shell would not read this line either
                words = []
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


def parse_units(names: t.Sequence[str], text: str) -> list[str]:
    """Return those of ``names`` that ``systemctl is-active`` says are active; it prints one line for each, in their order."""
    return [name for name, state in zip(names, text.split()) if state == "active"]


def parse_nameservers(text: str) -> list[str]:
    """Return the servers of resolv.conf(5) in their order."""
    words = [line.split() for line in text.splitlines()]
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]


def parse_ufw(text: str) -> bool:
    """Say whether /etc/ufw/ufw.conf turns the firewall on."""
    return re.search(r"^\s*ENABLED\s*=\s*[\"']?yes\b", text, re.MULTILINE | re.IGNORECASE) is not None


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
    begun = time.time()
    release = parse_os_release(_read("/etc/os-release") or _read("/usr/lib/os-release"))
    mounts = parse_mounts(_read("/proc/self/mounts"))
    hostname, state_dir = socket.gethostname(), requirements.get("state_dir") or ""
    units = parse_units(UNITS, _output(["systemctl", "is-active", *UNITS]))
    manager, family = next(
        ((name, family) for name, program, family in PACKAGE_MANAGERS if shutil.which(program)), ("", "")
    )
    client = _ssh_client.observe()
    return {
        "architecture": platform.machine(),
        "cpus": os.cpu_count() or 1,
        **parse_meminfo(_read("/proc/meminfo")),
        "numa_nodes": len(parse_range(_read("/sys/devices/system/node/online"))) or 1,
        "swap_devices": parse_swaps(_read("/proc/swaps")),
        "kernel": platform.release(),
        "hostname": hostname,
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
        "disks": observe_disks(sorted({*DISK_PATHS, *(requirements.get("min_free_mib") or {})}), mounts),
        "block_devices": observe_block_devices(),
        "link_types": _link_types.observe(requirements.get("link_types") or ()),
        "time_sync": parse_time_sync(_output(["timedatectl", "show"]), _output(["chronyc", "-c", "tracking"])),
        "machine_id": _read("/etc/machine-id").strip(),
        "product_uuid": _read("/sys/class/dmi/id/product_uuid").strip().lower(),
        "listeners": observe_listeners([int(entry["port"]) for entry in requirements.get("ports") or ()]),
        "kubernetes_paths": [path for path in KUBERNETES_PATHS if os.path.exists(path)],
        "other_distributions": sorted(name for name, path in OTHER_DISTRIBUTIONS.items() if os.path.exists(path)),
        "versions": _live_versions.observe() if requirements.get("live_versions") else {},
        "managed": is_managed(state_dir),
        "pods": count_pods(),
        "network_managers": [name for name in ("systemd-networkd", "NetworkManager") if name in units],
        "firewalls": observe_firewalls(units),
        "ssh_client": asdict(client) if client else {},
        "other_runtimes": sorted(name for name, path in OTHER_RUNTIMES.items() if os.path.exists(path)),
        "nameservers": parse_nameservers(_read("/etc/resolv.conf")),
        "resolved_nameservers": parse_nameservers(_read(RESOLVED_CONF)),
        **observe_network(hostname if requirements.get("name_resolution") else "", requirements.get("endpoints") or ()),
        "disk_qualification": observe_qualification(requirements.get("disk_qualification") or {}, state_dir),
        **observe_live_cluster(requirements.get("live_cluster") or {}),
        "live_load_balancer": _live_load_balancer.observe()
        if (requirements.get("load_balancer") or {}).get("live")
        else {},
        # The last one: between these two the host answered.
        "epoch_seconds_begun": begun,
        "epoch_seconds": time.time(),
    }


def observe_live_cluster(wanted: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What stands on this node of a cluster, and whether kube-proxy is to carry the Services again where the plugin's agent does so until now."""
    live = _live_cluster.observe() if wanted else {}
    back = live.get("network_plugin") == "cilium" and wanted.get("kube_proxy_mode") in ("nftables", "iptables")
    return {
        "live_cluster": live,
        # An agent that cannot be asked may be one.
        "awaits_kube_proxy": back and _cilium.replaces_kube_proxy() is not False,
    }


def observe_qualification(wanted: t.Mapping[str, t.Any], state_dir: str) -> dict[str, t.Any]:
    """The remembered measurement of the wanted ``directory``'s disk, beside what is there now (:func:`_disk_result.recall`)."""
    if not wanted.get("directory") or not state_dir:
        return {}
    text = _read(os.path.join(state_dir, QUALIFICATION_FILE))
    device = _fio_device.device_of(str(wanted["directory"])) if text else {}
    return _disk_result.recall(text, wanted, device, platform.release(), time.time())


def count_pods(directory: str = "/var/lib/kubelet/pods") -> int:
    """Return how many pods the kubelet keeps: it has a directory for each until the pod is gone from the API."""
    try:
        return len(os.listdir(directory))
    except OSError:
        return 0


def is_managed(state_dir: str) -> bool:
    """Say whether a run has prepared this host: every run leaves more in the state directory than a lease or a disk's qualification."""
    try:
        return bool(state_dir) and any(
            name not in FOREIGN_TO_STATE and not name.startswith(".") for name in os.listdir(state_dir)
        )
    except OSError:
        return False


def observe_firewalls(active_units: t.Sequence[str]) -> list[str]:
    """Return the firewalls that are on. ufw's service is active even when its configuration leaves the firewall off."""
    found = ["firewalld"] if "firewalld" in active_units else []
    if "ufw" in active_units and parse_ufw(_read("/etc/ufw/ufw.conf")):
        found.append("ufw")
    return found


def observe_network(
    hostname: str, endpoints: t.Sequence[t.Mapping[str, t.Any]], seconds: float = NETWORK_SECONDS
) -> dict[str, t.Any]:
    """Resolve ``hostname`` (empty: do not) and connect to ``endpoints`` (``name``, ``url``), all at once, in ``seconds`` altogether.

    ``hostname_addresses`` is a list, or null when nobody answered in time; ``endpoints`` is what :func:`connect` says by name.
    """
    found: dict[str, t.Any] = {
        "hostname_addresses": None if hostname else [],
        "endpoints": {entry["name"]: "timed out" for entry in endpoints},
    }

    def resolve() -> None:
        found["hostname_addresses"] = addresses_of(hostname)

    def reach(entry: t.Mapping[str, t.Any]) -> None:
        found["endpoints"][entry["name"]] = connect(str(entry["url"]), seconds)

    threads = [threading.Thread(target=reach, args=(entry,), daemon=True) for entry in endpoints]
    if hostname:
        threads.append(threading.Thread(target=resolve, daemon=True))
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    # A copy: a resolver that is still waiting must not write into what was returned.
    return {"hostname_addresses": found["hostname_addresses"], "endpoints": dict(found["endpoints"])}


def addresses_of(name: str) -> list[str]:
    """Return the addresses that this machine finds for a name, by /etc/hosts or DNS; empty when there are none."""
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None)})
    except OSError:
        return []


def connect(url: str, seconds: float) -> str:
    """Open a TCP connection to where a URL points and close it: ``open``, ``refused``, ``timed out``, ``no address`` or the system's words."""
    parts = urllib.parse.urlsplit(url)
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        with socket.create_connection((parts.hostname or "", port), timeout=seconds):
            return "open"
    except ConnectionRefusedError:
        return "refused"
    except (socket.timeout, TimeoutError):  # two classes before Python 3.10
        return "timed out"
    except socket.gaierror:
        return "no address"
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)


def observe_interfaces(sysfs: str = "/sys") -> list[dict[str, t.Any]]:
    """Return the interfaces with ``speed_mbps`` (0: not known, as for virtual ones)."""
    found = parse_interfaces(_json(["ip", "-json", "address"]))
    for entry in found:
        speed = _read(f"{sysfs}/class/net/{entry['name']}/speed").strip()
        entry["speed_mbps"] = int(speed) if speed.isdigit() else 0
    return found


def observe_block_devices(sysfs: str = "/sys") -> list[dict[str, t.Any]]:
    """Return the machine's own disks by name: those with a device behind them, so no loop, RAM, RAID and LVM devices.

    ``size_mib`` (the kernel counts sectors of 512 bytes, whatever the disk has), ``rotational`` and ``model`` (empty: not said).
    """
    found = []
    for path in sorted(glob.glob(f"{sysfs}/block/*")):
        if os.path.exists(f"{path}/device"):
            sectors = _read(f"{path}/size").strip()
            found.append(
                {
                    "name": os.path.basename(path),
                    "size_mib": int(sectors) // 2048 if sectors.isdigit() else 0,
                    "rotational": _read(f"{path}/queue/rotational").strip() == "1",
                    "model": _read(f"{path}/device/model").strip(),
                }
            )
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
            "exists": real == path,
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
