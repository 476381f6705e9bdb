"""What of other hosts' variables is kept for the rest of a run, and what is evaluated each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import others

INVENTORY = """
all:
  vars:
    network: "10.0"
    cluster_node_ip: "{{ network }}.{{ number }}.1"
    cluster_rack: "{{ ansible_facts.rack | default('unknown') }}"
    cluster_bgp_peers: "{{ dict(['10.0.0.254'] | zip([64512])) | dict2items(key_name='address', value_name='as_number') }}"
    cluster_pods_per_node: 250
  hosts:
    a: {number: 1}
    b: {number: 2, cluster_node_second_ip: "fd00::2"}
"""
Make = Callable[[], HostVars]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Ansible's own ``hostvars`` of the inventory above, and a temporary folder of the run."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(folder))
    (tmp_path / "hosts.yml").write_text(INVENTORY)

    def maker() -> HostVars:
        loader = DataLoader()
        inventory = InventoryManager(loader=loader, sources=[str(tmp_path / "hosts.yml")])
        return HostVars(inventory, VariableManager(loader=loader, inventory=inventory), loader)

    return maker


def kept(tmp_path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((tmp_path / "run" / others.FILE).read_text())
    return found


def test_values_are_those_of_hostvars_and_absent_names_stay_absent(make: Make) -> None:
    found = others.known(["b", "a"], make(), ("cluster_node_ip", "cluster_node_second_ip", "cluster_bgp_peers"))
    peers = [{"address": "10.0.0.254", "as_number": 64512}]
    assert found == {
        "b": {"cluster_node_ip": "10.0.2.1", "cluster_node_second_ip": "fd00::2", "cluster_bgp_peers": peers},
        "a": {"cluster_node_ip": "10.0.1.1", "cluster_bgp_peers": peers},
    }
    assert list(found) == ["b", "a"]


def test_what_was_evaluated_once_is_not_evaluated_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("cluster_node_ip", "cluster_node_second_ip", "cluster_pods_per_node")
    first = others.known(["a", "b"], make(), asked)
    hostvars = make()
    monkeypatch.setattr(HostVars, "raw_get", lambda self, host: pytest.fail("variables were put together again"))
    assert others.known(["a", "b"], hostvars, asked) == first


def test_what_a_fact_may_change_is_not_kept(make: Make, tmp_path: Path) -> None:
    hostvars = make()
    assert others.known(["a"], hostvars, ("cluster_rack", "cluster_pods_per_node"))["a"]["cluster_rack"] == "unknown"
    assert kept(tmp_path)["a"] == {"cluster_pods_per_node": [250]}
    hostvars._variable_manager.set_host_facts("a", {"rack": "rack7"})
    assert others.known(["a"], hostvars, ("cluster_rack",))["a"]["cluster_rack"] == "rack7"


def test_names_with_secrets_are_not_for_it(make: Make) -> None:
    with pytest.raises(KeyError, match="cluster_bgp_passwords"):
        others.known(["a"], make(), ("cluster_bgp_passwords",))


def test_a_file_that_cannot_be_read_or_written_costs_time_only(make: Make, tmp_path: Path) -> None:
    (tmp_path / "run" / others.FILE).write_text("{broken")
    assert others.known(["a"], make(), ("cluster_node_ip",)) == {"a": {"cluster_node_ip": "10.0.1.1"}}
    (tmp_path / "run" / others.FILE).unlink()
    (tmp_path / "run").rmdir()
    assert others.known(["a"], make(), ("cluster_node_ip",)) == {"a": {"cluster_node_ip": "10.0.1.1"}}


def test_plain_mappings_are_read_as_they_are() -> None:
    hostvars = {"a": {"cluster_rack": "r1", "cluster_pods_per_node": 5}}
    assert others.known(["a"], hostvars, ("cluster_rack", "ansible_host")) == {"a": {"cluster_rack": "r1"}}


@pytest.mark.parametrize(
    ("value", "steady"),
    [
        ("10.0.0.1", True),
        ("{{ base }}.1", True),
        ("{{ base | bare_metal.kubernetes.unheard_of }}", True),
        ([{"address": "{{ base }}.254"}], True),
        ("{% set x = base %}{{ x }}", True),
        ("{{ groups['all'] | length }}{{ inventory_hostname }}", True),
        ("{{ dict([[1, 2]]) | dict2items }}", True),
        ("{{ through }}", False),
        ("{{ ansible_facts.x | default(1) }}", False),
        ("{{ ansible_default_ipv4.address }}", False),
        ("{{ registered.stdout | default('x') }}", False),
        ("{{ lookup('ansible.builtin.env', 'HOME') }}", False),
        ("{{ hostvars['a'].x }}", False),
        ("{{ now() }}", False),
        ("{{ [1, 2] | random }}", False),
        ("{{ broken", False),
    ],
)
def test_what_follows_from_the_inventory_alone(value: Any, steady: bool) -> None:
    raw = {"asked": value, "base": "10.0.0", "through": "{{ ansible_facts.x }}", "ansible_facts": {}}
    raw |= {"ansible_default_ipv4": {"address": "10.0.0.1"}, "groups": {}}
    assert others.is_steady("asked", raw) is steady
