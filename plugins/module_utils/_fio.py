# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a disk commits, as etcd sees it: which runs of fio to make, what their JSON says, and whether it is enough for etcd.

Everything here is pure. Times are nanoseconds unless a name says otherwise, shares are fractions of 1.

Sources of the numbers: etcd's guides (hardware, tuning, FAQ) want a 99th percentile of WAL fdatasync below 10 ms, a heartbeat of about the round trip,
100 ms by default, and an election timeout of ten heartbeats, at most 50 s. The recipe of 22 MiB in writes of 2300 B is IBM's "Using fio to tell whether your
storage is fast enough for etcd", that of 8000 B OpenShift's recommendation for etcd.
"""

from __future__ import annotations

import json
import math
import re
import typing as t
from dataclasses import asdict, dataclass, field, fields

MIB = 2**20
MS = 1_000_000
OLDEST_FIO = (3, 4)  # the first to report percentiles of fdatasync
PERCENTILES = ("50", "90", "95", "99", "99.9")
WINDOWS = 3  # of each kind; one spike in three windows is seen, and so is a slope
SMALL, LARGE = 2300, 8000  # bytes of a write
# A 99th percentile rests on ten samples then. A disk that may pass at all (10 ms) makes as many in the shortest window, 10 s.
FEWEST_SAMPLES = 1000
# This many commits above the gate prove a disk slow, however few there were in all.
FEWEST_SLOW = 10
FASTEST_NS = 1000  # nothing that survives a power cut commits faster than 1 us
STEEPEST_DRIFT = 2.0
SHARE_ABOVE_HEARTBEAT = 0.001

GOOD_VERDICTS = ("pass", "good", "excellent")
MEASURED_VERDICTS = ("fail", "insufficient", "implausible", *GOOD_VERDICTS)
LONGEST_SECONDS = 1800


class FioError(Exception):
    """A measurement that cannot be made, or a run of fio that measured nothing, with the reason."""


@dataclass(frozen=True)
class Run:
    """One run of fio, one window of the measurement. ``once``: it ends when the file is written, or after ``seconds``."""

    block_size: int
    seconds: int
    loaded: bool = False
    once: bool = False

    def title(self) -> str:
        return f"{self.block_size} B{', under load' if self.loaded else ''}"


@dataclass(frozen=True)
class Profile:
    """``kinds``: (bytes of a write, under load) of the windows. Lengths are of the whole measurement, in seconds."""

    kinds: tuple[tuple[int, bool], ...]
    file_mib: int
    seconds: int
    least_seconds: int
    window_seconds: int = 0  # 0: the measurement is divided into WINDOWS windows of each kind
    once: bool = False


PLAIN = ((SMALL, False), (LARGE, False))
PROFILES = {
    # The known recipe, three times; a run is cut off after a minute, which only happens to disks that fail.
    "quick": Profile(((SMALL, False),), 22, 180, 180, once=True),
    # 64 MiB is the size of a segment of etcd's WAL.
    "standard": Profile(PLAIN, 64, 120, 60),
    "loaded": Profile((*PLAIN, (SMALL, True), (LARGE, True)), 64, 240, 120),
    "sustained": Profile(((SMALL, False),), 64, 600, 600, window_seconds=60),
}
# What goes on beside the commits of a loaded window: an image that arrives over 1 Gbit/s and is flushed every 64 MiB, and two that are read.
LOAD_FILE_MIB = 256
WRITER = ("--rw=write", "--bs=1m", "--fsync=64", "--rate=100m")
READER = ("--rw=randread", "--bs=64k", "--numjobs=2", "--rate=50m")


@dataclass(frozen=True)
class Limits:
    """The gate and etcd's two intervals, in nanoseconds."""

    gate_ns: int = 10 * MS
    heartbeat_ns: int = 100 * MS
    election_ns: int = 1000 * MS


@dataclass(frozen=True)
class Window:
    """What one run found. ``percentiles`` by name (``"99.9"``); ``above_gate`` and ``above_heartbeat`` are numbers of commits."""

    block_size: int
    loaded: bool
    samples: int
    seconds: float
    mean_ns: float
    max_ns: int
    percentiles: t.Mapping[str, int] = field(default_factory=dict)
    above_gate: int = 0
    above_heartbeat: int = 0

    @property
    def p99_ns(self) -> int:
        return self.percentiles.get("99", 0)

    def title(self) -> str:
        return Run(self.block_size, 0, self.loaded).title()


@dataclass(frozen=True)
class Judgement:
    """``verdict`` is one of MEASURED_VERDICTS; ``reasons`` explain it, the gravest first; ``p99_ns`` is that of the worst window."""

    verdict: str
    reasons: tuple[str, ...]
    p99_ns: int
    summary: t.Mapping[str, t.Any]


# --- what to run --------------------------------------------------------------------------------------------------------------------------------


def plan(profile: str, seconds: int = 0) -> tuple[Run, ...]:
    """The runs of a profile, in their order. ``seconds`` 0 takes the profile's own length; FioError when it does not suit the profile."""
    wanted = PROFILES[profile]
    length = seconds or wanted.seconds
    if not wanted.least_seconds <= length <= LONGEST_SECONDS or (wanted.once and length != wanted.seconds):
        fix = "has no other length" if wanted.once else f"takes {wanted.least_seconds} to {LONGEST_SECONDS} s"
        raise FioError(f"the profile '{profile}' {fix}, not {length} s")
    count = length // wanted.window_seconds if wanted.window_seconds else WINDOWS
    each = length // (count * len(wanted.kinds))
    return tuple(Run(size, each, loaded, wanted.once) for size, loaded in wanted.kinds for _number in range(count))


def file_sizes(profile: str) -> dict[str, int]:
    """Bytes of the files that a profile needs, by job."""
    wanted = PROFILES[profile]
    sizes = {"commit": wanted.file_mib * MIB}
    if any(loaded for _size, loaded in wanted.kinds):
        sizes |= {"writer": LOAD_FILE_MIB * MIB, "reader": LOAD_FILE_MIB * MIB}
    return sizes


def fio_argv(run: Run, sizes: t.Mapping[str, int], files: t.Mapping[str, str], direct_reads: bool = True) -> list[str]:
    """The command line of a run. ``files`` exist and have their sizes; fio is to make, extend and remove none.

    One process with threads: whoever kills it, kills all of it. ``json+`` has the histogram from which the shares are counted.
    """

    def job(name: str, *options: str) -> list[str]:
        return [f"--name={name}", "--ioengine=sync", f"--size={sizes[name]}", f"--filename={files[name]}", *options]

    argv = ["fio", "--output-format=json+", "--eta=never", "--thread", "--disk_util=0", "--allow_file_create=0"]
    argv += ["--fallocate=none", f"--percentile_list={':'.join(PERCENTILES)}", f"--runtime={run.seconds}"]
    argv += [] if run.once else ["--time_based"]
    argv += job("commit", "--rw=write", "--fdatasync=1", f"--bs={run.block_size}")
    if run.loaded:
        argv += job("writer", *WRITER) + job("reader", *READER, f"--direct={int(direct_reads)}")
    return argv


def fio_version(text: str) -> tuple[int, ...]:
    """The numbers of ``fio --version``, such as (3, 33) of ``fio-3.33-12-gabcdef``; () when there are none."""
    match = re.search(r"fio-(\d+)\.(\d+)", text)
    return tuple(int(number) for number in match.groups()) if match else ()


# --- what fio said ------------------------------------------------------------------------------------------------------------------------------


def parse_document(text: str) -> dict[str, t.Any]:
    """fio's JSON object out of its output, which may have lines before and after it. FioError when there is none."""
    for match in re.finditer(r"^\{", text, re.MULTILINE):
        try:
            found = json.JSONDecoder().raw_decode(text, match.start())[0]
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("jobs"), list):
            return found
    said = text.strip()[:300]
    raise FioError(f"fio printed no result{f', but: {said}' if said else ''}")


def parse_window(text: str, run: Run, limits: Limits) -> Window:
    """What a run found about its commits. FioError when a job failed: its numbers would be of something else, often 0 ns."""
    document = parse_document(text)
    failed = [job for job in document["jobs"] if job.get("error")]
    if failed:
        names = ", ".join(f"'{job.get('jobname')}' with error {job['error']}" for job in failed)
        raise FioError(f"fio's job {names}: {_first_line(text)}")
    commit: t.Mapping[str, t.Any] = next((job for job in document["jobs"] if job.get("jobname") == "commit"), {})
    sync = commit.get("sync") or {}
    times = sync.get("lat_ns") or {}
    bins = {int(value): int(count) for value, count in (times.get("bins") or {}).items()}
    # 'total_ios' of fdatasync is 0 in most versions, and some have no N.
    samples = int(times.get("N") or sum(bins.values()) or sync.get("total_ios") or 0)
    percentiles = {name: value for name, value in _percentiles(times).items() if samples}
    return Window(
        run.block_size,
        run.loaded,
        samples,
        float((commit.get("write") or {}).get("runtime") or 0) / 1000,
        float(times.get("mean") or 0),
        int(times.get("max") or 0),
        percentiles,
        _above(limits.gate_ns, bins, percentiles, samples),
        _above(limits.heartbeat_ns, bins, percentiles, samples),
    )


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.startswith("fio:")), "it did not say why")


def _percentiles(times: t.Mapping[str, t.Any]) -> dict[str, int]:
    found = {f"{float(name):g}": int(value) for name, value in (times.get("percentile") or {}).items()}
    return {name: found[name] for name in PERCENTILES if name in found}


def _above(limit: int, bins: t.Mapping[int, int], percentiles: t.Mapping[str, int], samples: int) -> int:
    """Commits that took ``limit`` or longer; without a histogram, as many as the percentiles allow."""
    if bins:
        return sum(count for value, count in bins.items() if value >= limit)
    below = max((float(name) for name, value in percentiles.items() if value < limit), default=0.0)
    return math.ceil(round(samples * (100 - below) / 100, 6))


# --- what it means ------------------------------------------------------------------------------------------------------------------------------


def milliseconds(nanoseconds: float) -> str:
    """A time as people read it."""
    value = nanoseconds / MS
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def drift(windows: t.Sequence[Window]) -> float:
    """How much slower the last third of the windows is than the first third (means); the worst over the kinds of windows, 1 when nothing can be said."""
    changes = []
    for kind in {(window.block_size, window.loaded) for window in windows}:
        means = [window.mean_ns for window in windows if (window.block_size, window.loaded) == kind]
        third = len(means) // 3
        if third and all(means):
            changes.append(sum(means[-third:]) / sum(means[:third]))
    return max(changes, default=1.0)


def summary(windows: t.Sequence[Window]) -> dict[str, t.Any]:
    """The worst over the windows, the shares over all of them, and what etcd's two intervals should be with such a disk (milliseconds)."""
    samples = sum(window.samples for window in windows)
    seconds = sum(window.seconds for window in windows)
    p999 = max((window.percentiles.get("99.9", 0) for window in windows), default=0)
    longest = max((window.max_ns for window in windows), default=0)
    # Rounded up to tens. The heartbeat has to outlast nearly every commit, the election timeout the longest one, twice over.
    heartbeat = max(100, math.ceil(p999 / MS / 10) * 10)
    election = min(50_000, max(10 * heartbeat, math.ceil(2 * longest / MS / 100) * 100))
    return {
        "samples": samples,
        "p99_ns": max((window.p99_ns for window in windows), default=0),
        "p999_ns": p999,
        "max_ns": longest,
        "share_above_gate": sum(window.above_gate for window in windows) / samples if samples else 0.0,
        "share_above_heartbeat": sum(window.above_heartbeat for window in windows) / samples if samples else 0.0,
        "syncs_per_second": round(samples / seconds, 1) if seconds else 0.0,
        "drift": round(drift(windows), 2),
        "recommended_heartbeat_interval_ms": heartbeat,
        "recommended_election_timeout_ms": election,
    }


def judge(windows: t.Sequence[Window], limits: Limits) -> Judgement:
    """The verdict over all windows. What cannot be trusted is never a pass; what is proven slow is a failure even when samples are few."""
    found = summary(windows)
    for verdict, reasons in (
        ("implausible", list(_implausible(windows))),
        ("fail", list(_too_slow(windows, limits))),
        ("insufficient", list(_insufficient(windows))),
    ):
        if reasons:
            return Judgement(verdict, tuple(reasons), found["p99_ns"], found)
    worst = max(windows, key=lambda window: window.p99_ns)
    fast = f"the slowest of {len(windows)} windows ({worst.title()}) has a p99 of {milliseconds(worst.p99_ns)}"
    doubts = list(_doubts(found, limits))
    verdict, bound = next(
        (name, limits.gate_ns / part)
        for name, part in (("excellent", 10), ("good", 2), ("pass", 1))
        if worst.p99_ns < limits.gate_ns / part and (name == "pass" or not doubts)
    )
    return Judgement(verdict, (*doubts, f"{fast}, below {milliseconds(bound)}"), worst.p99_ns, found)


def _implausible(windows: t.Sequence[Window]) -> t.Iterator[str]:
    for window in windows:
        if window.samples and "99" in window.percentiles and window.p99_ns < FASTEST_NS:
            yield (
                f"a p99 of {window.p99_ns} ns ({window.title()}) is faster than any disk: "
                "fdatasync does nothing here (a memory file system, a disabled barrier, a library that swallows it)"
            )


def _too_slow(windows: t.Sequence[Window], limits: Limits) -> t.Iterator[str]:
    slow = [
        window
        for window in windows
        if window.p99_ns >= limits.gate_ns and (window.above_gate >= FEWEST_SLOW or window.samples >= FEWEST_SAMPLES)
    ]
    if slow:
        worst = max(slow, key=lambda window: window.p99_ns)
        yield (
            f"p99 of fdatasync is {milliseconds(worst.p99_ns)} in the worst window ({worst.title()}), and {len(slow)} of {len(windows)} windows "
            f"are not below {milliseconds(limits.gate_ns)}: etcd would fall behind. Use a disk with power-loss protection, or one that nothing else writes to"
        )
    longest = max((window.max_ns for window in windows), default=0)
    if longest >= limits.election_ns:
        yield (
            f"one commit took {milliseconds(longest)}, longer than the election timeout ({milliseconds(limits.election_ns)}): a leader would have lost "
            "its office. Find what stops the disk, or raise the election timeout"
        )


def _insufficient(windows: t.Sequence[Window]) -> t.Iterator[str]:
    if not windows:
        yield "nothing was measured"
    for window in windows:
        if not window.samples or "99" not in window.percentiles:
            yield f"fio timed no fdatasync ({window.title()})"
        elif window.samples < FEWEST_SAMPLES:
            yield f"{window.samples} commits ({window.title()}) are too few for a p99: at least {FEWEST_SAMPLES} in each window"


def _doubts(found: t.Mapping[str, t.Any], limits: Limits) -> t.Iterator[str]:
    """What keeps a disk from being called good."""
    if found["drift"] >= STEEPEST_DRIFT:
        yield f"it gets slower: the last windows take {found['drift']:g} times as long as the first ones (burst credits, a full write cache)"
    if found["share_above_heartbeat"] > SHARE_ABOVE_HEARTBEAT:
        share = found["share_above_heartbeat"] * 100
        yield f"{share:.2g} % of the commits take longer than a heartbeat ({milliseconds(limits.heartbeat_ns)})"


# --- what is remembered -------------------------------------------------------------------------------------------------------------------------


def as_data(window: Window) -> dict[str, t.Any]:
    """A window for JSON, with its shares and rate."""
    return {
        **asdict(window),
        "share_above_gate": window.above_gate / window.samples if window.samples else 0.0,
        "share_above_heartbeat": window.above_heartbeat / window.samples if window.samples else 0.0,
        "syncs_per_second": round(window.samples / window.seconds, 1) if window.seconds else 0.0,
    }


def from_data(data: t.Mapping[str, t.Any]) -> Window:
    """The reverse of :func:`as_data`."""
    return Window(**{entry.name: data[entry.name] for entry in fields(Window)})


def parse_results(text: str) -> dict[str, t.Any]:
    """The results by directory of disk-qualification.json; none when it is empty, broken or of another schema."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(found, dict) or found.get("schema") != 1 or not isinstance(found.get("results"), dict):
        return {}
    return {name: entry for name, entry in found["results"].items() if isinstance(entry, dict)}


def render_results(results: t.Mapping[str, t.Any]) -> str:
    """The reverse of :func:`parse_results`."""
    return json.dumps({"schema": 1, "results": results}, indent=2, sort_keys=True) + "\n"


def reusable(entry: t.Mapping[str, t.Any], now: float, max_age_seconds: float, same: t.Mapping[str, t.Any]) -> bool:
    """May a result stand for a new measurement? ``same``: ``device``, ``kernel`` and ``parameters`` of now, all of which have to be those of then."""
    age = now - entry["at"] if isinstance(entry.get("at"), (int, float)) else -1
    conclusive = entry.get("verdict") in ("fail", *GOOD_VERDICTS) and _are_windows(entry.get("windows"))
    return conclusive and 0 <= age <= max_age_seconds and all(entry.get(key) == value for key, value in same.items())


def _are_windows(data: t.Any) -> bool:
    """Is it what :func:`as_data` made of windows? Another release, or a hand, may have written the file."""
    names = {entry.name for entry in fields(Window)}
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(window, dict) and names <= window.keys() for window in data)
    )


def is_enough(verdict: str, required: str) -> bool:
    """Does a verdict meet ``required`` (one of GOOD_VERDICTS, or ``any``)?"""
    if required == "any":
        return True
    return verdict in GOOD_VERDICTS and GOOD_VERDICTS.index(verdict) >= GOOD_VERDICTS.index(required)
