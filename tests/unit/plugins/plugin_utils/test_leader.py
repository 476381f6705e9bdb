"""Election tables: who acts for the cluster, whatever the order of the inventory."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.filter.leader import elect_leader
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.leader import (
    Candidate,
    LeaderError,
    candidate,
    elect,
)

LIVE = {"initialised": True, "healthy": True, "started": True}
SICK = {"initialised": True, "healthy": False, "started": True}
HALF = {"initialised": False, "healthy": True, "started": True}
EMPTY = {"initialised": False, "healthy": False, "started": False}

TABLE: list[tuple[str, dict[str, dict[str, bool] | None], str]] = [
    ("all live: first by name", {"a": LIVE, "b": LIVE, "c": LIVE}, "a"),
    ("the first is replaced by an empty machine", {"a": EMPTY, "b": LIVE, "c": LIVE}, "b"),
    ("the first is dead", {"a": None, "b": LIVE, "c": LIVE}, "b"),
    ("the first is half initialised, another is whole", {"a": HALF, "b": EMPTY, "c": LIVE}, "c"),
    ("a sick one gives way to a live one", {"a": SICK, "b": LIVE, "c": SICK}, "b"),
    ("all sick: go on with one that has the cluster", {"a": SICK, "b": SICK, "c": EMPTY}, "a"),
    ("an interrupted creation goes on where it began", {"a": EMPTY, "b": HALF, "c": EMPTY}, "b"),
    ("an interrupted creation: one that is ready first", {"a": SICK, "b": HALF, "c": EMPTY}, "b"),
    ("an interrupted creation, others silent", {"a": None, "b": HALF, "c": None}, "b"),
    ("nothing yet: first by name", {"a": EMPTY, "b": EMPTY, "c": EMPTY}, "a"),
]


@pytest.mark.parametrize(("_name", "probes", "leader"), TABLE, ids=[row[0] for row in TABLE])
def test_election_in_every_order(_name: str, probes: dict[str, Any], leader: str) -> None:
    for order in itertools.permutations(probes):
        assert elect(candidate(host, probes[host]) for host in order) == leader


def test_nobody_answered() -> None:
    with pytest.raises(LeaderError, match=r"no control plane answered a probe \(asked: a, b\)"):
        elect([Candidate("b", answered=False), Candidate("a", answered=False)])


def test_a_silent_control_plane_may_hold_the_cluster() -> None:
    with pytest.raises(LeaderError, match=r"no cluster was found on a, c, and b did not answer"):
        elect([candidate("a", EMPTY), candidate("b", None), candidate("c", EMPTY)])


def test_filter_reads_hostvars() -> None:
    hostvars: dict[str, Any] = {
        "a": {},
        "b": {"control_plane_probe": {"probe": LIVE, "changed": False}},
        "c": {"control_plane_probe": {"failed": True}},
    }
    assert elect_leader(["c", "b", "a"], hostvars) == "b"
    with pytest.raises(AnsibleFilterError, match="elect_leader: no control plane answered"):
        elect_leader(["a", "c"], hostvars)
