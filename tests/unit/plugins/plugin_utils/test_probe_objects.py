"""The probe workload is what verify asks: its names are a contract."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import probe

PUBLIC = {"name": "public", "addresses": ["192.0.2.0/28"]}


def build(*pools: dict[str, t.Any]) -> dict[tuple[str, str], dict[str, t.Any]]:
    found = probe.objects("registry/echo-server:v1", pools)
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}


def test_names_and_labels_that_verify_relies_on() -> None:
    named = build(PUBLIC)
    assert sorted(named) == [
        ("DaemonSet", "probe"),
        ("Namespace", "bare-metal-system"),
        ("Service", "probe"),
        ("Service", "probe-public"),
        ("Service", "probe-public-local"),
    ]
    template = named["DaemonSet", "probe"]["spec"]["template"]
    assert template["metadata"]["labels"] == {"app.kubernetes.io/name": "probe"}
    assert template["spec"]["containers"][0]["name"] == "probe"


def test_without_pools_there_is_no_external_service() -> None:
    assert [name for kind, name in build() if kind == "Service"] == ["probe"]


def test_pods_are_made_anew_when_what_they_were_made_for_changes() -> None:
    """Calico and Cilium give a pod its MTU when it is made: a probe that stayed would tell of the former network."""
    templates = [
        next(obj for obj in probe.objects("echo:v1", [], made_for) if obj["kind"] == "DaemonSet")["spec"]["template"]
        for made_for in ("", "none", "vxlan")
    ]
    assert [one["metadata"].get("annotations") for one in templates] == [
        None,
        {"bare-metal.kubernetes/made-for": "none"},
        {"bare-metal.kubernetes/made-for": "vxlan"},
    ]


def test_services_find_the_pods() -> None:
    named = build(PUBLIC)
    labels = named["DaemonSet", "probe"]["spec"]["template"]["metadata"]["labels"]
    ports = named["DaemonSet", "probe"]["spec"]["template"]["spec"]["containers"][0]["ports"]
    for name in ("probe", "probe-public", "probe-public-local"):
        spec = named["Service", name]["spec"]
        assert spec["selector"].items() <= labels.items()
        assert spec["ports"][0]["targetPort"] in [port["name"] for port in ports]


def test_both_services_of_a_pool_ask_for_its_addresses() -> None:
    named = build(PUBLIC)
    cluster, local = (named["Service", name] for name in ("probe-public", "probe-public-local"))
    assert (
        cluster["metadata"]["annotations"] == local["metadata"]["annotations"] == {"metallb.io/address-pool": "public"}
    )
    assert (cluster["spec"]["externalTrafficPolicy"], local["spec"]["externalTrafficPolicy"]) == ("Cluster", "Local")


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["192.0.2.0/28"], {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}),
        (["2001:db8::/120"], {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}),
        (["2001:db8::/120", "192.0.2.0/28"], {"ipFamilyPolicy": "RequireDualStack"}),
    ],
)
def test_a_service_has_the_families_of_its_pool(addresses: list[str], expected: dict[str, t.Any]) -> None:
    spec = build({"name": "public", "addresses": addresses})["Service", "probe-public"]["spec"]
    assert {key: value for key, value in spec.items() if key.startswith("ipFamil")} == expected


def of(**labels: str) -> list[dict[str, t.Any]]:
    return [{"match_labels": labels}]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({"addresses": ["192.0.2.10/32"]}, "has 1 IPv4 address:"),
        ({"addresses": ["192.0.2.10-192.0.2.12"]}, "has 3 IPv4 addresses"),
        ({"addresses": ["192.0.2.12/30", "192.0.2.20/30"]}, ""),
        ({"addresses": ["192.0.2.0/28", "2001:db8::1/128"]}, "has 1 IPv6 address:"),
        ({"namespaces": ["web"]}, "is for other namespaces"),
        ({"namespaces": ["web", "bare-metal-system"]}, ""),
        ({"namespace_selectors": of(team="web")}, "is for other namespaces"),
        ({"namespace_selectors": of(**{"kubernetes.io/metadata.name": "bare-metal-system"})}, ""),
        ({"service_selectors": of(tier="web")}, "do not select the probe"),
        ({"service_selectors": of(**{"app.kubernetes.io/name": "probe"})}, ""),
    ],
)
def test_pools_that_are_left_to_their_services(options: dict[str, t.Any], words: str) -> None:
    pool = PUBLIC | options
    assert words in probe.not_probed(pool) if words else probe.not_probed(pool) == ""
    assert (("Service", "probe-public") in build(pool)) is not bool(words)


def test_names_of_pools_that_are_no_labels() -> None:
    names = {probe.service_name(name) for name in ("public", "a.b", "a-b", "x" * 60, "x" * 61)}
    assert len(names) == 5
    assert all(len(f"{name}-local") <= 63 and "." not in name for name in names)


def test_it_runs_on_every_node_with_the_rights_of_nobody() -> None:
    pod = build()["DaemonSet", "probe"]["spec"]["template"]["spec"]
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
