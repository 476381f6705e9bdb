"""Rules about density, one view for each."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_rules
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    ClusterInput,
    Host,
    Problem,
    View,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import read_specs

SPEC = """
argument_specs:
  cluster:
    options:
      cluster_pods_per_node: {type: int}
      cluster_kubelet_configuration: {type: dict}
      cluster_node_taints: {type: list, elements: dict}
      os_prep_requirements: {type: dict}
      control_plane_event_ttl: {type: str}
      control_plane_event_rate_limits: {type: list, elements: dict}
"""
GROUPS = {"control_plane": ["cp1"], "etcd": ["cp1"], "workers": ["w1", "w2"]}


def found(rule: str, groups: dict[str, list[str]] | None = None, **hosts: dict[str, Any]) -> list[Problem]:
    groups = groups or GROUPS
    names = sorted({name for members in groups.values() for name in members})
    given = [Host(name, {"cluster_pods_per_node": 110, **hosts.get(name, {})}) for name in names]
    view = View(ClusterInput(given, groups, {"cluster": read_specs(SPEC)}))
    return list(density_rules.RULES[rule](view))


def sized(memory_mib: int, pods: int, **more: Any) -> dict[str, Any]:
    return {"cluster_pods_per_node": pods, "os_prep_requirements": {"min_memory_mib": memory_mib}, **more}


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"cluster_pods_per_node": 5000}, ""),  # nobody says what the machines have
        (sized(8192, 226), ""),
        (sized(8192, 227), "at most 226 by memory: 4097 + 256 + 200 MiB reserved and 16 MiB a pod fill 8192 MiB"),
        (sized(4000, 110), ""),
        (sized(1 << 20, 600, cluster_kubelet_configuration={"podPidsLimit": 8192}), "508 by PIDs: podPidsLimit 8192"),
        (sized(2048, 500), ""),  # memory_remains says that nothing is left
    ],
)
def test_pools_carry_what_their_machines_can(host: dict[str, Any], words: str) -> None:
    problems = found("machine_carries", w1=host, w2=host)
    assert [(problem.hosts, problem.warning, words in problem.reason) for problem in problems] == (
        [(("w1", "w2"), False, True)] if words else []
    )
    assert all("use at most" in problem.fix for problem in problems)


def test_a_control_plane_with_workloads_carries_less() -> None:
    machine = sized(32768, 900)
    assert not found("machine_carries", cp1=machine)
    (problem,) = found("machine_carries", cp1={**machine, "cluster_node_taints": []})
    # 900 + 110 + 110 pods: 512 + 2240 + 512 + 560 MiB
    assert "at most 855 by memory" in problem.reason


@pytest.mark.parametrize(
    ("rule", "settings", "words"),
    [
        ("status_pace", {"nodeStatusUpdateFrequency": "10s"}, "instead of every 5 minutes"),
        ("status_pace", {"nodeStatusUpdateFrequency": "10s", "nodeStatusReportFrequency": "5m"}, ""),
        ("status_pace", {"nodeStatusReportFrequency": "5m"}, ""),
        ("serial_pulls", {"serializeImagePulls": True}, "the kubelet does not start with both"),
        ("serial_pulls", {"serializeImagePulls": True, "maxParallelImagePulls": 3}, "does not start"),
        ("serial_pulls", {"serializeImagePulls": True, "maxParallelImagePulls": 1}, ""),
        ("serial_pulls", {"serializeImagePulls": False}, ""),
    ],
)
def test_settings_of_the_kubelet(rule: str, settings: dict[str, Any], words: str) -> None:
    problems = found(rule, w1={"cluster_kubelet_configuration": settings})
    assert [words in problem.reason for problem in problems] == ([True] if words else [])
    assert all(problem.hosts == ("w1",) for problem in problems)


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, []),
        ({"control_plane_event_ttl": "90m", "control_plane_event_rate_limits": []}, []),
        ({"control_plane_event_rate_limits": [{"type": "Server", "qps": 50, "burst": 100}]}, []),
        (
            {
                "control_plane_event_rate_limits": [
                    {"type": "Server", "qps": 50, "burst": 100},
                    {"type": "server", "qps": 50, "burst": 100},
                    {"type": "User", "qps": 0, "burst": 100},
                    {"type": "User", "qps": 50},
                ]
            },
            [f"control_plane_event_rate_limits[{index}]" for index in (1, 2, 3)],
        ),
        ({"control_plane_event_ttl": "1 day"}, ["control_plane_event_ttl"]),
    ],
)
def test_limits_of_events(variables: dict[str, Any], names: list[str]) -> None:
    assert [problem.variable for problem in found("event_limits", cp1=variables)] == names
