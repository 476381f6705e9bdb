"""Preflight through ansible-playbook: this machine under two names, and one that does not answer. Everything only reads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import preflight

ROOT = Path(__file__).resolve().parents[4]
AFTER = """---
- name: Judge
  ansible.builtin.import_playbook: bare_metal.kubernetes.preflight
- name: What would change machines
  hosts: localhost:control_plane
  gather_facts: false
  tasks:
    - name: Touch
      ansible.builtin.debug: {msg: "{{ ansible_facts.bare_metal_machine.cpus | default('controller') }}"}
"""
#: whatever this machine is: every check of one host has a reason not to matter
WAIVERS = {check: "not what this test is about" for check in preflight.CHECKS if check != "unreachable"}


class Runner:
    """Plays the shipped playbook and a play after it, over connections that stay on this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.report = directory / "reports" / "preflight.json"
        (directory / "play.yml").write_text(AFTER)
        dead = directory / "ssh"
        dead.write_text("#!/bin/sh\necho no route to host >&2\nexit 255\n")
        dead.chmod(0o755)
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        hosts: dict[str, dict[str, Any]] = {
            "one": {**local, "ansible_host": "192.0.2.11"},
            "two": {**local, "ansible_host": "192.0.2.12"},
            "gone": {"ansible_host": "192.0.2.13", "ansible_ssh_executable": str(dead)},
        }
        variables = {
            "ansible_become": False,
            "cluster_load_balancer_mode": "none",
            "os_prep_waivers": WAIVERS,
        }
        inventory = {
            "all": {
                "vars": variables,
                "children": {
                    "control_plane": {"hosts": hosts},
                    "etcd": {"children": {"control_plane": None}},
                    "workers": None,
                },
            }
        }
        (directory / "hosts.yml").write_text(yaml.safe_dump(inventory))

    def __call__(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        given = {"os_prep_report_path": str(self.report), **variables}
        command = ["ansible-playbook", "-i", str(self.directory / "hosts.yml"), str(self.directory / "play.yml")]
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", *command[1:], "-e", json.dumps(given), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.directory,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.directory),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
                "ANSIBLE_NOCOLOR": "1",
            },
        )
        assert "Traceback" not in done.stdout + done.stderr, done
        return done

    def found(self, level: str) -> dict[str, list[str]]:
        """Hosts by check of one level, from the JSON."""
        return {
            entry["check"]: entry["hosts"]
            for entry in json.loads(self.report.read_text())["findings"]
            if entry["level"] == level
        }


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def touched(done: subprocess.CompletedProcess[str]) -> bool:
    return "TASK [Touch]" in done.stdout


def recap(done: subprocess.CompletedProcess[str], host: str) -> dict[str, int]:
    line = next(line for line in done.stdout.partition("PLAY RECAP")[2].splitlines() if line.startswith(f"{host} "))
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}


def test_one_report_and_the_run_goes_on_without_a_host_that_is_waived(run: Runner) -> None:
    done = run(os_prep_waivers={**WAIVERS, "unreachable": "in repair"})
    assert done.returncode == 4, done.stdout + done.stderr
    assert run.found("error") == {}
    assert run.found("waived")["unreachable"] == ["gone"]
    # This machine has two names.
    assert run.found("waived")["duplicate_machine_id"] == ["one", "two"]
    assert "Waived: in repair" in done.stdout
    assert touched(done)
    # The report is no task of a machine: its budget is kept. One for the look, one for the touch.
    assert (recap(done, "two")["ok"], recap(done, "two")["skipped"]) == (2, 0)
    assert (recap(done, "one")["ok"], recap(done, "one")["skipped"]) == (2, 0)


def test_one_hosts_error_ends_the_run_for_all(run: Runner) -> None:
    waivers = {check: reason for check, reason in WAIVERS.items() if check != "cpus"} | {"unreachable": "in repair"}
    done = run(os_prep_requirements={"min_cpus": 10**6}, os_prep_waivers=waivers)
    assert done.returncode != 0, done.stdout + done.stderr
    assert run.found("error") == {"cpus": ["one", "two"]}
    assert "- one, two: cpus: at least 1000000 CPUs are needed; found" in done.stdout + done.stderr
    assert not touched(done)


def test_a_machine_has_to_hold_what_the_kubelet_reserves_on_it(run: Runner) -> None:
    """Nobody has to say so in os_prep_requirements: the kubelet does not start on a smaller one."""
    waivers = {check: reason for check, reason in WAIVERS.items() if check != "memory"} | {"unreachable": "in repair"}
    settings = {"kubeReserved": {"memory": "100Ti"}}
    done = run(os_prep_waivers=waivers, cluster_kubelet_configuration=settings)
    assert done.returncode != 0
    assert run.found("error") == {"memory": ["one", "two"]}, done.stdout + done.stderr
    # 100 TiB, systemReserved and evictionHard, and one for the pods
    assert f"at least {100 * 2**20 + 256 + 1024 + 1} MiB of memory are needed" in done.stdout + done.stderr


def test_a_remembered_disk_is_judged_by_the_limits_that_the_inventory_has_now(run: Runner) -> None:
    """It passed a gate of 50 ms; which disk it is does not matter here, nothing of it is remembered."""
    entry = {
        "at": time.time(),
        "verdict": "pass",
        "p99_ns": 20_000_000,
        "reasons": [],
        "parameters": {"gate_ns": 50_000_000},
    }
    (run.directory / "disk-qualification.json").write_text(json.dumps({"schema": 1, "results": {"/srv/etcd": entry}}))
    waivers = {name: reason for name, reason in WAIVERS.items() if name != "disk_qualification"} | {
        "unreachable": "off"
    }
    variables = {
        "cluster_state_dir": str(run.directory),
        "etcd_data_directory": "/srv/etcd",
        "os_prep_waivers": waivers,
    }
    done = run(**variables)
    assert run.found("error") == {"disk_qualification": ["one", "two"]}, done.stdout
    assert "a p99 of 20 ms is not below 10 ms" in done.stdout
    assert not touched(done)
    done = run(**variables, disk_qualification_max_p99_ms=25)
    assert run.found("error") == {}, done.stdout


def test_mirrors_of_the_runtime_have_to_be_reachable(run: Runner) -> None:
    waivers = {name: reason for name, reason in WAIVERS.items() if name != "endpoint"} | {"unreachable": "off"}
    mirrors = {"docker.io": ["http://127.0.0.1:1/v2"], "quay.io": ["http://127.0.0.1:1/v2"]}
    done = run(os_prep_waivers=waivers, container_runtime_registry_mirrors=mirrors)
    assert run.found("error") == {"endpoint": ["one", "two"]}, done.stdout
    # Once, though it stands in for two.
    findings = [entry["what"] for entry in json.loads(run.report.read_text())["findings"] if entry["level"] == "error"]
    assert findings == ["the registry mirror 127.0.0.1:1/v2 at http://127.0.0.1:1/v2 has to be reachable"]


def test_a_new_cluster_is_not_begun_without_a_host(run: Runner) -> None:
    done = run()
    assert done.returncode != 0
    assert run.found("error") == {"unreachable": ["gone"]}
    assert not touched(done)


def test_a_limit_does_not_turn_the_judgement_off(run: Runner) -> None:
    """Localhost is not among the hosts then; one of them reports."""
    waivers = {check: reason for check, reason in WAIVERS.items() if check != "cpus"}
    done = run("--limit", "two", os_prep_requirements={"min_cpus": 10**6}, os_prep_waivers=waivers)
    assert done.returncode == 2
    assert run.found("error") == {"cpus": ["two"]}
    assert not touched(done)


def test_when_nobody_answers_there_is_a_report_too(run: Runner) -> None:
    done = run(ansible_connection="ssh", ansible_ssh_executable=str(run.directory / "ssh"))
    assert run.found("error") == {"unreachable": ["gone", "one", "two"]}
    assert done.returncode != 0
    assert not touched(done)


def test_a_host_that_cannot_be_examined_ends_the_run_for_all(run: Runner) -> None:
    waivers = {check: reason for check, reason in WAIVERS.items() if check != "not_examined"}
    done = run(ansible_python_interpreter="/no/such/python", os_prep_waivers=waivers | {"unreachable": "not this test"})
    assert done.returncode != 0
    assert run.found("error") == {"not_examined": ["one", "two"]}
    assert not touched(done)


def test_in_a_play_of_ones_own_machine_info_still_refuses(run: Runner) -> None:
    (run.directory / "play.yml").write_text(
        """---
- hosts: one
  gather_facts: false
  tasks:
    - bare_metal.kubernetes.machine_info:
        requirements: {min_cpus: 1000000, min_kernel: "1.0"}
        waivers: {cpus: "{{ reason }}"}
      register: answer
    - ansible.builtin.debug: {msg: "{{ answer.clock.received >= answer.clock.sent }}"}
"""
    )
    refused = run(reason="")
    assert refused.returncode == 2
    assert "cpus: at least 1000000 CPUs are needed" in refused.stdout + refused.stderr
    waived = run(reason="a test")
    assert waived.returncode == 0, waived.stdout + waived.stderr
    assert "waived (a test): cpus" in waived.stdout + waived.stderr
    assert '"msg": true' in waived.stdout
