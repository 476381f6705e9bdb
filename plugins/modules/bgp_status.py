#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask one BGP speaker what it has, and compare it with what is expected."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bgp_status
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
version_added: 0.1.0
short_description: Compare the BGP of a node or router with the plan
description:
  - Read-only, run on the speaker itself. On a node it asks Calico's BIRD over its control socket, on a router FRR by C(vtysh); both times also the kernel.
  - What comes back can be checked by a program; O(expected) lets the module check it.
options:
  speaker:
    description: C(bird) on nodes under Calico, C(frr) on routers.
    type: str
    choices: [bird, frr]
    required: true
  families:
    description: Address families.
    type: list
    elements: int
    choices: [4, 6]
    default: [4]
  expected:
    description: What must be true. What is not given is not checked.
    type: dict
    default: {}
    suboptions:
      sessions: {description: Addresses of neighbours whose sessions must be Established., type: list, elements: str}
      received: {description: "Prefixes that must have come from a neighbour, by its address.", type: dict}
      allowed: {description: "Networks inside which everything must be that came from a neighbour, by its address.", type: dict}
      ecmp: {description: "Least number of next hops in use, by prefix.", type: dict}
      next_hops: {description: "Addresses over which alone a prefix may be routed, by prefix; a route must be there.", type: dict}
  state:
    description: C(proven) waits and fails with what is not true; C(observed) asks once and only tells.
    type: str
    choices: [proven, observed]
    default: observed
  wait_seconds:
    description: How long C(proven) waits.
    type: int
    default: 60
extends_documentation_fragment:
  - bare_metal.kubernetes.read_only
"""

EXAMPLES = r"""
- name: Prove that a router hears a node's block and spreads over two nodes
  bare_metal.kubernetes.bgp_status:
    speaker: frr
    state: proven
    expected:
      sessions: [192.0.2.31]
      received: {192.0.2.31: [10.244.0.64/26]}
      ecmp: {203.0.113.0/24: 2}
"""

RETURN = r"""
sessions:
  description: State of each session by the neighbour's address.
  type: dict
  returned: always
  sample: {192.0.2.254: Established}
received:
  description: Prefixes that came from each neighbour.
  type: dict
  returned: always
sent:
  description: Number of prefixes that each neighbour was given.
  type: dict
  returned: always
paths:
  description: Next hops in use by prefix.
  type: dict
  returned: always
routes:
  description: Next hops in the kernel by prefix; none for routes of the host's own.
  type: dict
  returned: always
problems:
  description: What is not as expected, in words. Empty when all is.
  type: list
  elements: str
  returned: always
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _bgp as bgp
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._calico import CalicoStatusError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._proof import patience, watch

EXPECTED = {
    "sessions": {"type": "list", "elements": "str"},
    "received": {"type": "dict"},
    "allowed": {"type": "dict"},
    "ecmp": {"type": "dict"},
    "next_hops": {"type": "dict"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "speaker": {"type": "str", "choices": ["bird", "frr"], "required": True},
            "families": {"type": "list", "elements": "int", "choices": [4, 6], "default": [4]},
            "expected": {"type": "dict", "options": EXPECTED, "default": {}},
            "state": {"type": "str", "choices": ["proven", "observed"], "default": "observed"},
            "wait_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    seconds = patience(wanted, module.check_mode)
    seen, wrong = watch(
        lambda: bgp.observe(wanted["speaker"], wanted["families"]),
        lambda speaker: bgp.problems(speaker, wanted["expected"]),
        bgp.Speaker(),
        CalicoStatusError,
        seconds,
    )
    result = {**asdict(seen), "problems": wrong}
    if wrong and seconds is not None:
        module.fail_json(msg=f"BGP is not as expected after {seconds:g} s: {'; '.join(wrong)}", **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
