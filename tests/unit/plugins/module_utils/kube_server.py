"""A TLS server on loopback that answers from a script, for tests of the API client."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Handler = t.Callable[[str, str, t.Any], "tuple[int, t.Any] | tuple[int, t.Any, dict[str, str]]"]


class Authority:
    """A certificate authority and the leaves it signs."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._build("test-ca", self.key, None, None)

    def _build(self, name: str, key: t.Any, issuer: x509.Certificate | None, san: t.Any) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        if san is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def leaf(self, name: str, *, ips: t.Sequence[str] = (), names: t.Sequence[str] = ()) -> tuple[bytes, bytes]:
        """Return certificate and key (PEM) of a new leaf."""
        key = ec.generate_private_key(ec.SECP256R1())
        san = [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips] + [x509.DNSName(item) for item in names]
        certificate = self._build(name, key, self.certificate, san or None)
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
            serialization.Encoding.PEM, form, plain
        )


class Server:
    """Serves ``handler(method, path, body)`` over TLS, asking for a client certificate."""

    def __init__(
        self, directory: Path, handler: Handler, *, ips: t.Sequence[str] = ("127.0.0.1",), **san: t.Any
    ) -> None:
        self.authority = Authority()
        self.handler = handler
        self.requests: list[tuple[str, str, t.Any]] = []
        self.connections = 0
        self.peers: list[t.Any] = []
        self.hang_up = False
        outer = self

        class Request(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()
                outer.peers.append(self.connection.getpeercert())

            def log_message(self, *_args: t.Any) -> None:
                pass

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                outer.requests.append((self.command, self.path, body))
                outer.headers = dict(self.headers)
                result = outer.handler(self.command, self.path, body)
                data = result[1].encode() if isinstance(result[1], str) else json.dumps(result[1]).encode()
                self.send_response(result[0])
                for name, value in (result[2] if len(result) > 2 else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                if outer.hang_up:
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the standard library names them

        certificate, key = self.authority.leaf("server", ips=ips, **san)
        (directory / "server.pem").write_bytes(certificate + key)
        (directory / "ca.pem").write_bytes(self.authority.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "server.pem")
        context.load_verify_locations(directory / "ca.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self.httpd.daemon_threads = True
        self.httpd.socket = context.wrap_socket(self.httpd.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.httpd.server_address[1]}"
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()
