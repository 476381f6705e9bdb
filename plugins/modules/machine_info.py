#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a machine in one call what preflight and the roles need to know of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_info
short_description: Find out in one read-only call what a machine is, and whether it fits
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Observes hardware, kernel, system, addresses, disks, time, ports and rests of other clusters. Changes nothing.
  - Fails with all problems at once when the machine does not meet O(requirements).
  - Leaves the observation as the fact C(ansible_facts.bare_metal_machine) for the roles.
options:
  requirements:
    description: What the machine has to be. What is not given is not checked.
    type: dict
    default: {}
    suboptions:
      min_cpus: {description: Logical processors., type: int}
      min_memory_mib: {description: Memory in MiB., type: int}
      architecture: {description: 'As C(uname -m) says it.', type: str}
      min_kernel: {description: 'Lowest kernel release, such as V(5.13).', type: str}
      supported_os: {description: 'Versions by C(ID) of os-release; V(9) stands for V(9.4) too.', type: dict}
      cgroup_versions: {description: Accepted cgroup versions., type: list, elements: int}
      metal: {description: Refuse virtual machines and containers., type: bool}
      time_synchronised: {description: The clock has to be synchronised now., type: bool}
      hostname: {description: The host name has to be fit for a node., type: bool}
      node_ip: {description: An address that has to be one of the machine's., type: str}
      min_mtu: {description: Lowest MTU of the interface with that address., type: int}
      min_free_mib: {description: 'MiB that have to be free by path, as long as O(requirements.state_dir) does not exist.', type: dict}
      ports: {description: 'TCP ports (C(port)) that only one process (C(process), at most 15 characters) may listen on.', type: list, elements: dict}
      packages: {description: 'Packages by family (V(debian), V(redhat)); the missing ones are returned, not refused.', type: dict}
      commands: {description: Programs whose paths are returned., type: list, elements: str}
      kubernetes_version: {description: 'The version that a node of a cluster has to run already, such as V(v1.36.3).', type: str}
      state_dir: {description: Directory that exists on hosts which this collection manages., type: str}
  waivers:
    description: Reasons by name of the check; a waived problem is returned and warned of, but does not fail.
    type: dict
    default: {}
attributes:
  check_mode: {description: Only reads., support: full}
  diff_mode: {description: Changes nothing., support: none}
"""

EXAMPLES = r"""
- name: Preflight | Refuse machines that are too small or run an old kernel
  bare_metal.kubernetes.machine_info:
    requirements: {min_cpus: 2, min_memory_mib: 1700, min_kernel: "5.13", node_ip: 10.0.0.11}
    waivers: {supported_os: "our own Debian derivative, tested by us"}
"""

RETURN = r"""
ansible_facts:
  description: The observation as C(bare_metal_machine), with C(cpus), C(memory_mib), C(kernel), C(os), C(interfaces), C(disks), C(missing_packages) ...
  returned: success
  type: dict
problems: {description: 'Each with C(check), C(what), C(found), C(why), C(fix).', returned: always, type: list, elements: dict}
waived: {description: 'Problems that a waiver covers, with its C(reason).', returned: always, type: list, elements: dict}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _machine as core

REQUIREMENTS = dict(
    min_cpus=dict(type="int"),
    min_memory_mib=dict(type="int"),
    architecture=dict(type="str"),
    min_kernel=dict(type="str"),
    supported_os=dict(type="dict"),
    cgroup_versions=dict(type="list", elements="int"),
    metal=dict(type="bool"),
    time_synchronised=dict(type="bool"),
    hostname=dict(type="bool"),
    node_ip=dict(type="str"),
    min_mtu=dict(type="int"),
    min_free_mib=dict(type="dict"),
    ports=dict(type="list", elements="dict"),
    packages=dict(type="dict"),
    commands=dict(type="list", elements="str"),
    kubernetes_version=dict(type="str"),
    state_dir=dict(type="str"),
)


def main() -> None:
    """Observe, judge, report."""
    module = AnsibleModule(
        argument_spec=dict(
            requirements=dict(type="dict", default={}, options=REQUIREMENTS),
            waivers=dict(type="dict", default={}),
        ),
        supports_check_mode=True,
    )
    requirements = {key: value for key, value in (module.params["requirements"] or {}).items() if value is not None}
    found = core.report(core.collect(requirements), requirements, module.params["waivers"])
    for problem in found["waived"]:
        module.warn(f"waived ({problem['reason']}): {problem['check']}: {problem['what']}; found {problem['found']}")
    if found["problems"]:
        module.fail_json(msg=found["message"], problems=found["problems"], waived=found["waived"])
    module.exit_json(
        changed=False, problems=[], waived=found["waived"], ansible_facts={"bare_metal_machine": found["machine"]}
    )


if __name__ == "__main__":
    main()
