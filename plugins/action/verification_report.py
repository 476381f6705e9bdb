# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action verification_report: judge what the probes saw, print the table, write the JSON, fail by name."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import verification

display = Display()


class ActionModule(ActionBase):
    """Runs on the controller and opens no connection."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={
                "wanted": {"type": "dict", "required": True},
                "cluster": {"type": "dict", "required": True},
                "hosts": {"type": "dict", "required": True},
                "domain": {"type": "str", "default": "cluster.local"},
                "path": {"type": "path", "default": ""},
            }
        )
        try:
            wanted = verification.Wanted(**arguments["wanted"])
        except TypeError as error:
            raise AnsibleActionFail(f"verification_report: 'wanted' has a key that is not known: {error}") from error
        rows = verification.judge(wanted, arguments["cluster"], arguments["hosts"], arguments["domain"])
        display.display(verification.table(rows))
        failed = [row for row in rows if row.result == "failed"]
        if arguments["path"]:
            report = {"failed": len(failed), "rows": verification.as_data(rows)}
            path = os.path.expanduser(arguments["path"])
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            write_atomic(path, (json.dumps(report, indent=2) + "\n").encode("utf-8"))
        result.update(changed=False, rows=verification.as_data(rows), failed_count=len(failed))
        if failed:
            lines = "\n".join(f"- {row.check}: {row.subject}: {row.detail}" for row in failed)
            # The table and the message say it all; the rows are in the file, when one is asked for.
            del result["rows"]
            result.update(
                failed=True, msg=f"{len(failed)} of {len(rows)} statements about the cluster are not true:\n{lines}"
            )
        return result
