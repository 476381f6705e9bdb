"""What the inventory says of Node objects."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.node_registration import registration, registrations

TAINT = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("variables", "worker", "calico", "labels", "annotations", "taints"),
    [
        ({}, False, True, {}, {}, None),
        ({}, True, True, {"node-role.kubernetes.io/worker": ""}, {}, None),
        ({"cluster_rack": "r1"}, False, True, {"bare-metal.kubernetes/rack": "r1"}, {}, None),
        ({"cluster_node_labels": {"gpu": True}}, False, True, {"gpu": "True"}, {}, None),
        ({"cluster_bgp_as_number": 64701}, False, True, {}, {"projectcalico.org/ASNumber": "64701"}, None),
        ({"cluster_bgp_as_number": 64701}, False, False, {}, {}, None),
        ({"cluster_node_taints": []}, False, True, {}, {}, []),
        ({"cluster_node_taints": [TAINT]}, False, True, {}, {}, [TAINT]),
    ],
)
def test_registration(
    variables: dict[str, Any],
    worker: bool,
    calico: bool,
    labels: dict[str, str],
    annotations: dict[str, str],
    taints: Any,
) -> None:
    assert registration(variables, worker, calico) == {"labels": labels, "annotations": annotations, "taints": taints}


def test_a_control_plane_is_no_worker_and_the_order_is_by_name() -> None:
    found = registrations(["w", "c"], ["c"], {"w": {}, "c": {}}, True)
    assert list(found) == ["c", "w"]
    assert "node-role.kubernetes.io/worker" not in found["c"]["labels"]
