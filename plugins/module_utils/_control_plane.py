# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a node with the eyes of :mod:`_kubeadm`: its files, its kubelet, its processes, its own apiserver and the API's objects. Reads only."""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import os
import re
import ssl
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubeadm as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _systemd
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    READY_PATH,
    Credentials,
    KubeApi,
    KubeApiError,
    load_credentials,
    ssl_context,
)

KUBELET_CLIENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
PROBE_TIMEOUT = 10.0
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Paths:
    """Where kubeadm's files are; ``root`` is replaced in tests."""

    root: str = "/"

    def at(self, *parts: str) -> str:
        return os.path.join(self.root, *(part.lstrip("/") for part in parts))

    def manifest(self, component: str) -> str:
        return self.at("etc/kubernetes/manifests", f"{component}.yaml")

    def kubeconfig(self, name: str) -> str:
        return self.at("etc/kubernetes", f"{name}.conf")

    def leaf(self, name: str, ending: str) -> str:
        return self.at("etc/kubernetes/pki", f"{name}.{ending}")

    @property
    def ca(self) -> str:
        return self.at("etc/kubernetes/pki/ca.crt")

    @property
    def kubelet_settings(self) -> tuple[str, str]:
        return self.at("var/lib/kubelet/config.yaml"), self.at("var/lib/kubelet/kubeadm-flags.env")


def read_text(path: str) -> t.Optional[str]:
    """The text of a file, None when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def pair_whole(certificate: str, key: str) -> bool:
    """Whether a certificate and its key are there, can be read and belong together."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        return False
    return True


def kubeconfig_whole(path: str, root: Paths) -> bool:
    """Whether a kubeconfig names a server and holds credentials that can be used."""
    found = core.kubeconfig_fields(read_text(path) or "")
    if not found.get("server") or not found.get("current-context"):
        return False
    try:
        if found.get("client-certificate"):
            certificate = root.at(found["client-certificate"])
            return pair_whole(certificate, root.at(found.get("client-key") or found["client-certificate"]))
        parts = {
            name: base64.b64decode(found[f"{name}-data"], validate=True)
            for name in ("certificate-authority", "client-certificate", "client-key")
        }
        ssl_context(
            Credentials(
                found["server"], parts["certificate-authority"], parts["client-certificate"], parts["client-key"]
            )
        )
    except (KeyError, binascii.Error, ValueError, KubeApiError):
        return False
    return True


def foreign_kubeconfigs(paths: Paths) -> list[str]:
    """Kubeconfigs on this node that trust another cluster's CA than the one in its PKI directory."""
    own = (read_text(paths.ca) or "").strip()
    found = []
    for name in (*core.INIT_KUBECONFIGS, "super-admin"):
        data = core.kubeconfig_fields(read_text(paths.kubeconfig(name)) or "").get("certificate-authority-data")
        try:
            trusted = base64.b64decode(data or "", validate=True).decode().strip()
        except (binascii.Error, UnicodeDecodeError):
            continue  # cut off: made again
        if own and trusted and trusted != own:
            found.append(paths.kubeconfig(name))
    return found


def observe_files(paths: Paths, *, control_plane: bool) -> core.NodeState:
    """What kubeadm left in files. Nothing is asked of systemd or the API."""
    manifests, kubeconfigs, leaves, cut_off = set(), set(), set(), []
    for component in core.COMPONENTS if control_plane else ():
        text = read_text(paths.manifest(component))
        if text is not None:
            (manifests.add(component) if core.manifest_whole(text) else cut_off.append(paths.manifest(component)))
    for name in core.LEAVES if control_plane else ():
        pair = [paths.leaf(name, "crt"), paths.leaf(name, "key")]
        if pair_whole(*pair):
            leaves.add(name)
        else:
            cut_off += [path for path in pair if os.path.lexists(path)]
    for name in (*core.INIT_KUBECONFIGS, "super-admin") if control_plane else ("kubelet",):
        path = paths.kubeconfig(name)
        if kubeconfig_whole(path, paths):
            kubeconfigs.add(name)
        elif os.path.lexists(path):
            cut_off.append(path)
    settings = [bool((read_text(path) or "").strip()) for path in paths.kubelet_settings]
    bootstrap = os.path.lexists(paths.kubeconfig("bootstrap-kubelet"))
    kubelet = core.kubeconfig_fields(read_text(paths.kubeconfig("kubelet")) or "")
    return core.NodeState(
        manifests=frozenset(manifests),
        kubeconfigs=frozenset(kubeconfigs),
        leaves=frozenset(leaves),
        cut_off=tuple(cut_off),
        traces=bool(manifests or kubeconfigs or leaves or cut_off or any(settings) or bootstrap),
        kubelet_settings=all(settings),
        kubelet_rotates=kubelet.get("client-certificate") == KUBELET_CLIENT,
        kubelet_token=bootstrap,
    )


# --- the API


def anonymous_ready(server: str, ca: str, timeout: float = PROBE_TIMEOUT) -> str:
    """Ask an apiserver's ``/readyz``. Return an empty text when it is ready, else why it is not."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca)
        host, port = core.split_endpoint(server.split("//", 1)[1])
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        try:
            connection.request("GET", READY_PATH)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
    except (OSError, ssl.SSLError, http.client.HTTPException) as exc:
        return f"no answer: {exc or type(exc).__name__}"
    return "" if answer.status == 200 else f"status {answer.status}: {' '.join(text.split())[:200]}"


def patient_ready(state: core.NodeState, server: str, ca: str, patience: float = PATIENCE_SECONDS) -> str:
    """As :func:`anonymous_ready`; an apiserver that can be expected to come (its manifest stands, the kubelet runs) is given some time to restart."""
    until = time.monotonic() + (patience if state.kubelet_active and core.COMPONENTS[0] in state.manifests else 0.0)
    while True:
        why = anonymous_ready(server, ca) if os.path.exists(ca) else f"there is no '{ca}'"
        if not why or time.monotonic() >= until:
            return why
        time.sleep(1.0)


def missing_objects(
    api: KubeApi, expected: t.Mapping[str, t.Sequence[core.ApiObject]]
) -> t.Optional[dict[str, list[str]]]:
    """For each phase, the objects that the API lacks; None when it does not let us ask (yet): the admin's rights are among what is made."""
    found: dict[str, list[str]] = {}
    try:
        for phase, objects in expected.items():
            for one in objects:
                known = api.get(one.api_version, one.kind, one.name, one.namespace)
                if known is None or (one.key and not (known.get("data") or {}).get(one.key)):
                    found.setdefault(phase, []).append(str(one))
    except KubeApiError:
        return None
    return found


def node_of(api: KubeApi, name: str) -> t.Optional[dict[str, t.Any]]:
    """The API's Node, None when there is none."""
    return api.get("v1", "Node", name)


def with_node(state: core.NodeState, api: KubeApi, name: str) -> core.NodeState:
    """Add what the API knows of the node; what it does not say stays unknown."""
    try:
        node = node_of(api, name)
    except KubeApiError:
        return state
    labels = ((node or {}).get("metadata") or {}).get("labels") or {}
    return replace(state, registered=node is not None, marked=core.CONTROL_PLANE_LABEL in labels)


def with_kubelet(state: core.NodeState) -> core.NodeState:
    """Add whether the kubelet runs."""
    return replace(state, kubelet_active=_systemd.show("kubelet.service").active == "active")


# --- certificates and processes of what runs


def certificate_names(certificate: str, key: str, ca: str) -> frozenset[str]:
    """Names and addresses that a serving certificate carries, read by a TLS handshake in memory that also proves key, CA and dates.

    :raises KubeadmError: when the certificate cannot be used with this CA.
    """
    try:
        serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        serving.load_cert_chain(certificate, key)
        asking.load_verify_locations(ca)
        asking.check_hostname = False
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = asking.wrap_bio(to_client, to_server, server_side=False)
        server = serving.wrap_bio(to_server, to_client, server_side=True)
        done = [False, False]
        for _round in range(6):
            for index, end in enumerate((client, server)):
                try:
                    end.do_handshake()
                    done[index] = True
                except ssl.SSLWantReadError:
                    continue
            if all(done):
                break
        peer = client.getpeercert() or {}
    except (OSError, ssl.SSLError, ValueError) as exc:
        raise core.KubeadmError(f"the certificate '{certificate}' cannot be used with the CA '{ca}': {exc}") from exc
    return frozenset(
        core.plain_name(value) for _kind, value in t.cast("tuple[tuple[str, str], ...]", peer.get("subjectAltName", ()))
    )


@dataclass(frozen=True)
class Process:
    """A running program: its argv, its environment and when it started, in seconds since the epoch."""

    argv: tuple[str, ...]
    environment: t.Mapping[str, str]
    started: float


def _words(path: str) -> list[str]:
    with open(path, "rb") as stream:
        return [word.decode("utf-8", "replace") for word in stream.read().split(b"\0") if word]


def processes(name: str) -> list[Process]:
    """All processes whose first word is ``name``, the containers' among them."""
    found = []
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            argv = _words(f"/proc/{pid}/cmdline")
            if not argv or os.path.basename(argv[0]) != name:
                continue
            environment = dict(word.split("=", 1) for word in _words(f"/proc/{pid}/environ") if "=" in word)
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
                ticks = int(stream.read().rpartition(")")[2].split()[19])
        except (OSError, ValueError, IndexError):
            continue
        found.append(Process(tuple(argv), environment, boot + ticks / os.sysconf("SC_CLK_TCK")))
    return found


def runs_manifest(running: t.Iterable[Process], manifest: str, since: float = 0.0) -> bool:
    """Whether one of the processes is what a manifest asks for, started at ``since`` or later (one second of leeway for the clocks)."""
    command, environment = core.manifest_command(manifest), core.manifest_environment(manifest)
    return any(
        one.argv == command and environment.items() <= one.environment.items() and one.started >= since - 1.0
        for one in running
    )


HEALTH_PATHS = {"kube-controller-manager": ("10257", "/healthz"), "kube-scheduler": ("10259", "/readyz")}


def component_health(component: str, manifest: str, server: str, ca: str) -> str:
    """Empty when a component says that it is well, else why not."""
    if component == "kube-apiserver":
        return anonymous_ready(server, ca)
    port, path = HEALTH_PATHS[component]
    command = core.manifest_command(manifest)
    address = core.flag_of(command, "bind-address", "127.0.0.1")
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # self-signed, on the loopback
    connection = http.client.HTTPSConnection(
        address, int(core.flag_of(command, "secure-port", port)), timeout=PROBE_TIMEOUT, context=context
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, ssl.SSLError, http.client.HTTPException) as exc:
        return f"no answer: {exc or type(exc).__name__}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"status {answer.status}: {' '.join(text.split())[:200]}"


# --- what a control plane says of itself


def own_server(manifest: str) -> str:
    """URL of the apiserver that a manifest starts; empty when it does not say."""
    command = core.manifest_command(manifest)
    address, port = core.flag_of(command, "advertise-address"), core.flag_of(command, "secure-port", "6443")
    return f"https://{f'[{address}]' if ':' in address else address}:{port}" if address else ""


def own_name(flags: str, hostname: str) -> str:
    """The node's name: what kubeadm told the kubelet (``kubeadm-flags.env``), else the host's name in lower case."""
    found = re.search(r"--hostname-override=([^\s\"]+)", flags)
    return found.group(1) if found else hostname.lower()


@dataclass(frozen=True)
class Probe:
    """The answer of ``control_plane_probe``. ``started``: something of a control plane stands here; ``member``: nothing of a whole one is missing."""

    node_name: str
    started: bool = False
    healthy: bool = False
    initialised: bool = False
    member: bool = False
    version: str = ""
    reachable: bool = True


def probe(paths: Paths, hostname: str) -> Probe:
    """Ask a control plane what it is. Nothing fails: what cannot be asked is not so."""
    name = own_name(read_text(paths.kubelet_settings[1]) or "", hostname)
    state = observe_files(paths, control_plane=True)
    server = own_server(read_text(paths.manifest(core.COMPONENTS[0])) or "")
    if not state.traces:
        return Probe(name)
    state = with_kubelet(state)
    ready = bool(server) and not patient_ready(state, server, paths.ca)
    found = Probe(name, started=True, healthy=ready)
    if not ready or "admin" not in state.kubeconfigs:
        return found
    try:
        with KubeApi(load_credentials(paths.kubeconfig("admin"), server=server), timeout=15.0, deadline=15.0) as api:
            version = str(json.loads(api.raw("/version").text).get("gitVersion", ""))
            one = core.CLUSTER_CONFIGURATION
            cluster = api.get(one.api_version, one.kind, one.name, one.namespace)
            state = with_node(replace(state, ready=True), api, name)
    except (KubeApiError, ValueError):
        return found
    member = not core.plan_join(state, control_plane=True) and bool(state.registered)
    return replace(found, initialised=cluster is not None, member=member, version=version)
