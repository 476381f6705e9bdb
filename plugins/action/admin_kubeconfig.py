# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the administrator's kubeconfig to the controller, in a file that only its user can read."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.interpreter import NodeAction


def pointed_at(kubeconfig: str, server: str) -> str:
    """A kubeconfig with another server; an empty one leaves it as it is."""
    return (
        re.sub(r"^( +server: ).*$", lambda found: found.group(1) + server, kubeconfig, flags=re.M)
        if server
        else kubeconfig
    )


def differs(path: Path, text: str) -> bool:
    """Whether a file has to be written: another content, or readable by others."""
    return not path.is_file() or path.read_text(encoding="utf-8") != text or path.stat().st_mode & 0o077 != 0


class ActionModule(NodeAction):
    """Read on the target, write here; the content is in no result."""

    _VALID_ARGS = frozenset({"path", "server", "src"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Compare the file with the target's and replace it when it differs."""
        result = super().run(tmp, task_vars)
        del tmp
        arguments = self._task.args
        answer = self._execute_module(
            module_name="ansible.builtin.slurp",
            module_args={"src": arguments.get("src", "/etc/kubernetes/admin.conf")},
            task_vars=task_vars,
        )
        path = Path(os.path.expanduser(arguments["path"]))
        if answer.get("failed"):
            if self._task.check_mode:
                return {**result, "changed": True, "path": str(path)}  # there is no cluster yet
            raise AnsibleActionFail(
                f"the administrator's kubeconfig cannot be read: {answer.get('msg', 'no reason given')}"
            )
        text = pointed_at(base64.b64decode(answer["content"]).decode(), arguments.get("server", ""))
        changed = differs(path, text)
        if changed and not self._task.check_mode:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(str(path), text.encode(), mode=0o600)
        return {**result, "changed": changed, "path": str(path)}
