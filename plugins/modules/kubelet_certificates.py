#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approve kubelets' serving certificates that match the inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubelet_certificates
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
version_added: 0.1.0
short_description: Approve kubelets' serving certificates
description:
  - Approves pending requests of signer C(kubernetes.io/kubelet-serving) whose subject, names and addresses are those of
    the node in O(nodes).
  - Waits until every one of these kubelets serves a certificate that the cluster's CA signed.
  - A request that claims anything else is left pending and told.
options:
  nodes:
    description:
      - By node name, the addresses and further host names that it may claim; a list, or one address.
      - The first one is where the kubelet is asked.
    type: dict
    required: true
  wait_seconds:
    description: How long the kubelets may take to ask for and to serve their certificates.
    type: int
    default: 90
  port:
    description: Port of the kubelets.
    type: int
    default: 10250
extends_documentation_fragment: [bare_metal.kubernetes.kube_api]
attributes:
  check_mode:
    support: full
    description: Tells what would be approved now.
  diff_mode:
    support: none
    description: There is no text to compare.
"""

EXAMPLES = r"""
- name: Run | Approve the kubelets' serving certificates
  bare_metal.kubernetes.kubelet_certificates:
    nodes:
      worker1: [192.0.2.31]
"""

RETURN = r"""
approved:
  description: Requests that were (or would be) approved.
  type: list
  elements: dict
  returned: always
  sample: [{request: csr-x7k2p, node: worker1}]
refused:
  description: Pending requests that were left, with the reasons.
  type: list
  elements: dict
  returned: always
  sample: [{request: csr-9sd2l, node: worker1, reasons: ['it claims the addresses 198.51.100.9; allowed: 192.0.2.31']}]
unsigned:
  description: Nodes whose kubelet does not serve a certificate of the cluster's CA, with the reason.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApiError,
    api_argument_spec,
    connect,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kubelet_csr_run import Certificates, Outcome


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "dict", "required": True},
            "wait_seconds": {"type": "int", "default": 90},
            "port": {"type": "int", "default": 10250},
            **api_argument_spec(),
        },
        supports_check_mode=True,
    )
    check = module.check_mode
    nodes = {
        str(name): [str(value) for value in (values if isinstance(values, list) else [values])]
        for name, values in module.params["nodes"].items()
    }
    empty = sorted(name for name, values in nodes.items() if not values)
    if empty:
        module.fail_json(msg=f"nodes: {', '.join(empty)} has no address")
    try:
        api = connect({**module.params, "api_deadline_seconds": 5} if check else module.params)
        work = Certificates(api, nodes, port=module.params["port"])
        outcome = work.observe() if check else work.bring(module.params["wait_seconds"])
    except KubeApiError as exc:
        if not check or exc.reason not in ("Unreachable", "Credentials"):
            module.fail_json(msg=f"The kubelets' serving certificates cannot be looked after: {exc}")
        outcome = Outcome((), (), dict.fromkeys(nodes, "the API does not answer yet"))
    if outcome.unsigned and not check:
        words = [*(f"{name}: {reason}" for name, reason in outcome.unsigned.items()), *outcome.refusals]
        module.fail_json(
            msg="Kubelets without a certificate of the cluster's CA: " + "; ".join(words), **outcome.to_dict()
        )
    for warning in outcome.refusals:
        module.warn(warning)
    module.exit_json(**outcome.to_dict())


if __name__ == "__main__":
    main()
