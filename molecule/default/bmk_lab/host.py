# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab touches of the host: packages, its mirror, and the kernel parameters that containers share with it."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from bmk_lab.model import LabError

# catatonit, netavark, aardvark-dns and crun's replacement runc are recommendations of podman that it does not work without here.
PACKAGES = (
    "podman",
    "runc",
    "netavark",
    "aardvark-dns",
    "iptables",
    "uidmap",
    "mmdebstrap",
    "debian-archive-keyring",
    "openssh-client",
)

# podman's default for both limits.
LIMIT_MAXIMUM = 1048576

# Trees without a namespace: a node that writes them writes the host's. Of `net`, what podman itself switches on.
SYSCTL_TREES = ("fs", "kernel", "vm")
SYSCTL_SINGLE = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
# Limits of a user, so of root in all machines together. systemd takes about ten instances in each, and ends with status 255 when the
# kernel's default of 128 is used up. Small enough to leave the cluster's own tuning something to do.
SYSCTL_MINIMA = {"fs.inotify.max_user_instances": 1024}
# The kernel changes these itself, or they are actions, or belong to a namespace.
SYSCTL_VOLATILE = re.compile(
    r"^(fs\.binfmt_misc\..*|fs\.mqueue\..*|kernel\.(random\..*|ns_last_pid|tainted|hostname|domainname|cad_pid|perf_event_max_sample_rate|"
    r"perf_cpu_time_max_percent|shm.*|msg.*|sem.*|auto_msgmni)|vm\.(drop_caches|compact_memory|stat_refresh))$"
)
# Two spellings of one value: writing one clears the other, so a cleared one is never written back.
SYSCTL_TWINS = re.compile(r"^vm\.dirty_(background_)?(bytes|ratio)$")


def missing_packages(status: str, wanted: Iterable[str] = PACKAGES) -> tuple[str, ...]:
    """:param status: output of `dpkg-query -W -f '${Package} ${db:Status-Status}\\n'`."""
    installed = {line.split()[0] for line in status.splitlines() if line.endswith(" installed")}
    return tuple(name for name in wanted if name not in installed)


def _entries(text: str) -> Iterable[tuple[str, list[str], list[str]]]:
    """(uri, suites, components) of deb822 stanzas and of one-line entries."""
    for line in text.splitlines():
        match = re.match(r"^deb\s+(?:\[[^]]*]\s+)?(\S+)\s+(\S+)\s+(.+)$", line)
        if match:
            yield match[1], [match[2]], match[3].split()
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        fields = dict(re.findall(r"(?m)^(\w[\w-]*):[ \t]*(.*)$", "\n".join(lines)))
        if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes").strip() != "no":
            for uri in fields.get("URIs", "").split():
                yield uri, fields.get("Suites", "").split(), fields.get("Components", "").split()


def debian_mirror(texts: Iterable[str], codename: str) -> str:
    """The mirror that the host takes its own Debian from; empty (mmdebstrap's default) if none is configured.

    :param texts: contents of the host's apt sources. :param codename: the host's release.
    """
    for text in texts:
        for uri, suites, components in _entries(text):
            if codename in suites and "main" in components:
                return uri
    return ""


def apt_proxy_options(dump: str) -> list[str]:
    """The host's proxies as options of mmdebstrap. :param dump: output of `apt-config dump`."""
    found = re.findall(r'(?m)^(Acquire::https?::Proxy) "([^"]+)";$', dump)
    return [f'--aptopt={name} "{value}";' for name, value in found]


def to_restore(recorded: Mapping[str, str], current: Mapping[str, str]) -> dict[str, str]:
    """The recorded parameters that have another value now."""
    return {
        name: value
        for name, value in sorted(recorded.items())
        if name in current and current[name] != value and not (SYSCTL_TWINS.match(name) and value == "0")
    }


def too_low(current: Mapping[str, str], minima: Mapping[str, int] | None = None) -> dict[str, str]:
    """What to raise, with the value to raise it to."""
    wanted = SYSCTL_MINIMA if minima is None else minima
    return {name: str(value) for name, value in wanted.items() if name in current and int(current[name]) < value}


def _path(name: str) -> Path:
    return Path("/proc/sys", *name.split("."))


def read_limits() -> dict[str, str]:
    return {name: _path(name).read_text().strip() for name in SYSCTL_MINIMA}


def read_sysctls(root: Path = Path("/proc/sys")) -> dict[str, str]:
    """All shared parameters that can be read and written, white space normalised."""
    files = [path for tree in SYSCTL_TREES for path in sorted((root / tree).rglob("*"))]
    files += [root.joinpath(*name.split(".")) for name in SYSCTL_SINGLE]
    values: dict[str, str] = {}
    for path in files:
        name = ".".join(path.relative_to(root).parts)
        try:
            if SYSCTL_VOLATILE.match(name) or not path.is_file() or path.stat().st_mode & 0o600 != 0o600:
                continue
            values[name] = " ".join(path.read_text().split())
        except (OSError, UnicodeDecodeError):
            continue  # refused by the kernel: then no node can have changed it either
    return values


# The kernel lets these go one way only, until the next boot (admin-guide/sysctl/kernel): Cilium's agent turns the first one on.
SYSCTL_ONE_WAY = frozenset(
    {"kernel.unprivileged_bpf_disabled", "kernel.kexec_load_disabled", "kernel.modules_disabled"}
)


def write_sysctls(values: Mapping[str, str], root: Path = Path("/proc/sys")) -> list[str]:
    """Set parameters.

    :returns: the names of those that stay as they are until the next boot, because the kernel lets nobody turn them back.
    :raises LabError: with all others that the kernel refused.
    """
    refused, stay = [], []
    for name, value in values.items():
        try:
            root.joinpath(*name.split(".")).write_text(value + "\n")
        except OSError as error:
            if name in SYSCTL_ONE_WAY:
                stay.append(name)
            else:
                refused.append(f"{name} = {value}: {error.strerror}")
    if refused:
        raise LabError("The host's kernel refuses parameters:\n" + "\n".join(f"  - {line}" for line in refused))
    return stay


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def recorded_sysctls(path: Path) -> dict[str, str] | None:
    """What was recorded since the host booted; nothing if it never was, or before: then the values are the host's own again."""
    try:
        record = json.loads(path.read_text())
        return dict(record["values"]) if record["boot_id"] == boot_id() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record_sysctls(path: Path) -> None:
    write_atomically(path, json.dumps({"boot_id": boot_id(), "values": read_sysctls()}, indent=1) + "\n")


def run(
    argv: list[str], timeout: float = 120, check: bool = True, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """:raises LabError: on a failure (if `check`) and on a timeout, with the command and what it said."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout, env=environment, check=False, input=stdin
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv)}: no answer within {timeout:g} s") from None
    except FileNotFoundError:
        raise LabError(f"{argv[0]}: no such command on this host") from None
    if check and done.returncode:
        raise LabError(
            f"{' '.join(argv)}: exit status {done.returncode}\n{(done.stderr or done.stdout).strip()[-2000:]}"
        )
    return done


def install_packages(names: Iterable[str]) -> None:
    run(["apt-get", "-q", "update"], timeout=300)
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    run([*environment, "apt-get", "-qy", "install", "--no-install-recommends", *names], timeout=900)


def resource_limits() -> dict[str, int]:
    """The most that a container can be given here.

    Without CAP_SYS_RESOURCE limits cannot be raised, so podman's own defaults are refused; and podman lowers its own process limit to
    kernel.pid_max before it starts anything.
    """
    hard = {
        name: resource.getrlimit(number)[1]
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
    }
    ceiling = {"nofile": LIMIT_MAXIMUM, "nproc": min(LIMIT_MAXIMUM, int(Path("/proc/sys/kernel/pid_max").read_text()))}
    return {
        name: ceiling[name] if limit == resource.RLIM_INFINITY else min(limit, ceiling[name])
        for name, limit in hard.items()
    }
