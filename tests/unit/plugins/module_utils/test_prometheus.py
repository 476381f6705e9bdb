"""Metrics' text format, and quantiles of what came to a histogram."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _prometheus as prometheus

TEXT = """
# HELP http_seconds How long.
# TYPE http_seconds histogram
http_seconds_bucket{verb="GET",path="/a \\"b\\", c",le="0.1"} 10
http_seconds_bucket{verb="GET",path="/a \\"b\\", c",le="1"} 30
http_seconds_bucket{verb="GET",path="/a \\"b\\", c",le="+Inf"} 40
http_seconds_bucket{verb="PUT",path="x",le="0.1"} 1
http_seconds_bucket{verb="PUT",path="x",le="1"} 1
http_seconds_bucket{verb="PUT",path="x",le="+Inf"} 1
http_seconds_sum{verb="GET"} 12.5
http_seconds_count{verb="GET"} 40
http_seconds_other 9
process_cpu_seconds_total 4.25 1795347101000
broken{a="b" 3
process_resident_memory_bytes NaNsense
other_total{a="b"} 3
"""


def test_only_what_is_asked_for_is_read() -> None:
    found = prometheus.parse(
        TEXT, ["http_seconds", "process_cpu_seconds_total", "broken", "process_resident_memory_bytes"]
    )
    assert sorted(found) == [
        "http_seconds_bucket",
        "http_seconds_count",
        "http_seconds_sum",
        "process_cpu_seconds_total",
    ]
    assert found["http_seconds_bucket"][0].labels == {"verb": "GET", "path": '/a "b", c', "le": "0.1"}
    assert prometheus.total(found, "process_cpu_seconds_total") == 4.25
    assert prometheus.total(found, "absent") is None


def test_histograms_by_label() -> None:
    found = prometheus.histograms(prometheus.parse(TEXT, ["http_seconds"]), "http_seconds", ["verb"])
    assert found[("GET",)] == {0.1: 10, 1: 30, math.inf: 40}
    kept = prometheus.histograms(
        prometheus.parse(TEXT, ["http_seconds"]), "http_seconds", keep=lambda one: one["verb"] == "PUT"
    )
    assert kept == {(): {0.1: 1, 1: 1, math.inf: 1}}


@pytest.mark.parametrize(
    ("share", "wanted"),
    [
        (0.1, 0.04),  # 4 of 40: in the first bucket, 4 of its 10
        (0.25, 0.1),
        (0.5, 0.1 + 0.9 * 10 / 20),
        (0.75, 1.0),
        (0.99, 1.0),  # beyond the last finite bound nothing is known
    ],
)
def test_quantiles_are_linear_within_a_bucket(share: float, wanted: float) -> None:
    assert prometheus.quantile({0.1: 10, 1: 30, math.inf: 40}, share) == pytest.approx(wanted)


def test_an_empty_histogram_has_no_quantile() -> None:
    assert prometheus.quantile({}, 0.99) is None
    assert prometheus.quantile({0.1: 0, math.inf: 0}, 0.99) is None


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ({0.1: 2, math.inf: 4}, {0.1: 5, math.inf: 9}, {0.1: 3, math.inf: 5}),
        ({}, {0.1: 5, math.inf: 9}, {0.1: 5, math.inf: 9}),
        ({0.1: 50, math.inf: 90}, {0.1: 5, math.inf: 9}, {0.1: 5, math.inf: 9}),  # the process was started anew
    ],
)
def test_what_was_added(
    before: prometheus.Histogram, after: prometheus.Histogram, wanted: prometheus.Histogram
) -> None:
    assert prometheus.added(before, after) == wanted


@settings(deadline=None)
@given(st.lists(st.floats(0, 20), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_within_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    bounds = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
    histogram = {bound: float(sum(value <= bound for value in values)) for bound in bounds}
    histogram[math.inf] = float(len(values))
    true = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
    upper = next(bound for bound in bounds if true <= bound)
    lower = max((bound for bound in bounds if bound < upper), default=0.0)
    found = prometheus.quantile(histogram, share)
    assert found is not None
    assert lower - 1e-9 <= found <= upper + 1e-9


def test_merged() -> None:
    assert prometheus.merged([{1: 1, math.inf: 2}, {1: 3, math.inf: 3}]) == {1: 4, math.inf: 5}
    assert prometheus.count(prometheus.merged([])) == 0
