# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When events have an etcd of their own, and what the control plane is told of it. Pure; docs/density.md explains it.

kube-apiserver's ``--etcd-servers-overrides`` names a group and a resource. ``/events`` is that of the core group, and ``events.k8s.io`` is stored with it:
they are cohabiting resources, of which the first is where both are kept (pkg/kubeapiserver/default_storage_factory_builder.go of Kubernetes 1.29 to 1.36).

Since 1.33 the apiserver's ``/livez`` and ``/readyz`` fail when an etcd of an override does (``etcd-override-0``, ``etcd-override-readiness-0``;
kubernetes/kubernetes#129438). Left so, the loss of events would be the loss of the API: load balancers would find no server that is ready, and every
kubelet would restart its apiserver. So whoever decides by them leaves these two out; an apiserver that does not have them takes no notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_control_plane

AUTO, ALWAYS, NEVER = "auto", "always", "never"
FLAG = "etcd-servers-overrides"
RESOURCE = "/events"
EXCLUDED = "exclude=etcd-override-0&exclude=etcd-override-readiness-0"
READY_PATH, LIVE_PATH = f"/readyz?{EXCLUDED}", "/livez?exclude=etcd-override-0"
# What kubeadm makes of a file of this name in its directory of patches (kubeadm.k8s.io/v1beta4, Patches).
PATCH_NAME = "kube-apiserver0+strategic.json"


def planned_pods(nodes: Mapping[int, int], planned_nodes: int = 0) -> int:
    """Pods that the cluster is planned for: nodes to come (``cluster_planned_nodes``) count as the densest, so that growth as planned changes nothing.

    :param nodes: how many nodes may carry so many pods: ``{pods: nodes}``.
    """
    more = max(0, planned_nodes - sum(nodes.values()))
    return sum(pods * count for pods, count in nodes.items()) + more * max(nodes, default=0)


def separate(mode: str, pods: int) -> bool:
    """Do events have an etcd of their own in a cluster for so many (planned) pods?"""
    return mode == ALWAYS or (mode == AUTO and pods >= density_control_plane.EVENTS_ETCD_PODS)


def override(endpoints: Iterable[str]) -> str:
    """The value of kube-apiserver's flag: ``/events#https://192.0.2.1:2382;https://192.0.2.2:2382``."""
    return f"{RESOURCE}#{';'.join(sorted(endpoints))}"


def probe_patches() -> dict[str, Mapping[str, Any]]:
    """kubeadm's patches, by file name: the kubelet's probes of the apiserver, without what it says of the events' etcd."""
    paths = {"livenessProbe": LIVE_PATH, "readinessProbe": READY_PATH, "startupProbe": LIVE_PATH}
    probes = {name: {"httpGet": {"path": path}} for name, path in paths.items()}
    return {PATCH_NAME: {"spec": {"containers": [{"name": "kube-apiserver", **probes}]}}}
