#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module policy_facts: what NetworkPolicies are about."""

from __future__ import annotations

DOCUMENTATION = r"""
module: policy_facts
short_description: Read what NetworkPolicies are about
version_added: 0.1.0
description:
  - Reads running pods, namespaces' labels, Services' addresses and all NetworkPolicies from the API, cut to what a judgement of policies needs.
options: {}
extends_documentation_fragment:
  - bare_metal.kubernetes.kube_api
  - bare_metal.kubernetes.read_only
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Read pods and policies
  bare_metal.kubernetes.policy_facts:
  register: policy_facts
"""

RETURN = r"""
facts:
  description: C(pods) and C(policies) as the API has them (of pods only what policies see), C(namespaces) with their labels, C(services) as addresses.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _policy_facts as facts
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApiError,
    api_argument_spec,
    connect,
)


def main() -> None:
    module = AnsibleModule(argument_spec=api_argument_spec(), supports_check_mode=True)
    try:
        found = facts.read(connect(module.params))
    except KubeApiError as exc:
        module.fail_json(msg=f"The pods and policies of the cluster cannot be read: {exc}")
    module.exit_json(changed=False, facts=found)


if __name__ == "__main__":
    main()
