"""Which hosts.toml files a node gets."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._oci_registry import RegistryNameError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.registry_hosts import CERTS_D, hosts_files

UPSTREAMS = ["registry.k8s.io", "docker.io"]
REGISTRY = "http://192.0.2.20:5000"


def hosts_of(files: list[dict[str, str]]) -> list[str]:
    return [PurePosixPath(file["path"]).parent.name for file in files]


def test_the_registry_stands_in_for_every_upstream() -> None:
    files = hosts_files(UPSTREAMS, REGISTRY)
    assert [file["path"] for file in files] == [
        f"{CERTS_D}/docker.io/hosts.toml",
        f"{CERTS_D}/registry.k8s.io/hosts.toml",
    ]
    assert all(REGISTRY in file["content"] for file in files)


def test_without_registry_and_mirrors_there_is_nothing_to_say() -> None:
    assert hosts_files(UPSTREAMS) == []


def test_a_mirror_of_another_host_gets_its_file_and_not_the_bundles_registry() -> None:
    files = hosts_files(UPSTREAMS, REGISTRY, {"quay.io": ["https://mirror.example.org"]})
    assert hosts_of(files) == ["docker.io", "quay.io", "registry.k8s.io"]
    (quay,) = (file["content"] for file in files if "/quay.io/" in file["path"])
    assert "https://mirror.example.org" in quay
    assert REGISTRY not in quay


def test_registry_before_mirror() -> None:
    (file,) = hosts_files(["docker.io"], REGISTRY, {"docker.io": ["https://mirror.example.org"]})
    assert file["content"].index(REGISTRY) < file["content"].index("https://mirror.example.org")


def test_mirrors_without_registry() -> None:
    assert hosts_of(hosts_files(UPSTREAMS, "", {"docker.io": ["https://mirror.example.org"]})) == ["docker.io"]


@pytest.mark.parametrize("host", ["../etc", "a/b", ""])
def test_a_host_that_is_no_host_name_makes_no_path(host: str) -> None:
    with pytest.raises(RegistryNameError):
        hosts_files([host], REGISTRY)
