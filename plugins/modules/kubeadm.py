#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initialises, joins and configures with kubeadm, judged by what can be seen of the node and the API."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm
short_description: Initialise, join or configure a node with kubeadm, from wherever an earlier run stopped
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Looks at the node's files, its kubelet, its own apiserver and the API's objects, and runs exactly those phases of kubeadm whose result is missing.
  - A run that was killed at any moment is mended by the next one. Files that were cut off while they were written are made again.
  - What kubeadm reports is not believed until it can be seen.
options:
  state:
    description:
      - V(initialised) makes this node the first control plane of a cluster (external etcd, authorities already in C(/etc/kubernetes/pki)).
      - V(joined) makes it a control plane or a worker of one, by its C(JoinConfiguration).
      - V(configured) brings a live control plane to the settings in O(configuration). Manifests that do not change are not touched. Before it touches this
        node the other control planes have to be ready, afterwards this one has to run with the new settings. Otherwise the old ones are put back. Use it
        in a play with C(serial=1).
    type: str
    choices: [initialised, joined, configured]
    required: true
  configuration:
    description: kubeadm's documents (C(kubeadm.k8s.io/v1beta4) and component documents) as data, without secrets.
    type: list
    elements: dict
    required: true
  token_variable:
    description:
      - Name of the variable that holds the result of M(bare_metal.kubernetes.bootstrap_token), for V(joined). Needed only when the node has to join.
      - The action plugin takes O(token) and O(ca_cert_hash) from it, so that the task has no secret among its arguments.
    type: str
    default: ""
  token:
    description: Bootstrap token. Give O(token_variable) instead.
    type: str
    default: ""
  ca_cert_hash:
    description: Hash of the cluster's CA, C(sha256:<hex>), for V(joined).
    type: str
    default: ""
  peers:
    description: Addresses of the other control planes, for V(configured).
    type: list
    elements: str
    default: []
  upload:
    description: Whether this node keeps the cluster's configuration in the API up to date, for V(configured). One node does, the leader.
    type: bool
    default: false
  coredns_replicas:
    description: Replicas that CoreDNS has at least, kept by the node with O(upload), for V(configured). More are left alone.
    type: int
    default: 0
  patches:
    description:
      - kubeadm's patches of what it generates, as data by file name (C(kube-apiserver0+strategic.json)). The documents of O(configuration) are told of them.
    type: dict
    default: {}
  timeout_seconds:
    description: How long a component may take until it runs with new settings.
    type: int
    default: 180
attributes:
  check_mode: {description: Says which phases would run and which manifests would change., support: full}
  diff_mode: {description: 'Shows phases with their reasons, and manifests before and after.', support: full}
"""

EXAMPLES = r"""
- name: Run | Initialise the cluster on the leader
  bare_metal.kubernetes.kubeadm:
    state: initialised
    configuration: "{{ __control_plane_documents }}"
  when: inventory_hostname == __control_plane_leader

- name: Run | Join
  bare_metal.kubernetes.kubeadm:
    state: joined
    configuration: "{{ __worker_documents }}"
    token_variable: __worker_token
"""

RETURN = r"""
steps: {description: 'What was done, each with its reason.', returned: always, type: list, elements: str}
"""

import contextlib

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubeadm_run as shell
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kubeadm import KubeadmError

ACTIONS = {"initialised": shell.initialise, "joined": shell.join, "configured": shell.configure}


def main() -> None:
    """Observe, plan, act, report."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": list(ACTIONS), "required": True},
            "configuration": {"type": "list", "elements": "dict", "required": True},
            "token_variable": {"type": "str", "default": "", "no_log": False},
            "token": {"type": "str", "default": "", "no_log": True},
            "ca_cert_hash": {"type": "str", "default": ""},
            "peers": {"type": "list", "elements": "str", "default": []},
            "upload": {"type": "bool", "default": False},
            "coredns_replicas": {"type": "int", "default": 0},
            "patches": {"type": "dict", "default": {}},
            "timeout_seconds": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        request = shell.Request(
            params["configuration"],
            params["token"],
            params["ca_cert_hash"],
            tuple(params["peers"]),
            params["upload"],
            params["timeout_seconds"],
            module.check_mode,
            coredns_replicas=params["coredns_replicas"],
            patches=params["patches"],
        )
        with contextlib.nullcontext() if module.check_mode else shell.alone():
            outcome = ACTIONS[params["state"]](request)
    except (KubeadmError, CommandError, KubeApiError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=outcome.changed, steps=list(outcome.steps), **({"diff": list(outcome.diff)} if module._diff else {})
    )


if __name__ == "__main__":
    main()
