# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory as the rules of ``validate_cluster`` see it, and what they find.

Pure. A :class:`View` shows only values that fit their declaration, so a rule never meets one of a wrong type.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, calico, cluster_schema
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.addresses import AddressError, Span
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import Specs, shown

NODE_GROUPS = ("control_plane", "workers")
CLUSTER_GROUPS = ("control_plane", "etcd", "workers")


@dataclass(frozen=True)
class Host:
    """A host of the inventory.

    ``variables``: effective values of declared variables, as plain data. ``given``: names that the inventory (or the command line) sets, in our
    prefixes or near them, and where (``file:line`` or empty). ``failures``: declared variables that could not be evaluated, and why.
    """

    name: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ClusterInput:
    """An inventory and what it is judged by.

    ``groups``: every group with all its hosts, those of child groups too. ``kubernetes_versions``: what the lock file has for each release set.
    ``unbuildable``: release sets that ``cluster_bundle_source: build`` cannot make, and why. ``controller``: the variables that the controller's
    own tasks see, which fill the bundle. ``images``: the last two parts of the names of each release set's images. ``component_versions``: what each
    release set has of each component.
    """

    hosts: Sequence[Host]
    groups: Mapping[str, Sequence[str]]
    specs: Specs
    kubernetes_versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unbuildable: Mapping[str, str] = field(default_factory=dict)
    controller: Host | None = None
    images: Mapping[str, frozenset[str]] = field(default_factory=dict)
    component_versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. ``variable`` is a path (``cluster_bgp_peers[0].address``), or a group or host where no variable is at fault;
    ``value`` is ready to be shown; ``hosts`` is empty when it concerns the inventory as a whole; ``source`` is ``file:line`` or empty.
    """

    variable: str
    reason: str
    fix: str
    value: str = ""
    hosts: tuple[str, ...] = ()
    source: str = ""
    warning: bool = False
    rule: str = ""


@dataclass(frozen=True)
class Report:
    """The verdict: all errors, all warnings, and what the address plan gives (:func:`capacity`)."""

    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    capacity: Mapping[str, Any]


@dataclass(frozen=True)
class Growth:
    """How many nodes an address plan has to carry: those of the inventory, up to ``planned`` (at least these), and ``surge`` beside them."""

    nodes: int
    planned: int
    surge: int

    @property
    def more(self) -> int:
        """Nodes that the inventory does not have yet."""
        return self.planned - self.nodes

    @property
    def total(self) -> int:
        """All that may stand at once."""
        return self.planned + self.surge

    @property
    def words(self) -> str:
        """Where the total comes from; empty when it is the inventory's nodes."""
        parts = [f"{self.nodes} now"]
        parts += [f"{self.more} more (cluster_planned_nodes)"] if self.more else []
        parts += [f"{self.surge} beside them (cluster_surge_nodes)"] if self.surge else []
        return f" = {' + '.join(parts)}" if len(parts) > 1 else ""


class View:
    """The questions that rules ask of an inventory. Only values that fit their declaration are seen through it."""

    def __init__(self, given: ClusterInput) -> None:
        self.input = given
        self.options = {name: option for role in given.specs.values() for name, option in role.items()}
        self.hosts = {host.name: host for host in given.hosts}
        self.findings: list[tuple[Host, cluster_schema.Finding]] = []
        self._bad: set[tuple[str, str]] = set()
        self._keys: dict[int, str] = {}
        self._common: dict[str, Any] = {}
        self._judge()

    def _judge(self) -> None:
        # The same value of the same variable is judged once, not once a host.
        judged: dict[tuple[str, str], tuple[cluster_schema.Finding, ...]] = {}
        for host in self.input.hosts:
            for name, value in host.variables.items():
                option = self.options.get(name)
                if option is None:
                    continue
                secret = name in host.secrets
                key = (name, f"{secret} {type(value).__name__} {key_of(value)}")
                if key not in judged:
                    judged[key] = tuple(cluster_schema.check(option, value, secret=secret))
                if judged[key]:
                    self._bad.add((host.name, name))
                    self.findings += [(host, finding) for finding in judged[key]]

    def group(self, name: str) -> list[Host]:
        """The hosts of a group, by name; a group that does not exist has none."""
        return [self.hosts[host] for host in sorted(set(self.input.groups.get(name, ()))) if host in self.hosts]

    def union(self, names: Iterable[str]) -> list[Host]:
        """The hosts of several groups, each once, by name."""
        found = {host.name: host for name in names for host in self.group(name)}
        return [found[name] for name in sorted(found)]

    @cached_property
    def nodes(self) -> list[Host]:
        """Hosts that become nodes of Kubernetes."""
        return self.union(NODE_GROUPS)

    @cached_property
    def members(self) -> list[Host]:
        """Nodes and etcd members."""
        return self.union(CLUSTER_GROUPS)

    def value(self, host: Host, name: str) -> Any:
        """The value of a variable on a host, or nothing when it does not fit its declaration."""
        return None if (host.name, name) in self._bad else host.variables.get(name)

    def number(self, host: Host, name: str) -> int | None:
        """The same for a whole number."""
        value = self.value(host, name)
        return None if value is None else cluster_schema.as_int(value)

    def common(self, name: str) -> Any:
        """The value that all cluster hosts have; nothing when they differ (a problem of its own) or none has one."""
        # Kept, because rules ask for it host by host.
        if name not in self._common:
            found = [value for value, _hosts in self.values_of(self.members, name) if value is not None]
            self._common[name] = found[0] if len(found) == 1 else None
        return self._common[name]

    def alike(self, hosts: Iterable[Host], *names: str) -> list[tuple[Host, tuple[str, ...]]]:
        """Hosts with the same values of some variables from the same places: one of them, and the names of all. Each is judged once."""
        found: dict[tuple[str, ...], list[Host]] = {}
        for host in hosts:
            key = tuple(part for name in names for part in (self._key(host, name), self.source(host, name)))
            found.setdefault(key, []).append(host)
        return [(like[0], tuple(host.name for host in like)) for like in found.values()]

    def values_of(self, hosts: Iterable[Host], name: str) -> list[tuple[Any, list[Host]]]:
        """The values that hosts have of a variable (nothing: the role's default), each with its hosts."""
        found: dict[str, tuple[Any, list[Host]]] = {}
        for host in hosts:
            found.setdefault(self._key(host, name), (self.value(host, name), []))[1].append(host)
        return list(found.values())

    def _key(self, host: Host, name: str) -> str:
        value = self.value(host, name)
        # Group variables are the same objects for many hosts; they live as long as the inventory does.
        if isinstance(value, (dict, list)):
            if id(value) not in self._keys:
                self._keys[id(value)] = key_of(value)
            return self._keys[id(value)]
        return key_of(value)

    def source(self, host: Host, name: str) -> str:
        """Where a host got the variable from, as far as Ansible tells."""
        return host.given.get(name.split(".")[0].split("[")[0], "")

    def about(
        self, host: Host, name: str, reason: str, fix: str, *, value: Any = None, warning: bool = False
    ) -> Problem:
        """A problem with a host's variable. ``value``: what is shown, default the variable's."""
        base = re.split(r"[.\[]", name)[0]
        found = host.variables.get(base) if value is None else value
        text = "" if found is None else shown(name, found, base in host.secrets)
        return Problem(name, reason, fix, text, (host.name,), self.source(host, name), warning)

    def cluster_problem(self, name: str, reason: str, fix: str, *, value: Any = None, warning: bool = False) -> Problem:
        """A problem with a variable that has one value in the cluster."""
        value = self.common(name) if value is None else value
        source = next((self.source(host, name) for host in self.members if self.source(host, name)), "")
        return Problem(name, reason, fix, "" if value is None else shown(name, value), (), source, warning)

    @cached_property
    def pods(self) -> list[Span]:
        """The pods' networks."""
        return self._networks("cluster_pod_cidrs", "pods")

    @cached_property
    def services(self) -> list[Span]:
        """The Services' networks."""
        return self._networks("cluster_service_cidrs", "Services")

    def _networks(self, name: str, label: str) -> list[Span]:
        return [addresses.network(text, f"{label} ({name})") for text in self.common(name) or ()]

    @cached_property
    def pools(self) -> list[tuple[str, Span]]:
        """The load balancer's addresses: the pool's name and one of its networks or ranges."""
        return [
            (
                pool["name"],
                addresses.network_or_range(text, f"load-balancer pool {pool['name']} (cluster_load_balancer_pools)"),
            )
            for pool in self.common("cluster_load_balancer_pools") or ()
            for text in pool["addresses"]
        ]

    @cached_property
    def node_addresses(self) -> list[tuple[Host, Span]]:
        """Each cluster host with its own address."""
        return [
            (host, addresses.address(text, f"host {host.name} (cluster_node_ip)"))
            for host in self.members
            if (text := self.value(host, "cluster_node_ip")) is not None
        ]

    @cached_property
    def second_addresses(self) -> list[tuple[Host, Span]]:
        """The cluster hosts that have an address of a second family, with it."""
        return [
            (host, addresses.address(text, f"host {host.name} (cluster_node_second_ip)"))
            for host in self.members
            if (text := self.value(host, "cluster_node_second_ip"))
        ]

    def endpoint(self) -> Span | None:
        """The API endpoint's address, when it is an address."""
        try:
            return addresses.address(
                self.common("cluster_api_endpoint_address") or "", "API endpoint (cluster_api_endpoint_address)"
            )
        except AddressError:
            return None

    def pods_per_node(self) -> dict[int, int]:
        """``{pods per node: number of nodes}``."""
        return dict(
            Counter(pods for host in self.nodes if (pods := self.number(host, "cluster_pods_per_node")) is not None)
        )

    @cached_property
    def growth(self) -> Growth:
        """The nodes that addresses are planned for."""
        planned, surge = (
            cluster_schema.as_int(self.common(f"cluster_{name}_nodes") or 0) for name in ("planned", "surge")
        )
        nodes = sum(self.pods_per_node().values())
        return Growth(nodes, max(nodes, planned), surge)

    def pods_per_planned_node(self) -> dict[int, int]:
        """:meth:`pods_per_node` with the nodes to come: which kind they will be nobody has said, so they count as the densest."""
        counts, growth = self.pods_per_node(), self.growth
        if counts and growth.total > growth.nodes:
            counts[max(counts)] += growth.total - growth.nodes
        return counts

    def block_size(self, pods_per_node: int) -> int:
        """Prefix length of Calico's IPv4 blocks: the inventory's, or the one that follows from the pods per node."""
        return cluster_schema.as_int(self.common("cluster_calico_block_size") or 0) or calico.block_size_for(
            pods_per_node
        )


Rule = Callable[[View], Iterator[Problem]]


def registry(rules: dict[str, Rule]) -> Callable[[Rule], Rule]:
    """A decorator that registers a rule in ``rules`` under its function's name."""

    def rule(function: Rule) -> Rule:
        rules[function.__name__] = function
        return function

    return rule


def some(names: Sequence[str], limit: int = 3) -> str:
    """Names for a message, the first ones and how many more."""
    words = [name or "(none)" for name in names]
    return ", ".join(words[:limit]) + (f" and {len(words) - limit} more" if len(words) > limit else "")


def key_of(value: Any) -> str:
    """A text that is the same for equal values, for lists and dictionaries too."""
    if isinstance(value, str):
        return "s" + value
    try:
        return json.dumps(value, sort_keys=True, default=repr)
    except (TypeError, ValueError, RecursionError):
        # Keys of mixed types, numbers beyond printing, or nested beyond sense: no other value is equal to it.
        return f"o{id(value)}"
