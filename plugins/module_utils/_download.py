# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch one file over HTTP into a partial file, and believe nothing but its SHA-256.

A partial file left by a cut connection or a killed run is continued (Range, RFC 9110 section 14). What is refused says the file's name,
what was expected and what was found. The partial file is complete and flushed when :func:`fetch` returns; giving it its place is the
caller's business.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import os
import re
import time
import typing as t
import urllib.error
import urllib.request
from dataclasses import dataclass, field

CHUNK_BYTES = 1024 * 1024
TEXT_BYTES = 512
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_TITLE = re.compile(rb"<title[^>]*>\s*(.*?)\s*</title", re.IGNORECASE | re.DOTALL)


class DownloadError(Exception):
    """A file that was not got. The text has its name, what was expected and what was found.

    ``kind`` sorts causes (see :func:`fetch`), ``status`` is the HTTP status where that is the cause.
    """

    def __init__(self, name: str, expected: str, found: str, kind: str = "content", status: int = 0) -> None:
        super().__init__(f"{name}: expected {expected}, found {found}")
        self.name = name
        self.expected = expected
        self.found = found
        self.kind = kind
        self.status = status


class _TransientError(Exception):
    """A failure that another attempt may mend."""


class _SpoiltStartError(Exception):
    """The partial file that this attempt went on with does not belong to the wanted file."""


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    :param name: what messages call it.
    :param sha256: 64 hexadecimal digits.
    :param size: its length in bytes, None when nobody knows.
    :param headers: more request headers; they are not sent on to another host that the server redirects to.
    """

    name: str
    url: str
    sha256: str
    size: t.Optional[int] = None
    headers: t.Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy:
    """How patient a download is. Times in seconds; ``direct``: ignore the proxy variables of the environment."""

    attempts: int = 5
    timeout: float = 30.0
    backoff: float = 0.5
    direct: bool = False
    sleep: t.Callable[[float], None] = time.sleep

    def pause(self, attempt: int) -> None:
        """Wait before attempt number ``attempt`` (the first is 0): 0.5, 1, 2, 4 ... seconds."""
        if attempt:
            self.sleep(min(self.backoff * 2 ** (attempt - 1), 30.0))

    def open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Send a request; other than urllib, an answer that is not 200 or 206 is an ``HTTPError`` too."""
        handlers = [urllib.request.ProxyHandler({})] if self.direct else []
        return t.cast(
            "http.client.HTTPResponse", urllib.request.build_opener(*handlers).open(request, timeout=self.timeout)
        )


def sha256_text(data: bytes) -> str:
    """Return ``sha256:<hex>`` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def looks_like_html(start: bytes) -> bool:
    """Tell whether a body begins like a web page."""
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype html", b"<html"))


def describe_page(start: bytes) -> str:
    """Describe a web page that came instead of a file, with its title when it has one."""
    title = _TITLE.search(start)
    text = title.group(1).decode("utf-8", "replace")[:80] if title else ""
    return f"an HTML page titled {text!r}" if text else "an HTML page"


def _size_text(size: t.Optional[int]) -> str:
    return "the whole file" if size is None else f"{size} bytes"


def _file_text(wanted: Wanted) -> str:
    return "a file" if wanted.size is None else f"a file of {wanted.size} bytes"


def fetch(wanted: Wanted, partial: str, policy: t.Optional[Policy] = None) -> int:
    """Fetch a file to the path ``partial`` (created 0600, continued when it is there) and check its sum.

    :return: bytes that came over the network.
    :raises DownloadError: kinds ``content`` (wrong sum, page, wrong length), ``status`` (404 ...), ``unreachable``, ``truncated``,
        ``disk`` (full), ``busy`` (another process fetches it). Wrong content and what filled the disk is removed, a cut-off
        beginning is kept for the next try.
    """
    policy = policy or Policy()
    with open_partial(partial) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise DownloadError(
                wanted.name, "to be the only one who fetches it", f"another run holding {partial}", "busy"
            ) from exc
        try:
            return _fetch_locked(wanted, stream, policy)
        except DownloadError as exc:
            if exc.kind in ("content", "disk") or exc.status == 404 or not os.fstat(stream.fileno()).st_size:
                with contextlib.suppress(OSError):
                    os.unlink(partial)
            raise


def open_partial(path: str) -> t.BinaryIO:
    """Open a partial file for reading and writing, made when it is not there; nobody else can read it, and a link is not followed."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    return t.cast("t.BinaryIO", open(path, "r+b", buffering=0, opener=opener))


def _fetch_locked(wanted: Wanted, stream: t.BinaryIO, policy: Policy) -> int:
    received = 0
    failure = ""
    for attempt in range(policy.attempts):
        policy.pause(attempt)
        try:
            received += _attempt(wanted, stream, policy)
            return received
        except _SpoiltStartError:
            stream.truncate(0)
            failure = "a beginning that does not belong to it"
        except _TransientError as exc:
            failure = str(exc)
    position = os.fstat(stream.fileno()).st_size
    if position:
        raise DownloadError(
            wanted.name, _size_text(wanted.size), f"{failure} (after {position} bytes, which are kept)", "truncated"
        )
    raise DownloadError(wanted.name, f"an answer from {wanted.url}", failure, "unreachable")


def _hash_start(stream: t.BinaryIO, size: t.Optional[int]) -> tuple[t.Any, int]:
    """Hash what an earlier attempt left; more than the file can have is thrown away."""
    digest = hashlib.sha256()
    stream.seek(0)
    length = os.fstat(stream.fileno()).st_size
    if size is not None and length > size:
        stream.truncate(0)
        return digest, 0
    position = 0
    for piece in iter(lambda: stream.read(CHUNK_BYTES), b""):
        digest.update(piece)
        position += len(piece)
    return digest, position


def _attempt(wanted: Wanted, stream: t.BinaryIO, policy: Policy) -> int:
    digest, start = _hash_start(stream, wanted.size)
    if start and digest.hexdigest() == wanted.sha256:
        os.fsync(stream.fileno())
        return 0
    if start and start == wanted.size:
        raise _SpoiltStartError
    with contextlib.closing(_open(wanted, start, policy)) as response:
        total, begin = _check_answer(wanted, response, start)
        if begin == 0 and start:
            stream.seek(0)
            stream.truncate(0)
            digest, start = hashlib.sha256(), 0
        received = _copy(wanted, response, stream, digest, start, total)
    if digest.hexdigest() != wanted.sha256:
        if start:
            raise _SpoiltStartError
        raise DownloadError(wanted.name, f"sha256 {wanted.sha256}", f"sha256 {digest.hexdigest()} at {wanted.url}")
    os.fsync(stream.fileno())
    return received


def _open(wanted: Wanted, start: int, policy: Policy) -> http.client.HTTPResponse:
    request = urllib.request.Request(wanted.url)
    request.add_header("Accept-Encoding", "identity")
    request.add_header("User-Agent", "bare-metal-kubernetes")
    for key, value in wanted.headers.items():
        request.add_unredirected_header(key, value)
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return policy.open(request)
    except urllib.error.HTTPError as exc:
        with exc:
            if exc.code == 416 and start:
                raise _SpoiltStartError from exc
            if exc.code in RETRIED_STATUS:
                raise _TransientError(f"HTTP {exc.code} {exc.reason}") from exc
            raise DownloadError(
                wanted.name, f"a file at {wanted.url}", f"HTTP {exc.code} {exc.reason}", "status", exc.code
            ) from exc
    except (OSError, http.client.HTTPException) as exc:
        raise _TransientError(describe_failure(exc)) from exc


def describe_failure(exc: BaseException) -> str:
    """Say in a few words why a server did not answer."""
    reason = getattr(exc, "reason", None) or exc
    return f"no answer ({reason})" if str(reason) else f"no answer ({type(exc).__name__})"


def _check_answer(wanted: Wanted, response: http.client.HTTPResponse, start: int) -> tuple[t.Optional[int], int]:
    """Return the whole file's length, as far as it is known, and the offset at which this answer begins."""
    length = int(response.headers["Content-Length"]) if (response.headers["Content-Length"] or "").isdigit() else None
    begin, total = 0, length
    if response.status == 206:
        span = _CONTENT_RANGE.fullmatch(response.headers["Content-Range"] or "")
        if not span or int(span.group(1)) != start:
            raise _SpoiltStartError
        begin = start
        total = int(span.group(3)) if span.group(3) != "*" else wanted.size
    if (response.headers["Content-Type"] or "").startswith("text/html"):
        page = response.read(TEXT_BYTES)
        if b"<" in page:
            raise DownloadError(wanted.name, _file_text(wanted), f"{describe_page(page)} at {wanted.url}")
        raise DownloadError(wanted.name, _file_text(wanted), f"text declared as HTML at {wanted.url}")
    if wanted.size is not None and total is not None and total != wanted.size:
        raise DownloadError(wanted.name, _size_text(wanted.size), f"{total} bytes at {wanted.url}")
    return (wanted.size if wanted.size is not None else total), begin


def _copy(
    wanted: Wanted,
    response: http.client.HTTPResponse,
    stream: t.BinaryIO,
    digest: t.Any,
    start: int,
    total: t.Optional[int],
) -> int:
    """Write the answer's body behind ``start`` bytes; return its length."""
    position = start
    while True:
        try:
            piece = response.read(CHUNK_BYTES)
        except http.client.IncompleteRead as exc:
            piece = exc.partial
            if not piece:
                raise _TransientError("a connection that closed too early") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise _TransientError(f"a connection that broke ({describe_failure(exc)})") from exc
        if not piece:
            break
        if position == 0 and looks_like_html(piece[:TEXT_BYTES]):
            raise DownloadError(wanted.name, _file_text(wanted), f"{describe_page(piece[:4096])} at {wanted.url}")
        if total is not None and position + len(piece) > total:
            raise DownloadError(wanted.name, f"{total} bytes", f"more than that at {wanted.url}")
        write_all(wanted.name, stream, piece)
        digest.update(piece)
        position += len(piece)
    if total is not None and position < total:
        raise _TransientError(f"the connection closed after {position} of {total} bytes")
    return position - start


def write_all(name: str, stream: t.BinaryIO, piece: bytes) -> None:
    """Write every byte; a full disk becomes a :class:`DownloadError` that names file and directory."""
    view = memoryview(piece)
    try:
        while view:
            view = view[stream.write(view) :]
    except OSError as exc:
        if exc.errno in FULL_DISK:
            directory = os.path.dirname(str(stream.name)) or "."
            raise DownloadError(
                name, f"room for it in {directory}", "a full disk; the partial file was removed", "disk"
            ) from exc
        raise
