# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action capacity_plan: judge the inventory, compute its plan on the controller, print it, write JSON and HTML. Opens no connection."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.bare_metal.kubernetes.plugins.action.validate_cluster import Inventory, outcome
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    addresses,
    capacity_figures,
    capacity_plan,
    check_run,
    plan_page,
    plan_table,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster import validate
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import View
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.report_action import write_report

display = Display()

ARGUMENTS = {
    "json_path": {"type": "path", "default": ""},
    "html_path": {"type": "path", "default": ""},
    "site_check_path": {"type": "path", "default": ""},
    "machines": {"type": "dict", "default": {}},
    "assumed_machine": {"type": "dict", "default": {}},
    "wanted_pods": {"type": "int", "default": 0},
}
# The playbook's variables; validate_cluster judges the prefixes of roles only.
PREFIX = "capacity_plan_"
VARIABLES = frozenset(PREFIX + name for name in ARGUMENTS)


class ActionModule(ActionBase):
    """Entry point of the action."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan, or fail with every error of the inventory."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _validated, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        if addresses.NETADDR_MISSING:
            raise AnsibleError(
                f"capacity_plan needs the Python library netaddr on the controller: {addresses.NETADDR_MISSING}"
            )
        refuse_unknown(variables)
        try:
            given = Inventory(self._loader, variables).read()
        except BundleError as error:
            raise AnsibleError(str(error)) from error
        verdict = outcome(validate(given), given.groups)
        if verdict.get("failed"):
            raise AnsibleActionFail(verdict["msg"], result={**result, **verdict})
        try:
            made = make(View(given), arguments, measured(variables["hostvars"], (host.name for host in given.hosts)))
            write(made, arguments)
        except (capacity_figures.PlanError, check_run.CheckRunError, OSError) as error:
            raise AnsibleActionFail(f"capacity_plan: {error}") from error
        display.display(plan_table.table(made))
        written = [arguments[name] for name in ("json_path", "html_path") if arguments[name]]
        result |= {"changed": False, "plan": made, "written": written}
        if verdict.get("warnings"):
            result["warnings"] = verdict["warnings"]
        return result


def refuse_unknown(variables: Iterable[str]) -> None:
    """A misspelt variable of the playbook would be silent."""
    for name in sorted(map(str, variables)):
        if name.startswith(PREFIX) and name not in VARIABLES:
            near = difflib.get_close_matches(name.removeprefix(PREFIX), ARGUMENTS, 1)
            fix = f"did you mean {PREFIX}{near[0]}?" if near else f"there are {', '.join(sorted(VARIABLES))}"
            raise AnsibleActionFail(f"{name} is not a variable of the playbook plan; {fix}")


def measured(hostvars: Any, hosts: Iterable[str]) -> dict[str, Any]:
    """What preflight learned of machines earlier in this run (or Ansible's fact cache has), by host."""
    found = {}
    for host in hosts:
        facts = hostvars.raw_get(host).get("ansible_facts") or {}
        if isinstance(facts.get("bare_metal_machine"), Mapping):
            found[host] = facts["bare_metal_machine"]
    return found


def make(view: View, arguments: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The plan as plain data, without Ansible's types."""
    assumed = capacity_figures.ASSUMED
    if arguments["assumed_machine"]:
        assumed = capacity_figures.machine_of(arguments["assumed_machine"], "assumed_machine", "assumed")
    machines = capacity_figures.machines_of(arguments["machines"], facts, view.input.groups)
    changes = None
    if arguments["site_check_path"]:
        with open(arguments["site_check_path"], encoding="utf-8", errors="replace") as stream:
            text = stream.read(check_run.MOST_CHARACTERS + 1)
        try:
            changes = check_run.parse(text)
        except check_run.CheckRunError as error:
            raise check_run.CheckRunError(f"{arguments['site_check_path']} {error}") from error
    made = capacity_plan.plan(view, machines, assumed, changes, arguments["wanted_pods"])
    return dict(json.loads(json.dumps(made, default=str)))


def write(made: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Write the files that are asked for, in check mode too: they are the result."""
    contents = {
        "json_path": lambda: json.dumps(made, indent=2, ensure_ascii=False) + "\n",
        "html_path": lambda: plan_page.page(made),
    }
    for name, content in contents.items():
        if arguments[name]:
            write_report(arguments[name], content())
