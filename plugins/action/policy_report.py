# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action policy_report: judge what the nodes tried, or list what policies would cut."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import policy_report
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.report_action import Report, ReportAction


class ActionModule(ReportAction):
    """Policies and what passes them, over all nodes."""

    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        "about": {"type": "str", "choices": ["test", "cut"], "required": True},
        "facts": {"type": "dict", "required": True},
        "objects": {"type": "list", "elements": "dict", "required": True},
        "results": {"type": "dict", "required": True},
        "nodes": {"type": "dict", "default": {}},
        "api": {"type": "list", "elements": "str", "default": []},
        "limit": {"type": "int", "default": 400},
        "path": {"type": "path", "default": ""},
    }

    def report(self, arguments: Mapping[str, Any]) -> Report:
        """Judge by the policies that are wanted and those that are there."""
        facts, objects, results = arguments["facts"], arguments["objects"], arguments["results"]
        if arguments["about"] == "test":
            made = policy_report.tested(facts, objects, results, arguments["api"], arguments["limit"])
        else:
            addresses = {str(address): str(node) for node, address in arguments["nodes"].items()}
            made = policy_report.foreseen(facts, objects, results, addresses)
        failure = "\n".join(["Policies do not do what is described:", *(f"- {line}" for line in made.wrong)])
        return Report(
            table="\n".join(made.lines),
            result=made.data,
            files={arguments["path"]: json.dumps(made.data, indent=2) + "\n"},
            failure=failure if made.wrong else "",
        )
