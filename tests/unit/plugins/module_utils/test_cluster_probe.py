"""What verify keeps of the API's objects, from objects as the API gives them and from the bare least."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _cluster_probe as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApiError

NODE = {
    "metadata": {"name": "w1"},
    "spec": {"unschedulable": True},
    "status": {
        "conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": "True", "message": "fine"},
        ],
        "addresses": [{"type": "Hostname", "address": "w1"}, {"type": "InternalIP", "address": "192.0.2.31"}],
        "allocatable": {"pods": "500"},
        "nodeInfo": {"kubeletVersion": "v1.36.3"},
    },
}


def test_node() -> None:
    assert core.node_record(NODE) == {
        "name": "w1",
        "ready": True,
        "reason": "",
        "version": "v1.36.3",
        "addresses": ["192.0.2.31"],
        "max_pods": 500,
        "unschedulable": True,
    }


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"conditions": [{"type": "Ready", "status": "False", "message": "no network"}]}, "no network"),
        ({"conditions": [{"type": "Ready", "status": "Unknown"}]}, "no Ready condition"),
        ({"conditions": []}, "no Ready condition"),
        ({}, "no Ready condition"),
    ],
)
def test_node_that_is_not_ready(status: dict[str, t.Any], reason: str) -> None:
    record = core.node_record({"metadata": {"name": "w1"}, "status": status})
    assert (record["ready"], record["reason"], record["addresses"], record["max_pods"]) == (False, reason, [], 0)


@pytest.mark.parametrize(
    ("kind", "workload", "wanted", "ready"),
    [
        ("DaemonSet", {"status": {"desiredNumberScheduled": 5, "numberReady": 4}}, 5, 4),
        ("DaemonSet", {}, 0, 0),
        ("Deployment", {"spec": {"replicas": 3}, "status": {"readyReplicas": 2}}, 3, 2),
        ("Deployment", {"spec": {"replicas": 0}, "status": {}}, 0, 0),
        ("Deployment", {"spec": {}, "status": {"readyReplicas": None}}, 1, 0),
    ],
)
def test_workload(kind: str, workload: dict[str, t.Any], wanted: int, ready: int) -> None:
    record = core.workload_record({"metadata": {"namespace": "n", "name": "x"}, **workload}, kind)
    assert record == {"kind": kind, "namespace": "n", "name": "x", "wanted": wanted, "ready": ready}


def test_pod_and_service_of_the_bare_least() -> None:
    meta = {"metadata": {"name": "x"}}
    assert core.pod_record(meta) == {"name": "x", "node": "", "address": "", "addresses": [], "ready": False}
    assert core.service_record(meta) == {
        "name": "x",
        "type": "",
        "cluster_ip": "",
        "cluster_ips": [],
        "port": 0,
        "externals": [],
        "policy": "",
    }


def test_a_pod_of_two_families() -> None:
    status = {"podIP": "10.244.0.7", "podIPs": [{"ip": "10.244.0.7"}, {"ip": "fd00::7"}]}
    record = core.pod_record({"metadata": {"name": "x"}, "status": status})
    assert (record["address"], record["addresses"]) == ("10.244.0.7", ["10.244.0.7", "fd00::7"])


def test_service_with_an_address() -> None:
    service = {
        "metadata": {"name": "echo"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.20",
            "clusterIPs": ["10.96.0.20", "fd00::20"],
            "ports": [{"port": 80}, {"port": 443}],
            "externalTrafficPolicy": "Local",
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.240"}, {"hostname": "x"}, {"ip": "2001:db8::1"}]}},
    }
    expected = {
        "name": "echo",
        "type": "LoadBalancer",
        "cluster_ip": "10.96.0.20",
        "cluster_ips": ["10.96.0.20", "fd00::20"],
        "port": 80,
        "externals": ["192.0.2.240", "2001:db8::1"],
        "policy": "Local",
    }
    assert core.service_record(service) == expected


class Api:
    """Lists what it was given; a KubeApiError among it is raised."""

    def __init__(self, objects: dict[str, t.Any]) -> None:
        self.objects = objects
        self.asked: list[tuple[str, str, str]] = []

    def list(self, _version: str, kind: str, namespace: str = "", labels: str = "") -> list[t.Any]:
        self.asked.append((kind, namespace, labels))
        found = self.objects.get(kind, [])
        if isinstance(found, KubeApiError):
            raise found
        return found


def observe(api: Api) -> dict[str, t.Any]:
    return core.observe_cluster(api, "probes")  # type: ignore[arg-type]


def test_observe() -> None:
    api = Api(
        {
            "Node": [NODE],
            "DaemonSet": [{"metadata": {"namespace": "n", "name": "d"}}],
            "BlockAffinity": [
                {"spec": {"node": "w1", "cidr": "10.244.0.0/24", "state": "confirmed", "deleted": "false"}},
                {"spec": {"node": "w2", "cidr": "10.244.1.0/24", "deleted": "true"}},
            ],
            "ServiceL2Status": [
                {
                    "status": {
                        "serviceName": "a",
                        "serviceNamespace": "probes",
                        "node": "w1",
                        "interfaces": [{"name": "eth0"}],
                    }
                },
                {"status": {"serviceName": "b", "serviceNamespace": "web", "node": "w1"}},
            ],
            "ServiceBGPStatus": [
                {"status": {"serviceName": "c", "serviceNamespace": "probes", "node": "w2", "peers": ["tor"]}},
                {},
            ],
            "CertificateSigningRequest": [
                {"metadata": {"name": "waits"}},
                {"metadata": {"name": "approved"}, "status": {"conditions": [{"type": "Approved"}]}},
            ],
        }
    )
    seen = observe(api)
    assert [node["name"] for node in seen["nodes"]] == ["w1"]
    assert [workload["name"] for workload in seen["workloads"]] == ["d"]
    assert seen["blocks"] == [{"node": "w1", "cidr": "10.244.0.0/24", "state": "confirmed"}]
    assert seen["announcements"] == [
        {"service": "a", "namespace": "probes", "node": "w1", "interfaces": ["eth0"], "peers": []},
        {"service": "c", "namespace": "probes", "node": "w2", "interfaces": [], "peers": ["tor"]},
    ]
    assert seen["pending_requests"] == ["waits"]
    # Only the probe's own pods are read: a large cluster has very many.
    assert ("Pod", "probes", "app.kubernetes.io/name=probe") in api.asked


def test_a_cluster_without_calico_has_no_blocks() -> None:
    assert (
        observe(Api({"BlockAffinity": KubeApiError("the server does not know it", reason="UnknownKind")}))["blocks"]
        == []
    )


def test_a_silent_api_is_not_a_cluster_without_calico() -> None:
    with pytest.raises(KubeApiError, match="refused"):
        observe(Api({"BlockAffinity": KubeApiError("connection refused", reason="Unreachable")}))


def test_ranges_of_a_cilium_node() -> None:
    node = {"metadata": {"name": "w1"}, "spec": {"ipam": {"podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]}}}
    assert core.range_records(node) == [
        {"node": "w1", "cidr": "10.244.1.0/24", "state": "confirmed"},
        {"node": "w1", "cidr": "fd00:1::/64", "state": "confirmed"},
    ]
    assert core.range_records({"metadata": {"name": "w1"}, "spec": {}}) == []
