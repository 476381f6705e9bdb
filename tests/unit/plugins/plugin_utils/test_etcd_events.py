"""When events have an etcd of their own, and what the control plane is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.filter import etcd as filters
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kube_api
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    density_control_plane,
    etcd_events,
    etcd_plan,
    kubeadm_config,
)

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("mode", "pods", "separate"),
    [
        ("auto", 0, False),
        ("auto", 29_999, False),
        ("auto", 30_000, True),
        ("always", 0, True),
        ("never", 150_000, False),
    ],
)
def test_the_threshold(mode: str, pods: int, separate: bool) -> None:
    assert etcd_events.separate(mode, pods) is separate


@pytest.mark.parametrize(
    ("nodes", "planned", "pods"),
    [
        ({}, 0, 0),
        ({110: 3}, 0, 330),
        ({110: 3}, 3, 330),
        ({110: 3, 500: 2}, 10, 330 + 1000 + 5 * 500),  # nodes to come count as the densest
        ({110: 3}, 2, 330),  # a plan that is too small is refused elsewhere
    ],
)
def test_planned_pods(nodes: dict[int, int], planned: int, pods: int) -> None:
    assert etcd_events.planned_pods(nodes, planned) == pods


@given(st.dictionaries(st.integers(1, 2048), st.integers(1, 50), max_size=5), st.integers(0, 500), st.integers(0, 500))
def test_a_larger_plan_never_plans_for_fewer(nodes: dict[int, int], one: int, other: int) -> None:
    fewer, more = (etcd_events.planned_pods(nodes, planned) for planned in sorted((one, other)))
    assert fewer <= more


def hostvars(**pods: int) -> dict[str, dict[str, Any]]:
    return {name: {"cluster_pods_per_node": number} for name, number in pods.items()}


def test_auto_looks_at_the_nodes_and_the_others_do_not() -> None:
    groups = {"control_plane": ["cp1"], "etcd": ["e1"], "workers": ["w1", "cp1"]}
    known = {**hostvars(w1=500), "cp1": {}, "e1": {"cluster_pods_per_node": 2048}}
    assert not filters.etcd_events_separate("auto", groups, known, 0)
    # 110 + 500 pods and 58 nodes of 500 to come are 29,610; one more is enough
    assert not filters.etcd_events_separate("auto", groups, known, 60)
    assert filters.etcd_events_separate("auto", groups, known, 61)
    assert filters.etcd_events_separate("always", groups, {}, 0)
    assert not filters.etcd_events_separate("never", groups, {}, 100)


@pytest.mark.parametrize("name", ["lab", "minimal", "high_density"])
def test_the_shipped_inventories_stay_without_it(name: str) -> None:
    """Their nodes are few; the largest number of pods that any of their files names, on every host that they name, is below the threshold."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "inventories" / name).rglob("*.yml"))]
    values = [document for text in texts for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    densest = max(
        (int(value["cluster_pods_per_node"]) for value in values if "cluster_pods_per_node" in value), default=110
    )
    assert not any("cluster_etcd_events" in text for text in texts)
    planned = max(
        (int(value["cluster_planned_nodes"]) for value in values if "cluster_planned_nodes" in value), default=0
    )
    assert not etcd_events.separate("auto", etcd_events.planned_pods({densest: 20}, planned))


def test_the_flag_names_the_resource_and_all_members() -> None:
    urls = filters.etcd_endpoints(
        ["b", "a"], {"a": {"cluster_node_ip": "fd00::1"}, "b": {"ansible_host": "192.0.2.2"}}, "events"
    )
    flag = etcd_events.override(urls)
    assert flag == "/events#https://192.0.2.2:2382;https://[fd00::1]:2382"
    # What kube-apiserver's ParseEtcdServersOverrides makes of it: one resource, of the core group, on all servers.
    place, _hash, servers = flag.partition("#")
    assert (place.split("/"), len(servers.split(";")), "," in flag) == (["", "events"], 2, False)


def cluster(**values: Any) -> kubeadm_config.ClusterSettings:
    return kubeadm_config.ClusterSettings(
        cluster_name="c", kubernetes_version="v1.36.3", endpoint="127.0.0.1:7443", pod_cidrs=["10.244.0.0/16"],
        service_cidrs=["10.96.0.0/16"], domain="cluster.local", etcd_endpoints=["https://192.0.2.1:2379"], **values,
    )  # fmt: skip


def flags(settings: kubeadm_config.ClusterSettings) -> dict[str, str]:
    arguments = kubeadm_config.cluster_configuration(settings)["apiServer"]["extraArgs"]
    return {one["name"]: one["value"] for one in arguments}


def test_the_apiserver_is_told_only_where_there_is_one() -> None:
    found = flags(cluster(etcd_events_endpoints=["https://192.0.2.1:2382"]))
    assert found.pop("etcd-servers-overrides") == "/events#https://192.0.2.1:2382"
    assert found == flags(cluster())


def test_the_limits_of_events_follow_the_room_of_their_etcd() -> None:
    shared = density_control_plane.event_limits(30_000, 500, 3, "1h0m0s")
    own = density_control_plane.event_limits(30_000, 500, 3, "1h0m0s", own_etcd=True)
    assert (shared[0]["qps"], own[0]["qps"]) == (388, 200)
    assert shared[0]["burst"] == own[0]["burst"]
    hour = own[0]["qps"] * 3 * 3600 * density_control_plane.EVENT_KIB / 1024
    assert hour < 4096, "what one TTL may bring fits the quota"


@pytest.mark.parametrize(("pods", "mib"), [(0, 256), (1_000, 271), (30_000, 696), (150_000, 2454)])
def test_memory_of_the_second_process(pods: int, mib: int) -> None:
    assert density_control_plane.events_etcd_mib(pods) == mib
    more = density_control_plane.control_plane_mib(pods, etcd=True, events=True)
    assert more == density_control_plane.control_plane_mib(pods, etcd=True) + mib
    assert density_control_plane.control_plane_mib(pods, etcd=False, events=True) == (
        density_control_plane.control_plane_mib(pods, etcd=False)
    )


# --- its loss is not the API's


def test_the_kubelet_does_not_restart_an_apiserver_for_it() -> None:
    assert filters.etcd_events_patches([]) == {}
    ((name, patch),) = filters.etcd_events_patches(["https://192.0.2.1:2382"]).items()
    # kubeadm: <target><suffix>+<type>.<extension>, of which the suffix orders
    assert name == "kube-apiserver0+strategic.json"
    (container,) = json.loads(json.dumps(patch))["spec"]["containers"]
    paths = {probe: container[probe]["httpGet"]["path"] for probe in container if probe != "name"}
    assert paths == {
        "livenessProbe": "/livez?exclude=etcd-override-0",
        "readinessProbe": "/readyz?exclude=etcd-override-0&exclude=etcd-override-readiness-0",
        "startupProbe": "/livez?exclude=etcd-override-0",
    }


def test_all_who_ask_whether_the_api_is_ready_ask_the_same() -> None:
    assert _kube_api.READY_PATH == etcd_events.READY_PATH
    for role, name in (("api_endpoint", "__api_endpoint_ready_path"), ("verification", "__verification_ready_path")):
        variables = yaml.safe_load((ROOT / "roles" / role / "vars" / "main.yml").read_text(encoding="utf-8"))
        assert variables[name] == etcd_events.READY_PATH
    templates = [path.read_text(encoding="utf-8") for path in (ROOT / "roles").rglob("*.j2")]
    assert not [
        line
        for text in templates
        for line in text.splitlines()
        if "/readyz" in line and not line.strip().startswith("#")
    ]


# --- who has a member


def test_ports_are_nobody_elses() -> None:
    assert etcd_plan.PORTS["events"] == (2382, 2383)
    with pytest.raises(etcd_plan.EtcdPlanError, match="no etcd 'event', only kubernetes and events"):
        etcd_plan.members(["a"], {"a": {"ansible_host": "192.0.2.1"}}, "event")


def test_data_of_either_etcd() -> None:
    seen = {
        "a": {"seen": {"has_data": True, "also": {"events": {"has_data": False}}}},
        "b": {"seen": {"has_data": True}},
        "c": {},
    }
    assert etcd_plan.data("abc", seen, "seen") == {"a": True, "b": True, "c": None}
    assert etcd_plan.data("abc", seen, "seen", "events") == {"a": False, "b": None, "c": None}


@pytest.mark.parametrize(
    ("observed", "joined", "left"),
    [
        ({"also": {"events": {"installed": True}}}, {"also": {}}, True),
        ({"also": {"events": {"installed": True}}}, {"also": {"events": {}}}, False),  # it is wanted
        ({"also": {"events": {"installed": False}}}, {"also": {}}, False),
        ({"also": {"events": {"installed": True}}}, None, False),  # this run did not come so far on the host
        ({"also": {"events": {"installed": True}}}, {"failed": True}, False),
        ({"unreachable": True}, {"also": {}}, False),
        (None, None, False),
    ],
)
def test_what_nobody_wants_any_more(observed: Any, joined: Any, left: bool) -> None:
    known = {"a": {"__etcd_observed": observed, "__etcd_joined": joined}}
    assert filters.etcd_events_left(["a", "gone"], known) == (["a"] if left else ["!all"])
