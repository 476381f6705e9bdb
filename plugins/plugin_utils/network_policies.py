# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a short description of who may speak with whom to NetworkPolicy objects: nothing passes but DNS and what is described.

Pure functions. A *description* is ``{namespace: {dns: bool, flows: [{from: side, to: side, ports: [...]}]}}``; a *side* says who: ``pods`` (labels, empty
means all of the namespace) with ``namespace`` (default: the one described), ``cidr`` with ``except``, ``nodes: true`` or ``api: true``. Ports are ``8080``
(TCP), ``"53/UDP"`` or ``"8000-8080/TCP"``. A flow between two described namespaces opens both ends. Fields and meaning:
kubernetes.io/docs/concepts/services-networking/network-policies.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import node_local_dns

Object = dict[str, Any]

OWNER = "network-policies"
DEFAULT_DENY, ALLOW_DNS = "default-deny", "allow-dns"
#: set by the API server on every namespace (KEP-2161)
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
DNS_NAMESPACE, DNS_LABELS, DNS_PORT = "kube-system", {"k8s-app": "kube-dns"}, 53
API_PORT = 6443
#: Namespaces of the cluster's own parts: a default-deny there cuts DNS, the network plugin and this collection's own proof.
SYSTEM_NAMESPACES = frozenset(
    {"kube-system", "kube-public", "kube-node-lease", "metallb-system", "bare-metal-system", "calico-system"}
)
PROTOCOLS = ("TCP", "UDP", "SCTP")
PORT = re.compile(r"(?P<first>\d{1,5})(-(?P<last>\d{1,5}))?(/(?P<protocol>TCP|UDP|SCTP))?", re.IGNORECASE)
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
SIDE_KEYS = frozenset({"pods", "namespace", "cidr", "except", "nodes", "api"})


class PolicyError(Exception):
    """The description cannot be made into policies. ``path`` is where, ``reason`` why, ``fix`` what to write instead."""

    def __init__(self, path: str, reason: str, fix: str) -> None:
        super().__init__(f"{path} {reason}; {fix}")
        self.path, self.reason, self.fix = path, reason, fix


@dataclass(frozen=True)
class Port:
    """A port or a range of ports of one protocol; ``last`` is 0 for a single one."""

    protocol: str
    first: int
    last: int = 0

    def as_data(self) -> Object:
        """As an entry of ``ports`` of a NetworkPolicy's rule."""
        return {"protocol": self.protocol, "port": self.first, **({"endPort": self.last} if self.last else {})}


@dataclass(frozen=True)
class Side:
    """One end of a flow: pods of a namespace, or addresses (``cidrs``, without ``excepted``)."""

    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    cidrs: tuple[str, ...] = ()
    excepted: tuple[str, ...] = ()

    @property
    def is_pods(self) -> bool:
        """Is it pods, not addresses?"""
        return bool(self.namespace)

    def selector(self) -> Object:
        """The ``podSelector`` of these pods."""
        return {"matchLabels": dict(self.labels)} if self.labels else {}

    def peers(self, home: str) -> list[Object]:
        """As ``from`` or ``to`` of a rule in a policy of namespace ``home``."""
        if not self.is_pods:
            return [
                {"ipBlock": {"cidr": cidr, **({"except": inside} if (inside := _inside(cidr, self.excepted)) else {})}}
                for cidr in self.cidrs
            ]
        peer: Object = {"podSelector": self.selector()}
        if self.namespace != home:
            peer["namespaceSelector"] = {"matchLabels": {NAMESPACE_LABEL: self.namespace}}
        return [peer]


@dataclass(frozen=True)
class Flow:
    """Connections that may be opened: from whom, to whom, on which ports (none: all)."""

    source: Side
    target: Side
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What a description can name without writing it down: addresses of the nodes, and those of them that serve the API."""

    nodes: tuple[str, ...] = ()
    api: tuple[str, ...] = ()
    api_port: int = API_PORT


@dataclass(frozen=True)
class Described:
    """One namespace as it was described."""

    name: str
    dns: bool = True
    flows: tuple[Flow, ...] = field(default_factory=tuple)


# --- reading the description


def _inside(cidr: str, others: Iterable[str]) -> list[str]:
    network: Any = ipaddress.ip_network(cidr)
    return [
        other
        for other in others
        if (inner := ipaddress.ip_network(other)).version == network.version and inner.subnet_of(network)
    ]


def _cidr(value: Any, path: str) -> str:
    try:
        return str(ipaddress.ip_network(str(value)))
    except ValueError as error:
        raise PolicyError(
            path, f"is no network ({error})", "write a CIDR without host bits, 203.0.113.0/24 or 203.0.113.7/32"
        ) from error


def _single(address: str) -> str:
    return str(ipaddress.ip_network(address))


def port_of(value: Any, path: str = "ports") -> Port:
    """Read ``8080``, ``"53/UDP"`` or ``"8000-8080/TCP"``."""
    match = PORT.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
    first, last = (int(match["first"]), int(match["last"] or 0)) if match else (0, 0)
    if match is None or not 1 <= first <= 65535 or (match["last"] and not first <= last <= 65535):
        raise PolicyError(path, f"is {value!r}, no port", 'write 8080, "53/UDP" or "8000-8080/TCP", from 1 to 65535')
    return Port((match["protocol"] or "TCP").upper(), first, last if last != first else 0)


def _labels(value: Any, path: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise PolicyError(
            path, f"is {value!r}", "write labels as a dictionary of texts, {app: shop}; {} means all pods"
        )
    return tuple(sorted((str(key), str(text)) for key, text in value.items()))


def _side(value: Any, home: str, around: Surroundings, path: str) -> Side:
    if not isinstance(value, Mapping) or not value:
        raise PolicyError(path, f"is {value!r}", "write a dictionary with pods, cidr, nodes or api")
    unknown = sorted(map(str, set(value) - SIDE_KEYS))
    if unknown:
        raise PolicyError(path, f"has the unknown key {unknown[0]}", f"the keys are {', '.join(sorted(SIDE_KEYS))}")
    ways = [key for key in ("pods", "cidr", "nodes", "api") if value.get(key) not in (None, False)]
    if len(ways) != 1 or not (ways == ["pods"] or "namespace" not in value) or ("except" in value) > (ways == ["cidr"]):
        raise PolicyError(
            path, "names not exactly one end", "use one of pods (with namespace), cidr (with except), nodes or api"
        )
    if ways == ["pods"]:
        namespace = value.get("namespace", home)
        if not isinstance(namespace, str) or not LABEL.fullmatch(namespace):
            raise PolicyError(f"{path}.namespace", f"is {namespace!r}", "write the name of a namespace")
        return Side(namespace, _labels(value["pods"], f"{path}.pods"))
    if ways == ["cidr"]:
        excepted = value.get("except", [])
        if not isinstance(excepted, (list, tuple)):
            raise PolicyError(f"{path}.except", f"is {excepted!r}", "write a list of CIDRs")
        cidr = _cidr(value["cidr"], f"{path}.cidr")
        parts = tuple(_cidr(entry, f"{path}.except[{number}]") for number, entry in enumerate(excepted))
        outside = sorted(set(parts) - set(_inside(cidr, parts)))
        if outside:
            raise PolicyError(f"{path}.except", f"{outside[0]} is no part of {cidr}", "take it out")
        return Side(cidrs=(cidr,), excepted=parts)
    addresses = around.nodes if ways == ["nodes"] else around.api
    return Side(cidrs=tuple(map(_single, addresses)))


def _flow(value: Any, home: str, around: Surroundings, path: str) -> Flow:
    if not isinstance(value, Mapping) or not {"from", "to"} <= set(value) <= {"from", "to", "ports", "name"}:
        raise PolicyError(path, "is no flow", "write {from: ..., to: ..., ports: [...]}")
    source = _side(value["from"], home, around, f"{path}.from")
    target = _side(value["to"], home, around, f"{path}.to")
    if home not in (source.namespace, target.namespace):
        raise PolicyError(
            path, f"has no end in namespace {home}", "describe it with the namespace that one of its ends is in"
        )
    listed = value.get("ports", [])
    if not isinstance(listed, (list, tuple)):
        raise PolicyError(f"{path}.ports", f"is {listed!r}", "write a list")
    ports = [port_of(port, f"{path}.ports[{number}]") for number, port in enumerate(listed)]
    if not ports and value["to"].get("api"):
        ports = [Port("TCP", around.api_port)]
    return Flow(source, target, tuple(ports))


def read(
    description: Mapping[str, Any], around: Surroundings, path: str = "cluster_network_policies"
) -> list[Described]:
    """Read a whole description, namespaces in order of name.

    :raises PolicyError: the first thing that does not fit; :func:`problems` gives all of them.
    """
    return [_described(str(name), value, around, f"{path}.{name}") for name, value in sorted(description.items())]


def _described(name: str, value: Any, around: Surroundings, path: str) -> Described:
    if not LABEL.fullmatch(name):
        raise PolicyError(path, "is no name of a namespace", "use lower-case letters, digits and hyphens (RFC 1123)")
    if name in SYSTEM_NAMESPACES:
        raise PolicyError(
            path,
            "is a namespace of the cluster's own parts; to deny there cuts DNS, the network plugin or this collection's probes",
            "leave it out, or write NetworkPolicy objects of your own",
        )
    value = {} if value is None else value
    if not isinstance(value, Mapping) or not set(value) <= {"dns", "flows"}:
        raise PolicyError(path, "is no description", "write {dns: true, flows: [...]}; an empty one allows DNS only")
    dns, flows = value.get("dns", True), value.get("flows") or []
    if not isinstance(dns, bool):
        raise PolicyError(f"{path}.dns", f"is {dns!r}", "write true or false")
    if not isinstance(flows, (list, tuple)):
        raise PolicyError(f"{path}.flows", f"is {flows!r}", "write a list of {from, to, ports}")
    return Described(
        name,
        dns,
        tuple(_flow(flow, name, around, f"{path}.flows[{number}]") for number, flow in enumerate(flows)),
    )


def problems(description: Any, around: Surroundings) -> Iterator[PolicyError]:
    """Everything that is wrong with a description, at most one thing for each flow."""
    path = "cluster_network_policies"
    if not isinstance(description, Mapping):
        yield PolicyError(path, f"is {description!r}", "write {namespace: {flows: [...]}}")
        return
    for name, value in sorted(description.items(), key=lambda item: str(item[0])):
        here = f"{path}.{name}"
        whole = value if isinstance(value, Mapping) else {}
        flows = whole.get("flows") if isinstance(whole.get("flows"), (list, tuple)) else []
        bare = {**whole, "flows": []} if flows else value
        for read_part in (
            lambda name=name, bare=bare, here=here: _described(str(name), bare, around, here),
            *(
                lambda name=name, flow=flow, at=f"{here}.flows[{number}]": _flow(flow, str(name), around, at)
                for number, flow in enumerate(flows or [])
            ),
        ):
            try:
                read_part()
            except PolicyError as error:
                yield error


# --- objects


def _policy(namespace: str, name: str, spec: Mapping[str, Any]) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def _name(direction: str, spec: Mapping[str, Any]) -> str:
    # By content: taking a flow out of the middle renames no other policy.
    return f"{direction}-{hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:10]}"


def _ends(flow: Flow, described: frozenset[str]) -> Iterator[Object]:
    ports = {"ports": [port.as_data() for port in flow.ports]} if flow.ports else {}
    for direction, inside, other, key in (
        ("Ingress", flow.target, flow.source, "from"),
        ("Egress", flow.source, flow.target, "to"),
    ):
        peers = other.peers(inside.namespace)
        if inside.namespace in described and peers:
            spec = {
                "podSelector": inside.selector(),
                "policyTypes": [direction],
                direction.lower(): [{key: peers, **ports}],
            }
            yield _policy(inside.namespace, _name(direction.lower(), spec), spec)


def objects(described: Sequence[Described], cached_dns: bool = False) -> list[Object]:
    """The namespaces and their policies, every policy once, in a stable order.

    :param cached_dns: some nodes have a DNS cache, which pods ask at its own address.
    """
    names = frozenset(entry.name for entry in described)
    found: dict[tuple[str, str], Object] = {}
    for entry in described:
        wanted = [_policy(entry.name, DEFAULT_DENY, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})]
        if entry.dns:
            peer = {
                "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: DNS_NAMESPACE}},
                "podSelector": {"matchLabels": DNS_LABELS},
            }
            peers: list[Object] = [peer]
            if cached_dns:
                peers.append({"ipBlock": {"cidr": f"{node_local_dns.ADDRESS}/32"}})
            ports = [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")]
            wanted.append(
                _policy(
                    entry.name,
                    ALLOW_DNS,
                    {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": peers, "ports": ports}]},
                )
            )
        for flow in entry.flows:
            wanted += _ends(flow, names)
        for policy in wanted:
            found[policy["metadata"]["namespace"], policy["metadata"]["name"]] = policy
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(names)]
    return spaces + [found[key] for key in sorted(found)]
