# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate requests of kubelets for their serving certificates: read them, judge them, see what a kubelet serves.

Kubernetes approves none of these by itself, because only an administrator knows which names and addresses a node may
claim
(kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests, signer
``kubernetes.io/kubelet-serving``).
The requests are PKCS#10 (RFC 2986) in DER; the few fields that matter are read here, as the standard library cannot.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import socket
import ssl
import typing as t
from dataclasses import dataclass

SIGNER = "kubernetes.io/kubelet-serving"
API_VERSION = "certificates.k8s.io/v1"
KIND = "CertificateSigningRequest"
USER_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
# What the signer accepts.
ALLOWED_USAGES = frozenset({"digital signature", "key encipherment", "server auth"})
KUBELET_PORT = 10250

_COMMON_NAME, _ORGANIZATION = "2.5.4.3", "2.5.4.10"
_EXTENSION_REQUEST, _SUBJECT_ALT_NAME = "1.2.840.113549.1.9.14", "2.5.29.17"
_SEQUENCE, _SET, _OID, _OCTETS = 0x30, 0x31, 0x06, 0x04
_ATTRIBUTES = 0xA0
_SAN_DNS, _SAN_IP = 0x82, 0x87

Object = dict[str, t.Any]


class CsrError(Exception):
    """Bytes that are no certificate request."""


@dataclass(frozen=True)
class Request:
    """The fields of a certificate request that matter here. ``others``: alternative names of other kinds (mail, URI,
    ...).
    """

    common_names: tuple[str, ...]
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    others: int = 0


# --- DER


def _elements(data: bytes) -> t.Iterator[tuple[int, bytes]]:
    """Yield ``(tag, content)`` of the DER elements that follow each other in ``data``."""
    position = 0
    while position < len(data):
        if position + 2 > len(data):
            raise CsrError("it ends in the middle of an element")
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or position + size > len(data):
                raise CsrError("an element has no valid length")
            length = int.from_bytes(data[position : position + size], "big")
            position += size
        if position + length > len(data):
            raise CsrError("an element is longer than what is there")
        yield tag, data[position : position + length]
        position += length


def _one(data: bytes, tag: int) -> bytes:
    for found, content in _elements(data):
        if found != tag:
            raise CsrError(f"an element has tag {found:#04x} instead of {tag:#04x}")
        return content
    raise CsrError("an element is missing")


def _oid(content: bytes) -> str:
    numbers, value = [], 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        raise CsrError("an object identifier is empty")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _subject(content: bytes) -> t.Iterator[tuple[str, str]]:
    for _set_tag, names in _elements(content):
        for _sequence_tag, pair in _elements(names):
            (_oid_tag, oid), (_text_tag, text) = list(_elements(pair))[:2]
            yield _oid(oid), text.decode("utf-8", "replace")


def _alternative_names(extensions: bytes) -> t.Iterator[tuple[int, bytes]]:
    for _tag, extension in _elements(_one(extensions, _SEQUENCE)):
        parts = list(_elements(extension))
        if parts and parts[0][0] == _OID and _oid(parts[0][1]) == _SUBJECT_ALT_NAME:
            value = next((content for tag, content in parts if tag == _OCTETS), b"")
            yield from _elements(_one(value, _SEQUENCE))


def parse_request(pem: str) -> Request:
    """Read a PEM certificate request.

    :raises CsrError: it is none.
    """
    found = re.search(r"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----(.+?)-----END", pem, re.DOTALL)
    if not found:
        raise CsrError("it is not a PEM certificate request")
    try:
        der = base64.b64decode("".join(found.group(1).split()), validate=True)
    except binascii.Error as exc:
        raise CsrError("its PEM is not base64") from exc
    info = list(_elements(_one(_one(der, _SEQUENCE), _SEQUENCE)))
    if len(info) < 3:
        raise CsrError("it has no subject")
    try:
        subject = list(_subject(info[1][1]))
    except ValueError as exc:
        raise CsrError("its subject cannot be read") from exc
    names: list[tuple[int, bytes]] = []
    for tag, content in info[3:]:
        if tag != _ATTRIBUTES:
            continue
        for _tag, attribute in _elements(content):
            parts = list(_elements(attribute))
            if len(parts) == 2 and _oid(parts[0][1]) == _EXTENSION_REQUEST:
                names += _alternative_names(parts[1][1])
    try:
        addresses = tuple(str(ipaddress.ip_address(content)) for tag, content in names if tag == _SAN_IP)
    except ValueError as exc:
        raise CsrError("an address among its names is not one") from exc
    return Request(
        tuple(text for oid, text in subject if oid == _COMMON_NAME),
        tuple(text for oid, text in subject if oid == _ORGANIZATION),
        tuple(content.decode("ascii", "replace") for tag, content in names if tag == _SAN_DNS),
        addresses,
        sum(tag not in (_SAN_DNS, _SAN_IP) for tag, _content in names),
    )


# --- judgement


@dataclass(frozen=True)
class Verdict:
    """What is to be done with one pending request. ``node`` is who asks; ``reasons`` why it is refused (empty:
    approved).
    """

    request: str
    node: str
    known: bool
    reasons: tuple[str, ...]

    @property
    def approved(self) -> bool:
        return self.known and not self.reasons


def pending(requests: t.Iterable[Object]) -> list[Object]:
    """Choose the requests for kubelet serving certificates that nobody has judged yet, oldest first."""
    found = [
        entry
        for entry in requests
        if (entry.get("spec") or {}).get("signerName") == SIGNER and not (entry.get("status") or {}).get("conditions")
    ]
    return sorted(
        found, key=lambda entry: (entry["metadata"].get("creationTimestamp") or "", entry["metadata"]["name"])
    )


def _canonical(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""


def judge(entry: Object, nodes: t.Mapping[str, t.Sequence[str]]) -> Verdict:
    """Judge one pending request.

    :param nodes: by name, the addresses and further host names that a node may claim; its own name is always allowed.
    """
    name, spec = entry["metadata"]["name"], entry["spec"]
    user = str(spec.get("username", ""))
    node = user[len(USER_PREFIX) :] if user.startswith(USER_PREFIX) else ""
    if node not in nodes:
        return Verdict(name, node or user, False, (f"'{node or user}' is no node of this cluster's inventory",))
    allowed_addresses = {_canonical(value) for value in nodes[node]} - {""}
    allowed_names = {node.lower(), *(value.lower() for value in nodes[node] if not _canonical(value))}
    try:
        asked = parse_request(base64.b64decode(spec.get("request") or "").decode("ascii", "replace"))
    except (CsrError, binascii.Error) as exc:
        return Verdict(name, node, True, (f"it cannot be read: {exc}",))
    strange_names = [value for value in asked.dns_names if value.lower() not in allowed_names]
    strange_addresses = [value for value in asked.addresses if value not in allowed_addresses]
    usages = set(spec.get("usages") or [])
    checks = (
        (NODES_GROUP not in (spec.get("groups") or []), f"its user is not in group {NODES_GROUP}"),
        (asked.common_names != (user,), f"its subject is {', '.join(asked.common_names) or 'empty'}, not {user}"),
        (asked.organizations != (NODES_GROUP,), f"its organization is not {NODES_GROUP}"),
        (not asked.dns_names and not asked.addresses, "it has neither a name nor an address"),
        (asked.others > 0, "it has names that are neither host names nor addresses"),
        (
            bool(strange_names),
            f"it claims the names {', '.join(strange_names)}; allowed: {', '.join(sorted(allowed_names))}",
        ),
        (
            bool(strange_addresses),
            f"it claims the addresses {', '.join(strange_addresses)}; allowed: {', '.join(sorted(allowed_addresses)) or 'none'}",
        ),
        (
            "server auth" not in usages or not usages <= ALLOWED_USAGES,
            f"its usages are {', '.join(sorted(usages)) or 'none'}",
        ),
    )
    return Verdict(name, node, True, tuple(words for wrong, words in checks if wrong))


def approval(entry: Object) -> Object:
    """Return the request with our approval among its conditions, to be put to its ``approval`` subresource."""
    condition = {
        "type": "Approved",
        "status": "True",
        "reason": "InventoryMatch",
        "message": "names and addresses are those of the node in the inventory",
    }
    status = dict(entry.get("status") or {})
    status["conditions"] = [*(status.get("conditions") or []), condition]
    return {**entry, "apiVersion": API_VERSION, "kind": KIND, "status": status}


# --- what a kubelet serves


def serving_problem(address: str, authority: bytes, *, port: int = KUBELET_PORT, timeout: float = 3.0) -> str:
    """Say why a kubelet's certificate is not one that the cluster's CA signed for its address; empty: it is one."""
    context = ssl.create_default_context(cadata=authority.decode("ascii"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with (
            socket.create_connection((address, port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=address),
        ):
            return ""
    except ssl.SSLCertVerificationError as exc:
        return f"its certificate is not the cluster's: {exc.verify_message}"
    except ssl.SSLError as exc:
        # With TLS 1.2 a kubelet that wants a client certificate ends the handshake after its own was accepted.
        return "" if "CERTIFICATE_REQUIRED" in str(exc).upper() else f"TLS fails: {exc.reason or exc}"
    except OSError as exc:
        return f"it does not answer at {address}:{port}: {exc}"
