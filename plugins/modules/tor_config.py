# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documentation of an action plugin: it runs on the controller, this file never does anything.

DOCUMENTATION = r"""
module: tor_config
short_description: Write the routers' side of the cluster's BGP
version_added: 0.1.0
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Judges the inventory as M(bare_metal.kubernetes.validate_cluster) does and refuses it with the same report. Then works out, for each router, sessions,
    filters, limits and timers, and writes them for FRR, for BIRD 2 and as a table. Opens no connection and changes no router.
  - A router is a host of the group C(routers), with the variables of the role C(tor_config), or an address in C(cluster_bgp_peers) where there is no such
    group.
options:
  directory:
    description: Directory on the controller. Passwords of sessions are in the files, which only their owner may read.
    type: str
    required: true
  formats:
    description: What is written.
    type: list
    elements: str
    choices: [frr, bird, table]
    default: [frr, bird, table]
attributes:
  check_mode:
    support: full
    description: Says which files would be written.
  diff_mode:
    support: none
    description: Passwords are in the files.
"""

EXAMPLES = r"""
- name: Run | Write the routers' side of the cluster's BGP
  bare_metal.kubernetes.tor_config:
    directory: tor-config
"""

RETURN = r"""
files:
  description: Paths of all files.
  type: list
  elements: str
  returned: success
written:
  description: Names of those that differed.
  type: list
  elements: str
  returned: success
routers:
  description: What C(routers.json) holds.
  type: list
  elements: dict
  returned: success
"""
