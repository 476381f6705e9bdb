# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one member of etcd has to do next: a pure function of what is wanted and what was observed.

Membership is what the cluster says, never what a file says. A quorum of n voters is n // 2 + 1 (Raft). Three rules keep data safe:

* A member without data only starts a *new* cluster when no wanted member has data or has ever been part of one, and all were asked.
* A member that lost its data never comes back under its old identity, it would have forgotten what it voted for: it is removed and added as a learner.
* A member is restarted or removed only while the other voters are healthy enough to keep the quorum.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

# Kinds of decisions
NOTHING = "nothing"
WAIT = "wait"
REFUSE = "refuse"
START = "start"
RESTART = "restart"
BOOTSTRAP = "bootstrap"
JOIN = "join"
ADD = "add"
REPLACE = "replace"
PROMOTE = "promote"
REMOVE = "remove"


class EtcdError(Exception):
    """Something that the user has to look at; the message says what, why and how to go on."""


@dataclass(frozen=True)
class Member:
    """A member as the cluster lists it. ``client_urls`` are empty until it has taken part for the first time."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    learner: bool = False

    @property
    def took_part(self) -> bool:
        return bool(self.client_urls)

    @property
    def label(self) -> str:
        return f"{self.name or 'unnamed'} ({', '.join(self.peer_urls)})"


@dataclass(frozen=True)
class View:
    """What one running member knows of its cluster, asked at its peer port: it answers without a quorum."""

    cluster_id: str
    members: tuple[Member, ...]

    @property
    def formed(self) -> bool:
        """Tell whether this cluster has ever had a leader: only then have members published their client addresses."""
        return any(member.took_part for member in self.members)


@dataclass(frozen=True)
class Peer:
    """A member as the inventory wants it."""

    name: str
    peer_url: str
    client_url: str


@dataclass(frozen=True)
class Wanted:
    """This member's name, and all members that the inventory wants (this one included)."""

    name: str
    peers: tuple[Peer, ...]

    @property
    def me(self) -> Peer:
        return next(peer for peer in self.peers if peer.name == self.name)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(peer.name for peer in self.peers)


@dataclass(frozen=True)
class Observed:
    """What was found.

    ``members`` None: no quorum answered. ``health``: client URL -> why it is not healthy (empty text: healthy). ``views``: wanted name -> what this
    running member knows. ``data_elsewhere``: wanted name -> whether it had data when the run began (None: not asked). ``serves``: what the member on this
    host says of itself on loopback. ``ask_error``: why the cluster did not answer.
    """

    running: bool
    stale: bool
    has_data: bool
    members: tuple[Member, ...] | None = None
    health: t.Mapping[str, str] = field(default_factory=dict)
    views: t.Mapping[str, View] = field(default_factory=dict)
    data_elsewhere: t.Mapping[str, bool | None] = field(default_factory=dict)
    serves: bool = False
    ask_error: str = ""


@dataclass(frozen=True)
class Decision:
    """What to do next and why. ``remove``: the id of the member entry that goes first; ``healthy``: this member is a healthy voter."""

    kind: str
    reason: str
    remove: int = 0
    member: int = 0
    healthy: bool = False

    @property
    def acts(self) -> bool:
        return self.kind not in (NOTHING, WAIT, REFUSE)


# --- reading what etcdctl and the peer port print -------------------------------------------------------------------------------------------


def _member(entry: t.Mapping[str, t.Any], id_key: str) -> Member:
    return Member(
        int(entry[id_key]),
        str(entry.get("name") or ""),
        tuple(entry.get("peerURLs") or ()),
        tuple(entry.get("clientURLs") or ()),
        bool(entry.get("isLearner")),
    )


def parse_members(text: str) -> tuple[Member, ...]:
    """Read ``etcdctl member list|add -w json``; members by name."""
    try:
        entries = json.loads(text)["members"]
        return tuple(sorted((_member(entry, "ID") for entry in entries), key=lambda one: (one.name, one.peer_urls)))
    except (ValueError, KeyError, TypeError) as exc:
        raise EtcdError(f"etcdctl printed something else than a list of members: {text[:200]!r}") from exc


def parse_view(cluster_id: str, text: str) -> View:
    """Read what ``/members`` of a peer port says."""
    try:
        return View(cluster_id, tuple(_member(entry, "id") for entry in json.loads(text)))
    except (ValueError, KeyError, TypeError) as exc:
        raise EtcdError(f"a peer port printed something else than a list of members: {text[:200]!r}") from exc


def parse_health(text: str) -> dict[str, str]:
    """Read ``etcdctl endpoint health -w json`` as endpoint -> why it is not healthy.

    An endpoint with the NOSPACE alarm counts as healthy here: it votes and answers, and raising its quota needs the very restart that is being judged.
    """
    try:
        entries = json.loads(text)
        found = {}
        for entry in entries:
            error = str(entry.get("error") or "")
            alarms = error.partition("Active Alarm(s):")[2].split()
            healthy = entry["health"] or (alarms and set(alarms) == {"NOSPACE"})
            found[str(entry["endpoint"])] = "" if healthy else error or "not healthy"
        return found
    except (ValueError, KeyError, TypeError) as exc:
        raise EtcdError(f"etcdctl printed something else than health: {text[:200]!r}") from exc


def telling_lines(journal: str, count: int = 6) -> str:
    """Return the last lines of etcd's journal that say something: no stack frames, and of its JSON lines only warnings and worse, as text."""
    kept = [text for text in (_telling(line) for line in journal.splitlines()) if text]
    return "\n".join(list(dict.fromkeys(kept))[-count:])


def _telling(line: str) -> str:
    noise = ("\t", "goroutine ", "go.etcd.io/", "main.", "runtime.")
    if line.startswith(noise) or "Scheduled restart job" in line:
        return ""
    try:
        entry = json.loads(line) if line.startswith("{") else None
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        return line.strip()
    if entry.get("level") in ("debug", "info"):
        return ""
    return ": ".join(str(entry[key]) for key in ("msg", "error") if entry.get(key))


# --- quorum arithmetic ----------------------------------------------------------------------------------------------------------------------


def quorum(voters: int) -> int:
    return voters // 2 + 1


def why_unhealthy(member: Member, health: t.Mapping[str, str]) -> str:
    """Return an empty text for a healthy member, else why it is not."""
    said = [health.get(url, "was not asked") for url in member.client_urls]
    return "" if "" in said else "; ".join(said) or "has not started yet"


def _down(members: t.Iterable[Member], health: t.Mapping[str, str]) -> list[str]:
    found = ((member, why_unhealthy(member, health)) for member in members)
    return [f"{member.label}: {why}" for member, why in found if why]


def voters_of(members: t.Iterable[Member]) -> list[Member]:
    return [member for member in members if not member.learner]


def may_restart(me: Member, members: t.Sequence[Member], health: t.Mapping[str, str]) -> str:
    """Return why this member must not be restarted now, or an empty text.

    All *other* voters have to be healthy. One or two voters never keep a quorum without one of them; there a restart is a pause and no loss.
    """
    if me.learner:
        return ""
    down = _down([member for member in voters_of(members) if member.id != me.id], health)
    if not down:
        return ""
    return (
        f"{me.label} has to be restarted for its new settings, but other voters are not healthy: {'; '.join(down)}. Restarting it now could cost the quorum"
        f" ({quorum(len(voters_of(members)))} of {len(voters_of(members))}). Repair or replace these members, then run the same playbook again."
    )


def may_remove(gone: Member, members: t.Sequence[Member], health: t.Mapping[str, str]) -> str:
    """Return why a member must not be removed now, or an empty text."""
    if gone.learner:
        return ""
    left = [member for member in voters_of(members) if member.id != gone.id]
    healthy = len(left) - len(_down(left, health))
    if left and healthy >= quorum(len(left)):
        return ""
    if not left:
        return f"{gone.label} is the only voter: removing it would end the cluster. Add another member first."
    return (
        f"without {gone.label} the cluster has {len(left)} voters and needs {quorum(len(left))} of them, but only {healthy} are healthy"
        f" ({'; '.join(_down(left, health))}). Bring one of them back first."
    )


def may_promote(members: t.Sequence[Member], health: t.Mapping[str, str]) -> str:
    """Return why a learner must not become a voter now, or an empty text: it raises the quorum, and is itself not counted as healthy."""
    voters = voters_of(members)
    down = _down(voters, health)
    if len(voters) - len(down) + 1 >= quorum(len(voters) + 1):
        return ""
    return f"one more voter makes the quorum {quorum(len(voters) + 1)}, but of the {len(voters)} voters these are not healthy: {'; '.join(down)}"


# --- decisions ------------------------------------------------------------------------------------------------------------------------------


def find_me(wanted: Wanted, members: t.Iterable[Member]) -> Member | None:
    return next((member for member in members if wanted.me.peer_url in member.peer_urls), None)


def decide_removal(
    name: str, members: t.Sequence[Member], health: t.Mapping[str, str], wanted: t.Collection[str]
) -> Decision:
    """Decide whether the member of this name may be removed from a live cluster."""
    if name in wanted:
        return Decision(
            REFUSE,
            f"{name} is in the group 'etcd' of the inventory: take it out of there before it is removed from the cluster",
        )
    gone = next((member for member in members if member.name == name), None)
    if gone is None:
        return Decision(NOTHING, f"{name} is not a member")
    why_not = may_remove(gone, members, health)
    if why_not:
        return Decision(REFUSE, why_not)
    return Decision(REMOVE, f"{gone.label} is to be removed", remove=gone.id)


def decide(wanted: Wanted, observed: Observed) -> Decision:
    """Decide what this member has to do next."""
    clusters = {view.cluster_id for view in observed.views.values() if view.formed}
    if len(clusters) > 1:
        who = "; ".join(f"{name}: {view.cluster_id}" for name, view in sorted(observed.views.items()))
        return Decision(
            REFUSE,
            f"the hosts of the group 'etcd' run members of different clusters ({who}). Find the one that the API servers use, stop etcd on the others, move"
            " their data directories away, and run again: they join as new members.",
        )
    if observed.members is not None:
        return _decide_alive(wanted, observed, observed.members)
    return _decide_without_quorum(wanted, observed)


def _decide_alive(wanted: Wanted, observed: Observed, members: t.Sequence[Member]) -> Decision:
    me = find_me(wanted, members)
    if me is None:
        return _decide_stranger(wanted, observed, members)
    if not observed.has_data:
        if not me.took_part:
            return Decision(JOIN, "it is a member that never started")
        why_not = may_remove(me, members, observed.health)
        if why_not:
            return Decision(REFUSE, f"{me.label} lost its data and has to be replaced, but {why_not}")
        return Decision(REPLACE, "it lost its data", remove=me.id)
    if not observed.running:
        return Decision(START, "it is not running", member=me.id)
    if observed.stale:
        why_not = may_restart(me, members, observed.health)
        if why_not:
            return Decision(REFUSE, why_not)
        return Decision(RESTART, "it runs with older files", member=me.id)
    if why_unhealthy(me, observed.health) and not me.learner:
        return Decision(WAIT, f"it is not healthy yet: {why_unhealthy(me, observed.health)}", member=me.id)
    if me.learner:
        if not me.took_part:
            return Decision(WAIT, "it is a learner that has not taken part yet", member=me.id)
        why_not = may_promote(members, observed.health)
        if why_not:
            return Decision(WAIT, why_not, member=me.id)
        return Decision(PROMOTE, "it is a learner", member=me.id)
    return Decision(NOTHING, "it is a healthy voter", member=me.id, healthy=True)


def _decide_stranger(wanted: Wanted, observed: Observed, members: t.Sequence[Member]) -> Decision:
    """Decide for a host that a live cluster does not list."""
    if observed.running and observed.has_data and observed.serves:
        return Decision(
            REFUSE,
            f"etcd on {wanted.name} serves a cluster of its own that is not the one of the other members. If its data is not needed, stop it"
            " (systemctl disable --now etcd) and run again: its data is moved aside and it joins as a new member.",
        )
    namesake = next((member for member in members if member.name == wanted.name), None)
    if namesake is not None:
        if not why_unhealthy(namesake, observed.health):
            return Decision(
                REFUSE,
                f"the cluster has a healthy member {namesake.label}, while the inventory says that {wanted.name} is at {wanted.me.peer_url}. Stop the old one"
                " first, or give the new host another name.",
            )
        why_not = may_remove(namesake, members, observed.health)
        if why_not:
            return Decision(REFUSE, f"{namesake.label} has to give way to {wanted.me.peer_url}, but {why_not}")
        return Decision(REPLACE, f"it takes the place of {namesake.label}", remove=namesake.id)
    learners = [member.label for member in members if member.learner]
    if learners:
        return Decision(WAIT, f"another member is being added: {', '.join(learners)}")
    return Decision(ADD, "it is not a member yet")


def _decide_without_quorum(wanted: Wanted, observed: Observed) -> Decision:
    if observed.has_data:
        if observed.serves:
            if not observed.stale:
                return Decision(WAIT, f"the cluster does not answer: {observed.ask_error}")
            return Decision(
                REFUSE,
                "it has to be restarted for its new settings. It serves or is too busy to say, so there may be a quorum, "
                "but the cluster cannot be asked from here whether the other voters"
                f" are healthy: {observed.ask_error}",
            )
        if not observed.running:
            return Decision(START, "it is not running")
        if observed.stale:
            return Decision(RESTART, "it runs with older files, and there is no quorum that a restart could cost")
        return Decision(WAIT, f"there is no quorum: {observed.ask_error or 'no member answers'}")
    formed = sorted(name for name, view in observed.views.items() if view.formed)
    if formed:
        return Decision(WAIT, f"{', '.join(formed)} had a cluster before, and it has no quorum now")
    unclear = {
        peer.name: observed.data_elsewhere.get(peer.name) for peer in wanted.peers if peer.name not in observed.views
    }
    unclear.pop(wanted.name, None)
    with_data = sorted(name for name, data in unclear.items() if data)
    if with_data:
        return Decision(WAIT, f"{', '.join(with_data)} has data of a cluster and does not run yet")
    unasked = sorted(name for name, data in unclear.items() if data is None)
    if unasked:
        return Decision(
            REFUSE,
            f"no cluster answers, and {', '.join(unasked)} could not be asked whether it has data. Starting a new cluster could split it from an old one. Bring"
            " it back, run without --limit, or take it out of the group 'etcd'.",
        )
    if observed.running and not observed.stale:
        return Decision(WAIT, "it is starting a new cluster")
    return Decision(BOOTSTRAP, "no member has data: a new cluster is started")


def unwanted(wanted: Wanted, members: t.Iterable[Member]) -> list[str]:
    """Name the members that the inventory does not want."""
    urls = {peer.peer_url for peer in wanted.peers}
    return [member.label for member in members if not urls & set(member.peer_urls)]


def initial_cluster(wanted: Wanted, members: t.Sequence[Member] | None) -> str:
    """Return etcd's ``initial-cluster``: all wanted members for a new cluster, or for a live one exactly those that it lists."""
    names = {peer.peer_url: peer.name for peer in wanted.peers}
    if members is None:
        pairs = [(peer.name, peer.peer_url) for peer in wanted.peers]
    else:
        pairs = [
            (names.get(url) or member.name or f"member-{member.id:x}", url)
            for member in members
            for url in member.peer_urls
        ]
    return ",".join(f"{name}={url}" for name, url in sorted(pairs))


def first_start_configuration(configuration: str, cluster: str, new: bool) -> str:
    """Return the configuration (YAML) with which a member starts for the first time.

    The lasting configuration says ``initial-cluster-state: existing`` and names no cluster, so a member whose disk comes up empty never starts one.
    """
    kept = [
        line
        for line in configuration.splitlines()
        if not line.startswith(("initial-cluster-state:", "initial-cluster:"))
    ]
    return "\n".join(
        [*kept, f"initial-cluster-state: {'new' if new else 'existing'}", f"initial-cluster: {cluster}", ""]
    )
