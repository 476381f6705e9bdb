# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel parameters that are wanted: their names, their values, and what a wish makes of a value. Pure.

A value is compared word by word, numbers as numbers (decimal, hexadecimal, octal as the kernel reads them), so ``4096 131072 6291456`` equals its
tab separated form in /proc/sys; lists of ports are compared as sets, because the kernel shortens them.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass, replace

PROC_SYS = "/proc/sys"
FORMS = ("exactly", "min", "max", "one_of")
FIELDS = (*FORMS, "reason", "source", "optional")
# Writing it sets other parameters of the network back to their defaults (kernel: networking/ip-sysctl), so it comes before them.
FIRST = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
PORTS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*", re.ASCII)

Words = t.Tuple[str, ...]


class SysctlError(Exception):
    """Parameters that cannot be understood or met; ``problems`` has one text each."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Parameter:
    """One wanted parameter. ``form`` is ``exactly``, ``range`` (``low`` and/or ``high``) or ``one_of`` (``values``); words are strings.

    ``conflict`` says which two wishes cannot both be met; nothing else of such a parameter counts.
    """

    key: str
    form: str
    values: tuple[Words, ...] = ()
    low: Words = ()
    high: Words = ()
    reason: str = ""
    source: str = ""
    optional: bool = False
    conflict: str = ""

    def text(self) -> str:
        """Say what is wanted."""
        if self.conflict:
            return self.conflict
        if self.form == "range":
            bounds = ((f"at least {' '.join(self.low)}", self.low), (f"at most {' '.join(self.high)}", self.high))
            return " and ".join(text for text, bound in bounds if bound)
        return " or ".join(" ".join(value) for value in self.values)

    def about(self) -> str:
        """Give the reason and its source in one line."""
        return " ".join(" ".join((self.reason, f"({self.source})" if self.source else "")).split())


# --- names ----------------------------------------------------------------------------------------------------------------------------------


def normal_key(key: str) -> str:
    """Return a key with dots between its parts, and slashes for the dots inside a part (``net.ipv4.conf.eth0/100.rp_filter``).

    As in sysctl.d(5): when the first separator is a slash, slashes separate and dots are literal; else the other way round. Leading and doubled
    separators are dropped, as systemd does.
    """
    text = key.strip()
    first = next((sign for sign in text if sign in "./"), ".")
    path = text if first == "/" else text.translate(str.maketrans("./", "/."))
    return ".".join(part.replace(".", "/") for part in path.split("/") if part not in ("", "."))


def path_of(key: str, root: str = PROC_SYS) -> str:
    """Return the file of a normal key."""
    return os.path.join(root, key.translate(str.maketrans("./", "/.")))


def is_glob(key: str) -> bool:
    """Tell whether a key names more than one parameter."""
    return any(sign in key for sign in "*?[")


# --- values ---------------------------------------------------------------------------------------------------------------------------------


def words_of(value: t.Any) -> Words:
    """Split a value into its words."""
    return tuple(str(value).split())


def number(word: str) -> int | None:
    """Read a word as the kernel reads a number: decimal, 0x hexadecimal, leading 0 octal; None when it is none."""
    sign, digits = (-1, word[1:]) if word.startswith("-") else (1, word)
    if not digits.isascii() or not digits.isalnum():
        return None
    try:
        if digits.lower().startswith("0x"):
            return sign * int(digits, 16)
        if len(digits) > 1 and digits.startswith("0"):
            return sign * int(digits, 8)
        return sign * int(digits, 10)
    except ValueError:
        return None


def _ports(word: str) -> tuple[tuple[int, int], ...] | None:
    """Read a list of numbers and ranges, as of net.ipv4.ip_local_reserved_ports, and join what touches."""
    if not PORTS.fullmatch(word):
        return None
    found: list[tuple[int, int]] = []
    for low, high in sorted(_range(part) for part in word.split(",")):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def _range(part: str) -> tuple[int, int]:
    low, _dash, high = part.partition("-")
    return int(low), int(high or low)


def same(left: t.Sequence[str], right: t.Sequence[str]) -> bool:
    """Compare two values word by word."""
    return len(left) == len(right) and all(_same_word(one, other) for one, other in zip(left, right))


def _same_word(one: str, other: str) -> bool:
    if one == other:
        return True
    a, b = number(one), number(other)
    if a is not None and b is not None:
        return a == b
    ports = _ports(one) if any(sign in one + other for sign in ",-") else None
    return ports is not None and ports == _ports(other)


def meets(parameter: Parameter, value: t.Sequence[str]) -> bool:
    """Tell whether a value is what is wanted."""
    return not parameter.conflict and same(wanted_value(parameter, value), value)


def wanted_value(parameter: Parameter, value: t.Sequence[str]) -> Words:
    """Return the value that a parameter makes of ``value``: itself when it fits, so that ``min`` never lowers and ``max`` never raises."""
    if parameter.conflict:
        return tuple(value)
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


# --- parsing what is wanted -----------------------------------------------------------------------------------------------------------------


def parse_parameters(raw: t.Mapping[str, t.Any]) -> list[Parameter]:
    """Read ``{key: value or {exactly|min|max|one_of, reason, source, optional} or a list of these}``; all errors at once.

    A key with null is left out; a dash before it makes it optional, as in sysctl.d(5). Several wishes for one key (a list, or two spellings of
    the key) are met together, or are a conflict.
    """
    found: dict[str, Parameter] = {}
    problems: list[str] = []
    for given, spec in raw.items():
        name, optional = str(given).strip(), str(given).strip().startswith("-")
        key = normal_key(name[1:] if optional else name)
        for wish in spec if isinstance(spec, (list, tuple)) else [spec]:
            if wish is None:
                continue
            try:
                _check_key(name, key)
                parameter = _parse_parameter(key, wish)
                parameter = replace(parameter, optional=True) if optional else parameter
                found[key] = combine(found[key], parameter) if key in found else parameter
            except SysctlError as exc:
                problems += [problem for problem in exc.problems if problem not in problems]
    if problems:
        raise SysctlError(problems)
    return sorted(found.values(), key=lambda parameter: (parameter.key not in FIRST, parameter.key))


def _check_key(given: str, key: str) -> None:
    if not key or is_glob(key) or any(sign.isspace() or sign in "]=#\0" for sign in key) or "//" in key.split("."):
        raise SysctlError([f"{given}: not the name of one parameter (globs are not taken)"])


def combine(one: Parameter, other: Parameter) -> Parameter:
    """Return the parameter that meets both wishes; one with ``conflict`` when there is none.

    It is optional only when both are.
    """
    both = replace(
        one,
        reason="; ".join(dict.fromkeys(part for part in (one.reason, other.reason) if part)),
        source="; ".join(dict.fromkeys(part for part in (one.source, other.source) if part)),
        optional=one.optional and other.optional,
    )
    if one.conflict or other.conflict:
        return replace(both, conflict=one.conflict or other.conflict)
    if one.form == other.form == "range":
        return _combine_ranges(one, other, both)
    fixed, rule = (one, other) if one.form != "range" else (other, one)
    kept = tuple(value for value in fixed.values if meets(rule, value))
    return replace(both, form=fixed.form, values=kept, low=(), high=()) if kept else _conflict(one, other, both)


def _combine_ranges(one: Parameter, other: Parameter, both: Parameter) -> Parameter:
    if len({len(bound) for bound in (one.low, one.high, other.low, other.high) if bound}) > 1:
        return _conflict(one, other, both)
    low = _tighter(one.low, other.low, max)
    high = _tighter(one.high, other.high, min)
    crossed = low and high and any(t.cast(int, number(a)) > t.cast(int, number(b)) for a, b in zip(low, high))
    return _conflict(one, other, both) if crossed else replace(both, low=low, high=high)


def _tighter(one: Words, other: Words, choose: t.Callable[..., str]) -> Words:
    return tuple(choose(a, b, key=number) for a, b in zip(one, other)) if one and other else one or other


def _conflict(one: Parameter, other: Parameter, both: Parameter) -> Parameter:
    wishes = (f"{wish.text()} [{wish.about() or 'no reason given'}]" for wish in (one, other))
    return replace(both, conflict=" against ".join(wishes))


def _parse_parameter(key: str, spec: t.Any) -> Parameter:
    if not isinstance(spec, dict):
        return Parameter(key, "exactly", (_parse_value(key, spec),))
    unknown = sorted(str(name) for name in spec if name not in FIELDS)
    forms = [form for form in FORMS if spec.get(form) is not None]
    if unknown:
        raise SysctlError([f"{key}: unknown {', '.join(unknown)}; known are {', '.join(FIELDS)}"])
    if not forms or (len(forms) > 1 and forms != ["min", "max"]):
        given = ", ".join(forms) or "none"
        raise SysctlError([f"{key}: one of {', '.join(FORMS)} is needed (min and max may go together); given: {given}"])
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


def _parse_value(key: str, value: t.Any) -> Words:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        kind = type(value).__name__
        raise SysctlError(
            [f"{key}: {value!r} is a {kind}; a parameter is a number or a text (1 and 0, not true and false)"]
        )
    if len(str(value).splitlines()) > 1 or "\0" in str(value) or not words_of(value):
        raise SysctlError([f"{key}: {value!r} is not one line of words"])
    return words_of(value)


def _parse_bound(key: str, form: str, value: t.Any) -> Words:
    if value is None:
        return ()
    words = _parse_value(key, value)
    if any(number(word) is None for word in words):
        raise SysctlError([f"{key}: {form} is '{value}', not a number (or numbers)"])
    return words
