# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates of a density benchmark. Pure: what was seen and the limits in, a verdict with a reason for each gate out.

The defaults are those of published work and of the projects themselves: the slowest of 1,800 pods on four nodes at 93 % took 34 s from scheduled to
Ready (SIGHUP Distribution); Kubernetes' service level objectives are 5 s for the start of 99 % of pods whose images are there, and 1 s for 99 % of
mutating requests (kubernetes/community, sig-scalability/slos); etcd's documentation asks for less than 10 ms for 99 % of its fsyncs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.density import kernel_parameters

Data = Mapping[str, Any]

DEFAULTS: dict[str, Any] = {
    "all_ready": True,
    "scheduled_to_ready_max_seconds": 34,
    "pod_start_p99_seconds": 5,
    "api_mutating_p99_seconds": 1,
    "etcd_fsync_p99_ms": 10,
    "etcd_leader_changes": 0,
    "oom_kills": 0,
    "evictions": 0,
    "container_restarts": 0,
    "canary_factor": 2,
    "canary_floor_ms": 25,
    "dns_p99_ms": 100,
    "limits_share": 0.8,
    "kernel_profile": True,
    "n_plus_1": True,
    "returned": True,
}
#: gates that only mean something together with another one
HELPERS = frozenset({"canary_floor_ms"})
#: limits whose profile the benchmark compares: too little of these breaks a node long after it was filled
PROFILE = (
    *("fs.inotify.max_user_instances", "fs.inotify.max_user_watches"),
    *("kernel.pid_max", "kernel.threads-max", "kernel.keys.maxkeys"),
)


#: what simulated nodes (kwok) cannot show: they start no container, have no kernel and no memory, and lose nothing
ONLY_REAL = {
    **dict.fromkeys(("scheduled_to_ready_max_seconds", "pod_start_p99_seconds"), "no container was started"),
    **dict.fromkeys(("oom_kills", "evictions", "container_restarts"), "there is no kubelet and no container"),
    **dict.fromkeys(("limits_share", "kernel_profile"), "there is no kernel"),
    "n_plus_1": "there is no machine that can be lost",
}


class GatesError(ValueError):
    """A gate that does not exist, or a limit that is none."""


@dataclass(frozen=True)
class Verdict:
    """One gate. ``passed`` is None when it does not apply to what was loaded."""

    gate: str
    passed: bool | None
    limit: str
    found: str
    reason: str = ""


def limits_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with the user's values over them; null turns a gate off. Unknown names and limits that are no numbers are refused."""
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise GatesError(
            f"density_benchmark_gates: there is no gate {', '.join(unknown)}; there are {', '.join(sorted(DEFAULTS))}"
        )
    found = dict(DEFAULTS)
    for name, value in given.items():
        default = DEFAULTS[name]
        if value is None:
            found[name] = None
        elif isinstance(default, bool):
            if not isinstance(value, bool):
                raise GatesError(f"density_benchmark_gates.{name} is {value!r}; it is true, false or null")
            found[name] = value or None
        else:
            found[name] = _limit(name, value)
    return found


def _limit(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise GatesError(
            f"density_benchmark_gates.{name} is {value!r}; it is a number of 0 or more, or null to turn the gate off"
        )
    return number


def _at_most(gate: str, value: float | None, limits: Data, unit: str, what: str) -> list[Verdict]:
    """A figure that may not exceed its limit; one that was not measured has not passed. Nothing when the gate is turned off."""
    limit = limits[gate]
    if limit is None:
        return []
    said = f"{limit:g}{unit}"
    if value is None:
        return [Verdict(gate, False, said, "not measured", f"{what} was not measured")]
    passed = value <= limit
    return [
        Verdict(
            gate, passed, said, f"{value:g}{unit}", "" if passed else f"{what} is {value:g}{unit}, more than {said}"
        )
    ]


# --- one function a group of gates

#: failures that are no missing ingredient
PLAIN_FAILURES = frozenset({"still starting", "never scheduled", "other"})


def _why_not_ready(seen: Data) -> list[str]:
    why = []
    for name, row in seen["failures"].items():
        cause = name if name in PLAIN_FAILURES else f"for want of {name}"
        why.append(f"{row['pods']} {cause} ({row['example']})")
    why += [f"{count} were not created: {said}" for said, count in seen["create_errors"].items()]
    if seen["aborted"]:
        why.append(f"the run was aborted: {seen['aborted']}")
    return why


def _pods(seen: Data, limits: Data) -> list[Verdict]:
    found = []
    wanted = seen["load"]["pods"]
    if limits["all_ready"]:
        missing = wanted - seen["ready_now"]
        passed = missing <= 0 and not seen["aborted"]
        why = "; ".join(_why_not_ready(seen)) or "no reason was seen"
        reason = "" if passed else f"{max(0, missing)} of {wanted} pods are not Ready: {why}"
        found.append(Verdict("all_ready", passed, str(wanted), str(seen["ready_now"]), reason))
    stages = seen["stages"]
    longest = stages["scheduled_to_ready"]["max"]
    beyond = None if longest is None else round(max(0.0, longest - seen["settings"]["probe_delay_seconds"]), 3)
    kubelets = ((seen.get("metrics") or {}).get("kubelets") or {}).values()
    evicted = max(seen["evicted"], sum(row["evictions"] for row in kubelets))
    what = "the slowest pod's time from scheduled to Ready, without its probe's delay,"
    return [
        *found,
        *_at_most("scheduled_to_ready_max_seconds", beyond, limits, " s", what),
        *_at_most(
            "pod_start_p99_seconds",
            stages["created_to_started"]["p99"],
            limits,
            " s",
            "the 99th percentile from created to started",
        ),
        *_at_most("evictions", evicted, limits, "", "the number of evicted pods"),
        *_at_most(
            "container_restarts", seen["restarts"], limits, "", "the number of containers that were started again"
        ),
    ]


def _plane(seen: Data, limits: Data) -> list[Verdict]:
    figures = seen.get("metrics") or {}
    api, etcd = figures.get("api") or {}, figures.get("etcd") or {}
    p99 = (api.get("mutating") or {}).get("p99_ms")
    slowest = api.get("slowest")
    what = "the 99th percentile of mutating requests" + (f" (slowest: {slowest['what']})" if slowest else "")
    fsync, limit = etcd.get("fsync_p99_ms"), limits["etcd_fsync_p99_ms"]
    disk = _at_most(
        "etcd_fsync_p99_ms", fsync, limits, " ms", "the 99th percentile of etcd's fsync, on its slowest member,"
    )
    if disk and fsync is not None and fsync == limit:  # it has to be below
        disk = [
            Verdict(
                disk[0].gate, False, f"< {limit:g} ms", disk[0].found, f"etcd's fsync p99 is {fsync:g} ms, not less"
            )
        ]
    changes = etcd.get("leader_changes")
    return [
        *_at_most("api_mutating_p99_seconds", None if p99 is None else p99 / 1000, limits, " s", what),
        *disk,
        *_at_most("etcd_leader_changes", changes, limits, "", "the number of etcd's leader changes"),
    ]


def _canaries(seen: Data, limits: Data) -> list[Verdict]:
    found = []
    factor, floor = limits["canary_factor"], limits["canary_floor_ms"] or 0
    for kind, row in sorted((seen.get("canaries") or {}).items()):
        baseline, load = (row.get("baseline") or {}).get("p99"), row["load"]["p99"]
        if factor is not None:
            limit = round(factor * max(baseline or 0.0, floor), 1)
            before = "nothing was measured before it" if baseline is None else f"{baseline:g} ms before it"
            what = f"the p99 of canary {kind} under load ({before}; the limit is {factor:g} times that or {floor:g} ms)"
            value = None if baseline is None else load
            (verdict,) = _at_most(f"canary {kind}", value, {f"canary {kind}": limit}, " ms", what)
            if verdict.passed and row["load"]["failed"]:
                said = f"canary {kind}: {row['load']['failed']} of its questions had no answer"
                verdict = Verdict(verdict.gate, False, verdict.limit, f"{row['load']['failed']} failed", said)
            found.append(verdict)
        if kind == "dns":
            found += _at_most("dns_p99_ms", load, limits, " ms", "the 99th percentile of DNS under load")
    return found


def _nodes(usage: Mapping[str, Data], seen: Data, limits: Data) -> list[Verdict]:
    loaded = [row["name"] for row in seen["load"]["nodes"]]
    peaks = {node: usage.get(node, {}).get("peak") for node in loaded}
    silent = [node for node, peak in peaks.items() if not peak]
    found = []
    killed = sum(
        max(0, row["peak"]["oom_kills"] - row["before"]["oom_kills"])
        for row in usage.values()
        if row.get("peak") and row.get("before")
    )
    what = "the number of processes that were killed for want of memory"
    found += _at_most("oom_kills", max(killed, seen["oom_killed"]), limits, "", what)
    if limits["limits_share"] is not None:
        found.append(_limits_gate(peaks, silent, seen, limits["limits_share"]))
    if limits["kernel_profile"]:
        found.append(_profile_gate(peaks, silent, seen))
    return found


def _shares(peaks: Mapping[str, Data | None], seen: Data) -> list[tuple[float, str]]:
    """(share, what) of every limit of every node, the fullest first."""
    rows = [
        (row["used"] / row["limit"], f"{name} on {node}: {row['used']:,} of {row['limit']:,}")
        for node, peak in peaks.items()
        for name, row in ((peak or {}).get("limits") or {}).items()
    ]
    blocks = (seen.get("addresses") or {}).get("peak") or {}
    for node in peaks if blocks else ():
        most = blocks["most_blocks_a_node"]
        own = blocks["nodes"].get(node, {"blocks": 0, "used": 0})
        reach = own["blocks"] + min(
            blocks["free_blocks"], max(0, most - own["blocks"]) if most else blocks["free_blocks"]
        )
        if reach:
            whole = reach * blocks["block_addresses"]
            rows.append(
                (own["used"] / whole, f"pod addresses of {node}: {own['used']:,} of {whole:,} in {reach} blocks")
            )
    return sorted(rows, reverse=True)


def _limits_gate(peaks: Mapping[str, Data | None], silent: Sequence[str], seen: Data, limit: float) -> Verdict:
    rows = _shares(peaks, seen)
    said = f"{limit * 100:g} %"
    if silent or not rows:
        return Verdict("limits_share", False, said, "not measured", f"no figures of {', '.join(silent) or 'any node'}")
    over = [words for share, words in rows if share > limit]
    found = f"{rows[0][0] * 100:.0f} % ({rows[0][1]})"
    return Verdict("limits_share", not over, said, found, "" if not over else f"nearly used up: {'; '.join(over)}")


def _profile_gate(peaks: Mapping[str, Data | None], silent: Sequence[str], seen: Data) -> Verdict:
    short = []
    for row in seen["load"]["nodes"]:
        peak = peaks.get(row["name"])
        if not peak:
            continue
        wanted = kernel_parameters(max(1, row["places"]), peak["cpus"], max(1, peak["memory_mib"]["total"]))
        for key in PROFILE:
            have, least = peak["parameters"].get(key), wanted[key]["min"]
            if have is not None and have < least:
                short.append(f"{key} is {have} on {row['name']}, {row['places']} pods need {least}")
    if silent:
        return Verdict("kernel_profile", False, "the profile", "not measured", f"no figures of {', '.join(silent)}")
    return Verdict("kernel_profile", not short, "the profile", f"{len(short)} too small", "; ".join(short))


def _afterwards(result: Data, limits: Data) -> list[Verdict]:
    found = []
    seen = result["benchmark"]
    if limits["n_plus_1"]:
        room = seen["headroom"]
        words = (
            f"{room['pods']} pods without the benchmark, {room['places_after_loss']} places without the largest node"
        )
        found.append(Verdict("n_plus_1", room["kept"], "fits after a loss", words, "" if room["kept"] else words))
    for name, key in (("restart", "returned"), ("drain", "moved")):
        phase = result.get(name)
        if phase:
            count = phase["returned" if name == "restart" else "elsewhere"]
            idle = phase["wanted"] == 0 or phase.get("evicted") == 0
            passed = phase["seconds"] is not None and not idle
            reason = "" if passed else f"{name} of {phase['node']}: {count} of {phase['wanted']} pods {key}"
            if idle:
                reason = f"{name} of {phase['node']}: it carried no pod of the load, so nothing was shown"
            taken = f"{count} in {phase['seconds']} s" if passed else str(count)
            found.append(Verdict(name, passed, f"all {phase['wanted']}", taken, reason))
    if limits["returned"]:
        found.append(_returned_gate(result))
    return found


def _returned_gate(result: Data) -> Verdict:
    cleaned = result.get("cleaned")
    if not cleaned:
        return Verdict("returned", False, "all gone", "not measured", "the load was not taken away")
    left = list(cleaned["left"])
    before, after = (result["benchmark"].get("addresses") or {}).get("before"), cleaned.get("addresses")
    if before and after:
        for row in result["benchmark"]["load"]["nodes"]:
            had, has = (blocks["nodes"].get(row["name"], {}).get("used", 0) for blocks in (before, after))
            if has > had:
                left.append(f"{has - had} pod addresses on {row['name']}")
    taken = f"{cleaned['pods']} pods in {cleaned['pods_gone_seconds']} s, all in {cleaned['seconds']} s"
    return Verdict("returned", not left, "all gone", taken, "" if not left else f"still there: {', '.join(left)}")


def judge(result: Data, limits: Data) -> list[Verdict]:
    """All gates that are on, in the order of the report.

    :param result: ``{benchmark, usage: {node: {before, peak, after}}, restart, drain, cleaned}`` as the modules returned it.
    :param limits: from :func:`limits_of`.
    """
    seen = result["benchmark"]
    verdicts = [
        *_pods(seen, limits),
        *_plane(seen, limits),
        *_canaries(seen, limits),
        *_nodes(result.get("usage") or {}, seen, limits),
        *_afterwards(result, limits),
    ]
    if not seen.get("simulated"):
        return verdicts
    return [
        replace(one, passed=None, found="not applicable", reason=f"the nodes are simulated: {ONLY_REAL[one.gate]}")
        if one.gate in ONLY_REAL
        else one
        for one in verdicts
    ]


def as_data(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """The verdicts for JSON."""
    return [asdict(verdict) for verdict in verdicts]
