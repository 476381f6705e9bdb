# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which labels, annotations and taints the inventory wants on each node. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.calico import DEFAULT_AS_NUMBER, RACK_LABEL

AS_NUMBER_ANNOTATION = "projectcalico.org/ASNumber"
CONTROL_PLANE_ROLE = "node-role.kubernetes.io/control-plane"
WORKER_ROLE = "node-role.kubernetes.io/worker"


def wanted(
    hostvars: Mapping[str, Mapping[str, Any]],
    control_plane: Collection[str],
    workers: Collection[str],
    network_plugin: str,
) -> dict[str, Any]:
    """``{node: {labels, annotations, taints}}`` of all nodes, in the order of their names.

    Labels are the node's roles, its rack and ``cluster_node_labels``; the annotation is the node's AS for Calico.
    Without a word in
    ``cluster_node_taints`` a control plane that is not a worker too keeps kubeadm's taint, and a worker's taints are
    left alone.
    """
    found = {}
    for host in sorted({*control_plane, *workers}):
        values = hostvars[host]
        labels: dict[str, str] = {}
        if host in control_plane:
            labels[CONTROL_PLANE_ROLE] = ""
        if host in workers:
            labels[WORKER_ROLE] = ""
        if values.get("cluster_rack"):
            labels[RACK_LABEL] = str(values["cluster_rack"])
        own = {
            str(key): "" if value is None else str(value)
            for key, value in (values.get("cluster_node_labels") or {}).items()
        }
        taints = values.get("cluster_node_taints")
        if taints is None and host in control_plane:
            taints = [] if host in workers else [{"key": CONTROL_PLANE_ROLE, "effect": "NoSchedule"}]
        annotations = {}
        if network_plugin == "calico":
            annotations[AS_NUMBER_ANNOTATION] = str(int(values.get("cluster_bgp_as_number") or DEFAULT_AS_NUMBER))
        found[host] = {"labels": {**labels, **own}, "annotations": annotations, "taints": taints}
    return found
