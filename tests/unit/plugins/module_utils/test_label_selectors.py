"""What selectors select, as Kubernetes' documentation has it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _label_selectors as core

LABELS = {"rack": "a", "tier": "web", "empty": ""}


def expression(key: str, operator: str, *values: str) -> dict[str, t.Any]:
    return {"match_expressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"match_labels": {"rack": "a"}}, True),
        ({"match_labels": {"rack": "a", "tier": "db"}}, False),
        ({"match_labels": {"zone": ""}}, False),
        ({"match_labels": {"empty": ""}}, True),
        (expression("rack", "In", "a", "b"), True),
        (expression("rack", "In", "b"), False),
        (expression("zone", "In", "b"), False),
        (expression("rack", "NotIn", "a"), False),
        (expression("zone", "NotIn", "a"), True),
        (expression("rack", "Exists"), True),
        (expression("zone", "Exists"), False),
        (expression("rack", "DoesNotExist"), False),
        (expression("zone", "DoesNotExist"), True),
        ({"match_labels": {"rack": "a"}, **expression("tier", "In", "db")}, False),
    ],
)
def test_a_selector(selector: dict[str, t.Any], expected: bool) -> None:
    assert core.matches(selector, LABELS) is expected


def test_one_of_a_list_is_enough_and_none_selects_all() -> None:
    assert core.selected([{"match_labels": {"rack": "b"}}, {"match_labels": {"rack": "a"}}], LABELS)
    assert not core.selected([{"match_labels": {"rack": "b"}}], LABELS)
    assert core.selected([], LABELS)
    assert core.selected(None, LABELS)


def test_as_the_api_writes_it() -> None:
    selector = {"match_labels": {"a": "b"}, **expression("c", "In", "d"), "other": None}
    assert core.as_object(selector) == {
        "matchLabels": {"a": "b"},
        "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}],
    }
    assert core.as_object({"match_labels": {}, "match_expressions": []}) == {}


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ({}, "neither"),
        (expression("a", "In"), "In without values"),
        (expression("a", "Exists", "b"), "Exists with values"),
        (expression("a", "NotIn", "b"), ""),
    ],
)
def test_what_the_api_would_refuse(selector: dict[str, t.Any], words: str) -> None:
    assert words in core.problem_of(selector) if words else core.problem_of(selector) == ""
