#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module node_usage: what a node uses of what it has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_usage
short_description: Read how much of its limits a node uses
version_added: 0.1.0
description:
  - Reads from C(/proc) what is used of inotify, process numbers, connections, neighbours, open files and keys against the kernel's limits, memory and
    CPU of kubelet, containerd, its shims, pods and the rest, and the kernel's count of processes that were killed for want of memory.
  - Changes nothing and judges nothing.
options: {}
extends_documentation_fragment:
  - bare_metal.kubernetes.read_only
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Read what a node uses
  bare_metal.kubernetes.node_usage:
  register: usage
"""

RETURN = r"""
usage:
  description: C(at), C(limits) (C(used) and C(limit) by name), C(parameters), C(parts), C(memory_mib), C(oom_kills), C(links), C(cpus).
  returned: always
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._node_usage import observe


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, usage={**observe(), "at": time.time()})


if __name__ == "__main__":
    main()
