# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A move of the API's address as the whole cluster sees it: what all nodes show together, and what cannot be done. Pure; the parts that nodes need as well
are in ``module_utils/_endpoint_move.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _endpoint_move as core

Facts = Mapping[str, Any]


def endpoint_of(entry: Mapping[str, Any]) -> core.Endpoint:
    """``{mode, address, port}`` as inventories and modules have it."""
    return core.Endpoint(str(entry["mode"]), str(entry["address"]), int(entry["port"]))


def others(wanted: Mapping[str, Any], facts: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """The endpoints that stand or are asked beside the wanted one, as ``{mode, address, port}``. ``facts``: what the module observed, by host."""
    seen = {host: core.Seen.of(found) for host, found in facts.items()}
    return [
        {"mode": one.mode, "address": one.address, "port": one.port}
        for one in core.endpoints_of(seen, endpoint_of(wanted))
    ]


def binds(endpoints: Iterable[Mapping[str, Any]], control_plane: bool) -> list[str]:
    """What stands behind HAProxy's ``bind`` on a node for these endpoints."""
    found = [endpoint_of(entry) for entry in endpoints]
    everywhere = "[::]" if any(one.mode == "keepalived" and ":" in one.address for one in found) else ""
    return [
        f"{everywhere}:{port}" if host == core.ANY else core.joined(host, port)
        for host, port in map(core.split, core.binds_wanted(found, control_plane))
    ]


def refusals(wanted: Mapping[str, Any], hosts: Sequence[str], facts: Mapping[str, Facts]) -> list[str]:
    """Why a move is not begun, each with what to do, as sentences."""
    known = [found["nodes"] for found in facts.values() if found.get("nodes") is not None]
    nodes = {name for names in known for name in names} if known else None
    problems = core.missing_hosts(hosts, facts, nodes)
    problems += core.refusals(map(endpoint_of, others(wanted, facts)), endpoint_of(wanted))
    return [f"{why[0].upper()}{why[1:]}: {fix}." for why, fix in problems]
