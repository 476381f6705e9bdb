# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file documents the action plugin of the same name; the work is done on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: policy_report
short_description: Report what NetworkPolicies let through, or would cut
version_added: 0.1.0
description:
  - Judges what M(bare_metal.kubernetes.policy_probe) tried on all nodes against the policies that are wanted, and fails with every connection that went
    otherwise; or lists which of the connections that were seen the wanted policies would cut. Runs on the controller and opens no connection.
options:
  about:
    description: V(test) judges trials, V(cut) lists what would be cut.
    type: str
    choices: [test, cut]
    required: true
  facts:
    description: The C(facts) of M(bare_metal.kubernetes.policy_facts).
    type: dict
    required: true
  objects:
    description: What P(bare_metal.kubernetes.network_policy_objects#filter) made.
    type: list
    elements: dict
    required: true
  results:
    description: What M(bare_metal.kubernetes.policy_probe) returned, by host.
    type: dict
    required: true
  nodes:
    description: Addresses of the nodes, by name; a node may always reach the pods that it runs itself.
    type: dict
    default: {}
  api:
    description: Addresses of the API servers.
    type: list
    elements: str
    default: []
  limit:
    description: As it was given to P(bare_metal.kubernetes.network_policy_trials#filter).
    type: int
    default: 400
  path:
    description: File on the controller for the report as JSON; empty writes none.
    type: path
    default: ""
attributes:
  check_mode: {description: 'It changes no host; the file that is asked for is written on the controller.', support: full}
  diff_mode: {description: It changes nothing., support: none}
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Report what would be cut
  bare_metal.kubernetes.policy_report:
    about: cut
    facts: "{{ policy_facts.facts }}"
    objects: "{{ objects }}"
    results: "{{ results_by_host }}"
  run_once: true
"""

RETURN = r"""
wrong:
  description: Connections that went otherwise than the policies say, and wanted policies that the cluster does not have.
  returned: when O(about=test)
  type: list
  elements: str
would_be_cut:
  description: Connections that were seen and that the wanted policies cut.
  returned: when O(about=cut)
  type: list
  elements: dict
"""
