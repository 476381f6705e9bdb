"""The report as data, as a table, as a page, and beside an earlier one."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_page, density_report

from .density_result import SETTINGS, result, summary


def built(found: dict[str, Any] | None = None, earlier: dict[str, Any] | None = None, **gates: Any) -> dict[str, Any]:
    return density_report.build(found or result(), "lab", SETTINGS, gates, earlier)


def test_a_good_run() -> None:
    report = built()
    assert report["failed"] == []
    assert density_report.failure(report) == ""
    assert json.loads(json.dumps(report)) == report


def test_a_bad_run_names_every_gate() -> None:
    found = result()
    found["benchmark"]["ready_now"] = 39
    found["benchmark"]["evicted"] = 1
    report = built(found)
    assert report["failed"] == ["all_ready", "evictions"]
    said = density_report.failure(report)
    assert said.startswith("2 of ")
    assert "- all_ready: 1 of 40 pods are not Ready: no reason was seen" in said
    assert "- evictions: the number of evicted pods is 1" in said


def test_the_table_has_gates_and_stages() -> None:
    text = density_report.table(built())
    assert re.search(r"^created to started +1.00 s", text, re.MULTILINE)
    assert re.search(r"^all_ready +ok +40 \(limit: 40\)", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"behind_seconds": 3.2}, "The generator was up to 3.2 s late"),
        ({"watch_restarts": 2}, "The watch was lost 2 times"),
        ({"aborted": "canary dns"}, "The run was aborted: canary dns"),
    ],
)
def test_remarks(change: dict[str, Any], said: str) -> None:
    found = result()
    found["benchmark"] |= change
    assert any(said in remark for remark in built(found)["remarks"])


def test_remarks_of_the_user_and_of_deployments() -> None:
    said = density_report.remarks(
        {**SETTINGS, "workload": "heavy", "remarks": ["kwok: 50 nodes"]}, result()["benchmark"]
    )
    assert any("Deployments" in one for one in said)
    assert said[-1] == "kwok: 50 nodes"


def test_two_reports() -> None:
    earlier = built()
    found = result()
    found["benchmark"]["stages"]["created_to_started"] = summary(1.0, 2.0, 4.0)
    report = density_report.build(found, "lab", {**SETTINGS, "rate": 4.0}, {}, earlier)
    figures = {row["figure"]: row for row in report["comparison"]["figures"]}
    assert figures["created to started p99, s"] == {
        "figure": "created to started p99, s",
        "before": 2.0,
        "now": 4.0,
        "change": 100.0,
    }
    assert "drain until all Ready, s" not in figures
    assert report["comparison"]["settings"] == [{"setting": "rate", "before": 2.0, "now": 4.0}]
    assert "Compared with run 20261122-110000-1" in density_page.page(report)


@pytest.mark.parametrize("earlier", [{}, {"schema": 1}, {"schema": 2, "benchmark": {}}])
def test_what_is_no_report_is_not_compared(earlier: dict[str, Any]) -> None:
    with pytest.raises(density_report.ReportError, match="no density report"):
        built(earlier=earlier)


# --- the page

VOID = {"meta", "br", "hr", "link", "img", "wbr"}


class Checker(HTMLParser):
    """Elements open and close in order; nothing is loaded from anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not {name for name, _value in attrs} & {"src", "href", "onload", "onclick", "style"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def full() -> dict[str, Any]:
    found = result()
    found["restart"] = {
        "node": "n1",
        "wanted": 40,
        "returned": 40,
        "seconds": 21.0,
        "course": [[0.5, 0], [10.0, 12], [21.0, 40]],
    }
    found["drain"] = {"node": "n1", "wanted": 40, "evicted": 40, "refused": 0, "elsewhere": 40, "seconds": 33.0}
    return found


def test_the_page_is_whole() -> None:
    checker = parsed(density_page.page(built(full())))
    assert "script" not in checker.seen
    assert checker.seen.count("svg") == 9
    said = " ".join("".join(checker.text).split())
    for words in (
        "gates passed.",
        "Start latency",
        "restart of n1",
        "fsync p99 ms",
        "run_podsandbox",
        "LoadBalancer 192.0.2.200",
    ):
        assert words in said


def test_a_failed_run_shows_it() -> None:
    found = full()
    found["benchmark"]["failures"] = {"inotify": {"pods": 2, "example": "web-1: <too many> & open files"}}
    found["benchmark"]["ready_now"] = 38
    page = density_page.page(built(found))
    assert parsed(page)
    assert "1 of " in page
    assert "FAILED" in page
    assert "<too many>" not in page
    assert "<too many> & open files" in "".join(parsed(page).text).replace("\N{NO-BREAK SPACE}", " ")


def test_an_aborted_run_without_figures_has_a_page() -> None:
    found = result()
    seen = found["benchmark"]
    seen.update(
        metrics=None,
        aborted="the controller is gone",
        canaries={},
        kubelet_course=[],
        services={},
        addresses={"before": None},
    )
    seen["pods"]["rows"] = []
    seen["stages"] = seen["stages_by_status"] = {name: summary() for name in seen["stages"]}
    found.update(usage={"n1": {"before": {}, "peak": {}, "after": {}}}, outside={})
    page = density_page.page(built(found))
    assert parsed(page)
    assert "the controller is gone" in page


def simulated() -> dict[str, Any]:
    found = result()
    found["benchmark"]["simulated"] = ["n1"]
    found["usage"] = {}
    return found


def test_a_report_on_simulated_nodes_says_what_was_simulated_and_what_does_not_apply() -> None:
    report = built(simulated())
    assert report["failed"] == []
    assert {"kernel_profile", "pod_start_p99_seconds", "n_plus_1"} <= set(report["not_applicable"])
    assert report["remarks"][0].startswith("Simulated: 1 nodes with their kubelets")
    assert report["remarks"][1].startswith("Real: API servers, etcd, scheduler")
    text = density_report.table(report)
    assert re.search(r"^kernel_profile +n/a +the nodes are simulated: there is no kernel$", text, re.MULTILINE)
    said = " ".join("".join(parsed(density_page.page(report)).text).split())
    assert "not applicable" in said
    assert "Not applicable to simulated nodes: " in said


def test_gates_that_do_not_apply_are_not_counted_as_judged() -> None:
    found = simulated()
    found["benchmark"]["ready_now"] = 39
    report = built(found)
    assert report["failed"] == ["all_ready"]
    judged = len(report["gates"]) - len(report["not_applicable"])
    assert density_report.failure(report).startswith(f"1 of {judged} gates")
