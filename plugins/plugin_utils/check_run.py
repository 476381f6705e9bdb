# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``ansible-playbook --check`` printed, as data: which tasks would change something, on which host.

Pure. Read is the output of Ansible's default callback with its check mode markers on (``ANSIBLE_CHECK_MODE_MARKERS=true``): without the markers the
output of a run that changed things looks the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MARKERS = "ANSIBLE_CHECK_MODE_MARKERS=true"
MOST_CHARACTERS = 64 * 1024 * 1024
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
BANNER = re.compile(r"^(?P<kind>PLAY|TASK|RUNNING HANDLER) \[(?P<name>.*)\] \*+$")
MARK = "CHECK MODE"
RESULT = re.compile(r"^changed: \[(?P<host>[^\]\s]+)(?: -> (?P<target>[^\]\s(]+)[^\]]*)?\]")
RECAP = re.compile(r"^(?P<host>\S+)\s+: (?P<counts>(?:\w+=\d+(?:\s+|$)){4,})$")


class CheckRunError(ValueError):
    """A text that is not the whole output of a run in check mode; the message says why, and what to run."""


def _new_host() -> dict[str, Any]:
    return {"changed": 0, "failed": False, "unreachable": False, "tasks": []}


def parse(text: str) -> dict[str, Any]:
    """Read the output of a run.

    :returns: ``{"hosts": {name: {"changed": number of tasks, "failed": bool, "unreachable": bool, "tasks": [names]}}}``; a task that runs elsewhere is
        named with ``(on <host>)``, one that a later play runs again with ``(again in <play>)``: each task that changes something is in the list once.
    :raises CheckRunError: no recap, or a play or task that did not run in check mode.
    """
    if len(text) > MOST_CHARACTERS:
        raise CheckRunError(f"is longer than {MOST_CHARACTERS} characters")
    hosts: dict[str, dict[str, Any]] = {}
    play, task, recap = "", "", False
    seen: set[tuple[str, str]] = set()  # hosts and names of the task that is read: a loop prints a line for each item
    for line in ESCAPES.sub("", text).splitlines():
        banner = BANNER.match(line)
        if banner:
            name, _between, mark = banner["name"].rpartition("] [")
            if mark != MARK and banner["name"] != MARK:
                raise CheckRunError(
                    f"'{banner['kind']} [{banner['name']}]' has no mark of check mode: run site with --check and {MARKERS}"
                )
            play, task, seen = (name, "", set()) if banner["kind"] == "PLAY" else (play, name, set())
        elif line.startswith("PLAY RECAP *"):
            recap = True
        elif recap and (found := RECAP.match(line)):
            counts = {key: int(value) for key, value in (pair.split("=") for pair in found["counts"].split())}
            row = hosts.setdefault(found["host"], _new_host())
            row["changed"] = counts.get("changed", 0)
            row["failed"] = bool(counts.get("failed", 0))
            row["unreachable"] = bool(counts.get("unreachable", 0))
        elif found := RESULT.match(line):
            name = task + (f" (on {found['target']})" if found["target"] else "")
            if (found["host"], name) in seen:
                continue
            seen.add((found["host"], name))
            tasks = hosts.setdefault(found["host"], _new_host())["tasks"]
            tasks.append(f"{name} (again in {play})" if name in tasks else name)
    if not recap:
        raise CheckRunError(
            "has no PLAY RECAP: it is not the whole output of ansible-playbook, or of another callback than default"
        )
    if not hosts:
        raise CheckRunError("has no host in its recap")
    return {"hosts": dict(sorted(hosts.items()))}


@dataclass(frozen=True)
class Alike:
    """Hosts on which a run would do the same: its tasks, how many changes, and how it ended (``failed``, ``unreachable`` or empty)."""

    hosts: tuple[str, ...]
    changed: int
    tasks: tuple[str, ...]
    state: str

    @property
    def words(self) -> str:
        """The outcome in a few words."""
        amount = (
            f"{self.changed} task{'' if self.changed == 1 else 's'} would change something"
            if self.changed
            else "nothing would change"
        )
        return f"{amount}{', ' + self.state if self.state else ''}"


def alike(hosts: Mapping[str, Mapping[str, Any]]) -> list[Alike]:
    """The hosts of a run (:func:`parse`) in groups, those first of which most is to be said: a pool of a hundred nodes is one line, not a hundred."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, row in sorted(hosts.items()):
        state = ", ".join(word for word in ("failed", "unreachable") if row[word])
        groups.setdefault((row["changed"], tuple(row["tasks"]), state), []).append(name)
    found = [Alike(tuple(names), changed, tasks, state) for (changed, tasks, state), names in groups.items()]
    return sorted(found, key=lambda one: (not one.state, -one.changed, one.hosts))


def summary(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole run in one sentence."""
    touched = sum(bool(row["changed"]) for row in hosts.values())
    if not touched:
        return f"Nothing would change on {len(hosts)} host{'' if len(hosts) == 1 else 's'}."
    tasks = {task for row in hosts.values() for task in row["tasks"]}
    return f"{touched} of {len(hosts)} hosts would change, in {len(tasks)} task{'' if len(tasks) == 1 else 's'}."
