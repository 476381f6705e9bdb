"""Bringing metadata to nodes that others change meanwhile."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_metadata_run as run
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApiError


class Nodes:
    """The nodes of a cluster; ``conflicts`` patches are refused first, and each refusal comes with a change by somebody
    else.
    """

    def __init__(self, *names: str, conflicts: int = 0, status: int = 409) -> None:
        self.nodes = {name: self._node(name) for name in names}
        self.conflicts = conflicts
        self.status = status
        self.patches: list[t.Any] = []
        self.lists = 0

    @staticmethod
    def _node(name: str) -> dict[str, t.Any]:
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "resourceVersion": "1", "labels": {}}}

    def list(self, *_kind: str) -> t.Any:
        self.lists += 1
        if self.lists == 3:
            self.nodes["late"] = self._node("late")
        return list(self.nodes.values())

    def get(self, _api_version: str, _kind: str, name: str) -> dict[str, t.Any]:
        return self.nodes[name]

    def patch(self, node: dict[str, t.Any], patch: dict[str, t.Any]) -> None:
        if self.conflicts:
            self.conflicts -= 1
            name = node["metadata"]["name"]
            version = str(int(node["metadata"]["resourceVersion"]) + 1)
            self.nodes[name] = {**node, "metadata": {**node["metadata"], "resourceVersion": version}}
            raise KubeApiError("changed", self.status, "Conflict")
        self.patches.append(patch)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "POLL_SECONDS", 0.01)


def cast(nodes: Nodes) -> t.Any:
    return nodes


def test_nodes_are_waited_for_until_they_register() -> None:
    api = Nodes("a")
    assert sorted(run.live_nodes(cast(api), ["a", "late"], 5)) == ["a", "late"]


def test_who_does_not_register_in_time_is_missing() -> None:
    assert sorted(run.live_nodes(cast(Nodes("a", "other")), ["a", "never"], 0)) == ["a"]


def test_a_node_is_patched_once_and_only_when_something_differs() -> None:
    api = Nodes("a")
    run.bring(cast(api), api.nodes["a"], {"labels": {"x": "1"}})
    assert [patch["metadata"]["labels"] for patch in api.patches] == [{"x": "1"}]
    run.bring(cast(api), api.nodes["a"], {})
    assert len(api.patches) == 1


def test_a_conflict_is_planned_anew_on_what_is_there_then() -> None:
    api = Nodes("a", conflicts=3)
    run.bring(cast(api), api.nodes["a"], {"labels": {"x": "1"}})
    assert api.patches[0]["metadata"]["resourceVersion"] == "4"


@pytest.mark.parametrize(("conflicts", "status"), [(run.CONFLICTS_BORNE + 1, 409), (1, 403)])
def test_conflicts_without_end_and_other_refusals_are_errors(conflicts: int, status: int) -> None:
    api = Nodes("a", conflicts=conflicts, status=status)
    with pytest.raises(KubeApiError):
        run.bring(cast(api), api.nodes["a"], {"labels": {"x": "1"}})
    assert api.patches == []
