# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which step a run would make from the versions that live to those that are wanted, whether it is legal, and whether ``site`` makes it. Pure.

Sources: "Version Skew Policy" of Kubernetes (a kubelet is never newer than kube-apiserver and at most three minor versions older, two before v1.28; the same
for kube-proxy; controller manager and scheduler at most one older; apiservers of one cluster at most one apart); kubeadm's policy.go and constants.go of
v1.29.15, v1.35.4 and v1.36.3 (one minor version at a time; the oldest external etcd); etcd's "Upgrade policy" (one minor version at a time, 3.5.26 before 3.6);
containerd's RELEASES.md (sequential minor versions, or from one long-term release to the next).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._machine_judge import ERROR, WARNING

KUBELET_SKEW, OLD_KUBELET_SKEW, KUBELET_SKEW_SINCE = 3, 2, 28
CONTROLLER_SKEW = 1
APISERVER_SKEW = 1
# {minor version of Kubernetes from which on: oldest external etcd} (kubeadm's MinExternalEtcdVersion); an older one asks for 3.4.13.
OLDEST_ETCD: Mapping[int, str] = {0: "3.4.13", 35: "3.5.24"}
# {minor version of etcd: what the members have to run before it}
BEFORE_ETCD: Mapping[int, str] = {6: "3.5.26"}
# Long-term releases of containerd in their order; 2.0 was made to follow 1.7.
CONTAINERD_LONG_TERM: Sequence[tuple[int, int]] = ((1, 6), (1, 7), (2, 3))
FIRST_OF_MAJOR: Mapping[tuple[int, int], Sequence[tuple[int, int]]] = {(2, 0): ((1, 6), (1, 7))}
NUMBERS = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


class Version(NamedTuple):
    """The numbers of a version; a suffix (``-rc.1``, ``+vendor``, ``~ds1``) is left out."""

    major: int
    minor: int
    patch: int

    @property
    def series(self) -> str:
        return f"v{self.major}.{self.minor}"

    def __str__(self) -> str:
        return f"{self.series}.{self.patch}"


def parse(text: str) -> Version | None:
    """The numbers at the beginning of a text; nothing when it does not begin with three."""
    found = NUMBERS.match(text)
    return Version(*(int(number) for number in found.groups())) if found else None


class Note(NamedTuple):
    """One finding, in the order of preflight's fields."""

    level: str
    check: str
    hosts: tuple[str, ...]
    what: str
    found: str
    why: str
    fix: str


@dataclass(frozen=True)
class Target:
    """What a run would install, and what else the lock file has (``known_*``)."""

    kubernetes: str = ""
    etcd: str = ""
    containerd: str = ""
    known_kubernetes: tuple[str, ...] = ()
    known_etcd: tuple[str, ...] = ()


# {host: {component: version}}, components as _live_versions names them
Live = Mapping[str, Mapping[str, str]]

SAME, BUILD, PATCH, MINOR, SKIP, BACK = "same", "other build", "patch", "minor", "skip", "back"


def step(live: str, target: str) -> str:
    """The kind of step from one version to another; a text that is no version is another build."""
    old, new = parse(live), parse(target)
    if live == target:
        return SAME
    if old is None or new is None or old == new:
        return BUILD
    if new < old:
        return BACK
    if (new.major, new.minor) == (old.major, old.minor):
        return PATCH
    return MINOR if new.major == old.major and new.minor == old.minor + 1 else SKIP


def path(live: str, target: str, known: Iterable[str]) -> str:
    """The legal way over every minor version between, by the newest patch version of each that the lock file has."""
    old, new = parse(live), parse(target)
    if old is None or new is None:
        return f"{live} -> {target}"
    versions = [version for version in map(parse, known) if version]
    words = [live]
    for minor in range(old.minor + 1, new.minor):
        of_minor = [version for version in versions if (version.major, version.minor) == (new.major, minor)]
        words.append(str(max(of_minor)) if of_minor else f"v{new.major}.{minor} (not in the lock file)")
    return " -> ".join([*words, target])


def judge(target: Target, live: Live) -> Iterator[Note]:
    """All findings about versions. An empty target or a component that was not seen is not judged."""
    yield from _judge_control_planes(target, live)
    yield from _judge_kubelets(target, live)
    yield from _judge_skews(live)
    yield from _judge_etcd(target, live)
    yield from _judge_containerd(target, live)


def _of(live: Live, component: str) -> dict[str, str]:
    return {host: versions[component] for host, versions in live.items() if versions.get(component)}


# --- Kubernetes: the step

NOT_DONE = "'site' does not make this step, and this release of the collection has no playbook that does"


def _back_to(live: str, target: Target) -> str:
    if live in target.known_kubernetes:
        return f"Set cluster_kubernetes_version to {live}"
    return f"Use the release of this collection (or the cluster_release_set) whose lock file has {live}"


def _judge_control_planes(target: Target, live: Live) -> Iterator[Note]:
    for host, version in _of(live, "kube-apiserver").items():
        kind = step(version, target.kubernetes) if target.kubernetes else SAME
        what = f"the inventory asks for Kubernetes {target.kubernetes}"
        found = f"kube-apiserver {version} on a live control plane"
        if kind == BACK:
            yield Note(
                ERROR,
                "upgrade_step",
                (host,),
                what,
                found,
                "That is a step back. Objects may be stored in forms that an older version does not read, and nobody tests it; the way back is a snapshot.",
                f"{_back_to(version, target)}, or a newer one.",
            )
        elif kind == SKIP:
            yield Note(
                ERROR,
                "upgrade_step",
                (host,),
                what,
                found,
                "kube-apiserver and kubeadm take one minor version at a time: what a version between converts for the next one would be left out.",
                f"{_back_to(version, target)}. The legal way is {path(version, target.kubernetes, target.known_kubernetes)}, "
                "every control plane at each step; 'site' makes none of them, and this release of the collection has no playbook that does.",
            )
        elif kind != SAME:
            yield _legal(host, what, found, kind, version, target)


def _legal(host: str, what: str, found: str, kind: str, version: str, target: Target) -> Note:
    words = {
        BUILD: "It is another build of the same version: legal.",
        PATCH: f"It is a patch step ({version} -> {target.kubernetes}): legal, of any length.",
        MINOR: f"It is a minor step ({version} -> {target.kubernetes}): legal.",
    }
    return Note(
        ERROR,
        "kubernetes_version",
        (host,),
        what,
        found,
        f"{words[kind]} But {NOT_DONE}: control planes go first, one at a time, then kubelets, each after its node is drained.",
        f"{_back_to(version, target)} until then, or make the step by hand ('kubeadm upgrade') and run again.",
    )


def _judge_kubelets(target: Target, live: Live) -> Iterator[Note]:
    new = parse(target.kubernetes)
    if new is None:
        return
    servers = _of(live, "kube-apiserver")
    for host, version in _of(live, "kubelet").items():
        old, kind = parse(version), step(version, target.kubernetes)
        what = f"the inventory asks for Kubernetes {target.kubernetes}"
        found = f"kubelet {version} on a live node"
        if kind == SAME or old is None:
            continue
        if kind == BACK:
            yield Note(
                ERROR,
                "upgrade_step",
                (host,),
                what,
                found,
                "That is a step back, and the kubelet does not read what a newer one left of its pods and their resources.",
                f"{_back_to(version, target)}, or reset the node and let it join again.",
            )
        elif _behind(new, old) > kubelet_skew(new):
            oldest = f"v{new.major}.{new.minor - kubelet_skew(new)}"
            yield Note(
                ERROR,
                "upgrade_step",
                (host,),
                what,
                found,
                f"A kubelet may be {kubelet_skew(new)} minor versions older than kube-apiserver: it has to run {oldest} before they run {new.series}.",
                f"Bring the kubelets to the version of the control planes first. {_back_to(version, target)}.",
            )
        elif servers.get(host, target.kubernetes) == target.kubernetes:
            # A control plane that makes a step has its own finding. A kubelet may step over minor versions.
            yield _legal(host, what, found, MINOR if kind == SKIP else kind, version, target)


def kubelet_skew(server: Version) -> int:
    """How many minor versions a kubelet or kube-proxy may be older than kube-apiserver."""
    return KUBELET_SKEW if server.minor >= KUBELET_SKEW_SINCE else OLD_KUBELET_SKEW


def _behind(server: Version, other: Version) -> int:
    """By how many minor versions a component is older (negative: newer)."""
    return server.minor - other.minor if server.major == other.major else (server.major - other.major) * 1000


# --- Kubernetes: components that do not fit each other now


def _judge_skews(live: Live) -> Iterator[Note]:
    servers = {host: version for host, text in _of(live, "kube-apiserver").items() if (version := parse(text))}
    if not servers:
        return
    oldest, newest = min(servers.values()), max(servers.values())
    if _behind(newest, oldest) > APISERVER_SKEW:
        yield _skew(
            tuple(sorted(servers)),
            "kube-apiservers of one cluster may be one minor version apart",
            f"{oldest} and {newest}",
        )
    for host, versions in live.items():
        own = servers.get(host)
        for name in ("kube-controller-manager", "kube-scheduler"):
            version = parse(versions.get(name, ""))
            # kubeadm points both at the apiserver of their own host.
            if version and own and not 0 <= _behind(own, version) <= CONTROLLER_SKEW:
                what = f"{name} may be of kube-apiserver's minor version, or one older"
                yield _skew((host,), what, f"{name} {version} beside kube-apiserver {own}")
        for name in ("kubelet", "kube-proxy"):
            version = parse(versions.get(name, ""))
            if version and not (_behind(oldest, version) >= 0 and _behind(newest, version) <= kubelet_skew(newest)):
                servers_text = str(oldest) if oldest == newest else f"{oldest} to {newest}"
                what = f"{name} may be of kube-apiserver's minor version, or up to {kubelet_skew(newest)} older"
                yield _skew((host,), what, f"{name} {version} under kube-apiserver {servers_text}")
        proxy, kubelet = parse(versions.get("kube-proxy", "")), parse(versions.get("kubelet", ""))
        if proxy and kubelet and abs(_behind(kubelet, proxy)) > KUBELET_SKEW:
            what = f"kube-proxy may be up to {KUBELET_SKEW} minor versions older or newer than the kubelet beside it"
            yield _skew((host,), what, f"kube-proxy {proxy} beside kubelet {kubelet}")


def _skew(hosts: tuple[str, ...], what: str, found: str) -> Note:
    return Note(
        ERROR,
        "version_skew",
        hosts,
        what,
        found,
        "Nobody tests such a pair: fields and whole APIs of one are unknown to the other.",
        "Bring the one that is behind to the version of the others (a kubelet that is ahead: the control planes) before anything else is changed.",
    )


# --- etcd


def oldest_etcd(kubernetes: Version) -> Version | None:
    """The oldest external etcd that kubeadm of this version accepts."""
    return parse(OLDEST_ETCD[max(minor for minor in OLDEST_ETCD if minor <= kubernetes.minor)])


def _judge_etcd(target: Target, live: Live) -> Iterator[Note]:
    new, kubernetes = parse(target.etcd), parse(target.kubernetes)
    members = {host: version for host, text in _of(live, "etcd").items() if (version := parse(text))}
    if new and kubernetes and (least := oldest_etcd(kubernetes)) and new < least:
        yield Note(
            ERROR,
            "etcd_version",
            (),
            f"kubeadm of {kubernetes.series} takes an etcd of at least {least}",
            f"{new} in the lock file",
            "It stops in its own preflight, with etcd changed already.",
            "Use a release set with a newer etcd.",
        )
    if members and max(members.values()).minor - min(members.values()).minor > 1:
        yield _etcd(
            ERROR,
            tuple(sorted(members)),
            "members of etcd may be one minor version apart",
            f"{min(members.values())} and {max(members.values())}",
            "A member refuses to join a cluster whose version is further off.",
            "Bring the older members to the next minor version first, one at a time.",
        )
    for host, version in members.items():
        if new:
            yield from _judge_member(host, version, new, target)


def _etcd(level: str, hosts: tuple[str, ...], what: str, found: str, why: str, fix: str) -> Note:
    return Note(level, "etcd_version", hosts, what, found, why, fix)


def _judge_member(host: str, version: Version, new: Version, target: Target) -> Iterator[Note]:
    kind = step(str(version), str(new))
    what, found = f"etcd is to be {new}", f"etcd {version} running"
    least = parse(BEFORE_ETCD.get(new.minor, "")) if kind == MINOR else None
    if kind == BACK and (version.major, version.minor) != (new.major, new.minor):
        why = "A member refuses data of a newer minor version, unless 'etcdctl downgrade' prepared the cluster for it, one minor version at a time."
        fix = "Use a release set with the version that runs, or a newer one."
        yield _etcd(ERROR, (host,), what, found, why, fix)
    elif kind == BACK:
        why = "The data stays readable, but faults of the older version come back. The run restarts one member after the other."
        yield _etcd(WARNING, (host,), what, found, why, "Keep the newer version where there is no reason against it.")
    elif kind == SKIP:
        why = "etcd takes one minor version at a time, and refuses to join members that are further apart."
        fix = f"The legal way is {path(str(version), str(new), target.known_etcd)}, all members at each step."
        yield _etcd(ERROR, (host,), what, found, why, fix)
    elif least and version < least:
        why = f"Members have to run {least} or a later {least.series} first: older ones can leave a list of members that {new.series} does not start with."
        fix = f"The legal way is {version} -> {least} -> {new}, all members at each step."
        yield _etcd(ERROR, (host,), what, found, why, fix)
    elif kind == MINOR:
        why = "The run makes this step, one member after the other while the others are healthy. The way back is 'etcdctl downgrade', or a snapshot."
        yield _etcd(
            WARNING, (host,), what, found, why, "Take a snapshot before ('etcdctl snapshot save'), and waive this."
        )


# --- containerd


def _judge_containerd(target: Target, live: Live) -> Iterator[Note]:
    new = parse(target.containerd)
    if new is None:
        return
    for host, text in _of(live, "containerd").items():
        version = parse(text)
        if version is None or (version.major, version.minor) == (new.major, new.minor):
            continue
        what, found = f"containerd is to be {new}", f"containerd {version} running"
        if new < version:
            why = "Its store may have been written anew by the newer version, and the older one does not find its containers then."
            fix = "Use a release set with the version that runs, or drain and reset the node."
            yield Note(ERROR, "containerd_version", (host,), what, found, why, fix)
        elif not containerd_step_is_tested(version, new):
            why = "containerd's project tests steps to the next minor version and from one long-term release to the next; the run makes this one in one go."
            fix = "Try it on one node, or waive this check."
            yield Note(WARNING, "containerd_version", (host,), what, found, why, fix)


def containerd_step_is_tested(old: Version, new: Version) -> bool:
    """Is it one of the steps that containerd's project tests?"""
    before, after = (old.major, old.minor), (new.major, new.minor)
    sequential = old.major == new.major and new.minor - old.minor == 1
    long_term = before in CONTAINERD_LONG_TERM and after == next(
        (one for one in CONTAINERD_LONG_TERM if one > before), None
    )
    return sequential or long_term or before in FIRST_OF_MAJOR.get(after, ())
