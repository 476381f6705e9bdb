# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a density benchmark: what the modules returned, judged, put together, compared with an earlier one, as data and as a table. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_judge as judge

Data = Mapping[str, Any]
SCHEMA = 1
#: a verdict in the table for a terminal; None: it does not apply to what was loaded
WORDS = {True: "ok    ", False: "FAILED", None: "n/a   "}
#: figure -> where it stands in a report
FIGURES: dict[str, tuple[str, ...]] = {
    "pods Ready": ("benchmark", "ready_now"),
    "pods Ready a second": ("benchmark", "ready_a_second"),
    "created to started p50, s": ("benchmark", "stages", "created_to_started", "p50"),
    "created to started p99, s": ("benchmark", "stages", "created_to_started", "p99"),
    "scheduled to Ready p99, s": ("benchmark", "stages", "scheduled_to_ready", "p99"),
    "scheduled to Ready longest, s": ("benchmark", "stages", "scheduled_to_ready", "max"),
    "mutating requests p99, ms": ("benchmark", "metrics", "api", "mutating", "p99_ms"),
    "etcd fsync p99, ms": ("benchmark", "metrics", "etcd", "fsync_p99_ms"),
    "etcd commit p99, ms": ("benchmark", "metrics", "etcd", "commit_p99_ms"),
    "etcd size, MiB": ("benchmark", "metrics", "etcd", "db_size_mib"),
    "memory of the largest etcd, MiB": ("benchmark", "metrics", "etcd", "rss_mib"),
    "memory of the largest API server, MiB": ("benchmark", "metrics", "api", "rss_mib"),
    "canary http p99, ms": ("benchmark", "canaries", "http", "load", "p99"),
    "canary api_write p99, ms": ("benchmark", "canaries", "api_write", "load", "p99"),
    "canary dns p99, ms": ("benchmark", "canaries", "dns", "load", "p99"),
    "restart until all Ready, s": ("restart", "seconds"),
    "drain until all Ready, s": ("drain", "seconds"),
    "taken away, s": ("cleaned", "seconds"),
}


class ReportError(ValueError):
    """What shall be compared is no report."""


def _at(data: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(data, Mapping) or key not in data:
            return None
        data = data[key]
    return data


def remarks(settings: Data, seen: Data) -> list[str]:
    """What a reader has to know to read the figures right."""
    clients = "The clients of Services and DNS are the control plane that ran the benchmark."
    simulated = seen.get("simulated") or ()
    if simulated:
        found = [
            f"Simulated: {len(simulated)} nodes with their kubelets, networks and the start of every pod of the load (kwok). No container ran, so times after "
            "'scheduled' are those of the API and of kwok. Gates that need machines are not applicable.",
            f"Real: API servers, etcd, scheduler, controller manager, and the canaries with their Services and DNS. {clients}",
        ]
    else:
        found = [f"All pods are real: started by kubelets and runtimes on the nodes named. {clients}"]
    if seen["behind_seconds"] > 1:
        found.append(f"The generator was up to {seen['behind_seconds']:g} s late: the rate was not what was asked for.")
    if seen["watch_restarts"]:
        found.append(f"The watch was lost {seen['watch_restarts']} times; stages around that are seen late.")
    if seen["aborted"]:
        found.append(f"The run was aborted: {seen['aborted']}")
    if settings.get("replicated") or settings["workload"] == "heavy":
        found.append("Pods are made by Deployments: what is counted as created is when the watch first shows a pod.")
    found += [str(one) for one in settings.get("remarks") or ()]
    return found


def compare(report: Data, earlier: Data) -> dict[str, Any]:
    """Figures of two reports side by side, ``change`` in per cent, and the settings that differ."""
    if earlier.get("schema") != SCHEMA or "benchmark" not in earlier:
        raise ReportError("what shall be compared is no density report of this version")
    figures = []
    for name, path in FIGURES.items():
        before, now = _at(earlier, path), _at(report, path)
        if before is None and now is None:
            continue
        change = round(100 * (now - before) / before, 1) if before and now is not None else None
        figures.append({"figure": name, "before": before, "now": now, "change": change})
    old, new = earlier["settings"], report["settings"]
    differ = [
        {"setting": name, "before": old.get(name), "now": new.get(name)}
        for name in sorted(set(old) | set(new))
        if old.get(name) != new.get(name)
    ]
    return {"run": earlier["benchmark"]["run"], "figures": figures, "settings": differ}


def build(result: Data, cluster: str, settings: Data, gates: Data, earlier: Data | None = None) -> dict[str, Any]:
    """Put a report together.

    :param result: ``{benchmark, usage, outside, restart, drain, cleaned}``.
    :param gates: the user's values; see :func:`density_judge.limits_of`.
    :param earlier: a report to compare with.
    """
    limits = judge.limits_of(gates)
    seen = {**result["benchmark"], "settings": dict(settings)}
    verdicts = judge.judge({**result, "benchmark": seen}, limits)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "cluster": cluster,
        "settings": dict(settings),
        "limits": limits,
        "gates": judge.as_data(verdicts),
        "failed": [verdict.gate for verdict in verdicts if verdict.passed is False],
        "not_applicable": [verdict.gate for verdict in verdicts if verdict.passed is None],
        "remarks": remarks(settings, seen),
        "benchmark": dict(result["benchmark"]),
        **{key: dict(result.get(key) or {}) for key in ("usage", "outside", "restart", "drain", "cleaned")},
        "comparison": None,
    }
    if earlier is not None:
        report["comparison"] = compare(report, earlier)
    return report


def table(report: Data) -> str:
    """The report for a terminal: gates, stages, and what failed."""
    seen = report["benchmark"]
    stages = seen["stages"]
    rows = [("stage", "p50", "p95", "p99", "longest")]
    rows += [
        (name.replace("_", " "), *(_seconds(stages[name][key]) for key in ("p50", "p95", "p99", "max")))
        for name in stages
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [f"{seen['load']['pods']} pods: {seen['load']['explained']}", ""]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", f"{seen['ready_now']} Ready, {seen['ready_a_second'] or '-'} a second", ""]
    wide = max(len(row["gate"]) for row in report["gates"]) if report["gates"] else 0
    for row in report["gates"]:
        word = WORDS[row["passed"]]
        more = row["reason"] if row["passed"] is None else f"{row['found']} (limit: {row['limit']})"
        lines.append(f"{row['gate'].ljust(wide)}  {word}  {more}")
    return os.linesep.join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def failure(report: Data) -> str:
    """What a failed run says; empty when all gates passed."""
    bad = [row for row in report["gates"] if row["passed"] is False]
    if not bad:
        return ""
    lines = "\n".join(f"- {row['gate']}: {row['reason']}" for row in bad)
    judged = [row for row in report["gates"] if row["passed"] is not None]
    return f"{len(bad)} of {len(judged)} gates of the density benchmark failed:\n{lines}"
