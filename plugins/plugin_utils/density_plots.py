# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots of a density report as SVG: curves over time or latency, and bars. Pure; everything that is written goes through :func:`html_page.text`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.html_page import text

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 300, 64, 20, 14, 56
COLOURS = ("c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7")
#: a curve is drawn with at most so many points: more are no wider than a pixel
MOST_POINTS = 400

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A line: its name and its points, by rising x."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Axis:
    """A scale. ``log`` needs values above 0."""

    label: str
    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.log:
            return (math.log10(max(value, self.low)) - math.log10(self.low)) / (
                math.log10(self.high) - math.log10(self.low)
            )
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values on it."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1) if self.low <= 10.0**power <= self.high * 1.0001]
        step = nice_step(self.high - self.low)
        count = math.floor((self.high - self.low) / step + 1e-9)
        return [self.low + step * number for number in range(count + 1)]


def nice_step(span: float) -> float:
    """A round distance of ticks: 1, 2 or 5 times a power of ten, for four to ten of them."""
    raw = span / 6
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)


def linear(label: str, values: Iterable[float], low: float = 0.0) -> Axis:
    """A linear scale from ``low`` that holds all values, to a round end."""
    most = max(values, default=low)
    span = max(most - low, 1e-6)
    step = nice_step(span)
    return Axis(label, low, low + math.ceil(span / step - 1e-9) * step)


def logarithmic(label: str, values: Iterable[float], least: float) -> Axis:
    """A logarithmic scale of whole powers of ten that holds all values above ``least``."""
    kept = [max(value, least) for value in values] or [least]
    low = 10.0 ** math.floor(math.log10(min(kept)))
    high = 10.0 ** math.ceil(math.log10(max(kept)) + 1e-9)
    return Axis(label, low, high if high > low else low * 10, True)


def cdf(values: Sequence[float]) -> tuple[Point, ...]:
    """The share (in per cent) of values up to each of them."""
    ordered = sorted(values)
    return tuple((value, 100 * (number + 1) / len(ordered)) for number, value in enumerate(ordered))


def steps(times: Iterable[float], leaving: Iterable[float] = ()) -> tuple[Point, ...]:
    """How many have come (and not left) by each time."""
    changes = sorted([(at, 1) for at in times] + [(at, -1) for at in leaving])
    points, count = [], 0
    for at, change in changes:
        count += change
        points.append((at, float(count)))
    return tuple(points)


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most ``most`` of the points, evenly, first and last included."""
    if len(points) <= most:
        return list(points)
    return [points[round(number * (len(points) - 1) / (most - 1))] for number in range(most)]


def svg(width: float, height: float, label: str, parts: Iterable[str]) -> str:
    """A picture with a name for those who do not see it."""
    # Its own width, however narrow the screen: it is scrolled then, and its words stay readable.
    head = f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" aria-label="{text(label)}">'
    return f'<div class="scroll">{head}{"".join(parts)}</svg></div>'


def words(x: float, y: float, said: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{text(said)}</text>'


def number(value: float) -> str:
    """A value for an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def curves(title: str, x: Axis, y: Axis, lines: Sequence[Curve], marks: Sequence[tuple[float, str]] = ()) -> str:
    """Curves over two axes with a legend; ``marks`` are vertical lines (x, what happened)."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    shown = [line for line in lines if line.points]
    if not shown:
        return ""

    def across(value: float) -> float:
        return LEFT + x.share(value) * (right - LEFT)

    def up(value: float) -> float:
        return bottom - y.share(value) * (bottom - TOP)

    parts = []
    for tick in y.ticks():
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>')
        parts.append(words(LEFT - 6, up(tick) + 4, number(tick), "dim", "end"))
    for tick in x.ticks():
        parts.append(f'<line class="grid" x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(words(across(tick), bottom + 16, number(tick), "dim", "middle"))
    for at, what in marks:
        if x.low <= at <= x.high:
            parts.append(
                f'<line class="mark" x1="{across(at):.1f}" x2="{across(at):.1f}" y1="{TOP}" y2="{bottom}"><title>{text(what)}</title></line>'
            )
    for index, line in enumerate(shown):
        joined = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in thinned(line.points))
        parts.append(
            f'<polyline class="line {COLOURS[index % len(COLOURS)]}" points="{joined}"><title>{text(line.name)}</title></polyline>'
        )
    parts.append(words((LEFT + right) / 2, bottom + 34, f"{x.label} / {y.label}", "dim", "middle"))
    parts += legend([line.name for line in shown], HEIGHT - 8)
    return svg(WIDTH, HEIGHT, title, parts)


def legend(names: Sequence[str], y: float) -> list[str]:
    """Names with their colours in one line."""
    parts, x = [], float(LEFT)
    for index, name in enumerate(names):
        parts.append(
            f'<rect class="fill {COLOURS[index % len(COLOURS)]}" x="{x:.1f}" y="{y - 9:.1f}" width="12" height="10"/>'
        )
        parts.append(words(x + 16, y, name))
        x += 30 + 7.2 * len(name)
    return parts


def stacks(title: str, rows: Sequence[tuple[str, Sequence[float]]], names: Sequence[str], unit: str) -> str:
    """Horizontal stacked bars: one a row, a colour a name."""
    longest = max((sum(values) for _label, values in rows), default=0.0)
    if longest <= 0:
        return ""
    wide, parts = WIDTH - 150 - 90, []
    for line, (label, values) in enumerate(rows):
        y, x = 10 + line * 34, 150.0
        parts.append(words(142, y + 16, label, "", "end"))
        for index, value in enumerate(values):
            width = value / longest * wide
            hint = f"{names[index]}: {value:.3g} {unit}"
            colour = COLOURS[index % len(COLOURS)]
            shape = f'<rect class="fill {colour}" x="{x:.1f}" y="{y}" width="{max(0.0, width):.1f}" height="24">'
            parts.append(f"{shape}<title>{text(hint)}</title></rect>")
            x += width
        parts.append(words(x + 6, y + 16, f"{sum(values):.3g} {unit}", "dim"))
    height = 10 + len(rows) * 34 + 26
    return svg(WIDTH, height, title, [*parts, *legend(names, height - 8)])


def gauges(title: str, rows: Sequence[tuple[str, float, str]], limit: float) -> str:
    """Horizontal bars of shares from 0 to 1 with a line at ``limit``; ``rows`` are (label, share, words)."""
    if not rows:
        return ""
    left, wide, parts = 300.0, WIDTH - 300 - 150, []
    for line, (label, share, said) in enumerate(rows):
        y = 8 + line * 22
        kind = "over" if share > limit else "under"
        parts.append(words(left - 8, y + 13, label, "", "end"))
        parts.append(f'<rect class="free" x="{left}" y="{y}" width="{wide}" height="16"/>')
        filled = min(1.0, share) * wide
        shape = f'<rect class="{kind}" x="{left}" y="{y}" width="{filled:.1f}" height="16">'
        parts.append(f"{shape}<title>{text(said)}</title></rect>")
        parts.append(words(left + wide + 6, y + 13, said, "dim"))
    height = 8 + len(rows) * 22 + 4
    x = left + limit * wide
    parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 4}"/>')
    return svg(WIDTH, height, title, parts)
