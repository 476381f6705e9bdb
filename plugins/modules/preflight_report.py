# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file documents the action plugin of the same name; the work is done on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_report
short_description: Judge all machines together, in one report
version_added: 0.1.0
description:
  - Puts what M(bare_metal.kubernetes.machine_info) found on every host, and what only shows when hosts are compared (duplicates, clocks,
    kernels, MTU, versions), into one report, prints it, and fails when a host has an error. With C(run_once) that ends the run for all hosts,
    so nothing is changed anywhere.
  - Hosts that were not reached or could not be examined are findings too. C(docs/preflight.md) explains every check.
  - Runs on the controller and opens no connection.
options:
  hosts:
    description:
      - Hosts that were to be examined, by name, as P(bare_metal.kubernetes.preflight_hosts#filter) gives them.
      - "C(answer): what M(bare_metal.kubernetes.machine_info) returned, with O(bare_metal.kubernetes.machine_info#module:return_problems), or its failure."
      - "C(waivers): reasons by name of the check. What concerns several hosts is waived when all of them waive it."
      - "C(rack) and C(node_ip)."
    type: dict
    required: true
  groups:
    description: The inventory's groups with their hosts, of which C(control_plane), C(etcd), C(workers) and the groups inside C(workers) (the pools) are read.
    type: dict
    default: {}
  max_clock_skew_seconds:
    description: A clock that is further off than this is an error; from one second on it is a warning.
    type: float
    default: 300.0
  versions:
    description:
      - What a run would install, as P(bare_metal.kubernetes.bundle_target#filter) gives it. The steps from the versions that live are judged by it;
        what is empty is not.
    type: dict
    default: {}
    suboptions:
      kubernetes: {description: Version of Kubernetes., type: str, default: ""}
      etcd: {description: Version of etcd., type: str, default: ""}
      containerd: {description: Version of containerd., type: str, default: ""}
      known_kubernetes: {description: All versions of Kubernetes in the lock file's set., type: list, elements: str, default: []}
      known_etcd: {description: All versions of etcd in the lock file., type: list, elements: str, default: []}
  path:
    description: File on the controller for the report as JSON; empty writes none.
    type: path
    default: ""
attributes:
  check_mode: {description: It only reads; the JSON is written in check mode too., support: full}
  diff_mode: {description: It changes no host., support: none}
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Preflight | Report on all machines, and refuse the run when one does not fit
  bare_metal.kubernetes.preflight_report:
    hosts: "{{ ansible_play_hosts_all | bare_metal.kubernetes.preflight_hosts(hostvars, 'machine_answer') }}"
    groups: "{{ groups }}"
  run_once: true
"""

RETURN = r"""
error_count: {description: Number of errors., returned: always, type: int}
warning_count: {description: Number of warnings., returned: always, type: int}
waived_count: {description: Number of waived findings., returned: always, type: int}
hosts: {description: Hosts of the report., returned: always, type: list, elements: str}
findings:
  description: "Each with C(level) (C(error), C(warning), C(waived)), C(check), C(hosts), C(what), C(found), C(why), C(fix) and the waiver's C(reason)."
  returned: always
  type: list
  elements: dict
"""
