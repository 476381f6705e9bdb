"""The firewall of one host: the plan by table, the rest with the real nft in a network namespace where there is one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_firewall as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._node_firewall import Observed, Wanted
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._ssh_client import SshClient

TEXT = (
    core.GONE
    + 'table inet bare_metal_firewall {\n\tchain input { type filter hook input priority 0; iif "lo" accept; }\n}\n'
)
LISTED = "table inet bare_metal_firewall {\n}\n"
KEPT = Observed(LISTED, TEXT, core.UNIT_TEXT, enabled=True, active=True)
WANTED = Wanted(TEXT, LISTED)
OLD = "table inet bare_metal_firewall {\n\tchain input {\n\t}\n}\n"


def verbs(observed: Observed, wanted: Wanted) -> list[str]:
    return [f"{change.verb} {change.name.rpartition('/')[2]}" for change in core.plan(observed, wanted)]


TABLE = "table inet bare_metal_firewall"
FIRST = [f"load {TABLE}", "write firewall.nft", "write bare-metal-firewall.service"]
BOOT = ["enable bare-metal-firewall.service", "start bare-metal-firewall.service"]


@pytest.mark.parametrize(
    ("observed", "wanted", "expected"),
    [
        (KEPT, WANTED, []),
        (Observed(), WANTED, [*FIRST, *BOOT]),
        # nft comes with a package that check mode does not install.
        (Observed(), Wanted(TEXT, ""), [*FIRST, *BOOT]),
        (replace(KEPT, live=OLD), WANTED, [f"load {TABLE}"]),
        (replace(KEPT, live=""), WANTED, [f"load {TABLE}"]),
        # Another spelling of the same rules: nothing is let in otherwise.
        (replace(KEPT, rules="# x\n"), WANTED, ["write firewall.nft"]),
        (replace(KEPT, unit="x"), WANTED, ["write bare-metal-firewall.service"]),
        (replace(KEPT, enabled=False, active=False), WANTED, BOOT),
        # A run was killed before it confirmed: what is live will not stay.
        (replace(KEPT, pending=True), WANTED, [f"roll back {TABLE}", f"load {TABLE}"]),
        (Observed(), Wanted(), []),
        (KEPT, Wanted(), ["disable bare-metal-firewall.service", f"delete {TABLE}", "remove bare-metal-firewall.service", "remove firewall.nft"]),
        (Observed(live=OLD, pending=True), Wanted(), [f"roll back {TABLE}", f"delete {TABLE}"]),
    ],
)  # fmt: skip
def test_plan(observed: Observed, wanted: Wanted, expected: list[str]) -> None:
    assert verbs(observed, wanted) == expected


def test_only_what_lets_in_otherwise_is_confirmed() -> None:
    assert core.needs_confirmation(core.plan(Observed(), WANTED))
    assert not core.needs_confirmation(core.plan(replace(KEPT, enabled=False), WANTED))
    assert not core.needs_confirmation(core.plan(KEPT, Wanted()))


def test_the_diff_shows_the_table_as_nft_lists_it() -> None:
    (shown,) = core.diff(core.plan(replace(KEPT, live=OLD), WANTED))
    assert (shown["before"], shown["after"]) == (OLD, LISTED)
    assert all(entry["after"] for entry in core.diff(core.plan(Observed(), WANTED)))


# --- the real nft


def _nft_works() -> bool:
    try:
        argv = ["unshare", "--net", "nft", "list", "ruleset"]
        return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0
    except OSError:
        return False


needs_nft = pytest.mark.skipif(not _nft_works(), reason="no nft, or no right to make a network namespace")


@needs_nft
def test_the_same_rules_in_another_spelling_are_the_same_table() -> None:
    first = core.canonical(TEXT)
    assert first.startswith(TABLE)
    assert core.canonical(TEXT.replace("priority 0", "priority filter").replace("\t", "  ")) == first
    assert core.canonical(TEXT.replace('iif "lo" accept', 'iif "lo" counter accept')) != first


@needs_nft
def test_what_nft_refuses_is_refused_before_anything_is_touched() -> None:
    with pytest.raises(core.NodeFirewallError, match="nft refuses the table"):
        core.canonical(TEXT.replace("accept", "acept"))


@needs_nft
def test_what_nft_lists_can_be_loaded_again() -> None:
    """The way back is the listing of the former table."""
    listed = core.canonical(TEXT)
    assert core.canonical(core.GONE + listed) == listed


def test_without_nft_nothing_is_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert core.listed() == ""
    assert core.canonical(TEXT) == ""
    assert core.canonical("") == ""


# --- the order of what is done: programs are recorded, not run


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A host in a directory: what was run, and what it answers."""
    found: dict[str, Any] = {"ran": [], "live": LISTED, "state": str(tmp_path / "state")}
    for name in ("RULES_PATH", "UNIT_PATH"):
        monkeypatch.setattr(core, name, str(tmp_path / "etc" / name))

    def run(argv: Any, **more: Any) -> Any:
        found["ran"].append(" ".join(argv))
        if found.get("refuses") and argv[:3] == ["nft", "-f", "-"]:
            raise core.CommandError("no")

    monkeypatch.setattr(core, "run", run)
    monkeypatch.setattr(
        core._systemd, "systemctl", lambda *words, **more: found["ran"].append("systemctl " + " ".join(words))
    )
    monkeypatch.setattr(core, "listed", lambda: found["live"])
    monkeypatch.setattr(core, "canonical", lambda _text: LISTED)
    monkeypatch.setattr(core, "observe", Observed)
    return found


def apply(host: dict[str, Any], observed: Observed, wanted: Wanted) -> bool:
    return core.apply(observed, wanted, core.plan(observed, wanted), 60, host["state"])


def test_the_way_back_is_armed_before_the_table_is_loaded_and_nothing_is_kept_yet(host: dict[str, Any]) -> None:
    host["live"] = OLD
    assert apply(host, Observed(live=OLD), WANTED) is True
    assert [line.split()[0] for line in host["ran"]] == ["systemd-run", "nft"]
    assert "--on-active=60s" in host["ran"][0]
    assert Path(core.rollback_path(host["state"])).read_text() == core.GONE + OLD
    assert not Path(core.RULES_PATH).exists()


def test_a_table_that_cannot_be_loaded_leaves_no_timer(host: dict[str, Any]) -> None:
    host["refuses"] = True
    with pytest.raises(core.CommandError):
        apply(host, Observed(), WANTED)
    assert host["ran"][-1].startswith("systemctl stop bare-metal-firewall-rollback.timer")
    assert not Path(core.rollback_path(host["state"])).exists()


def test_what_was_never_confirmed_goes_back_first(host: dict[str, Any]) -> None:
    Path(host["state"]).mkdir()
    Path(core.rollback_path(host["state"])).write_text(core.GONE)
    apply(host, replace(KEPT, pending=True), WANTED)
    assert [line.split()[0] for line in host["ran"]] == ["nft", "systemctl", "systemd-run", "nft"]


NEW = SshClient("192.0.2.1", 40001, "192.0.2.11", 22)


def test_a_confirmed_table_is_kept_for_the_next_boot(host: dict[str, Any]) -> None:
    core.confirm(WANTED, "192.0.2.1 40000", NEW, host["state"])
    assert host["ran"][0].startswith("systemctl stop bare-metal-firewall-rollback.timer")
    assert Path(core.RULES_PATH).read_text() == TEXT
    assert Path(core.RULES_PATH).stat().st_mode & 0o777 == 0o600
    assert "systemctl enable bare-metal-firewall.service" in host["ran"]


@pytest.mark.parametrize(
    ("change", "former", "words"),
    [
        (lambda host: None, "192.0.2.1 40001", "proves nothing"),
        (lambda host: host.update(live=OLD), "192.0.2.1 40000", "got in too late"),
        (lambda host: host.update(live=""), "192.0.2.1 40000", "got in too late"),
    ],
)
def test_what_proves_nothing_keeps_nothing(
    host: dict[str, Any], change: Callable[[dict[str, Any]], None], former: str, words: str
) -> None:
    change(host)
    with pytest.raises(core.NodeFirewallError, match=words):
        core.confirm(WANTED, former, NEW, host["state"])
    assert not Path(core.RULES_PATH).exists()


def test_an_old_connection_leaves_the_timer_armed(host: dict[str, Any]) -> None:
    with pytest.raises(core.NodeFirewallError):
        core.confirm(WANTED, NEW.name, NEW, host["state"])
    assert host["ran"] == []


def test_it_is_taken_off_whole(host: dict[str, Any]) -> None:
    for path in (core.RULES_PATH, core.UNIT_PATH):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("x")
    assert apply(host, KEPT, Wanted()) is False
    assert "systemctl disable --now bare-metal-firewall.service" in host["ran"]
    assert "nft delete table inet bare_metal_firewall" in host["ran"]
    assert not Path(core.RULES_PATH).exists()
    assert not Path(core.UNIT_PATH).exists()
