# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a benchmark's load when its node restarts, or is drained."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_lease as leases
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_objects as objects
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_stages as stages
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, Object

PAUSE_SECONDS = 1.0
LOAD = f"{objects.ROLE}=load"


def came_back(pod: Object, since: float) -> bool:
    """Whether a pod is Ready with containers that started after ``since`` (seconds since the epoch, the kubelet's clock). Pure."""
    begun = stages.started_at(pod)
    return begun is not None and begun >= since and stages.is_ready(pod)


def _pods(api: KubeApi, node: str = "") -> t.List[Object]:
    try:
        return api.list("v1", "Pod", objects.NAMESPACE, labels=LOAD, fields=f"spec.nodeName={node}" if node else "")
    except KubeApiError as exc:
        if exc.unreachable:
            return []  # the API may be on the machine that restarts
        raise


def watch_return(api: KubeApi, node: str, since: float, count: int, seconds: float) -> t.Dict[str, t.Any]:
    """Wait until ``count`` pods of a node that restarted at ``since`` run anew and are Ready.

    :return: ``{node, wanted, returned, seconds, course, conditions}``; ``seconds`` counts from ``since``, None when they did not all return.
    """
    course: t.List[t.Tuple[float, int]] = []
    returned = 0
    while True:
        now = time.time()
        returned = sum(came_back(pod, since) for pod in _pods(api, node))
        course.append((round(now - since, 1), returned))
        if returned >= count or now - since > seconds:
            break
        time.sleep(PAUSE_SECONDS)
    return {
        "node": node,
        "wanted": count,
        "returned": returned,
        "seconds": course[-1][0] if returned >= count else None,
        "course": course,
    }


def count_on(api: KubeApi, node: str) -> int:
    """Pods of the load that are Ready on a node."""
    return sum(stages.is_ready(pod) for pod in _pods(api, node))


def drain(api: KubeApi, node: str, seconds: float) -> t.Dict[str, t.Any]:
    """Close a node, evict the benchmark's own pods from it and wait until as many are Ready elsewhere; then open it again.

    Only pods of Deployments come back. Other people's pods are not touched: this is no maintenance.

    :return: ``{node, evicted, moved, seconds, refused}``; ``seconds`` is None when not all came back.
    """
    name: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}
    wanted = sum(stages.is_ready(pod) for pod in _pods(api))
    begun = time.monotonic()
    moved: t.Optional[float] = None
    refused, evicted = 0, 0
    api.patch(
        name, {"metadata": {"annotations": {objects.CORDONED_ANNOTATION: "true"}}, "spec": {"unschedulable": True}}
    )
    try:
        for pod in _pods(api, node):
            eviction = {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": pod["metadata"]["name"], "namespace": objects.NAMESPACE},
            }
            path = f"/api/v1/namespaces/{objects.NAMESPACE}/pods/{pod['metadata']['name']}/eviction"
            answer = api.request("POST", path, body=eviction, judge=False)
            evicted += answer.status < 300
            refused += answer.status == 429
        elsewhere = 0
        while time.monotonic() < begun + seconds:
            elsewhere = sum(
                stages.is_ready(pod) and (pod.get("spec") or {}).get("nodeName") != node for pod in _pods(api)
            )
            if elsewhere >= wanted:
                moved = round(time.monotonic() - begun, 1)
                break
            time.sleep(PAUSE_SECONDS)
    finally:
        leases.uncordon(api)
    return {
        "node": node,
        "wanted": wanted,
        "evicted": evicted,
        "refused": refused,
        "elsewhere": elsewhere,
        "seconds": moved,
    }
