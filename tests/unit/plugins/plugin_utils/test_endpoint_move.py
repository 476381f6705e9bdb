"""A move of the API's address over all nodes: endpoint_move of plugin_utils, and what the role makes of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from ansible_collections.bare_metal.kubernetes.plugins.filter import api_endpoint as filters
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._endpoint_move import Seen, Standing, binds_of
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import endpoint_move

ROOT = Path(__file__).resolve().parents[4]
LOCAL = {"mode": "local", "address": "127.0.0.1", "port": 7443}
VRRP = {"mode": "keepalived", "address": "10.1.1.100", "port": 8443}
SIX = {"mode": "keepalived", "address": "fd00::100", "port": 8443}


def facts(url: str, nodes: list[str] | None = None, **standing: Any) -> dict[str, Any]:
    return {**asdict(Seen(Standing(**standing), "", {"kubelet": url})), "nodes": nodes}


STANDS = {"parts": ("haproxy",), "binds": ("127.0.0.1:7443",)}
URL = "https://127.0.0.1:7443"


def test_others_are_found_over_all_nodes() -> None:
    shown = {
        "cp1": facts(URL, parts=("haproxy", "keepalived"), binds=("*:8443",), vrrp=("10.1.1.100",)),
        "w1": facts(URL, **STANDS),
    }
    assert endpoint_move.others(LOCAL, shown) == [VRRP]
    assert endpoint_move.others({**VRRP, "port": "8443"}, shown) == [LOCAL]


@pytest.mark.parametrize(
    ("endpoints", "control_plane", "lines"),
    [
        ([LOCAL], False, ["127.0.0.1:7443"]),
        ([VRRP], True, [":8443"]),
        ([SIX], True, ["[::]:8443"]),
        ([{**LOCAL, "address": "::1"}], True, ["[::1]:7443"]),
        ([VRRP, LOCAL], True, [":8443", "127.0.0.1:7443"]),
        ([VRRP, LOCAL], False, ["127.0.0.1:7443"]),
    ],
)
def test_what_haproxy_is_told(endpoints: list[dict[str, Any]], control_plane: bool, lines: list[str]) -> None:
    assert endpoint_move.binds(endpoints, control_plane) == lines


@pytest.mark.parametrize(
    ("endpoints", "listens"),
    [([LOCAL], ["127.0.0.1:7443"]), ([VRRP, LOCAL], ["*:8443", "127.0.0.1:7443"]), ([SIX], ["*:8443"])],
)
def test_what_the_template_writes_is_read_back(endpoints: list[dict[str, Any]], listens: list[str]) -> None:
    template = ROOT / "roles/api_endpoint/templates/etc/haproxy/haproxy.cfg.j2"
    environment = jinja2.Environment(trim_blocks=True, autoescape=False)
    environment.filters["dictsort"] = lambda value: sorted(value.items())
    text = environment.from_string(template.read_text()).render(
        __api_endpoint_binds=endpoint_move.binds(endpoints, True), __api_endpoint_backends={"cp1": "10.1.1.11"}
    )
    assert list(binds_of(text)) == listens


def test_a_move_that_can_be_made() -> None:
    shown = {"cp1": facts(URL, ["cp1", "w1"], **STANDS), "cp2": facts(URL, **STANDS), "w1": facts(URL, **STANDS)}
    assert endpoint_move.refusals(VRRP, ["cp1", "cp2", "w1"], shown) == []


def test_everything_that_is_wrong_is_said_at_once() -> None:
    shown = {
        "cp1": facts(URL, ["cp1", "old1"], parts=("keepalived", "haproxy"), binds=("*:8443",), vrrp=("10.1.1.101",))
    }
    found = endpoint_move.refusals(VRRP, ["cp1", "w1"], shown)
    assert len(found) == 3
    assert found[0].startswith("W1 did not answer")
    assert "not in the inventory: old1" in found[1]
    assert found[2].startswith("Keepalived moves one address")


def test_filters_read_what_the_role_registers() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "cp1": {"endpoint_move_facts": {"facts": facts(URL, ["cp1"], **STANDS)}},
        "w1": {},
        "w2": {"endpoint_move_facts": {"unreachable": True}},
    }
    made = filters.FilterModule().filters()
    assert made["api_endpoint_others"](VRRP, ["cp1", "w1", "gone"], hostvars) == [LOCAL]
    (why,) = made["api_endpoint_refusals"](VRRP, ["cp1", "w1", "w2"], hostvars)
    assert why.startswith("W1, w2 did not answer")
    tasks = yaml.safe_load((ROOT / "roles/endpoint_move/tasks/assert.yml").read_text())
    assert filters.FACTS_VARIABLE in [task.get("register") for task in tasks]


# --- the playbook


def plays(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for play in yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text()):
        imported = play.get("ansible.builtin.import_playbook", "").removesuffix(".yml")
        found += plays(imported) if imported.startswith("api_endpoint") else [play]
    return found


def steps() -> list[tuple[str, dict[str, Any]]]:
    """``(role/tasks_from, play)`` of all imports of roles, in their order."""
    found = []
    for play in plays("api_endpoint_move"):
        for task in play.get("tasks", []):
            role = task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role") or {}
            name = str(role.get("name", "")).rpartition(".")[2]
            found.append((f"{name}/{role.get('tasks_from', 'main')}", play))
    return [(name, play) for name, play in found if not name.startswith("/")]


def test_nothing_changes_before_all_is_judged_and_nothing_goes_before_all_have_moved() -> None:
    names = [name for name, _play in steps()]
    order = [
        "endpoint_move/assert",
        "os_prep/main",
        "node_firewall/main",
        "control_plane/rolling",
        "api_endpoint/main",
        "endpoint_move/verify",
        "endpoint_move/run",
        "control_plane/rolling",
        "endpoint_move/store",
        "cluster_network_plugin }}/main",
        "endpoint_move/settle",
        "endpoint_move/remove",
        "api_endpoint/main",
        "node_firewall/main",
        "container_runtime/configure",
        "control_plane/verify",
    ]
    assert [name.replace("{{ ", "") for name in names] == order
    first = plays("api_endpoint_move")[0]
    assert first["ansible.builtin.import_playbook"] == "preflight.yml"
    assert first["vars"] == {"os_prep_api_endpoint_moves": True}


def test_what_disturbs_is_done_on_one_node_after_the_other_and_stops_at_a_failure() -> None:
    disturbing = {"control_plane/rolling", "endpoint_move/run", "endpoint_move/remove"}
    for name, play in steps():
        assert play["any_errors_fatal"] is True, name
        if name in disturbing:
            assert (play["serial"], play["order"]) == (1, "sorted"), name


def test_both_endpoints_stand_until_the_old_one_goes() -> None:
    beside = [name for name, play in steps() if "cluster_api_endpoint_also" in (play.get("vars") or {})]
    assert beside == ["os_prep/main", "node_firewall/main", "control_plane/rolling", "api_endpoint/main"]
