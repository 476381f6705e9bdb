# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reports of the playbooks ``policy_test`` and ``network_policies``: what was let through, and what would be cut. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import policy_verdict

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """``lines`` for the terminal, ``data`` for JSON, ``wrong``: what fails the run."""

    lines: tuple[str, ...]
    data: Mapping[str, Any]
    wrong: tuple[str, ...] = ()


def tested(
    facts: Object,
    wanted: Iterable[Object],
    results: Mapping[str, Object],
    api: Iterable[str] = (),
    limit: int = 400,
) -> Outcome:
    """Judge what the nodes tried. A trial without an outcome is wrong too: its node gave no answer."""
    objects = list(wanted)
    trials = policy_verdict.trials_of(facts, objects, tuple(api), limit=limit)
    outcomes = {key: said for result in results.values() for key, said in (result.get("outcomes") or {}).items()}
    rows = [(trial, outcomes.get(trial.id, "error: its node gave no answer")) for trial in trials]
    wrong = [reason for trial, outcome in rows if (reason := policy_verdict.judged(trial, outcome))]
    seen = policy_verdict.picture(facts, objects)
    idle = sorted(policy_verdict.untested(seen.pods, seen.wanted, seen.rules.namespaces))
    missing = sorted(
        f"{policy['metadata']['namespace']}/{policy['metadata']['name']} is not in the cluster, or says something else"
        for policy in seen.wanted
        if not any(_same(policy, live) for live in facts["policies"])
    )
    others = policy_verdict.left_over(facts, objects)
    passes = sum(trial.passes for trial, _outcome in rows)
    lines = [
        f"{len(rows)} connections tried: {passes} had to pass, {len(rows) - passes} had not to; {len(wrong)} went otherwise",
        *(f"  - {line}" for line in [*missing, *wrong]),
        *([f"not tried, because no running pod is selected: {', '.join(idle)}"] if idle else []),
        *(
            [f"policies of others in described namespaces, which were reckoned with: {', '.join(others)}"]
            if others
            else []
        ),
    ]
    data = {
        "tried": [{"connection": trial.id, "must_pass": trial.passes, "outcome": outcome} for trial, outcome in rows],
        "wrong": [*missing, *wrong],
        "untested": idle,
        "others": others,
    }
    nothing = [] if rows or not objects else ["no running pod has an end in a described namespace: nothing was tried"]
    return Outcome((*lines, *nothing), data, (*missing, *wrong))


def _same(policy: Object, live: Object) -> bool:
    keys = ("namespace", "name")
    return all(policy["metadata"][key] == live["metadata"][key] for key in keys) and _without_defaults(
        policy["spec"]
    ) == _without_defaults(live["spec"])


def _without_defaults(value: Any) -> Any:
    # The API keeps an empty podSelector as {} and leaves nothing else out.
    if isinstance(value, Mapping):
        return {key: _without_defaults(entry) for key, entry in value.items() if entry is not None}
    return [_without_defaults(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def foreseen(
    facts: Object, wanted: Iterable[Object], results: Mapping[str, Object], node_addresses: Mapping[str, str]
) -> Outcome:
    """List which of the connections that the nodes have seen would be cut.

    :param node_addresses: ``{address: node}``.
    """
    seen = policy_verdict.picture(facts, wanted)
    tracked = [entry for result in results.values() for entry in result.get("connections") or []]
    connections = policy_verdict.seen_connections(tracked, seen.pods, seen.services)
    cut = policy_verdict.would_be_cut(connections, seen.rules, node_addresses)
    blind = sorted(f"{host}: {result['error']}" for host, result in results.items() if result.get("error"))
    lines = [
        f"{len(connections)} connections with pods seen, {len(cut)} of them would be cut",
        *(
            f"  - {connection} (by the {end.lower()} policies of its {'source' if end == policy_verdict.EGRESS else 'target'})"
            for connection, end in cut
        ),
        *(f"  could not look: {line}" for line in blind),
    ]
    data = {
        "seen": len(connections),
        "would_be_cut": [{"connection": str(connection), "end": end} for connection, end in cut],
        "not_seen": blind,
    }
    return Outcome(tuple(lines), data, tuple(f"could not look: {line}" for line in blind))
