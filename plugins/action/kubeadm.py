# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands a bootstrap token from the result that holds it to the module, so that no task has a secret among its arguments."""

from __future__ import annotations

from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.interpreter import NodeAction


class ActionModule(NodeAction):
    """Look the token up by the name of its result, then run the module; its failures stay readable because the task needs no ``no_log``."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module; see its documentation."""
        result = super().run(tmp, task_vars)
        del tmp
        arguments = dict(self._task.args)
        name = arguments.pop("token_variable", "")
        found = (task_vars or {}).get(name) if name else None
        for key in ("token", "ca_cert_hash"):
            if found and found.get(key):
                arguments[key] = found[key]
        result.update(
            self._execute_module(
                module_name="bare_metal.kubernetes.kubeadm", module_args=arguments, task_vars=task_vars
            )
        )
        return result
