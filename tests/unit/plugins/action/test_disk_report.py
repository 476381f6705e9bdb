"""disk_report and the role around it, through ansible-playbook: the playbook as it is shipped, on this machine, with a program in fio's place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]
RECORDED = ROOT / "tests/unit/plugins/module_utils/recorded"
FIO = """#!/bin/sh
[ "$1" = --version ] && {{ echo fio-3.33; exit; }}
echo "$@" >> {log}
cat {answer}
"""
Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(name="play")
def make_play(tmp_path: Path) -> Play:
    """Run the playbook on hosts (name -> variables) that are all this machine."""

    def play(answer: str, hosts: dict[str, dict[str, Any]], *words: str) -> subprocess.CompletedProcess[str]:
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "fio").write_text(FIO.format(log=tmp_path / "log", answer=RECORDED / answer))
        (programs / "fio").chmod(0o755)
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become": False,
            "cluster_state_dir": f"{tmp_path}/state-{{{{ inventory_hostname }}}}",
            "disk_qualification_install": False,
            "disk_qualification_allow_live": True,
            "disk_qualification_allow_filesystems": ["tmpfs", "overlay"],
        }
        (tmp_path / "hosts.yml").write_text(
            yaml.safe_dump(
                {
                    "all": {
                        "vars": common,
                        "children": {"etcd": {"hosts": hosts}, "control_plane": {"children": {"etcd": None}}},
                    }
                }
            )
        )
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "LC_ALL": "C.UTF-8",
        }
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(tmp_path / "hosts.yml")]
        return subprocess.run(
            [*command, "bare_metal.kubernetes.qualify_disks", *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
            env=environment,
        )

    return play


def calls(tmp_path: Path) -> list[str]:
    log = tmp_path / "log"
    return log.read_text().splitlines() if log.exists() else []


def test_a_slow_disk_stops_the_playbook_and_the_report_is_written(play: Play, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = play(
        "fio-3.33-slow.json",
        {"one": {"etcd_data_directory": str(tmp_path / "data")}},
        "-e",
        f"disk_qualification_report_path={tmp_path}/out/disks.json disk_qualification_plot_path={tmp_path}/out/disks.html",
    )
    assert done.returncode == 2, done.stdout
    assert "1 of 1 disks are not enough for etcd (wanted: pass)" in done.stdout + done.stderr
    assert re.search(r"^one +fail +standard +106 ms", done.stdout, re.MULTILINE)
    report = json.loads((tmp_path / "out/disks.json").read_text())
    assert report["failed"] == 1
    assert report["hosts"]["one"]["directory"] == str(tmp_path / "data"), "what role etcd is given is what is measured"
    assert (tmp_path / "out/disks.html").read_text().count('role="img"') == 2
    remembered = json.loads((tmp_path / "state-one/disk-qualification.json").read_text())
    assert remembered["results"][str(tmp_path / "data")]["verdict"] == "fail"
    assert os.listdir(tmp_path / "data") == []


def test_all_hosts_are_shown_when_one_is_refused(play: Play, tmp_path: Path) -> None:
    hosts = {
        "one": {"disk_qualification_directory": str(tmp_path), "etcd_data_directory": "/etc/fstab"},
        "two": {"disk_qualification_directory": "/etc/passwd"},
    }
    done = play("fio-3.33-loaded.json", hosts)
    assert done.returncode == 2, done.stdout
    assert re.search(r"^one +good ", done.stdout, re.MULTILINE), "the role's own variable goes before the other role's"
    assert re.search(r"^two +refused ", done.stdout, re.MULTILINE)
    assert "two: '/etc/passwd' is not a directory" in done.stdout
    assert "1 of 2 disks are not enough" in done.stdout + done.stderr


@pytest.mark.parametrize(("pods", "profile"), [(349, "standard"), (350, "loaded")])
def test_dense_clusters_are_measured_under_load(play: Play, tmp_path: Path, pods: int, profile: str) -> None:
    """In check mode, which runs no fio."""
    hosts = {
        "one": {"disk_qualification_directory": str(tmp_path)},
        "two": {"disk_qualification_directory": str(tmp_path), "cluster_pods_per_node": pods},
    }
    done = play("fio-3.33-loaded.json", hosts, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^one +unmeasured +{profile} ", done.stdout, re.MULTILINE), (
        "the densest node counts for every member"
    )
    assert calls(tmp_path) == []
    assert not (tmp_path / "state-one").exists()


def test_a_good_disk_is_measured_once_within_its_age(play: Play, tmp_path: Path) -> None:
    words = (
        "-e",
        f"disk_qualification_directory={tmp_path} disk_qualification_max_age_seconds=600 disk_qualification_profile=quick",
    )
    for _time in range(2):
        done = play("fio-3.33-loaded.json", {"one": {}}, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "changed=0" in done.stdout
    assert len(calls(tmp_path)) == 3
    assert "good (remembered)" in done.stdout


def test_more_than_a_pass_can_be_asked_for(play: Play, tmp_path: Path) -> None:
    words = (
        "-e",
        f"disk_qualification_directory={tmp_path} disk_qualification_profile=quick disk_qualification_required_verdict=excellent",
    )
    done = play("fio-3.33-loaded.json", {"one": {}}, *words)
    assert done.returncode == 2
    assert "(wanted: excellent)" in done.stdout + done.stderr
