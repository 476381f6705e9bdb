# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action verification_report: judge what the probes saw, print the table, write the JSON, fail by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    verification,
    verification_endpoint,
    verification_families,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.report_action import Report, ReportAction


class ActionModule(ReportAction):
    """What is true of the cluster."""

    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        "wanted": {"type": "dict", "required": True},
        "cluster": {"type": "dict", "required": True},
        "hosts": {"type": "dict", "required": True},
        "domain": {"type": "str", "default": "cluster.local"},
        "path": {"type": "path", "default": ""},
        "preview": {"type": "bool", "default": False},
    }

    def report(self, arguments: Mapping[str, Any]) -> Report:
        """Judge every statement about the cluster."""
        try:
            wanted = verification.Wanted(**arguments["wanted"])
        except TypeError as error:
            raise AnsibleActionFail(f"verification_report: 'wanted' has a key that is not known: {error}") from error
        rows = verification_families.judge(wanted, arguments["cluster"], arguments["hosts"], arguments["domain"])
        rows += verification_endpoint.judge(wanted, arguments["hosts"])
        data = verification.as_data(rows)
        failed = [row for row in rows if row.result == "failed"]
        lines = [f"- {row.check}: {row.subject}: {row.detail}" for row in failed]
        head = f"{len(failed)} of {len(rows)} statements about the cluster are not true:"
        table = verification.table(rows)
        if failed and arguments["preview"]:
            table += "\nA preview: what is not true yet is no failure, for nothing was changed."
        return Report(
            table=table,
            # The table and the message say it all when it fails; the rows are in the file, when one is asked for.
            result={"failed_count": len(failed), **({} if failed else {"rows": data})},
            files={arguments["path"]: json.dumps({"failed": len(failed), "rows": data}, indent=2) + "\n"},
            failure="\n".join([head, *lines]) if failed and not arguments["preview"] else "",
        )
