#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove one node's network under Cilium."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cilium_status
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
version_added: 0.1.0
short_description: Prove one node's network under Cilium
description:
  - Read-only, run on the node itself. Asks the agent over its socket for its health, its BGP sessions and the ranges of all nodes, and the kernel for
    its routes.
  - Proven means that the agent is well, that every session is Established, and that every range of O(routed_nodes) has a route.
options:
  node:
    description: Name of this node in the cluster.
    type: str
    required: true
  peers:
    description: Addresses of the routers that the node must speak with.
    type: list
    elements: str
    default: []
  routed_nodes:
    description: Names of the nodes whose ranges this node must route itself. Empty where its routers know them.
    type: list
    elements: str
    default: []
  replaces_kube_proxy:
    description:
      - Whether the agent is to carry the Services in kube-proxy's place. What is not given is not asked for.
      - With V(true) the node is also looked at for what kube-proxy has left, RV(kube_proxy).
    type: bool
  state:
    description: C(proven) waits and fails with what is missing; C(observed) asks once and only tells.
    type: str
    choices: [proven, observed]
    default: observed
  wait_seconds:
    description: How long C(proven) waits.
    type: int
    default: 120
  agent_socket:
    description: The agent's socket.
    type: path
    default: /var/run/cilium/cilium.sock
attributes:
  check_mode:
    support: full
    description: Asks once and fails never.
  diff_mode:
    support: none
    description: It only reads.
"""

EXAMPLES = r"""
- name: Verify | Prove the node's agent and sessions
  bare_metal.kubernetes.cilium_status:
    node: worker1
    peers: [192.0.2.254]
    state: proven
"""

RETURN = r"""
health:
  description: The agent's own word, C(Ok) when it is well.
  type: str
  returned: always
sessions:
  description: The BGP sessions.
  type: list
  elements: dict
  returned: always
  sample: [{neighbor: 192.0.2.254, as_number: 64601, state: Established, imported: 5, exported: 2, error: ''}]
ranges:
  description: The ranges of all nodes.
  type: list
  elements: dict
  returned: always
  sample: [{node: worker1, cidr: 10.244.0.0/24}]
replaces_kube_proxy:
  description: Whether the agent carries the Services; null where it does not say.
  type: bool
  returned: always
kube_proxy:
  description: What there is of kube-proxy on a node whose agent is to take its place, in words; M(bare_metal.kubernetes.kube_proxy) takes it away.
  type: list
  elements: str
  returned: always
  sample: ['nftables: table ip kube-proxy']
problems:
  description: What is missing, in words. Empty when all is proven.
  type: list
  elements: str
  returned: always
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _cilium as cilium
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kube_proxy as kube_proxy
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._proof import patience, watch


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "peers": {"type": "list", "elements": "str", "default": []},
            "routed_nodes": {"type": "list", "elements": "str", "default": []},
            "replaces_kube_proxy": {"type": "bool"},
            "state": {"type": "str", "choices": ["proven", "observed"], "default": "observed"},
            "wait_seconds": {"type": "int", "default": 120},
            "agent_socket": {"type": "path", "default": cilium.AGENT_SOCKET},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    seconds = patience(wanted, module.check_mode)
    status, missing = watch(
        lambda: cilium.observe(wanted["agent_socket"], bgp=bool(wanted["peers"])),
        lambda seen: cilium.problems(
            wanted["node"], wanted["peers"], wanted["routed_nodes"], seen, wanted["replaces_kube_proxy"]
        ),
        cilium.Status("unknown", "", (), (), ()),
        cilium.CiliumStatusError,
        seconds,
    )
    try:
        left = kube_proxy.observe() if wanted["replaces_kube_proxy"] else kube_proxy.Left()
    except kube_proxy.KubeProxyError as exc:
        module.fail_json(msg=str(exc))
    result = {
        "health": status.health,
        "sessions": [asdict(session) for session in status.sessions],
        "ranges": [asdict(entry) for entry in status.ranges],
        "replaces_kube_proxy": status.replaces_kube_proxy,
        "kube_proxy": left.words,
        "problems": missing,
    }
    if missing and seconds is not None:
        module.fail_json(
            msg=f"Node {wanted['node']} is not well under Cilium after {seconds:g} s: {'; '.join(missing)}", **result
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
