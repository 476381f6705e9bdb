# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that pick files and images out of a bundle's manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import load_lock
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    BundleError,
    BundleImage,
    Manifest,
    parse_manifest,
    select_files,
    select_image,
    select_images,
)


def _parsed(manifest: Mapping[str, Any]) -> Manifest:
    return parse_manifest(manifest)


def _image(entry: BundleImage) -> dict[str, Any]:
    return {
        **asdict(entry),
        "blobs": list(entry.blobs),
        "reference": entry.reference,
        "pinned": f"{entry.reference}@{entry.digest}",
    }


def bundle_files(manifest: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """``[{name, component, version, sha256, size, source}]`` of the named files; ``cni/*`` is all below ``cni/``."""
    try:
        return [asdict(entry) for entry in select_files(_parsed(manifest), names)]
    except BundleError as error:
        raise AnsibleFilterError(f"bundle_files: {error}") from error


def bundle_images(manifest: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """``[{name, tag, digest, size, blobs, component, version, source, reference, pinned}]`` of the named images."""
    try:
        return [_image(entry) for entry in select_images(_parsed(manifest), names)]
    except BundleError as error:
        raise AnsibleFilterError(f"bundle_images: {error}") from error


def bundle_image(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One image as in :func:`bundle_images`. ``pinned`` is ``name:tag@digest``, ``reference`` is ``name:tag``."""
    try:
        return _image(select_image(_parsed(manifest), name))
    except BundleError as error:
        raise AnsibleFilterError(f"bundle_image: {error}") from error


def bundle_target(release_set: str, kubernetes_version: str = "") -> dict[str, Any]:
    """What preflight compares a live cluster with: ``{kubernetes, etcd, containerd, known_kubernetes: [..], known_etcd: [..]}``. Needs no bundle."""
    try:
        lock = load_lock()
        versions = lock.release(release_set, kubernetes_version).versions
        return {
            **{name: versions.get(name, "") for name in ("kubernetes", "etcd", "containerd")},
            "known_kubernetes": list(lock.kubernetes_versions(release_set)),
            "known_etcd": sorted({lock.release(name).versions["etcd"] for name in lock.release_sets}),
        }
    except BundleError as error:
        raise AnsibleFilterError(f"bundle_target: {error}") from error


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {
            "bundle_files": bundle_files,
            "bundle_images": bundle_images,
            "bundle_image": bundle_image,
            "bundle_target": bundle_target,
        }
