"""Tokens of the documented form, Secrets that expire, and kubeadm's pin of the CA."""

from __future__ import annotations

import base64
import datetime
import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _bootstrap_token as core

sys.path.insert(0, str(Path(__file__).parent))
from kube_server import Authority

NOW = datetime.datetime(2026, 1, 2, 23, 50, tzinfo=datetime.UTC)
TOKEN = "abcdef.0123456789abcdef"


def test_new_tokens_are_of_the_form_and_never_the_same() -> None:
    made = {core.new_token() for _number in range(50)}
    assert len(made) == 50 and all(core.TOKEN.fullmatch(token) for token in made)


def test_secret() -> None:
    secret = core.secret_of(TOKEN, NOW, 15)
    assert secret["metadata"] == {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
    assert secret["stringData"]["expiration"] == "2026-01-03T00:05:00Z"
    assert secret["stringData"]["token-secret"] == "0123456789abcdef"
    assert secret["stringData"]["auth-extra-groups"] == "system:bootstrappers:kubeadm:default-node-token"


@pytest.mark.parametrize("token", ["", "abcdef", "ABCDEF.0123456789abcdef", f"{TOKEN}0", f" {TOKEN}"])
def test_other_tokens_are_refused_without_being_named(token: str) -> None:
    with pytest.raises(core.BootstrapTokenError) as caught:
        core.token_id(token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "ours"),
    [
        ({"description": base64.b64encode(core.DESCRIPTION.encode()).decode()}, True),
        ({"description": base64.b64encode(b"kubeadm").decode()}, False),
        ({"description": "%"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_whose_token(data: Any, ours: bool) -> None:
    assert core.ours({"data": data}) is ours


def test_pin_is_the_digest_of_the_public_key() -> None:
    authority = Authority()
    spki = authority.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert core.ca_cert_hash("text before\n" + authority.pem.decode()) == f"sha256:{hashlib.sha256(spki).hexdigest()}"


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        ("", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----", "not PEM|cut off"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "cut off"),
    ],
)
def test_damaged_authorities(pem: str, message: str) -> None:
    with pytest.raises(core.BootstrapTokenError, match=message):
        core.ca_cert_hash(pem)
