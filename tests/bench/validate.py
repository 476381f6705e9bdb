"""Seconds that `validate_cluster` takes on generated inventories, and whether they grow with the hosts.

    python tests/bench/validate.py [--hosts 500 1000 2000 5000] [--profile]

Each size runs in a process of its own through ansible-playbook, as a user runs it; a run with 3 hosts is what Ansible itself takes. It prints a table
and a line of JSON: wall and CPU seconds, the largest memory, CPU milliseconds for a host, and the growth against the size before it. Nothing is judged.
`--profile` prints where the time goes at the last size instead.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
HOSTS_IN_A_RACK = 40
PLAY = """
- name: Judge the inventory
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Refuse what cannot work
      bare_metal.kubernetes.validate_cluster:
"""


def inventory(hosts: int) -> dict[str, Any]:
    """Racks of 40 hosts with a router, an AS and group variables each; three control planes."""
    planes = {f"cp{n}": {"ansible_host": f"198.51.100.{n}", "cluster_rack": "rack0"} for n in (1, 2, 3)}
    racks: dict[str, Any] = {}
    for index in range(max(0, hosts - len(planes))):
        number = index // HOSTS_IN_A_RACK + 1
        rack = racks.setdefault(
            f"rack{number}",
            {
                "hosts": {},
                "vars": {
                    "cluster_rack": f"rack{number}",
                    "cluster_bgp_as_number": 4200000000 + number,
                    "cluster_bgp_peers": [{"address": f"198.18.{number}.1", "as_number": 4210000000}],
                    "cluster_node_labels": {"topology.kubernetes.io/zone": f"rack{number}"},
                },
            },
        )
        rack["hosts"][f"worker{index}"] = {"ansible_host": f"198.19.{index // 250}.{index % 250 + 1}"}
    router = {"cluster_bgp_peers": [{"address": "198.18.0.1", "as_number": 4210000000}]}
    return {
        "all": {
            "vars": {
                "cluster_pods_per_node": 30,
                "cluster_pod_cidrs": ["10.128.0.0/9"],
                "cluster_kernel_parameters": {"vm.swappiness": 10},
                "cluster_node_taints": [],
            },
            "children": {
                "control_plane": {"hosts": planes, "vars": router},
                "etcd": {"children": {"control_plane": None}},
                "workers": {"children": racks},
            },
        }
    }


def measure(hosts: int, directory: Path) -> dict[str, float]:
    """Run once; the process is the only child since the last call, so its share of the children's CPU is exact."""
    (directory / "hosts.yml").write_text(yaml.safe_dump(inventory(hosts)), encoding="utf-8")
    (directory / "play.yml").write_text(PLAY, encoding="utf-8")
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.yml", "play.yml"]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        argv, cwd=directory, env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{done.stdout[-3000:]}\n{done.stderr[-1000:]}\n{hosts} hosts: exit code {done.returncode}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"hosts": hosts, "wall_seconds": wall, "cpu_seconds": cpu, "largest_memory_mib": after.ru_maxrss / 1024}


def profile(hosts: int, directory: Path) -> None:
    """Print where the time goes, without Ansible's own start."""
    import cProfile
    import pstats

    (directory / "hosts.yml").write_text(yaml.safe_dump(inventory(hosts)), encoding="utf-8")
    sys.path.insert(0, str(ROOT / ".ansible/collections"))
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / ".ansible/collections")
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    from ansible_collections.bare_metal.kubernetes.plugins.action.validate_cluster import Inventory
    from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster import validate

    init_plugin_loader()
    loader = DataLoader()
    found = InventoryManager(loader=loader, sources=[str(directory / "hosts.yml")])
    manager = VariableManager(loader=loader, inventory=found)
    hostvars = HostVars(inventory=found, variable_manager=manager, loader=loader)
    profiler = cProfile.Profile()
    profiler.runcall(
        lambda: validate(Inventory(loader, {"hostvars": hostvars, "groups": found.get_groups_dict()}).read())
    )
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(40)


def main() -> None:
    """Measure every size and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[500, 1000, 2000, 5000])
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if arguments.profile:
            profile(arguments.hosts[-1], Path(name))
            return
        results = [measure(hosts, Path(name)) for hosts in (3, *arguments.hosts)]
    start = results[0]["cpu_seconds"]
    print(
        f"{'hosts':>6} {'wall s':>8} {'CPU s':>8} {'MiB':>6} {'ms CPU/host':>12} {'growth':>8}   (growth: CPU / hosts)"
    )
    last: dict[str, float] | None = None
    for result in results:
        each = 1000 * (result["cpu_seconds"] - start) / result["hosts"]
        growth = ""
        if last is not None and last["cpu_seconds"] > start:
            times = (result["cpu_seconds"] - start) / (last["cpu_seconds"] - start)
            growth = f"{times:.2f}/{result['hosts'] / last['hosts']:.2f}"
        print(
            f"{result['hosts']:>6} {result['wall_seconds']:>8.1f} {result['cpu_seconds']:>8.1f} {result['largest_memory_mib']:>6.0f} "
            f"{each:>12.2f} {growth:>8}"
        )
        last = result
    print(json.dumps(results))


if __name__ == "__main__":
    main()
