"""Waiting for proof, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._proof import PAUSE_SECONDS, patience, watch


class InVainError(Exception):
    """Nobody answers."""


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def answers(*given: int | Exception) -> Callable[[], int]:
    """One answer after the other; the last one for ever."""

    def each() -> Iterator[int | Exception]:
        yield from given
        while True:
            yield given[-1]

    left = each()

    def ask() -> int:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def lacking(seen: int) -> list[str]:
    return [] if seen >= 3 else [f"{seen} of 3"]


@pytest.mark.parametrize(
    ("given", "seconds", "seen", "missing", "rounds"),
    [
        ((3,), 60, 3, [], 0),
        ((1, 2, 3), 60, 3, [], 2),
        ((1, 2), None, 1, ["1 of 3"], 0),
        ((1, 2), 0, 1, ["1 of 3"], 0),
        ((1, 2), 4, 2, ["2 of 3"], 2),
        ((InVainError("no socket"),), None, -1, ["no socket"], 0),
        ((InVainError("no socket"), 3), 60, 3, [], 1),
        # What an earlier round saw is not told as if it were so still.
        ((2, InVainError("it died")), 2, -1, ["it died"], 1),
    ],
)
def test_it_looks_until_nothing_is_missing_or_the_time_is_over(
    given: tuple[int | Exception, ...], seconds: float | None, seen: int, missing: list[str], rounds: int
) -> None:
    clock = Clock()
    found = watch(answers(*given), lacking, -1, InVainError, seconds, clock=clock, sleep=clock.sleep)
    assert found == (seen, missing)
    assert clock.slept == [PAUSE_SECONDS] * rounds


def test_a_mistake_of_ours_is_no_missing_proof() -> None:
    with pytest.raises(ZeroDivisionError):
        watch(lambda: 1 // 0, lacking, -1, InVainError, 60)


@pytest.mark.parametrize(
    ("state", "check_mode", "seconds"), [("proven", False, 7.0), ("proven", True, None), ("observed", False, None)]
)
def test_who_waits(state: str, check_mode: bool, seconds: float | None) -> None:
    assert patience({"state": state, "wait_seconds": 7}, check_mode) == seconds
