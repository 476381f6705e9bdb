# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Components as their projects publish them, from the upstreams or from a mirror with the same paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._download import Policy
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import Lock, UpstreamFile, UpstreamImage
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_make import ComponentResult, key_of
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleFile, BundleImage
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import Blob, BlobStore
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.fetch import Downloader, Origin, gather

# Raised when the same lock would give other files. Version 1: files, archive members and images by digest.
FORMAT = 1
# The largest of each in the current releases, rounded up: kubelet 60 MiB, calico.tar members 105 MiB, calico/node 170 MiB unpacked.
FILE_MIB = 128
IMAGE_MIB = 192


class UpstreamSource:
    """A :class:`~.bundle_make.ComponentSource` that downloads. ``mirror_url`` "": from the upstreams themselves."""

    def __init__(
        self,
        lock: Lock,
        architecture: str,
        store: BlobStore,
        say: Callable[[str], None],
        mirror_url: str = "",
        policy: Policy | None = None,
    ) -> None:
        self._lock = lock
        self._architecture = architecture
        self._say = say
        self._downloader = Downloader(store, Origin(mirror_url), policy or Policy())

    def _wanted(self, component: str, version: str) -> tuple[tuple[UpstreamFile, ...], tuple[UpstreamImage, ...]]:
        return (
            self._lock.upstream_files(component, version, self._architecture),
            self._lock.upstream_images(component, version, self._architecture),
        )

    def key(self, component: str, version: str) -> str:
        """The same for every mirror: sums and digests decide, not where the bytes come from."""
        files, images = self._wanted(component, version)
        return key_of(
            "upstream",
            FORMAT,
            self._architecture,
            component,
            version,
            [asdict(file) for file in files],
            [asdict(image) for image in images],
        )

    def needed_mib(self, component: str, version: str) -> int:
        """An estimate, because upstreams do not publish sizes beside their sums."""
        files, images = self._wanted(component, version)
        archives = {file.url for file in files if file.member}
        return FILE_MIB * (len(files) + len(archives)) + IMAGE_MIB * len(images)

    def produce(self, component: str, version: str) -> ComponentResult:
        """Download everything of a component; what fails is told all at once, and what worked is not repeated."""
        files, images = self._wanted(component, version)
        by_url: dict[str, list[UpstreamFile]] = {}
        for file in files:
            by_url.setdefault(file.url, []).append(file)

        def url_job(entries: list[UpstreamFile]) -> list[BundleFile]:
            url, sha256 = entries[0].url, entries[0].sha256
            self._say(f"fetch: {component} {version}: {self._downloader.origin.file_url(url)}")
            members = {file.name: file.member for file in entries if file.member}
            blobs = self._downloader.members(url, sha256, members) if members else {}
            blobs |= {file.name: self._downloader.file(file.name, url, sha256) for file in entries if not file.member}
            return [bundle_file(file, component, version, blobs[file.name]) for file in entries]

        def image_job(image: UpstreamImage) -> BundleImage:
            self._say(f"fetch: {component} {version}: {self._downloader.origin.repository_url(image.name)}:{image.tag}")
            content = self._downloader.image(image.name, image.tag, image.digest, self._architecture)
            size = sum(entry.size for entry in (*content.manifests, *content.blobs))
            return BundleImage(
                image.name,
                image.tag,
                content.root.digest,
                size,
                content.digests,
                component,
                version,
                f"{image.name}@{image.digest}",
            )

        fetched = gather(
            [
                *(lambda entries=entries: url_job(entries) for entries in by_url.values()),
                *(lambda image=image: image_job(image) for image in images),
            ]
        )
        done = [item for found in fetched for item in (found if isinstance(found, list) else [found])]
        return ComponentResult(
            tuple(item for item in done if isinstance(item, BundleFile)),
            tuple(item for item in done if isinstance(item, BundleImage)),
        )


def bundle_file(file: UpstreamFile, component: str, version: str, blob: Blob) -> BundleFile:
    """The manifest's entry of a downloaded file; its source is the upstream's URL, also when a mirror gave the bytes."""
    return BundleFile(
        file.name, component, version, blob.sha256, blob.size, file.url + (f" {file.member}" if file.member else "")
    )
