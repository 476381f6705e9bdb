"""The events' etcd taken off a host: only what etcd made goes, in an order that a cut run can be taken up from, and never under an API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _etcd_retire as retire
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._etcd import EtcdError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._etcd_client import Paths
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._systemd import UnitState

URL = "https://192.0.2.1:2382"
# Columns of /proc/net/tcp: number, local and remote address with port, state. 0100007F is 127.0.0.1, 010200C0 192.0.2.1, 090200C0 192.0.2.9.
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue\n"
TCP = (
    HEAD
    + """\
   0: 010200C0:094E 00000000:0000 0A 00000000:00000000
   1: 010200C0:094E 090200C0:C001 01 00000000:00000000
   2: 010200C0:094E 010200C0:C002 01 00000000:00000000
   3: 0100007F:094E 0100007F:C003 01 00000000:00000000
   4: 010200C0:094B 080200C0:C004 01 00000000:00000000
   5: 010200C0:C005 090200C0:094E 01 00000000:00000000
   6: 010200C0:094E 070200C0:C006 06 00000000:00000000
"""
)
TCP6 = (
    HEAD
    + """\
   0: 000000FD000000000000000001000000:094E 000000FD000000000000000009000000:C001 01 0:0
   1: 0000000000000000FFFF0000010200C0:094E 0000000000000000FFFF0000060200C0:C001 01 0:0
"""
)


def test_clients_are_other_hosts_with_an_open_connection() -> None:
    assert retire.parse_clients(TCP, 2382) == {"192.0.2.9"}
    assert retire.parse_clients(HEAD, 2382) == set()
    assert retire.parse_clients("", 2382) == set()
    found = retire.parse_clients(TCP6, 2382)
    assert "192.0.2.6" in found, "an IPv4 client of a socket of both families"
    assert len(found) == 2


class Machine:
    """A host with a member on a real disk, and a systemd that remembers what it was told."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.told, self.running, self.cut = root, [], True, 0
        self.unit_file = root / "units" / "etcd-events.service"
        self.paths = Paths(
            "etcdctl", "etcd-events.service", "/pki", str(root / "etc/events/etcd.yaml"), str(root / "data"),
            str(root / "data/member/wal"), "http://x", (),
        )  # fmt: skip
        for path in (
            "units",
            "etc/events",
            "data/member/wal",
            "data/member.replaced-20260101T000000Z",
            "data/lost+found",
        ):
            (root / path).mkdir(parents=True)
        for path in (
            "units/etcd-events.service",
            "etc/events/etcd.yaml",
            "etc/events/first-start.env",
            "data/member/wal/0.wal",
        ):
            (root / path).write_text("x")
        monkeypatch.setattr(retire, "API_SERVER", str(root / "kube-apiserver.yaml"))
        monkeypatch.setattr(retire._systemd, "UNIT_DIRECTORIES", (f"{root}/units/",))
        monkeypatch.setattr(retire._systemd, "show", self.show)
        monkeypatch.setattr(retire._systemd, "systemctl", self.systemctl)
        monkeypatch.setattr(retire, "PATIENCE_SECONDS", 0.0)
        monkeypatch.setattr(retire, "POLL_SECONDS", 0.0)
        self.clients: list[list[str]] = []
        monkeypatch.setattr(retire, "clients", lambda _url: self.clients.pop(0) if self.clients else [])

    def show(self, name: str) -> UnitState:
        there = self.unit_file.exists()
        return UnitState(
            name, "loaded" if there else "not-found", "active" if self.running else "inactive", "", "enabled" if self.running else "",
            False, 0.0, 1, "", files=(str(self.unit_file),) if there else (),
        )  # fmt: skip

    def systemctl(self, verb: str, *_units: str) -> None:
        self.told.append(verb)
        if verb == "stop":
            self.running = False

    def left(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_file() or not any(path.iterdir())
        )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_all_of_the_member_goes_and_nothing_else(machine: Machine) -> None:
    assert retire.installed(machine.paths)
    steps = retire.retire(machine.paths, URL, False)
    assert [step.split(":")[0] for step in steps] == ["stop", "remove data", "remove unit", "remove settings"]
    assert machine.told == ["stop", "disable", "daemon-reload"]
    assert machine.left() == ["data/lost+found", "etc", "units"], "what etcd did not make stays"
    assert not retire.installed(machine.paths)
    assert retire.retire(machine.paths, URL, False) == (), "a second run finds nothing"


def test_check_mode_says_the_same_and_does_nothing(machine: Machine) -> None:
    before = machine.left()
    machine.clients = [["192.0.2.9"]]  # the API servers still have their old flags
    said = retire.retire(machine.paths, URL, True)
    assert machine.left() == before
    machine.clients = []
    assert retire.retire(machine.paths, URL, False) == said


def test_a_member_in_use_is_not_touched(machine: Machine) -> None:
    before, machine.clients = machine.left(), [["192.0.2.9"]] * 3
    with pytest.raises(EtcdError, match=r"still used by 192\.0\.2\.9\. Run the playbook site with all control planes"):
        retire.retire(machine.paths, URL, False)
    assert (machine.told, machine.left()) == ([], before)


@pytest.mark.parametrize("after", range(4))
def test_a_run_that_was_cut_is_taken_up(machine: Machine, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    act, done = retire._act, []

    def cut(step: Any, paths: Paths) -> None:
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(step.kind)
        act(step, paths)

    monkeypatch.setattr(retire, "_act", cut)
    with pytest.raises(KeyboardInterrupt):
        retire.retire(machine.paths, URL, False)
    assert retire.installed(machine.paths), "the next run sees that something is left"
    monkeypatch.setattr(retire, "_act", act)
    retire.retire(machine.paths, URL, False)
    assert not retire.installed(machine.paths)
    assert not machine.unit_file.exists()


def test_the_hosts_own_api_server_counts_by_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retire, "CONNECTION_TABLES", (str(tmp_path / "tcp"), str(tmp_path / "tcp6")))
    (tmp_path / "tcp").write_text(TCP)
    manifest = tmp_path / "kube-apiserver.yaml"
    assert retire.clients(URL, str(manifest)) == ["192.0.2.9"]
    manifest.write_text(f"    - --etcd-servers-overrides=/events#{URL};https://192.0.2.2:2382\n")
    assert retire.clients(URL, str(manifest)) == [f"kube-apiserver of this host ({manifest})", "192.0.2.9"]
