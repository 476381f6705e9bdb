# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads a firewall, then proves over a new connection that the controller still gets in: only then is it kept."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

MODULE = "bare_metal.kubernetes.node_firewall"
DEFAULT_ROLLBACK_SECONDS = 60
# One attempt is not the last because of a lost packet, and leaves the host the time to answer.
PAUSE_SECONDS = 2.0
# After its timer the host needs a moment for the way back.
GRACE_SECONDS = 5.0


class ActionModule(ActionBase):
    """Two module calls with a new connection between them; one when nothing is let in otherwise than before."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Apply, reconnect, confirm; see the module's documentation."""
        super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        seconds = int(self._task.args.get("rollback_seconds") or DEFAULT_ROLLBACK_SECONDS)
        result: dict[str, Any] = self._call({"step": "apply"}, variables)
        result.pop("invocation", None)  # the whole table once more
        if result.get("failed") or not result.pop("pending", False):
            return result
        deadline = time.monotonic() + seconds
        answer = self._confirm(str(result.get("connection", "")), deadline, variables)
        if not answer.get("confirmed"):
            result |= {"failed": True, "changed": False, "msg": self._explain(answer, deadline, seconds, variables)}
        return {**result, "confirmed": bool(answer.get("confirmed"))}

    def _call(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args={**self._task.args, **arguments}, task_vars=variables
        )
        return answer

    def _reconnect(self) -> None:
        """Leave the connection, a persistent one (ControlPersist) too: what is established proves nothing."""
        self._connection.reset()

    def _confirm(self, former: str, deadline: float, variables: dict[str, Any]) -> dict[str, Any]:
        """Get in anew and confirm, again and again until the host goes back; return the module's answer, or why nobody got in."""
        answer: dict[str, Any] = {"msg": "there was no time for an attempt"}
        while time.monotonic() < deadline:
            try:
                self._reconnect()
                return self._call({"step": "confirm", "former_connection": former}, variables)
            except AnsibleConnectionFailure as exc:
                answer = {"msg": str(exc), "unreachable": True}
            time.sleep(max(0.0, min(PAUSE_SECONDS, deadline - time.monotonic())))
        return answer

    def _explain(self, answer: dict[str, Any], deadline: float, seconds: int, variables: dict[str, Any]) -> str:
        """Say what became of the host: the way back is taken by itself, and seen when the host lets the controller in again."""
        if not answer.get("unreachable"):
            return str(answer.get("msg", "the confirmation failed"))
        time.sleep(max(0.0, deadline + GRACE_SECONDS - time.monotonic()))
        cut = (
            f"With the new firewall the controller could not log in to this host any more ({answer['msg']}), "
            f"so it was not confirmed within {seconds} s. "
        )
        try:
            self._reconnect()
            self._low_level_execute_command("true")
        except AnsibleConnectionFailure as exc:
            return (
                cut
                + f"The host does not answer yet: {exc}. Its console shows the table: nft list table inet bare_metal_firewall."
            )
        return (
            cut + "The host has given its former rules back by itself, and answers again. "
            "Look at cluster_firewall_admin_cidrs and cluster_firewall_rules; nothing of the new table was kept."
        )
