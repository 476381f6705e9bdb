"""Rules about an etcd of its own for events: what is refused, and what is counted."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster_budgets, etcd_events_rules
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
      cluster_planned_nodes: {type: int}
      cluster_surge_nodes: {type: int}
      cluster_etcd_events: {type: str, choices: [auto, always, never]}
      cluster_node_taints: {type: list, elements: dict}
      control_plane_apiserver_extra_args: {type: dict}
      etcd_data_directory: {type: path, default: /var/lib/etcd}
      etcd_events_data_directory: {type: path, default: /var/lib/etcd-events}
      etcd_events_quota_backend_gib: {type: float}
      etcd_events_auto_compaction_retention: {type: str}
      etcd_events_extra_arguments: {type: dict}
"""
GROUPS = {"control_plane": ["cp1"], "etcd": ["cp1"], "workers": [f"w{number}" for number in range(20)]}
LARGE = {"cluster_planned_nodes": 301}


def seen(**variables: Any) -> View:
    names = sorted({name for members in GROUPS.values() for name in members})
    base = {"cluster_pods_per_node": 100, "cluster_etcd_events": "auto", "cluster_surge_nodes": 0, **variables}
    return View(ClusterInput([Host(name, dict(base)) for name in names], GROUPS, {"cluster": read_specs(SPEC)}))


def found(rule: str, **variables: Any) -> list[Problem]:
    return list(etcd_events_rules.RULES[rule](seen(**variables)))


@pytest.mark.parametrize(
    ("variables", "separate"),
    [
        ({}, False),
        (LARGE, True),
        ({"cluster_etcd_events": "always"}, True),
        ({**LARGE, "cluster_etcd_events": "never"}, False),
        ({"cluster_etcd_events": "sometimes"}, False),  # refused for its declaration; nothing else follows from it
    ],
)
def test_what_the_inventory_asks_for(variables: dict[str, Any], separate: bool) -> None:
    assert cluster_budgets.events_are_separate(seen(**variables)) is separate


def test_a_wrong_word_is_refused() -> None:
    assert [finding.path for _host, finding in seen(cluster_etcd_events="sometimes").findings][:1] == [
        "cluster_etcd_events"
    ]


def test_control_planes_with_workloads_keep_memory_for_it() -> None:
    without, with_it = (
        cluster_budgets.shared_mib(seen(cluster_node_taints=[], cluster_etcd_events=mode))
        for mode in ("never", "always")
    )
    # 256 MiB and five events of 1.5 KiB for each of 2,100 pods, twice
    assert with_it["cp1"] - without["cp1"] == 256 + 31


def test_never_hurts_in_a_very_large_cluster() -> None:
    (problem,) = found("events_share_etcd", **LARGE, cluster_etcd_events="never")
    assert problem.warning
    assert "30100 planned pods" in problem.reason
    assert not found("events_share_etcd", **LARGE)
    assert not found("events_share_etcd", cluster_etcd_events="never")


def test_an_override_of_the_inventory_is_refused_only_where_it_takes_the_place_of_ours() -> None:
    flag = {"control_plane_apiserver_extra_args": {"etcd-servers-overrides": "/events#https://192.0.2.9:2379"}}
    (problem,) = found("events_etcd_override", **flag, cluster_etcd_events="always")
    assert problem.variable == "control_plane_apiserver_extra_args.etcd-servers-overrides"
    assert not problem.warning
    assert not found("events_etcd_override", **flag)


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        ("/var/lib/etcd-events", "/var/lib/etcd", ""),
        ("/var/lib/etcd", "/var/lib/etcd", "one inside the other"),
        ("/var/lib/etcd/events", "/var/lib/etcd", "one inside the other"),
        ("/var/lib", "/var/lib/etcd", "one inside the other"),
        ("/var/lib/etcd", None, "one inside the other"),  # the other's default
        (None, "/var/lib/etcd-events", "one inside the other"),
    ],
)
def test_directories_of_the_two(own: str | None, other: str | None, words: str) -> None:
    given = {"etcd_events_data_directory": own, "etcd_data_directory": other}
    problems = found("events_etcd_directory", **{name: value for name, value in given.items() if value})
    assert [words in problem.reason for problem in problems] == ([True] if words else [])


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"etcd_events_quota_backend_gib": 4.0}, []),
        ({"etcd_events_quota_backend_gib": 0}, [False]),
        ({"etcd_events_quota_backend_gib": 9}, [True]),
        ({"etcd_events_auto_compaction_retention": "1h30m"}, []),
        ({"etcd_events_auto_compaction_retention": "15"}, [False]),
        ({"etcd_events_auto_compaction_retention": "0s"}, [False]),
    ],
)
def test_sizes(variables: dict[str, Any], expected: list[bool]) -> None:
    assert [problem.warning for problem in found("events_etcd_size", **variables)] == expected


def test_misspelt_fields_are_named_by_their_variable() -> None:
    (problem,) = found("events_etcd_fields", etcd_events_extra_arguments={"snapshot-cuont": 1})
    assert problem.variable == "etcd_events_extra_arguments.snapshot-cuont"
    assert "snapshot-count" in problem.fix
