# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule of ``cluster_network_policies``. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import network_policies
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import Problem, Rule, View, registry

RULES: dict[str, Rule] = {}
rule = registry(RULES)
VARIABLE = "cluster_network_policies"


@rule
def described_policies(view: View) -> Iterator[Problem]:
    """The description can be made into policies, and something enforces them."""
    description = view.common(VARIABLE)
    if not description:
        return
    for error in network_policies.problems(description, network_policies.Surroundings()):
        yield view.cluster_problem(error.path, error.reason, error.fix, value="")
    if view.common("cluster_network_plugin") == "none":
        yield view.cluster_problem(
            VARIABLE,
            "is enforced by the network plugin, and cluster_network_plugin is none",
            "see that the plugin you install yourself enforces NetworkPolicy",
            value="",
            warning=True,
        )
