"""Run the collection's playbooks on the lab as a user does, and read what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
INVENTORY = ROOT / "inventories" / "lab"
RECAP = re.compile(r"^(?P<host>\S+)\s+: (?P<counts>(?:\w+=\d+\s*)+)$", re.MULTILINE)
TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?P<name>.*?)\] \*+", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """A finished (or killed) run: exit code, everything it printed, counts of the recap by host, names of its tasks."""

    rc: int
    output: str
    recap: dict[str, dict[str, int]]
    tasks: list[str]

    def changed(self) -> dict[str, int]:
        """Hosts on which something was changed."""
        return {host: counts["changed"] for host, counts in self.recap.items() if counts["changed"]}

    def task_count(self, host: str) -> int:
        """Tasks of one host: run and skipped."""
        counts = self.recap[host]
        return counts["ok"] + counts["skipped"]


def parse(rc: int, output: str) -> Run:
    """Read what ansible-playbook printed."""
    recap = {}
    for match in RECAP.finditer(output.partition("PLAY RECAP")[2]):
        pairs = (pair.split("=") for pair in match["counts"].split())
        recap[match["host"]] = {key: int(value) for key, value in pairs}
    return Run(rc, output, recap, [match["name"] for match in TASK.finditer(output)])


def environment() -> dict[str, str]:
    """What Ansible runs with: the checkout's configuration, plain output."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }


def play(
    playbook: str,
    *arguments: str,
    inventory: Path | str = INVENTORY,
    kill_at_task: int | str = 0,
    seconds: float = 1500,
    watch: Callable[[int], None] | None = None,
) -> Run:
    """Run ``bare_metal.kubernetes.<playbook>``.

    :param kill_at_task: kill the run (SIGKILL, all its processes) as soon as it begins this task, counted from 1, or one with these words in its
        name; 0 lets it end.
    :param seconds: limit for the whole run; it is killed then and the test fails.
    :param watch: called again and again with the number of tasks begun, in a thread, while the run lasts.
    """
    argv = ["ansible-playbook", f"bare_metal.kubernetes.{playbook}", "-i", str(inventory), *arguments]
    process = subprocess.Popen(
        argv,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    begun = 0
    over = threading.Event()
    timer = threading.Timer(seconds, lambda: _kill(process))
    timer.start()
    watcher = threading.Thread(target=_watch, args=(watch, over, lambda: begun), daemon=True) if watch else None
    if watcher:
        watcher.start()
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if TASK.match(line):
                begun += 1
                if begun == kill_at_task or (isinstance(kill_at_task, str) and kill_at_task in line):
                    _kill(process)
                    break
        rc = process.wait(timeout=60)
    finally:
        over.set()
        timer.cancel()
        process.stdout.close()
    if watcher:
        watcher.join(timeout=10)
    return parse(rc, "".join(lines))


def _watch(call: Callable[[int], None], over: threading.Event, count: Callable[[], int]) -> None:
    while not over.is_set():
        call(count())
        over.wait(0.05)


def _kill(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def on(host: str, *argv: str, check: bool = True) -> str:
    """Run a command on a host of the lab, through the same connection as the playbooks."""
    words: Sequence[str] = [
        "ansible",
        "-i",
        str(INVENTORY),
        host,
        "-b",
        "-o",
        "-m",
        "ansible.builtin.command",
        "-a",
        " ".join(argv),
    ]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=180, check=False)
    if check:
        assert done.returncode == 0, f"{host}: {' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout
