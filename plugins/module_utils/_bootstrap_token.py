# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bootstrap tokens: the Secret that holds one, and the hash by which a joining node knows the cluster's CA. Pure but for the random generator.

The Secret's form is kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens; the hash is kubeadm's pin, SHA-256 of the CA's public key in DER.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import re
import secrets
import ssl
import typing as t

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH, SECRET_LENGTH = 6, 16
TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
SECRET_TYPE = "bootstrap.kubernetes.io/token"
JOIN_GROUP = "system:bootstrappers:kubeadm:default-node-token"
DESCRIPTION = "Made by bare_metal.kubernetes for one run."


class BootstrapTokenError(Exception):
    """A token or a CA that cannot be used; never names the token's secret."""


def new_token() -> str:
    """A token from the operating system's random source."""
    return ".".join(
        "".join(secrets.choice(ALPHABET) for _position in range(length)) for length in (ID_LENGTH, SECRET_LENGTH)
    )


def token_id(token: str) -> str:
    """The public half of a token."""
    found = TOKEN.fullmatch(token)
    if not found:
        raise BootstrapTokenError("the token is not of the form <6 characters>.<16 characters>")
    return found.group(1)


def reference(identifier: str) -> dict[str, t.Any]:
    """The Secret of a token, by name only."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{identifier}", "namespace": "kube-system"},
    }


def secret_of(token: str, now: datetime.datetime, minutes: int) -> dict[str, t.Any]:
    """The Secret that makes a token valid for so many minutes from ``now`` (UTC)."""
    identifier = token_id(token)
    expires = (now + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        **reference(identifier),
        "type": SECRET_TYPE,
        "stringData": {
            "description": DESCRIPTION,
            "token-id": identifier,
            "token-secret": token.partition(".")[2],
            "expiration": expires,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": JOIN_GROUP,
        },
    }


def ours(secret: t.Mapping[str, t.Any]) -> bool:
    """Whether a Secret is a token that this collection made."""
    try:
        return (
            base64.b64decode((secret.get("data") or {}).get("description", ""), validate=True).decode() == DESCRIPTION
        )
    except (binascii.Error, UnicodeDecodeError):
        return False


# --- the CA's pin


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start of the content and end of the DER element at ``at``."""
    tag, first = data[at], data[at + 1]
    if first < 0x80:
        start, length = at + 2, first
    else:
        count = first & 0x7F
        start, length = at + 2 + count, int.from_bytes(data[at + 2 : at + 2 + count], "big")
    if start + length > len(data):
        raise IndexError("the element is cut off")
    return tag, start, start + length


def public_key_info(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate in DER (RFC 5280, 4.1): the element after version, serial, signature, issuer, validity and subject."""
    try:
        _tag, at, _end = _element(certificate, 0)
        _tag, at, _end = _element(certificate, at)
        has_version = _element(certificate, at)[0] == 0xA0
        for _field in range(6 if has_version else 5):
            at = _element(certificate, at)[2]
        tag, _start, end = _element(certificate, at)
    except IndexError as exc:
        raise BootstrapTokenError("the CA's certificate is cut off") from exc
    if tag != 0x30:
        raise BootstrapTokenError("the CA's certificate has an unknown form")
    return certificate[at:end]


def ca_cert_hash(pem: str) -> str:
    """``sha256:<hex>`` of the first certificate in a PEM text, as kubeadm pins it."""
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.S)
    if not found:
        raise BootstrapTokenError("the CA's file holds no certificate")
    try:
        der = ssl.PEM_cert_to_DER_cert(found.group(0))
    except ValueError as exc:
        raise BootstrapTokenError("the CA's certificate is not PEM") from exc
    return "sha256:" + hashlib.sha256(public_key_info(der)).hexdigest()
