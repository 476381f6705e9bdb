"""What the playbook nodes wires together from several roles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]


def imports(play: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """``{role: its import}`` of a play."""
    return {
        task["ansible.builtin.import_role"]["name"].rpartition(".")[2]: task
        for task in play["tasks"]
        if "ansible.builtin.import_role" in task
    }


def test_the_kubelets_binaries_come_with_the_runtimes_in_one_call() -> None:
    """A call less for every node; the role kubelet fetches the same ones where it is used alone."""
    plays = yaml.safe_load((ROOT / "playbooks" / "nodes.yml").read_text(encoding="utf-8"))
    of_nodes = imports(next(play for play in plays if play["hosts"] == "control_plane:workers"))
    kubelet = yaml.safe_load((ROOT / "roles/kubelet/vars/main.yml").read_text(encoding="utf-8"))
    runtime = of_nodes["container_runtime"]
    assert runtime["vars"]["container_runtime_more_binaries"] == kubelet["__kubelet_binaries"]
    assert of_nodes["kubelet"]["ansible.builtin.import_role"]["tasks_from"] == "configure"
    # `--tags kubelet` brings its binaries too.
    assert "kubelet" in runtime["tags"]


def test_the_firewall_is_up_before_anything_listens() -> None:
    """On every host of the cluster, those with etcd alone too."""
    plays = yaml.safe_load((ROOT / "playbooks" / "nodes.yml").read_text(encoding="utf-8"))
    assert plays[0]["hosts"] == "control_plane:etcd:workers"
    order = list(imports(plays[0]))
    assert order.index("os_prep") < order.index("node_firewall")  # it installs nft
