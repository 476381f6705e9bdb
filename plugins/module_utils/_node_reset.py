# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a cluster off a machine: what is there is observed, the steps are planned as data, each step is one small action."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import signal
import typing as t
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _originals, _systemd
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

#: units that only this collection installs, in the order in which they stop
OWN_UNITS = (
    "kubelet.service",
    "containerd.service",
    "etcd-events.service",
    "etcd.service",
    "bare-metal-firewall.service",
    # In this order: the one that is watched over by the other would be given its address back.
    "bare-metal-api-health.service",
    "bare-metal-api-announcer.service",
    "bare-metal-bpf.service",
)
#: units of the operating system, with the configuration that is ours when it carries the mark
SHARED_UNITS = {"keepalived.service": "/etc/keepalived/keepalived.conf", "haproxy.service": "/etc/haproxy/haproxy.cfg"}
#: everything below these is the cluster's
PATHS = (
    "/etc/kubernetes",
    "/var/lib/kubelet",
    "/etc/cni/net.d",
    "/opt/cni/bin",
    "/var/lib/cni",
    "/var/lib/calico",
    "/var/run/calico",
    "/var/log/calico",
    "/var/run/cilium",
    "/run/cilium",
    # Programs and maps that are kept by name; removing the name ends what nothing else holds.
    "/sys/fs/bpf/cilium",
    "/sys/fs/bpf/tc/globals",
    "/etc/sysctl.d/99-zzz-override_cilium.conf",
    "/var/log/pods",
    "/var/log/containers",
    "/var/log/kubernetes",
    "/etc/containerd",
    "/var/lib/containerd",
    "/run/containerd",
    "/etc/etcd",
    "/etc/crictl.yaml",
    "/etc/bare-metal-kubernetes",
    "/usr/local/lib/bare-metal-kubernetes",
    "/etc/sysusers.d/etcd.conf",
    # It names a file below /etc/containerd: the operating system's containerd would not start with it.
    "/etc/systemd/system/containerd.service.d/50-proxy.conf",
    # The kubelet's own, for its graceful shutdown (pkg/kubelet/nodeshutdown/systemd).
    "/etc/systemd/logind.conf.d/99-kubelet.conf",
    "/root/.kube",
)
BINARIES = (
    "kubelet",
    "kubeadm",
    "kubectl",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "crictl",
    "etcd",
    "etcdctl",
    "etcdutl",
)
MOUNT_ROOTS = (
    "/var/lib/kubelet/",
    "/run/containerd/",
    "/var/lib/containerd/",
    "/run/netns/cni-",
    "/var/run/calico",
    "/run/calico",
)
INTERFACES = re.compile(
    r"^(cali[0-9a-f]+|lxc_health|lxc[0-9a-f]{8,}|cilium_(host|net|vxlan|geneve)|vxlan\.calico|vxlan-v6\.calico|kube-ipvs0|nodelocaldns|cni0|flannel\.1)$"
)
NFT_TABLES = re.compile(r"^table (?P<table>((ip6?|inet) (kube-proxy|calico)|inet bare_metal_firewall))$", re.MULTILINE)
CHAIN_WORDS = re.compile(r"(^:|-A |-j |-g )(cali-|KUBE-|(OLD_)?CILIUM_)")
# Programs of Cilium's on the machine's own interfaces (bpf/bpf_host.c); they stay when the agent ends.
CILIUM_FILTER = re.compile(r"\bcil_(from|to)_(netdev|host|overlay)\b")
TABLE_FAMILIES = {"iptables": "ip", "ip6tables": "ip6"}
# What iptables-nft makes as soon as it is asked for something.
IPTABLES_TABLES = ("filter", "mangle", "nat", "raw", "security")
BIRD_PROTOCOL = "bird"
# Where the DNS cache of a node listens, on its loopback (plugin_utils/node_local_dns.py).
DNS_CACHE = "169.254.20.10"
# kube-proxy in iptables mode sets it (pkg/proxy/iptables) and nobody takes it back: packets to 127.0.0.0/8 from outside would be let in.
ROUTE_LOCALNET = "/proc/sys/net/ipv4/conf/all/route_localnet"
PARAMETER_FILES = (
    "/etc/sysctl.conf",
    "/etc/sysctl.d/*",
    "/run/sysctl.d/*",
    "/usr/local/lib/sysctl.d/*",
    "/usr/lib/sysctl.d/*",
)


@dataclass(frozen=True)
class Found:
    """What of a cluster stands on a machine."""

    units: tuple[str, ...] = ()
    shared_units: tuple[str, ...] = ()
    sandboxes: bool = False
    mounts: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    filtered: tuple[str, ...] = ()
    nft_tables: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    routes: bool = False
    parameters: tuple[str, ...] = ()
    originals: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One thing that is taken away or given back. ``verb`` names the action, ``subject`` what it acts on."""

    verb: str
    subject: str


def parse_mounts(text: str) -> list[str]:
    """Mount points of ``/proc/self/mounts`` that belong to pods, deepest first."""
    points = [line.split()[1].replace("\\040", " ") for line in text.splitlines() if line]
    ours = [p for p in points if p.startswith(MOUNT_ROOTS)]
    return sorted(set(ours), key=lambda p: (-p.count("/"), p))


def parse_loopback(text: str) -> list[str]:
    """Addresses of the loopback (``ip -j address show dev lo``) that are the cluster's: the DNS cache's."""
    found = [info for link in json.loads(text or "[]") for info in link.get("addr_info") or []]
    return [f"{info['local']}/{info['prefixlen']}" for info in found if info.get("local") == DNS_CACHE]


def without_cluster_rules(saved: str) -> str:
    """The output of ``iptables-save`` without the chains and rules of kube-proxy, the kubelet, Calico and Cilium."""
    kept = [line for line in saved.splitlines() if not CHAIN_WORDS.search(line) and "cali:" not in line]
    return "\n".join(kept) + "\n"


def empty_tables(listed: str, family: str) -> list[str]:
    """Tables of iptables-nft that do nothing: no rule, no chain of somebody, all policies accept. ``listed``: output of ``nft -j list ruleset``."""
    entries = json.loads(listed or '{"nftables": []}')["nftables"]

    def of(kind: str) -> list[dict[str, t.Any]]:
        return [entry[kind] for entry in entries if kind in entry and entry[kind].get("family") == family]

    busy = {rule["table"] for rule in of("rule")}
    busy |= {chain["table"] for chain in of("chain") if chain.get("policy") != "accept"}
    return [table["name"] for table in of("table") if table["name"] in IPTABLES_TABLES and table["name"] not in busy]


def plan(found: Found) -> list[Step]:
    """The steps in the order in which they can be done: processes, then what they hold, then files."""
    steps = [Step("stop", unit) for unit in found.units if unit == "kubelet.service"]
    if found.sandboxes:
        steps.append(Step("kill", "pods"))
    steps += [Step("stop", unit) for unit in (*found.units, *found.shared_units) if unit != "kubelet.service"]
    steps += [Step("unmount", point) for point in found.mounts]
    steps += [Step("delete namespace", name) for name in found.namespaces]
    steps += [Step("delete interface", name) for name in found.interfaces]
    steps += [Step("delete address", address) for address in found.addresses]
    steps += [Step("delete filters", name) for name in found.filtered]
    steps += [Step("delete nft table", name) for name in found.nft_tables]
    steps += [Step("clear rules", command) for command in found.chains]
    if found.routes:
        steps.append(Step("flush routes", BIRD_PROTOCOL))
    steps += [Step("switch off", path) for path in found.parameters]
    # What was kept is in the last of the paths, the state directory.
    steps += [Step("restore", path) for path in found.originals]
    steps += [Step("remove", path) for path in found.paths if path not in found.originals]
    if found.units or found.shared_units or found.paths:
        steps.append(Step("reload", "systemd"))
    return steps


def _said(argv: t.Sequence[str]) -> str:
    """Output of a command, empty when it is not installed or fails: then there is nothing of it to take away."""
    try:
        return run(argv, timeout=60, check=False).stdout
    except CommandError:
        return ""


def _is_ours(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return _originals.is_marked(stream.read())
    except OSError:
        return False


def _unit_files() -> list[str]:
    return [path for unit in OWN_UNITS for path in [f"/etc/systemd/system/{unit}"] if os.path.exists(path)]


def _shims() -> list[int]:
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue
        if os.path.basename(words[0]) == b"containerd-shim-runc-v2":
            found.append(int(path.split("/")[2]))
    return found


def left_by_kube_proxy() -> tuple[str, ...]:
    """Switches that kube-proxy turned on: on, and no file of the machine wants them so."""
    wanted = [path for pattern in PARAMETER_FILES for path in glob.glob(pattern)]
    if _read(ROUTE_LOCALNET).strip() != "1" or any("route_localnet" in _read(path) for path in wanted):
        return ()
    return (ROUTE_LOCALNET,)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _is_filtered(interface: str) -> bool:
    """Does Cilium look at the packets of this interface?"""
    return any(
        CILIUM_FILTER.search(_said(["tc", "filter", "show", "dev", interface, way])) for way in ("ingress", "egress")
    )


def observe(etcd_data_directories: t.Sequence[str], state_dir: str, marked: t.Sequence[str]) -> Found:
    """Look for everything of a cluster on this machine.

    :param etcd_data_directories: of all its members. :param marked: further directories whose marked files are ours.
    """
    links = json.loads(_said(["ip", "-json", "link", "show"]) or "[]")
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        mounts = parse_mounts(stream.read())
    own = [path for directory in marked for path in sorted(glob.glob(directory + "/*")) if _is_ours(path)]
    paths = [*_unit_files(), *PATHS, *(f"/usr/local/bin/{name}" for name in BINARIES), *etcd_data_directories, *own]
    paths += [path for path in SHARED_UNITS.values() if _is_ours(path)]
    return Found(
        units=tuple(unit for unit in OWN_UNITS if _systemd.show(unit).load == "loaded"),
        shared_units=tuple(unit for unit, path in SHARED_UNITS.items() if _is_ours(path)),
        sandboxes=bool(_shims()),
        mounts=tuple(mounts),
        namespaces=tuple(
            line.split()[0] for line in _said(["ip", "netns", "list"]).splitlines() if line.startswith("cni-")
        ),
        interfaces=tuple(link["ifname"] for link in links if INTERFACES.match(link["ifname"])),
        addresses=tuple(parse_loopback(_said(["ip", "-json", "address", "show", "dev", "lo"]))),
        filtered=tuple(
            link["ifname"] for link in links if not INTERFACES.match(link["ifname"]) and _is_filtered(link["ifname"])
        ),
        nft_tables=tuple(m["table"] for m in NFT_TABLES.finditer(_said(["nft", "list", "tables"]))),
        chains=tuple(c for c in TABLE_FAMILIES if CHAIN_WORDS.search(_said([f"{c}-save"]))),
        routes=bool(_said(["ip", "route", "show", "proto", BIRD_PROTOCOL]).strip()),
        parameters=left_by_kube_proxy(),
        originals=tuple(_originals.kept(state_dir)),
        paths=tuple(path for path in dict.fromkeys([*paths, state_dir]) if _occupied(path)),
    )


def _occupied(path: str) -> bool:
    """Whether there is anything to remove: a mount point stays, only what is in it goes."""
    if os.path.ismount(path):
        return bool(os.listdir(path))
    return os.path.lexists(path)


def _remove(path: str) -> None:
    if os.path.ismount(path):
        for name in os.listdir(path):
            _remove(os.path.join(path, name))
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _kill_pods() -> None:
    """End every pod through the runtime, then whatever shim is left."""
    with contextlib.suppress(CommandError):  # no runtime to ask: its shims are ended below
        run(["crictl", "--timeout", "10s", "rmp", "--all", "--force"], timeout=120, check=False)
    for pid in _shims():
        os.kill(pid, signal.SIGKILL)


def switch_off(path: str) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("0\n")


def _clear_rules(command: str) -> None:
    """Take the cluster's rules and chains out, then tables that do nothing any more."""
    saved = run([f"{command}-save"]).stdout
    run([f"{command}-restore"], input_text=without_cluster_rules(saved))
    family = TABLE_FAMILIES[command]
    for table in empty_tables(_said(["nft", "-j", "list", "ruleset"]), family):
        run(["nft", "delete", "table", family, table])


def act(step: Step, state_dir: str) -> None:
    """Do one step. ``state_dir``: where what has to be restored is kept.

    :raises CommandError: when a program failed.
    :raises OSError: when a file could not be removed.
    """
    subject = step.subject
    actions: dict[str, t.Callable[[], object]] = {
        "stop": lambda: _systemd.systemctl("disable", "--now", subject),
        "kill": _kill_pods,
        "unmount": lambda: run(["umount", "--lazy", subject]),
        "delete namespace": lambda: run(["ip", "netns", "delete", subject]),
        "delete interface": lambda: run(["ip", "link", "delete", subject]),
        "delete address": lambda: run(["ip", "address", "delete", subject, "dev", "lo"]),
        "delete filters": lambda: run(["tc", "qdisc", "delete", "dev", subject, "clsact"]),
        "delete nft table": lambda: run(["nft", "delete", "table", *subject.split()]),
        "clear rules": lambda: _clear_rules(subject),
        "flush routes": lambda: run(["ip", "route", "flush", "proto", subject]),
        "switch off": lambda: switch_off(subject),
        "restore": lambda: _originals.restore(subject, state_dir),
        "remove": lambda: _remove(subject),
        "reload": lambda: _systemd.systemctl("daemon-reload"),
    }
    actions[step.verb]()
