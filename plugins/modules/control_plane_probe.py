#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a control plane what it is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_probe
short_description: Ask a control plane what it is
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Looks at the host's files, its kubelet and its own apiserver. Changes nothing and never fails, because a host where nothing stands yet is an answer too.
  - Register the result as C(control_plane_probe), from which P(bare_metal.kubernetes.elect_leader#filter) names the run's leader.
options: {}
attributes:
  check_mode: {description: It only reads., support: full}
  diff_mode: {description: It changes nothing., support: none}
"""

EXAMPLES = r"""
- name: Assert | Ask each control plane what it is
  bare_metal.kubernetes.control_plane_probe:
  register: control_plane_probe
"""

RETURN = r"""
probe:
  description: What was found.
  returned: always
  type: dict
  contains:
    reachable: {description: Always true., type: bool}
    started: {description: Something of a control plane stands on this host., type: bool}
    healthy: {description: Its own apiserver says that it is ready., type: bool}
    initialised: {description: That apiserver knows a cluster., type: bool}
    member: {description: Nothing of a whole control plane is missing., type: bool}
    version: {description: 'Version of that apiserver, V(v1.36.3) for instance.', type: str}
    node_name: {description: Name of the host's Node., type: str}
"""

import socket
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._control_plane import Paths, probe


def main() -> None:
    """Look and report."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, probe=asdict(probe(Paths(), socket.gethostname())))


if __name__ == "__main__":
    main()
