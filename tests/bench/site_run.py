"""Where the time of a `site` run goes on the lab: wall time, tasks a host, seconds by role.

    python tests/bench/site_run.py [--first] [--runs N]

Without `--first` it measures runs that have nothing to do. With it the cluster is taken off first, so it measures an installation on prepared machines
with a warm bundle. It prints a table and a line of JSON; nothing is judged here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TASK = re.compile(r"^TASK \[(?:bare_metal\.kubernetes\.)?(?P<role>[a-z_]+ : )?(?P<name>.*?)\] \*+")
RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+).*skipped=(?P<skipped>\d+)")


def measure(playbook: str, *arguments: str) -> dict[str, object]:
    """Run a playbook and return ``{wall_seconds, controller_cpu_seconds, roles: {role: seconds}, tasks: {host: n}, changed}``."""
    argv = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        f"bare_metal.kubernetes.{playbook}",
        "-i",
        "inventories/lab",
        *arguments,
    ]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}
    cpu_before = os.times()
    begun = last = time.monotonic()
    process = subprocess.Popen(
        argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    current, roles, tasks, changed, lines = "start", defaultdict(float), {}, 0, []
    for line in process.stdout:
        lines.append(line)
        found = TASK.match(line)
        if found or line.startswith("PLAY RECAP"):
            now = time.monotonic()
            roles[current] += now - last
            last = now
            current = (found["role"] or "playbook : ").removesuffix(" : ") if found else "end"
        recap = RECAP.match(line)
        if recap:
            tasks[recap["host"]] = int(recap["ok"]) + int(recap["skipped"])
            changed += int(recap["changed"])
    rc = process.wait()
    cpu_after = os.times()
    if rc != 0:
        sys.exit("".join(lines[-40:]) + f"\n{playbook} failed with exit code {rc}")
    cpu = cpu_after.children_user + cpu_after.children_system - cpu_before.children_user - cpu_before.children_system
    return {
        "wall_seconds": round(time.monotonic() - begun, 1),
        "controller_cpu_seconds": round(cpu, 1),
        "roles": {role: round(seconds, 1) for role, seconds in sorted(roles.items(), key=lambda item: -item[1])},
        "tasks": tasks,
        "changed": changed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", action="store_true", help="take the cluster off before each run")
    parser.add_argument("--runs", type=int, default=1)
    asked = parser.parse_args()
    for number in range(1, asked.runs + 1):
        if asked.first:
            measure("reset", "-e", "reset_confirm=bmk")
        result = measure("site")
        print(
            f"run {number}: {result['wall_seconds']} s wall, {result['controller_cpu_seconds']} s CPU of the controller, changed={result['changed']}"
        )
        for role, seconds in result["roles"].items():  # type: ignore[attr-defined]
            print(f"  {role:<20} {seconds:>7.1f} s")
        print("  tasks a host:", ", ".join(f"{host} {count}" for host, count in sorted(result["tasks"].items())))  # type: ignore[attr-defined]
        print(json.dumps(result))


if __name__ == "__main__":
    main()
