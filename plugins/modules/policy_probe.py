#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module policy_probe: connections from a node's pods."""

from __future__ import annotations

DOCUMENTATION = r"""
module: policy_probe
short_description: Try connections from a node's pods, and list those that are there
version_added: 0.1.0
description:
  - Opens TCP connections from inside the network of pods that run on this node, and closes them at once. Nothing is sent, no pod is changed.
  - Lists the connections that the node's kernel tracks, the server behind a Service's address resolved.
options:
  trials:
    description: What is to be tried.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Name of the trial in the result.
        type: str
        required: true
      namespace:
        description: Namespace of the pod that opens the connection. Pods of other nodes are told as an error.
        type: str
        required: true
      pod:
        description: Name of that pod.
        type: str
        required: true
      address:
        description: Address that is called.
        type: str
        required: true
      port:
        description: TCP port that is called.
        type: int
        required: true
      passes:
        description: What is expected. What goes otherwise is tried three times.
        type: bool
        required: true
  timeout_seconds:
    description: After so many seconds without an answer a connection counts as dropped.
    type: float
    default: 3.0
  observe_seconds:
    description: How long connections are looked at, once a second; 0 does not look.
    type: float
    default: 0
extends_documentation_fragment:
  - bare_metal.kubernetes.read_only
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Try a connection that a policy forbids
  bare_metal.kubernetes.policy_probe:
    trials:
      - {id: one, namespace: web, pod: web-0, address: 10.244.0.7, port: 8080, passes: false}
"""

RETURN = r"""
answer:
  description: C(outcomes) by id, V(connected), V(refused) (the target said no), V(dropped) or V(error) with its reason;
    C(connections) that were seen; C(error), why they could not be listed.
  returned: always
  type: dict
  sample: {outcomes: {one: dropped}, connections: [{protocol: tcp, source: 10.244.0.3, target: 10.244.0.7, port: 8080}], error: ''}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _policy_probe as probe


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "trials": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "id": {"type": "str", "required": True},
                    "namespace": {"type": "str", "required": True},
                    "pod": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "passes": {"type": "bool", "required": True},
                },
            },
            "timeout_seconds": {"type": "float", "default": 3.0},
            "observe_seconds": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    outcomes = probe.tried(wanted["trials"], wanted["timeout_seconds"])
    seen = (
        probe.tracked(wanted["observe_seconds"]) if wanted["observe_seconds"] > 0 else {"connections": [], "error": ""}
    )
    module.exit_json(changed=False, answer={"outcomes": outcomes, **seen})


if __name__ == "__main__":
    main()
