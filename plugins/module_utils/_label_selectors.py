# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label selectors as the inventory writes them: ``{match_labels: {key: value}, match_expressions: [{key, operator, values}]}``.

Pure. The meaning is Kubernetes' own (Labels and Selectors, "Resources that support set-based requirements"): all parts of a selector have to hold,
one selector of a list is enough, an empty list selects everything.
"""

from __future__ import annotations

import typing as t

Selector = t.Mapping[str, t.Any]
Labels = t.Mapping[str, str]

WITH_VALUES = ("In", "NotIn")
OPERATORS = (*WITH_VALUES, "Exists", "DoesNotExist")


def _expression_holds(expression: t.Mapping[str, t.Any], labels: Labels) -> bool:
    key, operator = expression["key"], expression["operator"]
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    within = labels.get(key) in (expression.get("values") or ())
    # A label that is not there is in no set, so NotIn holds.
    return within if operator == "In" else not within


def matches(selector: Selector, labels: Labels) -> bool:
    """Do all requirements of one selector hold? An empty one holds for everything."""
    return all(labels.get(key) == str(value) for key, value in (selector.get("match_labels") or {}).items()) and all(
        _expression_holds(expression, labels) for expression in selector.get("match_expressions") or ()
    )


def selected(selectors: t.Optional[t.Sequence[Selector]], labels: Labels) -> bool:
    """Does one selector of a list hold? No selectors select everything."""
    return not selectors or any(matches(selector, labels) for selector in selectors)


def as_object(selector: Selector) -> t.Dict[str, t.Any]:
    """The selector as the API writes it (``metav1.LabelSelector``)."""
    found: t.Dict[str, t.Any] = {}
    if selector.get("match_labels"):
        found["matchLabels"] = {str(key): str(value) for key, value in selector["match_labels"].items()}
    if selector.get("match_expressions"):
        found["matchExpressions"] = [
            {key: list(value) if key == "values" else value for key, value in expression.items() if value is not None}
            for expression in selector["match_expressions"]
        ]
    return found


def problem_of(selector: Selector) -> str:
    """Why the API would refuse a selector; empty when it would not."""
    if not selector.get("match_labels") and not selector.get("match_expressions"):
        return "has neither match_labels nor match_expressions"
    for expression in selector.get("match_expressions") or ():
        with_values = expression["operator"] in WITH_VALUES
        if with_values != bool(expression.get("values")):
            return f"has the operator {expression['operator']} with{'out' if with_values else ''} values"
    return ""
