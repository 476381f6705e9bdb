# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about an etcd of its own for events (``cluster_etcd_events``). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_control_plane, etcd_events
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_budgets import (
    events_are_separate,
    planned_pods,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    Host,
    Problem,
    Rule,
    View,
    registry,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.etcd_rules import unknown_fields

RULES: dict[str, Rule] = {}
rule = registry(RULES)

RECOMMENDED_GIB = 8  # etcd's own most
LEAST_GIB = 0.25
DIRECTORY, QUOTA = "etcd_events_data_directory", "etcd_events_quota_backend_gib"
RETENTION, ARGUMENTS = "etcd_events_auto_compaction_retention", "etcd_events_extra_arguments"
# Go's notation of a duration, as etcd reads it; a bare number would be hours.
DURATION = re.compile(r"([1-9]\d*(h|m|s))+")


@rule
def events_share_etcd(view: View) -> Iterator[Problem]:
    """In a very large cluster events crowd out the rest."""
    pods, least = planned_pods(view), density_control_plane.EVENTS_ETCD_PODS
    if view.common("cluster_etcd_events") == etcd_events.NEVER and pods >= least:
        reason = (
            f"leaves the events of {pods} planned pods with everything else; from {least} on they have an etcd of their own by default: here they share the "
            "disk, the quota and the compaction of the rest"
        )
        fix = "use auto, or shorten control_plane_event_ttl and watch etcd_mvcc_db_total_size_in_bytes"
        yield view.cluster_problem("cluster_etcd_events", reason, fix, warning=True)


@rule
def events_etcd_override(view: View) -> Iterator[Problem]:
    """A flag of the inventory's own would take the place of the one that says where events are."""
    name = "control_plane_apiserver_extra_args"
    for host, like in view.alike(view.group("control_plane"), name):
        flags = view.value(host, name)
        if isinstance(flags, Mapping) and etcd_events.FLAG in flags and events_are_separate(view):
            reason = "takes the place of the computed flag that sends events to their own etcd (cluster_etcd_events)"
            fix = "take it out, or set cluster_etcd_events: never"
            value = str(flags[etcd_events.FLAG])
            yield replace(view.about(host, f"{name}.{etcd_events.FLAG}", reason, fix, value=value), hosts=like)


@rule
def events_etcd_directory(view: View) -> Iterator[Problem]:
    """Two members in one directory would end each other."""
    for host, like in view.alike(view.group("etcd"), DIRECTORY, "etcd_data_directory"):
        own, other = (_path(view, host, name) for name in (DIRECTORY, "etcd_data_directory"))
        if own is None or other is None:
            continue
        if own == other or own in other.parents or other in own.parents:
            reason, fix = f"and etcd_data_directory = {other} are one inside the other", "use /var/lib/etcd-events"
            yield replace(view.about(host, DIRECTORY, reason, fix, value=str(own)), hosts=like)


def _path(view: View, host: Host, name: str) -> PurePosixPath | None:
    value = view.value(host, name)
    if value is None and name in view.options:
        value = view.options[name].default
    return PurePosixPath(value) if isinstance(value, str) and value else None


@rule
def events_etcd_size(view: View) -> Iterator[Problem]:
    """A quota that holds nothing, or more than etcd recommends; a history that etcd cannot read, or takes for another."""
    for host, like in view.alike(view.group("etcd"), QUOTA):
        quota = view.value(host, QUOTA)
        if isinstance(quota, (int, float)) and quota < LEAST_GIB:
            reason = f"is less than {LEAST_GIB} GiB: its alarm would stop all events before long"
            yield replace(view.about(host, QUOTA, reason, f"use at least {LEAST_GIB}, 4 is the default"), hosts=like)
        elif isinstance(quota, (int, float)) and quota > RECOMMENDED_GIB:
            reason = f"is more than the {RECOMMENDED_GIB} GiB that etcd recommends: a restart reads all of it"
            yield replace(view.about(host, QUOTA, reason, f"use at most {RECOMMENDED_GIB}", warning=True), hosts=like)
    for host, like in view.alike(view.group("etcd"), RETENTION):
        text = view.value(host, RETENTION)
        if isinstance(text, str) and not DURATION.fullmatch(text):
            reason = "is not a duration of hours, minutes and seconds; etcd takes a bare number for hours"
            yield replace(view.about(host, RETENTION, reason, "write 15m, or 1h"), hosts=like)


@rule
def events_etcd_fields(view: View) -> Iterator[Problem]:
    """A misspelt or removed field of its file is silent, as in the other's."""
    yield from unknown_fields(view, ARGUMENTS)
