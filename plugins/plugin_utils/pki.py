# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's authorities and certificates: what all hosts together have, what each lacks, and how it is made.

Three pure steps. :func:`survey` looks at the facts of all hosts and finds the one truth about every shared secret, or says why there is none.
:func:`plan_host` compares one host with it. :func:`make_secrets` and :func:`build_files` make what is missing, in memory.

Keys are ECDSA P-256: kubeadm accepts existing ECDSA authorities and service account keys (it can make them itself, ``encryptionAlgorithm: ECDSA-P256``),
and a TLS handshake with them costs a fraction of one with RSA 2048, which counts for etcd and for an API server with thousands of clients.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
import json
import os
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._pki_files import (
    CONTROL_PLANE_FILES,
    ENCRYPTION_PATH,
    ETCD_FILES,
    ETCD_PKI,
    ETCD_USER,
    KUBERNETES_PKI,
    PkiFile,
    digest,
    files_of,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import pki_x509 as x509

CA_DAYS = 3650  # as kubeadm's authorities
LEAF_DAYS = 365  # as kubeadm's leaves
CLOCK_SKEW = datetime.timedelta(
    hours=1
)  # a certificate is valid this long before it is made, for nodes whose clock is behind
CA_WARN_DAYS = x509.LEAF_DAYS  # from then on leaves would be shorter than usual
SECRETBOX_KEY_BYTES = 32
SERVICE_ACCOUNT_KEY = f"{KUBERNETES_PKI}/sa.key"
SERVICE_ACCOUNT_PUBLIC = f"{KUBERNETES_PKI}/sa.pub"


class PkiError(Exception):
    """Nothing can be issued; ``problems`` has one text each."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Authority:
    """A certificate authority: where its certificate may be seen, where its key rests (control planes only), its common name as kubeadm has it."""

    name: str
    title: str
    key_path: str
    certificate_paths: tuple[str, ...]
    common_name: str


AUTHORITIES = (
    Authority("kubernetes", "Kubernetes CA", f"{KUBERNETES_PKI}/ca.key", (f"{KUBERNETES_PKI}/ca.crt",), "kubernetes"),
    Authority(
        "front_proxy",
        "front proxy CA",
        f"{KUBERNETES_PKI}/front-proxy-ca.key",
        (f"{KUBERNETES_PKI}/front-proxy-ca.crt",),
        "front-proxy-ca",
    ),
    Authority(
        "etcd",
        "etcd CA",
        f"{KUBERNETES_PKI}/etcd/ca.key",
        (f"{KUBERNETES_PKI}/etcd/ca.crt", f"{ETCD_PKI}/ca.crt"),
        "etcd-ca",
    ),
)


@dataclass(frozen=True)
class Leaf:
    """A certificate that the etcd CA signs. ``usages`` are ``server`` and ``client``; ``named``: valid for the host's names and addresses."""

    stem: str
    common_name: str
    usages: tuple[str, ...]
    named: bool

    @property
    def paths(self) -> tuple[str, str]:
        return f"{self.stem}.key", f"{self.stem}.crt"


# etcd's gateway calls its own gRPC port with the server certificate, and members call each other with the peer one: both are client certificates too.
ETCD_LEAVES = (
    Leaf(f"{ETCD_PKI}/server", "etcd-server", ("server", "client"), True),
    Leaf(f"{ETCD_PKI}/peer", "etcd-peer", ("server", "client"), True),
    Leaf(f"{ETCD_PKI}/client", "etcd-client", ("client",), False),
)
CONTROL_PLANE_LEAVES = (
    Leaf(f"{KUBERNETES_PKI}/apiserver-etcd-client", "kube-apiserver-etcd-client", ("client",), False),
)


@dataclass(frozen=True)
class Host:
    """One host's facts, as pki_facts returns them."""

    name: str
    control_plane: bool
    etcd: bool
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    etcd_user: bool
    files: t.Mapping[str, t.Mapping[str, t.Any]]

    @classmethod
    def of(cls, name: str, facts: t.Mapping[str, t.Any]) -> Host:
        """Read the result of pki_facts."""
        return cls(
            name,
            bool(facts["control_plane"]),
            bool(facts["etcd"]),
            tuple(facts["names"]),
            tuple(facts["addresses"]),
            bool(facts["etcd_user"]),
            facts["files"],
        )

    def content(self, path: str) -> str | None:
        return self.files.get(path, {}).get("content")

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return (CONTROL_PLANE_LEAVES if self.control_plane else ()) + (ETCD_LEAVES if self.etcd else ())


@dataclass(frozen=True)
class Shared:
    """What the hosts of a cluster have in common, without its secrets.

    ``certificates``: authority name -> PEM; ``service_account``: digest of the private key, ``service_account_public`` the public one (PEM; empty when the
    hosts do not agree); ``encryption``: (name, digest) of each key, first the one that encrypts. What is absent does not exist yet.
    """

    certificates: t.Mapping[str, str] = field(default_factory=dict)
    service_account: str = ""
    service_account_public: str = ""
    encryption: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Secrets:
    """Private keys (PEM) by authority name, the service account's key, and the encryption keys (name, base64)."""

    keys: t.Mapping[str, str] = field(default_factory=dict, repr=False)
    service_account: str = field(default="", repr=False)
    encryption: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Survey:
    """The truth about the shared secrets, where each can be had (``holders``: secret -> hosts), what is wrong, what is worth knowing."""

    shared: Shared
    holders: t.Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def best_holder(self) -> str:
        """Return the host that has every secret that any host has, or an empty text when nobody has any."""
        candidates = set.intersection(*(set(hosts) for hosts in self.holders.values())) if self.holders else set()
        return min(candidates, default="")


# --- leaves -----------------------------------------------------------------------------------------------------------------------------


def wanted_names(leaf: Leaf, host: Host) -> frozenset[str]:
    """Return the names and addresses that a leaf has to be valid for; addresses in their shortest form."""
    if not leaf.named:
        return frozenset()
    addresses = {str(ipaddress.ip_address(address)) for address in host.addresses}
    return frozenset({*host.names, "localhost", "127.0.0.1", "::1", *addresses})


def judge_leaf(leaf: Leaf, host: Host, authority: str | None, renew_before_days: int, now: datetime.datetime) -> str:
    """Say why a leaf has to be issued anew, or return an empty text when it is good.

    :param authority: PEM of the CA that has to have signed it; None when that does not exist yet.
    """
    key, certificate_path = leaf.paths
    if key not in host.files or host.content(certificate_path) is None:
        return "missing"
    try:
        certificate = x509.load_certificate(host.content(certificate_path) or "")
    except ValueError:
        return "the certificate cannot be read"
    if not host.files[key].get("matches"):
        return "the key does not belong to the certificate"
    if authority is None or not x509.signed_by(certificate, x509.load_certificate(authority)):
        return "signed by another CA"
    if x509.common_name(certificate) != leaf.common_name:
        return f"made out to '{x509.common_name(certificate)}'"
    if x509.usages_of(certificate) != frozenset(leaf.usages):
        return "wrong key usages"
    wanted = wanted_names(leaf, host)
    if x509.names_of(certificate) != wanted:
        return f"valid for {', '.join(sorted(x509.names_of(certificate))) or 'no name'}, wanted {', '.join(sorted(wanted))}"
    left = x509.days_left(certificate, now)
    if left < renew_before_days:
        return f"{left:.0f} days left, renewed below {renew_before_days}"
    return ""


# --- survey ---------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sighting:
    """A variant of a secret: who shows it, who can give it away, and (a CA's) certificate."""

    label: str
    seen: tuple[str, ...]
    held: tuple[str, ...]
    pem: str = ""


def _sightings_of_authority(authority: Authority, hosts: t.Sequence[Host], problems: list[str]) -> dict[str, Sighting]:
    found: dict[str, Sighting] = {}
    for host in hosts:
        for path in authority.certificate_paths:
            pem = host.content(path)
            if pem is None:
                continue
            try:
                certificate = x509.load_certificate(pem)
            except ValueError:
                problems.append(
                    f"{host.name}: {path} is not a PEM certificate. Put the {authority.title} back, or remove the file."
                )
                continue
            key = x509.fingerprint(certificate)
            known = found.get(key, Sighting(f"SHA-256 {key}", (), (), pem))
            holds = path == authority.certificate_paths[0] and host.files.get(authority.key_path, {}).get("matches")
            found[key] = replace(
                known,
                seen=tuple(sorted({*known.seen, host.name})),
                held=tuple(sorted({*known.held, *([host.name] if holds else [])})),
            )
    return found


def _sightings_of_service_account(hosts: t.Sequence[Host]) -> dict[str, Sighting]:
    found: dict[str, Sighting] = {}
    for host in hosts:
        key = host.files.get(SERVICE_ACCOUNT_KEY, {}).get("sha256")
        if key:
            seen = tuple(sorted({*found.get(key, Sighting("", (), ())).seen, host.name}))
            found[key] = Sighting(f"SHA-256 of the file {key}", seen, seen)
    return found


def encryption_keys(document: t.Any) -> tuple[tuple[str, str], ...]:
    """Return (name, secret or its digest) of every secretbox key of an EncryptionConfiguration, in order; raises ValueError when it has another form."""
    try:
        lists = [
            tuple((str(key["name"]), str(key["secret"])) for key in provider["secretbox"]["keys"])
            for resource in document["resources"]
            for provider in resource["providers"]
            if "secretbox" in provider
        ]
    except (KeyError, TypeError) as exc:
        raise ValueError("not an EncryptionConfiguration with secretbox keys") from exc
    if len(set(lists)) != 1 or not lists[0]:
        raise ValueError("it has no secretbox key, or different ones for different resources")
    return lists[0]


def _sightings_of_encryption(hosts: t.Sequence[Host], problems: list[str]) -> dict[t.Any, Sighting]:
    found: dict[t.Any, Sighting] = {}
    for host in hosts:
        facts = host.files.get(ENCRYPTION_PATH)
        if not facts:
            continue
        try:
            keys = encryption_keys(facts.get("redacted"))
        except ValueError as exc:
            problems.append(
                f"{host.name}: {ENCRYPTION_PATH} cannot be used: {exc}. Put back the file of another control plane; removing it on all of them"
                " makes every Secret in etcd unreadable."
            )
            continue
        label = ", ".join(f"key '{name}' ({value[:19]}...)" for name, value in keys)
        seen = tuple(sorted({*found.get(keys, Sighting("", (), ())).seen, host.name}))
        found[keys] = Sighting(label, seen, seen)
    return found


def _conflict(title: str, found: t.Iterable[Sighting]) -> str:
    variants = "; ".join(f"{', '.join(one.seen)}: {one.label}" for one in sorted(found, key=lambda one: one.seen))
    return (
        f"the hosts have different versions of the {title} ({variants}). One cluster has one. Find out which version the running cluster uses, move"
        " /etc/kubernetes/pki and /etc/etcd/pki away on the hosts that have another one (or reset these hosts), and run again: they get the right one."
    )


def _judge_authority(authority: Authority, sighting: Sighting, now: datetime.datetime) -> tuple[list[str], list[str]]:
    """Return (problems, warnings) about the one certificate of an authority."""
    certificate = x509.load_certificate(sighting.pem)
    left = x509.days_left(certificate, now)
    problems, warnings = [], []
    if not sighting.held:
        problems.append(
            f"the {authority.title} ({sighting.label}) is on {', '.join(sighting.seen)}, but no control plane that answered has its private key"
            f" {authority.key_path}. Put the key back on one control plane, bring back the one that has it, or, if this is a leftover of another"
            " cluster, remove the certificate, and run again."
        )
    if not x509.is_authority(certificate):
        problems.append(
            f"the {authority.title} ({sighting.label}) is no CA certificate (basic constraint CA is not set)"
        )
    elif left <= 0:
        end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        problems.append(f"the {authority.title} ended on {end}. Replace it on all hosts before anything is issued.")
    elif left < CA_WARN_DAYS:
        end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        warnings.append(f"the {authority.title} ends on {end}, in {left:.0f} days: plan its replacement")
    return problems, warnings


def survey(hosts: t.Sequence[Host], expected: t.Collection[str], now: datetime.datetime) -> Survey:
    """Find the one truth about every shared secret.

    :param hosts: the facts of the hosts that answered.
    :param expected: names of all control planes and etcd members of the inventory: a secret is only made when all of them were asked.
    """
    problems = _wrong_addresses(hosts)
    warnings: list[str] = []
    found: dict[str, tuple[str, dict[t.Any, Sighting]]] = {
        authority.name: (authority.title, _sightings_of_authority(authority, hosts, problems))
        for authority in AUTHORITIES
    }
    found["service_account"] = "service account key", _sightings_of_service_account(hosts)
    found["encryption"] = "encryption key", _sightings_of_encryption(hosts, problems)
    problems += [_conflict(title, variants.values()) for title, variants in found.values() if len(variants) > 1]
    settled = {name: next(iter(variants.items())) for name, (_title, variants) in found.items() if len(variants) == 1}
    for authority in AUTHORITIES:
        if authority.name in settled:
            problem, warning = _judge_authority(authority, settled[authority.name][1], now)
            problems += problem
            warnings += warning
    absent = [title for title, variants in found.values() if not variants]
    unasked = sorted(set(expected) - {host.name for host in hosts})
    if absent and unasked:
        problems.append(
            f"no host that answered has the {', '.join(absent)}, and {', '.join(unasked)} could not be asked. Making new ones would split the cluster if one"
            " of these has them. Bring them back, run without --limit, or take them out of the inventory for good."
        )
    if settled and not found["encryption"][1]:
        warnings.append(
            f"there is a cluster, but no control plane has {ENCRYPTION_PATH}: a new key is made. If this cluster has encrypted Secrets in etcd, put the old"
            " file back at once, or they cannot be read."
        )
    publics = {content for host in hosts if (content := host.content(SERVICE_ACCOUNT_PUBLIC))}
    shared = Shared(
        {authority.name: settled[authority.name][1].pem for authority in AUTHORITIES if authority.name in settled},
        settled["service_account"][0] if "service_account" in settled else "",
        publics.pop() if len(publics) == 1 and "service_account" in settled else "",
        settled["encryption"][0] if "encryption" in settled else (),
    )
    holders = {name: sighting.held for name, (_key, sighting) in settled.items()}
    result = Survey(shared, holders, tuple(problems), tuple(warnings))
    if holders and not problems and not result.best_holder:
        spread = "; ".join(f"{name}: {', '.join(names)}" for name, names in sorted(holders.items()))
        lone = f"no single control plane has all secrets of the cluster ({spread}). Copy /etc/kubernetes/pki of one over to another."
        result = replace(result, problems=(lone,))
    return result


def _wrong_addresses(hosts: t.Sequence[Host]) -> list[str]:
    problems = []
    for host in hosts:
        for address in host.addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                problems.append(
                    f"{host.name}: cluster_node_ip is '{address}', which is no IP address. Certificates of etcd need one; set it."
                )
    return problems


def key_holder(hosts: t.Sequence[Host], found: Survey) -> str:
    """Return the control plane that gives the secrets, or gets the first copy of new ones; an empty text when no control plane answered."""
    return found.best_holder or min((host.name for host in hosts if host.control_plane), default="")


# --- plan -----------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A path that has to change. ``issue``: the leaf that is issued for it; ``rights`` only: nothing secret is needed."""

    path: str
    reason: str
    issue: Leaf | None = None
    rights: bool = False


def encryption_document(keys: t.Sequence[tuple[str, str]], resources: t.Sequence[str]) -> dict[str, t.Any]:
    """Return the EncryptionConfiguration. ``identity`` comes last, so what was written before encryption was on can still be read."""
    providers: list[dict[str, t.Any]] = [
        {"secretbox": {"keys": [{"name": name, "secret": secret} for name, secret in keys]}},
        {"identity": {}},
    ]
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": list(resources), "providers": providers}],
    }


def _authority_of(path: str) -> Authority | None:
    return next((one for one in AUTHORITIES if path in (one.key_path, *one.certificate_paths)), None)


def _differs(spec: PkiFile, host: Host, shared: Shared, resources: t.Sequence[str]) -> str:
    """Say how the content of a file that all hosts share differs from the truth; empty when it does not."""
    found = host.files.get(spec.path)
    if found is None:
        return "missing"
    authority = _authority_of(spec.path)
    if authority is not None and spec.kind == "certificate":
        return (
            ""
            if (found.get("content") or "").strip() == shared.certificates.get(authority.name, "").strip()
            else "another certificate"
        )
    if authority is not None:
        return "" if found.get("matches") else "does not belong to the certificate"
    if spec.path == SERVICE_ACCOUNT_KEY:
        return "" if found.get("sha256") == shared.service_account else "another key"
    if spec.path == SERVICE_ACCOUNT_PUBLIC:
        return "" if found.get("content") == shared.service_account_public else "another key"
    if spec.kind == "encryption":
        return (
            ""
            if found.get("redacted") == encryption_document(shared.encryption, resources)
            else "other keys or resources"
        )
    return ""


def plan_host(
    host: Host, shared: Shared, *, renew_before_days: int, resources: t.Sequence[str], now: datetime.datetime
) -> tuple[Change, ...]:
    """Compare a host with what it has to have; the changes come in the order in which they are to be made."""
    issued = {
        path: Change(path, reason, leaf)
        for leaf in host.leaves
        for reason in [judge_leaf(leaf, host, shared.certificates.get("etcd"), renew_before_days, now)]
        if reason
        for path in leaf.paths
    }
    changes: list[Change] = []
    if host.etcd and not host.etcd_user:
        changes.append(Change(f"user {ETCD_USER}", "missing", rights=True))
    for spec in files_of(host.control_plane, host.etcd):
        found = host.files.get(spec.path)
        if not spec.managed:
            continue
        if spec.path in issued:
            changes.append(issued[spec.path])
        elif spec.kind == "directory" and found is None:
            changes.append(Change(spec.path, "missing", rights=True))
        elif spec.kind != "directory" and (reason := _differs(spec, host, shared, resources)):
            changes.append(Change(spec.path, reason))
        elif found and (found["owner"] != spec.owner or int(found["mode"], 8) != spec.mode):
            changes.append(Change(spec.path, f"rights {found['mode']} {found['owner']}", rights=True))
    return tuple(changes)


def founding(changes: t.Iterable[Change]) -> tuple[Change, ...]:
    """Return the changes of a control plane that store what all hosts share.

    What was just made is stored on one control plane before any host gets a part of it. Else a run that is killed while all hosts are written could leave
    a CA's certificate on a member of etcd, and its key nowhere.
    """
    stored = {spec.path for spec in CONTROL_PLANE_FILES}
    return tuple(change for change in changes if change.path in stored and change.issue is None)


def needs_secrets(changes: t.Iterable[Change]) -> bool:
    return any(not change.rights for change in changes)


# --- making ---------------------------------------------------------------------------------------------------------------------------------


def read_secrets(files: t.Mapping[str, t.Mapping[str, t.Any]], shared: Shared) -> Secrets:
    """Take the secrets from the facts of a host that was asked for its keys, and check that they are what the survey saw."""
    problems: list[str] = []
    keys: dict[str, str] = {}
    for authority in AUTHORITIES:
        if authority.name not in shared.certificates:
            continue
        pem = str(files.get(authority.key_path, {}).get("content") or "")
        try:
            ours = x509.load_certificate(shared.certificates[authority.name]).public_key()
            good = x509.load_key(pem).public_key() == ours
        except (ValueError, TypeError):
            good = False
        if not good:
            problems.append(f"{authority.key_path} is not the private key of the {authority.title}")
        keys[authority.name] = pem
    account = str(files.get(SERVICE_ACCOUNT_KEY, {}).get("content") or "") if shared.service_account else ""
    if shared.service_account and digest(account) != shared.service_account:
        problems.append(f"{SERVICE_ACCOUNT_KEY} changed while the run was going on")
    encryption: tuple[tuple[str, str], ...] = ()
    if shared.encryption:
        try:
            encryption = encryption_keys(json.loads(str(files.get(ENCRYPTION_PATH, {}).get("content") or "")))
        except ValueError:
            problems.append(f"{ENCRYPTION_PATH} cannot be read")
        for name, secret in encryption:
            try:
                size = len(base64.b64decode(secret, validate=True))
            except binascii.Error:
                size = 0
            if size != SECRETBOX_KEY_BYTES:
                problems.append(f"{ENCRYPTION_PATH}: key '{name}' is not {SECRETBOX_KEY_BYTES} bytes in base64")
    if problems:
        raise PkiError(problems)
    return Secrets(keys, account, encryption)


def make_secrets(shared: Shared, known: Secrets, now: datetime.datetime) -> tuple[Shared, Secrets]:
    """Add to what is known all that does not exist yet."""
    certificates, keys = dict(shared.certificates), dict(known.keys)
    for authority in AUTHORITIES:
        if authority.name not in certificates:
            certificates[authority.name], keys[authority.name] = x509.make_authority(authority.common_name, now)
    account = known.service_account or x509.make_key()
    fresh_key = ("key1", base64.b64encode(os.urandom(SECRETBOX_KEY_BYTES)).decode())
    encryption = known.encryption or (fresh_key,)
    digests = tuple((name, f"sha256:{digest(secret)}") for name, secret in encryption)
    return Shared(certificates, digest(account), x509.public_key_of(account), digests), Secrets(
        keys, account, encryption
    )


def _content(spec: PkiFile, shared: Shared, secrets: Secrets, resources: t.Sequence[str]) -> str:
    authority = _authority_of(spec.path)
    if authority is not None:
        return shared.certificates[authority.name] if spec.kind == "certificate" else secrets.keys[authority.name]
    if spec.path == SERVICE_ACCOUNT_KEY:
        return secrets.service_account
    if spec.path == SERVICE_ACCOUNT_PUBLIC:
        return x509.public_key_of(secrets.service_account)
    if spec.path == ENCRYPTION_PATH:
        return json.dumps(encryption_document(secrets.encryption, resources), indent=2) + "\n"
    raise KeyError(spec.path)


def build_files(
    host: Host,
    changes: t.Sequence[Change],
    shared: Shared,
    secrets: Secrets,
    resources: t.Sequence[str],
    now: datetime.datetime,
) -> list[dict[str, t.Any]]:
    """Return the arguments of module pki_install for the changes of a host, in order: path, mode, owner, directory, content."""
    specs = {spec.path: spec for spec in (*CONTROL_PLANE_FILES, *ETCD_FILES)}
    issued: dict[str, str] = {}
    files: list[dict[str, t.Any]] = []
    for change in changes:
        spec = specs.get(change.path)
        if spec is None:
            continue
        if change.issue is not None and change.path not in issued:
            leaf = change.issue
            names = wanted_names(leaf, host)
            certificate, key = x509.make_leaf(
                leaf.common_name, names, leaf.usages, shared.certificates["etcd"], secrets.keys["etcd"], now
            )
            issued.update(zip(leaf.paths, (key, certificate), strict=True))
        entry: dict[str, t.Any] = {"path": spec.path, "mode": f"{spec.mode:04o}", "owner": spec.owner}
        if spec.kind == "directory":
            entry["directory"] = True
        elif change.issue is not None:
            entry["content"] = issued[change.path]
        elif not change.rights:
            entry["content"] = _content(spec, shared, secrets, resources)
        files.append(entry)
    return files


# --- the form in which authorities travel from pki_authorities to pki_install ---------------------------------------------------------------


def pack(shared: Shared, secrets: Secrets | None) -> dict[str, t.Any]:
    """Return plain data for a registered variable."""
    packed: dict[str, t.Any] = {
        "certificates": dict(shared.certificates),
        "service_account": shared.service_account,
        "service_account_public": shared.service_account_public,
        "encryption": [list(pair) for pair in shared.encryption],
    }
    if secrets is not None:
        packed["secrets"] = {
            "keys": dict(secrets.keys),
            "service_account": secrets.service_account,
            "encryption": [list(pair) for pair in secrets.encryption],
        }
    return packed


def unpack(packed: t.Mapping[str, t.Any]) -> tuple[Shared, Secrets | None]:
    """Read what :func:`pack` wrote."""

    def pairs(entries: t.Any) -> tuple[tuple[str, str], ...]:
        return tuple((str(name), str(value)) for name, value in entries)

    shared = Shared(
        dict(packed["certificates"]),
        str(packed["service_account"]),
        str(packed["service_account_public"]),
        pairs(packed["encryption"]),
    )
    given = packed.get("secrets")
    if not given:
        return shared, None
    return shared, Secrets(dict(given["keys"]), str(given["service_account"]), pairs(given["encryption"]))
