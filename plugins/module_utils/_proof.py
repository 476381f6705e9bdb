# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for proof: look again and again until nothing is missing. What is looked at, and what is missing of it, is the caller's."""

from __future__ import annotations

import time
import typing as t

PAUSE_SECONDS = 2.0
Seen = t.TypeVar("Seen")


def patience(params: t.Mapping[str, t.Any], check_mode: bool) -> t.Optional[float]:
    """How long a module with ``state`` (``proven`` or ``observed``) and ``wait_seconds`` waits; None where it looks once and fails never."""
    return float(params["wait_seconds"]) if params["state"] == "proven" and not check_mode else None


def watch(
    observe: t.Callable[[], Seen],
    judge: t.Callable[[Seen], t.Sequence[str]],
    nothing: Seen,
    error: t.Type[Exception],
    seconds: t.Optional[float],
    *,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> t.Tuple[Seen, t.List[str]]:
    """Look until nothing is missing or the time is over; return what was seen last and what was missing of it, in words.

    :param judge: what is missing of what was seen; empty when all is proven.
    :param nothing: what was seen when ``observe`` could not look.
    :param error: why ``observe`` could not look; its text is then what is missing.
    :param seconds: None looks once; 0 as well, so that both are quick to tell.
    """
    until = clock() + (seconds or 0.0)
    while True:
        seen = nothing
        try:
            seen = observe()
            missing = list(judge(seen))
        except error as exc:
            missing = [str(exc)]
        if not missing or not seconds or clock() >= until:
            return seen, missing
        sleep(PAUSE_SECONDS)
