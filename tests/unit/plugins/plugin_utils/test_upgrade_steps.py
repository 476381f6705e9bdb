"""upgrade_steps: live versions and wanted ones in, what is legal and who does it out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import upgrade_steps as core
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import load_lock

TARGET = core.Target("v1.36.3", "v3.7.3", "v2.4.2", ("v1.36.3", "v1.36.1", "v1.35.4", "v1.35.1"), ("v3.6.14", "v3.7.3"))


def control_plane(version: str, **others: str) -> dict[str, str]:
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
    return {name: version for name in names} | {name.replace("_", "-"): value for name, value in others.items()}


def node(version: str, **others: str) -> dict[str, str]:
    return {"kubelet": version, "kube-proxy": version} | {
        name.replace("_", "-"): value for name, value in others.items()
    }


def notes(live: dict[str, dict[str, str]], target: core.Target = TARGET) -> list[core.Note]:
    return list(core.judge(target, live))


def checks(live: dict[str, dict[str, str]], target: core.Target = TARGET) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(note.level, note.check, note.hosts) for note in notes(live, target)]


# --- kinds of steps -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "target", "kind"),
    [
        ("v1.36.3", "v1.36.3", core.SAME),
        ("v1.36.3+vendor", "v1.36.3", core.BUILD),
        ("v1.36.3-rc.1", "v1.36.3", core.BUILD),
        ("devel", "v1.36.3", core.BUILD),
        ("v1.36.1", "v1.36.3", core.PATCH),
        ("v1.36.9", "v1.36.10", core.PATCH),
        ("v1.35.4", "v1.36.3", core.MINOR),
        ("v1.9.4", "v1.10.0", core.MINOR),
        ("v1.34.4", "v1.36.3", core.SKIP),
        ("v1.36.3", "v2.0.0", core.SKIP),
        ("v1.36.4", "v1.36.3", core.BACK),
        ("v1.37.0", "v1.36.3", core.BACK),
        ("v2.0.0", "v1.36.3", core.BACK),
    ],
)
def test_kinds(live: str, target: str, kind: str) -> None:
    assert core.step(live, target) == kind


VERSIONS = st.builds(core.Version, st.just(1), st.integers(20, 45), st.integers(0, 30))


@given(VERSIONS, VERSIONS)
def test_every_step_is_one_way_only(one: core.Version, other: core.Version) -> None:
    there, back = core.step(str(one), str(other)), core.step(str(other), str(one))
    assert (there == core.BACK) == (other < one)
    assert {there, back} == {core.SAME} or (there == core.BACK) != (back == core.BACK)


@given(VERSIONS, VERSIONS, st.lists(VERSIONS, max_size=20))
def test_a_path_has_no_illegal_step_but_where_the_lock_file_has_nothing(
    one: core.Version, other: core.Version, known: list[core.Version]
) -> None:
    if other < one:
        return
    words = core.path(str(one), str(other), map(str, known)).split(" -> ")
    assert (words[0], words[-1]) == (str(one), str(other))
    if not any("not in the lock file" in word for word in words):
        kinds = {core.step(before, after) for before, after in pairwise(words)}
        assert kinds <= {core.SAME, core.PATCH, core.MINOR}
        assert set(words[1:-1]) <= {str(version) for version in known}


@pytest.mark.parametrize(
    ("live", "words"),
    [
        ("v1.34.4", "v1.34.4 -> v1.35.4 -> v1.36.3"),
        ("v1.33.1", "v1.33.1 -> v1.34 (not in the lock file) -> v1.35.4 -> v1.36.3"),
        ("v1.35.0", "v1.35.0 -> v1.36.3"),
    ],
)
def test_the_legal_way_takes_the_newest_patch_version_that_the_lock_file_has(live: str, words: str) -> None:
    assert core.path(live, "v1.36.3", TARGET.known_kubernetes) == words


# --- Kubernetes -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ({}, []),
        ({"cp1": control_plane("v1.36.3"), "w1": node("v1.36.3")}, []),
        ({"cp1": {}}, []),
        # the control plane's step
        ({"cp1": control_plane("v1.36.4")}, [("upgrade_step", "cp1"), ("upgrade_step", "cp1")]),
        ({"cp1": control_plane("v1.34.4")}, [("upgrade_step", "cp1")]),
        ({"cp1": control_plane("v1.35.4")}, [("kubernetes_version", "cp1")]),
        ({"cp1": control_plane("v1.36.1")}, [("kubernetes_version", "cp1")]),
        ({"cp1": control_plane("v1.36.3+ours")}, [("kubernetes_version", "cp1")]),
        # kubelets: they may step over minor versions, but not be too old for the control plane that is to come
        ({"w1": node("v1.35.4")}, [("kubernetes_version", "w1")]),
        ({"w1": node("v1.33.0")}, [("kubernetes_version", "w1")]),
        ({"w1": node("v1.32.9")}, [("upgrade_step", "w1")]),
        ({"w1": node("v1.36.4")}, [("upgrade_step", "w1")]),
        ({"cp1": control_plane("v1.36.3"), "w1": node("v1.35.4")}, [("kubernetes_version", "w1")]),
        ({"cp1": control_plane("v1.36.3", kubelet="v1.35.4")}, [("kubernetes_version", "cp1")]),
        # skews that are there now
        (
            {"cp1": control_plane("v1.35.4"), "w1": node("v1.36.3")},
            [("kubernetes_version", "cp1"), ("version_skew", "w1"), ("version_skew", "w1")],
        ),
        (
            {"cp1": control_plane("v1.36.3"), "w1": node("v1.32.9")},
            [("upgrade_step", "w1"), ("version_skew", "w1"), ("version_skew", "w1")],
        ),
        ({"cp1": control_plane("v1.36.3", kube_proxy="v1.33.0")}, []),
        ({"cp1": control_plane("v1.36.3", kube_proxy="v1.32.0")}, [("version_skew", "cp1")] * 2),
        ({"cp1": control_plane("v1.36.3", kube_proxy="v1.37.0")}, [("version_skew", "cp1")]),
        ({"cp1": control_plane("v1.36.3", kube_scheduler="v1.35.0")}, []),
        ({"cp1": control_plane("v1.36.3", kube_scheduler="v1.34.0")}, [("version_skew", "cp1")]),
        ({"cp1": control_plane("v1.36.3", kube_controller_manager="v1.37.0")}, [("version_skew", "cp1")]),
        # a newer apiserver elsewhere does not matter to them: kubeadm points them at their own
        (
            {"cp1": control_plane("v1.35.4", kubelet="v1.35.4"), "cp2": control_plane("v1.36.3", kubelet="v1.35.4")},
            [("kubernetes_version", "cp1"), ("kubernetes_version", "cp2"), ("version_skew", "cp2")],
        ),
    ],
)
def test_steps_and_skews_of_kubernetes(live: dict[str, dict[str, str]], expected: list[tuple[str, str]]) -> None:
    assert [(note.check, *note.hosts) for note in notes(live)] == expected
    assert {note.level for note in notes(live)} <= {"error"}


def test_apiservers_two_minor_versions_apart_are_one_finding() -> None:
    live = {"cp1": control_plane("v1.34.4"), "cp2": control_plane("v1.36.3", kubelet="v1.34.4", kube_proxy="v1.34.4")}
    assert ("error", "version_skew", ("cp1", "cp2")) in checks(live)


def test_before_1_28_two_minor_versions_were_the_limit() -> None:
    live = {"cp1": {"kube-apiserver": "v1.27.1"}, "w1": {"kubelet": "v1.24.1"}}
    assert ("error", "version_skew", ("w1",)) in checks(live)
    live["cp1"] = {"kube-apiserver": "v1.28.1"}
    assert ("error", "version_skew", ("w1",)) not in [*checks({"cp1": live["cp1"], "w1": {"kubelet": "v1.25.1"}})]


def test_an_illegal_step_shows_the_legal_way_and_a_legal_one_says_that_site_does_not_make_it() -> None:
    skip = notes({"cp1": control_plane("v1.34.4")})[0]
    assert "v1.34.4 -> v1.35.4 -> v1.36.3" in skip.fix
    assert "this release of the collection has no playbook" in skip.fix
    minor, patch = (notes({"cp1": control_plane(version)})[0] for version in ("v1.35.4", "v1.36.1"))
    assert "minor step (v1.35.4 -> v1.36.3): legal" in minor.why
    assert "patch step (v1.36.1 -> v1.36.3): legal" in patch.why
    for note in (minor, patch):
        assert "'site' does not make this step" in note.why
    # What the lock file has can be asked for; another version needs another lock file.
    assert minor.fix.startswith("Set cluster_kubernetes_version to v1.35.4")
    assert "whose lock file has v1.34.4" in skip.fix


# --- etcd -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "wanted", "expected", "says"),
    [
        ("v3.7.3", "v3.7.3", None, ""),
        ("v3.7.1", "v3.7.3", None, ""),
        ("v3.6.14", "v3.7.3", "warning", "snapshot"),
        ("v3.5.26", "v3.6.14", "warning", "one member after the other"),
        ("v3.5.25", "v3.6.14", "error", "v3.5.25 -> v3.5.26 -> v3.6.14"),
        ("v3.5.26", "v3.7.3", "error", "v3.5.26 -> v3.6.14 -> v3.7.3"),
        ("v3.4.9", "v3.7.3", "error", "v3.4.9 -> v3.5 (not in the lock file) -> v3.6.14 -> v3.7.3"),
        ("v3.7.3", "v3.6.14", "error", "etcdctl downgrade"),
        ("v3.7.3", "v3.7.1", "warning", "faults of the older version"),
    ],
)
def test_steps_of_etcd(live: str, wanted: str, expected: str | None, says: str) -> None:
    target = core.Target("", wanted, "", (), TARGET.known_etcd)
    found = notes({"e1": {"etcd": live}}, target)
    assert [(note.level, note.check, note.hosts) for note in found] == (
        [(expected, "etcd_version", ("e1",))] if expected else []
    )
    assert all(says in note.why + note.fix for note in found)


def test_members_two_minor_versions_apart() -> None:
    live = {"e1": {"etcd": "v3.5.26"}, "e2": {"etcd": "v3.7.3"}}
    assert ("error", "etcd_version", ("e1", "e2")) in checks(live)


@pytest.mark.parametrize(
    ("kubernetes", "etcd", "refused"),
    [
        ("v1.36.3", "v3.5.24", False),
        ("v1.36.3", "v3.5.23", True),
        ("v1.35.4", "v3.5.16", True),
        ("v1.34.4", "v3.5.16", False),
        ("v1.29.1", "v3.4.12", True),
    ],
)
def test_the_oldest_etcd_that_kubeadm_takes(kubernetes: str, etcd: str, refused: bool) -> None:
    found = checks({}, core.Target(kubernetes, etcd))
    assert found == ([("error", "etcd_version", ())] if refused else [])


def test_every_release_of_the_lock_file_fits_itself() -> None:
    lock = load_lock()
    for name in lock.release_sets:
        for version in lock.kubernetes_versions(name):
            versions = lock.release(name, version).versions
            target = core.Target(versions["kubernetes"], versions["etcd"], versions["containerd"])
            live: dict[str, Any] = {"cp1": {**control_plane(version), "etcd": versions["etcd"]}}
            assert notes(live, target) == [], (name, version)


# --- containerd -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "wanted", "level"),
    [
        ("v2.4.2", "v2.4.2", None),
        ("v2.4.9", "v2.4.2", None),
        ("v2.3.4", "v2.4.2", None),
        ("v1.7.24~ds1", "v2.0.1", None),
        ("v1.6.20", "v2.0.1", None),
        ("v1.7.24", "v2.3.4", None),
        ("v1.6.20", "v1.7.24", None),
        ("v1.7.24~ds1", "v2.4.2", "warning"),
        ("v1.6.20", "v2.3.4", "warning"),
        ("v2.0.1", "v2.3.4", "warning"),
        ("v2.5.0", "v2.4.2", "error"),
        ("v2.4.2", "v1.7.24", "error"),
    ],
)
def test_steps_of_containerd(live: str, wanted: str, level: str | None) -> None:
    found = checks({"n1": {"containerd": live}}, core.Target("", "", wanted))
    assert found == ([(level, "containerd_version", ("n1",))] if level else [])


def test_every_finding_explains_itself() -> None:
    live = {"cp1": control_plane("v1.34.4", kube_proxy="v1.37.0"), "e1": {"etcd": "v3.5.1", "containerd": "v9.9.9"}}
    found = notes(live)
    assert {note.check for note in found} == {"upgrade_step", "version_skew", "etcd_version", "containerd_version"}
    assert all(all(note) for note in found)
