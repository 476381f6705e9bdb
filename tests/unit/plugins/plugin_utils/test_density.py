"""density: the kernel's parameters follow from pods and machine."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.filter import density as filters
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import parse_parameters
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density

MACHINE = {"cpus": 40, "memory_mib": 524288}


def floors(pods: int, cpus: int = 40, memory_mib: int = 524288, **options: Any) -> dict[str, Any]:
    found = density.kernel_parameters(pods, cpus, memory_mib, **options)
    return {key: spec.get("min", spec.get("exactly", spec.get("one_of"))) for key, spec in found.items()}


@pytest.mark.parametrize(
    ("key", "at_110", "at_500", "at_1000"),
    [
        ("fs.inotify.max_user_instances", 8192, 8192, 16000),
        ("fs.inotify.max_user_watches", 524288, 524288, 1024000),
        ("fs.inotify.max_queued_events", 16384, 32000, 64000),
        ("fs.nr_open", 1048576, 1048576, 1048576),
        ("fs.file-max", 1048576, 4096000, 8192000),
        ("kernel.pid_max", 483328, 2080768, 4128768),
        ("kernel.threads-max", 145408, 544768, 1056768),
        ("kernel.keys.maxkeys", 2000, 5000, 10000),
        ("net.netfilter.nf_conntrack_max", 1048576, 1048576, 2048000),
        ("net.ipv4.neigh.default.gc_thresh1", 1024, 1024, 2000),
        ("net.ipv4.neigh.default.gc_thresh3", 8192, 8192, 16000),
        ("net.ipv4.ip_forward", 1, 1, 1),
    ],
)
def test_what_grows_with_the_pods(key: str, at_110: int, at_500: int, at_1000: int) -> None:
    assert (floors(110)[key], floors(500)[key], floors(1000)[key]) == (at_110, at_500, at_1000)


@pytest.mark.parametrize(
    ("pods", "cpus", "memory_mib", "expected"),
    [
        (110, 2, 2048, 131072),  # 2 % of 2 GiB would be the same: never below kube-proxy's own floor
        (110, 2, 1024, 131072),
        (500, 4, 8192, 524288),  # 1,024,000 wanted, 64 a MiB allowed
        (500, 4, 524288, 1024000),
        (110, 128, 524288, 1048576),
    ],
)
def test_connections_are_bound_by_memory(pods: int, cpus: int, memory_mib: int, expected: int) -> None:
    assert density.conntrack_max(pods, cpus, memory_mib) == expected


def test_small_machines_do_not_get_more_threads_than_stacks_fit() -> None:
    assert floors(500, memory_mib=16384)["kernel.threads-max"] == 262144


def test_what_the_kubelet_protects_is_exactly_what_it_wants() -> None:
    # kubelet: pkg/util/sysctl, the values that protectKernelDefaults checks.
    wanted = {
        "vm.overcommit_memory": 1,
        "vm.panic_on_oom": 0,
        "kernel.panic": 10,
        "kernel.panic_on_oops": 1,
        "kernel.keys.root_maxkeys": 1000000,
        "kernel.keys.root_maxbytes": 25000000,
    }
    found = density.kernel_parameters(110, 2, 4096)
    assert {key: found[key]["exactly"] for key in wanted} == wanted


def test_ipv6_comes_with_a_pod_network_of_it() -> None:
    assert not [key for key in floors(110, pod_cidrs=["10.0.0.0/16"]) if "ipv6" in key]
    dual = floors(110, pod_cidrs=["10.0.0.0/16", "fd00::/48"])
    assert dual["net.ipv6.conf.all.forwarding"] == 1
    assert dual["net.ipv6.neigh.default.gc_thresh3"] == 8192


def test_reverse_path_filtering_is_calicos_wish() -> None:
    assert floors(110)["net.ipv4.conf.all.rp_filter"] == [0, 1]
    assert "net.ipv4.conf.all.rp_filter" not in floors(110, network_plugin="cilium")


def test_the_users_own_replace_whole_entries_in_any_spelling_and_null_drops_one() -> None:
    own = {"fs/inotify/max_user_instances": {"exactly": 9}, "kernel.panic": None, "vm.swappiness": 1}
    found = density.kernel_parameters(110, 2, 4096, overrides=own)
    assert found["fs.inotify.max_user_instances"] == {"exactly": 9}
    assert "kernel.panic" not in found
    assert found["vm.swappiness"] == 1


def test_levels_merge_by_name_the_more_special_last() -> None:
    cluster = {
        "vm.swappiness": 1,
        "kernel.panic": 20,
        "net.core.somaxconn": {"min": 99999},
        "-net.core.bpf_jit_harden": 2,
    }
    group = {"vm/swappiness": {"max": 10}, "kernel.panic": None, "net.core.bpf_jit_harden": 1}
    host = {"kernel.panic": 30, "net/ipv4/conf/eth0.100/rp_filter": 0}
    found = density.kernel_parameters(110, 2, 4096, overrides=[cluster, group, None, host])
    own = {
        key: found[key] for key in ("vm.swappiness", "kernel.panic", "net.core.somaxconn", "net.core.bpf_jit_harden")
    }
    assert own == {
        "vm.swappiness": {"max": 10},
        "kernel.panic": 30,
        "net.core.somaxconn": {"min": 99999},
        "net.core.bpf_jit_harden": 1,
    }
    assert found["net.ipv4.conf.eth0/100.rp_filter"] == 0
    assert "-net.core.bpf_jit_harden" not in found
    assert density.kernel_parameters(110, 2, 4096, overrides=[]) == density.kernel_parameters(110, 2, 4096)


def test_two_spellings_in_one_level_are_two_wishes() -> None:
    level = {"a/b": {"max": 1}, "a.b": {"min": 2}, "-a.b": 5, "c.d": None, "-e.f": [1, None], "-e/f": 1}
    found = density.merged([{"a.b": 1}, level])
    assert found == {"a.b": [{"max": 1}, {"min": 2}, 5], "-e.f": [1, 1]}
    assert [bool(parameter.conflict) for parameter in parse_parameters(found)] == [True, False]


@given(pods=st.integers(1, 2000), cpus=st.integers(1, 512), memory_mib=st.integers(1, 4 * 2**20))
def test_every_profile_is_one_that_the_module_takes(pods: int, cpus: int, memory_mib: int) -> None:
    found = density.kernel_parameters(pods, cpus, memory_mib, ["10.0.0.0/8", "fd00::/48"])
    assert len(parse_parameters(found)) == len(found)
    assert all(spec["reason"] and spec["source"] for spec in found.values())
    assert found["kernel.pid_max"]["min"] <= density.PID_MAX_LIMIT
    more = density.kernel_parameters(pods + 1, cpus, memory_mib, ["10.0.0.0/8", "fd00::/48"])
    assert all(more[key]["min"] >= spec["min"] for key, spec in found.items() if "min" in spec)


@pytest.mark.parametrize(
    ("machine", "pods", "said"),
    [({}, 110, "machine_info has not run"), (MACHINE, 0, "positive"), (MACHINE, "lots", "lots")],
)
def test_the_filter_explains_what_is_wrong(machine: dict[str, int], pods: Any, said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=said):
        filters.kernel_parameters(machine, pods)


def test_the_filter_is_registered() -> None:
    assert filters.FilterModule().filters()["kernel_parameters"](MACHINE, "500") == density.kernel_parameters(
        500, 40, 524288
    )
