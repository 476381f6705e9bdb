"""How validate_cluster reads an inventory: every host once, role defaults never, memory and time in proportion to the hosts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.bare_metal.kubernetes.plugins.action import validate_cluster
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import ClusterInput

Read = Callable[..., ClusterInput]


@pytest.fixture
def inventory(tmp_path: Path) -> Callable[..., validate_cluster.Inventory]:
    """An inventory of three control planes and some workers, with variables for all, and for the first worker."""

    def make(workers: int, everybody: dict[str, Any], **first: Any) -> validate_cluster.Inventory:
        planes = {f"cp{n}": {"ansible_host": f"192.0.2.{n}"} for n in (1, 2, 3)}
        nodes: dict[str, dict[str, Any]] = {f"w{n}": {"ansible_host": f"198.18.0.{n}"} for n in range(1, workers + 1)}
        nodes["w1"] |= first
        content = {
            "all": {
                "vars": everybody,
                "children": {
                    "control_plane": {"hosts": planes},
                    "etcd": {"children": {"control_plane": None}},
                    "workers": {"hosts": nodes},
                },
            }
        }
        path = tmp_path / f"{workers}.yml"
        path.write_text(yaml.safe_dump(content))
        loader = DataLoader()
        hosts = InventoryManager(loader=loader, sources=[str(path)])
        variables = VariableManager(loader=loader, inventory=hosts)
        hostvars = HostVars(inventory=hosts, variable_manager=variables, loader=loader)
        return validate_cluster.Inventory(loader, {"hostvars": hostvars, "groups": hosts.get_groups_dict()})

    return make


def variables_of(given: ClusterInput, name: str) -> dict[str, Any]:
    return dict(next(host for host in given.hosts if host.name == name).variables)


def test_defaults_follow_each_hosts_own_values(inventory: Any) -> None:
    """What is remembered between hosts is remembered by its inputs."""
    given = inventory(3, {}, cluster_api_endpoint_mode="external", cluster_node_ip="{{ ansible_host }}").read()
    assert {name: variables_of(given, name)["cluster_api_endpoint_port"] for name in ("cp1", "w1", "w2")} == {
        "cp1": 7443,
        "w1": 6443,
        "w2": 7443,
    }
    assert [variables_of(given, f"w{n}")["cluster_node_ip"] for n in (1, 2, 3)] == [f"198.18.0.{n}" for n in (1, 2, 3)]
    assert not any({"cluster_api_endpoint_port", "cluster_node_ip"} & set(host.failures) for host in given.hosts)


def test_an_input_that_is_a_template_itself_is_evaluated_for_every_host(inventory: Any) -> None:
    mode = "{{ 'external' if inventory_hostname == 'w2' else 'local' }}"
    given = inventory(3, {"cluster_api_endpoint_mode": mode}).read()
    assert [variables_of(given, f"w{n}")["cluster_api_endpoint_port"] for n in (1, 2, 3)] == [7443, 6443, 7443]


def test_defaults_of_roles_that_follow_from_others_are_not_evaluated(inventory: Any) -> None:
    """They say what cluster_* variables say, and some look at every host."""
    found = variables_of(inventory(2, {}).read(), "w1")
    assert "calico_pods_per_node" not in found
    assert "kubelet_pods_per_node" not in found
    assert found["api_endpoint_vrrp_prefix_length"] == 32
    assert (
        variables_of(inventory(2, {}, kubelet_pods_per_node="{{ 2 * 250 }}").read(), "w1")["kubelet_pods_per_node"]
        == 500
    )


def test_images_of_release_sets(inventory: Any) -> None:
    images = inventory(1, {}).read().images
    assert "calico/typha" in images["built"]
    assert "calico/typha" not in images["stable"]
    assert all({"calico/node", "metallb/controller"} <= names for names in images.values())


def test_the_work_grows_with_the_hosts_not_their_square(inventory: Any) -> None:
    """Counted in calls of Python functions: the hosts that are added cost the same each, the first hundred or the fourth."""
    small, middle, large = (calls(inventory(workers, {})) for workers in (20, 70, 120))
    assert large - middle < 1.2 * (middle - small)


def calls(inventory: validate_cluster.Inventory) -> int:
    count = 0

    def tracer(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(tracer)
    try:
        inventory.read()
    finally:
        sys.setprofile(None)
    return count
