"""The reports: what was let through, and what would be cut. The rule (policy_rules) has its cases in test_cluster.py."""

from __future__ import annotations

from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import policy_report, policy_verdict
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.network_policies import Surroundings, objects, read

FLOW = {"from": {"pods": {"app": "front"}}, "to": {"pods": {"app": "back"}}, "ports": [8080]}
WANTED = objects(read({"shop": {"flows": [FLOW]}}, Surroundings()))


def pod(name: str, number: int, namespace: str = "shop") -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
        "spec": {"nodeName": "n1", "containers": [{"ports": [{"containerPort": 8080}]}]},
        "status": {"podIPs": [{"ip": f"10.244.0.{number}"}]},
    }


def facts(*others: dict[str, Any], pods: tuple[dict[str, Any], ...] | None = None) -> dict[str, Any]:
    live = [{"metadata": obj["metadata"], "spec": obj["spec"]} for obj in WANTED if obj["kind"] == "NetworkPolicy"]
    return {
        "pods": list(pods if pods is not None else (pod("front", 1), pod("back", 2), pod("web", 3, "web"))),
        "namespaces": {name: {"kubernetes.io/metadata.name": name} for name in ("shop", "web")},
        "services": ["10.96.0.1"],
        "policies": [*live, *others],
    }


def as_expected(known: dict[str, Any], **other: str) -> dict[str, Any]:
    trials = policy_verdict.trials_of(known, WANTED, ("192.0.2.1",))
    outcomes = {trial.id: "connected" if trial.passes else "dropped" for trial in trials}
    return {"n1": {"outcomes": {**outcomes, **other}}}


def test_all_as_described() -> None:
    known = facts()
    made = policy_report.tested(known, WANTED, as_expected(known), ["192.0.2.1"])
    assert made.wrong == ()
    # Six between the three workloads, and two that must not reach the API.
    assert made.lines[0] == "8 connections tried: 1 had to pass, 7 had not to; 0 went otherwise"


def test_what_went_otherwise_is_named() -> None:
    known = facts()
    results = as_expected(known, **{"shop/front -> shop/back 8080/TCP at 10.244.0.2": "dropped"})
    made = policy_report.tested(known, WANTED, results, ["192.0.2.1"])
    assert made.wrong == ("shop/front -> shop/back 8080/TCP: must pass and is dropped",)
    silent = policy_report.tested(known, WANTED, {}, ["192.0.2.1"])
    assert len(silent.wrong) == 8
    assert "gave no answer" in silent.wrong[0]


def test_a_policy_that_is_not_in_the_cluster_is_wrong() -> None:
    known = facts()
    gone = known["policies"].pop(0)
    made = policy_report.tested(known, WANTED, as_expected(known), ["192.0.2.1"])
    assert made.wrong == (f"shop/{gone['metadata']['name']} is not in the cluster, or says something else",)


def test_policies_of_others_are_reckoned_with_and_told() -> None:
    opened = {
        "metadata": {"namespace": "shop", "name": "theirs"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
    }
    known = facts(opened)
    made = policy_report.tested(known, WANTED, as_expected(known), ["192.0.2.1"])
    assert made.wrong == ()
    assert "3 had to pass" in made.lines[0]
    assert made.data["others"] == ["shop/theirs"]


def test_nothing_to_try_is_said() -> None:
    known = facts(pods=())
    made = policy_report.tested(known, WANTED, {}, ["192.0.2.1"])
    assert made.wrong == ()
    assert "nothing was tried" in made.lines[-1]
    assert len(made.data["untested"]) == 4


def test_what_would_be_cut_and_who_could_not_look() -> None:
    connections = [
        {"protocol": "tcp", "source": "10.244.0.3", "target": "10.244.0.2", "port": 8080},
        {"protocol": "tcp", "source": "10.244.0.1", "target": "10.244.0.2", "port": 8080},
        {"protocol": "tcp", "source": "192.0.2.1", "target": "10.244.0.2", "port": 8080},
    ]
    results = {"n1": {"connections": connections, "error": ""}, "n2": {"connections": [], "error": "no conntrack"}}
    live_without = {**facts(), "policies": []}
    made = policy_report.foreseen(live_without, WANTED, results, {"192.0.2.1": "n1"})
    assert made.data["would_be_cut"] == [{"connection": "web/web -> shop/back 8080/TCP", "end": "Ingress"}]
    assert made.wrong == ("could not look: n2: no conntrack",)
