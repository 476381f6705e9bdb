"""Looking after serving certificates, against an API and kubelets that live in memory."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubelet_csr as rules
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubelet_csr_run as run
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApiError

NODES = {"w1": ["192.0.2.31"], "w2": ["192.0.2.32"]}


class World:
    """An API with requests, and kubelets that serve a signed certificate once theirs is approved.

    A request is judged by its name: ``good-w1`` is right and of node w1, ``bad-w1`` is wrong.
    """

    authority = b"CA"

    def __init__(self, *requests: str, signed: t.Iterable[str] = (), later: t.Sequence[str] = ()) -> None:
        self.requests = list(requests)
        self.signed = set(signed)
        self.later = list(later)
        self.conflict = False

    def list(self, _api_version: str, _kind: str) -> list[dict[str, t.Any]]:
        found = [{"metadata": {"name": name}, "spec": {"signerName": rules.SIGNER}} for name in self.requests]
        self.requests += self.later
        self.later = []
        return found

    def replace(self, obj: dict[str, t.Any], *, subresource: str) -> None:
        assert subresource == "approval"
        if self.conflict:
            self.conflict = False
            raise KubeApiError("changed", 409, "Conflict")
        self.requests.remove(obj["metadata"]["name"])
        self.signed.add(obj["metadata"]["name"].partition("-")[2])


@pytest.fixture()
def make(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., tuple[World, run.Certificates]]:
    def build(*requests: str, **state: t.Any) -> tuple[World, run.Certificates]:
        world = World(*requests, **state)

        def judge(entry: dict[str, t.Any], nodes: t.Mapping[str, t.Any]) -> rules.Verdict:
            quality, _dash, node = entry["metadata"]["name"].partition("-")
            known = node in nodes
            reasons = () if known and quality == "good" else ("wrong",)
            return rules.Verdict(entry["metadata"]["name"], node, known, reasons)

        def serving(address: str, authority: bytes, *, port: int) -> str:
            assert (authority, port) == (b"CA", 10250)
            node = next(name for name, addresses in NODES.items() if addresses[0] == address)
            return "" if node in world.signed else "self-signed"

        monkeypatch.setattr(rules, "judge", judge)
        monkeypatch.setattr(rules, "serving_problem", serving)
        monkeypatch.setattr(run, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(run, "REFUSED_GRACE_SECONDS", 0.05)
        return world, run.Certificates(t.cast(t.Any, world), NODES)

    return build


def test_what_is_right_is_approved_and_waited_for(make: t.Any) -> None:
    _world, work = make("good-w1", later=["good-w2"])
    outcome = work.bring(5)
    assert [verdict.request for verdict in outcome.approved] == ["good-w1", "good-w2"]
    assert (outcome.unsigned, outcome.refused) == ({}, ())
    assert outcome.to_dict()["changed"] is True


def test_where_every_kubelet_serves_a_signed_certificate_nothing_changes(make: t.Any) -> None:
    _world, work = make(signed=NODES)
    assert work.bring(5).to_dict() == {"changed": False, "approved": [], "refused": [], "unsigned": {}}


def test_a_renewal_is_approved_too(make: t.Any) -> None:
    _world, work = make("good-w1", signed=NODES)
    assert work.bring(5).to_dict()["approved"] == [{"request": "good-w1", "node": "w1"}]


def test_a_wrong_request_ends_the_wait_early_and_is_told(make: t.Any) -> None:
    _world, work = make("bad-w1", "good-w2")
    outcome = work.bring(60)
    assert outcome.unsigned == {"w1": "self-signed"}
    assert outcome.refusals == ["request bad-w1 of w1 is not approved: wrong"]


def test_a_wrong_request_beside_a_right_one_does_no_harm(make: t.Any) -> None:
    _world, work = make("bad-w1", "good-w1", signed=["w2"])
    outcome = work.bring(5)
    assert outcome.unsigned == {}
    assert [verdict.request for verdict in outcome.refused] == ["bad-w1"]


def test_a_stranger_is_told_and_not_waited_for(make: t.Any) -> None:
    _world, work = make("good-stranger", signed=NODES)
    outcome = work.bring(5)
    assert not outcome.approved
    assert outcome.refusals == ["request good-stranger of stranger is not approved: wrong"]


def test_who_never_asks_is_named_when_the_time_is_over(make: t.Any) -> None:
    _world, work = make("good-w1")
    assert work.bring(0.05).unsigned == {"w2": "self-signed"}


def test_a_conflict_is_tried_again(make: t.Any) -> None:
    world, work = make("good-w1", signed=["w2"])
    world.conflict = True
    assert work.bring(5).unsigned == {}


def test_observing_approves_nothing(make: t.Any) -> None:
    world, work = make("good-w1", "bad-w2")
    outcome = work.observe()
    assert [verdict.request for verdict in outcome.approved] == ["good-w1"]
    assert world.requests == ["good-w1", "bad-w2"]
    assert sorted(outcome.unsigned) == ["w1", "w2"]
