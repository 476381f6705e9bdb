# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories, files and services of a node: what is there, what has to change (pure), and the change itself.

Order of the work: directories, then *all* validators, then all files, then what has to be absent, then services. A file that its validator
refuses keeps every other file of the call from being written, so a node never runs with half of a change.
"""

from __future__ import annotations

import base64
import binascii
import grp
import os
import pwd
import shutil
import tempfile
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _originals, _systemd
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import (
    FileState,
    file_state,
    sync_directory,
    write_atomic,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run, tail

DIFF_LIMIT_BYTES = 256 * 1024
ENABLED = ("enabled", "enabled-runtime", "static", "alias", "indirect", "generated", "linked")
STATES = ("started", "stopped", "present")
VALIDATE_TIMEOUT_SECONDS = 120.0


class NodeFilesError(Exception):
    """The call cannot be carried out. ``problems`` has one text for each file or service."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class DirectorySpec:
    """A directory that has to exist, with these rights. Missing parents are made with 0755."""

    path: str
    mode: int
    owner: str
    group: str


@dataclass(frozen=True)
class FileSpec:
    """A whole file. ``validate`` is an argv in which ``{path}`` stands for a private copy with the file's own base name."""

    path: str
    content: bytes
    mode: int
    owner: str
    group: str
    validate: tuple[str, ...] = ()
    secret: bool = False


@dataclass(frozen=True)
class ServiceSpec:
    """A systemd unit. ``restart``: None restarts it when it is older than a file it reads, True always, False never. ``enabled`` None: as it is."""

    name: str
    state: str = "started"
    enabled: bool | None = None
    restart_when_newer: tuple[str, ...] = ()
    restart: bool | None = None
    wait: bool = True
    wait_seconds: float = 90.0


@dataclass(frozen=True)
class Desired:
    """All that one call asks for."""

    directories: tuple[DirectorySpec, ...] = ()
    files: tuple[FileSpec, ...] = ()
    absent: tuple[str, ...] = ()
    services: tuple[ServiceSpec, ...] = ()
    state_dir: str = ""


@dataclass(frozen=True)
class Observed:
    """What is there. ``newest`` is the newest time (epoch seconds) among the files that a service reads, ``owners`` maps names to ids (-1: unknown)."""

    states: t.Mapping[str, FileState]
    contents: t.Mapping[str, bytes]
    owners: t.Mapping[str, int]
    groups: t.Mapping[str, int]
    units: t.Mapping[str, _systemd.UnitState]
    newest: t.Mapping[str, float]


@dataclass(frozen=True)
class Change:
    """One step. ``kind`` is ``directory``, ``file``, ``absent`` or ``service``; ``verbs`` say what happens to it, in order."""

    kind: str
    name: str
    verbs: tuple[str, ...]
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Plan:
    """The steps of one call and the reasons why it cannot be carried out."""

    changes: tuple[Change, ...]
    problems: tuple[str, ...]

    def of(self, kind: str) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.kind == kind)


# --- arguments ------------------------------------------------------------------------------------------------------------------------------

RIGHTS = dict(mode=dict(type="str"), owner=dict(type="str"), group=dict(type="str"))
FILE = dict(
    RIGHTS,
    path=dict(type="path", required=True),
    content=dict(type="str"),
    template=dict(type="str"),
    variables=dict(type="dict", default={}),
    data=dict(type="raw"),
    format=dict(type="str", choices=["json", "yaml", "yaml_documents"]),
    validate=dict(type="list", elements="str"),
    secret=dict(type="bool", default=False, no_log=False),
)
SERVICE = dict(
    name=dict(type="str", required=True),
    state=dict(type="str", choices=list(STATES), default="started"),
    enabled=dict(type="bool"),
    restart_when_newer=dict(type="list", elements="path", default=[]),
    restart=dict(type="bool"),
    wait=dict(type="bool", default=True),
    wait_seconds=dict(type="int", default=90),
)
DIRECTORY = dict(RIGHTS, path=dict(type="path", required=True), mode=dict(type="str", default="0755"))
ARGUMENTS: dict[str, t.Any] = dict(
    files=dict(type="list", elements="dict", default=[], options=FILE),
    directories=dict(type="list", elements="dict", default=[], options=DIRECTORY),
    absent=dict(type="list", elements="path", default=[]),
    services=dict(type="list", elements="dict", default=[], options=SERVICE),
    state_dir=dict(type="path", default="/var/lib/bare-metal-kubernetes"),
    secret_contents=dict(type="dict", default={}, no_log=True),
)


def parse_mode(text: str, where: str) -> int:
    """Read permission bits written in octal, for example ``"0644"``."""
    if not (3 <= len(text) <= 5 and set(text) <= set("01234567")):
        raise NodeFilesError([f"{where}: mode is '{text}', not octal permission bits in quotes such as '0644'"])
    return int(text, 8)


def parse(params: t.Mapping[str, t.Any], default_owner: str, default_group: str) -> Desired:
    """Turn module arguments into a request; ``secret_contents`` holds the content of secret files by path, in base64."""
    problems: list[str] = []

    def each(key: str, read: t.Callable[[t.Any], t.Any]) -> tuple[t.Any, ...]:
        done = []
        for entry in params.get(key) or ():
            try:
                done.append(read(entry))
            except NodeFilesError as exc:
                problems.extend(f"{key}: {problem}" for problem in exc.problems)
        return tuple(done)

    secrets = params.get("secret_contents") or {}
    desired = Desired(
        each("directories", lambda entry: _directory(entry, default_owner, default_group)),
        each("files", lambda entry: _file(entry, secrets, default_owner, default_group)),
        each("absent", _removable),
        each("services", _service),
        params.get("state_dir") or "",
    )
    problems += _contradictions([f.path for f in desired.files], [d.path for d in desired.directories], desired.absent)
    if problems:
        raise NodeFilesError(problems)
    return desired


def _directory(entry: t.Mapping[str, t.Any], owner: str, group: str) -> DirectorySpec:
    path = _absolute(entry["path"])
    return DirectorySpec(
        path, parse_mode(entry.get("mode") or "0755", path), entry.get("owner") or owner, entry.get("group") or group
    )


def _file(entry: t.Mapping[str, t.Any], secrets: t.Mapping[str, str], owner: str, group: str) -> FileSpec:
    path = _absolute(entry["path"])
    secret = bool(entry.get("secret"))
    if entry["path"] in secrets:
        content = _decode(secrets[entry["path"]], path)
    elif entry.get("content") is None:
        raise NodeFilesError(
            [f"{path}: no content; templates and data are rendered by the action plugin of the same name"]
        )
    else:
        content = entry["content"].encode("utf-8")
    validate = tuple(entry.get("validate") or ())
    if validate and not any("{path}" in word for word in validate):
        raise NodeFilesError([f"{path}: 'validate' has no '{{path}}' among its words"])
    mode = parse_mode(entry.get("mode") or ("0600" if secret else "0644"), path)
    return FileSpec(path, content, mode, entry.get("owner") or owner, entry.get("group") or group, validate, secret)


def _decode(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise NodeFilesError([f"{path}: its secret content is not base64"]) from None


def _service(entry: t.Mapping[str, t.Any]) -> ServiceSpec:
    return ServiceSpec(
        name=_systemd.unit_name(entry["name"]),
        state=entry.get("state") or "started",
        enabled=entry.get("enabled"),
        restart_when_newer=tuple(entry.get("restart_when_newer") or ()),
        restart=entry.get("restart"),
        wait=entry.get("wait") is not False,
        wait_seconds=float(entry.get("wait_seconds") or 90),
    )


def _absolute(path: str) -> str:
    if not path.startswith("/") or os.path.normpath(path) != path.rstrip("/"):
        raise NodeFilesError([f"'{path}' is not a plain absolute path"])
    return path.rstrip("/")


def _removable(path: str) -> str:
    if path.count("/") < 2:
        raise NodeFilesError([f"'{path}' is a top level directory, which is never removed"])
    return _absolute(path)


def _contradictions(files: t.Sequence[str], directories: t.Sequence[str], absent: t.Sequence[str]) -> list[str]:
    named = [*files, *directories]
    found = [f"{path} is listed twice" for path in sorted(set(named)) if named.count(path) > 1]
    for gone in absent:
        found += [
            f"{path} is wanted, but {gone} is listed as absent"
            for path in named
            if path == gone or path.startswith(gone + "/")
        ]
    return found


# --- observation ----------------------------------------------------------------------------------------------------------------------------


def observe(desired: Desired) -> Observed:
    """Look at everything that the request names; changes nothing."""
    states: dict[str, FileState] = {}
    contents: dict[str, bytes] = {}
    for path in (*[d.path for d in desired.directories], *desired.absent):
        states[path] = file_state(path)
    for directory in desired.directories:
        if states[directory.path].kind == "link" and os.path.isdir(directory.path):
            states[directory.path] = file_state(os.path.realpath(directory.path))
    for file in desired.files:
        states[file.path] = file_state(file.path)
        if states[file.path].kind == "file" or (states[file.path].kind == "link" and os.path.isfile(file.path)):
            with open(file.path, "rb") as stream:
                contents[file.path] = stream.read()
    owned: tuple[FileSpec | DirectorySpec, ...] = (*desired.directories, *desired.files)
    units = observe_units([service.name for service in desired.services])
    return Observed(
        states,
        contents,
        {spec.owner: _uid(spec.owner) for spec in owned},
        {spec.group: _gid(spec.group) for spec in owned},
        units,
        {s.name: _systemd.newest_mtime([*s.restart_when_newer, *units[s.name].own_files]) for s in desired.services},
    )


def observe_units(names: t.Sequence[str]) -> dict[str, _systemd.UnitState]:
    """Ask systemd for units; where no systemd runs, none of them exists."""
    try:
        return _systemd.show_many(names)
    except CommandError as exc:
        return {
            name: _systemd.UnitState(name, "not-found", "unknown", str(exc), "", False, 0.0, 0, "") for name in names
        }


def _uid(name: str) -> int:
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        return -1


def _gid(name: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        return -1


# --- plan (pure) ----------------------------------------------------------------------------------------------------------------------------


def plan(desired: Desired, observed: Observed) -> Plan:
    """Compare what is asked for with what is there."""
    changes: list[Change] = []
    problems: list[str] = []
    for directory in desired.directories:
        state = observed.states[directory.path]
        if state.kind not in ("absent", "directory"):
            problems.append(f"{directory.path}: a {state.kind} stands where a directory is wanted; move it away")
            continue
        verbs = ("create",) if state.kind == "absent" else _rights_verbs(directory, state, observed)
        if verbs:
            changes.append(
                Change("directory", directory.path, verbs, _rights_text(state), _wanted_rights(directory, observed))
            )
    for file in desired.files:
        state = observed.states[file.path]
        if state.kind in ("directory", "other"):
            problems.append(f"{file.path}: a {state.kind} stands where a file is wanted; move it away")
            continue
        verbs = _file_verbs(file, state, observed)
        if verbs:
            changes.append(Change("file", file.path, verbs, _rights_text(state), _wanted_rights(file, observed)))
    for path in desired.absent:
        state = observed.states[path]
        if state.kind != "absent":
            changes.append(Change("absent", path, ("remove",), state.kind, "absent"))
    touched = [change.name for change in changes]
    for service in desired.services:
        verbs, found = _service_verbs(service, observed.units[service.name], observed.newest[service.name], touched)
        problems += found
        if verbs:
            changes.append(
                Change("service", service.name, verbs, _unit_text(observed.units[service.name]), ", ".join(verbs))
            )
    return Plan(tuple(changes), tuple(problems))


def _file_verbs(file: FileSpec, state: FileState, observed: Observed) -> tuple[str, ...]:
    if state.kind == "absent":
        return ("create",)
    if state.kind == "link" or observed.contents.get(file.path) != file.content:
        return ("replace",)
    return _rights_verbs(file, state, observed)


def _rights_verbs(spec: FileSpec | DirectorySpec, state: FileState, observed: Observed) -> tuple[str, ...]:
    verbs = []
    if state.mode != spec.mode:
        verbs.append("chmod")
    if (state.uid, state.gid) != (observed.owners[spec.owner], observed.groups[spec.group]):
        verbs.append("chown")
    return tuple(verbs)


def _rights_text(state: FileState) -> str:
    return (
        state.kind
        if state.kind != "file" and state.kind != "directory"
        else f"mode {state.mode:04o}, owner {state.uid}, group {state.gid}"
    )


def _wanted_rights(spec: FileSpec | DirectorySpec, observed: Observed) -> str:
    return f"mode {spec.mode:04o}, owner {observed.owners[spec.owner]}, group {observed.groups[spec.group]}"


def _service_verbs(
    service: ServiceSpec, unit: _systemd.UnitState, newest: float, touched: t.Sequence[str]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the verbs for one unit and what stands in the way."""
    unit_touched = any(_is_unit_file(service.name, path) for path in touched)
    verbs: list[str] = []
    if unit.load == "masked" and not unit_touched:
        if service.state == "started" or service.enabled:
            return (), [
                f"{service.name} is masked, so it cannot be started or enabled: 'systemctl unmask {service.name}' if that is not wanted"
            ]
        return (), []
    if unit.need_reload or unit_touched:
        verbs.append("daemon-reload")
    if service.enabled is True and unit.enabled not in ENABLED:
        verbs.append("enable")
    if service.enabled is False and unit.enabled in ("enabled", "enabled-runtime"):
        verbs.append("disable")
    if service.state == "stopped" and unit.running:
        verbs.append("stop")
    # A unit that is only present and fails again and again reads its new files by itself.
    restartable = {"started": unit.running, "present": unit.active == "active", "stopped": False}[service.state]
    if service.state == "started" and not unit.running:
        verbs.append("start")
    elif restartable and _has_to_restart(service, unit, newest, unit_touched, touched):
        verbs.append("restart")
    return tuple(verbs), []


def _has_to_restart(
    service: ServiceSpec, unit: _systemd.UnitState, newest: float, unit_touched: bool, touched: t.Sequence[str]
) -> bool:
    if service.restart is not None:
        return service.restart
    return unit_touched or _reads(service, touched) or 0 < unit.started_at < newest


def restarts_due(desired: Desired, observed: Observed, changes: t.Sequence[Change]) -> list[str]:
    """Units that run with older files than they have now (or will have after ``changes``) and were asked not to be restarted. Pure."""
    touched = [change.name for change in changes if change.kind in ("file", "absent")]
    found = []
    for service in desired.services:
        unit = observed.units[service.name]
        unit_touched = any(_is_unit_file(service.name, path) for path in touched)
        if (
            service.restart is False
            and unit.active == "active"
            and _has_to_restart(
                replace(service, restart=None), unit, observed.newest[service.name], unit_touched, touched
            )
        ):
            found.append(service.name)
    return found


def _is_unit_file(name: str, path: str) -> bool:
    """Tell whether ``path`` is the file of a unit or one of its drop-ins (those of its template included)."""
    names = {name}
    if "@" in name:
        prefix, _at, rest = name.partition("@")
        names.add(f"{prefix}@.{rest.rpartition('.')[2]}")
    in_place = path.startswith(_systemd.UNIT_DIRECTORIES)
    return in_place and any(
        os.path.basename(path) == each or os.path.basename(os.path.dirname(path)) == f"{each}.d" for each in names
    )


def _reads(service: ServiceSpec, touched: t.Sequence[str]) -> bool:
    return any(
        path == read or path.startswith(read.rstrip("/") + "/")
        for path in touched
        for read in service.restart_when_newer
    )


def _unit_text(unit: _systemd.UnitState) -> str:
    return f"{unit.active}, {unit.enabled or 'not enabled'}" if unit.exists else "no such unit yet"


def explain_diff(desired: Desired, observed: Observed, changes: t.Sequence[Change]) -> list[dict[str, str]]:
    """Build Ansible's diff from the planned changes. The content of a secret file is never in it."""
    files = {file.path: file for file in desired.files}
    entries: list[dict[str, str]] = []
    for change in changes:
        file = files.get(change.name) if change.kind == "file" else None
        if file is not None and change.verbs[0] in ("create", "replace"):
            before = observed.contents.get(change.name, b"")
            entries.append(
                {
                    "before_header": change.name,
                    "after_header": change.name,
                    "before": _diff_text(before, file.secret, "old"),
                    "after": _diff_text(file.content, file.secret, "new"),
                }
            )
        if change.before != change.after and (file is None or change.before != "absent"):
            header = f"{change.kind} {change.name}" if change.kind != "file" else f"rights of {change.name}"
            entries.append(
                {
                    "before_header": header,
                    "after_header": header,
                    "before": f"{change.before}\n",
                    "after": f"{change.after}\n",
                }
            )
    return entries


def _diff_text(content: bytes, secret: bool, which: str) -> str:
    if secret:
        return f"({which} secret content, not shown)\n" if content else ""
    if len(content) > DIFF_LIMIT_BYTES:
        return f"({which} content of {len(content)} bytes, too long to show)\n"
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return f"({which} binary content of {len(content)} bytes)\n"


# --- action ---------------------------------------------------------------------------------------------------------------------------------


def validate_files(desired: Desired, changes: t.Sequence[Change], check_mode: bool) -> list[str]:
    """Run the validators of all files that would be written on private copies of them; return the refusals.

    In check mode a validator that is not installed (yet) is no refusal.
    """
    written = {change.name for change in changes if change.kind == "file" and change.verbs[0] in ("create", "replace")}
    problems = []
    for file in desired.files:
        if file.path not in written or not file.validate:
            continue
        directory = tempfile.mkdtemp(prefix="node_files.")
        try:
            copy = os.path.join(directory, os.path.basename(file.path))
            write_atomic(copy, file.content, 0o600)
            run([word.replace("{path}", copy) for word in file.validate], timeout=VALIDATE_TIMEOUT_SECONDS)
        except CommandError as exc:
            if not (exc.missing and check_mode):
                problems.append(
                    f"{file.path} is refused by {file.validate[0]}: {_refusal(file, exc)}".replace(directory + "/", "")
                )
        finally:
            shutil.rmtree(directory)
    return problems


def _refusal(file: FileSpec, error: CommandError) -> str:
    if error.result is None:
        return str(error)
    if file.secret:
        return f"exit code {error.result.rc} (what it said is withheld, because the file is secret)"
    return tail(f"{error.result.stdout}\n{error.result.stderr}") or f"exit code {error.result.rc} without a word"


def apply(desired: Desired, observed: Observed, changes: t.Sequence[Change]) -> None:
    """Carry out a plan; raise one :class:`NodeFilesError` with everything that did not work."""
    problems = _apply_directories(desired, changes)
    problems = problems or validate_files(desired, changes, check_mode=False)
    problems = problems or [*_apply_files(desired, observed, changes), *_apply_absent(changes)]
    problems = problems or _apply_services(desired, observed, changes)
    if problems:
        raise NodeFilesError(problems)


def _apply_directories(desired: Desired, changes: t.Sequence[Change]) -> list[str]:
    problems = []
    specs = {directory.path: directory for directory in desired.directories}
    for change in changes:
        if change.kind != "directory":
            continue
        spec = specs[change.name]
        try:
            os.makedirs(spec.path, mode=0o755, exist_ok=True)
            _set_rights(spec)
        except (OSError, NodeFilesError) as exc:
            problems.append(f"{spec.path}: {exc}")
    return problems


def _apply_files(desired: Desired, observed: Observed, changes: t.Sequence[Change]) -> list[str]:
    problems = []
    specs = {file.path: file for file in desired.files}
    for change in changes:
        if change.kind != "file":
            continue
        spec = specs[change.name]
        try:
            uid, gid = _known_ids(spec)
            if change.verbs[0] in ("create", "replace"):
                os.makedirs(os.path.dirname(spec.path), mode=0o755, exist_ok=True)
                if _takes_the_place(spec, change, observed):
                    _originals.keep(spec.path, desired.state_dir)
                write_atomic(spec.path, spec.content, spec.mode, uid, gid)
            else:
                _set_rights(spec)
        except (OSError, NodeFilesError) as exc:
            problems.append(f"{spec.path}: {exc}")
    return problems


def _takes_the_place(spec: FileSpec, change: Change, observed: Observed) -> bool:
    """Is a file of someone else replaced by one that carries our mark?"""
    replaced = change.verbs[0] == "replace" and _originals.is_marked(spec.content)
    return replaced and not _originals.is_marked(observed.contents.get(spec.path, b""))


def _apply_absent(changes: t.Sequence[Change]) -> list[str]:
    problems = []
    for change in changes:
        if change.kind != "absent":
            continue
        try:
            if change.before == "directory":
                mounts = [
                    mount for mount in _mount_points() if mount == change.name or mount.startswith(change.name + "/")
                ]
                if mounts:
                    problems.append(f"{change.name}: not removed, because {', '.join(mounts)} is mounted there")
                    continue
                shutil.rmtree(change.name)
            else:
                os.unlink(change.name)
            sync_directory(os.path.dirname(change.name))
        except FileNotFoundError:
            continue
        except OSError as exc:
            problems.append(f"{change.name}: {exc}")
    return problems


def _mount_points() -> list[str]:
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        return [line.split()[1].replace("\\040", " ") for line in stream]


def _known_ids(spec: FileSpec | DirectorySpec) -> tuple[int, int]:
    uid, gid = _uid(spec.owner), _gid(spec.group)
    if uid < 0:
        raise NodeFilesError([f"the user '{spec.owner}' does not exist on this host"])
    if gid < 0:
        raise NodeFilesError([f"the group '{spec.group}' does not exist on this host"])
    return uid, gid


def _set_rights(spec: FileSpec | DirectorySpec) -> None:
    uid, gid = _known_ids(spec)
    os.chown(spec.path, uid, gid)
    os.chmod(spec.path, spec.mode)


def _apply_services(desired: Desired, observed: Observed, changes: t.Sequence[Change]) -> list[str]:
    verbs = {change.name: change.verbs for change in changes if change.kind == "service"}
    unit_written = any(
        change.kind in ("file", "absent") and change.name.startswith(_systemd.UNIT_DIRECTORIES) for change in changes
    )
    if unit_written or any("daemon-reload" in each for each in verbs.values()):
        _systemd.systemctl("daemon-reload")
    problems = []
    for service in desired.services:
        try:
            problems += _apply_service(service, observed.units[service.name], verbs.get(service.name, ()))
        except CommandError as exc:
            problems.append(f"{service.name}: {exc}\n{_systemd.explain(service.name)}")
    return problems


def _apply_service(service: ServiceSpec, observed: _systemd.UnitState, verbs: t.Sequence[str]) -> list[str]:
    if not verbs and (
        observed.active == "active" or (observed.exists and (service.state != "started" or not service.wait))
    ):
        return []
    unit = _systemd.show(service.name)
    if not unit.exists:
        if service.state == "stopped" and not service.enabled:
            return []
        return [f"{service.name}: systemd knows no such unit; install it, or write its file in this call"]
    for verb in ("enable", "disable", "stop"):
        if verb in verbs:
            _systemd.systemctl(verb, service.name)
    for verb in ("start", "restart"):
        if verb in verbs:
            _forget_the_future([*service.restart_when_newer, *unit.own_files])
            if unit.active == "failed" or unit.sub == "auto-restart":
                _systemd.systemctl("reset-failed", service.name)
            _systemd.systemctl(verb, service.name, timeout=service.wait_seconds + 30, block=service.wait)
    if not service.wait or (service.state != "started" and "restart" not in verbs):
        return []
    why = _systemd.wait_active(service.name, service.wait_seconds)
    return [f"{why}\n{_systemd.explain(service.name)}"] if why else []


def _forget_the_future(paths: t.Iterable[str]) -> None:
    """Date files back to now that were written before the clock was set back: they would make their service look old for ever."""
    now = time.time()
    for path in paths:
        for entry in _systemd.walk(path):
            if os.path.exists(entry) and os.stat(entry).st_mtime > now:
                os.utime(entry, (now, now))


def result(changes: t.Sequence[Change]) -> dict[str, t.Any]:
    """What the module returns about its steps."""
    return {
        "changes": [{"kind": change.kind, "name": change.name, "actions": list(change.verbs)} for change in changes],
        "files_changed": [change.name for change in changes if change.kind in ("file", "absent")],
        "services_changed": [change.name for change in changes if change.kind == "service"],
    }
