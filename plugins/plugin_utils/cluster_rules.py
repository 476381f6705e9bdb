# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of ``validate_cluster``: each is a function of the inventory's :class:`View` that yields what it finds.

Pure. A value that a rule cannot use (missing, of a wrong type) is another rule's problem and is passed over. The work grows with the number of
hosts, never with its square.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl import (
    SysctlError,
    normal_key,
    parse_parameters,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import addresses, cluster_schema, density
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.addresses import Span
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    CLUSTER_GROUPS,
    Host,
    Problem,
    Rule,
    View,
    key_of,
    registry,
    some,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import shown, suggestion

OTHER_GROUPS = ("bundle_server", "routers", "outside")

# What a host, a rack or a pool may have for itself. Every other cluster_* variable has one value in the whole cluster.
HOST_VARIABLES = frozenset(
    {
        "cluster_api_endpoint_bgp_peers",
        "cluster_api_endpoint_bgp_source",
        "cluster_bgp_as_number",
        "cluster_bgp_peers",
        "cluster_bgp_route_reflector",
        "cluster_bundle_registry",
        "cluster_http_proxy",
        "cluster_https_proxy",
        "cluster_kernel_parameters",
        "cluster_kubelet_configuration",
        "cluster_no_proxy",
        "cluster_node_ip",
        "cluster_node_labels",
        "cluster_node_local_dns",
        "cluster_node_second_ip",
        "cluster_node_taints",
        "cluster_pods_per_node",
        "cluster_rack",
    }
)
# Looked up or computed when they are used; they are no input.
COMPUTED_VARIABLES = frozenset(
    {"cluster_bundle_manifest", "cluster_etcd_events_separate", "cluster_firewall_table", "cluster_proxy_exceptions"}
)

# Names that earlier releases had: {name: what to write instead}. Empty until a release takes one away.
REMOVED_NAMES: dict[str, str] = {}

TYPHA_IMAGE = "calico/typha"
# Labels and Selectors, "Syntax and character set".
LONGEST_LABEL_VALUE = 63
DOCKER_DEFAULT = "172.17.0.0/16"
# kube-apiserver refuses a service range of more than 20 host bits (--service-cluster-ip-range); the tenth address is the DNS Service's.
SERVICE_HOST_BITS = 20
DNS_INDEX = 10
API_PORT = 6443
# "Considerations for large clusters", kubernetes.io: no more than 5,000 nodes and 150,000 pods.
LARGEST_CLUSTER_NODES = 5000
LARGEST_CLUSTER_PODS = 150_000

RULES: dict[str, Rule] = {}
rule = registry(RULES)


# --- variables, one by one


@rule
def evaluable(view: View) -> Iterator[Problem]:
    """A template that cannot be evaluated would stop the run somewhere in the middle."""
    for host in view.input.hosts:
        for name, reason in host.failures.items():
            text = cluster_schema.HIDDEN if cluster_schema.is_secret(name) else reason
            fix = "define what it refers to, or correct the expression"
            yield Problem(name, f"cannot be evaluated: {text}", fix, "", (host.name,), view.source(host, name))


@rule
def fits_declaration(view: View) -> Iterator[Problem]:
    """Types, choices, ranges and forms, from the roles' argument specs."""
    for host, finding in view.findings:
        yield Problem(
            finding.path,
            finding.reason,
            finding.fix,
            finding.value,
            (host.name,),
            view.source(host, finding.path),
        )


@rule
def known_names(view: View) -> Iterator[Problem]:
    """A misspelt variable is silent in Ansible: the default is used."""
    prefixes = tuple(f"{role}_" for role in view.input.specs)
    verdicts: dict[str, tuple[str, str, bool] | None] = {}
    for host in view.input.hosts:
        for name, source in host.given.items():
            if name not in verdicts:
                verdicts[name] = _name_verdict(name, prefixes, view.options)
            verdict = verdicts[name]
            if verdict:
                reason, fix, warning = verdict
                yield Problem(name, reason, fix, "", (host.name,), source, warning)


def _name_verdict(name: str, prefixes: tuple[str, ...], known: Iterable[str]) -> tuple[str, str, bool] | None:
    if name in known:
        return None
    if name in REMOVED_NAMES:
        return "is gone, nothing reads it", REMOVED_NAMES[name], False
    if name.startswith("__") and name[2:].startswith(prefixes):
        return (
            "is computed by a role, not set",
            suggestion(name[2:], known) or "set the public variables that it follows from",
            False,
        )
    near = suggestion(name, known)
    if name.startswith(prefixes):
        role = next(prefix[:-1] for prefix in prefixes if name.startswith(prefix))
        return (
            f"is not a variable of the role {role}",
            near or f"see ansible-doc -t role bare_metal.kubernetes.{role}",
            False,
        )
    if near and near.partition(" mean ")[2].rstrip("?").split("_")[1:] == name.split("_")[1:]:
        return "looks like a misspelt variable of ours; as it stands nothing reads it", near, True
    return None


@rule
def one_value_in_the_cluster(view: View) -> Iterator[Problem]:
    """What the cluster has one of cannot differ between hosts."""
    for name in sorted(view.input.specs.get("cluster", {})):
        if name in HOST_VARIABLES or name in COMPUTED_VARIABLES:
            continue
        users: dict[str, list[Host]] = {}
        for host in view.members:
            if view.value(host, name) is not None:
                users.setdefault(key_of(view.value(host, name)), []).append(host)
        if len(users) > 1:
            parts = [
                f"{shown(name, view.value(hosts[0], name))} on {some([host.name for host in hosts])}"
                for _text, hosts in sorted(users.items(), key=lambda item: -len(item[1]))
            ]
            yield view.cluster_problem(
                name,
                f"has one value in a cluster, here it is {', '.join(parts[:4])}",
                "set it for all hosts (group_vars/all)",
            )


# What goes into one document or one set of objects, whichever host of the group the run reads it from.
SHARED_VARIABLES = {
    "control_plane": (
        "control_plane_apiserver_extra_args",
        "control_plane_audit_policy",
        "control_plane_controller_manager_extra_args",
        "control_plane_event_ttl",
        "control_plane_scheduler_extra_args",
    ),
    "etcd": (
        "etcd_auto_compaction_mode",
        "etcd_auto_compaction_retention",
        "etcd_election_timeout_ms",
        "etcd_events_auto_compaction_retention",
        "etcd_heartbeat_interval_ms",
    ),
}
SHARED_ROLES = ("calico", "cilium", "metallb")


@rule
def one_value_in_the_group(view: View) -> Iterator[Problem]:
    """A document that all share is written from one host's variables: with another host's it would be written anew in every run."""
    nodes = tuple(
        name for role in SHARED_ROLES for name in view.input.specs.get(role, {}) if not name.endswith("_wait_seconds")
    )
    shared = [*((view.group(group), f"the group {group}", names) for group, names in SHARED_VARIABLES.items())]
    for hosts, where, names in [*shared, (view.nodes, "the nodes", nodes)]:
        for name in names:
            users = view.values_of(hosts, name)
            if len(users) > 1:
                parts = [
                    f"{'its default' if value is None else shown(name, value, name in found[0].secrets)} on {some([host.name for host in found])}"
                    for value, found in sorted(users, key=lambda item: -len(item[1]))
                ]
                source = next(
                    (view.source(host, name) for _value, found in users for host in found if host.given.get(name)), ""
                )
                yield Problem(
                    name,
                    f"is one for all of {where}, here it is {', '.join(parts[:4])}",
                    f"set it for all of {where}",
                    source=source,
                )


# What fills a bundle and names it; the controller and the hosts that serve it have to read it as the nodes do.
BUNDLE_VARIABLES = (
    "cluster_architecture",
    "cluster_bundle_cache_dir",
    "cluster_bundle_mirror_url",
    "cluster_bundle_registry",
    "cluster_bundle_source",
    "cluster_kubernetes_version",
    "cluster_network_plugin",
    "cluster_release_set",
)


@rule
def one_bundle(view: View) -> Iterator[Problem]:
    """The bundle is filled on the controller, which sees no variables of a group of nodes."""
    others = [*([view.input.controller] if view.input.controller else []), *view.group("bundle_server")]
    for name in BUNDLE_VARIABLES:
        wanted = view.common(name)
        for host in others if wanted is not None else ():
            if host.variables.get(name, wanted) != wanted:
                yield Problem(
                    name,
                    f"is {shown(name, wanted)} for the cluster's hosts, but {host.name} "
                    f"{'fills' if host is view.input.controller else 'serves'} the bundle and sees another value",
                    "set it for all hosts (group_vars/all), not for a group of nodes",
                    shown(name, host.variables[name]),
                    (host.name,),
                    next((view.source(member, name) for member in view.members if view.source(member, name)), ""),
                )


# --- topology


@rule
def groups_exist(view: View) -> Iterator[Problem]:
    """Without a control plane or etcd there is no cluster."""
    for name in ("control_plane", "etcd"):
        if view.group(name):
            continue
        near = suggestion(name, (group for group in view.input.groups if group not in CLUSTER_GROUPS + OTHER_GROUPS))
        state = "has no hosts" if name in view.input.groups else "does not exist"
        fix = (
            "put 3 hosts into it"
            if name == "control_plane"
            else "make it, with the group control_plane as its child, or with hosts of its own"
        )
        yield Problem(f"group {name}", state, f"{fix}{'; ' + near if near else ''}")


@rule
def etcd_can_vote(view: View) -> Iterator[Problem]:
    """An even number of members survives no more failures than the odd one below it, and can split into halves."""
    count = len(view.group("etcd"))
    if count and count not in (1, 3, 5, 7):
        lower = max(number for number in (1, 3, 5, 7) if number < count)
        reason = f"has {count} members: a quorum of {count // 2 + 1} survives {(count - 1) // 2} failures, as {lower} members do"
        yield Problem("group etcd", reason, f"use 3, 5 or 7 members; {lower} of these hosts do")


@rule
def survives_a_failure(view: View) -> Iterator[Problem]:
    """A cluster of one is possible, and no high availability."""
    for name, words in (("etcd", "the cluster's state"), ("control_plane", "the API")):
        count = len(view.group(name))
        if count == 1 or (name == "control_plane" and count == 2):
            reason = f"has {count} host{'s' if count > 1 else ''}: {words} does not survive the loss of one{' with headroom' if count > 1 else ''}"
            yield Problem(f"group {name}", reason, "use 3 hosts", warning=True)


@rule
def one_role_a_host(view: View) -> Iterator[Problem]:
    """A host is a control plane or a worker, and neither is a router nor outside."""
    workers = {host.name for host in view.group("workers")}
    for host in view.group("control_plane"):
        if host.name in workers:
            fix = "take it out of one of them; a control plane that shall run pods has cluster_node_taints: []"
            yield Problem("groups control_plane and workers", "have the same host", fix, hosts=(host.name,))
    members = {host.name for host in view.members}
    for name in ("routers", "outside"):
        for host in view.group(name):
            if host.name in members:
                reason = "has a host of the cluster; the group is for machines beside it"
                yield Problem(f"group {name}", reason, f"take it out of {name}", hosts=(host.name,))


@rule
def pods_have_a_place(view: View) -> Iterator[Problem]:
    """Without workers every pod needs a control plane without taints."""
    if view.group("workers") or not view.group("control_plane"):
        return
    if all(view.value(host, "cluster_node_taints") != [] for host in view.group("control_plane")):
        yield Problem(
            "group workers",
            "has no hosts, and no control plane is schedulable: no pod of yours can run",
            "add workers, or set cluster_node_taints: [] for the control planes",
            warning=True,
        )


@rule
def host_names(view: View) -> Iterator[Problem]:
    """An inventory name becomes the node's name."""
    seen: dict[str, str] = {}
    for host in view.members:
        lower = host.name.lower()
        if not cluster_schema.is_dns_name(host.name):
            fix = (
                f"name it {lower}"
                if cluster_schema.is_dns_name(lower)
                else "use lower-case letters, digits and hyphens, dots between parts"
            )
            yield Problem(
                "inventory_hostname",
                "is not a DNS name (RFC 1123), and becomes the node's name",
                fix,
                shown("", host.name),
                (host.name,),
            )
        elif len(host.name) > LONGEST_LABEL_VALUE:
            reason = f"has {len(host.name)} characters: the node's label kubernetes.io/hostname holds {LONGEST_LABEL_VALUE}, it cannot register"
            yield Problem("inventory_hostname", reason, "give it a shorter name", shown("", host.name), (host.name,))
        if lower in seen:
            reason = f"differs from {shown('', seen[lower])} in case only"
            yield Problem(
                "inventory_hostname",
                reason,
                "give each host a name of its own",
                shown("", host.name),
                (host.name,),
            )
        seen.setdefault(lower, host.name)


# --- addresses


@rule
def own_addresses(view: View) -> Iterator[Problem]:
    """Every host has an address of its own that others can reach."""
    owners: dict[Span, Host] = {}
    pod_families = set(addresses.families(view.pods))
    for host, span in view.node_addresses:
        bare = replace(span, label="")
        special = addresses.is_special(span)
        if special:
            yield view.about(
                host,
                "cluster_node_ip",
                f"is {special}",
                "give the address by which the other hosts reach this one",
            )
        elif bare in owners:
            reason = f"is {owners[bare].name}'s address too"
            yield view.about(host, "cluster_node_ip", reason, "give each host its own address")
        elif pod_families and span.family not in pod_families:
            reason = f"is IPv{span.family}, cluster_pod_cidrs has {' and '.join(f'IPv{family}' for family in sorted(pod_families))} only"
            yield view.about(
                host,
                "cluster_node_ip",
                reason,
                "use addresses of one family, or add a pod and a service network of this one",
            )
        owners.setdefault(bare, host)


@rule
def families(view: View) -> Iterator[Problem]:
    """One network, or one of each family, in the same order for pods and Services."""
    found = {"cluster_pod_cidrs": view.pods, "cluster_service_cidrs": view.services}
    for name, spans in found.items():
        value = view.common(name)
        if value is not None and not 1 <= len(value) <= 2:
            yield view.cluster_problem(name, f"has {len(value)} networks", "give one, or one IPv4 and one IPv6 network")
        elif len(spans) == 2 and spans[0].family == spans[1].family:
            yield view.cluster_problem(
                name,
                f"has two IPv{spans[0].family} networks",
                "give one, or one of each family (dual stack)",
            )
    pods, services = (addresses.families(spans) for spans in found.values())
    if pods and services and pods != services and len(set(pods)) == len(pods) and len(set(services)) == len(services):
        words = " then ".join(f"IPv{family}" for family in pods)
        yield view.cluster_problem(
            "cluster_service_cidrs",
            "has not the families of cluster_pod_cidrs in its order",
            f"give {words}",
        )


@rule
def nothing_overlaps(view: View) -> Iterator[Problem]:
    """Two owners of one address: packets go to the wrong one, often weeks later."""
    spans = [*view.pods, *view.services, *(span for _name, span in view.pools)]
    hosts = {replace(span, label=""): span for _host, span in view.node_addresses}
    routers = {
        addresses.address(peer["address"], "BGP router (cluster_bgp_peers)")
        for host in view.nodes
        for peer in view.value(host, "cluster_bgp_peers") or ()
    }
    endpoint = view.endpoint()
    taken = set(hosts) | {replace(span, label="") for span in routers}
    spans += [*hosts.values(), *(span for span in routers if replace(span, label="") not in hosts)]
    if endpoint and not addresses.is_special(endpoint) and replace(endpoint, label="") not in taken:
        spans.append(endpoint)
    # A network that covers the machines is one finding, not one for each of them.
    found: dict[tuple[Span, str, str], list[Span]] = {}
    for one, other in addresses.overlaps(spans):
        name = re.findall(r"\((\w+)\)", other.label)[-1]
        each = "" if name in ("cluster_node_ip", "cluster_bgp_peers") else f"{other.label} {other.text}"
        found.setdefault((one, name, each), []).append(other)
    owners = {span: host for host, span in view.node_addresses}
    for (one, name, _each), others in found.items():
        first, more = others[0], len(others) - 1
        reason = f"{first.label}: {first.text}{f' and {more} more' if more else ''} overlap{'' if more else 's'} {one.label}: {one.text}"
        names = tuple(owners[span].name for span in others if span in owners)
        source = view.source(owners[first], name) if names else _any_source(view, name)
        yield Problem(name, reason, "give each its own range", "", names, source)


def _any_source(view: View, name: str) -> str:
    return next((source for host in view.members if (source := view.source(host, name))), "")


@rule
def docker_default(view: View) -> Iterator[Problem]:
    """A Docker daemon, when one is installed, takes this network for its bridge."""
    bridge = addresses.network(DOCKER_DEFAULT)
    for name, spans in (("cluster_pod_cidrs", view.pods), ("cluster_service_cidrs", view.services)):
        if any(span.overlaps(bridge) for span in spans):
            reason = f"overlaps {DOCKER_DEFAULT}, the default of Docker's bridge"
            yield view.cluster_problem(
                name,
                reason,
                "use another range, or make sure that no machine around runs Docker",
                warning=True,
            )


@rule
def service_range(view: View) -> Iterator[Problem]:
    """kube-apiserver bounds the range; its first address is the API's, the tenth the DNS Service's."""
    for span in view.services:
        bits = span.size.bit_length() - 1
        longest = addresses.BITS[span.family]
        if bits > SERVICE_HOST_BITS:
            reason = f"{span.text} has {bits} host bits, kube-apiserver allows {SERVICE_HOST_BITS}"
            yield view.cluster_problem("cluster_service_cidrs", reason, f"use /{longest - SERVICE_HOST_BITS} or longer")
        elif span.size <= DNS_INDEX + 1:
            reason = f"{span.text} has {span.size} addresses, the DNS Service takes number {DNS_INDEX}"
            yield view.cluster_problem("cluster_service_cidrs", reason, f"use /{longest - 4} or shorter, /16 is common")


# --- the API's address


@rule
def endpoint_fits_mode(view: View) -> Iterator[Problem]:
    """Each mode needs an address of another kind."""
    mode, address = view.common("cluster_api_endpoint_mode"), view.common("cluster_api_endpoint_address")
    if mode is None or address is None:
        return
    name, span = "cluster_api_endpoint_address", view.endpoint()
    loopback = span is not None and addresses.is_special(span) == "a loopback address"
    if mode == "local":
        if not loopback:
            yield view.cluster_problem(
                name,
                "is not a loopback address; with the mode local every node answers for itself",
                "remove it, or choose another cluster_api_endpoint_mode",
            )
        return
    if address == "":
        yield view.cluster_problem(
            name,
            f"is empty, the mode {mode} needs it",
            "give the address of the API endpoint",
            value="",
        )
    elif span is not None and addresses.is_special(span):
        yield view.cluster_problem(
            name,
            f"is {addresses.is_special(span)}; with the mode {mode} other hosts must reach it",
            "give an address that all hosts reach",
        )
    elif mode == "keepalived" and span is None:
        yield view.cluster_problem(
            name,
            "is a name; keepalived needs the address itself",
            "give the address, and the name in cluster_api_certificate_sans",
        )


@rule
def endpoint_is_nobodys(view: View) -> Iterator[Problem]:
    """An endpoint that is one host's own address goes down with that host."""
    mode, span = view.common("cluster_api_endpoint_mode"), view.endpoint()
    if mode not in ("keepalived", "bgp_anycast", "external") or span is None:
        return
    for host, own in view.node_addresses:
        if (own.family, own.first) == (span.family, span.first):
            yield view.cluster_problem(
                "cluster_api_endpoint_address",
                f"is {host.name}'s own address; the API is gone when that host is",
                "use the load balancer's address" if mode == "external" else "use a free address",
                warning=mode == "external",
            )


@rule
def endpoint_port(view: View) -> Iterator[Problem]:
    """On a node, kube-apiserver has its port on all addresses."""
    port = view.common("cluster_api_endpoint_port")
    if (
        port is not None
        and view.common("cluster_api_endpoint_mode") == "local"
        and cluster_schema.as_int(port) == API_PORT
    ):
        yield view.cluster_problem(
            "cluster_api_endpoint_port",
            "is kube-apiserver's own port on the control planes, HAProxy cannot have it too",
            "use 7443",
        )


@rule
def vip_in_one_segment(view: View) -> Iterator[Problem]:
    """VRRP moves an address between neighbours on one layer-2 segment; behind a rack's router there are no neighbours."""
    span = view.endpoint()
    if view.common("cluster_api_endpoint_mode") != "keepalived" or span is None:
        return
    planes = view.group("control_plane")
    own = {host.name: address for host, address in view.node_addresses}
    lengths = {view.number(host, "api_endpoint_vrrp_prefix_length") for host in planes} - {None}
    length = lengths.pop() if len(lengths) == 1 else None
    fix = "put the control planes and the address into one segment, or use the mode local or external"
    if length is not None and length < addresses.BITS[span.family]:
        segment = addresses.network(str(ipaddress.ip_network(f"{span.text}/{length}", strict=False)))
        outside = [host for host in planes if host.name in own and not segment.contains(own[host.name])]
        for host in outside:
            reason = (
                f"is not in {segment.text}, the segment of the endpoint {span.text} (api_endpoint_vrrp_prefix_length)"
            )
            yield view.about(host, "cluster_node_ip", reason, fix)
        return
    racks = sorted({str(view.value(host, "cluster_rack") or "") for host in planes})
    if len(racks) > 1:
        reason = f"is one layer-2 address for control planes in {len(racks)} racks ({some(racks)})"
        fix += "; when the racks are one segment, say so with api_endpoint_vrrp_prefix_length"
        yield view.cluster_problem("cluster_api_endpoint_address", reason, fix)


# --- versions and the bundle


@rule
def version_in_lock(view: View) -> Iterator[Problem]:
    """Only what the lock file pins is installed."""
    release_set, version = view.common("cluster_release_set"), view.common("cluster_kubernetes_version")
    versions = view.input.kubernetes_versions.get(release_set, ())
    if version and versions and version not in versions:
        fix = suggestion(version, versions) or f"choose one of {', '.join(versions)}"
        yield view.cluster_problem(
            "cluster_kubernetes_version",
            f"is not in the lock file for the release set {release_set}",
            fix,
        )


@rule
def bundle_can_be_had(view: View) -> Iterator[Problem]:
    """Each source of the bundle has its conditions."""
    source, release_set = view.common("cluster_bundle_source"), view.common("cluster_release_set")
    if source == "mirror" and view.common("cluster_bundle_mirror_url") == "":
        yield view.cluster_problem(
            "cluster_bundle_mirror_url",
            "is empty, cluster_bundle_source: mirror needs it",
            "give the mirror's base URL",
            value="",
        )
    if source == "build" and release_set in view.input.unbuildable:
        reason = f"cannot be built: {view.input.unbuildable[release_set]}"
        yield view.cluster_problem(
            "cluster_release_set",
            reason,
            "use cluster_release_set: built, or another cluster_bundle_source",
        )


@rule
def typha_in_bundle(view: View) -> Iterator[Problem]:
    """Not every release set has Typha's image, and the run would find out when Calico is installed."""
    release_set = view.common("cluster_release_set")
    images = view.input.images.get(release_set)
    if view.common("cluster_network_plugin") != "calico" or images is None or TYPHA_IMAGE in images:
        return
    for host, like in view.alike(view.nodes, "calico_typha_replicas"):
        if view.number(host, "calico_typha_replicas"):
            having = sorted(name for name, found in view.input.images.items() if TYPHA_IMAGE in found)
            other = f", or use cluster_release_set: {' or '.join(having)}" if having else ""
            reason = f"asks for Typha, whose image the release set {release_set} does not have"
            yield replace(view.about(host, "calico_typha_replicas", reason, f"set it to 0{other}"), hosts=like)


# --- BGP


@rule
def bgp_peers(view: View) -> Iterator[Problem]:
    """A session is with another machine, once, and for every node or for none."""
    if view.common("cluster_network_plugin") != "calico":
        return
    with_peers: list[Host] = []
    without: list[Host] = []
    for host in view.nodes:
        peers = view.value(host, "cluster_bgp_peers")
        if peers is None:
            continue
        (with_peers if peers else without).append(host)
        seen: set[tuple[int, int]] = set()
        for index, peer in enumerate(peers):
            span = addresses.address(peer["address"])
            path = f"cluster_bgp_peers[{index}].address"
            if view.value(host, "cluster_node_ip") is not None and span == addresses.address(
                view.value(host, "cluster_node_ip")
            ):
                yield view.about(host, path, "is the host itself", "give the router's address", value=peer["address"])
            elif addresses.is_special(span):
                yield view.about(
                    host,
                    path,
                    f"is {addresses.is_special(span)}",
                    "give the router's address",
                    value=peer["address"],
                )
            elif (span.family, span.first) in seen:
                yield view.about(host, path, "is in the list twice", "keep one of them", value=peer["address"])
            seen.add((span.family, span.first))
    # Among reflectors only these have routers; elsewhere peers are of no use, which is another rule's matter.
    if with_peers and view.common("cluster_bgp_topology") in (None, "auto", "tor"):
        for host in without:
            yield view.about(
                host,
                "cluster_bgp_peers",
                "is empty while other nodes have routers: the node mesh is off, this node gets no routes",
                "give the routers of its rack",
            )


@rule
def as_numbers_let_routes_through(view: View) -> Iterator[Problem]:
    """A BGP speaker drops routes with its own AS in the path (RFC 4271, 9.1.2): other racks' blocks come back through the routers."""
    if view.common("cluster_network_plugin") != "calico" or view.common("cluster_encapsulation") != "none":
        return
    if view.common("cluster_bgp_topology") not in ("auto", "tor"):
        return
    racks: dict[int, set[str]] = {}
    for host in view.nodes:
        own = view.number(host, "cluster_bgp_as_number")
        peers = view.value(host, "cluster_bgp_peers")
        if own is not None and peers and all(cluster_schema.as_int(peer["as_number"]) != own for peer in peers):
            racks.setdefault(own, set()).add(str(view.value(host, "cluster_rack") or ""))
    for number, names in sorted(racks.items()):
        if len(names) > 1:
            yield Problem(
                "cluster_bgp_as_number",
                f"is the AS of nodes in {len(names)} racks ({some(sorted(names))}): a node drops the other rack's blocks, their path has its own AS",
                "use one AS a rack, or as-override (allowas-in) on the routers",
                str(number),
                source=_any_source(view, "cluster_bgp_as_number"),
                warning=True,
            )


# --- nodes


@rule
def labels_and_taints(view: View) -> Iterator[Problem]:
    """What the API would refuse in the middle of the run."""
    for host in view.nodes:
        for key, value in (view.value(host, "cluster_node_labels") or {}).items():
            yield from _label_problems(view, host, key, value)
        seen: set[tuple[str, str]] = set()
        for index, taint in enumerate(view.value(host, "cluster_node_taints") or ()):
            path = f"cluster_node_taints[{index}]"
            if not cluster_schema.is_label_key(taint["key"]) or not cluster_schema.is_label_value(
                taint.get("value") or ""
            ):
                yield view.about(
                    host,
                    path,
                    "has a key or value that Kubernetes does not accept",
                    "see Labels and Selectors, kubernetes.io",
                    value=taint,
                )
            if (taint["key"], taint["effect"]) in seen:
                yield view.about(
                    host,
                    path,
                    "is in the list twice",
                    "keep one of each key and effect",
                    value=taint,
                )
            seen.add((taint["key"], taint["effect"]))


def _label_problems(view: View, host: Host, key: Any, value: Any) -> Iterator[Problem]:
    path = f"cluster_node_labels.{str(key)[:80]}"
    if not isinstance(value, str):
        reason = f"is {cluster_schema.kind(value)}, the value of a label is a text"
        yield view.about(host, path, reason, "write it in quotes", value="null" if value is None else value)
    elif not cluster_schema.is_label_value(value):
        yield view.about(
            host,
            path,
            "is not a label's value",
            "use at most 63 letters, digits, - _ and .",
            value=value,
        )
    if not isinstance(key, str) or not cluster_schema.is_label_key(key):
        yield view.about(host, path, "is not a label's key", "use name or dns.prefix/name", value=shown("", key))


@rule
def density_is_said_once(view: View) -> Iterator[Problem]:
    """maxPods follows from the pods per node, as everything sized by it does."""
    for host in view.nodes:
        settings = view.value(host, "cluster_kubelet_configuration") or {}
        pods = view.number(host, "cluster_pods_per_node")
        if "maxPods" in settings and settings["maxPods"] != pods:
            reason = f"contradicts cluster_pods_per_node = {pods}; addresses, PIDs and reservations follow from that"
            yield view.about(
                host,
                "cluster_kubelet_configuration.maxPods",
                reason,
                "set cluster_pods_per_node for this host or pool",
                value=settings["maxPods"],
            )


LONGEST_REASON = 200
SYSCTL_FIELDS = ("exactly", "max", "min", "one_of", "optional", "reason", "source")


@rule
def kernel_parameters(view: View) -> Iterator[Problem]:
    """What ``sysctl_profile`` would refuse on the host: it is asked here, with the same parser."""
    for variable in ("cluster_kernel_parameters", *density.LEVELS):
        for host, like in view.alike(view.members, variable):
            for problem in _kernel_parameter_problems(view, host, variable):
                yield replace(problem, hosts=like)


def _kernel_parameter_problems(view: View, host: Host, variable: str) -> Iterator[Problem]:
    for key, value in (view.value(host, variable) or {}).items():
        path = f"{variable}[{str(key)[:80]!r}]"
        if not isinstance(key, str):
            yield view.about(
                host, path, "is not the name of a kernel parameter", "write the key in quotes", value=shown("", key)
            )
            continue
        try:
            parse_parameters({key: value})
        except SysctlError as error:
            reason = "; ".join(
                problem.removeprefix(f"{normal_key(key)}: ").removeprefix(f"{key}: ") for problem in error.problems
            )
            hidden = variable in host.secrets
            yield view.about(host, path, _sysctl_reason(key, reason, hidden), _sysctl_fix(key, value), value=value)
        except (TypeError, ValueError, RecursionError):
            yield view.about(host, path, f"is {cluster_schema.kind(value)}", "write a number or a text", value=value)


def _sysctl_reason(key: str, reason: str, hidden: bool) -> str:
    if any(sign in key for sign in "*?["):
        return "is a pattern; each parameter is set, read back and undone by its own name"
    # The text repeats what was given, which may be long or secret.
    return f"cannot be set: {cluster_schema.HIDDEN if hidden else reason[:LONGEST_REASON]}"


def _sysctl_fix(key: str, value: Any) -> str:
    if any(sign in key for sign in "*?["):
        return "write the names one by one; net.ipv4.conf.all and .default are often what is meant"
    unknown = [str(name) for name in value if name not in SYSCTL_FIELDS] if isinstance(value, Mapping) else []
    if unknown:
        return suggestion(unknown[0], SYSCTL_FIELDS) or f"the keys are {', '.join(SYSCTL_FIELDS)}"
    return "write a name as in sysctl.d(5) (net.core.somaxconn), and a value, null to leave it alone, or one of exactly, min, max, one_of"


@rule
def size_is_known_to_work(view: View) -> Iterator[Problem]:
    """What upstream tests."""
    nodes = max(len(view.nodes), view.growth.total)
    pods = sum(number * count for number, count in view.pods_per_planned_node().items())
    if nodes > LARGEST_CLUSTER_NODES:
        yield Problem(
            "groups control_plane and workers",
            f"have {nodes} nodes{view.growth.words}, upstream tests {LARGEST_CLUSTER_NODES}",
            "use several clusters",
            warning=True,
        )
    if pods > LARGEST_CLUSTER_PODS:
        reason = f"allows {pods} pods in all on {nodes} nodes{view.growth.words}, upstream tests {LARGEST_CLUSTER_PODS}"
        yield Problem(
            "cluster_pods_per_node",
            reason,
            "use several clusters, or fewer pods per node",
            warning=True,
        )
