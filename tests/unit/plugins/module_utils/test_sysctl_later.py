"""_sysctl_later: modules, and programs that write after systemd-sysctl; on recorded configurations."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_files import Assignment, parse_file
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_later import (
    Writer,
    cloud_init_assignments,
    finally_,
    kube_proxy_assignments,
    module_of,
    read_modules,
    read_writers,
    tuned_section,
)


def put(root: Path, path: str, text: str = "") -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


# --- modules --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "module"),
    [
        ("net.bridge.bridge-nf-call-iptables", "br_netfilter"),
        ("net.netfilter.nf_conntrack_max", "nf_conntrack"),
        ("net.nf_conntrack_max", "nf_conntrack"),
        ("net.ipv4.vs.conntrack", "ip_vs"),
        ("net.ipv6.conf.all.forwarding", "ipv6"),
        ("net.ipv4.ip_forward", ""),
        ("net.bridges", ""),
    ],
)
def test_modules_of_parameters(key: str, module: str) -> None:
    assert module_of(key) == module


def test_modules_that_are_there_that_will_load_and_that_may_not(tmp_path: Path) -> None:
    (tmp_path / "sys/module/nf_conntrack").mkdir(parents=True)
    put(tmp_path, "usr/lib/modules-load.d/a.conf", "ip-vs\n")
    put(tmp_path, "etc/modules-load.d/a.conf", "# ip_vs\n; x\n\n  br_netfilter \n")
    put(tmp_path, "run/modules-load.d/b.conf", "br_netfilter\nsctp\n")
    put(tmp_path, "etc/modules-load.d/c.txt", "dummy\n")
    put(
        tmp_path,
        "etc/modprobe.d/x.conf",
        "options sctp a=1\nblacklist sctp\ninstall rds /bin/true\ninstall tipc /sbin/x\n",
    )
    found = read_modules(str(tmp_path))
    assert found.loaded == {"nf_conntrack"}
    assert found.at_boot == {"br_netfilter": "/etc/modules-load.d/a.conf", "sctp": "/run/modules-load.d/b.conf"}
    assert found.barred == {"sctp": "/etc/modprobe.d/x.conf:2", "rds": "/etc/modprobe.d/x.conf:3"}


def test_a_machine_without_any_of_it(tmp_path: Path) -> None:
    assert read_modules(str(tmp_path)) == read_modules(str(tmp_path / "nothing"))
    assert read_writers(["net.netfilter.nf_conntrack_max"], (), 4, str(tmp_path)) == ()


# --- kube-proxy: as kubeadm writes its configuration ----------------------------------------------------------------------------------------

RECORDED = """apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
clusterCIDR: 10.244.0.0/16
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
iptables:
  localhostNodePorts: null
ipvs:
  strictARP: false
kind: KubeProxyConfiguration
mode: ""
nodePortAddresses: null
"""


@pytest.mark.parametrize(
    ("changes", "cpus", "sets"),
    [
        (
            {},
            4,
            {
                "nf_conntrack_max": "131072",
                "nf_conntrack_tcp_timeout_established": "86400",
                "nf_conntrack_tcp_timeout_close_wait": "3600",
                "route_localnet": "1",
            },
        ),
        (
            {
                "maxPerCore: null": "maxPerCore: 0",
                'mode: ""': "mode: nftables",
                "CloseWaitTimeout: null": "CloseWaitTimeout: 0s",
            },
            4,
            {"nf_conntrack_tcp_timeout_established": "86400"},
        ),
        (
            {
                "maxPerCore: null": "maxPerCore: 40000",
                "min: null": "min: 10",
                'mode: ""': "mode: nftables",
                "Timeout: null": "Timeout: 0s",
            },
            8,
            {"nf_conntrack_max": "320000"},
        ),
        (
            {'mode: ""': "mode: nftables", "Timeout: null": "Timeout: 1m30s"},
            64,
            {
                "nf_conntrack_max": "1048576",
                "nf_conntrack_tcp_timeout_established": "90",
                "nf_conntrack_tcp_timeout_close_wait": "90",
            },
        ),
        (
            {
                'mode: ""': "mode: ipvs",
                "strictARP: false": "strictARP: true",
                "maxPerCore: null": "maxPerCore: 0",
                "Timeout: null": "Timeout: 0s",
                "tcpBeLiberal: false": "tcpBeLiberal: true",
            },
            4,
            {
                "nf_conntrack_tcp_be_liberal": "1",
                "conntrack": "1",
                "expire_nodest_conn": "1",
                "expire_quiescent_template": "1",
                "ip_forward": "1",
                "arp_ignore": "1",
                "arp_announce": "2",
            },
        ),
        (
            {"min: null": "min: 500000", 'mode: ""': "mode: nftables", "Timeout: null": "Timeout: 0s"},
            4,
            {"nf_conntrack_max": "500000"},
        ),
        (
            {
                "localhostNodePorts: null": "localhostNodePorts: false",
                "maxPerCore: null": "maxPerCore: 0",
                "Timeout: null": "Timeout: 0s",
            },
            4,
            {},
        ),
        (
            {
                "nodePortAddresses: null": "nodePortAddresses:\n- 10.0.0.0/8",
                "maxPerCore: null": "maxPerCore: 0",
                "Timeout: null": "Timeout: 0s",
            },
            4,
            {},
        ),
    ],
)
def test_what_kube_proxy_sets_at_its_start(changes: dict[str, str], cpus: int, sets: dict[str, str]) -> None:
    text = RECORDED
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    found = kube_proxy_assignments("f", text, cpus)
    assert {key.rpartition(".")[2]: " ".join(line.value or ()) for key, line in found.items()} == sets
    for key, line in found.items():
        named = text.splitlines()[line.line - 1]
        if key.endswith("conntrack_max"):
            assert "maxPerCore" in named
        if key.endswith("established"):
            assert "tcpEstablishedTimeout" in named


def test_the_newest_configuration_of_kube_proxy_counts_and_only_when_asked_for(tmp_path: Path) -> None:
    for pod, core, age in (("old", 50000, 1000), ("new", 60000, 2000)):
        path = f"var/lib/kubelet/pods/{pod}/volumes/kubernetes.io~configmap/kube-proxy/config.conf"
        put(tmp_path, path, f"conntrack:\n  maxPerCore: {core}\n")
        os.utime(tmp_path / path, (age, age))
    (writer,) = read_writers(["net.netfilter.nf_conntrack_max"], (), 4, str(tmp_path))
    assert (writer.name, writer.sets["net.netfilter.nf_conntrack_max"].value) == ("kube-proxy", ("240000",))
    assert read_writers(["vm.swappiness"], (), 4, str(tmp_path)) == ()


# --- tuned ----------------------------------------------------------------------------------------------------------------------------------


def lines(text: str) -> list[tuple[int, str]]:
    return [(index, line.strip()) for index, line in enumerate(text.splitlines(), start=1)]


def test_a_profile_of_tuned() -> None:
    text = """
# comment
[main]
summary=x
include = base, ?other
[sysctl]
replace=1
net.core.somaxconn=>2048
vm.dirty_ratio = 40
net.ipv4.tcp_rmem="4096 87380 16777216"
[net_tuning]
type=sysctl
net.ipv4.conf.all.x=1
[vm]
transparent_hugepages=madvise
a.b=1
"""
    includes, found, replaces = tuned_section("f", lines(text))
    assert includes == ["base", "other"]
    assert replaces
    assert found == [
        Assignment("f", 8, "net.core.somaxconn", (">2048",)),
        Assignment("f", 9, "vm.dirty_ratio", ("40",)),
        Assignment("f", 10, "net.ipv4.tcp_rmem", ("4096", "87380", "16777216")),
        Assignment("f", 13, "net.ipv4.conf.all.x", ("1",)),
    ]


def test_profiles_of_tuned_include_each_other_and_directories_have_an_order(tmp_path: Path) -> None:
    put(tmp_path, "etc/systemd/system/multi-user.target.wants/tuned.service")
    put(tmp_path, "etc/tuned/active_profile", "one two\n")
    put(tmp_path, "usr/lib/tuned/one/tuned.conf", "[sysctl]\na.b=wrong\n")
    put(tmp_path, "etc/tuned/one/tuned.conf", "[main]\ninclude=base\n[sysctl]\na.b=1\n")
    put(tmp_path, "usr/lib/tuned/profiles/base/tuned.conf", "[main]\ninclude=one\n[sysctl]\na.b=0\nc.d=0\ne.f=0\n")
    put(tmp_path, "etc/tuned/two/tuned.conf", "[main]\ninclude=missing\n[sysctl]\nc.d=2\n")
    (writer,) = read_writers(["a.b"], (), 1, str(tmp_path))
    assert {key: line.value for key, line in writer.sets.items()} == {"a.b": ("1",), "c.d": ("2",), "e.f": ("0",)}
    assert writer.rereads == ()
    put(tmp_path, "etc/tuned/two/tuned.conf", "[sysctl]\nreplace=true\nc.d=2\n")
    (writer,) = read_writers(["c.d"], (), 1, str(tmp_path))
    assert {key: line.value for key, line in writer.sets.items()} == {"c.d": ("2",)}


@pytest.mark.parametrize(
    ("given", "live", "after"),
    [
        (">5", "3", "5"),
        (">5", "9", "9"),
        ("<5", "9", "5"),
        ("<5", "3", "3"),
        ("5", "9", "5"),
        (">5", "1 2", "1 2"),
        (">x", "1", "1"),
    ],
)
def test_tuneds_signs_only_raise_or_lower(given: str, live: str, after: str) -> None:
    writer = Writer("tuned", {"a.b": Assignment("f", 1, "a.b", (given,))})
    value, line = writer.after("a.b", tuple(live.split()))
    assert " ".join(value) == after
    assert (line is not None) is (after != live)


# --- cloud-init, and all together -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("  - sysctl -w net.ipv4.ip_forward=0", "net.ipv4.ip_forward", "0"),
        ("  - [ sysctl, -w, 'net.ipv4.ip_forward=0' ]", "net.ipv4.ip_forward", "0"),
        ('  - /sbin/sysctl -q -w "net.ipv4.tcp_rmem=4096 1 2"', "net.ipv4.tcp_rmem", "4096 1 2"),
        ("  - sysctl vm/swappiness=1 || true", "vm.swappiness", "1"),
        ("  - echo 7 > /proc/sys/net/ipv4/conf/eth0.1/x", "net.ipv4.conf.eth0/1.x", "7"),
        ('  - sh -c "echo 7 >/proc/sys/vm/swappiness"', "vm.swappiness", "7"),
        ("  # - sysctl -w vm.swappiness=1", "", ""),
        ("  - sysctl --system", "", ""),
        ("  - sysctl -n vm.swappiness", "", ""),
        ("  - echo 7 > /etc/x.conf", "", ""),
    ],
)
def test_commands_that_set_parameters(line: str, key: str, value: str) -> None:
    found = cloud_init_assignments("f", [(1, "bootcmd:\n"), (2, line + "\n")])
    assert [(a.line, a.key, " ".join(a.value or ())) for a in found] == ([(2, key, value)] if key else [])
    assert cloud_init_assignments("f", [(1, "runcmd:\n"), (2, line + "\n")]) == []
    assert len(cloud_init_assignments("f", [(1, line + "\n")], script=True)) == len(found)


def test_the_last_program_decides() -> None:
    def writer(name: str, value: str, rereads: str | None = None) -> Writer:
        lines = None if rereads is None else tuple(parse_file("own", rereads))
        return Writer(name, {"a.b": Assignment(name, 1, "a.b", (value,))}, lines)

    assert finally_("a.b", ("0",), [])[:2] == (("0",), "")
    assert finally_("a.b", ("0",), [writer("x", "1"), writer("y", "2")])[:2] == (("2",), "y")
    value, name, line = finally_("a.b", ("0",), [writer("x", "1"), writer("y", "2", "a.b = 3\na.* = 4\n")])
    assert (value, name, line and line.where) == (("3",), "y", "own:1")
    assert finally_("a.b", ("0",), [writer("x", "1"), writer("y", ">0", "c.d = 3")])[:2] == (("1",), "x")
