#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does one step of moving the API's address of a live cluster, on one node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_move
short_description: Move the programs of a live cluster to another address of the API
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - The steps of playbook C(bare_metal.kubernetes.api_endpoint_move) on one node. Both endpoints, the wanted one and those that are asked until now, stand
    beside each other while they are done.
  - Nothing is remembered between runs. What stands and whom the node's kubeconfigs ask says what is left to do.
options:
  state:
    description:
      - V(observed) says what stands on this node and whom its programs ask.
      - V(proven) waits until the wanted endpoint answers this node, asked with the kubelet's credentials; on a control plane also until its own API server has
        a certificate with the endpoint's name.
      - V(moved) proves it, then points the node's kubeconfigs at it and restarts what reads them (the kubelet, and a controller manager or scheduler that
        does not ask its own API server). A kubelet that does not renew its lease afterwards gets its old file back.
      - V(stored) changes what joining nodes are told (ConfigMap C(cluster-info)) and waits until kube-proxy's pods are all of the newest kind. Once for the
        cluster, on a control plane.
      - V(settled) waits until nothing on this node asks at O(others) any more, and fails with what still does.
      - V(absent) stops and removes what O(mode) does not have on this node.
    type: str
    choices: [observed, proven, moved, stored, settled, absent]
    required: true
  mode:
    description: The wanted C(cluster_api_endpoint_mode). Needed but for V(observed).
    type: str
    choices: [local, keepalived, bgp_anycast, external]
    default: local
  address:
    description: The wanted address. Needed but for V(observed).
    type: str
    default: ""
  port:
    description: The wanted port.
    type: int
    default: 6443
  others:
    description: The endpoints that nobody may ask any more, for V(settled), each with C(mode), C(address) and C(port).
    type: list
    elements: dict
    default: []
  node:
    description: Name of this node in the cluster.
    type: str
    default: ""
  control_plane:
    description: Whether this node is a control plane.
    type: bool
    default: false
  cut:
    description: Let connections of programs go on that are none of the cluster's, for V(settled). They are cut when the old endpoint goes.
    type: bool
    default: false
  wait_seconds:
    description: How long to wait for each proof.
    type: int
    default: 120
  state_dir:
    description: Where the operating system's own files are kept.
    type: path
    default: /var/lib/bare-metal-kubernetes
attributes:
  check_mode: {description: 'Says what would be done. Proofs are made once, and only told: the endpoint may not stand yet.', support: full}
  diff_mode: {description: Shows servers before and after; of kubeconfigs nothing else., support: full}
"""

EXAMPLES = r"""
- name: Run | Point this node's programs at the endpoint
  bare_metal.kubernetes.endpoint_move:
    state: moved
    mode: keepalived
    address: 192.0.2.100
    port: 8443
    node: "{{ inventory_hostname }}"
"""

RETURN = r"""
steps: {description: 'What was, or would be, done.', returned: always, type: list, elements: str}
problems: {description: What is not true yet., returned: always, type: list, elements: str}
facts:
  description: 'What stands and who asks: C(standing) (C(parts), C(binds), C(vrrp), C(announced)), C(own), C(clients), C(due), C(nodes).'
  returned: when O(state=observed)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _endpoint_move_run as shell
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._control_plane import Paths
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._endpoint_move import (
    PARTS_OF,
    Endpoint,
    EndpointMoveError,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kubeadm import KubeadmError

ACTIONS = {
    "proven": shell.prove,
    "moved": shell.move,
    "stored": shell.store,
    "settled": shell.settle,
    "absent": shell.remove,
}


def main() -> None:
    """Observe, plan, act, report."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["observed", *ACTIONS], "required": True},
            "mode": {"type": "str", "choices": list(PARTS_OF), "default": "local"},
            "address": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 6443},
            "others": {"type": "list", "elements": "dict", "default": []},
            "node": {"type": "str", "default": ""},
            "control_plane": {"type": "bool", "default": False},
            "cut": {"type": "bool", "default": False},
            "wait_seconds": {"type": "int", "default": 120},
            "state_dir": {"type": "path", "default": "/var/lib/bare-metal-kubernetes"},
        },
        required_if=[("state", state, ("address",)) for state in ACTIONS],
        supports_check_mode=True,
    )
    asked = module.params
    if asked["state"] == "observed":
        module.exit_json(changed=False, steps=[], problems=[], facts=shell.facts(Paths(), asked["control_plane"]))
    request = shell.Request(
        Endpoint(asked["mode"], asked["address"], asked["port"]),
        asked["node"],
        tuple(Endpoint(one["mode"], one["address"], int(one["port"])) for one in asked["others"]),
        asked["control_plane"],
        asked["wait_seconds"],
        module.check_mode,
        asked["state_dir"],
        asked["cut"],
    )
    try:
        outcome = ACTIONS[asked["state"]](request)
    except (EndpointMoveError, KubeadmError, CommandError, KubeApiError, OSError) as exc:
        module.fail_json(msg=str(exc))
    diff = {"diff": list(outcome.diff)} if module._diff else {}
    module.exit_json(changed=bool(outcome.steps), steps=list(outcome.steps), problems=list(outcome.problems), **diff)


if __name__ == "__main__":
    main()
