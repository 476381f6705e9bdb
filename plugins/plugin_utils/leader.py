# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who does what is done once for a cluster: elected from what the control planes said of themselves, never by position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class LeaderError(Exception):
    """No leader can be named; the message says which hosts were asked and what to do."""


@dataclass(frozen=True)
class Candidate:
    """A control plane as ``control_plane_probe`` saw it.

    ``initialised``: its apiserver knows a cluster; ``healthy``: that apiserver says that it is ready;
    ``started``: parts of a control plane stand on it, whole or not; ``answered``: the probe ran at all.
    """

    name: str
    initialised: bool = False
    healthy: bool = False
    started: bool = False
    answered: bool = True


def candidate(name: str, probe: Mapping[str, Any] | None) -> Candidate:
    """Read the ``probe`` of a host; None is a host that did not answer."""
    if not probe:
        return Candidate(name, answered=False)
    return Candidate(name, bool(probe["initialised"]), bool(probe["healthy"]), bool(probe["started"]))


def elect(candidates: Iterable[Candidate]) -> str:
    """Return the leader's name; the order of the candidates does not matter.

    The first by name of those that know a cluster and whose API is ready; without one, the first on which a control plane was started, a ready one
    before others (an interrupted creation goes on where it began); without one, the first of all, but only when every control plane answered: a silent one
    may hold the cluster that would be created a second time.
    """
    ranked = sorted(candidates, key=lambda one: one.name)
    answered = [one for one in ranked if one.answered]
    silent = [one.name for one in ranked if not one.answered]
    if not answered:
        raise LeaderError(
            f"no control plane answered a probe (asked: {', '.join(silent) or 'nobody'}); at least one has to be reachable in this run"
        )
    for fits in (
        lambda one: one.initialised and one.healthy,
        lambda one: one.started and one.healthy,
        lambda one: one.started,
    ):
        group = [one.name for one in answered if fits(one)]
        if group:
            return group[0]
    if silent:
        raise LeaderError(
            f"no cluster was found on {', '.join(one.name for one in answered)}, and {', '.join(silent)} did not answer, "
            "so it cannot be told whether one exists; bring the silent hosts back (and run without a limit), or take them out of group 'control_plane'"
        )
    return answered[0].name
