"""disk_report: one row a host, a table, JSON, and a page that loads nothing."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio as fio
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import disk_report as core

MS = 1_000_000
DEVICE = {
    "filesystem": "ext4",
    "mount": "/",
    "source": "/dev/md0",
    "chain": [
        {"name": "md0", "kind": "md", "raid": "raid1"},
        {"name": "sda1", "kind": "partition"},
        {
            "name": "sda",
            "kind": "disk",
            "model": "X 1",
            "rotational": False,
            "scheduler": "none",
            "write_cache": "write back",
        },
        {"name": "sdb", "kind": "disk", "model": None, "rotational": True, "scheduler": None, "write_cache": None},
    ],
}


def result(p99_ms: float = 0.5, **values: Any) -> dict[str, Any]:
    """What the module returns for a disk with this p99 in the last of three windows."""
    windows = [
        fio.Window(
            2300,
            False,
            10_000,
            20.0,
            2e5,
            int(p * 4 * MS),
            {"50": int(p * MS / 4), "99": int(p * MS), "99.9": int(p * 2 * MS)},
            150 if p >= 10 else 0,
        )
        for p in (0.2, 0.3, p99_ms)
    ]
    found = fio.judge(windows, fio.Limits())
    return {
        "verdict": found.verdict,
        "reasons": list(found.reasons),
        "p99_ns": found.p99_ns,
        "summary": dict(found.summary),
        "windows": [fio.as_data(window) for window in windows],
        "profile": "standard",
        "device": DEVICE,
        "reused": False,
        "changed": False,
        "invocation": {"module_args": {}},
        **values,
    }


UNMEASURED = {"summary": {}, "windows": [], "p99_ns": 0}
ALL = {
    "host1": result(),
    "host10": result(12),
    "host2": result(verdict="refused", reasons=["'/x' is on tmpfs"], **UNMEASURED),
    "host3": {"failed": True, "msg": "fio: <b>"},
    "host4": {},
    "host5": result(verdict="unmeasured", reasons=["check mode"], **UNMEASURED),
    "host6": result(reused=True),
}


@pytest.mark.parametrize(
    ("required", "enough"),
    [
        ("pass", {"host1", "host5", "host6"}),
        ("good", {"host1", "host5", "host6"}),
        ("any", set(ALL)),
    ],
)
def test_who_is_enough(required: str, enough: set[str]) -> None:
    rows = core.judge(ALL, required)
    assert [row.host for row in rows] == sorted(ALL)
    assert {row.host for row in rows if row.enough} == enough


def test_a_host_without_a_result_is_named() -> None:
    rows = {row.host: row for row in core.judge(ALL, "pass")}
    assert (rows["host3"].verdict, rows["host3"].reasons) == ("missing", ("fio: <b>",))
    assert rows["host4"].reasons == ("the host was not reached",)


def test_the_table() -> None:
    text = core.table(core.judge(ALL, "pass"))
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[1:8]] == sorted(ALL)
    assert re.split(r"\s{2,}", lines[2]) == [
        "host10",
        "fail",
        "standard",
        "12 ms",
        "24 ms",
        "48 ms",
        "0.5 %",
        "0 %",
        "500",
        "1",
        "ext4 on md0 (raid1) + sda (X 1, none, write back) + sdb (rotational)",
    ]
    assert "excellent (remembered)" in text
    assert "host2: '/x' is on tmpfs" in text
    assert "heartbeat interval 100 ms, election timeout 1000 ms" in text
    assert lines[-1] == "7 disks, 4 of them not enough"


def test_the_advice_is_one_for_all_members() -> None:
    slow = result()
    slow["summary"] = {
        **slow["summary"],
        "recommended_heartbeat_interval_ms": 150,
        "recommended_election_timeout_ms": 1500,
    }
    assert (
        "heartbeat interval 150 ms, election timeout 1500 ms"
        in core.advice(core.judge({"a": result(), "b": slow}, "any"))[0]
    )
    assert core.advice(core.judge({"a": {}}, "any")) == []


def test_the_data() -> None:
    found = json.loads(json.dumps(core.as_data(core.judge(ALL, "pass"))))
    assert found["failed"] == 4
    assert set(found["hosts"]) == set(ALL)
    assert found["hosts"]["host10"]["windows"][2]["percentiles"]["99"] == 12 * MS
    assert found["hosts"]["host3"] == {"verdict": "missing", "enough": False, "reasons": ["fio: <b>"]}
    assert "invocation" not in found["hosts"]["host1"]


def test_a_device_of_which_nothing_is_known() -> None:
    assert core.describe({}) == "? on ?"
    assert core.describe({"filesystem": "zfs", "source": "tank/etcd", "chain": []}) == "zfs on tank/etcd"


# --- the page


def pictures(page: str) -> list[ElementTree.Element]:
    """The plots; the signs of a legend are pictures too, and hidden from readers that read aloud."""
    found = [ElementTree.fromstring(text) for text in re.findall(r"<svg .*?</svg>", page, re.DOTALL)]
    return [picture for picture in found if picture.attrib.get("role") == "img"]


def test_the_page_shows_every_measured_disk_and_loads_nothing() -> None:
    page = core.page(core.judge(ALL, "pass"), 10)
    distribution, windows = pictures(page)
    assert len(distribution.findall("polyline")) == len(windows.findall("polyline")) == 3
    assert [text.text for text in windows.findall("text")][-4:] == ["1", "2", "3", "gate 10 ms"]
    assert not re.search(r"https?:|<script|src=|@import|url\(", page)
    assert page.count('<tr class="bad">') == 4


def test_what_hosts_say_is_text_on_the_page() -> None:
    page = core.page(core.judge({"<i>": result(reasons=["<script>alert(1)</script>"]), "x": ALL["host3"]}, "any"), 10)
    assert "<script>" not in page
    assert "<i>" not in page
    assert "fio: &lt;b&gt;" in page
    assert len(pictures(page)) == 2, "host names in a picture are XML too"


def test_colours_that_come_again_have_dashes() -> None:
    lines = [core.Line(f"h{number}", (1.0 * MS, 2.0 * MS)) for number in range(8)]
    (plot,) = pictures(core.plot("x", ["a", "b"], lines, 10 * MS))
    kinds = [line.attrib["class"] for line in plot.findall("polyline")]
    assert kinds[0] == "line0"
    assert kinds[7] == "line0 again"
    assert len(set(kinds)) == 8


def test_a_higher_latency_is_higher_up_and_the_gate_is_between() -> None:
    (line,) = pictures(core.plot("x", ["a", "b"], [core.Line("h", (1.0 * MS, 100.0 * MS))], 10.0 * MS))
    (points,) = line.findall("polyline")
    (_x1, low), (_x2, high) = (map(float, point.split(",")) for point in points.attrib["points"].split())
    gate = float(next(entry for entry in line.findall("line") if entry.attrib["class"] == "gate").attrib["y1"])
    assert low > gate > high
    assert [hint.text for hint in line.iter("title")] == ["h: 1 ms", "h: 100 ms"]
    assert gate == pytest.approx((low + high) / 2, abs=0.2), "the scale is logarithmic"


@pytest.mark.parametrize("values", [(), (None, None), (0,)])
def test_nothing_measured_is_no_picture(values: tuple[float | None, ...]) -> None:
    assert core.plot("x", ["a"], [core.Line("h", values)], 10 * MS) == ""


def test_a_page_without_a_measured_disk() -> None:
    page = core.page(core.judge({"a": {}}, "pass"), 10)
    assert pictures(page) == []
    assert "the host was not reached" in page


@pytest.mark.parametrize(
    ("value", "text"), [(1e2, "100 ns"), (1e4, "10 us"), (1e6, "1 ms"), (1e8, "100 ms"), (1e9, "1 s")]
)
def test_axis(value: float, text: str) -> None:
    assert core.axis(value) == text
