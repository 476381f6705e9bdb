"""A benchmark's result as the modules return it, for tests: every gate passes."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_stages as stages

SETTINGS: dict[str, Any] = {"workload": "web", "rate": 2.0, "probe_delay_seconds": 0, "replicated": False, "seed": 1}


def summary(*values: float) -> dict[str, Any]:
    return stages.summary(values)


def usage(instances: int = 100, oom: int = 0, cpu: float = 1.0) -> dict[str, Any]:
    return {
        "at": 1.0,
        "limits": {
            "inotify instances": {"used": instances, "limit": 8192},
            "process numbers": {"used": 900, "limit": 4194304},
        },
        "parameters": {
            "fs.inotify.max_user_instances": 8192,
            "fs.inotify.max_user_watches": 524288,
            "kernel.pid_max": 4194304,
            "kernel.threads-max": 4194304,
            "kernel.keys.maxkeys": 20000,
        },
        "parts": {"kubelet": {"processes": 1, "threads": 20, "cpu_seconds": cpu, "memory_mib": 80.0}},
        "memory_mib": {"total": 24000, "available": 18000},
        "oom_kills": oom,
        "links": 40,
        "cpus": 2,
    }


def blocks(used: int) -> dict[str, Any]:
    return {
        "block_addresses": 64,
        "most_blocks_a_node": 20,
        "free_blocks": 1000,
        "nodes": {"n1": {"blocks": 1, "used": used, "addresses": 64}},
    }


def canary() -> dict[str, Any]:
    return {
        "baseline": {**summary(2.0, 3.0), "failed": 0},
        "load": {**summary(4.0, 30.0), "failed": 0},
        "course": [[-1.0, 2.0], [1.0, 30.0]],
    }


def pods(count: int) -> dict[str, Any]:
    rows: list[list[Any]] = []
    for number in range(count):
        at = number / 2
        rows.append([f"web-{number:05d}", "n1", at, at + 0.1, at + 1, at + 1.5, at + 2, None, 0])
    return {
        "columns": ["name", "node", "created", "scheduled", "sandbox", "started", "ready", "gone", "restarts"],
        "rows": rows,
    }


BENCHMARK: dict[str, Any] = {
    "run": "20261122-110000-1",
    "started": 1795345200.0,
    "ended": 1795345300.0,
    "aborted": "",
    "load": {
        "pods": 40,
        "explained": "40 pods as asked",
        "nodes": [
            {
                "name": "n1",
                "pods": 6,
                "places": 110,
                "free": 104,
                "least": "pods a node",
                "limits": {},
                "daemon_pods": 3,
            }
        ],
    },
    "marks": {"creating": 0.0, "created": 20.0},
    "timeline": [[-30.0, "baseline"], [0.0, "creating"], [20.0, "created"], [22.0, "settled"]],
    "create_errors": {},
    "behind_seconds": 0.01,
    "stages": {name: summary(0.5, 1.0, 2.0) for name in stages.SPANS},
    "stages_by_status": {name: summary(1.0, 2.0) for name in stages.SPANS},
    "reached": {stage: 40 for stage in stages.STAGES},
    "ready_now": 40,
    "ready_a_second": 2.0,
    "created_a_second": 2.0,
    "failures": {},
    "warnings": {},
    "restarts": 0,
    "oom_killed": 0,
    "evicted": 0,
    "watch_restarts": 0,
    "pods": pods(40),
    "canaries": {kind: canary() for kind in ("api_read", "api_write", "dns", "http")},
    "services": {
        "baseline": [{"programmed_ms": 30.0, "first_request_ms": 1.0}],
        "peak": [{"programmed_ms": 60.0, "first_request_ms": 2.0}],
        "load_balancer": {"address": "192.0.2.200", "assigned_ms": 90.0, "answered_ms": 120.0, "first_request_ms": 1.5},
    },
    "metrics": {
        "api": {
            "verbs": {"POST": {"count": 90, "p50_ms": 5.0, "p99_ms": 80.0}},
            "mutating": {"count": 300, "p50_ms": 5.0, "p99_ms": 90.0},
            "slowest": {"what": "POST pods", "p99_ms": 95.0},
            "rejected": 0,
            "servers": 3,
        },
        "etcd": {
            "members": {
                "https://192.0.2.11:2379": {
                    "fsync_p99_ms": 3.0,
                    "commit_p99_ms": 6.0,
                    "leader_changes": 0,
                    "db_size_mib": 12.0,
                }
            },
            "fsync_p99_ms": 3.0,
            "commit_p99_ms": 6.0,
            "leader_changes": 0,
            "db_size_mib": 12.0,
        },
        "kubelets": {
            "n1": {
                "cpu_cores": 0.3,
                "rss_mib": 90.0,
                "running_pods": 46,
                "pleg_relist_p50_ms": 5.0,
                "pleg_relist_p99_ms": 40.0,
                "pleg_interval_p99_ms": 1500.0,
                "cgroup_p99_ms": 10.0,
                "evictions": 0,
                "operation_errors": 0,
                "operations": {"run_podsandbox": {"count": 40, "p50_ms": 200.0, "p99_ms": 900.0}},
            }
        },
        "missing": [],
    },
    "kubelet_course": [
        {"at": 5.0, "node": "n1", "cpu_cores": 0.2, "rss_mib": 80.0, "running_pods": 10, "pleg_relist_p99_ms": 20.0},
        {"at": 20.0, "node": "n1", "cpu_cores": 0.4, "rss_mib": 90.0, "running_pods": 40, "pleg_relist_p99_ms": 40.0},
    ],
    "addresses": {"before": blocks(5), "peak": blocks(46)},
    "headroom": {"pods": 12, "places_after_loss": 107, "kept": True, "largest_share": 0.5},
    "conditions": {},
    "hardware": [
        {
            "name": "n1",
            "loaded": True,
            "roles": ["worker"],
            "cpus": "2",
            "memory_gib": 23.5,
            "pods": "110",
            "kernel": "6.18",
            "os": "Debian",
            "kubelet": "v1.36.3",
            "runtime": "containerd://2.4.2",
        }
    ],
}

CLEANED: dict[str, Any] = {
    "removed": ["namespace density-benchmark"],
    "left": [],
    "seconds": 12.0,
    "pods": 42,
    "pods_gone_seconds": 9.0,
    "course": [[0.0, 42], [9.0, 0]],
    "addresses": blocks(5),
}


def result() -> dict[str, Any]:
    """A new copy."""
    return copy.deepcopy(
        {
            "benchmark": BENCHMARK,
            "usage": {"n1": {"before": usage(), "peak": usage(140, cpu=20.0), "after": usage(cpu=22.0)}},
            "outside": {"client": {"urls": {"load_balancer": {"ok": True, "milliseconds": 3.1, "error": ""}}}},
            "restart": {},
            "drain": {},
            "cleaned": CLEANED,
        }
    )
