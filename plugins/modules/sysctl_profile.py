#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets, persists and verifies kernel parameters, all in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sysctl_profile
short_description: Set, persist and verify kernel parameters in one call
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Compares every parameter with the running kernel, with what systemd-sysctl will set at the next boot, with what C(sysctl --system) would set, and
    with what cloud-init, tuned and kube-proxy set later. C(docs/kernel_parameters.md) explains every verdict.
  - Writes one drop-in of its own that sorts last, applies it and reads the kernel again. Never touches another's file.
  - A bound (C(min), C(max)) keeps what already meets it and is written to the drop-in only when the next boot would miss it.
  - A parameter that is no longer given goes back to what it was before this module changed it; no parameters undo everything.
  - One parameter that fails does not keep the others from being set; all failures come in one message.
options:
  parameters:
    description:
      - Kernel parameters by name, with dots or slashes as in sysctl.d(5), without globs. A value is a number or a text, or a mapping with one of
        C(exactly), C(min), C(max), C(one_of) (C(min) and C(max) may go together), and C(reason), C(source), C(optional).
      - A list of these is met as a whole; when no value meets all of them, the parameter is left alone and is a C(conflict).
      - C(optional) parameters, and those with a dash before the name, may be unknown to the kernel or refused by it. C(null) leaves a parameter alone.
    type: dict
    required: true
  tolerate:
    description: Parameters that may be unknown, without their module, read-only or clamped here, as in a container. They are warned of.
    type: list
    elements: str
    default: []
  state:
    description: V(verified) changes nothing and fails with every parameter that is not as wanted, now or at the next boot.
    type: str
    choices: [present, verified]
    default: present
  path:
    description: The drop-in, in one of the directories of sysctl.d(5). A link, or a file that this module did not write, is refused.
    type: path
    default: /etc/sysctl.d/99-zz-bare-metal-kubernetes.conf
  state_dir: {description: Where original values are remembered., type: path, default: /var/lib/bare-metal-kubernetes}
attributes:
  check_mode: {description: Says what would change. What would fail is a warning., support: full}
  diff_mode: {description: Shows the values in the kernel and the drop-in., support: full}
"""

EXAMPLES = r"""
- name: Configure | Set the kernel parameters
  bare_metal.kubernetes.sysctl_profile:
    parameters:
      net.ipv4.ip_forward: 1
      net/ipv4/conf/bond0.100/rp_filter: 0
      fs.inotify.max_user_instances: {min: 8192, reason: one or more a pod}
      net.ipv4.conf.all.rp_filter: {one_of: [0, 1], reason: Calico refuses loose mode}
"""

RETURN = r"""
verdicts:
  description: >-
    Parameters of which there is something to say: C(key), C(wanted), C(live), C(at_boot), C(detail), C(tolerated), C(where) (lines by name),
    C(asked) (when clamped), C(module) and C(module_at_boot) (when its module is missing), C(names) out of V(unknown_key), V(module_missing),
    V(readonly), V(clamped), V(runtime_drift), V(persist_drift), V(overridden_by), V(will_be_overwritten_by), V(conflict), which fail, and C(notes)
    out of V(duplicate), V(procps_differs), which do not.
  returned: always
  type: list
  elements: dict
judged: {description: The names and notes of every parameter; V(ok) alone when there are none., returned: always, type: dict}
live: {description: What the kernel has after the call., returned: always, type: dict}
"""

import os
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _sysctl as core

# Of these a run warns although nothing fails: in check mode, and what only some program would do.
WORTH_A_WARNING = {"unknown_key", "module_missing", "readonly", "conflict", "will_be_overwritten_by", "procps_differs"}


def main() -> None:
    """Observe, plan, act, read again, judge."""
    module = AnsibleModule(
        argument_spec=dict(
            parameters=dict(type="dict", required=True),
            tolerate=dict(type="list", elements="str", default=[]),
            state=dict(type="str", choices=["present", "verified"], default="present"),
            path=dict(type="path", default="/etc/sysctl.d/99-zz-bare-metal-kubernetes.conf"),
            state_dir=dict(type="path", default="/var/lib/bare-metal-kubernetes"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    wanted = params["state"] == "present"
    act = wanted and not module.check_mode
    place = core.Place(
        params["path"],
        params["state_dir"],
        procps=core.procps_version(module.get_bin_path("sysctl")),
        cpus=os.cpu_count() or 1,
    )
    try:
        outcome = core.converge(params["parameters"], params["tolerate"], place, wanted, act)
    except (core.SysctlError, OSError) as exc:
        module.fail_json(msg=str(exc))
    said = [verdict for verdict in outcome.verdicts if verdict.names or verdict.notes]
    failing = [verdict for verdict in said if verdict.names and not verdict.tolerated]
    result = dict(
        changed=outcome.changed,
        verdicts=[asdict(verdict) for verdict in said],
        judged={verdict.key: [*verdict.names, *verdict.notes] or ["ok"] for verdict in outcome.verdicts},
        live=outcome.values,
        diff=outcome.diff if module._diff else [],
    )
    if failing and (act or not wanted):
        module.fail_json(msg="\n".join(verdict.line() for verdict in failing), **result)
    tolerated = [f"{verdict.key} ({', '.join(verdict.names)})" for verdict in said if verdict.tolerated]
    if tolerated:
        module.warn(f"tolerated as asked: {'; '.join(tolerated)}")
    for verdict in said:
        if not verdict.tolerated and WORTH_A_WARNING & {*verdict.names, *verdict.notes}:
            module.warn(verdict.line())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
