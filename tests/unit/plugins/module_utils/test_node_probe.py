"""Parsers behind node_probe, on recorded outputs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _calico, _node_firewall, _node_probe
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._node_probe import (
    ask_urls,
    observe_announcer,
    observe_firewall,
    observe_speaker,
    parse_addresses,
    parse_end_date,
    parse_etcd,
    parse_frr_summary,
    parse_speaker,
)


def test_an_end_date_is_utc() -> None:
    assert parse_end_date("notAfter=Jan  2 03:04:05 2027 GMT\n") == 1798859045.0


def test_etcd_members_are_joined_with_what_they_answer() -> None:
    members = {
        "members": [
            {"ID": 1, "name": "b", "peerURLs": []},
            {"ID": 2, "name": "a", "isLearner": True},
            {"ID": 3, "name": "c"},
        ]
    }
    status = [
        {"Endpoint": "x", "Status": {"header": {"member_id": 1}, "leader": 1, "dbSize": 42, "version": "3.7.3"}},
        {"Endpoint": "y", "Status": {"header": {"member_id": 2}, "leader": 1, "errors": ["NOSPACE"]}},
    ]
    found = parse_etcd(members, status)["members"]
    assert [(m["name"], m["learner"], m["healthy"], m["leader"]) for m in found] == [
        ("a", True, False, False),
        ("b", False, True, True),
        ("c", False, False, False),
    ]
    assert found[2]["errors"] == ["does not answer"]


def test_frr_neighbours_of_all_families() -> None:
    summary = {
        "ipv4Unicast": {"peers": {"10.0.1.1": {"remoteAs": 64701, "state": "Established", "pfxRcd": 2, "pfxSnt": 5}}},
        "ipv6Unicast": {"peers": {"fd00::1": {"remoteAs": 64701, "state": "Active"}}},
    }
    found = parse_frr_summary(summary)
    assert found["10.0.1.1"] == {"state": "Established", "received": 2, "sent": 5, "as_number": 64701}
    assert found["fd00::1"]["state"] == "Active"


def test_addresses_without_loopback_and_link_local() -> None:
    text = '[{"addr_info": [{"local": "127.0.0.1", "scope": "host"}, {"local": "10.0.1.254", "scope": "global"}, {"local": "fe80::1", "scope": "link"}]}]'
    assert parse_addresses(text) == ["10.0.1.254"]


def test_a_url_that_nobody_answers_is_an_observation() -> None:
    answer = ask_urls({"closed": "http://127.0.0.1:1/"}, 2.0)["closed"]
    assert not answer["ok"]
    assert "refused" in answer["error"].lower()


def test_the_firewall_is_compared_as_a_run_would(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = _node_firewall.Observed("live", "text", _node_firewall.UNIT_TEXT, enabled=True, active=True)
    monkeypatch.setattr(_node_firewall, "canonical", lambda _text: "live")
    monkeypatch.setattr(_node_firewall, "observe", lambda: kept)
    assert observe_firewall("text") == {"differences": [], "error": ""}
    monkeypatch.setattr(_node_firewall, "observe", lambda: replace(kept, live="other", enabled=False))
    assert observe_firewall("text")["differences"] == [
        "load table inet bare_metal_firewall",
        "enable bare-metal-firewall.service",
    ]

    def refuses(_text: str) -> str:
        raise _node_firewall.NodeFirewallError("nft refuses the table")

    monkeypatch.setattr(_node_firewall, "canonical", refuses)
    assert observe_firewall("text")["error"] == "nft refuses the table"


def test_sessions_of_a_speaker_are_counted_once() -> None:
    """v0.15.2 makes a series by address when a session begins and one by address and port when it is up."""
    metrics = """# HELP metallb_bgp_session_up BGP session state (1 is up, 0 is down)
# TYPE metallb_bgp_session_up gauge
metallb_bgp_session_up{peer="10.0.1.254"} 0
metallb_bgp_session_up{peer="10.0.1.254:179"} 1
metallb_bgp_session_up{peer="10.0.2.254"} 0
metallb_bgp_session_up{peer="10.0.2.254:1179"} 0
metallb_bgp_announced_prefixes_total{peer="10.0.1.254:179"} 2
"""
    assert parse_speaker(metrics) == [{"peer": "10.0.1.254", "up": True}, {"peer": "10.0.2.254", "up": False}]
    assert parse_speaker("") == []


def test_a_speaker_that_does_not_answer_is_an_observation() -> None:
    assert observe_speaker("http://127.0.0.1:1/metrics", 2.0)["sessions"] == []
    assert observe_speaker("http://127.0.0.1:1/metrics", 2.0)["error"]


def test_who_announces_the_apis_address(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = Path(__file__).parent / "fixtures" / "calico" / "bird-2.0.12-protocols.txt"
    lo = [{"addr_info": [{"local": "127.0.0.1", "scope": "host"}, {"local": "198.18.7.1", "scope": "global"}]}]
    monkeypatch.setattr(_node_probe, "run", lambda *_argv, **_more: SimpleNamespace(stdout=json.dumps(lo)))
    monkeypatch.setattr(_calico, "ask_bird", lambda *_words: fixture.read_text())
    found = observe_announcer("198.18.7.1")
    assert (found["holds"], found["error"]) == (True, "")
    assert [(one["neighbor"], one["state"], one["exported"]) for one in found["sessions"]] == [
        ("10.99.1.254", "Established", 1)
    ]
    assert observe_announcer("198.18.7.2")["holds"] is False

    def nobody(*_words: object) -> str:
        raise _calico.CalicoStatusError("BIRD does not answer")

    monkeypatch.setattr(_calico, "ask_bird", nobody)
    assert observe_announcer("198.18.7.1") == {"holds": False, "sessions": [], "error": "BIRD does not answer"}


def test_the_dns_cache_is_asked_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def resolve(server: str, name: str, _timeout: float) -> None:
        asked.append((server, name))
        if len(asked) < 3:
            raise ConnectionRefusedError("Connection refused")

    monkeypatch.setattr(_node_probe._dns, "resolve", resolve)
    monkeypatch.setattr(_node_probe, "PAUSE_SECONDS", 0.0)
    found = _node_probe.observe_dns_cache("169.254.20.10", "kubernetes.default.svc.x", 1.0)
    assert found["error"] == ""
    assert found["milliseconds"] >= 0
    assert asked == [("169.254.20.10", "kubernetes.default.svc.x")] * 3
    asked.clear()
    monkeypatch.setattr(_node_probe, "TRIES", 2)
    found = _node_probe.observe_dns_cache("169.254.20.10", "a.b", 1.0)
    assert found == {"milliseconds": None, "error": "169.254.20.10 does not answer for a.b: Connection refused"}
