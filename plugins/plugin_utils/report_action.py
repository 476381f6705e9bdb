# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of actions that report on many hosts: arguments, a judgement, a table on the terminal, files on the controller, one failure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic

display = Display()


@dataclass(frozen=True)
class Report:
    """What a report is made of. ``files``: path -> text, an empty path writes none. ``failure``: why the run stops, empty when it goes on."""

    table: str
    result: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""


class ReportAction(ActionBase):
    """Runs on the controller and opens no connection. A report has ``ARGUMENTS`` (an argument spec) and :meth:`report`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    ARGUMENTS: ClassVar[Mapping[str, Any]] = {}

    def report(self, arguments: Mapping[str, Any]) -> Report:
        """Judge what was observed. AnsibleActionFail when the arguments cannot be judged."""
        raise NotImplementedError

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Show the table, write the files, return the result, or fail with it."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(argument_spec=dict(self.ARGUMENTS))
        made = self.report(arguments)
        display.display(made.table)
        for path, text in made.files.items():
            write_report(path, text)
        result.update(changed=False, **made.result)
        if made.failure:
            # Raised, not returned: so the list is printed line by line.
            raise AnsibleActionFail(made.failure, result=result)
        return result


def write_report(path: str, text: str) -> None:
    """Write a file of a report, in check mode too: it is what was asked for, on the controller. An empty path writes none."""
    if path:
        full = os.path.expanduser(path)
        os.makedirs(os.path.dirname(full) or ".", exist_ok=True)
        write_atomic(full, text.encode("utf-8", errors="replace"))
