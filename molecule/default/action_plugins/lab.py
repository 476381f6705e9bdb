# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`lab:` in the lab's playbooks. Runs on the controller: the inventory in, podman's containers out.

state: present     create or repair, wait until it works         -> actions, changed
       absent      remove, put the host's parameters back        -> actions, changed
       kubeconfig  fetch an admin kubeconfig from a live control plane
       status      print tables                                  -> changed is false
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.bare_metal.kubernetes.plugins.action.validate_cluster import Inventory
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import tor_config, tor_config_render
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import View

# The package belongs to the lab, not to the collection: it is found beside this file.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bmk_lab import status
from bmk_lab.engine import Lab
from bmk_lab.model import LabError, build_topology

display = Display()


def host_descriptions(
    groups: Mapping[str, list[str]], hostvars: Mapping[str, Any], routers: Mapping[str, tor_config.Router]
) -> dict[str, dict[str, Any]]:
    """What `build_topology` wants of each host in the inventory's group `lab`."""
    return {
        name: {
            "legs": dict(hostvars[name].get("lab_legs") or {}),
            "as_number": hostvars[name].get("lab_as_number"),
            "volumes": list(hostvars[name].get("lab_volumes") or []),
            "frr_conf": tor_config_render.frr(routers[name]) if name in routers else "",
            "uplinks": [uplink.address for uplink in routers[name].uplinks] if name in routers else [],
        }
        for name in groups.get("lab", [])
    }


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _result, arguments = self.validate_argument_spec(
            {
                "state": {"type": "str", "required": True, "choices": ["present", "absent", "kubeconfig", "status"]},
                "name": {"type": "str", "required": True},
                "network": {"type": "str", "required": True},
                "network6": {"type": "str", "default": ""},
                "segments": {"type": "dict", "required": True},
                "directory": {"type": "path", "required": True},
            }
        )
        variables = task_vars or {}
        groups = variables["groups"]
        try:
            hosts = host_descriptions(groups, variables["hostvars"], self._routers(variables))
            topology = build_topology(
                arguments["name"], arguments["network"], arguments["segments"], hosts, arguments["network6"]
            )
            lab = Lab(
                topology, Path(arguments["directory"]).expanduser(), lambda text: display.display(f"  lab: {text}")
            )
            control_planes = sorted(groups.get("control_plane", []))
            if arguments["state"] == "present":
                result.update(self._present(lab))
            elif arguments["state"] == "absent":
                actions = lab.destroy(check=self._task.check_mode)
                result.update(changed=bool(actions), actions=[str(action) for action in actions])
            elif arguments["state"] == "kubeconfig":
                result.update(
                    changed=lab.fetch_kubeconfig(control_planes, check=self._task.check_mode),
                    path=str(lab.directory.kubeconfig),
                )
            else:
                lines = status.render(lab, *status.gather(lab, control_planes))
                display.display("\n".join(lines))
                result.update(changed=False, lines=lines)
        except LabError as error:
            result.update(failed=True, msg=str(error))
        return result

    def _routers(self, variables: dict[str, Any]) -> dict[str, tor_config.Router]:
        """What `bare_metal.kubernetes.tor_config` plans for each router of this inventory."""
        try:
            routers = tor_config.plan(View(Inventory(self._loader, variables).read()))
        except (tor_config.TorConfigError, BundleError) as error:
            raise LabError(f"The routers' configuration cannot be made: {error}") from None
        return {router.name: router for router in routers}

    def _present(self, lab: Lab) -> dict[str, Any]:
        lost = [router.name for router in lab.topology.routers if not router.frr_conf]
        if lost:
            raise LabError(
                f"{', '.join(lost)}: no node and no router has a session with it (cluster_bgp_peers, tor_config_uplinks)"
            )
        actions = lab.create(check=self._task.check_mode)
        changes = {"changed": bool(actions), "actions": [str(action) for action in actions]}
        if self._task.check_mode:
            return changes
        problems = lab.prove()
        if not problems:
            return changes
        listed = "\n".join(f"  - {name}: {problem}" for name, problem in problems.items())
        return {
            **changes,
            "failed": True,
            "msg": f"The lab stands but does not work:\n{listed}\n`podman restart <lab>-<host>` is a machine's power switch.",
        }
