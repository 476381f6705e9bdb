# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of a rendered chart, for lazily evaluated role variables."""

from __future__ import annotations

DOCUMENTATION = r"""
name: helm_template
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
version_added: 0.1.0
short_description: The objects of a chart that is in the bundle
description:
  - Renders a chart with the bundle's own helm on the controller. Asks no cluster, downloads nothing and reads no settings of the user's Helm.
  - Program and chart are taken from the controller's store and hashed first.
options:
  helm:
    description: The bundle's entry of the program, as P(bare_metal.kubernetes.bundle_files#filter) gives it.
    type: dict
    required: true
  chart:
    description: The bundle's entry of the chart's archive.
    type: dict
    required: true
  release:
    description: Name of the release in the chart's eyes.
    type: str
    required: true
  namespace:
    description: Namespace of the objects that have one.
    type: str
    default: kube-system
  values:
    description: The values.
    type: dict
    default: {}
  kube_version:
    description: Version of the Kubernetes that the objects are for.
    type: str
    required: true
  cache_dir:
    description: The controller's cache. Empty means C($BARE_METAL_KUBERNETES_CACHE), else C(~/.cache/bare_metal_kubernetes).
    type: str
    default: ''
seealso:
  - plugin: bare_metal.kubernetes.cilium_objects
    plugin_type: filter
"""

EXAMPLES = r"""
__example_rendered: >-
  {{ lookup('bare_metal.kubernetes.helm_template', release='cilium', values=__example_values, kube_version='v1.36.3',
            helm=(cluster_bundle_manifest | bare_metal.kubernetes.bundle_files(['helm']))[0],
            chart=(cluster_bundle_manifest | bare_metal.kubernetes.bundle_files(['cilium-chart.tgz']))[0]) }}
"""

RETURN = r"""
_raw:
  description: One element, the list of the chart's objects.
  type: list
  elements: list
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import resolve_cache_dir
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.helm import HelmError, Request, StoredFile, render


class LookupModule(LookupBase):
    """Renders one chart."""

    def run(
        self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[list[dict[str, Any]]]:
        """Return the objects as a list of one."""
        self.set_options(var_options=variables, direct=kwargs)
        if terms:
            raise AnsibleLookupError("helm_template: takes options only, no terms.")
        blobs = resolve_cache_dir(self.get_option("cache_dir")) / "store" / "blobs" / "sha256"
        request = Request(
            self.get_option("release"),
            self.get_option("namespace"),
            self.get_option("values"),
            self.get_option("kube_version"),
        )
        try:
            helm, chart = (self._stored(blobs, name) for name in ("helm", "chart"))
            return [render(helm, chart, request)]
        except HelmError as error:
            raise AnsibleLookupError(f"helm_template: {error}") from error

    def _stored(self, blobs: Path, option: str) -> StoredFile:
        entry = self.get_option(option)
        if "sha256" not in entry:
            raise HelmError(f"the option {option} is no file of a bundle: it has no sha256")
        return StoredFile(blobs / str(entry["sha256"]), str(entry["sha256"]))
