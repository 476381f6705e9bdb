# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about density: what the machines of the inventory cannot carry, and settings that undo the profile. Pure.

Preflight judges the same limits by the machines themselves (``plugin_utils/preflight.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    density_control_plane,
    density_limits,
    kubelet,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_budgets import (
    kubelet_settings,
    kubelet_variable,
    nodes_alike,
    requirement,
    shared_mib,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import Problem, Rule, View, registry

RULES: dict[str, Rule] = {}
rule = registry(RULES)

# kube-apiserver's plugin EventRateLimit (plugin/pkg/admission/eventratelimit/apis).
EVENT_LIMIT_TYPES = ("Server", "Namespace", "User", "SourceAndObject")


@rule
def machine_carries(view: View) -> Iterator[Problem]:
    """A pool whose machines are said to have so much (``os_prep_requirements``) carries so many pods and no more."""
    shared = shared_mib(view)
    for host, like, pods in nodes_alike(view):
        memory = requirement(view, host, "min_memory_mib")
        if memory is None:
            continue
        machine = density_limits.Machine(memory_mib=memory, shared_mib=shared.get(host.name, 0))
        found = density_limits.exceeded(pods, machine, kubelet_settings(view, host))
        # memory_remains says it where nothing at all is left.
        if found and found[0].most > 0:
            reason = f"is more than machines with {memory} MiB (os_prep_requirements.min_memory_mib) carry: at most {density_limits.words(found)}"
            fix = f"use at most {found[0].most}, or larger machines"
            yield replace(view.about(host, "cluster_pods_per_node", reason, fix), hosts=like)


@rule
def status_pace(view: View) -> Iterator[Problem]:
    """One field of the kubelet makes every node write its status thirty times as often."""
    for host, like, _pods in nodes_alike(view):
        settings = kubelet_settings(view, host)
        if "nodeStatusUpdateFrequency" in settings and "nodeStatusReportFrequency" not in settings:
            path = f"{kubelet_variable(view, host)}.nodeStatusUpdateFrequency"
            reason = "makes every node write its status as often into etcd, instead of every 5 minutes: nodeStatusReportFrequency follows it once it is set"
            fix = "remove it, or set nodeStatusReportFrequency: 5m as well"
            value = settings["nodeStatusUpdateFrequency"]
            yield replace(view.about(host, path, reason, fix, value=value, warning=True), hosts=like)


@rule
def serial_pulls(view: View) -> Iterator[Problem]:
    """The kubelet refuses to start with a number of parallel pulls and serial pulls at once."""
    for host, like, _pods in nodes_alike(view):
        settings = kubelet_settings(view, host)
        pulls = settings.get("maxParallelImagePulls", kubelet.PULLS_MIN)
        if settings.get("serializeImagePulls") is True and pulls is not None and pulls != 1:
            path = f"{kubelet_variable(view, host)}.serializeImagePulls"
            reason = "contradicts maxParallelImagePulls, which is computed: the kubelet does not start with both"
            yield replace(
                view.about(host, path, reason, "remove it, or set maxParallelImagePulls: 1 too", value=True), hosts=like
            )


@rule
def event_limits(view: View) -> Iterator[Problem]:
    """The apiserver does not start with limits of events that it cannot read, or with a lifetime of events that is none."""
    for host, like in view.alike(view.group("control_plane"), "control_plane_event_rate_limits"):
        for index, limit in enumerate(view.value(host, "control_plane_event_rate_limits") or ()):
            name = f"control_plane_event_rate_limits[{index}]"
            numbers = [limit.get(key) for key in ("qps", "burst")] if isinstance(limit, Mapping) else [None]
            whole = all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in numbers)
            if not isinstance(limit, Mapping) or limit.get("type") not in EVENT_LIMIT_TYPES or not whole:
                fix = f"write {{type: one of {', '.join(EVENT_LIMIT_TYPES)}, qps: 50, burst: 100}}"
                yield replace(
                    view.about(host, name, "is not a limit of EventRateLimit", fix, value=str(limit)), hosts=like
                )
    for host, like in view.alike(view.group("control_plane"), "control_plane_event_ttl"):
        text = view.value(host, "control_plane_event_ttl")
        if isinstance(text, str):
            try:
                density_control_plane.seconds(text)
            except ValueError as error:
                yield replace(
                    view.about(host, "control_plane_event_ttl", str(error), "write 1h0m0s, or 30m"), hosts=like
                )
