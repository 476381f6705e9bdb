# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file documents the action plugin of the same name; the work is done on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: verification_report
short_description: Judge what the probes saw of a cluster
version_added: 0.1.0
description:
  - Compares what the inventory wants with what M(bare_metal.kubernetes.cluster_probe) and M(bare_metal.kubernetes.node_probe) saw, prints one row a
    statement and fails with the names of those that are not true. Runs on the controller and opens no connection.
options:
  wanted:
    description: What should be there, see C(Wanted) in C(plugins/plugin_utils/verification.py).
    type: dict
    required: true
  cluster:
    description: What M(bare_metal.kubernetes.cluster_probe) returned as C(observation).
    type: dict
    required: true
  hosts:
    description: What M(bare_metal.kubernetes.node_probe) returned as C(observation), by host.
    type: dict
    required: true
  domain:
    description: DNS domain of the cluster.
    type: str
    default: cluster.local
  path:
    description: File on the controller for the report as JSON; empty writes none.
    type: path
    default: ""
  preview:
    description: Report, and do not fail for what is not true. For check mode, where a run has not made true what it would.
    type: bool
    default: false
extends_documentation_fragment:
  - bare_metal.kubernetes.read_only
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Judge what was seen
  bare_metal.kubernetes.verification_report:
    wanted: "{{ wanted }}"
    cluster: "{{ cluster_observation }}"
    hosts: "{{ host_observations }}"
  run_once: true
"""

RETURN = r"""
rows:
  description: "One entry a statement: C(check), C(subject), C(result) (C(ok), C(failed), C(skipped)) and C(detail)."
  returned: when nothing failed
  type: list
  elements: dict
failed_count:
  description: Number of failed statements.
  returned: always
  type: int
"""
