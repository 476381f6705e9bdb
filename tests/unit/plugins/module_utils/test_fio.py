"""_fio: the plan of the runs, what fio's JSON says, and what it means for etcd."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._fio import (
    MS,
    FioError,
    Limits,
    Run,
    Window,
    judge,
    parse_window,
    plan,
)

RECORDED = Path(__file__).parent / "recorded"
RUN = Run(2300, 20)


def shaped(**lat_ns: Any) -> dict[str, Any]:
    """fio's JSON of one run, with what matters of it."""
    return {
        "fio version": "fio-3.33",
        "jobs": [
            {
                "jobname": "commit",
                "error": 0,
                "write": {"runtime": 20000},
                "sync": {"total_ios": 0, "lat_ns": lat_ns},
            }
        ],
    }


FAST = {
    "min": 90_000,
    "max": 3_000_000,
    "mean": 200_000.5,
    "N": 4000,
    "percentile": {"50.000000": 180_000, "99.000000": 900_000, "99.900000": 2_000_000},
    "bins": {"180000": 3900, "900000": 90, "2000000": 10},
}


def window(p99_ms: float = 0.5, **values: Any) -> Window:
    """A window with enough samples, by its p99."""
    found = {
        "block_size": 2300,
        "loaded": False,
        "samples": 10_000,
        "seconds": 20.0,
        "mean_ns": 200_000.0,
        "max_ns": int(p99_ms * 3 * MS),
        "percentiles": {"50": int(p99_ms * MS / 3), "99": int(p99_ms * MS), "99.9": int(p99_ms * 2 * MS)},
        "above_gate": 0 if p99_ms < 10 else 150,
    }
    return Window(**{**found, **values})


# --- the plan


@pytest.mark.parametrize(
    ("profile", "seconds", "runs", "each", "total"),
    [
        ("quick", 0, 3, 60, 180),
        ("standard", 0, 6, 20, 120),
        ("standard", 60, 6, 10, 60),
        ("loaded", 0, 12, 20, 240),
        ("sustained", 0, 10, 60, 600),
        ("sustained", 1800, 30, 60, 1800),
    ],
)
def test_a_profile_is_divided_into_windows(profile: str, seconds: int, runs: int, each: int, total: int) -> None:
    found = plan(profile, seconds)
    assert (len(found), found[0].seconds, sum(run.seconds for run in found)) == (runs, each, total)


def test_every_kind_of_window_comes_three_times_or_more() -> None:
    for profile, wanted in core.PROFILES.items():
        found = [(run.block_size, run.loaded) for run in plan(profile)]
        assert all(found.count(kind) >= 3 for kind in wanted.kinds)
    assert {(2300, False), (8000, False), (2300, True), (8000, True)} == set(core.PROFILES["loaded"].kinds)


@pytest.mark.parametrize(
    ("profile", "seconds"),
    [
        ("standard", 59),
        ("loaded", 60),
        ("sustained", 599),
        ("sustained", 1801),
        ("quick", 60),
        ("quick", 200),
        ("standard", -1),
    ],
)
def test_a_length_that_does_not_suit_the_profile_is_refused(profile: str, seconds: int) -> None:
    with pytest.raises(FioError, match=f"'{profile}'.*not {seconds} s"):
        plan(profile, seconds)


def test_quick_is_the_known_recipe() -> None:
    sizes = core.file_sizes("quick")
    argv = core.fio_argv(plan("quick")[0], sizes, {"commit": "/proc/self/fd/5"})
    for option in ("--ioengine=sync", "--rw=write", "--fdatasync=1", "--bs=2300", f"--size={22 * 1024 * 1024}"):
        assert option in argv
    assert "--time_based" not in argv, "the recipe ends when the file is written"
    assert [word for word in argv if word.startswith("--name")] == ["--name=commit"]


def test_a_loaded_run_has_a_writer_and_readers_with_files_of_their_own() -> None:
    sizes = core.file_sizes("loaded")
    files = {name: f"/proc/self/fd/{number}" for number, name in enumerate(sizes, 5)}
    argv = core.fio_argv(Run(8000, 20, loaded=True), sizes, files, direct_reads=False)
    assert [word for word in argv if word.startswith("--name")] == ["--name=commit", "--name=writer", "--name=reader"]
    assert [word for word in argv if word.startswith("--filename")] == [f"--filename={path}" for path in files.values()]
    assert "--direct=0" in argv
    assert "--fdatasync=1" in argv[: argv.index("--name=writer")]
    assert "--fdatasync=1" not in argv[argv.index("--name=writer") :]
    # One process: whoever kills it, kills all of it.
    assert argv.index("--thread") < argv.index("--name=commit")


@pytest.mark.parametrize(
    ("text", "version"),
    [("fio-3.33\n", (3, 33)), ("fio-3.1-14-gdeadbee", (3, 1)), ("fio-2.99", (2, 99)), ("what?", ())],
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert core.fio_version(text) == version


# --- what fio said


def test_a_real_run_under_load() -> None:
    """fio 3.33: 'total_ios' of the commits is 0, the readers have neither percentiles nor bins."""
    found = parse_window((RECORDED / "fio-3.33-loaded.json").read_text(), Run(8000, 4, loaded=True), Limits())
    assert (found.samples, found.p99_ns, found.max_ns) == (11106, 1_269_760, 43_519_408)
    assert found.percentiles == {"50": 240_640, "90": 444_416, "95": 618_496, "99": 1_269_760, "99.9": 13_434_880}
    assert (found.above_gate, found.above_heartbeat) == (18, 0)
    assert found.seconds == pytest.approx(4.0, abs=0.1)
    assert found.title() == "8000 B, under load"


def test_a_real_slow_disk_fails_although_it_gives_few_samples() -> None:
    """A loop device that may do 60 writes a second: 241 commits in eight seconds are too few to pass, and enough to fail."""
    slow = parse_window((RECORDED / "fio-3.33-slow.json").read_text(), Run(2300, 8), Limits())
    assert slow.samples == 241
    found = judge([slow] * 3, Limits())
    assert found.verdict == "fail"
    assert "106 ms" in found.reasons[0]
    assert "3 of 3 windows" in found.reasons[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("fio: terminating on signal 15\nnote: both iodepth >= 1 {and} more\n", ""),
        ("{ not json\n", "\nbye {\n"),
        ("{}\n", ""),
    ],
)
def test_text_around_the_json(before: str, after: str) -> None:
    text = f"{before}{json.dumps(shaped(**FAST), indent=2)}{after}"
    assert parse_window(text, RUN, Limits()).samples == 4000


@pytest.mark.parametrize("text", ["", "fio: bad option <x>\n", "{", '{"jobs": 3}', "[]"])
def test_no_json_is_an_error_that_shows_what_was_printed(text: str) -> None:
    with pytest.raises(FioError, match="fio printed no result") as caught:
        core.parse_document(text)
    assert text.strip() in str(caught.value)


@pytest.mark.parametrize(
    ("change", "samples"),
    [
        ({}, 4000),
        ({"N": 0}, 4000),  # the histogram says it
        ({"N": None, "bins": {}}, 7),  # nothing but total_ios does
    ],
)
def test_where_the_number_of_samples_is_found(change: dict[str, Any], samples: int) -> None:
    document = shaped(**{**FAST, **change})
    document["jobs"][0]["sync"]["total_ios"] = 7
    assert parse_window(json.dumps(document), RUN, Limits()).samples == samples


def test_shares_are_counted_from_the_histogram() -> None:
    bins = {"9999999": 970, "10000000": 20, "100000000": 7, "2000000000": 3}
    found = parse_window(json.dumps(shaped(**{**FAST, "N": 1000, "bins": bins})), RUN, Limits())
    assert (found.above_gate, found.above_heartbeat) == (30, 10)


def test_shares_without_a_histogram_are_the_largest_that_the_percentiles_allow() -> None:
    percentile = {"50.000000": 1000, "95.000000": 9_000_000, "99.000000": 10_000_000}
    found = parse_window(json.dumps(shaped(**{**FAST, "N": 1000, "bins": {}, "percentile": percentile})), RUN, Limits())
    assert (found.above_gate, found.above_heartbeat) == (50, 10)


def test_a_job_that_failed_is_an_error_not_a_number() -> None:
    """EINVAL: the times are all 0 then."""
    document = shaped(min=0, max=0, mean=0.0, N=0)
    document["jobs"][0]["error"] = 22
    text = "fio: pid=7, err=22/file:engines/sync.c:67, func=xfer, error=Invalid argument\n" + json.dumps(document)
    with pytest.raises(FioError, match=r"'commit' with error 22.*Invalid argument"):
        parse_window(text, RUN, Limits())


def test_a_failed_companion_is_an_error_too() -> None:
    document = shaped(**FAST)
    document["jobs"].append({"jobname": "reader", "error": 5})
    with pytest.raises(FioError, match="'reader' with error 5"):
        parse_window(json.dumps(document), RUN, Limits())


def test_a_run_that_reads_0_ns_without_an_error_is_no_pass() -> None:
    zero = parse_window(json.dumps(shaped(min=0, max=0, mean=0.0, N=0, percentile={"99.000000": 0})), RUN, Limits())
    assert zero.percentiles == {}
    assert judge([zero] * 3, Limits()).verdict == "insufficient"


# --- verdicts


@pytest.mark.parametrize(
    ("windows", "verdict", "reason"),
    [
        ([window(0.9)] * 3, "excellent", "p99 of 0.9 ms, below 1 ms"),
        ([window(1.0)] * 3, "good", "below 5 ms"),
        ([window(4.9)] * 3, "good", "below 5 ms"),
        ([window(5.0)] * 3, "pass", "below 10 ms"),
        ([window(9.99)] * 3, "pass", "below 10 ms"),
        ([window(10.0)] * 3, "fail", "3 of 3 windows"),
        # The worst window counts, not the average one.
        (
            [window(0.2), window(0.2), window(12)],
            "fail",
            "p99 of fdatasync is 12 ms in the worst window (2300 B), and 1 of 3",
        ),
        ([window(0.2), window(0.2), window(12, block_size=8000, loaded=True)], "fail", "(8000 B, under load)"),
        ([window(0.2), window(0.2), window(3)], "good", "(2300 B) has a p99 of 3 ms"),
        ([window(0.9, samples=1000)] * 3, "excellent", ""),
        ([window(0.9, samples=999)] * 3, "insufficient", "999 commits (2300 B) are too few"),
        ([window(0.9), window(0.9, samples=0), window(0.9)], "insufficient", "fio timed no fdatasync"),
        ([window(0.9, percentiles={})] * 3, "insufficient", "fio timed no fdatasync"),
        ([], "insufficient", "nothing was measured"),
        # Few samples: ten slow ones prove it, nine do not.
        ([window(40, samples=300, above_gate=10)] * 3, "fail", "40 ms"),
        ([window(40, samples=300, above_gate=9)] * 3, "insufficient", "300 commits"),
        ([window(0.000999)] * 3, "implausible", "999 ns"),
        ([window(0.2), window(0.0004), window(0.2)], "implausible", "400 ns"),
        ([window(0.001)] * 3, "excellent", ""),
        # One commit that is longer than an election timeout, in a disk that is fast otherwise.
        (
            [window(0.2), window(0.2, max_ns=1000 * MS), window(0.2)],
            "fail",
            "longer than the election timeout (1000 ms)",
        ),
        ([window(0.2), window(0.2, max_ns=999 * MS), window(0.2)], "excellent", ""),
        # Heartbeats are missed: more than one commit in a thousand.
        ([window(0.2, above_heartbeat=11)] * 3, "pass", "0.11 % of the commits take longer than a heartbeat"),
        ([window(0.2, above_heartbeat=10)] * 3, "excellent", ""),
        # Burst credits end.
        ([window(0.2, mean_ns=mean) for mean in (100, 110, 200)], "pass", "the last windows take 2 times as long"),
        ([window(0.2, mean_ns=mean) for mean in (100, 110, 199)], "excellent", ""),
        ([window(0.2, mean_ns=mean) for mean in (200, 110, 100)], "excellent", ""),
    ],
)
def test_verdicts(windows: list[Window], verdict: str, reason: str) -> None:
    found = judge(windows, Limits())
    assert found.verdict == verdict
    assert reason in "; ".join(found.reasons)
    assert found.reasons


def test_the_gate_can_be_moved() -> None:
    assert judge([window(12)] * 3, Limits(gate_ns=20 * MS)).verdict == "pass"
    assert judge([window(0.3)] * 3, Limits(gate_ns=2 * MS)).verdict == "good"
    long = [window(0.2, max_ns=1500 * MS)] * 3
    assert judge(long, Limits(election_ns=2000 * MS)).verdict == "excellent"


def test_drift_compares_windows_of_one_kind() -> None:
    """8000 B take longer than 2300 B: that is no drift."""
    mixed = [window(mean_ns=100)] * 3 + [window(block_size=8000, mean_ns=900)] * 3
    assert core.drift(mixed) == 1.0
    slope = [window(mean_ns=mean) for mean in (100, 100, 100, 100, 300, 300)]
    assert core.drift(slope) == 3.0
    assert core.drift([window(mean_ns=100)] * 3 + [window(loaded=True, mean_ns=mean) for mean in (10, 20, 40)]) == 4.0
    assert core.drift([window()] * 2) == 1.0


@pytest.mark.parametrize(
    ("p999_ms", "longest_ms", "heartbeat", "election"),
    [
        (2, 20, 100, 1000),
        (101, 120, 110, 1100),
        (20, 700, 100, 1400),
        (20, 701, 100, 1500),
        (20, 40_000, 100, 50_000),
    ],
)
def test_recommended_intervals(p999_ms: int, longest_ms: int, heartbeat: int, election: int) -> None:
    slow = window(percentiles={"99": MS, "99.9": p999_ms * MS}, max_ns=longest_ms * MS)
    found = core.summary([window(), slow])
    assert found["recommended_heartbeat_interval_ms"] == heartbeat
    assert found["recommended_election_timeout_ms"] == election


def test_the_summary_is_the_worst_and_the_whole() -> None:
    found = core.summary(
        [
            window(2, samples=1000, seconds=1.0, above_gate=10),
            window(3, samples=3000, seconds=3.0, above_gate=30, above_heartbeat=4),
        ]
    )
    assert (found["samples"], found["syncs_per_second"]) == (4000, 1000.0)
    assert (found["p99_ns"], found["p999_ns"], found["max_ns"]) == (3 * MS, 6 * MS, 9 * MS)
    assert (found["share_above_gate"], found["share_above_heartbeat"]) == (0.01, 0.001)
    assert core.summary([])["samples"] == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(999, "0.000999 ms"), (970_752, "0.971 ms"), (10 * MS, "10 ms"), (133_693_440, "134 ms"), (100 * MS, "100 ms")],
)
def test_times_for_people(value: int, text: str) -> None:
    assert core.milliseconds(value) == text


# --- what is remembered


def test_windows_survive_json() -> None:
    before = window(above_heartbeat=3)
    assert core.from_data(json.loads(json.dumps(core.as_data(before)))) == before
    assert core.as_data(before)["share_above_heartbeat"] == 0.0003


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema": 2, "results": {"/a": {}}}', '{"schema": 1, "results": []}']
)
def test_a_broken_memory_is_an_empty_one(text: str) -> None:
    assert core.parse_results(text) == {}


def test_results_survive_json() -> None:
    results = {"/var/lib/etcd": {"verdict": "good"}}
    assert core.parse_results(core.render_results(results)) == results
    assert json.loads(core.render_results(results))["schema"] == 1


SAME = {"device": {"source": "/dev/sda"}, "kernel": "6.1", "parameters": {"profile": "quick"}}
ENTRY = {"at": 1000, "verdict": "good", "windows": [core.as_data(window())], **SAME}


@pytest.mark.parametrize(
    ("entry", "now", "reusable"),
    [
        (ENTRY, 1000, True),
        (ENTRY, 1100, True),
        (ENTRY, 1101, False),
        (ENTRY, 999, False),  # the clock went back: its age is not known
        ({**ENTRY, "verdict": "fail"}, 1000, True),
        ({**ENTRY, "verdict": "insufficient"}, 1000, False),
        ({**ENTRY, "verdict": "implausible"}, 1000, False),
        ({**ENTRY, "kernel": "6.2"}, 1000, False),
        ({**ENTRY, "device": {"source": "/dev/sdb"}}, 1000, False),
        ({**ENTRY, "parameters": {"profile": "standard"}}, 1000, False),
        ({**ENTRY, "at": "yesterday"}, 1000, False),
        # Windows that say nothing, or that another release wrote.
        ({**ENTRY, "windows": None}, 1000, False),
        ({**ENTRY, "windows": []}, 1000, False),
        ({**ENTRY, "windows": [core.as_data(window()), "x"]}, 1000, False),
        ({**ENTRY, "windows": [{"samples": 1}]}, 1000, False),
        ({}, 1000, False),
    ],
)
def test_what_may_be_reused(entry: dict[str, Any], now: float, reusable: bool) -> None:
    assert core.reusable(entry, now, 100, SAME) is reusable


@pytest.mark.parametrize(
    ("verdict", "required", "enough"),
    [
        ("pass", "pass", True),
        ("excellent", "good", True),
        ("pass", "good", False),
        ("fail", "pass", False),
        ("insufficient", "pass", False),
        ("implausible", "pass", False),
        ("refused", "pass", False),
        ("error", "pass", False),
        ("unmeasured", "pass", False),
        ("fail", "any", True),
    ],
)
def test_what_is_enough(verdict: str, required: str, enough: bool) -> None:
    assert core.is_enough(verdict, required) is enough


def test_a_pass_needs_every_window() -> None:
    """Whatever the other windows say, one that is bad keeps the whole from passing."""
    bad = {
        "slow": window(11),
        "empty": window(samples=0),
        "fast": replace(window(), percentiles={"99": 3}),
        "few": window(samples=5),
    }
    for name, one in bad.items():
        for place in range(3):
            windows = [window()] * 3
            windows[place] = one
            assert judge(windows, Limits()).verdict not in core.GOOD_VERDICTS, name
