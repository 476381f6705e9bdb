# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of sysctl.d(5): what systemd-sysctl sets from them at boot, and what procps' ``sysctl --system`` would set.

Both take base names over all directories (the first directory that has a name wins it), sort by base name and let the last assignment win; an
assignment by name beats one by glob. ``docs/kernel_parameters.md`` has where they differ, with the versions.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import (
    Words,
    is_glob,
    normal_key,
    words_of,
)

# Where /lib is a link to usr/lib, the last one has no name that the one before has not.
DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
# What tuned reads again after it has set its own values (plugin_sysctl, reapply_sysctl).
REREAD_DIRECTORIES = ("/run/sysctl.d", "/etc/sysctl.d")
SYSCTL_CONF = "/etc/sysctl.conf"
# systemd-sysctl.service: LoadCredential=sysctl.extra, read after all files (systemd 252 and newer).
CREDENTIALS = tuple(f"{base}/credstore/sysctl.extra" for base in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
# procps' releases of which one brought the order of directories, one globs, one globs that are excluded.
PROCPS_ORDER, PROCPS_GLOBS, PROCPS_GLOB_EXCLUDES = (3, 3, 17), (4, 0, 0), (4, 0, 5)
BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")

Version = t.Tuple[int, ...]


@dataclass(frozen=True)
class Assignment:
    """A line of a sysctl.d file. ``value`` None is ``-key`` alone: the key is taken out of what globs set.

    ``plain`` is false when the name is written with leading or doubled separators, which procps does not see through.
    """

    file: str
    line: int
    key: str
    value: Words | None
    plain: bool = True

    @property
    def is_glob(self) -> bool:
        return is_glob(self.key)

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Files:
    """All assignments in the order in which systemd-sysctl, procps and tuned take them, the own file included, and the own file's text."""

    systemd: tuple[Assignment, ...] = ()
    procps: tuple[Assignment, ...] = ()
    reread: tuple[Assignment, ...] = ()
    own_text: str = ""

    def others(self, own_path: str) -> tuple[Assignment, ...]:
        """Leave the own file out of what systemd-sysctl takes."""
        return tuple(a for a in self.systemd if a.file != own_path)


# --- reading one file and ordering several (pure) -------------------------------------------------------------------------------------------


def parse_file(path: str, text: str) -> list[Assignment]:
    """Read a file of sysctl.d(5). ``key = value``, ``-key = value`` (errors are ignored), ``-key`` (taken out of globs); # and ; comment."""
    found = []
    for index, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        name, separator, value = line.partition("=")
        name = (name[1:] if name.startswith("-") else name).strip() if separator or name.startswith("-") else ""
        key = normal_key(name)
        if key:
            plain = all(part not in ("", ".") for part in re.split("[./]", name))
            found.append(Assignment(path, index, key, words_of(value) if separator else None, plain))
    return found


def boot_files(listing: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Order files as both programs read them. ``listing``: directory (in order of priority) -> its names."""
    chosen: dict[str, str] = {}
    for directory, names in listing.items():
        for name in names:
            if name.endswith(".conf"):
                chosen.setdefault(name, os.path.join(directory, name))
    return [chosen[name] for name in sorted(chosen, key=os.fsencode)]


# --- what a program makes of them (pure) ----------------------------------------------------------------------------------------------------


def at_boot(key: str, assignments: t.Iterable[Assignment]) -> Assignment | None:
    """Return the assignment by which systemd-sysctl sets a key at boot; None when nothing does.

    It keeps one entry a key or glob. A later one of the same key replaces it and goes to the end, but one that says the same stays where the
    first was; then the globs are applied in that order. ``-key`` takes an earlier assignment by name away too.
    """
    entries: dict[str, Assignment] = {}
    for assignment in assignments:
        known = entries.get(assignment.key)
        if known is None or known.value != assignment.value:
            entries.pop(assignment.key, None)
            entries[assignment.key] = assignment
    if key in entries:
        return entries[key] if entries[key].value is not None else None
    matching = [a for a in entries.values() if a.is_glob and a.value is not None and matches(a.key, key, braces=True)]
    return matching[-1] if matching else None


def by_procps(key: str, assignments: t.Iterable[Assignment], version: Version) -> Assignment | None:
    """Return the assignment by which ``sysctl --system`` sets a key at last; None when nothing does.

    It writes line by line, so ``-key`` takes nothing back. Releases before 4.0.0 know no globs; from 4.0.5 on ``-glob`` excludes too.
    """
    lines = list(assignments)
    excludes = [a.key for a in lines if a.value is None and a.is_glob] if version >= PROCPS_GLOB_EXCLUDES else []
    by_name = version < PROCPS_GLOBS or any(a.key == key and a.plain for a in lines)
    exempt = by_name or any(matches(pattern, key, across=True) for pattern in excludes)
    decided = None
    for line in lines:
        if line.value is not None and (line.key == key or (line.is_glob and not exempt and matches(line.key, key))):
            decided = line
    return decided


def matches(pattern: str, key: str, braces: bool = False, across: bool = False) -> bool:
    """Match a key against a glob(7) of paths, where a star ends at the next part.

    :param braces: ``{a,b}`` are alternatives, as systemd has it.
    :param across: signs match separators too, as procps' exclusions have it.
    """
    swap = str.maketrans("./", "/.")
    path = key.translate(swap)
    patterns = _alternatives(pattern.translate(swap)) if braces else [pattern.translate(swap)]
    return any(re.fullmatch(_expression(one, across), path) for one in patterns)


def _alternatives(pattern: str) -> list[str]:
    found = BRACES.search(pattern)
    if not found:
        return [pattern]
    ends = pattern[: found.start()], pattern[found.end() :]
    return [one for part in found[1].split(",") for one in _alternatives(ends[0] + part + ends[1])]


def _expression(pattern: str, across: bool) -> str:
    """Translate a glob into a regular expression. A bracket without end is literal; a backslash takes a sign's meaning."""
    any_sign, text, index = "." if across else "[^/]", "", 0
    while index < len(pattern):
        sign = pattern[index]
        index += 1
        end = pattern.find("]", index + (2 if pattern[index : index + 1] in ("!", "^") else 1)) if sign == "[" else -1
        if sign in "*?":
            text += any_sign + ("*" if sign == "*" else "")
        elif sign == "[" and end > 0 and "/" not in pattern[index:end]:
            inner = pattern[index:end]
            negated = inner[:1] in ("!", "^")
            body = re.sub(r"([\\\[\]&~|^])", r"\\\1", inner[1:] if negated else inner)
            text += f"[{'^/' if negated else ''}{body}]"
            index = end + 1
        elif sign == "\\" and index < len(pattern):
            text += re.escape(pattern[index])
            index += 1
        else:
            text += re.escape(sign)
    return text


# --- reading the machine's ------------------------------------------------------------------------------------------------------------------


def read_files(own_path: str, root: str = "/", procps: Version | None = None) -> Files:
    """Read everything that sets parameters at boot.

    :param procps: the release of procps on this machine; None when there is none, then nothing is said of it.
    """
    texts: dict[str, str | None] = {}

    def assignments(paths: t.Iterable[str]) -> tuple[Assignment, ...]:
        found: list[Assignment] = []
        for path in paths:
            if path not in texts:
                texts[path] = _read(path, root)
            found += parse_file(path, texts[path] or "")
        return tuple(found)

    credential = next((path for path in CREDENTIALS if os.path.isfile(within(root, path))), None)
    systemd = assignments([*_ordered(DIRECTORIES, root), *([credential] if credential else [])])
    by_procps_order: tuple[Assignment, ...] = ()
    if procps is not None:
        directories = DIRECTORIES if procps >= PROCPS_ORDER else (DIRECTORIES[1], DIRECTORIES[0], *DIRECTORIES[2:])
        by_procps_order = assignments([*_ordered(directories, root), SYSCTL_CONF])
    reread = assignments([*_ordered(REREAD_DIRECTORIES, root), SYSCTL_CONF])
    return Files(systemd, by_procps_order, reread, texts.get(own_path) or "")


def procps_version(program: str | None) -> Version | None:
    """Ask a ``sysctl`` for its release; None when there is none, or it is not procps' (busybox has no ``--system``)."""
    if not program:
        return None
    try:
        said = run((program, "--version"), timeout=10, check=False).stdout
    except CommandError:
        return None
    found = re.search(r"procps\S* (\d+(?:\.\d+)+)", said)
    return tuple(int(part) for part in found[1].split(".")) if found else None


def within(root: str, path: str) -> str:
    """Return a path of the machine below another root."""
    return os.path.join(root, path.lstrip("/"))


def _ordered(directories: t.Iterable[str], root: str) -> list[str]:
    listing: dict[str, list[str]] = {}
    for directory in directories:
        try:
            listing[directory] = sorted(os.listdir(within(root, directory)))
        except OSError:
            continue
    return boot_files(listing)


def _read(path: str, root: str) -> str | None:
    """Return a file's text; None when there is none to read. A link to /dev/null masks the name: its place is taken by nothing."""
    full = within(root, path)
    if not os.path.isfile(full):
        return None
    try:
        with open(full, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None
