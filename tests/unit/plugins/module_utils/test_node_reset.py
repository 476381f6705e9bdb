"""What reset finds and in which order it takes it away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_reset, _originals
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._node_reset import (
    Found,
    Step,
    act,
    empty_tables,
    parse_loopback,
    parse_mounts,
    plan,
    without_cluster_rules,
)

MOUNTS = """\
overlay / overlay rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/vda /var/lib/kubelet ext4 rw 0 0
tmpfs /var/lib/kubelet/pods/u/volumes/kubernetes.io~projected/token tmpfs rw 0 0
overlay /run/containerd/io.containerd.runtime.v2.task/k8s.io/x/rootfs overlay rw 0 0
nsfs /run/netns/cni-1234 nsfs rw 0 0
tmpfs /var/lib/other tmpfs rw 0 0
"""

SAVED = """\
*filter
:INPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:cali-INPUT - [0:0]
-A INPUT -m comment --comment "cali:Cz_u1IQiXIMmKD4c" -j cali-INPUT
-A INPUT -j KUBE-FIREWALL
-A INPUT -p tcp --dport 22 -j ACCEPT
-A KUBE-FIREWALL -j DROP
COMMIT
"""


def test_mounts_of_pods_are_found_deepest_first_and_others_left() -> None:
    assert parse_mounts(MOUNTS) == [
        "/var/lib/kubelet/pods/u/volumes/kubernetes.io~projected/token",
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io/x/rootfs",
        "/run/netns/cni-1234",
    ]


def test_rules_of_others_survive() -> None:
    assert (
        without_cluster_rules(SAVED) == "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n"
    )


def test_a_clean_machine_has_no_steps() -> None:
    assert plan(Found()) == []


def test_the_kubelet_stops_before_its_pods_and_the_runtime_after_them() -> None:
    found = Found(
        units=("kubelet.service", "containerd.service", "etcd.service"),
        shared_units=("haproxy.service",),
        sandboxes=True,
        mounts=("/m",),
        paths=("/etc/kubernetes",),
    )
    assert plan(found) == [
        Step("stop", "kubelet.service"),
        Step("kill", "pods"),
        Step("stop", "containerd.service"),
        Step("stop", "etcd.service"),
        Step("stop", "haproxy.service"),
        Step("unmount", "/m"),
        Step("remove", "/etc/kubernetes"),
        Step("reload", "systemd"),
    ]


def test_what_was_replaced_comes_back_and_is_not_removed() -> None:
    found = Found(originals=("/etc/haproxy/haproxy.cfg",), paths=("/etc/haproxy/haproxy.cfg", "/etc/etcd", "/state"))
    assert plan(found) == [
        Step("restore", "/etc/haproxy/haproxy.cfg"),
        Step("remove", "/etc/etcd"),
        Step("remove", "/state"),
        Step("reload", "systemd"),
    ]


def test_the_first_file_is_kept_with_its_rights_and_given_back(tmp_path: Path) -> None:
    state, path = tmp_path / "state", tmp_path / "etc" / "proxy.cfg"
    path.parent.mkdir()
    path.write_text("first\n")
    path.chmod(0o640)
    _originals.keep(str(path), str(state))
    path.write_text(f"# {_originals.MARK}\n")
    _originals.keep(str(path), str(state))
    assert _originals.kept(str(state)) == [str(path)]
    path.unlink()
    act(Step("restore", str(path)), str(state))
    assert path.read_text() == "first\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert _originals.kept(str(state)) == []


def test_a_cut_copy_is_no_original(tmp_path: Path) -> None:
    (tmp_path / "originals/etc").mkdir(parents=True)
    (tmp_path / "originals/etc/proxy.cfg.part").write_text("fi")
    assert _originals.kept(str(tmp_path)) == []
    assert _originals.kept(str(tmp_path / "nowhere")) == []


def test_tables_of_iptables_that_do_nothing_are_found() -> None:
    def chain(table: str, family: str = "ip", **more: str) -> dict[str, object]:
        return {"chain": {"family": family, "table": table, "name": "C", **more}}

    tables = [("ip", name) for name in ("filter", "nat", "mangle", "raw", "mine")] + [("ip6", "filter")]
    listed = [{"metainfo": {}}, *({"table": {"family": family, "name": name}} for family, name in tables)]
    listed += [
        chain("filter", policy="accept"),
        chain("nat", policy="accept"),
        {"rule": {"family": "ip", "table": "nat", "chain": "C"}},
        chain("mangle", policy="drop"),
        chain("raw"),
        chain("filter", "ip6", policy="accept"),
    ]
    text = json.dumps({"nftables": listed})
    assert empty_tables(text, "ip") == ["filter"]
    assert empty_tables(text, "ip6") == ["filter"]
    assert empty_tables("", "ip") == []


@pytest.mark.parametrize(
    ("live", "written", "found"),
    [
        ("1\n", "", True),
        ("0\n", "", False),
        (None, "", False),
        ("1\n", "net.ipv4.conf.all.route_localnet = 1\n", False),
    ],
)
def test_what_kube_proxy_switched_on_is_switched_off_unless_the_machine_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: str | None, written: str, found: bool
) -> None:
    switch, file = tmp_path / "route_localnet", tmp_path / "50-own.conf"
    if live is not None:
        switch.write_text(live)
    file.write_text(written)
    monkeypatch.setattr(_node_reset, "ROUTE_LOCALNET", str(switch))
    monkeypatch.setattr(_node_reset, "PARAMETER_FILES", (str(file),))
    assert _node_reset.left_by_kube_proxy() == ((str(switch),) if found else ())
    for step in plan(Found(parameters=(str(switch),) if found else ())):
        act(step, str(tmp_path))
        assert switch.read_text() == "0\n"


def test_tables_of_the_cluster_are_told_from_others() -> None:
    listed = "table ip kube-proxy\ntable inet filter\ntable inet bare_metal_firewall\ntable ip bare_metal_firewall_of_mine\ntable ip6 calico\n"
    found = [match["table"] for match in _node_reset.NFT_TABLES.finditer(listed)]
    assert found == ["ip kube-proxy", "inet bare_metal_firewall", "ip6 calico"]


@pytest.mark.parametrize(
    ("interface", "ours"),
    [
        ("lxc0a1b2c3d4e5f", True),
        ("lxc_health", True),
        ("cilium_host", True),
        ("cilium_vxlan", True),
        ("lxcbr0", False),
        ("cilium_other", False),
        ("eth0", False),
        ("cali0a1b", True),
    ],
)
def test_interfaces_of_the_cluster_are_told_from_others(interface: str, ours: bool) -> None:
    assert bool(_node_reset.INTERFACES.match(interface)) is ours


def test_cilium_s_rules_go_and_others_stay() -> None:
    saved = "*filter\n:INPUT ACCEPT [0:0]\n:CILIUM_INPUT - [0:0]\n-A INPUT -j CILIUM_INPUT\n-A INPUT -p tcp -j ACCEPT\n:OLD_CILIUM_INPUT - [0:0]\nCOMMIT\n"
    assert without_cluster_rules(saved) == "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n"


@pytest.mark.parametrize(
    ("told", "filtered"),
    [
        ("filter protocol all pref 1 bpf chain 0 handle 0x1 cil_from_netdev-eth0 direct-action\n", True),
        ("filter protocol all pref 1 bpf chain 0 handle 0x1 somebody_else direct-action\n", False),
        ("", False),
    ],
)
def test_programs_on_the_machine_s_interfaces_are_found(
    monkeypatch: pytest.MonkeyPatch, told: str, filtered: bool
) -> None:
    monkeypatch.setattr(_node_reset, "_said", lambda argv: told if argv[-1] == "ingress" else "")
    assert _node_reset._is_filtered("eth0") is filtered
    found = Found(filtered=("eth0",) if filtered else ())
    assert [(step.verb, step.subject) for step in plan(found)] == ([("delete filters", "eth0")] if filtered else [])


def test_the_dns_cache_s_address_leaves_the_loopback_and_others_stay() -> None:
    shown = [
        {"local": "127.0.0.1", "prefixlen": 8},
        {"local": "169.254.20.10", "prefixlen": 32},
        {"local": "::1", "prefixlen": 128},
    ]
    assert parse_loopback(json.dumps([{"ifname": "lo", "addr_info": shown}])) == ["169.254.20.10/32"]
    assert parse_loopback("") == []
    steps = plan(Found(addresses=("169.254.20.10/32",)))
    assert steps == [Step("delete address", "169.254.20.10/32")]
