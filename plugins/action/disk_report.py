# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action disk_report: one table over the disks of all hosts, JSON and an HTML page on request, a failure that names every disk that is not enough."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._fio import GOOD_VERDICTS
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import disk_report

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
                "results": {"type": "dict", "required": True},
                "required_verdict": {"type": "str", "choices": ["any", *GOOD_VERDICTS], "default": "pass"},
                "max_p99_ms": {"type": "float", "default": 10},
                "path": {"type": "path", "default": ""},
                "plot_path": {"type": "path", "default": ""},
            }
        )
        rows = disk_report.judge(arguments["results"], arguments["required_verdict"])
        display.display(disk_report.table(rows))
        report = disk_report.as_data(rows)
        write(arguments["path"], json.dumps(report, indent=2) + "\n")
        write(arguments["plot_path"], disk_report.page(rows, arguments["max_p99_ms"]))
        result.update(changed=False, verdicts={row.host: row.verdict for row in rows}, failed_count=report["failed"])
        bad = [row for row in rows if not row.enough]
        if bad:
            lines = "\n".join(f"- {row.host}: {row.verdict}: {'; '.join(row.reasons)}" for row in bad)
            head = f"{len(bad)} of {len(rows)} disks are not enough for etcd (wanted: {arguments['required_verdict']})"
            result.update(failed=True, msg=f"{head}:\n{lines}")
        return result


def write(path: str, text: str) -> None:
    """Write a file of the report, in check mode too: it is what was asked for, on the controller. An empty path writes none."""
    if path:
        full = os.path.expanduser(path)
        os.makedirs(os.path.dirname(full) or ".", exist_ok=True)
        write_atomic(full, text.encode("utf-8"))
