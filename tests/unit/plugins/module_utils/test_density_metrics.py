"""Figures from metrics before and after."""

from __future__ import annotations

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_metrics as metrics
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _prometheus as prometheus


def histogram(name: str, counts: dict[str, int], **labels: str) -> str:
    said = "".join(f'{key}="{value}",' for key, value in labels.items())
    return "".join(f'{name}_bucket{{{said}le="{bound}"}} {count}\n' for bound, count in counts.items())


def api(*parts: str) -> prometheus.Samples:
    return prometheus.parse("".join(parts), metrics.API_NAMES)


def test_api_latencies_by_verb() -> None:
    request = metrics.REQUESTS
    before = {"a": api(histogram(request, {"0.1": 10, "1": 10, "+Inf": 10}, verb="POST", resource="pods"))}
    after = {
        "a": api(
            histogram(request, {"0.1": 60, "1": 110, "+Inf": 110}, verb="POST", resource="pods"),
            histogram(request, {"0.1": 0, "1": 5, "+Inf": 5}, verb="PATCH", resource="nodes"),
            histogram(request, {"0.1": 100, "1": 100, "+Inf": 100}, verb="GET", resource="pods"),
            histogram(request, {"0.1": 0, "1": 0, "+Inf": 9}, verb="WATCH", resource="pods"),
            histogram(request, {"0.1": 0, "1": 0, "+Inf": 9}, verb="POST", resource="pods", subresource="exec"),
            f"{metrics.REJECTED} 3\n",
        ),
        "b": api(histogram(request, {"0.1": 0, "1": 100, "+Inf": 100}, verb="POST", resource="pods")),
    }
    found = metrics.api_figures(before, after, 10.0)
    assert sorted(found["verbs"]) == ["GET", "PATCH", "POST"]
    assert found["verbs"]["POST"]["count"] == 200  # of both servers, the 10 from before and exec left out
    assert found["mutating"]["count"] == 205
    assert found["slowest"]["what"] == "POST pods"  # 5 requests are too few for a percentile
    assert 900 < found["slowest"]["p99_ms"] <= 1000
    assert (found["rejected"], found["servers"]) == (3, 2)


def test_what_the_servers_take() -> None:
    before = {"a": api(f"{metrics.CPU} 100\n{metrics.RSS} 1048576\n")}
    after = {
        "a": api(f"{metrics.CPU} 105\n{metrics.RSS} 734003200\n"),
        "b": api(f"{metrics.CPU} 3\n{metrics.RSS} 104857600\n"),
    }
    found = metrics.api_figures(before, after, 10.0)
    assert found["processes"] == {
        "a": {"cpu_cores": 0.5, "rss_mib": 700.0},
        "b": {"cpu_cores": 0.3, "rss_mib": 100.0},
    }
    assert found["rss_mib"] == 700.0
    members = {"x": prometheus.parse(f"{metrics.CPU} 20\n{metrics.RSS} 52428800\n", metrics.ETCD_NAMES)}
    found = metrics.etcd_figures({}, members, 0.0)
    assert (found["members"]["x"]["cpu_cores"], found["rss_mib"]) == (None, 50.0)


def test_nobody_answered() -> None:
    found = metrics.api_figures({}, {}, 10.0)
    assert found["mutating"]["p99_ms"] is None
    assert metrics.etcd_figures({}, {}, 10.0)["fsync_p99_ms"] is None


def etcd(fsync: dict[str, int], leaders: int) -> prometheus.Samples:
    text = (
        histogram(metrics.FSYNC, fsync)
        + histogram(metrics.COMMIT, fsync)
        + f"{metrics.LEADER_CHANGES} {leaders}\n{metrics.DB_SIZE} 10485760\n"
    )
    return prometheus.parse(text, metrics.ETCD_NAMES)


def test_the_worst_member_of_etcd_counts() -> None:
    before = {
        "x": etcd({"0.008": 100, "0.016": 100, "+Inf": 100}, 2),
        "y": etcd({"0.008": 0, "0.016": 0, "+Inf": 0}, 2),
    }
    after = {
        "x": etcd({"0.008": 200, "0.016": 200, "+Inf": 200}, 2),
        "y": etcd({"0.008": 0, "0.016": 50, "+Inf": 50}, 3),
    }
    found = metrics.etcd_figures(before, after, 10.0)
    assert found["members"]["x"]["fsync_p99_ms"] < 8
    assert 15 < found["fsync_p99_ms"] < 16
    assert found["leader_changes"] == 1
    assert found["db_size_mib"] == 10.0


def test_a_kubelet() -> None:
    def kubelet(cpu: float, relist: dict[str, int]) -> prometheus.Samples:
        text = histogram(metrics.RELIST, relist) + histogram(
            metrics.OPERATIONS, relist, operation_type="run_podsandbox"
        )
        text += f'{metrics.CPU} {cpu}\n{metrics.RSS} 104857600\n{metrics.RUNNING_PODS} 42\n{metrics.EVICTIONS}{{eviction_signal="memory.available"}} 1\n'
        return prometheus.parse(text, metrics.KUBELET_NAMES)

    found = metrics.kubelet_figures(kubelet(10, {"0.1": 5, "+Inf": 5}), kubelet(70, {"0.1": 105, "+Inf": 105}), 120)
    assert (found["cpu_cores"], found["rss_mib"], found["running_pods"], found["evictions"]) == (0.5, 100.0, 42, 0)
    assert found["operations"] == {"run_podsandbox": {"count": 100, "p50_ms": 50.0, "p99_ms": 99.0}}
    assert found["pleg_relist_p99_ms"] == 99.0


def test_a_kubelet_that_was_started_anew() -> None:
    text = f"{metrics.CPU} 6\n"
    found = metrics.kubelet_figures(
        prometheus.parse(f"{metrics.CPU} 500\n", metrics.KUBELET_NAMES),
        prometheus.parse(text, metrics.KUBELET_NAMES),
        60,
    )
    assert found["cpu_cores"] == 0.1


@pytest.mark.parametrize(("seconds", "wanted"), [(None, None), (0.0123456, 12.35)])
def test_milliseconds(seconds: float | None, wanted: float | None) -> None:
    assert metrics.milliseconds(seconds) == wanted
