"""The API client against a real TLS server on loopback."""

from __future__ import annotations

import base64
import json
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kube_api as api

sys.path.insert(0, str(Path(__file__).parent))
from kube_server import Server

CORE = {
    "resources": [
        {"name": "pods", "kind": "Pod", "namespaced": True},
        {"name": "pods/status", "kind": "Pod", "namespaced": True},
        {"name": "nodes", "kind": "Node", "namespaced": False},
    ]
}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "n"}}

CLIENTS: list[api.KubeApi] = []


class Script:
    """Answers discovery by itself and everything else from a list."""

    def __init__(self, *answers: t.Any) -> None:
        self.answers = list(answers)

    def __call__(self, _method: str, path: str, _body: t.Any) -> t.Any:
        if path == "/api/v1":
            return 200, CORE
        return self.answers.pop(0)


@pytest.fixture()
def serve(tmp_path: Path) -> t.Iterator[t.Callable[..., Server]]:
    servers: list[Server] = []

    def start(*answers: t.Any, **kwargs: t.Any) -> Server:
        servers.append(Server(tmp_path, Script(*answers), **kwargs))
        return servers[-1]

    yield start
    while CLIENTS:
        CLIENTS.pop().close()
    for server in servers:
        server.close()


def client(server: Server, *, deadline: float = 0.0, **changes: t.Any) -> api.KubeApi:
    certificate, key = server.authority.leaf("tester")
    values = {"server": server.url, "ca": server.authority.pem, "certificate": certificate, "key": key, **changes}
    CLIENTS.append(api.KubeApi(api.Credentials(**values), timeout=5, deadline=deadline))
    return CLIENTS[-1]


def status(code: int, reason: str, message: str = "no") -> tuple[int, dict[str, t.Any]]:
    return code, {"kind": "Status", "reason": reason, "message": message, "code": code}


def test_get_uses_one_connection_and_the_client_certificate(serve: t.Callable[..., Server]) -> None:
    server = serve((200, POD), (200, POD))
    kube = client(server)
    assert kube.get("v1", "Pod", "a", "n") == POD
    assert kube.get("v1", "Pod", "a", "n") == POD
    assert [request[1] for request in server.requests] == ["/api/v1"] + ["/api/v1/namespaces/n/pods/a"] * 2
    assert server.connections == 1
    assert server.peers[0]["subject"] == ((("commonName", "tester"),),)


def test_an_object_that_is_not_there_is_none_and_an_unknown_kind_an_error(serve: t.Callable[..., Server]) -> None:
    kube = client(serve(status(404, "NotFound")))
    assert kube.get("v1", "Node", "a") is None
    with pytest.raises(api.KubeApiError, match="does not serve kind 'Gadget'") as caught:
        kube.get("v1", "Gadget", "a")
    assert caught.value.reason == "UnknownKind"


def test_a_connection_that_the_server_closed_is_opened_again(serve: t.Callable[..., Server]) -> None:
    server = serve((200, POD), (200, POD))
    server.hang_up = True
    kube = client(server)
    assert kube.get("v1", "Pod", "a", "n") == POD
    assert kube.get("v1", "Pod", "a", "n") == POD


def test_apply_sends_a_forced_strict_patch_and_dry_run_says_so(serve: t.Callable[..., Server]) -> None:
    server = serve((200, POD), (200, POD))
    kube = client(server)
    kube.apply(POD, dry_run=True)
    method, path, body = server.requests[-1]
    assert (method, body) == ("PATCH", POD)
    assert path == (
        "/api/v1/namespaces/n/pods/a?fieldManager=bare-metal-kubernetes&force=true&dryRun=All&fieldValidation=Strict"
    )
    assert server.headers["Content-Type"] == "application/apply-patch+yaml"
    kube.apply(POD)
    assert "dryRun" not in server.requests[-1][1]


@pytest.mark.parametrize(
    ("method", "answer", "tries"),
    [
        ("GET", status(429, "TooManyRequests"), 2),
        ("GET", status(500, "InternalError"), 2),
        ("GET", status(503, "ServiceUnavailable"), 2),
        ("POST", status(503, "ServiceUnavailable"), 2),
        ("POST", status(500, "InternalError"), 1),
        ("GET", status(403, "Forbidden"), 2),
        ("PATCH", status(409, "Conflict"), 1),
    ],
)
def test_only_what_may_pass_is_tried_again(
    serve: t.Callable[..., Server], method: str, answer: t.Any, tries: int
) -> None:
    server = serve(answer, (200, {"ok": True}))
    kube = client(server, deadline=5)
    if tries == 2:
        assert json.loads(kube.request(method, "/x").text) == {"ok": True}
    else:
        with pytest.raises(api.KubeApiError) as caught:
            kube.request(method, "/x")
        assert (caught.value.status, caught.value.reason) == (answer[0], answer[1]["reason"])
    assert len(server.requests) == tries


def test_a_starting_apiserver_denies_until_it_is_ready_and_then_for_good(serve: t.Callable[..., Server]) -> None:
    denial = status(403, "Forbidden")
    kube = client(serve(denial, denial, (500, "starting"), denial, (200, "ok")), deadline=5)
    with pytest.raises(api.KubeApiError, match="no") as caught:
        kube.request("GET", "/x")
    assert caught.value.status == 403


def test_a_refused_connection_is_unreachable_after_the_deadline(serve: t.Callable[..., Server]) -> None:
    server = serve()
    kube = client(server, deadline=0.5)
    server.close()
    with pytest.raises(api.KubeApiError, match="no answer") as caught:
        kube.request("GET", "/x")
    assert caught.value.unreachable
    assert kube.ready() is False


def test_raw_judges_nothing(serve: t.Callable[..., Server]) -> None:
    kube = client(serve((500, "[-]etcd failed"), (500, "x"), (200, "ok")))
    assert kube.raw("/readyz?verbose") == api.Response(500, "[-]etcd failed")
    assert kube.ready() is False
    assert kube.ready() is True


def test_a_certificate_for_another_name_is_refused_unless_the_name_is_given(serve: t.Callable[..., Server]) -> None:
    server = serve((200, POD), ips=(), names=("kubernetes",))
    with pytest.raises(api.KubeApiError, match="certificate is not valid for it"):
        client(server, deadline=5).request("GET", "/x")
    assert client(server, tls_server_name="kubernetes").request("GET", "/x").status == 200


def test_lists_are_fetched_in_pages_and_started_anew_when_the_snapshot_expired(serve: t.Callable[..., Server]) -> None:
    first = 200, {"metadata": {"continue": "t"}, "items": [{"metadata": {"name": "a"}}]}
    last = 200, {"metadata": {}, "items": [{"metadata": {"name": "b"}}]}
    server = serve(first, status(410, "Expired"), first, last)
    found = client(server).list("v1", "Pod", labels="app=x")
    assert [item["metadata"]["name"] for item in found] == ["a", "b"]
    assert {(item["apiVersion"], item["kind"]) for item in found} == {("v1", "Pod")}
    assert server.requests[1][1] == "/api/v1/pods?limit=500&labelSelector=app%3Dx"
    assert server.requests[-1][1].endswith("&continue=t")


def test_objects_are_counted_without_fetching_them(serve: t.Callable[..., Server]) -> None:
    one = {"items": [{"metadata": {"name": "a"}}]}
    server = serve(
        (200, {"metadata": {"continue": "t", "remainingItemCount": 24999}, **one}),
        (200, {"metadata": {}, **one}),
        (200, {"metadata": {}}),
    )
    kube = client(server)
    assert [kube.count("v1", "Pod", "x") for number in range(3)] == [25000, 1, 0]
    asked = {path for _method, path, _body in server.requests}
    assert asked == {"/api/v1", "/api/v1/namespaces/x/pods?limit=1"}


def test_delete_tells_whether_there_was_one(serve: t.Callable[..., Server]) -> None:
    server = serve((200, {}), status(404, "NotFound"))
    kube = client(server)
    assert kube.delete(POD) is True
    assert server.requests[-1][2]["propagationPolicy"] == "Background"
    assert kube.delete(POD) is False


def kubeconfig(**user: t.Any) -> dict[str, t.Any]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://a:6443", "certificate-authority-data": "Q0E="}}],
        "users": [{"name": "u", "user": user}],
    }


def test_credentials_come_from_data_or_from_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("KEY")
    user = {"client-certificate-data": base64.b64encode(b"CERT").decode(), "client-key": str(tmp_path / "key")}
    found = api.credentials_of(kubeconfig(**user))
    assert (found.server, found.ca, found.certificate, found.key) == ("https://a:6443", b"CA", b"CERT", b"KEY")
    assert "KEY" not in repr(found)
    (tmp_path / "config").write_text(json.dumps(kubeconfig(token="T")))
    loaded = api.load_credentials(str(tmp_path / "config"), server="https://b:6443", tls_server_name="kubernetes")
    assert (loaded.server, loaded.token, loaded.tls_server_name) == ("https://b:6443", "T", "kubernetes")
    assert "'T'" not in repr(loaded)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({**kubeconfig(), "current-context": "other"}, "no entry 'other' in 'contexts'"),
        (kubeconfig(exec={"command": "x"}), "only certificates and tokens"),
        (kubeconfig(**{"client-key-data": "%%"}), "'client-key-data' is not base64"),
        (kubeconfig(**{"client-key": "/nonexistent"}), "'client-key' cannot be read"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(document: dict[str, t.Any], words: str) -> None:
    with pytest.raises(api.KubeApiError, match=words) as caught:
        api.credentials_of(document)
    assert caught.value.reason == "Credentials"


def test_key_material_leaves_no_file(serve: t.Callable[..., Server], tmp_path: Path, monkeypatch: t.Any) -> None:
    server = serve((200, POD))
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert client(server).request("GET", "/x").status == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == before
