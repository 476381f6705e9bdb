# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the arguments by which a module gets content of the bundle."""

from __future__ import annotations


class ModuleDocFragment:
    """Where content comes from: a registry, or the controller's action plugin."""

    DOCUMENTATION = r"""
options:
  registry:
    description: C(http://host:port) of the registry that serves the bundle. Empty, the controller sends what is missing over its connection.
    type: str
    default: ''
  cache_dir:
    description: Cache of the controller that holds the bundle, for an empty O(registry). Empty means the collection's default cache.
    type: str
    default: ''
  plan_only:
    description: Only say what is missing. The action plugin asks with it.
    type: bool
    default: false
  staged:
    description: Paths on the node by SHA-256 of what the action plugin has sent.
    type: dict
    default: {}
"""
