# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel parameters: what is wanted, what the kernel has, what the next boot will set, and the way from one to the other.

``_sysctl_wishes`` reads what is wanted, ``_sysctl_files`` the files of the boot, ``_sysctl_later`` finds modules and programs that write afterwards,
``_sysctl_judge`` plans and judges. Here the machine is looked at and changed.
"""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import sync_directory, write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_files import (
    DIRECTORIES,
    Version,
    procps_version,
    read_files,
    within,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_judge import (
    HEADER,
    Observed,
    Plan,
    Verdict,
    plan,
    verdicts,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_later import (
    Modules,
    module_of,
    read_modules,
    read_writers,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import (
    PROC_SYS,
    Parameter,
    SysctlError,
    Words,
    normal_key,
    parse_parameters,
    path_of,
    same,
    words_of,
)

__all__ = ["Outcome", "Place", "SysctlError", "converge", "procps_version"]

# What the memory's JSON calls the fields of a plan.
MEMORY = {"original": "original", "set": "was_set", "refused": "refused"}


@dataclass(frozen=True)
class Place:
    """Where a call works: the drop-in, the memory's directory, the root; the release of procps (None: not there) and the processors."""

    own_path: str
    state_dir: str
    root: str = "/"
    procps: Version | None = None
    cpus: int = 1

    @property
    def proc(self) -> str:
        return within(self.root, PROC_SYS)

    @property
    def own(self) -> str:
        return within(self.root, self.own_path)

    @property
    def memory(self) -> str:
        return os.path.join(self.state_dir, "sysctl", os.path.basename(self.own_path) + ".json")


# --- observation and action -----------------------------------------------------------------------------------------------------------------


def read_live(key: str, root: str = PROC_SYS) -> Words | None:
    """Return the words of a parameter; None when there is none of that name."""
    try:
        with open(path_of(key, root), encoding="utf-8", errors="replace") as stream:
            return words_of(stream.read())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError:
        return ()


def observe(parameters: t.Sequence[Parameter], place: Place) -> Observed:
    """Look at the kernel, the files, the programs and the memory; changes nothing."""
    memory: dict[str, t.Any] = {}
    try:
        with open(place.memory, encoding="utf-8") as stream:
            memory = json.load(stream)
    except FileNotFoundError:
        memory = {}
    except ValueError as exc:
        raise SysctlError(
            [f"{place.memory} is not JSON ({exc}); move it away, then removed keys keep their values"]
        ) from exc
    original = memory.get("original", {})
    wanted = [parameter.key for parameter in parameters]
    keys = {*wanted, *original}
    files = read_files(place.own_path, place.root, place.procps)
    live = {key: read_live(key, place.proc) for key in keys}
    missing = any(live[key] is None and module_of(key) for key in wanted)
    return Observed(
        own_path=place.own_path,
        live=live,
        writable={key: _writable(path_of(key, place.proc)) for key in keys},
        files=files,
        modules=read_modules(place.root) if missing else Modules(),
        writers=read_writers(wanted, files.reread, place.cpus, place.root),
        procps=place.procps,
        original=original,
        was_set=memory.get("set", {}),
        refused=memory.get("refused", {}),
    )


def check_own(seen: Observed, place: Place) -> None:
    """Refuse a drop-in that would not be read at boot, or that is somebody else's."""
    directory, name = os.path.split(place.own_path)
    problems = []
    if directory not in DIRECTORIES or not name.endswith(".conf"):
        problems.append(
            f"{place.own_path} is not read at boot; it has to be a .conf file in one of {', '.join(DIRECTORIES)}"
        )
    elif os.path.islink(place.own):
        problems.append(
            f"{place.own_path} is a link to {os.readlink(place.own)}: somebody masked it; remove it or take another path"
        )
    elif seen.files.own_text and not seen.files.own_text.startswith(HEADER):
        problems.append(f"{place.own_path} was not written by this module; remove it or take another path")
    if problems:
        raise SysctlError(problems)


def _writable(path: str) -> bool:
    """Root is told 'yes' for files without a write bit, so the bits are asked too."""
    try:
        return os.access(path, os.W_OK) and bool(os.stat(path).st_mode & 0o222)
    except OSError:
        return False


def unwritable(seen: Observed) -> dict[str, str]:
    """Return the keys that this process cannot write, with the reason."""
    return {
        key: "it cannot be written here"
        for key, live in seen.live.items()
        if live is not None and not seen.writable[key]
    }


def apply(
    parameters: t.Sequence[Parameter], seen: Observed, steps: Plan, tolerate: t.AbstractSet[str], place: Place
) -> dict[str, str]:
    """Carry a plan out: memory, kernel, file. Return the keys that could not be written, with the reason.

    The memory comes first, so that a run which is killed in between can be undone. The file comes last, without the tolerated keys that the
    kernel did not take: they would make systemd-sysctl fail at every boot.
    """
    _remember(steps, place)
    failed, refused = {}, dict(steps.refused)
    for write in steps.writes:
        try:
            with open(path_of(write.key, place.proc), "w", encoding="utf-8") as stream:
                stream.write(write.after + "\n")
        except OSError as exc:
            failed[write.key] = f"the kernel refuses {write.after} ({exc.strerror})"
        if not same(read_live(write.key, place.proc) or (), words_of(write.after)):
            refused[write.key] = write.after
    if refused != dict(steps.refused):
        untouched = {key: value for key, value in steps.original.items() if key in seen.original or key not in failed}
        again = plan(parameters, replace(seen, original=untouched, refused=refused), tolerate)
        kept = {key: value for key, value in steps.was_set.items() if key in untouched}
        steps = replace(again, original=untouched, was_set=kept, refused=refused)
        _remember(steps, place)
    if steps.own_changed and steps.own_text:
        os.makedirs(os.path.dirname(place.own), mode=0o755, exist_ok=True)
        write_atomic(place.own, steps.own_text.encode(), 0o644)
    elif steps.own_changed:
        os.unlink(place.own)
        sync_directory(os.path.dirname(place.own))
    return failed


def _remember(steps: Plan, place: Place) -> None:
    path = place.memory
    if not (steps.original or steps.refused):
        if os.path.exists(path):
            os.unlink(path)
            sync_directory(os.path.dirname(path))
        return
    os.makedirs(place.state_dir, mode=0o700, exist_ok=True)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    content = {"schema": 1, **{name: dict(sorted(getattr(steps, key).items())) for name, key in MEMORY.items()}}
    write_atomic(path, (json.dumps(content, indent=2) + "\n").encode(), 0o600)


# --- the whole way --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a call did (or, without acting, would do) and how every parameter stands after it."""

    changed: bool
    verdicts: tuple[Verdict, ...]
    values: t.Mapping[str, str]
    diff: tuple[t.Mapping[str, str], ...]


def converge(raw: t.Mapping[str, t.Any], tolerate: t.Sequence[str], place: Place, wanted: bool, act: bool) -> Outcome:
    """Observe, plan, act when told to, observe again, judge.

    :param wanted: whether changes are planned at all (not for ``verified``).
    :param act: whether they are carried out (not in check mode).
    """
    parameters = parse_parameters(raw)
    tolerated = frozenset(normal_key(key) for key in tolerate)
    seen = observe(parameters, place)
    if wanted:
        check_own(seen, place)
    steps = plan(parameters, seen, tolerated)
    failed, asked = unwritable(seen), dict(seen.refused)
    if act:
        remembered = (steps.original, steps.was_set, steps.refused) != (seen.original, seen.was_set, seen.refused)
        if steps.changed or remembered:
            failed.update(apply(parameters, seen, steps, tolerated, place))
            asked.update((write.key, write.after) for write in steps.writes)
        after = observe(parameters, place)
        now = {key: read_live(key, place.proc) for key in seen.live}
        effects = [
            (k, " ".join(seen.live[k] or ()), " ".join(now[k] or ())) for k in sorted(now) if now[k] != seen.live[k]
        ]
        text = after.files.own_text
        changed = bool(effects) or text != seen.files.own_text
    else:
        after, changed = seen, wanted and steps.changed
        writes = sorted(steps.writes, key=lambda write: write.key) if wanted else []
        effects = [(write.key, write.before, write.after) for write in writes]
        text = steps.own_text if wanted else seen.files.own_text
    found = verdicts(parameters, after, failed, tolerated, asked)
    values = {parameter.key: " ".join(after.live[parameter.key] or ()) for parameter in parameters}
    return Outcome(changed, tuple(found), values, _diff(effects, place.own_path, seen.files.own_text, text))


def _diff(
    effects: t.Sequence[tuple[str, str, str]], own_path: str, before: str, after: str
) -> tuple[t.Mapping[str, str], ...]:
    parts = []
    if effects:
        parts.append(("kernel", _values(effects, 1), _values(effects, 2)))
    if before != after:
        parts.append((own_path, before, after))
    return tuple({"before_header": name, "after_header": name, "before": old, "after": new} for name, old, new in parts)


def _values(effects: t.Sequence[tuple[str, str, str]], column: int) -> str:
    return "".join(f"{effect[0]} = {effect[column]}\n" for effect in effects)
