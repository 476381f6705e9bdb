"""A real browser for HTML reports: Chromium's headless shell, spoken to over a pipe, with the standard library alone.

The Chrome DevTools Protocol over ``--remote-debugging-pipe`` is JSON texts that end in a NUL byte, on the descriptors 3 (to the browser) and 4 (from
it): no port, no WebSocket, no driver of a certain version. ``Browser.show`` loads a file at a width, in light or dark, and says what a reader would see.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium-headless-shell", "chromium")  # the same engine; Debian packages both
SECONDS = 60.0
HEIGHT = 900
FLAGS = (
    "--headless",
    "--no-sandbox",  # root in a container has no user namespaces to make one of; the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # a page that asks for anything from elsewhere is seen, and gets nothing
    "--remote-debugging-pipe",
)
# Puts the pipes where the browser wants them and is replaced by it. Above 9 first: one of them may be in the other's place.
LAUNCHER = """
import fcntl, os, sys
kept = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for old, new in zip(kept, (3, 4)):
    os.dup2(old, new)
    os.close(old)
os.execvp(sys.argv[3], sys.argv[3:])
"""
AUDIT = (Path(__file__).parent / "page_audit.js").read_text(encoding="utf-8")


class BrowserError(Exception):
    """The browser could not be started, ended, or refused a command."""


def find() -> str | None:
    """The browser's program, when one is installed."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Shown:
    """What a page showed. ``errors``: of scripts, the console and the page's own policy. ``requests``: every address that was asked for but the page's own.

    ``audit``: what ``page_audit.js`` found, ``{"findings": [texts], "pictures": [{"label", "width", "height", "shapes", "texts"}], "texts": number}``.
    """

    errors: tuple[str, ...]
    requests: tuple[str, ...]
    audit: dict[str, Any]
    picture: bytes = field(repr=False)

    @property
    def findings(self) -> list[str]:
        """Everything that a reader would stumble over."""
        return [*self.errors, *(f"asked for {url}" for url in self.requests), *self.audit["findings"]]


class Browser:
    """One running browser. Use :func:`browser`, which ends it."""

    def __init__(self, program: str, directory: Path) -> None:
        to_browser, from_browser = os.pipe(), os.pipe()
        argv = [sys.executable, "-c", LAUNCHER, str(to_browser[0]), str(from_browser[1]), program, *FLAGS]
        self._log = (directory / "browser.log").open("w+b")
        self._process = subprocess.Popen(
            [*argv, f"--user-data-dir={directory / 'profile'}", "about:blank"],
            pass_fds=(to_browser[0], from_browser[1]),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env={**os.environ, "HOME": str(directory), "LC_ALL": "C.UTF-8"},
        )
        os.close(to_browser[0])
        os.close(from_browser[1])
        self._in, self._out = to_browser[1], from_browser[0]
        self._numbers = itertools.count(1)
        self._rest = b""
        self._events: list[dict[str, Any]] = []

    def close(self) -> None:
        """End the browser and what it started."""
        os.close(self._in)
        os.close(self._out)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(SECONDS)
        self._log.close()

    # --- the protocol

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _write, _error = select.select([self._out], [], [], max(0.0, until - time.monotonic()))
            piece = os.read(self._out, 1 << 20) if ready else b""
            if not piece:
                self._log.seek(0)
                last = self._log.read().decode("utf-8", "replace")[-2000:]
                raise BrowserError(f"the browser {'ended' if ready else f'said nothing for {SECONDS} s'}:\n{last}")
            self._rest += piece
        text, _nul, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(text))

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """One command and its answer; what happens meanwhile is kept as events."""
        number, until = next(self._numbers), time.monotonic() + SECONDS
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        data = json.dumps(message).encode() + b"\0"
        with contextlib.suppress(BrokenPipeError):  # it ended: reading says why
            while data:
                data = data[os.write(self._in, data) :]
        while True:
            found = self._receive(until)
            if found.get("id") != number:
                self._events.append(found)
            elif "error" in found:
                raise BrowserError(f"{method}: {found['error']}")
            else:
                return dict(found["result"])

    def _wait(self, session: str, method: str) -> None:
        until = time.monotonic() + SECONDS
        while not any(one.get("method") == method and one.get("sessionId") == session for one in self._events):
            self._events.append(self._receive(until))

    # --- a page

    def show(self, page: Path, width: int, *, dark: bool = False, unfold: bool = True) -> Shown:
        """Load a file. ``width`` in CSS pixels; ``unfold`` opens every ``<details>``, so that what is in them is judged as well."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", session)
        self._size(session, width, HEIGHT)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", session, features=scheme)
        self.call("Page.navigate", session, url=page.as_uri())
        self._wait(session, "Page.loadEventFired")
        if unfold:
            self.evaluate(session, "for (const one of document.querySelectorAll('details')) one.open = true")
        audit = self.evaluate(session, f"({AUDIT})()")
        # A picture of the whole page; the audit was of a window as a reader has it.
        self._size(session, width, min(16000, max(HEIGHT, audit["height"])))
        picture = self.call("Page.captureScreenshot", session, format="png", captureBeyondViewport=True)["data"]
        self.call("Target.closeTarget", targetId=target)
        events = [one for one in self._events if one.get("sessionId") == session]
        return Shown(tuple(_errors(events)), tuple(_requests(events, page.as_uri())), audit, base64.b64decode(picture))

    def _size(self, session: str, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", session, width=width, height=height, deviceScaleFactor=1, mobile=False)  # fmt: skip

    def evaluate(self, session: str, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", session, expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"the audit failed: {answer['exceptionDetails']}")
        return answer["result"].get("value")


def _errors(events: Sequence[dict[str, Any]]) -> Iterator[str]:
    for event in events:
        parameters = event.get("params") or {}
        if event["method"] == "Runtime.exceptionThrown":
            yield f"script: {parameters['exceptionDetails'].get('text')}"
        elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            yield f"console: {[argument.get('value') for argument in parameters['args']]}"
        elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            yield f"{parameters['entry']['source']}: {parameters['entry']['text']}"


def _requests(events: Sequence[dict[str, Any]], own: str) -> Iterator[str]:
    for event in events:
        if event["method"] == "Network.requestWillBeSent" and event["params"]["request"]["url"] != own:
            yield str(event["params"]["request"]["url"])[:200]


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """A browser with its profile in ``directory``.

    :raises BrowserError: none is installed.
    """
    program = find()
    if program is None:
        raise BrowserError(f"no browser is installed; `make setup` as root installs {PROGRAMS[0]} on Debian")
    started = Browser(program, directory)
    try:
        yield started
    finally:
        started.close()
