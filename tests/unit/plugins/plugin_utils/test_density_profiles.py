"""The whole profile of three machines at five densities, against files that people can read.

A change of a formula shows here as a diff of the numbers that it makes. ``python tests/unit/plugins/plugin_utils/test_density_profiles.py`` writes
the files anew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[4] / ".ansible" / "collections"))

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    calico,
    density,
    density_control_plane,
    density_limits,
    kubeadm_config,
    kubelet,
)

DIRECTORY = Path(__file__).parent / "density_profiles"
DENSITIES = (110, 250, 350, 500, 1000)
# CPUs, MiB of memory, MiB of disk
MACHINES = {
    "8c_32g": (8, 32 * 1024, 100 * 1024),
    "40c_512g": (40, 512 * 1024, 1024 * 1024),
    "128c_1t": (128, 1024 * 1024, 4 * 1024 * 1024),
}
# A cluster of three small control planes and four such workers.
CONTROL_PLANES, WORKERS = 3, 4


def profile(pods: int, cpus: int, memory_mib: int, disk_mib: int) -> dict[str, Any]:
    """Everything that follows from ``pods`` on a worker of this size, and for its cluster."""
    total = WORKERS * pods + CONTROL_PLANES * 110
    document = kubeadm_config.cluster_configuration(
        kubeadm_config.ClusterSettings(
            cluster_name="c",
            kubernetes_version="v1.36.3",
            endpoint="",
            pod_cidrs=["10.128.0.0/14"],
            service_cidrs=["10.96.0.0/16"],
            domain="cluster.local",
            etcd_endpoints=["-"],
            control_planes=CONTROL_PLANES,
            pods_per_node=pods,
            pods=total,
        )
    )
    kernel = density.kernel_parameters(pods, cpus, memory_mib, ["10.128.0.0/14"])
    block = calico.block_size_for(pods)
    sized = {
        *density_control_plane.SYNC_WORKERS,
        "kube-api-qps",
        "kube-api-burst",
        "endpointslice-updates-batch-period",
    }
    machine = density_limits.Machine(memory_mib, disk_mib, cpus=cpus)
    return {
        "machine": {
            "largest": {limit.resource: limit.most for limit in density_limits.limits(machine)},
            "refused": [limit.resource for limit in density_limits.exceeded(pods, machine)],
        },
        "kubelet": kubelet.kubelet_configuration(pods, cpus, memory_mib, disk_mib=disk_mib),
        "kernel": {
            key: next(spec[one] for one in ("exactly", "min", "one_of") if one in spec) for key, spec in kernel.items()
        },
        "addresses": {"block": f"/{block}", "blocks": calico.blocks_needed(pods, block)},
        "cluster": {
            "pods": total,
            "requests_in_flight": list(kubeadm_config.inflight(total)),
            "controller_manager": {
                one["name"]: one["value"] for one in document["controllerManager"]["extraArgs"] if one["name"] in sized
            },
            "scheduler": {
                one["name"]: one["value"] for one in document["scheduler"]["extraArgs"] if one["name"] in sized
            },
            "events": density_control_plane.event_limits(total, pods, CONTROL_PLANES, "1h0m0s"),
            "control_plane_mib": density_control_plane.control_plane_mib(total, etcd=True),
            "coredns_replicas": density_control_plane.coredns_replicas(total, CONTROL_PLANES + WORKERS),
        },
    }


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("pods", DENSITIES)
def test_the_profile_is_the_one_on_file(name: str, pods: int) -> None:
    wanted = yaml.safe_load((DIRECTORY / f"{name}.yaml.txt").read_text(encoding="utf-8"))
    assert profile(pods, *MACHINES[name]) == wanted[pods]


@pytest.mark.parametrize("name", MACHINES)
def test_more_pods_never_ask_for_less(name: str) -> None:
    profiles = [profile(pods, *MACHINES[name]) for pods in DENSITIES]
    for key in profiles[0]["kernel"]:
        values = [each["kernel"][key] for each in profiles]
        if isinstance(values[0], int):
            assert values == sorted(values), key
    for key in ("kubeAPIQPS", "registryPullQPS", "containerLogMaxWorkers", "eventBurst"):
        values = [each["kubelet"][key] for each in profiles]
        assert values == sorted(values), key


if __name__ == "__main__":
    for machine_name, size in MACHINES.items():
        found = {pods: profile(pods, *size) for pods in DENSITIES}
        text = yaml.safe_dump(found, sort_keys=False, width=150)
        (DIRECTORY / f"{machine_name}.yaml.txt").write_text(text, encoding="utf-8")
