#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a change between kube-proxy and a network plugin that takes its place."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_proxy
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
version_added: 0.1.0
short_description: Steps of a change between kube-proxy and a plugin in its place
description:
  - Who carries the Services changes on a live cluster without a gap when the new one stands before the old one goes. This module waits for kube-proxy, takes
    it out of the cluster, and takes what it leaves out of a node; the network plugin's part is its own.
  - Each step looks first, so a step that was cut off is done by doing it again.
options:
  state:
    description:
      - V(carrying) waits on a node until kube-proxy runs there and its rules carry the Services. Changes nothing.
      - V(withdrawn), once, on a control plane, deletes what kubeadm made of kube-proxy in the API. Its rules stay on the nodes and go on working.
      - V(absent) waits on a node until kube-proxy has ended, takes its rules away and then asks a Service from this node. Rules of others are not touched.
    type: str
    choices: [carrying, withdrawn, absent]
    required: true
  mode:
    description: Mode whose rules V(carrying) looks for.
    type: str
    choices: [nftables, iptables]
    default: nftables
  service_cidrs:
    description: Networks of Services; the API's own Service has the first address.
    type: list
    elements: str
    default: []
  wait_seconds:
    description: How long is waited, for kube-proxy's rules, its end, or the Service's answer; each.
    type: int
    default: 120
extends_documentation_fragment: [bare_metal.kubernetes.kube_api]
attributes:
  check_mode:
    support: full
    description: Says what would be taken away, and waits for nothing.
  diff_mode:
    support: full
    description: Lists what is taken away.
"""

EXAMPLES = r"""
- name: Wait until kube-proxy carries the Services of this node
  bare_metal.kubernetes.kube_proxy:
    state: carrying
    service_cidrs: [10.96.0.0/16]

- name: Take its rules away where the agent has taken its place
  bare_metal.kubernetes.kube_proxy:
    state: absent
    service_cidrs: [10.96.0.0/16]
"""

RETURN = r"""
removed:
  description: What was, or would be, taken away.
  type: list
  elements: str
  returned: always
  sample: ['nftables: table ip kube-proxy']
problems:
  description: What is not true yet, in words.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kube_proxy as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApiError,
    api_argument_spec,
    connect,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["carrying", "withdrawn", "absent"], "required": True},
            "mode": {"type": "str", "choices": ["nftables", "iptables"], "default": "nftables"},
            "service_cidrs": {"type": "list", "elements": "str", "default": []},
            "wait_seconds": {"type": "int", "default": 120},
            **api_argument_spec(),
        },
        supports_check_mode=True,
    )
    asked, check = module.params, module.check_mode
    removed: list = []
    problems: list = []
    try:
        if asked["state"] == "carrying":
            problems = core.wait_carrying(
                asked["mode"], asked["service_cidrs"], None if check else asked["wait_seconds"]
            )
        elif asked["state"] == "withdrawn":
            with connect(asked) as api:
                removed = core.withdraw(api, dry_run=check)
        else:
            removed, problems = core.clean(asked["service_cidrs"], asked["wait_seconds"], dry_run=check)
    except (core.KubeProxyError, CommandError, KubeApiError) as exc:
        module.fail_json(msg=str(exc))
    result = {"changed": bool(removed), "removed": removed, "problems": problems}
    if problems and not check:
        module.fail_json(msg="; ".join(problems), **result)
    module.exit_json(diff={"before": "".join(f"{line}\n" for line in removed), "after": ""}, **result)


if __name__ == "__main__":
    main()
