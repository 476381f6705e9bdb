#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module node_reset: take a cluster off a machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_reset
short_description: Take a cluster off a machine
version_added: 0.1.0
description:
  - Stops and removes what this collection and the cluster brought - pods, kubelet, etcd with its data, containerd with its images, network
    interfaces, rules, routes, files. What other software owns is left alone; a mount point stays, what is in it goes.
  - Files of the operating system that the collection replaced are put back as they were.
  - A machine that holds nothing of a cluster is not changed.
options:
  etcd_data_directory:
    description: Directory of the etcd member. Its data is destroyed.
    type: path
    default: /var/lib/etcd
  etcd_events_data_directory:
    description: Directory of the member that keeps the events, where they have an etcd of their own. Its data is destroyed.
    type: path
    default: /var/lib/etcd-events
  state_dir:
    description: Directory in which the collection remembers things.
    type: path
    default: /var/lib/bare-metal-kubernetes
  marked_directories:
    description: Directories in which the files that carry the collection's mark are removed.
    type: list
    elements: path
    default:
      - /etc/systemd/system
      - /etc/modules-load.d
      - /etc/sysctl.d
      - /etc/sysusers.d
      - /etc/haproxy
      - /etc/keepalived
      - /etc/systemd/networkd.conf.d
      - /etc/systemd/timesyncd.conf.d
      - /etc/NetworkManager/conf.d
attributes:
  check_mode:
    description: Says what would be taken away.
    support: full
  diff_mode:
    description: Lists the steps.
    support: full
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Take the cluster off this machine
  bare_metal.kubernetes.node_reset:
"""

RETURN = r"""
steps:
  description: What was done, or would be, in order.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._node_reset import act, observe, plan

MARKED = [
    "/etc/systemd/system",
    "/etc/modules-load.d",
    "/etc/sysctl.d",
    "/etc/sysusers.d",
    "/etc/haproxy",
    "/etc/keepalived",
    "/etc/systemd/networkd.conf.d",
    "/etc/systemd/timesyncd.conf.d",
    "/etc/NetworkManager/conf.d",
]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "etcd_data_directory": {"type": "path", "default": "/var/lib/etcd"},
            "etcd_events_data_directory": {"type": "path", "default": "/var/lib/etcd-events"},
            "state_dir": {"type": "path", "default": "/var/lib/bare-metal-kubernetes"},
            "marked_directories": {"type": "list", "elements": "path", "default": MARKED},
        },
        supports_check_mode=True,
    )
    asked = module.params
    where = (
        (asked["etcd_data_directory"], asked["etcd_events_data_directory"]),
        asked["state_dir"],
        asked["marked_directories"],
    )
    steps = plan(observe(*where))
    told = [f"{step.verb} {step.subject}" for step in steps]
    failures: dict = {}
    left = [] if module.check_mode else steps
    # Ending the runtime takes its mounts along, and uncovers others: observe again until nothing is left, or a round changes nothing.
    before = None
    while left and left != before:
        for step in left:
            try:
                act(step, asked["state_dir"])
            except (CommandError, OSError) as exc:
                failures[step] = str(exc)
        before, left = left, plan(observe(*where))
    result = {
        "changed": bool(steps),
        "steps": told,
        "diff": {"before": "\n".join(told) + "\n" if told else "", "after": ""},
    }
    if left:
        lines = [f"{step.verb} {step.subject}: {failures.get(step, 'is there again')}" for step in left]
        module.fail_json(
            msg="this is still on the machine; run reset again after mending it:\n" + "\n".join(lines), **result
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
