# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge behind ``verify``: what is wanted against what was observed, one row a statement.

Everything here is pure: wanted values and observations go in, rows come out.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Observation = Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What the inventory says that should be there.

    ``nodes``, ``control_plane``, ``etcd``, ``routers``: addresses by host name. ``bgp_peers``: addresses of the routers and nodes
    that a node's network plugin has BGP sessions with. ``announced_cidrs``: ranges of Services that nodes announce. ``mtu``: the pods', 0: whatever all have.
    ``load_balancer``: the mode. ``pools``: ``{name, service, skipped, families}`` of each pool. ``speakers``: router addresses of MetalLB's speaker by node.
    ``second``: nodes' addresses of the second family by host name, in a cluster that has two.
    ``dns_caches``: nodes with a DNS cache of their own. ``etcd_events``: the hosts of ``etcd`` have a member of the events' etcd too.
    """

    nodes: Mapping[str, str]
    control_plane: Mapping[str, str]
    etcd: Mapping[str, str]
    version: str
    pods_per_node: Mapping[str, int] = field(default_factory=dict)
    routers: Mapping[str, str] = field(default_factory=dict)
    outside: Sequence[str] = ()
    bgp_peers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    network_plugin: str = "calico"
    encapsulation: str = "none"
    load_balancer: str = "calico_bgp"
    pools: Sequence[Mapping[str, Any]] = ()
    speakers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    certificate_days: float = 30.0
    racks: Mapping[str, str] = field(default_factory=dict)
    bgp_topology: str = "tor"
    pod_cidrs: Sequence[str] = ()
    announced_cidrs: Sequence[str] = ()
    mtu: int = 0
    firewall: bool = False
    announced: Mapping[str, Any] = field(default_factory=dict)
    second: Mapping[str, str] = field(default_factory=dict)
    dns_caches: Sequence[str] = ()
    etcd_events: bool = False


@dataclass(frozen=True)
class Row:
    """One judged statement. ``result`` is ``ok``, ``failed`` or ``skipped`` (with the reason in ``detail``)."""

    check: str
    subject: str
    result: str
    detail: str


def _row(check: str, subject: str, problem: str, detail: str = "") -> Row:
    return Row(check, subject, "failed", problem) if problem else Row(check, subject, "ok", detail)


def _seen(hosts: Mapping[str, Observation], host: str, part: str) -> tuple[Any, str]:
    """One part of what a host showed, and why it cannot be judged (empty when it can)."""
    if host not in hosts:
        return {}, "the host was not reached"
    found = hosts[host].get(part)
    if found is None:
        return {}, f"the host was not asked for '{part}'"
    return found, str(found.get("error", "")) if isinstance(found, Mapping) else ""


def judge_nodes(wanted: Wanted, cluster: Observation) -> list[Row]:
    """Each wanted node is there, Ready, of the wanted version and size; nothing else is."""
    by_name = {node["name"]: node for node in cluster["nodes"]}
    rows = []
    for name in sorted(wanted.nodes):
        node = by_name.get(name)
        problems = []
        if node is None:
            problems.append("is not a node of the cluster")
        else:
            if not node["ready"]:
                problems.append(f"is not Ready: {node['reason']}")
            if node["version"] != wanted.version:
                problems.append(f"runs {node['version']}, wanted {wanted.version}")
            addresses = [wanted.nodes[name], *([wanted.second[name]] if wanted.second.get(name) else [])]
            if not set(addresses) <= set(node["addresses"]):
                problems.append(f"has the addresses {node['addresses']}, wanted {', '.join(addresses)}")
            pods = wanted.pods_per_node.get(name, node["max_pods"])
            if node["max_pods"] != pods:
                problems.append(f"carries {node['max_pods']} pods, wanted {pods}")
        both = f", {' and '.join(addresses)}" if node and wanted.second.get(name) else ""
        detail = f"Ready, {wanted.version}, {node['max_pods']} pods{both}" if node else ""
        rows.append(_row("nodes", name, "; ".join(problems), detail))
    rows += [
        _row("nodes", name, "is a node of the cluster but not in the inventory")
        for name in sorted(set(by_name) - set(wanted.nodes))
    ]
    return rows


def judge_workloads(cluster: Observation) -> list[Row]:
    """Every Deployment and DaemonSet of the system namespaces has all its pods ready."""
    system = [
        w for w in cluster["workloads"] if w["namespace"].endswith("-system") or w["namespace"].startswith("kube-")
    ]
    rows = []
    for entry in sorted(system, key=lambda w: (w["namespace"], w["name"])):
        short = entry["ready"] < entry["wanted"]
        counts = f"{entry['ready']} of {entry['wanted']} ready"
        rows.append(
            _row(
                "workloads",
                f"{entry['namespace']}/{entry['name']}",
                f"{entry['kind']}: {counts}" if short else "",
                counts,
            )
        )
    return rows


# A database that is full takes no more writes (etcd's NOSPACE alarm); before that there is time to compact, defragment or raise the quota.
FULL_SHARE = 0.9
MIB = 1024 * 1024


def _judge_member(wanted: Wanted, hosts: Mapping[str, Observation], host: str, part: str, check: str) -> Row:
    """One member of an etcd: it sees exactly the wanted voters, all healthy, with one leader, and room in each database."""
    seen, problem = _seen(hosts, host, part)
    members = seen.get("members", [])
    voters = sorted(m["name"] for m in members if not m["learner"])
    problems = [problem] if problem else []
    if not problem:
        if voters != sorted(wanted.etcd):
            problems.append(f"voters are {voters}, wanted {sorted(wanted.etcd)}")
        problems += [f"{m['name']}: {', '.join(m['errors'])}" for m in members if not m["healthy"]]
        leaders = [m["name"] for m in members if m["leader"]]
        if len(leaders) != 1:
            problems.append(f"{len(leaders)} members call themselves leader")
        own = [m for m in members if m["name"] == host and m.get("db_quota")]
        problems += [
            f"its database has {m['db_size'] // MIB} of {m['db_quota'] // MIB} MiB, full it takes no more writes"
            for m in own
            if m["db_size"] >= FULL_SHARE * m["db_quota"]
        ]
    return _row(check, host, "; ".join(problems), f"{len(voters)} voters, all healthy")


def judge_etcd(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """The members of Kubernetes' etcd and, where events have one of their own, of that."""
    clusters = [("etcd", "etcd"), *([("etcd_events", "events etcd")] if wanted.etcd_events else [])]
    return [_judge_member(wanted, hosts, host, part, check) for part, check in clusters for host in sorted(wanted.etcd)]


def judge_urls(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """Every control plane's API, and the endpoint, answer from every node."""
    rows = []
    for target, check in [*((name, "api") for name in sorted(wanted.control_plane)), ("endpoint", "endpoint")]:
        failing = []
        slowest = 0.0
        for host in sorted(wanted.nodes):
            seen, problem = _seen(hosts, host, "urls")
            answer = seen.get(target) if not problem else None
            if answer is None:
                failing.append(f"{host} ({problem or 'was not asked'})")
            elif not answer["ok"]:
                failing.append(f"{host} ({answer['error']})")
            else:
                slowest = max(slowest, answer["milliseconds"])
        problem = "not ready, seen from " + ", ".join(failing) if failing else ""
        rows.append(_row(check, target, problem, f"ready from {len(wanted.nodes)} nodes, slowest {slowest:g} ms"))
    return rows


def judge_certificates(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """Each host's certificates have days left, and nodes have those that make them nodes."""
    rows = []
    for host in sorted({*wanted.nodes, *wanted.etcd}):
        seen, problem = _seen(hosts, host, "certificates")
        found = list(seen) if isinstance(seen, Sequence) else []
        problems = [problem] if problem else []
        problems += [f"{c['path']}: {c['error']}" for c in found if c["error"]]
        dated = [c for c in found if c["days_left"] is not None]
        problems += [
            f"{c['path']}: {c['days_left']:g} days left" for c in dated if c["days_left"] < wanted.certificate_days
        ]
        serving = "/var/lib/kubelet/pki/kubelet-server-current.pem"
        if not problem and host in wanted.nodes and not any(c["path"] == serving for c in found):
            problems.append(f"{serving} is missing: the kubelet has no serving certificate of the cluster")
        shortest = min(dated, key=lambda c: c["days_left"], default=None)
        detail = f"{len(dated)} certificates, first ends in {shortest['days_left']:.0f} days" if shortest else ""
        rows.append(
            _row("certificates", host, "; ".join(problems) if problems or shortest else "no certificate found", detail)
        )
    return rows


def judge_firewall(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """Each host's live table is the wanted one, and the next boot loads the same."""
    rows = []
    for host in sorted({*wanted.nodes, *wanted.etcd}):
        seen, problem = _seen(hosts, host, "firewall")
        differences = seen.get("differences", [])
        problem = problem or ("a run would: " + ", ".join(differences) if differences else "")
        rows.append(_row("firewall", host, problem, "the live table and that of the next boot are the wanted one"))
    return rows


def judge_dns_caches(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """Each node's DNS cache answers for a name of the cluster, which it has from the DNS Service."""
    rows = []
    for host in sorted(wanted.dns_caches):
        seen, problem = _seen(hosts, host, "dns_cache")
        rows.append(_row("dns cache", host, problem, f"answers in {seen.get('milliseconds')} ms"))
    return rows


def judge_bgp(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """Every session that the inventory names is Established, on the node and, where the router can be asked, there too."""
    rows = []
    for host in sorted(wanted.nodes):
        peers = wanted.bgp_peers.get(host, ())
        seen, problem = _seen(hosts, host, "bgp")
        states = {s["neighbor"]: s for s in seen.get("sessions", [])}
        problems = [problem] if problem else []
        if not problem:
            problems += [
                f"session with {peer} is {states[peer]['state'] if peer in states else 'not configured'}"
                for peer in peers
                if peer not in states or states[peer]["state"] != "Established"
            ]
        rows.append(_row("bgp node", host, "; ".join(problems), f"{len(peers)} of {len(peers)} Established"))
    routers = {} if wanted.bgp_topology in ("full_mesh", "none") else _router_addresses(wanted, hosts)
    for router, addresses in sorted(routers.items()):
        seen, problem = _seen(hosts, router, "router")
        neighbours = seen.get("neighbours", {})
        expected = sorted(h for h, peers in wanted.bgp_peers.items() if h in wanted.nodes and set(peers) & addresses)
        problems = [problem] if problem else []
        if not problem:
            for host in expected:
                state = neighbours.get(wanted.nodes[host], {}).get("state", "not there")
                if state != "Established":
                    problems.append(f"{host} ({wanted.nodes[host]}) is {state}")
        rows.append(
            _row("bgp router", router, "; ".join(problems), f"{len(expected)} of {len(expected)} nodes Established")
        )
    return rows


def _router_addresses(wanted: Wanted, hosts: Mapping[str, Observation]) -> dict[str, set[str]]:
    """Addresses of each router: what it says of its interfaces, and the inventory's."""
    found = {}
    for router, address in wanted.routers.items():
        own = (hosts.get(router, {}).get("router") or {}).get("addresses", [])
        found[router] = {address, *own}
    return found


def judge_blocks(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation]) -> list[Row]:
    """Every node has a route to every other node's address blocks that is not a blackhole of its own."""
    blocks: dict[str, list[str]] = {}
    for entry in cluster["blocks"]:
        blocks.setdefault(entry["node"], []).append(entry["cidr"])
    rows = []
    for host in sorted(wanted.nodes):
        seen, problem = _seen(hosts, host, "routes")
        routes = {
            route["destination"]
            for route in seen.get("routes", [])
            if route["kind"] not in ("blackhole", "unreachable") and route["destination"] != "default"
        }
        reached = [ipaddress.ip_network(route, strict=False) for route in routes]
        problems = [problem] if problem else []
        count = 0
        if not problem:
            for owner in sorted(set(wanted.nodes) - {host}):
                for cidr in blocks.get(owner, []):
                    count += 1
                    block = ipaddress.ip_network(cidr)
                    if not any(block.version == net.version and block.subnet_of(net) for net in reached):  # type: ignore[arg-type]
                        problems.append(f"no route to {cidr} of {owner}")
            problems += [f"{owner} has no block" for owner in sorted(set(wanted.nodes) - set(blocks)) if owner == host]
        rows.append(_row("pod routes", host, "; ".join(problems), f"{count} blocks of other nodes reachable"))
    return rows


def judge_ranges_on_routers(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation]) -> list[Row]:
    """Every router has a route to every node's range, and where the node is its neighbour, to that node.

    For nodes that announce their range and leave the others' to the routers.
    """
    if not wanted.routers:
        return [Row("pod routes", "routers", "skipped", "no host in the group 'routers' to ask")]
    rows = []
    for router, addresses in sorted(_router_addresses(wanted, hosts).items()):
        seen, problem = _seen(hosts, router, "router")
        routes = {route["destination"]: route for route in seen.get("routes", [])}
        problems = [problem] if problem else []
        owners = {entry["node"] for entry in cluster["blocks"]}
        problems += [f"{node} has no range" for node in sorted(set(wanted.nodes) - owners)]
        for entry in () if problem else cluster["blocks"]:
            node, route = entry["node"], routes.get(entry["cidr"])
            if node not in wanted.nodes:
                continue
            if route is None or route["kind"] != "unicast":
                problems.append(f"no route to {entry['cidr']} of {node}")
            elif set(wanted.bgp_peers.get(node, ())) & addresses and not any(
                # A link-local next hop is a neighbour, but its name is not known here.
                hop == wanted.nodes[node] or ipaddress.ip_address(hop).is_link_local
                for hop in route["via"]
            ):
                problems.append(
                    f"{entry['cidr']} of {node} goes to {', '.join(route['via']) or 'nobody'}, not to the node"
                )
        rows.append(
            _row("pod routes", router, "; ".join(problems), f"{len(cluster['blocks'])} ranges of nodes reachable")
        )
    return rows


def judge_pod_answers(
    wanted: Wanted, hosts: Mapping[str, Observation], targets: Mapping[str, Mapping[str, str]]
) -> list[Row]:
    """What each node's probe pod could reach. ``targets``: check -> {target as asked: what it is}."""
    rows = []
    for check, asked in targets.items():
        for host in sorted(wanted.nodes):
            seen, problem = _seen(hosts, host, "pod")
            answers = {a["target"]: a for a in seen.get("answers", [])}
            problems = [problem] if problem else []
            if not problem:
                for target, meaning in asked.items():
                    answer = answers.get(target)
                    if answer is None:
                        problems.append(f"{meaning} was not asked")
                    elif not answer["ok"]:
                        problems.append(f"{meaning}: {answer['error']}")
            slowest = max((a["milliseconds"] for t, a in answers.items() if t in asked), default=0.0)
            problem_text = (
                "; ".join(problems) if asked else "there is nothing to ask: the probe workload has no address"
            )
            rows.append(_row(check, host, problem_text, f"{len(asked)} of {len(asked)} answer, slowest {slowest:g} ms"))
    return rows


def _http(address: str, port: Any, path: str) -> str:
    return f"http://{f'[{address}]' if ':' in address else address}:{port}{path}"


def outside_urls(cluster: Observation) -> dict[str, str]:
    """What hosts outside are to ask: ``{"service address": URL}`` of every LoadBalancer address of the probe workload."""
    return {
        _url_key(service, address): _http(address, service["port"], "/")
        for service in cluster.get("services", [])
        for address in service["externals"]
    }


def _url_key(service: Observation, address: str) -> str:
    return f"{service['name']} {address}"


def judge_outside(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation]) -> list[Row]:
    """The probe workload answers hosts outside the cluster on an address of each pool, and where nothing has to hide it sees their address."""
    rows = []
    for pool in wanted.pools:
        if pool["skipped"]:
            rows.append(Row("load balancer", pool["name"], "skipped", pool["skipped"]))
            continue
        services = [s for s in cluster["services"] if s["name"] in (pool["service"], f"{pool['service']}-local")]
        for service in services:
            rows += _judge_service(wanted, cluster, hosts, pool["name"], service)
        if not services:
            rows.append(_row("load balancer", pool["name"], "the probe workload has no Service for this pool"))
    return rows


def _judge_service(
    wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation], pool: str, service: Observation
) -> list[Row]:
    local = service["policy"] == "Local"
    check = "client address" if local else "load balancer"
    have = {6 if ":" in address else 4 for address in service["externals"]}
    families = next((entry.get("families") or [] for entry in wanted.pools if entry["name"] == pool), [])
    rows = [
        _row(check, pool, f"the probe's Service {service['name']} has no IPv{family} address")
        for family in families
        if service["externals"] and family not in have
    ]
    if not service["externals"]:
        rows.append(_row(check, pool, f"the probe's Service {service['name']} has no address"))
    for address in service["externals"]:
        if not wanted.outside:
            why = "no host in the group 'outside' to ask from"
            rows.append(Row(check, f"{address} of {pool}", "skipped", why))
        for host in sorted(wanted.outside):
            seen, problem = _seen(hosts, host, "urls")
            answer = {} if problem else seen.get(_url_key(service, address), {"ok": False, "error": "was not asked"})
            problem = problem or ("" if answer["ok"] else f"{address} does not answer: {answer['error']}")
            told: Mapping[str, Any] = {}
            if not problem:
                told = _told(answer["answer"])
                problem = "" if told else f"{address} answers, but not as the probe workload does"
            detail = f"answered by a pod on {told.get('node', '')}"
            if local and not problem:
                problem, detail = _client_seen(wanted, cluster, str(told.get("client", "")), answer["source"])
            rows.append(_row(check, f"{address} of {pool} from {host}", problem, detail))
    return rows


def _told(answer: str) -> Mapping[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) and "node" in found else {}


def _client_seen(wanted: Wanted, cluster: Observation, client: str, source: str) -> tuple[str, str]:
    """What is wrong with the client that a pod saw, and what is right. A router between may translate, the cluster may not."""
    if client == source:
        return "", f"the pod sees the client's own address {client}"
    try:
        seen = ipaddress.ip_address(client)
    except ValueError:
        return f"the pod sees no address but '{client}'", ""
    blocks = [ipaddress.ip_network(block["cidr"]) for block in cluster["blocks"]]
    known = [*wanted.nodes.items(), *wanted.second.items()]
    owner = next((f"{name}'s" for name, address in known if address == client), "")
    owner = owner or ("a pod network's" if any(seen in block for block in blocks) else "")
    if owner:
        return f"the pod sees {client}, {owner} address, not the client's {source}", ""
    return "", f"the pod sees {client} for the client's {source}: translated outside the cluster"


def judge_announcers(wanted: Wanted, cluster: Observation) -> list[Row]:
    """MetalLB's speakers say themselves which of them announce the probe's addresses."""
    rows = []
    for pool in wanted.pools:
        if pool["skipped"]:
            continue
        found = [entry for entry in cluster["announcements"] if entry["service"] == pool["service"]]
        words = [
            f"{entry['node']}{' on ' + ', '.join(entry['interfaces']) if entry['interfaces'] else ''}"
            f"{' to ' + ', '.join(entry['peers']) if entry['peers'] else ''}"
            for entry in sorted(found, key=lambda entry: str(entry["node"]))
        ]
        strangers = sorted({entry["node"] for entry in found} - set(wanted.nodes))
        problem = "" if found else "no speaker says that it announces it"
        if strangers:
            problem = f"announced from {', '.join(strangers)}, which the inventory does not have"
        if wanted.load_balancer == "metallb_l2" and len(found) > 1:
            problem = f"{len(found)} nodes answer for one address: {', '.join(words)}"
        rows.append(_row("announced by", pool["name"], problem, "; ".join(words)))
    return rows


def judge_speakers(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """Every session of MetalLB's speakers is up, on the node and, where the router can be asked, there too."""
    rows = []
    for host in sorted(wanted.speakers):
        seen, problem = _seen(hosts, host, "speaker")
        up = {session["peer"] for session in seen.get("sessions", []) if session["up"]}
        problems = [problem] if problem else []
        problems += (
            [] if problem else [f"session with {peer} is not up" for peer in wanted.speakers[host] if peer not in up]
        )
        rows.append(_row("speaker", host, "; ".join(problems), f"{len(wanted.speakers[host])} sessions up"))
    for router, addresses in sorted(_router_addresses(wanted, hosts).items()):
        expected = sorted(host for host, peers in wanted.speakers.items() if set(peers) & addresses)
        seen, problem = _seen(hosts, router, "router")
        neighbours = seen.get("neighbours", {})
        problems = [problem] if problem else []
        for host in () if problem else expected:
            state = neighbours.get(wanted.nodes[host], {}).get("state", "not there")
            problems += [] if state == "Established" else [f"{host} ({wanted.nodes[host]}) is {state}"]
        detail = f"{len(expected)} of {len(expected)} speakers Established"
        rows.append(_row("speaker router", router, "; ".join(problems), detail))
    return rows


def probe_targets(cluster: Observation, domain: str) -> dict[str, dict[str, str]]:
    """What a probe pod is to ask, by check: ``{check: {target: meaning}}``. An empty map means that there is nothing to ask."""
    pods = {_http(p["address"], 8080, "/healthz"): f"the pod on {p['node']}" for p in cluster["pods"] if p["address"]}
    targets: dict[str, dict[str, str]] = {"pod to pod": pods}
    inner = next((s for s in cluster["services"] if s["type"] == "ClusterIP"), None)
    names = {"dns:kubernetes.default.svc." + domain: "kubernetes.default"}
    if inner:
        names[f"dns:{inner['name']}.bare-metal-system.svc.{domain}"] = inner["name"]
    targets["dns"] = names
    address = inner["cluster_ip"] if inner else ""
    targets["cluster ip"] = {_http(address, inner["port"], "/healthz"): inner["name"]} if inner and address else {}
    return targets


def judge_routing(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation]) -> list[Row]:
    """Sessions, and the way to every other node's pods."""
    rows: list[Row] = []
    if wanted.network_plugin == "none":
        return rows
    peered = any(wanted.bgp_peers.values()) and wanted.load_balancer != "metallb_bgp"
    if peered:
        rows += judge_bgp(wanted, hosts)
    if not cluster.get("error"):
        # Calico's nodes learn each other's blocks, Cilium's announce their range and leave the others' to the routers.
        by_routers = wanted.network_plugin == "cilium" and wanted.encapsulation == "none" and peered
        rows += (judge_ranges_on_routers if by_routers else judge_blocks)(wanted, cluster, hosts)
    return rows


def judge_hosts(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation]) -> list[Row]:
    """What each host is and does for itself: nodes, etcd, the API, certificates, firewalls, DNS caches."""
    rows: list[Row] = []
    if cluster.get("error"):
        rows.append(_row("api", "cluster", f"could not be read: {cluster['error']}"))
    else:
        rows += judge_nodes(wanted, cluster) + judge_workloads(cluster)
    rows += judge_etcd(wanted, hosts) + judge_urls(wanted, hosts) + judge_certificates(wanted, hosts)
    rows += judge_firewall(wanted, hosts) if wanted.firewall else []
    return rows + judge_dns_caches(wanted, hosts)


def judge_balancing(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation]) -> list[Row]:
    """LoadBalancer addresses, and who announces them."""
    rows: list[Row] = []
    if wanted.network_plugin != "none" and not cluster.get("error"):
        rows += judge_outside(wanted, cluster, hosts)
        if wanted.load_balancer in ("metallb_l2", "metallb_bgp"):
            rows += judge_announcers(wanted, cluster)
    return rows + (judge_speakers(wanted, hosts) if wanted.load_balancer == "metallb_bgp" else [])


def judge(wanted: Wanted, cluster: Observation, hosts: Mapping[str, Observation], domain: str) -> list[Row]:
    """The rows of a cluster of one family, in the order of the layers. ``cluster`` is what ``cluster_probe`` saw, ``hosts`` what ``node_probe`` saw by
    host.
    """
    rows = judge_hosts(wanted, cluster, hosts) + judge_routing(wanted, cluster, hosts)
    if wanted.network_plugin != "none" and not cluster.get("error"):
        rows += judge_pod_answers(wanted, hosts, probe_targets(cluster, domain))
    return rows + judge_balancing(wanted, cluster, hosts)


def table(rows: Iterable[Row]) -> str:
    """The rows as text in columns; failures are told again at the end."""
    listed = list(rows)
    marks = {"ok": "ok", "failed": "FAILED", "skipped": "skipped"}
    cells = [
        ("CHECK", "SUBJECT", "RESULT", "DETAIL"),
        *((r.check, r.subject, marks[r.result], r.detail) for r in listed),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = ["  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]).rstrip() for row in cells]
    failed = [r for r in listed if r.result == "failed"]
    lines.append("")
    lines.append(
        f"{len(listed)} statements: {sum(r.result == 'ok' for r in listed)} ok, {len(failed)} failed, {sum(r.result == 'skipped' for r in listed)} skipped"
    )
    return "\n".join(lines)


def as_data(rows: Iterable[Row]) -> list[dict[str, str]]:
    """The rows as plain dictionaries, for JSON."""
    return [asdict(row) for row in rows]
