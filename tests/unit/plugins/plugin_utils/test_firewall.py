"""Who may reach what: the table by an evaluator of its own, the text by the real nft, the documentation by the data."""

from __future__ import annotations

import ipaddress
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_firewall
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import firewall as core
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import firewall_rules

ROOT = Path(__file__).resolve().parents[4]
GROUPS = {
    "all": ["cp1", "cp2", "e1", "w1", "w2"],
    "control_plane": ["cp1", "cp2"],
    "etcd": ["cp1", "e1"],
    "workers": ["w1", "w2"],
    "storage": ["w2"],
    "bundle_server": ["e1"],
}
IPS = {
    "cp1": ["192.0.2.11"],
    "cp2": ["192.0.2.12"],
    "e1": ["192.0.2.21"],
    "w1": ["192.0.2.31"],
    "w2": ["2001:db8::32"],
}
VALUES: dict[str, Any] = {
    "firewall_admin_cidrs": ["198.51.100.0/24"],
    "pod_cidrs": ["10.244.0.0/16", "fd00:10::/64"],
    "bgp_peers": [{"address": "192.0.2.254", "as_number": 64601}],
    "bgp_sessions": ["192.0.2.254"],
    "network_plugin": "calico",
    "kube_proxy_mode": "nftables",
    "load_balancer_mode": "calico_bgp",
    "api_endpoint_mode": "local",
    "api_endpoint_address": "127.0.0.1",
    "api_endpoint_port": 7443,
    "bundle_registry": "",
}
# One address of each kind of sender, and one that nobody knows.
WHO = {
    "admin": "198.51.100.7",
    "cp": "192.0.2.12",
    "etcd": "192.0.2.21",
    "worker": "192.0.2.31",
    "worker6": "2001:db8::32",
    "pod": "10.244.3.4",
    "pod6": "fd00:10::7",
    "router": "192.0.2.254",
    "scraper": "198.18.0.9",
    "client": "203.0.113.5",
}


def cluster(host: str, **values: Any) -> core.Cluster:
    return core.from_inventory({**VALUES, **values}, host, GROUPS, IPS)


LINE = re.compile(r"(?P<match>.*?) ?(?P<verdict>accept|drop)(?: comment \".*\")?$")


def lets_in(text: str, address: str, protocol: str, port: int) -> bool:
    """What the chain input of the rendered table says to a new packet: read from the text, by nothing that made it."""
    sets: dict[str, list[str]] = {
        name: elements.split(", ")
        for name, elements in re.findall(r"set (\w+) \{.*?elements = \{ (.*?) \}", text, re.DOTALL)
    }
    sender = ipaddress.ip_address(address)
    chain = re.search(r"\tchain input \{\n(.*?)\n\t\}", text, re.DOTALL)
    assert chain
    for line in chain[1].splitlines():
        rule = LINE.match(line.strip())
        match = rule["match"] if rule else ""
        if not rule or re.search(r"iifname|ct state|icmp|udp sport|^type", match):
            continue
        word = re.search(r"(ip6?) saddr (@?)(\S+)", match)
        if word:
            networks = sets[word[3]] if word[2] else [word[3]]
            if (word[1] == "ip") != (sender.version == 4):
                continue
            if not any(sender in ipaddress.ip_network(network) for network in networks):
                continue
        if "daddr" in match:
            continue
        if "l4proto 112" in match:
            if protocol == "vrrp":
                return True
            continue
        protocols = re.search(r"l4proto \{ (.*?) \}", match)
        if protocol not in (protocols[1].split(", ") if protocols else [match.rpartition(" dport")[0].split()[-1]]):
            continue
        ports = re.search(r"dport (?:\{ (.*?) \}|(\S+))", match)
        assert ports, line
        for item in (ports[1] or ports[2]).split(", "):
            first, _dash, last = item.partition("-")
            if int(first) <= port <= int(last or first):
                return rule["verdict"] == "accept"
    return False


def senders(text: str, protocol: str, port: int) -> set[str]:
    return {name for name, address in WHO.items() if lets_in(text, address, protocol, port)}


ANYCAST = {
    "api_endpoint_mode": "bgp_anycast",
    "api_endpoint_address": "198.18.7.1",
    "api_endpoint_port": 6443,
    "api_endpoint_bgp_peers": [{"address": "192.0.2.254", "as_number": 64601}],
}
MOVES = [{"mode": "keepalived", "address": "192.0.2.100", "port": 8443}]
NODES = {"cp", "worker", "worker6"}
PODS = {"pod", "pod6"}


@pytest.mark.parametrize(
    ("host", "port", "values", "expected"),
    [
        ("cp1", "tcp 22", {}, {"admin"}),
        ("w1", "tcp 22", {}, {"admin"}),
        ("e1", "tcp 22", {}, {"admin"}),
        ("w1", "tcp 22", {"ssh_port": 2222}, set()),
        ("w1", "tcp 2222", {"ssh_port": 2222}, {"admin"}),
        ("cp1", "tcp 6443", {}, {"admin"} | NODES | PODS),
        ("cp1", "tcp 6443", {"firewall_api_cidrs": ["203.0.113.5"], "firewall_scraper_cidrs": ["198.18.0.9"]}, {"admin", "client", "scraper"} | NODES | PODS),
        ("cp1", "tcp 6443", {"api_endpoint_mode": "external", "api_endpoint_address": "203.0.113.5"}, {"admin", "client"} | NODES | PODS),
        ("cp1", "tcp 6443", {"api_endpoint_mode": "external", "api_endpoint_address": "api.example.org"}, {"admin"} | NODES | PODS),
        ("w1", "tcp 6443", {}, set()),
        ("e1", "tcp 6443", {}, set()),
        ("cp1", "tcp 7443", {}, set()),
        ("cp1", "tcp 8443", {"api_endpoint_mode": "keepalived", "api_endpoint_port": "8443"}, {"admin"} | NODES | PODS),
        ("cp1", "vrrp 0", {"api_endpoint_mode": "keepalived"}, {"cp"}),
        ("cp1", "vrrp 0", {}, set()),
        # While the API's address moves, both endpoints are open.
        ("cp1", "vrrp 0", {"api_endpoint_also": MOVES}, {"cp"}),
        ("cp1", "tcp 8443", {"api_endpoint_also": MOVES}, {"admin"} | NODES | PODS),
        ("cp1", "tcp 7443", {"api_endpoint_also": MOVES}, set()),
        ("cp1", "tcp 8443", {"api_endpoint_mode": "keepalived", "api_endpoint_port": 9443, "api_endpoint_also": MOVES}, {"admin"} | NODES | PODS),
        ("cp1", "tcp 9443", {"api_endpoint_mode": "keepalived", "api_endpoint_port": 9443, "api_endpoint_also": MOVES}, {"admin"} | NODES | PODS),
        ("cp1", "udp 3784", {**ANYCAST, "api_endpoint_bfd": True, "api_endpoint_also": MOVES}, {"router"}),
        ("cp1", "tcp 8443", {**ANYCAST, "api_endpoint_also": MOVES}, {"admin"} | NODES | PODS),
        ("cp1", "tcp 6443", {"api_endpoint_also": [{"mode": "external", "address": "203.0.113.5", "port": 443}]}, {"admin", "client"} | NODES | PODS),
        ("w1", "vrrp 0", {"api_endpoint_mode": "keepalived"}, set()),
        ("cp1", "udp 3784", {**ANYCAST, "api_endpoint_bfd": True}, {"router"}),
        ("cp1", "udp 3784", {**ANYCAST, "api_endpoint_bfd": False}, set()),
        ("w1", "udp 3784", {**ANYCAST, "api_endpoint_bfd": True}, set()),
        ("cp1", "tcp 6443", {**ANYCAST, "firewall_api_cidrs": ["203.0.113.5"]}, {"admin", "client"} | NODES | PODS),
        ("cp1", "tcp 179", {**ANYCAST, "bgp_sessions": []}, set()),
        ("e1", "tcp 2379", {}, {"cp", "etcd"}),
        ("e1", "tcp 2380", {}, {"etcd"}),
        ("e1", "tcp 2381", {}, set()),
        ("cp2", "tcp 2379", {}, set()),
        ("w1", "tcp 2379", {}, set()),
        ("w1", "tcp 10250", {}, NODES | PODS),
        ("w1", "tcp 10250", {"firewall_scraper_cidrs": ["198.18.0.0/24"]}, {"scraper"} | NODES | PODS),
        ("e1", "tcp 10250", {}, set()),
        ("w1", "tcp 10256", {"firewall_scraper_cidrs": ["198.18.0.9"]}, {"scraper"}),
        ("w1", "tcp 10256", {}, set()),
        ("cp1", "tcp 10257", {}, set()),
        ("cp1", "tcp 10259", {}, set()),
        ("w1", "tcp 179", {}, {"router"}),
        ("w1", "tcp 179", {"bgp_sessions": ["192.0.2.12", "192.0.2.31"]}, {"cp", "worker"}),
        ("w1", "tcp 179", {"bgp_sessions": []}, set()),
        ("w1", "tcp 179", {"network_plugin": "cilium"}, set()),
        ("e1", "tcp 179", {}, set()),
        ("w1", "udp 4789", {"encapsulation": "vxlan_cross_subnet"}, NODES),
        ("w1", "udp 4789", {}, set()),
        ("w1", "udp 8472", {"network_plugin": "cilium", "encapsulation": "vxlan"}, NODES),
        ("w1", "udp 8472", {"encapsulation": "vxlan"}, set()),
        ("w1", "udp 6081", {"network_plugin": "cilium", "encapsulation": "geneve"}, NODES),
        ("w1", "udp 51820", {"wireguard": True}, NODES),
        ("w1", "udp 51821", {}, set()),
        ("w1", "udp 51871", {"wireguard": True, "network_plugin": "cilium"}, NODES),
        ("w1", "tcp 5473", {"typha_replicas": 3}, NODES),
        ("w1", "tcp 5473", {}, set()),
        ("w1", "tcp 4240", {"network_plugin": "cilium"}, NODES),
        ("w1", "tcp 7946", {"load_balancer_mode": "metallb_l2"}, NODES),
        ("w1", "udp 7946", {"load_balancer_mode": "metallb_bgp"}, NODES),
        ("w1", "udp 7946", {}, set()),
        ("w1", "udp 3784", {"load_balancer_mode": "metallb_bgp", "load_balancer_bfd": {"detect_multiplier": 3}, "bgp_sessions": []}, {"router"}),
        ("w1", "udp 3784", {"load_balancer_mode": "metallb_bgp"}, set()),
        ("e1", "tcp 5000", {"bundle_registry": "http://192.0.2.21:5000"}, {"admin", "etcd"} | NODES),
        ("w1", "tcp 5000", {"bundle_registry": "http://192.0.2.21:5000"}, set()),
        ("w1", "tcp 9100", {"firewall_rules": [{"name": "x", "ports": [9100], "sources": ["scrapers", "203.0.113.0/24"]}]}, {"client"}),
        ("w1", "tcp 9150", {"firewall_rules": [{"name": "x", "ports": ["9100-9199"]}]}, set(WHO)),
        ("w1", "tcp 9100", {"firewall_rules": [{"name": "x", "ports": [9100], "groups": ["storage"]}]}, set()),
        ("w2", "tcp 9100", {"firewall_rules": [{"name": "x", "ports": [9100], "groups": ["storage"], "sources": ["pods"]}]}, PODS),
        ("cp1", "tcp 6443", {"firewall_rules": [{"name": "x", "action": "drop", "ports": [6443], "sources": ["pods"]}]}, {"admin"} | NODES),
        ("w1", "tcp 31000", {}, set(WHO)),  # the chain before it has asked who may
        ("e1", "tcp 31000", {}, set()),
        ("w1", "tcp 8080", {}, set()),
        ("w1", "udp 53", {}, set()),
    ],
)  # fmt: skip
def test_who_reaches_what(host: str, port: str, values: dict[str, Any], expected: set[str]) -> None:
    protocol, number = port.split()
    assert senders(core.render(cluster(host, **values)), protocol, int(number)) == expected


def test_node_ports_are_for_nodes_pods_and_whom_the_inventory_names() -> None:
    closed = core.render(cluster("w1"))
    chain = re.search(r"\tchain node_ports \{\n(.*?)\n\t\}", closed, re.DOTALL)
    assert chain
    assert [line.strip() for line in chain[1].splitlines()] == [
        'iifname "lo" accept',
        "ip saddr @nodes_ipv4 accept",
        "ip6 saddr @nodes_ipv6 accept",
        "ip saddr @pods_ipv4 accept",
        "ip6 saddr @pods_ipv6 accept",
        'counter drop comment "dropped"',
    ]
    assert "ip saddr 203.0.113.0/24 accept" in core.render(cluster("w1", firewall_node_port_cidrs=["203.0.113.0/24"]))
    assert "th dport 20000-21000 jump" in core.render(cluster("w1", node_port_range="20000-21000"))
    assert "node_ports" not in core.render(cluster("e1"))


def test_it_names_no_other_table_and_never_flushes() -> None:
    text = core.render(cluster("cp1"))
    assert "flush" not in text
    assert set(re.findall(r"table (\S+ \S+)", text)) == {"inet bare_metal_firewall"}
    assert (core.FAMILY, core.TABLE) == (_node_firewall.FAMILY, _node_firewall.TABLE)


def test_nobody_is_locked_out_by_an_empty_list() -> None:
    with pytest.raises(core.FirewallError, match="cluster_firewall_admin_cidrs is empty"):
        core.render(cluster("cp1", firewall_admin_cidrs=[]))


def test_what_others_contain_is_left_out() -> None:
    """Elements of an interval set may not overlap."""
    assert core.collapse(["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "192.0.2.1/32", "::1"], 4) == ["10.0.0.0/8", "192.0.2.1"]  # fmt: skip
    assert core.collapse(["2001:db8::/32", "10.0.0.1"], 6) == ["2001:db8::/32"]


networks4 = st.ip_addresses(v=4).flatmap(
    lambda address: st.integers(0, 32).map(lambda length: str(ipaddress.ip_network((address, length), strict=False)))
)


@settings(max_examples=100, deadline=None)
@given(st.lists(networks4, max_size=12), st.ip_addresses(v=4))
def test_collapse_neither_adds_nor_loses_an_address(networks: list[str], address: ipaddress.IPv4Address) -> None:
    collapsed = [ipaddress.ip_network(text) for text in core.collapse(networks, 4)]
    assert any(address in n for n in collapsed) == any(address in ipaddress.ip_network(text) for text in networks)
    assert not any(a.overlaps(b) for i, a in enumerate(collapsed) for b in collapsed[:i])


def test_the_order_of_the_inventory_means_nothing() -> None:
    turned = {name: list(reversed(hosts)) for name, hosts in reversed(GROUPS.items())}
    for host in IPS:
        assert core.render(core.from_inventory(VALUES, host, turned, IPS)) == core.render(cluster(host))


# --- the real nft judges every feature at once


EVERYTHING = {
    **VALUES,
    "firewall_scraper_cidrs": ["198.18.0.9", "2001:db8:1::/64"],
    "firewall_api_cidrs": ["0.0.0.0/0", "::/0"],
    "firewall_node_port_cidrs": ["203.0.113.0/24", "::/0"],
    "firewall_log_drops": True,
    "firewall_rules": [
        {"name": "node exporter/2.0", "ports": [9100, "9200-9300"], "sources": ["scrapers", "anybody", "192.0.2.0/24"]},
        {"name": "no sctp", "action": "drop", "protocol": "sctp", "ports": [5000]},
    ],
    "bundle_registry": "http://192.0.2.21:5000",
}


@pytest.mark.parametrize("host", sorted(IPS))
def test_nft_takes_it(host: str) -> None:
    given = core.from_inventory(EVERYTHING, host, GROUPS, IPS)
    text = core.render(replace(given, features=frozenset(port.feature for port in core.PORTS)))
    try:
        argv = ["unshare", "--net", "nft", "-c", "-f", "-"]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        pytest.skip("no nft")
    if "Operation not permitted" in done.stderr:
        pytest.skip("no right to make a network namespace")
    assert done.returncode == 0, done.stderr


# --- data that other files repeat


def test_senders_and_features_of_the_table_exist() -> None:
    known = core.features(
        {"network_plugin": "calico", "encapsulation": "vxlan", "wireguard": True, "typha_replicas": 1, "bgp_sessions": ["x"], "kube_proxy_mode": "x",
         "api_endpoint_mode": "keepalived", "load_balancer_mode": "metallb_bgp", "load_balancer_bfd": {"x": 1}, "registry_here": True,
         "node_local_dns_here": True, "etcd_events": True}
    ) | core.features({"network_plugin": "cilium", "encapsulation": "vxlan", "wireguard": True}) | core.features(
        {"network_plugin": "cilium", "encapsulation": "geneve", "api_endpoint_mode": "bgp_anycast", "api_endpoint_bfd": True}
    )  # fmt: skip
    for port in core.PORTS:
        assert set(port.senders) <= set(core.SENDERS), port.name
        assert port.role in core.ROLES
        assert port.feature in known | {""}, port.name
        assert firewall_rules.RULE_NAME.fullmatch(port.name)


def documented(heading: str) -> list[tuple[str, ...]]:
    text = (
        (ROOT / "docs" / "firewall.md")
        .read_text(encoding="utf-8")
        .partition(f"## {heading}\n")[2]
        .partition("\n## ")[0]
    )
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines() if line.startswith("|")
    ]
    return rows[2:]


def test_the_documentation_has_the_same_table() -> None:
    expected = [
        (
            f"`{port.name}`",
            port.role.replace("_", " "),
            port.protocol,
            ", ".join(f"`{number}`" for number in port.ports) or "protocol 112",
            ", ".join(port.senders),
            f"`{port.feature}`" if port.feature else "always",
            port.why,
        )
        for port in core.PORTS
    ]
    assert documented("Ports") == expected


def test_the_documentation_has_the_same_local_ports_and_senders() -> None:
    assert documented("Never opened") == [(f"`{port}`", why) for port, why in core.LOCAL_ONLY.items()]
    assert documented("Senders") == [(f"`{name}`", why) for name, why in core.SENDERS.items()]
