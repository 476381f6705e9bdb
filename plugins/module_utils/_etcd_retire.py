# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a whole etcd off a host that nobody asks any more: the member is stopped, its data, unit and settings are removed.

It is not the removal of one member from a cluster that lives on. While an API server is still told of it, nothing is touched: its own host's manifest says
so, and the kernel's table of connections names those of other hosts.
"""

from __future__ import annotations

import glob
import ipaddress
import os
import shutil
import struct
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _systemd
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._etcd import EtcdError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._etcd_client import Paths

API_SERVER = "/etc/kubernetes/manifests/kube-apiserver.yaml"
CONNECTION_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
ESTABLISHED = "01"  # include/net/tcp_states.h
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 1.0
STOP, DATA, UNIT, SETTINGS = "stop", "remove data", "remove unit", "remove settings"


@dataclass(frozen=True)
class Found:
    """What of the member is on this host: is its unit known to systemd or in boot's way, and which paths of each kind are there."""

    unit: bool
    unit_files: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def anything(self) -> bool:
        return self.unit or bool(self.unit_files or self.data or self.settings)


@dataclass(frozen=True)
class Step:
    """One small action. What tells that there is something to do (the settings) goes last, so a run that is cut is taken up by the next."""

    kind: str
    paths: tuple[str, ...] = ()

    def words(self, unit: str) -> str:
        return f"{self.kind}: {', '.join(self.paths) or unit}"


def plan(found: Found) -> tuple[Step, ...]:
    """The steps that are left. Pure."""
    steps = [Step(STOP)] if found.unit else []
    steps += [Step(kind, paths) for kind, paths in ((DATA, found.data), (UNIT, found.unit_files)) if paths]
    return (*steps, *([Step(SETTINGS, found.settings)] if found.settings else []))


def _address(text: str) -> str:
    """An address of the kernel's table: 32 bit words in the machine's order, in hexadecimal."""
    words = [int(text[index : index + 8], 16) for index in range(0, len(text), 8)]
    found = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def parse_clients(table: str, port: int) -> set[str]:
    """Addresses of other hosts with a connection to a local port, from ``/proc/net/tcp`` or ``tcp6``. Pure.

    A connection with the same address at both ends is this host's own: etcd's gateway makes one to itself.
    """
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 4 or fields[3] != ESTABLISHED:
            continue
        (local, local_port), (remote, _remote_port) = (field.split(":") for field in fields[1:3])
        if int(local_port, 16) == port and local != remote:
            found.add(_address(remote))
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def clients(client_url: str, manifest: str = API_SERVER) -> list[str]:
    """Who still uses the member with this client URL."""
    port = urlsplit(client_url).port or 0
    found = {address for path in CONNECTION_TABLES for address in parse_clients(_read(path), port)}
    told = [f"kube-apiserver of this host ({manifest})"] if client_url in _read(manifest) else []
    return [*told, *sorted(found)]


def installed(paths: Paths) -> bool:
    """Is anything of a member on this host? Asks no systemd: it is looked at in every run."""
    return bool(_settings(paths) or _data(paths))


def _settings(paths: Paths) -> tuple[str, ...]:
    return tuple(path for path in (paths.configuration, paths.first_start, paths.environment) if os.path.lexists(path))


def _data(paths: Paths) -> tuple[str, ...]:
    """What etcd made, and what was set aside of earlier lives; nothing else that may be in these directories."""
    member = os.path.join(paths.data, "member")
    roots = dict.fromkeys((member, paths.wal))
    found = [path for root in roots for path in (root, *sorted(glob.glob(f"{glob.escape(root)}.replaced-*")))]
    return tuple(path for path in found if os.path.lexists(path) and not path.startswith(member + os.sep))


def observe(paths: Paths) -> Found:
    unit = _systemd.show(paths.unit)
    own = [path for path in unit.own_files if os.path.basename(path) == paths.unit]
    return Found(unit.running or unit.enabled == "enabled", tuple(own), _data(paths), _settings(paths))


def _act(step: Step, paths: Paths) -> None:
    if step.kind == STOP:
        _systemd.systemctl("stop", paths.unit)
        _systemd.systemctl("disable", paths.unit)
        return
    for path in step.paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    if step.kind == UNIT:
        _systemd.systemctl("daemon-reload")
    emptied = {DATA: paths.data, SETTINGS: os.path.dirname(paths.configuration)}.get(step.kind, "")
    if emptied and os.path.isdir(emptied) and not os.path.ismount(emptied) and not os.listdir(emptied):
        os.rmdir(emptied)


def retire(paths: Paths, client_url: str, check: bool) -> tuple[str, ...]:
    """Take the member off; returns the steps in words.

    :raises EtcdError: an API server still uses it.
    """
    found = observe(paths)
    steps = plan(found)
    words = tuple(step.words(paths.unit) for step in steps)
    if check or not steps:
        return words
    # In check mode the API servers still have their old flags.
    until = time.monotonic() + PATIENCE_SECONDS
    while using := clients(client_url) if found.unit else []:
        if time.monotonic() > until:
            raise EtcdError(
                f"the member of {paths.unit} is still used by {', '.join(using)}. Run the playbook site with all control planes: it takes the flag away first."
            )
        time.sleep(POLL_SECONDS)
    for step in steps:
        _act(step, paths)
    return words
