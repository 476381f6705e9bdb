# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look after kubelets' serving certificates: approve what :mod:`_kubelet_csr` judges right, and see what is served."""

from __future__ import annotations

import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubelet_csr as rules
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError

# A kubelet whose request is refused keeps waiting for it for a quarter of an hour; one that was just restarted asks
# anew at once.
REFUSED_GRACE_SECONDS = 15.0
POLL_SECONDS = 1.0
THREADS = 16


@dataclass(frozen=True)
class Outcome:
    """What was approved (or would be), what was refused, and which nodes serve no certificate of the CA, with why."""

    approved: tuple[rules.Verdict, ...]
    refused: tuple[rules.Verdict, ...]
    unsigned: dict[str, str]

    @property
    def refusals(self) -> list[str]:
        """The refused requests in words."""
        return [
            f"request {verdict.request} of {verdict.node} is not approved: {'; '.join(verdict.reasons)}"
            for verdict in self.refused
        ]

    def to_dict(self) -> dict[str, t.Any]:
        """The module's result."""
        return {
            "changed": bool(self.approved),
            "approved": [{"request": verdict.request, "node": verdict.node} for verdict in self.approved],
            "refused": [
                {"request": verdict.request, "node": verdict.node, "reasons": list(verdict.reasons)}
                for verdict in self.refused
            ],
            "unsigned": self.unsigned,
        }


class Certificates:
    """The serving certificates of a cluster's kubelets.

    :param nodes: by name, the addresses (the first one is where the kubelet is asked) and further names it may claim.
    """

    def __init__(self, api: KubeApi, nodes: t.Mapping[str, t.Sequence[str]], *, port: int = rules.KUBELET_PORT) -> None:
        self.api = api
        self.nodes = nodes
        self.port = port

    def _unsigned(self) -> dict[str, str]:
        with ThreadPoolExecutor(THREADS) as pool:
            asked = {
                name: pool.submit(rules.serving_problem, self.nodes[name][0], self.api.authority, port=self.port)
                for name in sorted(self.nodes)
            }
            return {name: future.result() for name, future in asked.items() if future.result()}

    def _judge(self) -> list[tuple[dict[str, t.Any], rules.Verdict]]:
        requests = rules.pending(self.api.list(rules.API_VERSION, rules.KIND))
        return [(entry, rules.judge(entry, self.nodes)) for entry in requests]

    def observe(self) -> Outcome:
        """Tell what would be approved now."""
        verdicts = [verdict for _entry, verdict in self._judge()]
        return Outcome(
            tuple(verdict for verdict in verdicts if verdict.approved),
            tuple(verdict for verdict in verdicts if not verdict.approved),
            self._unsigned(),
        )

    def _approve(self, entry: dict[str, t.Any]) -> None:
        try:
            self.api.replace(rules.approval(entry), subresource="approval")
        except KubeApiError as exc:
            if exc.status not in (404, 409):  # judged by somebody else meanwhile
                raise

    def bring(self, wait_seconds: float) -> Outcome:
        """Approve what comes until every kubelet serves a certificate of the CA, or the time is over."""
        begun = time.monotonic()
        approved: dict[str, rules.Verdict] = {}
        while True:
            judged = self._judge()
            for entry, verdict in judged:
                if verdict.approved:
                    self._approve(entry)
                    approved[verdict.request] = verdict
            refused = [verdict for _entry, verdict in judged if not verdict.approved]
            left = self._unsigned()
            served = {verdict.node for verdict in approved.values()}
            hopeless = any(verdict.node in left and verdict.node not in served for verdict in refused)
            patience = min(wait_seconds, REFUSED_GRACE_SECONDS) if hopeless else wait_seconds
            if not left or time.monotonic() - begun > patience:
                return Outcome(tuple(approved.values()), tuple(refused), left)
            time.sleep(POLL_SECONDS)
