# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of ``verify``'s judge that is about an API address announced over BGP: each ready control plane announces it, and the routers have as many
ways. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.verification import (
    Row,
    Wanted,
    _router_addresses,
    _row,
    _seen,
)

Observation = Mapping[str, Any]


def ready(hosts: Mapping[str, Observation], name: str) -> bool:
    """Does a control plane's own API say that it is ready, asked from the machine itself?"""
    return bool(((hosts.get(name, {}).get("urls") or {}).get(name) or {}).get("ok"))


def judge_announcers(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """A control plane has the address and announces it to each of its routers while its API is ready, and only then."""
    rows = []
    for name, peers in sorted(wanted.announced["peers"].items()):
        seen, problem = _seen(hosts, name, "announcer")
        problems = [problem] if problem else []
        states = {session["neighbor"]: session for session in seen.get("sessions", [])}
        if not problem:
            for peer in peers:
                state = states[peer]["state"] if peer in states else "not configured"
                if state != "Established":
                    problems.append(f"the session with {peer} is {state}")
                elif ready(hosts, name) and not states[peer]["exported"]:
                    problems.append(f"nothing is announced to {peer}")
            if seen["holds"] != ready(hosts, name):
                problems.append(
                    "has the address and no ready API"
                    if seen["holds"]
                    else "its API is ready and it does not have the address"
                )
        detail = f"to {len(peers)} routers" if seen.get("holds") else "withdrawn, its API is not ready"
        rows.append(_row("api announced", name, "; ".join(problems), detail))
    return rows


def judge_routers(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """A router has the address over every ready control plane that speaks with it, or, without one, over other routers."""
    prefix, rows = wanted.announced["prefix"], []
    for router, own in sorted(_router_addresses(wanted, hosts).items()):
        if ":" in prefix:
            rows.append(Row("api route", router, "skipped", "routers are asked for IPv4 routes"))
            continue
        seen, problem = _seen(hosts, router, "router")
        hops = set((seen.get("paths") or {}).get(prefix, ()))
        expected = {
            wanted.announced["sources"][name]
            for name, peers in wanted.announced["peers"].items()
            if own & set(peers) and ready(hosts, name)
        }
        if not problem and expected and hops != expected:
            problem = f"has {prefix} over {', '.join(sorted(hops)) or 'nobody'}, wanted {', '.join(sorted(expected))}"
        elif not problem and not hops:
            problem = f"has no way to {prefix}"
        rows.append(
            _row(
                "api route", router, problem, f"{prefix} over {len(hops)} {'control planes' if expected else 'routers'}"
            )
        )
    return rows


def judge(wanted: Wanted, hosts: Mapping[str, Observation]) -> list[Row]:
    """The rows, where the address is announced at all."""
    return [*judge_announcers(wanted, hosts), *judge_routers(wanted, hosts)] if wanted.announced else []
