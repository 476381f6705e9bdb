"""The gates: each fails for its own reason and says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_judge as judge

from .density_result import SETTINGS, result


def judged(change: Callable[[dict[str, Any]], object] = lambda _result: None, **gates: Any) -> dict[str, judge.Verdict]:
    found = result()
    change(found)
    found["benchmark"]["settings"] = {**SETTINGS, **found.pop("settings", {})}
    return {verdict.gate: verdict for verdict in judge.judge(found, judge.limits_of(gates))}


def test_a_good_run_passes_every_gate() -> None:
    verdicts = judged()
    assert {gate: one.reason for gate, one in verdicts.items() if not one.passed} == {}
    assert set(verdicts) == (set(judge.DEFAULTS) - judge.HELPERS - {"canary_factor"}) | {
        f"canary {kind}" for kind in ("api_read", "api_write", "dns", "http")
    }


def seen(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda found: found["benchmark"].update(values)


def deep(*path: str, value: Any) -> Callable[[dict[str, Any]], object]:
    def change(found: dict[str, Any]) -> None:
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = value

    return change


EIGHT_BLOCKS = {
    "block_addresses": 64,
    "most_blocks_a_node": 8,
    "free_blocks": 99,
    "nodes": {"n1": {"blocks": 8, "used": 490, "addresses": 512}},
}
HALF_BACK = {"node": "n1", "wanted": 40, "returned": 39, "seconds": None, "course": []}
BAD_FAILURES = {
    "inotify": {"pods": 3, "example": "web-1: too many open files"},
    "still starting": {"pods": 1, "example": "web-2: "},
}


@pytest.mark.parametrize(
    ("change", "gate", "said"),
    [
        (seen(ready_now=36, failures=BAD_FAILURES), "all_ready", "4 of 40 pods are not Ready: 3 for want of inotify (web-1: too many"),
        (seen(ready_now=38, create_errors={"Forbidden: exceeded quota": 2}), "all_ready", "2 were not created: Forbidden: exceeded quota"),
        (seen(aborted="canary http: no answer 5 times in a row"), "all_ready", "aborted: canary http"),
        (deep("benchmark", "stages", "scheduled_to_ready", "max", value=34.2), "scheduled_to_ready_max_seconds", "34.2 s, more than 34 s"),
        (deep("benchmark", "stages", "scheduled_to_ready", "max", value=None), "scheduled_to_ready_max_seconds", "was not measured"),
        (deep("benchmark", "stages", "created_to_started", "p99", value=5.01), "pod_start_p99_seconds", "5.01 s, more than 5 s"),
        (deep("benchmark", "metrics", "api", "mutating", "p99_ms", value=1200.0), "api_mutating_p99_seconds", "(slowest: POST pods) is 1.2 s"),
        (deep("benchmark", "metrics", value=None), "api_mutating_p99_seconds", "was not measured"),
        (deep("benchmark", "metrics", "etcd", "fsync_p99_ms", value=10.0), "etcd_fsync_p99_ms", "10 ms, not less"),
        (deep("benchmark", "metrics", "etcd", "fsync_p99_ms", value=14.0), "etcd_fsync_p99_ms", "14 ms, more than 10 ms"),
        (deep("benchmark", "metrics", "etcd", "leader_changes", value=1), "etcd_leader_changes", "is 1, more than 0"),
        (deep("benchmark", "metrics", "etcd", "leader_changes", value=None), "etcd_leader_changes", "was not measured"),
        (deep("usage", "n1", "peak", "oom_kills", value=2), "oom_kills", "is 2, more than 0"),
        (seen(oom_killed=1), "oom_kills", "is 1, more than 0"),
        (seen(evicted=1), "evictions", "is 1, more than 0"),
        (deep("benchmark", "metrics", "kubelets", "n1", "evictions", value=2), "evictions", "is 2, more than 0"),
        (seen(restarts=3), "container_restarts", "is 3, more than 0"),
        (deep("benchmark", "canaries", "http", "load", "p99", value=51.0), "canary http", "times that or 25 ms) is 51 ms, more than 50 ms"),
        (deep("benchmark", "canaries", "api_write", "load", "failed", value=1), "canary api_write", "1 of its questions had no answer"),
        (deep("benchmark", "canaries", "http", "baseline", value=None), "canary http", "nothing was measured before it"),
        (deep("benchmark", "canaries", "dns", "load", "p99", value=130.0), "dns_p99_ms", "130 ms, more than 100 ms"),
        (deep("usage", "n1", "peak", "limits", "inotify instances", value={"used": 120, "limit": 128}), "limits_share", "inotify instances on n1: 120 of 128"),
        (deep("usage", "n1", "peak", value={}), "limits_share", "no figures of n1"),
        (deep("benchmark", "addresses", "peak", value=EIGHT_BLOCKS), "limits_share", "pod addresses of n1: 490 of 512 in 8 blocks"),
        (deep("usage", "n1", "peak", "parameters", "fs.inotify.max_user_instances", value=128), "kernel_profile", "instances is 128 on n1, 110 pods need 8192"),
        (deep("usage", "n1", "peak", "parameters", "kernel.pid_max", value=32768), "kernel_profile", "kernel.pid_max is 32768 on n1"),
        (deep("usage", "n1", "peak", value={}), "kernel_profile", "no figures of n1"),
        (deep("benchmark", "headroom", value={"pods": 120, "places_after_loss": 107, "kept": False}), "n_plus_1", "120 pods without the benchmark, 107 places"),
        (deep("cleaned", "left", value=["namespace density-benchmark"]), "returned", "still there: namespace density-benchmark"),
        (deep("cleaned", "addresses", "nodes", "n1", "used", value=9), "returned", "4 pod addresses on n1"),
        (deep("cleaned", value={}), "returned", "the load was not taken away"),
        (deep("restart", value=HALF_BACK), "restart", "restart of n1: 39 of 40 pods returned"),
        (deep("drain", value={"node": "n1", "wanted": 40, "elsewhere": 40, "evicted": 0, "seconds": 0.1}), "drain", "so nothing was shown"),
        (deep("restart", value={"node": "n1", "wanted": 0, "returned": 0, "seconds": 0.1, "course": []}), "restart", "so nothing was shown"),
        (deep("drain", value={"node": "n1", "wanted": 40, "elsewhere": 12, "seconds": None}), "drain", "drain of n1: 12 of 40 pods moved"),
    ],
)  # fmt: skip
def test_a_gate_fails_for_its_reason(change: Callable[[dict[str, Any]], object], gate: str, said: str) -> None:
    verdict = judged(change)[gate]
    assert verdict.passed is False
    assert said in verdict.reason


def test_the_probes_own_delay_does_not_count() -> None:
    def slow(found: dict[str, Any]) -> None:
        found["settings"] = {"probe_delay_seconds": 30}
        found["benchmark"]["stages"]["scheduled_to_ready"]["max"] = 63.9

    assert judged(slow)["scheduled_to_ready_max_seconds"].passed


def test_a_restart_that_came_back_passes() -> None:
    back = {"node": "n1", "wanted": 40, "returned": 40, "seconds": 31.0, "course": [[31.0, 40]]}
    assert judged(deep("restart", value=back))["restart"].found == "40 in 31.0 s"


def test_a_small_baseline_has_a_floor() -> None:
    assert judged(deep("benchmark", "canaries", "http", "load", "p99", value=49.9))["canary http"].passed
    assert not judged(deep("benchmark", "canaries", "http", "load", "p99", value=49.9), canary_floor_ms=10)[
        "canary http"
    ].passed


@pytest.mark.parametrize("gate", sorted(set(judge.DEFAULTS) - judge.HELPERS))
def test_null_turns_a_gate_off(gate: str) -> None:
    names = judged(**{gate: None})
    assert gate not in names
    if gate == "canary_factor":
        assert not [name for name in names if name.startswith("canary ")]


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ({"pod_start_p99": 5}, "there is no gate pod_start_p99; there are all_ready"),
        (
            {"pod_start_p99_seconds": "fast"},
            "density_benchmark_gates.pod_start_p99_seconds is 'fast'; it is a number of 0 or more",
        ),
        ({"pod_start_p99_seconds": -1}, "-1"),
        ({"pod_start_p99_seconds": True}, "True"),
        ({"limits_share": float("inf")}, "inf"),
        ({"all_ready": 1}, "it is true, false or null"),
    ],
)
def test_wrong_gates_are_refused(gates: dict[str, Any], said: str) -> None:
    with pytest.raises(judge.GatesError, match=r".") as error:
        judge.limits_of(gates)
    assert said in str(error.value)


def test_limits_are_numbers() -> None:
    assert judge.limits_of({"pod_start_p99_seconds": "7.5"})["pod_start_p99_seconds"] == 7.5
    assert judge.limits_of({"all_ready": False})["all_ready"] is None


def test_gates_that_need_machines_do_not_apply_to_simulated_nodes() -> None:
    verdicts = judged(lambda found: (found["benchmark"].update(simulated=["n1"], evicted=7), found.update(usage={})))
    idle = {gate for gate, one in verdicts.items() if one.passed is None}
    assert idle == set(judge.ONLY_REAL)
    assert verdicts["kernel_profile"].reason == "the nodes are simulated: there is no kernel"
    assert verdicts["kernel_profile"].found == "not applicable"
    for gate in ("all_ready", "api_mutating_p99_seconds", "etcd_fsync_p99_ms", "canary http", "dns_p99_ms", "returned"):
        assert verdicts[gate].passed, gate


def test_simulated_nodes_still_fail_what_applies() -> None:
    verdict = judged(seen(simulated=["n1"], ready_now=39))["all_ready"]
    assert verdict.passed is False


def test_what_does_not_apply_names_gates_that_exist() -> None:
    assert set(judge.ONLY_REAL) <= set(judge.DEFAULTS)
