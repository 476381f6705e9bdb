# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the images and logs of a node fit on its file systems, below the thresholds at which the kubelet deletes images and evicts pods. Pure.

containerd keeps of an image what came over the network (compressed) and the unpacked layers. How much larger those are was measured over the 13 images of
the release set ``built``: 344 MiB of gzip are 1003 MiB unpacked, 2.06 to 3.11 times an image's size; :data:`UNPACK_FACTOR` is above the largest.

The kubelet (pkg/kubelet/eviction, pkg/kubelet/images) deletes unused images when more than ``imageGCHighThresholdPercent`` of their file system is used, and
evicts pods when less than ``evictionHard`` is available: ``imagefs.available`` where images are, ``nodefs.available`` where its own directory is. Logs
count for the latter only when they are on the same file system.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._machine_judge import ERROR, WARNING
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import kubelet
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_budgets import mib_of

MIB = 2**20
UNPACK_FACTOR = 3.2
# Without a bundle on the controller yet: above what the sets ``stable`` and ``built`` have (compressed images; programs, 521 MiB measured).
ASSUMED_IMAGES_MIB, ASSUMED_FILES_MIB = 700, 600
CONTROL_PLANE_IMAGES = re.compile(r"^registry\.k8s\.io/kube-(apiserver|controller-manager|scheduler)$")
# As machine_info names them in ``disks``.
IMAGES, KUBELET, LOGS, PROGRAMS = "/var/lib/containerd", "/var/lib/kubelet", "/var/log", "/usr/local/bin"
PATHS = (IMAGES, KUBELET, LOGS, PROGRAMS)
# The kubelet's own (pkg/kubelet/apis/config/v1beta1/defaults.go), where a setting cannot be read.
GC_HIGH_PERCENT = 85


class Note(NamedTuple):
    """One finding about one host, in the order of preflight's fields behind the hosts."""

    level: str
    check: str
    what: str
    found: str
    why: str
    fix: str


@dataclass(frozen=True)
class Load:
    """What a node is to hold. ``images_mib``: compressed; ``assumed``: there was no bundle to add up. ``settings``: fields of KubeletConfiguration;
    ``shared_mib``: memory that a control plane keeps to itself beside workloads; ``control_plane``: it is one, with or without workloads."""

    pods: int
    images_mib: int = ASSUMED_IMAGES_MIB
    files_mib: int = ASSUMED_FILES_MIB
    assumed: bool = True
    containers_per_pod: float = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    shared_mib: int = 0
    control_plane: bool = False

    @property
    def unpacked_mib(self) -> int:
        return math.ceil(self.images_mib * UNPACK_FACTOR)

    @property
    def all_images_mib(self) -> int:
        return self.images_mib + self.unpacked_mib


def load_of(
    manifest: Mapping[str, Any] | None,
    pods: int,
    settings: Mapping[str, Any] | None,
    containers_per_pod: float,
    control_plane: bool,
    registry: bool,
) -> Load:
    """What a node is to hold, by the bundle's manifest.

    With a registry a node keeps what its pods run: any image of the bundle, those of the control plane on control planes only. Without one it gets them all.
    """
    given = dict(settings or {})
    if not manifest:
        return Load(pods, containers_per_pod=containers_per_pod, settings=given, control_plane=control_plane)
    sizes = [
        int(image["size"])
        for image in manifest["images"]
        if control_plane or not registry or not CONTROL_PLANE_IMAGES.search(image["name"])
    ]
    files = sum(int(file["size"]) for file in manifest["files"])
    return Load(
        pods,
        math.ceil(sum(sizes) / MIB),
        math.ceil(files / MIB),
        False,
        containers_per_pod,
        given,
        control_plane=control_plane,
    )


@dataclass(frozen=True)
class FileSystem:
    """A file system in MiB, and what of it the kubelet lets be used: ``usable_mib`` with ``limits``, the words of the arithmetic."""

    mount: str
    size_mib: int
    free_mib: int
    usable_mib: int
    limits: str

    @property
    def room_mib(self) -> int:
        """What is left of ``usable_mib`` now."""
        return self.usable_mib - (self.size_mib - self.free_mib)


def file_system(machine: Mapping[str, Any], path: str, document: Mapping[str, Any]) -> FileSystem:
    """The file system of one of :data:`PATHS`, below the lowest of the kubelet's thresholds that apply to it."""
    disks = machine["disks"]
    disk = disks[path]
    size, mount = int(disk["size_mib"]), str(disk["mount"])
    thresholds = document.get("evictionHard") if isinstance(document.get("evictionHard"), Mapping) else {}
    bounds = [(size, f"{size} MiB")]
    for signal, place in (("imagefs.available", IMAGES), ("nodefs.available", KUBELET)):
        kept = mib_of((thresholds or {}).get(signal, 0), size) if disks[place]["mount"] == mount else None
        if kept:
            bounds.append((math.floor(size - kept), f"{size} MiB - {math.ceil(kept)} MiB ({signal})"))
    if disks[IMAGES]["mount"] == mount:
        high = document.get("imageGCHighThresholdPercent")
        percent = high if isinstance(high, int) and not isinstance(high, bool) and 0 <= high <= 100 else GC_HIGH_PERCENT
        bounds.append((size * percent // 100, f"{percent} % of {size} MiB (imageGCHighThresholdPercent)"))
    usable, words = min(bounds, key=lambda bound: bound[0])
    return FileSystem(
        mount, size, int(disk["free_mib"]), usable, f"{words} = {usable} MiB" if usable != size else words
    )


def judge(machine: Mapping[str, Any], load: Load) -> Iterator[Note]:
    """What does not fit on a machine, with the arithmetic."""
    if not all(path in machine["disks"] for path in PATHS):
        return
    document = kubelet.kubelet_configuration(
        load.pods,
        int(machine["cpus"]),
        int(machine["memory_mib"]),
        load.settings,
        disk_mib=int(machine["disks"][LOGS]["size_mib"]),
    )
    yield from _judge_images(machine, load, document)
    yield from _judge_logs(machine, load, document)


def _judge_images(machine: Mapping[str, Any], load: Load, document: Mapping[str, Any]) -> Iterator[Note]:
    disk = file_system(machine, IMAGES, document)
    together = machine["disks"][PROGRAMS]["mount"] == disk.mount
    need = load.all_images_mib + (load.files_mib if together else 0)
    words = f"{load.images_mib} MiB of images + {UNPACK_FACTOR:g} x {load.images_mib} MiB unpacked"
    words += f" + {load.files_mib} MiB of programs" if together else ""
    words += f" = {need} MiB{' (assumed: there is no bundle yet)' if load.assumed else ''}"
    why = "Above these thresholds the kubelet deletes images that were just brought and evicts pods."
    fix = "Mount a larger file system there, or change evictionHard and imageGCHighThresholdPercent in cluster_kubelet_configuration."
    if need > disk.usable_mib:
        what = f"the images of this node have to fit on {disk.mount}, below the kubelet's thresholds: {words}"
        yield Note(ERROR, "image_space", what, disk.limits, why, fix)
    elif not machine["managed"] and need > disk.room_mib:
        used = disk.size_mib - disk.free_mib
        what = f"the images of this node have to fit into what is free on {disk.mount}, below the kubelet's thresholds: {words}"
        found = f"{disk.limits}, of which {used} MiB are used: {disk.room_mib} MiB"
        yield Note(ERROR, "image_space", what, found, why, f"Free some space. {fix}")
    elif machine["managed"] and disk.room_mib < 0:
        used = disk.size_mib - disk.free_mib
        what = f"{disk.mount} has to be below the kubelet's thresholds"
        yield Note(
            WARNING, "image_space", what, f"{used} MiB used, usable are {disk.limits}", why, f"Free some space. {fix}"
        )


def _judge_logs(machine: Mapping[str, Any], load: Load, document: Mapping[str, Any]) -> Iterator[Note]:
    each, files = mib_of(document.get("containerLogMaxSize"), 0), document.get("containerLogMaxFiles")
    if each is None or isinstance(files, bool) or not isinstance(files, int):
        return  # validate_cluster's kubelet_values
    disk = file_system(machine, LOGS, document)
    together = machine["disks"][IMAGES]["mount"] == disk.mount
    room = disk.usable_mib - (load.all_images_mib if together else 0)
    need = math.ceil(load.pods * load.containers_per_pod * files * each)
    # Below 0 the images do not fit already, and image_space says so.
    if need > room >= 0:
        found = disk.limits + (f" - {load.all_images_mib} MiB of images = {room} MiB" if together else "")
        yield Note(
            WARNING,
            "log_space",
            f"the logs of all pods should fit on {disk.mount}: {load.pods} pods x {load.containers_per_pod:g} containers x "
            f"{files} files (containerLogMaxFiles) x {each:g} MiB (containerLogMaxSize) = {need} MiB",
            found,
            "Every container may keep that much. A file system that logs have filled evicts pods, or loses the logs where it is one of their own.",
            "Mount a larger file system at /var/log, or lower containerLogMaxSize or containerLogMaxFiles in cluster_kubelet_configuration.",
        )
