"""The lab's machines themselves, on a small second lab beside the first: made, broken in every way, mended, removed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
NAME, NETWORK = "labtest", "10.241.0.0/16"
# Two racks of one machine each; the shipped group variables.
HOSTS = """---
all:
  children:
    lab:
      children:
        lab_nodes:
          children:
            workers:
              hosts:
                one: {lab_legs: {rack1: 31}}
                two: {lab_legs: {rack2: 31}}
        routers:
          hosts:
            tor1: {lab_legs: {rack1: 254, spine: 2}, lab_as_number: 64601}
            tor2: {lab_legs: {rack2: 254, spine: 3}, lab_as_number: 64602}
"""
Play = Callable[..., str]


def podman(*arguments: str) -> str:
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


def labelled(*what: str) -> list[str]:
    text = podman(*what, "--filter", f"label=bare-metal-kubernetes.lab={NAME}", "--format", "{{.Name}}")
    return sorted(text.split())


def machines() -> list[str]:
    text = podman("ps", "-a", "--filter", f"label=bare-metal-kubernetes.lab={NAME}", "--format", "{{.Names}}")
    return sorted(text.split())


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inventory")
    (directory / "hosts.yml").write_text(HOSTS)
    (directory / "group_vars").symlink_to(ROOT / "inventories" / "lab" / "group_vars")
    return directory


@pytest.fixture(scope="module")
def command(inventory: Path) -> Callable[[str], list[str]]:
    def words(play: str) -> list[str]:
        extra = ["-e", f"lab_name={NAME}", "-e", f"lab_network={NETWORK}"]
        return ["ansible-playbook", "-i", str(inventory), *extra, str(ROOT / "molecule" / "default" / f"{play}.yml")]

    return words


@pytest.fixture(scope="module")
def play(command: Callable[[str], list[str]], run: Callable[..., subprocess.CompletedProcess[str]]) -> Iterator[Play]:
    def player(name: str, *extra: str, check: bool = True) -> str:
        done = run(*command(name), *extra, timeout=600, check=check)
        return done.stdout + done.stderr

    yield player
    player("destroy")


def changed(output: str) -> int:
    found = re.search(r"changed=(\d+)", output)
    assert found, output
    return int(found[1])


@pytest.fixture
def standing(play: Play) -> None:
    play("create")


def test_creating_twice_changes_nothing_and_tells_so_beforehand(play: Play) -> None:
    play("destroy")
    assert changed(play("create", "--check")) == 1
    assert machines() == []
    assert changed(play("create")) == 1
    assert machines() == [f"{NAME}-{host}" for host in ("one", "tor1", "tor2", "two")]
    assert changed(play("create", "--check")) == 0
    assert changed(play("create")) == 0


def test_status_names_machines_sessions_and_the_way_in(play: Play, standing: None) -> None:
    text = play("status")
    assert re.search(r"^one +running +ok +eth0=10\.241\.1\.31$", text, re.MULTILINE)
    assert len(re.findall(r"^tor\d .* Established", text, re.MULTILINE)) == 2
    assert "No cluster answers" in text
    assert "id_ed25519" in text


def test_ansible_reaches_machines_by_ssh_with_checked_host_keys(inventory: Path, run, standing: None) -> None:
    extra = ["-e", f"lab_name={NAME}", "-e", f"lab_network={NETWORK}"]
    answer = run("ansible", "-i", inventory, *extra, "lab", "-m", "ansible.builtin.command", "-a", "hostname").stdout
    assert answer.count("CHANGED") == 4
    shown = run("ansible-inventory", "-i", inventory, *extra, "--host", "one").stdout
    assert "StrictHostKeyChecking=yes" in json.loads(shown)["ansible_ssh_common_args"]


def test_racks_reach_each_other_and_not_the_world(standing: None) -> None:
    podman("exec", f"{NAME}-one", "ping", "-c1", "-W2", "10.241.2.31")
    route = podman("exec", f"{NAME}-tor1", "ip", "route")
    assert "default" not in route
    assert "10.241.2.0/24" in route


def test_a_node_has_plain_files_and_shared_mounts(standing: None) -> None:
    mounts = podman("exec", f"{NAME}-one", "cat", "/proc/self/mountinfo")
    targets = {line.split()[4]: line for line in mounts.splitlines()}
    assert not {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"} & set(targets)
    assert " shared:" in targets["/"]
    assert podman("exec", f"{NAME}-one", "cat", "/etc/hostname") == "one\n"


def kill_init() -> None:
    os.kill(int(podman("inspect", "-f", "{{.State.Pid}}", f"{NAME}-one")), signal.SIGKILL)


def kill_monitor_and_init() -> None:
    for pid in podman("inspect", "-f", "{{.State.ConmonPid}} {{.State.Pid}}", f"{NAME}-one").split():
        os.kill(int(pid), signal.SIGKILL)


BREAKS: dict[str, Callable[[], object]] = {
    "init killed": kill_init,
    "monitor and init killed": kill_monitor_and_init,
    "stopped": lambda: podman("stop", "-t", "0", f"{NAME}-one"),
    "router stopped": lambda: podman("stop", "-t", "0", f"{NAME}-tor1"),
    "ssh stopped": lambda: podman("exec", f"{NAME}-one", "systemctl", "stop", "ssh"),
    "route lost": lambda: podman("exec", f"{NAME}-one", "ip", "route", "del", "default"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_machine_is_mended_and_keeps_its_disk(broken: str, play: Play, standing: None) -> None:
    podman("exec", f"{NAME}-one", "sh", "-c", "echo kept > /var/lib/etcd/mark; echo kept > /etc/mark; sync")
    BREAKS[broken]()
    time.sleep(1)
    assert changed(play("create")) == 1
    assert changed(play("create")) == 0
    assert podman("exec", f"{NAME}-one", "cat", "/var/lib/etcd/mark", "/etc/mark") == "kept\nkept\n"


def test_a_machine_that_was_removed_comes_back_empty(play: Play, standing: None) -> None:
    podman("exec", f"{NAME}-one", "touch", "/var/lib/etcd/old")
    podman("rm", "-f", "-t", "0", f"{NAME}-one")
    assert changed(play("create")) == 1
    assert podman("exec", f"{NAME}-one", "ls", "/var/lib/etcd") == ""


def test_a_lost_network_takes_its_machines_and_all_come_back(play: Play, standing: None) -> None:
    podman("network", "rm", "-f", "-t", "0", f"{NAME}-rack1")
    assert changed(play("create")) == 1
    assert changed(play("create")) == 0


@pytest.mark.parametrize("seconds", [1.0, 2.0, 3.0, 4.5])
def test_a_killed_creation_is_taken_up_again(seconds: float, play: Play, command: Callable[[str], list[str]]) -> None:
    play("destroy")
    with subprocess.Popen(
        command("create"), cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
    play("create")
    assert changed(play("create")) == 0


def test_the_first_lab_is_not_touched(play: Play, standing: None) -> None:
    everything = ("ps", "-a", "--filter", "label=bare-metal-kubernetes.lab", "--format", "{{.Names}} {{.ID}}")
    others = {line for line in podman(*everything).splitlines() if not line.startswith(f"{NAME}-")}
    play("destroy")
    assert {line for line in podman(*everything).splitlines() if not line.startswith(f"{NAME}-")} == others
    play("create")
    assert others <= set(podman(*everything).splitlines())


def test_a_name_or_network_that_is_taken_is_refused_with_the_way_out(play: Play, command, run, standing: None) -> None:
    words = [word.replace(f"lab_name={NAME}", "lab_name=labtest2") for word in command("create")]
    done = run(*words, timeout=600, check=False)
    try:
        assert done.returncode != 0
        assert "choose another lab_network" in done.stdout + done.stderr
    finally:
        run(*[word.replace("create.yml", "destroy.yml") for word in words])


def test_down_leaves_nothing(play: Play, standing: None) -> None:
    assert changed(play("destroy")) == 1
    assert machines() == []
    assert labelled("volume", "ls") == []
    assert labelled("network", "ls") == []
    assert "There is no lab labtest" in play("status")
    assert changed(play("destroy")) == 0
