# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall of one host: its nftables table, the file and unit that load it at boot, and the way back when it was never confirmed.

A new table is live first and kept only afterwards. Before it is loaded, a timer of systemd is armed that gives the former table back; the timer is
stopped by :func:`confirm`, over a new connection. The file that is loaded at boot is written then, so a reboot goes back as well.

Tables are compared as ``nft`` itself lists them: the wanted one is loaded into a network namespace of its own for that, so that another spelling of the
same rules is no difference, and a rule that nftables refuses is found before anything is touched.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _ssh_client, _systemd
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

FAMILY, TABLE = "inet", "bare_metal_firewall"
RULES_PATH = "/etc/bare-metal-kubernetes/firewall.nft"
UNIT = "bare-metal-firewall.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
ROLLBACK = "bare-metal-firewall-rollback"
ROLLBACK_NAME = "firewall-rollback.nft"
GONE = f"table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n"
# Loads and lists in one namespace; the text comes on standard input, the words are constant.
LIST_ELSEWHERE = ("unshare", "--net", "sh", "-c", f"nft -f - && nft --stateless list table {FAMILY} {TABLE}")
# Before the network is up, and after the distribution's own rules, whose loading begins with a flush. Without a conflict with shutdown.target it
# stays until the machine is off. Stopping it by hand opens the host.
UNIT_TEXT = f"""# Written by bare_metal.kubernetes (role node_firewall).
[Unit]
Description=The node's firewall: nftables table {FAMILY} {TABLE}
DefaultDependencies=no
After=local-fs.target systemd-modules-load.service nftables.service
Wants=network-pre.target
Before=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=nft -f {RULES_PATH}
ExecReload=nft -f {RULES_PATH}
ExecStop=-nft delete table {FAMILY} {TABLE}

[Install]
WantedBy=sysinit.target
"""


class NodeFirewallError(Exception):
    """The firewall cannot be changed; the message says why and what to do."""


@dataclass(frozen=True)
class Observed:
    """What is there. ``live`` is the table as nft lists it (empty: none), ``pending`` whether a table waits for its confirmation."""

    live: str = ""
    rules: str = ""
    unit: str = ""
    enabled: bool = False
    active: bool = False
    pending: bool = False


@dataclass(frozen=True)
class Wanted:
    """``text``: the file for nft (empty: no firewall); ``live``: the same as nft lists it, empty when nft is not installed yet."""

    text: str = ""
    live: str = ""


@dataclass(frozen=True)
class Change:
    """One step: ``verb`` (``roll back``, ``load``, ``delete``, ``write``, ``remove``, ``enable``, ``disable``, ``start``) and its object."""

    verb: str
    name: str
    before: str = ""
    after: str = ""


# --- plan (pure)


def plan(observed: Observed, wanted: Wanted) -> list[Change]:
    """The steps from what is there to what is wanted, in their order."""
    table = f"table {FAMILY} {TABLE}"
    if not wanted.text:
        return [
            *([Change("roll back", table)] if observed.pending else []),
            *([Change("disable", UNIT)] if observed.unit else []),
            *([Change("delete", table, observed.live)] if observed.live else []),
            *([Change("remove", UNIT_PATH, observed.unit)] if observed.unit else []),
            *([Change("remove", RULES_PATH, observed.rules)] if observed.rules else []),
        ]
    changes = [Change("roll back", table)] if observed.pending else []
    # After a rollback nobody knows yet what is live: it is loaded again.
    if observed.pending or observed.live != wanted.live or not wanted.live:
        changes.append(Change("load", table, observed.live, wanted.live or wanted.text))
    if observed.rules != wanted.text:
        # What it loads is shown with the table.
        changes.append(Change("write", RULES_PATH))
    if observed.unit != UNIT_TEXT:
        changes.append(Change("write", UNIT_PATH, observed.unit, UNIT_TEXT))
    if not observed.enabled:
        changes.append(Change("enable", UNIT))
    if not observed.active:
        changes.append(Change("start", UNIT))
    return changes


def needs_confirmation(changes: t.Sequence[Change]) -> bool:
    """Whether the steps change what is let in: then they are kept only when the controller gets in once more."""
    return any(change.verb == "load" for change in changes)


def diff(changes: t.Sequence[Change]) -> list[dict[str, str]]:
    """The steps for ``--diff``, as they are in check mode and out of it."""
    shown = []
    for change in changes:
        before, after = change.before, change.after
        if not before and not after:
            after = f"{change.verb} {change.name}\n"
        shown.append({"before_header": change.name, "after_header": change.name, "before": before, "after": after})
    return shown


# --- the host


def listed() -> str:
    """The live table as nft lists it, without counters; empty when there is none, or no nft."""
    try:
        return run(["nft", "--stateless", "list", "table", FAMILY, TABLE], timeout=30, check=False).stdout
    except CommandError:
        return ""


def canonical(text: str) -> str:
    """The table of ``text`` as nft lists it; empty when nft is not installed.

    :raises NodeFirewallError: when nft refuses the text.
    """
    if not text:
        return ""
    try:
        return run(LIST_ELSEWHERE, input_text=text, timeout=60).stdout
    except CommandError as exc:
        if exc.missing or (exc.result is not None and exc.result.rc == 127):
            return ""
        raise NodeFirewallError(f"nft refuses the table: {exc}") from exc


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def observe() -> Observed:
    """Look at the table, its file and its units."""
    try:
        units = _systemd.show_many([UNIT, f"{ROLLBACK}.timer"])
    except CommandError as exc:
        raise NodeFirewallError(f"systemd does not answer: {exc}") from exc
    return Observed(
        live=listed(),
        rules=_read(RULES_PATH),
        unit=_read(UNIT_PATH),
        enabled=units[UNIT].enabled == "enabled",
        active=units[UNIT].active == "active",
        pending=units[f"{ROLLBACK}.timer"].active == "active",
    )


def rollback_path(state_dir: str) -> str:
    return os.path.join(state_dir, ROLLBACK_NAME)


def disarm(state_dir: str) -> None:
    """Stop the way back, and a rollback that has just begun: a table is exchanged as a whole or not at all."""
    run(["systemctl", "stop", f"{ROLLBACK}.timer", f"{ROLLBACK}.service"], timeout=30, check=False)
    if os.path.exists(rollback_path(state_dir)):
        os.unlink(rollback_path(state_dir))


def roll_back(state_dir: str) -> None:
    """Give the former table back now: an earlier run was killed before it could confirm."""
    if os.path.exists(rollback_path(state_dir)):
        run(["nft", "-f", rollback_path(state_dir)], timeout=60)
    disarm(state_dir)


def load(text: str, former: str, seconds: int, state_dir: str) -> None:
    """Arm the way back to ``former``, then load ``text``, both in full or not at all.

    :param seconds: after which the former table comes back unless :func:`confirm` is called.
    """
    os.makedirs(state_dir, mode=0o755, exist_ok=True)
    write_atomic(rollback_path(state_dir), (GONE + former).encode(), 0o600)
    armed = ["systemd-run", "--quiet", "--collect", f"--unit={ROLLBACK}", f"--on-active={seconds}s"]
    run(
        [*armed, "--timer-property=AccuracySec=100ms", "nft", "-f", rollback_path(state_dir)],
        timeout=30,
    )
    try:
        run(["nft", "-f", "-"], input_text=text, timeout=60)
    except CommandError:
        disarm(state_dir)
        raise


def keep(observed: Observed, wanted: Wanted) -> None:
    """Have the table loaded at every boot."""
    os.makedirs(os.path.dirname(RULES_PATH), mode=0o755, exist_ok=True)
    if observed.rules != wanted.text:
        write_atomic(RULES_PATH, wanted.text.encode(), 0o600)
    if observed.unit != UNIT_TEXT:
        write_atomic(UNIT_PATH, UNIT_TEXT.encode(), 0o644)
        _systemd.systemctl("daemon-reload")
    if not observed.enabled:
        _systemd.systemctl("enable", UNIT)
    if not observed.active:
        _systemd.systemctl("start", UNIT)


def take_away(observed: Observed, state_dir: str) -> None:
    """Remove the table, its unit and its file: the host is open as before."""
    if observed.pending:
        roll_back(state_dir)
    if observed.unit:
        _systemd.systemctl("disable", "--now", UNIT)
    if listed():
        run(["nft", "delete", "table", FAMILY, TABLE], timeout=30)
    for path in (UNIT_PATH, RULES_PATH):
        if os.path.exists(path):
            os.unlink(path)
    if observed.unit:
        _systemd.systemctl("daemon-reload")


def apply(observed: Observed, wanted: Wanted, changes: t.Sequence[Change], seconds: int, state_dir: str) -> bool:
    """Carry the steps out; return whether :func:`confirm` has to follow within ``seconds``."""
    if not wanted.text:
        take_away(observed, state_dir)
        return False
    if observed.pending:
        roll_back(state_dir)
    if not needs_confirmation(changes):
        keep(observed, wanted)
        return False
    load(wanted.text, listed(), seconds, state_dir)
    return True


def confirm(wanted: Wanted, former_connection: str, client: _ssh_client.SshClient | None, state_dir: str) -> None:
    """Keep the table that :func:`load` made live: called over a connection that was made after it.

    :raises NodeFirewallError: when the connection is the old one, or the way back was taken already.
    """
    if client is not None and former_connection == client.name:
        raise NodeFirewallError(
            "the connection is the one from before the change: it proves nothing, the former table comes back"
        )
    disarm(state_dir)
    if listed() != canonical(wanted.text):
        raise NodeFirewallError(
            "the controller got in too late: the host has given its former rules back by itself. Look at cluster_firewall_admin_cidrs and "
            "cluster_firewall_rules; nothing of the new table was kept."
        )
    keep(observe(), wanted)
