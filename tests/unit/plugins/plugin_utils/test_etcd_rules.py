"""etcd_rules: the tables, and what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import etcd_rules as core
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import load_lock
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import ClusterInput, Host, View
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import load_specs

ROOT = Path(__file__).resolve().parents[4]
SPECS = load_specs(ROOT / "roles")


def fixes(release_set: str, **fields: Any) -> list[tuple[str, str, bool]]:
    variables = {"cluster_release_set": release_set, "etcd_extra_arguments": fields}
    versions = {"stable": {"etcd": "v3.6.14"}, "built": {"etcd": "v3.7.3"}}
    given = ClusterInput([Host("e1", variables)], {"etcd": ["e1"]}, SPECS, component_versions=versions)
    return [(problem.variable, problem.fix, problem.warning) for problem in core.etcd_fields(View(given))]


def test_what_the_role_itself_writes_are_fields() -> None:
    settings = yaml.safe_load((ROOT / "roles/etcd/vars/main.yml").read_text())
    assert set(settings["__etcd_settings"]) <= core.FIELDS
    for part in settings["__etcd_tls"].values():
        assert set(part) <= core.SECURITY_FIELDS


def test_every_etcd_of_the_lock_file_is_of_a_minor_version_that_the_tables_know() -> None:
    lock = load_lock()
    assert {lock.release(name).versions["etcd"].rsplit(".", 1)[0] for name in lock.release_sets} <= {"v3.6", "v3.7"}
    assert not any(names & core.FIELDS for names in core.REMOVED.values())


def test_a_name_that_is_near_is_offered() -> None:
    (problem,) = fixes("stable", **{"max-request-byte": 1})
    assert problem[0] == "etcd_extra_arguments.max-request-byte"
    assert "max-request-bytes" in problem[1]
    (inner,) = fixes("stable", **{"peer-transport-security": {"cert-fil": "x", "key-file": "y"}})
    assert inner[0] == "etcd_extra_arguments.peer-transport-security.cert-fil"
    assert "cert-file" in inner[1]


def test_what_an_experimental_field_became_is_told_before_and_when_it_is_gone() -> None:
    moved = {"experimental-corrupt-check-time": "1h"}
    assert [problem[1:] for problem in fixes("stable", **moved)] == [("write corrupt-check-time", True)]
    assert [problem[1:] for problem in fixes("built", **moved)] == [("write corrupt-check-time", False)]
    (gate,) = fixes("built", **{"experimental-initial-corrupt-check": True})
    assert "feature-gates" in gate[1]


def test_fields_that_are_known_are_fine() -> None:
    assert fixes("built", **{"wal-dir": "/wal", "client-transport-security": {"auto-tls": False}}) == []
