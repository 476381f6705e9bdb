"""Which runs add_workers refuses before it contacts anybody."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

HOSTS = {
    "all": {
        "children": {
            "control_plane": {
                "hosts": {f"server{number}": {"ansible_host": f"192.0.2.{number}"} for number in (1, 2, 3)}
            },
            "etcd": {"children": {"control_plane": None}, "hosts": {"store1": {"ansible_host": "192.0.2.21"}}},
            "workers": {"hosts": {"worker1": {"ansible_host": "192.0.2.31"}, "server3": None}},
            "others": {"hosts": {"elsewhere": {"ansible_host": "192.0.2.99"}}},
        }
    }
}

Add = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def add(
    tripwire: Callable[[Path, Path], None],
    run: Callable[..., subprocess.CompletedProcess[str]],
    root: Path,
    tmp_path: Path,
) -> Add:
    """Run add_workers over a connection that must not be opened."""
    plugins, mark = tmp_path / "connection", tmp_path / "opened"
    plugins.mkdir()
    tripwire(plugins, mark)

    def adder(*arguments: str, hosts: object = None) -> subprocess.CompletedProcess[str]:
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(yaml.safe_dump(hosts or HOSTS))
        argv = ["ansible-playbook", "bare_metal.kubernetes.add_workers", "-i", str(inventory), *arguments]
        env = {"ANSIBLE_CONNECTION_PLUGINS": str(plugins), "ANSIBLE_CONFIG": str(root / "ansible.cfg")}
        done = run(*argv, "-e", "ansible_connection=tripwire", env=env, check=False)
        assert not mark.exists(), "a connection was opened"
        assert done.returncode != 0
        return done

    return adder


@pytest.mark.parametrize(
    ("limit", "named"),
    [
        ("server1", "server1"),
        ("worker1,server2", "server2"),
        ("server3", "server3"),
        ("store1", "store1"),
        ("elsewhere,worker1", "elsewhere"),
        ("all", "elsewhere, server1, server2, server3, store1"),
    ],
)
def test_who_is_no_mere_worker_is_refused_by_name(add: Add, limit: str, named: str) -> None:
    said = add("--limit", limit).stdout
    assert f"The limit names {named}, which join by the playbook site" in " ".join(said.split())


def test_without_a_limit_nobody_is_guessed(add: Add) -> None:
    assert "No limit was given" in add().stdout


def test_the_inventory_is_judged_although_localhost_is_not_in_the_limit(add: Add) -> None:
    hosts = {**HOSTS, "all": {**HOSTS["all"], "vars": {"cluster_pods_per_node": 5000}}}
    assert "cluster_pods_per_node" in add("--limit", "worker1", hosts=hosts).stdout
