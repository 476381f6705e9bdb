"""_sysctl: what is wanted, what the kernel has, what the next boot sets; on trees of our own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


# --- every verdict and note on a tree of its own --------------------------------------------------------------------------------------------


def judged(outcome: Outcome, key: str) -> core.Verdict:
    return next(verdict for verdict in outcome.verdicts if verdict.key == key)


def test_ok_is_a_verdict_without_names(tree: Tree) -> None:
    tree.run(WISH)
    for verdict in tree.run(WISH, wanted=False, act=False).verdicts:
        assert (verdict.names, verdict.notes, verdict.detail, verdict.where, verdict.tolerated) == (
            (),
            (),
            "",
            {},
            False,
        )


def test_overridden_by_a_glob_or_a_credential_names_the_line(tree: Tree) -> None:
    tree.kernel(**{"net__ipv4__conf__eth0.100__x": "0"})
    raw = {"net/ipv4/conf/eth0.100/x": {"min": 1}}
    tree.dropin("etc/sysctl.d/10-x.conf", "\nnet.ipv4.conf.*.x = 0\n")
    verdict = judged(tree.run(raw, wanted=False, act=False), "net.ipv4.conf.eth0/100.x")
    assert verdict.names == ("runtime_drift", "overridden_by")
    assert verdict.where == {"overridden_by": ("/etc/sysctl.d/10-x.conf:2",)}
    # A line by name beats the glob, so ours is enough.
    assert judged(tree.run(raw), verdict.key).names == ()
    tree.dropin("etc/credstore/sysctl.extra", "net/ipv4/conf/eth0.100/x=0\n")
    verdict = judged(tree.run(raw), verdict.key)
    assert (verdict.names, verdict.where["overridden_by"]) == (("overridden_by",), ("/etc/credstore/sysctl.extra:1",))


def test_all_lines_that_override_are_named(tree: Tree) -> None:
    tree.dropin("etc/sysctl.d/zz-a.conf", "net.ipv4.ip_forward = 0\n")
    tree.dropin("run/sysctl.d/zz-b.conf", "# \nnet/ipv4/ip_forward=0\n")
    verdict = judged(tree.run(WISH), "net.ipv4.ip_forward")
    assert verdict.where["overridden_by"] == ("/etc/sysctl.d/zz-a.conf:1", "/run/sysctl.d/zz-b.conf:2")


def test_duplicates_are_noted_with_their_lines_and_do_not_fail(tree: Tree) -> None:
    tree.dropin("usr/lib/sysctl.d/10-a.conf", "net.ipv4.ip_forward = 1\n")
    tree.dropin("etc/sysctl.d/20-b.conf", "\n-net/ipv4/ip_forward = 0\n")
    verdict = judged(tree.run(WISH), "net.ipv4.ip_forward")
    assert (verdict.names, verdict.notes) == ((), ("duplicate",))
    assert verdict.where["duplicate"] == ("/usr/lib/sysctl.d/10-a.conf:1", "/etc/sysctl.d/20-b.conf:2", f"{OWN}:3")


def test_a_conflict_names_both_reasons_changes_nothing_and_hides_nothing(tree: Tree) -> None:
    tree.run(WISH)
    both = [{"exactly": 0, "reason": "policy"}, {"exactly": 1, "reason": "pods", "source": "kubeadm"}]
    raw = {**WISH, "net.ipv4.ip_forward": both, "fs.watches": {"min": 900}}
    outcome = tree.run(raw)
    verdict = judged(outcome, "net.ipv4.ip_forward")
    assert (verdict.names, verdict.tolerated) == (("conflict",), False)
    assert verdict.wanted == "0 [policy] against 1 [pods (kubeadm)]"
    assert tree.live("net__ipv4__ip_forward") == "1"
    assert tree.settings() == {"net.ipv4.ip_forward": "1", "fs.watches": "900"}
    assert not tree.run(raw).changed
    tree.run({})
    assert (tree.live("net__ipv4__ip_forward"), tree.live("fs__watches")) == ("0", "100")


@pytest.mark.parametrize(
    ("files", "at_boot", "said", "persisted"),
    [
        ({}, "", "nothing in modules-load.d loads it", False),
        (
            {"etc/modules-load.d/k.conf": "# c\n; c\noverlay\nbr-netfilter\n"},
            "/etc/modules-load.d/k.conf",
            "/etc/modules-load.d/k.conf loads it at the next boot",
            True,
        ),
        (
            {"usr/lib/modules-load.d/k.conf": "br_netfilter\n", "etc/modules-load.d/k.conf": "other\n"},
            "",
            "nothing in modules-load.d loads it",
            False,
        ),
        (
            {"usr/lib/modules-load.d/k.conf": "br_netfilter\n", "etc/modprobe.d/b.conf": "\nblacklist br_netfilter\n"},
            "/usr/lib/modules-load.d/k.conf",
            "/etc/modprobe.d/b.conf:2 bars it",
            True,
        ),
        (
            {
                "run/modules-load.d/k.conf": "br_netfilter\n",
                "etc/modprobe.d/b.conf": "install br-netfilter /bin/false\n",
            },
            "/run/modules-load.d/k.conf",
            "/etc/modprobe.d/b.conf:1 bars it",
            True,
        ),
    ],
)
def test_a_missing_module_is_named_and_whether_it_will_load_at_boot(
    tree: Tree, files: dict[str, str], at_boot: str, said: str, persisted: bool
) -> None:
    (tree.root / "sys/module/overlay").mkdir(parents=True)
    for path, text in files.items():
        tree.dropin(path, text)
    key = "net.bridge.bridge-nf-call-iptables"
    raw = {**WISH, key: 1}
    verdict = judged(tree.run(raw), key)
    assert (verdict.names, verdict.module, verdict.module_at_boot) == (("module_missing",), "br_netfilter", at_boot)
    assert said in verdict.detail
    assert not verdict.tolerated
    assert judged(tree.run(raw, tolerate=(key,)), key).tolerated
    # systemd-sysctl comes after systemd-modules-load, so the line is right at the next boot; without the module it would only be noise.
    assert (key in tree.settings()) is persisted
    assert not tree.run(raw).changed
    tree.kernel(**{"net__bridge__bridge-nf-call-iptables": "0"})
    assert judged(tree.run(raw), key).names == ()
    assert tree.live("net__bridge__bridge-nf-call-iptables") == "1"


def test_a_key_that_a_loaded_module_does_not_have_is_unknown(tree: Tree) -> None:
    (tree.root / "sys/module/br_netfilter").mkdir(parents=True)
    verdict = judged(tree.run({"net.bridge.bridge-nf-cal-iptables": 1}), "net.bridge.bridge-nf-cal-iptables")
    assert (verdict.names, verdict.module) == (("unknown_key",), "")


def test_a_bound_of_a_missing_module_is_not_guessed_at(tree: Tree) -> None:
    tree.dropin("etc/modules-load.d/k.conf", "nf_conntrack\n")
    tree.run({"net.netfilter.nf_conntrack_max": {"min": 1000}})
    assert tree.own() == ""


def test_a_parameter_of_an_interface_that_is_not_there_yet_stands_in_the_file(tree: Tree) -> None:
    raw = {"net/ipv4/conf/bond0.100/rp_filter": 0}
    verdict = judged(tree.run(raw), "net.ipv4.conf.bond0/100.rp_filter")
    assert verdict.names == ("unknown_key",)
    assert "no interface bond0.100" in verdict.detail
    assert tree.settings() == {"net.ipv4.conf.bond0/100.rp_filter": "0"}


def test_readonly_says_why(tree: Tree) -> None:
    (tree.root / "proc/sys/fs/watches").chmod(0o444)
    verdict = judged(tree.run(WISH), "fs.watches")
    assert (verdict.names, verdict.detail, verdict.live) == (("readonly",), "it cannot be written here", "100")


def test_clamped_says_what_was_asked_and_what_was_got_then_and_later(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = core.read_live
    monkeypatch.setattr(
        core,
        "read_live",
        lambda key, root: ("300",) if key == "fs.watches" and real(key, root) == ("500",) else real(key, root),
    )
    for outcome in (tree.run(WISH), tree.run(WISH, wanted=False, act=False)):
        verdict = judged(outcome, "fs.watches")
        assert (verdict.names, verdict.asked, verdict.live) == (("clamped",), "500", "300")
        assert verdict.detail == "asked for 500, got 300"


def test_procps_that_reads_sysctl_conf_last_is_noted(tree: Tree) -> None:
    tree.dropin("etc/sysctl.conf", "#\nnet.ipv4.ip_forward=0\n")
    (tree.root / "etc/sysctl.d").mkdir(parents=True)
    (tree.root / "etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")
    verdict = judged(tree.run(WISH), "net.ipv4.ip_forward")
    assert (verdict.names, verdict.notes, verdict.at_boot) == ((), ("duplicate", "procps_differs"), "1")
    assert verdict.where["procps_differs"] == ("/etc/sysctl.conf:2",)
    assert "'sysctl --system' would set 0 (/etc/sysctl.conf:2)" in verdict.detail
    tree.place = core.replace(tree.place, procps=None)
    assert judged(tree.run(WISH), "net.ipv4.ip_forward").notes == ("duplicate",)


TUNED = {
    "etc/systemd/system/multi-user.target.wants/tuned.service": "",
    "etc/tuned/active_profile": "site\n",
    "etc/tuned/site/tuned.conf": "[main]\ninclude=base\n\n[sysctl]\nfs.watches=200\n",
    "usr/lib/tuned/base/tuned.conf": "[sysctl]\nfs.watches=100\nkernel.x=>2\nnet.ipv4.ip_forward=0\n[vm]\nkernel.x=0\n",
}
KUBE_PROXY = "var/lib/kubelet/pods/1-2/volumes/kubernetes.io~configmap/kube-proxy/config.conf"
CONNTRACK = {"net.netfilter.nf_conntrack_max": {"min": 500000}}


@pytest.mark.parametrize(
    ("files", "raw", "expected"),
    [
        # tuned reads /etc/sysctl.d again by default, so ours wins over it.
        (TUNED, WISH, {}),
        (
            {**TUNED, "etc/tuned/tuned-main.conf": "# c\nreapply_sysctl = 0\n"},
            WISH,
            {
                "fs.watches": "tuned /etc/tuned/site/tuned.conf:5",
                "net.ipv4.ip_forward": "tuned /usr/lib/tuned/base/tuned.conf:4",
            },
        ),
        # /etc/sysctl.conf comes last when it does.
        (
            {**TUNED, "etc/sysctl.conf": "fs.watches = 7\n"},
            WISH,
            {"fs.watches": "tuned /etc/sysctl.conf:1"},
        ),
        (
            {key: text for key, text in TUNED.items() if "wants" not in key}
            | {"etc/tuned/tuned-main.conf": "reapply_sysctl=0\n"},
            WISH,
            {},
        ),
        (
            {
                "etc/cloud/cloud.cfg.d/5.cfg": "bootcmd:\n  - [sysctl, -w, net.ipv4.ip_forward=0]\n  - echo 10 > /proc/sys/fs/watches\n"
            },
            WISH,
            {
                "fs.watches": "cloud-init /etc/cloud/cloud.cfg.d/5.cfg:3",
                "net.ipv4.ip_forward": "cloud-init /etc/cloud/cloud.cfg.d/5.cfg:2",
            },
        ),
        ({"etc/cloud/cloud.cfg": "runcmd:\n  - sysctl -w net.ipv4.ip_forward=0\n"}, WISH, {}),
        (
            {"etc/cloud/cloud.cfg": "bootcmd:\n- sysctl net.ipv4.ip_forward=0\n", "etc/cloud/cloud-init.disabled": ""},
            WISH,
            {},
        ),
        (
            {"var/lib/cloud/scripts/per-boot/x.sh": '#!/bin/sh\nsysctl -w "fs.watches=9"\n'},
            WISH,
            {"fs.watches": "cloud-init /var/lib/cloud/scripts/per-boot/x.sh:2"},
        ),
        # Four processors: max(4 x 32768, 131072).
        (
            {KUBE_PROXY: "conntrack:\n  maxPerCore: null\n  min: null\n"},
            CONNTRACK,
            {"net.netfilter.nf_conntrack_max": f"kube-proxy /{KUBE_PROXY}:2"},
        ),
        ({KUBE_PROXY: "conntrack:\n  maxPerCore: 0\n  min: null\n"}, CONNTRACK, {}),
        ({KUBE_PROXY: "conntrack:\n  maxPerCore: 200000\n"}, CONNTRACK, {}),
    ],
)
def test_who_will_overwrite_is_named_with_the_line(
    tree: Tree, files: dict[str, str], raw: dict[str, Any], expected: dict[str, str]
) -> None:
    tree.kernel(net__netfilter__nf_conntrack_max="262144")
    others = [tree.dropin(path, text) for path, text in files.items()]
    before = [path.read_text() for path in others]
    outcome = tree.run(raw)
    assert {v.key: v.where["will_be_overwritten_by"][0] for v in outcome.verdicts if v.names} == expected
    assert all(v.names == ("will_be_overwritten_by",) for v in outcome.verdicts if v.names)
    assert [path.read_text() for path in others] == before
    assert not tree.run(raw).changed


def test_a_bound_that_tuned_would_lower_is_pinned_when_tuned_reads_the_files_again(tree: Tree) -> None:
    tree.kernel(fs__watches="900")
    for path, text in TUNED.items():
        tree.dropin(path, text)
    outcome = tree.run(WISH)
    assert tree.live("fs__watches") == "900"
    assert tree.settings()["fs.watches"] == "500"
    assert not [verdict for verdict in outcome.verdicts if verdict.names]
    assert not tree.run(WISH).changed


# --- what is never touched ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda own: own.write_text("net.ipv4.ip_forward = 1\n"), "was not written by this module"),
        (lambda own: own.symlink_to("/dev/null"), "a link to /dev/null"),
    ],
)
def test_a_drop_in_of_somebody_else_is_refused_but_judged(tree: Tree, make: Callable[[Path], Any], said: str) -> None:
    own = tree.root / OWN.lstrip("/")
    own.parent.mkdir(parents=True)
    make(own)
    before = own.read_bytes()
    for act in (True, False):
        with pytest.raises(SysctlError, match=said):
            tree.run(WISH, act=act)
    assert own.read_bytes() == before
    assert tree.live("fs__watches") == "100"
    assert "runtime_drift" in tree.verdicts(WISH)["fs.watches"]


@pytest.mark.parametrize("path", ["/etc/sysctl.conf", "/etc/sysctl.d/x", "/tmp/x.conf", "/etc/sysctl.d/deeper/x.conf"])
def test_a_drop_in_that_no_boot_reads_is_refused(tree: Tree, path: str) -> None:
    tree.place = core.replace(tree.place, own_path=path)
    with pytest.raises(SysctlError, match="is not read at boot"):
        tree.run(WISH)


# --- any profile on any machine -------------------------------------------------------------------------------------------------------------

KEYS = ("a.one", "a.two", "b.three")
NUMBERS = st.integers(-3, 12)
WISHES = st.dictionaries(
    st.sampled_from(KEYS),
    st.one_of(
        NUMBERS,
        NUMBERS.map(lambda value: {"min": value}),
        NUMBERS.map(lambda value: {"max": value}),
        st.tuples(NUMBERS, st.integers(0, 5)).map(lambda pair: {"min": pair[0], "max": sum(pair)}),
        st.lists(NUMBERS, min_size=1, max_size=3).map(lambda values: {"one_of": values}),
    ),
)
FILES = st.dictionaries(
    st.sampled_from(
        ["etc/sysctl.d/10-a.conf", "usr/lib/sysctl.d/50-b.conf", "run/sysctl.d/60-c.conf", "etc/sysctl.conf"]
    ),
    st.lists(st.tuples(st.sampled_from([*KEYS, "a.*", "b.t*"]), NUMBERS), max_size=3).map(
        lambda lines: "".join(f"{key} = {value}\n" for key, value in lines)
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.tuples(NUMBERS, NUMBERS, NUMBERS), FILES, st.lists(WISHES, min_size=1, max_size=3))
def test_any_profile_is_reached_once_told_before_and_undone(
    values: tuple[int, ...], files: dict[str, str], profiles: list[dict[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tree = Tree(Path(directory))
        first = {key: str(value) for key, value in zip(KEYS, values, strict=True)}
        tree.kernel(**{key.replace(".", "__"): value for key, value in first.items()})
        others = {tree.dropin(path, text): text for path, text in files.items()}
        for raw in profiles:
            before = {key: int(tree.live(key.replace(".", "__"))) for key in KEYS}
            told, done = tree.run(raw, act=False), tree.run(raw)
            assert (told.changed, told.diff) == (done.changed, done.diff)
            assert not tree.run(raw).changed
            # Nothing sorts after ours here, and nobody writes later.
            assert {verdict.key: verdict.names for verdict in done.verdicts} == dict.fromkeys(raw, ())
            for key, wish in raw.items():
                after = int(tree.live(key.replace(".", "__")))
                if isinstance(wish, dict) and set(wish) == {"min"}:
                    assert after >= before[key]
        tree.run({})
        assert {key: tree.live(key.replace(".", "__")) for key in KEYS} == first
        assert tree.own() == ""
        assert {path: path.read_text() for path in others} == others
