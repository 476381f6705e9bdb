#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings files of the bundle to a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_artifacts
short_description: Files of the bundle on a node, all in one call
version_added: 0.1.0
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Makes sure that every file is at its place with its SHA-256, owner and mode. What is missing is fetched in parallel, or pushed by the controller.
  - Nothing is installed before everything has been fetched and checked; each file then appears by one rename. A cut download is continued by the next run.
  - Sums of unchanged files come from a cache (inode, size, mtime, ctime), so a run that changes nothing reads no file.
extends_documentation_fragment:
  - bare_metal.kubernetes.from_bundle
options:
  files:
    description: The wanted files.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name in the bundle's manifest; messages use it., type: str, required: true}
      sha256: {description: 64 hexadecimal digits., type: str, required: true}
      size: {description: Length in bytes., type: int, required: true}
      dest: {description: Absolute path on the node. Missing directories are made with mode 0755., type: str, required: true}
      mode: {description: 'Permission bits, octal.', type: str, default: '0755'}
      owner: {description: Name or number of the owner., type: str, default: root}
      group: {description: Name or number of the group., type: str, default: root}
  state_dir:
    description: Directory on the node for the cache of sums (C(artifacts.json)).
    type: path
    default: /var/lib/bare-metal-kubernetes
  parallel:
    description: Files that are fetched at once.
    type: int
    default: 4
attributes:
  check_mode: {description: Says what a run would change., support: full}
  diff_mode: {description: 'Shows sum, mode and owner of every changed path.', support: full}
"""

EXAMPLES = r"""
- name: Install the kubelet from the bundle's server
  bare_metal.kubernetes.node_artifacts:
    files: "{{ cluster_bundle_manifest | bare_metal.kubernetes.bundle_files(['kubelet', 'kubeadm']) | bare_metal.kubernetes.placed_in('/usr/local/bin') }}"
    registry: http://10.77.3.10:5000
"""

RETURN = r"""
changes: {description: 'What changed, or would: name, dest, fetch, before.', type: list, elements: dict, returned: always}
missing: {description: Sums of the content that the node does not have., type: list, elements: str, returned: always}
fetched_bytes: {description: Bytes that were fetched., type: int, returned: always}
hashed: {description: Files that had to be read to know their sum., type: int, returned: always}
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _artifacts, _oci_registry

FILE = {
    "name": {"type": "str", "required": True},
    "sha256": {"type": "str", "required": True},
    "size": {"type": "int", "required": True},
    "dest": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0755"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}


def main() -> None:
    """Observe, plan, act, report."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True, "options": FILE},
            "registry": {"type": "str", "default": ""},
            "cache_dir": {"type": "str", "default": ""},
            "state_dir": {"type": "path", "default": "/var/lib/bare-metal-kubernetes"},
            "parallel": {"type": "int", "default": 4},
            "plan_only": {"type": "bool", "default": False},
            "staged": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    args = module.params
    read_only = module.check_mode or args["plan_only"]
    cache = _artifacts.SumCache(os.path.join(args["state_dir"], "artifacts.json"))
    fetched = 0
    try:
        registry = _oci_registry.normalise_registry(args["registry"]) if args["registry"] else ""
        wanted = _artifacts.parse_artifacts(args["files"])
        changes = _artifacts.plan(wanted, {artifact.dest: _artifacts.observe(artifact, cache) for artifact in wanted})
        if not read_only:
            fetch = _artifacts.from_registry(registry) if registry else _artifacts.from_staged(args["staged"])
            fetched = _artifacts.apply(changes, fetch, cache, args["parallel"])
        if not module.check_mode:
            cache.save()
    except (_artifacts.ArtifactError, _oci_registry.RegistryNameError) as exc:
        problems = list(getattr(exc, "problems", [str(exc)]))
        module.fail_json(msg="Nothing was installed:\n" + "\n".join(problems), problems=problems)
    except OSError as exc:
        module.fail_json(
            msg=f"The files could not be installed: {exc}. Run again when it is mended: what is installed stays."
        )
    module.exit_json(
        changed=bool(changes),
        changes=_artifacts.describe(changes),
        missing=_artifacts.missing_sums(changes),
        fetched_bytes=fetched,
        hashed=cache.hashed,
        diff=_artifacts.diff(changes),
    )


if __name__ == "__main__":
    main()
