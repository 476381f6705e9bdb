# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A density report as one HTML file: no script, nothing from elsewhere, light or dark as the reader's system is. Pure: ``page(report) -> str``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_plots as plots
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import html_page
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.html_page import text

Report = Mapping[str, Any]

STAGES = ("created", "scheduled", "sandbox", "started", "ready")
SPAN_NAMES = {
    "created_to_scheduled": "created to scheduled",
    "scheduled_to_sandbox": "scheduled to sandbox",
    "sandbox_to_started": "sandbox to started",
    "started_to_ready": "started to Ready",
    "created_to_started": "created to started",
    "scheduled_to_ready": "scheduled to Ready",
    "created_to_ready": "created to Ready",
}
PARTS_OF_A_START = ("created_to_scheduled", "scheduled_to_sandbox", "sandbox_to_started", "started_to_ready")
MOST_ROWS = 200
VERDICTS = {True: "passed", False: "FAILED", None: "not applicable"}
STYLE = """
svg text { fill: var(--text); font: 12px system-ui, sans-serif; } svg text.dim { fill: var(--dim); }
:root { --k0: #2f6fb3; --k1: #c2571a; --k2: #2e7d32; --k3: #7b3f9d; --k4: #b3261e; --k5: #00796b; --k6: #6d4c41; --k7: #9a7d0a; }
@media (prefers-color-scheme: dark) {
  :root { --k0: #6ea8e6; --k1: #f0955c; --k2: #7bd19a; --k3: #c79be6; --k4: #ff8a80; --k5: #5fd3c4; --k6: #bfa296; --k7: #e0c650; } }
.grid { stroke: var(--line); stroke-width: 1; } .mark { stroke: var(--bad); stroke-dasharray: 5 4; }
.line { fill: none; stroke-width: 2; }
.line.c0 { stroke: var(--k0); } .line.c1 { stroke: var(--k1); } .line.c2 { stroke: var(--k2); } .line.c3 { stroke: var(--k3); }
.line.c4 { stroke: var(--k4); } .line.c5 { stroke: var(--k5); } .line.c6 { stroke: var(--k6); } .line.c7 { stroke: var(--k7); }
.fill.c0 { fill: var(--k0); } .fill.c1 { fill: var(--k1); } .fill.c2 { fill: var(--k2); } .fill.c3 { fill: var(--k3); }
.fill.c4 { fill: var(--k4); } .fill.c5 { fill: var(--k5); } .fill.c6 { fill: var(--k6); } .fill.c7 { fill: var(--k7); }
.free { fill: var(--free); } .under { fill: var(--good); } .over { fill: var(--bad); }
p.verdict { border: 1px solid var(--line); border-left: 6px solid var(--good); padding: .6rem 1rem; } p.verdict.failed { border-left-color: var(--bad); }
"""


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]], kinds: Sequence[str] = ()) -> str:
    listed = [tuple("" if value is None else value for value in row) for row in rows]
    return html_page.table(heads, listed, kinds) if listed else '<p class="dim">Nothing was measured.</p>'


def _column(report: Report, name: str) -> list[Any]:
    pods = report["benchmark"]["pods"]
    index = pods["columns"].index(name)
    return [row[index] for row in pods["rows"]]


def _spans(report: Report, start: str, end: str) -> list[float]:
    pairs = zip(_column(report, start), _column(report, end), strict=True)
    return [max(0.0, last - first) for first, last in pairs if first is not None and last is not None]


# --- sections


def _gates(report: Report) -> str:
    rows = [
        (row["gate"], VERDICTS[row["passed"]], row["found"], row["limit"], row["reason"]) for row in report["gates"]
    ]
    kinds = ["bad" if row["passed"] is False else "" for row in report["gates"]]
    return _table(("Gate", "Verdict", "Found", "Limit", "Reason"), rows, kinds)


def _latency(report: Report) -> str:
    chosen = {
        "created_to_started": ("created", "started"),
        "scheduled_to_ready": ("scheduled", "ready"),
        "created_to_ready": ("created", "ready"),
    }
    lines = [plots.Curve(SPAN_NAMES[name], plots.cdf(_spans(report, *ends))) for name, ends in chosen.items()]
    values = [point[0] for line in lines for point in line.points]
    picture = plots.curves(
        "Distribution of start latencies",
        plots.logarithmic("seconds", values, 0.01),
        plots.Axis("per cent of the pods", 0, 100),
        lines,
    )
    seen = report["benchmark"]
    keys = ("count", "p50", "p90", "p95", "p99", "max")
    rows = [
        (
            SPAN_NAMES[name],
            *(seen["stages"][name][key] for key in keys),
            (seen["stages_by_status"].get(name) or {}).get("max"),
        )
        for name in SPAN_NAMES
    ]
    delay = report["settings"]["probe_delay_seconds"]
    note = (
        f"Seconds, by the watch's arrival times. The readiness probe's own delay is {delay} s and part of what ends with Ready; "
        "the last column is by the pods' own times (whole seconds, several clocks)."
    )
    return (
        picture
        + _table(("Span", "Pods", "p50", "p90", "p95", "p99", "longest", "longest by status"), rows)
        + f'<p class="dim">{text(note)}</p>'
    )


def _pods_over_time(report: Report) -> str:
    gone = [value for value in _column(report, "gone") if value is not None]
    lines = [
        plots.Curve(
            stage,
            plots.steps(
                [value for value in _column(report, stage) if value is not None], gone if stage == "ready" else ()
            ),
        )
        for stage in STAGES
    ]
    ends = [point for line in lines for point in line.points]
    marks = [(at, what) for at, what in report["benchmark"]["timeline"] if at >= 0]
    return plots.curves(
        "Pods over time",
        plots.linear(
            "seconds since the first pod",
            [point[0] for point in ends],
            min(0.0, *(point[0] for point in ends)) if ends else 0.0,
        ),
        plots.linear("pods", [point[1] for point in ends]),
        lines,
        marks,
    )


def _breakdown(report: Report) -> str:
    stages = report["benchmark"]["stages"]
    rows = [(key, [stages[name][key] or 0.0 for name in PARTS_OF_A_START]) for key in ("p50", "p95", "p99")]
    picture = plots.stacks("Parts of a start", rows, [SPAN_NAMES[name] for name in PARTS_OF_A_START], "s")
    return picture + '<p class="dim">Each part has its own percentile: the sum of the p99 is no p99 of the sum.</p>'


def _limits(report: Report) -> str:
    rows: list[tuple[str, float, str]] = []
    for node, usage in sorted(report["usage"].items()):
        for name, row in ((usage.get("peak") or {}).get("limits") or {}).items():
            rows.append((f"{node}: {name}", row["used"] / row["limit"], f"{row['used']:,} of {row['limit']:,}"))
    blocks = (report["benchmark"].get("addresses") or {}).get("peak") or {}
    for node, row in (blocks.get("nodes") or {}).items():
        if node in report["usage"]:
            rows.append(
                (
                    f"{node}: claimed addresses",
                    row["used"] / row["addresses"],
                    f"{row['used']} of {row['addresses']} ({row['blocks']} blocks)",
                )
            )
    rows.sort(key=lambda row: -row[1])
    return plots.gauges("Use of limits at full load", rows[:60], report["limits"]["limits_share"] or 1.0)


def _parts(report: Report) -> str:
    rows = []
    for node, usage in sorted(report["usage"].items()):
        before, peak, after = (usage.get(when) or {} for when in ("before", "peak", "after"))
        for part in sorted(peak.get("parts") or {}):
            first, most, last = ((one.get("parts") or {}).get(part) or {} for one in (before, peak, after))
            cpu = most["cpu_seconds"] - first.get("cpu_seconds", 0.0)
            rows.append(
                (
                    node,
                    part,
                    most["processes"],
                    most["threads"],
                    first.get("memory_mib"),
                    most["memory_mib"],
                    last.get("memory_mib"),
                    round(cpu, 1),
                )
            )
        for name, value in (peak.get("memory_mib") or {}).items():
            rows.append(
                (
                    node,
                    f"memory {name}",
                    None,
                    None,
                    (before.get("memory_mib") or {}).get(name),
                    value,
                    (after.get("memory_mib") or {}).get(name),
                    None,
                )
            )
    return _table(
        ("Node", "Part", "Processes", "Threads", "MiB before", "MiB at full load", "MiB afterwards", "CPU seconds"),
        rows,
    )


def _kubelets(report: Report) -> str:
    course = report["benchmark"]["kubelet_course"]
    nodes = sorted({row["node"] for row in course})
    pictures = []
    for key, label in (
        ("cpu_cores", "kubelet, cores"),
        ("rss_mib", "kubelet, MiB"),
        ("pleg_relist_p99_ms", "PLEG relist p99, ms"),
    ):
        lines = [
            plots.Curve(
                node, tuple((row["at"], row[key]) for row in course if row["node"] == node and row[key] is not None)
            )
            for node in nodes[:8]
        ]
        points = [point for line in lines for point in line.points]
        if points:
            times = [point[0] for point in points]
            pictures.append(
                plots.curves(
                    label,
                    plots.linear("seconds", times, min(0.0, *times)),
                    plots.linear(label, [point[1] for point in points]),
                    lines,
                )
            )
    figures = (report["benchmark"].get("metrics") or {}).get("kubelets") or {}
    keys = (
        "cpu_cores",
        "rss_mib",
        "running_pods",
        "pleg_relist_p50_ms",
        "pleg_relist_p99_ms",
        "cgroup_p99_ms",
        "operation_errors",
    )
    rows = [(node, *(row[key] for key in keys)) for node, row in sorted(figures.items())]
    heads = ("Node", "Cores", "MiB", "Pods", "PLEG p50 ms", "PLEG p99 ms", "cgroups p99 ms", "runtime errors")
    operations = [
        (node, name, one["count"], one["p50_ms"], one["p99_ms"])
        for node, row in sorted(figures.items())
        for name, one in row["operations"].items()
    ]
    return (
        "".join(pictures)
        + _table(heads, rows)
        + _table(("Node", "Runtime operation", "Count", "p50 ms", "p99 ms"), operations)
    )


def _plane(report: Report) -> str:
    figures = report["benchmark"].get("metrics") or {}
    api, etcd = figures.get("api") or {}, figures.get("etcd") or {}
    verbs = [(verb, row["count"], row["p50_ms"], row["p99_ms"]) for verb, row in (api.get("verbs") or {}).items()]
    members = [
        (
            name,
            *(
                row.get(key)
                for key in ("fsync_p99_ms", "commit_p99_ms", "leader_changes", "db_size_mib", "rss_mib", "cpu_cores")
            ),
        )
        for name, row in (etcd.get("members") or {}).items()
    ]
    servers = [(name, row["rss_mib"], row["cpu_cores"]) for name, row in (api.get("processes") or {}).items()]
    missing = "".join(f"<li>{text(one)}</li>" for one in figures.get("missing") or ())
    return (
        _table(("Verb", "Requests", "p50 ms", "p99 ms"), verbs)
        + (_table(("API server", "memory MiB", "cores"), servers) if servers else "")
        + _table(
            ("etcd member", "fsync p99 ms", "commit p99 ms", "leader changes", "MiB", "memory MiB", "cores"), members
        )
        + (f"<p>Not read:</p><ul>{missing}</ul>" if missing else "")
    )


def _canaries(report: Report) -> str:
    found = report["benchmark"]["canaries"]
    lines = [
        plots.Curve(kind, tuple((at, value) for at, value in row["course"] if value is not None))
        for kind, row in sorted(found.items())
    ]
    points = [point for line in lines for point in line.points]
    times = [point[0] for point in points]
    picture = (
        plots.curves(
            "Canaries",
            plots.linear("seconds", times, min(times)),
            plots.logarithmic("ms", [point[1] for point in points], 0.1),
            lines,
        )
        if points
        else ""
    )
    keys = ("p50", "p99", "max", "failed")
    rows = [
        (kind, when, *((row[when] or {}).get(key) for key in keys))
        for kind, row in sorted(found.items())
        for when in ("baseline", "load")
    ]
    return picture + _table(("Canary", "When", "p50 ms", "p99 ms", "longest ms", "no answer"), rows)


def _services(report: Report) -> str:
    found = report["benchmark"]["services"]
    rows: list[Sequence[Any]] = []
    for when in ("baseline", "peak"):
        for row in found.get(when) or ():
            rows.append(
                (
                    f"ClusterIP, {'before the load' if when == 'baseline' else 'at full load'}",
                    None,
                    row["programmed_ms"],
                    row["first_request_ms"],
                )
            )
    balancer = found.get("load_balancer")
    if balancer:
        rows.append(
            (
                f"LoadBalancer {balancer['address']}, from the control plane",
                balancer["assigned_ms"],
                balancer["answered_ms"],
                balancer["first_request_ms"],
            )
        )
    for host, seen in sorted(report["outside"].items()):
        answer = (seen.get("urls") or {}).get("load_balancer") or {}
        rows.append(
            (
                f"LoadBalancer at full load, from {host}: {'answered' if answer.get('ok') else answer.get('error')}",
                None,
                None,
                answer.get("milliseconds"),
            )
        )
    return _table(("Service", "Address after ms", "Answers after ms", "First request ms"), rows)


def _failures(report: Report) -> str:
    seen = report["benchmark"]
    rows: list[Sequence[Any]] = [(name, row["pods"], row["example"]) for name, row in seen["failures"].items()]
    rows += [("not created", count, said) for said, count in seen["create_errors"].items()]
    warnings = _table(("Warning event", "Times"), sorted(seen["warnings"].items()))
    return (_table(("For want of", "Pods", "Example"), rows) if rows else "<p>No pod failed.</p>") + (
        warnings if seen["warnings"] else ""
    )


def _phases(report: Report) -> str:
    rows: list[Sequence[Any]] = []
    if report["restart"]:
        row = report["restart"]
        rows.append((f"restart of {row['node']}", row["wanted"], row["returned"], row["seconds"]))
    if report["drain"]:
        row = report["drain"]
        rows.append((f"drain of {row['node']}", row["wanted"], row["elsewhere"], row["seconds"]))
    cleaned = report["cleaned"]
    rows.append(("all pods taken away", cleaned["pods"], cleaned["pods"], cleaned["pods_gone_seconds"]))
    rows.append(("everything taken away", None, None, cleaned["seconds"]))
    picture = ""
    if report["restart"]:
        points = tuple((at, float(count)) for at, count in report["restart"]["course"])
        picture = plots.curves(
            "Pods that returned after the restart",
            plots.linear("seconds since the restart", [point[0] for point in points]),
            plots.linear("pods", [report["restart"]["wanted"]]),
            [plots.Curve("Ready again", points)],
        )
    return picture + _table(("Phase", "Pods", "Done", "Seconds"), rows)


def _events(report: Report) -> str:
    rows = [(round(at, 1), what) for at, what in report["benchmark"]["timeline"]]
    return _table(("Seconds", "What"), rows[:MOST_ROWS])


def _conditions(report: Report) -> str:
    keys = ("name", "roles", "cpus", "memory_gib", "pods", "kernel", "os", "kubelet", "runtime")
    machines = [
        (*(", ".join(row[key]) if key == "roles" else row[key] for key in keys), "yes" if row["loaded"] else "")
        for row in report["benchmark"]["hardware"]
    ]
    settings = [(key, str(value)) for key, value in sorted(report["settings"].items())]
    heads = ("Node", "Roles", "CPUs", "GiB", "Pods", "Kernel", "System", "kubelet", "Runtime", "Loaded")
    return _table(heads, machines) + html_page.details("Settings", _table(("Setting", "Value"), settings))


def _comparison(report: Report) -> str:
    rows = [
        (row["figure"], row["before"], row["now"], None if row["change"] is None else f"{row['change']:+.0f} %")
        for row in report["comparison"]["figures"]
    ]
    differ = [(row["setting"], str(row["before"]), str(row["now"])) for row in report["comparison"]["settings"]]
    note = f"<p>Compared with run {text(report['comparison']['run'])}.</p>"
    return (
        note
        + _table(("Figure", "Then", "Now", "Change"), rows)
        + (_table(("Setting that differs", "Then", "Now"), differ) if differ else "")
    )


def page(report: Report) -> str:
    """The whole page."""
    seen = report["benchmark"]
    failed = [row for row in report["gates"] if row["passed"] is False]
    idle = [row["gate"] for row in report["gates"] if row["passed"] is None]
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seen["started"]))
    title = f"Density benchmark of {report['cluster']}"
    load, settings = seen["load"], report["settings"]
    nodes = ", ".join(row["name"] for row in load["nodes"][:20])
    line = f"Run {seen['run']}, {when}: {load['pods']} pods ({settings['workload']}) on {nodes}. {load['explained']}."
    created, ready = (seen[key] or "-" for key in ("created_a_second", "ready_a_second"))
    pace = (
        f"Asked for {settings['rate']:g} pods/s; sustained {created} created and {ready} Ready a second; "
        f"the generator was at most {seen['behind_seconds']:g} s late."
    )
    names = ", ".join(row["gate"] for row in failed)
    count = len(report["gates"]) - len(idle)
    verdict = f"{len(failed)} of {count} gates failed: {names}" if failed else f"All {count} gates passed."
    if idle:
        verdict += f" Not applicable to simulated nodes: {', '.join(idle)}."
    sections = [
        ("Gates", _gates(report)),
        ("Start latency", _latency(report)),
        ("Pods over time", _pods_over_time(report)),
        ("Stages", _breakdown(report)),
        ("Use of limits at full load", _limits(report)),
        ("Failures", _failures(report)),
        ("Canaries", _canaries(report)),
        ("Services", _services(report)),
        ("API and etcd", _plane(report)),
        ("Kubelets", _kubelets(report)),
        ("Memory and CPU of the nodes by part", _parts(report)),
        ("Restart, drain, return", _phases(report)),
        ("Events of the run", _events(report)),
        ("Conditions", _conditions(report)),
    ]
    if report["comparison"]:
        sections.insert(1, ("Comparison", _comparison(report)))
    body = "".join(html_page.section(head, content) for head, content in sections if content)
    remarks = html_page.items(report["remarks"])
    kind = html_page.class_of("verdict", "failed" if failed else "")
    opening = f"<p>{text(line)}</p><p>{text(pace)}</p><p{kind}>{text(verdict)}</p>{remarks}"
    return html_page.document(title, opening + body, STYLE)
