"""A lab of a scenario's own beside the first: its inventory, its machines from before the first test until after the last, and commands in them.

@pytest.fixture(scope="module")
def inventory(tmp_path_factory): return write_inventory(tmp_path_factory.mktemp("inventory"), GROUPS, CHOICES)

@pytest.fixture(scope="module")
def cluster(inventory):
    with standing(inventory):
        yield runner.play("site", inventory=inventory)
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from . import runner

SHIPPED = runner.INVENTORY / "group_vars"
LAB_PLAYS = runner.ROOT / "molecule" / "default"
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"


def write_inventory(
    directory: Path, groups: Mapping[str, Any], choices: Mapping[str, Any], *, racks: bool = True
) -> Path:
    """The shipped lab's connection, routers and allowances for containers, with other machines and choices.

    :param groups: children of ``all``. :param choices: variables of all hosts, before the shipped ones; ``lab_name`` and ``lab_network`` among them.
    :param racks: the shipped racks and their BGP sessions too; without them a node's address is all that is known of it.
    """
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": dict(groups)}}, sort_keys=False))
    (directory / "group_vars/all").mkdir(parents=True)
    for part in ("lab", "routers.yml", *(("lab_nodes.yml",) if racks else ())):
        (directory / "group_vars" / part).symlink_to(SHIPPED / part)
    if not racks:
        nodes = yaml.safe_load((SHIPPED / "lab_nodes.yml").read_text())
        text = yaml.safe_dump({"lab_volumes": nodes["lab_volumes"]})
        (directory / "group_vars/lab_nodes.yml").write_text(text)
    common: dict[str, Any] = {}
    for part in ("lab.yml", "cluster.yml"):
        common |= yaml.safe_load((SHIPPED / "all" / part).read_text())
    common |= {**choices, "control_plane_kubeconfig_path": str(directory / "admin.conf")}
    (directory / "group_vars/all/all.yml").write_text(yaml.safe_dump(common, sort_keys=False))
    return directory


def machines(inventory: Path, play: str) -> None:
    """Run one of the lab's own playbooks: ``create`` (or repair), ``destroy``."""
    argv = ["ansible-playbook", "-i", str(inventory), str(LAB_PLAYS / f"{play}.yml")]
    done = subprocess.run(
        argv, cwd=runner.ROOT, env=runner.environment(), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"{play}: {done.stdout}{done.stderr}"


@contextmanager
def standing(inventory: Path) -> Iterator[None]:
    """The machines, made anew, and gone whatever happens in between."""
    machines(inventory, "destroy")
    try:
        machines(inventory, "create")
        yield
    finally:
        machines(inventory, "destroy")


def podman(*arguments: str, check: bool = True, stdin: str | None = None) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=180, check=False, input=stdin)
    assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def on(lab: str, host: str, command: str, check: bool = True, stdin: str | None = None) -> str:
    """A shell command on a machine; through podman, because a cut connection would say nothing of the cluster."""
    return podman(
        "exec", *(["-i"] if stdin is not None else []), f"{lab}-{host}", "sh", "-c", command, check=check, stdin=stdin
    )


def becomes(what: Callable[[], bool], seconds: float = 60) -> bool:
    """Is it true at last?"""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(1)
    return False
