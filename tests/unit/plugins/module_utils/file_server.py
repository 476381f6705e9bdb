"""A real HTTP server in a thread for tests: files with ranges, and the misbehaviour that downloads have to survive."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
import typing as t
from dataclasses import dataclass, field


@dataclass
class Page:
    """What a path answers.

    :param cut: for each request in turn, after how many bytes of the body the connection is closed.
    :param statuses: for each request in turn, an error that comes instead.
    :param declared: a false Content-Length.
    """

    body: bytes = b""
    status: int = 200
    content_type: str = "application/octet-stream"
    ranges: bool = True
    cut: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None
    token: str = ""


class FileServer:
    """``with FileServer({path: Page}) as server``: ``server.url`` is its address, ``server.requests`` what it was asked."""

    def __init__(self, pages: dict[str, Page]) -> None:
        self.pages = pages
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args: t.Any) -> None:
                pass

            def do_HEAD(self) -> None:
                outer.answer(self, with_body=False)

            def do_GET(self) -> None:
                outer.answer(self, with_body=True)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FileServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_args: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, path: str) -> list[dict[str, str]]:
        """Headers of every request for a path."""
        return [headers for _method, asked, headers in self.requests if asked.partition("?")[0] == path]

    def answer(self, handler: http.server.BaseHTTPRequestHandler, with_body: bool) -> None:
        path = handler.path.partition("?")[0]
        headers = {key.lower(): value for key, value in handler.headers.items()}
        self.requests.append((handler.command, handler.path, headers))
        page = self.pages.get(path, Page(b"no such page", 404, "text/plain"))
        if page.token and headers.get("authorization") != f"Bearer {page.token}":
            page = Page(b"{}", 401, headers={"WWW-Authenticate": page.headers["WWW-Authenticate"]})
        status, body = page.status, page.body
        if page.statuses:
            status, body = page.statuses.pop(0), b"not now"
        first = 0
        wanted = headers.get("range", "")
        if status == 200 and page.ranges and wanted.startswith("bytes="):
            first = int(wanted[6:].rstrip("-"))
            if first >= len(body):
                status, body, first = 416, b"", 0
            else:
                status = 206
        piece = body[first:]
        handler.send_response(status)
        handler.send_header("Content-Type", page.content_type)
        handler.send_header("Content-Length", str(len(piece) if page.declared is None else page.declared))
        if status == 206:
            handler.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        for key, value in page.headers.items():
            handler.send_header(key, value)
        handler.end_headers()
        if not with_body:
            return
        limit = page.cut.pop(0) if page.cut and status in (200, 206) else None
        with contextlib.suppress(OSError):
            handler.wfile.write(piece if limit is None else piece[:limit])
            handler.wfile.flush()
        if limit is not None or page.declared is not None:
            handler.close_connection = True


def sha256(data: bytes) -> str:
    """Bare hex."""
    return hashlib.sha256(data).hexdigest()
