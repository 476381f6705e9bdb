"""Names, URLs and hosts.toml."""

from __future__ import annotations

import tomllib
import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _oci_registry as oci

REGISTRY = "http://10.77.3.20:5000"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("registry.k8s.io/pause", ("registry.k8s.io", "pause")),
        ("registry.k8s.io/coredns/coredns", ("registry.k8s.io", "coredns/coredns")),
        ("localhost:5000/a/b-c_d.e", ("localhost:5000", "a/b-c_d.e")),
    ],
)
def test_full_image_names_are_split(name: str, parts: tuple[str, str]) -> None:
    assert oci.split_image_name(name) == parts


@pytest.mark.parametrize(
    "name", ["pause", "calico/node", "registry.k8s.io", "registry.k8s.io/Pause", "a.b/c:1", "a.b/../c", "a.b/", ""]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(oci.RegistryNameError, match="full image name"):
        oci.split_image_name(name)


@pytest.mark.parametrize(
    ("address", "normal"),
    [
        (REGISTRY + "/", REGISTRY),
        ("https://registry.example.com", "https://registry.example.com"),
        ("http://[fd00::1]:5000", "http://[fd00::1]:5000"),
    ],
)
def test_addresses_are_normalised(address: str, normal: str) -> None:
    assert oci.normalise_registry(address) == normal


@pytest.mark.parametrize("address", ["10.0.0.1:5000", "ftp://x", "http://", "http://x/path", "http://user:pw@x:5000"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(oci.RegistryNameError):
        oci.normalise_registry(address)


def test_a_file_is_a_blob_of_one_repository() -> None:
    assert oci.file_url(REGISTRY, "a" * 64) == f"{REGISTRY}/v2/bare-metal-kubernetes/files/blobs/sha256:{'a' * 64}"


@pytest.mark.parametrize("digest", ["sha256:abc", "a" * 64, "sha512:" + "a" * 64, "sha256:" + "A" * 64, ""])
def test_only_sha256_digests_count(digest: str) -> None:
    with pytest.raises(oci.RegistryNameError):
        oci.check_digest(digest)


PULL = {"capabilities": ["pull", "resolve"]}


@pytest.mark.parametrize(
    ("upstream", "arguments", "expected"),
    [
        (
            "registry.k8s.io",
            {"registry": REGISTRY},
            {
                "server": "https://registry.k8s.io",
                "host": {f"{REGISTRY}/v2/registry.k8s.io": {**PULL, "override_path": True}},
            },
        ),
        (
            "docker.io",
            {"registry": REGISTRY, "mirrors": ["https://mirror.example.com/"]},
            {
                "server": "https://registry-1.docker.io",
                "host": {
                    f"{REGISTRY}/v2/docker.io": {**PULL, "override_path": True},
                    "https://mirror.example.com": PULL,
                },
            },
        ),
        ("quay.io", {}, {"server": "https://quay.io"}),
        (
            "quay.io",
            {"registry": REGISTRY, "fall_back": False},
            {"server": f"{REGISTRY}/v2/quay.io", **PULL, "override_path": True},
        ),
    ],
)
def test_hosts_toml(upstream: str, arguments: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    assert tomllib.loads(oci.registry_hosts_toml(upstream, **arguments)) == expected


def test_the_bundles_registry_is_asked_before_mirrors() -> None:
    text = oci.registry_hosts_toml("quay.io", REGISTRY, ["https://m.example.com"])
    assert text.index(REGISTRY) < text.index("https://m.example.com")


@pytest.mark.parametrize(("host", "directory"), [("quay.io", "quay.io"), ("localhost:5000", "localhost_5000_")])
def test_directories_of_certs_d(host: str, directory: str) -> None:
    assert oci.hosts_directory(host) == directory
