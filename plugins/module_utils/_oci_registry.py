# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are in the bundle's registry: names, URLs and containerd's hosts.toml. Pure.

The registry speaks the OCI distribution API (https://github.com/opencontainers/distribution-spec). An image keeps its whole name below
``/v2/``: the upstream host is the first path component, so ``registry.k8s.io/pause`` is the repository ``registry.k8s.io/pause`` and one
registry stands in for all upstream ones. Files are blobs of the repository :data:`FILES_REPOSITORY`.
"""

from __future__ import annotations

import json
import re
import typing as t
from urllib.parse import urlsplit

FILES_REPOSITORY = "bare-metal-kubernetes/files"
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
INDEX_TYPES = MANIFEST_TYPES[2:]

_HEX = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?")
_PATH = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class RegistryNameError(ValueError):
    """A name, digest or address that is not one; the text says which and what it should look like."""


def is_hex_sha256(text: str) -> bool:
    """Tell whether ``text`` is 64 lower-case hexadecimal digits."""
    return bool(_HEX.fullmatch(text))


def check_digest(digest: str) -> str:
    """Return ``sha256:<64 hex digits>`` unchanged, or raise."""
    if not _DIGEST.fullmatch(digest):
        raise RegistryNameError(f"{digest!r} is not a digest: it has to be 'sha256:' and 64 hexadecimal digits")
    return digest


def check_tag(tag: str) -> str:
    """Return a tag unchanged, or raise."""
    if not _TAG.fullmatch(tag):
        raise RegistryNameError(f"{tag!r} is not a tag: letters, digits, '_', '.', '-', at most 128 of them")
    return tag


def split_image_name(name: str) -> tuple[str, str]:
    """Split ``registry.k8s.io/coredns/coredns`` into the upstream host and the repository there.

    A host has a dot or a port, or is ``localhost``: a name without one is refused, because every program completes it in its own way.
    """
    host, _slash, path = name.partition("/")
    qualified = "." in host or ":" in host or host == "localhost"
    if not (qualified and _HOST.fullmatch(host) and _PATH.fullmatch(path)):
        raise RegistryNameError(
            f"{name!r} is not a full image name: '<registry host>/<path>' in lower case, without tag or digest"
        )
    return host, path


def normalise_registry(registry: str) -> str:
    """Return ``http(s)://host[:port]`` without a trailing slash, or raise."""
    parts = urlsplit(registry)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise RegistryNameError(f"the registry {registry!r} is not 'http://host:port' or 'https://host:port'")
    if parts.username is not None or parts.password is not None:
        raise RegistryNameError("the registry's address must not carry a user name or password")
    return f"{parts.scheme}://{parts.netloc}"


def blob_url(registry: str, repository: str, digest: str) -> str:
    """Where a blob is."""
    return f"{registry}/v2/{repository}/blobs/{check_digest(digest)}"


def manifest_url(registry: str, repository: str, reference: str) -> str:
    """Where a manifest is, by tag or digest."""
    return f"{registry}/v2/{repository}/manifests/{reference}"


def file_url(registry: str, sha256: str) -> str:
    """Where a node finds a file of the bundle."""
    return blob_url(registry, FILES_REPOSITORY, f"sha256:{sha256}")


def _quoted(text: str) -> str:
    return json.dumps(text)  # a TOML basic string has JSON's escapes


def registry_hosts_toml(
    upstream: str, registry: str = "", mirrors: t.Sequence[str] = (), *, fall_back: bool = True
) -> str:
    """Render containerd's ``certs.d/<upstream>/hosts.toml``.

    The bundle's registry is asked first, then ``mirrors`` (base URLs that answer as the upstream itself does), then the upstream.
    Source: containerd's documentation of registry host configuration (docs/hosts.md), which names the keys.

    :param upstream: an image name's host, ``registry.k8s.io``.
    :param registry: ``http://host:port`` of the bundle's registry, or "".
    :param fall_back: false: nobody else is asked, neither mirrors nor the upstream.
    """
    if not _HOST.fullmatch(upstream):
        raise RegistryNameError(f"{upstream!r} is not the host of a registry")
    own = f"{normalise_registry(registry)}/v2/{upstream}" if registry else ""
    if not fall_back:
        lines = [f"server = {_quoted(own)}", 'capabilities = ["pull", "resolve"]', "override_path = true"]
        return "\n".join(lines) + "\n"
    official = "https://registry-1.docker.io" if upstream == "docker.io" else f"https://{upstream}"
    lines = [f"server = {_quoted(official)}"]
    if own:
        lines += ["", f"[host.{_quoted(own)}]", '  capabilities = ["pull", "resolve"]', "  override_path = true"]
    for mirror in mirrors:
        lines += ["", f"[host.{_quoted(mirror.rstrip('/'))}]", '  capabilities = ["pull", "resolve"]']
    return "\n".join(lines) + "\n"


def hosts_directory(upstream: str) -> str:
    """Return the directory of ``certs.d`` for an upstream host: containerd writes ``host:port`` as ``host_port_``."""
    host, colon, port = upstream.partition(":")
    return f"{host}_{port}_" if colon else host
