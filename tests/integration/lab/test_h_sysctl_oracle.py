"""What the collection says of the boot, against the systemd-sysctl and procps of a node on random sets of drop-ins.

The unit tests do the same with the programs of the machine that they run on; a node has the releases of the product. Everything happens in a mount
namespace of its own on the node, on parameters that are files.
"""

from __future__ import annotations

import base64
import gzip
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import runner

sys.path.insert(0, str(runner.ROOT / ".ansible" / "collections"))
sys.path.insert(0, str(runner.ROOT / "tests" / "unit" / "plugins" / "module_utils"))

import sysctl_oracle as oracle

pytestmark = [pytest.mark.lab]

NODE = "worker1"
# A script for this many sets fits into one command line.
SETS_A_CALL = 10


@pytest.fixture(scope="module")
def procps() -> tuple[int, ...]:
    """The release of the node's procps."""
    said = runner.on(NODE, oracle.SYSCTL, "--version")
    return tuple(int(part) for part in re.findall(r"procps\S* (\d+(?:\.\d+)+)", said)[0].split("."))


def confined(script: str) -> str:
    packed = base64.b64encode(gzip.compress(script.encode())).decode()
    return runner.on(NODE, "unshare", "--mount", "sh", "-c", f"'echo {packed} | base64 -d | gunzip | sh'")


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.lists(oracle.CASES, min_size=SETS_A_CALL, max_size=SETS_A_CALL))
def test_the_boot_is_what_the_programs_of_a_node_make_of_it(
    procps: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory, cases: list[dict[str, str]]
) -> None:
    root: Path = tmp_path_factory.mktemp("sets")
    assert oracle.parse(confined(oracle.script(cases)).partition("(stdout)")[2]) == oracle.predict(cases, root, procps)


def test_the_programs_of_a_node_disagree_where_the_documentation_says_so() -> None:
    case = {"etc/sysctl.conf": "kernel.y = 1", "etc/sysctl.d/zz.conf": "kernel.y = 2"}
    output = confined(oracle.script([case])).partition("(stdout)")[2]
    assert oracle.parse(output) == {(0, "systemd", "kernel/y", "2"), (0, "procps", "kernel/y", "1")}
