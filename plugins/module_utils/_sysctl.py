# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel parameters: what is wanted, what the kernel has, what the next boot will set, and the way from one to the other.

The order of files at boot is that of sysctl.d(5): base names over all directories, /etc before /run before /usr/local/lib before /usr/lib for the
same base name, sorted by base name, the last assignment wins, an assignment by name beats one by glob.

A value is compared word by word, numbers as numbers (decimal, hexadecimal, octal as the kernel reads them), so ``4096 131072 6291456`` equals its
tab separated form in /proc/sys.
"""

from __future__ import annotations

import fnmatch
import json
import os
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import sync_directory, write_atomic

PROC_SYS = "/proc/sys"
DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
FORMS = ("exactly", "min", "max", "one_of")
# Writing it sets other parameters of the network back to their defaults (kernel: networking/ip-sysctl), so it comes before them.
FIRST = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
BAD_VERDICTS = ("unknown_key", "readonly", "clamped", "runtime_drift", "persist_drift", "overridden_by")
# What the memory's JSON calls the fields of a plan.
MEMORY = {"original": "original", "set": "was_set", "refused": "refused"}
HEADER = "# Written by the Ansible collection bare_metal.kubernetes (module sysctl_profile).\n"


class SysctlError(Exception):
    """Parameters that cannot be understood or met; ``problems`` has one text each."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Parameter:
    """One wanted parameter. ``form`` is ``exactly``, ``range`` (``low`` and/or ``high``) or ``one_of`` (``values``); words are strings."""

    key: str
    form: str
    values: tuple[tuple[str, ...], ...] = ()
    low: tuple[str, ...] = ()
    high: tuple[str, ...] = ()
    reason: str = ""
    source: str = ""
    optional: bool = False

    def text(self) -> str:
        """Say what is wanted."""
        if self.form == "range":
            bounds = ((f"at least {' '.join(self.low)}", self.low), (f"at most {' '.join(self.high)}", self.high))
            return " and ".join(text for text, bound in bounds if bound)
        return " or ".join(" ".join(value) for value in self.values)


@dataclass(frozen=True)
class Assignment:
    """A line of a sysctl.d file. ``value`` None is ``-key`` alone: the key is taken out of what globs set."""

    file: str
    line: int
    key: str
    value: tuple[str, ...] | None

    @property
    def is_glob(self) -> bool:
        return any(sign in self.key for sign in "*?[")


@dataclass(frozen=True)
class Observed:
    """What is there: ``live`` None means that the kernel has no such key; the last three come from earlier runs.

    ``refused`` are values that the kernel did not take: a tolerated key is not tried with the same value in every run.
    """

    live: t.Mapping[str, tuple[str, ...] | None]
    writable: t.Mapping[str, bool]
    others: t.Sequence[Assignment]
    own_text: str
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
    """What is to be said of a key. ``names`` is empty when it is ok; ``tolerated`` findings do not fail."""

    key: str
    wanted: str
    live: str
    at_boot: str
    names: tuple[str, ...] = ()
    detail: str = ""
    tolerated: bool = False

    def line(self) -> str:
        text = f"{self.key}: {', '.join(self.names)}: wanted {self.wanted}, the kernel has {self.live or 'no such key'}"
        return f"{text}; {self.detail}" if self.detail else text


# --- keys and values (pure) -----------------------------------------------------------------------------------------------------------------


def normal_key(key: str) -> str:
    """Return a key with dots between its parts, and slashes for the dots inside a part (``net.ipv4.conf.eth0/100.rp_filter``).

    As in sysctl.d(5): when the first separator is a slash, slashes separate and dots are literal; else the other way round.
    """
    text = key.strip()
    first = next((sign for sign in text if sign in "./"), ".")
    return text.translate(str.maketrans("./", "/.")) if first == "/" else text


def path_of(key: str, root: str = PROC_SYS) -> str:
    """Return the file of a normal key."""
    return os.path.join(root, key.translate(str.maketrans("./", "/.")))


def words_of(value: t.Any) -> tuple[str, ...]:
    """Split a value into its words."""
    return tuple(str(value).split())


def number(word: str) -> int | None:
    """Read a word as the kernel reads a number: decimal, 0x hexadecimal, leading 0 octal; None when it is none."""
    sign, digits = (-1, word[1:]) if word.startswith("-") else (1, word)
    try:
        if digits.lower().startswith("0x"):
            return sign * int(digits, 16)
        if len(digits) > 1 and digits.startswith("0"):
            return sign * int(digits, 8)
        return sign * int(digits, 10) if digits.isdigit() else None
    except ValueError:
        return None


def same(left: t.Sequence[str], right: t.Sequence[str]) -> bool:
    """Compare two values word by word."""
    if len(left) != len(right):
        return False
    for one, other in zip(left, right):
        a, b = number(one), number(other)
        if (a != b) if a is not None and b is not None else (one != other):
            return False
    return True


def meets(parameter: Parameter, value: t.Sequence[str]) -> bool:
    """Tell whether a value is what is wanted."""
    return same(wanted_value(parameter, value), value)


def wanted_value(parameter: Parameter, value: t.Sequence[str]) -> tuple[str, ...]:
    """Return the value that a parameter makes of ``value``: itself when it fits, so that ``min`` never lowers and ``max`` never raises."""
    if parameter.form != "range":
        return next((tuple(value) for wanted in parameter.values if same(wanted, value)), parameter.values[0])
    low, high = parameter.low, parameter.high
    count = max(len(low), len(high))
    if len(value) != count or any(number(word) is None for word in value):
        return low or high
    return tuple(
        _clamp(word, low[index] if low else None, high[index] if high else None) for index, word in enumerate(value)
    )


def _clamp(word: str, low: str | None, high: str | None) -> str:
    found = t.cast(int, number(word))
    if low is not None and found < t.cast(int, number(low)):
        return low
    if high is not None and found > t.cast(int, number(high)):
        return high
    return word


# --- parsing what is wanted (pure) ----------------------------------------------------------------------------------------------------------


def parse_parameters(raw: t.Mapping[str, t.Any]) -> list[Parameter]:
    """Read ``{key: value or {exactly|min|max|one_of, reason, source, optional}}``; all errors at once.

    A key with null is left out; a dash before it makes it optional, as in sysctl.d(5).
    """
    found: dict[str, Parameter] = {}
    problems: list[str] = []
    for given, spec in raw.items():
        key = normal_key(str(given).lstrip("-"))
        if spec is None:
            continue
        try:
            if not key or any(sign in key for sign in "*?[] \t=#"):
                raise SysctlError([f"{given}: not the name of one parameter (globs are not taken)"])
            if key in found:
                raise SysctlError([f"{given}: given twice, in two spellings"])
            parameter = _parse_parameter(key, spec)
            found[key] = replace(parameter, optional=True) if str(given).startswith("-") else parameter
        except SysctlError as exc:
            problems += exc.problems
    if problems:
        raise SysctlError(problems)
    return sorted(found.values(), key=lambda parameter: (parameter.key not in FIRST, parameter.key))


def _parse_parameter(key: str, spec: t.Any) -> Parameter:
    if not isinstance(spec, dict):
        return Parameter(key, "exactly", (_parse_value(key, spec),))
    unknown = sorted(set(spec) - {*FORMS, "reason", "source", "optional"})
    forms = [form for form in FORMS if spec.get(form) is not None]
    if unknown:
        raise SysctlError(
            [f"{key}: unknown {', '.join(unknown)}; known are {', '.join(FORMS)}, reason, source, optional"]
        )
    if not forms or (len(forms) > 1 and forms != ["min", "max"]):
        raise SysctlError(
            [
                f"{key}: one of {', '.join(FORMS)} is needed (min and max may go together); given: {', '.join(forms) or 'none'}"
            ]
        )
    about: dict[str, t.Any] = {
        "reason": str(spec.get("reason") or ""),
        "source": str(spec.get("source") or ""),
        "optional": bool(spec.get("optional")),
    }
    if forms == ["exactly"]:
        return Parameter(key, "exactly", (_parse_value(key, spec["exactly"]),), **about)
    if forms == ["one_of"]:
        if not isinstance(spec["one_of"], (list, tuple)) or not spec["one_of"]:
            raise SysctlError([f"{key}: one_of needs a list of values"])
        return Parameter(key, "one_of", tuple(_parse_value(key, value) for value in spec["one_of"]), **about)
    low = _parse_bound(key, "min", spec.get("min"))
    high = _parse_bound(key, "max", spec.get("max"))
    if low and high:
        if len(low) != len(high):
            raise SysctlError([f"{key}: min has {len(low)} numbers, max has {len(high)}"])
        if any(t.cast(int, number(a)) > t.cast(int, number(b)) for a, b in zip(low, high)):
            raise SysctlError([f"{key}: min {' '.join(low)} is above max {' '.join(high)}"])
    return Parameter(key, "range", low=low, high=high, **about)


def _parse_value(key: str, value: t.Any) -> tuple[str, ...]:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise SysctlError(
            [
                f"{key}: {value!r} is a {type(value).__name__}; a parameter is a number or a text (1 and 0, not true and false)"
            ]
        )
    if "\n" in str(value) or not words_of(value):
        raise SysctlError([f"{key}: {value!r} is not one line of words"])
    return words_of(value)


def _parse_bound(key: str, form: str, value: t.Any) -> tuple[str, ...]:
    if value is None:
        return ()
    words = _parse_value(key, value)
    if any(number(word) is None for word in words):
        raise SysctlError([f"{key}: {form} is '{value}', not a number (or numbers)"])
    return words


# --- what the boot will set (pure) ----------------------------------------------------------------------------------------------------------


def parse_file(path: str, text: str) -> list[Assignment]:
    """Read a file of sysctl.d(5). ``key = value``, ``-key = value`` (errors are ignored), ``-key`` (taken out of globs); # and ; comment."""
    found = []
    for index, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        name, separator, value = line.partition("=")
        key = normal_key(name.strip().lstrip("-"))
        if separator or name.startswith("-"):
            found.append(Assignment(path, index, key, words_of(value) if separator else None))
    return found


def boot_files(listing: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Order files as systemd-sysctl reads them. ``listing``: directory (in order of priority) -> names of its ``*.conf``."""
    chosen: dict[str, str] = {}
    for directory, names in listing.items():
        for name in names:
            if name.endswith(".conf"):
                chosen.setdefault(name, os.path.join(directory, name))
    return [chosen[name] for name in sorted(chosen, key=os.fsencode)]


def at_boot(key: str, assignments: t.Sequence[Assignment]) -> Assignment | None:
    """Return the assignment that decides about a key at boot; None when nothing sets it."""
    by_name = [a for a in assignments if not a.is_glob and a.key == key]
    if by_name:
        return by_name[-1] if by_name[-1].value is not None else None
    matching = [a for a in assignments if a.is_glob and _glob_matches(a.key, key)]
    return matching[-1] if matching else None


def _glob_matches(pattern: str, key: str) -> bool:
    """Match part by part, as glob(7) does with paths: a star does not cross a dot."""
    left, right = pattern.split("."), key.split(".")
    return len(left) == len(right) and all(fnmatch.fnmatchcase(name, sign) for sign, name in zip(left, right))


# --- plan and verdict (pure) ----------------------------------------------------------------------------------------------------------------


def plan(parameters: t.Sequence[Parameter], seen: Observed, tolerate: t.AbstractSet[str] = frozenset()) -> Plan:
    """Return what has to be written, live and to the own file."""
    writes: list[Write] = []
    original, was_set, refused = dict(seen.original), dict(seen.was_set), dict(seen.refused)
    persisted: list[tuple[Parameter, tuple[str, ...]]] = []
    for parameter in parameters:
        live = seen.live.get(parameter.key)
        if live is None:
            continue
        target = wanted_value(parameter, live)
        tolerated = parameter.optional or parameter.key in tolerate
        hopeless = not seen.writable.get(parameter.key, False) or (
            tolerated and same(words_of(refused.get(parameter.key, "")), target)
        )
        if same(target, live):
            refused.pop(parameter.key, None)
        elif not hopeless:
            writes.append(Write(parameter.key, " ".join(live), " ".join(target)))
            original.setdefault(parameter.key, " ".join(live))
            was_set[parameter.key] = " ".join(target)
        value = _persisted_value(parameter, seen, original.get(parameter.key, " ".join(live)), live)
        # What the kernel refuses would make systemd-sysctl fail at every boot; what it only clamps (then there is an original) would not.
        if value and not (hopeless and tolerated and not same(target, live) and parameter.key not in original):
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
        text != seen.own_text,
        original,
        was_set,
        {key: value for key, value in refused.items() if key in wanted},
    )


def _persisted_value(parameter: Parameter, seen: Observed, original: str, live: tuple[str, ...]) -> tuple[str, ...]:
    """Return what has to stand in the own file, or nothing.

    A fixed value always has to. A bound only when the next boot would miss it, because a number in a file would lower what a kernel on a larger
    machine chooses by itself.
    """
    if parameter.form != "range":
        return wanted_value(parameter, live)
    decided = at_boot(parameter.key, seen.others)
    base = decided.value if decided is not None and decided.value else words_of(original)
    target = wanted_value(parameter, base)
    return () if same(target, base) else target


def own_text(persisted: t.Sequence[tuple[Parameter, tuple[str, ...]]]) -> str:
    """Return the content of the own file; empty when nothing has to be set."""
    if not persisted:
        return ""
    lines = [HEADER]
    for parameter, value in persisted:
        about = " ".join(
            part for part in (parameter.reason, f"({parameter.source})" if parameter.source else "") if part
        )
        lines.append(f"\n# {' '.join(about.split())}\n" if about else "\n")
        lines.append(f"{parameter.key} = {' '.join(value)}\n")
    return "".join(lines)


def verdicts(
    parameters: t.Sequence[Parameter],
    live: t.Mapping[str, tuple[str, ...] | None],
    boot: t.Sequence[Assignment],
    own_path: str,
    original: t.Mapping[str, str],
    failed: t.Mapping[str, str],
    tolerate: t.AbstractSet[str] = frozenset(),
    tried: t.AbstractSet[str] = frozenset(),
) -> list[Verdict]:
    """Judge every parameter by what the kernel has and what the next boot will set.

    :param boot: all assignments in the order of the boot, the own file included.
    :param original: what keys were before this collection changed them: what they are after a boot at which nothing sets them.
    :param failed: keys that cannot be written, with the reason.
    :param tried: keys that were written in this call.
    """
    found = []
    for parameter in parameters:
        value = live.get(parameter.key)
        decided = at_boot(parameter.key, boot)
        names, details = [], []
        if value is None:
            names.append("unknown_key")
            details.append(
                "the kernel has no such parameter here (is its module loaded? is it one of the host's, not of a container's?)"
            )
        elif parameter.key in failed and not meets(parameter, value):
            names.append("readonly")
            details.append(failed[parameter.key])
        elif not meets(parameter, value):
            names.append("clamped" if parameter.key in tried else "runtime_drift")
        if value is not None and "readonly" not in names:
            name, detail = _judge_boot(parameter, value, decided, own_path, original)
            names += [name] if name else []
            details += [detail] if detail else []
        tolerated = (
            bool(names)
            and (parameter.optional or parameter.key in tolerate)
            and set(names) <= {"unknown_key", "readonly", "clamped"}
        )
        found.append(
            Verdict(
                parameter.key,
                parameter.text(),
                " ".join(value or ()),
                " ".join(decided.value or ()) if decided is not None else "",
                tuple(names),
                "; ".join(details),
                tolerated,
            )
        )
    return found


def _judge_boot(
    parameter: Parameter,
    live: tuple[str, ...],
    decided: Assignment | None,
    own_path: str,
    original: t.Mapping[str, str],
) -> tuple[str, str]:
    base = words_of(original.get(parameter.key, " ".join(live)))
    value = decided.value if decided is not None and decided.value else base
    if meets(parameter, value):
        if decided is None and parameter.form != "range":
            return "persist_drift", f"no file sets it at boot; {own_path} has to"
        return "", ""
    if decided is not None and decided.file != own_path:
        return "overridden_by", f"{decided.file}:{decided.line} sets {' '.join(value)} at boot; remove that line"
    return "persist_drift", f"the next boot leaves it at {' '.join(value)}"


# --- observation and action -----------------------------------------------------------------------------------------------------------------


def read_live(key: str, root: str = PROC_SYS) -> tuple[str, ...] | None:
    """Return the words of a parameter; None when there is none of that name."""
    try:
        with open(path_of(key, root), encoding="utf-8", errors="replace") as stream:
            return words_of(stream.read())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError:
        return ()


def read_boot(own_path: str, root: str = "/") -> tuple[list[Assignment], list[Assignment], str]:
    """Return all assignments in the order of the boot, those of others alone, and the text of the own file."""
    listing = {}
    for directory in DIRECTORIES:
        full = os.path.join(root, directory.lstrip("/"))
        try:
            listing[full] = sorted(os.listdir(full))
        except OSError:
            continue
    everything: list[Assignment] = []
    text = ""
    own = os.path.join(root, own_path.lstrip("/"))
    for path in boot_files(listing):
        if os.path.islink(path) and os.path.realpath(path) == "/dev/null":
            continue
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                content = stream.read()
        except OSError:
            continue
        if path == own:
            text = content
        everything += parse_file(own_path if path == own else path, content)
    return everything, [a for a in everything if a.file != own_path], text


def state_path(state_dir: str, own_path: str) -> str:
    """Return the file that remembers the original values: one for each drop-in."""
    return os.path.join(state_dir, "sysctl", os.path.basename(own_path) + ".json")


def observe(parameters: t.Sequence[Parameter], own_path: str, state_dir: str, root: str = "/") -> Observed:
    """Look at the kernel, the files and the memory; changes nothing."""
    proc = os.path.join(root, PROC_SYS.lstrip("/"))
    memory: dict[str, t.Any] = {}
    try:
        with open(state_path(state_dir, own_path), encoding="utf-8") as stream:
            memory = json.load(stream)
    except FileNotFoundError:
        memory = {}
    except ValueError as exc:
        raise SysctlError(
            [
                f"{state_path(state_dir, own_path)} is not JSON ({exc}); move it away, then removed keys keep their values"
            ]
        ) from exc
    _everything, others, text = read_boot(own_path, root)
    original = memory.get("original", {})
    keys = {*(parameter.key for parameter in parameters), *original}
    return Observed(
        live={key: read_live(key, proc) for key in keys},
        writable={key: _writable(path_of(key, proc)) for key in keys},
        others=others,
        own_text=text,
        original=original,
        was_set=memory.get("set", {}),
        refused=memory.get("refused", {}),
    )


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
    parameters: t.Sequence[Parameter],
    seen: Observed,
    steps: Plan,
    tolerate: t.AbstractSet[str],
    own_path: str,
    state_dir: str,
    root: str = "/",
) -> dict[str, str]:
    """Carry a plan out: memory, kernel, file. Return the keys that could not be written, with the reason.

    The memory comes first, so that a run which is killed in between can be undone. The file comes last, without the tolerated keys that the
    kernel did not take: they would make systemd-sysctl fail at every boot.
    """
    _remember(steps, own_path, state_dir)
    proc = os.path.join(root, PROC_SYS.lstrip("/"))
    failed, refused = {}, dict(steps.refused)
    for write in steps.writes:
        try:
            with open(path_of(write.key, proc), "w", encoding="utf-8") as stream:
                stream.write(write.after + "\n")
        except OSError as exc:
            failed[write.key] = f"the kernel refuses {write.after} ({exc.strerror})"
        if not same(read_live(write.key, proc) or (), words_of(write.after)):
            refused[write.key] = write.after
    if refused != dict(steps.refused):
        untouched = {key: value for key, value in steps.original.items() if key in seen.original or key not in failed}
        again = plan(parameters, replace(seen, original=untouched, refused=refused), tolerate)
        kept = {key: value for key, value in steps.was_set.items() if key in untouched}
        steps = replace(again, original=untouched, was_set=kept, refused=refused)
        _remember(steps, own_path, state_dir)
    own = os.path.join(root, own_path.lstrip("/"))
    if steps.own_changed and steps.own_text:
        os.makedirs(os.path.dirname(own), mode=0o755, exist_ok=True)
        write_atomic(own, steps.own_text.encode(), 0o644)
    elif steps.own_changed:
        os.unlink(own)
        sync_directory(os.path.dirname(own))
    return failed


def _remember(steps: Plan, own_path: str, state_dir: str) -> None:
    path = state_path(state_dir, own_path)
    if not (steps.original or steps.refused):
        if os.path.exists(path):
            os.unlink(path)
            sync_directory(os.path.dirname(path))
        return
    os.makedirs(state_dir, mode=0o700, exist_ok=True)
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


def converge(
    raw: t.Mapping[str, t.Any],
    tolerate: t.Sequence[str],
    own_path: str,
    state_dir: str,
    wanted: bool,
    act: bool,
    root: str = "/",
) -> Outcome:
    """Observe, plan, act when told to, observe again, judge.

    :param wanted: whether changes are planned at all (not for ``verified``).
    :param act: whether they are carried out (not in check mode).
    """
    parameters = parse_parameters(raw)
    tolerated = frozenset(normal_key(key) for key in tolerate)
    seen = observe(parameters, own_path, state_dir, root)
    steps = plan(parameters, seen, tolerated)
    failed = unwritable(seen)
    tried: frozenset[str] = frozenset()
    if act:
        if steps.changed or (steps.original, steps.was_set, steps.refused) != (
            seen.original,
            seen.was_set,
            seen.refused,
        ):
            failed.update(apply(parameters, seen, steps, tolerated, own_path, state_dir, root))
            tried = frozenset(write.key for write in steps.writes)
        after = observe(parameters, own_path, state_dir, root)
        proc = os.path.join(root, PROC_SYS.lstrip("/"))
        now = {key: read_live(key, proc) for key in seen.live}
        effects = [
            (k, " ".join(seen.live[k] or ()), " ".join(now[k] or ())) for k in sorted(now) if now[k] != seen.live[k]
        ]
        text = after.own_text
        changed = bool(effects) or text != seen.own_text
    else:
        after, changed = seen, wanted and steps.changed
        effects = (
            [(write.key, write.before, write.after) for write in sorted(steps.writes, key=lambda write: write.key)]
            if wanted
            else []
        )
        text = steps.own_text if wanted else seen.own_text
    boot, _others, _text = read_boot(own_path, root)
    found = verdicts(
        parameters, after.live, boot, own_path, after.original, failed, tolerated, tried | set(after.refused)
    )
    diff = (
        [
            {
                "before_header": "kernel",
                "after_header": "kernel",
                "before": _values(effects, 1),
                "after": _values(effects, 2),
            }
        ]
        if effects
        else []
    )
    if text != seen.own_text:
        diff.append({"before_header": own_path, "after_header": own_path, "before": seen.own_text, "after": text})
    return Outcome(changed, tuple(found), {p.key: " ".join(after.live[p.key] or ()) for p in parameters}, tuple(diff))


def _values(effects: t.Sequence[tuple[str, str, str]], column: int) -> str:
    return "".join(f"{effect[0]} = {effect[column]}\n" for effect in effects)
