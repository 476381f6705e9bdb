# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of a bundle's manifest, for lazily evaluated role variables."""

from __future__ import annotations

DOCUMENTATION = r"""
name: bundle_manifest
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
version_added: 0.1.0
short_description: The manifest of a bundle in the controller's cache
description:
  - Reads the C(manifest.json) that M(bare_metal.kubernetes.bundle) wrote. Opens no connection and builds nothing.
  - Fails with the command to run when the bundle is not there.
options:
  release_set:
    description: Name of a release set in the bundle's lock.
    type: str
    default: stable
  kubernetes_version:
    description: A Kubernetes version of that set. Empty means the set's default.
    type: str
    default: ''
  architecture:
    description: Architecture of the nodes.
    type: str
    choices: [amd64, arm64]
    default: amd64
  features:
    description: What the bundle was made with, as M(bare_metal.kubernetes.bundle) was asked.
    type: list
    elements: str
    default: [calico]
  cache_dir:
    description: The controller's cache. Empty means C($BARE_METAL_KUBERNETES_CACHE), else C(~/.cache/bare_metal_kubernetes).
    type: str
    default: ''
seealso:
  - plugin: bare_metal.kubernetes.bundle_files
    plugin_type: filter
  - plugin: bare_metal.kubernetes.bundle_images
    plugin_type: filter
"""

EXAMPLES = r"""
cluster_bundle_manifest: "{{ lookup('bare_metal.kubernetes.bundle_manifest', release_set=cluster_release_set) }}"
"""

RETURN = r"""
_raw:
  description: One element, the manifest. Its shape is described with M(bare_metal.kubernetes.bundle).
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    BundleError,
    load_manifest,
    manifest_path,
    resolve_cache_dir,
)


class LookupModule(LookupBase):
    """Reads one manifest."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the manifest as a list of one."""
        self.set_options(var_options=variables, direct=kwargs)
        if terms:
            raise AnsibleLookupError("bundle_manifest: takes options only, no terms.")
        try:
            path = manifest_path(
                resolve_cache_dir(self.get_option("cache_dir")),
                self.get_option("release_set"),
                self.get_option("architecture"),
                self.get_option("kubernetes_version"),
                self.get_option("features"),
            )
            return [load_manifest(path).to_dict()]
        except BundleError as error:
            raise AnsibleLookupError(f"bundle_manifest: {error}") from error
