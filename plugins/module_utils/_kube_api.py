# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client of the Kubernetes API for targets: the standard library, one kept connection a thread, bounded
retries.

Objects are plain dictionaries as the API knows them. Every failure that a caller may have to handle is a
:class:`KubeApiError`.
Verbs and paths follow the API conventions (kubernetes.io/docs/reference/using-api/api-concepts).
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import os
import re
import socket
import ssl
import threading
import time
import typing as t
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlencode, urlsplit

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

FIELD_MANAGER = "bare-metal-kubernetes"
ADMIN_KUBECONFIG = "/etc/kubernetes/admin.conf"
# Without what an apiserver says of an etcd that keeps only events (plugin_utils/etcd_events.py): its loss is not the API's. One that has none takes no notice.
READY_PATH = "/readyz?exclude=etcd-override-0&exclude=etcd-override-readiness-0"
PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
NEVER_EXECUTED_STATUS = frozenset({429, 503})
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
CORE_GROUP = {"name": "", "preferredVersion": {"groupVersion": "v1"}, "versions": [{"groupVersion": "v1"}]}
PAGE_SIZE = 500
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0

Object = dict[str, t.Any]
Objects = list[Object]
Kinds = list[tuple[str, str]]


class KubeApiError(Exception):
    """The API said no, or could not be asked.

    ``status`` is the HTTP status, 0 when there was no answer. ``reason`` is the API's own word (``NotFound``,
    ``Conflict``, ...), or one of
    ``Unreachable`` (no connection), ``Credentials`` (they cannot be read) and ``UnknownKind`` (the server does not
    serve this kind).
    """

    def __init__(self, message: str, status: int = 0, reason: str = "", request: str = "") -> None:
        super().__init__(f"{request}: {message}" if request else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.request = request

    @property
    def unreachable(self) -> bool:
        return self.reason == "Unreachable"


@dataclass(frozen=True)
class Credentials:
    """Where the API is and how to be let in. PEM data is bytes; ``tls_server_name`` overrides the name that the
    certificate must carry.
    """

    server: str
    ca: bytes = b""
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    tls_server_name: str = ""


@dataclass(frozen=True)
class Response:
    """An HTTP answer that was not judged: ``status`` and the body as text."""

    status: int
    text: str


@dataclass(frozen=True)
class Resource:
    """How the server serves a kind: ``prefix`` is ``/api/v1`` or ``/apis/<group>/<version>``."""

    prefix: str
    plural: str
    namespaced: bool
    verbs: tuple[str, ...] = ()

    def path(self, name: str = "", namespace: str = "", subresource: str = "") -> str:
        """Return the path of the collection, or of one object (or of its subresource) when ``name`` is given."""
        parts = [self.prefix]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe=":") for part in (name, subresource) if part]
        return "/".join(parts)


# --- credentials


def _named(document: t.Mapping[str, t.Any], plural: str, singular: str, name: str) -> Object:
    for entry in document.get(plural) or []:
        if entry.get("name") == name:
            return t.cast(Object, entry.get(singular) or {})
    raise KubeApiError(f"the kubeconfig has no entry '{name}' in '{plural}'", reason="Credentials")


def _pem(entry: t.Mapping[str, t.Any], key: str) -> bytes:
    if entry.get(f"{key}-data"):
        try:
            return base64.b64decode(entry[f"{key}-data"], validate=True)
        except (binascii.Error, ValueError) as exc:
            raise KubeApiError(f"the kubeconfig's '{key}-data' is not base64", reason="Credentials") from exc
    if entry.get(key):
        try:
            with open(entry[key], "rb") as stream:
                return stream.read()
        except OSError as exc:
            raise KubeApiError(f"the kubeconfig's '{key}' cannot be read: {exc}", reason="Credentials") from exc
    return b""


def credentials_of(document: t.Mapping[str, t.Any], context: str = "") -> Credentials:
    """Take the credentials of one context (default: the current one) out of a parsed kubeconfig."""
    wanted = _named(document, "contexts", "context", context or str(document.get("current-context", "")))
    cluster = _named(document, "clusters", "cluster", wanted.get("cluster", ""))
    user = _named(document, "users", "user", wanted.get("user", ""))
    if user.get("exec") or user.get("auth-provider"):
        raise KubeApiError(
            "the kubeconfig's user runs a program to log in: only certificates and tokens are supported",
            reason="Credentials",
        )
    if cluster.get("insecure-skip-tls-verify"):
        raise KubeApiError("the kubeconfig turns the check of the server's certificate off", reason="Credentials")
    token = str(user.get("token") or "") or _pem(user, "tokenFile").decode().strip()
    return Credentials(
        server=str(cluster.get("server", "")),
        ca=_pem(cluster, "certificate-authority"),
        certificate=_pem(user, "client-certificate"),
        key=_pem(user, "client-key"),
        token=token,
        tls_server_name=str(cluster.get("tls-server-name") or ""),
    )


def load_credentials(kubeconfig: str = ADMIN_KUBECONFIG, *, server: str = "", tls_server_name: str = "") -> Credentials:
    """Read a kubeconfig. One in JSON is parsed here; one in YAML is read by ``kubectl``, as the standard library has no
    YAML.

    :param server: URL that replaces the kubeconfig's (``https://192.0.2.1:6443``), so that one certain apiserver is
        asked.
    """
    try:
        with open(kubeconfig, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as exc:
        raise KubeApiError(f"the kubeconfig '{kubeconfig}' cannot be read: {exc}", reason="Credentials") from exc
    if not text.lstrip().startswith("{"):
        argv = [
            "kubectl",
            "config",
            "view",
            "--raw",
            "--flatten",
            "--minify",
            "--output=json",
            f"--kubeconfig={kubeconfig}",
        ]
        path = f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/bin:/bin"
        try:
            text = run(argv, timeout=30, env={"PATH": path}).stdout
        except CommandError as exc:
            raise KubeApiError(f"the kubeconfig '{kubeconfig}' cannot be read: {exc}", reason="Credentials") from exc
    try:
        found = credentials_of(json.loads(text))
    except ValueError as exc:
        raise KubeApiError(f"the kubeconfig '{kubeconfig}' is not JSON", reason="Credentials") from exc
    return replace(found, server=server or found.server, tls_server_name=tls_server_name or found.tls_server_name)


def _anonymous_file(data: bytes) -> int:
    descriptor = os.memfd_create("kube-api", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    return descriptor


def ssl_context(credentials: Credentials) -> ssl.SSLContext:
    """Build the TLS context. Key material passes through anonymous memory files, never through a disk."""
    try:
        context = ssl.create_default_context(cadata=credentials.ca.decode() if credentials.ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 refuses CAs without optional extensions that Kubernetes itself accepts.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if credentials.certificate:
            descriptors = [_anonymous_file(credentials.certificate), _anonymous_file(credentials.key)]
            try:
                context.load_cert_chain(*(f"/proc/self/fd/{descriptor}" for descriptor in descriptors))
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
    except (ssl.SSLError, UnicodeDecodeError) as exc:
        raise KubeApiError(f"the certificates of the kubeconfig cannot be used: {exc}", reason="Credentials") from exc
    return context


class _Connection(http.client.HTTPSConnection):
    """A TLS connection whose certificate may be checked against another name than the address that is called."""

    def __init__(self, host: str, port: int, timeout: float, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls = context
        self._server_name = server_name or host

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), self.timeout)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._server_name)
        except BaseException:
            plain.close()
            raise


# --- the client


def _error_of(status: int, text: str, request: str) -> KubeApiError:
    """Turn an error answer (usually a ``Status`` object) into an exception."""
    try:
        body = json.loads(text)
        message, reason = str(body.get("message") or ""), str(body.get("reason") or "")
    except (ValueError, AttributeError):
        message, reason = text.strip()[:500], ""
    return KubeApiError(
        message or f"HTTP status {status}", status, reason or http.client.responses.get(status, ""), request
    )


class KubeApi:
    """One API server. Safe to use from several threads: each has its own connection.

    :param timeout: seconds that one request may take.
    :param deadline: seconds during which refused connections and 429/5xx answers are tried again; 0: asked once.
    """

    def __init__(self, credentials: Credentials, *, timeout: float = 30.0, deadline: float = 60.0) -> None:
        # Calico writes IPv4 addresses in brackets, which only IPv6 may have.
        address = urlsplit(re.sub(r"\[([0-9.]+)\]", r"\1", credentials.server))
        if address.scheme != "https" or not address.hostname:
            raise KubeApiError(f"'{credentials.server}' is not an https URL of an API server", reason="Credentials")
        self.server = credentials.server
        self.authority = credentials.ca
        self.timeout = timeout
        self.deadline = deadline
        self._host, self._port = address.hostname, address.port or 443
        self._server_name = credentials.tls_server_name
        self._token = credentials.token
        self._context = ssl_context(credentials)
        self._local = threading.local()
        self._discovery: dict[str, dict[str, Resource]] = {}
        self._lock = threading.Lock()
        self._open: set[_Connection] = set()

    def __enter__(self) -> KubeApi:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of all threads; the next request opens a new one."""
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            connection.close()

    # -- requests --

    def _connect(self) -> _Connection:
        connection = _Connection(self._host, self._port, self.timeout, self._context, self._server_name)
        self._local.connection = connection
        with self._lock:
            self._open.add(connection)
        return connection

    def _hang_up(self, connection: _Connection) -> None:
        connection.close()
        with self._lock:
            self._open.discard(connection)

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is not None and (method == "POST" or connection.sock is None):
            self._hang_up(connection)  # what may not be sent twice never goes over a connection that may be dying
            connection = None
        reused = connection is not None
        connection = connection or self._connect()
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response, response.read()
        except (http.client.HTTPException, OSError) as exc:
            self._hang_up(connection)
            if reused and not isinstance(exc, socket.timeout):
                return self._send(method, path, body, headers)  # the server had closed the idle connection
            raise

    def request(
        self,
        method: str,
        path: str,
        *,
        body: t.Any = None,
        content_type: str = "application/json",
        query: t.Mapping[str, t.Any] | None = None,
        accept: str = "application/json",
        judge: bool = True,
        deadline: float | None = None,
    ) -> Response:
        """Send one request and return its answer.

        :param judge: raise :class:`KubeApiError` for statuses of 400 and more, after trying again what may pass
            (overload, errors of the server or its webhooks, denials by an apiserver that is only starting).
            Without it any answer is returned as it is.
        :param deadline: seconds to go on trying, instead of the client's own.
        """
        words = {key: value for key, value in (query or {}).items() if value not in (None, "", False)}
        target = f"{path}?{urlencode(words)}" if words else path
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Accept": accept, "User-Agent": FIELD_MANAGER}
        if data is not None:
            headers["Content-Type"] = content_type
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        what = f"{method} {self.server}{path}"
        until = time.monotonic() + (self.deadline if deadline is None else deadline)
        pause = FIRST_PAUSE_SECONDS
        denied = False
        while True:
            wait = pause
            try:
                response, raw = self._send(method, target, data, headers)
                text = raw.decode("utf-8", "replace")
                if response.status < 400 or not judge:
                    return Response(response.status, text)
                error = _error_of(response.status, text, what)
                again = response.status in (NEVER_EXECUTED_STATUS if method == "POST" else RETRIED_STATUS)
                if response.status == 403:
                    # A starting apiserver denies what it has not learned to allow yet, so one denial may pass.
                    again, denied = not denied or not self.ready(), True
                after = response.getheader("Retry-After", "")
                wait = float(after) if after and after.isdigit() else pause
            except ssl.SSLCertVerificationError as exc:
                raise KubeApiError(
                    f"the server's certificate is not valid for it: {exc.verify_message}", 0, "Unreachable", what
                ) from exc
            except (http.client.HTTPException, OSError) as exc:
                error = KubeApiError(f"no answer: {exc or type(exc).__name__}", 0, "Unreachable", what)
                again = method != "POST" or isinstance(exc, ConnectionRefusedError)
            if not again or time.monotonic() + wait > until:
                raise error
            time.sleep(wait)
            pause = min(pause * 1.7, LONGEST_PAUSE_SECONDS)

    def _json(self, method: str, path: str, **kwargs: t.Any) -> Object:
        answer = self.request(method, path, **kwargs)
        try:
            return t.cast(Object, json.loads(answer.text))
        except ValueError as exc:
            raise KubeApiError("the answer is not JSON", answer.status, "", f"{method} {path}") from exc

    def raw(self, path: str, *, deadline: float | None = None) -> Response:
        """Get any path (``/readyz?verbose``, ``/version``); every status is an answer, only a missing one raises."""
        return self.request("GET", path, judge=False, deadline=deadline)

    def stream(self, path: str, *, query: t.Mapping[str, t.Any], timeout: float) -> t.Iterator[Object]:
        """Yield the events of a watch as they arrive, over a connection of its own, until the server ends it.

        :param timeout: seconds of silence after which the connection counts as lost (:class:`KubeApiError`, ``Unreachable``).
        """
        connection = _Connection(self._host, self._port, timeout, self._context, self._server_name)
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        what = f"WATCH {self.server}{path}"
        try:
            connection.request("GET", f"{path}?{urlencode({**query, 'watch': 'true'})}", headers=headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise _error_of(response.status, response.read().decode("utf-8", "replace"), what)
            for line in iter(response.readline, b""):
                yield json.loads(line)
        except (http.client.HTTPException, OSError, ValueError) as exc:
            raise KubeApiError(f"the watch ended: {exc or type(exc).__name__}", 0, "Unreachable", what) from exc
        finally:
            connection.close()

    # -- discovery --

    def resource(self, api_version: str, kind: str) -> Resource:
        """Return how the server serves a kind; asked once for each group and version."""
        with self._lock:
            known = self._discovery.get(api_version)
        if known is None or kind not in known:
            known = self._discover(api_version)
            with self._lock:
                self._discovery[api_version] = known
        if kind not in known:
            raise KubeApiError(
                f"the server does not serve kind '{kind}' of '{api_version}' (is its CRD installed?)",
                404,
                "UnknownKind",
            )
        return known[kind]

    def _discover(self, api_version: str, deadline: float | None = None) -> dict[str, Resource]:
        prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            listed = self._json("GET", prefix, deadline=deadline)
        except KubeApiError as exc:
            if exc.status == 404:
                return {}
            raise
        return {
            entry["kind"]: Resource(prefix, entry["name"], bool(entry["namespaced"]), tuple(entry.get("verbs") or ()))
            for entry in listed.get("resources") or []
            if "/" not in entry["name"]
        }

    def kinds(self, verbs: t.Iterable[str] = ()) -> Kinds:
        """Return ``(api version, kind)`` of all that the server serves with these verbs.

        Each kind once, in its group's preferred version when that has it. A group whose own server does not answer is
        left out.
        """
        found: dict[tuple[str, str], str] = {}
        for group in [CORE_GROUP, *(self._json("GET", "/apis").get("groups") or [])]:
            preferred = group["preferredVersion"]["groupVersion"]
            others = [entry["groupVersion"] for entry in group["versions"] if entry["groupVersion"] != preferred]
            for version in [preferred, *others]:
                try:
                    served = self._discover(version, deadline=0)
                except KubeApiError as exc:
                    if exc.status != 503:
                        raise
                    continue
                for kind, resource in served.items():
                    if set(verbs) <= set(resource.verbs):
                        found.setdefault((group["name"], kind), version)
        return [(version, kind) for (_group, kind), version in found.items()]

    def resource_path(self, obj: t.Mapping[str, t.Any], subresource: str = "") -> str:
        """Return the path of an object; one of a namespaced kind without a namespace is in ``default``."""
        meta = obj["metadata"]
        return self.resource(obj["apiVersion"], obj["kind"]).path(
            meta["name"], meta.get("namespace") or "default", subresource
        )

    # -- verbs --

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, or None when there is none of that name."""
        path = self.resource(api_version, kind).path(name, namespace or "default")
        try:
            return self._json("GET", path)
        except KubeApiError as exc:
            if exc.status == 404:
                return None
            raise

    def count(self, api_version: str, kind: str, namespace: str = "") -> int:
        """How many objects of a kind there are: one page of one object, whose list says how many remain."""
        path = self.resource(api_version, kind).path(namespace=namespace)
        page = self._json("GET", path, query={"limit": 1}, accept=METADATA_LIST)
        return len(page.get("items") or []) + int((page.get("metadata") or {}).get("remainingItemCount") or 0)

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> Objects:
        """Return all objects of a kind (of one namespace, or of all), fetched in pages; a snapshot that expires
        meanwhile is started anew.

        :param labels: label selector, for example ``app=x,tier!=y``.
        :param fields: field selector, for example ``spec.nodeName=x``.
        :param metadata_only: leave everything but the metadata out of the answer.
        """
        path = self.resource(api_version, kind).path(namespace=namespace)
        query = {"limit": PAGE_SIZE, "labelSelector": labels, "fieldSelector": fields}
        accept = METADATA_LIST if metadata_only else "application/json"
        items: Objects = []
        token = ""
        while True:
            try:
                page = self._json("GET", path, query={**query, "continue": token}, accept=accept)
            except KubeApiError as exc:
                if exc.status != 410 or not token:
                    raise
                items, token = [], ""
                continue
            items += [{**item, "apiVersion": api_version, "kind": kind} for item in page.get("items") or []]
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return items

    def apply(
        self,
        obj: Object,
        *,
        dry_run: bool = False,
        force: bool = True,
        field_manager: str = FIELD_MANAGER,
        subresource: str = "",
        deadline: float | None = None,
    ) -> Object:
        """Server-side apply: return the object as it is (or, with ``dry_run``, as it would be) afterwards."""
        query = {
            "fieldManager": field_manager,
            "force": "true" if force else "",
            "dryRun": "All" if dry_run else "",
            "fieldValidation": "Strict",
        }
        path = self.resource_path(obj, subresource)
        return self._json("PATCH", path, body=obj, content_type=PATCH_TYPES["apply"], query=query, deadline=deadline)

    def patch(
        self,
        obj: t.Mapping[str, t.Any],
        patch: t.Any,
        kind: str = "merge",
        *,
        dry_run: bool = False,
        subresource: str = "",
    ) -> Object:
        """Patch the object that ``obj`` names. ``kind``: ``merge``, ``json`` or ``strategic``."""
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All" if dry_run else ""}
        return self._json(
            "PATCH", self.resource_path(obj, subresource), body=patch, content_type=PATCH_TYPES[kind], query=query
        )

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Create an object; one that exists is a :class:`KubeApiError` of reason ``AlreadyExists``."""
        meta = obj["metadata"]
        path = self.resource(obj["apiVersion"], obj["kind"]).path(namespace=meta.get("namespace") or "default")
        return self._json(
            "POST", path, body=obj, query={"fieldManager": FIELD_MANAGER, "dryRun": "All" if dry_run else ""}
        )

    def replace(self, obj: Object, *, dry_run: bool = False, subresource: str = "") -> Object:
        """Replace an object (or its subresource, such as a request's ``approval``); its ``resourceVersion`` guards
        against a lost update.
        """
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All" if dry_run else ""}
        return self._json("PUT", self.resource_path(obj, subresource), body=obj, query=query)

    def delete(self, obj: t.Mapping[str, t.Any], *, propagation: str = "Background", dry_run: bool = False) -> bool:
        """Delete the object that ``obj`` names; return whether there was one."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if dry_run:
            body["dryRun"] = ["All"]  # type: ignore[assignment]
        try:
            self.request("DELETE", self.resource_path(obj), body=body)
        except KubeApiError as exc:
            if exc.status == 404:
                return False
            raise
        return True

    def ready(self, *, deadline: float = 0.0) -> bool:
        """Tell whether this apiserver says that it is ready to serve; an unreachable one is not."""
        try:
            return self.raw(READY_PATH, deadline=deadline).status == 200
        except KubeApiError:
            return False


# --- for modules


def api_argument_spec() -> dict[str, t.Any]:
    """The arguments by which every module that talks to the API says where it is."""
    return {
        "kubeconfig": {"type": "path", "default": ADMIN_KUBECONFIG},
        "api_server": {"type": "str", "default": ""},
        "tls_server_name": {"type": "str", "default": ""},
        "api_deadline_seconds": {"type": "int", "default": 60},
    }


def connect(params: t.Mapping[str, t.Any]) -> KubeApi:
    """Build the client from a module's arguments (:func:`api_argument_spec`)."""
    found = load_credentials(
        params["kubeconfig"], server=params["api_server"], tls_server_name=params["tls_server_name"]
    )
    return KubeApi(found, deadline=float(params["api_deadline_seconds"]))
