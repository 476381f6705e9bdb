#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads kernel modules, turns swap off and shares mounts, now and after every boot; and takes it all back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_prep
short_description: Prepare a machine for pods - kernel modules, no swap, shared mounts
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Loads kernel modules and has them loaded at boot, unless they are built in.
  - Turns swap off, comments it out in C(/etc/fstab) and masks the units that make it (also those of zram and GPT partitions).
  - Makes C(/) a shared mount where systemd did not, now and at boot.
  - What was there before is kept in O(state_dir); O(state=absent) puts it back.
options:
  modules:
    description: Kernel modules.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: The module., type: str, required: true}
      feature: {description: 'A path that exists when what the module does is there; then it counts as present, however it got there.', type: str}
      required: {description: Whether its absence is an error., type: bool, default: true}
  swap_off: {description: Turn swap off., type: bool, default: true}
  shared_mounts: {description: Make C(/) shared., type: bool, default: true}
  state_dir: {description: Where the state before the first change is kept., type: path, default: /var/lib/bare-metal-kubernetes}
  state: {description: 'V(absent) undoes everything.', type: str, choices: [present, absent], default: present}
attributes:
  check_mode: {description: Says what would change., support: full}
  diff_mode: {description: Shows every step before and after., support: full}
"""

EXAMPLES = r"""
- name: Configure | Load what containers need, turn swap off
  bare_metal.kubernetes.node_prep:
    modules:
      - {name: overlay}
      - {name: br_netfilter, feature: /proc/sys/net/bridge/bridge-nf-call-iptables}
"""

RETURN = r"""
changes: {description: 'The steps, each with C(verb) and C(name).', returned: always, type: list, elements: dict}
modules: {description: 'V(present), V(loadable) or V(missing) by module, before the steps.', returned: always, type: dict}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_prep as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError

MODULE = dict(name=dict(type="str", required=True), feature=dict(type="str"), required=dict(type="bool", default=True))


def main() -> None:
    """Observe, plan, act, report."""
    module = AnsibleModule(
        argument_spec=dict(
            modules=dict(type="list", elements="dict", default=[], options=MODULE),
            swap_off=dict(type="bool", default=True),
            shared_mounts=dict(type="bool", default=True),
            state_dir=dict(type="path", default="/var/lib/bare-metal-kubernetes"),
            state=dict(type="str", choices=["present", "absent"], default="present"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    specs = [core.ModuleSpec(entry["name"], entry["feature"] or "", entry["required"]) for entry in params["modules"]]
    undo = params["state"] == "absent"
    try:
        seen = core.observe(specs, params["state_dir"])
        if undo:
            changes = core.plan_absent(seen)
        else:
            changes = core.plan_present(seen, specs, params["swap_off"], params["shared_mounts"], params["state_dir"])
        if changes and not module.check_mode:
            core.apply(changes, seen.memory if undo else core.remember(seen.memory, changes), params["state_dir"])
            if undo:
                core.forget(params["state_dir"])
    except (core.NodePrepError, CommandError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=bool(changes),
        changes=[{"verb": change.verb, "name": change.name} for change in changes],
        modules=dict(seen.modules),
        diff=core.diff(changes) if module._diff else [],
    )


if __name__ == "__main__":
    main()
