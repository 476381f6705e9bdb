# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A capacity plan as text for a terminal: ``table(plan) -> str``. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import check_run
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import key_of, some

Plan = Mapping[str, Any]

MOST_COLUMNS = 4
MOST_NAMES = 12


def columns(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows as lines with columns; the last column is as long as it is."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(cells[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]


def _pool_lines(plan: Plan) -> list[str]:
    rows: list[Sequence[Any]] = [
        ("POOL", "NODES", "MAXPODS", "YOURS", "BLOCKS", "MACHINE", "RESERVED", "EVICTION", "FOR PODS", "MIB A POD", "PIDS")
    ]  # fmt: skip
    for pool in plan["pools"]:
        blocks = f"{pool['addresses']['blocks']} x /{pool['addresses']['block_size']}" if pool["addresses"] else "-"
        for machine in pool["machines"]:
            settings = machine["kubelet"]
            reserved = f"{settings['kube_reserved'].get('cpu', '-')} {settings['kube_reserved'].get('memory', '-')}"
            rows.append(
                (
                    pool["label"],
                    machine["nodes"],
                    settings["max_pods"],
                    machine["workload_pods"],
                    blocks,
                    f"{machine['cpus']} CPUs {machine['memory_mib']} MiB {machine['basis']}",
                    reserved,
                    settings["eviction_hard"].get("memory.available", "-"),
                    f"{settings['allocatable_mib']} MiB",
                    settings["mib_per_pod"],
                    settings["pod_pids_limit"],
                )
            )
    return columns(rows)


def _sysctl_lines(plan: Plan) -> list[str]:
    """One column for each kind of node: the values that differ are what one looks for."""
    seen: dict[str, tuple[str, list[dict[str, Any]]]] = {}
    for pool in plan["pools"]:
        for machine in pool["machines"]:
            head = f"{pool['pods_per_node']} pods, {machine['cpus']} CPUs, {machine['memory_mib']} MiB"
            seen.setdefault(key_of(machine["sysctls"]), (head, machine["sysctls"]))
    kinds = list(seen.values())[:MOST_COLUMNS]
    signs = {"min": ">= ", "max": "<= ", "one_of": "one of ", "exactly": ""}
    tables = [{row["key"]: f"{signs[row['bound']]}{row['value']}" for row in rows} for _head, rows in kinds]
    keys = {row["key"]: row["source"] for _head, rows in kinds for row in rows}
    lines = columns(
        [
            ("KERNEL PARAMETER", *(head for head, _rows in kinds), "SOURCE"),
            *((key, *(table.get(key, "-") for table in tables), source) for key, source in sorted(keys.items())),
        ]
    )
    if len(seen) > len(kinds):
        lines.append(f"  and {len(seen) - len(kinds)} more kinds of nodes, in the JSON and the page")
    return lines


def _address_lines(plan: Plan) -> list[str]:
    found = plan["addresses"]
    lines = [f"  {pool['label']}: {pool['addresses']['arithmetic']}" for pool in plan["pools"] if pool["addresses"]]
    lines += [f"  {one['arithmetic']}" for one in found["families"]]
    if found["largest_cluster_nodes"] is not None:
        lines.append(
            f"  largest cluster: {found['largest_cluster_nodes']} nodes ({found['largest_of_the_densest']} if all were of the densest kind); "
            f"upstream tests {found['tested_upstream']['nodes']}"
        )
    if found["families"] and plan["cluster"]["network_plugin"] == "calico":
        lines.append(f"  routes to blocks, in every node and router: up to {found['routes']}")
    lines += [f"  Services: {one['network']}, {one['usable']} addresses" for one in found["services"]]
    lines += [
        f"  load balancer pool {one['name']} ({found['load_balancer']['mode']}): {one['arithmetic']}"
        for one in found["load_balancer"]["pools"]
    ]
    return lines


def _control_lines(plan: Plan) -> list[str]:
    etcd, plane = plan["etcd"], plan["control_plane"]
    size, machine = etcd["class"], plane["machine"]
    cluster = plan["cluster"]
    lines = [
        f"  sized like {cluster['like_usual_nodes']} usual nodes: {cluster['like_usual_nodes_arithmetic']}",
        f"  etcd class {size['name']}: {size['cpus']} CPUs, {size['memory_gb']} GB, {size['iops']} IOPS, {size['bandwidth_mb_s']:g} MB/s ({size['source']})",
        f"  etcd quorum: {etcd['quorum']['arithmetic']}",
    ]
    kinds = Counter((row["heartbeat_ms"], row["election_ms"], row["quota_gib"]) for row in etcd["members"])
    lines += [
        f"  etcd, {count} members: heartbeat {heartbeat} ms, election {election} ms, quota {quota:g} GiB"
        for (heartbeat, election, quota), count in kinds.items()
        if None not in (heartbeat, election, quota)
    ]
    if etcd["events"]:
        quotas = sorted({row["events_quota_gib"] for row in etcd["members"] if row["events_quota_gib"] is not None})
        quota = " or ".join(f"{one:g}" for one in quotas)
        more = f"{etcd['events']['memory_mib']} MiB of memory, {quota} GiB of database and {etcd['events']['disk_gib_beside_quota']} GiB beside it"
        lines.append(f"  etcd of the events, on the same hosts: {more} ({etcd['events']['arithmetic']})")
    lines.append(f"  control plane machine: {machine['cpus']} CPUs, {machine['memory_gb']} GB ({machine['source']})")
    lines += [
        f"  {row['component']} --{row['flag']}={row['value']}: {row['reason']}"
        for row in plane["flags"]
        if row["reason"]
    ]
    return lines


def _change_lines(found: Mapping[str, Any]) -> list[str]:
    lines = [f"  {check_run.summary(found['hosts'])}"]
    for one in check_run.alike(found["hosts"]):
        lines.append(f"  {some(one.hosts, MOST_NAMES)}: {one.words}")
        lines += [f"    {task}" for task in one.tasks]
    return lines


def table(plan: Plan) -> str:
    """The plan for a terminal. Without control characters, whatever the inventory says."""
    cluster = plan["cluster"]
    head = (
        f"{cluster['name']}: {cluster['nodes']} nodes ({cluster['control_planes']} control planes, {cluster['workers']} workers), "
        f"{cluster['pods']} pods, {cluster['workload_pods']} of them yours"
    )
    if cluster["planned_nodes"] > cluster["nodes"] or cluster["surge_nodes"]:
        head += f"\nplanned for {plan['addresses']['planned_for']}: addresses and machines below are for {cluster['planned_pods']} pods"
    lines = [
        head,
        "",
        *_pool_lines(plan),
        "",
        "Addresses",
        *_address_lines(plan),
        "",
        "Control plane and etcd",
        *_control_lines(plan),
    ]
    lines += ["", "What a loss leaves"]
    for row in plan["survival"]:
        who = f"tolerating {', '.join(row['taints'])}: " if row["taints"] else ""
        lines.append(f"  {who}{row['arithmetic']}")
    rows = [("CONTROLLER", "INSTANCES", "MB EACH", "INSTALLED", "HOW"), *(
        (row["name"], row["instances"], row["memory_mb"], "yes" if row["installed"] else "no", f"{row['arithmetic']} ({row['source']})")
        for row in plan["controllers"]
    )]  # fmt: skip
    lines += ["", *columns(rows), "", *_sysctl_lines(plan)]
    if plan["site_changes"]:
        lines += ["", "What site would change", *_change_lines(plan["site_changes"])]
    for title in ("assumptions", "warnings"):
        if plan[title]:
            lines += ["", title.capitalize(), *(f"  - {text}" for text in plan[title])]
    text = "\n".join(lines)
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
