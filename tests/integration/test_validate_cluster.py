"""validate_cluster through ansible-playbook: real inventories, real templates, and no connection to anybody."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

# A connection that leaves a mark when it is opened, or only asked to run something.

PLAY = """
- name: Judge the inventory
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Refuse what cannot work
      bare_metal.kubernetes.validate_cluster:
"""

Judge = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def judge(
    tripwire: Callable[[Path, Path], None],
    run: Callable[..., subprocess.CompletedProcess[str]],
    root: Path,
    tmp_path: Path,
) -> Judge:
    """Run validate_cluster on an inventory (a path, or the content of hosts.yml) over the connection that must not be opened."""
    plugins, mark, play = tmp_path / "connection", tmp_path / "opened", tmp_path / "play.yml"
    plugins.mkdir()
    tripwire(plugins, mark)
    play.write_text(PLAY)

    def judger(
        inventory: Path | dict[str, Any], *arguments: str, connection: str = "tripwire", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        if isinstance(inventory, dict):
            (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
            inventory = tmp_path / "hosts.yml"
        argv = [
            "ansible-playbook",
            "-i",
            str(inventory),
            "-e",
            f"ansible_connection={connection}",
            *arguments,
            str(play),
        ]
        env = {"ANSIBLE_CONNECTION_PLUGINS": str(plugins), "ANSIBLE_CONFIG": str(root / "ansible.cfg")}
        done = run(*argv, env=env, check=False, **options)
        if connection == "tripwire":
            assert not mark.exists(), "a connection was opened"
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return judger


def hosts(**variables: Any) -> dict[str, Any]:
    """Three servers that are everything, with variables for all."""
    servers = {f"server{number}": {"ansible_host": f"192.0.2.{10 + number}"} for number in (1, 2, 3)}
    return {
        "all": {
            "vars": variables,
            "children": {
                "control_plane": {"hosts": servers, "vars": {"cluster_node_taints": []}},
                "etcd": {"children": {"control_plane": None}},
                "workers": None,
            },
        }
    }


def test_the_tripwire_works(
    tripwire: Callable[[Path, Path], None], run: Callable[..., Any], root: Path, tmp_path: Path
) -> None:
    """A module that needs a connection trips it: so its silence elsewhere means something."""
    tripwire(tmp_path, tmp_path / "opened")
    argv = [
        "ansible",
        "localhost",
        "-i",
        "localhost,",
        "-m",
        "ansible.builtin.ping",
        "-e",
        "ansible_connection=tripwire",
    ]
    done = run(
        *argv,
        env={"ANSIBLE_CONNECTION_PLUGINS": str(tmp_path), "ANSIBLE_CONFIG": str(root / "ansible.cfg")},
        check=False,
    )
    assert done.returncode != 0
    assert (tmp_path / "opened").exists()


@pytest.mark.parametrize("name", ["lab", "minimal", "high_density"])
def test_shipped_inventories_are_valid(judge: Judge, root: Path, name: str) -> None:
    done = judge(root / "inventories" / name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr


@pytest.mark.parametrize("shipped", ["minimal", "high_density"])
def test_the_preflight_playbook_judges_first(
    tripwire: Callable[[Path, Path], None], run: Callable[..., Any], root: Path, tmp_path: Path, shipped: str
) -> None:
    """In the shipped playbook a wrong inventory stops before the first host is contacted."""
    mark = tmp_path / "opened"
    tripwire(tmp_path, mark)
    env = {"ANSIBLE_CONNECTION_PLUGINS": str(tmp_path), "ANSIBLE_CONFIG": str(root / "ansible.cfg")}
    wrong = ["-e", "ansible_connection=tripwire", "-e", "cluster_name=Not_A_Label"]
    done = run(
        "ansible-playbook",
        "-i",
        root / "inventories" / shipped,
        "bare_metal.kubernetes.site",
        *wrong,
        env=env,
        check=False,
    )
    assert done.returncode == 2
    assert "The inventory cannot work" in done.stdout + done.stderr
    assert not mark.exists()


def test_an_inventory_without_groups_is_refused_by_the_shipped_playbook(run: Callable[..., Any], root: Path) -> None:
    """`hosts: control_plane` would match nothing and pass."""
    done = run(
        "ansible-playbook",
        "-i",
        "localhost,",
        "bare_metal.kubernetes.preflight",
        env={"ANSIBLE_CONFIG": str(root / "ansible.cfg")},
        check=False,
    )
    assert done.returncode == 2
    assert "group control_plane" in done.stdout + done.stderr


def test_all_errors_at_once_with_their_places(judge: Judge, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts()))
    (inventory / "group_vars" / "control_plane.yml").write_text(
        "---\n# a comment\ncluster_pods_per_node: lots\ncluster_kubernetes_version: 1.30\ncluster_node_taint: []\n"
        "cluster_domain: '{{ company }}.local'\netcd_data_dir: /x\n"
    )
    done = judge(inventory)
    text = done.stdout + done.stderr
    assert done.returncode == 2
    assert "The inventory cannot work: 5 errors. Nothing was changed, no host was contacted." in text
    for words in (
        "control_plane.yml:3",
        "cluster_pods_per_node = 'lots'",
        "YAML reads 1.30 as the number 1.3",
        "did you mean cluster_node_taints?",
        "cannot be evaluated: 'company' is undefined",
        "did you mean etcd_data_directory?",
        "all 3 hosts of the group",
    ):
        assert words in text, words
    assert "\x1b" not in text


def test_traps_of_yaml_and_late_refusals_come_first(judge: Judge, tmp_path: Path) -> None:
    """As files say it, through Ansible's own YAML: each of these went wrong on a host, or nowhere."""
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts()))
    (inventory / "group_vars" / "all.yml").write_text(
        """---
cluster_rack: NO
cluster_domain:
calico_nat_outgoing: "false"
calico_typha_replicas: 3
cluster_kubelet_configuration: {podPidsLimit: "4096", maxpods: 110}
control_plane_apiserver_extra_args: {feature-gates: "CPUManager=true", --v: 4}
cluster_kernel_parameters:
  net.ipv4.conf.*.rp_filter: 1
  vm.swappiness: {exactly: 10, optional: true}
  vm.max_map_count:
"""
    )
    done = judge(inventory)
    text = done.stdout + done.stderr
    assert done.returncode == 2
    assert "The inventory cannot work: 9 errors." in text
    for words in (
        "cluster_rack = false",
        "cluster_domain = null",
        "without quotes",
        "whose image the release set stable does not have",
        "cluster_kubelet_configuration.podPidsLimit = '4096'",
        "did you mean maxPods?",
        "the feature gate CPUManager",
        "is not the name of a flag of kube-apiserver",
        "is a pattern; each parameter is set",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    "value",
    [
        "{{ cluster_name }}",  # refers to itself
        "{{ 1 / 0 }}",
        "{{ nope.nope }}",
        "{{ 'a' * 100000 }}",
        "{% if %}",
        "{{ lookup('nothing') }}",
        "{{ [1, 2] | nosuchfilter }}",
        "{{ range(100000) | list }}",
        "{{ 10 ** 5000 }}",
        "\u202e\x1b[31m",
    ],
)
def test_hostile_values_are_findings(judge: Judge, value: str) -> None:
    done = judge(hosts(cluster_name=value))
    text = done.stdout + done.stderr
    assert done.returncode == 2, text
    assert "cluster_name" in text
    assert "The inventory cannot work" in text


def test_unfolding_aliases_are_refused(judge: Judge, tmp_path: Path) -> None:
    """Nine levels of ten references each unfold to a thousand million parts."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts()))
    (inventory / "group_vars" / "all.yml").write_text(
        "\n".join(["---", "a0: &a0 x", *levels, "cluster_pod_cidrs: *a9", ""])
    )
    done = judge(inventory, timeout=60)
    assert done.returncode == 2
    assert "it unfolds to more than" in done.stdout + done.stderr


def test_secrets_do_not_appear(judge: Judge, run: Callable[..., Any], tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("vault")
    vaulted = run(
        "ansible-vault",
        "encrypt_string",
        "--vault-password-file",
        password,
        "Canary_In_A_Vault",
        "--name",
        "cluster_name",
    ).stdout
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text(
        yaml.safe_dump(hosts(cluster_bundle_mirror_url="http://me:canary-in-a-url@mirror.example.org/"))
    )
    (inventory / "group_vars" / "all.yml").write_text(f"---\n{vaulted}")
    done = judge(inventory, "--vault-password-file", str(password), "-vvv")
    text = done.stdout + done.stderr
    assert done.returncode == 2
    assert "cluster_name" in text
    assert "cluster_bundle_mirror_url" in text
    assert "canary" not in text.lower()


def test_machines_can_read_the_result(judge: Judge) -> None:
    done = judge(hosts(cluster_pods_per_node=0))
    line = next(line for line in done.stdout.splitlines() if line.startswith("fatal: [localhost]"))
    result = json.loads(line.partition("=> ")[2])
    (problem,) = [problem for problem in result["problems"] if problem["level"] == "error"]
    assert problem["variable"] == "cluster_pods_per_node"
    assert problem["rule"] == "fits_declaration"
    assert problem["hosts"] == ["server1", "server2", "server3"]


def test_a_large_inventory_takes_seconds_not_minutes(judge: Judge, tmp_path: Path) -> None:
    """500 hosts; the limit is far above what it takes, and far below what a square would."""
    # Routers, because a mesh of so many nodes is refused.
    peers = [{"address": "203.0.113.1", "as_number": 64601}]
    many = hosts(cluster_pod_cidrs=["10.128.0.0/9"], cluster_bgp_peers=peers)
    many["all"]["children"]["workers"] = {
        "hosts": {f"worker{n}": {"ansible_host": f"198.18.{n // 250}.{n % 250 + 1}"} for n in range(500)}
    }
    done = judge(many, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


# The ingredients of 500 pods a node that an inventory can take away; those that only a machine shows are in lab/test_s_density.py.
MISSING = {
    "a /25 for each node": (
        {"cluster_network_plugin": "none", "control_plane_controller_manager_extra_args": {"node-cidr-mask-size": 25}},
        ["a node's /25 has 125 addresses for pods, 500 pods need 500"],
    ),
    "eight blocks of 64 addresses in all": (
        {"cluster_pod_cidrs": ["10.244.0.0/23"], "cluster_calico_block_size": 26},
        ["10.244.0.0/23 has 8 blocks of /26; 5 nodes (5 x 500 pods) need 40"],
    ),
    "process numbers": (
        {"cluster_kernel_parameters": {"kernel.pid_max": 65536}},
        ["500 pods x 2000 process numbers + 32768 of the system are 1032768, kernel.pid_max is 65536"],
    ),
    "places": (
        {"cluster_kubelet_configuration": {"maxPods": 110}},
        ["contradicts cluster_pods_per_node = 500"],
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_500_pods_with_one_ingredient_missing_are_refused_by_its_name(judge: Judge, root: Path, name: str) -> None:
    variables, words = MISSING[name]
    said = json.dumps({"cluster_pods_per_node": 500, **variables})
    done = judge(root / "inventories" / "lab", "-e", said)
    assert done.returncode != 0
    assert all(word in done.stdout for word in words), done.stdout
