#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a bootstrap token that lives for minutes, and takes it away."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bootstrap_token
short_description: Make a bootstrap token that lives for minutes, and take it away
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Makes the Secret of a bootstrap token with which nodes may join (C(kubeadm join)), or deletes it. No token is ever used twice.
  - Register the result and set C(no_log) on the task. The token must not reach a log.
options:
  state:
    description:
      - V(present) makes a new token, V(absent) deletes O(token) and those that killed runs left.
      - A join of a killed run may still be under way with its token, which is why V(present) leaves the others alone.
    type: str
    choices: [present, absent]
    default: present
  token:
    description: The token to delete. An empty one was never made, and nothing is done.
    type: str
    default: ""
  minutes:
    description: How long the token lives if nobody deletes it.
    type: int
    default: 15
  ca_path:
    description: Certificate of the cluster's CA.
    type: path
    default: /etc/kubernetes/pki/ca.crt
extends_documentation_fragment: [bare_metal.kubernetes.kube_api]
attributes:
  check_mode: {description: Makes no token; RV(token) is empty then., support: full}
  diff_mode: {description: There is nothing to show that is not secret., support: none}
"""

EXAMPLES = r"""
- name: Run | Make a token for the nodes that join
  bare_metal.kubernetes.bootstrap_token:
    minutes: 15
  register: __worker_token
  no_log: true
"""

RETURN = r"""
token: {description: The token., returned: 'O(state=present)', type: str}
ca_cert_hash: {description: 'Hash of the CA''s public key, C(sha256:<hex>).', returned: 'O(state=present)', type: str}
"""

import datetime

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _bootstrap_token as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApiError,
    api_argument_spec,
    connect,
)


def main() -> None:
    """Make or delete one Secret."""
    module = AnsibleModule(
        argument_spec={
            **api_argument_spec(),
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "token": {"type": "str", "default": "", "no_log": True},
            "minutes": {"type": "int", "default": 15},
            "ca_path": {"type": "path", "default": "/etc/kubernetes/pki/ca.crt"},
        },
        supports_check_mode=True,
    )
    params = module.params
    if not 1 <= params["minutes"] <= 120:
        module.fail_json(msg=f"'minutes' is {params['minutes']}: a token lives 1 to 120 minutes")
    try:
        if params["state"] == "absent":
            _remove(module)
        if module.check_mode:
            module.exit_json(changed=True, token="", ca_cert_hash="")
        with open(params["ca_path"], encoding="utf-8") as stream:
            pin = core.ca_cert_hash(stream.read())
        token = core.new_token()
        with connect(params) as api:
            api.create(core.secret_of(token, datetime.datetime.now(datetime.timezone.utc), params["minutes"]))
    except (core.BootstrapTokenError, KubeApiError, OSError) as exc:
        module.fail_json(msg=f"no bootstrap token could be handled: {exc}")
    module.exit_json(changed=True, token=token, ca_cert_hash=pin)


def _remove(module: AnsibleModule) -> None:
    if not module.params["token"] or module.check_mode:
        module.exit_json(changed=bool(module.params["token"]))
    with connect(module.params) as api:
        changed = api.delete(core.reference(core.token_id(module.params["token"])))
        for left in filter(core.ours, api.list("v1", "Secret", "kube-system", fields=f"type={core.SECRET_TYPE}")):
            changed = api.delete(left) or changed
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
