"""Addresses that Services of a live cluster would lose, and who announces them now."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _live_load_balancer as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApiError

WEB = {
    "name": "web",
    "namespace": "shop",
    "labels": {"tier": "front"},
    "namespace_labels": {"team": "a"},
    "addresses": ["192.0.2.5"],
    "pool": "",
}
LIVE = {
    "mode": "calico_bgp",
    "services": [WEB],
    "pools": {"public": ["192.0.2.0/28"], "v6": ["2001:db8::1-2001:db8::9"]},
}
PUBLIC = {"name": "public", "addresses": ["192.0.2.0/28"]}


def judge(
    pools: list[dict[str, t.Any]], mode: str = "calico_bgp", moves: bool = False, **service: t.Any
) -> dict[str, str]:
    live = LIVE | {"services": [WEB | service]}
    return {f.check: f.found for f in core.judge(live, {"mode": mode, "pools": pools, "moves": moves})}


@pytest.mark.parametrize(
    ("pools", "service", "words"),
    [
        ([PUBLIC], {}, ""),
        ([{"name": "other", "addresses": ["192.0.2.4-192.0.2.6"]}], {}, ""),
        ([{"name": "other", "addresses": ["192.0.2.6-192.0.2.9"]}], {}, "shop/web (192.0.2.5: no pool has it)"),
        ([], {}, "no pool has it"),
        ([{**PUBLIC, "namespaces": ["shop"]}], {}, ""),
        ([{**PUBLIC, "namespaces": ["mail"]}], {}, "pool public is for others"),
        ([{**PUBLIC, "namespaces": ["mail"], "namespace_selectors": [{"match_labels": {"team": "a"}}]}], {}, ""),
        ([{**PUBLIC, "namespace_selectors": [{"match_labels": {"kubernetes.io/metadata.name": "shop"}}]}], {}, ""),
        ([{**PUBLIC, "service_selectors": [{"match_labels": {"tier": "back"}}]}], {}, "pool public is for others"),
        ([{**PUBLIC, "name": "new"}], {"pool": "public"}, "it asks for the pool public by name"),
        (
            [{"name": "v6", "addresses": ["2001:db8::1/127"]}],
            {"addresses": ["2001:db8::9"]},
            "2001:db8::9: no pool has it",
        ),
        # Not from one of our pools: somebody else's.
        ([], {"addresses": ["198.51.100.1"]}, ""),
        # The probe's own Services are moved by its role.
        ([], {"namespace": "bare-metal-system"}, ""),
    ],
)
def test_addresses_that_would_be_taken(pools: list[dict[str, t.Any]], service: dict[str, t.Any], words: str) -> None:
    found = judge(pools, **service)
    assert words in found["live_load_balancer_pools"] if words else found == {}


def test_without_a_mode_there_is_no_pool() -> None:
    assert "no pool has it" in judge([PUBLIC], mode="none")["live_load_balancer_pools"]


def test_few_services_are_named_and_the_rest_counted() -> None:
    live = LIVE | {"services": [WEB | {"name": f"web{number}"} for number in range(8)]}
    (finding,) = core.judge(live, {"mode": "calico_bgp", "pools": []})
    assert "shop/web4" in finding.found
    assert finding.found.endswith("and 3 more")


def test_another_mode_is_for_the_play_that_moves_addresses() -> None:
    assert "calico_bgp, and 1 Services" in judge([PUBLIC], mode="metallb_l2")["live_load_balancer_mode"]
    assert judge([PUBLIC], mode="metallb_l2", moves=True) == {}
    assert judge([PUBLIC], mode="metallb_l2", namespace="bare-metal-system") == {}
    assert core.judge({}, {"mode": "metallb_l2", "pools": [PUBLIC]}) == []


class Api:
    """What a cluster has by kind; a kind that is not there is unknown to it."""

    def __init__(self, **kinds: list[dict[str, t.Any]]) -> None:
        self.kinds = kinds

    def list(self, _version: str, kind: str) -> list[dict[str, t.Any]]:
        if kind not in self.kinds and kind not in ("Service", "Namespace"):
            raise KubeApiError("unknown", reason="UnknownKind")
        return self.kinds.get(kind, [])

    def get(self, _version: str, kind: str, name: str, _namespace: str) -> dict[str, t.Any] | None:
        return next((entry for entry in self.kinds.get(kind, []) if entry["metadata"]["name"] == name), None)


def observe(**kinds: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    return core.observe_api(Api(**kinds))  # type: ignore[arg-type]


def test_what_is_observed() -> None:
    meta = {"name": "web", "namespace": "shop", "annotations": {"metallb.io/address-pool": "public"}}
    service = {
        "metadata": meta,
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.5"}, {"hostname": "x"}]}},
    }
    waits = {"metadata": {"name": "waits", "namespace": "shop"}, "spec": {"type": "LoadBalancer"}, "status": {}}
    inner = {"metadata": {"name": "inner", "namespace": "shop"}, "spec": {"type": "ClusterIP"}}
    seen = observe(
        Service=[service, waits, inner],
        Namespace=[{"metadata": {"name": "shop", "labels": {"team": "a"}}}],
        IPAddressPool=[{"metadata": {"name": "public"}, "spec": {"addresses": ["192.0.2.0/28"]}}],
    )
    assert seen["pools"] == {"public": ["192.0.2.0/28"]}
    assert seen["services"] == [
        {
            "name": "web",
            "namespace": "shop",
            "labels": {},
            "namespace_labels": {"team": "a"},
            "addresses": ["192.0.2.5"],
            "pool": "public",
        }
    ]


SPEAKER = [{"metadata": {"name": "speaker"}}]


@pytest.mark.parametrize(
    ("kinds", "mode"),
    [
        ({}, ""),
        ({"BGPConfiguration": [{"spec": {"serviceLoadBalancerIPs": [{"cidr": "192.0.2.0/28"}]}}]}, "calico_bgp"),
        ({"BGPConfiguration": [{"spec": {}}]}, ""),
        ({"DaemonSet": SPEAKER, "L2Advertisement": [{}]}, "metallb_l2"),
        ({"DaemonSet": SPEAKER, "L2Advertisement": [], "BGPAdvertisement": [{}]}, "metallb_bgp"),
        ({"DaemonSet": SPEAKER}, ""),
    ],
)
def test_who_announces(kinds: dict[str, list[dict[str, t.Any]]], mode: str) -> None:
    assert observe(**kinds)["mode"] == mode


def test_a_host_without_a_kubeconfig_shows_nothing() -> None:
    assert core.observe("/nonexistent/admin.conf") == {}
