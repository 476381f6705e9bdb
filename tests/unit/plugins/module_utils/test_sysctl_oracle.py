"""What the files make of the kernel, against the real systemd-sysctl and procps of this machine on random sets of drop-ins."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_files import procps_version

sys.path.insert(0, str(Path(__file__).parent))

import sysctl_oracle as oracle


def confined(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script as root of user and mount namespaces of its own."""
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-s"]
    return subprocess.run(argv, input=script, capture_output=True, text=True, timeout=60, check=False)


@functools.cache
def obstacle() -> str:
    """Why the programs cannot be asked here; empty when they can."""
    for program in (oracle.SYSTEMD, oracle.SYSCTL):
        if not os.access(program, os.X_OK):
            return f"{program} is not installed"
    if procps_version(oracle.SYSCTL) is None:
        return f"{oracle.SYSCTL} is not of procps"
    done = confined(oracle.script([{}]))
    return f"no mount namespace here: {done.stderr.strip()}" if done.returncode else ""


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    if obstacle():
        pytest.skip(obstacle())


def compare(case: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        expected = oracle.predict([case], Path(directory), procps_version(oracle.SYSCTL) or ())
    done = confined(oracle.script([case]))
    assert done.returncode == 0, done.stderr
    assert oracle.parse(done.stdout) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(oracle.CASES)
@example({"etc/sysctl.d/10-a.conf": "net.ipv4.conf.*.x = 1\nnet.ipv4.conf.e*.x = 2\nnet.ipv4.conf.*.x = 1"})
@example({"usr/lib/sysctl.d/10-a.conf": "kernel.y = 1", "etc/sysctl.d/10-a.conf": "-> /dev/null"})
@example(
    {
        "etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf",
        "etc/sysctl.conf": "kernel.y = 1",
        "run/sysctl.d/a-b.conf": "kernel.y = 2",
    }
)
@example({"etc/sysctl.d/10-a.conf": "net.ipv4.conf.eth0.x = 1\n-net.ipv4.conf.eth0.x"})
def test_the_boot_is_what_the_programs_make_of_it(case: dict[str, str]) -> None:
    compare(case)


def test_a_dangling_link_masks_its_name() -> None:
    said = subprocess.run([oracle.SYSTEMD, "--version"], capture_output=True, text=True, check=True).stdout
    if not said.startswith("systemd 252"):
        pytest.skip("seen with systemd 252 only")
    compare({"etc/sysctl.d/10-a.conf": "-> nothing", "usr/lib/sysctl.d/10-a.conf": "kernel.y = 1"})


def test_the_programs_disagree_somewhere() -> None:
    """So that a test that compares nothing would be noticed."""
    done = confined(oracle.script([{"etc/sysctl.conf": "kernel.y = 1", "etc/sysctl.d/zz.conf": "kernel.y = 2"}]))
    assert oracle.parse(done.stdout) == {(0, "systemd", "kernel/y", "2"), (0, "procps", "kernel/y", "1")}
