# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program on a target: an argv list, a bounded time, a predictable locale."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import typing as t
from dataclasses import dataclass

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class CommandResult:
    """What a finished program left: its exit code and both streams as text."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str


class CommandError(Exception):
    """A program that could not be started, ran too long, or failed although it had to succeed.

    The message names the program and its last lines of output, never its input. ``result`` is what it left, when it ended;
    ``missing`` says that the program is not there at all.
    """

    def __init__(self, message: str, result: CommandResult | None = None, missing: bool = False) -> None:
        super().__init__(message)
        self.result = result
        self.missing = missing


def tail(text: str, lines: int = 15) -> str:
    """Return the last non-empty lines of a program's output, for error messages."""
    kept = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(kept[-lines:])


def _own_environment() -> dict[str, str]:
    """This process's environment without proxies: our programs speak with this machine and its cluster. A machine's /etc/environment would let etcdctl
    and kubectl ask a proxy for the cluster, and kubeadm write it into the control plane's pods.
    """
    return {name: value for name, value in os.environ.items() if name.upper() not in PROXY_VARIABLES}


def run(
    argv: t.Sequence[str],
    *,
    timeout: float = 60.0,
    input_text: str | None = None,
    check: bool = True,
    env: t.Mapping[str, str] | None = None,
) -> CommandResult:
    """Run ``argv`` with ``LC_ALL=C`` and return its result.

    :param timeout: seconds after which the program and everything it started are killed.
    :param input_text: what is written to its standard input (secrets go here, never on argv).
    :param check: raise :class:`CommandError` when it exits non-zero.
    :param env: variables added to this process's environment.
    """
    words = tuple(str(word) for word in argv)
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if input_text is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**_own_environment(), "LC_ALL": "C", "LANG": "C", **(env or {})},
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        raise CommandError(f"'{words[0]}' is not installed (or not on the PATH)", missing=True) from exc
    except OSError as exc:
        raise CommandError(f"'{words[0]}' could not be started: {exc}") from exc
    with process:
        try:
            stdout, stderr = process.communicate(input_text, timeout=timeout)
        except subprocess.TimeoutExpired as exc:
            _kill_session(process)
            raise CommandError(f"'{' '.join(words)}' did not end within {timeout:g} s") from exc
        except BaseException:
            _kill_session(process)
            raise
    result = CommandResult(words, process.returncode, stdout, stderr)
    if check and result.rc != 0:
        said = tail(result.stderr) or tail(result.stdout) or "it printed nothing"
        raise CommandError(f"'{' '.join(words)}' failed with exit code {result.rc}: {said}", result)
    return result


def _kill_session(process: subprocess.Popen[str]) -> None:
    """Kill a program with its children: a grandchild that holds a pipe would keep its reader waiting for ever."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def caller_is_gone(descriptor: int = 1) -> bool:
    """Has the reader of this process's output closed it? So a killed play is noticed: without a terminal, ssh sends no signal."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _descriptor, event in poll.poll(0))
