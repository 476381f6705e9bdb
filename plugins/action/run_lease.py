# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says who asks for the lease, and whether the run that has it still exists: only the controller can tell."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _lease as core
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.interpreter import NodeAction

MODULE = "bare_metal.kubernetes.run_lease"


class ActionModule(NodeAction):
    """Ask once; when another run has the lease and is found gone (or alive) here, ask again with that."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module on the control plane; see its documentation."""
        result = super().run(tmp, task_vars)
        del tmp
        # Tasks run in forks: their parent is the process that was started by the user, and that dies with the run.
        run = core.this_run(os.getppid())
        arguments = {**self._task.args, "run": asdict(run)}
        answer = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        if arguments.get("state", "held") == "held" and answer.get("verdict") in (core.TAKEN, core.EXPIRED):
            holder = core.Run(**answer["lease"]["run"])
            living = core.alive(holder, run, core.process_start)
            arguments |= {"judged": True, "living": living is True}
            if living is False:
                arguments["gone"] = asdict(holder)
            answer = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        result.update(answer)
        return result
