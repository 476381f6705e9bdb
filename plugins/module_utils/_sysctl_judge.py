# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel parameters: what has to be done about them, and what is to be said of them. Pure: the machine is looked at elsewhere."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_files import (
    Assignment,
    Files,
    Version,
    at_boot,
    by_procps,
    parse_file,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_later import (
    Modules,
    Writer,
    finally_,
    module_of,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import (
    Parameter,
    Words,
    meets,
    same,
    wanted_value,
    words_of,
)

# What a key may be where it is tolerated: all that a container, or a kernel without a module, brings with it.
TOLERABLE = frozenset({"unknown_key", "module_missing", "readonly", "clamped"})
# systemd-sysctl sets these for each interface as it shows up (its udev rule 99-systemd.rules).
OF_INTERFACES = ("net.ipv4.conf.", "net.ipv6.conf.", "net.ipv4.neigh.", "net.ipv6.neigh.")
HEADER = "# Written by the Ansible collection bare_metal.kubernetes (module sysctl_profile).\n"


@dataclass(frozen=True)
class Observed:
    """What is there: ``live`` None means that the kernel has no such key; ``original``, ``was_set`` and ``refused`` come from earlier runs.

    ``refused`` are values that the kernel did not take: a tolerated key is not tried with the same value in every run.
    """

    own_path: str
    live: t.Mapping[str, Words | None]
    writable: t.Mapping[str, bool]
    files: Files = field(default_factory=Files)
    modules: Modules = field(default_factory=Modules)
    writers: tuple[Writer, ...] = ()
    procps: Version | None = None
    original: t.Mapping[str, str] = field(default_factory=dict)
    was_set: t.Mapping[str, str] = field(default_factory=dict)
    refused: t.Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Write:
    """One value that is written to the kernel."""

    key: str
    before: str
    after: str
    why: str = "wanted"


@dataclass(frozen=True)
class Plan:
    """The steps: values to write, the new text of the own file, and the new memory of originals."""

    writes: tuple[Write, ...]
    own_text: str
    own_changed: bool
    original: t.Mapping[str, str]
    was_set: t.Mapping[str, str]
    refused: t.Mapping[str, str]

    @property
    def changed(self) -> bool:
        return bool(self.writes) or self.own_changed


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a key. ``names`` is empty when it is ok; ``tolerated`` findings do not fail, ``notes`` never do.

    ``where`` has the lines (``file:line``) for a name or note; ``asked`` what the kernel was given; ``module`` what would bring the key, and
    ``module_at_boot`` the file that loads it at the next boot.
    """

    key: str
    wanted: str
    live: str
    at_boot: str
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    detail: str = ""
    where: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)
    asked: str = ""
    module: str = ""
    module_at_boot: str = ""
    tolerated: bool = False

    def line(self) -> str:
        text = f"{self.key}: {', '.join((*self.names, *self.notes))}: wanted {self.wanted}, the kernel has {self.live or 'no such key'}"
        return f"{text}; {self.detail}" if self.detail else text


# --- plan (pure) ----------------------------------------------------------------------------------------------------------------------------


def plan(parameters: t.Sequence[Parameter], seen: Observed, tolerate: t.AbstractSet[str] = frozenset()) -> Plan:
    """Return what has to be written, live and to the own file."""
    writes: list[Write] = []
    original, was_set, refused = dict(seen.original), dict(seen.was_set), dict(seen.refused)
    persisted: list[tuple[Parameter, Words]] = []
    for parameter in parameters:
        key, live = parameter.key, seen.live.get(parameter.key)
        if parameter.conflict or live is None:
            value = _kept_value(parameter, seen)
            persisted += [(parameter, value)] if value else []
            continue
        target = wanted_value(parameter, live)
        tolerated = parameter.optional or key in tolerate
        hopeless = not seen.writable.get(key, False) or (tolerated and same(words_of(refused.get(key, "")), target))
        if same(target, live):
            refused.pop(key, None)
        elif not hopeless:
            writes.append(Write(key, " ".join(live), " ".join(target)))
            original.setdefault(key, " ".join(live))
            was_set[key] = " ".join(target)
        value = _persisted_value(parameter, seen, words_of(original.get(key, " ".join(live))), live)
        # What the kernel refuses would make systemd-sysctl fail at every boot; what it only clamps (then there is an original) would not.
        if value and not (hopeless and tolerated and not same(target, live) and key not in original):
            persisted.append((parameter, value))
    wanted = {parameter.key for parameter in parameters}
    for key in sorted(set(original) - wanted):
        now = seen.live.get(key)
        # Somebody else may have changed it since: then it is theirs.
        if now is not None and same(now, words_of(was_set.get(key, ""))) and not same(now, words_of(original[key])):
            writes.append(Write(key, " ".join(now), original[key], "no longer wanted, back to what it was"))
        del original[key]
        was_set.pop(key, None)
    text = own_text(persisted)
    return Plan(
        tuple(writes),
        text,
        text != seen.files.own_text,
        original,
        was_set,
        {key: value for key, value in refused.items() if key in wanted},
    )


def _kept_value(parameter: Parameter, seen: Observed) -> Words:
    """Return what the own file has to say of a key that is in conflict (as it did) or that the kernel will only have later (what is fixed)."""
    written = at_boot(parameter.key, parse_file(seen.own_path, seen.files.own_text))
    own = written.value or () if written else ()
    if parameter.conflict:
        return own
    of_interface = bool(_interface(parameter.key))
    if not of_interface and module_of(parameter.key) not in seen.modules.at_boot:
        return ()
    return own if own and meets(parameter, own) else parameter.values[0] if parameter.values else ()


def _persisted_value(parameter: Parameter, seen: Observed, original: Words, live: Words) -> Words:
    """Return what has to stand in the own file, or nothing.

    A fixed value always has to. A bound only when the next boot would miss it, because a number in a file would lower what a kernel on a larger
    machine chooses by itself.
    """
    if parameter.form != "range":
        return wanted_value(parameter, live)
    decided = at_boot(parameter.key, seen.files.others(seen.own_path))
    base = decided.value if decided is not None and decided.value else original
    # Programs that read the files again afterwards are overcome by a line in ours.
    theirs = [
        replace(writer, rereads=tuple(line for line in writer.rereads if line.file != seen.own_path))
        for writer in seen.writers
        if writer.rereads is not None
    ]
    for value in (base, finally_(parameter.key, base, theirs)[0]):
        target = wanted_value(parameter, value)
        if not same(target, value):
            return target
    return ()


def own_text(persisted: t.Sequence[tuple[Parameter, Words]]) -> str:
    """Return the content of the own file; empty when nothing has to be set."""
    if not persisted:
        return ""
    lines = [HEADER]
    for parameter, value in persisted:
        lines.append(f"\n# {parameter.about()}\n" if parameter.about() else "\n")
        lines.append(f"{parameter.key} = {' '.join(value)}\n")
    return "".join(lines)


# --- verdicts (pure) ------------------------------------------------------------------------------------------------------------------------


def verdicts(
    parameters: t.Sequence[Parameter],
    seen: Observed,
    failed: t.Mapping[str, str],
    tolerate: t.AbstractSet[str] = frozenset(),
    asked: t.Mapping[str, str] | None = None,
) -> list[Verdict]:
    """Judge every parameter by what the kernel has, what the next boot will set and what programs set after it.

    :param failed: keys that cannot be written, with the reason.
    :param asked: what was written to keys, in this call or in an earlier one, that the kernel did not take as it was.
    """
    return [_judge(parameter, seen, failed, tolerate, asked or {}) for parameter in parameters]


class _Findings:
    """What is found of one key, in the order in which it is found."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.notes: list[str] = []
        self.details: list[str] = []
        self.where: dict[str, tuple[str, ...]] = {}

    def add(self, name: str, detail: str = "", where: t.Iterable[str] = (), note: bool = False) -> None:
        (self.notes if note else self.names).append(name)
        self.details += [detail] if detail else []
        if where:
            self.where[name] = tuple(where)


def _judge(
    parameter: Parameter,
    seen: Observed,
    failed: t.Mapping[str, str],
    tolerate: t.AbstractSet[str],
    asked: t.Mapping[str, str],
) -> Verdict:
    key, live, found = parameter.key, seen.live.get(parameter.key), _Findings()
    decided = at_boot(key, seen.files.systemd)
    module = module_of(key) if live is None else ""
    if parameter.conflict:
        found.add("conflict", "no value meets both wishes; nothing is changed")
    elif live is None:
        _judge_missing(key, module, seen, found)
    elif key in failed and not meets(parameter, live):
        found.add("readonly", failed[key])
    elif not meets(parameter, live):
        _judge_live(key, live, asked, found)
    if live is not None and not {"conflict", "readonly"} & set(found.names):
        _judge_boot(parameter, live, decided, seen, found)
        _note_files(parameter, decided, seen, found)
    names = tuple(found.names)
    return Verdict(
        key,
        parameter.text(),
        " ".join(live or ()),
        " ".join(decided.value or ()) if decided is not None else "",
        names,
        tuple(found.notes),
        "; ".join(found.details),
        found.where,
        asked.get(key, "") if "clamped" in names else "",
        module if "module_missing" in names else "",
        seen.modules.at_boot.get(module, "") if "module_missing" in names else "",
        bool(names) and (parameter.optional or key in tolerate) and set(names) <= TOLERABLE,
    )


def _judge_missing(key: str, module: str, seen: Observed, found: _Findings) -> None:
    interface = _interface(key)
    if module and module not in seen.modules.loaded:
        barred, loads = seen.modules.barred.get(module), seen.modules.at_boot.get(module)
        if loads and barred:
            found.add(
                "module_missing", f"module {module} is not loaded; {loads} names it, but {barred} bars it", [barred]
            )
        elif loads:
            found.add("module_missing", f"module {module} is not loaded; {loads} loads it at the next boot", [loads])
        else:
            found.add(
                "module_missing", f"module {module} is not loaded, and nothing in modules-load.d loads it at boot"
            )
    elif interface:
        found.add(
            "unknown_key", f"there is no interface {interface}, or the kernel has no such parameter of interfaces"
        )
    else:
        found.add(
            "unknown_key", "the kernel has no such parameter here (misspelt? one of the host's, not of a container's?)"
        )


def _interface(key: str) -> str:
    """Return the interface that a parameter belongs to; empty when it is not one of an interface."""
    rest = next((key[len(prefix) :] for prefix in OF_INTERFACES if key.startswith(prefix)), "")
    name = rest.rpartition(".")[0].replace("/", ".")
    return "" if name in ("all", "default") else name


def _judge_live(key: str, live: Words, asked: t.Mapping[str, str], found: _Findings) -> None:
    if key in asked:
        found.add("clamped", f"asked for {asked[key]}, got {' '.join(live)}")
    else:
        found.add("runtime_drift")


def _judge_boot(
    parameter: Parameter, live: Words, decided: Assignment | None, seen: Observed, found: _Findings
) -> None:
    base = words_of(seen.original.get(parameter.key, " ".join(live)))
    value = decided.value if decided is not None and decided.value else base
    if not meets(parameter, value):
        if decided is not None and decided.file != seen.own_path:
            lines = [a.where for a in seen.files.systemd if a.key == decided.key and a.value == decided.value]
            found.add("overridden_by", f"{', '.join(lines)} sets {' '.join(value)} at boot; remove that line", lines)
        else:
            found.add("persist_drift", f"the next boot leaves it at {' '.join(value)}")
    elif decided is None and parameter.form != "range":
        found.add("persist_drift", f"no file sets it at boot; {seen.own_path} has to")
    else:
        after, name, line = finally_(parameter.key, value, seen.writers)
        if line is not None and not meets(parameter, after):
            found.add(
                "will_be_overwritten_by",
                f"{name} sets {' '.join(after)} later ({line.where})",
                [f"{name} {line.where}"],
            )


def _note_files(parameter: Parameter, decided: Assignment | None, seen: Observed, found: _Findings) -> None:
    lines = [a for a in seen.files.systemd if a.key == parameter.key and a.value is not None]
    if len({line.file for line in lines}) > 1:
        found.add("duplicate", "", [line.where for line in lines], note=True)
    if seen.procps is None:
        return
    procps = by_procps(parameter.key, seen.files.procps, seen.procps)
    agrees = procps is None or not procps.value or meets(parameter, procps.value)
    if (
        procps is not None
        and not agrees
        and not (decided is not None and same(decided.value or (), procps.value or ()))
    ):
        text = f"'sysctl --system' would set {' '.join(procps.value or ())} ({procps.where}), systemd-sysctl does not"
        found.add("procps_differs", text, [procps.where], note=True)
