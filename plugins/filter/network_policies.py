# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role network_policies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import network_policies, policy_verdict


def network_policy_objects(
    description: Mapping[str, Any],
    nodes: Iterable[str] = (),
    api: Iterable[str] = (),
    api_port: int = 6443,
    node_local_dns: bool = False,
) -> list[dict[str, Any]]:
    """Namespaces and policies of ``cluster_network_policies``."""
    around = network_policies.Surroundings(tuple(nodes), tuple(api), int(api_port))
    try:
        return network_policies.objects(network_policies.read(description, around), node_local_dns)
    except network_policies.PolicyError as error:
        raise AnsibleFilterError(f"bare_metal.kubernetes.network_policy_objects: {error}") from error


def network_policy_trials(
    facts: Mapping[str, Any],
    objects: Iterable[Mapping[str, Any]],
    node: str,
    api: Iterable[str] = (),
    limit: int = 400,
) -> list[dict[str, Any]]:
    """The connections that one node has to try."""
    return policy_verdict.trials_from(policy_verdict.trials_of(facts, objects, tuple(api), limit=int(limit)), node)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "network_policy_objects": network_policy_objects,
            "network_policy_trials": network_policy_trials,
        }
