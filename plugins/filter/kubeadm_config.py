# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that build kubeadm's documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import kubeadm_config as core


def kubeadm_init_documents(cluster: Mapping[str, Any], node: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Init, cluster, kubelet and kube-proxy documents of one control plane."""
    try:
        return core.init_documents(
            core.settings_from(core.ClusterSettings, cluster), core.settings_from(core.NodeSettings, node)
        )
    except (core.KubeadmConfigError, ValueError) as error:
        raise AnsibleFilterError(f"kubeadm_init_documents: {error}") from error


def kubeadm_join_documents(node: Mapping[str, Any], endpoint: str, control_plane: bool = False) -> list[dict[str, Any]]:
    """The join document of one node, without token and CA hash."""
    try:
        return [
            core.join_configuration(core.settings_from(core.NodeSettings, node), endpoint, control_plane=control_plane)
        ]
    except core.KubeadmConfigError as error:
        raise AnsibleFilterError(f"kubeadm_join_documents: {error}") from error


class FilterModule:
    """Entry point for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names of the filters."""
        return {"kubeadm_init_documents": kubeadm_init_documents, "kubeadm_join_documents": kubeadm_join_documents}
