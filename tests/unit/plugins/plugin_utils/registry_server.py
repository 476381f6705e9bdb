"""An OCI registry in a thread for tests: strict as the real one, in memory, told to misbehave by attributes."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import typing as t
from urllib.parse import parse_qs, urlsplit


class Handler(http.server.BaseHTTPRequestHandler):
    """What the registry answers; ``registry`` is its state."""

    protocol_version = "HTTP/1.1"
    registry: RegistryServer

    def log_message(self, *_args: t.Any) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str, detail: str = "") -> None:
        self.reply(status, json.dumps({"errors": [{"code": code, "message": code.lower(), "detail": detail}]}).encode())

    def handle_any(self) -> None:
        self.registry.log.append(f"{self.command} {self.path}")
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if self.command in ("PUT", "POST") else b""
        if parts.path == "/v2/":
            self.reply(200, b"{}", Content_Type="application/json")
        elif "/blobs/uploads/" in parts.path:
            self.upload(parts.path.removeprefix("/v2/").partition("/blobs/uploads/")[0], query, body)
        elif "/blobs/" in parts.path:
            repository, _blobs, digest = parts.path.removeprefix("/v2/").partition("/blobs/")
            found = self.registry.blobs.get(repository, {}).get(digest)
            self.refuse(404, "BLOB_UNKNOWN") if found is None else self.reply(200, found)
        else:
            repository, _manifests, reference = parts.path.removeprefix("/v2/").partition("/manifests/")
            self.manifest(repository, reference, body)

    def upload(self, repository: str, query: dict[str, str], body: bytes) -> None:
        if self.command == "POST":
            source = self.registry.blobs.get(query.get("from", ""), {}).get(query.get("mount", ""))
            if source is not None:
                self.registry.blobs.setdefault(repository, {})[query["mount"]] = source
                self.reply(201)
            else:
                self.reply(202, Location=f"/v2/{repository}/blobs/uploads/u1?_state=abc")
            return
        assert query["_state"] == "abc"
        if self.registry.kill_uploads_after is not None:
            self.registry.kill_uploads_after -= 1
            if self.registry.kill_uploads_after < 0:
                self.close_connection = True
                return
        if query["digest"] != f"sha256:{hashlib.sha256(body).hexdigest()}":
            self.refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            return
        self.registry.blobs.setdefault(repository, {})[query["digest"]] = body
        self.reply(201)

    def manifest(self, repository: str, reference: str, body: bytes) -> None:
        if self.command != "PUT":
            found = self.registry.manifests.get(repository, {}).get(reference)
            if found is None:
                self.refuse(404, "MANIFEST_UNKNOWN")
                return
            digest = f"sha256:{hashlib.sha256(found).hexdigest()}"
            self.reply(200, found, Docker_Content_Digest=digest, Content_Type=self.registry.types[digest])
            return
        document = json.loads(body)
        known = {**self.registry.blobs.get(repository, {}), **self.registry.manifests.get(repository, {})}
        entries = document.get("manifests") or [document["config"], *document["layers"]]
        missing = [entry["digest"] for entry in entries if entry["digest"] not in known]
        if missing:
            self.refuse(400, "MANIFEST_BLOB_UNKNOWN", ", ".join(missing))
            return
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.registry.types[digest] = self.headers["Content-Type"]
        self.registry.manifests.setdefault(repository, {}).update({digest: body, reference: body})
        self.reply(201)


class RegistryServer:
    """``with RegistryServer() as registry``. ``blobs`` and ``manifests`` are by repository; ``log`` has methods and paths."""

    def __init__(self) -> None:
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.manifests: dict[str, dict[str, bytes]] = {}
        self.types: dict[str, str] = {}
        self.log: list[str] = []
        self.kill_uploads_after: int | None = None
        methods = {f"do_{method}": Handler.handle_any for method in ("GET", "HEAD", "POST", "PUT")}
        handler = type("BoundHandler", (Handler,), {"registry": self, **methods})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> RegistryServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_args: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str) -> int:
        """Requests with a method."""
        return sum(line.startswith(f"{method} ") for line in self.log)
