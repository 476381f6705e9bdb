"""preflight: answers of machines in, one report out."""

from __future__ import annotations

import ast
import random
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import (
    _disk_result,
    _live_cluster,
    _live_load_balancer,
    _machine_judge,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import node_space, upgrade_steps
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import preflight as core

ROOT = Path(__file__).resolve().parents[4]
HOSTS = ("cp1", "cp2", "cp3", "worker1", "worker2")
GROUPS = {"control_plane": HOSTS[:3], "etcd": HOSTS[:3], "workers": HOSTS[3:], "all": HOSTS}
NOW = 1763786400.0


def inventory(**changes: Any) -> core.Inventory:
    values: dict[str, Any] = {
        "hosts": HOSTS,
        "groups": GROUPS,
        "node_ips": {host: f"10.0.0.{number}" for number, host in enumerate(HOSTS, 1)},
    }
    return core.Inventory(**{**values, **changes})


def machine(number: int, **changes: Any) -> dict[str, Any]:
    interface = {"name": "eno1", "mac": f"00:1b:21:00:00:0{number}", "mtu": 9000, "addresses": [f"10.0.0.{number}/24"]}
    values: dict[str, Any] = {
        "machine_id": f"{number:032x}",
        "product_uuid": f"4c4c4544-0000-0000-0000-00000000000{number}",
        "virtualization": "none",
        "interfaces": [interface],
        "kernel": "6.12.41",
        "os": {"id": "debian", "version_id": "13"},
        "managed": False,
        "kubernetes_paths": [],
        "epoch_seconds_begun": NOW + 0.5,
        "epoch_seconds": NOW + 0.6,
    }
    return {**values, **changes}


def answer(number: int, problems: Any = (), waived: Any = (), **changes: Any) -> dict[str, Any]:
    return {
        "ansible_facts": {"bare_metal_machine": machine(number, **changes)},
        "problems": list(problems),
        "waived": list(waived),
        "clock": {"sent": NOW, "received": NOW + 1},
    }


def answers(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Everybody's answer; what differs by host."""
    return {host: answer(number, **changes.get(host, {})) for number, host in enumerate(HOSTS, 1)}


def lost(*hosts: str, **changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    given = answers(**changes)
    return given | {host: {"unreachable": True, "msg": "Connection\r\nclosed \x1b[31mby"} for host in hosts}


def found(given: dict[str, dict[str, Any]], **changes: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(entry.level, entry.check, entry.hosts) for entry in core.judge(inventory(**changes), given)]


PROBLEM = {"check": "cpus", "what": "2 CPUs", "found": "1", "why": "Slow.", "fix": "More.", "level": "error"}


def test_machines_that_fit_give_no_findings() -> None:
    assert found(answers()) == []


def test_findings_of_hosts_are_put_together_errors_first() -> None:
    warning = {**PROBLEM, "check": "time", "level": "warning"}
    given = answers(
        cp1={"problems": [warning, PROBLEM]},
        cp2={"problems": [PROBLEM]},
        cp3={"problems": [{**PROBLEM, "found": "0"}], "waived": [{**warning, "reason": "fine here"}]},
    )
    assert found(given) == [
        ("error", "cpus", ("cp1", "cp2")),
        ("error", "cpus", ("cp3",)),
        ("warning", "time", ("cp1",)),
        ("waived", "time", ("cp3",)),
    ]


# --- versions -------------------------------------------------------------------------------------------------------------------------------

TARGET = upgrade_steps.Target("v1.36.3", "v3.7.3", "v2.4.2", ("v1.36.3", "v1.35.4"), ("v3.7.3",))


def test_steps_are_judged_of_hosts_that_are_ours_and_put_together() -> None:
    behind = {"managed": True, "versions": {"kubelet": "v1.35.4"}}
    given = answers(worker1=behind, worker2=behind, cp1={"managed": False, "versions": {"kubelet": "v1.2.3"}})
    assert found(given, target=TARGET) == [("error", "kubernetes_version", ("worker1", "worker2"))]
    waived = {"worker1": {"kubernetes_version": "a build of our own"}}
    assert found(given, target=TARGET, waivers=waived) == [
        ("error", "kubernetes_version", ("worker2",)),
        ("waived", "kubernetes_version", ("worker1",)),
    ]


# --- space ----------------------------------------------------------------------------------------------------------------------------------


def test_space_is_judged_of_nodes_that_were_examined_and_waived_by_host() -> None:
    disk = {"size_mib": 4000, "free_mib": 4000, "mount": "/"}
    small = {"disks": dict.fromkeys(node_space.PATHS, disk), "cpus": 4, "memory_mib": 16384}
    given = answers(worker1=small, worker2=small, cp1=small)
    loads = dict.fromkeys(("worker1", "worker2"), node_space.Load(110, 1000, 500, False, 0))
    assert found(given, loads=loads) == [("error", "image_space", ("worker1", "worker2"))]
    waived = found(given, loads=loads, waivers={"worker2": {"image_space": "images elsewhere"}})
    assert ("waived", "image_space", ("worker2",)) in waived


# --- hosts that could not be asked ----------------------------------------------------------------------------------------------------------

LIVE: dict[str, dict[str, Any]] = {
    host: {"managed": True, "kubernetes_paths": ["/etc/kubernetes/kubelet.conf"]} for host in HOSTS
}


@pytest.mark.parametrize(
    ("gone", "live", "level"),
    [
        (("worker1",), False, "error"),
        (("worker1",), True, "warning"),
        (("cp1",), True, "warning"),
        (("cp1", "cp3"), True, "error"),
        (HOSTS, True, "error"),
    ],
)
def test_an_unreachable_host_is_an_error_unless_the_cluster_stands_without_it(
    gone: tuple[str, ...], live: bool, level: str
) -> None:
    given = lost(*gone, **(LIVE if live else {}))
    assert found(given) == [(level, "unreachable", tuple(sorted(gone)))]


def test_machines_that_are_only_prepared_are_no_cluster_yet() -> None:
    prepared = {host: {"managed": True} for host in HOSTS}
    assert found(lost("worker1", **prepared)) == [("error", "unreachable", ("worker1",))]
    foreign = {host: {"kubernetes_paths": ["/var/lib/etcd/member"]} for host in HOSTS}
    assert found(lost("worker1", **foreign)) == [("error", "unreachable", ("worker1",))]


def test_hosts_behind_one_dead_switch_are_one_finding() -> None:
    words = (
        'Task failed: Data could not be sent to remote host "{}". Make sure this host can be reached over ssh: no route'
    )
    dead = {host: {"unreachable": True, "msg": words.format(address)} for host, address in (("cp3", "a"), ("cp2", "b"))}
    (entry,) = core.judge(inventory(), {**answers(), **dead})
    assert entry.hosts == ("cp2", "cp3")
    assert entry.found == "Data could not be sent to it. Make sure this host can be reached over ssh: no route"


def test_without_a_control_plane_nothing_goes_on_although_etcd_has_its_majority() -> None:
    groups = {**GROUPS, "etcd": HOSTS[2:], "control_plane": HOSTS[:2], "workers": ()}
    assert found(lost("cp1", **LIVE), groups=groups) == [("warning", "unreachable", ("cp1",))]
    assert found(lost("cp1", "cp2", **LIVE), groups=groups) == [("error", "unreachable", ("cp1", "cp2"))]


def test_members_that_a_limit_leaves_out_are_not_counted_as_lost() -> None:
    assert found(lost("cp1", **LIVE), hosts=("cp1", "worker1")) == [("warning", "unreachable", ("cp1",))]
    two = found(lost("cp1", "cp2", **LIVE), hosts=("cp1", "cp2", "worker1"))
    assert two == [("error", "unreachable", ("cp1", "cp2"))]


def test_a_host_can_be_waived_while_it_is_repaired() -> None:
    waivers = {"worker1": {"unreachable": "in repair"}}
    assert found(lost("worker1"), waivers=waivers) == [("waived", "unreachable", ("worker1",))]


@pytest.mark.parametrize("given", [{"failed": True, "msg": "no Python"}, {"failed": True, "ansible_facts": {}}])
def test_a_host_that_could_not_be_examined_is_an_error_always(given: dict[str, Any]) -> None:
    assert found({**answers(**LIVE), "cp2": given}) == [("error", "not_examined", ("cp2",))]


@pytest.mark.parametrize("given", [{}, {"skipped": True, "changed": False}])
def test_a_host_without_an_answer_is_not_forgotten(given: dict[str, Any]) -> None:
    assert found({**answers(), "cp2": given}) == [("error", "unreachable", ("cp2",))]


# --- duplicates -----------------------------------------------------------------------------------------------------------------------------


def test_a_machine_id_on_two_machines() -> None:
    given = answers(cp1={"machine_id": "a" * 32}, worker2={"machine_id": "a" * 32})
    assert found(given) == [("error", "duplicate_machine_id", ("cp1", "worker2"))]


def test_machines_without_an_id_are_not_the_same() -> None:
    """Each has its own finding from machine_info."""
    nothing = {"machine_id": "", "product_uuid": ""}
    assert found(answers(cp1=nothing, cp2=nothing)) == []


@pytest.mark.parametrize(
    ("uuid", "virtualization", "expected"),
    [
        ("4c4c4544-1111-1111-1111-111111111111", "none", ["error"]),
        ("4c4c4544-1111-1111-1111-111111111111", "kvm", ["error"]),
        ("4c4c4544-1111-1111-1111-111111111111", "podman", []),
        ("03000200-0400-0500-0006-000700080009", "none", ["warning"]),
        ("00000000-0000-0000-0000-ac1f6b000000", "none", ["warning"]),
    ],
)
def test_a_product_uuid_on_two_machines(uuid: str, virtualization: str, expected: list[str]) -> None:
    same = {"product_uuid": uuid, "virtualization": virtualization}
    given = found(answers(cp1=same, cp2=same))
    assert given == [(level, "duplicate_product_uuid", ("cp1", "cp2")) for level in expected]


def interfaces(number: int, *macs: str) -> dict[str, Any]:
    own = machine(number)["interfaces"]
    return {
        "interfaces": [
            *own,
            *({"name": f"x{n}", "mac": mac, "mtu": 1500, "addresses": []} for n, mac in enumerate(macs)),
        ]
    }


@pytest.mark.parametrize(
    ("mac", "expected"),
    [
        ("00:25:90:aa:bb:cc", ["error"]),
        ("BE:3A:F2:B6:05:9F", ["warning"]),  # a management controller over USB: locally administered
        ("00:00:5e:00:01:33", []),  # VRRP
        ("00:00:00:00:00:00", []),
        ("0.0.0.0", []),  # a tunnel
        ("", []),
    ],
)
def test_a_mac_address_on_two_machines(mac: str, expected: list[str]) -> None:
    given = answers(cp1=interfaces(1, mac), worker1=interfaces(4, mac.lower()))
    assert found(given) == [(level, "duplicate_mac", ("cp1", "worker1")) for level in expected]


def test_a_mac_address_that_carries_a_nodes_address_is_an_error_though_locally_administered() -> None:
    own = {"interfaces": [{**machine(1)["interfaces"][0], "mac": "02:00:00:00:00:01"}]}
    given = answers(cp1=own, cp2=interfaces(2, "02:00:00:00:00:01"))
    assert found(given) == [("error", "duplicate_mac", ("cp1", "cp2"))]


def test_a_bond_and_its_ports_share_an_address_on_one_machine() -> None:
    assert found(answers(cp1=interfaces(1, "00:25:90:aa:bb:cc", "00:25:90:aa:bb:cc"))) == []


def test_one_machine_under_two_names_is_one_finding_of_its_addresses() -> None:
    macs = [f"00:25:90:aa:bb:{number:02x}" for number in range(9)]
    given = core.judge(inventory(), answers(cp1=interfaces(1, *macs), cp2=interfaces(2, *macs)))
    assert [entry.check for entry in given] == ["duplicate_mac"]
    assert "and 6 more" in given[0].found


# --- clocks ---------------------------------------------------------------------------------------------------------------------------------


def ahead(seconds: float) -> dict[str, Any]:
    return {"epoch_seconds_begun": NOW + 0.5 + seconds, "epoch_seconds": NOW + 0.6 + seconds}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, []),
        (1.4, []),
        (-1.4, []),
        (2.0, ["warning"]),
        (-2.0, ["warning"]),
        (299.0, ["warning"]),
        (400.0, ["error"]),
    ],
)
def test_a_clock_that_is_off_by_more_than_the_task_took(seconds: float, expected: list[str]) -> None:
    """The question and the answer took a second together, the look at the clock 0.1 of it."""
    assert found(answers(cp2=ahead(seconds))) == [(level, "clock_skew", ("cp2",)) for level in expected]


def test_the_skew_that_is_sure_is_named() -> None:
    (entry,) = core.judge(inventory(), answers(cp2=ahead(-30)))
    # 30 seconds behind the controller, less what the question may have taken.
    assert entry.found == "at least 29.5 seconds behind"


def test_the_majority_is_right_and_the_controller_may_be_wrong() -> None:
    given = answers(**{host: ahead(3600.0) for host in HOSTS[:4]})
    assert found(given) == [("error", "clock_skew", ("worker2",)), ("warning", "clock_skew", ())]
    assert "warning  controller  clock_skew: the controller's clock" in core.table(
        core.judge(inventory(), given), HOSTS
    )


def test_slow_answers_are_no_skew() -> None:
    given = answers(cp2=ahead(55.0))
    given["cp2"]["clock"] = {"sent": NOW, "received": NOW + 60}
    assert found(given) == []


def test_agreement_against_brute_force() -> None:
    """The interval found is inside as many of the given ones as any point is."""
    generator = random.Random(4)
    for _rest in range(300):
        lows = [generator.randrange(20) for _rest in range(generator.randrange(1, 8))]
        given = [(float(low), float(low + generator.randrange(6))) for low in lows]

        def depth(point: float, given: list[tuple[float, float]] = given) -> int:
            return sum(low <= point <= high for low, high in given)

        best = core.agreed_offset(given)
        most = max(depth(low) for low, _high in given)
        assert best[0] <= best[1]
        assert depth(best[0]) == depth(best[1]) == most
        nearest = min(low for low, _high in given if depth(low) == most)
        assert best[0] == nearest


# --- pools and racks ------------------------------------------------------------------------------------------------------------------------


def test_a_kernel_or_a_system_that_most_of_a_pool_do_not_run() -> None:
    given = answers(cp2={"kernel": "6.12.9"}, cp3={"os": {"id": "debian", "version_id": "12"}})
    assert found(given) == [("warning", "kernel_differs", ("cp2",)), ("warning", "os_differs", ("cp3",))]
    # Another pool may differ.
    assert found(answers(worker1={"kernel": "5.15"}, worker2={"kernel": "5.15"})) == []


def test_a_pool_is_the_largest_group_inside_workers() -> None:
    groups = {**GROUPS, "dense": ("worker1",), "rack_a": ("cp1", "worker1"), "tiny": ()}
    assert core.pools_of(inventory(groups=groups)) == {
        "control_plane": ["cp1", "cp2", "cp3"],
        "dense": ["worker1"],
        "workers": ["worker2"],
    }
    assert found(answers(worker1={"kernel": "5.15"}), groups=groups) == []
    everybody = {**groups, "dense": ("worker1", "worker2"), "rack_b": ("worker1",)}
    assert core.pools_of(inventory(groups=everybody))["dense"] == ["worker1", "worker2"]
    outside = {"control_plane": ("cp1",), "etcd": ("cp1", "cp2"), "workers": ()}
    assert core.pools_of(inventory(hosts=("cp1", "cp2"), groups=outside)) == {"control_plane": ["cp1"], "etcd": ["cp2"]}


def mtu(number: int, value: int) -> dict[str, Any]:
    return {"interfaces": [{**machine(number)["interfaces"][0], "mtu": value}]}


def test_an_mtu_that_most_of_a_rack_do_not_have() -> None:
    given = answers(worker1=mtu(4, 1500))
    assert found(given) == [("warning", "mtu_differs", ("worker1",))]
    assert found(given, racks={"worker1": "b"}) == []
    (entry,) = core.judge(inventory(racks=dict.fromkeys(HOSTS, "a")), given)
    assert "rack a" in entry.what
    assert entry.found == "1500 on worker1; 9000 on cp1, cp2, cp3, worker2"


def test_hosts_that_carry_no_pods_may_have_another_mtu() -> None:
    groups = {**GROUPS, "etcd": ("worker1",), "workers": ("worker2",)}
    assert found(answers(worker1=mtu(4, 1500)), groups=groups) == []


def speed(number: int, value: int) -> dict[str, Any]:
    return {"interfaces": [{**machine(number)["interfaces"][0], "speed_mbps": value}]}


def test_a_link_that_came_up_slower_than_most_of_its_pool() -> None:
    given = answers(cp1=speed(1, 25000), cp2=speed(2, 25000), cp3=speed(3, 1000), worker1=speed(4, 100))
    (entry,) = core.judge(inventory(), given)
    assert (entry.level, entry.check, entry.hosts) == ("warning", "speed_differs", ("cp3",))
    assert entry.found == "1000 Mbit/s on cp3; 25000 Mbit/s on cp1, cp2"
    # 0: the kernel does not say one
    assert found(answers(cp1=speed(1, 25000), cp2=speed(2, 0))) == []


def test_only_the_interface_with_the_nodes_address_counts() -> None:
    assert found(answers(cp1=interfaces(1, "00:25:90:aa:bb:cc"))) == []


# --- waivers --------------------------------------------------------------------------------------------------------------------------------


def test_what_concerns_several_hosts_is_waived_when_all_of_them_waive_it() -> None:
    given = answers(cp1={"machine_id": "a" * 32}, cp2={"machine_id": "a" * 32})
    one = {"cp1": {"duplicate_machine_id": "a test"}}
    assert found(given, waivers=one) == [("error", "duplicate_machine_id", ("cp1", "cp2"))]
    both = {**one, "cp2": {"duplicate_machine_id": "one image"}}
    (entry,) = core.judge(inventory(waivers=both), given)
    assert (entry.level, entry.reason) == ("waived", "a test; one image")


def test_what_concerns_the_controller_is_waived_when_every_host_waives_it() -> None:
    given = answers(**{host: ahead(3600.0) for host in HOSTS})
    assert found(given) == [("warning", "clock_skew", ())]
    waivers = {host: {"clock_skew": "no NTP here"} for host in HOSTS}
    assert found(given, waivers=waivers) == [("waived", "clock_skew", ())]
    assert found(given, waivers={**waivers, "cp1": {}}) == [("warning", "clock_skew", ())]


def test_a_waiver_without_a_reason_is_refused_and_one_of_nothing_is_told() -> None:
    waivers = {
        "cp1": {"metal": True},
        "cp2": {"metl": "typo"},
        "cp3": {"zzzzzz": "nothing"},
        "worker1": {"metal": "lab"},
    }
    given = core.judge(inventory(waivers=waivers), answers())
    assert [(entry.level, entry.check, entry.hosts) for entry in given] == [
        ("error", "waivers", ("cp1",)),
        ("warning", "waivers", ("cp2",)),
        ("warning", "waivers", ("cp3",)),
    ]
    assert given[1].fix == "Did you mean metal?"


@pytest.mark.parametrize("everything", ["all", "*", "any"])
def test_nothing_waives_everything(everything: str) -> None:
    waivers = {host: {everything: "no time"} for host in HOSTS}
    given = answers(cp1={"problems": [PROBLEM]}, cp2={"machine_id": "a" * 32}, cp3={"machine_id": "a" * 32})
    assert {check for level, check, _hosts in found(given, waivers=waivers) if level == "error"} == {
        "cpus",
        "duplicate_machine_id",
    }


# --- what is printed ------------------------------------------------------------------------------------------------------------------------


def test_the_table_shows_everything_once() -> None:
    given = lost(
        "cp3",
        cp1={"problems": [PROBLEM]},
        cp2={"problems": [PROBLEM], "waived": [{**PROBLEM, "check": "metal", "reason": "lab"}]},
    )
    text = core.table(core.judge(inventory(), given), HOSTS)
    lines = text.splitlines()
    assert lines[0] == "PREFLIGHT of 5 hosts: 2 errors, 0 warnings, 1 waived"
    assert lines[1] == "error   cp1, cp2  cpus: 2 CPUs; found 1."
    assert lines[2].strip() == "Slow. More."
    assert lines[3].startswith("error   cp3       unreachable: ")
    assert "found Connection closed ?[31mby." in lines[3]
    assert lines[5:] == ["waived  cp2       metal: 2 CPUs; found 1.", "                  Waived: lab"]


def test_many_hosts_are_counted_in_the_table_and_listed_in_the_data() -> None:
    hosts = [f"node{number:04}" for number in range(5000)]
    given = {host: answer(1, problems=[PROBLEM], machine_id="", product_uuid="", interfaces=[]) for host in hosts}
    asked = inventory(hosts=hosts, groups={"workers": hosts}, node_ips={})
    findings = core.judge(asked, given)
    assert "error  all 5000 hosts  cpus" in core.table(findings, hosts)
    assert core.as_data(findings, hosts)["findings"][0]["hosts"] == hosts
    less = core.judge(asked, {**given, "node0000": answer(2)})
    assert "node0001, node0002, node0003 and 4996 more" in core.table(less, hosts)


def test_the_data_and_the_message() -> None:
    waived = {**PROBLEM, "check": "metal", "reason": "r"}
    findings = core.judge(inventory(), answers(cp1={"problems": [PROBLEM], "waived": [waived]}))
    data = core.as_data(findings, HOSTS)
    assert (data["error_count"], data["warning_count"], data["waived_count"]) == (1, 0, 1)
    assert data["findings"][0] == {**PROBLEM, "hosts": ["cp1"], "reason": ""}
    assert core.message(findings, HOSTS).splitlines() == [
        "Preflight of 5 hosts: 1 error, 0 warnings, 1 waived. Nothing was changed on any host.",
        "- cp1: cpus: 2 CPUs; found 1.",
    ]


# --- names ----------------------------------------------------------------------------------------------------------------------------------


def literals(path: Path, function: str, place: int) -> set[str]:
    """Texts at one place of the calls of a function."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    given = [call.args[place] for call in calls if ast.unparse(call.func) == function and len(call.args) > place]
    return {node.value for node in given if isinstance(node, ast.Constant)}


def test_every_check_of_the_code_is_in_the_list_and_nothing_else() -> None:
    """So that a waiver's misspelt name is found, and the documentation is complete."""
    hosts = literals(Path(_machine_judge.__file__), "Problem", 0) | literals(Path(_live_cluster.__file__), "Finding", 0)
    hosts |= literals(Path(_disk_result.__file__), "Finding", 0)
    hosts |= literals(Path(_live_load_balancer.__file__), "Finding", 0)
    # These two are made from the names of the variables.
    assert hosts | {"live_pod_cidrs", "live_service_cidrs"} == set(core.HOST_CHECKS)
    own = literals(Path(core.__file__), "Finding", 1) | {"kernel_differs", "os_differs", "mtu_differs", "speed_differs"}
    own |= literals(Path(upgrade_steps.__file__), "Note", 1) | literals(Path(node_space.__file__), "Note", 1)
    assert own == set(core.REPORT_CHECKS)
    assert list(core.CHECKS) == sorted({*core.HOST_CHECKS, *core.REPORT_CHECKS})


def test_every_check_is_explained_with_why_how_to_mend_and_how_to_waive() -> None:
    text = (ROOT / "docs" / "preflight.md").read_text(encoding="utf-8")
    sections = re.split(r"^### `(\w+)`\n", text, flags=re.MULTILINE)
    explained = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert sorted(explained) == sorted(core.CHECKS)
    for name, rest in explained.items():
        section = rest.partition("\n## ")[0]
        for part in ("**Why:**", "**Mend:**", "**Waive:**"):
            assert part in section, f"{name} lacks {part}"


def test_requirements_of_the_role_are_options_of_the_module() -> None:
    import yaml

    from ansible_collections.bare_metal.kubernetes.plugins.modules import machine_info

    wanted = yaml.safe_load((ROOT / "roles/os_prep/vars/main.yml").read_text())["__os_prep_requirements"]
    assert set(wanted) <= set(machine_info.REQUIREMENTS)
    documented = yaml.safe_load(machine_info.DOCUMENTATION)["options"]["requirements"]["suboptions"]
    assert set(documented) == set(machine_info.REQUIREMENTS)
