# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read nodes and bring their metadata to them; what to change is planned by :mod:`_node_metadata`."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_metadata as rules
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError

CONFLICTS_BORNE = 5
POLL_SECONDS = 1.0
Object = dict[str, t.Any]


def live_nodes(api: KubeApi, names: t.Sequence[str], wait_seconds: float) -> dict[str, Object]:
    """Return the Node objects of ``names`` once all are there, or those that are there when the time is over."""
    until = time.monotonic() + wait_seconds
    while True:
        found = {node["metadata"]["name"]: node for node in api.list("v1", "Node")}
        if set(names) <= set(found) or time.monotonic() > until:
            return {name: found[name] for name in names if name in found}
        time.sleep(POLL_SECONDS)


def bring(api: KubeApi, node: Object, wanted: t.Mapping[str, t.Any]) -> None:
    """Patch one node, planning anew as often as others change it meanwhile.

    :raises KubeApiError: the API refuses, or the conflicts do not end.
    """
    for attempt in range(CONFLICTS_BORNE + 1):
        patch = rules.plan(node, wanted).patch
        if not patch:
            return
        try:
            api.patch(node, patch)
            return
        except KubeApiError as exc:
            if exc.status != 409 or attempt == CONFLICTS_BORNE:
                raise
        node = api.get("v1", "Node", node["metadata"]["name"]) or node
