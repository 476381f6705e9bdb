"""What forty kernel parameters in one call cost on the lab, against a task that does nothing.

    python tests/bench/sysctl_profile.py [--host NAME] [--runs N]

Each run is one playbook in which `ping` and `sysctl_profile` (forty parameters, state verified) take turns, ten times each, after one of each to warm
the connection up. A pair's ratio is the time of the one task to that of the other beside it. It prints a table and a line of JSON; nothing is judged
here, and nothing is changed on the host.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAIRS = 10
TASK = re.compile(r"^TASK \[(?P<name>ping|forty|end)\] \*+")
# Bounds that every kernel meets, so that there is nothing to say of them. 40 with the interfaces' below.
GLOBAL = (
    *(f"fs.{name}" for name in ("file-max", "nr_open", "aio-max-nr", "pipe-max-size", "inotify.max_user_watches")),
    *(f"kernel.{name}" for name in ("pid_max", "threads-max", "panic", "msgmax", "msgmnb", "shmmni", "keys.maxkeys")),
    *(f"vm.{name}" for name in ("swappiness", "max_map_count", "overcommit_memory", "dirty_ratio", "panic_on_oom")),
    *(f"net.core.{name}" for name in ("somaxconn", "xfrm_acq_expires")),
    *(f"net.ipv4.{name}" for name in ("ip_forward", "tcp_keepalive_time", "tcp_fin_timeout", "tcp_syncookies")),
)
OF_INTERFACES = ("forwarding", "rp_filter", "accept_redirects", "send_redirects", "arp_ignore", "arp_announce")
FORTY = {
    key: {"min": -1, "optional": True}
    for key in (
        *GLOBAL,
        *(f"net.ipv4.conf.{name}.{leaf}" for name in ("all", "default", "lo") for leaf in OF_INTERFACES),
    )
}
FORTY = dict(list(FORTY.items())[:40])


def playbook(host: str) -> str:
    """A play in which the two tasks take turns."""
    one = {"name": "ping", "ansible.builtin.ping": {}}
    other = {"name": "forty", "bare_metal.kubernetes.sysctl_profile": {"parameters": FORTY, "state": "verified"}}
    tasks = [task for _rest in range(PAIRS + 1) for task in (one, other)]
    end = {"name": "end", "ansible.builtin.ping": {}}
    return yaml.safe_dump([{"hosts": host, "gather_facts": False, "become": True, "tasks": [*tasks, end]}])


def measure(host: str) -> list[tuple[float, float]]:
    """Run it and return the seconds of each pair: ``ping``, forty parameters."""
    with tempfile.TemporaryDirectory() as directory:
        play = Path(directory) / "pairs.yml"
        play.write_text(playbook(host))
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventories/lab", str(play)]
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            lines, begun = [], []
            for line in process.stdout:
                lines.append(line)
                if TASK.match(line):
                    begun.append(time.monotonic())
        if process.returncode != 0:
            sys.exit("".join(lines[-40:]) + f"\nthe playbook failed with exit code {process.returncode}")
    seconds = [after - before for before, after in itertools.pairwise(begun)]
    return list(zip(seconds[2::2], seconds[3::2], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="worker1")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    pairs = [pair for _rest in range(asked.runs) for pair in measure(asked.host)]
    ratios = sorted(forty / ping for ping, forty in pairs)
    result = {
        "parameters": len(FORTY),
        "pairs": len(pairs),
        "ping_seconds": round(statistics.median(ping for ping, _rest in pairs), 4),
        "forty_seconds": round(statistics.median(forty for _rest, forty in pairs), 4),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_quartiles": [round(ratios[len(ratios) // 4], 3), round(ratios[len(ratios) * 3 // 4], 3)],
    }
    for name, value in result.items():
        print(f"{name:<18} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
