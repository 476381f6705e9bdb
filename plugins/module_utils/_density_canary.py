# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canaries of a benchmark: small questions that are asked all the time, before, during and after the load.

What is asked: the API for one object (``api_read``), the API to change one (``api_write``), a server on a loaded node through its ClusterIP (``http``), and the
cluster's DNS for that Service's name (``dns``). The judge (:func:`degraded`) is pure.
"""

from __future__ import annotations

import http.client
import threading
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_stages as stages

Ask = t.Callable[[], None]
#: the window over which a canary is judged, and how many failures in a row end the benchmark
WINDOW, FAILURES = 20, 5
#: a packet to an address that nobody has programmed yet is lost; TCP would send it again only after a second
CONNECT_SECONDS = 0.1


@dataclass(frozen=True)
class Sample:
    """One question: when it was asked, and the seconds until the answer (None: there was none)."""

    at: float
    seconds: t.Optional[float]


def degraded(samples: t.Sequence[Sample], baseline: t.Optional[float], factor: float, floor: float) -> t.Optional[str]:
    """Say why a canary suffers too much, or None.

    :param baseline: its p99 in seconds before the load.
    :param factor: how many times the baseline the median of the last answers may be; ``floor`` (seconds) stands in for a smaller baseline,
        because twice nothing is nothing.
    """
    last = samples[-WINDOW:]
    if len(last) >= FAILURES and all(sample.seconds is None for sample in last[-FAILURES:]):
        return f"no answer {FAILURES} times in a row"
    answered = [sample.seconds for sample in last if sample.seconds is not None]
    if baseline is None or len(answered) < WINDOW:
        return None
    median = stages.percentile(answered, 50) or 0.0
    limit = factor * max(baseline, floor)
    if median > limit:
        return f"half of its last {len(answered)} answers took longer than {median * 1000:.0f} ms, the limit is {limit * 1000:.0f} ms"
    return None


def summary(samples: t.Iterable[Sample]) -> t.Dict[str, t.Any]:
    """Percentiles in milliseconds, and the questions without an answer."""
    listed = list(samples)
    figures = stages.summary([sample.seconds * 1000 for sample in listed if sample.seconds is not None])
    return {**figures, "failed": sum(sample.seconds is None for sample in listed)}


class Canary(threading.Thread):
    """Asks one question again and again, a second apart, until it is stopped."""

    def __init__(self, name: str, ask: Ask, pause: float = 1.0) -> None:
        super().__init__(name=f"canary-{name}", daemon=True)
        self.kind = name
        self.samples: t.List[Sample] = []
        self._ask = ask
        self._pause = pause
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            at, begun = time.time(), time.monotonic()
            try:
                self._ask()
                taken: t.Optional[float] = time.monotonic() - begun
            except Exception:  # whatever goes wrong with a question is the answer to it
                taken = None
            self.samples.append(Sample(at, taken))
            self._over.wait(max(0.05, self._pause - (time.monotonic() - begun)))

    def stop(self) -> None:
        self._over.set()

    def between(self, start: float, end: float) -> t.List[Sample]:
        """The questions asked in a time (seconds since the epoch)."""
        return [sample for sample in list(self.samples) if start <= sample.at < end]


def get_once(
    address: str, port: int = 80, path: str = "/healthz", timeout: float = 5.0, connect_timeout: float = 5.0
) -> None:
    """Fetch a path over a connection of its own; everything but 200 is an error."""
    connection = http.client.HTTPConnection(address, port, timeout=connect_timeout)
    try:
        connection.connect()
        connection.sock.settimeout(timeout)
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise OSError(f"status {response.status}")
    finally:
        connection.close()


def wait_for_answer(address: str, until: float, pause: float = 0.02) -> t.Optional[t.Tuple[float, float]]:
    """Ask an address until it answers: ``(seconds until then, seconds of the first answered request)``; None when it did not ``until`` (monotonic)."""
    begun = time.monotonic()
    while time.monotonic() < until:
        asked = time.monotonic()
        try:
            get_once(address, connect_timeout=CONNECT_SECONDS)
        except (OSError, http.client.HTTPException):
            time.sleep(pause)
            continue
        done = time.monotonic()
        return done - begun, done - asked
    return None
