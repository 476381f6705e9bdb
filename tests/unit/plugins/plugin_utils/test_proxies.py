"""Proxies: forms, exceptions as Go and Python read them, and a real download through a proxy."""

from __future__ import annotations

import base64
import http.server
import ipaddress
import os
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.filter.proxies import FilterModule
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster_schema, proxies, proxy_rules
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.proxies import ProxyError

CLUSTER: dict[str, Any] = {
    "nodes": ["10.77.1.11", "10.77.1.12", "10.77.2.11", "fd00:77::11"],
    "pod_cidrs": ["10.244.0.0/16", "fd00:1::/104"],
    "service_cidrs": ["10.96.0.0/16"],
    "domain": "cluster.local",
    "endpoint": "api.example.org",
    "load_balancer_pools": [{"name": "a", "addresses": ["192.0.2.240-192.0.2.243", "198.51.100.0/28"]}],
    "registry": "http://10.77.3.20:5000",
    "own": [".corp.example.org", "10.0.0.0/8"],
}


@pytest.mark.parametrize(
    "url",
    ["", "http://proxy:3128", "http://10.0.0.1", "http://[fd00::1]:3128/", "http://user:p%40ss@proxy.example.org:3128"],
)
def test_proxies(url: str) -> None:
    assert proxies.url_problem(url) == ("", "")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://proxy:3128", "spoken to by https"),
        ("socks5://proxy:1080", "spoken to by socks5"),
        ("proxy:3128", "is not the URL of an HTTP proxy"),
        ("http://", "is not the URL of an HTTP proxy"),
        ("http://proxy:0", "more than a host and a port"),
        ("http://proxy:3128/path", "more than a host and a port"),
        ("http://proxy:lots", "its port is no number"),
        ("http://[fd00::1:3128", "a bracket is missing"),
        ('http://user:pa"ss@proxy:3128', "has to encode"),
        ("http://user:pa ss@proxy:3128", "has to encode"),
        ("http://user:pa$ss@proxy:3128", "has to encode"),
        ("http://proxy:3128\nEVIL=1", "has to encode"),
        ("http://user:pa/ss@proxy:3128", "its port is no number"),
    ],
)
def test_what_is_no_proxy(url: str, reason: str) -> None:
    found, fix = proxies.url_problem(url)
    assert reason in found
    assert "http://host:port" in fix
    with pytest.raises(ProxyError) as caught:
        proxies.environment(url, "", [])
    assert "ss@" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["http://u:p/q@h", "http://u:p@q@h", "http://u:p'q@h", 'http://u:p"q@h x://a:b@h', "http://u:p\nq@h"]
)
def test_nothing_of_a_password_is_shown(value: str) -> None:
    for shown in (
        proxies.redacted(value),
        cluster_schema.shown("x", value),
        cluster_schema.shown("x", [value, "http://y"]),
    ):
        assert "********@h" in shown
        assert not any(part in shown for part in ("u:p", "q@", "a:b"))


@pytest.mark.parametrize(
    "entry", ["localhost", ".example.org", "a.example.org", "10.0.0.1", "10.0.0.0/8", "fd00::/8", "::1", "node-1"]
)
def test_exceptions_of_ones_own(entry: str) -> None:
    assert proxies.entry_problem(entry) == ("", "")


@pytest.mark.parametrize(
    ("entry", "reason", "fix"),
    [
        ("*", "turns the proxies off", "remove the proxies"),
        ("*.example.org", "a pattern that Python does not know", "write .example.org"),
        ("http://a.example.org", "is a URL", "write a.example.org"),
        ("10.0.0.1-10.0.0.2", "is a range", "write 10.0.0.1/32, 10.0.0.2/32"),
        ("10.0.0.9-10.0.0.2", "is not a range", "write a name"),
        ("10.0.0.1/8", "behind its /8 mask", "write 10.0.0.0/8"),
        ("10.0.0.1:80", "is not an IPv4 or IPv6 address", "write a name"),
        ("10.0.0", "is not an IPv4 or IPv6 address", "write a name"),
        ("a b", "is not a name", "write a name"),
        ("", "is not a name", "write a name"),
        ("A.example.org", "is not a name", "write a name"),
        ("a,b", "is not a name", "write a name"),
    ],
)  # fmt: skip
def test_what_is_no_exception(entry: str, reason: str, fix: str) -> None:
    found = proxies.entry_problem(entry)
    assert reason in found[0]
    assert fix in found[1]


def test_what_of_a_cluster_goes_directly() -> None:
    found = proxies.exceptions(CLUSTER)
    assert found == [
        "localhost", "127.0.0.0/8", "127.0.0.1", "::1", ".svc", ".cluster.local",
        "10.244.0.0/16", "10.77.1.0/24", "10.77.2.0/24", "10.96.0.0/16", "192.0.2.240/30", "198.51.100.0/28", "fd00:1::/104", "fd00:77::/64",
        "10.77.3.20", "api.example.org", ".corp.example.org", "10.0.0.0/8",
    ]  # fmt: skip
    assert all(proxies.entry_problem(entry) == ("", "") for entry in found)


def test_a_new_node_in_a_rack_changes_nothing() -> None:
    """Another text would restart containerd on every node."""
    more = {**CLUSTER, "nodes": ["10.77.1.99", *reversed(CLUSTER["nodes"])]}
    assert proxies.exceptions(more) == proxies.exceptions(CLUSTER)


def test_nothing_but_the_machine_itself_without_a_cluster() -> None:
    assert proxies.exceptions({}) == [*proxies.LOCAL, ".svc"]


@pytest.mark.parametrize("wrong", [{"own": ["*"]}, {"nodes": ["node1"]}, {"pod_cidrs": ["10.0.0.1/8"]}])
def test_what_cannot_be_an_exception_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProxyError):
        proxies.exceptions({**CLUSTER, **wrong})
    with pytest.raises(Exception, match="proxy_exceptions: "):
        FilterModule().filters()["proxy_exceptions"]({**CLUSTER, **wrong})


@given(st.ip_addresses(v=4), st.integers(8, 32))
def test_an_address_in_a_network_goes_directly(address: ipaddress.IPv4Address, length: int) -> None:
    network = ipaddress.ip_network(f"10.32.0.0/{length}", strict=False)
    assert proxies.bypassed(str(address), [str(network)]) == (address in network)
    assert proxies.bypassed(str(network.broadcast_address), [str(network)])


@pytest.mark.parametrize(
    ("host", "entry", "expected"),
    [
        ("a.example.org", "example.org", True),
        ("example.org", "example.org", True),
        ("example.org", ".example.org", False),
        ("a.example.org", ".example.org", True),
        ("badexample.org", "example.org", False),
        ("A.Example.org.", "a.example.org", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.10", False),
        ("fd00::1", "fd00::/8", True),
    ],
)
def test_bypassed_as_go_reads_it(host: str, entry: str, expected: bool) -> None:
    assert proxies.bypassed(host, [entry]) is expected
    if "/" not in entry and not entry.startswith("."):
        variables = {"no": entry}
        assert bool(urllib.request.proxy_bypass_environment(host.rstrip(".").lower(), variables)) is expected, (
            "and Python"
        )


def test_the_environment() -> None:
    assert proxies.environment("", "", ["x"]) == {}
    found = proxies.environment(
        "http://p:1", "", ["10.0.0.0/8"], ["http://10.1.2.3:80/debian", "https://dl.example.org"]
    )
    assert found == {"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8,10.1.2.3"}, "Python reads no networks"
    assert FilterModule().filters()["proxy_environment"](["x"], "http://p:1", "http://q:2") == {
        "HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:2", "NO_PROXY": "x",
    }  # fmt: skip


def test_passwords_do_not_come_back_in_others_words() -> None:
    values = {"http_proxy": "http://me:p%40ss@proxy:3128", "source": "build", "no_proxy": ["x"]}
    words = "proxyconnect http://me:p%40ss@proxy:3128: user me with p@ss refused"
    assert (
        proxies.without_passwords(words, values)
        == "proxyconnect http://********@proxy:3128: user me with ******** refused"
    )
    assert proxies.without_passwords(words, {"a": "http://proxy:3128"}) == words


def test_the_rules_are_documented_by_their_names() -> None:
    assert set(proxy_rules.RULES) == {"proxies_can_be_reached", "proxies_spare_the_cluster"}


# --- a real proxy


class Proxy(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Proxy-Authorization", "")))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"through the proxy")

    def log_message(self, *_words: Any) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    handler = type("Handler", (Proxy,), {"seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://me:p%40ss@127.0.0.1:{server.server_address[1]}", handler.seen
    server.shutdown()
    thread.join()
    server.server_close()


def test_downloads_take_the_proxy_and_no_other(
    proxy: tuple[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = proxy
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    before = dict(os.environ)
    direct = f"{url.replace('me:p%40ss@', '')}/direct"
    with proxies.applied(proxies.environment(url, url, ["127.0.0.0/8"], [direct])):
        assert "ALL_PROXY" not in os.environ
        # An opener of its own, as downloads have: urllib keeps its first one, with the proxies of that time.
        opener = urllib.request.build_opener()
        with opener.open("http://files.example.invalid/kubelet", timeout=10) as answer:
            assert answer.read() == b"through the proxy"
        with opener.open(direct, timeout=10) as answer:
            answer.read()
    assert seen[0] == ("http://files.example.invalid/kubelet", f"Basic {base64.b64encode(b'me:p@ss').decode()}")
    assert seen[1] == ("/direct", ""), "excepted by its network"
    assert dict(os.environ) == before
    with proxies.applied({}):
        assert dict(os.environ) == before
