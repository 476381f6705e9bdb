"""What `site` costs the controller with 50, 200 and 1,000 workers, when the hosts cost nothing.

    python tests/bench/controller.py record [--first]   runs on the lab, whose hosts' answers are kept (0600, in the cache: a first run has keys in it);
                                                        --first takes the cluster off before, and keeps the first run and the one after it
    python tests/bench/controller.py replay [--first] [--workers 2 50 200 1000] [--tasks]
    python tests/bench/controller.py plain [--bare] [--workers 2 50 200 1000]

A replay is the whole `site` with the lab's group variables and N workers: each is the lab's worker2 under another name and address, and answers what that
one answered to the same task. Answers about other hosts (routes, probes of pods) are about the lab's five hosts, so what grows with the square of the
nodes there does not grow here. It prints wall and processor seconds (without what answering took), those of each added worker and of each of its tasks, and a
line of JSON; `--tasks` adds which tasks they went to. `plain` runs a play of as many tasks that do nothing, through the same connection: that is
ansible-core's own part. Nothing is judged, and nothing but files of its own is touched.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
REPLAY = Path(__file__).resolve().parent / "replay"
CACHE = (
    Path(os.environ.get("BARE_METAL_KUBERNETES_CACHE") or Path.home() / ".cache" / "bare_metal_kubernetes") / "bench"
)
RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+).*failed=(?P<failed>\d+)\s+skipped=(?P<skipped>\d+)", re.MULTILINE
)
#: the lab's worker that all simulated ones are
ORIGIN, ORIGIN_ADDRESS = "worker2", "10.77.2.31"
#: what the lab's group variables make of the origin, as plain values: a template would be evaluated for every task of every host
OF_ORIGIN = {
    "lab_legs": {"rack2": 31},
    "lab_primary_segment": "rack2",
    "cluster_rack": "rack2",
    "cluster_bgp_as_number": 64702,
    "cluster_bgp_peers": [{"address": "10.77.2.254", "as_number": 64602}],
    "cluster_node_second_ip": "",
}
#: room for the pods of 1,000 nodes; only the validation of the inventory sees it
VARIABLES = {"cluster_pod_cidrs": ["10.128.0.0/11"], "cluster_firewall_admin_cidrs": ["10.77.0.0/16"]}
#: what a run may end with: the report knows five nodes, the inventory has more
LAST = "Judge what was seen"
#: kinds of tasks that do nothing, and how many of each a host has in `plain`: as many as a worker has in `site`
PLAIN = {
    "ping": {"ansible.builtin.ping": {}},
    "debug": {"ansible.builtin.debug": {"msg": "nothing"}, "when": "true"},
    "skipped": {"ansible.builtin.ping": {}, "when": "false"},
}
PLAIN_TASKS = 16


def load_answers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_answers", REPLAY / "answers.py")
    if spec is None or spec.loader is None:
        raise ImportError("answers.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_answers"] = module
    spec.loader.exec_module(module)
    return module


def address(number: int) -> str:
    return f"10.78.{number // 250}.{number % 250 + 1}"


def own_words(recorded: Path) -> list[str]:
    """MAC addresses and identifiers in what the origin said of its machine: no two machines have the same."""
    with gzip.open(recorded, "rt", encoding="utf-8") as file:
        for line in file:
            entry = json.loads(line)
            if entry["module"] == "machine_info" and entry["host"] == ORIGIN_ADDRESS:
                machine = json.loads(entry["output"])["ansible_facts"]["bare_metal_machine"]
                return [*(link["mac"] for link in machine["interfaces"]), machine["machine_id"]]
    sys.exit(f"{recorded} has no answer of {ORIGIN}; record anew")


def bare(workers: int, folder: Path) -> None:
    """Write an inventory of ``workers`` workers of which nothing is said but their address."""
    pool = {f"worker{number}": {"ansible_host": address(number)} for number in range(1, workers + 1)}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"workers": {"hosts": pool}}), encoding="utf-8")
    (folder / "hosts.json").write_text("{}", encoding="utf-8")


def simulate(workers: int, folder: Path, own: list[str]) -> None:
    """Write an inventory like the lab's with ``workers`` workers, and whose answers each of them gives."""
    hosts = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text(encoding="utf-8"))
    pool = hosts["all"]["children"]["lab"]["children"]["lab_nodes"]["children"]["workers"]["hosts"]
    simulated: dict[str, Any] = {}
    for number in range(3, workers + 1):
        name, where = f"worker{number}", address(number)
        pool[name] = {**OF_ORIGIN, "ansible_host": where, "cluster_node_ip": where}
        words = {ORIGIN: name, ORIGIN_ADDRESS: where}
        for index, word in enumerate(own):
            words[word] = f"{index:02x}{number:04x}"
        simulated[where] = [ORIGIN_ADDRESS, words]
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts, sort_keys=False), encoding="utf-8")
    (folder / "hosts.json").write_text(json.dumps(simulated), encoding="utf-8")
    (folder / "group_vars").symlink_to(ROOT / "inventories/lab/group_vars")


@dataclass(frozen=True)
class Finished:
    """A run that ended: what it printed, wall seconds, processor seconds of the controller's processes."""

    output: str
    wall: float
    cpu: float

    def tasks_of(self, host: str) -> int:
        """Tasks of one host: run and skipped."""
        recap = {match["host"]: int(match["ok"]) + int(match["skipped"]) for match in RECAP.finditer(self.output)}
        return recap[host]


def run(playbook: str, inventory: Path, *arguments: str, ending: str = "", **variables: str) -> Finished:
    """Run a playbook to its end; ``ending`` is the task that it may fail with."""
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-i", str(inventory)]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(REPLAY / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "bench_replay",
        "ANSIBLE_NOCOLOR": "1",
        **variables,
    }
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [*argv, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    named = [line for line in done.stdout.splitlines() if line.startswith("TASK [")]
    if done.returncode and not (ending and named and ending in named[-1]):
        sys.exit("".join(f"{line}\n" for line in done.stdout.splitlines()[-60:]) + "the run failed")
    return Finished(done.stdout, time.monotonic() - begun, cpu)


def record(path: Path) -> None:
    """Run `site` on the lab and keep what its hosts answer."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        seen = Path(name) / "seen.jsonl"
        done = run("bare_metal.kubernetes.site", ROOT / "inventories/lab", BENCH_RECORD=str(seen))
        with seen.open(encoding="utf-8") as file:
            count = load_answers().save((json.loads(line) for line in file), path)
    print(f"{count} answers in {done.wall:.0f} s: {path}", flush=True)


def replayed(
    playbook: str, path: Path | None, workers: int, *, alone: bool = False
) -> tuple[Finished, dict[str, float]]:
    """Run a playbook with ``workers`` workers whose answers are recorded ones; processor seconds by task."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if alone:
            bare(workers, folder)
        else:
            simulate(workers, folder, own_words(path) if path else [])
        (folder / "seen").mkdir()
        files = {
            "BENCH_ANSWERS": str(path or os.devnull),
            "BENCH_HOSTS": str(folder / "hosts.json"),
            "BENCH_SEEN": str(folder / "seen"),
            "BENCH_OWN": str(folder / "own.jsonl"),
            "BENCH_EVENTS": str(folder / "events.jsonl"),
        }
        done = run(playbook, folder / "hosts.yml", "-e", json.dumps(VARIABLES), ending=LAST, **files)
        own = sum(entry["cpu_seconds"] for entry in lines_of(folder / "own.jsonl"))
        by_task: dict[str, float] = defaultdict(float)
        for entry in lines_of(folder / "events.jsonl"):
            by_task[entry["task"]] += entry["cpu_seconds"]
    return Finished(done.output, done.wall, done.cpu - own), dict(by_task)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def replay(path: Path, sizes: list[int], by_task: bool) -> None:
    """Replay `site` with each number of workers; what each added worker and each of its tasks cost."""
    results: list[dict[str, Any]] = []
    last: dict[str, float] = {}
    print(f"{'workers':>8} {'wall s':>8} {'CPU s':>8} {'CPU s an added worker':>22} {'CPU ms a task of it':>20}")
    for workers in sizes:
        done, tasks = replayed("bare_metal.kubernetes.site", path, workers)
        result: dict[str, Any] = {
            "workers": workers,
            "wall_seconds": round(done.wall, 1),
            "cpu_seconds": round(done.cpu, 1),
            "tasks_of_a_worker": done.tasks_of(f"worker{workers}"),
        }
        if results:
            added = workers - results[-1]["workers"]
            each = (done.cpu - results[-1]["cpu_seconds"]) / added
            result["cpu_seconds_an_added_worker"] = round(each, 3)
            result["cpu_ms_a_task_of_it"] = round(1000 * each / result["tasks_of_a_worker"], 1)
        results.append(result)
        print(
            f"{workers:>8} {result['wall_seconds']:>8} {result['cpu_seconds']:>8}"
            f" {result.get('cpu_seconds_an_added_worker', ''):>22} {result.get('cpu_ms_a_task_of_it', ''):>20}",
            flush=True,
        )
        if by_task:
            for name, seconds in sorted(tasks.items(), key=lambda item: -item[1])[:40]:
                more = f"{1000 * (seconds - last.get(name, 0)) / added:>8.1f} ms" if len(results) > 1 else ""
                print(f"  {seconds:>8.2f} s {more:>12}  {name}")
        last = tasks
    print(json.dumps(results))


def plain(sizes: list[int], alone: bool) -> None:
    """Tasks that do nothing, as many as a worker has in `site`, through the same connection; hosts of the same inventory, or bare ones."""
    tasks = [{"name": f"{kind} {number}", **task} for kind, task in PLAIN.items() for number in range(PLAIN_TASKS)]
    results: list[dict[str, Any]] = []
    last: dict[str, float] = {}
    print("milliseconds of a core for a task of an added worker")
    with tempfile.TemporaryDirectory() as name:
        playbook = Path(name) / "plain.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "workers", "become": True, "tasks": tasks}]), encoding="utf-8")
        for workers in sizes:
            done, by_task = replayed(str(playbook), None, workers, alone=alone)
            kinds = {kind: sum(used for task, used in by_task.items() if task.startswith(f"{kind} ")) for kind in PLAIN}
            result: dict[str, Any] = {"workers": workers, "cpu_seconds": round(done.cpu, 1)}
            if results:
                added = workers - results[-1]["workers"]
                for kind, seconds in kinds.items():
                    result[f"cpu_ms_of_{kind}"] = round(1000 * (seconds - last[kind]) / added / PLAIN_TASKS, 1)
            results.append(result)
            last = kinds
            print(" ".join(f"{key} {value}" for key, value in result.items()), flush=True)
    print(json.dumps(results))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join((__doc__ or "").splitlines()[2:]),
    )
    parser.add_argument("verb", choices=["record", "replay", "plain"])
    parser.add_argument("--first", action="store_true", help="a first run, not one that has nothing to do")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 50, 200, 1000])
    parser.add_argument("--tasks", action="store_true", help="also which tasks the seconds went to")
    parser.add_argument("--bare", action="store_true", help="plain: hosts without the lab's variables")
    parser.add_argument("--folder", type=Path, default=CACHE, help="where recordings are")
    asked = parser.parse_args()
    first, again = asked.folder / "first.jsonl.gz", asked.folder / "again.jsonl.gz"
    if asked.verb == "record":
        if asked.first:
            run("bare_metal.kubernetes.reset", ROOT / "inventories/lab", "-e", "reset_confirm=bmk")
            record(first)
        record(again)
    elif asked.verb == "replay":
        replay(first if asked.first else again, sorted(asked.workers), asked.tasks)
    else:
        plain(sorted(asked.workers), asked.bare)


if __name__ == "__main__":
    main()
