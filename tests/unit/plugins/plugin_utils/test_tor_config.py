"""The routers' side of BGP: what is worked out of inventories, the files as they are kept (golden), and the judgement of the routers' own programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.action import tor_config as action
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import tor_config, tor_config_render
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster import validate
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import View
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.tor_config import Prefix, Router, TorConfigError

from .test_cluster import Break, Draft, announced_to, anycast, both, common, draft, dual, everywhere, own

GOLDEN = Path(__file__).parent / "golden"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
UNPACKED = Path(os.environ.get("BARE_METAL_KUBERNETES_CACHE") or CACHE / "bare_metal_kubernetes") / "router-tools"
LIBRARIES = ":".join(str(UNPACKED / "usr/lib/x86_64-linux-gnu" / name) for name in ("", "frr"))


def peers(rack: int, **options: Any) -> list[dict[str, Any]]:
    return [{"address": f"10.77.{rack}.254", "as_number": 64600 + rack, **options}]


def with_password(d: Draft) -> None:
    """Rack 1 has a password and TTL security, a router of rack 2 has an uplink with another one."""
    d.common["cluster_bgp_passwords"] = {"rack1": "s3cret-1", "spine": "s3cret-2"}
    for name in ("cp1", "cp3", "w2"):
        d.own[name]["cluster_bgp_peers"] = peers(1, password="rack1", ttl_security=1)


def announced_to_password(d: Draft) -> None:
    for name in ("cp1", "cp3"):
        announced_to(name, password="rack1", ttl_security=1)(d)


def routers(**variables: dict[str, Any]) -> Break:
    """Hosts of the group routers with these variables (of tor_config_...)."""

    def add(d: Draft) -> None:
        d.groups["routers"] = list(variables)
        for name, values in variables.items():
            number = name[-1]
            given = {"addresses": [f"10.77.{number}.254"], **values}
            d.own[name] = {
                "cluster_node_ip": f"192.0.2.{number}",
                **{f"tor_config_{key}": value for key, value in given.items()},
            }

    return add


SPINE = {
    "networks": ["10.77.2.0/24"],
    "uplinks": [{"address": "10.77.0.2", "as_number": 64601, "description": "tor1", "password": "spine"}],
}
LISTENING = {"neighbours": "listen", "listen_ranges": ["10.77.1.0/24"]}
one_as = both(
    everywhere(cluster_bgp_as_number=64601),
    *(own(name, cluster_bgp_peers=peers(1)) for name in ("cp1", "cp2", "cp3", "w1", "w2")),
)


def plan(*breaks: Break) -> dict[str, Router]:
    made = draft()
    for change in breaks:
        change(made)
    given = made.build()
    assert validate(given).errors == ()
    return {router.name: router for router in tor_config.plan(View(given))}


CASES: dict[str, tuple[Break, ...]] = {
    "plain": (),
    "passwords": (with_password, routers(tor1={}, tor2=SPINE)),
    "listen": (routers(tor1=LISTENING, tor2={}),),
    "one-as": (one_as, routers(tor1={"default_route": True, "local_preference": 200})),
    "reflectors": (everywhere(cluster_bgp_as_number=64512), common(cluster_bgp_topology="route_reflectors")),
    "announced-api": (anycast(), with_password, announced_to_password, routers(tor1=LISTENING, tor2={})),
    "large-as": (
        *(
            own(name, cluster_bgp_as_number=4200000000 + index)
            for index, name in enumerate(["cp1", "cp2", "cp3", "w1", "w2"])
        ),
    ),
}


def test_without_a_group_each_address_is_a_router() -> None:
    found = plan()
    assert sorted(found) == ["10.77.1.254", "10.77.2.254"]
    tor = found["10.77.1.254"]
    assert (tor.as_number, tor.router_id, tor.own_as_of_nodes) == (64601, "10.77.1.254", (64701, 64702))
    (group,) = tor.groups
    assert [(node.name, node.address, node.as_number) for node in group.neighbours] == [
        ("cp1", "10.77.1.11", 64701),
        ("cp3", "10.77.1.13", 64701),
        ("w2", "10.77.1.15", 64701),
    ]


def test_a_router_of_two_families_has_each_nodes_session_of_each() -> None:
    both_ends = {"addresses": ["10.77.1.254", "fd00:77:1::254"]}
    others = {"addresses": ["10.77.2.254", "fd00:77:2::254"]}
    tor = plan(dual, routers(tor1=both_ends, tor2=others))["tor1"]
    assert tor.families == (4, 6)
    assert tor.router_id == "10.77.1.254"
    assert {group.name: [node.address for node in group.neighbours] for group in tor.groups} == {
        "nodes": ["10.77.1.11", "10.77.1.13", "10.77.1.15"],
        "nodes6": ["fd00:77:1::11", "fd00:77:1::13", "fd00:77:1::15"],
    }
    assert Prefix("fd00:1::/104", 122, 122, "pod blocks") in tor.accepted


def test_a_router_of_ipv6_alone_needs_an_identifier() -> None:
    given = draft()
    dual(given)
    with pytest.raises(TorConfigError, match="make it a host of the group routers"):
        tor_config.plan(View(given.build()))


def test_nodes_may_announce_their_blocks_and_services_and_nothing_else() -> None:
    tor = plan()["10.77.1.254"]
    assert tor.accepted == (
        Prefix("10.244.0.0/16", 26, 26, "pod blocks"),
        Prefix("192.0.2.0/28", 28, 32, "LoadBalancer addresses"),
    )
    assert tor.given == tor.accepted[:1]
    pools = [{"name": "a", "cidr": "10.244.0.0/17", "block_size": 24}, {"name": "b", "cidr": "10.244.128.0/17"}]
    more = plan(
        common(
            cluster_pod_pools=pools,
            cluster_bgp_advertise_cluster_ips=True,
            cluster_load_balancer_mode="none",
            cluster_load_balancer_pools=[],
        )
    )
    assert [(one.cidr, one.low, one.high) for one in more["10.77.1.254"].accepted] == [
        ("10.244.0.0/17", 24, 24),
        ("10.244.128.0/17", 26, 26),
        ("10.96.0.0/16", 16, 32),
    ]


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        # 20 blocks, the pool and its 16 addresses, a fifth more.
        ((), 45),
        ((common(cluster_load_balancer_pools=[{"name": "a", "addresses": ["192.0.2.0/30"]}]),), 30),
        # 4 blocks for 500 pods would do; IPAM gives up to 20.
        ((common(cluster_pods_per_node=500, cluster_pod_cidrs=["10.240.0.0/12"]),), 45),
        ((everywhere(cluster_bgp_peers=peers(1, max_prefixes=7)),), 7),
        # A reflector gives the blocks of five nodes: (5 x 20 + 17) x 1.2.
        (CASES["reflectors"], 141),
    ],
)
def test_the_limit_of_prefixes_is_the_plan_and_a_fifth(changes: tuple[Break, ...], limit: int) -> None:
    assert plan(*changes)["10.77.1.254"].groups[0].max_prefixes == limit


def test_only_reflectors_are_neighbours_among_reflectors() -> None:
    found = plan(*CASES["reflectors"])
    assert {name: [node.name for node in router.groups[0].neighbours] for name, router in found.items()} == {
        "10.77.1.254": ["cp1"],
        "10.77.2.254": ["cp2"],
    }


def test_a_router_that_no_node_speaks_with_is_made_when_its_as_is_known() -> None:
    changes = (everywhere(cluster_bgp_peers=[]), common(cluster_encapsulation="vxlan", cluster_load_balancer_pools=[]))
    found = plan(*changes, routers(tor1={"as_number": 64601}, tor2={}))
    assert {name: router.groups for name, router in found.items()} == {"tor1": ()}
    assert "router bgp 64601" in tor_config_render.frr(found["tor1"])


def test_the_announcing_sessions_are_of_named_neighbours_and_carry_one_address() -> None:
    found = plan(anycast(), routers(tor1=LISTENING, tor2={}))
    assert [(group.name, group.endpoint, group.ranges) for group in found["tor1"].groups] == [
        ("nodes", False, ("10.77.1.0/24",)),
        ("api", True, ()),
    ]
    (api,) = [group for group in found["tor1"].groups if group.endpoint]
    assert [(node.name, node.address, node.as_number) for node in api.neighbours] == [
        ("cp1", "10.77.1.111", 64701),
        ("cp3", "10.77.1.113", 64701),
    ]
    assert (api.max_prefixes, api.options.bfd) == (1, True)
    assert found["tor2"].endpoint == (Prefix("198.18.7.1/32", 32, 32, "the API's address"),)
    # Nodes may not announce it: only the sessions that are for it.
    assert not any(prefix.cidr == "198.18.7.1/32" for prefix in found["tor1"].accepted)
    assert plan()["10.77.1.254"].endpoint == ()


def test_announcing_sessions_alone_make_a_router() -> None:
    """The network plugin encapsulates and has no session."""
    quiet = both(
        everywhere(cluster_bgp_peers=[]), common(cluster_encapsulation="vxlan", cluster_load_balancer_pools=[])
    )
    found = plan(anycast(), quiet)
    assert [(name, [group.name for group in router.groups]) for name, router in found.items()] == [
        ("10.77.1.254", ["api"]),
        ("10.77.2.254", ["api"]),
    ]


def test_sessions_with_other_options_are_a_group_of_their_own() -> None:
    change = (own("w2", cluster_bgp_peers=peers(1, password="x")), common(cluster_bgp_passwords={"x": "s3cret"}))
    groups = plan(*change)["10.77.1.254"].groups
    assert [(group.name, [node.name for node in group.neighbours], group.options.password) for group in groups] == [
        ("nodes", ["cp1", "cp3"], ""),
        ("nodes-2", ["w2"], "s3cret"),
    ]


REFUSED: list[tuple[tuple[Break, ...], str]] = [
    (
        (routers(tor1={}),),
        "cluster_bgp_peers names 10.77.2.254, which is no router's address: the group routers has tor1",
    ),
    ((routers(tor1={"neighbours": "listen"}, tor2={}),), "listen needs tor_config_listen_ranges"),
    (
        (own("w2", cluster_bgp_peers=peers(1, ttl_security=1)), routers(tor1=LISTENING, tor2={})),
        "have 2 different sets of options",
    ),
    ((routers(tor1={"as_number": 64999}, tor2={}),), "its AS number is 64601, 64999"),
    (
        (with_password, routers(tor1={}, tor2={**SPINE, "uplinks": [{**SPINE["uplinks"][0], "password": "none"}]})),
        "an uplink names a password",
    ),  # type: ignore[dict-item]
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_what_cannot_have_two_ends_is_refused(changes: tuple[Break, ...], words: str) -> None:
    with pytest.raises(TorConfigError, match=words):
        plan(*changes)


# --- the files

FORMATS: dict[str, Callable[[Router], str]] = {"frr.conf": tor_config_render.frr, "bird.conf": tor_config_render.bird}


@pytest.mark.parametrize("name", ["passwords", "listen", "one-as", "announced-api"])
def test_the_files_are_as_they_are_kept(name: str) -> None:
    found = plan(*CASES[name])
    texts = {f"{name}-{router}-{kind}": write(one) for router, one in found.items() for kind, write in FORMATS.items()}
    texts[f"{name}.md"] = tor_config_render.table(found.values())
    for path, text in texts.items():
        if os.environ.get("WRITE_GOLDEN"):
            (GOLDEN / path).write_text(text, encoding="utf-8")
        assert text == (GOLDEN / path).read_text(encoding="utf-8"), path


def test_passwords_are_in_the_configuration_and_nowhere_else() -> None:
    found = plan(*CASES["passwords"])
    assert "neighbor nodes password s3cret-1\n" in tor_config_render.frr(found["tor1"])
    assert 'password "s3cret-2";' in tor_config_render.bird(found["tor2"])
    data = json.dumps([tor_config_render.as_data(router) for router in found.values()])
    assert "s3cret" not in data + tor_config_render.table(found.values())
    assert "(cluster_bgp_passwords)" in data


def test_every_route_map_and_list_that_is_used_is_defined() -> None:
    for changes in CASES.values():
        for router in plan(*changes).values():
            lines = [line.split() for line in tor_config_render.frr(router).splitlines()]
            used = {
                words[words.index(kind) + 1]
                for words in lines
                for kind in ("route-map", "prefix-list")
                if kind in words[1:]
            }
            defined = {words[1] for words in lines if words and words[0] == "route-map"}
            assert used - {"-"} <= defined | {words[2] for words in lines if words and words[0] in ("ip", "ipv6")}


def tool(name: str, folder: str) -> list[str]:
    """A router's own program: on the PATH, or unpacked by tests/tools/router_tools."""
    found = shutil.which(name) or (str(UNPACKED / folder / name) if (UNPACKED / folder / name).exists() else "")
    if not found:
        pytest.skip(f"no {name} here: tests/tools/router_tools unpacks it")
    return [found]


DUAL = replace(
    plan(*CASES["listen"])["tor2"],
    networks=("10.77.2.0/24", "fd00:2::/64"),
    accepted=(Prefix("10.244.0.0/16", 26, 26, "pod blocks"), Prefix("fd00:1::/48", 122, 122, "pod blocks")),
    uplinks=(tor_config.Neighbour("up", "fd00::1", 4200000001, tor_config.Options(bfd=True)),),
)


@pytest.mark.parametrize("name", [*CASES, "dual"])
def test_the_routers_own_programs_take_the_files(name: str, tmp_path: Path) -> None:
    programs = {
        "frr.conf": [*tool("vtysh", "usr/bin"), "-C", "-f"],
        "bird.conf": [*tool("bird", "usr/sbin"), "-p", "-c"],
    }
    environment = {**os.environ, "LD_LIBRARY_PATH": LIBRARIES}
    for router in [DUAL] if name == "dual" else plan(*CASES[name]).values():
        for kind, argv in programs.items():
            path = tmp_path / kind
            path.write_text(FORMATS[kind](router), encoding="utf-8")
            said = subprocess.run(
                [*argv, str(path)], capture_output=True, text=True, timeout=30, env=environment, check=False
            )
            assert said.returncode == 0, f"{kind}: {said.stdout}{said.stderr}"


def test_files_are_for_their_owner_and_written_when_they_differ(tmp_path: Path) -> None:
    wanted = action.files(list(plan().values()), ["frr", "table"])
    assert sorted(wanted) == ["10.77.1.254/frr.conf", "10.77.2.254/frr.conf", "routers.json", "routers.md"]
    directory = tmp_path / "made"
    assert action.write(directory, wanted, True) == list(wanted)
    assert not directory.exists()
    assert action.write(directory, wanted, False) == list(wanted)
    assert {path.stat().st_mode & 0o777 for path in directory.rglob("*") if path.is_file()} == {0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
    (directory / "routers.md").write_text("else")
    assert action.write(directory, wanted, False) == ["routers.md"]
