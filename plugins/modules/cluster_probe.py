#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module cluster_probe: what the API shows to verify."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_probe
short_description: Read what the API shows of the cluster
version_added: 0.1.0
description:
  - Nodes, workloads that are not ready, the probe workload's addresses, address blocks and pending certificate requests, in one call.
  - Changes nothing and judges nothing. An API that does not answer is part of the answer.
options:
  probe_namespace:
    description: Namespace of the probe workload.
    type: str
    default: bare-metal-system
  kubeconfig:
    description: Credentials for the API.
    type: path
    default: /etc/kubernetes/admin.conf
  api_server:
    description: URL of the API server to ask instead of the kubeconfig's.
    type: str
    default: ""
  tls_server_name:
    description: Name that the API server's certificate is checked against instead of the URL's host.
    type: str
    default: ""
  api_deadline_seconds:
    description: How long an API that does not answer is asked again, in seconds.
    type: int
    default: 10
extends_documentation_fragment:
  - bare_metal.kubernetes.read_only
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Read what the API shows
  bare_metal.kubernetes.cluster_probe:
"""

RETURN = r"""
observation:
  description:
    - C(error), C(initialised) (there are credentials, so there is a cluster), C(nodes), C(workloads), C(pods), C(services), C(blocks),
      C(pending_requests).
  returned: always
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._cluster_probe import observe_cluster
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApiError,
    api_argument_spec,
    connect,
)


def main() -> None:
    spec = api_argument_spec()
    spec["api_deadline_seconds"] = {"type": "int", "default": 10}
    spec["probe_namespace"] = {"type": "str", "default": "bare-metal-system"}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    observation = {
        "error": "",
        "initialised": os.path.exists(module.params["kubeconfig"]),
        "nodes": [],
        "workloads": [],
        "pods": [],
        "services": [],
        "blocks": [],
        "pending_requests": [],
    }
    try:
        with connect(module.params) as api:
            observation.update(observe_cluster(api, module.params["probe_namespace"]))
    except (KubeApiError, OSError) as exc:
        observation["error"] = str(exc)
    module.exit_json(changed=False, observation=observation)


if __name__ == "__main__":
    main()
