# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works out which certificates and keys a host lacks, signs them on the controller and installs them in one call."""

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._pki_files import ETCD_USER
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import pki
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.interpreter import NodeAction

MODULE = "bare_metal.kubernetes.pki_install"
HEADER = "certificates and keys"


class ActionModule(NodeAction):
    """Plan from the facts; nothing to do means no connection."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return ``changes`` (path -> reason) and a diff of paths."""
        variables = task_vars or {}
        super().run(tmp, variables)
        if self._task.args.get("files") is not None:
            return self._execute_module(module_name=MODULE, module_args=self._task.args, task_vars=variables)
        _result, arguments = self.validate_argument_spec(
            argument_spec=dict(
                facts=dict(type="dict", required=True),
                authorities=dict(type="dict", required=True, no_log=True),
                renew_before_days=dict(type="int", default=90),
                encrypted_resources=dict(type="list", elements="str", default=["secrets"]),
            )
        )
        now = datetime.datetime.now(datetime.UTC)
        resources = arguments["encrypted_resources"]
        host = pki.Host.of(str(variables["inventory_hostname"]), arguments["facts"])
        shared, secrets = pki.unpack(arguments["authorities"])
        changes = pki.plan_host(
            host, shared, renew_before_days=arguments["renew_before_days"], resources=resources, now=now
        )
        reasons = {change.path: change.reason for change in changes}
        after = "".join(f"{path}: {reason}\n" for path, reason in reasons.items())
        report: dict[str, t.Any] = {
            "changed": bool(changes),
            "changes": reasons,
            "diff": {"before_header": HEADER, "after_header": HEADER, "before": "", "after": after},
        }
        if not changes or self._task.check_mode:
            return report
        if pki.needs_secrets(changes) and secrets is None:
            raise AnsibleActionFail(
                f"{', '.join(reasons)} have to be issued, but the authorities came without their keys"
            )
        files = pki.build_files(host, changes, shared, secrets or pki.Secrets(), resources, now)
        result = self._execute_module(
            module_name=MODULE,
            module_args={"user": ETCD_USER if host.etcd else "", "files": files},
            task_vars=variables,
        )
        if result.get("failed"):
            raise AnsibleActionFail(
                str(result.get("msg") or result.get("module_stderr") or "the module gave no reason")
            )
        return report
