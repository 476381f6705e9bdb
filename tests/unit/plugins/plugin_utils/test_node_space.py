"""node_space: file systems and what a node is to hold in, what does not fit out, with the arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _machine
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import kubelet
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import node_space as core

MANIFEST: dict[str, Any] = {
    "images": [
        {"name": "registry.k8s.io/kube-apiserver", "size": 32 << 20},
        {"name": "registry.k8s.io/kube-scheduler", "size": 22 << 20},
        {"name": "registry.k8s.io/kube-proxy", "size": 53 << 20},
        {"name": "docker.io/calico/node", "size": (74 << 20) + 1},
    ],
    "files": [{"name": "kubelet", "size": 80 << 20}, {"name": "etcd", "size": 23 << 20}],
}
#: 100 GiB that everything is on
ONE = {"/": (102_400, 90_000)}


def machine(file_systems: dict[str, tuple[int, int]], managed: bool = False) -> dict[str, Any]:
    """``{mount: (size, free)}`` in MiB; each path is on the longest mount above it."""
    disks = {}
    for path in core.PATHS:
        mount = max((one for one in file_systems if f"{path}/".startswith(one.rstrip("/") + "/")), key=len)
        disks[path] = {"size_mib": file_systems[mount][0], "free_mib": file_systems[mount][1], "mount": mount}
    return {"disks": disks, "managed": managed, "cpus": 16, "memory_mib": 65536}


def load(**changes: Any) -> core.Load:
    values: dict[str, Any] = {
        "pods": 110,
        "images_mib": 400,
        "files_mib": 500,
        "assumed": False,
        "containers_per_pod": 1,
    }
    return core.Load(**{**values, **changes})


def found(*arguments: Any) -> list[tuple[str, str]]:
    return [(note.level, note.check) for note in core.judge(*arguments)]


# --- what a node is to hold -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control_plane", "registry", "images_mib"),
    [
        (True, True, 182),  # all, and a byte makes a MiB more
        (False, True, 128),  # a worker never runs the control plane's
        (False, False, 182),  # without a registry every node gets everything
        (True, False, 182),
    ],
)
def test_images_by_the_nodes_role(control_plane: bool, registry: bool, images_mib: int) -> None:
    wanted = core.load_of(MANIFEST, 110, {}, 1, control_plane, registry)
    assert (wanted.images_mib, wanted.files_mib, wanted.assumed) == (images_mib, 103, False)


def test_compressed_and_unpacked_lie_there_together() -> None:
    assert load(images_mib=344).all_images_mib == 344 + 1101
    # What was measured: more than the 1003 MiB of all, and of the image that grows most.
    assert load(images_mib=344).unpacked_mib >= 1003
    assert core.UNPACK_FACTOR >= 3.11


@pytest.mark.parametrize("manifest", [None, {}, []])
def test_without_a_bundle_sizes_are_assumed_and_said_to_be(manifest: Any) -> None:
    wanted = core.load_of(manifest, 110, None, 1, True, True)
    assert wanted.assumed
    assert wanted.images_mib > 344
    assert wanted.files_mib > 521
    (note,) = core.judge(machine({"/": (3000, 3000)}), core.load_of(None, 1, None, 0, True, True))
    assert "assumed: there is no bundle yet" in note.what


# --- file systems and the kubelet's thresholds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_systems", "settings", "path", "usable", "says"),
    [
        (
            ONE,
            {"imageGCHighThresholdPercent": 85},
            core.IMAGES,
            87_040,
            "85 % of 102400 MiB (imageGCHighThresholdPercent)",
        ),
        (
            ONE,
            {"imageGCHighThresholdPercent": 100, "evictionHard": {"imagefs.available": "15%"}},
            core.IMAGES,
            87_040,
            "102400 MiB - 15360 MiB (imagefs.available)",
        ),
        (
            ONE,
            {
                "imageGCHighThresholdPercent": 100,
                "evictionHard": {"nodefs.available": "20Gi", "imagefs.available": "1%"},
            },
            core.LOGS,
            81_920,
            "102400 MiB - 20480 MiB (nodefs.available)",
        ),
        # images on a disk of their own: only their thresholds
        (
            {"/": (50_000, 1), "/var/lib/containerd": (100_000, 1)},
            {"evictionHard": {"nodefs.available": "50%", "imagefs.available": "5%"}},
            core.IMAGES,
            85_000,
            "85 % of 100000 MiB",
        ),
        (
            {"/": (50_000, 1), "/var/lib/containerd": (100_000, 1)},
            {"evictionHard": {"nodefs.available": "50%"}},
            core.KUBELET,
            25_000,
            "50000 MiB - 25000 MiB (nodefs.available)",
        ),
        # logs on a disk of their own: nothing watches it
        ({"/": (50_000, 1), "/var/log": (8_000, 1)}, {}, core.LOGS, 8_000, "8000 MiB"),
        # what cannot be read does not count
        (ONE, {"imageGCHighThresholdPercent": "all", "evictionHard": "none"}, core.IMAGES, 87_040, "85 % of"),
        (
            ONE,
            {
                "imageGCHighThresholdPercent": 100,
                "evictionHard": {"imagefs.available": "lots", "nodefs.available": "0"},
            },
            core.IMAGES,
            102_400,
            "102400 MiB",
        ),
    ],
)
def test_what_the_kubelet_lets_be_used(
    file_systems: dict[str, tuple[int, int]], settings: dict[str, Any], path: str, usable: int, says: str
) -> None:
    document = kubelet.kubelet_configuration(110, 16, 65536, settings)
    disk = core.file_system(machine(file_systems), path, document)
    assert disk.usable_mib == usable
    assert says in disk.limits


# --- images ---------------------------------------------------------------------------------------------------------------------------------

NO_LIMITS = {"imageGCHighThresholdPercent": 100, "evictionHard": {"imagefs.available": "0", "nodefs.available": "0"}}
#: 400 compressed, 1280 unpacked, 500 of programs
NEED = 400 + 1280 + 500


@pytest.mark.parametrize(
    ("size", "free", "managed", "expected"),
    [
        (NEED, NEED, False, []),
        (NEED - 1, NEED - 1, False, [("error", "image_space")]),
        (NEED - 1, 0, True, [("error", "image_space")]),
        (10_000, NEED, False, []),
        (10_000, NEED - 1, False, [("error", "image_space")]),
        # they are there already
        (10_000, 0, True, []),
    ],
)
def test_images_have_to_fit_and_on_a_new_node_into_what_is_free(
    size: int, free: int, managed: bool, expected: list[tuple[str, str]]
) -> None:
    wanted = load(settings=NO_LIMITS, containers_per_pod=0)
    assert found(machine({"/": (size, free)}, managed), wanted) == expected


def test_programs_count_only_where_they_lie() -> None:
    wanted = load(settings=NO_LIMITS, containers_per_pod=0)
    apart = {"/": (1, 1), "/var": (1, 1), "/var/lib/containerd": (400 + 1280, 400 + 1280)}
    assert found(machine(apart), wanted) == []


def test_thresholds_are_kept_free() -> None:
    wanted = load(containers_per_pod=0)
    # 85 % of it is usable
    assert found(machine({"/": (2565, 2565)}), wanted) == []
    assert found(machine({"/": (2563, 2563)}), wanted) == [("error", "image_space")]


@pytest.mark.parametrize(("free", "expected"), [(1500, []), (1499, [("warning", "image_space")])])
def test_a_node_above_its_thresholds_is_told_that_its_images_go(free: int, expected: list[tuple[str, str]]) -> None:
    assert found(machine({"/": (10_000, free)}, managed=True), load(containers_per_pod=0)) == expected


def test_the_arithmetic_is_shown() -> None:
    (note,) = core.judge(machine({"/": (10_000, 2000)}), load(containers_per_pod=0))
    assert "400 MiB of images + 3.2 x 400 MiB unpacked + 500 MiB of programs = 2180 MiB" in note.what
    assert note.found == (
        "85 % of 10000 MiB (imageGCHighThresholdPercent) = 8500 MiB, of which 8000 MiB are used: 500 MiB"
    )
    assert note.why
    assert note.fix


# --- logs -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "containers", "expected"),
    [
        ({"containerLogMaxSize": "10Mi", "containerLogMaxFiles": 5}, 1, []),  # 110 x 5 x 10 = 5500
        ({"containerLogMaxSize": "10Mi", "containerLogMaxFiles": 5}, 2, [("warning", "log_space")]),
        ({"containerLogMaxSize": "20Mi", "containerLogMaxFiles": 5}, 1, [("warning", "log_space")]),
        ({"containerLogMaxSize": "10Mi", "containerLogMaxFiles": 10}, 1, [("warning", "log_space")]),
        ({"containerLogMaxSize": "lots"}, 1, []),
        ({"containerLogMaxFiles": "many"}, 1, []),
    ],
)
def test_logs_of_all_pods(settings: dict[str, Any], containers: float, expected: list[tuple[str, str]]) -> None:
    separate = {"/": (100_000, 90_000), "/var/log": (8_000, 8_000)}
    assert found(machine(separate), load(settings=settings, containers_per_pod=containers)) == expected


def test_logs_and_images_on_one_file_system_share_it() -> None:
    settings = {**NO_LIMITS, "containerLogMaxSize": "10Mi", "containerLogMaxFiles": 5}
    exactly = 5500 + 1680
    assert found(machine({"/": (exactly, exactly)}), load(settings=settings)) == []
    (note,) = core.judge(machine({"/": (exactly - 1, exactly - 1)}), load(settings=settings))
    assert (note.level, note.check) == ("warning", "log_space")
    assert (
        "110 pods x 1 containers x 5 files (containerLogMaxFiles) x 10 MiB (containerLogMaxSize) = 5500 MiB"
        in note.what
    )
    assert note.found == f"{exactly - 1} MiB - 1680 MiB of images = 5499 MiB"


@given(st.integers(1, 500), st.integers(20_000, 4_000_000))
def test_the_kubelets_own_log_sizes_fit_two_containers_a_pod(pods: int, size: int) -> None:
    """Sizes follow from the disk; only the smallest file that is sensible can be too much for it."""
    notes = found(machine({"/": (size, size)}), load(pods=pods, containers_per_pod=2))
    smallest = kubelet.container_log_mib(pods, size) == kubelet.LOG_MIB_MIN
    assert notes == [] or (smallest and notes == [("warning", "log_space")])


def test_what_is_looked_at_is_what_is_judged() -> None:
    assert set(core.PATHS) <= set(_machine.DISK_PATHS)
    # An answer of another release: nothing to judge by.
    assert found({"disks": {"/": {}}, "managed": False}, load()) == []
