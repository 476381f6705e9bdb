#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings images of the bundle into containerd."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_images
short_description: Images of the bundle in containerd, all in one call
version_added: 0.1.0
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Makes sure that every image is in containerd's namespace C(k8s.io) under C(name:tag) and C(name@digest), complete, unpacked, and with this digest.
  - What is missing is pulled by digest from the bundle's registry and from nowhere else, or imported from what the controller sends.
    Neither the registry nor the connection is trusted, every blob is checked by its digest.
extends_documentation_fragment:
  - bare_metal.kubernetes.from_bundle
options:
  images:
    description: The wanted images.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: 'Full name with the upstream host, without a tag.', type: str, required: true}
      tag: {description: Tag., type: str, required: true}
      digest: {description: C(sha256:) and 64 hexadecimal digits of the manifest or index., type: str, required: true}
      size: {description: Bytes of the whole image., type: int}
  pinned:
    description:
      - Keep the images from the kubelet's garbage collection (a label that the CRI passes on to it). Other versions of the same images lose the label,
        so they go when the space is needed.
    type: bool
    default: true
  parallel:
    description: Images that are brought at once.
    type: int
    default: 3
  address:
    description: Socket of containerd.
    type: path
    default: /run/containerd/containerd.sock
attributes:
  check_mode: {description: Says what a run would change; a containerd that is not there yet counts as empty., support: full}
  diff_mode: {description: Shows the digest of every changed reference., support: full}
"""

EXAMPLES = r"""
- name: Preload what the node runs
  bare_metal.kubernetes.node_images:
    images: "{{ cluster_bundle_manifest | bare_metal.kubernetes.bundle_images(['registry.k8s.io/pause']) }}"
    registry: http://10.77.3.10:5000
"""

RETURN = r"""
changes: {description: 'What changed, or would: reference, before, after, fetch.', type: list, elements: dict, returned: always}
missing: {description: 'Images whose content the node lacked: name, tag, digest.', type: list, elements: dict, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _images, _oci_registry
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError

IMAGE = {
    "name": {"type": "str", "required": True},
    "tag": {"type": "str", "required": True},
    "digest": {"type": "str", "required": True},
    "size": {"type": "int"},
}


def bring(module: AnsibleModule, ctr: _images.Ctr) -> list[_images.Change]:
    """Observe, plan, act; return the changes."""
    args = module.params
    registry = _oci_registry.normalise_registry(args["registry"]) if args["registry"] else ""
    images = _images.parse_images(args["images"])
    try:
        stored = ctr.observe()
    except CommandError:
        if not module.check_mode:
            raise
        stored = {}
    changes = _images.plan(images, stored, args["pinned"])
    if changes and not module.check_mode and not args["plan_only"]:

        def get(image: _images.Image) -> str:
            return _images.pull(ctr, registry, image) if registry else _images.load(ctr, args["staged"], image)

        _images.apply(ctr, changes, get, args["parallel"], args["pinned"])
        _images.verify(images, ctr.observe(), args["pinned"])
    return changes


def main() -> None:
    """Parse, call, report."""
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "dict", "required": True, "options": IMAGE},
            "registry": {"type": "str", "default": ""},
            "cache_dir": {"type": "str", "default": ""},
            "pinned": {"type": "bool", "default": True},
            "parallel": {"type": "int", "default": 3},
            "address": {"type": "path", "default": "/run/containerd/containerd.sock"},
            "plan_only": {"type": "bool", "default": False},
            "staged": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    program = module.get_bin_path("ctr", opt_dirs=["/usr/local/bin"]) or "ctr"
    try:
        changes = bring(module, _images.Ctr(program, module.params["address"]))
    except (_images.ImageError, _oci_registry.RegistryNameError, CommandError) as exc:
        problems = list(getattr(exc, "problems", [str(exc)]))
        module.fail_json(msg="Images are missing:\n" + "\n".join(problems), problems=problems)
    module.exit_json(
        changed=bool(changes),
        changes=_images.describe(changes),
        missing=_images.missing(changes),
        diff=_images.diff(changes),
    )


if __name__ == "__main__":
    main()
