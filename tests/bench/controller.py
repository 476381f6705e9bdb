"""What `site` costs the controller with 50, 200 and 1,000 workers, when the hosts cost nothing.

    python tests/bench/controller.py record          a run on the lab, whose hosts' answers are kept (0600, in the cache; a first run has keys in it)
    python tests/bench/controller.py replay [--workers 2 50 200 1000]

A replay is the whole `site` with the lab's group variables and N workers: each is the lab's worker2 under another name and address, and answers what that
one answered to the same module with the same arguments. Answers about other hosts (routes, probes of pods) are about the lab's five hosts, so what grows
with the square of the nodes there does not grow here. It prints wall and processor seconds, those of each added worker and of each of its tasks, and a line of
JSON. Nothing is judged, and nothing but files of its own is touched.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
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
ORIGIN, ORIGIN_ADDRESS, ORIGIN_LEGS = "worker2", "10.77.2.31", {"rack2": 31}
#: room for the pods of 1,000 nodes; only the validation of the inventory sees it
VARIABLES = {"cluster_pod_cidrs": ["10.128.0.0/11"], "cluster_firewall_admin_cidrs": ["10.77.0.0/16"]}
#: what a run may end with: the report knows five nodes, the inventory has more
LAST = "Judge what was seen"


def address(number: int) -> str:
    return f"10.78.{number // 250}.{number % 250 + 1}"


def own_words(recorded: Path) -> list[str]:
    """MAC addresses and identifiers in what the origin said of its machine: no two machines have the same."""
    for line in recorded.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["module"] == "machine_info" and entry["host"] == ORIGIN_ADDRESS:
            machine = json.loads(entry["output"])["ansible_facts"]["bare_metal_machine"]
            return [*(link["mac"] for link in machine["interfaces"]), machine["machine_id"]]
    sys.exit(f"{recorded} has no answer of {ORIGIN}; record anew")


def simulate(workers: int, folder: Path, recorded: Path) -> None:
    """Write an inventory like the lab's with ``workers`` workers, and whose answers each of them gives."""
    hosts = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text(encoding="utf-8"))
    pool = hosts["all"]["children"]["lab"]["children"]["lab_nodes"]["children"]["workers"]["hosts"]
    simulated: dict[str, Any] = {}
    for number in range(3, workers + 1):
        name, where = f"worker{number}", address(number)
        pool[name] = {"lab_legs": ORIGIN_LEGS, "ansible_host": where}
        words = {ORIGIN: name, ORIGIN_ADDRESS: where}
        for index, word in enumerate(own_words(recorded)):
            words[word] = f"{index:02x}{number:04x}"
        simulated[where] = [ORIGIN_ADDRESS, words]
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts, sort_keys=False), encoding="utf-8")
    (folder / "hosts.json").write_text(json.dumps(simulated), encoding="utf-8")
    (folder / "group_vars").symlink_to(ROOT / "inventories/lab/group_vars")


def site(inventory: Path, *arguments: str, **variables: str) -> tuple[str, float, float]:
    """Run `site`: its output, wall seconds and processor seconds of the controller's processes."""
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "bare_metal.kubernetes.site", "-i", str(inventory)]
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
    if done.returncode and not (named and LAST in named[-1]):
        sys.exit("".join(f"{line}\n" for line in done.stdout.splitlines()[-60:]) + "the run failed")
    return done.stdout, time.monotonic() - begun, cpu


def record(path: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.unlink(missing_ok=True)
    _output, seconds, _cpu = site(ROOT / "inventories/lab", BENCH_RECORD=str(draft))
    draft.replace(path)
    print(f"{len(path.read_text(encoding='utf-8').splitlines())} answers in {seconds:.0f} s: {path}")


def replay(path: Path, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(workers, folder, path)
        files = {"BENCH_ANSWERS": str(path), "BENCH_HOSTS": str(folder / "hosts.json")}
        output, seconds, cpu = site(folder, "-e", json.dumps(VARIABLES), **files)
    recap = {match["host"]: int(match["ok"]) + int(match["skipped"]) for match in RECAP.finditer(output)}
    return {
        "workers": workers,
        "wall_seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "tasks_of_a_worker": recap[f"worker{workers}"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=["record", "replay"])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 50, 200, 1000])
    parser.add_argument("--file", type=Path, default=CACHE / "site.jsonl")
    asked = parser.parse_args()
    if asked.verb == "record":
        record(asked.file)
        return
    results: list[dict[str, Any]] = []
    print(f"{'workers':>8} {'wall s':>8} {'CPU s':>8} {'CPU s an added worker':>22} {'CPU ms a task of it':>20}")
    for workers in sorted(asked.workers):
        result = replay(asked.file, workers)
        if results:
            added = workers - results[-1]["workers"]
            result["cpu_seconds_an_added_worker"] = round(
                (result["cpu_seconds"] - results[-1]["cpu_seconds"]) / added, 3
            )
            result["cpu_ms_a_task_of_it"] = round(
                1000 * result["cpu_seconds_an_added_worker"] / result["tasks_of_a_worker"], 1
            )
        results.append(result)
        print(
            f"{workers:>8} {result['wall_seconds']:>8} {result['cpu_seconds']:>8}"
            f" {result.get('cpu_seconds_an_added_worker', ''):>22} {result.get('cpu_ms_a_task_of_it', ''):>20}",
            flush=True,
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
