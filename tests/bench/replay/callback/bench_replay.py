"""Stands between Ansible's ssh connection and the hosts: writes down what they answer, or answers for them.

BENCH_RECORD=FILE records; BENCH_ANSWERS=FILE with BENCH_HOSTS=FILE answers from a recording, and opens no connection. The ssh plugin stays, with all that it
costs but its processes; BENCH_SEEN=FOLDER remembers which hosts were asked, BENCH_OWN=FILE gets what answering itself took. BENCH_EVENTS=FILE gets seconds of
processor time by task (all of its processes). Files get JSON lines.
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
_real_run, _real_work = ssh.Connection._bare_run, WorkerProcess._run
#: in a process that Ansible forked: the task that it is for
_doing = ""
PING = json.dumps({"changed": False, "ping": "pong"})


def append(path: str, entry: dict[str, Any]) -> None:
    """Write a line at once, so that processes do not mix theirs."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, json.dumps(entry).encode() + b"\n")
    finally:
        os.close(descriptor)


def _working(self: Any) -> None:
    global _doing
    _doing = self._task.get_name()
    _real_work(self)


WorkerProcess._run = _working

if os.environ.get("BENCH_RECORD"):

    def _recording(
        self: Any, cmd: list[bytes], in_data: bytes | None, sudoable: bool = True, checkrc: bool = True
    ) -> tuple[int, bytes, bytes]:
        code, output, error = _real_run(self, cmd, in_data, sudoable=sudoable, checkrc=checkrc)
        call = answers.call_of(in_data)
        if call and output.lstrip().startswith(b"{"):
            entry = {
                "host": self.get_option("host"),
                "task": _doing,
                "module": call[0],
                "arguments": call[1],
                "output": output.decode(),
            }
            append(os.environ["BENCH_RECORD"], entry)
        return code, output, error

    ssh.Connection._bare_run = _recording

if os.environ.get("BENCH_ANSWERS"):
    from ansible_collections.bare_metal.kubernetes.plugins.module_utils._interpreter_call import ABSENT
    from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import publish

    KNOWN = answers.load(Path(os.environ["BENCH_ANSWERS"]), Path(os.environ["BENCH_HOSTS"]))
    SEEN = Path(os.environ["BENCH_SEEN"])

    def _first_call(host: str) -> bool:
        """Whether this host has not been asked before in this run: nobody waits on it yet."""
        try:
            (SEEN / host).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _answering(
        self: Any, cmd: list[bytes], in_data: bytes | None, sudoable: bool = True, checkrc: bool = True
    ) -> tuple[int, bytes, bytes]:
        del cmd, sudoable, checkrc
        begun, host = time.process_time(), self.get_option("host")
        call, waiting = answers.call_of(in_data), answers.REQUEST.search(in_data or b"")
        if call is None:
            said = ""
        elif waiting and _first_call(host):
            said = ABSENT
        elif call[0] == "ping":
            said = PING
        else:
            said = KNOWN.find(host, _doing, *call)
        append(os.environ["BENCH_OWN"], {"cpu_seconds": time.process_time() - begun})
        return 0, said.encode(), b""

    ssh.Connection._bare_run = _answering
    ssh.Connection.reset = lambda self: None
    # The one action that speaks with a machine without a connection of Ansible's: nothing is missing there.
    publish.plan = lambda *given, **named: publish.Plan((), b"")


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
