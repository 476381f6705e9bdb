# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file documents the action plugin of the same name; the work is done on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_report
short_description: Report over the disks that were measured on several hosts
version_added: 0.1.0
description:
  - Prints one table over what M(bare_metal.kubernetes.fio_qualification) returned on every host, writes it as JSON and as an HTML page with plots where a
    path is given, and fails with the names and reasons of the disks that are not enough. Runs on the controller and opens no connection.
options:
  results:
    description: What M(bare_metal.kubernetes.fio_qualification) returned, by host; empty for a host that was not reached.
    type: dict
    required: true
  required_verdict:
    description: A worse verdict is a failure, and so is no verdict. V(any) only reports. What check mode did not measure is no failure.
    type: str
    choices: [any, pass, good, excellent]
    default: pass
  max_p99_ms:
    description: The gate, for the plots.
    type: float
    default: 10
  path:
    description: File on the controller for the report as JSON; empty writes none.
    type: path
    default: ""
  plot_path:
    description: File on the controller for an HTML page that loads nothing from elsewhere; empty writes none.
    type: path
    default: ""
attributes:
  check_mode: {description: 'It changes no host; the files that are asked for are written on the controller.', support: full}
  diff_mode: {description: It changes nothing., support: none}
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Report over the disks of all hosts
  bare_metal.kubernetes.disk_report:
    results: "{{ results_by_host }}"
    plot_path: disks.html
  run_once: true
"""

RETURN = r"""
verdicts:
  description: The verdict by host; V(missing) for a host without a result.
  returned: always
  type: dict
failed_count:
  description: Number of disks that are not enough.
  returned: always
  type: int
"""
