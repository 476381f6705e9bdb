#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconcile labels, annotations and taints of nodes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_metadata
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
version_added: 0.1.0
short_description: Reconcile labels, annotations and taints of nodes
description:
  - Sets what is wanted and removes what this module set before and is no longer wanted.
  - Keys of others are never touched.
  - What it set is noted on the node, in the annotation C(bare-metal.kubernetes/owned-metadata).
options:
  nodes:
    description:
      - "C({labels: {..}, absent_labels: [..], annotations: {..}, taints: [{key, value, effect}]}) by name of the node."
      - C(absent_labels) are removed, whoever set them.
      - C(taints) null leaves a node's taints alone. A list is the whole of ours and decides over kubeadm's
        control-plane taint too, so C([]) makes a control plane schedulable.
    type: dict
    required: true
  wait_seconds:
    description: How long a node may take to register.
    type: int
    default: 60
extends_documentation_fragment: [bare_metal.kubernetes.kube_api]
attributes:
  check_mode:
    support: full
    description: A node that is not there, or an API that does not answer, counts as a node without metadata.
  diff_mode:
    support: full
    description: One line a key.
"""

EXAMPLES = r"""
- name: Configure | Label the nodes
  bare_metal.kubernetes.node_metadata:
    nodes:
      worker1:
        labels: {node-role.kubernetes.io/worker: "", topology.kubernetes.io/zone: rack1}
        taints: [{key: dedicated, value: database, effect: NoSchedule}]
"""

RETURN = r"""
changes:
  description: What was (or would be) changed. C(before) and C(after) are null where there is none.
  type: list
  elements: dict
  returned: always
  sample: [{node: worker1, field: labels, key: topology.kubernetes.io/zone, before: null, after: rack1}]
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_metadata as rules
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApiError,
    api_argument_spec,
    connect,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._node_metadata_run import bring, live_nodes


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "dict", "required": True},
            "wait_seconds": {"type": "int", "default": 60},
            **api_argument_spec(),
        },
        supports_check_mode=True,
    )
    wanted, check = module.params["nodes"], module.check_mode
    problems = rules.validate(wanted)
    if problems:
        module.fail_json(msg="The metadata of nodes cannot be set: " + "; ".join(problems))
    nodes: dict[str, dict] = {}
    try:
        try:
            api = connect({**module.params, "api_deadline_seconds": 5} if check else module.params)
            nodes = live_nodes(api, sorted(wanted), 0 if check else module.params["wait_seconds"])
        except KubeApiError as exc:
            if not check or exc.reason not in ("Unreachable", "Credentials"):
                raise
        missing = sorted(set(wanted) - set(nodes))
        if missing and not check:
            seconds, names = module.params["wait_seconds"], ", ".join(missing)
            module.fail_json(msg=f"Nodes not registered after {seconds} s: {names}. Is the kubelet running there?")
        nodes.update({name: {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in missing})
        changes = [change for name in sorted(nodes) for change in rules.plan(nodes[name], wanted[name]).changes]
        if not check:
            for name in sorted(nodes):
                bring(api, nodes[name], wanted[name])
    except KubeApiError as exc:
        module.fail_json(msg=f"The metadata of nodes could not be set: {exc}")
    result = [asdict(change) for change in changes]
    module.exit_json(changed=bool(changes), changes=result, diff=rules.diff_of(changes))


if __name__ == "__main__":
    main()
