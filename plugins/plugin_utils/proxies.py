# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxies: what a URL and an exception may look like, what of a cluster must never go through one, and the environment that says so.

Pure but for :func:`applied`. Two readers have to understand the same text: Go (containerd, ``golang.org/x/net/http/httpproxy``: names with all below
them, addresses, networks, ports) and Python (the downloads of the controller, ``urllib.request.proxy_bypass_environment``: names and addresses, no
networks). So entries have the forms that both read alike, and :func:`environment` adds the addresses that Python would not find in a network.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.addresses import AddressError, Span

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
# The machine itself, under every name; Go leaves it alone anyway, Python does not.
LOCAL = ("localhost", "127.0.0.0/8", "127.0.0.1", "::1")
# Services are `<name>.<namespace>.svc`, with or without the cluster's domain.
SERVICES = ".svc"
# Nodes are excepted with their neighbours: a new node in a rack must not mean another text, and a restart of containerd, on every other node.
NEIGHBOURS = {4: 24, 6: 64}
NAME = re.compile(r"\.?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
UNSAFE = re.compile(
    r"[^!#%&()*+,./0-9:;=?@A-Z\[\]_a-z~-]"
)  # of printable ASCII, what neither a URL nor systemd's EnvironmentFile takes as it is


class ProxyError(ValueError):
    """A proxy or an exception that cannot be used. The message does not repeat the value, which may have a password in it."""


def redacted(value: str) -> str:
    """A text without what stands between ``://`` and the last ``@``: more rather than less is hidden."""
    return re.sub(r"(://).*@", r"\1********@", value, flags=re.DOTALL)


def url_problem(value: str) -> tuple[str, str]:
    """Why a text is no proxy's URL, and what to write; two empty texts when it is one, or empty."""
    fix = "write http://host:port, or http://user:password@host:port with %40 and the like for special characters"
    if value == "":
        return "", ""
    if UNSAFE.search(value):
        return "has characters that a URL has to encode", fix
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return "is not a URL: its port is no number, or a bracket is missing", fix
    if parts.scheme in ("https", "socks4", "socks5", "socks5h"):
        # urllib speaks to a proxy in the clear, CONNECT for https; containerd could more, and one value serves both.
        return (
            f"is a proxy that is spoken to by {parts.scheme}; downloads on the controller speak HTTP to it, whatever is fetched through it",
            fix,
        )
    if parts.scheme != "http" or not parts.hostname:
        return "is not the URL of an HTTP proxy", fix
    if port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment:
        return "has more than a host and a port", fix
    return "", ""


def entry_problem(value: str) -> tuple[str, str]:
    """Why a text is no exception that Go and Python read alike, and what to write instead."""
    fix = "write a name (registry.example.org), .example.org for all names below, an address or a network"
    if value == "*":
        return "turns the proxies off for everything", "remove the proxies"
    if "://" in value:
        return (
            "is a URL, an exception is a host",
            f"write {urlsplit(value).hostname or 'the host'}" if not UNSAFE.search(value) else fix,
        )
    if value.startswith("*."):
        return "is a pattern that Python does not know", f"write {value[1:]}"
    if "-" in value and re.fullmatch(r"[0-9a-fA-F.:]+\s*-\s*[0-9a-fA-F.:]+", value):
        try:
            return (
                "is a range, which neither Go nor Python knows",
                f"write {', '.join(addresses.networks_of(addresses.network_or_range(value)))}",
            )
        except AddressError:
            return "is not a range of addresses", fix
    if re.search(r"[/:]", value) or re.fullmatch(r"[0-9.]+", value):
        try:
            addresses.network(value) if "/" in value else addresses.address(value)
        except AddressError as error:
            return error.reason, error.fix or fix
        return "", ""
    return ("", "") if NAME.fullmatch(value) and len(value) <= 253 else ("is not a name, an address or a network", fix)


def host_of(url: str) -> tuple[str, int]:
    """Host and port of a URL; an empty host when it has none."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)
    except ValueError:
        return "", 0


def _span(value: str) -> Span | None:
    try:
        return addresses.network(value) if "/" in value else addresses.address(value)
    except AddressError:
        return None


def bypassed(host: str, entries: Iterable[str]) -> bool:
    """Does a request to ``host`` (a name or an address) go directly, by Go's reading of the exceptions?"""
    name = host.lower().rstrip(".")
    own = _span(name)
    for entry in entries:
        span = _span(entry)
        if own and span and span.contains(own):
            return True
        if (
            not own
            and not span
            and ((name == entry.lstrip(".") and not entry.startswith(".")) or name.endswith(f".{entry.lstrip('.')}"))
        ):
            return True
    return False


def _neighbourhood(text: str) -> str:
    span = addresses.address(text)
    bits = addresses.BITS[span.family] - NEIGHBOURS[span.family]
    return addresses.networks_of(
        Span(span.family, span.first >> bits << bits, (span.first >> bits << bits) + (1 << bits) - 1)
    )[0]


def exceptions(cluster: Mapping[str, Any]) -> list[str]:
    """What of a cluster goes directly, in an order that does not depend on the inventory's.

    :param cluster: ``nodes`` (addresses), ``pod_cidrs``, ``service_cidrs``, ``domain``, ``endpoint`` (address or name), ``load_balancer_pools`` (as the
        variable), ``registry`` (URL or empty) and ``own``, the inventory's further entries.
    :raises ProxyError: a value that cannot be used; ``validate_cluster`` says where it comes from.
    """
    try:
        networks = {_neighbourhood(str(node)) for node in cluster.get("nodes") or ()}
        for cidr in (*(cluster.get("pod_cidrs") or ()), *(cluster.get("service_cidrs") or ())):
            networks.add(addresses.network(str(cidr)).text)
        for pool in cluster.get("load_balancer_pools") or ():
            for text in pool["addresses"]:
                networks |= set(addresses.networks_of(addresses.network_or_range(str(text))))
    except AddressError as error:
        raise ProxyError(f"an address of the cluster {error.reason}") from error
    hosts = {str(cluster.get("endpoint") or ""), host_of(str(cluster.get("registry") or ""))[0]}
    own = [str(entry) for entry in cluster.get("own") or ()]
    for entry in own:
        reason, fix = entry_problem(entry)
        if reason:
            raise ProxyError(f"cluster_no_proxy has an entry that {reason}; {fix}")
    domain = str(cluster.get("domain") or "")
    names = [*LOCAL, SERVICES, *([f".{domain}"] if domain else [])]
    found = [*names, *sorted(networks), *sorted(hosts - {""}), *own]
    return list(dict.fromkeys(found))


def environment(http: str, https: str, entries: Sequence[str], asked: Iterable[str] = ()) -> dict[str, str]:
    """The variables of a process; empty without a proxy.

    :param asked: URLs that the process will ask for: their hosts are named when a network among the entries excepts them, for Python.
    :raises ProxyError: a URL that is no proxy's.
    """
    if not http and not https:
        return {}
    for name, value in (("cluster_http_proxy", http), ("cluster_https_proxy", https)):
        reason, fix = url_problem(value)
        if reason:
            raise ProxyError(f"{name} {reason}; {fix}")
    named = [host for url in asked if (host := host_of(url)[0]) and bypassed(host, entries)]
    values = zip(NAMES, (http, https, ",".join(dict.fromkeys([*entries, *named]))), strict=True)
    return {name: value for name, value in values if value}


def without_passwords(text: str, values: Mapping[str, Any]) -> str:
    """A text of others without the user and password of any URL among ``values``, however it is written there."""
    for value in values.values():
        user, at, _host = value.partition("://")[2].rpartition("@") if isinstance(value, str) else ("", "", "")
        if at:
            for part in sorted(
                {user, unquote(user), user.partition(":")[2], unquote(user.partition(":")[2])}, key=len, reverse=True
            ):
                text = text.replace(part, "********") if part else text
    return text


@contextlib.contextmanager
def applied(variables: Mapping[str, str]) -> Iterator[None]:
    """Have this process, and what it starts meanwhile, use these proxies and no others. Without variables its own environment stands.

    A task's worker is a process of its own, so no other task sees it.
    """
    if not variables:
        yield
        return
    kept = {name: value for name, value in os.environ.items() if name.upper() in (*NAMES, "ALL_PROXY")}
    for name in kept:
        del os.environ[name]
    # Go reads the names in capitals, apt and mmdebstrap those without, Python both.
    os.environ.update({**variables, **{name.lower(): value for name, value in variables.items()}})
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
            os.environ.pop(name.lower(), None)
        os.environ.update(kept)
