"""_sysctl: what is wanted, what the kernel has, what the next boot sets; on trees of our own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _sysctl as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl import Outcome
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_files import parse_file
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import SysctlError

OWN = "/etc/sysctl.d/99-zz-bare-metal-kubernetes.conf"


# --- the whole way ----------------------------------------------------------------------------------------------------------------------------


class Tree:
    """A root with a kernel made of plain files and directories of drop-ins."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        self.place = core.Place(OWN, str(self.state), str(root), procps=(4, 0, 4), cpus=4)

    def kernel(self, **values: str) -> None:
        for name, value in values.items():
            path = self.root / "proc/sys" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value + "\n")

    def live(self, name: str) -> str:
        return (self.root / "proc/sys" / name.replace("__", "/")).read_text().strip()

    def dropin(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def own(self) -> str:
        path = self.root / OWN.lstrip("/")
        return path.read_text() if path.exists() else ""

    def settings(self) -> dict[str, str]:
        return {a.key: " ".join(a.value or ()) for a in parse_file("own", self.own())}

    def run(
        self, raw: Mapping[str, Any], wanted: bool = True, act: bool = True, tolerate: tuple[str, ...] = ()
    ) -> Outcome:
        return core.converge(raw, tolerate, self.place, wanted, act)

    def verdicts(self, raw: Mapping[str, Any], tolerate: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
        return {
            verdict.key: verdict.names for verdict in self.run(raw, wanted=False, act=False, tolerate=tolerate).verdicts
        }


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    found = Tree(tmp_path)
    found.kernel(net__ipv4__ip_forward="0", fs__watches="100", kernel__x="5")
    return found


WISH = {
    "net.ipv4.ip_forward": 1,
    "fs.watches": {"min": 500, "reason": "pods\nmany", "source": "inotify(7)"},
    "kernel.x": {"min": 3},
}


def test_values_are_set_persisted_and_left_alone_afterwards(tree: Tree) -> None:
    planned = tree.run(WISH, act=False)
    assert planned.changed
    assert tree.live("fs__watches") == "100"
    first = tree.run(WISH)
    assert first.changed
    assert first.diff == planned.diff
    assert not [verdict for verdict in first.verdicts if verdict.names]
    assert (tree.live("net__ipv4__ip_forward"), tree.live("fs__watches"), tree.live("kernel__x")) == ("1", "500", "5")
    assert "# pods many (inotify(7))\nfs.watches = 500\n" in tree.own()
    second = tree.run(WISH)
    assert not second.changed
    assert second.diff == ()


def test_a_bound_that_the_kernel_meets_by_itself_is_not_pinned(tree: Tree) -> None:
    tree.run(WISH)
    assert "kernel.x" not in tree.settings()


def test_a_bound_that_another_file_would_break_at_boot_is_pinned(tree: Tree) -> None:
    tree.dropin("usr/lib/sysctl.d/10-x.conf", "kernel.x = 1\n")
    assert tree.verdicts({"kernel.x": {"min": 3}}) == {"kernel.x": ("overridden_by",)}
    outcome = tree.run({"kernel.x": {"min": 3}})
    assert tree.settings() == {"kernel.x": "3"}
    assert tree.live("kernel__x") == "5"
    assert outcome.verdicts[0].names == ()


def test_a_bound_stays_pinned_after_the_kernel_was_raised(tree: Tree) -> None:
    tree.run(WISH)
    tree.run(WISH)
    assert tree.settings()["fs.watches"] == "500"


def test_what_is_no_longer_wanted_goes_back(tree: Tree) -> None:
    tree.run(WISH)
    outcome = tree.run({"net.ipv4.ip_forward": 1})
    assert tree.live("fs__watches") == "100"
    assert tree.live("net__ipv4__ip_forward") == "1"
    assert (outcome.diff[0]["before"], outcome.diff[0]["after"]) == ("fs.watches = 500\n", "fs.watches = 100\n")
    tree.run({})
    assert tree.live("net__ipv4__ip_forward") == "0"
    assert tree.own() == ""
    assert not list((tree.state / "sysctl").iterdir())
    assert not tree.run({}).changed


def test_what_somebody_changed_since_is_theirs(tree: Tree) -> None:
    tree.run(WISH)
    tree.kernel(fs__watches="700")
    tree.run({"net.ipv4.ip_forward": 1})
    assert tree.live("fs__watches") == "700"


def test_the_first_original_is_the_one_to_go_back_to(tree: Tree) -> None:
    tree.run({"fs.watches": {"min": 500}})
    tree.run({"fs.watches": {"min": 900}})
    tree.run({})
    assert tree.live("fs__watches") == "100"


def test_a_run_that_was_killed_after_the_kernel_is_finished_and_can_be_undone(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = core.write_atomic

    def killed(path: str, *rest: Any) -> None:
        if path.endswith(".conf"):
            raise KeyboardInterrupt
        real(path, *rest)

    monkeypatch.setattr(core, "write_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        tree.run(WISH)
    assert tree.live("fs__watches") == "500"
    monkeypatch.setattr(core, "write_atomic", real)
    assert tree.run(WISH).changed
    assert tree.settings() == {"net.ipv4.ip_forward": "1", "fs.watches": "500"}
    tree.run({})
    assert (tree.live("fs__watches"), tree.live("net__ipv4__ip_forward")) == ("100", "0")


def test_a_later_file_is_named_with_its_line_and_not_touched(tree: Tree) -> None:
    other = tree.dropin("etc/sysctl.d/zz-site.conf", "# ours\nnet.ipv4.ip_forward = 0\n")
    outcome = tree.run(WISH)
    verdict = next(verdict for verdict in outcome.verdicts if verdict.names)
    assert (verdict.key, verdict.names) == ("net.ipv4.ip_forward", ("overridden_by",))
    assert verdict.where == {
        "overridden_by": ("/etc/sysctl.d/zz-site.conf:2",),
        "duplicate": (f"{OWN}:3", "/etc/sysctl.d/zz-site.conf:2"),
    }
    assert not verdict.tolerated
    assert other.read_text() == "# ours\nnet.ipv4.ip_forward = 0\n"
    assert tree.live("net__ipv4__ip_forward") == "1"


def test_a_masked_file_does_not_count(tree: Tree) -> None:
    tree.dropin("usr/lib/sysctl.d/zz-vendor.conf", "net.ipv4.ip_forward = 0\n")
    (tree.root / "etc/sysctl.d").mkdir(parents=True)
    (tree.root / "etc/sysctl.d/zz-vendor.conf").symlink_to("/dev/null")
    assert not [verdict for verdict in tree.run(WISH).verdicts if verdict.names]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda tree: tree.kernel(fs__watches="400"), ("runtime_drift",)),
        (lambda tree: tree.dropin(OWN.lstrip("/"), "net.ipv4.ip_forward = 1\n"), ("persist_drift",)),
        (
            lambda tree: (tree.kernel(fs__watches="400"), tree.dropin("etc/sysctl.d/zz.conf", "fs.watches = 1\n")),
            ("runtime_drift", "overridden_by"),
        ),
        (lambda tree: (tree.root / "proc/sys/fs/watches").unlink(), ("unknown_key",)),
        (
            lambda tree: (tree.kernel(fs__watches="400"), (tree.root / "proc/sys/fs/watches").chmod(0o444)),
            ("readonly",),
        ),
    ],
)
def test_verified_tells_what_is_wrong_and_changes_nothing(
    tree: Tree, change: Callable[[Tree], Any], expected: tuple[str, ...]
) -> None:
    tree.run(WISH)
    change(tree)
    before = {path: path.read_bytes() for path in tree.root.rglob("*") if path.is_file()}
    assert tree.verdicts(WISH) == {"net.ipv4.ip_forward": (), "fs.watches": expected, "kernel.x": ()}
    assert {path: path.read_bytes() for path in tree.root.rglob("*") if path.is_file()} == before


def test_a_fixed_value_that_nothing_sets_at_boot_is_a_drift(tree: Tree) -> None:
    tree.kernel(net__ipv4__ip_forward="1")
    assert tree.verdicts({"net.ipv4.ip_forward": 1}) == {"net.ipv4.ip_forward": ("persist_drift",)}


def test_one_key_that_fails_does_not_hide_the_rest(tree: Tree) -> None:
    outcome = tree.run({**WISH, "no.such": 1, "also.not": {"min": 2}})
    assert {verdict.key for verdict in outcome.verdicts if verdict.names} == {"no.such", "also.not"}
    assert tree.live("fs__watches") == "500"


@pytest.mark.parametrize("how", ["tolerate", "optional"])
def test_tolerated_keys_neither_fail_nor_land_in_the_file(tree: Tree, how: str) -> None:
    tree.kernel(net__fixed="1")
    (tree.root / "proc/sys/net/fixed").chmod(0o444)
    optional = {"optional": True} if how == "optional" else {}
    raw = {**WISH, "net.fixed": {"min": 9, **optional}, "no.such": {"exactly": 1, **optional}}
    tolerate = ("net/fixed", "no.such") if how == "tolerate" else ()
    outcome = tree.run(raw, tolerate=tolerate)
    assert [(verdict.key, verdict.tolerated) for verdict in outcome.verdicts if verdict.names] == [
        ("net.fixed", True),
        ("no.such", True),
    ]
    assert set(tree.settings()) == {"net.ipv4.ip_forward", "fs.watches"}
    assert not tree.run(raw, tolerate=tolerate).changed


def test_a_key_that_must_be_set_later_stays_in_the_file_although_it_cannot_be_set_now(tree: Tree) -> None:
    (tree.root / "proc/sys/fs/watches").chmod(0o444)
    outcome = tree.run(WISH)
    assert [verdict.names for verdict in outcome.verdicts if verdict.names] == [("readonly",)]
    assert tree.settings()["fs.watches"] == "500"


def test_a_value_that_the_kernel_clamps_is_said_and_not_tried_again_when_tolerated(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = core.read_live

    def clamped(key: str, root: str = core.PROC_SYS) -> tuple[str, ...] | None:
        value = real(key, root)
        return (str(min(int(value[0]), 300)),) if key == "fs.watches" and value else value

    monkeypatch.setattr(core, "read_live", clamped)
    strict = tree.run(WISH)
    verdict = next(verdict for verdict in strict.verdicts if verdict.names)
    assert (verdict.key, verdict.names[0], verdict.live, verdict.tolerated) == ("fs.watches", "clamped", "300", False)
    tolerated = tree.run(WISH, tolerate=("fs.watches",))
    assert [verdict.tolerated for verdict in tolerated.verdicts if verdict.names] == [True]
    again = tree.run(WISH, tolerate=("fs.watches",), act=False)
    assert not again.changed


def test_a_spoilt_memory_is_an_error_that_names_the_file(tree: Tree) -> None:
    tree.run(WISH)
    memory = Path(tree.place.memory)
    assert json.loads(memory.read_text())["original"] == {"net.ipv4.ip_forward": "0", "fs.watches": "100"}
    assert memory.stat().st_mode & 0o777 == 0o600
    memory.write_text("{")
    with pytest.raises(SysctlError, match=str(memory)):
        tree.run(WISH)


def test_a_key_that_the_kernel_refuses_is_not_tried_in_every_run_when_tolerated(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[str] = []

    def guarded(path: Any, mode: str = "r", **rest: Any) -> Any:
        if str(path).endswith("fs/watches") and "w" in mode:
            attempts.append(str(path))
            raise PermissionError(1, "Operation not permitted")
        return Path(path).open(mode, **rest)

    monkeypatch.setattr(core, "open", guarded, raising=False)
    first = tree.run(WISH, tolerate=("fs.watches",))
    verdict = next(verdict for verdict in first.verdicts if verdict.names)
    assert (verdict.names, verdict.tolerated) == (("readonly",), True)
    assert "Operation not permitted" in verdict.detail
    assert "fs.watches" not in tree.settings()
    assert not tree.run(WISH, tolerate=("fs.watches",)).changed
    assert len(attempts) == 1
    strict = tree.run(WISH)
    assert [verdict.tolerated for verdict in strict.verdicts if verdict.names] == [False]
    assert len(attempts) == 2
