# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report over the disks of several hosts: rows from what ``fio_qualification`` returned, a table, an HTML page with plots. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._fio import (
    MS,
    PERCENTILES,
    is_enough,
    milliseconds,
)

Result = Mapping[str, Any]
HEADINGS = (
    "host",
    "verdict",
    "profile",
    "p99",
    "p99.9",
    "longest",
    "> gate",
    "> heartbeat",
    "commits/s",
    "drift",
    "disk",
)
COLOURS = ("#1b6ca8", "#c2571a", "#2e7d32", "#7b3f9d", "#b3261e", "#00796b", "#6d4c41")


@dataclass(frozen=True)
class Row:
    """What is known of one host's disk. ``verdict`` ``missing``: the host gave no result. ``enough``: it meets what is required."""

    host: str
    verdict: str
    enough: bool
    reasons: tuple[str, ...] = ()
    disk: str = ""
    result: Result = field(default_factory=dict)

    def cells(self) -> tuple[str, ...]:
        """The row of the table; dashes where nothing was measured."""
        found = self.result.get("summary") or {}
        measured: tuple[str, ...] = ("-",) * 7
        if found:
            measured = (
                *(milliseconds(found[key]) for key in ("p99_ns", "p999_ns", "max_ns")),
                *(share(found[key]) for key in ("share_above_gate", "share_above_heartbeat")),
                f"{found['syncs_per_second']:.0f}",
                f"{found['drift']:g}",
            )
        note = f"{self.verdict} (remembered)" if self.result.get("reused") else self.verdict
        return (self.host, note, self.result.get("profile", "-"), *measured, self.disk)


def share(value: float) -> str:
    """A share in per cent."""
    return f"{value * 100:.2g} %"


def judge(results: Mapping[str, Result], required: str) -> list[Row]:
    """One row a host, by name. ``results``: what the module returned, or the failure of the task; empty for a host that was not reached."""
    rows = []
    for host in sorted(results):
        result = results[host]
        if "verdict" not in result:
            why = str(result.get("msg") or "the host was not reached")
            rows.append(Row(host, "missing", required == "any", (why,)))
            continue
        verdict = str(result["verdict"])
        enough = verdict == "unmeasured" or is_enough(verdict, required)
        rows.append(Row(host, verdict, enough, tuple(result["reasons"]), describe(result.get("device") or {}), result))
    return rows


def describe(device: Mapping[str, Any]) -> str:
    """The disks in a few words, such as ``ext4 on nvme0n1 (SAMSUNG MZ7, write back)``."""
    parts = []
    for entry in device.get("chain") or ():
        if entry["kind"] == "md":
            parts.append(f"{entry['name']} ({entry['raid']})")
        elif entry["kind"] == "disk":
            kind = {True: "rotational", False: ""}.get(entry["rotational"], "")
            facts = [text for text in (entry["model"], kind, entry["scheduler"], entry["write_cache"]) if text]
            parts.append(f"{entry['name']} ({', '.join(facts)})" if facts else entry["name"])
    return f"{device.get('filesystem', '?')} on {' + '.join(parts) or device.get('source', '?')}"


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal, the reasons below them, and one line that sums up."""
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    lines += ["", *(f"{row.host}: {reason}" for row in rows for reason in row.reasons), *advice(rows), ""]
    lines.append(f"{len(rows)} disks, {sum(not row.enough for row in rows)} of them not enough")
    return "\n".join(lines)


def advice(rows: Iterable[Row]) -> list[str]:
    """etcd's intervals, the same on all members: the longest that a measured disk asks for. Empty when nothing was measured."""
    found = [row.result["summary"] for row in rows if row.result.get("summary")]
    if not found:
        return []
    heartbeat, election = (
        max(entry[f"recommended_{name}_ms"] for entry in found) for name in ("heartbeat_interval", "election_timeout")
    )
    return [
        f"etcd with these disks: heartbeat interval {heartbeat} ms, election timeout {election} ms (or what the network needs, if that is more)"
    ]


def as_data(rows: Sequence[Row]) -> dict[str, Any]:
    """The report for JSON: ``failed`` and one entry a host, what the module returned included."""
    return {
        "failed": sum(not row.enough for row in rows),
        "hosts": {
            row.host: {
                "verdict": row.verdict,
                "enough": row.enough,
                "reasons": list(row.reasons),
                **_without_ansible(row.result),
            }
            for row in rows
        },
    }


def _without_ansible(result: Result) -> dict[str, Any]:
    kept = (
        "at",
        "device",
        "directory",
        "kernel",
        "measured_directory",
        "p99_ns",
        "parameters",
        "profile",
        "reused",
        "summary",
        "windows",
    )
    return {key: result[key] for key in kept if key in result}


# --- the page -------------------------------------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP = 760, 320, 70, 40, 50, 16


@dataclass(frozen=True)
class Line:
    """A line of a plot: its values in nanoseconds, one a column; None leaves a gap."""

    name: str
    values: tuple[float | None, ...]


def plot(title: str, columns: Sequence[str], lines: Sequence[Line], gate_ns: float) -> str:
    """An SVG picture of latencies over columns, on a logarithmic scale, with the gate as a dashed line."""
    values = [value for line in lines for value in line.values if value]
    if not values:
        return ""
    low, high = math.floor(math.log10(min([*values, gate_ns]))), math.ceil(math.log10(max([*values, gate_ns]) * 1.01))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    step = (right - LEFT) / max(1, len(columns) - 1)

    def y(value: float) -> float:
        return round(bottom - (math.log10(value) - low) / (high - low) * (bottom - TOP), 1)

    def x(column: int) -> float:
        return round(LEFT + step * column if len(columns) > 1 else (LEFT + right) / 2, 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for power in range(low, high + 1):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y(10**power)}" y2="{y(10**power)}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(10**power) + 4}" text-anchor="end">{escape(axis(10**power))}</text>')
    for number, name in enumerate(columns):
        parts.append(f'<text x="{x(number)}" y="{bottom + 18}" text-anchor="middle">{escape(name)}</text>')
    parts.append(f'<line class="gate" x1="{LEFT}" x2="{right}" y1="{y(gate_ns)}" y2="{y(gate_ns)}"/>')
    parts.append(
        f'<text class="gate" x="{right}" y="{y(gate_ns) - 4}" text-anchor="end">gate {escape(milliseconds(gate_ns))}</text>'
    )
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        points = [(x(column), y(value), milliseconds(value)) for column, value in enumerate(line.values) if value]
        joined = " ".join(f"{across},{up}" for across, up, _text in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{joined}"/>')
        for across, up, text in points:
            hint = f"<title>{escape(line.name)}: {escape(text)}</title>"
            parts.append(f'<circle cx="{across}" cy="{up}" r="3" fill="{colour}">{hint}</circle>')
    return "".join([*parts, "</svg>"])


def axis(nanoseconds: float) -> str:
    """A power of ten as the axis names it."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:g} {unit}"
    return f"{nanoseconds:g} ns"


def page(rows: Sequence[Row], gate_ms: float) -> str:
    """One HTML file that loads nothing: the table, the reasons, the distribution of each disk and its p99 over the windows."""
    measured = [row for row in rows if row.result.get("windows")]
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADINGS)
    body = "".join(
        f'<tr class="{"ok" if row.enough else "bad"}">{"".join(f"<td>{escape(cell)}</td>" for cell in row.cells())}</tr>'
        for row in rows
    )
    reasons = "".join(f"<li><b>{escape(row.host)}</b>: {escape(reason)}</li>" for row in rows for reason in row.reasons)
    legend = "".join(
        f'<span style="color:{COLOURS[number % len(COLOURS)]}">&#9644; {escape(row.host)}</span> '
        for number, row in enumerate(measured)
    )
    longest = max((len(row.result["windows"]) for row in measured), default=0)
    plots = (
        (
            "Latency of fdatasync by percentile, the worst over all windows",
            [*(f"p{name}" for name in PERCENTILES), "longest"],
            [Line(row.host, _distribution(row.result["windows"])) for row in measured],
        ),
        (
            "p99 of each window, in the order of measuring",
            [str(number + 1) for number in range(longest)],
            [Line(row.host, tuple(_percentile(window, "99") for window in row.result["windows"])) for row in measured],
        ),
    )
    pictures = "".join(
        f"<h2>{escape(title)}</h2>{plot(title, columns, lines, gate_ms * MS)}"
        for title, columns, lines in plots
        if measured
    )
    closing = "".join(f"<p>{escape(text)}</p>" for text in advice(rows))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Disks of etcd</title><style>{STYLE}</style></head><body>'
        f"<h1>Disks of etcd</h1><table><tr>{head}</tr>{body}</table><ul>{reasons}</ul>{closing}<p>{legend}</p>{pictures}</body></html>\n"
    )


def _percentile(window: Mapping[str, Any], name: str) -> float | None:
    return window["percentiles"].get(name)


def _distribution(windows: Sequence[Mapping[str, Any]]) -> tuple[float | None, ...]:
    worst = [max((_percentile(window, name) or 0 for window in windows), default=0) for name in PERCENTILES]
    return tuple(value or None for value in (*worst, max((window["max_ns"] for window in windows), default=0)))


STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em;max-width:80em;color:#222}table{border-collapse:collapse}"
    "td,th{padding:.3em .7em;text-align:left;border-bottom:1px solid #ddd}tr.bad td{background:#fbe9e7}"
    "svg{width:100%;max-width:760px;height:auto}svg text{font-size:12px;fill:#444}.grid{stroke:#e3e3e3}"
    "line.gate{stroke:#b3261e;stroke-dasharray:6 4}svg text.gate{fill:#b3261e}"
)
