# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubeadm has done on a node, what is left to do, and which of its phases do it. Pure: observations come in, steps go out.

kubeadm's phases may be run again at any time: certificates and kubeconfigs that are whole are kept, manifests, ConfigMaps and RBAC objects are written
anew, nodes are patched (cmd/kubeadm/app/phases of Kubernetes 1.34 to 1.36). Only its preflight checks refuse a node on which a first try left files, and
only a file that was cut off while it was written makes a later phase fail. So an interrupted run is mended by removing what is cut off and running the
phases whose result is missing, without the checks.
"""

from __future__ import annotations

import ipaddress
import json
import re
import typing as t
from dataclasses import dataclass

COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
LEAVES = ("apiserver", "apiserver-kubelet-client", "front-proxy-client")
INIT_KUBECONFIGS = ("admin", "controller-manager", "scheduler", "kubelet")
INIT_PHASES = (
    "preflight",
    "certs",
    "kubeconfig",
    "etcd",
    "control-plane",
    "kubelet-start",
    "wait-control-plane",
    "upload-config",
    "upload-certs",
    "mark-control-plane",
    "bootstrap-token",
    "kubelet-finalize",
    "addon/coredns",
    "addon/kube-proxy",
    "show-join-command",
)
JOIN_PHASES = (
    "preflight",
    "control-plane-prepare",
    "kubelet-start",
    "etcd-join",
    "kubelet-wait-bootstrap",
    "control-plane-join",
    "wait-control-plane",
)
NEVER = frozenset({"etcd", "upload-certs", "show-join-command", "etcd-join"})
# Steps of our own beside kubeadm's phases.
START_KUBELET, RESTART_KUBELET, FORGET_TOKEN = "start kubelet", "restart kubelet", "forget token"
OWN_STEPS = frozenset({START_KUBELET, RESTART_KUBELET, FORGET_TOKEN})

RBAC = "rbac.authorization.k8s.io/v1"
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"


class KubeadmError(Exception):
    """kubeadm cannot be run, or what it made is not what was asked for; the text is one message for the user."""


@dataclass(frozen=True)
class ApiObject:
    """An object that ``kubeadm init`` leaves in the API; ``key`` is the entry of its ``data`` that may not be empty."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    key: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


def _role_and_binding(name: str, namespace: str) -> tuple[ApiObject, ...]:
    return tuple(ApiObject(RBAC, kind, name, namespace) for kind in ("Role", "RoleBinding"))


# By the phase that makes them (phases/uploadconfig, kubelet, bootstraptoken, addons and kubeconfig of kubeadm's source).
OBJECTS: dict[str, tuple[ApiObject, ...]] = {
    "upload-config": (
        ApiObject(RBAC, "ClusterRoleBinding", "kubeadm:cluster-admins"),
        ApiObject("v1", "ConfigMap", "kubeadm-config", "kube-system", "ClusterConfiguration"),
        *_role_and_binding("kubeadm:nodes-kubeadm-config", "kube-system"),
        ApiObject("v1", "ConfigMap", "kubelet-config", "kube-system", "kubelet"),
        *_role_and_binding("kubeadm:kubelet-config", "kube-system"),
    ),
    "bootstrap-token": (
        ApiObject(RBAC, "ClusterRoleBinding", "kubeadm:kubelet-bootstrap"),
        ApiObject(RBAC, "ClusterRole", "kubeadm:get-nodes"),
        ApiObject(RBAC, "ClusterRoleBinding", "kubeadm:get-nodes"),
        ApiObject(RBAC, "ClusterRoleBinding", "kubeadm:node-autoapprove-bootstrap"),
        ApiObject(RBAC, "ClusterRoleBinding", "kubeadm:node-autoapprove-certificate-rotation"),
        ApiObject("v1", "ConfigMap", "cluster-info", "kube-public", "kubeconfig"),
        *_role_and_binding("kubeadm:bootstrap-signer-clusterinfo", "kube-public"),
    ),
    # Apart: kubeadm does not make CoreDNS's part anew beside a release that it does not know.
    "addon/coredns": (
        ApiObject("v1", "ConfigMap", "coredns", "kube-system", "Corefile"),
        ApiObject("apps/v1", "Deployment", "coredns", "kube-system"),
        ApiObject("v1", "Service", "kube-dns", "kube-system"),
    ),
    "addon/kube-proxy": (
        ApiObject("v1", "ConfigMap", "kube-proxy", "kube-system", "config.conf"),
        ApiObject("apps/v1", "DaemonSet", "kube-proxy", "kube-system"),
    ),
}
CLUSTER_CONFIGURATION = OBJECTS["upload-config"][1]
KUBE_PROXY = OBJECTS["addon/kube-proxy"][0]
# Beside its settings, in the same ConfigMap: where it asks the API.
KUBE_PROXY_KUBECONFIG = "kubeconfig.conf"
RESTARTED = "bare-metal.kubernetes/restarted-at"


def expected_objects(documents: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, tuple[ApiObject, ...]]:
    """The objects that these documents ask for: an add-on that is disabled leaves none."""
    cluster = document_of(documents, "ClusterConfiguration")
    names = {
        name
        for name, key in (("kube-proxy", "proxy"), ("coredns", "dns"), ("kube-dns", "dns"))
        if (cluster.get(key) or {}).get("disabled")
    }
    return {phase: tuple(one for one in objects if one.name not in names) for phase, objects in OBJECTS.items()}


@dataclass(frozen=True)
class NodeState:
    """What stands on a node. Names are those that are whole; ``cut_off`` are paths of files that are there and cannot be used.

    ``traces`` is whether kubeadm left anything at all; ``kubelet_token`` whether a bootstrap kubeconfig with a token is among it;
    ``ready`` whether this node's own apiserver says that it is ready. ``registered`` and ``marked``
    (as a control plane) are what the API knows of the node, None when it could not be asked.
    """

    manifests: frozenset[str] = frozenset()
    kubeconfigs: frozenset[str] = frozenset()
    leaves: frozenset[str] = frozenset()
    cut_off: tuple[str, ...] = ()
    traces: bool = False
    kubelet_settings: bool = False
    kubelet_active: bool = False
    kubelet_rotates: bool = False
    ready: bool = False
    registered: t.Optional[bool] = None
    marked: t.Optional[bool] = None
    kubelet_token: bool = False


@dataclass(frozen=True)
class Step:
    """A phase of kubeadm (or one of :data:`OWN_STEPS`) and why it has to run."""

    name: str
    reason: str


def _lacking(wanted: t.Iterable[str], found: t.Iterable[str]) -> str:
    return ", ".join(sorted(set(wanted) - set(found)))


def _in_order(steps: t.Mapping[str, str], order: t.Sequence[str]) -> tuple[Step, ...]:
    ranked = [*(name for name in order if name in steps), *(name for name in steps if name not in order)]
    return tuple(Step(name, steps[name]) for name in ranked)


def plan_init(node: NodeState, missing: t.Optional[t.Mapping[str, t.Sequence[str]]]) -> tuple[Step, ...]:
    """Phases of ``kubeadm init`` that are left on the leader.

    :param missing: for each phase the names of API objects that are not there; None when this node's API could not be asked, which makes every phase that
        writes to it due.
    """
    if not node.traces:
        return tuple(Step(name, "nothing of a control plane stands here") for name in INIT_PHASES if name not in NEVER)
    steps = _init_file_steps(node)
    if steps:
        steps["wait-control-plane"] = "parts of the control plane are made again"
    for phase, names in (dict.fromkeys(OBJECTS, ()) if missing is None else missing).items():
        if missing is None:
            steps[phase] = "the API could not be asked"
        elif names:
            steps[phase] = f"not in the API: {', '.join(names)}"
    if not node.marked:
        steps["mark-control-plane"] = "the node is not marked as a control plane"
    if not node.kubelet_rotates:
        steps["kubelet-finalize"] = "the kubelet's certificate is not renewed by itself"
    return _in_order(steps, INIT_PHASES)


def _init_file_steps(node: NodeState) -> dict[str, str]:
    steps: dict[str, str] = {}
    if _lacking(LEAVES, node.leaves):
        steps["certs"] = f"no usable certificate: {_lacking(LEAVES, node.leaves)}"
    if _lacking(INIT_KUBECONFIGS, node.kubeconfigs):
        steps["kubeconfig"] = f"no usable kubeconfig: {_lacking(INIT_KUBECONFIGS, node.kubeconfigs)}"
    if _lacking(COMPONENTS, node.manifests):
        steps["control-plane"] = f"no whole manifest: {_lacking(COMPONENTS, node.manifests)}"
    elif not node.ready:
        steps["control-plane"] = "the apiserver of this node is not ready"
    if not node.kubelet_settings:
        steps["kubelet-start"] = "the kubelet has no settings"
    elif not node.kubelet_active:
        steps["kubelet-start"] = "the kubelet does not run"
    return steps


def plan_join(node: NodeState, *, control_plane: bool) -> tuple[Step, ...]:
    """Phases of ``kubeadm join`` that are left on a node."""
    phases = JOIN_PHASES if control_plane else ("preflight", "kubelet-start", "kubelet-wait-bootstrap")
    if not node.traces:
        return tuple(Step(name, "the node was never joined") for name in phases if name not in NEVER)
    steps: dict[str, str] = {}
    if control_plane:
        steps.update(_control_plane_steps(node))
    if "kubelet" not in node.kubeconfigs:
        steps["kubelet-start"] = steps["kubelet-wait-bootstrap"] = "the kubelet has no credentials of its own"
    elif not node.kubelet_settings:
        steps["kubelet-start"] = steps["kubelet-wait-bootstrap"] = "the kubelet has no settings"
    elif not node.kubelet_active:
        steps[START_KUBELET] = "the kubelet does not run"
    elif node.registered is False:
        steps[RESTART_KUBELET] = "the API has no Node for it: a kubelet registers when it starts"
    if node.kubelet_token and "kubelet-start" not in steps:
        steps[FORGET_TOKEN] = "a join that was cut off left its bootstrap kubeconfig"
    if control_plane and not node.marked:
        steps["control-plane-join"] = "the node is not marked as a control plane"
    return _in_order(steps, phases)


def _control_plane_steps(node: NodeState) -> dict[str, str]:
    parts = (
        ("certificate", LEAVES, node.leaves),
        ("kubeconfig", INIT_KUBECONFIGS[:3], node.kubeconfigs),
        ("manifest", COMPONENTS, node.manifests),
    )
    lacking = [f"{what} {_lacking(wanted, found)}" for what, wanted, found in parts if _lacking(wanted, found)]
    if lacking:
        why = f"not whole: {'; '.join(lacking)}"
        return {"control-plane-prepare": why, "wait-control-plane": why}
    if not node.ready:
        why = "the apiserver of this node is not ready"
        return {"control-plane-prepare": why, "wait-control-plane": why}
    return {}


def phases_of(steps: t.Iterable[Step]) -> list[str]:
    """The kubeadm phases among steps."""
    return [step.name for step in steps if step.name not in OWN_STEPS]


def skipped(steps: t.Iterable[Step], order: t.Sequence[str]) -> str:
    """The value of ``--skip-phases`` that leaves exactly these phases."""
    wanted = set(phases_of(steps))
    return ",".join(name for name in order if name not in wanted)


# --- documents


def document_of(documents: t.Sequence[t.Mapping[str, t.Any]], kind: str) -> t.Mapping[str, t.Any]:
    """The document of a kind; its absence is a :class:`KubeadmError`."""
    for document in documents:
        if document.get("kind") == kind:
            return document
    raise KubeadmError(f"'configuration' holds no document of kind '{kind}'")


def config_text(documents: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """Documents as kubeadm reads them. JSON is YAML, and the standard library of a node has no YAML."""
    return "---\n".join(json.dumps(document, indent=1, sort_keys=True) + "\n" for document in documents)


def with_token(documents: t.Sequence[t.Mapping[str, t.Any]], token: str, ca_cert_hash: str) -> list[dict[str, t.Any]]:
    """The join documents with what was secret until now."""
    join = document_of(documents, "JoinConfiguration")
    discovery = dict(join.get("discovery") or {})
    discovery["bootstrapToken"] = {
        **(discovery.get("bootstrapToken") or {}),
        "token": token,
        "caCertHashes": [ca_cert_hash],
    }
    discovery["tlsBootstrapToken"] = token
    return [{**document, "discovery": discovery} if document is join else dict(document) for document in documents]


def with_patches(documents: t.Iterable[t.Mapping[str, t.Any]], directory: str) -> list[dict[str, t.Any]]:
    """The documents, those about this node with kubeadm's directory of patches."""
    about_node = ("InitConfiguration", "JoinConfiguration")
    return [
        {**document, "patches": {"directory": directory}} if document.get("kind") in about_node else dict(document)
        for document in documents
    ]


def wanted_sans(documents: t.Sequence[t.Mapping[str, t.Any]]) -> frozenset[str]:
    """Names and addresses that kubeadm puts into the certificate of this node's apiserver (GetAPIServerAltNames of kubeadm's pkiutil)."""
    init, cluster = document_of(documents, "InitConfiguration"), document_of(documents, "ClusterConfiguration")
    networking = cluster["networking"]
    service = ipaddress.ip_network(networking["serviceSubnet"].split(",")[0])
    names = [
        init["nodeRegistration"]["name"],
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{networking['dnsDomain']}",
    ]
    names += [
        str(service[1]),
        init["localAPIEndpoint"]["advertiseAddress"],
        split_endpoint(cluster["controlPlaneEndpoint"])[0],
    ]
    return frozenset(plain_name(name) for name in [*names, *(cluster.get("apiServer", {}).get("certSANs") or [])])


def plain_name(name: str) -> str:
    """A name as it can be compared: addresses in their short form, names in lower case."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """``host:port`` or ``[address]:port``; 6443 when there is no port."""
    host, colon, port = endpoint.rpartition(":")
    if not colon or endpoint.endswith("]"):
        return endpoint.strip("[]"), 6443
    return host.strip("[]"), int(port)


# --- manifests of static pods, as kubeadm writes them


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return t.cast(str, json.loads(text))
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return text


def manifest_command(text: str) -> tuple[str, ...]:
    """The argv of the first container of a manifest; empty when there is none (the file is cut off, or not kubeadm's)."""
    found = re.search(r"^( *)- command:\n((?:\1 +- .*\n)+)", text, re.M)
    if not found:
        return ()
    return tuple(_scalar(line.split("- ", 1)[1]) for line in found.group(2).splitlines())


def manifest_environment(text: str) -> dict[str, str]:
    """Variables that a manifest sets to a plain value."""
    found = re.search(r"^( +)env:\n((?:\1(?:- | +).*\n)+)", text, re.M)
    pairs = re.findall(r"- name: (.*)\n +value: (.*)\n", found.group(2)) if found else []
    return {_scalar(name): _scalar(value) for name, value in pairs}


def manifest_whole(text: str) -> bool:
    """Whether kubeadm came to the end of a manifest: a Pod's last key is its status."""
    return bool(manifest_command(text)) and bool(re.search(r"^status:.*\n\Z", text, re.M))


def flag_of(command: t.Sequence[str], name: str, default: str = "") -> str:
    """The value of ``--name=value`` in an argv; the last one counts."""
    values = [word.split("=", 1)[1] for word in command if word.startswith(f"--{name}=")]
    return values[-1] if values else default


# What a live cluster cannot change by new flags: Services and tokens would be cut off.
FIXED_FLAGS = {
    "service-cluster-ip-range": "'cluster_service_cidrs' cannot change on a live cluster",
    "service-account-issuer": "'cluster_domain' cannot change on a live cluster",
}


def manifest_version(text: str) -> str:
    """The tag of a manifest's image: the version of Kubernetes."""
    found = re.search(r"^ +image: \S+:([^\s:@]+)", text, re.M)
    return found.group(1) if found else ""


def refusals(live: str, wanted: str) -> list[str]:
    """Why a live apiserver's manifest may not become the wanted one."""
    before, after = manifest_command(live), manifest_command(wanted)
    found = [
        f"{why}: it runs with '{flag_of(before, name)}', asked for is '{flag_of(after, name)}'"
        for name, why in FIXED_FLAGS.items()
        if before and flag_of(before, name) != flag_of(after, name)
    ]
    if before and manifest_version(live) != manifest_version(wanted):
        found.append(
            f"the version of a live cluster is not one of its settings: it runs {manifest_version(live)}, asked for is {manifest_version(wanted)}. "
            "An upgrade has its own order (control planes one minor version at a time, kubelets after them)"
        )
    return found


def cluster_configuration_text(migrated: str) -> str:
    """The ``ClusterConfiguration`` in the output of ``kubeadm config migrate``: with kubeadm's defaults, in the form in which it stores it."""
    for document in re.split(r"^---\n", migrated, flags=re.M):
        if re.search(r"^kind: ClusterConfiguration$", document, re.M):
            return document
    raise KubeadmError("'kubeadm config migrate' printed no ClusterConfiguration")


# --- kube-proxy, which reads its settings once, when it starts


def block_scalar(text: str, key: str) -> str:
    """The text below ``key: |-`` in a ConfigMap that kubeadm prints."""
    found = re.search(rf"^  {re.escape(key)}: \|-\n((?:    .*\n| *\n)+)", text, re.M)
    if not found:
        raise KubeadmError(f"kubeadm printed no '{key}'")
    return "\n".join(line[4:] for line in found.group(1).rstrip().splitlines())


def outdated_pods(
    config: t.Mapping[str, t.Any], daemon_set: t.Mapping[str, t.Any], pods: t.Iterable[t.Mapping[str, t.Any]]
) -> list[str]:
    """Pods that were created before their ConfigMap was last written, unless the DaemonSet has been told to replace them since.

    All stamps are the API's or ours in UTC, so they compare as texts.
    """
    entries = (config.get("metadata") or {}).get("managedFields") or []
    written = max((str(entry.get("time", "")) for entry in entries), default="")
    template = ((daemon_set.get("spec") or {}).get("template") or {}).get("metadata") or {}
    if (template.get("annotations") or {}).get(RESTARTED, "") >= written:
        return []
    return sorted(
        pod["metadata"]["name"] for pod in pods if str(pod["metadata"].get("creationTimestamp", "")) < written
    )


# --- kubeconfigs, as kubeadm and the kubelet write them

KUBECONFIG_KEYS = (
    "certificate-authority-data",
    "client-certificate-data",
    "client-key-data",
    "client-certificate",
    "client-key",
    "server",
    "current-context",
    "token",
)


def kubeconfig_fields(text: str) -> dict[str, str]:
    """The scalar fields of a kubeconfig with one cluster and one user."""
    found = re.findall(r"^[ -]*([a-z-]+): (\S.*)$", text, re.M)
    return {key: _scalar(value) for key, value in found if key in KUBECONFIG_KEYS}
