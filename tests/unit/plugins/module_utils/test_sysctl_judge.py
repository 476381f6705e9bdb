"""_sysctl_judge: what has to be done and said, on observations without a machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_files import Assignment, Files, parse_file
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_judge import (
    HEADER,
    Observed,
    plan,
    verdicts,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_later import Modules, Writer
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import parse_parameters

OWN = "/etc/sysctl.d/99-own.conf"


def seen(live: str | None, other: str = "", own: str = "", procps: str = "", **more: Any) -> Observed:
    """One parameter, ``a.b``, with a file of others before the own one."""
    systemd = (*parse_file("/o", other), *parse_file(OWN, own))
    files = Files(systemd, (*systemd, *parse_file("/etc/sysctl.conf", procps)), (), own)
    value = None if live is None else tuple(live.split())
    return Observed(OWN, {"a.b": value}, {"a.b": live is not None}, files, procps=(4, 0, 4), **more)


def tuned(value: str, rereads: str | None = None) -> tuple[Writer, ...]:
    again = None if rereads is None else tuple(parse_file(OWN, rereads))
    return (Writer("tuned", {"a.b": Assignment("/t", 9, "a.b", (value,))}, again),)


@pytest.mark.parametrize(
    ("wish", "observed", "written", "persisted"),
    [
        (5, seen("5"), None, "5"),
        (5, seen("4"), "5", "5"),
        ({"one_of": [5, 6]}, seen("6"), None, "6"),
        ({"min": 5}, seen("9"), None, None),
        ({"min": 5}, seen("4"), "5", "5"),
        ({"min": 5}, seen("9", other="a.b = 3"), None, "5"),
        ({"min": 5}, seen("9", other="a.* = 3"), None, "5"),
        ({"min": 5}, seen("9", other="a.* = 3\n-a.b"), None, None),
        ({"min": 5}, seen("5", own="a.b = 5", original={"a.b": "4"}), None, "5"),
        ({"max": 5}, seen("9", other="a.b = 3"), "5", None),
        ({"min": "1 5 9"}, seen("2 2 2"), "2 5 9", "2 5 9"),
        # tuned comes later: a line of ours helps only when it reads the files again.
        ({"min": 5}, seen("9", writers=tuned("3", "")), None, "5"),
        # And it stays there: that it helps is no reason to take it away.
        ({"min": 5}, seen("9", own="a.b = 5", writers=tuned("3", "a.b = 5")), None, "5"),
        ({"min": 5}, seen("9", writers=tuned("3")), None, None),
        ({"min": 5}, seen("9", writers=tuned(">3", "")), None, None),
        (5, seen(None), None, None),
        ([1, 2], seen("7", own="a.b = 7"), None, "7"),
        ([1, 2], seen("7"), None, None),
    ],
)
def test_what_is_written_and_what_stands_in_the_file(
    wish: Any, observed: Observed, written: str | None, persisted: str | None
) -> None:
    steps = plan(parse_parameters({"a.b": wish}), observed)
    assert [write.after for write in steps.writes] == ([written] if written else [])
    expected = f"{HEADER}\na.b = {persisted}\n" if persisted else ""
    assert steps.own_text == expected


@pytest.mark.parametrize(
    ("wish", "observed", "names", "notes"),
    [
        ({"min": 5}, seen("9"), (), ()),
        (5, seen("5", own="a.b = 5"), (), ()),
        (5, seen("5"), ("persist_drift",), ()),
        (5, seen("4", own="a.b = 5"), ("runtime_drift",), ()),
        ({"min": 5}, seen("9", original={"a.b": "4"}), ("persist_drift",), ()),
        ({"min": 5}, seen("9", other="a.b = 4"), ("overridden_by",), ()),
        ({"min": 5}, seen("9", other="a.b = 4", own="a.b = 5"), (), ("duplicate",)),
        ({"min": 5}, seen("9", other="a.b = 7\na.b = 8"), (), ()),
        # A value of nothing is refused by the kernel for a number, so it leaves what there is.
        ({"min": 5}, seen("9", other="a.b ="), (), ()),
        (5, seen("5", own="a.b = 5", procps="a.b = 4"), (), ("procps_differs",)),
        (5, seen("5", own="a.b = 5", procps="a.b = 0x5"), (), ()),
        ({"min": 5}, seen("9", procps="a.b = 4"), (), ("procps_differs",)),
        ({"min": 5}, seen("9", procps="a.b = 6"), (), ()),
        # Both programs would do the same: that is said once, as overridden_by.
        ({"min": 5}, seen("9", other="a.b = 4", procps="a.b = 4"), ("overridden_by",), ()),
        (5, seen("5", own="a.b = 5", writers=tuned("4")), ("will_be_overwritten_by",), ()),
        (5, seen("5", own="a.b = 5", writers=tuned("4", "a.b = 5")), (), ()),
        ({"min": 5}, seen("9", own="a.b = 5", writers=tuned("6")), (), ()),
        (5, seen(None), ("unknown_key",), ()),
        ([1, 2], seen("1"), ("conflict",), ()),
        ([1, 2], seen(None), ("conflict",), ()),
    ],
)
def test_what_is_said(wish: Any, observed: Observed, names: tuple[str, ...], notes: tuple[str, ...]) -> None:
    (verdict,) = verdicts(parse_parameters({"a.b": wish}), observed, {})
    assert verdict.names == names
    assert verdict.notes == notes


@pytest.mark.parametrize(
    ("wish", "failed", "tolerate", "tolerated"),
    [
        ({"exactly": 5, "optional": True}, {}, (), False),
        ({"exactly": 5, "optional": True}, {"a.b": "no"}, (), True),
        (5, {"a.b": "no"}, ("a.b",), True),
        (5, {"a.b": "no"}, (), False),
        ([{"exactly": 5}, {"exactly": 6}], {"a.b": "no"}, ("a.b",), False),
    ],
)
def test_only_what_a_host_cannot_help_is_tolerated(
    wish: Any, failed: dict[str, str], tolerate: tuple[str, ...], tolerated: bool
) -> None:
    (verdict,) = verdicts(parse_parameters({"a.b": wish}), seen("4", own="a.b = 5"), failed, frozenset(tolerate))
    assert verdict.tolerated is tolerated


def test_a_key_of_a_module_that_loads_at_boot_is_written_for_then() -> None:
    key = "net.bridge.x"
    observed = Observed(OWN, {key: None}, {key: False}, modules=Modules(frozenset(), {"br_netfilter": "/m"}))
    steps = plan(parse_parameters({key: 1}), observed)
    assert (steps.writes, steps.own_text) == ((), f"{HEADER}\n{key} = 1\n")
    (verdict,) = verdicts(parse_parameters({key: 1}), observed, {})
    assert (verdict.names, verdict.module, verdict.module_at_boot) == (("module_missing",), "br_netfilter", "/m")


def test_a_verdicts_line_says_everything() -> None:
    (verdict,) = verdicts(parse_parameters({"a.b": {"min": 5}}), seen("4", other="\na.b = 4"), {}, asked={"a.b": "5"})
    assert verdict.line() == (
        "a.b: clamped, overridden_by: wanted at least 5, the kernel has 4; asked for 5, got 4; "
        "/o:2 sets 4 at boot; remove that line"
    )


def test_the_documentation_explains_every_verdict() -> None:
    root = Path(__file__).resolve().parents[4]
    source = (root / "plugins/module_utils/_sysctl_judge.py").read_text()
    said = set(re.findall(r'(?:found|self)\.add\(\s*"([a-z_]+)"', source))
    assert {"clamped", "module_missing", "procps_differs", "conflict"} <= said
    text = (root / "docs/kernel_parameters.md").read_text()
    assert [name for name in sorted(said) if f"| `{name}` |" not in text] == []
    module = (root / "plugins/modules/sysctl_profile.py").read_text()
    assert [name for name in sorted(said) if f"V({name})" not in module] == []
