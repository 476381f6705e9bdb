#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module density_benchmark: load a cluster with pods, and see what that takes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: density_benchmark
short_description: Load a live cluster with pods and measure what becomes of them
version_added: 0.1.0
description:
  - Runs on one control plane and needs nothing on the nodes. Creates pods at a fixed rate in a namespace of its own, follows every one by a watch,
    and reads the metrics of API servers, etcd and kubelets before and after.
  - It is safe on a live cluster. Its PriorityClass is below everything else and preempts nobody, a ResourceQuota caps it, and canaries that suffer end it.
    Everything hangs on one Job whose deadline the module moves on; when the module is lost, the cluster itself deletes the load within O(lease_seconds)
    (O(hold_seconds) once O(state=loaded) has returned).
  - Judges nothing but what forbids to start. M(bare_metal.kubernetes.density_report) judges.
options:
  state:
    description:
      - V(loaded) plans, loads and measures, and leaves the load standing. V(absent) takes everything away that any run left, and waits for it.
      - V(returned) waits until the load of O(node) runs anew after a restart of that node. V(drained) closes O(node), evicts the benchmark's own
        pods and waits until they are Ready elsewhere; it opens the node again.
    type: str
    choices: [loaded, returned, drained, absent]
    default: loaded
  nodes:
    description: Nodes that carry the load.
    type: list
    elements: str
    default: []
  node:
    description: The node of V(returned) and V(drained).
    type: str
    default: ''
  since:
    description: When the restart of V(returned) began, in seconds since the epoch.
    type: float
    default: 0
  count:
    description: Pods that V(returned) waits for.
    type: int
    default: 0
  workload:
    description:
      - V(pause) only waits. V(web) serves HTTP and has a readiness probe. V(heavy) is pairs of a server with a Service and a client that is
        Ready once it reaches the server through the Service.
    type: str
    choices: [pause, web, heavy]
    default: web
  pods:
    description: Pods to create. V(0) follows O(pods_per_node) or O(share).
    type: int
    default: 0
  pods_per_node:
    description: Pods that each of O(nodes) carries in the end, with what it carries already. V(0) follows O(share).
    type: int
    default: 0
  share:
    description: Share of the free places of O(nodes) that is filled.
    type: float
    default: 0.93
  rate:
    description: Pods a second.
    type: float
    default: 5
  replicated:
    description: Whether pods are Deployments of one, which come back elsewhere when they are evicted, instead of bare pods. V(heavy) always is.
    type: bool
    default: false
  pause_image: {description: 'The pause image, present on the nodes.', type: str, default: ''}
  web_image: {description: 'The echo server image, present on the nodes.', type: str, default: ''}
  cpu: {description: CPU that a pod requests., type: str, default: 1m}
  memory: {description: Memory that a pod requests., type: str, default: 8Mi}
  memory_limit: {description: Memory that a pod may use., type: str, default: 64Mi}
  probe_delay_seconds: {description: Delay of the readiness probe., type: int, default: 0}
  probe_period_seconds: {description: Period of the readiness probe., type: int, default: 10}
  baseline_seconds: {description: How long the canaries are asked before the load., type: float, default: 30}
  settle_seconds: {description: 'How long all pods may take to become Ready after the last was created, and the cleaning.', type: float, default: 600}
  stall_seconds: {description: The wait ends earlier when nothing has changed for so long., type: float, default: 120}
  churn_minutes: {description: How long pods are replaced at full load., type: float, default: 0}
  churn_percent: {description: Share of the pods that is replaced in a minute., type: float, default: 10}
  hold_seconds: {description: How long the load may live after this call., type: int, default: 900}
  lease_seconds: {description: How long the load may live when the module is lost., type: int, default: 120}
  sample_seconds: {description: Pause between two readings of the kubelets., type: float, default: 15}
  services: {description: 'Services that are timed, before and at full load.', type: int, default: 5}
  external: {description: Whether a LoadBalancer address is timed., type: bool, default: false}
  seed: {description: Of the choice of pods that are replaced., type: int, default: 1}
  domain: {description: The cluster's domain., type: str, default: cluster.local}
  abort_factor: {description: A canary whose median is more than so many times its p99 before the load ends the run., type: float, default: 10}
  abort_floor_ms: {description: Milliseconds that stand in for a smaller p99 before the load., type: float, default: 100}
  api_servers:
    description: URLs of all API servers, whose metrics are read. Empty is only the one that is asked.
    type: list
    elements: str
    default: []
  etcd_endpoints:
    description: Client URLs of all etcd members, whose metrics are read.
    type: list
    elements: str
    default: []
  pki_dir: {description: Directory of the API server's certificates., type: path, default: /etc/kubernetes/pki}
extends_documentation_fragment:
  - bare_metal.kubernetes.kube_api
attributes:
  check_mode: {description: 'Plans, refuses what cannot run, and creates nothing. RV(ignore:plan) says what would be.', support: full}
  diff_mode: {description: The load is temporary., support: none}
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Fill two nodes to 500 pods each
  bare_metal.kubernetes.density_benchmark:
    nodes: [metal1, metal2]
    pods_per_node: 500
    pause_image: registry.k8s.io/pause:3.10.2
    web_image: bare-metal.kubernetes/echo-server:1
  register: density

- name: Take the load away
  bare_metal.kubernetes.density_benchmark:
    state: absent
"""

RETURN = r"""
benchmark:
  description: What was seen, for M(bare_metal.kubernetes.density_report).
  returned: V(loaded), when the load was begun
  type: dict
plan:
  description: Pods and the room of each node.
  returned: V(loaded)
  type: dict
phase:
  description: What was seen.
  returned: V(returned) and V(drained)
  type: dict
cleaned:
  description: What was removed, what is left, and the seconds that it took.
  returned: V(absent)
  type: dict
"""

import signal
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_lease as leases
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_options as options_of
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_phases as phases
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._density_plan import PlanError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._density_run import Run
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, connect

Params = t.Mapping[str, t.Any]


def load(api: KubeApi, params: Params, check_mode: bool) -> t.Dict[str, t.Any]:
    """Load the cluster; whatever ends this takes the load away, only success leaves it standing."""
    run = Run(api, options_of.scraper(api, params), options_of.options(params, leases.run_name()))
    if check_mode:
        return {"changed": True, "plan": run.plan_only()}
    try:
        run.load()
    except (PlanError, leases.LeaseError):
        raise
    except BaseException:
        leases.clean(api, params["settle_seconds"])
        raise
    result = run.result()
    if run.aborted:
        leases.clean(api, params["settle_seconds"])
    return {"changed": True, "plan": result["load"], "benchmark": result}


def absent(api: KubeApi, params: Params, check_mode: bool) -> t.Dict[str, t.Any]:
    """Take everything away."""
    left = leases.found(api)
    if check_mode or not left:
        return {"changed": bool(left), "cleaned": options_of.nothing_cleaned(api, left)}
    cleaned = leases.clean(api, params["settle_seconds"])
    return {"changed": True, "cleaned": {**cleaned, "addresses": options_of.addresses(api)}}


def phase(api: KubeApi, params: Params, check_mode: bool) -> t.Dict[str, t.Any]:
    """Watch a node that restarted, or drain one."""
    if check_mode:
        return {"changed": params["state"] == "drained"}
    if params["state"] == "drained":
        return {"changed": True, "phase": phases.drain(api, params["node"], params["settle_seconds"])}
    seen = phases.watch_return(api, params["node"], params["since"], params["count"], params["settle_seconds"])
    return {"changed": False, "phase": seen}


def ended(*_signal: t.Any) -> None:
    """Leave the way that takes everything away."""
    raise SystemExit(1)


STATES = {"loaded": load, "absent": absent, "returned": phase, "drained": phase}


def main() -> None:
    module = AnsibleModule(
        argument_spec=options_of.argument_spec(),
        required_if=[
            ("state", "loaded", ("nodes", "pause_image", "web_image")),
            ("state", "drained", ("node",)),
            ("state", "returned", ("node", "since", "count")),
        ],
        supports_check_mode=True,
    )
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, ended)
    try:
        with connect(module.params) as api:
            result = STATES[module.params["state"]](api, module.params, module.check_mode)
    except PlanError as exc:
        module.fail_json(msg="the benchmark cannot run:\n" + "\n".join(f"- {reason}" for reason in exc.reasons))
    except (KubeApiError, leases.LeaseError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
