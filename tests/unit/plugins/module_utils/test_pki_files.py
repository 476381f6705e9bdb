"""What a host says of its files, and how they are installed, on real files."""

from __future__ import annotations

import datetime
import json
import os
import pwd

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _pki_files as files
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import pki, pki_x509

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def pair(tmp_path):
    certificate, key = pki_x509.make_authority("test", datetime.datetime.now(datetime.UTC))
    (tmp_path / "ca.crt").write_text(certificate)
    (tmp_path / "ca.key").write_text(key)
    return tmp_path / "ca.crt", tmp_path / "ca.key"


def test_key_is_told_by_digest_and_match_only(pair):
    certificate, key = pair
    found = files.observe_file(files.PkiFile(str(key), "private_key", 0o600, certificate=str(certificate)))
    assert found["matches"] is True and found["sha256"] == files.digest(key.read_text() + "\n\n")
    assert "content" not in found and "PRIVATE" not in json.dumps(found)
    with_key = files.observe_file(files.PkiFile(str(key), "private_key", 0o600), include_keys=True)
    assert with_key["content"] == key.read_text()


@pytest.mark.parametrize("damage", ["other key", "rubbish", "no certificate"])
def test_mismatches_are_seen(pair, damage):
    certificate, key = pair
    if damage == "other key":
        key.write_text(pki_x509.make_authority("test", datetime.datetime.now(datetime.UTC))[1])
    elif damage == "rubbish":
        key.write_text("rubbish")
    else:
        certificate.unlink()
    assert files.pair_matches(str(certificate), str(key)) is False


def test_encryption_is_redacted(tmp_path):
    path = tmp_path / "encryption.json"
    path.write_text(json.dumps(pki.encryption_document([("key1", "c2VjcmV0")], ["secrets"])))
    found = files.observe_file(files.PkiFile(str(path), "encryption", 0o600))
    assert "c2VjcmV0" not in json.dumps(found)
    assert pki.encryption_keys(found["redacted"]) == (("key1", f"sha256:{files.digest('c2VjcmV0')}"),)
    assert files.redact_encryption("kind: EncryptionConfiguration") is None


def test_absent_files_are_not_in_the_facts(tmp_path):
    assert files.observe([files.PkiFile(str(tmp_path / "x"), "certificate", 0o644)]) == {}


def test_order_of_files_puts_a_key_before_its_certificate():
    order = [spec.path for spec in files.files_of(True, True)]
    for spec in files.files_of(True, True):
        if spec.certificate:
            assert order.index(spec.path) + 1 == order.index(spec.certificate)


def test_install_is_idempotent_and_tells_the_difference(tmp_path):
    folder = files.Installation(str(tmp_path / "pki"), 0o700, ME, directory=True)
    key = files.Installation(str(tmp_path / "pki" / "a.key"), 0o600, ME, content="secret\n")
    for wanted in (folder, key):
        assert files.differences(wanted) == ("missing",)
        files.install(wanted, ("missing",))
        assert files.differences(wanted) == ()
    os.chmod(key.path, 0o644)
    assert files.differences(key) == ("rights",)
    files.install(key, ("rights",))
    with open(key.path, "a", encoding="utf-8") as stream:
        stream.write("more")
    assert files.differences(key) == ("content",)
    files.install(key, ("content",))
    assert files.differences(key) == () and os.stat(key.path).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path / "pki") == ["a.key"]


def test_rights_only_never_makes_a_file(tmp_path):
    wanted = files.Installation(str(tmp_path / "a.key"), 0o600, ME)
    with pytest.raises(files.PkiFilesError, match="went away"):
        files.install(wanted, files.differences(wanted))


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "target").write_text("")
    (tmp_path / "a.key").symlink_to(tmp_path / "target")
    with pytest.raises(files.PkiFilesError, match="is a link, not a file"):
        files.differences(files.Installation(str(tmp_path / "a.key"), 0o600, ME, content="x"))
