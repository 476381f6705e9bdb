# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a remembered measurement of a disk (``fio_qualification``) still says about the disk that is there now. Pure; the caller reads.

A result is of one disk, one kernel and one set of limits. A disk that is another one now was never measured, whatever the verdict; other limits are applied
to the windows of then (p99 and the longest commit are exact, shares above the old limits are kept); settings, kernel and age are doubts.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio

ERROR, WARNING = "error", "warning"
BAD_VERDICTS = ("fail", "implausible")
# The only one of _fio's profiles with windows under load.
LOADED_PROFILE = "loaded"
DAY = 86_400
# A clock may have been stepped since; a result from further ahead than this is not of the past.
CLOCK_SLACK = DAY
# What is another disk, and what only another setting of it. Names (sda) change with the order in which disks are found.
IDENTITY = ("kind", "raid", "model", "serial", "size_bytes", "rotational")
SETTINGS = ("scheduler", "write_cache")


class Finding(t.NamedTuple):
    """The fields of machine_info's problems, in their order."""

    check: str
    what: str
    found: str
    why: str
    fix: str
    level: str


def recall(
    text: str, wanted: t.Mapping[str, t.Any], device: t.Mapping[str, t.Any], kernel: str, now: float
) -> dict[str, t.Any]:
    """Read disk-qualification.json for one directory, beside what is there now.

    :param wanted: ``{directory, max_p99_ms, heartbeat_interval_ms, election_timeout_ms}``; a limit that is not given is the one of then.
    :param device: what ``_fio_device.device_of`` says of the directory now; ``kernel``: the release that runs.
    :returns: ``at``, ``age_days``, ``verdict`` and ``reasons`` (by the limits that are wanted), ``p99_ns``, ``profile``, ``kernel`` (of then),
        ``kernel_now``, ``other_disk`` and ``other_settings`` (texts ``what: then -> now``). ``error`` when the file cannot be understood. Empty
        when there is no result.
    """
    if not text.strip():
        return {}
    try:
        stored = json.loads(text)
        if stored["schema"] != 1:
            return {"error": f"schema {stored['schema']}, not 1"}
        results = {os.path.normpath(path): result for path, result in stored["results"].items()}
        result = results.get(os.path.normpath(str(wanted["directory"])))
        if result is None:
            return {}
        verdict, reasons, p99_ns = _judged(result, wanted)
        then = result.get("device") or {}
        return {
            "at": float(result["at"]),
            "age_days": round((now - float(result["at"])) / DAY, 1),
            "verdict": verdict,
            "profile": str(result.get("profile") or ""),
            "p99_ns": p99_ns,
            "reasons": reasons,
            "kernel": str(result.get("kernel") or ""),
            "kernel_now": kernel,
            "other_disk": differences(_facts(then, IDENTITY), _facts(device, IDENTITY)) if then else [],
            "other_settings": differences(_facts(then, SETTINGS), _facts(device, SETTINGS)) if then else [],
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _judged(result: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> tuple[str, list[str], int]:
    """Verdict, reasons and worst p99 of a result by the limits that are wanted now."""
    verdict, p99_ns = str(result["verdict"]), int(result.get("p99_ns") or 0)
    reasons = [str(reason) for reason in result.get("reasons") or ()]
    then = result.get("parameters") or {}
    limits = limits_of(wanted, then)
    if verdict not in ("fail", *_fio.GOOD_VERDICTS) or limits == limits_of({}, then):
        return verdict, reasons, p99_ns
    try:
        windows = [_fio.from_data(window) for window in result["windows"]]
    except (KeyError, TypeError):
        windows = []
    if windows:
        anew = _fio.judge(windows, limits)
        return anew.verdict, ["judged anew by this host's limits", *anew.reasons], anew.p99_ns
    if p99_ns >= limits.gate_ns:
        return (
            "fail",
            [f"a p99 of {_fio.milliseconds(p99_ns)} is not below {_fio.milliseconds(limits.gate_ns)}"],
            p99_ns,
        )
    return verdict, reasons, p99_ns


def limits_of(wanted: t.Mapping[str, t.Any], then: t.Mapping[str, t.Any]) -> _fio.Limits:
    """The limits that are wanted (milliseconds), and of then (nanoseconds) where nothing is."""
    own = _fio.Limits()
    pairs = (
        ("max_p99_ms", "gate_ns"),
        ("heartbeat_interval_ms", "heartbeat_ns"),
        ("election_timeout_ms", "election_ns"),
    )
    found = {
        field: int(float(wanted[name]) * _fio.MS) if wanted.get(name) else int(then.get(field) or getattr(own, field))
        for name, field in pairs
    }
    return _fio.Limits(**found)


def _facts(device: t.Mapping[str, t.Any], names: t.Sequence[str]) -> dict[str, t.Any]:
    """Facts of a device by a path that says where they stand."""
    top = ("filesystem",) if names is IDENTITY else ("mount", "mount_options")
    found = {name: device.get(name) for name in top}
    for place, entry in enumerate(device.get("chain") or ()):
        label = f"{entry.get('kind')} {place}" if entry.get("kind") else str(place)
        found.update({f"{label} {name}": entry[name] for name in names if entry.get(name) is not None})
        if names is IDENTITY and entry.get("kind") == "disk" and not entry.get("serial"):
            # Without a serial number the name is all there is.
            found[f"{label} name"] = entry.get("name")
    return found


def differences(then: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any]) -> list[str]:
    """``fact: then -> now`` of what is not the same, by name."""
    return [
        f"{name}: {_word(then.get(name))} -> {_word(now.get(name))}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _word(value: t.Any) -> str:
    return "nothing" if value is None or value == "" else str(value)


# --- the judge


def judge(result: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any], running: bool) -> t.Iterator[Finding]:
    """Everything that speaks against a disk, by what :func:`recall` found.

    :param wanted: also ``required``, ``required_verdict``, ``under_load``, ``max_age_days`` (0: any age).
    :param running: etcd runs here already. Its disk is not measured again without need, so doubts do not stop a run.
    """
    level = ERROR if wanted.get("required") else WARNING
    what = f"the disk of {wanted['directory']} has to be fast enough for etcd"
    verdict, other = result.get("verdict", ""), result.get("other_disk") or []
    if other:
        yield Finding(
            "disk_qualification_device",
            what,
            f"{verdict} of another disk, measured {_day(result['at'])}: {'; '.join(other)}",
            "What was measured is not what is there now: this disk is not known.",
            "Run bare_metal.kubernetes.qualify_disks.",
            level,
        )
        return
    if verdict in BAD_VERDICTS or (
        verdict in _fio.GOOD_VERDICTS and not _fio.is_enough(verdict, wanted.get("required_verdict") or "pass")
    ):
        reasons = "; ".join(result["reasons"]) or "no reasons given"
        least = "" if verdict in BAD_VERDICTS else f" (wanted: {wanted['required_verdict']})"
        yield Finding(
            "disk_qualification",
            what,
            f"{verdict}{least}, p99 {result['p99_ns'] / _fio.MS:g} ms, measured {_day(result['at'])}: {reasons}",
            "etcd syncs every write before it answers; on a slow disk it loses its leader, and the API stops with it.",
            "Put the directory on a faster disk (an SSD with power-loss protection) of its own, and run bare_metal.kubernetes.qualify_disks again.",
            ERROR,
        )
    elif verdict not in _fio.GOOD_VERDICTS:
        missing = "no result" if not result else result.get("error") or f"{verdict}, measured {_day(result['at'])}"
        yield Finding(
            "disk_qualification",
            what,
            missing,
            "A disk that is fast for one second is found out only by measuring it.",
            "Run bare_metal.kubernetes.qualify_disks.",
            level,
        )
        return
    yield from _doubts(result, wanted, level, running)


def _doubts(
    result: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any], level: str, running: bool
) -> t.Iterator[Finding]:
    verdict, at, profile = result["verdict"], result["at"], result.get("profile")
    what = f"the measurement of {wanted['directory']} has to be of the disk as it is now"
    again = "Run bare_metal.kubernetes.qualify_disks again; on a running member after it was taken out, or with disk_qualification_allow_live."
    if wanted.get("under_load") and profile != LOADED_PROFILE:
        yield Finding(
            "disk_qualification_load",
            f"the disk of {wanted['directory']} has to be fast enough for etcd beside other writers and readers",
            f"{verdict}, measured {_day(at)} with the profile {profile or 'of an unknown name'}, which has no load",
            "Nodes as dense as this cluster's pull images all the time; a disk that is fast alone may not be beside that.",
            "Run bare_metal.kubernetes.qualify_disks again: it measures under load where a node has so many pods.",
            level,
        )
    if result.get("other_settings"):
        yield Finding(
            "disk_qualification_settings",
            what,
            f"other settings since {_day(at)}: {'; '.join(result['other_settings'])}",
            "Scheduler, write cache and mount options change how long a commit takes.",
            again,
            WARNING,
        )
    if result.get("kernel") and result["kernel"] != result["kernel_now"]:
        yield Finding(
            "disk_qualification_kernel",
            what,
            f"measured with the kernel {result['kernel']}, {result['kernel_now']} runs",
            "Drivers and file systems of another kernel may commit faster or slower.",
            again,
            WARNING,
        )
    limit, age = float(wanted.get("max_age_days") or 0), result.get("age_days") or 0.0
    if age * DAY < -CLOCK_SLACK or (limit and age > limit):
        old = f"{age:g} days old, at most {limit:g} are wanted" if age > 0 else f"measured {-age:g} days from now"
        yield Finding(
            "disk_qualification_age",
            what,
            f"{old} ({_day(at)})",
            "Disks wear out and get slower as they fill.",
            again,
            WARNING if running else level,
        )


def _day(epoch: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(epoch))
