"""What verify says of an API address that control planes announce."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.filter.api_endpoint import announced_endpoint
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification import Wanted
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification_endpoint import judge

HOSTVARS: dict[str, dict[str, Any]] = {
    "cp1": {
        "ansible_host": "10.0.1.11",
        "cluster_api_endpoint_bgp_source": "10.0.1.111",
        "cluster_bgp_peers": [{"address": "10.0.1.254"}],
    },
    "cp2": {"cluster_node_ip": "10.0.2.11", "cluster_api_endpoint_bgp_peers": [{"address": "10.0.2.254"}]},
}
ANNOUNCED = announced_endpoint("198.18.7.1", ["cp1", "cp2"], HOSTVARS)
PREFIX = "198.18.7.1/32"


def wanted(**changes: Any) -> Wanted:
    base: dict[str, Any] = {
        "nodes": {"cp1": "10.0.1.11", "cp2": "10.0.2.11"},
        "control_plane": {"cp1": "10.0.1.11", "cp2": "10.0.2.11"},
        "etcd": {},
        "version": "v1",
        "routers": {"tor1": "10.0.1.254", "tor2": "10.0.2.254"},
        "announced": ANNOUNCED,
    }
    return Wanted(**(base | changes))


def plane(
    name: str, router: str, *, ready: bool = True, holds: bool = True, state: str = "Established", exported: int = 1
) -> dict[str, Any]:
    session = {"neighbor": router, "state": state, "exported": exported}
    return {"urls": {name: {"ok": ready}}, "announcer": {"holds": holds, "sessions": [session], "error": ""}}


def router(*hops: str, error: str = "") -> dict[str, Any]:
    return {"router": {"addresses": [], "paths": {PREFIX: list(hops)} if hops else {}, "error": error}}


WHOLE: dict[str, dict[str, Any]] = {
    "cp1": plane("cp1", "10.0.1.254"),
    "cp2": plane("cp2", "10.0.2.254"),
    "tor1": router("10.0.1.111"),
    "tor2": router("10.0.2.11"),
}


def test_the_plan() -> None:
    assert ANNOUNCED == {
        "prefix": PREFIX,
        "sources": {"cp1": "10.0.1.111", "cp2": "10.0.2.11"},
        "peers": {"cp1": ["10.0.1.254"], "cp2": ["10.0.2.254"]},
    }
    assert announced_endpoint("fd00::1", [], {})["prefix"] == "fd00::1/128"


def test_a_whole_cluster_and_one_that_announces_nothing() -> None:
    assert [(row.check, row.subject, row.result) for row in judge(wanted(), WHOLE)] == [
        ("api announced", "cp1", "ok"),
        ("api announced", "cp2", "ok"),
        ("api route", "tor1", "ok"),
        ("api route", "tor2", "ok"),
    ]
    assert judge(wanted(announced={}), WHOLE) == []


@pytest.mark.parametrize(
    ("changes", "subject", "words"),
    [
        ({"cp1": plane("cp1", "10.0.1.254", state="Active")}, "cp1", "the session with 10.0.1.254 is Active"),
        ({"cp1": plane("cp1", "10.0.9.9")}, "cp1", "the session with 10.0.1.254 is not configured"),
        ({"cp1": plane("cp1", "10.0.1.254", exported=0)}, "cp1", "nothing is announced to 10.0.1.254"),
        ({"cp1": plane("cp1", "10.0.1.254", holds=False)}, "cp1", "its API is ready and it does not have the address"),
        ({"cp1": plane("cp1", "10.0.1.254", ready=False)}, "cp1", "has the address and no ready API"),
        ({"cp1": {"announcer": {"holds": False, "sessions": [], "error": "no socket"}}}, "cp1", "no socket"),
        ({"tor1": router("10.0.1.11")}, "tor1", "has 198.18.7.1/32 over 10.0.1.11, wanted 10.0.1.111"),
        ({"tor1": router()}, "tor1", "has 198.18.7.1/32 over nobody, wanted 10.0.1.111"),
        ({"tor1": router(error="no vtysh")}, "tor1", "no vtysh"),
        (
            {"cp1": plane("cp1", "10.0.1.254", ready=False, holds=False), "tor1": router()},
            "tor1",
            "has no way to 198.18.7.1/32",
        ),
    ],
)
def test_what_is_wrong(changes: dict[str, Any], subject: str, words: str) -> None:
    failed = {row.subject: row.detail for row in judge(wanted(), WHOLE | changes) if row.result == "failed"}
    assert words in failed[subject]


def test_a_withdrawn_address_is_as_it_should_be_and_the_router_takes_another_way() -> None:
    hosts = WHOLE | {
        "cp1": plane("cp1", "10.0.1.254", ready=False, holds=False, exported=0),
        "tor1": router("10.0.0.3"),
    }
    assert {row.result for row in judge(wanted(), hosts)} == {"ok"}


def test_ipv6_routes_of_routers_are_not_asked_for() -> None:
    six = {**ANNOUNCED, "prefix": "fd00::1/128"}
    assert {row.result for row in judge(wanted(announced=six), WHOLE) if row.check == "api route"} == {"skipped"}
