"""Stands between Ansible's ssh connection and the hosts: writes down what they answer, or answers for them.

BENCH_RECORD=FILE records; BENCH_ANSWERS=FILE with BENCH_HOSTS=FILE answers from a recording, and opens no connection. The ssh plugin stays, with all that it
costs but its processes. BENCH_EVENTS=FILE gets seconds of processor time by task (all of its processes) as JSON lines.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ansible.executor.process.worker import WorkerProcess
from ansible.plugins.callback import CallbackBase
from ansible.plugins.connection import ssh

DOCUMENTATION = """
name: bench_replay
type: aggregate
short_description: Record what hosts answer, or answer for them
description: Used by tests/bench/controller.py.
"""


def _load_answers() -> Any:
    spec = importlib.util.spec_from_file_location("bench_answers", Path(__file__).parents[1] / "answers.py")
    if spec is None or spec.loader is None:
        raise ImportError("answers.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_answers"] = module
    spec.loader.exec_module(module)
    return module


answers = _load_answers()
_real_command, _real_run = ssh.Connection.exec_command, WorkerProcess._run


def append(path: str, entry: dict[str, Any]) -> None:
    """Write a line at once, so that processes do not mix theirs."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, json.dumps(entry).encode() + b"\n")
    finally:
        os.close(descriptor)


if os.environ.get("BENCH_RECORD"):

    def _recording(
        self: Any, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        code, output, error = _real_command(self, cmd, in_data=in_data, sudoable=sudoable)
        call = answers.call_of(in_data)
        if call and output.lstrip().startswith(b"{"):
            entry = {
                "host": self.get_option("host"),
                "module": call[0],
                "arguments": call[1],
                "output": output.decode(),
            }
            append(os.environ["BENCH_RECORD"], entry)
        return code, output, error

    ssh.Connection.exec_command = _recording

if os.environ.get("BENCH_ANSWERS"):
    KNOWN = answers.load(Path(os.environ["BENCH_ANSWERS"]), Path(os.environ["BENCH_HOSTS"]))

    def _answering(
        self: Any, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        del cmd, sudoable
        call = answers.call_of(in_data)
        return (0, KNOWN.find(self.get_option("host"), *call).encode(), b"") if call else (0, b"", b"")

    ssh.Connection.exec_command = _answering
    ssh.Connection._connect = lambda self: self


class CallbackModule(CallbackBase):
    """Says what each task has taken."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "bench_replay"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._task, self._begun, self._used = "start", time.monotonic(), sum(os.times()[:4])

    def _turn(self, name: str) -> None:
        now, used = time.monotonic(), sum(os.times()[:4])
        if os.environ.get("BENCH_EVENTS"):
            entry = {"task": self._task, "seconds": now - self._begun, "cpu_seconds": used - self._used}
            append(os.environ["BENCH_EVENTS"], entry)
        self._task, self._begun, self._used = name, now, used

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        del is_conditional
        self._turn(task.get_name())

    def v2_playbook_on_stats(self, stats: Any) -> None:
        del stats
        self._turn("end")
