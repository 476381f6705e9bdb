"""The kubelet's settings against hand-computed tables."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.density import PROCESSES_PER_POD, SYSTEM_PROCESSES
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.kubelet import (
    container_log_mib,
    eviction_memory_mib,
    kubelet_configuration,
    parallel_image_pulls,
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
        (16, 500, 8755),  # 255 + 17 x 500 is more
        (512, 110, 17408),  # 2662.4 + 6 % of 112 GiB + 2 % of 384 GiB
    ],
)
def test_reserved_memory(memory_gib: int, pods: int, expected_mib: int) -> None:
    assert reserved_memory_mib(memory_gib * 1024, pods) == expected_mib


@pytest.mark.parametrize(
    ("cpus", "pods", "expected"),
    [
        (1, 110, 60),
        (2, 110, 70),
        (4, 30, 80),
        (40, 110, 170),
        (128, 110, 390),
        (4, 256, 480),  # GKE's own: 400 more
        (40, 500, 1238),  # 170 + 390 x 400 / 146
    ],
)
def test_reserved_cpu(cpus: int, pods: int, expected: int) -> None:
    assert reserved_cpu_millicores(cpus, pods) == expected


@pytest.mark.parametrize(
    ("memory_gib", "expected"), [(1, 200), (32, 200), (100, 200), (128, 256), (512, 1024), (4096, 1024)]
)
def test_evictions_begin_earlier_on_large_machines(memory_gib: int, expected: int) -> None:
    assert eviction_memory_mib(memory_gib * 1024) == expected
    assert kubelet_configuration(110, 8, memory_gib * 1024)["evictionHard"]["memory.available"] == f"{expected}Mi"


@pytest.mark.parametrize(
    ("pods", "qps"), [(1, 50), (110, 50), (250, 50), (251, 51), (350, 70), (500, 100), (1000, 200)]
)
def test_a_full_node_starts_its_pods_in_half_a_minute(pods: int, qps: int) -> None:
    found = kubelet_configuration(pods, 8, 32768)
    assert (found["kubeAPIQPS"], found["kubeAPIBurst"]) == (qps, 2 * qps)


@pytest.mark.parametrize(("pods", "qps"), [(110, 5), (125, 5), (250, 10), (500, 20), (1000, 40)])
def test_pods_that_always_pull_ask_the_registry(pods: int, qps: int) -> None:
    found = kubelet_configuration(pods, 8, 32768)
    assert (found["registryPullQPS"], found["registryBurst"]) == (qps, 2 * qps)


@pytest.mark.parametrize(("cpus", "pulls"), [(1, 5), (40, 5), (48, 6), (64, 8), (128, 10)])
def test_images_at_a_time(cpus: int, pulls: int) -> None:
    assert parallel_image_pulls(cpus) == pulls
    found = kubelet_configuration(500, cpus, 32768)
    assert (found["maxParallelImagePulls"], found["serializeImagePulls"]) == (pulls, False)


@pytest.mark.parametrize(
    ("pods", "disk_gib", "mib"),
    [
        (500, 0, 20),  # nobody knows
        (110, 100, 20),
        (500, 1000, 20),
        (500, 100, 13),  # 20 GiB / 1500 files
        (1000, 100, 6),
        (1000, 10, 4),  # never less; the machine is refused
    ],
)
def test_logs_of_all_pods_fit_the_disk(pods: int, disk_gib: int, mib: int) -> None:
    assert container_log_mib(pods, disk_gib * 1024) == mib
    assert kubelet_configuration(pods, 8, 32768, disk_mib=disk_gib * 1024)["containerLogMaxSize"] == f"{mib}Mi"


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 1 << 24))
def test_logs_stay_within_their_share_unless_they_are_least(pods: int, disk_mib: int) -> None:
    mib = container_log_mib(pods, disk_mib)
    assert 4 <= mib <= 20
    assert mib == 4 or mib * 3 * pods <= disk_mib * 0.2


@pytest.mark.parametrize(("pods", "workers"), [(110, 1), (111, 2), (500, 5), (1000, 8)])
def test_workers_that_rotate_logs(pods: int, workers: int) -> None:
    assert kubelet_configuration(pods, 8, 32768)["containerLogMaxWorkers"] == workers


def test_images_are_collected_before_pods_are_evicted() -> None:
    for pods in (110, 500):
        found = kubelet_configuration(pods, 8, 32768)
        evicted_at = 100 - int(found["evictionHard"]["imagefs.available"].rstrip("%"))
        assert found["imageGCLowThresholdPercent"] < found["imageGCHighThresholdPercent"] < evicted_at


def test_every_threshold_that_the_kubelet_would_watch_is_named() -> None:
    # pkg/kubelet/eviction/defaults_linux.go: naming one drops the others.
    wanted = {"memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"}
    assert set(kubelet_configuration(110, 2, 4096)["evictionHard"]) == wanted


def test_the_status_of_a_node_keeps_its_own_pace() -> None:
    found = kubelet_configuration(500, 40, 524288)
    assert not [name for name in found if name.startswith("nodeStatus")]


def test_a_control_plane_that_runs_workloads_keeps_its_own_memory() -> None:
    assert kubelet_configuration(110, 8, 32768, shared_mib=1000)["systemReserved"]["memory"] == "1256Mi"


@settings(deadline=None)
@given(st.integers(1, 2000))
def test_shims_have_process_numbers(pods: int) -> None:
    reserved = int(kubelet_configuration(pods, 8, 32768)["kubeReserved"]["pid"])
    assert reserved >= 13 * pods
    assert reserved + 1000 <= SYSTEM_PROCESSES + PROCESSES_PER_POD * pods - pods * pod_pid_limit(pods)


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
    assert configuration["evictionHard"]["memory.available"] == "1024Mi"


def test_the_kubelet_asks_the_cluster_for_its_serving_certificate() -> None:
    assert kubelet_configuration(110, 2, 4096)["serverTLSBootstrap"] is True
