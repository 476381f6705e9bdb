# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action disk_report: one table over the disks of all hosts, JSON and an HTML page on request, a failure that names every disk that is not enough."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._fio import GOOD_VERDICTS
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import disk_report
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.report_action import Report, ReportAction


class ActionModule(ReportAction):
    """The disks of all hosts."""

    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        "results": {"type": "dict", "required": True},
        "required_verdict": {"type": "str", "choices": ["any", *GOOD_VERDICTS], "default": "pass"},
        "max_p99_ms": {"type": "float", "default": 10},
        "path": {"type": "path", "default": ""},
        "plot_path": {"type": "path", "default": ""},
    }

    def report(self, arguments: Mapping[str, Any]) -> Report:
        """Judge every disk by the verdict that is wanted."""
        rows = disk_report.judge(arguments["results"], arguments["required_verdict"])
        data = disk_report.as_data(rows)
        bad = [row for row in rows if not row.enough]
        head = f"{len(bad)} of {len(rows)} disks are not enough for etcd (wanted: {arguments['required_verdict']})"
        lines = [f"- {row.host}: {row.verdict}: {'; '.join(row.reasons)}" for row in bad]
        return Report(
            table=disk_report.table(rows),
            result={"verdicts": {row.host: row.verdict for row in rows}, "failed_count": data["failed"]},
            files={
                arguments["path"]: json.dumps(data, indent=2) + "\n",
                arguments["plot_path"]: disk_report.page(rows, arguments["max_p99_ms"]),
            },
            failure="\n".join([f"{head}:", *lines]) if bad else "",
        )
