# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documentation of an action plugin: it runs on the controller, this file never does anything.

DOCUMENTATION = r"""
module: capacity_plan
short_description: Show what an inventory makes, before anything is made
description:
  - Judges the inventory as M(bare_metal.kubernetes.validate_cluster) does and refuses it with the same report. Then computes, for each pool of nodes,
    pods, addresses, reservations and kernel parameters, and for the cluster etcd's size, the control plane's flags, how far the address plan reaches, and
    how many pods have a place after the loss of a node or a rack. Every number has its arithmetic or its source.
  - Numbers come from the functions that the roles use, so the plan says what M(bare_metal.kubernetes.sysctl_profile), the kubelet's file and kubeadm get.
  - A machine has the size that M(bare_metal.kubernetes.machine_info) measured when the playbook C(preflight) ran before in the same command, else the one
    in O(machines), else the least that C(os_prep_requirements) demands (C(min_cpus) and C(min_memory_mib) together), else O(assumed_machine); the plan
    says which.
  - Names, flags and kernel parameters from a vault are not shown. Addresses and sizes are what a plan is made of, and are shown wherever they come from.
version_added: 0.1.0
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
options:
  json_path:
    description: File on the controller for the plan as JSON; empty writes none.
    type: path
    default: ""
  html_path:
    description: File on the controller for the plan as one HTML page without script or outside content; empty writes none.
    type: path
    default: ""
  site_check_path:
    description:
      - File with the output of the playbook C(site) with C(--check), of the callback V(default) with C(ANSIBLE_CHECK_MODE_MARKERS=true). The plan then
        says which tasks would change something on which host. Output without the markers is refused, because a run that changes things prints the same.
    type: path
    default: ""
  machines:
    description: "Sizes of machines that were not measured: C({cpus, memory_mib}) by host or group; a host's own is preferred, then its smallest group's."
    type: dict
    default: {}
  assumed_machine:
    description: Size of all other machines, C({cpus, memory_mib}); by default 16 CPUs and 65536 MiB.
    type: dict
    default: {}
  wanted_pods:
    description: Pods of yours that shall run, without tolerations. More than have a place after the loss of the largest node is a warning; 0 warns of nothing.
    type: int
    default: 0
attributes:
  check_mode:
    description: Nothing but the files in O(json_path) and O(html_path) is ever written; they are the result, so check mode writes them too.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  connection:
    description: Runs on the controller and opens no connection.
    support: none
requirements:
  - netaddr and jsonschema on the controller
seealso:
  - module: bare_metal.kubernetes.validate_cluster
  - module: bare_metal.kubernetes.machine_info
"""

EXAMPLES = r"""
- name: Plan the cluster
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Show what the inventory makes
      bare_metal.kubernetes.capacity_plan:
        html_path: plan.html
        machines:
          dense: {cpus: 128, memory_mib: 1048576}
"""

RETURN = r"""
plan:
  description: The plan. What could not be computed is null or left out.
  returned: success
  type: dict
  contains:
    schema:
      description: Version of this structure.
      type: int
    cluster:
      description: Name, counts of nodes and pods now and as planned, racks, and how many usual nodes (30 pods each) the cluster is like.
      type: dict
    pools:
      description:
        - Nodes with the same role, rack, pods per node and taints, with C(max_pods), C(own_pods_per_node), C(pods), C(workload_pods), C(addresses).
        - C(machines) has one entry for each size of machine and setting, with its C(basis), C(kubelet) (reservations, eviction, memory for pods)
          and C(sysctls) (C(key), C(bound), C(value), C(reason), C(source)).
      type: list
      elements: dict
    addresses:
      description: Blocks of each pod network, the largest cluster, addresses of Services and of load-balancer pools.
      type: dict
    etcd:
      description: >-
        Class of machine, members with heartbeat, election timeout and quotas, quorum and racks that it cannot lose; C(events) is what a second etcd for
        events takes, null where there is none.
      type: dict
    control_plane:
      description: Hosts, class of machine, and flags with the reason where they follow from size.
      type: dict
    controllers:
      description: Controllers whose memory follows from nodes and pods, in MB an instance, and whether this collection installs them.
      type: list
      elements: dict
    typha:
      description: Replicas of Calico's Typha that are recommended.
      type: dict
    survival:
      description: Places for pods now, without the largest node, and without the largest rack, for each set of taints.
      type: list
      elements: dict
    site_changes:
      description: "What O(site_check_path) says: C(hosts), by name, each with C(changed), C(tasks), C(failed), C(unreachable); null without it."
      type: dict
    assumptions:
      description: What the numbers rest on that nobody measured.
      type: list
      elements: str
    warnings:
      description: What works and will hurt.
      type: list
      elements: str
written:
  description: Files that were written.
  returned: success
  type: list
  elements: str
problems:
  description: Errors and warnings of the inventory, as M(bare_metal.kubernetes.validate_cluster) returns them.
  returned: failure
  type: list
  elements: dict
"""
