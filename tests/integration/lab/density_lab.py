"""What the scenarios of density share: a small lab of their own with a dense worker, and the benchmark on it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import own_lab, runner

BUILD = runner.ROOT / "build"
#: name and network of the small lab: one after the other, the scenarios of density have the same
PLACE = ("labdense", "10.238")
KUBECTL = own_lab.KUBECTL
REMARK = "The machines are containers that share two cores, one kernel and one disk: latencies are the machine's, not the software's."
# Two cores for everything: how long it takes says nothing, that it comes to an end and leaves room does.
LATENCIES = (
    *("scheduled_to_ready_max_seconds", "pod_start_p99_seconds", "api_mutating_p99_seconds", "etcd_fsync_p99_ms"),
    *("etcd_leader_changes", "canary_factor", "dns_p99_ms"),
)


@dataclass(frozen=True)
class SmallLab:
    """One control plane and one worker behind a gateway, and a client. ``variables``: more of the cluster's; ``worker``: the worker's own."""

    name: str
    octets: str
    variables: Mapping[str, Any]
    worker: Mapping[str, Any]

    def write(self, directory: Path) -> Path:
        """Its inventory."""
        nodes = {
            "control_plane": {"hosts": {"cp1": {"lab_legs": {"rack1": 11}}}},
            "etcd": {"children": {"control_plane": None}},
            "workers": {"hosts": {"worker1": {"lab_legs": {"rack1": 31}, **self.worker}}},
        }
        children = {
            "lab_nodes": {"children": nodes},
            "routers": {"hosts": {"gateway": {"lab_legs": {"rack1": 254, "edge": 251}}}},
            "outside": {"hosts": {"client": {"lab_legs": {"edge": 10}}}},
        }
        pool = {"name": "default", "addresses": [f"{self.octets}.1.200-{self.octets}.1.220"]}
        choices = {
            **{"lab_name": self.name, "lab_network": f"{self.octets}.0.0/16", "cluster_bundle_registry": ""},
            **{"cluster_load_balancer_mode": "metallb_l2", "cluster_load_balancer_pools": [pool]},
            **self.variables,
        }
        return own_lab.write_inventory(directory, {"lab": {"children": children}}, choices, racks=False)

    def on(self, server: str, command: str, check: bool = True, stdin: str | None = None) -> str:
        """A shell command on a machine."""
        return own_lab.on(self.name, server, command, check, stdin)

    @contextmanager
    def cluster(self, directory: Path) -> Iterator[Path]:
        """The machines and the cluster; gone afterwards. Gives the inventory.

        With DENSITY_LAB=<directory> in the environment the inventory is written there and the machines stay, for the next scenario of density;
        `ansible-playbook -i <directory> molecule/default/destroy.yml` takes them away.
        """
        kept = os.environ.get("DENSITY_LAB")
        if not kept:
            inventory = self.write(directory)
            with own_lab.standing(inventory):
                yield self._made(inventory)
            return
        inventory = Path(kept)
        if not (inventory / "hosts.yml").exists():
            inventory.mkdir(parents=True, exist_ok=True)
            self.write(inventory)
        own_lab.machines(inventory, "create")
        yield self._made(inventory)

    def _made(self, inventory: Path) -> Path:
        made = runner.play("site", "-e", json.dumps(dict(self.variables)), inventory=inventory)
        assert made.rc == 0, made.output[-8000:]
        return inventory


def benchmark(
    inventory: Path, directory: Path, gates: Mapping[str, Any], *, name: str = "density", **values: Any
) -> tuple[runner.Run, dict[str, Any]]:
    """Run the playbook and read its report, ``<name>.json`` (empty when it was refused before the load)."""
    report = directory / f"{name}.json"
    report.unlink(missing_ok=True)
    variables = {
        "gates": dict(gates),
        "report_path": str(report),
        "page_path": str(directory / f"{name}.html"),
        "probe_period_seconds": 30,
        "abort_factor": 100,
        "abort_floor_ms": 200,
        "sample_seconds": 20,
        "remarks": [REMARK],
        **values,
    }
    said = json.dumps({f"density_benchmark_{key}": value for key, value in variables.items()})
    done = runner.play("density_benchmark", "-e", said, inventory=inventory, seconds=3000)
    return done, json.loads(report.read_text()) if report.exists() else {}
