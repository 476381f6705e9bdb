#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says which certificates and keys a host has, without giving the keys away."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pki_facts
short_description: Say which certificates and keys of the cluster a host has
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Reads the files that the cluster's certificates and keys consist of, on control planes and on hosts of etcd. Changes nothing.
  - Public texts are returned as they are. Of private keys a digest is returned, and whether the key belongs to the certificate beside it.
  - Private keys themselves are returned only with O(include_keys), which M(bare_metal.kubernetes.pki_authorities) uses when something has to be issued.
options:
  control_plane:
    description: Whether the host is a control plane.
    type: bool
    default: false
  etcd:
    description: Whether the host is a member of etcd.
    type: bool
    default: false
  names:
    description: Names that the host's certificates are to be valid for. Returned as they are, so that the facts tell all that a plan needs.
    type: list
    elements: str
    default: []
  addresses:
    description: IP addresses that the host's certificates are to be valid for. Returned as they are.
    type: list
    elements: str
    default: []
  include_keys:
    description: Return private keys too. Set C(no_log) on the task.
    type: bool
    default: false
attributes:
  check_mode: {description: Reads only., support: full}
  diff_mode: {description: Changes nothing., support: none}
"""

EXAMPLES = r"""
- name: Assert | Observe the certificates
  bare_metal.kubernetes.pki_facts:
    control_plane: true
    etcd: true
    names: ["{{ inventory_hostname }}"]
    addresses: ["{{ cluster_node_ip }}"]
  register: observed
"""

RETURN = r"""
pki:
  description: What the host has.
  returned: always
  type: dict
  contains:
    control_plane: {description: As given., type: bool, returned: always}
    etcd: {description: As given., type: bool, returned: always}
    names: {description: As given., type: list, elements: str, returned: always}
    addresses: {description: As given., type: list, elements: str, returned: always}
    etcd_user: {description: Whether the system user C(etcd) exists., type: bool, returned: always}
    files:
      description: >-
        By path, of the files that exist: C(kind), C(type), C(mode), C(owner); C(content) of public files; C(sha256) and C(matches) of private keys;
        C(redacted) of the encryption configuration.
      type: dict
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _pki_files as files


def main() -> None:
    """Observe, report."""
    module = AnsibleModule(
        argument_spec=dict(
            control_plane=dict(type="bool", default=False),
            etcd=dict(type="bool", default=False),
            names=dict(type="list", elements="str", default=[]),
            addresses=dict(type="list", elements="str", default=[]),
            include_keys=dict(type="bool", default=False, no_log=False),
        ),
        supports_check_mode=True,
    )
    identity = {key: module.params[key] for key in ("control_plane", "etcd", "names", "addresses")}
    specs = files.files_of(identity["control_plane"], identity["etcd"])
    try:
        observed = files.observe(specs, module.params["include_keys"])
    except OSError as exc:
        module.fail_json(msg=f"the certificates cannot be read: {exc}")
    module.exit_json(
        changed=False, pki={**identity, "etcd_user": files.user_exists(files.ETCD_USER), "files": observed}
    )


if __name__ == "__main__":
    main()
