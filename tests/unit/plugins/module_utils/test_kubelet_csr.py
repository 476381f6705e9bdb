"""Certificate requests of kubelets: what is read from them, and which are approved."""

from __future__ import annotations

import base64
import ipaddress
import sys
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubelet_csr as rules

sys.path.insert(0, str(Path(__file__).parent))
from kube_server import Server

NODES = {"w1": ["192.0.2.31", "2001:db8::31", "w1.example.com"], "w2": ["192.0.2.32"]}
KEY = ec.generate_private_key(ec.SECP256R1())
USER = "system:node:w1"
GOOD = (x509.DNSName("w1"), x509.IPAddress(ipaddress.ip_address("192.0.2.31")))


def pem(
    names: t.Sequence[t.Any] = GOOD, *, user: str = USER, groups: t.Sequence[str] = ("system:nodes",), key: t.Any = KEY
) -> str:
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    )
    if names:
        builder = builder.add_extension(x509.KeyUsage(True, *[False] * 8), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def entry(text: str | None = None, **changes: t.Any) -> dict[str, t.Any]:
    spec = {
        "signerName": rules.SIGNER,
        "username": USER,
        "groups": ["system:nodes", "system:authenticated"],
        "usages": ["digital signature", "server auth"],
        "request": base64.b64encode((text or pem()).encode()).decode(),
        **changes,
    }
    return {"metadata": {"name": "csr-1", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec}


def test_a_request_is_read() -> None:
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("192.0.2.31", "2001:db8::31")]
    found = rules.parse_request(pem([x509.DNSName("w1"), *addresses, x509.RFC822Name("a@example.com")]))
    assert found == rules.Request((USER,), ("system:nodes",), ("w1",), ("192.0.2.31", "2001:db8::31"), 1)


def test_a_request_with_a_long_key_and_without_names_is_read() -> None:
    found = rules.parse_request(pem([], key=rsa.generate_private_key(65537, 2048)))
    assert (found.common_names, found.dns_names, found.addresses) == ((USER,), (), ())


@pytest.mark.parametrize(
    "text", ["", "text", "-----BEGIN CERTIFICATE REQUEST-----\n%%%%\n-----END", pem()[:200] + "\n-----END"]
)
def test_what_is_no_request_is_an_error(text: str) -> None:
    with pytest.raises(rules.CsrError):
        rules.parse_request(text)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.b64encode(data).decode()}\n-----END CERTIFICATE REQUEST-----"
    with pytest.raises(rules.CsrError):
        rules.parse_request(text)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_no_damaged_request_breaks_the_reader(position: int, value: int) -> None:
    der = bytearray(x509.load_pem_x509_csr(pem().encode()).public_bytes(serialization.Encoding.DER))
    der[position % len(der)] = value
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE REQUEST-----"
    verdict = rules.judge(entry(text), NODES)
    assert verdict.known


def dns(*names: str) -> list[t.Any]:
    return [x509.DNSName(name) for name in names]


def test_a_request_that_claims_what_the_inventory_says_is_approved() -> None:
    everything = [*GOOD, x509.IPAddress(ipaddress.ip_address("2001:db8::31")), *dns("w1.example.com", "W1")]
    assert rules.judge(entry(pem(everything)), NODES) == rules.Verdict("csr-1", "w1", True, ())
    assert rules.judge(entry(), {"w1": ["192.0.2.31"]}).approved


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (entry(pem([*GOOD, *dns("evil")])), "claims the names evil"),
        (entry(pem([x509.IPAddress(ipaddress.ip_address("192.0.2.32"))])), "claims the addresses 192.0.2.32"),
        (entry(pem([])), "neither a name nor an address"),
        (entry(pem([*GOOD, x509.UniformResourceIdentifier("spiffe://x")])), "neither host names nor addresses"),
        (entry(pem(user="system:node:w2")), "its subject is system:node:w2, not system:node:w1"),
        (entry(pem(groups=["system:masters"])), "its organization is not system:nodes"),
        (entry(pem(groups=["system:nodes", "system:masters"])), "its organization is not system:nodes"),
        (entry(groups=["system:authenticated"]), "not in group system:nodes"),
        (entry(usages=["digital signature", "client auth"]), "its usages are client auth, digital signature"),
        (entry(usages=["server auth", "any"]), "its usages are any, server auth"),
        (entry("nonsense"), "cannot be read"),
        (entry(request=""), "cannot be read"),
    ],
)
def test_anything_else_is_refused_with_the_reason(asked: dict[str, t.Any], words: str) -> None:
    verdict = rules.judge(asked, NODES)
    assert verdict.known
    assert not verdict.approved
    assert words in "; ".join(verdict.reasons)


@pytest.mark.parametrize("user", ["system:node:stranger", "alice", ""])
def test_who_is_no_node_is_not_known(user: str) -> None:
    verdict = rules.judge(entry(username=user), NODES)
    assert not verdict.known
    assert not verdict.approved


def test_only_undecided_requests_for_serving_certificates_are_pending_oldest_first() -> None:
    newer = {**entry(), "metadata": {"name": "b", "creationTimestamp": "2026-02-01T00:00:00Z"}}
    decided = {**entry(), "status": {"conditions": [{"type": "Denied"}]}}
    other = entry(signerName="kubernetes.io/kube-apiserver-client-kubelet")
    older = entry()
    assert rules.pending([newer, decided, other, older]) == [older, newer]


def test_an_approval_keeps_the_request_and_its_version() -> None:
    asked = entry()
    asked["metadata"]["resourceVersion"] = "5"
    found = rules.approval(asked)
    assert (found["apiVersion"], found["kind"]) == ("certificates.k8s.io/v1", "CertificateSigningRequest")
    assert found["metadata"]["resourceVersion"] == "5"
    assert [one["type"] for one in found["status"]["conditions"]] == ["Approved"]
    assert "status" not in asked


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def test_a_certificate_of_the_clusters_authority_is_told_from_another(tmp_path: Path) -> None:
    server = Server(tmp_path, lambda *_: (200, {}))
    other = Server(tmp_path, lambda *_: (200, {}), ips=("192.0.2.1",))
    try:
        ask = rules.serving_problem
        assert ask("127.0.0.1", server.authority.pem, port=port_of(server)) == ""
        assert "not the cluster's" in ask("127.0.0.1", other.authority.pem, port=port_of(server))
        assert "not the cluster's: IP address mismatch" in ask("127.0.0.1", other.authority.pem, port=port_of(other))
    finally:
        server.close()
        other.close()
    assert "does not answer" in rules.serving_problem("127.0.0.1", server.authority.pem, port=port_of(server))
