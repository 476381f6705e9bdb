"""The filters over a manifest give plain data and Ansible's own error."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.filter.bundle import FilterModule

FILTERS = FilterModule().filters()
DIGEST = "sha256:" + "a" * 64
FILE = {"name": "kubelet", "component": "kubernetes", "version": "v1", "sha256": "b" * 64, "size": 2, "source": "s"}
IMAGE = {
    "name": "registry.k8s.io/pause",
    "tag": "3.10.2",
    "digest": DIGEST,
    "size": 3,
    "blobs": [DIGEST],
    "component": "pause",
    "version": "3.10.2",
    "source": "s",
}
MANIFEST = {
    "schema": 1,
    "release_set": "built",
    "architecture": "amd64",
    "source": "build",
    "versions": {"kubernetes": "v1"},
    "files": [FILE],
    "images": [IMAGE],
}
WITH_REFERENCES = {
    **IMAGE,
    "reference": "registry.k8s.io/pause:3.10.2",
    "pinned": f"registry.k8s.io/pause:3.10.2@{DIGEST}",
}


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        ("bundle_files", ["kubelet"], [FILE]),
        ("bundle_images", ["pause"], [WITH_REFERENCES]),
        ("bundle_image", "registry.k8s.io/pause", WITH_REFERENCES),
    ],
)
def test_entries_are_plain_data(name: str, argument: Any, expected: Any) -> None:
    assert FILTERS[name](MANIFEST, argument) == expected


@pytest.mark.parametrize(
    ("release_set", "wanted", "version"), [("built", "", "v1.36.3"), ("built", "v1.36.1", "v1.36.1")]
)
def test_the_target_of_a_run_needs_no_bundle(release_set: str, wanted: str, version: str) -> None:
    target = FILTERS["bundle_target"](release_set, wanted)
    assert target["kubernetes"] == version
    assert version in target["known_kubernetes"]
    assert target["etcd"] in target["known_etcd"]
    assert target["containerd"].startswith("v2.")


@pytest.mark.parametrize(("release_set", "wanted"), [("bilt", ""), ("built", "v1.36.33")])
def test_an_unknown_version_is_named(release_set: str, wanted: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"bundle_target: .*Did you mean"):
        FILTERS["bundle_target"](release_set, wanted)


@pytest.mark.parametrize(
    ("name", "argument"), [("bundle_files", ["kublet"]), ("bundle_images", ["paus"]), ("bundle_image", "paus")]
)
def test_errors_name_the_filter_and_suggest(name: str, argument: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=rf"{name}: Unknown .* Did you mean"):
        FILTERS[name](MANIFEST, argument)
    with pytest.raises(AnsibleFilterError, match=f"{name}: .*schema"):
        FILTERS[name]({}, argument)
