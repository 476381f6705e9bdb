"""The acting side against a model of etcd: whole runs, cut after any step, end with the wanted voters and never with two clusters."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _etcd as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _etcd_client as client
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, CommandResult
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._systemd import UnitState


class Cut(BaseException):
    """The run is killed."""


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.strftime, self.gmtime = time.strftime, time.gmtime

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Model:
    """Hosts with data directories on a real disk, and what etcd does with them.

    A member entry is a dict with ``id, name, url, took_part, learner``. A host's write-ahead log holds the id under which it was made.
    """

    def __init__(self, root, names: str) -> None:
        self.root = root
        self.names = list(names)
        self.entries: list[dict[str, t.Any]] = []
        self.running: set[str] = set()
        self.stale: set[str] = set()
        self.formed = 0
        self.next_id = 100
        self.steps_left: int | None = None
        self.log: list[str] = []
        self.first_starts: dict[str, bool] = {}
        for name in names:
            (root / name / "etc").mkdir(parents=True)
            (root / name / "data").mkdir()
            (root / name / "etc" / "etcd.yaml").write_text(f"name: {name}\ninitial-cluster-state: existing\n")

    # --- the world -------------------------------------------------------------------------------------------------------------------------

    def step(self, what: str) -> None:
        if self.steps_left is not None:
            if self.steps_left == 0:
                raise Cut
            self.steps_left -= 1
        self.log.append(what)

    def paths(self, name: str) -> client.Paths:
        base = self.root / name
        data = str(base / "data")
        etc = str(base / "etc" / "etcd.yaml")
        return client.Paths("etcdctl", f"{name}.service", "/pki", etc, data, f"{data}/member/wal", "http://x", ())

    def url(self, name: str) -> str:
        return f"https://{name}:2380"

    def wal_id(self, name: str) -> int | None:
        path = Path(self.paths(name).wal) / "0.wal"
        return int(path.read_text()) if path.exists() else None

    def make_wal(self, name: str, number: int) -> None:
        os.makedirs(self.paths(name).wal)
        (Path(self.paths(name).wal) / "0.wal").write_text(str(number))

    def healthy(self, name: str) -> bool:
        entry = next((e for e in self.entries if e["url"] == self.url(name)), None)
        return bool(entry) and name in self.running and self.wal_id(name) == entry["id"]

    @property
    def alive(self) -> bool:
        voters = [e for e in self.entries if not e["learner"]]
        up = [e for e in voters if any(self.healthy(n) and self.url(n) == e["url"] for n in self.names)]
        return bool(voters) and len(up) >= core.quorum(len(voters))

    def settle_world(self) -> None:
        """Whoever runs with a quorum takes part."""
        if self.alive:
            if not any(e["took_part"] for e in self.entries):
                self.formed += 1
            for entry in self.entries:
                if any(self.healthy(n) and self.url(n) == entry["url"] for n in self.names):
                    entry["took_part"] = True
                    entry["name"] = entry["url"][8:-5]

    # --- what the client calls ---------------------------------------------------------------------------------------------------------------

    def start(self, paths: client.Paths, verb: str) -> None:
        name = paths.unit.split(".", maxsplit=1)[0]
        self.step(f"{verb} {name}")
        self.running.add(name)
        self.stale.discard(name)
        self.first_starts[name] = os.path.exists(paths.environment)
        if self.wal_id(name) is None:
            configuration = paths.first_start if os.path.exists(paths.environment) else paths.configuration
            text = Path(configuration).read_text()
            lines = [line[17:] for line in text.splitlines() if line.startswith("initial-cluster: ")]
            listed = dict(pair.split("=") for line in lines for pair in line.split(","))
            if "initial-cluster-state: new" in text:
                assert not any(e["took_part"] for e in self.entries), "a new cluster beside an old one"
                if not self.entries:
                    self.entries = [
                        {"id": n, "name": one, "url": url, "took_part": False, "learner": False}
                        for n, (one, url) in enumerate(sorted(listed.items()))
                    ]
                me = next(e for e in self.entries if e["url"] == self.url(name))
                self.make_wal(name, me["id"])
            elif self.alive and set(listed.values()) == {e["url"] for e in self.entries}:
                me = next(e for e in self.entries if e["url"] == self.url(name))
                assert not me["took_part"], "a member came back under the identity whose log it lost"
                self.make_wal(name, me["id"])
            else:
                self.running.discard(name)
        self.settle_world()

    def etcdctl(self, paths: client.Paths, endpoints, *words: str, check: bool = True) -> CommandResult:
        if not self.alive:
            raise CommandError("context deadline exceeded")
        if words[:2] == ("member", "list"):
            pass
        elif words[:2] == ("endpoint", "health"):
            rows = []
            for url in endpoints:
                name = url[8:-5]
                rows.append(
                    {"endpoint": url, "health": self.healthy(name), "error": "" if self.healthy(name) else "down"}
                )
            return CommandResult((), 0, json.dumps(rows), "")
        else:
            self.step(" ".join(words[:3]))
            if words[1] == "add":
                if any(e["learner"] for e in self.entries):
                    raise CommandError("too many learner members in cluster")
                self.next_id += 1
                url = words[3].split("=", maxsplit=1)[1]
                self.entries.append({"id": self.next_id, "name": "", "url": url, "took_part": False, "learner": True})
            elif words[1] == "remove":
                self.entries = [e for e in self.entries if f"{e['id']:x}" != words[2]]
                assert self.alive, "the quorum was removed"
            elif words[1] == "promote":
                next(e for e in self.entries if f"{e['id']:x}" == words[2])["learner"] = False
                assert self.alive, "promoting cost the quorum"
        members = [
            {"ID": e["id"], "name": e["name"], "peerURLs": [e["url"]], "isLearner": e["learner"]}
            | ({"clientURLs": [e["url"].replace("2380", "2379")]} if e["took_part"] else {})
            for e in self.entries
        ]
        return CommandResult((), 0, json.dumps({"members": members}), "")

    def ask_peer(self, url: str, pki: str) -> core.View | None:
        name = url[8:-5]
        if name not in self.running or self.wal_id(name) is None:
            return None
        members = [
            core.Member(
                e["id"],
                e["name"],
                (e["url"],),
                (e["url"].replace("2380", "2379"),) if e["took_part"] else (),
                e["learner"],
            )
            for e in self.entries
        ]
        return core.View("c", tuple(members))

    def unit(self, name: str) -> UnitState:
        up = name in self.running
        return UnitState(
            f"{name}.service",
            "loaded",
            "active" if up else "inactive",
            "running" if up else "dead",
            "enabled",
            False,
            1.0,
            1,
            "success",
        )

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "start", self.start)
        monkeypatch.setattr(client, "etcdctl", self.etcdctl)
        monkeypatch.setattr(client, "ask_peer", self.ask_peer)
        monkeypatch.setattr(client, "may_serve", lambda url: False)
        monkeypatch.setattr(client, "why_it_fails", lambda paths: "")
        monkeypatch.setattr(
            client,
            "observe_unit",
            lambda paths: (self.unit(paths.unit[:-8]), paths.unit[:-8] in self.stale & self.running),
        )
        monkeypatch.setattr(client._systemd, "show", lambda unit: self.unit(unit[:-8]))
        monkeypatch.setattr(client._systemd, "systemctl", self.systemctl)
        monkeypatch.setattr(client, "time", Clock())
        for name in ("set_aside", "write_first_start"):
            monkeypatch.setattr(client, name, self.counted(name, getattr(client, name)))

    def counted(self, name: str, function):
        def call(*args, **kwargs):
            self.step(name)
            return function(*args, **kwargs)

        return call

    def systemctl(self, verb: str, unit: str) -> None:
        self.step(f"{verb} {unit}")
        assert verb == "stop"
        self.running.discard(unit[:-8])

    # --- a run ---------------------------------------------------------------------------------------------------------------------------------

    def run(self, wanted: str, removed: t.Sequence[str] = (), order: str = "") -> list[str]:
        """Do what the role does on the wanted hosts; returns all actions. ``started`` one after the other, then ``joined``."""
        peers = tuple(core.Peer(n, self.url(n), self.url(n).replace("2380", "2379")) for n in sorted(wanted))
        data: dict[str, bool | None] = {n: client.has_data(self.paths(n)) for n in wanted}
        done: list[str] = []
        given = {"timeout_seconds": 5, "removed": removed, "data_elsewhere": data, "member": None}
        for name in order or wanted:
            done += client.run_state("started", core.Wanted(name, peers), self.paths(name), given, False)[0]
        waiting = list(order or wanted)
        for _round in range(4):  # at the same time on real hosts; here whoever waits for another gets another turn
            errors: dict[str, core.EtcdError] = {}
            for name in waiting:
                try:
                    done += client.run_state("joined", core.Wanted(name, peers), self.paths(name), given, False)[0]
                except core.EtcdError as exc:
                    errors[name] = exc
            waiting = list(errors)
        if errors:
            raise next(iter(errors.values()))
        return done

    def voters(self) -> list[str]:
        return sorted(e["name"] for e in self.entries if not e["learner"])


def scenario_bootstrap(model: Model) -> None:
    """Nothing is there."""


def scenario_lost_data(model: Model) -> None:
    model.run("abc")
    model.running.discard("b")
    shutil.rmtree(model.paths("b").data + "/member")


def scenario_half_made_data(model: Model) -> None:
    model.run("abc")
    model.running.discard("c")
    shutil.rmtree(model.paths("c").wal)
    os.makedirs(model.paths("c").data + "/member/snap")


def scenario_power_cut(model: Model) -> None:
    model.run("abc")
    model.running.clear()


def scenario_removed_by_hand(model: Model) -> None:
    model.run("abc")
    model.entries = [entry for entry in model.entries if entry["name"] != "a"]
    model.running.discard("a")


def scenario_changed_settings(model: Model) -> None:
    model.run("abc")
    model.stale.update("abc")


SCENARIOS = [
    scenario_bootstrap,
    scenario_lost_data,
    scenario_half_made_data,
    scenario_power_cut,
    scenario_removed_by_hand,
    scenario_changed_settings,
]


@pytest.mark.parametrize("order", ["abc", "cba"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_run_cut_after_any_step_is_taken_up_by_the_next(tmp_path, monkeypatch, scenario, order):
    for cut in range(20):
        model = Model(tmp_path / str(cut), "abc")
        with monkeypatch.context() as patch:
            model.install(patch)
            scenario(model)
            model.log.clear()
            model.steps_left = cut
            try:
                model.run("abc", order=order)
                finished = True
            except Cut:
                finished = False
            model.steps_left = None
            model.run("abc", order=order)
            assert model.voters() == ["a", "b", "c"] and model.running == {"a", "b", "c"} and not model.stale
            assert model.formed == 1
            assert model.run("abc", order=order) == []
            assert not any(os.path.exists(model.paths(name).environment) for name in "abc")
        if finished:
            assert cut > 0, "the scenario asks for nothing"
            return
    raise AssertionError("the run never came to its end")


def test_growing_from_one_to_five_restarts_nobody(tmp_path, monkeypatch):
    model = Model(tmp_path, "abcde")
    model.install(monkeypatch)
    model.run("a")
    model.log.clear()
    model.run("abc")
    model.run("abcde")
    assert model.voters() == list("abcde")
    assert not any(line.startswith("restart") for line in model.log) and model.formed == 1


def test_a_dead_member_is_replaced_by_another_host(tmp_path, monkeypatch):
    model = Model(tmp_path, "abcd")
    model.install(monkeypatch)
    model.run("abc")
    model.running.discard("c")
    with pytest.raises(core.EtcdError, match=r"does not have: c .*etcd_removed_members"):
        model.run("abd")
    model.run("abd", removed=["c"])
    assert model.voters() == ["a", "b", "d"]
    assert model.run("abd", removed=["c"]) == []


def test_old_data_is_kept_under_another_name(tmp_path, monkeypatch):
    model = Model(tmp_path, "abc")
    model.install(monkeypatch)
    scenario_removed_by_hand(model)
    model.run("abc")
    assert [name.partition(".")[0] for name in sorted(os.listdir(model.paths("a").data))] == ["member", "member"]


def test_no_quorum_and_lost_majority_starts_nothing_new(tmp_path, monkeypatch):
    model = Model(tmp_path, "abc")
    model.install(monkeypatch)
    model.run("abc")
    model.running.clear()
    for name in "bc":
        shutil.rmtree(model.paths(name).data + "/member")
    with pytest.raises(core.EtcdError, match=r"no quorum|no healthy voter"):
        model.run("abc")
    assert model.formed == 1 and model.wal_id("b") is None


@pytest.mark.parametrize("down", ["b", "c"])
def test_a_changed_setting_is_not_rolled_over_a_dead_member(tmp_path, monkeypatch, down):
    model = Model(tmp_path, "abc")
    model.install(monkeypatch)
    model.run("abc")
    model.stale.update("abc")
    model.running.discard(down)
    living = "abc".replace(down, "")
    model.log.clear()
    for name in living:
        peers = tuple(core.Peer(n, model.url(n), model.url(n).replace("2380", "2379")) for n in "abc")
        with pytest.raises(core.EtcdError, match="Repair or replace these members"):
            client.bring_up(core.Wanted(name, peers), model.paths(name), {}, 0.5, check=False)
    assert model.log == []


def test_new_settings_are_not_hidden_by_the_first_start_of_a_killed_run(tmp_path, monkeypatch):
    model = Model(tmp_path, "a")
    model.install(monkeypatch)
    model.run("a")
    assert model.first_starts == {"a": True}
    client.write_first_start(model.paths("a"), "a=https://a:2380", new=True)
    model.stale.add("a")
    model.run("a")
    assert model.first_starts == {"a": False}


def test_check_mode_does_nothing(tmp_path, monkeypatch):
    model = Model(tmp_path, "a")
    model.install(monkeypatch)
    wanted = core.Wanted("a", (core.Peer("a", model.url("a"), "x"),))
    given = {"timeout_seconds": 1, "removed": [], "data_elsewhere": {"a": False}, "member": None}
    actions, _report = client.run_state("started", wanted, model.paths("a"), given, True)
    assert actions == ["bootstrap: no member has data: a new cluster is started"] and model.log == []
    assert client.run_state("joined", wanted, model.paths("a"), given, True)[0] == []


@pytest.mark.parametrize(
    ("changing", "check", "expected"),
    [
        (["/etc/etcd/etcd.yaml"], True, ["restart: it runs with older files"]),
        (["/usr/local/bin/etcd", "/etc/x"], True, ["restart: it runs with older files"]),
        # Written by now, so the files themselves tell; here they are not newer.
        (["/etc/etcd/etcd.yaml"], False, []),
        (["/etc/etcd/other"], True, []),
        ([], True, []),
    ],
)
def test_check_mode_shows_the_restart_for_files_that_a_run_would_have_written(
    tmp_path, monkeypatch, changing, check, expected
):
    model = Model(tmp_path, "a")
    model.install(monkeypatch)
    model.run("a")
    model.log.clear()
    wanted = core.Wanted("a", (core.Peer("a", model.url("a"), "x"),))
    paths = replace(model.paths("a"), reads=("/etc/etcd/etcd.yaml", "/usr/local/bin/etcd"))
    given = {"timeout_seconds": 1, "removed": [], "data_elsewhere": {}, "member": None, "changing": changing}
    assert client.run_state("started", wanted, paths, given, check)[0] == expected
    assert model.log == []


def test_check_mode_shows_the_start_of_a_member_that_does_not_run(tmp_path, monkeypatch):
    model = Model(tmp_path, "a")
    model.install(monkeypatch)
    model.run("a")
    model.running.clear()
    wanted = core.Wanted("a", (core.Peer("a", model.url("a"), "x"),))
    given = {"timeout_seconds": 1, "removed": [], "data_elsewhere": {}, "member": None, "changing": ["/x"]}
    actions, _report = client.run_state("started", wanted, replace(model.paths("a"), reads=("/x",)), given, True)
    assert actions == ["start: it is not running"]


def test_a_host_outside_of_the_group_is_refused(tmp_path):
    wanted = core.Wanted("z", (core.Peer("a", "u", "v"),))
    with pytest.raises(core.EtcdError, match=r"z is not among the wanted members \(a\)"):
        client.run_state("joined", wanted, Model(tmp_path, "z").paths("z"), {"timeout_seconds": 1}, False)


@pytest.mark.parametrize(
    ("answer", "serves"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", False),
        (b"", True),
        (None, False),
    ],
)
def test_a_member_that_is_too_busy_to_answer_counts_as_serving(monkeypatch, answer, serves):
    monkeypatch.setattr(client, "HEALTH_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if answer is None:
            server.close()

        def reply() -> None:
            connection, _address = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer or b"")
                done.wait(5)

        done = threading.Event()
        thread = threading.Thread(target=reply, daemon=True)
        if answer is not None:
            thread.start()
        assert client.may_serve(f"http://127.0.0.1:{port}") is serves
        done.set()
        if answer is not None:
            thread.join(5)


def test_a_second_member_has_its_own_places_and_the_hosts_certificates():
    shared = {
        "name": "a",
        "pki": "/pki",
        "etcdctl": "etcdctl",
        "removed": ["gone"],
        "timeout_seconds": 9,
        "changing": ["/x"],
        "state": "started",
    }
    first = {
        "members": [{"name": "a", "peer_url": "https://a:2380", "client_url": "https://a:2379"}], "data_elsewhere": {"b": True},
        "data_directory": "/data", "wal_directory": "/wal", "configuration": "/etc/etcd/etcd.yaml", "unit": "etcd.service",
        "health_url": "http://127.0.0.1:2381", "reads": ["/x"],
    }  # fmt: skip
    events = {
        "cluster": "events", "members": [{"name": "a", "peer_url": "https://a:2383", "client_url": "https://a:2382"}], "data_elsewhere": {},
        "data_directory": "/events", "wal_directory": None, "configuration": "/etc/etcd/events/etcd.yaml", "unit": "etcd-events.service",
        "health_url": "http://127.0.0.1:2384", "reads": [],
    }  # fmt: skip
    (none, given), (name, other) = client.each_member({**shared, **first, "also": [events]})
    assert (none, name) == ("", "events")
    (one, paths), (two, others) = client.read_arguments(given), client.read_arguments(other)
    assert (one.me.client_url, two.me.client_url) == ("https://a:2379", "https://a:2382")
    assert (paths.wal, others.wal) == ("/wal", "/events/member/wal"), (
        "a place of the first member is never the second's"
    )
    assert (paths.first_start, others.first_start) == (
        "/etc/etcd/first-start.yaml",
        "/etc/etcd/events/first-start.yaml",
    )
    assert (paths.pki, other["removed"], other["data_elsewhere"]) == (others.pki, ["gone"], {})
