"""What containerd is told about proxies: the role's own variables and templates, evaluated by Ansible, for hosts that nobody contacts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_reset

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/container_runtime"
FACTS = {
    "environment": "{{ lookup('ansible.builtin.template', env_template) if __container_runtime_proxied else '' }}",
    "files": "{{ __container_runtime_proxy_files if __container_runtime_proxied else [] }}",
    "absent": "{{ [] if __container_runtime_proxied else __container_runtime_proxy_paths }}",
}


def told(tmp_path: Path, **given: Any) -> dict[str, dict[str, Any]]:
    """What each of two nodes would be told: ``{host: {environment, files, absent}}``."""
    play = {
        "name": "Evaluate",
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [str(ROOT / "roles/cluster/defaults/main.yml"), str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml"), "given.yml"],
        "vars": {"env_template": str(ROLE / "templates/etc/containerd/proxy.env.j2")},
        "tasks": [
            {
                "name": "Write what the templates say",
                "ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}.json", "mode": "0600"},
                "vars": {"found": FACTS},
                "delegate_to": "localhost",
            }
        ],
    }  # fmt: skip
    hosts = {
        "control_plane": {"hosts": {"cp1": {"ansible_host": "10.77.1.11"}}},
        "workers": {"hosts": {"w1": {"ansible_host": "10.77.2.14"}}},
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
    (tmp_path / "given.yml").write_text(yaml.safe_dump(given))
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_NOCOLOR": "1",
    }
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: json.loads((tmp_path / f"{host}.json").read_text()) for host in ("cp1", "w1")}


def test_without_a_proxy_its_files_must_not_exist(tmp_path: Path) -> None:
    paths = ["/etc/containerd/proxy.env", "/etc/systemd/system/containerd.service.d/50-proxy.conf"]
    assert told(tmp_path) == {host: {"environment": "", "files": [], "absent": paths} for host in ("cp1", "w1")}


@pytest.mark.parametrize("password", ["", "me:p%40ss@"])
def test_with_a_proxy_containerd_gets_it_and_what_goes_directly(tmp_path: Path, password: str) -> None:
    proxy = f"http://{password}proxy.example.org:3128"
    found = told(
        tmp_path, cluster_http_proxy=proxy, cluster_no_proxy=[".corp.example.org"], cluster_bundle_registry="http://10.77.3.20:5000",
        cluster_load_balancer_pools=[{"name": "a", "addresses": ["192.0.2.0/28"]}],
    )  # fmt: skip
    direct = "localhost,127.0.0.0/8,127.0.0.1,::1,.svc,.cluster.local,10.244.0.0/16,10.77.1.0/24,10.77.2.0/24,10.96.0.0/16,192.0.2.0/28"
    direct += ",10.77.3.20,.corp.example.org"
    for host in found.values():
        lines = host["environment"].splitlines()
        assert lines == [
            "# Written by bare_metal.kubernetes; changes made here are lost.",
            f'HTTP_PROXY="{proxy}"',
            f'HTTPS_PROXY="{proxy}"',
            f'NO_PROXY="{direct}"',
        ]
        secret, drop_in = host["files"]
        assert (secret["path"], secret["mode"], secret["secret"]) == (
            "/etc/containerd/proxy.env",
            "0600",
            bool(password),
        )
        assert drop_in["path"].endswith("/50-proxy.conf")
        assert host["absent"] == []


def test_reset_takes_both_files_away() -> None:
    files = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))["__container_runtime_proxy_paths"]
    assert all(any(path == gone or path.startswith(f"{gone}/") for gone in _node_reset.PATHS) for path in files)


def test_the_drop_in_reads_the_file_and_the_task_restarts_for_both() -> None:
    drop_in = (ROLE / "templates/etc/systemd/system/containerd.service.d/50-proxy.conf.j2").read_text(encoding="utf-8")
    assert "\n[Service]\n" in drop_in
    assert "\nEnvironmentFile=/etc/containerd/proxy.env\n" in drop_in
    (task,) = yaml.safe_load((ROLE / "tasks/configure.yml").read_text(encoding="utf-8"))
    (service,) = task["bare_metal.kubernetes.node_files"]["services"]
    read = service["restart_when_newer"]
    assert {"/etc/containerd/proxy.env", "/etc/systemd/system/containerd.service.d"} <= set(read)
    assert "'@' in" in task["no_log"], "a password keeps the task's result out of the log"
