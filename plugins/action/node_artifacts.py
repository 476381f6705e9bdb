# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends the files of node_artifacts to nodes that can reach no registry."""

from __future__ import annotations

from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.push import PushAction, without

FILTER_KEYS = ("component", "version", "source")


class ActionModule(PushAction):
    """One round trip when nothing is missing or the node has a registry; else ask, send, install."""

    module = "bare_metal.kubernetes.node_artifacts"

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, sending what it misses first."""
        super().run(tmp, task_vars)
        host = (task_vars or {}).get("inventory_hostname", "")
        args = dict(self._task.args)
        args["files"] = without(args.get("files"), "files", FILTER_KEYS)
        if args.get("registry") or self._task.check_mode:
            return self.ask(task_vars, args)
        found = self.ask(task_vars, {**args, "plan_only": True})
        if found.get("failed") or not found.get("changed"):
            return found
        names = {str(entry.get("sha256")): str(entry.get("name")) for entry in args["files"]}
        staged = self.send(self.store(), {digest: names[digest] for digest in found["missing"]}, host)
        return self.ask(task_vars, {**args, "staged": staged})
