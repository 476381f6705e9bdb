# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels, annotations and taints of nodes: what to change so that ours are as wanted and everybody else's are left
alone.

What is ours is written on the node itself, in the annotation :data:`OWNED`: a key that was ours and is no longer wanted
is removed. Pure.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

Object = dict[str, t.Any]

OWNED = "bare-metal.kubernetes/owned-metadata"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
# Put there by kubeadm; a wanted list of taints decides over it as if it were ours.
KUBEADM_TAINTS = frozenset({"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"})
# Written by the control plane from a node's condition; nobody else's to set or remove.
RESERVED_TAINTS = "node.kubernetes.io/"
# kubernetes.io/docs/concepts/overview/working-with-objects/labels: syntax and character set
_NAME = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")
_PREFIX = re.compile(r"^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$")


@dataclass(frozen=True)
class Change:
    """One key that is not as wanted. ``field`` is ``labels``, ``annotations`` or ``taints``; None: there is (or shall
    be) none.
    """

    node: str
    field: str
    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class NodePlan:
    """What to do to one node: the changes, and the merge patch that makes them (empty: nothing to do)."""

    changes: tuple[Change, ...]
    patch: Object


def _key_problem(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if (slash and not _PREFIX.match(prefix)) or not _NAME.match(name):
        return f"'{key}' is not a key: [prefix/]name with at most 63 of a-z, A-Z, 0-9, '-', '_', '.' in the name"
    return ""


def _taint_problem(taint: t.Any) -> str:
    if not isinstance(taint, dict) or not taint.get("key") or taint.get("effect") not in EFFECTS:
        return f"a taint is {{key, value, effect: {'|'.join(EFFECTS)}}}, not {taint!r}"
    if str(taint["key"]).startswith(RESERVED_TAINTS):
        return f"taint '{taint['key']}' is set by the control plane itself"
    return _key_problem(str(taint["key"]))


def validate(nodes: t.Mapping[str, t.Any]) -> list[str]:
    """Say what is wrong with the wanted metadata, all at once."""
    found = []
    for node, wanted in sorted(nodes.items()):
        if not isinstance(wanted, dict) or set(wanted) - {"labels", "absent_labels", "annotations", "taints"}:
            found.append(f"{node}: wanted is {{labels, absent_labels, annotations, taints}}, not {wanted!r}")
            continue
        fields = ("labels", "absent_labels", "annotations")
        problems = [_key_problem(str(key)) for field in fields for key in wanted.get(field) or {}]
        problems += [
            f"label '{key}' is wanted and not wanted"
            for key in wanted.get("absent_labels") or []
            if key in (wanted.get("labels") or {})
        ]
        values = {key: str(value) for key, value in (wanted.get("labels") or {}).items() if value not in (None, "")}
        problems += [
            f"label '{key}' has the value '{value}': at most 63 of a-z, A-Z, 0-9, '-', '_', '.', an alphanumeric at both ends"
            for key, value in values.items()
            if not _NAME.match(value)
        ]
        problems += [_taint_problem(taint) for taint in wanted.get("taints") or []]
        found += [f"{node}: {problem}" for problem in problems if problem]
    return found


def _taint_key(taint: t.Mapping[str, t.Any]) -> str:
    """A node has one taint of each key and effect."""
    return f"{taint['key']}:{taint['effect']}"


def _clean(taint: t.Mapping[str, t.Any]) -> Object:
    value = taint.get("value")
    return {
        "key": str(taint["key"]),
        **({"value": str(value)} if value not in (None, "") else {}),
        "effect": taint["effect"],
    }


def _text(taint: t.Mapping[str, t.Any] | None) -> str | None:
    return None if taint is None else f"{taint['key']}={taint.get('value') or ''}:{taint['effect']}"


def owned_of(node: t.Mapping[str, t.Any]) -> dict[str, list[str]]:
    """Read which keys of a node are ours; an unreadable note owns nothing."""
    try:
        found = json.loads(((node.get("metadata") or {}).get("annotations") or {}).get(OWNED) or "{}")
        return {field: [str(key) for key in found.get(field) or []] for field in ("labels", "annotations", "taints")}
    except (ValueError, AttributeError, TypeError):
        return {"labels": [], "annotations": [], "taints": []}


def _map_changes(
    name: str, field: str, live: t.Mapping[str, str], wanted: t.Mapping[str, str], owned: t.Iterable[str]
) -> list[Change]:
    changes = [
        Change(name, field, key, live.get(key), value)
        for key, value in sorted(wanted.items())
        if live.get(key) != value
    ]
    gone = sorted(key for key in owned if key in live and key not in wanted)
    return changes + [Change(name, field, key, live[key], None) for key in gone]


def _taints_after(
    live: t.Sequence[Object], wanted: t.Sequence[Object] | None, owned: t.Collection[str]
) -> list[Object]:
    """The taints that the node shall have: others' in their order, then ours."""
    ours = {_taint_key(taint): _clean(taint) for taint in wanted or []}
    kept = []
    for taint in live:
        key = _taint_key(taint)
        replaced = key in ours or key in owned or (wanted is not None and taint["key"] in KUBEADM_TAINTS)
        if not replaced:
            kept.append(taint)
        elif key in ours and _text(taint) == _text(ours[key]):
            kept.append(taint)  # as wanted already: keeps its place and what else it carries
            ours.pop(key)
    return kept + list(ours.values())


def plan(node: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> NodePlan:
    """Plan one node.

    :param node: the Node object.
    :param wanted: ``{labels, absent_labels, annotations, taints}``. ``absent_labels`` go, whoever set them. ``taints`` null leaves them alone (but for
        those that were ours); a list is the whole of ours, and decides over kubeadm's own taint too: ``[]`` makes a control plane schedulable.
    """
    meta = node["metadata"]
    name, owned = meta["name"], owned_of(node)
    labels = {str(key): "" if value is None else str(value) for key, value in (wanted.get("labels") or {}).items()}
    annotations = {
        str(key): "" if value is None else str(value) for key, value in (wanted.get("annotations") or {}).items()
    }
    taints = wanted.get("taints")
    live_taints = (node.get("spec") or {}).get("taints") or []
    after_taints = _taints_after(live_taints, taints, owned["taints"])

    unwanted = {*owned["labels"], *map(str, wanted.get("absent_labels") or [])}
    changes = _map_changes(name, "labels", meta.get("labels") or {}, labels, unwanted)
    changes += _map_changes(name, "annotations", meta.get("annotations") or {}, annotations, owned["annotations"])
    before, after = ({_taint_key(taint): _text(taint) for taint in listed} for listed in (live_taints, after_taints))
    changes += [
        Change(name, "taints", key, before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]

    ours = {
        "labels": sorted(labels),
        "annotations": sorted(annotations),
        "taints": sorted(map(_taint_key, taints or [])),
    }
    note = json.dumps({field: keys for field, keys in ours.items() if keys}, sort_keys=True)
    noted = (meta.get("annotations") or {}).get(OWNED)
    if noted != note and (noted or note != "{}"):
        changes.append(Change(name, "annotations", OWNED, noted, note))
    return NodePlan(tuple(changes), _patch(meta.get("resourceVersion"), changes, after_taints))


def _patch(version: str | None, changes: t.Sequence[Change], taints: t.Sequence[Object]) -> Object:
    """A merge patch; the resource version makes a lost update impossible."""
    if not changes:
        return {}
    patch: Object = {"metadata": {"resourceVersion": version}}
    for change in changes:
        if change.field == "taints":
            patch["spec"] = {"taints": list(taints) or None}
        else:
            patch["metadata"].setdefault(change.field, {})[change.key] = change.after
    return patch


def diff_of(changes: t.Iterable[Change]) -> dict[str, str]:
    """Return one Ansible diff of all changes."""
    sides: dict[str, list[str]] = {"before": [], "after": []}
    for change in changes:
        for side, value in (("before", change.before), ("after", change.after)):
            if value is not None:
                text = value if change.field == "taints" else f"{change.key}={value}"
                sides[side].append(f"{change.node} {change.field}: {text}")
    return {side: "".join(f"{line}\n" for line in lines) for side, lines in sides.items()}
