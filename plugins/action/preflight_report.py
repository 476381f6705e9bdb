# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action preflight_report: judge all machines together, print the report, write the JSON, fail for all when one has an error."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import preflight

display = Display()


class ActionModule(ActionBase):
    """Runs on the controller and opens no connection."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the findings, or fail with every error in the message."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={
                "hosts": {"type": "dict", "required": True},
                "groups": {"type": "dict", "default": {}},
                "max_clock_skew_seconds": {"type": "float", "default": 300.0},
                "path": {"type": "path", "default": ""},
            }
        )
        path, given = arguments["path"], arguments["hosts"]
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
        display.display(preflight.table(findings, hosts))
        report = preflight.as_data(findings, hosts)
        if path:
            path = os.path.expanduser(path)
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            write_atomic(path, (json.dumps(report, indent=2) + "\n").encode("utf-8"))
        result.update(changed=False, **report)
        if report["error_count"]:
            # Raised, not returned: so the list is printed line by line.
            raise AnsibleActionFail(preflight.message(findings, hosts), result=result)
        return result
