"""The benchmark's objects: what makes them safe on a live cluster."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_objects as objects

OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "lease", "uid": "u"}
SETTINGS = objects.Settings(
    "run-1", "web", "pause:1", "echo:1", ("n1", "n2"), (("dedicated", "dense", "NoSchedule"),), owner=OWNER
)


def everything(settings: objects.Settings) -> list[dict[str, t.Any]]:
    return [
        objects.pod(settings, "web-00001"),
        *objects.replicated(settings, 1),
        *objects.heavy(settings, 1),
        objects.canary(settings, 0, "n1"),
        *objects.canary_services(settings, True),
    ]


def pod_specs(found: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    return [
        obj["spec"] if obj["kind"] == "Pod" else obj["spec"]["template"]["spec"]
        for obj in found
        if obj["kind"] in ("Pod", "Deployment", "Job")
    ]


def test_everything_hangs_on_the_lease() -> None:
    for obj in everything(SETTINGS):
        assert obj["metadata"]["ownerReferences"] == [OWNER], obj["metadata"]["name"]
        assert obj["metadata"]["namespace"] == objects.NAMESPACE
        assert obj["metadata"]["labels"][objects.LABEL] == "run-1"


def test_the_lease_ends_and_is_deleted_when_nobody_moves_it_on() -> None:
    job = objects.lease(SETTINGS, 120, 1000.4)
    assert job["spec"]["activeDeadlineSeconds"] == 120
    assert job["spec"]["ttlSecondsAfterFinished"] == 0
    assert job["metadata"]["annotations"] == {objects.RUN_ANNOTATION: "run-1", objects.BEAT_ANNOTATION: "1000"}


def test_nothing_is_above_anybody() -> None:
    assert objects.priority_class()["preemptionPolicy"] == "Never"
    assert objects.priority_class()["value"] < -10
    for spec in pod_specs([*everything(SETTINGS), objects.lease(SETTINGS, 1, 0)]):
        assert spec["priorityClassName"] == objects.PRIORITY_CLASS


def test_pods_meet_the_strictest_pod_security() -> None:
    assert objects.namespace()["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for spec in pod_specs([*everything(SETTINGS), objects.lease(SETTINGS, 1, 0)]):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["resources"]["limits"]["memory"] == "64Mi"


def test_the_load_goes_where_it_is_told_and_tolerates_what_stands_there() -> None:
    spec = objects.pod(SETTINGS, "a")["spec"]
    term = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1", "n2"]}]}]
    assert spec["tolerations"] == [{"key": "dedicated", "operator": "Equal", "value": "dense", "effect": "NoSchedule"}]


def test_a_bare_pod_may_be_meant_for_a_node_and_deployments_spread() -> None:
    spec = objects.pod(SETTINGS, "a", "n2")["spec"]
    term = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term[0]["matchExpressions"][0]["values"] == ["n2"]
    (made,) = objects.replicated(SETTINGS, 1)
    template = made["spec"]["template"]
    (spread,) = template["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize(("workload", "image", "probed"), [("web", "echo:1", True), ("pause", "pause:1", False)])
def test_bare_pods_and_deployments_are_alike(workload: str, image: str, probed: bool) -> None:
    settings = replace(SETTINGS, workload=workload, probe_delay_seconds=7)
    bare, (made,) = objects.pod(settings, "a"), objects.replicated(settings, 1)
    for spec in pod_specs([bare, made]):
        (container,) = spec["containers"]
        assert container["image"] == image
        assert container.get("readinessProbe", {}).get("initialDelaySeconds") == (7 if probed else None)
    # the API refuses activeDeadlineSeconds in a template
    assert bare["spec"]["activeDeadlineSeconds"] == settings.most_seconds
    assert "activeDeadlineSeconds" not in made["spec"]["template"]["spec"]


def test_heavy_is_a_service_for_two_pods() -> None:
    service, server, client = objects.heavy(SETTINGS, 3)
    assert (service["kind"], server["kind"], client["kind"]) == ("Service", "Deployment", "Deployment")
    labels = server["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert not service["spec"]["selector"].items() <= client["spec"]["template"]["metadata"]["labels"].items()
    command = client["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]
    assert command[-1] == "http://server-00003.density-benchmark/healthz"
    for made in (server, client):
        assert made["spec"]["selector"]["matchLabels"].items() <= made["spec"]["template"]["metadata"]["labels"].items()


def test_the_quota_is_little_more_than_the_load() -> None:
    hard = objects.quota(40, 5, 0)["spec"]["hard"]
    assert hard["count/pods"] == "50"
    assert hard["services.loadbalancers"] == "0"
    assert objects.quota(1000, 5, 1)["spec"]["hard"]["count/pods"] == "1200"


def test_canaries_have_a_load_balancer_only_where_there_is_one() -> None:
    assert [one["spec"]["type"] for one in objects.canary_services(SETTINGS, True)] == ["ClusterIP", "LoadBalancer"]
    assert [one["spec"]["type"] for one in objects.canary_services(SETTINGS, False)] == ["ClusterIP"]
    selector = objects.canary_services(SETTINGS, False)[0]["spec"]["selector"]
    assert selector.items() <= objects.canary(SETTINGS, 0, "n1")["metadata"]["labels"].items()
    assert not selector.items() <= objects.pod(SETTINGS, "a")["metadata"]["labels"].items()
