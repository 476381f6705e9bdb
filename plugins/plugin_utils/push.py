# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send blobs of the controller's store to a node that can reach no registry, over Ansible's own connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import resolve_cache_dir
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.interpreter import NodeAction

display = Display()


def without(entries: Any, option: str, extras: Iterable[str]) -> list[dict[str, Any]]:
    """``entries`` without the keys that the bundle's filters add and the module does not take. Other keys reach the module, which refuses them."""
    if (
        not isinstance(entries, Sequence)
        or isinstance(entries, str)
        or not all(isinstance(entry, Mapping) for entry in entries)
    ):
        raise AnsibleActionFail(f"'{option}' has to be a list of dictionaries")
    dropped = frozenset(extras)
    return [{key: value for key, value in entry.items() if key not in dropped} for entry in entries]


class PushAction(NodeAction):
    """What the actions of ``node_artifacts`` and ``node_images`` share."""

    _supports_check_mode = True
    _supports_diff = True
    module = ""

    def store(self) -> BlobStore:
        """The controller's store, as ``cache_dir`` says."""
        return BlobStore(resolve_cache_dir(self._task.args.get("cache_dir") or ""))

    def ask(self, task_vars: Any, args: Mapping[str, Any]) -> dict[str, Any]:
        """Run the module."""
        return dict(self._execute_module(module_name=self.module, module_args=dict(args), task_vars=task_vars))

    def send(self, store: BlobStore, digests: Mapping[str, str], host: str) -> dict[str, str]:
        """Copy blobs to the node.

        :param digests: bare hex to the name that messages use.
        :param host: the node's name, for messages.
        :return: bare hex to the path on the node; the directory is removed with the task's other temporary files.
        """
        absent = [
            f"{name}: {store.path(digest)} is not there" for digest, name in digests.items() if not store.has(digest)
        ]
        if absent:
            raise AnsibleActionFail(
                "The controller's store does not hold what the node needs; run the playbook bare_metal.kubernetes.bundle again:\n"
                + "\n".join(absent)
            )
        directory = self._connection._shell.tmpdir or self._make_tmp_path()
        staged = {}
        for digest, name in digests.items():
            target = self._connection._shell.join_path(directory, digest)
            size = store.path(digest).stat().st_size
            display.vv(f"sending {name} ({size / 2**20:.1f} MiB)", host=host)
            self._transfer_file(str(store.path(digest)), target)
            staged[digest] = target
        self._fixup_perms2([directory, *staged.values()], execute=False)
        return staged
