#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file documents the action plugin of the same name; the work is done on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: density_report
short_description: Judge a density benchmark and report
version_added: 0.1.0
description:
  - Judges what M(bare_metal.kubernetes.density_benchmark) and M(bare_metal.kubernetes.node_usage) saw against gates, prints a table, writes it as JSON and as
    an HTML page with plots where a path is given, and fails with every gate that was not passed and why. Runs on the controller and opens no connection.
  - Without O(benchmark) it only checks the gates and the report to compare with, so that a typing error shows before an hour of load and not after it.
options:
  benchmark:
    description: What M(bare_metal.kubernetes.density_benchmark) returned as RV(ignore:benchmark).
    type: dict
    default: {}
  usage:
    description: By node, what M(bare_metal.kubernetes.node_usage) returned C(before), at C(peak) and C(after).
    type: dict
    default: {}
  outside:
    description: By host, what M(bare_metal.kubernetes.node_probe) saw of the LoadBalancer address.
    type: dict
    default: {}
  restart:
    description: What was seen of a restart; empty when there was none.
    type: dict
    default: {}
  drain:
    description: What was seen of a drain; empty when there was none.
    type: dict
    default: {}
  cleaned:
    description: What was seen when the load was taken away.
    type: dict
    default: {}
  settings:
    description: How the benchmark was run, for the report.
    type: dict
    required: true
  gates:
    description: Limits by the gate's name, over the defaults. Null turns a gate off.
    type: dict
    default: {}
  cluster:
    description: Name of the cluster, for the report.
    type: str
    default: kubernetes
  path:
    description: File on the controller for the report as JSON; empty writes none.
    type: path
    default: ""
  page_path:
    description: File on the controller for an HTML page that loads nothing from elsewhere; empty writes none.
    type: path
    default: ""
  compare_path:
    description: An earlier report (JSON) to compare with; empty compares with none.
    type: path
    default: ""
attributes:
  check_mode: {description: 'It changes no host; the files that are asked for are written on the controller.', support: full}
  diff_mode: {description: It changes nothing., support: none}
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Judge and report
  bare_metal.kubernetes.density_report:
    benchmark: "{{ density.benchmark }}"
    settings: {workload: web, rate: 5, probe_delay_seconds: 0}
    gates: {pod_start_p99_seconds: 10, limits_share: null}
    page_path: density.html
  run_once: true
"""

RETURN = r"""
gates:
  description: Every gate with its verdict, limit, what was found and the reason.
  returned: always, with O(benchmark)
  type: list
  elements: dict
failed_gates:
  description: Names of the gates that were not passed.
  returned: always, with O(benchmark)
  type: list
  elements: str
"""
