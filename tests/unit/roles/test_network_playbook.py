"""The order in which the Services change hands: the new carrier stands before the old one goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYS: list[dict[str, Any]] = yaml.safe_load((ROOT / "playbooks/network_apply.yml").read_text(encoding="utf-8"))
ROLE = ROOT / "roles/cilium"


def entry_of(play: dict[str, Any]) -> str:
    """Which tasks of the role cilium a play has; empty for the network play itself."""
    (task, *more) = play["tasks"]
    role = task.get("ansible.builtin.import_role", {})
    return "" if more else str(role.get("tasks_from", ""))


def test_rules_of_kube_proxy_come_before_agents_and_go_after_them() -> None:
    order = [entry_of(play) for play in PLAYS]
    assert order == ["kube_proxy_first", "", "kube_proxy_withdraw", "kube_proxy_rules"]


def test_these_plays_take_no_host_where_nothing_changes() -> None:
    for play in PLAYS:
        if entry_of(play):
            assert "bare_metal.kubernetes.kube_proxy_" in play["hosts"]
            assert play["any_errors_fatal"] is True


def test_nodes_are_cleaned_one_after_the_other() -> None:
    (rules,) = (play for play in PLAYS if entry_of(play) == "kube_proxy_rules")
    assert (rules["serial"], rules["order"]) == (1, "sorted")


def test_the_plays_find_what_the_role_leaves_for_them() -> None:
    (proof,) = yaml.safe_load((ROLE / "tasks/verify.yml").read_text(encoding="utf-8"))
    for play in PLAYS[2:]:
        assert f"'{proof['register']}'" in play["hosts"]
    assert "replaces_kube_proxy" in proof["bare_metal.kubernetes.cilium_status"]
