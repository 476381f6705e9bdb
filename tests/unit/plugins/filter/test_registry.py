"""The filters that point containerd at the bundle's registry."""

from __future__ import annotations

import tomllib

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.filter.registry import FilterModule

FILTERS = FilterModule().filters()
REGISTRY = "http://10.77.3.20:5000"


def test_one_file_for_each_upstream() -> None:
    files = FILTERS["registry_hosts_files"](
        ["registry.k8s.io", "docker.io"],
        REGISTRY,
        {"docker.io": ["https://m.example"], "ghcr.io": ["https://m.example"]},
    )
    assert [file["path"] for file in files] == [
        f"/etc/containerd/certs.d/{host}/hosts.toml" for host in ("docker.io", "ghcr.io", "registry.k8s.io")
    ]
    hosts = [list(tomllib.loads(file["content"])["host"]) for file in files]
    assert hosts == [
        [f"{REGISTRY}/v2/docker.io", "https://m.example"],
        ["https://m.example"],
        [f"{REGISTRY}/v2/registry.k8s.io"],
    ]


def test_without_registry_and_mirrors_there_is_nothing_to_say() -> None:
    assert FILTERS["registry_hosts_files"](["registry.k8s.io"]) == []


def test_one_file_alone_is_the_same_text() -> None:
    (file,) = FILTERS["registry_hosts_files"](["quay.io"], REGISTRY)
    assert FILTERS["registry_hosts_toml"]("quay.io", REGISTRY) == file["content"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("registry_hosts_toml", ("Bad Host", REGISTRY)), ("registry_hosts_files", (["quay.io"], "quay.io:5000"))],
)
def test_what_is_wrong_is_one_message(name: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(AnsibleFilterError, match=name):
        FILTERS[name](*arguments)
