"""The members that role etcd gives a host: its own variables and templates, evaluated by Ansible, for hosts that nobody contacts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/etcd"
EVENTS = "/etc/etcd/events/etcd.yaml"
# What a playbook would have registered, and each role's part that follows from it.
FACTS = {
    "directories": "{{ __etcd_directories + (__etcd_events_directories if cluster_etcd_events_separate | bool else []) }}",
    "services": "{{ __etcd_services + (__etcd_events_services if cluster_etcd_events_separate | bool else []) }}",
    "files": "{{ __etcd_files + (__etcd_events_files if cluster_etcd_events_separate | bool else []) }}",
    "also": "{{ __etcd_also }}",
    "units": "{{ dict(__etcd_instances.keys() | zip(rendered)) }}",
    "overrides": "{{ __control_plane_etcd_events }}",
    "patches": "{{ __control_plane_patches }}",
}
RENDERED = (
    "{{ [lookup('ansible.builtin.template', unit, template_vars={'__etcd_member': __etcd_instances.kubernetes}),"
    " lookup('ansible.builtin.template', unit, template_vars={'__etcd_member': __etcd_instances.events})] }}"
)


def evaluated(tmp_path: Path, **given: Any) -> dict[str, dict[str, Any]]:
    """What the two etcd hosts would be given: ``{host: FACTS}``."""
    files = [ROOT / "roles/cluster/defaults/main.yml", ROOT / "roles/control_plane/vars/main.yml"]
    play = {
        "name": "Evaluate",
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [*map(str, files), str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml"), "given.yml"],
        "vars": {"unit": str(ROLE / "templates/etc/systemd/system/etcd.service.j2"), "rendered": RENDERED},
        "tasks": [
            {
                "name": "Write what they say",
                "ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}.json", "mode": "0600"},
                "vars": {"found": FACTS},
                "delegate_to": "localhost",
            }
        ],
    }  # fmt: skip
    hosts = {
        "control_plane": {"hosts": {"cp1": {"ansible_host": "10.77.1.11"}, "cp2": {"ansible_host": "10.77.1.12"}}},
        "etcd": {"children": {"control_plane": None}},
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
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: json.loads((tmp_path / f"{host}.json").read_text()) for host in ("cp1", "cp2")}


def settings(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """etcd's configuration files by path."""
    return {file["path"]: file["data"] for file in found["files"] if "data" in file}


def test_a_cluster_below_the_threshold_has_the_one_member_that_it_had(tmp_path: Path) -> None:
    found = evaluated(tmp_path)["cp1"]
    assert [entry["path"] for entry in found["directories"]] == ["/var/lib/etcd"]
    assert [entry["path"] for entry in found["files"]] == ["/etc/etcd/etcd.yaml", "/etc/systemd/system/etcd.service"]
    assert [entry["name"] for entry in found["services"]] == ["etcd"]
    assert (found["also"], found["overrides"], found["patches"]) == ([], [], {})
    lines = found["units"]["kubernetes"].splitlines()
    # As it was before there could be two: a changed line would restart every member.
    for line in (
        "Description=etcd, the store of Kubernetes", "RequiresMountsFor=/var/lib/etcd", "Environment=CONFIGURATION=/etc/etcd/etcd.yaml",
        "EnvironmentFile=-/etc/etcd/first-start.env", "Nice=-10", "IOSchedulingPriority=0", "CPUWeight=1000", "IOWeight=1000",
        "OOMScoreAdjust=-999", "ReadWritePaths=/var/lib/etcd",
    ):  # fmt: skip
        assert line in lines


def test_the_second_member_shares_nothing_but_programs_and_certificates(tmp_path: Path) -> None:
    arguments = {
        "wal-dir": "/wal",
        "quota-backend-bytes": 1,
        "snapshot-count": 5,
        "listen-metrics-urls": "http://127.0.0.1:9",
    }
    both = evaluated(
        tmp_path, cluster_etcd_events="always", cluster_name="demo", etcd_extra_arguments=arguments, etcd_events_extra_arguments={"log-level": "warn"}
    )  # fmt: skip
    found = both["cp2"]
    main, events = settings(found)["/etc/etcd/etcd.yaml"], settings(found)[EVENTS]
    places = (
        "data-dir",
        "listen-client-urls",
        "listen-peer-urls",
        "listen-metrics-urls",
        "advertise-client-urls",
        "initial-advertise-peer-urls",
    )
    for field in (*places, "initial-cluster-token"):
        assert not set(str(main[field]).split(",")) & set(str(events[field]).split(",")), field
    assert events["listen-client-urls"] == "https://10.77.1.12:2382,https://127.0.0.1:2382"
    assert (events["data-dir"], events["initial-cluster-state"]) == ("/var/lib/etcd-events", "existing")
    assert (events["quota-backend-bytes"], events["auto-compaction-retention"]) == (4 << 30, "15m")
    # Places and sizes that were given for the other are not this one's; the rest is, and its own wins.
    assert (main["wal-dir"], "wal-dir" in events) == ("/wal", False)
    assert (main["quota-backend-bytes"], events["snapshot-count"], events["log-level"]) == (1, 5, "warn")
    for field in ("name", "client-transport-security", "peer-transport-security", "heartbeat-interval"):
        assert main[field] == events[field]
    (also,) = found["also"]
    assert (also["unit"], also["configuration"], also["wal_directory"]) == (
        "etcd-events.service",
        EVENTS,
        "/var/lib/etcd-events/member/wal",
    )
    assert [member["peer_url"] for member in also["members"]] == ["https://10.77.1.11:2383", "https://10.77.1.12:2383"]
    assert also["data_elsewhere"] == {"cp1": None, "cp2": None}
    lines = found["units"]["events"].splitlines()
    for line in (
        "RequiresMountsFor=/var/lib/etcd-events", f"Environment=CONFIGURATION={EVENTS}", "EnvironmentFile=-/etc/etcd/events/first-start.env",
        "IOWeight=200", "ReadWritePaths=/var/lib/etcd-events",
    ):  # fmt: skip
        assert line in lines
    assert both["cp1"]["overrides"] == ["https://10.77.1.11:2382", "https://10.77.1.12:2382"]
    assert list(both["cp1"]["patches"]) == ["kube-apiserver0+strategic.json"]


@pytest.mark.parametrize(("planned", "separate"), [(272, False), (273, True)])
def test_auto_follows_the_planned_pods(tmp_path: Path, planned: int, separate: bool) -> None:
    found = evaluated(tmp_path, cluster_planned_nodes=planned)  # of 110 pods each
    assert [bool(host["also"]) for host in found.values()] == [separate, separate]


def test_the_flags_go_before_the_member_does() -> None:
    """In the order of the playbooks: what nobody uses any more is taken away after the API servers were told."""
    plays = yaml.safe_load((ROOT / "playbooks/control_plane.yml").read_text(encoding="utf-8"))
    tasks = [play["tasks"][0]["ansible.builtin.import_role"].get("tasks_from") for play in plays]
    assert tasks == [None, "rolling", "retire"]
    assert "etcd_events_left" in plays[2]["hosts"], "a play without hosts costs no task"
