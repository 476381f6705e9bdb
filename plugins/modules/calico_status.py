#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove one node's routing under Calico."""

from __future__ import annotations

DOCUMENTATION = r"""
module: calico_status
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
version_added: 0.1.0
short_description: Prove one node's routing under Calico
description:
  - Read-only, run on the node itself. Asks BIRD for its BGP sessions over the control socket, the kernel for its
    routes, and the API (with the CNI plugin's credentials) for the address blocks of all nodes.
  - Proven means that every session is Established and that every block of another node has a next hop.
options:
  node:
    description: Name of this node in the cluster.
    type: str
    required: true
  peers:
    description:
      - Addresses of the routers that the node must speak with.
      - Empty means that every session which BIRD has must stand.
    type: list
    elements: str
    default: []
  nodes:
    description: Names of the nodes whose blocks must be routed. Empty means all.
    type: list
    elements: str
    default: []
  bgp:
    description: Whether BIRD runs on the node; false where packets are encapsulated and nobody speaks BGP.
    type: bool
    default: true
  families:
    description: Address families.
    type: list
    elements: int
    choices: [4, 6]
    default: [4]
  state:
    description: C(proven) waits and fails with what is missing; C(observed) asks once and only tells.
    type: str
    choices: [proven, observed]
    default: observed
  wait_seconds:
    description: How long C(proven) waits.
    type: int
    default: 120
  kubeconfig:
    description: Credentials that may list address blocks.
    type: path
    default: /etc/cni/net.d/calico-kubeconfig
attributes:
  check_mode:
    support: full
    description: Asks once and fails never.
  diff_mode:
    support: none
    description: It only reads.
"""

EXAMPLES = r"""
- name: Verify | Prove the node's sessions and routes
  bare_metal.kubernetes.calico_status:
    node: worker1
    peers: [192.0.2.254]
    state: proven
"""

RETURN = r"""
sessions:
  description: The BGP sessions.
  type: list
  elements: dict
  returned: always
  sample: [{neighbor: 192.0.2.254, as_number: 64601, state: Established, imported: 5, exported: 2, error: ''}]
blocks:
  description: All address blocks and their nodes.
  type: list
  elements: dict
  returned: always
  sample: [{cidr: 10.244.0.0/26, node: worker1}]
routes:
  description: Routes of protocol C(bird).
  type: list
  elements: dict
  returned: always
problems:
  description: What is missing, in words. Empty when all is proven.
  type: list
  elements: str
  returned: always
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _calico as calico
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._proof import patience, watch


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "peers": {"type": "list", "elements": "str", "default": []},
            "nodes": {"type": "list", "elements": "str", "default": []},
            "bgp": {"type": "bool", "default": True},
            "families": {"type": "list", "elements": "int", "choices": [4, 6], "default": [4]},
            "state": {"type": "str", "choices": ["proven", "observed"], "default": "observed"},
            "wait_seconds": {"type": "int", "default": 120},
            "kubeconfig": {"type": "path", "default": calico.CNI_KUBECONFIG},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    seconds = patience(wanted, module.check_mode)
    status, missing = watch(
        lambda: calico.observe(wanted["families"], wanted["kubeconfig"], wanted["bgp"]),
        lambda seen: calico.problems(
            wanted["node"], wanted["peers"], seen.sessions, seen.blocks, seen.routes, wanted["nodes"]
        ),
        calico.Status((), (), ()),
        calico.CalicoStatusError,
        seconds,
    )
    result = {
        "sessions": [asdict(session) for session in status.sessions],
        "blocks": [asdict(block) for block in status.blocks],
        "routes": [asdict(route) for route in status.routes if route.protocol == "bird"],
        "problems": missing,
    }
    if missing and seconds is not None:
        module.fail_json(msg=f"Node {wanted['node']} is not routed after {seconds:g} s: {'; '.join(missing)}", **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
