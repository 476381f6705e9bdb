# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program on a target: an argv list, a bounded time, a predictable locale."""

from __future__ import annotations

import os
import subprocess
import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class CommandResult:
    """What a finished program left: its exit code and both streams as text."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str


class CommandError(Exception):
    """A program that could not be started, ran too long, or failed although it had to succeed.

    The message names the program and its last lines of output, never its input.
    """

    def __init__(self, message: str, result: CommandResult | None = None) -> None:
        super().__init__(message)
        self.result = result


def tail(text: str, lines: int = 15) -> str:
    """Return the last non-empty lines of a program's output, for error messages."""
    kept = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(kept[-lines:])


def run(
    argv: t.Sequence[str],
    *,
    timeout: float = 60.0,
    input_text: str | None = None,
    check: bool = True,
    env: t.Mapping[str, str] | None = None,
) -> CommandResult:
    """Run ``argv`` with ``LC_ALL=C`` and return its result.

    :param timeout: seconds after which the program is killed.
    :param input_text: what is written to its standard input (secrets go here, never on argv).
    :param check: raise :class:`CommandError` when it exits non-zero.
    :param env: variables added to this process's environment.
    """
    words = tuple(str(word) for word in argv)
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C", **(env or {})}
    try:
        done = subprocess.run(
            words,
            input=input_text,
            stdin=subprocess.DEVNULL if input_text is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environment,
            check=False,
        )
    except FileNotFoundError as exc:
        raise CommandError(f"'{words[0]}' is not installed (or not on the PATH)") from exc
    except OSError as exc:
        raise CommandError(f"'{words[0]}' could not be started: {exc}") from exc
    except subprocess.TimeoutExpired as exc:
        raise CommandError(f"'{' '.join(words)}' did not end within {timeout:g} s") from exc
    result = CommandResult(words, done.returncode, done.stdout, done.stderr)
    if check and result.rc != 0:
        said = tail(result.stderr) or tail(result.stdout) or "it printed nothing"
        raise CommandError(f"'{' '.join(words)}' failed with exit code {result.rc}: {said}", result)
    return result
