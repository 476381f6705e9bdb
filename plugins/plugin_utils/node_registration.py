# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says of the Node objects: labels, taints, annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bgp, node_local_dns

RACK_LABEL = "bare-metal.kubernetes/rack"
WORKER_LABEL = "node-role.kubernetes.io/worker"
# What kubeadm gives a control plane. Neither MetalLB nor Calico announces LoadBalancer addresses from a node with this label.
CONTROL_PLANE_TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
# Calico reads a node's AS number from here (Kubernetes datastore).
AS_ANNOTATION = "projectcalico.org/ASNumber"


def registration(variables: Mapping[str, Any], worker: bool, calico: bool, reflector: bool = False) -> dict[str, Any]:
    """Metadata of one node from its host's variables.

    :param variables: ``cluster_rack``, ``cluster_node_labels``, ``cluster_node_taints``, ``cluster_bgp_as_number``, and what decides about a DNS cache;
        each may be absent.
    :param worker: the host is a worker and no control plane.
    :param calico: Calico is the network plugin and wants to know the node's AS.
    :param reflector: the node reflects routes, which Calico reads from a label (by which peers select it) and an annotation.
    :returns: ``{labels: {..}, absent_labels: [..], annotations: {..}, taints: [..] or None}``; None leaves a worker's taints alone. A control plane
        has kubeadm's taint unless the inventory says otherwise; one that runs pods (``[]``) may carry LoadBalancer addresses too.
    """
    taints = variables.get("cluster_node_taints")
    if taints is None and not worker:
        taints = [CONTROL_PLANE_TAINT]
    runs_pods = worker or not taints
    labels = {WORKER_LABEL: ""} if worker else {} if runs_pods else {EXCLUDE_LABEL: ""}
    rack = variables.get("cluster_rack")
    if rack:
        labels[RACK_LABEL] = str(rack)
    labels.update({str(key): str(value) for key, value in (variables.get("cluster_node_labels") or {}).items()})
    if node_local_dns.wanted_of(variables):
        labels[node_local_dns.LABEL] = ""
    as_number = variables.get("cluster_bgp_as_number")
    annotations = {AS_ANNOTATION: str(as_number)} if calico and as_number else {}
    if reflector:
        labels[bgp.REFLECTOR_LABEL] = ""
        annotations[bgp.REFLECTOR_ANNOTATION] = bgp.REFLECTOR_CLUSTER_ID
    absent = [EXCLUDE_LABEL] if runs_pods and not worker and EXCLUDE_LABEL not in labels else []
    return {"labels": labels, "absent_labels": absent, "annotations": annotations, "taints": taints}


def registrations(
    hosts: Iterable[str],
    control_plane: Iterable[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    calico: bool,
    reflectors: Iterable[str] = (),
) -> dict[str, dict[str, Any]]:
    """:func:`registration` of each host, by name."""
    controllers, reflecting = set(control_plane), set(reflectors)
    return {
        host: registration(hostvars[host], host not in controllers, calico, host in reflecting)
        for host in sorted(hosts)
    }
