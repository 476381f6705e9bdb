# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else decides about a kernel parameter: the module that brings it, and programs that write it after systemd-sysctl.

Programs are found by their configuration, not by asking them: cloud-init's bootcmd, tuned's active profile, and kube-proxy's configuration as the
kubelet has mounted it.
"""

from __future__ import annotations

import glob
import os
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_files import Assignment, boot_files, within
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import (
    Words,
    normal_key,
    number,
    words_of,
)

# Parameters by the module that brings them (the kernel's Kconfig and register_net_sysctl calls). The longest prefix counts.
MODULES = {
    "net.bridge.": "br_netfilter",
    "net.netfilter.": "nf_conntrack",
    "net.nf_conntrack_max": "nf_conntrack",
    "net.ipv4.vs.": "ip_vs",
    "net.ipv6.": "ipv6",
    "net.sctp.": "sctp",
    "net.rds.": "rds",
    "net.smc.": "smc",
    "net.tipc.": "tipc",
    "net.mpls.": "mpls_router",
    "net.vrf.": "vrf",
    "net.rxrpc.": "rxrpc",
    "net.x25.": "x25",
    "sunrpc.": "sunrpc",
    "fs.nfs.": "lockd",
    "fs.xfs.": "xfs",
    "fs.fuse.": "fuse",
    "dev.cdrom.": "cdrom",
    "dev.raid.": "md_mod",
}
MODULE_DIRECTORIES = (
    "/etc/modules-load.d",
    "/run/modules-load.d",
    "/usr/local/lib/modules-load.d",
    "/usr/lib/modules-load.d",
)
MODPROBE_DIRECTORIES = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d")

TUNED_PROFILES = ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
CLOUD_FILES = ("/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d/*.cfg", "/var/lib/cloud/instance/cloud-config.txt")
CLOUD_SCRIPTS = "/var/lib/cloud/scripts/per-boot/*"
KUBE_PROXY = "/var/lib/kubelet/pods/*/volumes/kubernetes.io~configmap/kube-proxy/config.conf"
KUBE_PROXY_PREFIXES = ("net.netfilter.", "net.ipv4.vs.", "net.ipv4.conf.all.", "net.ipv4.ip_forward")
# kube-proxy's defaults (pkg/proxy/apis/config/v1alpha1/defaults.go) and its ceiling for the product with the processors (pkg/proxy/conntrack).
CONNTRACK_PER_CORE, CONNTRACK_FLOOR, CONNTRACK_CEILING = 32768, 131072, 1048576
CONNTRACK_TIMES = {
    "tcpEstablishedTimeout": ("nf_conntrack_tcp_timeout_established", "24h"),
    "tcpCloseWaitTimeout": ("nf_conntrack_tcp_timeout_close_wait", "1h"),
    "udpTimeout": ("nf_conntrack_udp_timeout", "0s"),
    "udpStreamTimeout": ("nf_conntrack_udp_timeout_stream", "0s"),
}
# pkg/proxy/ipvs/proxier.go; the ARP ones only with strictARP (conn_reuse_mode only before Linux 5.9).
IPVS = {
    "net.ipv4.vs.conntrack": "1",
    "net.ipv4.vs.expire_nodest_conn": "1",
    "net.ipv4.vs.expire_quiescent_template": "1",
    "net.ipv4.ip_forward": "1",
}
IPVS_STRICT_ARP = {"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2"}
UNSET = ("", "null", "~")
SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

BY_SYSCTL = re.compile(r"\bsysctl\b.*?[\s,\"'\[]([\w./-]+[./][\w./-]+)\s*=\s*[\"']?([^\"'\];&|#]+)")
BY_PROC = re.compile(r"\becho\b[\s,]+(?:-n\s+)?[\"']?([^\"'>]*?)[\"']?\s*>\s*/proc/sys/([\w./-]+)")


# --- modules --------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Modules:
    """Which modules the running kernel has, and which the next boot will load (name -> file that says so) or may not."""

    loaded: t.AbstractSet[str] = frozenset()
    at_boot: t.Mapping[str, str] = field(default_factory=dict)
    barred: t.Mapping[str, str] = field(default_factory=dict)


def module_of(key: str) -> str:
    """Name the module that brings a parameter; empty when none is known to."""
    prefixes = [prefix for prefix in MODULES if key.startswith(prefix)]
    return MODULES[max(prefixes, key=len)] if prefixes else ""


def read_modules(root: str = "/") -> Modules:
    """Look at the kernel's modules (built in ones too) and at modules-load.d(5) and modprobe.d(5)."""
    at_boot: dict[str, str] = {}
    for path, _number, line in _lines_of_directories(MODULE_DIRECTORIES, root):
        at_boot.setdefault(line.replace("-", "_"), path)
    barred: dict[str, str] = {}
    for path, index, line in _lines_of_directories(MODPROBE_DIRECTORIES, root):
        words = line.split()
        refused = words[0] == "install" and words[2:3] and os.path.basename(words[2]) in ("false", "true")
        if len(words) > 1 and (words[0] == "blacklist" or refused):
            barred.setdefault(words[1].replace("-", "_"), f"{path}:{index}")
    try:
        loaded = frozenset(os.listdir(within(root, "/sys/module")))
    except OSError:
        loaded = frozenset()
    return Modules(loaded, at_boot, barred)


def _lines_of_directories(directories: t.Sequence[str], root: str) -> t.Iterator[tuple[str, int, str]]:
    listing = {}
    for directory in directories:
        try:
            listing[directory] = sorted(os.listdir(within(root, directory)))
        except OSError:
            continue
    for path in boot_files(listing):
        for index, line in _lines(path, root):
            if line and line[0] not in "#;":
                yield path, index, line


def _lines(path: str, root: str) -> list[tuple[int, str]]:
    """Return a file's lines without the space around them; nothing when it cannot be read."""
    try:
        with open(within(root, path), encoding="utf-8", errors="replace") as stream:
            return [(index, line.strip()) for index, line in enumerate(stream, start=1)]
    except OSError:
        return []


# --- programs (pure) ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Writer:
    """A program that sets parameters after systemd-sysctl. ``rereads``: lines of files that it applies after its own values, by name only; None
    when it does not.

    A value that begins with ``>`` or ``<`` is only set when it is larger or smaller than what is there (tuned).
    """

    name: str
    sets: t.Mapping[str, Assignment]
    rereads: tuple[Assignment, ...] | None = None

    def after(self, key: str, value: Words) -> tuple[Words, Assignment | None]:
        """Return what a parameter is after this program, and the line by which it set it (None: it does not)."""
        again = [a for a in self.rereads or () if a.key == key and a.value]
        if again:
            return t.cast(Words, again[-1].value), again[-1]
        found = self.sets.get(key)
        if found is None or not found.value:
            return value, None
        sign, limit = found.value[0][0], found.value[0][1:]
        if sign not in "<>":
            return found.value, found
        wanted, now = number(limit), number(value[0]) if len(value) == 1 else None
        if wanted is None or now is None:
            return value, None
        return ((limit,), found) if (wanted > now if sign == ">" else wanted < now) else (value, None)


def finally_(key: str, value: Words, writers: t.Sequence[Writer]) -> tuple[Words, str, Assignment | None]:
    """Return what a parameter is after all programs in their order, and who set it last by which line."""
    name, line = "", None
    for writer in writers:
        value, found = writer.after(key, value)
        name, line = (writer.name, found) if found is not None else (name, line)
    return value, name, line


def cloud_init_assignments(path: str, lines: t.Sequence[tuple[int, str]], script: bool = False) -> list[Assignment]:
    """Find parameters that a shell script, or the ``bootcmd`` of a cloud-config, sets at each boot."""
    found, section = [], ""
    for index, raw in lines:
        line = raw.rstrip()
        heading = re.match(r"([A-Za-z_]+):", line)
        section = heading[1] if heading else section
        if (not script and section != "bootcmd") or line.lstrip().startswith("#"):
            continue
        found += [Assignment(path, index, normal_key(m[1]), words_of(m[2])) for m in BY_SYSCTL.finditer(line)]
        found += [Assignment(path, index, normal_key("/" + m[2]), words_of(m[1])) for m in BY_PROC.finditer(line)]
    return found


def tuned_section(path: str, lines: t.Sequence[tuple[int, str]]) -> tuple[list[str], list[Assignment], bool]:
    """Read a tuned profile: the profiles that it includes, its parameters, and whether they replace those of the included ones."""
    includes: list[str] = []
    found: list[tuple[str, Assignment]] = []
    kinds: dict[str, str] = {}
    replaces, section = False, ""
    for index, line in lines:
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            section = line.strip("[]").strip()
            continue
        name, _sign, value = (part.strip() for part in line.partition("="))
        if section == "main" and name == "include":
            includes += [part.strip(" ?") for part in re.split(r"[,\s]+", value) if part.strip(" ?")]
        elif name == "type":
            kinds[section] = value
        elif name == "replace" and kinds.get(section, section) == "sysctl":
            replaces = value.lower() in ("1", "true", "yes")
        elif "." in name or "/" in name:
            key = normal_key("/" + name.replace(".", "/"))
            found.append((section, Assignment(path, index, key, words_of(value.strip("\"'")))))
    return includes, [line for section, line in found if kinds.get(section, section) == "sysctl"], replaces


def kube_proxy_assignments(path: str, text: str, cpus: int) -> dict[str, Assignment]:
    """Return what kube-proxy sets when it starts, from its configuration in the block form that kubeadm writes."""
    settings = _block(text)

    def setting(name: str, default: str) -> tuple[str, int]:
        value, line = settings.get(name, ("", 1))
        value = value.strip("\"'")
        return (default if value in UNSET else value, line)

    found: dict[str, tuple[str, int]] = {}
    (core, line), (floor, _rest) = (
        setting("conntrack.maxPerCore", str(CONNTRACK_PER_CORE)),
        setting("conntrack.min", str(CONNTRACK_FLOOR)),
    )
    if (number(core) or 0) > 0:
        scaled = (number(core) or 0) * cpus
        limit = CONNTRACK_CEILING if scaled > CONNTRACK_CEILING else max(scaled, number(floor) or 0)
        found["net.netfilter.nf_conntrack_max"] = (str(limit), line)
    for name, (key, default) in CONNTRACK_TIMES.items():
        given, line = setting(f"conntrack.{name}", default)
        seconds = int(sum(float(count) * SECONDS[unit] for count, unit in re.findall(r"([\d.]+)(ms|h|m|s)", given)))
        if seconds > 0:
            found[f"net.netfilter.{key}"] = (str(seconds), line)
    if setting("conntrack.tcpBeLiberal", "false")[0] == "true":
        found["net.netfilter.nf_conntrack_tcp_be_liberal"] = ("1", settings["conntrack.tcpBeLiberal"][1])
    mode, line = setting("mode", "iptables")
    if mode == "ipvs":
        strict = IPVS_STRICT_ARP if setting("ipvs.strictARP", "false")[0] == "true" else {}
        found.update({key: (value, line) for key, value in {**IPVS, **strict}.items()})
    on_loopback = (
        setting("iptables.localhostNodePorts", "true")[0] == "true" and not setting("nodePortAddresses", "")[0]
    )
    if mode == "iptables" and on_loopback:
        found["net.ipv4.conf.all.route_localnet"] = ("1", line)
    return {key: Assignment(path, at, key, (value,)) for key, (value, at) in found.items()}


def _block(text: str) -> dict[str, tuple[str, int]]:
    """Read scalars of nested mappings: ``a.b -> (value, line)``. A list is noted under its name when it has entries."""
    found: dict[str, tuple[str, int]] = {}
    stack: list[tuple[int, str]] = []
    for index, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        indent = len(raw) - len(raw.lstrip())
        if line.startswith("- ") and stack:
            found[".".join(name for _rest, name in stack)] = ("[]", index)
            continue
        name, sign, value = line.partition(":")
        if not sign or line.startswith("#"):
            continue
        while stack and stack[-1][0] >= indent:
            stack.pop()
        stack.append((indent, name))
        if value.strip() not in ("", "[]", "{}"):
            found[".".join(part for _rest, part in stack)] = (value.strip(), index)
    return found


# --- looking at the machine -----------------------------------------------------------------------------------------------------------------


def read_writers(
    keys: t.Iterable[str], reread: tuple[Assignment, ...], cpus: int, root: str = "/"
) -> tuple[Writer, ...]:
    """Find the programs that set one of ``keys`` after systemd-sysctl, in the order in which they do.

    :param reread: assignments of the files that tuned applies again.
    """
    names = set(keys)
    found = [_cloud_init(root), _tuned(reread, root)]
    if any(name.startswith(KUBE_PROXY_PREFIXES) for name in names):
        found.append(_kube_proxy(cpus, root))
    return tuple(
        writer for writer in found if writer and names & {*writer.sets, *(a.key for a in writer.rereads or ())}
    )


def _paths(pattern: str, root: str) -> list[str]:
    """Expand a pattern below another root; the paths are the machine's."""
    base = root.rstrip("/")
    return [path[len(base) :] for path in sorted(glob.glob(glob.escape(base) + pattern))]


def _cloud_init(root: str) -> Writer | None:
    if os.path.exists(within(root, "/etc/cloud/cloud-init.disabled")):
        return None
    found: list[Assignment] = []
    for pattern in (*CLOUD_FILES, CLOUD_SCRIPTS):
        for path in _paths(pattern, root):
            found += cloud_init_assignments(path, _raw_lines(path, root), script=pattern == CLOUD_SCRIPTS)
    return Writer("cloud-init", {line.key: line for line in found}) if found else None


def _raw_lines(path: str, root: str) -> list[tuple[int, str]]:
    try:
        with open(within(root, path), encoding="utf-8", errors="replace") as stream:
            return list(enumerate(stream, start=1))
    except OSError:
        return []


def _tuned(reread: tuple[Assignment, ...], root: str) -> Writer | None:
    if not _paths("/etc/systemd/system/*.target.wants/tuned.service", root):
        return None
    sets: dict[str, Assignment] = {}
    for _index, line in _lines("/etc/tuned/active_profile", root):
        for name in line.split():
            sets = _tuned_profile(name, sets, root, ())
    if not sets:
        return None  # without a parameter there is no instance of its plugin, and nothing is read again
    options: dict[str, str] = {}
    for _index, line in _lines("/etc/tuned/tuned-main.conf", root):
        name, _sign, value = line.partition("=")
        options[name.strip()] = value.strip()
    rereads = options.get("reapply_sysctl", "1").lower() in ("1", "true", "yes", "on")
    return Writer("tuned", sets, reread if rereads else None)


def _tuned_profile(
    name: str, sets: t.Mapping[str, Assignment], root: str, above: tuple[str, ...]
) -> dict[str, Assignment]:
    """Return ``sets`` with a profile's parameters over them; included profiles come first."""
    merged = dict(sets)
    if name in above:
        return merged
    candidates = (f"{directory}/{name}/tuned.conf" for directory in TUNED_PROFILES)
    path = next((path for path in candidates if os.path.isfile(within(root, path))), None)
    if path is None:
        return merged
    includes, found, replaces = tuned_section(path, _lines(path, root))
    for include in includes:
        merged = _tuned_profile(include, merged, root, (*above, name))
    return {**({} if replaces else merged), **{line.key: line for line in found}}


def _kube_proxy(cpus: int, root: str) -> Writer | None:
    paths = _paths(KUBE_PROXY, root)
    if not paths:
        return None
    newest = max(paths, key=lambda path: os.stat(within(root, path)).st_mtime)
    text = "".join(line for _rest, line in _raw_lines(newest, root))
    return Writer("kube-proxy", kube_proxy_assignments(newest, text, cpus))
