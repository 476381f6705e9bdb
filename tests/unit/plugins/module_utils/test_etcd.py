"""What a member does next: every decision and every refusal, from tables."""

from __future__ import annotations

import json

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _etcd as core

PEERS = tuple(core.Peer(n, f"https://10.0.0.{i}:2380", f"https://10.0.0.{i}:2379") for i, n in enumerate("abcde", 1))
OLD_URL = "https://10.0.9.9:2380"


def wanted(name: str = "a", names: str = "abc") -> core.Wanted:
    return core.Wanted(name, tuple(peer for peer in PEERS if peer.name in names))


def member(name: str, *, started: bool = True, learner: bool = False, url: str = "") -> core.Member:
    number = "abcde".index(name) + 1
    client = (f"https://10.0.{'9' if url else '0'}.{number}:2379",) if started else ()
    return core.Member(number, name if started else "", (url or f"https://10.0.0.{number}:2380",), client, learner)


def health(members, down: str = "") -> dict[str, str]:
    return {url: "timed out" if one.name in down else "" for one in members for url in one.client_urls}


ABC = tuple(member(name) for name in "abc")
FORMED = core.View("c1", ABC)
UNFORMED = core.View(
    "c1", tuple(core.Member(n, name, (f"https://10.0.0.{n}:2380",)) for n, name in enumerate("abc", 1))
)
FRESH = {"a": False, "b": False, "c": False}


def alive(members=ABC, down: str = "", **changes) -> core.Observed:
    values = {
        "running": True,
        "stale": False,
        "has_data": True,
        "members": tuple(members),
        "health": health(members, down),
    }
    return core.Observed(**{**values, **changes})


def dead(**changes) -> core.Observed:
    values = {
        "running": False,
        "stale": False,
        "has_data": False,
        "data_elsewhere": FRESH,
        "ask_error": "nobody answers",
    }
    return core.Observed(**{**values, **changes})


EMPTY = {"has_data": False, "running": False}
ALIVE_CASES = [
    # what, observed, kind, words of the reason, name of the member entry that goes first
    ("healthy voter", alive(), core.NOTHING, "healthy voter", 0),
    ("stopped", alive(running=False, down="a"), core.START, "not running", 0),
    ("stale", alive(stale=True), core.RESTART, "older files", 0),
    ("stale, its own health is bad", alive(stale=True, down="a"), core.RESTART, "older files", 0),
    ("stale, another is down", alive(stale=True, down="c"), core.REFUSE, "c (https://10.0.0.3:2380): timed out", 0),
    ("stale and stopped", alive(stale=True, running=False, down="ac"), core.START, "not running", 0),
    ("not healthy yet", alive(down="a"), core.WAIT, "not healthy yet: timed out", 0),
    ("lost its data", alive(**EMPTY, down="a"), core.REPLACE, "lost its data", 1),
    (
        "lost its data, no quorum without",
        alive(**EMPTY, down="ac"),
        core.REFUSE,
        "needs 2 of them, but only 1 are healthy",
        0,
    ),
    ("never started", alive([member("a", started=False), *ABC[1:]], **EMPTY), core.JOIN, "never started", 0),
    (
        "added as learner, cut before start",
        alive([member("a", started=False, learner=True), *ABC[1:]], **EMPTY),
        core.JOIN,
        "never",
        0,
    ),
    ("just started", alive([member("a", started=False), *ABC[1:]]), core.WAIT, "has not started yet", 0),
    (
        "learner, just started",
        alive([member("a", started=False, learner=True), *ABC[1:]]),
        core.WAIT,
        "not taken part",
        0,
    ),
    ("learner in step", alive([member("a", learner=True), *ABC[1:]]), core.PROMOTE, "learner", 0),
    ("learner, stopped", alive([member("a", learner=True), *ABC[1:]], running=False), core.START, "not running", 0),
    ("learner, stale", alive([member("a", learner=True), *ABC[1:]], stale=True, down="b"), core.RESTART, "older", 0),
    ("learner, too few healthy", alive([member("a", learner=True), *ABC[1:]], down="c"), core.PROMOTE, "learner", 0),
    ("learner lost its data", alive([member("a", learner=True), *ABC[1:]], **EMPTY), core.REPLACE, "lost", 1),
    ("new host", alive(ABC[1:], **EMPTY), core.ADD, "not a member yet", 0),
    ("new host with old data", alive(ABC[1:], running=False), core.ADD, "not a member yet", 0),
    ("removed host that crashes", alive(ABC[1:], running=True, serves=False), core.ADD, "not a member yet", 0),
    (
        "new host, a learner is there",
        alive([member("b"), member("c", learner=True)], **EMPTY),
        core.WAIT,
        "being added: c",
        0,
    ),
    ("serves another cluster", alive(ABC[1:], serves=True), core.REFUSE, "a cluster of its own", 0),
    (
        "old address is down",
        alive([member("a", url=OLD_URL), *ABC[1:]], **EMPTY, down="a"),
        core.REPLACE,
        "takes the place of a",
        1,
    ),
    (
        "old address is alive",
        alive([member("a", url=OLD_URL), *ABC[1:]], **EMPTY),
        core.REFUSE,
        f"healthy member a ({OLD_URL})",
        0,
    ),
    (
        "old address, no quorum without",
        alive([member("a", url=OLD_URL), *ABC[1:]], **EMPTY, down="ac"),
        core.REFUSE,
        "give way",
        0,
    ),
]


@pytest.mark.parametrize(
    ("observed", "kind", "words", "gone"), [case[1:] for case in ALIVE_CASES], ids=[case[0] for case in ALIVE_CASES]
)
def test_decisions_in_a_live_cluster(observed, kind, words, gone):
    decision = core.decide(wanted(), observed)
    assert (decision.kind, decision.remove) == (kind, gone), decision.reason
    assert words in decision.reason
    assert decision.healthy is (kind == core.NOTHING)


NO_QUORUM_CASES = [
    ("nobody has anything", dead(), core.BOOTSTRAP, "no member has data"),
    ("another member bootstraps", dead(views={"b": UNFORMED}), core.BOOTSTRAP, "no member has data"),
    (
        "another bootstraps, with data",
        dead(views={"b": UNFORMED}, data_elsewhere={**FRESH, "b": True}),
        core.BOOTSTRAP,
        "no member",
    ),
    ("half made by a killed run", dead(running=True), core.WAIT, "starting a new cluster"),
    ("crashes with files that were mended", dead(running=True, stale=True), core.BOOTSTRAP, "no member has data"),
    ("another stopped one has data", dead(data_elsewhere={**FRESH, "c": True}), core.WAIT, "c has data of a cluster"),
    ("another was in a cluster", dead(views={"b": FORMED}), core.WAIT, "b had a cluster before"),
    ("another was not asked", dead(data_elsewhere={**FRESH, "b": None}), core.REFUSE, "b could not be asked"),
    ("another is unknown", dead(data_elsewhere={}), core.REFUSE, "b, c could not be asked"),
    (
        "not asked, but its peer port answers",
        dead(data_elsewhere={"b": False}, views={"c": UNFORMED}),
        core.BOOTSTRAP,
        "no member",
    ),
    ("stopped with data", dead(has_data=True), core.START, "not running"),
    ("runs without a quorum", dead(has_data=True, running=True), core.WAIT, "there is no quorum: nobody answers"),
    (
        "stale without a quorum",
        dead(has_data=True, running=True, stale=True),
        core.RESTART,
        "no quorum that a restart could cost",
    ),
    (
        "serves, cannot be asked",
        dead(has_data=True, running=True, serves=True),
        core.WAIT,
        "does not answer: nobody answers",
    ),
    (
        "stale and serves",
        dead(has_data=True, running=True, stale=True, serves=True),
        core.REFUSE,
        "so there may be a quorum",
    ),
    (
        "two clusters",
        dead(views={"b": FORMED, "c": core.View("c2", ABC)}),
        core.REFUSE,
        "different clusters (b: c1; c: c2)",
    ),
]


@pytest.mark.parametrize(
    ("observed", "kind", "words"), [case[1:] for case in NO_QUORUM_CASES], ids=[case[0] for case in NO_QUORUM_CASES]
)
def test_decisions_without_a_quorum(observed, kind, words):
    decision = core.decide(wanted(), observed)
    assert decision.kind == kind, decision.reason
    assert words in decision.reason and not decision.healthy


def test_single_member():
    alone = wanted("a", "a")
    assert core.decide(alone, dead(data_elsewhere={"a": False})).kind == core.BOOTSTRAP
    one = (member("a"),)
    assert core.decide(alone, alive(one)).healthy
    assert core.decide(alone, alive(one, stale=True)).kind == core.RESTART
    assert "only voter" in core.may_remove(one[0], one, health(one))


@pytest.mark.parametrize(
    ("voters", "down", "may"),
    [
        ("abc", "", True),
        ("abc", "a", True),
        ("abc", "b", False),
        ("abcde", "", True),
        ("abcde", "e", False),
        ("ab", "", True),
        ("ab", "b", False),
    ],
)
def test_restart_gate(voters, down, may):
    members = [member(name) for name in voters]
    assert (core.may_restart(members[0], members, health(members, down)) == "") is may


@pytest.mark.parametrize(
    ("voters", "gone", "down", "may"),
    [
        ("abc", "c", "", True),
        ("abc", "c", "c", True),
        ("abc", "c", "b", False),
        ("abc", "c", "bc", False),
        ("abcd", "d", "d", True),
        ("abcd", "d", "c", True),
        ("abcd", "d", "bc", False),
        ("abcde", "e", "de", True),
        ("abcde", "e", "cd", False),
        ("ab", "b", "b", True),
        ("ab", "b", "a", False),
    ],
)
def test_removal_arithmetic(voters, gone, down, may):
    members = [member(name) for name in voters]
    leaving = next(one for one in members if one.name == gone)
    assert (core.may_remove(leaving, members, health(members, down)) == "") is may


@pytest.mark.parametrize(
    ("voters", "down", "may"),
    [("ab", "", True), ("ab", "b", True), ("abc", "c", True), ("abc", "bc", False), ("abcd", "cd", True)],
)
def test_promotion_arithmetic(voters, down, may):
    members = [*(member(name) for name in voters), member("e", learner=True)]
    assert (core.may_promote(members, health(members, down)) == "") is may


def test_a_learner_is_neither_gated_nor_counted():
    members = [*ABC, member("d", learner=True)]
    assert core.may_restart(members[3], members, health(members, "abc")) == ""
    assert core.may_remove(members[3], members, health(members, "abc")) == ""
    assert core.may_restart(members[0], members, health(members, "d")) == ""


@pytest.mark.parametrize(
    ("name", "down", "kind", "words"),
    [
        ("d", "", core.REMOVE, "is to be removed"),
        ("d", "d", core.REMOVE, "is to be removed"),
        ("e", "", core.NOTHING, "not a member"),
        ("a", "", core.REFUSE, "in the group 'etcd'"),
        ("d", "bc", core.REFUSE, "needs 2 of them, but only 1"),
    ],
)
def test_removal_by_name(name, down, kind, words):
    members = [*ABC, member("d")]
    decision = core.decide_removal(name, members, health(members, down), set("abc"))
    assert decision.kind == kind and words in decision.reason
    assert decision.remove == (4 if kind == core.REMOVE else 0)


def test_members_outside_of_the_inventory_are_named():
    assert core.unwanted(wanted(), [*ABC, member("d")]) == ["d (https://10.0.0.4:2380)"]
    assert core.unwanted(wanted(), [member("a", started=False), *ABC[1:]]) == []


def test_initial_cluster():
    assert core.initial_cluster(wanted("a", "ac"), None) == "a=https://10.0.0.1:2380,c=https://10.0.0.3:2380"
    listed = [member("d"), member("a", started=False), core.Member(0xAB, "", ("https://10.9.9.9:2380",))]
    assert (
        core.initial_cluster(wanted(), listed)
        == "a=https://10.0.0.1:2380,d=https://10.0.0.4:2380,member-ab=https://10.9.9.9:2380"
    )


def test_first_start_configuration():
    lasting = (
        "name: a\ninitial-cluster-token: k\ninitial-cluster-state: existing\npeer-transport-security:\n  cert-file: x\n"
    )
    assert core.first_start_configuration(lasting, "a=u", new=True) == (
        "name: a\ninitial-cluster-token: k\npeer-transport-security:\n  cert-file: x\ninitial-cluster-state: new\ninitial-cluster: a=u\n"
    )
    assert "initial-cluster-state: existing\n" in core.first_start_configuration(lasting, "a=u", new=False)


# --- what etcdctl 3.7 prints ------------------------------------------------------------------------------------------------------------------

LIST = (
    '{"header":{"cluster_id":14841639068965178418,"member_id":10276657743932975437,"raft_term":2},"members":['
    '{"ID":10276657743932975437,"name":"b","peerURLs":["https://10.0.0.2:2380"],"clientURLs":["https://10.0.0.2:2379"]},'
    '{"ID":9372538179322589801,"peerURLs":["https://10.0.0.1:2380"],"isLearner":true}]}'
)


def test_member_list():
    first, second = core.parse_members(LIST)
    assert (first.id, first.name, first.learner, first.took_part) == (9372538179322589801, "", True, False)
    assert (second.name, second.client_urls, second.learner) == ("b", ("https://10.0.0.2:2379",), False)


def test_view():
    text = '[{"id":1,"peerURLs":["https://10.0.0.1:2380"],"name":"a"},{"id":2,"peerURLs":["https://10.0.0.2:2380"],"name":"b"}]'
    assert core.parse_view("cafe", text).formed is False
    assert (
        core.parse_view("cafe", text.replace('"name":"b"', '"name":"b","clientURLs":["https://10.0.0.2:2379"]')).formed
        is True
    )


def test_health():
    entries = [
        {"endpoint": "u1", "health": True, "took": "2ms"},
        {"endpoint": "u2", "health": False, "took": "5s", "error": "context deadline exceeded"},
        {"endpoint": "u3", "health": False, "took": "1ms", "error": "Active Alarm(s): NOSPACE "},
        {"endpoint": "u4", "health": False, "took": "1ms", "error": "Active Alarm(s): NOSPACE CORRUPT "},
    ]
    found = core.parse_health(json.dumps(entries))
    assert found == {"u1": "", "u2": "context deadline exceeded", "u3": "", "u4": "Active Alarm(s): NOSPACE CORRUPT "}


@pytest.mark.parametrize("text", ["", "Error: no", "[]", '{"members": [{"name": "a"}]}', "null"])
def test_other_output_is_an_error(text):
    with pytest.raises(core.EtcdError, match="something else"):
        core.parse_members(text)


@pytest.mark.parametrize("text", ["", "{}x", '[{"took": "1s"}]', "null"])
def test_other_health_output_is_an_error(text):
    with pytest.raises(core.EtcdError, match="something else"):
        core.parse_health(text)


def test_the_telling_lines_of_a_crash():
    journal = """{"level":"info","msg":"starting"}
{"level":"warn","msg":"apply took long"}
{"level":"fatal","msg":"listen failed","error":"address already in use","stack":"a"}
panic: unrecognized level: "nonsense"

goroutine 1 [running]:
go.etcd.io/etcd/server/v3/etcdmain.Main({0xc0})
\tgo.etcd.io/etcd/server/v3@v3.7.3/etcdmain/main.go:40 +0x12d
main.main()
etcd.service: Main process exited, code=exited, status=2/INVALIDARGUMENT
panic: unrecognized level: "nonsense"
"""
    assert core.telling_lines(journal).splitlines() == [
        "apply took long",
        "listen failed: address already in use",
        'panic: unrecognized level: "nonsense"',
        "etcd.service: Main process exited, code=exited, status=2/INVALIDARGUMENT",
    ]
    assert core.telling_lines(journal, 1).startswith("etcd.service") and core.telling_lines("") == ""
