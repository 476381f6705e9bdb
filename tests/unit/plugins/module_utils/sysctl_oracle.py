"""The real programs as judges: random sets of drop-ins, a shell script that has systemd-sysctl and procps apply one to a kernel made of files, and
what the collection says that they would do.

The script works in a mount namespace of its own: it binds directories of a tmpfs over /etc, /run, /usr/local/lib, /usr/lib/sysctl.d and /proc/sys.
Nothing outside is changed.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_files import at_boot, by_procps, read_files
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import normal_key

SYSTEMD = "/usr/lib/systemd/systemd-sysctl"
SYSCTL = "/usr/sbin/sysctl"
# The kernel: parameters as paths below /proc/sys.
INTERFACES = ("all", "eth0", "eth1.100", "lo", "wlan0")
KERNEL = (*(f"net/ipv4/conf/{name}/{leaf}" for name in INTERFACES for leaf in ("x", "xy")), "kernel/y", "kernel/z")
NAMED = (
    "net.ipv4.conf.eth0.x",
    "net/ipv4/conf/eth0/x",
    "net.ipv4.conf.eth1/100.x",
    "net/ipv4/conf/eth1.100/x",
    "/net/ipv4/conf/lo/x",
    "net.ipv4.conf.all.xy",
    "kernel.y",
    "kernel/z",
    "kernel.nothing",
)
GLOBS = (
    "net.ipv4.conf.*.x",
    "net/ipv4/conf/*/x",
    "net.ipv4.conf.e*.x",
    "net/ipv4/conf/eth*/x*",
    "net.ipv4.conf.eth?.x",
    "net.ipv4.conf.eth1/*.x",
    "net/ipv4/conf/[ew]*/x",
    "net/ipv4/conf/[!e]*/x?",
    "net/ipv4/*/all/x",
    "net.ipv4.conf.{eth0,lo}*.x",
    "kernel.*",
    "kernel.?",
)
NAMES = ("10-a.conf", "50-b.conf", "99-sysctl.conf", "Z.conf", "_.conf", "a-b.conf", "ab.conf", "x.conf.bak")
DIRECTORIES = ("etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d")

KEYS = st.sampled_from((*NAMED, *GLOBS))
VALUES = st.sampled_from("123")
LINES = st.one_of(
    st.tuples(KEYS, st.sampled_from((" = ", "=", "\t= ", " =")), VALUES).map("".join),
    st.tuples(st.just("-"), KEYS, st.just(" = "), VALUES).map("".join),
    st.tuples(st.just("-"), KEYS).map("".join),
    st.tuples(st.sampled_from(("#", ";", " # ", "  ")), KEYS, st.just(" = "), VALUES).map("".join),
    st.sampled_from(("", "nonsense", "kernel.y")),
)
TEXTS = st.lists(LINES, max_size=5).map("\n".join)
# A text, or ``-> target`` for a link. (A dangling one is not the same to all releases.)
CONTENTS = st.one_of(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, st.sampled_from(("-> /dev/null", "-> ../sysctl.conf")))
CASES = st.dictionaries(
    st.one_of(
        st.tuples(st.sampled_from(DIRECTORIES), st.sampled_from(NAMES)).map("/".join), st.just("etc/sysctl.conf")
    ),
    CONTENTS,
    max_size=6,
).map(
    lambda case: {path: "" if path == "etc/sysctl.conf" and text[:2] == "->" else text for path, text in case.items()}
)


def script(cases: Sequence[Mapping[str, str]]) -> str:
    """Return a script that prints ``case|program|path|value;`` for every parameter that a program set."""
    lines = ["set -eu", "mount -t tmpfs none /mnt", "cd /mnt"]
    for number, case in enumerate(cases):
        for program in ("systemd", "procps"):
            home = f"/mnt/{number}{program}"
            below = sorted({path.rpartition("/")[0] for path in KERNEL})
            made = [*DIRECTORIES, *(f"proc/{directory}" for directory in below)]
            lines.append(f"mkdir -p {' '.join(f'{home}/{directory}' for directory in made)}")
            lines += [f": > {home}/proc/{path}" for path in KERNEL]
            for path, text in case.items():
                target = shlex.quote(f"{home}/{path}")
                if text.startswith("-> "):
                    lines.append(f"ln -s {text[3:]} {target}")
                else:
                    lines.append(f"printf '%s\\n' {shlex.quote(text)} > {target}")
            mounts = [("etc", "/etc"), ("run", "/run"), ("usr/local/lib", "/usr/local/lib"), ("proc", "/proc/sys")]
            for inside, over in (*mounts, ("usr/lib/sysctl.d", "/usr/lib/sysctl.d")):
                lines.append(f"mount --bind {home}/{inside} {over}")
            command = SYSTEMD if program == "systemd" else f"{SYSCTL} --system"
            lines.append(f"{command} >/dev/null 2>&1 || :")
            for path in KERNEL:
                lines.append(f"read -r v < /proc/sys/{path} && printf '{number}|{program}|{path}|%s;' \"$v\" || :")
            lines.append("umount /proc/sys /usr/lib/sysctl.d /usr/local/lib /run /etc")
    return "\n".join(lines)


def parse(output: str) -> set[tuple[int, str, str, str]]:
    """Read what the script printed: ``(case, program, path, value)``."""
    fields = (part.split("|") for part in output.split(";") if part.count("|") == 3)
    return {(int(number), program, path, value) for number, program, path, value in fields}


def predict(cases: Sequence[Mapping[str, str]], root: Path, procps: tuple[int, ...]) -> set[tuple[int, str, str, str]]:
    """Say in the same form what the collection thinks."""
    found = set()
    for number, case in enumerate(cases):
        home = root / str(number)
        for path, text in case.items():
            target = home / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("-> "):
                target.symlink_to(text[3:])
            else:
                target.write_text(text + "\n")
        files = read_files("", str(home), procps)
        for path in KERNEL:
            key = normal_key("/" + path)
            for program, decided in (
                ("systemd", at_boot(key, files.systemd)),
                ("procps", by_procps(key, files.procps, procps)),
            ):
                if decided is not None:
                    found.add((number, program, path, " ".join(decided.value or ())))
    return found
