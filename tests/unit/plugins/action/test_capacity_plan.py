"""What the action capacity_plan does around the pure core."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.action import capacity_plan
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.check_run import CheckRunError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import ClusterInput, Host, View

ROOT = Path(__file__).resolve().parents[4]


class HostVars:
    """As much of Ansible's as is used."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def raw_get(self, host: str) -> dict[str, Any]:
        return {} if host not in self.facts else {"ansible_facts": self.facts[host]}


def test_only_what_preflight_measured_is_measured() -> None:
    facts = {"a": {"bare_metal_machine": {"cpus": 4, "memory_mib": 8}}, "b": {"bare_metal_machine": "x"}, "c": None}
    found = capacity_plan.measured(HostVars(facts), ["a", "b", "c", "d"])
    assert found == {"a": {"cpus": 4, "memory_mib": 8}}


def test_variables_of_the_playbook_are_those_of_the_action() -> None:
    (play,) = yaml.safe_load((ROOT / "playbooks" / "plan.yml").read_text(encoding="utf-8"))
    (task,) = play["tasks"]
    arguments = task["bare_metal.kubernetes.capacity_plan"]
    assert set(arguments) == set(capacity_plan.ARGUMENTS)
    assert all(f"capacity_plan_{name} " in value for name, value in arguments.items())
    assert play["hosts"] == "localhost"


@pytest.mark.parametrize(
    ("name", "words"), [("capacity_plan_htm_path", "did you mean capacity_plan_html_path"), ("capacity_plan_zzz", "there are")]
)  # fmt: skip
def test_a_misspelt_variable_is_refused(name: str, words: str) -> None:
    capacity_plan.refuse_unknown(["cluster_name", *capacity_plan.VARIABLES])
    with pytest.raises(AnsibleActionFail, match=f"{name} is not a variable of the playbook plan; {words}"):
        capacity_plan.refuse_unknown([name])


def view() -> View:
    host = Host("a", {"cluster_node_ip": "192.0.2.1"})
    return View(ClusterInput((host,), {"control_plane": ["a"], "etcd": ["a"], "all": ["a"]}, {}))


def arguments(**values: Any) -> dict[str, Any]:
    return {**{name: option["default"] for name, option in capacity_plan.ARGUMENTS.items()}, **values}


def test_the_sizes_come_together() -> None:
    given = arguments(machines={"a": {"cpus": 2, "memory_mib": 4096}}, assumed_machine={"cpus": 3, "memory_mib": 5000})
    (row,) = capacity_plan.make(view(), given, {})["pools"][0]["machines"]
    assert (row["cpus"], row["basis"]) == (2, "given")
    (row,) = capacity_plan.make(view(), arguments(assumed_machine=given["assumed_machine"]), {})["pools"][0]["machines"]
    assert (row["cpus"], row["memory_mib"], row["basis"]) == (3, 5000, "assumed")
    (row,) = capacity_plan.make(view(), given, {"a": {"cpus": 9, "memory_mib": 9000}})["pools"][0]["machines"]
    assert (row["cpus"], row["basis"]) == (9, "measured")


def test_wanted_pods_come_to_the_plan() -> None:
    made = capacity_plan.make(view(), arguments(wanted_pods=10**6), {})
    assert any(warning.startswith("1000000 pods are wanted") for warning in made["warnings"])
    assert not any("wanted" in warning for warning in capacity_plan.make(view(), arguments(), {})["warnings"])


def test_files_are_written_whole_and_only_when_asked_for(tmp_path: Path) -> None:
    made = capacity_plan.make(view(), arguments(), {})
    capacity_plan.write(made, arguments())
    assert list(tmp_path.iterdir()) == []
    paths = arguments(json_path=str(tmp_path / "new" / "plan.json"), html_path=str(tmp_path / "plan.html"))
    capacity_plan.write(made, paths)
    assert json.loads((tmp_path / "new" / "plan.json").read_text(encoding="utf-8")) == made
    assert (tmp_path / "plan.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_output_of_another_run_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "site.txt"
    path.write_bytes(b"TASK [x] *****\n\xff\nPLAY RECAP ****\n")
    with pytest.raises(CheckRunError, match=r"site.txt 'TASK \[x\]' has no mark"):
        capacity_plan.make(view(), arguments(site_check_path=str(path)), {})
