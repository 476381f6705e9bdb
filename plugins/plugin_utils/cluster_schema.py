# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles' argument specs as types, and the question whether a value fits one.

The same declaration documents a variable and checks it. What argument specs cannot say (ranges, the form of a text) stands in
:data:`FORMS`. Pure but for :func:`load_specs`.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, proxies

LONGEST_TEXT = 64 * 1024
SHOWN_CHARACTERS = 80
HIDDEN = "********"
SECRET = re.compile(r"passw(or)?d|passphrase|secret|token|credential|private_?key|api_?key|_key$", re.IGNORECASE)
# RFC 1123: letters, digits and hyphens, at most 63 in a label, 253 in all; Kubernetes wants lower case.
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NAME_LIMIT = 253
# A Kubernetes label: an optional DNS prefix and a name, both bounded (Labels and Selectors, "Syntax and character set").
QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Option:
    """One declared variable, or one key of a declared dictionary. ``type`` and ``elements`` are Ansible's names of types."""

    name: str
    type: str = "str"
    elements: str = ""
    choices: tuple[Any, ...] = ()
    required: bool = False
    has_default: bool = False
    default: Any = None
    no_log: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """Why a value does not fit. ``path`` starts with the variable, ``value`` is ready to be shown (hidden when secret)."""

    path: str
    value: str
    reason: str
    fix: str


Specs = Mapping[str, Mapping[str, Option]]


def option_of(name: str, raw: Mapping[str, Any]) -> Option:
    """Read one entry of ``options`` of an argument spec."""
    return Option(
        name=name,
        type=raw.get("type", "str"),
        elements=raw.get("elements", ""),
        choices=tuple(raw.get("choices", ())),
        required=bool(raw.get("required", False)),
        has_default="default" in raw,
        default=raw.get("default"),
        no_log=bool(raw.get("no_log", False)),
        options={key: option_of(key, value) for key, value in (raw.get("options") or {}).items()},
    )


def read_specs(text: str) -> dict[str, Option]:
    """All options of all entry points of one role's ``meta/argument_specs.yml``."""
    entry_points = (yaml.safe_load(text) or {}).get("argument_specs") or {}
    return {
        name: option_of(name, raw)
        for entry_point in entry_points.values()
        for name, raw in (entry_point.get("options") or {}).items()
    }


def load_specs(roles: Path) -> dict[str, dict[str, Option]]:
    """The specs of every role below ``roles`` that has some: ``{role: {variable: option}}``."""
    return {
        path.parent.parent.name: read_specs(path.read_text(encoding="utf-8"))
        for path in sorted(roles.glob("*/meta/argument_specs.yml"))
    }


# --- words for people


#: ``{(variable, value): (why it is refused, what to use)}``: values that other tools know, and that are no slip of the pen.
REFUSED_CHOICES: Mapping[tuple[str, Any], tuple[str, str]] = {
    ("cluster_kube_proxy_mode", "ipvs"): (
        "is deprecated since Kubernetes 1.35 (KEP-5495) and will be removed; it needs strictARP, kube-ipvs0 addresses and iptables beside it",
        "use nftables, which scales the same way (kernel 5.13 or newer), or iptables; kube-proxy takes the old rules away when its mode changes",
    ),
}


def suggestion(name: str, known: Iterable[str]) -> str:
    """``did you mean X?`` when a known name is near, else an empty text."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else ""


def is_secret(path: str) -> bool:
    """Does the name say that its value is nobody's business? References to secrets (``..._file``, ``..._name``) are not."""
    return any(SECRET.search(part) for part in re.split(r"[.\[\]]+", path))


def shown(path: str, value: Any, secret: bool = False) -> str:
    """A value for a message: one line, bounded, without the password of a URL, hidden when it is secret."""
    if secret or is_secret(path):
        return HIDDEN
    if isinstance(value, bool) or value is None:
        text = {True: "true", False: "false", None: "null"}[value]
    else:
        try:
            # A bounded part is taken before repr: a text may have megabytes.
            text = repr(value[:LONGEST_TEXT] if isinstance(value, str) else value)
        except (RecursionError, ValueError):  # nested too deeply; a number with more digits than Python prints
            text = kind(value)
    text = proxies.redacted(text)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}... ({len(text)} characters)"


KINDS: Sequence[tuple[type, str]] = (
    (bool, "a boolean"),
    (int, "a whole number"),
    (float, "a number with a fraction"),
    (str, "a text"),
    (Mapping, "a dictionary"),
    (list, "a list"),
    (tuple, "a list"),
    (datetime.datetime, "a time"),
    (datetime.date, "a date"),
    (bytes, "bytes"),
)


def kind(value: Any) -> str:
    """The type of a value in words."""
    if value is None:
        return "null"
    return next((words for type_, words in KINDS if isinstance(value, type_)), type(value).__name__)


# --- types


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return None
    if isinstance(value, bool):
        return "write it in quotes: YAML reads yes, no, on, off, true and false as booleans"
    if isinstance(value, float):
        return "write it in quotes: YAML reads 1.30 as the number 1.3"
    if isinstance(value, (int, datetime.date)):
        return "write it in quotes"
    return "write a text"


def _whole_number(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return None
    # `-e name=500` on the command line is always a text; the roles cast it.
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        return None
    return "write a whole number"


def _boolean(value: Any) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return "write true or false without quotes (on the command line: -e '{\"name\": false}'); a text is true, whatever it says"
    return "write true or false"


def _number(value: Any) -> str | None:
    return None if isinstance(value, float) or _whole_number(value) is None else "write a number"


def _path(value: Any) -> str | None:
    if isinstance(value, str) and value.startswith(("/", "~")) and "\0" not in value:
        return None
    return "write an absolute path"


TYPES: Mapping[str, tuple[str, Callable[[Any], str | None]]] = {
    "str": ("a text", _text),
    "int": ("a whole number", _whole_number),
    "float": ("a number", _number),
    "bool": ("a boolean", _boolean),
    "path": ("an absolute path", _path),
    "dict": ("a dictionary", lambda value: None if isinstance(value, Mapping) else "write key: value pairs"),
    "list": ("a list", lambda value: None if isinstance(value, (list, tuple)) else "write a list, [one, two]"),
    "raw": ("anything", lambda _value: None),
}


def as_int(value: Any) -> int:
    """A value that passed as whole number, as one."""
    return int(value)


# --- forms: what a type does not say


@dataclass(frozen=True)
class Form:
    """A further demand on a value of the right type. ``test`` gives the reason against it (empty: none) and the fix."""

    test: Callable[[Any], tuple[str, str]]


def between(low: int, high: int, why: str, also: Sequence[int] = (), never: Mapping[int, str] | None = None) -> Form:
    """A whole number from ``low`` to ``high``, or one of ``also``; ``never`` maps refused numbers to the reason."""

    def test(value: Any) -> tuple[str, str]:
        number = as_int(value)
        if number in (never or {}):
            return f"is {(never or {})[number]}", f"write a number from {low} to {high}"
        if number in also or low <= number <= high:
            return "", ""
        others = f" (or {', '.join(map(str, also))})" if also else ""
        return f"is not from {low} to {high}{others}: {why}", f"write a number from {low} to {high}{others}"

    return Form(test)


def is_dns_label(text: str) -> bool:
    """One part of a name, RFC 1123."""
    return bool(LABEL.fullmatch(text))


def is_dns_name(text: str) -> bool:
    """A name of such parts with dots between them."""
    return 0 < len(text) <= NAME_LIMIT and all(map(is_dns_label, text.split(".")))


def is_label_key(text: str) -> bool:
    """The key of a Kubernetes label or taint."""
    prefix, slash, name = text.rpartition("/")
    return bool(QUALIFIED.fullmatch(name)) and (not slash or is_dns_name(prefix))


def is_label_value(text: str) -> bool:
    """The value of a Kubernetes label or taint; empty is one."""
    return text == "" or bool(QUALIFIED.fullmatch(text))


def _dns_label(value: Any) -> tuple[str, str]:
    if is_dns_label(value):
        return "", ""
    return (
        "is not a DNS label (RFC 1123)",
        "use lower-case letters, digits and hyphens, at most 63, a letter or digit at both ends",
    )


def _dns_name(value: Any) -> tuple[str, str]:
    if is_dns_name(value):
        return "", ""
    return (
        "is not a DNS name (RFC 1123)",
        "use lower-case letters, digits and hyphens in parts of at most 63, dots between them",
    )


def _network(value: Any) -> tuple[str, str]:
    try:
        addresses.network(value)
    except addresses.AddressError as error:
        return error.reason, error.fix
    return "", ""


def _network_or_address(value: Any) -> tuple[str, str]:
    return _network(value) if "/" in value else _address(value)


def _ports(value: Any) -> tuple[str, str]:
    """A port, or a range of ports."""
    parts = str(value).split("-") if isinstance(value, (int, str)) and not isinstance(value, bool) else []
    numbers = [int(part) for part in parts if re.fullmatch(r"[0-9]{1,5}", part)]
    if (
        len(numbers) == len(parts)
        and len(numbers) in (1, 2)
        and numbers == sorted(numbers)
        and numbers[0] > 0
        and numbers[-1] <= 65535
    ):
        return "", ""
    return "is neither a port nor a range of ports", "write a number from 1 to 65535, or first-last"


def _range(value: Any) -> tuple[str, str]:
    try:
        addresses.network_or_range(value)
    except addresses.AddressError as error:
        return error.reason, error.fix or "write a network (192.0.2.0/28) or a range (192.0.2.10-192.0.2.20)"
    return "", ""


def _address(value: Any) -> tuple[str, str]:
    try:
        addresses.address(value)
    except addresses.AddressError as error:
        return error.reason, error.fix or "write an address, 192.0.2.10 say; a host name does not do"
    return "", ""


def _optional_address(value: Any) -> tuple[str, str]:
    return _address(value) if value else ("", "")


def _optional_network(value: Any) -> tuple[str, str]:
    return _network(value) if value else ("", "")


def _address_or_name(value: Any) -> tuple[str, str]:
    if value == "" or (is_dns_name(value) and not re.fullmatch(r"[0-9.]+", value)) or not _address(value)[0]:
        return "", ""
    return "is neither an address nor a DNS name", "write an address, or a name in lower case"


def _url(value: Any) -> tuple[str, str]:
    if value == "":
        return "", ""
    fix = "write http://host:port or https://host:port, with a path when there is one"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        return f"is not a URL: {error}", fix
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", value):
        return "is not an http or https URL", fix
    if parts.username is not None or parts.password is not None:
        return "has a user name or password in it, which ends in logs and files", "use a mirror without, or ~/.netrc"
    return ("has port 0", fix) if port == 0 else ("", "")


def _registry(value: Any) -> tuple[str, str]:
    reason, fix = _url(value)
    if reason or value == "":
        return reason, fix
    if urlsplit(value).path.strip("/") or urlsplit(value).query:
        return "has a path; a registry's API is at the root of its server", "write http://host:port"
    return "", ""


def _community(value: Any) -> tuple[str, str]:
    """A standard community (RFC 1997) or a large one (RFC 8092), as MetalLB writes them."""
    large = value.startswith("large:")
    parts = value.removeprefix("large:").split(":")
    limit = 0xFFFFFFFF if large else 0xFFFF
    if len(parts) == (3 if large else 2) and all(
        re.fullmatch("[0-9]{1,10}", part) and int(part) <= limit for part in parts
    ):
        return "", ""
    return "is not a BGP community", "write 64512:100 (two numbers of 16 bits), or large:64512:1:100 (three of 32 bits)"


def _not_all(value: Any) -> tuple[str, str]:
    if value.strip().lower() == "all":
        return "switches off every check of kubeadm, those of the future too", "name the checks that are to be warnings"
    return "", ""


def _mirrors(value: Any) -> tuple[str, str]:
    """``{upstream host: [URL, ...]}``, as containerd's certs.d takes it."""
    fix = "write {docker.io: [https://mirror.example.org]}"
    for host, urls in value.items():
        name = str(host).partition(":")[0]
        if not isinstance(host, str) or not (name == "_default" or is_dns_name(name) or not _address(name)[0]):
            return "has a key that is no host of a registry", fix
        if not isinstance(urls, (list, tuple)):
            return f"has {kind(urls)} for {host}, must be a list of URLs", fix
        for url in urls:
            reason = "is not a text" if not isinstance(url, str) else _url(url)[0] or ("is empty" if not url else "")
            if reason:
                return f"has a mirror of {host} that {reason}", fix
    return "", ""


def _no_proxy(value: Any) -> tuple[str, str]:
    return proxies.entry_problem(value)


def _proxy(value: Any) -> tuple[str, str]:
    return proxies.url_problem(value)


AS_NUMBER = between(
    1,
    4294967294,
    "an AS number has 32 bits (RFC 6793)",
    never={
        0: "reserved (RFC 7607)",
        23456: "AS_TRANS, reserved (RFC 6793)",
        65535: "reserved (RFC 7300)",
        4294967295: "reserved (RFC 7300)",
    },
)
PORT = between(1, 65535, "a TCP port has 16 bits")

# By path of the variable; [] stands for every element of a list.
FORMS: Mapping[str, Form] = {
    "cluster_name": Form(_dns_label),
    "cluster_domain": Form(_dns_name),
    "cluster_bundle_mirror_url": Form(_url),
    "cluster_bundle_registry": Form(_registry),
    **{
        f"{who}_{name}_proxy": Form(_proxy)
        for who in ("cluster", "bundle", "container_runtime")
        for name in ("http", "https")
    },
    "cluster_no_proxy[]": Form(_no_proxy),
    "bundle_no_proxy[]": Form(_no_proxy),
    "container_runtime_no_proxy[]": Form(_no_proxy),
    # 2048: the largest block of Calico (/20) has two addresses for each pod then; the kubelet's own limit is far off.
    "cluster_pods_per_node": between(1, 2048, "above 2,048 a Calico block has no two addresses for each pod"),
    "cluster_planned_nodes": between(
        1, 65536, "no cluster comes near that, and addresses are planned for each", also=(0,)
    ),
    "cluster_surge_nodes": between(0, 1024, "these nodes stand beside others for the time of their replacement"),
    "cluster_pod_cidrs[]": Form(_network),
    "cluster_service_cidrs[]": Form(_network),
    "cluster_node_ip": Form(_address),
    "cluster_node_second_ip": Form(_optional_address),
    "cluster_api_endpoint_address": Form(_address_or_name),
    "cluster_api_endpoint_port": PORT,
    "cluster_api_certificate_sans[]": Form(_address_or_name),
    "cluster_calico_block_size": between(20, 32, "Calico's IPv4 blocks are /20 to /32", also=(0,)),
    "cluster_bgp_as_number": AS_NUMBER,
    **{
        f"{peers}[].{name}": form
        for peers in ("cluster_bgp_peers", "cluster_api_endpoint_bgp_peers")
        for name, form in {
            "address": Form(_address),
            "as_number": AS_NUMBER,
            "port": PORT,
            "reachable_by": Form(_optional_address),
            "ttl_security": between(0, 254, "a packet has a TTL of 8 bits (RFC 5082)"),
            "max_restart_seconds": between(0, 4095, "the restart time has 12 bits (RFC 4724)"),
            "allowed_own_as": between(0, 10, "each one lets a loop of routes run a round longer"),
            "max_prefixes": between(0, 10_000_000, "a router's table is smaller"),
            "local_preference": between(0, 4294967295, "a local preference has 32 bits (RFC 4271)"),
        }.items()
    },
    "cluster_api_endpoint_bgp_source": Form(_optional_address),
    "cluster_bgp_graceful_restart_seconds": between(0, 4095, "the restart time has 12 bits (RFC 4724)"),
    "cluster_bgp_filters[].name": Form(_dns_name),
    "cluster_bgp_filters[].import_rules[].cidr": Form(_optional_network),
    "cluster_bgp_filters[].export_rules[].cidr": Form(_optional_network),
    "cluster_bgp_communities[].name": Form(_dns_name),
    "cluster_bgp_advertisements[].cidr": Form(_network),
    "cluster_bgp_external_cidrs[]": Form(_network),
    "cluster_pod_pools[].name": Form(_dns_name),
    "cluster_pod_pools[].cidr": Form(_network),
    "cluster_pod_pools[].block_size": between(
        20, 128, "Calico's IPv4 blocks are /20 to /32, IPv6 ones to /128", also=(0,)
    ),
    "cluster_mtu": between(68, 65535, "an MTU is a number of bytes; 9000 is common for jumbo frames", also=(0,)),
    "cluster_load_balancer_pools[].name": Form(_dns_name),
    "cluster_load_balancer_pools[].addresses[]": Form(_range),
    "cluster_load_balancer_pools[].priority": between(1, 2147483647, "MetalLB takes 0 for no priority"),
    "cluster_load_balancer_pools[].namespaces[]": Form(_dns_label),
    "cluster_load_balancer_pools[].peers[]": Form(_address),
    "cluster_load_balancer_pools[].communities[]": Form(_community),
    "cluster_load_balancer_pools[].local_preference": between(0, 2147483647, "MetalLB's definition has 31 bits for it"),
    "cluster_load_balancer_pools[].aggregation_length": between(1, 32, "an IPv4 prefix has at most 32 bits"),
    "cluster_load_balancer_pools[].aggregation_length_v6": between(1, 128, "an IPv6 prefix has at most 128 bits"),
    "cluster_load_balancer_l2_prefix_length": between(1, 127, "it is the prefix length of a segment", also=(0,)),
    "cluster_load_balancer_bgp_hold_seconds": between(
        3, 240, "shorter ones than 3 s are refused (RFC 4271), and a router would keep a dead node's routes for minutes"
    ),
    **{
        f"cluster_load_balancer_bfd.{name}": between(10, 60000, "MetalLB's BFDProfile takes 10 to 60000 ms")
        for name in (
            "transmit_interval_milliseconds",
            "receive_interval_milliseconds",
            "echo_interval_milliseconds",
        )
    },
    "cluster_load_balancer_bfd.detect_multiplier": between(2, 255, "MetalLB's BFDProfile takes 2 to 255"),
    "cluster_load_balancer_bfd.minimum_ttl": between(1, 254, "a TTL to be exceeded is 1 to 254"),
    "cluster_firewall_admin_cidrs[]": Form(_network_or_address),
    "cluster_firewall_api_cidrs[]": Form(_network_or_address),
    "cluster_firewall_scraper_cidrs[]": Form(_network_or_address),
    "cluster_firewall_node_port_cidrs[]": Form(_network_or_address),
    "cluster_firewall_rules[].ports[]": Form(_ports),
    # Shorter than ssh's own time-out no new connection could be tried twice.
    "node_firewall_rollback_seconds": between(
        20, 600, "ssh needs the time for a second attempt, and people wait for the way back"
    ),
    "cluster_kubeadm_ignore_preflight_errors[]": Form(_not_all),
    "control_plane_kubeadm_ignore_preflight_errors[]": Form(_not_all),
    "worker_kubeadm_ignore_preflight_errors[]": Form(_not_all),
    # A run of minutes must not lose its lease; a day is longer than any run.
    "cluster_lease_seconds": between(
        60, 86400, "a lease shorter than a minute runs out inside a run, one over a day outlives it"
    ),
    "cluster_interpreter_seconds": between(
        10, 3600, "the tasks of a run on one host are seconds to minutes apart, and memory is held meanwhile", also=(0,)
    ),
    "container_runtime_registry_mirrors": Form(_mirrors),
    "os_prep_time_servers[]": Form(_address_or_name),
    "bundle_debian_mirror": Form(_url),
    "bundle_serve_port": PORT,
    "calico_mtu": between(68, 65535, "an MTU is a number of bytes; 9000 is common for jumbo frames", also=(0,)),
    "calico_typha_replicas": between(0, 100, "one replica serves 100 to 200 nodes"),
    "calico_as_number": between(1, 4294967294, "an AS number has 32 bits (RFC 6793)", also=(0,)),
    "tor_config_addresses[]": Form(_address),
    "tor_config_as_number": between(0, 4294967294, "an AS number has 32 bits (RFC 6793)"),
    "tor_config_router_id": Form(_optional_address),
    "tor_config_listen_ranges[]": Form(_network),
    "tor_config_uplinks[].address": Form(_address),
    "tor_config_uplinks[].as_number": AS_NUMBER,
    "tor_config_networks[]": Form(_network),
    "tor_config_accepted_networks[]": Form(_network),
    "tor_config_maximum_paths": between(1, 256, "FRR is built for at most 256 paths"),
    "tor_config_keepalive_seconds": between(1, 21845, "the hold time has 16 bits and three keepalives fit it"),
    "tor_config_hold_seconds": between(3, 65535, "a hold time is 0 or at least 3 seconds (RFC 4271)", also=(0,)),
    "tor_config_local_preference": between(0, 4294967295, "a local preference has 32 bits (RFC 4271)"),
    "kubelet_pods_per_node": between(1, 2048, "above 2,048 a Calico block has no two addresses for each pod"),
    "kubelet_node_ip": Form(_address),
    "kubelet_node_second_ip": Form(_optional_address),
    "worker_node_ip": Form(_address),
    "control_plane_node_ip": Form(_address),
    "pki_node_ip": Form(_address),
    "calico_pod_cidrs[]": Form(_network),
    "cilium_pod_cidrs[]": Form(_network),
    "calico_service_cidrs[]": Form(_network),
    "calico_block_size": between(20, 32, "Calico's IPv4 blocks are /20 to /32", also=(0,)),
    "api_endpoint_port": PORT,
    "api_endpoint_bgp_hold_seconds": between(
        3,
        240,
        "shorter ones than 3 s are refused (RFC 4271), and a router would keep a dead control plane's route for minutes",
    ),
    "api_endpoint_bfd_interval_milliseconds": between(50, 10000, "shorter ones end sessions when the machine is busy"),
    "api_endpoint_bfd_multiplier": between(
        2, 255, "it has 8 bits, and one lost packet must not end the session (RFC 5880)"
    ),
    "api_endpoint_check_interval_milliseconds": between(
        200, 10000, "an API server that answers each node more often than that does little else", also=(0,)
    ),
    "api_endpoint_vrrp_router_id": between(1, 255, "a VRRP router id has 8 bits, 0 is reserved (RFC 5798)"),
    "api_endpoint_vrrp_prefix_length": between(1, 128, "a prefix length has at most 32 (IPv4) or 128 (IPv6) bits"),
}


# --- the question


def check(option: Option, value: Any, path: str = "", place: str = "", secret: bool = False) -> Iterator[Finding]:
    """Everything that is wrong with ``value`` for ``option``.

    :param path: where the value stands, ``cluster_bgp_peers[0].as_number``; default: the option's name.
    :param place: the same with [] for indexes, the key in :data:`FORMS`.
    :param secret: hide the value in findings.
    """
    path, place = path or option.name, place or option.name
    secret = secret or option.no_log

    def finding(reason: str, fix: str) -> Finding:
        return Finding(path, shown(path, value, secret), reason, fix)

    if value is None:
        if option.required or (option.has_default and option.default is not None):
            # An entry in YAML without a value is null: it replaces the default.
            yield finding("is null", "give it a value, or remove the line to get the default")
        return
    words, test = TYPES.get(option.type, TYPES["raw"])
    fix = test(value)
    if fix is not None:
        yield finding(f"is {kind(value)}, must be {words}", fix)
        return
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        yield finding(f"has {len(value)} characters", f"use at most {LONGEST_TEXT}")
        return
    if option.choices and value not in option.choices:
        if (option.name, value) in REFUSED_CHOICES:
            yield finding(*REFUSED_CHOICES[option.name, value])
            return
        near = suggestion(str(value), map(str, option.choices))
        yield finding(
            f"is not one of {', '.join(map(str, option.choices))}",
            near or f"choose one of {', '.join(map(str, option.choices))}",
        )
        return
    if place in FORMS:
        reason, fix = FORMS[place].test(value)
        if reason:
            yield finding(reason, fix)
    yield from _check_inside(option, value, path, place, secret)


def _check_inside(option: Option, value: Any, path: str, place: str, secret: bool) -> Iterator[Finding]:
    if isinstance(value, (list, tuple)) and (option.elements or option.options):
        element = Option(option.name, option.elements or "dict", required=True, options=option.options)
        for index, item in enumerate(value):
            yield from check(element, item, f"{path}[{index}]", f"{place}[]", secret)
    elif isinstance(value, Mapping) and option.options:
        yield from _check_keys(option, value, path, place, secret)


def _check_keys(option: Option, value: Mapping[Any, Any], path: str, place: str, secret: bool) -> Iterator[Finding]:
    for key in value:
        if key not in option.options:
            near = suggestion(str(key), option.options)
            where = f"{path}.{str(key)[:SHOWN_CHARACTERS]}"
            yield Finding(
                where,
                shown(where, value[key], secret),
                "is not a known key",
                near or f"the keys are {', '.join(option.options)}",
            )
    for key, child in option.options.items():
        if key in value:
            yield from check(child, value[key], f"{path}.{key}", f"{place}.{key}", secret)
        elif child.required:
            yield Finding(f"{path}.{key}", "", "is missing", f"add {key}: {TYPES[child.type][0]}")
