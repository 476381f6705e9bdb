"""How many pods are created, and what forbids it."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_plan as planning


def node(name: str = "n1", pods: int = 110, **spec: t.Any) -> dict[str, t.Any]:
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {
            "allocatable": {"pods": str(pods), "cpu": "3800m", "memory": "8Gi"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def pod(name: str = "n1", cpu: str = "100m", memory: str = "128Mi", **more: t.Any) -> dict[str, t.Any]:
    return {
        "metadata": {"name": "p", **more.pop("metadata", {})},
        "spec": {
            "nodeName": name,
            "containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}],
            **more.pop("spec", {}),
        },
        "status": {"phase": more.pop("phase", "Running")},
    }


def room(name: str = "n1", free: int = 100, **more: t.Any) -> planning.Room:
    given_values: dict[str, t.Any] = {
        "pods": 10,
        "places": 110,
        "least": "pods a node",
        "limits": {"pods a node": free},
    }
    return planning.Room(name, free=free, **{**given_values, **more})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("100m", 0.1),
        ("8Mi", 8 * 2**20),
        ("2", 2),
        ("1e3", 1000),
        ("1.5Gi", 1.5 * 2**30),
        ("5k", 5000),
        (0, 0),
        ("2E", 2e18),
        ("250u", 250e-6),
    ],
)
def test_quantities(text: t.Any, wanted: float) -> None:
    assert planning.quantity(text) == pytest.approx(wanted)


@pytest.mark.parametrize("text", ["", "Mi", "8mi", "8 Mi", "1x", "--1"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        planning.quantity(text)


def test_requests_count_as_the_scheduler_counts() -> None:
    one = pod(cpu="100m")
    one["spec"]["initContainers"] = [
        {"restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
        {"resources": {"requests": {"cpu": "300m"}}},
    ]
    one["spec"]["overhead"] = {"cpu": "10m"}
    # the sidecar stays: 50 + 100 run together, 50 + 300 while the other init container runs
    assert planning.requested(one, "cpu") == pytest.approx(0.36)


def test_room_is_the_least_of_all_limits() -> None:
    pods = [pod(), pod(), pod("other"), pod(phase="Succeeded")]
    found = planning.room(node(), pods, 0.001, 8 * 2**20, None)
    assert (found.pods, found.places, found.free, found.least) == (2, 110, 108, "pods a node")
    assert planning.room(node(), pods, 1.0, 8 * 2**20, None).least == "cpu"
    assert planning.room(node(), pods, 1.0, 8 * 2**20, None).free == 3
    assert planning.room(node(), pods, 0.001, 4 * 2**30, None).limits["memory"] == 1
    assert planning.room(node(), pods, 0.001, 1.0, 17).least == "pod addresses"


def test_no_room_is_none_and_not_less() -> None:
    assert planning.room(node(pods=1), [pod(), pod()], 0.001, 1.0, None).free == 0


def test_pods_of_daemon_sets_are_known() -> None:
    daemon = pod(metadata={"ownerReferences": [{"kind": "DaemonSet"}]})
    assert planning.room(node(), [daemon, pod()], 0.001, 1.0, None).daemon_pods == 1


# --- addresses


@pytest.mark.parametrize(
    ("cidr", "there", "wanted"),
    [("10.244.1.0/25", 10, 115), ("10.244.1.0/24", 0, 253), ("10.244.1.0/30", 5, 0), (None, 0, None)],
)
def test_addresses_of_a_node_network(cidr: str | None, there: int, wanted: int | None) -> None:
    assert planning.node_network_room(node(**({"podCIDR": cidr} if cidr else {})), there) == wanted


def block(cidr: str, host: str, used: int, size: int = 64) -> dict[str, t.Any]:
    return {"spec": {"cidr": cidr, "affinity": f"host:{host}", "allocations": [1] * used + [None] * (size - used)}}


POOL = {"spec": {"cidr": "10.244.0.0/24", "blockSize": 26}}


def test_calico_gives_what_its_blocks_and_the_free_ones_have() -> None:
    blocks = [block("10.244.0.0/26", "n1", 60), block("10.244.0.64/26", "n2", 1)]
    found = planning.calico_blocks([POOL], blocks, None)
    assert found is not None
    assert (found.free_blocks, found.room("n1"), found.room("n2"), found.room("new")) == (2, 4 + 128, 63 + 128, 128)


@pytest.mark.parametrize(("most", "wanted"), [(1, 4), (2, 4 + 64), (8, 4 + 128)])
def test_calicos_limit_of_blocks_a_node(most: int, wanted: int) -> None:
    found = planning.calico_blocks(
        [POOL],
        [block("10.244.0.0/26", "n1", 60), block("10.244.0.64/26", "n2", 1)],
        {"spec": {"maxBlocksPerHost": most}},
    )
    assert found is not None
    assert found.room("n1") == wanted


def test_pools_that_pods_get_nothing_from_do_not_count() -> None:
    others = [
        {"spec": {"cidr": "fd00::/48", "blockSize": 122}},
        {"spec": {"cidr": "10.1.0.0/16", "disabled": True}},
        {"spec": {"cidr": "10.2.0.0/16", "allowedUses": ["Tunnel"]}},
    ]
    assert planning.calico_blocks(others, [], None) is None
    found = planning.calico_blocks([POOL, *others], [block("10.1.0.0/26", "n1", 3)], None)
    assert found is not None
    assert found.free_blocks == 4
    assert found.as_data()["nodes"] == {}


# --- how many


def test_a_share_of_what_is_free() -> None:
    load = planning.plan([room("a", 100), room("b", 50)], planning.Wish(share=0.93))
    assert load.pods == 139 - 3  # a canary on each node and the lease's pod are part of it
    assert load.names == ["a", "b"]


def test_pods_a_node_count_what_is_there() -> None:
    load = planning.plan([room("a", 490, pods=10, places=500)], planning.Wish(pods_per_node=500))
    assert load.pods + 10 + 2 == 500


def test_pairs_stay_together() -> None:
    assert planning.plan([room("a", 100)], planning.Wish(pods=41, per_unit=2)).pods == 40


@pytest.mark.parametrize(
    ("rooms", "wish", "said"),
    [
        ([], planning.Wish(), "no node to load"),
        ([room(ready=False)], planning.Wish(), "n1 is not Ready"),
        ([room(taints=(("node.kubernetes.io/unschedulable", "", "NoSchedule"),))], planning.Wish(), "unschedulable:NoSchedule"),
        ([room(free=30)], planning.Wish(pods=40), "40 pods and 2 of the benchmark's own were asked for, 30 fit: n1 30 (ended by pods a node)"),
        ([room(free=41)], planning.Wish(pods=40), "41 fit"),
        (
            [room(free=70, least="pod addresses", limits={"pods a node": 480, "pod addresses": 70})],
            planning.Wish(pods_per_node=500),
            "cannot carry 500 pods: it has 10 and room for 70 more, ended by pod addresses (room by pod addresses 70, pods a node 480)",
        ),
        ([room(free=1)], planning.Wish(), "nothing fits"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_reason(rooms: list[planning.Room], wish: planning.Wish, said: str) -> None:
    with pytest.raises(planning.PlanError) as error:
        planning.plan(rooms, wish)
    assert said in str(error.value)


def test_all_reasons_at_once() -> None:
    with pytest.raises(planning.PlanError) as error:
        planning.plan([room("a", ready=False), room("b", ready=False)], planning.Wish(pods=5000))
    assert len(error.value.reasons) == 3


def test_taints_that_somebody_set_are_tolerated() -> None:
    assert planning.plan([room(taints=(("dedicated", "dense", "NoSchedule"),))], planning.Wish()).pods > 0


@settings(deadline=None)
@given(st.lists(st.integers(3, 2000), min_size=1, max_size=20), st.floats(0.05, 1))
def test_a_share_always_fits(free: list[int], share: float) -> None:
    rooms = [room(f"n{number}", count) for number, count in enumerate(free)]
    try:
        load = planning.plan(rooms, planning.Wish(share=share))
    except planning.PlanError:
        return
    assert 0 < load.pods <= sum(free) - len(free) - 1


@pytest.mark.parametrize(
    ("pods", "daemons", "kept"),
    [([50, 50, 50], 5, True), ([100, 100, 100], 5, False), ([75, 75, 75], 5, True), ([110], 0, False)],
)
def test_survival_of_a_loss(pods: list[int], daemons: int, kept: bool) -> None:
    found = planning.survives_loss(
        [room(f"n{number}", 1, pods=count, daemon_pods=daemons) for number, count in enumerate(pods)]
    )
    assert found["kept"] is kept


@settings(deadline=None)
@given(st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 500), min_size=1), st.floats(0, 1))
def test_what_is_divided_fits_and_is_all_of_it(room_of: dict[str, int], share: float) -> None:
    count = int(share * sum(room_of.values()))
    found = planning.divided(count, room_of)
    assert sum(found.values()) == count
    assert all(0 <= found[name] <= free for name, free in room_of.items())
    order = planning.sequence(found)
    assert {name: order.count(name) for name in found} == found


def test_nodes_fill_at_an_even_pace() -> None:
    assert planning.sequence({"a": 2, "b": 4}) == ["b", "a", "b", "b", "a", "b"]


# --- when


def test_pods_are_due_at_the_rate() -> None:
    assert [planning.due(index, 4) for index in range(4)] == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("minutes", "percent", "pods", "count"), [(2, 10, 100, 20), (0, 10, 100, 0), (1, 0, 100, 0), (0.5, 10, 40, 2)]
)
def test_churn_is_even(minutes: float, percent: float, pods: int, count: int) -> None:
    times = planning.churn_due(minutes, percent, pods)
    assert len(times) == count
    assert all(0 <= at < minutes * 60 for at in times)
    assert times == sorted(times)


def test_simulated_nodes_are_known_by_kwoks_annotation() -> None:
    fake = node()
    fake["metadata"]["annotations"] = {"kwok.x-k8s.io/node": "fake"}
    assert planning.room(fake, [], 0.001, 1.0, None).simulated
    assert not planning.room(node(), [], 0.001, 1.0, None).simulated


def test_simulated_nodes_are_filled_whole_and_never_together_with_real_ones() -> None:
    rooms = [room(f"kwok-{number}", free=500, places=500, pods=0, simulated=True) for number in range(4)]
    assert planning.plan(rooms, planning.Wish()).pods == 1860  # the lease's pod and the canary are elsewhere
    with pytest.raises(planning.PlanError, match="kwok-0, kwok-1, kwok-2, kwok-3 are simulated by kwok and the other"):
        planning.plan([*rooms, room()], planning.Wish())
