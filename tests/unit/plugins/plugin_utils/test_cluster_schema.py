"""Declarations and values: every type, the traps of YAML, forms, words for people."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster_schema
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import (
    Option,
    check,
    option_of,
    read_specs,
)

ROLES = Path(__file__).resolve().parents[4] / "roles"

SPEC = """
argument_specs:
  main:
    options:
      demo_name: {type: str, default: x}
      demo_peers:
        type: list
        elements: dict
        options:
          address: {type: str, required: true}
          port: {type: int, default: 1}
  other:
    options:
      demo_mode: {type: str, choices: [on_demand, always]}
"""


def test_read_specs_joins_entry_points() -> None:
    options = read_specs(SPEC)
    assert sorted(options) == ["demo_mode", "demo_name", "demo_peers"]
    assert options["demo_peers"].options["address"] == Option("address", required=True)
    assert options["demo_mode"].choices == ("on_demand", "always")


@pytest.mark.parametrize("text", ["", "{}", "argument_specs:", "argument_specs: {main: {options: }}"])
def test_read_specs_of_nothing(text: str) -> None:
    assert read_specs(text) == {}


def test_every_role_of_the_collection_is_readable() -> None:
    specs = cluster_schema.load_specs(ROLES)
    assert "cluster_pods_per_node" in specs["cluster"]
    for role in specs.values():
        for option in role.values():
            assert option.type in cluster_schema.TYPES, option


@pytest.mark.parametrize(
    ("type_", "value", "reason", "fix"),
    [
        ("str", 1.3, "a number with a fraction", "1.30"),
        ("str", False, "a boolean", "yes, no"),
        ("str", 5, "a whole number", "quotes"),
        ("str", datetime.date(2026, 1, 1), "a date", "quotes"),
        ("str", ["a"], "a list", "write a text"),
        ("int", "lots", "a text", "whole number"),
        ("int", True, "a boolean", "whole number"),
        ("int", 1.0, "a number with a fraction", "whole number"),
        ("int", "1e3", "a text", "whole number"),
        ("int", "9" * 5000, "a text", "whole number"),
        ("bool", "false", "a text", "without quotes"),
        ("bool", 1, "a whole number", "true or false"),
        ("float", "x", "a text", "number"),
        ("path", "relative/path", "a text", "absolute"),
        ("path", "/a\0b", "a text", "absolute"),
        ("dict", [], "a list", "key: value"),
        ("list", "one,two", "a text", "[one, two]"),
        ("list", {}, "a dictionary", "[one, two]"),
    ],
)
def test_types_refused(type_: str, value: Any, reason: str, fix: str) -> None:
    (finding,) = check(Option("demo", type_), value)
    assert reason in finding.reason
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("type_", "value"),
    [("str", ""), ("str", "no"), ("int", 5), ("int", "500"), ("int", -1), ("bool", False), ("float", 1), ("float", 0.5), ("path", "/x"),
     ("path", "~/x"), ("dict", {}), ("list", []), ("raw", object())],
)  # fmt: skip
def test_types_accepted(type_: str, value: Any) -> None:
    assert list(check(Option("demo", type_), value)) == []


def test_null() -> None:
    assert list(check(Option("demo", "list"), None)) == []
    assert list(check(Option("demo", "list", has_default=True, default=None), None)) == []
    for option in (Option("demo", has_default=True, default="x"), Option("demo", required=True)):
        (finding,) = check(option, None)
        assert finding.reason == "is null"
        assert finding.value == "null"


def test_choices_with_suggestion() -> None:
    option = Option("demo", choices=("keepalived", "local"))
    (finding,) = check(option, "keepalive")
    assert (finding.reason, finding.fix) == ("is not one of keepalived, local", "did you mean keepalived?")
    (finding,) = check(option, "xyz")
    assert finding.fix == "choose one of keepalived, local"


def test_inside_lists_and_dictionaries() -> None:
    option = read_specs(SPEC)["demo_peers"]
    findings = list(check(option, [{"adress": "a", "port": "x"}, {"address": "b"}, "c", None]))
    assert [(finding.path, finding.reason) for finding in findings] == [
        ("demo_peers[0].adress", "is not a known key"),
        ("demo_peers[0].address", "is missing"),
        ("demo_peers[0].port", "is a text, must be a whole number"),
        ("demo_peers[2]", "is a text, must be a dictionary"),
        ("demo_peers[3]", "is null"),
    ]
    assert findings[0].fix == "did you mean address?"


@pytest.mark.parametrize(
    ("name", "type_", "value", "words"),
    [
        ("cluster_name", "str", "My_Cluster", "DNS label"),
        ("cluster_name", "str", "a" * 64, "DNS label"),
        ("cluster_name", "str", "a\n", "DNS label"),
        ("cluster_domain", "str", "cluster..local", "DNS name"),
        ("cluster_domain", "str", ".".join(["a" * 60] * 5), "DNS name"),
        ("cluster_pods_per_node", "int", 0, "1 to 2048"),
        ("cluster_pods_per_node", "int", "5000", "1 to 2048"),
        ("cluster_calico_block_size", "int", 19, "20 to 32"),
        ("cluster_bgp_as_number", "int", 0, "RFC 7607"),
        ("cluster_bgp_as_number", "int", 23456, "AS_TRANS"),
        ("cluster_bgp_as_number", "int", 65535, "RFC 7300"),
        ("cluster_bgp_as_number", "int", 2**32, "32 bits"),
        ("cluster_api_endpoint_port", "int", 65536, "16 bits"),
        ("cluster_api_endpoint_address", "str", "UPPER.example", "neither an address"),
        ("cluster_api_endpoint_address", "str", "300.1.1.1", "neither an address"),
        ("cluster_bundle_mirror_url", "str", "ftp://x/", "http or https"),
        ("cluster_bundle_mirror_url", "str", "https://me:pw@x/", "password"),
        ("cluster_bundle_mirror_url", "str", "http://x:99999", "not a URL"),
        ("cluster_bundle_mirror_url", "str", "http://[x", "not a URL"),
        ("cluster_bundle_registry", "str", "http://x:5000/v2", "has a path"),
        ("cluster_bundle_registry", "str", "10.0.0.1:5000", "http or https"),
        ("cluster_node_ip", "str", "node1", "not an IPv4 or IPv6"),
        ("cluster_lease_seconds", "int", 5, "shorter than a minute"),
        ("cluster_interpreter_seconds", "int", 5, "seconds to minutes apart"),
        ("api_endpoint_vrrp_router_id", "int", 256, "8 bits"),
        (
            "container_runtime_registry_mirrors",
            "dict",
            {"docker.io": "https://m"},
            "has a text for docker.io, must be a list",
        ),
        ("container_runtime_registry_mirrors", "dict", {"docker.io": ["ftp://m"]}, "not an http or https URL"),
        ("container_runtime_registry_mirrors", "dict", {"docker.io": ["https://me:pw@m"]}, "password"),
        ("container_runtime_registry_mirrors", "dict", {"docker.io": [False]}, "docker.io that is not a text"),
        ("container_runtime_registry_mirrors", "dict", {False: ["https://m"]}, "no host of a registry"),
        ("calico_mtu", "int", 70000, "number of bytes"),
        ("calico_mtu", "int", "-1", "number of bytes"),
        ("kubelet_pods_per_node", "int", 0, "1 to 2048"),
        ("kubelet_node_ip", "str", "node1", "not an IPv4 or IPv6"),
        ("bundle_debian_mirror", "str", "mirror.example.org", "http or https"),
    ],
)
def test_forms_refused(name: str, type_: str, value: Any, words: str) -> None:
    (finding,) = check(Option(name, type_), value)
    assert words in finding.reason
    assert finding.fix
    assert "pw" not in finding.value


@pytest.mark.parametrize(
    ("name", "type_", "value"),
    [
        ("cluster_name", "str", "prod-1"),
        ("cluster_domain", "str", "cluster.local"),
        ("cluster_pods_per_node", "int", "500"),
        ("cluster_calico_block_size", "int", 0),
        ("cluster_calico_block_size", "int", 22),
        ("cluster_bgp_as_number", "int", 4200000000),
        ("cluster_api_endpoint_address", "str", ""),
        ("cluster_api_endpoint_address", "str", "api.example.org"),
        ("cluster_api_endpoint_address", "str", "fd00::10"),
        ("cluster_bundle_mirror_url", "str", "https://mirror.example.org:8443/k8s"),
        ("cluster_bundle_registry", "str", "http://10.0.0.1:5000/"),
        (
            "container_runtime_registry_mirrors",
            "dict",
            {"docker.io": ["https://m:8443/v2"], "_default": [], "10.0.0.1:5000": []},
        ),
        ("calico_mtu", "int", 0),
    ],
)
def test_forms_accepted(name: str, type_: str, value: Any) -> None:
    assert list(check(Option(name, type_), value)) == []


def test_all_is_refused_as_a_preflight_waiver() -> None:
    option = Option("cluster_kubeadm_ignore_preflight_errors", "list", elements="str")
    (finding,) = check(option, ["Swap", " ALL "])
    assert finding.path.endswith("[1]")
    assert "every check" in finding.reason


def test_every_form_is_of_a_declared_variable() -> None:
    """A form under a misspelt path would never be asked."""
    places = set()

    def walk(option: Option, place: str) -> None:
        places.add(place)
        inner = f"{place}[]" if option.type == "list" else place
        places.add(inner)
        for key, child in option.options.items():
            walk(child, f"{inner}.{key}")

    for role in cluster_schema.load_specs(ROLES).values():
        for name, option in role.items():
            walk(option, name)
    assert set(cluster_schema.FORMS) <= places


# --- what YAML makes of what people write

TRAPS = [
    ("cluster_kubernetes_version: 1.30", "a number with a fraction", "1.30 as the number 1.3"),
    ("cluster_kubernetes_version: 1_30", "a whole number", "quotes"),
    ("cluster_rack: NO", "a boolean", "yes, no, on, off"),
    ("cluster_name: on", "a boolean", "yes, no, on, off"),
    ("cluster_rack: 2026-11-22", "a date", "quotes"),
    ("cluster_rack: 12:30:45", "a whole number", "quotes"),
    ("cluster_rack: 0x1F", "a whole number", "quotes"),
    ("cluster_domain: ~", "is null", "give it a value"),
    ("cluster_pods_per_node:", "is null", "give it a value"),
    ("cluster_pods_per_node: 1e3", "a text", "whole number"),
    ("cluster_pods_per_node: 110.0", "a number with a fraction", "whole number"),
    ("cluster_pods_per_node: 1:50", "", ""),  # 110 in base 60; no way to know
    ("cluster_pods_per_node: yes", "a boolean", "whole number"),
    ("cluster_api_certificate_sans: api.example.org", "a text", "[one, two]"),
    ("cluster_pod_cidrs: {10.244.0.0/16}", "a dictionary", "[one, two]"),
    ("calico_nat_outgoing: 'false'", "a text, must be a boolean", "without quotes"),
    ("calico_nat_outgoing: n", "a text, must be a boolean", "without quotes"),
    ("cluster_load_balancer_pools: [{name: no, addresses: [192.0.2.0/28]}]", "a boolean", "yes, no, on, off"),
    ("cluster_bgp_peers: [{address: 192.0.2.1, as_number: 64512.1}]", "a number with a fraction", "whole number"),
    ("cluster_node_taints: [{key: a, effect: off}]", "a boolean", "yes, no, on, off"),
]


@pytest.mark.parametrize(("text", "reason", "fix"), TRAPS, ids=[trap[0] for trap in TRAPS])
def test_traps_of_yaml(text: str, reason: str, fix: str) -> None:
    """The text of a file, as Ansible's YAML (1.1) reads it, with the declaration of the variable."""
    ((name, value),) = yaml.safe_load(text).items()
    option = next(role[name] for role in cluster_schema.load_specs(ROLES).values() if name in role)
    findings = list(check(option, value))
    assert bool(findings) == bool(reason)
    for finding in findings:
        assert reason in finding.reason
        assert fix in finding.fix


def test_a_huge_text_is_refused_and_not_printed() -> None:
    (finding,) = check(Option("demo"), "x" * 10**7)
    assert finding.reason == "has 10000000 characters"
    assert len(finding.value) < 200


# --- what is shown


@pytest.mark.parametrize(
    "path", ["etcd_password", "x.token", "x_secret[0]", "some_private_key", "a.encryption_key", "PASSWD"]
)
def test_secrets_are_hidden(path: str) -> None:
    assert cluster_schema.shown(path, "hunter2") == cluster_schema.HIDDEN


@pytest.mark.parametrize("path", ["cluster_name", "cluster_node_taints[0].key", "cluster_kernel_parameters", "keys"])
def test_the_rest_is_shown(path: str) -> None:
    assert "hunter2" in cluster_schema.shown(path, "hunter2")


def test_no_log_hides() -> None:
    (finding,) = check(option_of("demo", {"type": "int", "no_log": True}), "hunter2")
    assert finding.value == cluster_schema.HIDDEN
    (finding,) = check(option_of("demo", {"type": "list", "elements": "int", "no_log": True}), ["hunter2"])
    assert finding.value == cluster_schema.HIDDEN


def test_passwords_in_urls_are_hidden() -> None:
    assert "hunter2" not in cluster_schema.shown("x", "https://me:hunter2@host/")
    assert "hunter2" not in cluster_schema.shown("x", ["https://hunter2@host/"])


def test_shown_is_one_bounded_printable_line() -> None:
    text = cluster_schema.shown("x", "\x1b[31m\n" + "y" * 10**7)
    assert "\x1b" not in text
    assert "\n" not in text
    assert len(text) < 200


def test_shown_survives_what_python_cannot_print() -> None:
    deep: list[Any] = []
    for _level in range(100_000):
        deep = [deep]
    assert cluster_schema.shown("x", deep) == "a list"
    assert cluster_schema.shown("x", 10**5000) == "a whole number"


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=12,
)


OPTIONS = [option for role in cluster_schema.load_specs(ROLES).values() for option in role.values()]


# How fast values are made says nothing, on a machine that does other things as well.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(OPTIONS), junk)
def test_no_value_breaks_the_check(option: Option, value: Any) -> None:
    for finding in check(option, value):
        assert finding.reason
        assert finding.fix
        assert finding.value.isprintable()


@pytest.mark.parametrize(
    "role", sorted(path.parents[1] for path in ROLES.glob("*/defaults/main.yml")), ids=lambda path: path.name
)
def test_no_role_has_a_default_that_its_own_declaration_refuses(role: Path) -> None:
    """It would be refused in every inventory."""
    options = cluster_schema.load_specs(ROLES)[role.name]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
    constant = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    assert {name: found for name, value in constant.items() if (found := list(check(options[name], value)))} == {}
