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
  - Observes hardware, kernel, system, addresses, names, disks, time, ports, firewalls, container runtimes and rests of other clusters. Changes nothing.
  - Fails with all problems at once when the machine does not meet O(requirements). C(docs/preflight.md) explains every check.
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
      time_synchronised: {description: 'A clock that is not synchronised now is an error (V(true)) or a warning (V(false)).', type: bool}
      hostname: {description: The host name has to be fit for a node., type: bool}
      node_ip: {description: An address that has to be one of the machine's., type: str}
      announced_address: {description: The API's address that the machine announces; it has to be in none of its subnets., type: str}
      announcing_source: {description: The address that it announces it from; it has to be in the subnet of C(node_ip)., type: str}
      node_second_ip: {description: One more of the other family; empty is none., type: str}
      name_resolution: {description: 'Warn of a host name that does not resolve, and of a resolv.conf that pods cannot use.', type: bool}
      endpoints:
        description: >-
          What has to be reachable by TCP: C(name), C(url), C(why), and C(may_refuse) for what may not listen yet. All of them and the name
          resolution together take at most three seconds.
        type: list
        elements: dict
      only_our_runtime: {description: 'Refuse Docker, CRI-O and cri-dockerd, warn of Podman.', type: bool}
      no_firewall: {description: Warn of firewalld and ufw., type: bool}
      firewall:
        description: >-
          What the cluster's firewall will let in, C(admin_cidrs) and C(ssh_port): the address from which the controller is logged in has to be among
          it. Empty when there is none.
        type: dict
      swap:
        description: V(refused) is an error when swap is on, V(turned_off) a warning.
        type: str
        choices: [refused, turned_off, tolerated]
      disk_qualification:
        description: >-
          The C(directory) whose remembered measurement in O(requirements.state_dir) is judged: missing, of another disk, or not under load where
          C(under_load) asks for it, is a warning, or an error when C(required); worse than C(required_verdict) by C(max_p99_ms), C(heartbeat_interval_ms)
          and C(election_timeout_ms) is an error; other settings, another kernel and more than C(max_age_days) are warnings.
        type: dict
      load:
        description: >-
          What the node is to hold, as P(bare_metal.kubernetes.node_load#filter) gives it. Returned as it is; M(bare_metal.kubernetes.preflight_report) judges
          whether it fits.
        type: dict
      link_types:
        description: Types of links that the kernel has to have.
        type: list
        elements: str
        choices: [vxlan, geneve, wireguard]
      min_mtu: {description: Lowest MTU of the interface with that address., type: int}
      min_free_mib: {description: 'MiB that have to be free by path, before a run has prepared the host.', type: dict}
      ports: {description: 'TCP ports (C(port)) that only one process (C(process), at most 15 characters) may listen on.', type: list, elements: dict}
      packages: {description: 'Packages by family (V(debian), V(redhat)); the missing ones are returned, not refused.', type: dict}
      commands: {description: Programs whose paths are returned., type: list, elements: str}
      live_versions:
        description: >-
          Return as C(versions) what runs here of Kubernetes, etcd and containerd; judged by M(bare_metal.kubernetes.preflight_report), which sees all hosts.
        type: bool
      live_cluster:
        description: >-
          What a live cluster cannot change: C(pod_cidrs), C(service_cidrs), C(domain), C(network_plugin), C(etcd_addresses), C(block_size), C(endpoint),
          C(encapsulation) under Cilium.
          Compared with the node's files and routes, on hosts that this collection manages. With C(kube_proxy_mode), the fact's
          C(awaits_kube_proxy) says whether kube-proxy is to carry the Services here and Cilium's agent does so until now.
        type: dict
      load_balancer:
        description: >-
          LoadBalancer addresses: C(mode), C(pools), C(moves) for a play that changes the mode itself, C(live) to ask this host's API (of a control plane that
          this collection manages) what Services have, C(announced) for the pools that this host answers for on layer 2.
        type: dict
      state_dir: {description: Directory that keeps something on hosts which this collection manages., type: str}
  waivers:
    description: Reasons by name of the check; a waived problem is returned and warned of, but does not fail. Without a reason nothing is waived.
    type: dict
    default: {}
  return_problems:
    description:
      - Return the problems instead of failing, for M(bare_metal.kubernetes.preflight_report), which judges all hosts together and fails for all.
    type: bool
    default: false
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
problems:
  description: 'Errors and warnings (C(level)), each with C(check), C(what), C(found), C(why), C(fix).'
  returned: always
  type: list
  elements: dict
waived: {description: 'Problems that a waiver covers, with its C(reason).', returned: always, type: list, elements: dict}
load: {description: What O(requirements.load) was., returned: when given, type: dict}
clock:
  description: 'The controller''s time before the question (C(sent)) and after the answer (C(received)), by which clocks of hosts are compared.'
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _machine, _machine_judge

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
    announced_address=dict(type="str"),
    announcing_source=dict(type="str"),
    node_second_ip=dict(type="str"),
    name_resolution=dict(type="bool"),
    endpoints=dict(type="list", elements="dict"),
    only_our_runtime=dict(type="bool"),
    no_firewall=dict(type="bool"),
    firewall=dict(type="dict"),
    swap=dict(type="str", choices=["refused", "turned_off", "tolerated"]),
    disk_qualification=dict(type="dict"),
    load=dict(type="dict"),
    min_mtu=dict(type="int"),
    link_types=dict(type="list", elements="str", choices=["vxlan", "geneve", "wireguard"]),
    min_free_mib=dict(type="dict"),
    ports=dict(type="list", elements="dict"),
    packages=dict(type="dict"),
    commands=dict(type="list", elements="str"),
    live_versions=dict(type="bool"),
    live_cluster=dict(type="dict"),
    load_balancer=dict(type="dict"),
    state_dir=dict(type="str"),
)


def main() -> None:
    """Observe, judge, report."""
    module = AnsibleModule(
        argument_spec=dict(
            requirements=dict(type="dict", default={}, options=REQUIREMENTS),
            waivers=dict(type="dict", default={}),
            return_problems=dict(type="bool", default=False),
        ),
        supports_check_mode=True,
    )
    requirements = {key: value for key, value in (module.params["requirements"] or {}).items() if value is not None}
    found = _machine_judge.report(_machine.collect(requirements), requirements, module.params["waivers"])
    answer = {"problems": found["problems"], "waived": found["waived"]}
    if not module.params["return_problems"]:
        for problem in found["problems"]:
            if problem["level"] == _machine_judge.WARNING:
                module.warn(
                    f"{problem['check']}: {problem['what']}; found {problem['found']}. {problem['why']} {problem['fix']}"
                )
        for problem in found["waived"]:
            module.warn(
                f"waived ({problem['reason']}): {problem['check']}: {problem['what']}; found {problem['found']}"
            )
        if found["message"]:
            module.fail_json(msg=found["message"], **answer)
    module.exit_json(changed=False, ansible_facts={"bare_metal_machine": found["machine"]}, **answer)


if __name__ == "__main__":
    main()
