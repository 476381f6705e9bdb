# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks and changes etcd on a member's host: etcdctl, the peer port, the loopback health check, systemd and the data directory."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
import typing as t
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _etcd as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _systemd
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, CommandResult, run

PEER_TIMEOUT_SECONDS = 4.0
HEALTH_TIMEOUT_SECONDS = 5.0
COMMAND_TIMEOUT_SECONDS = 5
PROCESS_SECONDS = 100.0  # systemd gives a process 90 s to end
POLL_SECONDS = 0.5
CRASHES_SEEN = 15  # so often the unit may be seen between a crash and its next start before the run gives up


@dataclass(frozen=True)
class Paths:
    """Where things are on this host. ``first_start``: the configuration of the first start; ``environment`` tells the unit to use it.

    ``pending``: check mode, and a run would have written one of ``reads`` by now.
    """

    etcdctl: str
    unit: str
    pki: str
    configuration: str
    data: str
    wal: str
    health_url: str
    reads: tuple[str, ...]
    pending: bool = False

    @property
    def first_start(self) -> str:
        return os.path.join(os.path.dirname(self.configuration), "first-start.yaml")

    @property
    def environment(self) -> str:
        return os.path.join(os.path.dirname(self.configuration), "first-start.env")


# --- asking ---------------------------------------------------------------------------------------------------------------------------------


def has_data(paths: Paths) -> bool:
    """Tell whether this member has a write-ahead log. etcd creates it whole (by a rename) as the first thing that counts."""
    return os.path.isdir(paths.wal) and any(name.endswith(".wal") for name in os.listdir(paths.wal))


def ask_peer(url: str, pki: str) -> core.View | None:
    """Ask a member at its peer port what it knows; None when it does not answer."""
    parts = urllib.parse.urlsplit(url)
    try:
        context = ssl.create_default_context(cafile=os.path.join(pki, "ca.crt"))
        context.load_cert_chain(os.path.join(pki, "peer.crt"), os.path.join(pki, "peer.key"))
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=PEER_TIMEOUT_SECONDS, context=context
        )
        try:
            connection.request("GET", "/members")
            response = connection.getresponse()
            text = response.read().decode()
            if response.status != http.HTTPStatus.OK:
                return None
            return core.parse_view(response.headers.get("X-Etcd-Cluster-ID", ""), text)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError, core.EtcdError):
        return None


def may_serve(url: str) -> bool:
    """Ask the member on this host, on loopback without TLS, whether it serves with a quorum.

    A member without a leader says so at once. One that is too busy to answer in time has perhaps a quorum, and counts as serving.
    """
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=HEALTH_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health?exclude=NOSPACE")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError as exc:
        return isinstance(exc, socket.timeout)  # TimeoutError only since Python 3.10
    except http.client.HTTPException:
        return False
    finally:
        connection.close()


def etcdctl(paths: Paths, endpoints: t.Iterable[str], *words: str, check: bool = True) -> CommandResult:
    """Run etcdctl with the member's client certificate."""
    argv = [
        paths.etcdctl,
        f"--endpoints={','.join(endpoints)}",
        f"--cacert={paths.pki}/ca.crt",
        f"--cert={paths.pki}/client.crt",
        f"--key={paths.pki}/client.key",
        "--dial-timeout=2s",
        f"--command-timeout={COMMAND_TIMEOUT_SECONDS}s",
        *words,
        "--write-out=json",
    ]
    return run(argv, timeout=4 * COMMAND_TIMEOUT_SECONDS, check=check)


def observe_unit(paths: Paths) -> tuple[_systemd.UnitState, bool]:
    """Return the unit's state and whether its process is older than a file that it reads (or its program was replaced)."""
    unit = _systemd.show(paths.unit)
    replaced = False
    if unit.main_pid:
        try:
            replaced = os.readlink(f"/proc/{unit.main_pid}/exe").endswith(" (deleted)")
        except OSError:
            replaced = False
    return unit, unit.running and (replaced or _systemd.is_stale(unit, paths.reads))


def observe(wanted: core.Wanted, paths: Paths, data_elsewhere: t.Mapping[str, bool | None]) -> core.Observed:
    """Find out all that a decision needs. Changes nothing; members that do not answer cost four seconds, all together."""
    unit, stale = observe_unit(paths)
    with ThreadPoolExecutor(max_workers=len(wanted.peers) or 1) as pool:
        views = list(pool.map(lambda peer: ask_peer(peer.peer_url, paths.pki), wanted.peers))
    known = {peer.name: view for peer, view in zip(wanted.peers, views) if view is not None}
    members, health, error = None, {}, "no member answers at its peer port"
    if any(view.formed for view in known.values()):
        try:
            # Only those that answered: etcdctl waits for its whole timeout when the first one that it tries is gone.
            answering = [peer.client_url for peer in wanted.peers if peer.name in known]
            members = core.parse_members(etcdctl(paths, answering, "member", "list").stdout)
            every = [url for member in members for url in member.client_urls]
            health = core.parse_health(etcdctl(paths, every, "endpoint", "health", check=False).stdout)
        except (CommandError, core.EtcdError) as exc:
            members, error = None, str(exc)
    return core.Observed(
        running=unit.running,
        stale=stale or (unit.running and paths.pending),
        has_data=has_data(paths),
        members=members,
        health=health,
        views=known,
        data_elsewhere=data_elsewhere,
        serves=unit.running and may_serve(paths.health_url),
        ask_error=error,
    )


# --- acting ---------------------------------------------------------------------------------------------------------------------------------


def set_aside(paths: Paths) -> str:
    """Rename what an earlier life left in the data directory, so nothing is lost and nothing is mixed in; returns the new name, if any."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    member = os.path.join(paths.data, "member")
    moved = ""
    for path in dict.fromkeys((paths.wal, member)):
        if os.path.isdir(path) and (path == member or not path.startswith(member + os.sep)):
            moved = f"{path}.replaced-{stamp}"
            os.rename(path, moved)
    return moved


def write_first_start(paths: Paths, cluster: str, new: bool) -> None:
    """Write the configuration of the first start, then the file that makes the unit use it."""
    with open(paths.configuration, encoding="utf-8") as stream:
        text = core.first_start_configuration(stream.read(), cluster, new)
    write_atomic(paths.first_start, text.encode(), 0o644)
    write_atomic(paths.environment, f"CONFIGURATION={paths.first_start}\n".encode(), 0o644)


def drop_first_start(paths: Paths) -> bool:
    """Remove what :func:`write_first_start` wrote; True when there was something."""
    found = [path for path in (paths.environment, paths.first_start) if os.path.exists(path)]
    for path in found:
        os.unlink(path)
    return bool(found)


def start(paths: Paths, verb: str) -> None:
    """Start or restart the unit and wait for its new process, not for it to be ready: a member of a new cluster is only ready when a quorum is there."""
    before = _systemd.show(paths.unit)
    if before.load == "not-found" or before.need_reload:
        _systemd.systemctl("daemon-reload")
    _systemd.systemctl(verb, paths.unit, block=False)
    deadline = time.monotonic() + PROCESS_SECONDS
    while time.monotonic() < deadline:
        unit = _systemd.show(paths.unit)
        if unit.active == "failed" or unit.main_pid not in (0, before.main_pid):
            return
        time.sleep(0.1)
    raise core.EtcdError(
        f"systemd did not {verb} the unit {paths.unit} within {PROCESS_SECONDS:g} s: it is {unit.active} ({unit.sub})"
    )


def act(decision: core.Decision, wanted: core.Wanted, paths: Paths, observed: core.Observed) -> None:
    """Carry out a decision, every part of which can be cut: the next observation leads to what is left."""
    if decision.kind in (core.START, core.RESTART):
        if observed.has_data:
            drop_first_start(paths)
        start(paths, "restart" if decision.kind == core.RESTART else "start")
        return
    endpoints = [url for url, why in observed.health.items() if not why]
    if decision.kind == core.PROMOTE:
        etcdctl(paths, endpoints, "member", "promote", f"{decision.member:x}")
        return
    if decision.kind == core.REMOVE:
        etcdctl(paths, endpoints, "member", "remove", f"{decision.remove:x}")
        return
    if observed.running:
        _systemd.systemctl("stop", paths.unit)
    set_aside(paths)
    members = observed.members
    if decision.kind in (core.ADD, core.REPLACE):
        if decision.remove:
            etcdctl(paths, endpoints, "member", "remove", f"{decision.remove:x}")
        text = etcdctl(
            paths, endpoints, "member", "add", wanted.name, f"--peer-urls={wanted.me.peer_url}", "--learner"
        ).stdout
        members = core.parse_members(text)
    write_first_start(paths, core.initial_cluster(wanted, members), new=decision.kind == core.BOOTSTRAP)
    start(paths, "start")


def why_it_fails(paths: Paths) -> str:
    """Return the last telling lines of the unit's journal."""
    text = run(
        ["journalctl", "--unit", paths.unit, "--lines=80", "--no-pager", "--output=cat"], timeout=20, check=False
    ).stdout
    return core.telling_lines(text) or "the journal has nothing of it"


@dataclass(frozen=True)
class Report:
    """What was done, in words, and what stands at the end."""

    actions: tuple[str, ...]
    decision: core.Decision
    observed: core.Observed


def settle(wanted: core.Wanted, paths: Paths, data_elsewhere: t.Mapping[str, bool | None], seconds: float) -> Report:
    """Repeat observing, deciding and acting until this member is a healthy voter; raises EtcdError when it does not get there in time.

    Never restarts a healthy member: this runs on all members at once, and restarts have their turn one member at a time.
    """
    deadline = time.monotonic() + seconds
    actions: list[str] = []
    crashes = 0
    while True:
        observed = observe(wanted, paths, data_elsewhere)
        decision = core.decide(wanted, observed)
        if decision.healthy:
            return Report(
                (*actions, *(["forget the first start"] if drop_first_start(paths) else [])), decision, observed
            )
        if decision.kind == core.REFUSE:
            raise core.EtcdError(decision.reason)
        if decision.kind == core.RESTART:
            raise core.EtcdError("its files changed while the cluster was being looked after; run again")
        unit = _systemd.show(paths.unit)
        crashes += unit.sub in ("auto-restart", "failed")
        if time.monotonic() > deadline or crashes > CRASHES_SEEN:
            raise core.EtcdError(
                f"{wanted.name} is no healthy voter {'' if crashes > CRASHES_SEEN else f'after {seconds:g} s'}: {decision.reason}."
                f" The unit {paths.unit} is {unit.active} ({unit.sub}). Its last words:\n{why_it_fails(paths)}"
            )
        if decision.acts:
            try:
                act(decision, wanted, paths, observed)
                actions.append(f"{decision.kind}: {decision.reason}")
            except CommandError:
                # A learner that is not in step yet, or another host that changes the membership at this moment: etcd says no, and is asked again.
                if decision.kind not in (core.PROMOTE, core.ADD, core.REPLACE) or time.monotonic() > deadline - 1:
                    raise
        time.sleep(POLL_SECONDS)


def bring_up(
    wanted: core.Wanted, paths: Paths, data_elsewhere: t.Mapping[str, bool | None], seconds: float, check: bool
) -> Report:
    """Do this member's next step. In a live cluster wait until it is healthy again, so that the next member's step finds it so."""
    observed = observe(wanted, paths, data_elsewhere)
    decision = core.decide(wanted, observed)
    if decision.kind == core.REFUSE:
        raise core.EtcdError(decision.reason)
    if not decision.acts:
        return Report((), decision, observed)
    actions = (f"{decision.kind}: {decision.reason}",)
    if check:
        return Report(actions, decision, observed)
    act(decision, wanted, paths, observed)
    if observed.members is None:
        return Report(actions, decision, observed)
    settled = settle(wanted, paths, data_elsewhere, seconds)
    return Report((*actions, *settled.actions), settled.decision, settled.observed)


def remove(name: str, wanted: core.Wanted, paths: Paths, check: bool) -> Report:
    """Remove a member that the inventory no longer has from a live cluster."""
    observed = observe(wanted, paths, {})
    if observed.members is None:
        reason = f"{name} cannot be removed while the cluster has no quorum: {observed.ask_error}"
        return Report((), core.Decision(core.WAIT, reason), observed)
    decision = core.decide_removal(name, observed.members, observed.health, wanted.names)
    if decision.kind == core.REFUSE:
        raise core.EtcdError(decision.reason)
    if decision.acts and not check:
        act(decision, wanted, paths, observed)
    return Report((f"{decision.kind}: {decision.reason}",) if decision.acts else (), decision, observed)


def read_arguments(given: t.Mapping[str, t.Any]) -> tuple[core.Wanted, Paths]:
    """Read the arguments of module etcd_member."""
    wanted = core.Wanted(given["name"], tuple(core.Peer(**entry) for entry in given["members"]))
    same = {key: given[key] for key in ("etcdctl", "unit", "pki", "configuration", "health_url")}
    wal = given["wal_directory"] or os.path.join(given["data_directory"], "member", "wal")
    return wanted, Paths(**same, data=given["data_directory"], wal=wal, reads=tuple(given["reads"]))


def each_member(given: t.Mapping[str, t.Any]) -> list[tuple[str, dict[str, t.Any]]]:
    """The members of this host that the arguments of module etcd_member describe: the name of the cluster (empty: the first) and its arguments."""
    return [("", dict(given)), *((entry["cluster"], {**given, **entry}) for entry in given["also"])]


def run_state(
    state: str, wanted: core.Wanted, paths: Paths, given: t.Mapping[str, t.Any], check: bool
) -> tuple[list[str], Report]:
    """Bring about a state of module etcd_member; returns what was done and the last report."""
    if wanted.name not in wanted.names and state != "absent":
        raise core.EtcdError(f"{wanted.name} is not among the wanted members ({', '.join(sorted(wanted.names))})")
    seconds = float(given["timeout_seconds"])
    if state == "absent":
        report = remove(given["member"], wanted, paths, check)
        if report.decision.kind == core.WAIT:
            raise core.EtcdError(report.decision.reason)
        return list(report.actions), report
    if state == "started":
        paths = replace(paths, pending=check and not set(paths.reads).isdisjoint(given.get("changing") or ()))
        done = [action for name in given["removed"] for action in remove(name, wanted, paths, check).actions]
        report = bring_up(wanted, paths, given["data_elsewhere"], seconds, check)
        return [*done, *report.actions], report
    if check:
        report = bring_up(wanted, paths, given["data_elsewhere"], seconds, check=True)
        return [action for action in report.actions if report.decision.kind == core.PROMOTE], report
    report = settle(wanted, paths, given["data_elsewhere"], seconds)
    strangers = core.unwanted(wanted, report.observed.members or ())
    if strangers:
        raise core.EtcdError(
            f"the cluster has members that the group 'etcd' of the inventory does not have: {', '.join(strangers)}. Put them back into the inventory, or have"
            ' them removed: run the same playbook with -e \'{"etcd_removed_members": ["<name>"]}\'.'
        )
    return list(report.actions), report
