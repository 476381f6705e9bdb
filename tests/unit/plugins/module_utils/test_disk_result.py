"""_disk_result: a remembered measurement and the disk of now in, what speaks against it out."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _disk_result as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio, _fio_device, _machine

AT = 1_763_786_400  # 2025-11-22
NOW = AT + 10 * core.DAY
DEVICE: dict[str, Any] = {
    "filesystem": "ext4",
    "mount": "/var/lib/etcd",
    "mount_options": "rw,relatime",
    "source": "/dev/nvme0n1p1",
    "chain": [
        {"name": "nvme0n1p1", "kind": "partition"},
        {
            "name": "nvme0n1",
            "kind": "disk",
            "model": "FAST 960",
            "serial": "S1",
            "size_bytes": 960 * 10**9,
            "rotational": False,
            "scheduler": "none",
            "write_cache": "write through",
        },
    ],
}
KERNEL = "6.12.41"
WANTED: dict[str, Any] = {
    "directory": "/var/lib/etcd",
    "max_p99_ms": 10,
    "heartbeat_interval_ms": 100,
    "election_timeout_ms": 1000,
    "max_age_days": 365,
}


def window(p99_ms: float, longest_ms: float) -> dict[str, Any]:
    times = {"50": int(p99_ms * _fio.MS / 2), "99": int(p99_ms * _fio.MS), "99.9": int(longest_ms * _fio.MS)}
    return _fio.as_data(
        _fio.Window(2300, False, 5000, 30.0, p99_ms * _fio.MS / 2, int(longest_ms * _fio.MS), times, 0, 0)
    )


RESULT: dict[str, Any] = {
    "at": AT,
    "profile": "standard",
    "verdict": "good",
    "p99_ns": 4 * _fio.MS,
    "reasons": ["fast enough"],
    "device": DEVICE,
    "kernel": KERNEL,
    "parameters": {"profile": "standard", "seconds": 0, **_fio.asdict(_fio.Limits())},
    "windows": [window(4, 60), window(3, 20), window(3, 20)],
}


def text(path: str = "/var/lib/etcd", **changes: Any) -> str:
    return json.dumps({"schema": 1, "results": {path: {**RESULT, **changes}}})


def recalled(stored: str = "", wanted: dict[str, Any] | None = None, **now: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"device": DEVICE, "kernel": KERNEL, "now": NOW, **now}
    return core.recall(stored or text(), {**WANTED, **(wanted or {})}, known["device"], known["kernel"], known["now"])


def found(result: dict[str, Any], running: bool = False, **wanted: Any) -> list[tuple[str, str]]:
    return [(finding.check, finding.level) for finding in core.judge(result, {**WANTED, **wanted}, running)]


def other(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    device = copy.deepcopy(DEVICE)
    place: Any = device
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return device


def test_the_same_disk_with_the_same_limits_is_fine() -> None:
    assert found(recalled()) == []
    assert recalled()["age_days"] == 10.0
    # One name for it, however it is written.
    assert found(recalled(text("/var/lib//etcd/"))) == []


@pytest.mark.parametrize(
    ("path", "value", "check", "says"),
    [
        (("chain", 1, "serial"), "S2", "disk_qualification_device", "disk 1 serial: S1 -> S2"),
        (("chain", 1, "model"), "SLOW 4T", "disk_qualification_device", "FAST 960 -> SLOW 4T"),
        (("chain", 1, "size_bytes"), 1, "disk_qualification_device", "size_bytes: 960000000000 -> 1"),
        (("chain", 1, "rotational"), True, "disk_qualification_device", "False -> True"),
        (("chain",), [], "disk_qualification_device", "S1 -> nothing"),
        (("filesystem",), "xfs", "disk_qualification_device", "filesystem: ext4 -> xfs"),
        (("mount_options",), "rw,relatime,nobarrier", "disk_qualification_settings", "nobarrier"),
        (("mount",), "/", "disk_qualification_settings", "mount: /var/lib/etcd -> /"),
        (("chain", 1, "scheduler"), "mq-deadline", "disk_qualification_settings", "none -> mq-deadline"),
        (("chain", 1, "write_cache"), "write back", "disk_qualification_settings", "write through -> write back"),
    ],
)
def test_another_disk_and_another_setting_of_it(path: tuple[Any, ...], value: Any, check: str, says: str) -> None:
    result = recalled(device=other(path, value))
    (finding,) = core.judge(result, WANTED, False)
    assert (finding.check, finding.level) == (check, "warning")
    assert says in finding.found
    level = "error" if check == "disk_qualification_device" else "warning"
    assert found(result, required=True) == [(check, level)]


def test_a_disk_that_is_found_under_another_name_is_the_same_one() -> None:
    moved = other(("chain", 1, "name"), "nvme1n1")
    moved["source"] = "/dev/nvme1n1p1"
    assert found(recalled(device=moved)) == []
    # Without a serial number, there is no more than the name.
    del moved["chain"][1]["serial"]
    stored = copy.deepcopy(DEVICE)
    del stored["chain"][1]["serial"]
    assert found(recalled(text(device=stored), device=moved)) == [("disk_qualification_device", "warning")]


def test_a_failure_of_another_disk_says_nothing_of_this_one() -> None:
    failed = text(verdict="fail")
    assert found(recalled(failed)) == [("disk_qualification", "error")]
    assert found(recalled(failed, device=other(("chain", 1, "serial"), "S2"))) == [
        ("disk_qualification_device", "warning")
    ]
    # A mount option does not make a slow disk unknown.
    assert found(recalled(failed, device=other(("mount_options",), "rw,noatime"))) == [
        ("disk_qualification", "error"),
        ("disk_qualification_settings", "warning"),
    ]


@pytest.mark.parametrize("required", [False, True])
def test_another_kernel_is_a_doubt_only(required: bool) -> None:
    assert found(recalled(kernel="6.12.57"), required=required) == [("disk_qualification_kernel", "warning")]


@pytest.mark.parametrize(
    ("days", "limit", "required", "running", "expected"),
    [
        (365, 365, False, False, None),
        (365.1, 365, False, False, "warning"),
        (365.1, 365, True, False, "error"),
        (365.1, 365, True, True, "warning"),
        (5000, 0, True, False, None),
        (-0.9, 365, True, False, None),
        (-3, 365, False, False, "warning"),
        (-3, 0, False, False, "warning"),
    ],
)
def test_age(days: float, limit: int, required: bool, running: bool, expected: str | None) -> None:
    result = recalled(now=AT + days * core.DAY)
    assert found(result, running, max_age_days=limit, required=required) == (
        [("disk_qualification_age", expected)] if expected else []
    )


@pytest.mark.parametrize(
    ("wanted", "verdict", "says"),
    [
        ({}, "good", "fast enough"),
        ({"max_p99_ms": 4.1}, "pass", "judged anew"),
        ({"max_p99_ms": 4}, "fail", "not below 4 ms"),
        ({"max_p99_ms": 50}, "excellent", "judged anew"),
        ({"heartbeat_interval_ms": 5, "election_timeout_ms": 50}, "fail", "longer than the election timeout (50 ms)"),
        ({"election_timeout_ms": 61}, "good", "judged anew"),
    ],
)
def test_the_hosts_own_limits_count_not_those_of_then(wanted: dict[str, Any], verdict: str, says: str) -> None:
    result = recalled(wanted=wanted)
    assert result["verdict"] == verdict
    assert says in "; ".join(result["reasons"])
    assert found(result) == ([("disk_qualification", "error")] if verdict == "fail" else [])


def test_a_lenient_measurement_does_not_pass_a_strict_gate() -> None:
    lenient = {"profile": "standard", "seconds": 0, **_fio.asdict(_fio.Limits(gate_ns=50 * _fio.MS))}
    slow = text(parameters=lenient, p99_ns=20 * _fio.MS, windows=[window(20, 60)] * 3)
    assert found(recalled(slow, {"max_p99_ms": 50})) == []
    assert found(recalled(slow)) == [("disk_qualification", "error")]
    # Also when the windows were lost.
    assert found(recalled(text(parameters=lenient, p99_ns=20 * _fio.MS, windows=None))) == [
        ("disk_qualification", "error")
    ]


@pytest.mark.parametrize(
    ("required_verdict", "expected"),
    [("any", []), ("pass", []), ("good", []), ("excellent", [("disk_qualification", "error")])],
)
def test_the_verdict_that_the_host_needs(required_verdict: str, expected: list[tuple[str, str]]) -> None:
    assert found(recalled(), required_verdict=required_verdict) == expected
    assert found(recalled(text(verdict="fail")), required_verdict="any") == [("disk_qualification", "error")]


@pytest.mark.parametrize(
    ("stored", "level", "required_level"),
    [
        ("", "warning", "error"),
        (text("/somewhere/else"), "warning", "error"),
        (text(verdict="insufficient"), "warning", "error"),
        (text(verdict="something new"), "warning", "error"),
        (text(verdict="implausible"), "error", "error"),
        (text(verdict="fail"), "error", "error"),
        ("{", "warning", "error"),
    ],
)
def test_what_is_not_known_is_a_warning_unless_it_is_required(stored: str, level: str, required_level: str) -> None:
    result = core.recall(stored, WANTED, DEVICE, KERNEL, NOW)
    assert found(result) == [("disk_qualification", level)]
    assert found(result, required=True) == [("disk_qualification", required_level)]


@pytest.mark.parametrize(
    ("profile", "under_load", "required", "expected"),
    [
        ("standard", True, False, "warning"),
        ("standard", True, True, "error"),
        ("sustained", True, False, "warning"),
        ("", True, False, "warning"),
        ("loaded", True, True, None),
        ("standard", False, True, None),
    ],
)
def test_dense_clusters_want_a_disk_that_was_measured_under_load(
    profile: str, under_load: bool, required: bool, expected: str | None
) -> None:
    result = recalled(text(profile=profile))
    assert found(result, under_load=under_load, required=required) == (
        [("disk_qualification_load", expected)] if expected else []
    )
    assert any(loaded for _size, loaded in _fio.PROFILES[core.LOADED_PROFILE].kinds)


def test_every_doubt_is_told_by_its_own_name() -> None:
    result = recalled(device=other(("mount",), "/"), kernel="6.18", now=AT + 400 * core.DAY)
    assert [check for check, _level in found(result, under_load=True)] == [
        "disk_qualification_load",
        "disk_qualification_settings",
        "disk_qualification_kernel",
        "disk_qualification_age",
    ]


def test_a_refused_disk_is_shown_with_what_was_measured() -> None:
    result = recalled(text(verdict="fail", p99_ns=41_500_000, reasons=["p99 41.5 ms, wanted < 10 ms"]))
    (finding,) = core.judge(result, WANTED, False)
    assert finding.found == "fail, p99 41.5 ms, measured 2025-11-22: p99 41.5 ms, wanted < 10 ms"


@pytest.mark.parametrize(
    "stored",
    [
        "{",
        "[]",
        "3",
        '{"schema": 1}',
        '{"schema": 1, "results": []}',
        '{"schema": 2, "results": {"/var/lib/etcd": {}}}',
        text(at="soon"),
        text(reasons=3),
        text(device="sda"),
        text(parameters=[1]),
    ],
)
def test_a_file_that_is_not_understood_is_said_to_be_so(stored: str) -> None:
    assert set(recalled(stored)) == {"error"}


def test_a_file_of_an_older_release_has_no_device_to_compare() -> None:
    assert found(recalled(text(device=None, kernel=None, parameters=None))) == []


def test_what_fio_qualification_remembers_is_what_is_recalled(tmp_path: Path) -> None:
    """The real file, and the real device of now."""
    device = dict(_fio_device.observe(str(tmp_path)).device)
    entry = {**RESULT, "at": int(NOW), "device": device}
    (tmp_path / _machine.QUALIFICATION_FILE).write_text(_fio.render_results({str(tmp_path / "data"): entry}))
    result = _machine.observe_qualification({**WANTED, "directory": str(tmp_path / "data")}, str(tmp_path))
    assert (result["verdict"], result["other_disk"], result["other_settings"]) == ("good", [], [])
    assert result["kernel_now"]
    assert _machine.observe_qualification({}, str(tmp_path)) == {}
    assert _machine.observe_qualification(WANTED, "") == {}
