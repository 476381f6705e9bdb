#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: admin_kubeconfig
short_description: Bring the administrator's kubeconfig to the controller
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Reads a kubeconfig on a control plane and writes it on the controller, with mode 0600. Its content is in no result and in no diff.
options:
  path:
    description: File on the controller.
    type: path
    required: true
  server:
    description: URL of the API as the controller reaches it. Empty leaves the one in the file.
    type: str
    default: ""
  src:
    description: File on the control plane.
    type: path
    default: /etc/kubernetes/admin.conf
attributes:
  check_mode: {description: Says whether the file would be written., support: full}
  diff_mode: {description: There is nothing to show that is not secret., support: none}
"""

EXAMPLES = r"""
- name: Verify | Fetch the administrator's kubeconfig
  bare_metal.kubernetes.admin_kubeconfig:
    path: ~/.kube/cluster.conf
    server: https://192.0.2.11:6443
"""

RETURN = r"""
path: {description: The file on the controller., returned: always, type: str}
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Refuse: without the action plugin there is no controller to write to."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "server": {"type": "str", "default": ""},
            "src": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="'admin_kubeconfig' runs as an action plugin on the controller")


if __name__ == "__main__":
    main()
