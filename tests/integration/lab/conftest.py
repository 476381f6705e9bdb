"""Everything in this folder runs on the lab and is left out of `make check`. The machines are made, or repaired, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import runner

# The collection by its full name, through the link that `make setup` lays.
sys.path.insert(0, str(runner.ROOT / ".ansible" / "collections"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="module", autouse=True)
def _machines(request: pytest.FixtureRequest) -> None:
    """Scenarios have the shipped lab's machines, but for those that make a lab of their own (marker ``own_lab``)."""
    if not request.node.get_closest_marker("own_lab"):
        request.getfixturevalue("lab_machines")


@pytest.fixture(scope="session")
def lab_machines() -> None:
    """The lab's machines and routers, as `make lab-machines` makes them."""
    argv = ["ansible-playbook", "-i", str(runner.INVENTORY), "molecule/default/create.yml"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(runner.ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        argv, cwd=runner.ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def standing(lab_machines: None) -> None:
    """A cluster as the lab's inventory says, for scenarios that begin with one: these can be run on their own."""
    run = runner.play("site")
    assert run.rc == 0, run.output
