# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of modules that change nothing."""

from __future__ import annotations


class ModuleDocFragment:
    """What such a module does in check and diff mode."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode: {description: It only reads., support: full}
  diff_mode: {description: It changes nothing., support: none}
"""
