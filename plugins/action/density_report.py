# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action density_report: judges a density benchmark, prints its table, writes JSON and an HTML page, fails with the gates that were not passed."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_page, density_report
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.density_judge import GatesError

display = Display()
PARTS = ("benchmark", "usage", "outside", "restart", "drain", "cleaned")


class ActionModule(ActionBase):
    """Runs on the controller and opens no connection."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={
                **{name: {"type": "dict", "default": {}} for name in (*PARTS, "gates")},
                "settings": {"type": "dict", "required": True},
                "cluster": {"type": "str", "default": "kubernetes"},
                **{name: {"type": "path", "default": ""} for name in ("path", "page_path", "compare_path")},
            }
        )
        result["changed"] = False
        try:
            if not arguments["benchmark"]:
                # Before the run: only whether the judgement can be made in the end.
                density_report.judge.limits_of(arguments["gates"])
                earlier_of(arguments["compare_path"])
                return result
            report = density_report.build(
                {name: arguments[name] for name in PARTS},
                arguments["cluster"],
                arguments["settings"],
                arguments["gates"],
                earlier_of(arguments["compare_path"]),
            )
        except (GatesError, density_report.ReportError) as exc:
            raise AnsibleActionFail(str(exc)) from exc
        display.display(density_report.table(report))
        write(arguments["path"], json.dumps(report, indent=1) + "\n")
        write(arguments["page_path"], density_page.page(report))
        result.update(gates=report["gates"], failed_gates=report["failed"])
        said = density_report.failure(report)
        if said:
            result.update(failed=True, msg=said)
        return result


def earlier_of(path: str) -> dict[str, Any] | None:
    """The report to compare with; None without a path."""
    if not path:
        return None
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError) as exc:
        raise density_report.ReportError(f"density_benchmark_compare_path: {path} cannot be read: {exc}") from exc
    if not isinstance(found, dict) or found.get("schema") != density_report.SCHEMA:
        raise density_report.ReportError(f"density_benchmark_compare_path: {path} is no density report of this version")
    return found


def write(path: str, text: str) -> None:
    """Write a file of the report on the controller. An empty path writes none."""
    if path:
        full = os.path.expanduser(path)
        os.makedirs(os.path.dirname(full) or ".", exist_ok=True)
        write_atomic(full, text.encode("utf-8"))
