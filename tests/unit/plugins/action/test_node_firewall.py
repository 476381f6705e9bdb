"""Commit, then confirm: what the action does when the controller gets in again, late, over the old connection, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.bare_metal.kubernetes.plugins.action import node_firewall

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Lab:
    """An action whose host answers as it is told; ``calls`` are the steps it was asked for, with resets of the connection between them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Answer], answers_again: bool = True) -> None:
        self.calls: list[str] = []
        self.clock = Clock()
        self.answers = answers
        self.answers_again = answers_again
        monkeypatch.setattr(node_firewall, "time", self.clock)
        monkeypatch.setattr(ActionBase, "run", lambda *_words, **_more: {})
        self.action = node_firewall.ActionModule.__new__(node_firewall.ActionModule)
        self.action._task = SimpleNamespace(args={"content": "table", "rollback_seconds": 60})
        self.action._connection = SimpleNamespace(reset=lambda: self.calls.append("reset"))
        self.action._execute_module = self.execute
        self.action._low_level_execute_command = self.ask

    def execute(self, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        self.calls.append(module_args["step"])
        return self.answers[module_args["step"]](module_args)

    def ask(self, command: str) -> None:
        self.calls.append(command)
        if not self.answers_again:
            raise AnsibleConnectionFailure("still silent")

    def run(self) -> dict[str, Any]:
        return self.action.run(task_vars={})


def applied(_arguments: dict[str, Any]) -> dict[str, Any]:
    return {"changed": True, "pending": True, "connection": "192.0.2.1 40000", "invocation": {"content": "table"}}


def confirmed(arguments: dict[str, Any]) -> dict[str, Any]:
    assert arguments["former_connection"] == "192.0.2.1 40000"
    return {"changed": True, "confirmed": True}


def silent(_arguments: dict[str, Any]) -> dict[str, Any]:
    raise AnsibleConnectionFailure("timed out")


def test_a_new_connection_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(monkeypatch, {"apply": applied, "confirm": confirmed})
    assert lab.run() == {"changed": True, "connection": "192.0.2.1 40000", "confirmed": True}
    assert lab.calls == ["apply", "reset", "confirm"]


@pytest.mark.parametrize(
    "answer",
    [
        {"changed": False, "pending": False},
        {"changed": True, "pending": False},  # taken off, or check mode
        {"failed": True, "msg": "nft refuses the table"},
    ],
)
def test_nothing_to_confirm_is_one_call(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]) -> None:
    lab = Lab(monkeypatch, {"apply": lambda _arguments: dict(answer)})
    result = lab.run()
    assert lab.calls == ["apply"]
    assert result.get("failed", False) == answer.get("failed", False)


def test_a_lost_packet_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [silent, silent, confirmed]

    def later(arguments: dict[str, Any]) -> dict[str, Any]:
        return left.pop(0)(arguments)

    lab = Lab(monkeypatch, {"apply": applied, "confirm": later})
    assert lab.run()["confirmed"] is True
    assert lab.calls == ["apply", "reset", "confirm", "reset", "confirm", "reset", "confirm"]


def test_a_host_that_went_back_by_itself_fails_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(monkeypatch, {"apply": applied, "confirm": silent})
    result = lab.run()
    assert (result["failed"], result["confirmed"], result["changed"]) == (True, False, False)
    assert "given its former rules back by itself" in result["msg"]
    assert "timed out" in result["msg"]
    # It is asked again only after its timer.
    assert lab.clock.now == 60 + node_firewall.GRACE_SECONDS
    assert lab.calls[-2:] == ["reset", "true"]


def test_a_host_that_stays_silent_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(monkeypatch, {"apply": applied, "confirm": silent}, answers_again=False)
    assert "does not answer yet: still silent" in lab.run()["msg"]


def test_a_refused_confirmation_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(monkeypatch, {"apply": applied, "confirm": lambda _arguments: {"failed": True, "msg": "came too late"}})
    result = lab.run()
    assert (result["failed"], result["msg"]) == (True, "came too late")
    assert lab.calls == ["apply", "reset", "confirm"]
