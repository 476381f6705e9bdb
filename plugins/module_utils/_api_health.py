# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give this machine the API's address while its own API server is ready, and take it away when it is not.

Role ``api_endpoint`` installs this file as a program of its own on control planes (``cluster_api_endpoint_mode: bgp_anycast``). BIRD announces the
address while it is there; so nothing else has to be told. When the program dies, its unit takes the address away.

``GET /readyz`` needs no credentials (ClusterRole system:public-info-viewer); the server's certificate is checked against the cluster's CA, which is read
anew each time. A refused connection is a process that is gone and counts at once; silence or another answer than 200 counts when it comes twice in a row.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import typing as t
import urllib.parse
from dataclasses import dataclass

#: an address that somebody took away (a network manager that was restarted) is back after so many seconds
ASSERT_SECONDS = 10.0
IP_TIMEOUT_SECONDS = 5.0
#: what ip says of an address that is not there, by its age
ABSENT = ("Cannot assign requested address", "Address not found")
# A status line is some 20 bytes long.
MOST_BYTES = 4096


@dataclass(frozen=True)
class Answer:
    """One look at the API server. ``gone``: nothing listens there, so that waiting for a second look would only cost time."""

    ready: bool
    gone: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether the address is this machine's, and how many answers in a row said otherwise. The first verdict is no."""

    holds: bool = False
    against: int = 0


def judge(verdict: Verdict, answer: Answer, fall: int, rise: int) -> Verdict:
    """The next verdict: ``rise`` good answers in a row give the address, ``fall`` bad ones take it, or a single one when the server is gone. Pure."""
    if answer.ready == verdict.holds:
        return Verdict(verdict.holds)
    against = verdict.against + 1
    if against >= (rise if answer.ready else fall) or (verdict.holds and answer.gone):
        return Verdict(answer.ready)
    return Verdict(verdict.holds, against)


def pause(begun: float, now: float, interval: float) -> float:
    """Seconds until the next look: looks begin ``interval`` apart, a slow one is followed at once. Pure."""
    return max(0.0, begun + interval - now)


def status_of(said: bytes) -> int:
    """The status of an HTTP answer's first line; 0 when it is none. Pure."""
    words = said.partition(b"\r\n")[0].split()
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else 0


def ask(url: str, ca: str, timeout: float) -> Answer:
    """Ask once, on a connection of its own, so that a server that takes no new clients is seen. All of it takes at most ``timeout`` seconds, however
    slowly the server sends.
    """
    parts, over = urllib.parse.urlsplit(url), time.monotonic() + timeout
    host, port = parts.hostname or "", parts.port or 443
    target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))

    def left() -> float:
        return max(0.001, over - time.monotonic())

    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        return Answer(False, True, f"{ca}: {error}")
    said = b""
    try:
        with socket.create_connection((host, port), timeout=left()) as plain:
            plain.settimeout(left())
            with context.wrap_socket(plain, server_hostname=host) as channel:
                channel.settimeout(left())
                channel.sendall(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
                while b"\r\n" not in said and len(said) < MOST_BYTES and time.monotonic() < over:
                    channel.settimeout(left())
                    part = channel.recv(MOST_BYTES)
                    if not part:
                        break
                    said += part
    except ConnectionRefusedError:
        return Answer(False, True, "nothing listens")
    except (OSError, ValueError) as error:
        return Answer(False, False, f"{type(error).__name__}: {error}")
    status = status_of(said)
    return Answer(status == 200, False, "" if status == 200 else f"it answers {status or 'no HTTP'}")


def address_argv(verb: str, place: str) -> list[str]:
    """The call of ``ip`` that gives (``replace``) or takes (``del``) an address. ``place``: ``address/length@interface``. Pure."""
    address, _at, device = place.partition("@")
    # An IPv6 address would be tentative for a second first, and refused to whoever binds it.
    options = ["nodad"] if verb == "replace" and ":" in address else []
    return ["ip", "address", verb, address, "dev", device, *options]


def change(verb: str, place: str) -> str:
    """Do it; return what went wrong. An address that is to go and is not there is no error."""
    try:
        done = subprocess.run(
            address_argv(verb, place), capture_output=True, text=True, timeout=IP_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    absent = verb == "del" and any(words in done.stderr for words in ABSENT)
    return "" if done.returncode == 0 or absent else done.stderr.strip()


def notify(message: str) -> None:
    """Tell systemd (sd_notify(3)); nothing when it did not start this."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(message.encode(), "\0" + path[1:] if path.startswith("@") else path)


def say(text: str) -> None:
    """One line for the journal."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def watch(options: argparse.Namespace, over: threading.Event) -> None:
    """Look, judge and act until ``over`` is set; then the address goes."""
    verdict, asserted, trouble = Verdict(), 0.0, ""
    while not over.is_set():
        begun = time.monotonic()
        answer = ask(options.url, options.ca, options.timeout)
        before, verdict = verdict, judge(verdict, answer, options.fall, options.rise)
        if verdict.holds != before.holds or time.monotonic() - asserted > ASSERT_SECONDS:
            asserted = time.monotonic()
            problems = [change("replace" if verdict.holds else "del", options.address)]
            problems += [change("replace", place) for place in options.keep]
            found = "; ".join(problem for problem in problems if problem)
            if found and found != trouble:
                say(f"cannot change an address: {found}")
            trouble = found
        if verdict.holds != before.holds:
            say(
                f"{options.address}: {'announced, the API is ready' if verdict.holds else f'withdrawn, {answer.reason}'}"
            )
        notify(f"READY=1\nWATCHDOG=1\nSTATUS={'announced' if verdict.holds else f'withdrawn: {answer.reason}'}")
        over.wait(pause(begun, time.monotonic(), options.interval))
    change("del", options.address)


def parse(argv: t.Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Hold an address while this machine's API server is ready.")
    parser.add_argument("--url", required=True, help="what is asked, https://node:6443/readyz")
    parser.add_argument("--ca", required=True, help="the certificate authority of its certificate")
    parser.add_argument("--address", required=True, help="address/length@interface that is given and taken")
    parser.add_argument("--keep", action="append", default=[], help="address/length@interface that is always there")
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between looks")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds for an answer")
    parser.add_argument("--fall", type=int, default=2, help="bad answers in a row that take the address")
    parser.add_argument("--rise", type=int, default=2, help="good answers in a row that give it")
    return parser.parse_args(argv)


def main() -> int:
    """Run until SIGTERM."""
    options = parse()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: over.set())
    watch(options, over)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
