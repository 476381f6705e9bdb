# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A router of :mod:`tor_config` as configuration of FRR (8 and later) and BIRD 2, and as a table for every other router. Pure."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.tor_config import Group, Neighbour, Prefix, Router

# FRR's own limit of dynamic neighbours is 100 (`bgp listen limit`).
LISTEN_LIMIT = 1000
# Seconds between tries to connect. FRR's own 120 would be the time that a restarted router is missed.
CONNECT = 5
# Seconds that BIRD refuses a neighbour after an error: first, and at most (it doubles).
ERROR_WAIT = "1, 30"
# Per cent of the limit at which a router warns, and minutes until it takes the session up again.
WARN_AT, RESTART_MINUTES = 80, 5
HIDDEN = "(cluster_bgp_passwords)"


def _family(address: str) -> int:
    return ipaddress.ip_address(address).version


# --- FRR


def _frr_lists(name: str, prefixes: Iterable[Prefix]) -> list[str]:
    lines, counts = [], {4: 0, 6: 0}
    for prefix in prefixes:
        counts[prefix.family] += 5
        length = ipaddress.ip_network(prefix.cidr).prefixlen
        bounds = (f" ge {prefix.low}" if prefix.low > length else "") + (
            f" le {prefix.high}" if prefix.high > length else ""
        )
        words = "ip" if prefix.family == 4 else "ipv6"
        lines.append(f"{words} prefix-list {name} seq {counts[prefix.family]} permit {prefix.cidr}{bounds}")
    return lines


def _frr_map(name: str, families: Iterable[int], settings: Iterable[str] = ()) -> list[str]:
    lines = []
    for number, family in enumerate(families, 1):
        words = "ip" if family == 4 else "ipv6"
        lines += [
            f"route-map {name} permit {10 * number}",
            f" match {words} address prefix-list {name}",
            *settings,
            "exit",
            "!",
        ]
    return lines


def _frr_session(target: str, neighbour: Neighbour) -> list[str]:
    """What uplinks and groups have in common."""
    options = neighbour.options
    return [
        *([f" neighbor {target} password {options.password}"] if options.password else []),
        *([f" neighbor {target} ttl-security hops {options.ttl_security}"] if options.ttl_security else []),
        *([f" neighbor {target} bfd"] if options.bfd else []),
    ]


def _frr_group(group: Group, router: Router) -> list[str]:
    remote = "internal" if group.options.internal else "external"
    lines = [f" neighbor {group.name} peer-group"]
    if group.ranges:
        lines.append(f" neighbor {group.name} remote-as {remote}")
    lines += [
        f" neighbor {group.name} timers {router.keepalive} {router.hold}",
        f" neighbor {group.name} timers connect {CONNECT}",
        *_frr_session(group.name, Neighbour(group.name, "", 0, group.options)),
        # The announcing speaker opens the session; port 179 of its address would be the network plugin's.
        *([f" neighbor {group.name} passive"] if group.endpoint else []),
    ]
    for node in () if group.ranges else group.neighbours:
        lines += [
            f" neighbor {node.address} remote-as {node.as_number}",
            f" neighbor {node.address} peer-group {group.name}",
            f" neighbor {node.address} description {node.name}",
        ]
    return lines + [f" bgp listen range {cidr} peer-group {group.name}" for cidr in group.ranges]


def _frr_activate(group: Group, router: Router) -> list[str]:
    name = group.name
    lines = [f"  neighbor {name} activate"]
    if group.endpoint:
        return [
            *lines,
            f"  neighbor {name} soft-reconfiguration inbound",
            f"  neighbor {name} maximum-prefix {group.max_prefixes} 100 restart {RESTART_MINUTES}",
            f"  neighbor {name} route-map FROM-API in",
            f"  neighbor {name} route-map NOTHING out",
        ]
    if group.options.internal:
        lines += [f"  neighbor {name} route-reflector-client", f"  neighbor {name} next-hop-self force"]
    elif router.own_as_of_nodes:
        lines.append(f"  neighbor {name} as-override")
    if router.default_route:
        lines.append(f"  neighbor {name} default-originate")
    return [
        *lines,
        f"  neighbor {name} soft-reconfiguration inbound",
        f"  neighbor {name} maximum-prefix {group.max_prefixes} {WARN_AT} restart {RESTART_MINUTES}",
        f"  neighbor {name} route-map FROM-NODES in",
        f"  neighbor {name} route-map TO-NODES out",
    ]


def frr(router: Router) -> str:
    """``/etc/frr/frr.conf``. ``bfdd`` has to be on in ``/etc/frr/daemons`` when a session has BFD."""
    networks = [Prefix(cidr, 0, 0, "connected") for cidr in router.networks]
    preference = [f" set local-preference {router.local_preference}"] if router.local_preference else []
    lines = [
        "frr defaults datacenter",
        f"hostname {router.name}",
        "log syslog informational",
        "service integrated-vtysh-config",
        "!",
        *_frr_lists("FROM-NODES", router.accepted),
        *_frr_lists("TO-NODES", router.given),
        *_frr_lists("CONNECTED", networks),
        *_frr_lists("FROM-API", router.endpoint),
        "!",
        *_frr_map("FROM-NODES", router.families, preference),
        *_frr_map("TO-NODES", router.families),
        *(_frr_map("CONNECTED", sorted({one.family for one in networks})) if networks else []),
        *(_frr_map("FROM-API", [one.family for one in router.endpoint])),
        *(["route-map NOTHING deny 10", "exit", "!"] if router.endpoint else []),
        f"router bgp {router.as_number}",
        f" bgp router-id {router.router_id}",
        " no bgp ebgp-requires-policy",
        " no bgp default ipv4-unicast",
        " bgp bestpath as-path multipath-relax",
        " bgp graceful-restart",
        # RFC 8538 keeps the routes of a neighbour whose hold time is over, for 120 s: a machine that died silently would be a black hole for as long.
        " no bgp graceful-restart notification",
    ]
    for group in router.groups:
        lines += _frr_group(group, router)
    if any(group.ranges for group in router.groups):
        lines.append(f" bgp listen limit {LISTEN_LIMIT}")
    for uplink in router.uplinks:
        lines += [
            f" neighbor {uplink.address} remote-as {uplink.as_number}",
            f" neighbor {uplink.address} description {uplink.name}",
            f" neighbor {uplink.address} timers {router.keepalive} {router.hold}",
            f" neighbor {uplink.address} timers connect {CONNECT}",
            *_frr_session(uplink.address, uplink),
        ]
    for family in router.families:
        lines += [" !", f" address-family ipv{family} unicast"]
        if any(one.family == family for one in networks):
            lines.append("  redistribute connected route-map CONNECTED")
        for group in router.groups:
            lines += _frr_activate(group, router) if group.options.family == family else []
        lines += [
            f"  neighbor {uplink.address} activate" for uplink in router.uplinks if _family(uplink.address) == family
        ]
        lines += [f"  maximum-paths {router.maximum_paths}", f"  maximum-paths ibgp {router.maximum_paths}"]
        lines.append(" exit-address-family")
    return "\n".join([*lines, "exit", "!", ""])


# --- BIRD 2


def _bird_set(prefixes: Iterable[Prefix], family: int) -> str:
    parts = []
    for prefix in prefixes:
        if prefix.family == family:
            parts.append(f"{prefix.cidr}{{{prefix.low},{prefix.high}}}")
    return ", ".join(parts)


def _bird_filters(router: Router, family: int) -> list[str]:
    accepted, given = _bird_set(router.accepted, family), _bird_set(router.given, family)
    networks = [
        Prefix(c, ipaddress.ip_network(c).prefixlen, ipaddress.ip_network(c).prefixlen, "") for c in router.networks
    ]
    connected = _bird_set(networks, family)
    preference = [f"    bgp_local_pref = {router.local_preference};"] if router.local_preference else []
    default = "0.0.0.0/0" if family == 4 else "::/0"
    endpoint = _bird_set(router.endpoint, family)
    return [
        *(
            [f"filter from_api{family} {{", f"  if net ~ [ {endpoint} ] then accept;", "  reject;", "}"]
            if endpoint
            else []
        ),
        f"filter from_nodes{family} {{",
        *([f"  if net ~ [ {accepted} ] then {{", *preference, "    accept;", "  }"] if accepted else []),
        "  reject;",
        "}",
        f"filter to_nodes{family} {{",
        *([f"  if net ~ [ {default} ] then accept;"] if router.default_route else []),
        *([f"  if ! (net ~ [ {given} ]) then reject;"] if given else ["  reject;"]),
        # A node drops a route with its own AS in the path; BIRD has no as-override.
        *(
            [f"  bgp_path.delete([ {', '.join(map(str, router.own_as_of_nodes))} ]);"]
            if router.own_as_of_nodes and given
            else []
        ),
        *(["  accept;"] if given else []),
        "}",
        f"filter to_uplinks{family} {{",
        "  if source = RTS_BGP then accept;",
        *([f"  if net ~ [ {connected} ] then accept;"] if connected else []),
        "  reject;",
        "}",
    ]


def _bird_common(router: Router, neighbour: Neighbour) -> list[str]:
    options = neighbour.options
    return [
        f"  local as {router.as_number};",
        f"  hold time {router.hold};",
        f"  keepalive time {router.keepalive};",
        f"  connect retry time {CONNECT};",
        # BIRD's own 60 to 300 seconds would refuse a node that is well again: a session that BFD ended counts as an error.
        f"  error wait time {ERROR_WAIT};",
        "  graceful restart on;",
        *([f'  password "{options.password}";'] if options.password else []),
        # One hop is a neighbour: BFD needs no address of this end then, which a template does not know.
        *(
            ["  direct;" if options.bfd and options.ttl_security == 1 else f"  multihop {options.ttl_security};"]
            if options.ttl_security
            else []
        ),
        *(["  ttl security on;"] if options.ttl_security else []),
        *(["  bfd on;"] if options.bfd else []),
    ]


def _bird_group(group: Group, router: Router) -> list[str]:
    family, kind = group.options.family, "internal" if group.options.internal else "external"
    name = group.name.replace("-", "_")
    lines = [
        f"template bgp {name} {{",
        *_bird_common(router, Neighbour(name, "", 0, group.options)),
        *(["  rr client;"] if group.options.internal else []),
        *(["  passive on;"] if group.endpoint else []),
        f"  ipv{family} {{",
        f"    import filter from_{'api' if group.endpoint else 'nodes'}{family};",
        "    export none;" if group.endpoint else f"    export filter to_nodes{family};",
        f"    import limit {group.max_prefixes} action restart;",
        *(["    next hop self;"] if group.options.internal else []),
        "  };",
        "}",
    ]
    for number, cidr in enumerate(group.ranges, 1):
        lines += [
            f"protocol bgp {name}_range{number} from {name} {{",
            f"  neighbor range {cidr} {kind};",
            f'  dynamic name "{name}_";',
            "}",
        ]
    for node in () if group.ranges else group.neighbours:
        lines += [
            f"protocol bgp {'api_' if group.endpoint else ''}{'_'.join(node.name.replace('-', '_').split('.'))}{'' if family == 4 else '_6'} from {name} {{",
            f"  neighbor {node.address} as {node.as_number};",
            "}",
        ]
    return lines


def bird(router: Router) -> str:
    """``/etc/bird/bird.conf`` of BIRD 2."""
    lines = [
        f"# {router.name}",
        f"router id {router.router_id};",
        "log syslog all;",
        "protocol device {",
        "}",
    ]
    if any(group.options.bfd for group in router.groups) or any(uplink.options.bfd for uplink in router.uplinks):
        lines += ["protocol bfd {", "}"]
    for family in router.families:
        lines += [
            f"protocol direct direct{family} {{",
            f"  ipv{family};",
            "}",
            f"protocol kernel kernel{family} {{",
            f"  merge paths on limit {router.maximum_paths};",
            f"  ipv{family} {{",
            "    export where source = RTS_BGP;",
            "  };",
            "}",
            *_bird_filters(router, family),
        ]
    for group in router.groups:
        lines += _bird_group(group, router)
    for number, uplink in enumerate(router.uplinks, 1):
        family = _family(uplink.address)
        lines += [
            f"# {uplink.name}",
            f"protocol bgp uplink{number} {{",
            *_bird_common(router, uplink),
            f"  neighbor {uplink.address} as {uplink.as_number};",
            f"  ipv{family} {{",
            "    import all;",
            f"    export filter to_uplinks{family};",
            "  };",
            "}",
        ]
    return "\n".join([*lines, ""])


# --- for every other router


def as_data(router: Router) -> dict[str, Any]:
    """A router as plain data. Passwords are not in it, only that there is one."""
    found = json.loads(json.dumps(asdict(router)))
    for entry in [
        *found["groups"],
        *(node for group in found["groups"] for node in group["neighbours"]),
        *found["uplinks"],
    ]:
        entry["options"]["password"] = HIDDEN if entry["options"]["password"] else ""
    return dict(found)


def _range(prefix: Prefix) -> str:
    return f"{prefix.cidr}, {f'/{prefix.low}' if prefix.low == prefix.high else f'/{prefix.low} to /{prefix.high}'}"


def table(routers: Iterable[Router]) -> str:
    """The same as Markdown, to be typed into any router. Passwords are not in it."""
    lines = ["# The routers' side of the cluster's BGP", ""]
    for router in routers:
        lines += [
            f"## {router.name}, AS {router.as_number}",
            "",
            "| Neighbour | Address | AS | MD5 | TTL security | BFD | Most prefixes |",
            "|---|---|---|---|---|---|---|",
        ]
        for group in router.groups:
            yes = (
                "yes" if group.options.password else "no",
                group.options.ttl_security or "no",
                "yes" if group.options.bfd else "no",
            )
            tail = f"{yes[0]} | {yes[1]} | {yes[2]} | {group.max_prefixes} |"
            lines += [
                f"| nodes ({group.name}) | {cidr} | {'its own' if group.options.internal else 'any other'} | {tail}"
                for cidr in group.ranges
            ]
            lines += [
                f"| {node.name}{' (the API)' if group.endpoint else ''} | {node.address} | {node.as_number} | {tail}"
                for node in (() if group.ranges else group.neighbours)
            ]
        for up in router.uplinks:
            md5, bfd = ("yes" if up.options.password else "no"), ("yes" if up.options.bfd else "no")
            lines.append(f"| {up.name} (router) | {up.address} | {up.as_number} | {md5} | no | {bfd} | none |")
        lines += ["", "| Setting | Value |", "|---|---|"]
        lines += [f"| taken from nodes | {_range(prefix)} ({prefix.what}) |" for prefix in router.accepted]
        lines += [f"| given to nodes | {_range(prefix)} ({prefix.what}) |" for prefix in router.given]
        lines += [
            f"| taken from the API's sessions, nothing given | {_range(one)} ({one.what}) |" for one in router.endpoint
        ]
        if router.default_route:
            lines.append("| given to nodes | a default route |")
        lines += [f"| announced to routers | {cidr} (connected) |" for cidr in router.networks]
        lines += [
            f"| own AS of nodes ({', '.join(map(str, router.own_as_of_nodes))}) | replaced in routes that go back to them (as-override) |"
        ] * bool(router.own_as_of_nodes)
        lines += [
            f"| timers | keepalive {router.keepalive} s, hold {router.hold} s |",
            f"| ECMP | {router.maximum_paths} paths, of neighbours with different AS numbers too |",
            "| graceful restart | on (RFC 4724), off for expired hold times (RFC 8538) |",
        ]
        lines += [f"| local preference of nodes' routes | {router.local_preference} |"] * bool(router.local_preference)
        lines.append("")
    return "\n".join(lines)
