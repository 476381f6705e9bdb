# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishes a bundle from the controller's store to a registry."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._oci_registry import RegistryNameError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import publish
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    BundleError,
    parse_manifest,
    resolve_cache_dir,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.registry import RegistryClient

display = Display()


class ActionModule(ActionBase):
    """Runs on the controller only; opens no connection to a host."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Plan, then upload unless in check mode."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(
            argument_spec={
                "registry": {"type": "str", "required": True},
                "manifest": {"type": "dict", "required": True},
                "cache_dir": {"type": "str", "default": ""},
            }
        )
        store = BlobStore(resolve_cache_dir(args["cache_dir"]))
        dry, sent = self._task.check_mode, 0
        try:
            with RegistryClient(args["registry"]) as client:
                todo = publish.plan(client, store, parse_manifest(args["manifest"]), absent_is_empty=dry)
                if todo.uploads and not dry:
                    sent = publish.apply(client, store, todo, display.display)
        except (BundleError, RegistryNameError) as error:
            raise AnsibleActionFail(str(error)) from None
        return {
            "changed": bool(todo.uploads),
            "uploaded": todo.names,
            "sent_bytes": sent,
            "diff": {
                "before": "",
                "after": "".join(f"{upload.repository}:{upload.tag}@{upload.root.digest}\n" for upload in todo.uploads),
            },
        }
