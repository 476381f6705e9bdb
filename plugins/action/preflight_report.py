# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action preflight_report: judge all machines together, print the report, write the JSON, fail for all when one has an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import preflight
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.report_action import Report, ReportAction


class ActionModule(ReportAction):
    """All findings of all machines."""

    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        "hosts": {"type": "dict", "required": True},
        "groups": {"type": "dict", "default": {}},
        "max_clock_skew_seconds": {"type": "float", "default": 300.0},
        "path": {"type": "path", "default": ""},
    }

    def report(self, arguments: Mapping[str, Any]) -> Report:
        """Judge every machine, and what only shows when machines are compared."""
        given = arguments["hosts"]
        hosts = sorted(given)
        if not hosts:
            raise AnsibleActionFail("preflight_report: there is no host to report on; nothing was examined.")
        inventory = preflight.Inventory(
            hosts=hosts,
            groups=arguments["groups"],
            waivers={host: entry.get("waivers") or {} for host, entry in given.items()},
            racks={host: entry.get("rack") or "" for host, entry in given.items()},
            node_ips={host: entry.get("node_ip") or "" for host, entry in given.items()},
            max_clock_skew_seconds=arguments["max_clock_skew_seconds"],
        )
        findings = preflight.judge(inventory, {host: entry.get("answer") or {} for host, entry in given.items()})
        data = preflight.as_data(findings, hosts)
        return Report(
            table=preflight.table(findings, hosts),
            result=data,
            files={arguments["path"]: json.dumps(data, indent=2) + "\n"},
            failure=preflight.message(findings, hosts) if data["error_count"] else "",
        )
