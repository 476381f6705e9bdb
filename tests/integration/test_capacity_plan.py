"""The playbook plan through ansible-playbook: shipped inventories and known numbers, and no connection to anybody."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

PLAN = "bare_metal.kubernetes.plan"
Planner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def planner(tripwire: Callable[[Path, Path], None], run: Callable[..., Any], root: Path, tmp_path: Path) -> Planner:
    """Run playbooks on an inventory over a connection that must not be opened."""
    plugins, mark = tmp_path / "connection", tmp_path / "opened"
    plugins.mkdir()
    tripwire(plugins, mark)

    def plan(inventory: Path, *arguments: str, playbooks: tuple[str | Path, ...] = (PLAN,)) -> Any:
        argv = ["ansible-playbook", "-i", inventory, *playbooks, "-e", "ansible_connection=tripwire", *arguments]
        env = {"ANSIBLE_CONNECTION_PLUGINS": str(plugins), "ANSIBLE_CONFIG": str(root / "ansible.cfg")}
        done = run(*argv, env=env, check=False)
        assert not mark.exists(), "a connection was opened"
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return plan


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (
            "minimal",
            {
                "nodes": 3, "pods": 330, "workload": 3 * (110 - 7), "blocks": {"control_plane": 4}, "largest": 256, "of_the_densest": 256,
                "etcd": "small", "inflight": "400", "rate": "20", "addresses": 11, "after_node": 206, "after_rack": None, "prometheus": 924,
            },
        ),
        (
            "lab",
            {
                "nodes": 5, "pods": 550, "workload": 2 * (110 - 3), "blocks": {"control_plane": 4, "workers": 4}, "largest": 256, "of_the_densest": 256,
                "etcd": "small", "inflight": "400", "rate": "20", "addresses": 254, "after_node": 107, "after_rack": 107, "prometheus": 1540,
            },
        ),
        (
            "high_density",
            {
                "nodes": 7, "pods": 2120, "workload": 4 * (500 - 3), "blocks": {"control_plane": 1, "dense": 4}, "largest": 258, "of_the_densest": 256,
                "etcd": "medium", "inflight": "400", "rate": "100", "addresses": 254, "after_node": 1491, "after_rack": 994, "prometheus": 5936,
            },
        ),
    ],
)  # fmt: skip
def test_plans_of_the_shipped_inventories(
    planner: Planner, root: Path, tmp_path: Path, name: str, known: dict[str, Any]
) -> None:
    json_path, html_path = tmp_path / "plan.json", tmp_path / "plan.html"
    done = planner(
        root / "inventories" / name,
        "-e",
        f"capacity_plan_json_path={json_path}",
        "-e",
        f"capacity_plan_html_path={html_path}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{known['nodes']} nodes" in done.stdout
    assert "changed=0" in done.stdout
    plan = json.loads(json_path.read_text(encoding="utf-8"))
    flags = {(row["component"], row["flag"]): row["value"] for row in plan["control_plane"]["flags"]}
    (loss,) = plan["survival"]
    assert {
        "nodes": plan["cluster"]["nodes"],
        "pods": plan["cluster"]["pods"],
        "workload": plan["cluster"]["workload_pods"],
        "blocks": {pool["name"]: pool["addresses"]["blocks"] for pool in plan["pools"]},
        "largest": plan["addresses"]["largest_cluster_nodes"],
        "of_the_densest": plan["addresses"]["largest_of_the_densest"],
        "etcd": plan["etcd"]["class"]["name"],
        "inflight": flags["kube-apiserver", "max-requests-inflight"],
        "rate": flags["kube-controller-manager", "kube-api-qps"],
        "addresses": plan["addresses"]["load_balancer"]["usable"],
        "after_node": loss["after_node"],
        "after_rack": loss["after_rack"],
        "prometheus": next(row["memory_mb"] for row in plan["controllers"] if row["name"] == "Prometheus"),
    } == known
    members = [(row["heartbeat_ms"], row["election_ms"], row["quota_gib"]) for row in plan["etcd"]["members"]]
    assert members == [(100, 1000, 8.0)] * 3
    assert all(row["basis"] == "assumed" for pool in plan["pools"] for row in pool["machines"])
    assert html_path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_kubelet_settings_of_the_inventory_are_in_the_plan(planner: Planner, root: Path, tmp_path: Path) -> None:
    """The lab changes eviction: what the plan shows is what the kubelet gets."""
    path = tmp_path / "plan.json"
    assert planner(root / "inventories" / "lab", "-e", f"capacity_plan_json_path={path}").returncode == 0
    settings = json.loads(path.read_text(encoding="utf-8"))["pools"][0]["machines"][0]["kubelet"]
    assert settings["eviction_hard"]["memory.available"] == "100Mi"
    assert settings["eviction_hard"]["nodefs.available"] == "2%"


def test_a_wrong_inventory_gets_validates_report_and_no_plan(planner: Planner, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    done = planner(
        root / "inventories" / "minimal", "-e", f"capacity_plan_json_path={path}", "-e", "cluster_pods_per_node=lots"
    )
    text = done.stdout + done.stderr
    assert done.returncode == 2
    assert "The inventory cannot work: 1 error" in text
    assert "cluster_pods_per_node = 'lots'" in text
    assert "maxPods" not in text
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["capacity_plan_json=x"], "did you mean capacity_plan_json_path?"),
        (['{"capacity_plan_machines": {"server9": {"cpus": 1, "memory_mib": 1}}}'], "did you mean server"),
        (['{"capacity_plan_assumed_machine": {"cpus": 1}}'], "assumed_machine: write {cpus: <number>, memory_mib: <number>}"),
        (["capacity_plan_site_check_path=/nonexistent/site.txt"], "No such file"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_in_one_sentence(
    planner: Planner, root: Path, arguments: list[str], words: str
) -> None:
    done = planner(root / "inventories" / "minimal", "-e", *arguments)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr


def test_machines_measured_in_the_same_command_count(planner: Planner, root: Path, tmp_path: Path) -> None:
    """As preflight leaves them: a fact of each host, kept from one playbook of a command to the next."""
    facts, path = tmp_path / "facts.yml", tmp_path / "plan.json"
    play = {
        "name": "Leave what preflight leaves",
        "hosts": "server1",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Leave a fact",
                "ansible.builtin.set_fact": {
                    "bare_metal_machine": {"cpus": 64, "memory_mib": 524288},
                    "cacheable": True,
                },
            }
        ],
    }
    facts.write_text(yaml.safe_dump([play]))
    sizes = {"server2": {"cpus": 8, "memory_mib": 32768}, "server1": {"cpus": 1, "memory_mib": 1024}}
    done = planner(
        root / "inventories" / "minimal",
        "-e",
        f"capacity_plan_json_path={path}",
        "-e",
        json.dumps({"capacity_plan_machines": sizes}),
        playbooks=(facts, PLAN),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (pool,) = json.loads(path.read_text(encoding="utf-8"))["pools"]
    found = {row["hosts"][0]: (row["cpus"], row["memory_mib"], row["basis"]) for row in pool["machines"]}
    assert found == {
        "server1": (64, 524288, "measured"),
        "server2": (8, 32768, "given"),
        "server3": (16, 65536, "assumed"),
    }


def test_what_a_check_run_printed_is_part_of_the_plan(
    planner: Planner, run: Callable[..., Any], root: Path, tmp_path: Path
) -> None:
    """The output of this Ansible itself, of tasks that change something, change nothing and run elsewhere."""
    copy = {"content": "x", "dest": str(tmp_path / "would"), "mode": "0644"}
    play = {
        "name": "Check",
        "hosts": "server1:server2",
        "connection": "local",
        "gather_facts": False,
        "tasks": [
            {"name": "Would change", "ansible.builtin.copy": copy, "when": "inventory_hostname == 'server1'"},
            {"name": "Elsewhere", "ansible.builtin.copy": copy, "delegate_to": "server3", "run_once": True},
            {"name": "Nothing", "ansible.builtin.debug": {"msg": "x"}},
        ],
    }
    (tmp_path / "site.yml").write_text(yaml.safe_dump([play]))
    env = {"ANSIBLE_CONFIG": str(root / "ansible.cfg")}
    inventory = root / "inventories" / "minimal"
    argv = ["ansible-playbook", "-i", inventory, tmp_path / "site.yml", "--check", "--diff", "-e", "ansible_connection=local"]  # fmt: skip
    marked = run(*argv, env={**env, "ANSIBLE_CHECK_MODE_MARKERS": "true"}).stdout
    assert not (tmp_path / "would").exists()
    output, path = tmp_path / "site.txt", tmp_path / "plan.json"
    output.write_text(marked)
    arguments = ["-e", f"capacity_plan_site_check_path={output}", "-e", f"capacity_plan_json_path={path}"]
    done = planner(root / "inventories" / "minimal", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    hosts = json.loads(path.read_text(encoding="utf-8"))["site_changes"]["hosts"]
    assert hosts["server1"]["changed"] == 2
    assert hosts["server1"]["tasks"] == ["Would change", "Elsewhere (on server3)"]
    assert hosts["server2"] == {"changed": 0, "failed": False, "unreachable": False, "tasks": []}
    assert "server1: 2 tasks would change something" in done.stdout
    output.write_text(run(*argv, env=env).stdout)
    refused = planner(root / "inventories" / "minimal", *arguments)
    assert refused.returncode == 2
    assert "has no mark of check mode" in refused.stdout + refused.stderr


def test_check_mode_plans_all_the_same(planner: Planner, root: Path, tmp_path: Path) -> None:
    """`plan site --check` is the one command for both: the plan is whole in it."""
    path = tmp_path / "plan.html"
    done = planner(root / "inventories" / "minimal", "--check", "--diff", "-e", f"capacity_plan_html_path={path}")
    assert done.returncode == 0
    assert path.is_file()
