# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action preflight_report: judge all machines together, print the report, write the JSON, fail for all when one has an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import node_space, preflight, upgrade_steps
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.report_action import Report, ReportAction


class ActionModule(ReportAction):
    """All findings of all machines."""

    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        "hosts": {"type": "dict", "required": True},
        "groups": {"type": "dict", "default": {}},
        "max_clock_skew_seconds": {"type": "float", "default": 300.0},
        "versions": {
            "type": "dict",
            "default": {},
            "options": {
                **{name: {"type": "str", "default": ""} for name in ("kubernetes", "etcd", "containerd")},
                **{
                    f"known_{name}": {"type": "list", "elements": "str", "default": []}
                    for name in ("kubernetes", "etcd")
                },
            },
        },
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
            target=target_of(arguments["versions"]),
            loads={
                host: node_space.Load(**load)
                for host, entry in given.items()
                if (load := (entry.get("answer") or {}).get("load"))
            },
        )
        findings = preflight.judge(inventory, {host: entry.get("answer") or {} for host, entry in given.items()})
        data = preflight.as_data(findings, hosts)
        return Report(
            table=preflight.table(findings, hosts),
            result=data,
            files={arguments["path"]: json.dumps(data, indent=2) + "\n"},
            failure=preflight.message(findings, hosts) if data["error_count"] else "",
        )


def target_of(given: Mapping[str, Any]) -> upgrade_steps.Target:
    """What the run would install, as the rules of steps see it."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return upgrade_steps.Target(**values)
