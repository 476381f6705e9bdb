# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report over the disks of several hosts: rows from what ``fio_qualification`` returned, a table, an HTML page with plots. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._fio import (
    MS,
    PERCENTILES,
    is_enough,
    milliseconds,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import html_page
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.html_page import text as escape

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
LINE_COLOURS = 7  # classes line0 to line6 of the page


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

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(title)}">'
    ]
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
        kind = _line_class(number)
        points = [(x(column), y(value), milliseconds(value)) for column, value in enumerate(line.values) if value]
        joined = " ".join(f"{across},{up}" for across, up, _text in points)
        parts.append(f'<polyline class="{kind}" fill="none" points="{joined}"/>')
        for across, up, text in points:
            hint = f"<title>{escape(line.name)}: {escape(text)}</title>"
            parts.append(f'<circle class="{kind}" cx="{across}" cy="{up}" r="3">{hint}</circle>')
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
    table = html_page.table(HEADINGS, [row.cells() for row in rows], ["ok" if row.enough else "bad" for row in rows])
    reasons = html_page.items(f"{row.host}: {reason}" for row in rows for reason in row.reasons)
    legend = "".join(f"<span>{_sign(number)}{escape(row.host)}</span> " for number, row in enumerate(measured))
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
        html_page.section(
            title,
            f'<p class="legend">{legend}</p><div class="scroll">{plot(title, columns, lines, gate_ms * MS)}</div>',
        )
        for title, columns, lines in plots
        if measured
    )
    closing = "".join(f"<p>{escape(text)}</p>" for text in advice(rows))
    return html_page.document("Disks of etcd", f"{table}{reasons}{closing}{pictures}", STYLE)


def _line_class(number: int) -> str:
    """A colour for each disk; from the eighth on the colours come again, with dashes."""
    return f"line{number % LINE_COLOURS}{' again' if number >= LINE_COLOURS else ''}"


def _sign(number: int) -> str:
    shape = f'<line class="{_line_class(number)}" x1="0" x2="20" y1="6" y2="6" stroke-width="3"/>'
    return f'<svg width="20" height="12" viewBox="0 0 20 12" aria-hidden="true">{shape}</svg>'


def _percentile(window: Mapping[str, Any], name: str) -> float | None:
    return window["percentiles"].get(name)


def _distribution(windows: Sequence[Mapping[str, Any]]) -> tuple[float | None, ...]:
    worst = [max((_percentile(window, name) or 0 for window in windows), default=0) for name in PERCENTILES]
    return tuple(value or None for value in (*worst, max((window["max_ns"] for window in windows), default=0)))


STYLE = """
:root { --line0: #1b6ca8; --line1: #b34a10; --line2: #2e7d32; --line3: #7b3f9d; --line4: #b3261e; --line5: #00796b; --line6: #6d4c41; --bad-back: #fbe9e7; }
@media (prefers-color-scheme: dark) {
  :root { --line0: #6ea8e6; --line1: #f0a070; --line2: #7bd19a; --line3: #c79be0; --line4: #ff8a80; --line5: #5cc9b8; --line6: #c8a898; --bad-back: #3d2220; } }
tr.bad td { background: var(--bad-back); color: var(--text); }
th:first-child, td:first-child { padding-left: .4rem; }
.legend { font-size: .85rem; } .legend span { display: inline-block; margin-right: 1.1rem; overflow-wrap: anywhere; }
.legend svg { display: inline-block; margin-right: .35rem; vertical-align: -.1rem; }
svg text { fill: var(--text); font: 12px system-ui, sans-serif; }
.grid { stroke: var(--line); } line.gate { stroke: var(--bad); stroke-dasharray: 6 4; } svg text.gate { fill: var(--bad); }
polyline { stroke-width: 2; } line.again, polyline.again { stroke-dasharray: 6 3; }
.line0 { fill: var(--line0); stroke: var(--line0); }
.line1 { fill: var(--line1); stroke: var(--line1); }
.line2 { fill: var(--line2); stroke: var(--line2); }
.line3 { fill: var(--line3); stroke: var(--line3); }
.line4 { fill: var(--line4); stroke: var(--line4); }
.line5 { fill: var(--line5); stroke: var(--line5); }
.line6 { fill: var(--line6); stroke: var(--line6); }
polyline[class] { fill: none; }
"""
