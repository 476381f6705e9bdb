#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pki_authorities
short_description: Find the cluster's certificate authorities, or make them once
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Looks at the facts of all hosts (M(bare_metal.kubernetes.pki_facts)) and finds the one truth about each shared secret. These are the Kubernetes CA, the
    front proxy CA, the CA of etcd, the service account key and the key that encrypts Secrets at rest.
  - What no host has is made, in memory. It is only made when all control planes and etcd members of the inventory were asked.
  - Refuses when hosts have different versions of a secret, when a CA's key is nowhere, or when a CA has ended.
  - When no host lacks anything, no key is fetched. Otherwise the keys are fetched from the host that the task is delegated to.
  - Run it once (C(run_once)), delegated to the host that P(bare_metal.kubernetes.pki_key_holder#filter) names, with C(no_log).
options:
  facts: {description: 'Result C(pki) of M(bare_metal.kubernetes.pki_facts) by host.', type: dict, required: true}
  expected_hosts: {description: All control planes and etcd members of the inventory., type: list, elements: str, required: true}
  renew_before_days: {description: Days before its end that a certificate is renewed., type: int, default: 90}
  encrypted_resources: {description: API resources that are encrypted at rest., type: list, elements: str, default: [secrets]}
attributes:
  check_mode: {description: Fetches and makes no keys., support: full}
  diff_mode: {description: Changes nothing., support: none}
"""

EXAMPLES = r"""
- name: Install | Find the authorities, or make them
  bare_metal.kubernetes.pki_authorities:
    facts: "{{ facts_by_host }}"
    expected_hosts: "{{ groups['control_plane'] + groups['etcd'] }}"
  run_once: true
  delegate_to: "{{ facts_by_host | bare_metal.kubernetes.pki_key_holder(inventory_hostname) }}"
  register: authorities
  no_log: true
"""

RETURN = r"""
authorities:
  description: What M(bare_metal.kubernetes.pki_install) takes. Holds private keys when a host needs one.
  returned: always
  type: dict
"""
