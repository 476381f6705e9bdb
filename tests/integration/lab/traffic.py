"""Steady traffic from a host of the lab, and what was lost of it: how long a change or a failure is felt."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

# Runs on the host. Each request has a connection of its own, as new clients have; they begin at fixed times, so a slow one delays none.
ASK = """
import json, os, signal, socket, ssl, sys, threading, time, urllib.request
url, pause, patience = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
context = ssl._create_unverified_context() if url.startswith('https') else None
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
good, lost, over = [], [], threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
# The end of standard input is the end of who asked, however it died.
threading.Thread(target=lambda: (os.read(0, 1), over.set()), daemon=True).start()
def ask():
    begun = time.monotonic()
    try:
        opener.open(url, timeout=patience).read()
        good.append(time.monotonic())
    except OSError as error:
        lost.append((begun, str(error)))
begun, number, threads = time.monotonic(), 0, []
while not over.is_set():
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    threads.append(thread)
    number += 1
    over.wait(max(0, begun + number * pause - time.monotonic()))
for thread in threads:
    thread.join(patience + 1)
good.sort()
points = [begun, *good]
gaps = sorted(((b - a, time.time() - time.monotonic() + a) for a, b in zip(points, points[1:])), reverse=True)
longest = [(round(gap, 3), time.strftime('%H:%M:%S', time.gmtime(at))) for gap, at in gaps[:3] if gap > 1]
json.dump({'asked': number, 'lost': len(lost), 'longest_gap': gaps[0][0] if gaps else 0, 'gaps': longest,
           'first_error': lost[0][1] if lost else ''}, sys.stdout)
"""


@dataclass
class Felt:
    """What the clients felt: requests asked and lost, and the longest time (seconds) between two answers."""

    url: str
    host: str
    asked: int = 0
    lost: int = 0
    longest_gap: float = 0.0
    first_error: str = ""
    #: the three longest that took more than a second: (seconds, time of day at which the last answer before it came)
    gaps: list[tuple[float, str]] = field(default_factory=list)

    def __str__(self) -> str:
        error = f" (first: {self.first_error})" if self.lost else ""
        when = "".join(f", {seconds:.1f} s from {at} UTC" for seconds, at in self.gaps)
        return f"{self.host} -> {self.url}: {self.lost} of {self.asked} lost, longest gap {self.longest_gap * 1000:.0f} ms{when}{error}"


@contextmanager
def steady(host: str, url: str, *, every: float = 0.1, patience: float = 2.0, pod: int = 0) -> Iterator[Felt]:
    """Ask ``url`` from a container of the lab (``bmk-worker1``) every so many seconds; the object is filled in when the block ends.

    :param pod: number of a pod's process on that host: the requests come from the pod's network.
    """
    felt = Felt(url, f"{host}, a pod" if pod else host)
    network = ["nsenter", "--target", str(pod), "--net"] if pod else []
    argv = ["podman", "exec", "-i", host, *network, "python3", "-c", ASK, url, str(every), str(patience)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield felt
        finally:
            # An IPv6 address is in brackets, which mean something in a pattern.
            words = re.sub(r"([][.?])", r"\\\1", f"{url} {every} {patience}")
            subprocess.run(["podman", "exec", host, "pkill", "-TERM", "-f", f"{words}$"], check=False)
            told = json.loads(process.communicate(timeout=60)[0])
    felt.asked, felt.lost, felt.longest_gap = told["asked"], told["lost"], told["longest_gap"]
    felt.first_error, felt.gaps = told["first_error"], told["gaps"]


@contextmanager
def steady_from(*sources: tuple[str, str], every: float = 0.1, patience: float = 2.0) -> Iterator[list[Felt]]:
    """Several of them at once: ``(host, url)`` each."""
    with ExitStack() as stack:
        yield [stack.enter_context(steady(host, url, every=every, patience=patience)) for host, url in sources]
