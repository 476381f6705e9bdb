# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action tor_config: judge the inventory, work out the routers' side of BGP, write it to files on the controller. Opens no connection."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.bare_metal.kubernetes.plugins.action.validate_cluster import Inventory, outcome
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, tor_config, tor_config_render
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster import validate
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import View

FORMATS = ("frr", "bird", "table")
ARGUMENTS = {
    "directory": {"type": "str", "required": True},
    "formats": {"type": "list", "elements": "str", "choices": list(FORMATS), "default": list(FORMATS)},
}


class ActionModule(ActionBase):
    """Entry point of the action."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the paths, and what changed, or fail with every error of the inventory."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        if addresses.NETADDR_MISSING:
            raise AnsibleError(
                f"tor_config needs the Python library netaddr on the controller: {addresses.NETADDR_MISSING}"
            )
        try:
            given = Inventory(self._loader, task_vars or {}).read()
        except BundleError as error:
            raise AnsibleError(str(error)) from error
        verdict = outcome(validate(given), given.groups)
        if verdict.get("failed"):
            raise AnsibleActionFail(verdict["msg"], result={**result, **verdict})
        try:
            routers = tor_config.plan(View(given))
            wanted = files(routers, arguments["formats"])
            changed = write(Path(arguments["directory"]), wanted, self._task.check_mode)
        except (tor_config.TorConfigError, OSError) as error:
            raise AnsibleActionFail(f"tor_config: {error}") from error
        return {
            **result,
            "changed": bool(changed),
            "files": [str(Path(arguments["directory"]) / name) for name in wanted],
            "written": changed,
            "routers": [tor_config_render.as_data(router) for router in routers],
        }


def files(routers: list[tor_config.Router], formats: list[str]) -> dict[str, str]:
    """``{path below the directory: text}``."""
    found: dict[str, str] = {}
    for router in routers:
        place = router.name.replace(":", "-")
        if "frr" in formats:
            found[f"{place}/frr.conf"] = tor_config_render.frr(router)
        if "bird" in formats:
            found[f"{place}/bird.conf"] = tor_config_render.bird(router)
    if "table" in formats:
        data = [tor_config_render.as_data(router) for router in routers]
        found["routers.md"] = tor_config_render.table(routers)
        found["routers.json"] = json.dumps(data, indent=2) + "\n"
    return found


def write(directory: Path, wanted: dict[str, str], check: bool) -> list[str]:
    """Write what differs, readable for the owner alone, and return the names."""
    changed = []
    for name, text in wanted.items():
        path = directory / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        changed.append(name)
        if not check:
            for folder in (directory, path.parent):
                os.makedirs(folder, mode=0o700, exist_ok=True)
            write_atomic(str(path), text.encode(), mode=0o600)
    return changed
