# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A capacity plan as one HTML file: no script, nothing from elsewhere, light or dark as the reader's system is.

Pure: ``page(plan) -> str``. Everything that comes from the inventory or a host goes through :func:`text`, whatever it says.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Plan = Mapping[str, Any]

WIDTH = 960
RACK_WIDTH, SQUARE, GAP, SQUARES_IN_ROW, MOST_SQUARES = 220, 12, 4, 12, 96
MOST_HOSTS_NAMED = 50
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1a1f27; --dim: #5b6573; --line: #d5dae1; --panel: #f5f7f9;
  --worker: #2f6fb3; --plane: #8a5a00; --free: #e3e8ee; --bad: #b3261e; --good: #2c7a4b; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14181d; --text: #e4e8ed; --dim: #9aa5b1; --line: #333b45; --panel: #1c2229;
    --worker: #6ea8e6; --plane: #d9a441; --free: #2b333d; --bad: #ff8a80; --good: #7bd19a; } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1.5rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.dim, td.dim, .dim { color: var(--dim); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td { border-bottom: 1px solid var(--line); overflow-wrap: anywhere; padding: .3rem .6rem .3rem 0; text-align: left; vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
details { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; margin: .6rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
li.warning { color: var(--bad); }
svg { display: block; height: auto; max-width: 100%; }
svg text { fill: var(--text); font: 12px system-ui, sans-serif; } svg text.dim { fill: var(--dim); } svg text.head { font-weight: 600; }
.rack { fill: var(--panel); stroke: var(--line); } .worker { fill: var(--worker); } .control_plane { fill: var(--plane); }
.free { fill: var(--free); } .left { fill: var(--good); } .edge { fill: none; stroke: var(--back); }
"""


def text(value: Any) -> str:
    """A value as HTML text, for elements and quoted attributes alike; control characters and odd directions become ``?``."""
    plain = "".join(character if character.isprintable() else "?" for character in str(value))
    return html.escape(plain, quote=True)


def _number(value: Any) -> str:
    return f'<td class="number">{text(f"{value:,}" if isinstance(value, int) else value)}</td>'


def _cell(value: Any) -> str:
    return (
        _number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else f"<td>{text(value)}</td>"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{text(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


# --- pictures


def _svg(height: float, label: str, parts: Iterable[str], width: float = WIDTH) -> str:
    return f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" aria-label="{text(label)}">{"".join(parts)}</svg>'


def _words(x: float, y: float, words: Any, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{text(words)}</text>'


def _shortened(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


def _box(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    inner = f"<title>{text(title)}</title>" if title else ""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{max(0, width):g}" height="{height:g}" rx="2" class="{kind}">{inner}</rect>'
    )


def _pool_squares(pool: Mapping[str, Any], x: float, y: float) -> tuple[list[str], float]:
    """The nodes of a pool as squares from ``(x, y)`` on, and the height that they take."""
    parts = [_words(x, y + 12, f"{_shortened(pool['name'], 20)}: {pool['nodes']} x {pool['max_pods']}", "dim")]
    shown = pool["hosts"][:MOST_SQUARES]
    for index, host in enumerate(shown):
        row, column = divmod(index, SQUARES_IN_ROW)
        left, top = x + column * (SQUARE + GAP), y + 20 + row * (SQUARE + GAP)
        parts.append(_box(left, top, SQUARE, SQUARE, pool["role"], f"{host}: {pool['max_pods']} pods"))
    height = 20 + -(-len(shown) // SQUARES_IN_ROW) * (SQUARE + GAP)
    if len(shown) < pool["nodes"]:
        parts.append(_words(x, y + height + 12, f"and {pool['nodes'] - len(shown)} more", "dim"))
        height += 18
    return parts, height + 8


def racks_picture(plan: Plan) -> str:
    """Racks side by side, four in a row, each node a square."""
    members: dict[str, int] = {}
    for row in plan["etcd"]["members"]:
        members[row["rack"]] = members.get(row["rack"], 0) + 1
    racks: dict[str, list[Mapping[str, Any]]] = {rack: [] for rack in members}
    for pool in plan["pools"]:
        racks.setdefault(pool["rack"], []).append(pool)
    parts: list[str] = []
    top = 0.0
    names = sorted(racks)
    for start in range(0, len(names), 4):
        drawn: list[tuple[float, list[str]]] = []
        for column, rack in enumerate(names[start : start + 4]):
            x, y = column * (RACK_WIDTH + 20), top
            pods = sum(pool["pods"] for pool in racks[rack])
            inner = [_words(x + 12, y + 20, _shortened(f"rack {rack}" if rack else "no rack named", 28), "head")]
            inner.append(_words(x + 12, y + 36, f"{pods:,} pods, {members.get(rack, 0)} etcd members", "dim"))
            height = 44.0
            for pool in racks[rack]:
                squares, taken = _pool_squares(pool, x + 12, y + height)
                inner += squares
                height += taken
            drawn.append((height, inner))
        tallest = max(height for height, _inner in drawn) + 8
        for column, (_height, inner) in enumerate(drawn):
            parts += [_box(column * (RACK_WIDTH + 20), top, RACK_WIDTH, tallest, "rack"), *inner]
        top += tallest + 16
    return _svg(max(1, top), "Racks and their nodes", parts)


def _bar(y: float, segments: Sequence[tuple[float, str, str]], whole: float) -> list[str]:
    """A bar over the whole width: ``(amount, class, title)`` from left to right, on a scale where ``whole`` is all of it."""
    parts, x = [_box(0, y, WIDTH, 26, "free")], 0.0
    for amount, kind, title in segments:
        width = WIDTH * amount / whole if whole else 0
        parts.append(_box(x, y, width, 26, kind, title))
        if width > 1.5:
            parts.append(f'<path d="M{x + width:g} {y:g}v26" class="edge"></path>')
        x += width
    return parts


def blocks_picture(plan: Plan) -> str:
    """One bar for each pod network: blocks of each pool, and what is free."""
    parts: list[str] = []
    y = 0.0
    for family in plan["addresses"]["families"]:
        segments = []
        for pool in plan["pools"]:
            count = pool["nodes"] * (pool["addresses"]["blocks"] if pool["addresses"] else 1)
            segments.append((count, pool["role"], f"{pool['label']}: {count} of {family['blocks']} blocks"))
        whole = max(family["blocks"], family["planned"], 1)
        parts.append(
            _words(0, y + 14, f"{family['network']}: {family['blocks']:,} blocks of /{family['block_length']}", "head")
        )
        parts += _bar(y + 22, segments, whole)
        words = f"{family['planned']:,} planned, {max(0, family['free']):,} free: {family['more_nodes']:,} more nodes of the densest kind"
        parts.append(_words(0, y + 64, words, "dim"))
        y += 82
    return _svg(y, "Address blocks, used and free", parts) if parts else ""


def headroom_picture(plan: Plan) -> str:
    """For each class of pods: their places now, without the largest node, without the largest rack."""
    parts: list[str] = []
    y = 0.0
    for row in plan["survival"]:
        who = f"pods that tolerate {', '.join(row['taints'])}" if row["taints"] else "pods"
        parts.append(_words(0, y + 14, _shortened(f"{row['pods']:,} places for {who}", 120), "head"))
        y += 22
        states = [("without the largest node", row["after_node"])]
        if row["after_rack"] is not None:
            states.append((f"without rack {row['worst_rack']}", row["after_rack"]))
        for words, count in states:
            share = round(100 * count / row["pods"]) if row["pods"] else 0
            parts += _bar(y, [(count, "left", f"{count} places {words}")], max(1, row["pods"]))
            parts.append(_words(0, y + 42, _shortened(f"{words}: {count:,} places, {share} %", 130), "dim"))
            y += 52
        y += 10
    return _svg(y, "Places for pods after a loss", parts) if parts else ""


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
    return _table(heads, rows) + _details("Arithmetic and sources", _table(("Pool", "How", "Source"), sums))


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
            content = f'<p class="dim">{text(_hosts(machine["hosts"]))}</p>' + _table(
                ("Parameter", "Bound", "Value", "Reason", "Source"), rows
            )
            parts.append(_details(head, content))
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
    return _table(("What", "How", "Source"), rows)


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
        ("Control plane machine", f"{machine['cpus']} CPUs, {machine['memory_gb']} GB for up to {machine['up_to_nodes']} nodes", machine["source"]),
    ]  # fmt: skip
    members = [
        (row["host"], row["rack"], row["heartbeat_ms"], row["election_ms"], row["quota_gib"]) for row in etcd["members"]
    ]
    flags = [
        (row["component"], f"--{row['flag']}={row['value']}", row["reason"], row["source"]) for row in plane["flags"]
    ]
    return (
        _table(("What", "How", "Source"), rows)
        + _table(("etcd member", "Rack", "Heartbeat ms", "Election ms", "Quota GiB"), members)
        + _details(
            f"{len(flags)} flags of the control plane", _table(("Component", "Flag", "Because", "Source"), flags)
        )
    )


def _controllers(plan: Plan) -> str:
    rows = [
        (row["name"], "this collection" if row["installed"] else "you, if you want it", row["instances"], row["memory_mb"], row["arithmetic"], row["source"])
        for row in plan["controllers"]
    ]  # fmt: skip
    return _table(("Controller", "Installed by", "Instances", "MB each", "How", "Source"), rows)


def _changes(plan: Plan) -> str:
    if not plan["site_changes"]:
        return '<p class="dim">Not looked at in this run.</p>'
    parts = []
    for host, row in plan["site_changes"]["hosts"].items():
        state = "".join(f", {word}" for word in ("failed", "unreachable") if row[word])
        listed = "".join(f"<li>{text(task)}</li>" for task in row["tasks"])
        parts.append(_details(f"{host}: {row['changed']} tasks would change something{state}", f"<ul>{listed}</ul>"))
    return "".join(parts)


def _list(items: Iterable[str], kind: str = "") -> str:
    found = "".join(f'<li class="{kind}">{text(item)}</li>' for item in items)
    return f"<ul>{found}</ul>" if found else '<p class="dim">None.</p>'


def page(plan: Plan) -> str:
    """The whole page."""
    cluster = plan["cluster"]
    title = text(f"Capacity plan of {cluster['name']}")
    racks = f"{len(cluster['racks'])} racks" if cluster["racks"] else "no racks named"
    line = (
        f"{cluster['nodes']:,} nodes ({cluster['control_planes']} control planes, {cluster['workers']:,} workers), {racks}, "
        f"{cluster['pods']:,} pods, {cluster['workload_pods']:,} of them yours"
    )
    loss = _list(row["arithmetic"] for row in plan["survival"])
    sections = (
        ("Warnings", _list(plan["warnings"], "warning")),
        ("Assumptions", _list(plan["assumptions"])),
        ("Racks", racks_picture(plan)),
        ("Address blocks", blocks_picture(plan) + _addresses(plan)),
        ("What a loss leaves", headroom_picture(plan) + loss),
        ("Pools", _pools(plan)),
        ("Control plane and etcd", _control(plan)),
        ("Controllers", _controllers(plan)),
        ("Kernel parameters", _kernel(plan)),
        ("What site would change", _changes(plan)),
    )
    body = "".join(f"<section><h2>{text(head)}</h2>{content}</section>" for head, content in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1><p>{text(line)}</p>{body}</body></html>\n"
    )
