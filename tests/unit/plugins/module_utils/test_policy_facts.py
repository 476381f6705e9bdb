"""What leaves a control plane of pods and policies."""

from __future__ import annotations

from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._policy_facts import read

POD = {
    "metadata": {"namespace": "shop", "name": "front", "labels": {"app": "front"}, "uid": "1"},
    "spec": {
        "nodeName": "n1",
        "containers": [
            {
                "name": "c",
                "env": [{"name": "PASSWORD", "value": "hush"}],
                "ports": [{"containerPort": 80, "hostPort": 1}],
            }
        ],
    },
    "status": {"phase": "Running", "podIPs": [{"ip": "10.244.0.1"}]},
}


class Api:
    """Answers lists as the API does."""

    def __init__(self, **kinds: list[dict[str, Any]]) -> None:
        self.kinds = kinds

    def list(self, _version: str, kind: str) -> list[dict[str, Any]]:
        return self.kinds.get(kind, [])


def test_only_what_policies_see() -> None:
    ended = {**POD, "status": {"phase": "Succeeded"}}
    policy = {
        "metadata": {"namespace": "shop", "name": "x", "managedFields": []},
        "spec": {"podSelector": {}},
        "status": {},
    }
    services = [{"spec": {"clusterIPs": ["10.96.0.1"]}}, {"spec": {"clusterIPs": ["None"]}}, {"spec": {}}]
    found = read(
        Api(Pod=[POD, ended], Namespace=[{"metadata": {"name": "shop"}}], Service=services, NetworkPolicy=[policy])
    )
    assert "hush" not in str(found)
    (pod,) = found["pods"]
    assert pod["spec"] == {"nodeName": "n1", "hostNetwork": False, "containers": [{"ports": [{"containerPort": 80}]}]}
    assert found["services"] == ["10.96.0.1"]
    assert found["namespaces"] == {"shop": {}}
    assert found["policies"] == [{"metadata": {"namespace": "shop", "name": "x"}, "spec": {"podSelector": {}}}]
