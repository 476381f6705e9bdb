# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A capacity plan as one HTML file: no script, nothing from elsewhere, light or dark as the reader's system is.

Pure: ``page(plan) -> str``. Everything that comes from the inventory or a host goes through :func:`text`, whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import check_run
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.html_page import (
    class_of,
    details,
    document,
    items,
    section,
    table,
    text,
)

Plan = Mapping[str, Any]

SQUARE, GAP, SQUARES_IN_ROW, MOST_SQUARES = 14, 4, 12, 96
ROW_WIDTH = SQUARES_IN_ROW * (SQUARE + GAP) - GAP
BAR_LENGTH, BAR_HEIGHT = 1000, 10  # of the drawing; the page stretches it
MOST_HOSTS_NAMED = 50
STYLE = """
:root { --worker: #2f6fb3; --plane: #8a5a00; --more: #7a6bb0; }
@media (prefers-color-scheme: dark) { :root { --worker: #6ea8e6; --plane: #d9a441; --more: #b3a4e8; } }
.racks { display: flex; flex-wrap: wrap; gap: 1rem; }
.bad > td { color: var(--bad); }
.rack { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; flex: 1 1 15.5rem; max-width: 24rem; padding: .7rem .9rem; }
.rack h3 { font-size: .95rem; margin: 0; overflow-wrap: anywhere; }
.rack p { font-size: .8rem; margin: .1rem 0 .5rem; }
.rack figcaption { font-size: .8rem; margin-top: .4rem; }
.bar { margin: 0 0 1rem; }
.bar figcaption { font-size: .85rem; }
.bar > svg { height: 1.7rem; margin: .3rem 0; width: 100%; }
.legend { font-size: .8rem; margin: .4rem 0; }
.legend span { display: inline-block; margin-right: 1.1rem; }
.legend svg { display: inline-block; margin-right: .35rem; vertical-align: -.1rem; }
.worker { fill: var(--worker); } .control_plane { fill: var(--plane); } .more { fill: var(--more); }
.free { fill: var(--free); } .left { fill: var(--good); } .etcd { fill: var(--panel); }
.edge { fill: none; stroke: var(--back); stroke-width: 1; vector-effect: non-scaling-stroke; }
"""


# --- pictures


def _box(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    inner = f"<title>{text(title)}</title>" if title else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{max(0, width):g}" height="{height:g}"{class_of(kind)}>{inner}</rect>'


def _svg(width: float, height: float, label: str, inner: str, more: str = "") -> str:
    return f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" aria-label="{text(label)}"{more}>{inner}</svg>'


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    """What colours mean: ``(class, words)``."""
    found = "".join(f"<span>{_sign(kind)}{text(words)}</span>" for kind, words in entries)
    return f'<p class="legend">{found}</p>'


def _sign(kind: str) -> str:
    node = _box(0, 0, 12, 12, "worker" if kind == "etcd" else kind)
    return f'<svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">{node}{_dot(0, 0, 12) if kind == "etcd" else ""}</svg>'


def _dot(x: float, y: float, size: float) -> str:
    return f'<circle cx="{x + size / 2:g}" cy="{y + size / 2:g}" r="{size / 5:g}" class="etcd"></circle>'


def _squares(pool: Mapping[str, Any], members: frozenset[str]) -> str:
    """The nodes of a pool as squares, those with an etcd member with a dot; what follows is their name."""
    shown = pool["hosts"][:MOST_SQUARES]
    parts = []
    for index, host in enumerate(shown):
        row, column = divmod(index, SQUARES_IN_ROW)
        x, y = column * (SQUARE + GAP), row * (SQUARE + GAP)
        words = f"{host}: {pool['max_pods']} pods{', etcd' if host in members else ''}"
        parts.append(_box(x, y, SQUARE, SQUARE, pool["role"], words) + (_dot(x, y, SQUARE) if host in members else ""))
    height = -(-len(shown) // SQUARES_IN_ROW) * (SQUARE + GAP) - GAP
    more = f", {pool['nodes'] - len(shown)} of them not drawn" if len(shown) < pool["nodes"] else ""
    nodes = f"{pool['nodes']} node{'s' if pool['nodes'] > 1 else ''}"
    caption = f"{pool['name']}: {nodes} with {pool['max_pods']:,} pods each{more}"
    return (
        f"<figure><figcaption>{text(caption)}</figcaption>{_svg(ROW_WIDTH, height, caption, ''.join(parts))}</figure>"
    )


def racks_picture(plan: Plan) -> str:
    """Racks side by side as far as the window is wide, each node a square."""
    members: dict[str, set[str]] = {}
    for row in plan["etcd"]["members"]:
        members.setdefault(row["rack"], set()).add(row["host"])
    racks: dict[str, list[Mapping[str, Any]]] = {rack: [] for rack in members}
    for pool in plan["pools"]:
        racks.setdefault(pool["rack"], []).append(pool)
    fatal = plan["etcd"]["quorum"]["fatal_racks"]
    drawn = []
    for rack in sorted(racks):
        pods, voters = sum(pool["pods"] for pool in racks[rack]), len(members.get(rack, ()))
        words = f"{pods:,} pods, {voters or 'no'} etcd member{'' if voters == 1 else 's'}"
        warning = '<p class="bad">Its loss takes etcd\'s quorum.</p>' if rack in fatal else ""
        inner = "".join(_squares(pool, frozenset(members.get(rack, ()))) for pool in racks[rack])
        name = f"Rack {rack}" if rack else "No rack named"
        drawn.append(f'<div class="rack"><h3>{text(name)}</h3><p class="dim">{text(words)}</p>{warning}{inner}</div>')
    roles = {pool["role"]: "worker" if pool["role"] == "worker" else "control plane" for pool in plan["pools"]}
    legend = [*sorted(roles.items()), *([("etcd", "with an etcd member")] if any(members.values()) else [])]
    return f'{_legend(legend)}<div class="racks">{"".join(drawn)}</div>'


def _bar(label: str, segments: Sequence[tuple[float, str, str]], whole: float) -> str:
    """A bar as wide as the page: ``(amount, class, title)`` from left to right, on a scale where ``whole`` is all of it."""
    parts, x = [_box(0, 0, BAR_LENGTH, BAR_HEIGHT, "free")], 0.0
    for amount, kind, title in segments:
        width = BAR_LENGTH * amount / whole if whole else 0
        parts.append(_box(x, 0, width, BAR_HEIGHT, kind, title))
        if width > 1.5 and x + width < BAR_LENGTH:
            parts.append(f'<path d="M{x + width:g} 0v{BAR_HEIGHT}" class="edge"></path>')
        x += width
    return _svg(BAR_LENGTH, BAR_HEIGHT, label, "".join(parts), ' preserveAspectRatio="none"')


def blocks_picture(plan: Plan) -> str:
    """One bar for each pod network: blocks of each pool, of nodes to come, and what is free."""
    parts = []
    for family in plan["addresses"]["families"]:
        counts = [
            (pool, pool["nodes"] * (pool["addresses"]["blocks"] if pool["addresses"] else 1)) for pool in plan["pools"]
        ]
        segments = [
            (count, pool["role"], f"{pool['label']}: {count} of {family['blocks']} blocks") for pool, count in counts
        ]
        more = family["planned"] - sum(count for _pool, count in counts)
        if more:
            segments.append((more, "more", f"nodes to come: {more} of {family['blocks']} blocks"))
        head = f"{family['network']}: {family['blocks']:,} blocks of /{family['block_length']}"
        sums: dict[str, int] = {}
        for count, kind, _title in segments:
            sums[kind] = sums.get(kind, 0) + int(count)
        names = {"worker": "workers", "control_plane": "control planes", "more": "nodes to come"}
        entries = [(kind, f"{names[kind]}: {count:,}") for kind, count in sums.items()]
        words = f"free: {max(0, family['free']):,}, enough for {family['more_nodes']:,} more nodes of the densest kind"
        strip = _bar(head, segments, max(family["blocks"], family["planned"], 1))
        parts.append(
            f'<figure class="bar"><figcaption><b>{text(head)}</b></figcaption>{strip}{_legend([*entries, ("free", words)])}</figure>'
        )
    return "".join(parts)


def headroom_picture(plan: Plan) -> str:
    """For each class of pods: their places now, without the largest node, without the largest rack."""
    parts = []
    for row in plan["survival"]:
        who = f"pods that tolerate {', '.join(row['taints'])}" if row["taints"] else "pods"
        parts.append(f"<p><b>{row['pods']:,} places for {text(who)}</b></p>")
        states = [("without the largest node", row["after_node"])]
        if row["after_rack"] is not None:
            states.append((f"without rack {row['worst_rack']}", row["after_rack"]))
        for words, count in states:
            share = round(100 * count / row["pods"]) if row["pods"] else 0
            caption = f"{words}: {count:,} places, {share} %"
            strip = _bar(caption, [(count, "left", f"{count} places {words}")], max(1, row["pods"]))
            parts.append(f'<figure class="bar"><figcaption>{text(caption)}</figcaption>{strip}</figure>')
    return "".join(parts)


# --- tables


def _pools(plan: Plan) -> str:
    rows = []
    for pool in plan["pools"]:
        for machine in pool["machines"]:
            settings = machine["kubelet"]
            rows.append(
                (
                    pool["label"],
                    machine["nodes"],
                    settings["max_pods"],
                    machine["workload_pods"],
                    f"{machine['cpus']} CPUs, {machine['memory_mib']:,} MiB ({machine['basis']})",
                    _pairs(settings["kube_reserved"]),
                    _pairs(settings["system_reserved"]),
                    _pairs(settings["eviction_hard"]),
                    settings["allocatable_mib"],
                    settings["mib_per_pod"],
                    str(settings["pod_pids_limit"]),
                )
            )
    reserved = ("kubeReserved", "systemReserved", "evictionHard")
    heads = ("Pool", "Nodes", "maxPods", "yours", "Machine", *reserved, "MiB for pods", "MiB a pod", "PIDs a pod")
    sums = [
        (pool["label"], row["kubelet"]["arithmetic"], row["kubelet"]["source"])
        for pool in plan["pools"]
        for row in pool["machines"]
    ]
    return table(heads, rows) + details("Arithmetic and sources", table(("Pool", "How", "Source"), sums))


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _hosts(names: Sequence[str]) -> str:
    more = len(names) - MOST_HOSTS_NAMED
    return ", ".join(names[:MOST_HOSTS_NAMED]) + (f" and {more} more" if more > 0 else "")


def _kernel(plan: Plan) -> str:
    parts = []
    for pool in plan["pools"]:
        for machine in pool["machines"]:
            rows = [
                (row["key"], row["bound"], str(row["value"]), row["reason"], row["source"])
                for row in machine["sysctls"]
            ]
            head = f"{pool['label']}: {machine['nodes']} nodes with {machine['cpus']} CPUs and {machine['memory_mib']:,} MiB ({machine['basis']})"
            content = f'<p class="dim">{text(_hosts(machine["hosts"]))}</p>' + table(
                ("Parameter", "Bound", "Value", "Reason", "Source"), rows
            )
            parts.append(details(head, content))
    return "".join(parts)


def _addresses(plan: Plan) -> str:
    found = plan["addresses"]
    rows = [
        (pool["label"], pool["addresses"]["arithmetic"], pool["addresses"]["source"])
        for pool in plan["pools"]
        if pool["addresses"]
    ]
    rows += [(f"IPv{one['family']}", one["arithmetic"], found["source"]) for one in found["families"]]
    if found["largest_cluster_nodes"] is not None:
        words = f"{found['largest_cluster_nodes']:,} nodes; {found['largest_of_the_densest']:,} if all were of the densest kind"
        rows.append(("Largest cluster", words, found["source"]))
    limits = found["tested_upstream"]
    rows.append(("Tested upstream", f"{limits['nodes']:,} nodes, {limits['pods']:,} pods", limits["source"]))
    rows += [("Services", f"{one['network']}: {one['usable']:,} addresses", one["source"]) for one in found["services"]]
    balancer = found["load_balancer"]
    rows += [
        (f"LoadBalancer pool {one['name']}", f"{one['arithmetic']} ({balancer['mode']})", balancer["source"])
        for one in balancer["pools"]
    ]
    return table(("What", "How", "Source"), rows)


def _events(events: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """The row of a second etcd, where events have one."""
    if not events:
        return []
    words = f"a second member on each of its hosts: {events['memory_mib']} MiB = {events['arithmetic']}"
    return [("etcd of the events", words, events["source"])]


def _control(plan: Plan) -> str:
    etcd, plane, cluster = plan["etcd"], plan["control_plane"], plan["cluster"]
    size, machine = etcd["class"], plane["machine"]
    rows = [
        ("Sized like", f"{cluster['like_usual_nodes']} usual nodes: {cluster['like_usual_nodes_arithmetic']}", cluster["like_usual_nodes_source"]),
        (
            f"etcd class {size['name']}",
            f"{size['cpus']} CPUs, {size['memory_gb']} GB, {size['iops']:,} IOPS, {size['bandwidth_mb_s']:g} MB/s for up to {size['up_to_nodes']:,} nodes",
            size["source"],
        ),
        ("etcd quorum", etcd["quorum"]["arithmetic"], etcd["quorum"]["source"]),
        *_events(etcd["events"]),
        ("Control plane machine", f"{machine['cpus']} CPUs, {machine['memory_gb']} GB for up to {machine['up_to_nodes']} nodes", machine["source"]),
    ]  # fmt: skip
    members = [
        (row["host"], row["rack"], row["heartbeat_ms"], row["election_ms"], row["quota_gib"], row["events_quota_gib"])
        for row in etcd["members"]
    ]
    columns = ("etcd member", "Rack", "Heartbeat ms", "Election ms", "Quota GiB", "Events' quota GiB")
    shown = len(columns) if etcd["events"] else len(columns) - 1
    flags = [
        (row["component"], f"--{row['flag']}={row['value']}", row["reason"], row["source"]) for row in plane["flags"]
    ]
    return (
        table(("What", "How", "Source"), rows)
        + table(columns[:shown], [member[:shown] for member in members])
        + details(f"{len(flags)} flags of the control plane", table(("Component", "Flag", "Because", "Source"), flags))
    )


def _controllers(plan: Plan) -> str:
    rows = [
        (row["name"], "this collection" if row["installed"] else "you, if you want it", row["instances"], row["memory_mb"], row["arithmetic"], row["source"])
        for row in plan["controllers"]
    ]  # fmt: skip
    return table(("Controller", "Installed by", "Instances", "MB each", "How", "Source"), rows)


def _changes(plan: Plan) -> str:
    if not plan["site_changes"]:
        return '<p class="dim">Not looked at in this run.</p>'
    hosts = plan["site_changes"]["hosts"]
    groups = check_run.alike(hosts)
    rows = [(_hosts(one.hosts), one.words, "; ".join(one.tasks)) for one in groups]
    kinds = ["bad" if one.state else "" for one in groups]
    return f"<p>{text(check_run.summary(hosts))}</p>" + table(("Hosts", "Outcome", "Tasks"), rows, kinds)


def page(plan: Plan) -> str:
    """The whole page."""
    cluster = plan["cluster"]
    racks = f"{len(cluster['racks'])} racks" if cluster["racks"] else "no racks named"
    line = (
        f"{cluster['nodes']:,} nodes ({cluster['control_planes']} control planes, {cluster['workers']:,} workers), {racks}, "
        f"{cluster['pods']:,} pods, {cluster['workload_pods']:,} of them yours"
    )
    grown = ""
    if cluster["planned_nodes"] > cluster["nodes"] or cluster["surge_nodes"]:
        words = f"Planned for {plan['addresses']['planned_for']}: addresses and machines are for {cluster['planned_pods']:,} pods."
        grown = f"<p>{text(words)}</p>"
    loss = items(row["arithmetic"] for row in plan["survival"])
    sections = (
        ("Warnings", items(plan["warnings"], "bad")),
        ("Assumptions", items(plan["assumptions"])),
        ("Racks", racks_picture(plan)),
        ("Address blocks", blocks_picture(plan) + _addresses(plan)),
        ("What a loss leaves", headroom_picture(plan) + loss),
        ("Pools", _pools(plan)),
        ("Control plane and etcd", _control(plan)),
        ("Controllers", _controllers(plan)),
        ("Kernel parameters", _kernel(plan)),
        ("What site would change", _changes(plan)),
    )
    body = "".join(section(head, content) for head, content in sections)
    return document(f"Capacity plan of {cluster['name']}", f"<p>{text(line)}</p>{grown}{body}", STYLE)
