# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills a bundle on the controller: downloads or compiles what is missing, and says what it does while it does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import proxies
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_build import BuildSource
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_go import ensure_go
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import (
    ARCHITECTURES,
    Lock,
    Release,
    load_lock,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_make import ComponentSource, make_bundle
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    DEFAULT_FEATURES,
    BundleError,
    resolve_cache_dir,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_store import BlobStore

ARGUMENTS: dict[str, dict[str, Any]] = {
    "release_set": {"type": "str", "default": "stable"},
    "source": {"type": "str", "choices": ["upstream", "mirror", "build"], "default": "upstream"},
    "mirror_url": {"type": "str", "default": ""},
    "cache_dir": {"type": "str", "default": ""},
    "architecture": {"type": "str", "choices": list(ARCHITECTURES), "default": "amd64"},
    "kubernetes_version": {"type": "str", "default": ""},
    "features": {"type": "list", "elements": "str", "default": list(DEFAULT_FEATURES)},
    "components": {"type": "list", "elements": "str", "default": []},
    "debian_mirror": {"type": "str", "default": ""},
    "http_proxy": {"type": "str", "default": "", "no_log": True},
    "https_proxy": {"type": "str", "default": "", "no_log": True},
    "no_proxy": {"type": "list", "elements": "str", "default": []},
}


def source_chooser(
    arguments: dict[str, Any], lock: Lock, release: Release, store: BlobStore, say: Callable[[str], None]
) -> Callable[[str], ComponentSource]:
    """Which source a component comes from: what no project publishes is built, whatever the rest comes from."""
    architecture = arguments["architecture"]
    build = BuildSource(
        lock, release, architecture, store, lambda: ensure_go(store.cache_dir, say), say, arguments["debian_mirror"]
    )
    if arguments["source"] == "build":
        return lambda component: build
    from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_upstream import UpstreamSource

    lock.check_pinned(release, architecture, arguments["components"])
    mirror_url = arguments["mirror_url"] if arguments["source"] == "mirror" else ""
    upstream = UpstreamSource(lock, architecture, store, say, mirror_url)
    return lambda component: upstream if lock.has_upstream(component) else build


class ActionModule(ActionBase):
    """Runs on the controller alone; the host of the task is not contacted."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fill the bundle and return its manifest."""
        super().run(tmp, task_vars or {})
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        if arguments["source"] == "mirror" and not arguments["mirror_url"]:
            raise AnsibleActionFail("source 'mirror' needs mirror_url, the base URL of the mirror.")
        store = BlobStore(resolve_cache_dir(arguments["cache_dir"]))
        say = self._display.display
        try:
            lock = load_lock()
            release = lock.release(arguments["release_set"], arguments["kubernetes_version"], arguments["features"])
            source_of = source_chooser(arguments, lock, release, store, say)
            asked = [arguments["mirror_url"], arguments["debian_mirror"]]
            through = proxies.environment(
                arguments["http_proxy"], arguments["https_proxy"], arguments["no_proxy"], asked
            )
            with proxies.applied(through):
                outcome = make_bundle(
                    release,
                    arguments["architecture"],
                    arguments["source"],
                    source_of,
                    store,
                    say,
                    arguments["components"],
                )
        except proxies.ProxyError as error:
            raise AnsibleActionFail(f"bundle: {error}") from error
        except BundleError as error:
            # Programs that could not get through may print the proxy that they were given.
            raise AnsibleActionFail(proxies.without_passwords(str(error), arguments)) from error
        return {
            "changed": outcome.changed,
            "manifest": outcome.manifest.to_dict(),
            "path": str(outcome.path) if outcome.path else None,
        }
