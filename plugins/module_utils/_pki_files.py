# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files the public key infrastructure of a cluster consists of, how they are observed, and how they are installed.

The standard library cannot read a certificate, so a target only says what it has: public texts, digests of secrets, and whether a private key belongs to
its certificate (OpenSSL compares them when a TLS context loads the pair). The controller, which has ``cryptography``, judges.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import ssl
import typing as t
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import file_state, write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import run

KUBERNETES_PKI = "/etc/kubernetes/pki"
ETCD_PKI = "/etc/etcd/pki"
ETCD_USER = "etcd"
ENCRYPTION_PATH = f"{KUBERNETES_PKI}/encryption.json"
SYSUSERS_DIRECTORY = "/etc/sysusers.d"


class PkiFilesError(Exception):
    """A file that cannot be installed; the message names the path, never the content."""


@dataclass(frozen=True)
class PkiFile:
    """One path. ``kind`` is ``directory``, ``certificate``, ``private_key``, ``public_key`` or ``encryption``.

    ``certificate`` names the certificate that a private key belongs to. ``managed`` is false for what kubeadm makes: observed only.
    """

    path: str
    kind: str
    mode: int
    owner: str = "root"
    certificate: str = ""
    managed: bool = True


def _pair(stem: str, owner: str = "root", public_mode: int = 0o644) -> tuple[PkiFile, PkiFile]:
    """Return a private key and its certificate, in this order: a certificate never stands there without the key that was made for it."""
    certificate = f"{stem}.crt"
    return (
        PkiFile(f"{stem}.key", "private_key", 0o600, owner, certificate),
        PkiFile(certificate, "certificate", public_mode, owner),
    )


CONTROL_PLANE_FILES: tuple[PkiFile, ...] = (
    PkiFile("/etc/kubernetes", "directory", 0o755),
    PkiFile(KUBERNETES_PKI, "directory", 0o755),
    PkiFile(f"{KUBERNETES_PKI}/etcd", "directory", 0o755),
    PkiFile(ENCRYPTION_PATH, "encryption", 0o600),
    *_pair(f"{KUBERNETES_PKI}/ca"),
    *_pair(f"{KUBERNETES_PKI}/front-proxy-ca"),
    PkiFile(f"{KUBERNETES_PKI}/sa.key", "private_key", 0o600),
    PkiFile(f"{KUBERNETES_PKI}/sa.pub", "public_key", 0o644),
    *_pair(f"{KUBERNETES_PKI}/etcd/ca"),
    *_pair(f"{KUBERNETES_PKI}/apiserver-etcd-client"),
    PkiFile(f"{KUBERNETES_PKI}/apiserver.crt", "certificate", 0o644, managed=False),
    PkiFile(f"{KUBERNETES_PKI}/apiserver-kubelet-client.crt", "certificate", 0o644, managed=False),
    PkiFile(f"{KUBERNETES_PKI}/front-proxy-client.crt", "certificate", 0o644, managed=False),
)
ETCD_FILES: tuple[PkiFile, ...] = (
    PkiFile("/etc/etcd", "directory", 0o755),
    PkiFile(ETCD_PKI, "directory", 0o700, ETCD_USER),
    PkiFile(f"{ETCD_PKI}/ca.crt", "certificate", 0o644, ETCD_USER),
    *_pair(f"{ETCD_PKI}/server", ETCD_USER),
    *_pair(f"{ETCD_PKI}/peer", ETCD_USER),
    *_pair(f"{ETCD_PKI}/client", ETCD_USER),
)


def files_of(control_plane: bool, etcd: bool) -> tuple[PkiFile, ...]:
    """Return the files of a host with these functions, in the order in which they are written.

    A run that is killed while it writes leaves a prefix of this list. Of two hosts that were written by one run, one therefore has all that the other
    has, and a CA's certificate is only there when its key is.
    """
    return (CONTROL_PLANE_FILES if control_plane else ()) + (ETCD_FILES if etcd else ())


# --- observing ------------------------------------------------------------------------------------------------------------------------------


def digest(text: str) -> str:
    """Return the SHA-256 of a text without its outer white space: equal keys with another last line break are equal."""
    return hashlib.sha256(text.strip().encode()).hexdigest()


def pair_matches(certificate: str, key: str) -> bool:
    """Ask OpenSSL whether the private key in one file belongs to the certificate in another; unreadable ones do not match."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError):
        return False
    return True


def redact_encryption(text: str) -> t.Any:
    """Return an EncryptionConfiguration (JSON) with every secret replaced by ``sha256:<hex>``; None when it is not JSON."""

    def clean(value: t.Any) -> t.Any:
        if isinstance(value, dict):
            return {key: f"sha256:{digest(str(v))}" if key == "secret" else clean(v) for key, v in value.items()}
        return [clean(entry) for entry in value] if isinstance(value, list) else value

    try:
        return clean(json.loads(text))
    except ValueError:
        return None


def _name(lookup: t.Callable[[int], str], number: int) -> str:
    try:
        return lookup(number)
    except KeyError:
        return str(number)


def observe_file(spec: PkiFile, include_keys: bool = False) -> dict[str, t.Any] | None:
    """Describe what stands at a path, or return None when nothing does.

    ``kind``, ``mode`` (octal text), ``owner`` always; ``content`` of public files; ``sha256`` of keys, ``matches`` of keys with a certificate;
    ``redacted`` of the encryption configuration; ``content`` of secrets only with ``include_keys``.
    """
    state = file_state(spec.path)
    if state.kind == "absent":
        return None
    owner = _name(lambda number: pwd.getpwuid(number).pw_name, state.uid)
    found: dict[str, t.Any] = {"kind": spec.kind, "type": state.kind, "mode": f"{state.mode:04o}", "owner": owner}
    if state.kind != "file" or spec.kind == "directory":
        return found
    with open(spec.path, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
    if spec.kind in ("certificate", "public_key") or include_keys:
        found["content"] = text
    if spec.kind == "private_key":
        found["sha256"] = digest(text)
        if spec.certificate:
            found["matches"] = pair_matches(spec.certificate, spec.path)
    if spec.kind == "encryption":
        found["redacted"] = redact_encryption(text)
    return found


def observe(specs: t.Iterable[PkiFile], include_keys: bool = False) -> dict[str, dict[str, t.Any]]:
    """Describe those of the files that exist, by path."""
    found = {spec.path: observe_file(spec, include_keys) for spec in specs}
    return {path: facts for path, facts in found.items() if facts is not None}


def user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


# --- installing -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Installation:
    """What has to stand at a path. ``content`` None: a directory, or a file of which only the rights are set."""

    path: str
    mode: int
    owner: str
    directory: bool = False
    content: str | None = None


def differences(wanted: Installation) -> tuple[str, ...]:
    """Say how a path differs from what is wanted: ``missing``, ``content``, ``rights``; empty when it does not."""
    state = file_state(wanted.path)
    if state.kind == "absent":
        return ("missing",)
    if state.kind != ("directory" if wanted.directory else "file"):
        raise PkiFilesError(f"{wanted.path} is a {state.kind}, not a {'directory' if wanted.directory else 'file'}")
    found = []
    if wanted.content is not None:
        with open(wanted.path, "rb") as stream:
            if stream.read() != wanted.content.encode():
                found.append("content")
    owner = _name(lambda number: pwd.getpwuid(number).pw_name, state.uid)
    if state.mode != wanted.mode or owner != wanted.owner:
        found.append("rights")
    return tuple(found)


def install(wanted: Installation, why: t.Sequence[str]) -> None:
    """Make a path what is wanted, given its differences."""
    account = pwd.getpwnam(wanted.owner)
    group = grp.getgrgid(account.pw_gid).gr_gid
    if wanted.directory and "missing" in why:
        os.mkdir(wanted.path, 0o700)
    if not wanted.directory and {"missing", "content"} & set(why):
        if wanted.content is None:
            raise PkiFilesError(f"{wanted.path} went away while it was being looked after; run again")
        write_atomic(wanted.path, wanted.content.encode(), wanted.mode, account.pw_uid, group)
        return
    os.chown(wanted.path, account.pw_uid, group)
    os.chmod(wanted.path, wanted.mode)


def create_user(name: str, description: str) -> None:
    """Create a system user as systemd does it for distributions: a declaration in sysusers.d, which also survives an image update."""
    os.makedirs(SYSUSERS_DIRECTORY, mode=0o755, exist_ok=True)
    path = os.path.join(SYSUSERS_DIRECTORY, f"{name}.conf")
    write_atomic(path, f'u {name} - "{description}"\n'.encode())
    run(["systemd-sysusers", path], timeout=60)
