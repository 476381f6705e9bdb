# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a list of objects to a cluster: observe all of them, plan, apply phase by phase, wait. The rules are in
:mod:`_manifests`.
"""

from __future__ import annotations

import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _manifests as rules
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    FIELD_MANAGER,
    KubeApi,
    KubeApiError,
)

THREADS = 6
POLL_SECONDS = 1.0
# What a new kind answers until every apiserver serves it, and an object until its webhook's server runs.
PASSING_STATUS = frozenset({0, 404, 429, 500, 502, 503, 504})
TROUBLED_PODS_SHOWN = 5
Object = dict[str, t.Any]


class NotReadyError(Exception):
    """Objects did not become ready in time; the message says which and why."""


@dataclass(frozen=True)
class Plan:
    """What is to be done: ``wanted`` in order of application, the changes among them, removals, and words for the user."""

    wanted: tuple[Object, ...]
    changes: tuple[rules.Change, ...]
    removals: tuple[rules.Change, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[rules.Change, ...]:
        return self.changes + self.removals


def plan_without_api(objects: t.Sequence[t.Any], owner: str) -> Plan:
    """Plan for a cluster that does not answer because it does not exist yet (check mode before the first run)."""
    wanted = rules.prepare(objects, owner)
    changes = [change for obj in wanted for change in (rules.change_of(obj, None, None),) if change]
    return Plan(tuple(wanted), tuple(changes), (), ("the API does not answer: every object is counted as new",))


class Manifests:
    """The objects of one owner in one cluster.

    :param timeout: seconds that definitions, custom resources (their webhooks) and, later, readiness may take; each.
    """

    def __init__(self, api: KubeApi, owner: str, *, timeout: float = 300.0) -> None:
        self.api = api
        self.owner = owner
        self.timeout = timeout

    # -- observe --

    def _observe(self, wanted: Object) -> rules.Change | None:
        ref = rules.ref_of(wanted)
        try:
            live = self.api.get(ref.api_version, ref.kind, ref.name, ref.namespace)
        except KubeApiError as exc:
            if exc.reason != "UnknownKind":
                raise
            live = None
        if live is None:
            return rules.change_of(wanted, None, None)
        custom = rules.phase(wanted) == rules.CUSTOM
        try:
            # A custom resource may not be judged at once: its definition or its webhook may be part of this very
            # change.
            would = self.api.apply(wanted, dry_run=True, deadline=0 if custom else None)
        except KubeApiError as exc:
            if not custom or exc.status not in PASSING_STATUS | {400, 422}:
                raise
            would = rules.merged(live, wanted)
        return rules.change_of(wanted, live, would)

    def _labelled(self, kind: tuple[str, str]) -> list[Object]:
        return self.api.list(*kind, labels=f"{rules.OWNER_LABEL}={self.owner}", metadata_only=True)

    def _removals(self, wanted: t.Sequence[Object]) -> tuple[list[rules.Change], list[str]]:
        with ThreadPoolExecutor(THREADS) as pool:
            found = [obj for group in pool.map(self._labelled, self.api.kinds(("list", "delete"))) for obj in group]
        return rules.prunable(found, wanted, FIELD_MANAGER)

    def plan(self, objects: t.Sequence[t.Any], *, prune: bool, immutable: t.Mapping[str, t.Sequence[str]]) -> Plan:
        """Compare everything with what is, read-only.

        :raises rules.ManifestError: invalid objects, or a change of a field that must stay as it is.
        """
        wanted = rules.prepare(objects, self.owner)
        with ThreadPoolExecutor(THREADS) as pool:
            changes = [change for change in pool.map(self._observe, wanted) if change]
        refused = rules.refused_changes(changes, immutable)
        if refused:
            raise rules.ManifestError("; ".join(refused))
        removals, warnings = self._removals(wanted) if prune else ([], [])
        return Plan(tuple(wanted), tuple(changes), tuple(removals), tuple(warnings))

    # -- act --

    def _apply(self, wanted: Object) -> None:
        until = time.monotonic() + self.timeout
        custom = rules.phase(wanted) == rules.CUSTOM
        while True:
            try:
                self.api.apply(wanted)
                return
            except KubeApiError as exc:
                if not custom or exc.status not in PASSING_STATUS or time.monotonic() + POLL_SECONDS > until:
                    raise
            time.sleep(POLL_SECONDS)

    def apply(self, plan: Plan) -> None:
        """Carry a plan out: phase by phase, definitions served before anything uses them, removals last."""
        changed = {(change.ref.api_version, change.ref) for change in plan.changes}
        todo = [obj for obj in plan.wanted if (obj["apiVersion"], rules.ref_of(obj)) in changed]
        with ThreadPoolExecutor(THREADS) as pool:
            for phase in range(rules.CUSTOM + 1):
                group = [obj for obj in todo if rules.phase(obj) == phase]
                list(pool.map(self._apply, group))
                if phase == rules.DEFINITIONS and group:
                    self.wait(group)
        for change in plan.removals:
            self.api.delete(
                {
                    "apiVersion": change.ref.api_version,
                    "kind": change.ref.kind,
                    "metadata": {"name": change.ref.name, "namespace": change.ref.namespace},
                }
            )

    # -- wait --

    def _live(self, obj: Object) -> Object | None:
        ref = rules.ref_of(obj)
        return self.api.get(ref.api_version, ref.kind, ref.name, ref.namespace)

    def present(self, objects: t.Iterable[Object]) -> list[Object]:
        """Those of ``objects`` that are there."""
        return [obj for obj in objects if self._live(obj) is not None]

    def _unready(self, obj: Object) -> str:
        live = self._live(obj)
        return "it is gone" if live is None else rules.not_ready(live)

    def wait(self, objects: t.Sequence[Object]) -> float:
        """Wait until all of ``objects`` are ready and return the seconds it took.

        :raises NotReadyError: names what is not ready, with its pods and their reasons.
        """
        begun = time.monotonic()
        left = {rules.ref_of(obj): obj for obj in objects}
        while True:
            reasons = {ref: self._unready(obj) for ref, obj in left.items()}
            left = {ref: obj for ref, obj in left.items() if reasons[ref]}
            passed = time.monotonic() - begun
            if not left:
                return passed
            if passed > self.timeout:
                raise NotReadyError(
                    f"not ready after {passed:.0f} s: "
                    + "; ".join(f"{ref}: {reasons[ref]}{self._pods(obj)}" for ref, obj in left.items())
                )
            time.sleep(POLL_SECONDS)

    def _pods(self, workload: Object) -> str:
        # Of a workload of others no more than the name is given.
        selector = rules.selector_text(self._live(workload) or workload)
        if not selector:
            return ""
        lines: list[str] = []
        namespace = rules.ref_of(workload).namespace
        for pod in self.api.list("v1", "Pod", namespace, labels=selector):
            if len(lines) >= TROUBLED_PODS_SHOWN or not rules.describe_pod(pod):
                continue
            fields = f"involvedObject.name={pod['metadata']['name']}"
            lines.append(rules.describe_pod(pod, self.api.list("v1", "Event", namespace, fields=fields)))
        return f" [{' | '.join(lines)}]" if lines else " [it has no pods that are not ready]"
