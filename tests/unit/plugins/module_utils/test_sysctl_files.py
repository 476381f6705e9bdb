"""_sysctl_files: what systemd-sysctl and procps make of the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_files import (
    Assignment,
    at_boot,
    boot_files,
    by_procps,
    matches,
    parse_file,
    read_files,
)

# --- the order of the boot --------------------------------------------------------------------------------------------------------------------


def test_lines_of_a_file() -> None:
    text = "# c\n; c\n\na.b=1\n-c.d = 2 3\n-e.f\nno value\n net/ipv4/conf/eth0.1/x = 4\n"
    assert parse_file("f", text) == [
        Assignment("f", 4, "a.b", ("1",)),
        Assignment("f", 5, "c.d", ("2", "3")),
        Assignment("f", 6, "e.f", None),
        Assignment("f", 8, "net.ipv4.conf.eth0/1.x", ("4",)),
    ]


def test_base_names_order_files_and_earlier_directories_win_the_same_name() -> None:
    listing = {
        "/etc/sysctl.d": ["50-b.conf", "99-zz.conf", "README"],
        "/usr/lib/sysctl.d": ["10-a.conf", "50-b.conf", "99-sysctl.conf"],
    }
    assert boot_files(listing) == [
        "/usr/lib/sysctl.d/10-a.conf",
        "/etc/sysctl.d/50-b.conf",
        "/usr/lib/sysctl.d/99-sysctl.conf",
        "/etc/sysctl.d/99-zz.conf",
    ]


def test_names_are_sorted_by_their_bytes() -> None:
    names = ["a.conf", "Z.conf", "é.conf", "_.conf", "a-b.conf", "10.conf", "9.conf"]
    assert [Path(path).name for path in boot_files({"/etc/sysctl.d": names})] == [
        "10.conf",
        "9.conf",
        "Z.conf",
        "_.conf",
        "a-b.conf",
        "a.conf",
        "é.conf",
    ]


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ("net.ipv4.conf.eth0.x = 1\nnet.ipv4.conf.eth0.x = 2", "2"),
        ("net.ipv4.conf.eth0.x = 1\nnet.ipv4.conf.*.x = 2", "1"),
        ("net.ipv4.conf.*.x = 1\nnet.ipv4.conf.e*.x = 2", "2"),
        ("net.ipv4.conf.*.x = 1\n-net.ipv4.conf.eth0.x", None),
        ("net.ipv4.*.x = 1", None),
        ("net.ipv4.conf.all.x = 1", None),
        ("net.ipv4.conf.eth0.x = 1\n-net.ipv4.conf.eth0.x", None),
        ("-net.ipv4.conf.eth0.x\nnet.ipv4.conf.eth0.x = 1", "1"),
        ("net.ipv4.conf.*.x = 1\n-net.ipv4.conf.*.x", None),
        # The second line that says the same stays where the first was, so the glob between them is the last.
        ("net.ipv4.conf.*.x = 1\nnet.ipv4.conf.e*.x = 2\nnet.ipv4.conf.*.x = 1", "2"),
        ("net.ipv4.conf.*.x = 1\nnet.ipv4.conf.e*.x = 2\nnet.ipv4.conf.*.x = 3", "3"),
        ("net/ipv4/conf/eth[0-3]/x = 1", "1"),
        ("net/ipv4/conf/eth[!0]/x = 1", None),
        ("net.ipv4.conf.{eth,wlan}?.x = 1", "1"),
    ],
)
def test_who_decides_at_boot(lines: str, value: str | None) -> None:
    decided = at_boot("net.ipv4.conf.eth0.x", parse_file("f", lines))
    assert (" ".join(decided.value or ()) if decided else None) == value


@pytest.mark.parametrize(
    ("lines", "version", "value"),
    [
        ("net.ipv4.conf.eth0.x = 1\nnet.ipv4.conf.eth0.x = 2", (4, 0, 4), "2"),
        ("net.ipv4.conf.eth0.x = 1\n-net.ipv4.conf.eth0.x", (4, 0, 4), "1"),
        ("net.ipv4.conf.*.x = 1\nnet.ipv4.conf.e*.x = 2\nnet.ipv4.conf.*.x = 1", (4, 0, 4), "1"),
        ("net.ipv4.conf.*.x = 1", (3, 3, 17), None),
        ("net.ipv4.conf.*.x = 1\n-net.ipv4.conf.eth0.x", (4, 0, 0), None),
        ("net.ipv4.conf.*.x = 1\n-net.ipv4.conf.e*.x", (4, 0, 4), "1"),
        ("net.ipv4.conf.*.x = 1\n-net.ipv4.conf.e*.x", (4, 0, 5), None),
        ("net.ipv4.conf.*.x = 1\n-net.*.x", (4, 0, 5), None),
        ("net.ipv4.conf.{eth,wlan}?.x = 1", (4, 0, 5), None),
        ("other = 1", (4, 0, 4), None),
        ("net.ipv4.conf.eth0.x = 1\nnet.ipv4.conf.*.x = 2", (4, 0, 4), "1"),
        # Two slashes are another name to procps: the glob is not kept off.
        ("/net/ipv4/conf/eth0/x = 1\nnet.ipv4.conf.*.x = 2", (4, 0, 4), "2"),
    ],
)
def test_what_procps_sets(lines: str, version: tuple[int, ...], value: str | None) -> None:
    decided = by_procps("net.ipv4.conf.eth0.x", parse_file("f", lines), version)
    assert (" ".join(decided.value or ()) if decided else None) == value


@pytest.mark.parametrize(
    ("pattern", "key", "yes"),
    [
        ("net.ipv4.conf.*.x", "net.ipv4.conf.eth0/100.x", True),
        ("net.ipv4.conf.eth0/*.x", "net.ipv4.conf.eth0/100.x", True),
        ("net.ipv4.conf.eth0.*.x", "net.ipv4.conf.eth0/100.x", False),
        ("net.ipv4.conf.eth?.x", "net.ipv4.conf.eth10.x", False),
        ("net.ipv4.conf.[a-f]th0.x", "net.ipv4.conf.eth0.x", True),
        ("net.ipv4.conf.[^a-f]th0.x", "net.ipv4.conf.eth0.x", False),
        ("net.ipv4.conf.[]e]th0.x", "net.ipv4.conf.eth0.x", True),
        ("net.ipv4.conf.[eth0.x", "net.ipv4.conf.eth0.x", False),
        ("net.ipv4.conf.\\eth*.x", "net.ipv4.conf.eth0.x", True),
        ("net.ipv4.conf.e+.x*", "net.ipv4.conf.ee.x", False),
    ],
)
def test_globs_match_as_those_of_paths(pattern: str, key: str, yes: bool) -> None:
    assert matches(pattern, key) is yes


def put(root: Path, path: str, text: str) -> None:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def test_the_same_name_in_several_directories_masks_and_links(tmp_path: Path) -> None:
    for directory in ("/usr/lib", "/usr/local/lib", "/run", "/etc"):
        put(tmp_path, f"{directory}/sysctl.d/50-same.conf", f"a.b = {directory}\n")
    put(tmp_path, "/usr/lib/sysctl.d/60-masked.conf", "c.d = 1\n")
    put(tmp_path, "/usr/lib/sysctl.d/70-dangling.conf", "e.f = 1\n")
    put(tmp_path, "/usr/lib/sysctl.d/80.conf.bak", "g.h = 1\n")
    (tmp_path / "run/sysctl.d/60-masked.conf").symlink_to("/dev/null")
    (tmp_path / "etc/sysctl.d/70-dangling.conf").symlink_to("nothing")
    put(tmp_path, "/etc/sysctl.conf", "i.j = 1\n")
    (tmp_path / "etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")
    (tmp_path / "lib").symlink_to("usr/lib")
    files = read_files("/etc/sysctl.d/x.conf", str(tmp_path), (4, 0, 4))
    assert [(a.where, a.key, a.value) for a in files.systemd] == [
        ("/etc/sysctl.d/50-same.conf:1", "a.b", ("/etc",)),
        ("/etc/sysctl.d/99-sysctl.conf:1", "i.j", ("1",)),
    ]
    assert [a.where for a in files.procps] == [*(a.where for a in files.systemd), "/etc/sysctl.conf:1"]
    assert [a.value for a in files.reread][:1] == [("/run",)]


def test_a_lib_of_its_own_comes_last(tmp_path: Path) -> None:
    put(tmp_path, "/lib/sysctl.d/10-a.conf", "a.b = 1\n")
    put(tmp_path, "/lib/sysctl.d/20-b.conf", "a.b = 2\n")
    put(tmp_path, "/usr/lib/sysctl.d/20-b.conf", "a.b = 3\n")
    assert [a.value for a in read_files("x", str(tmp_path)).systemd] == [("1",), ("3",)]


def test_old_releases_of_procps_take_run_before_etc_and_none_reads_nothing(tmp_path: Path) -> None:
    put(tmp_path, "/etc/sysctl.d/a.conf", "a.b = etc\n")
    put(tmp_path, "/run/sysctl.d/a.conf", "a.b = run\n")
    assert [a.value for a in read_files("x", str(tmp_path), (3, 3, 16)).procps] == [("run",)]
    assert [a.value for a in read_files("x", str(tmp_path), (3, 3, 17)).procps] == [("etc",)]
    assert read_files("x", str(tmp_path), None).procps == ()


def test_a_credential_comes_after_all_files(tmp_path: Path) -> None:
    put(tmp_path, "/etc/sysctl.d/zz.conf", "a.b = 1\n")
    put(tmp_path, "/etc/credstore/sysctl.extra", "a.b = 2\n")
    decided = at_boot("a.b", read_files("x", str(tmp_path)).systemd)
    assert decided is not None
    assert (decided.where, decided.value) == ("/etc/credstore/sysctl.extra:1", ("2",))
