"""MetalLB's objects in each mode, from a manifest with the parts of upstream's in a few lines."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import metallb


def make(kind: str, name: str, image: str = "") -> dict[str, t.Any]:
    obj: dict[str, t.Any] = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "metallb-system"},
    }
    if image:
        obj["spec"] = {"template": {"spec": {"containers": [{"name": name, "image": image}]}}}
    return obj


TEXT = yaml.safe_dump_all(
    [
        make("ServiceAccount", "controller"),
        make("ServiceAccount", "speaker"),
        make("ClusterRole", "metallb-system:controller"),
        make("ClusterRole", "metallb-system:speaker"),
        make("Role", "pod-lister"),
        make("ConfigMap", "metallb-excludel2"),
        make("Deployment", "controller", "quay.io/metallb/controller:v0"),
        make("DaemonSet", "speaker", "quay.io/metallb/speaker:v0"),
    ]
)
IMAGES = {f"metallb/{name}": f"mirror/metallb/{name}:v9" for name in ("controller", "speaker")}
POOLS = [
    {"name": "public", "addresses": ["192.0.2.0/28"]},
    {"name": "b", "addresses": ["192.0.2.20-192.0.2.30"], "auto_assign": False},
]


def build(mode: str, pools: t.Any = None) -> dict[tuple[str, str], dict[str, t.Any]]:
    return {
        (obj["kind"], obj["metadata"]["name"]): obj
        for obj in metallb.objects(TEXT, mode, IMAGES, POOLS if pools is None else pools)
    }


def test_when_calico_announces_only_the_controller_is_installed() -> None:
    assert sorted(build("calico_bgp")) == [
        ("ClusterRole", "metallb-system:controller"),
        ("Deployment", "controller"),
        ("IPAddressPool", "b"),
        ("IPAddressPool", "public"),
        ("ServiceAccount", "controller"),
    ]


def test_in_layer_2_the_speakers_announce_all_pools() -> None:
    named = build("metallb_l2")
    assert named["L2Advertisement", "pools"]["spec"] == {"ipAddressPools": ["public", "b"]}
    assert ("Role", "pod-lister") in named
    (container,) = named["DaemonSet", "speaker"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "mirror/metallb/speaker:v9"
    assert container["resources"] == {"requests": {"cpu": "25m"}}
    assert ("L2Advertisement", "pools") not in build("metallb_l2", [])


def test_pools() -> None:
    named = build("calico_bgp")
    assert named["IPAddressPool", "public"]["spec"] == {
        "addresses": ["192.0.2.0/28"],
        "autoAssign": True,
        "avoidBuggyIPs": True,
    }
    assert named["IPAddressPool", "b"]["spec"] == {
        "addresses": ["192.0.2.20-192.0.2.30"],
        "autoAssign": False,
        "avoidBuggyIPs": True,
    }
    assert named["IPAddressPool", "b"]["metadata"]["namespace"] == "metallb-system"


@pytest.mark.parametrize(
    ("mode", "pools", "words"),
    [
        ("bgp", POOLS, "mode 'bgp' is none of calico_bgp, metallb_l2"),
        ("metallb_l2", [*POOLS, POOLS[0]], "pool public is given twice"),
        ("metallb_l2", [{"name": "x"}], "a pool is"),
        ("metallb_l2", ["x"], "a pool is"),
        ("metallb_l2", [{"name": "x", "addresses": ["all"]}], "pool 'x': 'all' is neither"),
    ],
)
def test_what_does_not_fit_is_refused(mode: str, pools: t.Any, words: str) -> None:
    with pytest.raises(metallb.MetallbError, match=words):
        metallb.objects(TEXT, mode, IMAGES, POOLS if pools is None else pools)


@pytest.mark.parametrize(("text", "words"), [("", "not a metallb-native.yaml"), ("{", "not YAML")])
def test_another_manifest_is_refused(text: str, words: str) -> None:
    with pytest.raises(metallb.MetallbError, match=words):
        metallb.objects(text, "calico_bgp", IMAGES, POOLS)


def test_an_image_that_the_bundle_lacks_is_named() -> None:
    with pytest.raises(metallb.MetallbError, match="'metallb/controller', which the bundle does not have"):
        metallb.objects(TEXT, "calico_bgp", {}, POOLS)
