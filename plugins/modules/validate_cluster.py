# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documentation of an action plugin: it runs on the controller, this file never does anything.

DOCUMENTATION = r"""
module: validate_cluster
short_description: Refuse an inventory that cannot become a cluster
description:
  - Evaluates every variable of the collection for every host of the cluster and judges them together, before any connection is opened.
  - All errors are reported at once, each with the variable, its value, the hosts and the file it comes from, the reason and the fix.
  - Types, choices and ranges come from the roles' argument specs; unknown names with the prefix of a role are errors, with a suggestion.
  - Groups, addresses, the API endpoint, versions, BGP and load balancing are checked across all hosts, and so is what a node's pods have to share.
  - docs/validation.md explains every rule.
  - Values whose names say that they are secret, and values from a vault, are not shown.
version_added: 0.1.0
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
options: {}
attributes:
  check_mode:
    description: Nothing is ever changed.
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
  - ref: ansible_collections.bare_metal.kubernetes.cluster_role
    description: The variables of a cluster.
"""

EXAMPLES = r"""
- name: Judge the inventory
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Refuse what cannot work
      bare_metal.kubernetes.validate_cluster:
"""

RETURN = r"""
capacity:
  description: What the inventory makes. What could not be computed is left out.
  returned: always
  type: dict
  contains:
    control_planes:
      description: Number of control planes.
      type: int
    etcd_members:
      description: Number of etcd members.
      type: int
    workers:
      description: Number of workers.
      type: int
    pods:
      description: Pods that all nodes together may carry.
      type: int
    pods_per_node:
      description: How many nodes carry how many pods, a list of C({pods, nodes}).
      type: list
      elements: dict
    namespaces:
      description: Namespaces that so many pods need at least, with upstream's limit of 3,000 pods in one.
      type: int
    pods_without_largest_node:
      description: Pods that remain when the node that carries most is lost.
      type: int
    block_size:
      description: Prefix length of Calico's IPv4 blocks.
      type: int
    blocks:
      description: Blocks in the first pod network.
      type: int
    planned_nodes:
      description: Nodes that addresses are planned for, C(cluster_planned_nodes) or those of the inventory.
      type: int
    surge_nodes:
      description: Nodes beside these for the time of a replacement.
      type: int
    blocks_per_node:
      description: Blocks that the densest node needs, with two addresses for each pod.
      type: int
    blocks_planned:
      description: Blocks that all nodes need, those that are planned and those for a surge too, with two addresses for each pod.
      type: int
    largest_cluster_nodes:
      description: Nodes of the densest kind that the pod network has blocks for.
      type: int
problems:
  description: Every error and warning.
  returned: always
  type: list
  elements: dict
  contains:
    rule:
      description: Name of the rule.
      type: str
    level:
      description: C(error) or C(warning).
      type: str
    variable:
      description: Path of the variable, or the group.
      type: str
    value:
      description: The value as it may be shown; empty where there is none.
      type: str
    hosts:
      description: The hosts that have the problem; empty when it concerns the inventory.
      type: list
      elements: str
    source:
      description: File and line of the value, as far as Ansible tells.
      type: str
    reason:
      description: Why it cannot work.
      type: str
    fix:
      description: What to change.
      type: str
"""
