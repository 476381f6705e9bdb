#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approve kubelets' serving certificates that match the inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubelet_certificates
author: The bare_metal.kubernetes maintainers
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

import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubelet_csr as rules
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApi,
    KubeApiError,
    api_argument_spec,
    connect,
    load_credentials,
)

# A kubelet whose request is refused keeps waiting for it for a quarter of an hour; one that was just restarted asks
# anew at once.
REFUSED_GRACE_SECONDS = 15


def unsigned(nodes: dict[str, list[str]], authority: bytes, port: int) -> dict[str, str]:
    """Nodes whose kubelet does not serve what it should, asked all at once."""
    with ThreadPoolExecutor(16) as pool:
        asked = {
            name: pool.submit(rules.serving_problem, nodes[name][0], authority, port=port) for name in sorted(nodes)
        }
        return {name: future.result() for name, future in asked.items() if future.result()}


def approve(
    api: KubeApi, nodes: dict[str, list[str]], *, check: bool
) -> tuple[list[rules.Verdict], list[rules.Verdict]]:
    """Approve what can be approved now; returns what was approved and what was refused."""
    approved: list[rules.Verdict] = []
    refused: list[rules.Verdict] = []
    for entry in rules.pending(api.list(rules.API_VERSION, rules.KIND)):
        verdict = rules.judge(entry, nodes)
        (approved if verdict.approved else refused).append(verdict)
        if verdict.approved and not check:
            try:
                api.replace(rules.approval(entry), subresource="approval")
            except KubeApiError as exc:
                if exc.status not in (404, 409):  # judged by somebody else meanwhile
                    raise
    return approved, refused


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
    check, begun = module.check_mode, time.monotonic()
    until = begun + module.params["wait_seconds"]
    hopeless = min(until, begun + REFUSED_GRACE_SECONDS)
    nodes = {
        str(name): [str(value) for value in (values if isinstance(values, list) else [values])]
        for name, values in module.params["nodes"].items()
    }
    empty = sorted(name for name, values in nodes.items() if not values)
    if empty:
        module.fail_json(msg=f"nodes: {', '.join(empty)} has no address")
    approved: dict[str, rules.Verdict] = {}
    refused: list[rules.Verdict] = []
    left: dict[str, str] = {}
    try:
        authority = load_credentials(module.params["kubeconfig"]).ca
        api = connect({**module.params, "api_deadline_seconds": 5} if check else module.params)
        while True:
            now, refused = approve(api, nodes, check=check)
            approved.update((verdict.request, verdict) for verdict in now)
            left = unsigned(nodes, authority, module.params["port"])
            served = {verdict.node for verdict in approved.values()}
            wrong = {verdict.node for verdict in refused if verdict.node in left and verdict.node not in served}
            if check or not left or time.monotonic() > (hopeless if wrong else until):
                break
            time.sleep(1)
    except KubeApiError as exc:
        if not check or exc.reason not in ("Unreachable", "Credentials"):
            module.fail_json(msg=f"The kubelets' serving certificates cannot be looked after: {exc}")
        left = dict.fromkeys(nodes, "the API does not answer yet")
    result = {
        "changed": bool(approved),
        "approved": [{"request": verdict.request, "node": verdict.node} for verdict in approved.values()],
        "refused": [
            {"request": verdict.request, "node": verdict.node, "reasons": list(verdict.reasons)} for verdict in refused
        ],
        "unsigned": left,
    }
    told = [
        f"request {verdict.request} of {verdict.node} is not approved: {'; '.join(verdict.reasons)}"
        for verdict in refused
    ]
    if left and not check:
        words = [f"{name}: {reason}" for name, reason in left.items()]
        module.fail_json(msg="Kubelets without a certificate of the cluster's CA: " + "; ".join(words + told), **result)
    for warning in told:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
