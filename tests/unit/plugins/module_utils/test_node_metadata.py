"""Labels, annotations and taints of nodes: what changes, and what never does."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_metadata as rules

KUBEADM = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
OURS = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
THEIRS = {"key": "theirs", "value": "x", "effect": "NoExecute"}
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"}


def node(
    labels: dict[str, str] | None = None,
    owned: dict[str, list[str]] | None = None,
    taints: t.Sequence[t.Any] = (),
    **notes: str,
) -> dict[str, t.Any]:
    annotations = dict(notes)
    if owned is not None:
        annotations[rules.OWNED] = json.dumps(owned, sort_keys=True)
    meta = {"name": "n", "resourceVersion": "7", "labels": labels or {}, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {"taints": list(taints)}}


def changed(plan: rules.NodePlan) -> dict[str, tuple[str | None, str | None]]:
    return {f"{one.field} {one.key}": (one.before, one.after) for one in plan.changes if one.key != rules.OWNED}


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        (node(), {}, {}),
        (node({"a": "1"}), {"labels": {"a": "1"}}, {}),
        (node(), {"labels": {"a": 1, "role": None}}, {"labels a": (None, "1"), "labels role": (None, "")}),
        (node({"a": "1"}), {"labels": {"a": "2"}}, {"labels a": ("1", "2")}),
        (node({"a": "1", "theirs": "x"}, {"labels": ["a"]}), {}, {"labels a": ("1", None)}),
        (node({"theirs": "x"}, {"labels": ["gone"]}), {}, {}),
        (node(x="1"), {"annotations": {"x": "2"}}, {"annotations x": ("1", "2")}),
        (node(None, {"annotations": ["x"]}, x="1"), {"annotations": {}}, {"annotations x": ("1", None)}),
        (node({"theirs": "x", "b": "y"}), {"absent_labels": ["theirs", "gone"]}, {"labels theirs": ("x", None)}),
        # taints: null leaves them alone, a list decides over ours and kubeadm's
        (node(taints=[KUBEADM, THEIRS]), {"taints": None}, {}),
        (
            node(taints=[KUBEADM, THEIRS, NOT_READY]),
            {"taints": []},
            {
                "taints node-role.kubernetes.io/control-plane:NoSchedule": (
                    "node-role.kubernetes.io/control-plane=:NoSchedule",
                    None,
                )
            },
        ),
        (node(taints=[KUBEADM]), {"taints": [KUBEADM]}, {}),
        (node(), {"taints": [OURS]}, {"taints dedicated:NoSchedule": (None, "dedicated=db:NoSchedule")}),
        (
            node(taints=[{**OURS, "value": "old"}]),
            {"taints": [OURS]},
            {"taints dedicated:NoSchedule": ("dedicated=old:NoSchedule", "dedicated=db:NoSchedule")},
        ),
        (
            node(owned={"taints": ["dedicated:NoSchedule"]}, taints=[OURS, THEIRS]),
            {"taints": None},
            {"taints dedicated:NoSchedule": ("dedicated=db:NoSchedule", None)},
        ),
    ],
)
def test_changes(live: dict[str, t.Any], wanted: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    assert changed(rules.plan(live, wanted)) == expected


def apply(live: dict[str, t.Any], patch: t.Any) -> t.Any:
    """A merge patch, as RFC 7386 defines it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply(result.get(key, {}), value)
    return result


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"labels": {"a": "1"}, "annotations": {"b": "2"}, "taints": [OURS]},
        {"labels": {"a": "1"}, "taints": []},
        {"taints": [KUBEADM, OURS]},
    ],
)
def test_after_its_own_patch_nothing_is_left_to_do_and_others_keep_theirs(wanted: dict[str, t.Any]) -> None:
    start = node(
        {"theirs": "x", "old": "1"},
        {"labels": ["old"], "taints": ["old:NoSchedule"]},
        [KUBEADM, THEIRS, NOT_READY],
        note="y",
    )
    after = apply(start, rules.plan(start, wanted).patch)
    assert rules.plan(after, wanted).changes == ()
    assert after["metadata"]["labels"]["theirs"] == "x"
    assert "old" not in after["metadata"]["labels"]
    assert after["metadata"]["annotations"]["note"] == "y"
    assert THEIRS in after["spec"]["taints"]
    assert NOT_READY in after["spec"]["taints"], "with its time, as it was"
    emptied = apply(after, rules.plan(after, {"taints": None}).patch)
    assert rules.owned_of(emptied) == {"labels": [], "annotations": [], "taints": []}
    assert emptied["metadata"]["labels"] == {"theirs": "x"}


def test_a_patch_is_bound_to_the_version_that_was_seen() -> None:
    patch = rules.plan(node(), {"labels": {"a": "1"}}).patch
    assert patch["metadata"]["resourceVersion"] == "7"
    assert rules.plan(node(), {}).patch == {}


@pytest.mark.parametrize("note", ["not json", "[]", '{"labels": 5}', '"x"'])
def test_a_note_that_cannot_be_read_owns_nothing(note: str) -> None:
    live = node({"a": "1"})
    live["metadata"]["annotations"][rules.OWNED] = note
    assert changed(rules.plan(live, {})) == {}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("text", "wanted is"),
        ({"label": {}}, "wanted is"),
        ({"labels": {"a b": "x"}}, "'a b' is not a key"),
        ({"labels": {"Upper.case/x": "x"}}, "is not a key"),
        ({"labels": {"a": "no spaces"}}, "label 'a' has the value 'no spaces'"),
        ({"annotations": {"-x": "any thing"}}, "'-x' is not a key"),
        ({"taints": [{"key": "a", "effect": "Never"}]}, "a taint is"),
        ({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}, "set by the control plane"),
    ],
)
def test_what_the_api_would_refuse_is_refused_before(wanted: t.Any, words: str) -> None:
    (problem,) = rules.validate({"n": wanted})
    assert problem.startswith("n: ")
    assert words in problem


def test_valid_metadata_has_no_problem() -> None:
    good = {"labels": {"a.b/c": "", "x": "Y_1.2-z"}, "annotations": {"a": "any thing: {}"}, "taints": [OURS, KUBEADM]}
    assert rules.validate({"n": good, "m": {"taints": None}}) == []


def test_the_diff_names_node_field_and_key() -> None:
    plan = rules.plan(node({"a": "1"}, {"labels": ["a"]}, [KUBEADM]), {"labels": {"b": "2"}, "taints": []})
    diff = rules.diff_of(plan.changes)
    assert "n labels: a=1\n" in diff["before"]
    assert "n labels: b=2\n" in diff["after"]
    assert "n taints: node-role.kubernetes.io/control-plane=:NoSchedule\n" in diff["before"]
