#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a set of Kubernetes objects with true change and diff."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_manifests
author:
  - The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
version_added: 0.1.0
short_description: Apply a set of Kubernetes objects
description:
  - Applies objects with server-side apply as field manager C(bare-metal-kubernetes).
  - What is changed is found by a dry run on the server, so defaults, conversions and fields of other managers are no
    differences.
  - Namespaces come first, then definitions (waited for until they are served), configuration, workloads, webhooks and
    custom resources (tried again while their webhook's server starts).
  - Every object carries the label C(bare-metal.kubernetes/owner).
options:
  objects:
    description: The objects, as dictionaries.
    type: list
    elements: dict
    required: true
  secrets:
    description: "Secrets that belong to the objects, as C({namespace/name: {key: text}}). Their values are kept out of all output."
    type: dict
    default: {}
  owner:
    description: Name of the set; value of the owner label.
    type: str
    required: true
  prune:
    description:
      - Remove objects of this owner that are no longer wanted.
      - Definitions, namespaces, nodes and persistent volumes are never removed but reported.
    type: bool
    default: false
  wait:
    description: What to wait for.
    type: list
    elements: str
    choices: [rolled_out, load_balancer]
    default: [rolled_out]
  wait_timeout_seconds:
    description: How long definitions, webhooks and readiness may take; each.
    type: int
    default: 300
  immutable:
    description:
      - Fields, as dotted paths by kind, that must not change while an object lives.
      - Such a change is refused before anything is done.
    type: dict
    default: {}
  after:
    description:
      - Workloads of others, by C(apiVersion), C(kind) and C(metadata), that have to be rolled out before anything is changed.
      - They are waited for, and nothing is changed when they are not there.
    type: list
    elements: dict
    default: []
  wait_also:
    description:
      - Workloads of others, like those of O(after), that are waited for in the end, with the objects' own.
      - One that is not there is not waited for.
    type: list
    elements: dict
    default: []
extends_documentation_fragment: [bare_metal.kubernetes.kube_api]
attributes:
  check_mode:
    support: full
    description: An API that does not answer means that every object is new.
  diff_mode:
    support: full
    description: Values of Secrets are hidden and schemas of definitions shortened.
"""

EXAMPLES = r"""
- name: Run | Apply the objects
  bare_metal.kubernetes.cluster_manifests:
    owner: example
    prune: true
    objects:
      - {apiVersion: v1, kind: Namespace, metadata: {name: example}}
"""

RETURN = r"""
changes:
  description: What was (or would be) changed.
  type: list
  elements: dict
  returned: always
  sample: [{action: update, api_version: apps/v1, kind: DaemonSet, namespace: kube-system, name: calico-node}]
waited_seconds:
  description: How long readiness took.
  type: float
  returned: always
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _manifests as rules
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApiError,
    api_argument_spec,
    connect,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._manifests_run import (
    Manifests,
    NotReadyError,
    plan_without_api,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "objects": {"type": "list", "elements": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "owner": {"type": "str", "required": True},
            "prune": {"type": "bool", "default": False},
            "wait": {
                "type": "list",
                "elements": "str",
                "choices": ["rolled_out", "load_balancer"],
                "default": ["rolled_out"],
            },
            "wait_timeout_seconds": {"type": "int", "default": 300},
            "immutable": {"type": "dict", "default": {}},
            "after": {"type": "list", "elements": "dict", "default": []},
            "wait_also": {"type": "list", "elements": "dict", "default": []},
            **api_argument_spec(),
        },
        supports_check_mode=True,
    )
    wanted, owner = module.params["objects"], module.params["owner"]
    try:
        wanted = wanted + rules.secrets_of(module.params["secrets"])
    except rules.ManifestError as exc:
        module.fail_json(msg=str(exc))
    module.no_log_values.update(rules.secret_values(wanted))
    waited = 0.0
    try:
        try:
            patience = min(module.params["api_deadline_seconds"], 5 if module.check_mode else 3600)
            api = connect({**module.params, "api_deadline_seconds": patience})
            manifests = Manifests(api, owner, timeout=module.params["wait_timeout_seconds"])
            plan = manifests.plan(wanted, prune=module.params["prune"], immutable=module.params["immutable"])
        except KubeApiError as exc:
            if not module.check_mode or exc.reason not in ("Unreachable", "Credentials"):
                raise
            plan = plan_without_api(wanted, owner)
        if not module.check_mode:
            if plan.all:
                manifests.wait(module.params["after"])
            manifests.apply(plan)
            own = rules.waited_for(plan.wanted, module.params["wait"])
            waited = manifests.wait([*own, *manifests.present(module.params["wait_also"])])
    except (KubeApiError, rules.ManifestError, NotReadyError) as exc:
        module.fail_json(msg=f"The objects of '{owner}' could not be brought to the cluster: {exc}")
    for warning in plan.warnings:
        module.warn(warning)
    changes = [{"action": change.action, **asdict(change.ref)} for change in plan.all]
    module.exit_json(changed=bool(changes), changes=changes, waited_seconds=waited, diff=rules.diff_of(plan.all))


if __name__ == "__main__":
    main()
