# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of a benchmark from the metrics of API servers, etcd and kubelets, read before and after it. Pure.

Names are those of Kubernetes' metrics reference (kubernetes.io/docs/reference/instrumenting/metrics) and etcd's (etcd.io/docs/latest/metrics).
"""

from __future__ import annotations

import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _prometheus as prometheus

Samples = prometheus.Samples
Figures = t.Dict[str, t.Any]

REQUESTS = "apiserver_request_sli_duration_seconds"
REJECTED = "apiserver_flowcontrol_rejected_requests_total"
CPU, RSS = "process_cpu_seconds_total", "process_resident_memory_bytes"
API_NAMES = (REQUESTS, REJECTED, CPU, RSS)
#: requests that last as long as their client wants
LONG_VERBS = frozenset({"WATCH", "CONNECT", "WATCHLIST"})
LONG_SUBRESOURCES = frozenset({"proxy", "log", "exec", "attach", "portforward"})
MUTATING_VERBS = frozenset({"POST", "PUT", "PATCH", "DELETE", "APPLY", "DELETECOLLECTION"})
#: a percentile over fewer requests than this is one request
LEAST_REQUESTS = 20

FSYNC = "etcd_disk_wal_fsync_duration_seconds"
COMMIT = "etcd_disk_backend_commit_duration_seconds"
LEADER_CHANGES = "etcd_server_leader_changes_seen_total"
DB_SIZE = "etcd_mvcc_db_total_size_in_bytes"
ETCD_NAMES = (FSYNC, COMMIT, LEADER_CHANGES, DB_SIZE, CPU, RSS)

RELIST = "kubelet_pleg_relist_duration_seconds"
RELIST_INTERVAL = "kubelet_pleg_relist_interval_seconds"
OPERATIONS = "kubelet_runtime_operations_duration_seconds"
OPERATION_ERRORS = "kubelet_runtime_operations_errors_total"
RUNNING_PODS = "kubelet_running_pods"
EVICTIONS = "kubelet_evictions"
CGROUPS = "kubelet_cgroup_manager_duration_seconds"
KUBELET_NAMES = (*(RELIST, RELIST_INTERVAL, OPERATIONS, OPERATION_ERRORS, CPU, RSS, RUNNING_PODS, EVICTIONS, CGROUPS),)


def milliseconds(seconds: t.Optional[float]) -> t.Optional[float]:
    """A time of a metric for a report."""
    return None if seconds is None else round(seconds * 1000, 2)


def grew(before: Samples, after: Samples, name: str) -> t.Optional[float]:
    """What a counter gained; one that has become smaller was started anew with its process."""
    new = prometheus.total(after, name)
    if new is None:
        return None
    old = prometheus.total(before, name) or 0.0
    return new if new < old else new - old


def _quantiles(histogram: t.Mapping[float, float]) -> Figures:
    return {
        "count": int(prometheus.count(histogram)),
        "p50_ms": milliseconds(prometheus.quantile(histogram, 0.5)),
        "p99_ms": milliseconds(prometheus.quantile(histogram, 0.99)),
    }


def process_figures(before: Samples, after: Samples, seconds: float) -> Figures:
    """A process in between: ``{cpu_cores, rss_mib}``, the memory as it is in the end."""
    cpu, rss = grew(before, after, CPU), prometheus.total(after, RSS)
    return {
        "cpu_cores": None if cpu is None or seconds <= 0 else round(cpu / seconds, 3),
        "rss_mib": None if rss is None else round(rss / 2**20, 1),
    }


def _most(rows: t.Iterable[Figures], name: str) -> t.Optional[float]:
    values = [row[name] for row in rows if row[name] is not None]
    return max(values) if values else None


def _short(labels: prometheus.Labels) -> bool:
    return labels.get("verb") not in LONG_VERBS and labels.get("subresource") not in LONG_SUBRESOURCES


def api_figures(before: t.Mapping[str, Samples], after: t.Mapping[str, Samples], seconds: float) -> Figures:
    """Latencies of what all API servers were asked in between, by verb, and what they take:
    ``{verbs, mutating, slowest, rejected, servers, processes: {server: ...}, rss_mib}``.

    ``rss_mib`` is the largest of them; ``slowest`` is the mutating verb and resource with the largest p99 among those with enough requests to have one.
    """
    by = ("verb", "resource")
    several: t.Dict[prometheus.Key, t.List[prometheus.Histogram]] = {}
    for server, samples in after.items():
        old = prometheus.histograms(before.get(server, {}), REQUESTS, by, _short)
        for key, histogram in prometheus.histograms(samples, REQUESTS, by, _short).items():
            several.setdefault(key, []).append(prometheus.added(old.get(key, {}), histogram))
    each = {key: prometheus.merged(histograms) for key, histograms in several.items()}
    verbs = {
        verb: _quantiles(prometheus.merged(histogram for key, histogram in each.items() if key[0] == verb))
        for verb in sorted({key[0] for key in each})
    }
    mutating = {key: histogram for key, histogram in each.items() if key[0] in MUTATING_VERBS}
    ranked = sorted(
        (
            (prometheus.quantile(histogram, 0.99) or 0.0, key)
            for key, histogram in mutating.items()
            if prometheus.count(histogram) >= LEAST_REQUESTS
        ),
        reverse=True,
    )
    processes = {server: process_figures(before.get(server, {}), samples, seconds) for server, samples in after.items()}
    return {
        "verbs": {verb: figures for verb, figures in verbs.items() if figures["count"]},
        "mutating": _quantiles(prometheus.merged(mutating.values())),
        "slowest": {"what": " ".join(ranked[0][1]), "p99_ms": milliseconds(ranked[0][0])} if ranked else None,
        "rejected": sum(grew(before.get(server, {}), samples, REJECTED) or 0 for server, samples in after.items()),
        "servers": len(after),
        "processes": processes,
        "rss_mib": _most(processes.values(), "rss_mib"),
    }


def etcd_figures(before: t.Mapping[str, Samples], after: t.Mapping[str, Samples], seconds: float) -> Figures:
    """Each member in between, and the worst of them: ``{members: {endpoint: ...}, fsync_p99_ms, commit_p99_ms, leader_changes, db_size_mib, rss_mib}``."""
    members = {}
    for endpoint, samples in after.items():
        old = before.get(endpoint, {})

        def p99(name: str, old: Samples = old, new: Samples = samples) -> t.Optional[float]:
            histogram = prometheus.added(
                prometheus.histograms(old, name).get((), {}), prometheus.histograms(new, name).get((), {})
            )
            return milliseconds(prometheus.quantile(histogram, 0.99))

        size = prometheus.total(samples, DB_SIZE)
        members[endpoint] = {
            "fsync_p99_ms": p99(FSYNC),
            "commit_p99_ms": p99(COMMIT),
            "leader_changes": grew(old, samples, LEADER_CHANGES),
            "db_size_mib": None if size is None else round(size / 2**20, 1),
            **process_figures(old, samples, seconds),
        }
    names = ("fsync_p99_ms", "commit_p99_ms", "leader_changes", "db_size_mib", "rss_mib")
    return {"members": members, **{name: _most(members.values(), name) for name in names}}


def kubelet_figures(before: Samples, after: Samples, seconds: float) -> Figures:
    """What a kubelet did in between: its CPU and memory, how long it looked at all containers (PLEG), how long the runtime took for what."""

    def delta(name: str, by: t.Sequence[str] = ()) -> t.Dict[prometheus.Key, prometheus.Histogram]:
        old = prometheus.histograms(before, name, by)
        return {
            key: prometheus.added(old.get(key, {}), histogram)
            for key, histogram in prometheus.histograms(after, name, by).items()
        }

    operations = {key[0]: _quantiles(histogram) for key, histogram in delta(OPERATIONS, ["operation_type"]).items()}
    relist = delta(RELIST).get((), {})
    return {
        **process_figures(before, after, seconds),
        "running_pods": prometheus.total(after, RUNNING_PODS),
        "pleg_relist_p50_ms": milliseconds(prometheus.quantile(relist, 0.5)),
        "pleg_relist_p99_ms": milliseconds(prometheus.quantile(relist, 0.99)),
        "pleg_interval_p99_ms": milliseconds(prometheus.quantile(delta(RELIST_INTERVAL).get((), {}), 0.99)),
        "cgroup_p99_ms": milliseconds(prometheus.quantile(prometheus.merged(delta(CGROUPS).values()), 0.99)),
        "evictions": grew(before, after, EVICTIONS) or 0,
        "operation_errors": grew(before, after, OPERATION_ERRORS) or 0,
        "operations": {name: figures for name, figures in sorted(operations.items()) if figures["count"]},
    }
