# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and keys as PEM texts: read them, judge them, make them. Knows nothing of hosts or files."""

from __future__ import annotations

import datetime
import ipaddress
import typing as t
from collections.abc import Collection

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    # Never on a controller, ansible-core needs it itself; ansible-test imports plugins without third-party libraries.
    USAGES = {}
else:
    USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}

CA_DAYS = 3650  # as kubeadm's authorities
LEAF_DAYS = 365  # as kubeadm's leaves
CLOCK_SKEW = datetime.timedelta(
    hours=1
)  # a certificate is valid this long before it is made, for nodes whose clock is behind


def load_certificate(pem: str) -> x509.Certificate:
    """Read the first certificate of a PEM text; raises ValueError when there is none."""
    return x509.load_pem_x509_certificate(pem.encode())


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate as ``openssl x509 -fingerprint -sha256`` prints it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def days_left(certificate: x509.Certificate, now: datetime.datetime) -> float:
    return (certificate.not_valid_after_utc - now).total_seconds() / 86400


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """Return the names and addresses that a certificate is valid for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = {str(address) for address in extension.get_values_for_type(x509.IPAddress)}
    return frozenset({*extension.get_values_for_type(x509.DNSName), *addresses})


def common_name(certificate: x509.Certificate) -> str:
    return "".join(str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def usages_of(certificate: x509.Certificate) -> frozenset[str]:
    """Return which of ``server`` and ``client`` a certificate may be used as."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(name for name, usage in USAGES.items() if usage in extension)


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def load_key(pem: str) -> t.Any:
    return serialization.load_pem_private_key(pem.encode(), password=None)


def _builder(
    subject: str, issuer: x509.Name | None, public_key: t.Any, end: datetime.datetime, now: datetime.datetime
) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer if issuer is not None else name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=authority,
        key_cert_sign=authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the identifier that the authority's own certificate carries: OpenSSL does not take a chain in which the two differ."""
    try:
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(t.cast(t.Any, authority.public_key()))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def make_authority(subject: str, now: datetime.datetime) -> tuple[str, str]:
    """Make a self-signed CA and return (certificate, key) as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(subject, None, key.public_key(), now + datetime.timedelta(days=CA_DAYS), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private_pem(key)


def make_leaf(
    subject: str,
    names: Collection[str],
    usages: Collection[str],
    authority_pem: str,
    authority_key_pem: str,
    now: datetime.datetime,
) -> tuple[str, str]:
    """Sign a certificate and return (certificate, key) as PEM. It never outlives its authority.

    :param names: DNS names and IP addresses that it is valid for.
    :param usages: some of ``server`` and ``client``.
    """
    authority = load_certificate(authority_pem)
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + datetime.timedelta(days=LEAF_DAYS), authority.not_valid_after_utc)
    builder = (
        _builder(subject, authority.subject, key.public_key(), end, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([USAGES[usage] for usage in usages]), critical=False)
        .add_extension(_authority_key_identifier(authority), critical=False)
    )
    if names:
        entries = [_general_name(name) for name in sorted(names)]
        builder = builder.add_extension(x509.SubjectAlternativeName(entries), critical=False)
    certificate = builder.sign(load_key(authority_key_pem), hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private_pem(key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def make_key() -> str:
    """Make a private key (PEM)."""
    return private_pem(ec.generate_private_key(ec.SECP256R1()))


def public_key_of(private_pem: str) -> str:
    """Return the public key (PEM) of a private key."""
    return (
        load_key(private_pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def is_authority(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
