# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name in the interpreter that waits on the host."""

from __future__ import annotations

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.interpreter import ModuleAction as ActionModule

__all__ = ["ActionModule"]
