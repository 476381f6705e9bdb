# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds or makes the cluster's authorities, once for all hosts. Asks one control plane for its keys, and only when something has to be issued."""

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import pki
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.interpreter import NodeAction

FACTS_MODULE = "bare_metal.kubernetes.pki_facts"
INSTALL_MODULE = "bare_metal.kubernetes.pki_install"


class ActionModule(NodeAction):
    """Survey all hosts' facts; refuse, or return what every host may take from."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return ``authorities`` (see :func:`pki.pack`) and ``warnings``. Secrets are in it only when a host needs one, never in check mode."""
        variables = task_vars or {}
        super().run(tmp, variables)
        _result, arguments = self.validate_argument_spec(
            argument_spec=dict(
                facts=dict(type="dict", required=True),
                expected_hosts=dict(type="list", elements="str", required=True),
                renew_before_days=dict(type="int", default=90),
                encrypted_resources=dict(type="list", elements="str", default=["secrets"]),
            )
        )
        hosts = [pki.Host.of(name, facts) for name, facts in arguments["facts"].items()]
        now = datetime.datetime.now(datetime.UTC)
        survey = pki.survey(hosts, arguments["expected_hosts"], now)
        if survey.problems:
            raise AnsibleActionFail("The cluster's certificates cannot be settled:\n- " + "\n- ".join(survey.problems))
        settings: dict[str, t.Any] = {
            "renew_before_days": arguments["renew_before_days"],
            "resources": arguments["encrypted_resources"],
            "now": now,
        }
        report: dict[str, t.Any] = {"changed": False, "warnings": list(survey.warnings)}
        wanted = any(pki.needs_secrets(pki.plan_host(host, survey.shared, **settings)) for host in hosts)
        if self._task.check_mode or not wanted:
            return {**report, "authorities": pki.pack(survey.shared, None)}
        if not self._task.no_log:
            raise AnsibleActionFail("private keys are needed: set no_log on the task")
        target = str(self._task.delegate_to or variables.get("inventory_hostname"))
        if target != pki.key_holder(hosts, survey):
            raise AnsibleActionFail(f"delegate the task to {pki.key_holder(hosts, survey)} (it runs on {target})")
        known = self._fetch(target, survey, variables) if survey.best_holder else pki.Secrets()
        shared, secrets = pki.make_secrets(survey.shared, known, now)
        if known != secrets:
            host = next(host for host in hosts if host.name == target)
            changes = pki.founding(pki.plan_host(host, shared, **settings))
            made = pki.build_files(host, changes, shared, secrets, settings["resources"], now)
            self._call(target, INSTALL_MODULE, {"files": made}, variables)
            report["changed"] = True
        return {**report, "authorities": pki.pack(shared, secrets)}

    def _fetch(self, target: str, survey: pki.Survey, variables: dict[str, t.Any]) -> pki.Secrets:
        """Fetch the keys from the host that the task is delegated to, and check them."""
        result = self._call(target, FACTS_MODULE, {"control_plane": True, "include_keys": True}, variables)
        try:
            return pki.read_secrets(result["pki"]["files"], survey.shared)
        except pki.PkiError as exc:
            raise AnsibleActionFail(f"the keys of {target} cannot be used: {exc}") from None

    def _call(
        self, target: str, module: str, arguments: dict[str, t.Any], variables: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        result = self._execute_module(module_name=module, module_args=arguments, task_vars=variables)
        if result.get("failed") or result.get("unreachable"):
            raise AnsibleActionFail(f"{module} failed on {target}: {result.get('msg') or result.get('module_stderr')}")
        return result
