"""Plots: scales, curves and bars as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_plots as plots


@pytest.mark.parametrize(("span", "wanted"), [(10, 2), (6, 1), (100, 20), (0.3, 0.05), (7, 2), (1e6, 200000)])
def test_steps_are_round(span: float, wanted: float) -> None:
    assert plots.nice_step(span) == pytest.approx(wanted)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_a_linear_scale_holds_its_values(values: list[float]) -> None:
    axis = plots.linear("x", values)
    assert all(0 <= axis.share(value) <= 1 + 1e-9 for value in values)
    assert 2 <= len(axis.ticks()) <= 12


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_a_logarithmic_scale_holds_its_values(values: list[float]) -> None:
    axis = plots.logarithmic("x", values, 0.01)
    assert all(-1e-9 <= axis.share(value) <= 1 + 1e-9 for value in values)
    assert all(tick == pytest.approx(10 ** round(plots.math.log10(tick))) for tick in axis.ticks())


def test_a_distribution_rises_to_all() -> None:
    assert plots.cdf([3, 1, 2, 2]) == ((1, 25.0), (2, 50.0), (2, 75.0), (3, 100.0))


def test_pods_come_and_go() -> None:
    assert plots.steps([1, 2, 3], [2.5]) == ((1, 1.0), (2, 2.0), (2.5, 1.0), (3, 2.0))


@pytest.mark.parametrize("count", [1, 5, 400, 401, 25000])
def test_thinning_keeps_the_ends(count: int) -> None:
    points = [(float(number), 0.0) for number in range(count)]
    kept = plots.thinned(points)
    assert len(kept) == min(count, plots.MOST_POINTS)
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter("text")]


def test_curves_are_an_image_with_a_name_axes_and_a_legend() -> None:
    lines = [plots.Curve("a <b>", ((0, 0), (10, 5))), plots.Curve("none", ())]
    picture = plots.curves(
        "T & t", plots.linear("s", [10]), plots.linear("pods", [5]), lines, [(4, 'the "event"'), (99, "outside")]
    )
    (root,) = ET.fromstring(picture)
    assert root.get("aria-label") == "T & t"
    assert len(root.findall("polyline")) == 1
    assert "a <b>" in texts(picture)
    assert [mark.findtext("title") for mark in root.iter("line") if mark.get("class") == "mark"] == ['the "event"']


def test_nothing_is_no_picture() -> None:
    axis = plots.linear("x", [1])
    assert plots.curves("t", axis, axis, [plots.Curve("a", ())]) == ""
    assert plots.stacks("t", [("p50", [0.0])], ["a"], "s") == ""
    assert plots.gauges("t", [], 0.8) == ""


def test_stacks() -> None:
    (root,) = ET.fromstring(plots.stacks("t", [("p50", [1.0, 2.0]), ("p99", [3.0, 3.0])], ["a", "b"], "s"))
    widths = [float(shape.get("width", "")) for shape in root.iter("rect") if shape.find("title") is not None]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)
    assert widths[2] == pytest.approx(3 * widths[0], abs=0.2)


def test_gauges_show_what_is_over_its_limit() -> None:
    (root,) = ET.fromstring(plots.gauges("t", [("n1: x", 0.5, "1 of 2"), ("n1: y", 1.4, "7 of 5")], 0.8))
    bars = [
        (shape.get("class"), float(shape.get("width", "")))
        for shape in root.iter("rect")
        if shape.get("class") != "free"
    ]
    assert [kind for kind, _width in bars] == ["under", "over"]
    assert bars[1][1] == pytest.approx(2 * bars[0][1], abs=0.2)
