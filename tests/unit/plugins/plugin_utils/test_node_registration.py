"""What the inventory says of Node objects."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.node_registration import registration, registrations

TAINT = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}


EXCLUDED = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
KUBEADM = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]


@pytest.mark.parametrize(
    ("variables", "calico", "labels", "annotations"),
    [
        ({}, True, {}, {}),
        ({"cluster_rack": "r1"}, True, {"bare-metal.kubernetes/rack": "r1"}, {}),
        ({"cluster_node_labels": {"gpu": True}}, True, {"gpu": "True"}, {}),
        ({"cluster_bgp_as_number": 64701}, True, {}, {"projectcalico.org/ASNumber": "64701"}),
        ({"cluster_bgp_as_number": 64701}, False, {}, {}),
    ],
)
def test_labels_and_annotations(
    variables: dict[str, Any], calico: bool, labels: dict[str, str], annotations: dict[str, str]
) -> None:
    for worker, own in ((True, {"node-role.kubernetes.io/worker": ""}), (False, EXCLUDED)):
        found = registration(variables, worker, calico)
        assert (found["labels"], found["annotations"]) == ({**own, **labels}, annotations)


@pytest.mark.parametrize(
    ("wanted", "worker", "taints", "excluded", "absent"),
    [
        (None, True, None, False, False),
        ([], True, [], False, False),
        ([TAINT], True, [TAINT], False, False),
        # What kubeadm set on a control plane comes back when the inventory no longer asks for something else.
        (None, False, KUBEADM, True, False),
        ([TAINT], False, [TAINT], True, False),
        # A control plane that runs pods carries addresses too.
        ([], False, [], False, True),
    ],
)
def test_taints_decide_over_load_balancer_addresses(
    wanted: Any, worker: bool, taints: Any, excluded: bool, absent: bool
) -> None:
    found = registration({"cluster_node_taints": wanted}, worker, True)
    assert found["taints"] == taints
    assert (set(EXCLUDED) <= set(found["labels"]), found["absent_labels"] == list(EXCLUDED)) == (excluded, absent)


def test_a_label_of_the_inventory_wins() -> None:
    found = registration({"cluster_node_taints": [], "cluster_node_labels": EXCLUDED}, False, True)
    assert found["labels"] == EXCLUDED
    assert found["absent_labels"] == []


def test_a_control_plane_is_no_worker_and_the_order_is_by_name() -> None:
    found = registrations(["w", "c"], ["c"], {"w": {}, "c": {}}, True)
    assert list(found) == ["c", "w"]
    assert "node-role.kubernetes.io/worker" not in found["c"]["labels"]
