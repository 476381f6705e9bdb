"""The filter density_usage."""

from __future__ import annotations

from ansible_collections.bare_metal.kubernetes.plugins.filter.density_benchmark import density_usage


def test_usage_by_host_and_time() -> None:
    hostvars = {"n1": {"a": {"usage": {"at": 1}}, "b": {"usage": {"at": 2}}}, "n2": {"a": {"msg": "unreachable"}}}
    assert density_usage(["n1", "n2", "n3"], hostvars, {"before": "a", "peak": "b"}) == {
        "n1": {"before": {"at": 1}, "peak": {"at": 2}},
        "n2": {"before": {}, "peak": {}},
    }
