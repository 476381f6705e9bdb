"""The control plane follows from the pods of the whole cluster."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.filter import density_control_plane as filters
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_control_plane as core
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import kubeadm_config, kubelet


@pytest.mark.parametrize(
    ("pods", "pods_per_node", "factor"),
    [(550, 110, 1), (9_999, 249, 1), (500, 250, 2), (10_000, 110, 2), (29_999, 500, 2), (30_000, 110, 4)],
)
def test_sync_workers(pods: int, pods_per_node: int, factor: int) -> None:
    found = core.sync_workers(pods, pods_per_node)
    assert found == ({} if factor == 1 else {name: factor * each for name, each in core.SYNC_WORKERS.items()})


@pytest.mark.parametrize(("pods", "period"), [(9_999, None), (10_000, "500ms")])
def test_changes_of_services_are_gathered_in_large_clusters(pods: int, period: str | None) -> None:
    assert core.batching(pods).get("endpointslice-updates-batch-period") == period


@pytest.mark.parametrize(
    ("pods", "etcd", "mib"),
    [(330, False, 512 + 660), (330, True, 512 + 660 + 512 + 165), (2000, False, 4512), (25_000, True, 63_524)],
)
def test_memory_of_a_control_plane(pods: int, etcd: bool, mib: int) -> None:
    assert core.control_plane_mib(pods, etcd=etcd) == mib


@pytest.mark.parametrize(
    ("taints", "runs"),
    [
        (None, False),
        ([], True),
        ([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}], False),
        ([{"key": "x", "effect": "NoExecute"}], False),
        ([{"key": "x", "effect": "PreferNoSchedule"}], True),
    ],
)
def test_where_pods_run(taints: Any, runs: bool) -> None:
    assert core.runs_workloads(taints) is runs
    assert filters.control_plane_memory_mib([110, 110], taints, True) == (1574 if runs else 0)


@pytest.mark.parametrize(
    ("memory", "workloads", "mib"),
    [(32_000, False, 16_384), (32_100, False, 16_384), (32_768, False, 16_384), (32_768, True, 8_192), (1, True, 256)],
)
def test_equal_machines_have_equal_limits(memory: int, workloads: bool, mib: int) -> None:
    assert core.memory_limit_mib(memory, workloads=workloads) == mib


@pytest.mark.parametrize(("text", "seconds"), [("1h0m0s", 3600), ("30m", 1800), ("2h", 7200), ("90s", 90)])
def test_durations(text: str, seconds: int) -> None:
    assert core.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1d", "0s", "an hour", "1.5h"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"'{text}' is not a duration"):
        filters.event_rate_limits([110], 1, text)


@pytest.mark.parametrize(
    ("pods", "node", "control_planes", "ttl", "rate", "burst"),
    [
        (550, 110, 3, "1h0m0s", 388, 5120),  # 6 GiB / 1.5 KiB / 3600 s / 3; 5 x 1024
        (550, 110, 1, "1h0m0s", 1165, 5120),
        (2330, 500, 3, "1h0m0s", 388, 20480),
        (25_330, 500, 3, "1h0m0s", 388, 163_840),
        (2330, 500, 3, "4h0m0s", 200, 20480),  # never below what one user may record
    ],
)
def test_events(pods: int, node: int, control_planes: int, ttl: str, rate: int, burst: int) -> None:
    server, user = core.event_limits(pods, node, control_planes, ttl)
    assert server == {"type": "Server", "qps": rate, "burst": burst}
    assert user == {"type": "User", "qps": 200, "burst": burst}


@settings(deadline=None)
@given(st.integers(1, 2000), st.integers(1, 200), st.sampled_from([1, 3, 5]))
def test_a_full_node_that_starts_meets_no_limit(pods: int, nodes: int, control_planes: int) -> None:
    server, user = core.event_limits(pods * nodes, pods, control_planes, "1h0m0s")
    settings = kubelet.kubelet_configuration(pods, 8, 32768)
    for limit in (server, user):
        assert limit["qps"] >= settings["eventRecordQPS"]
        assert limit["burst"] >= max(settings["eventBurst"], core.EVENTS_PER_POD * pods)
    # The scheduler records an event for each pod that it places.
    assert user["qps"] >= kubeadm_config.scaled_qps(
        kubeadm_config.SCHEDULER_QPS, kubeadm_config.SCHEDULER_QPS_LIMIT, pods
    )
    assert server["burst"] >= core.EVENTS_PER_POD * pods * nodes


@settings(deadline=None)
@given(st.integers(1, 50_000))
def test_one_more_worker_seldom_changes_the_limits(pods: int) -> None:
    step = core.event_limits(pods, 110, 3, "1h")[0]["burst"]
    assert step <= max(2 * core.EVENTS_PER_POD * pods, 2 * core.EVENTS_OF_A_USER, core.EVENTS_PER_POD * 128)


def test_the_apiserver_reads_the_limits() -> None:
    limits = core.event_limits(550, 110, 3, "1h")
    (plugin,) = core.admission_configuration(limits)["plugins"]
    assert plugin["name"] in kubeadm_config.ADMISSION_PLUGINS.split(",")
    assert plugin["configuration"]["limits"] == limits


@pytest.mark.parametrize(
    ("pods", "nodes", "replicas"),
    [(110, 1, 2), (550, 5, 2), (961, 5, 3), (2330, 7, 5), (2000, 4, 4), (25_000, 53, 53), (100_000, 300, 209)],
)
def test_replicas_of_coredns_follow_pods(pods: int, nodes: int, replicas: int) -> None:
    assert core.coredns_replicas(pods, nodes) == replicas


def test_a_machine_that_was_not_looked_at_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="machine_info has not run"):
        filters.apiserver_memory_mib({})
