"""The kubelet's settings against hand-computed tables."""

from __future__ import annotations

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.kubelet import (
    kubelet_configuration,
    pod_pid_limit,
    reserved_cpu_millicores,
    reserved_memory_mib,
)


@pytest.mark.parametrize(
    ("memory_gib", "pods", "expected_mib"),
    [
        (4, 10, 1024),  # a quarter of the first 4 GiB
        (8, 10, 1843),  # + 20 % of the next 4
        (16, 10, 2662),  # + 10 % of the next 8
        (16, 500, 5755),  # 255 + 11 x 500 is more
        (512, 110, 17408),  # 2662.4 + 6 % of 112 GiB + 2 % of 384 GiB
    ],
)
def test_reserved_memory(memory_gib: int, pods: int, expected_mib: int) -> None:
    assert reserved_memory_mib(memory_gib * 1024, pods) == expected_mib


@pytest.mark.parametrize(("cpus", "expected"), [(1, 60), (2, 70), (4, 80), (40, 170), (128, 390)])
def test_reserved_cpu(cpus: int, expected: int) -> None:
    assert reserved_cpu_millicores(cpus) == expected


@pytest.mark.parametrize(("pods", "expected"), [(1, 4096), (110, 4096), (250, 4000), (500, 2000), (2000, 1024)])
def test_pod_pid_limit(pods: int, expected: int) -> None:
    assert pod_pid_limit(pods) == expected


def test_overrides_replace_scalars_and_merge_maps() -> None:
    configuration = kubelet_configuration(
        500, 40, 512 * 1024, {"failCgroupV1": False, "evictionHard": {"nodefs.available": "2%"}}
    )
    assert configuration["maxPods"] == 500
    assert configuration["failCgroupV1"] is False
    assert configuration["evictionHard"]["nodefs.available"] == "2%"
    assert configuration["evictionHard"]["memory.available"] == "200Mi"


def test_the_kubelet_asks_the_cluster_for_its_serving_certificate() -> None:
    assert kubelet_configuration(110, 2, 4096)["serverTLSBootstrap"] is True
