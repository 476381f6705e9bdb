# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds to a machine's answer what only the controller knows: its own time around the question, to compare clocks by, and the node's load."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase

MODULE = "bare_metal.kubernetes.machine_info"


class ActionModule(ActionBase):
    """Runs the module and adds ``clock`` and ``load``."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the machine once; see the module's documentation."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        sent = time.time()
        result.update(self._execute_module(module_name=MODULE, module_args=self._task.args, task_vars=task_vars))
        result["clock"] = {"sent": sent, "received": time.time()}
        load = (self._task.args.get("requirements") or {}).get("load")
        if load:
            result["load"] = load
        return result
