#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action bundle_publish; the code is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_publish
short_description: Publish the bundle to a registry that the nodes can reach
version_added: 0.1.0
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Uploads the files and images of a bundle that an OCI registry does not hold yet. Runs on the controller and opens no connection to a host.
  - Images keep their whole name, C(registry.k8s.io/pause) becomes the repository C(registry.k8s.io/pause). Files are blobs of the repository
    C(bare-metal-kubernetes/files), held together by an artifact manifest under the tag C(<release set>-<architecture>-<Kubernetes version>).
  - The registry needs no trust, because nodes check what they get against the bundle's manifest. It takes uploads from anyone who reaches it, so a
    firewall has to say who that is.
options:
  registry:
    description: C(http://host:port) of the registry.
    type: str
    required: true
  manifest:
    description: The bundle's manifest, as P(bare_metal.kubernetes.bundle_manifest#lookup) gives it.
    type: dict
    required: true
  cache_dir:
    description: The controller's cache that holds the blobs. Empty means the collection's default cache.
    type: str
    default: ''
attributes:
  check_mode: {description: Asks the registry what it has and uploads nothing., support: full}
  diff_mode: {description: Lists the manifests that are uploaded., support: full}
"""

EXAMPLES = r"""
- name: Publish the bundle
  bare_metal.kubernetes.bundle_publish:
    registry: "{{ cluster_bundle_registry }}"
    manifest: "{{ cluster_bundle_manifest }}"
    cache_dir: "{{ cluster_bundle_cache_dir }}"
"""

RETURN = r"""
uploaded: {description: 'Names of what was uploaded, or would be.', type: list, elements: str, returned: always}
sent_bytes: {description: Bytes of blobs that were sent., type: int, returned: always}
"""
