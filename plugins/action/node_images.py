# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends the images of node_images to nodes that can reach no registry."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.push import PushAction, without
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.registry import stored_image

# Keys of the filter bundle_images; its "pinned" is a reference, the module's option of that name something else.
FILTER_KEYS = ("component", "version", "source", "blobs", "reference", "pinned")


class ActionModule(PushAction):
    """One round trip when nothing is missing or the node has a registry; else ask, send, import."""

    module = "bare_metal.kubernetes.node_images"

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, sending what it misses first."""
        super().run(tmp, task_vars)
        host = (task_vars or {}).get("inventory_hostname", "")
        args = dict(self._task.args)
        args["images"] = without(args.get("images"), "images", FILTER_KEYS)
        if args.get("registry") or self._task.check_mode:
            return self.ask(task_vars, args)
        found = self.ask(task_vars, {**args, "plan_only": True})
        if found.get("failed") or not found.get("changed"):
            return found
        store = self.store()
        digests: dict[str, str] = {}
        try:
            for image in found["missing"]:
                reference = f"{image['name']}:{image['tag']}"
                content = stored_image(store, image["digest"], reference)
                digests |= {digest.removeprefix("sha256:"): reference for digest in content.digests}
        except BundleError as error:
            raise AnsibleActionFail(str(error)) from None
        return self.ask(task_vars, {**args, "staged": self.send(store, digests, host)})
