# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics in Prometheus' text format: parsing, and quantiles of what was added to a histogram between two readings. Pure.

The format is described in Prometheus' documentation (instrumenting/exposition_formats); the interpolation is that of ``histogram_quantile``.
"""

from __future__ import annotations

import math
import re
import typing as t
from dataclasses import dataclass

LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$")
ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}

Labels = t.Dict[str, str]
#: upper bound -> observations up to it, over all series of a group
Histogram = t.Dict[float, float]
Key = t.Tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """One line: labels and value."""

    labels: Labels
    value: float


Samples = t.Dict[str, t.List[Sample]]


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: ESCAPES.get(match.group(1), match.group(0)), text) if "\\" in text else text


def parse(text: str, names: t.Collection[str]) -> Samples:
    """Return the samples of the metrics in ``names`` (a histogram is asked for by its name without ``_bucket``), and nothing of the others.

    A line that is no sample is passed over: what an exporter adds to the format must not end a measurement.
    """
    wanted = {full for name in names for full in (name, f"{name}_bucket", f"{name}_sum", f"{name}_count")}
    found: Samples = {}
    for line in text.splitlines():
        end = min((at for at in (line.find("{"), line.find(" ")) if at > 0), default=0)
        if line[:end] not in wanted:
            continue
        match = SAMPLE.match(line)
        if not match:
            continue
        try:
            value = float(match.group(3))
        except ValueError:
            continue
        labels = {name: _unescape(said) for name, said in LABEL.findall(match.group(2) or "")}
        found.setdefault(match.group(1), []).append(Sample(labels, value))
    return found


def total(samples: Samples, name: str, keep: t.Callable[[Labels], bool] = lambda _labels: True) -> t.Optional[float]:
    """The sum of a metric's series; None when there is none."""
    values = [sample.value for sample in samples.get(name, ()) if keep(sample.labels)]
    return sum(values) if values else None


def histograms(
    samples: Samples, name: str, by: t.Sequence[str] = (), keep: t.Callable[[Labels], bool] = lambda _labels: True
) -> t.Dict[Key, Histogram]:
    """Sum a histogram's series by the values of the labels ``by``."""
    found: t.Dict[Key, Histogram] = {}
    for sample in samples.get(f"{name}_bucket", ()):
        if keep(sample.labels) and "le" in sample.labels:
            histogram = found.setdefault(tuple(sample.labels.get(label, "") for label in by), {})
            bound = float(sample.labels["le"])
            histogram[bound] = histogram.get(bound, 0.0) + sample.value
    return found


def added(before: t.Mapping[float, float], after: t.Mapping[float, float]) -> Histogram:
    """What came to a histogram between two readings. One that has become smaller was started anew with its process: all of it is new."""
    most = max(after, default=math.inf)
    if after.get(most, 0.0) < before.get(most, 0.0):
        return dict(after)
    return {bound: count - before.get(bound, 0.0) for bound, count in after.items()}


def merged(several: t.Iterable[t.Mapping[float, float]]) -> Histogram:
    """The sum of histograms with the same bounds."""
    found: Histogram = {}
    for histogram in several:
        for bound, count in histogram.items():
            found[bound] = found.get(bound, 0.0) + count
    return found


def count(histogram: t.Mapping[float, float]) -> float:
    """Observations in a histogram."""
    return histogram.get(max(histogram, default=math.inf), 0.0)


def quantile(histogram: t.Mapping[float, float], share: float) -> t.Optional[float]:
    """The value below which ``share`` of the observations lie, linear within a bucket; None without observations.

    What lies beyond the last finite bound is given as that bound: the histogram knows no more.
    """
    whole = count(histogram)
    if whole <= 0:
        return None
    rank, lower, below = share * whole, 0.0, 0.0
    for bound in sorted(histogram):
        if histogram[bound] >= rank and histogram[bound] > below:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (histogram[bound] - below)
        if not math.isinf(bound):
            lower = bound
        below = histogram[bound]
    return lower
