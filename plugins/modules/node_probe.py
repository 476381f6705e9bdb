#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module node_probe: what one host shows to verify."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_probe
short_description: Read what one host shows of the cluster
version_added: 0.1.0
description:
  - Collects everything that C(verify) judges of one host in one call. Changes nothing and judges nothing.
  - What is broken on the host is part of the answer, not an error of the module.
options:
  urls:
    description: URLs to fetch from the host itself, by name. Server certificates are not checked.
    type: dict
    default: {}
  pod_targets:
    description: "URLs, and names as C(dns:NAME), that are asked from inside this host's probe pod. Empty asks nothing."
    type: list
    elements: str
    default: []
  pod_selector:
    description: Label of the probe pod's container, as the runtime knows it.
    type: str
    default: io.kubernetes.container.name=probe
  certificates:
    description: Whether to read the certificates' remaining days.
    type: bool
    default: false
  etcd:
    description: Whether to ask the etcd member of this host.
    type: bool
    default: false
  etcd_endpoint:
    description: URL of this host's member.
    type: str
    default: https://127.0.0.1:2379
  etcd_events_endpoint:
    description: Client URL of this host's member of the etcd that keeps the events; empty where there is none.
    type: str
    default: ""
  etcd_pki:
    description: Directory with C(ca.crt), C(client.crt) and C(client.key).
    type: path
    default: /etc/etcd/pki
  bgp:
    description: Whether to ask the network plugin for its BGP sessions, and the kernel for its routes.
    type: bool
    default: false
  network_plugin:
    description: Who is asked for O(bgp), Calico's BIRD or Cilium's agent.
    type: str
    choices: [calico, cilium]
    default: calico
  mtu_targets:
    description: Addresses of pods that are asked with packets of the pods' full size that may not be fragmented. Empty asks none.
    type: list
    elements: str
    default: []
  families:
    description: Address families of routes and BGP sessions.
    type: list
    elements: int
    choices: [4, 6]
    default: [4]
  router:
    description: Whether to ask FRR for its BGP neighbours and what they announced, and the kernel for addresses and routes.
    type: bool
    default: false
  firewall:
    description: The nftables table that this host should have, to be compared with what is live and with what the next boot loads. Empty asks nothing.
    type: str
    default: ''
  dns_cache:
    description: Address of this node's DNS cache, which is asked for O(dns_name); empty asks nothing.
    type: str
    default: ""
  dns_name:
    description: A name that the cluster's DNS knows.
    type: str
    default: kubernetes.default.svc.cluster.local
  speaker_url:
    description: URL of the metrics of MetalLB's speaker on this host, which say its BGP sessions; empty asks nothing.
    type: str
    default: ""
  announced_address:
    description: The API's address that this control plane announces over BGP while its API is ready; empty asks nothing.
    type: str
    default: ""
  timeout_seconds:
    description: Time limit of one question, in seconds.
    type: float
    default: 5.0
extends_documentation_fragment:
  - bare_metal.kubernetes.read_only
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
"""

EXAMPLES = r"""
- name: Read what a node shows
  bare_metal.kubernetes.node_probe:
    urls:
      endpoint: https://127.0.0.1:7443/readyz
    certificates: true
    bgp: true
"""

RETURN = r"""
observation:
  description: One key for each question that was asked; every answer carries C(error), empty when there was none.
  returned: always
  type: dict
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _mtu_probe
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_probe as probe


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "urls": {"type": "dict", "default": {}},
            "pod_targets": {"type": "list", "elements": "str", "default": []},
            "pod_selector": {"type": "str", "default": "io.kubernetes.container.name=probe"},
            "certificates": {"type": "bool", "default": False},
            "etcd": {"type": "bool", "default": False},
            "etcd_endpoint": {"type": "str", "default": "https://127.0.0.1:2379"},
            "etcd_events_endpoint": {"type": "str", "default": ""},
            "etcd_pki": {"type": "path", "default": "/etc/etcd/pki"},
            "bgp": {"type": "bool", "default": False},
            "network_plugin": {"type": "str", "choices": ["calico", "cilium"], "default": "calico"},
            "mtu_targets": {"type": "list", "elements": "str", "default": []},
            "families": {"type": "list", "elements": "int", "choices": [4, 6], "default": [4]},
            "router": {"type": "bool", "default": False},
            "firewall": {"type": "str", "default": ""},
            "dns_cache": {"type": "str", "default": ""},
            "dns_name": {"type": "str", "default": "kubernetes.default.svc.cluster.local"},
            "speaker_url": {"type": "str", "default": ""},
            "announced_address": {"type": "str", "default": ""},
            "timeout_seconds": {"type": "float", "default": 5.0},
        },
        supports_check_mode=True,
    )
    asked = module.params
    observation: t.Dict[str, t.Any] = {"urls": probe.ask_urls(asked["urls"], asked["timeout_seconds"])}
    if asked["pod_targets"]:
        observation["pod"] = probe.observe_from_pod(
            asked["pod_selector"], asked["pod_targets"], asked["timeout_seconds"]
        )
    if asked["certificates"]:
        observation["certificates"] = probe.observe_certificates(time.time())
    if asked["etcd"]:
        observation["etcd"] = probe.observe_etcd(asked["etcd_endpoint"], asked["etcd_pki"])
    if asked["etcd_events_endpoint"]:
        observation["etcd_events"] = probe.observe_etcd(asked["etcd_events_endpoint"], asked["etcd_pki"])
    if asked["bgp"]:
        observation["bgp"] = probe.observe_bgp(asked["network_plugin"], asked["families"])
        observation["routes"] = probe.observe_routes(asked["families"])
    if asked["mtu_targets"]:
        observation["mtu"] = _mtu_probe.observe(asked["mtu_targets"])
    if asked["router"]:
        observation["router"] = probe.observe_router(asked["families"])
    if asked["firewall"]:
        observation["firewall"] = probe.observe_firewall(asked["firewall"])
    if asked["dns_cache"]:
        observation["dns_cache"] = probe.observe_dns_cache(
            asked["dns_cache"], asked["dns_name"], asked["timeout_seconds"]
        )
    if asked["speaker_url"]:
        observation["speaker"] = probe.observe_speaker(asked["speaker_url"], asked["timeout_seconds"])
    if asked["announced_address"]:
        observation["announcer"] = probe.observe_announcer(asked["announced_address"])
    module.exit_json(changed=False, observation=observation)


if __name__ == "__main__":
    main()
