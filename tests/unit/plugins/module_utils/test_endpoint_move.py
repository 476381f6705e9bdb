"""What stands at which address of the API, who asks there, and what a move leaves to do."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _endpoint_move as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._endpoint_move import Endpoint, Seen, Standing

MARK = "# Written by bare_metal.kubernetes; changes made here are lost.\n"
LOCAL = Endpoint("local", "127.0.0.1", 7443)
VRRP = Endpoint("keepalived", "10.1.1.100", 8443)
ANYCAST = Endpoint("bgp_anycast", "198.18.7.1", 6443)
BALANCER = Endpoint("external", "api.example.org", 6443)
OWN = "https://10.1.1.11:6443"

HAPROXY = (
    MARK
    + "frontend kube_apiserver\n  bind 127.0.0.1:7443\n  bind :8443\n  bind [::1]:7444\n  bind [::]:8444\n  default_backend x\n"
)
KEEPALIVED = (
    MARK
    + "vrrp_instance kube_apiserver {\n  unicast_peer {\n    10.1.1.12\n  }\n  virtual_ipaddress {\n    10.1.1.100/32 dev eth0\n  }\n}\n"
)
HEALTH = (
    MARK
    + "ExecStart=/usr/bin/python3 x --url https://10.1.1.11:6443/readyz \\\n  --address 198.18.7.1/32@lo --interval 0.5\n"
)


def standing(**files: str) -> Standing:
    places = {
        "haproxy": "/etc/haproxy/haproxy.cfg",
        "keepalived": "/etc/keepalived/keepalived.conf",
        "health": core.HEALTH_UNIT,
        "bird": "/etc/bare-metal-kubernetes/api-announcer/bird.conf",
    }
    texts = {places[name]: text for name, text in files.items()}
    return core.standing_of(lambda path: texts.get(path, ""))


def test_what_stands_is_read_from_the_files_of_ours() -> None:
    assert standing(haproxy=HAPROXY, keepalived=KEEPALIVED, health=HEALTH, bird=MARK) == Standing(
        ("keepalived", "haproxy", "announcer"),
        ("127.0.0.1:7443", "*:8443", "[::1]:7444", "*:8444"),
        ("10.1.1.100",),
        "198.18.7.1",
    )


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"haproxy": "", "keepalived": "", "health": ""},
        # Somebody else's, or the package's own.
        {name: text.replace(MARK, "") for name, text in (("haproxy", HAPROXY), ("keepalived", KEEPALIVED))},
        # A part is there while its last file is: what comes before it was not yet taken away.
        {"health": HEALTH},
    ],
)
def test_nothing_of_ours_stands(files: dict[str, str]) -> None:
    assert standing(**files) == Standing()


def test_files_that_are_cut_off_say_less_and_raise_nothing() -> None:
    for length in range(len(KEEPALIVED)):
        found = standing(haproxy=HAPROXY[:length], keepalived=KEEPALIVED[:length], health=HEALTH[:length])
        assert set(found.vrrp) <= {"10.1.1.100"}


@pytest.mark.parametrize(
    ("endpoints", "control_plane", "binds"),
    [
        ([LOCAL], False, ("127.0.0.1:7443",)),
        ([VRRP], True, ("*:8443",)),
        ([VRRP], False, ()),
        ([LOCAL, VRRP], True, ("127.0.0.1:7443", "*:8443")),
        ([LOCAL, VRRP], False, ("127.0.0.1:7443",)),
        # One port on every address is that port on the loopback too; HAProxy could not have both.
        ([replace(LOCAL, port=8443), VRRP], True, ("*:8443",)),
        ([replace(LOCAL, port=8443), VRRP], False, ("127.0.0.1:8443",)),
        ([LOCAL, replace(LOCAL, port=7444)], False, ("127.0.0.1:7443", "127.0.0.1:7444")),
        ([LOCAL, LOCAL], False, ("127.0.0.1:7443",)),
        ([ANYCAST, BALANCER], True, ()),
        ([Endpoint("local", "0:0::1", 7443)], False, ("[::1]:7443",)),
    ],
)
def test_where_haproxy_listens(endpoints: list[Endpoint], control_plane: bool, binds: tuple[str, ...]) -> None:
    assert core.binds_wanted(endpoints, control_plane) == binds


def seen(stands: Standing | None = None, own: str = "", due: tuple[str, ...] = (), **clients: str) -> Seen:
    return Seen(stands or Standing(), own, {name.replace("_", "-"): url for name, url in clients.items()}, due)


STANDS_LOCAL = Standing(("haproxy",), ("127.0.0.1:7443",))
STANDS_VRRP = Standing(("keepalived", "haproxy"), ("*:8443",), ("10.1.1.100",))
STANDS_BOTH = Standing(("keepalived", "haproxy"), ("127.0.0.1:7443", "*:8443"), ("10.1.1.100",))
STANDS_ANYCAST = Standing(("announcer",), (), (), "198.18.7.1")


@pytest.mark.parametrize(
    ("hosts", "wanted", "others"),
    [
        ([seen(STANDS_LOCAL, OWN, admin=LOCAL.url), seen(STANDS_LOCAL, kubelet=LOCAL.url)], LOCAL, []),
        ([seen(STANDS_LOCAL, OWN, admin=LOCAL.url), seen(STANDS_LOCAL, kubelet=LOCAL.url)], VRRP, [LOCAL]),
        ([seen(STANDS_VRRP, OWN, admin=VRRP.url), seen(kubelet=VRRP.url)], LOCAL, [VRRP]),
        # Half of the way.
        ([seen(STANDS_BOTH, OWN, admin=VRRP.url), seen(STANDS_LOCAL, kubelet=LOCAL.url)], VRRP, [LOCAL]),
        ([seen(STANDS_BOTH, OWN, admin=VRRP.url), seen(STANDS_LOCAL, kubelet=LOCAL.url)], LOCAL, [VRRP]),
        ([seen(STANDS_BOTH, OWN, admin=VRRP.url), seen(STANDS_LOCAL, kubelet=LOCAL.url)], ANYCAST, [VRRP, LOCAL]),
        ([seen(STANDS_ANYCAST, OWN, admin=ANYCAST.url), seen(kubelet=ANYCAST.url)], LOCAL, [ANYCAST]),
        # Who provides what is only asked is no part of ours.
        ([seen(None, OWN, admin=BALANCER.url), seen(kubelet=BALANCER.url)], LOCAL, [BALANCER]),
        ([seen(None, OWN, admin=BALANCER.url)], BALANCER, []),
        ([seen(STANDS_LOCAL, OWN, admin=LOCAL.url, kubelet=OWN)], LOCAL, []),
        ([seen(None, OWN, admin=OWN, kubelet=OWN)], LOCAL, [Endpoint("external", "10.1.1.11", 6443)]),
        # The port of another listener is another endpoint of keepalived's.
        ([seen(STANDS_VRRP, OWN, admin=VRRP.url)], replace(VRRP, port=9443), [VRRP]),
        # keepalived has gone already, HAProxy has not: nobody's endpoint, but left over.
        ([seen(Standing(("haproxy",), ("*:8443",)), OWN, admin=ANYCAST.url)], ANYCAST, []),
        ([seen(STANDS_LOCAL, kubelet=LOCAL.url, calico="https://[127.0.0.1]:7443")], LOCAL, []),
        ([seen(STANDS_LOCAL, kubelet=VRRP.url, calico="https://[127.0.0.1]:7443")], VRRP, [LOCAL]),
        ([seen(kubelet=VRRP.url, calico="https://[127.0.0.1]:7443")], VRRP, [Endpoint("external", "127.0.0.1", 7443)]),
        ([], LOCAL, []),
    ],
)
def test_endpoints_beside_the_wanted_one(hosts: list[Seen], wanted: Endpoint, others: list[Endpoint]) -> None:
    found = core.endpoints_of({str(number): host for number, host in enumerate(hosts)}, wanted)
    assert sorted(found, key=str) == sorted(others, key=str)


def test_what_was_seen_survives_json() -> None:
    one = seen(STANDS_BOTH, OWN, ("kubelet",), kubelet=LOCAL.url)
    assert Seen.of(asdict(one)) == one
    assert Seen.of({}) == Seen()


@pytest.mark.parametrize(
    ("stands", "wanted", "control_plane", "left"),
    [
        (STANDS_LOCAL, LOCAL, False, []),
        (STANDS_LOCAL, VRRP, False, ["haproxy"]),
        (STANDS_LOCAL, VRRP, True, ["haproxy on 127.0.0.1:7443"]),
        (STANDS_BOTH, LOCAL, True, ["keepalived", "haproxy on *:8443"]),
        (STANDS_BOTH, VRRP, True, ["haproxy on 127.0.0.1:7443"]),
        (STANDS_BOTH, BALANCER, True, ["keepalived", "haproxy"]),
        (STANDS_VRRP, VRRP, True, []),
        (STANDS_ANYCAST, ANYCAST, True, []),
        (STANDS_ANYCAST, LOCAL, True, ["announcer"]),
        # Not yet there is not left over.
        (Standing(), LOCAL, True, []),
    ],
)
def test_what_is_left_of_a_move(stands: Standing, wanted: Endpoint, control_plane: bool, left: list[str]) -> None:
    assert core.left_over(stands, wanted, control_plane) == left


@pytest.mark.parametrize(
    ("node", "wanted", "changed", "restarted"),
    [
        (seen(kubelet=LOCAL.url), LOCAL, [], []),
        (seen(kubelet=LOCAL.url), VRRP, ["kubelet"], ["kubelet"]),
        # Killed between the file and the restart.
        (seen(None, "", ("kubelet",), kubelet=VRRP.url), VRRP, [], ["kubelet"]),
        (seen(None, OWN, kubelet=OWN, admin=LOCAL.url, super_admin=LOCAL.url), VRRP, ["super-admin", "admin"], []),
        (
            seen(None, OWN, kubelet=LOCAL.url, kube_scheduler=LOCAL.url, kube_controller_manager=OWN, admin=LOCAL.url),
            VRRP,
            ["kubelet", "kube-scheduler", "admin"],
            ["kubelet", "kube-scheduler"],
        ),
        # One control plane, whose own address was the cluster's.
        (seen(None, OWN, kubelet=OWN, admin=OWN), LOCAL, ["admin"], []),
        (seen(kubelet="https://[FD00::1]:6443"), Endpoint("external", "fd00:0::1", 6443), [], []),
        (seen(kubelet="https://API.example.org:6443"), BALANCER, [], []),
        (seen(bootstrap_kubelet=LOCAL.url), VRRP, ["bootstrap-kubelet"], []),
        (seen(kubelet="not a url"), VRRP, [], []),
    ],
)
def test_what_is_left_for_a_nodes_programs(
    node: Seen, wanted: Endpoint, changed: list[str], restarted: list[str]
) -> None:
    changes, restarts = core.plan_clients(node, wanted)
    assert [change.name for change in changes] == changed
    assert list(restarts) == restarted
    assert all(change.after == wanted.url for change in changes)
    # Done, nothing is left.
    after = replace(node, due=(), clients={**node.clients, **{change.name: change.after for change in changes}})
    assert core.plan_clients(after, wanted) == ((), ())
    assert core.unsettled(after, wanted) == []


def test_what_may_not_lose_its_endpoint_yet() -> None:
    node = seen(None, "", ("kube-scheduler",), kubelet=LOCAL.url, calico=LOCAL.url)
    assert core.unsettled(node, VRRP) == [
        "/etc/kubernetes/kubelet.conf asks 127.0.0.1:7443",
        "kube-scheduler has not been restarted",
        "/etc/cni/net.d/calico-kubeconfig asks 127.0.0.1:7443",
    ]


def test_a_kubeconfig_gets_another_server_and_nothing_else() -> None:
    text = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: QUE=\n    server: https://127.0.0.1:7443\n  name: x\nusers: []\n"
    assert core.with_server(text, VRRP.url) == text.replace("https://127.0.0.1:7443", VRRP.url)
    assert core.with_server("- server: a\n", "b") == "- server: b\n"
    for other in ("", "clusters: []\n", text + text):
        with pytest.raises(core.EndpointMoveError, match="servers instead of one"):
            core.with_server(other, VRRP.url)


@pytest.mark.parametrize(
    ("others", "wanted", "words"),
    [
        ([LOCAL], VRRP, ""),
        ([VRRP], LOCAL, ""),
        ([LOCAL], replace(LOCAL, port=7444), ""),
        ([VRRP], replace(VRRP, port=9443), ""),
        ([VRRP], ANYCAST, ""),
        ([ANYCAST, LOCAL, VRRP], BALANCER, ""),
        ([BALANCER], replace(BALANCER, address="other.example.org"), ""),
        ([BALANCER], replace(BALANCER, port=443), ""),
        ([VRRP], replace(VRRP, address="10.1.1.101"), "keepalived moves one address"),
        ([ANYCAST], replace(ANYCAST, address="198.18.7.2"), "the announcer announces one address"),
        ([VRRP], replace(BALANCER, address="10.1.1.100"), "10.1.1.100 is provided by 'keepalived'"),
        ([ANYCAST], replace(VRRP, address="198.18.7.1"), "198.18.7.1 is provided by 'bgp_anycast'"),
        ([LOCAL], Endpoint("external", "127.0.0.1", 7443), "127.0.0.1 is provided by 'local'"),
        ([LOCAL], Endpoint("external", "127.0.0.1", 9443), ""),
        ([LOCAL, VRRP], replace(VRRP, address="10.1.1.101"), "keepalived moves one address"),
        ([], LOCAL, ""),
    ],
)
def test_moves_that_cannot_be_made(others: list[Endpoint], wanted: Endpoint, words: str) -> None:
    found = core.refusals(others, wanted)
    assert [words in why for why, _fix in found] == ([True] if words else [])
    assert all(fix for _why, fix in found)


@pytest.mark.parametrize(
    ("hosts", "asked", "nodes", "words"),
    [
        (["a", "b"], ["a", "b"], ["a", "b"], []),
        # A node that has not joined yet will join at the new endpoint.
        (["a", "b"], ["a", "b"], ["a"], []),
        (["a", "b"], ["a"], ["a", "b"], ["b did not answer"]),
        (["a"], ["a"], ["a", "c"], ["not in the inventory: c"]),
        (["a", "b"], [], None, ["a, b did not answer", "no control plane could say"]),
    ],
)
def test_nodes_that_would_be_left_behind(
    hosts: list[str], asked: list[str], nodes: list[str] | None, words: list[str]
) -> None:
    found = core.missing_hosts(hosts, asked, nodes)
    assert [word in why for (why, _fix), word in zip(found, words, strict=True)] == [True] * len(words)


# Recorded: to 127.0.0.1:7443 from port 40000 (established), the listener, one that waits to end; over IPv6 to the same, mapped, and to [::1]:7443.
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1D13 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0000000000000000 100 0 0 10 0
   1: 0100007F:9C40 0100007F:1D13 01 00000000:00000000 02:000003AD 00000000     0        0 222 2 0000000000000000 20 4 30 10 -1
   2: 0100007F:9C41 0100007F:1D13 06 00000000:00000000 03:00000F7C 00000000     0        0 0 3 0000000000000000
   3: 0100007F:1D13 0100007F:9C40 01 00000000:00000000 02:000003AD 00000000     0        0 333 2 0000000000000000 20 4 30 10 -1
   4: spoilt
"""
TCP6 = """  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000100007F:9C42 0000000000000000FFFF00000100007F:1D13 01 00000000:00000000 02:0000 00000000     0        0 444 1
   1: 00000000000000000000000001000000:9C43 00000000000000000000000001000000:1D13 01 00000000:00000000 02:0000 00000000     0        0 555 1
"""


@pytest.mark.parametrize(
    ("text", "targets", "inodes"),
    [
        (TCP, {("127.0.0.1", 7443)}, ["222"]),
        (TCP, {("127.0.0.1", 8443)}, []),
        (TCP, set(), []),
        (TCP6, {("127.0.0.1", 7443)}, ["444"]),
        (TCP6, {("::1", 7443)}, ["555"]),
        ("", {("127.0.0.1", 7443)}, []),
    ],
)
def test_connections_to_an_old_endpoint(text: str, targets: set[tuple[str, int]], inodes: list[str]) -> None:
    assert core.connections(text, targets) == inodes


def test_parts_are_what_the_role_installs() -> None:
    """Names of files and units stand in the role, in reset and here."""
    root = Path(__file__).resolve().parents[4]
    role = (root / "roles/api_endpoint/vars/main.yml").read_text()
    reset = (root / "plugins/module_utils/_node_reset.py").read_text()
    for part in core.PARTS:
        assert all(path in role for path in part.files), part
        assert all(unit.removesuffix(".service") in role and unit in reset for unit in part.units), part
    assert set(core.PARTS_OF) == {"local", "keepalived", "bgp_anycast", "external"}


def test_modes_have_the_parts_of_the_role() -> None:
    import yaml

    root = Path(__file__).resolve().parents[4]
    variables: dict[str, Any] = yaml.safe_load((root / "roles/api_endpoint/vars/main.yml").read_text())
    parts = yaml.safe_load(variables["__api_endpoint_parts"].partition("}[")[0].removeprefix("{{ ") + "}")
    assert {mode: set(names) for mode, names in parts.items()} == {
        mode: set(names) for mode, names in core.PARTS_OF.items() if names
    }
