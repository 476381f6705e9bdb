# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves one node's programs, and the cluster's own notes, to another address of the API: looks, plans with :mod:`_endpoint_move`, acts, and looks again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _control_plane as look
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _endpoint_move as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import (
    _kubeadm,
    _manifests,
    _node_reset,
    _originals,
    _systemd,
)
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    READY_PATH,
    KubeApi,
    KubeApiError,
    load_credentials,
)

# In memory, as what it says: a machine that boots runs everything with its newest files.
DUE_DIRECTORY = "run/bare-metal-kubernetes/api-endpoint-due"
PAUSE_SECONDS = 0.5
# Requests in a row, each over a connection of its own: what balances has more than one API server.
REQUESTS = 5
KUBELET_CONFIG = "etc/kubernetes/kubelet.conf"
CLUSTER_INFO = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "cluster-info", "namespace": "kube-public"},
}
KUBE_PROXY = {"name": "kube-proxy", "namespace": "kube-system"}


@dataclass(frozen=True)
class Request:
    """What the module was asked for. ``seconds``: how long to wait for proofs; ``node``: the node's name in the cluster."""

    wanted: core.Endpoint
    node: str = ""
    others: tuple[core.Endpoint, ...] = ()
    control_plane: bool = False
    seconds: float = 120.0
    check: bool = False
    state_dir: str = ""
    cut: bool = False
    paths: look.Paths = field(default_factory=look.Paths)


@dataclass(frozen=True)
class Outcome:
    """``steps``: what was (or would be) done; ``diff``: texts before and after, without secrets; ``problems``: what is not true."""

    steps: tuple[str, ...] = ()
    diff: tuple[t.Mapping[str, str], ...] = ()
    problems: tuple[str, ...] = ()


# --- looking


def observe(paths: look.Paths) -> core.Seen:
    """What stands on this node and whom its programs ask. Of kubeconfigs nothing but the server is kept."""

    def read(path: str) -> str:
        return look.read_text(paths.at(path)) or ""

    clients = {}
    for name, path in {**core.CLIENTS, **core.FOREIGN}.items():
        server = _kubeadm.kubeconfig_fields(read(path)).get("server")
        if server:
            clients[name] = server
    due = tuple(name for name in core.RESTARTED if os.path.exists(paths.at(DUE_DIRECTORY, name)))
    own = look.own_server(read("/etc/kubernetes/manifests/kube-apiserver.yaml"))
    return core.Seen(core.standing_of(read), own, clients, due)


def facts(paths: look.Paths, ask_nodes: bool) -> dict[str, t.Any]:
    """:func:`observe` as a dictionary; on a control plane with the names of the cluster's nodes (None: it could not be asked)."""
    seen = observe(paths)
    found: dict[str, t.Any] = {**asdict(seen), "nodes": None}
    if ask_nodes and seen.own:
        with contextlib.suppress(KubeApiError), _api(paths, "admin", seen.own, deadline=10.0) as api:
            found["nodes"] = sorted(node["metadata"]["name"] for node in api.list("v1", "Node", metadata_only=True))
    return found


def _api(paths: look.Paths, kubeconfig: str, server: str, *, name: str = "", deadline: float = 0.0) -> KubeApi:
    found = load_credentials(paths.kubeconfig(kubeconfig), server=server, tls_server_name=name)
    return KubeApi(found, timeout=5.0, deadline=deadline)


# --- proof


def _asked(request: Request, server: str, *, name: str = "", times: int = 1) -> str:
    """Ask an API server as the kubelet does: is it ready, and does it know us? Empty, or why not."""
    try:
        for _turn in range(times):
            with _api(request.paths, "kubelet", server, name=name) as api:
                answer = api.raw(READY_PATH)
                if answer.status != 200:
                    return f"status {answer.status} of {server}/readyz"
                if request.node:
                    api.get("v1", "Node", request.node)
    except KubeApiError as exc:
        return str(exc)
    return ""


def unproven(request: Request, own: str) -> list[str]:
    """What this node finds wrong with the wanted endpoint. A control plane asks its own API server for a certificate with the endpoint's name as well."""
    found = []
    if own:
        why = _asked(request, own, name=core.plain(request.wanted.address))
        found += [f"this machine's own API server does not answer for {request.wanted.address}: {why}"] if why else []
    why = _asked(request, request.wanted.url, times=REQUESTS)
    return [*found, *([f"{request.wanted.name} does not answer this node: {why}"] if why else [])]


def prove(request: Request) -> Outcome:
    """Wait until the wanted endpoint answers this node. In check mode it may not stand yet: only told."""
    own = observe(request.paths).own
    if request.check:
        return Outcome(problems=tuple(unproven(request, own)))
    problems = _wait(lambda: unproven(request, own), request.seconds)
    if problems:
        raise core.EndpointMoveError(
            f"{'; '.join(problems)}. No program was moved to it, the old endpoint stands: see to what answers at {request.wanted.name} "
            "(routers, load balancer, firewall), then run the same play again, or with the old values to take the new endpoint away"
        )
    return Outcome()


def _wait(look_again: t.Callable[[], list[str]], seconds: float) -> list[str]:
    until = time.monotonic() + seconds
    while True:
        problems = look_again()
        if not problems or time.monotonic() > until:
            return problems
        time.sleep(PAUSE_SECONDS)


# --- programs of this node


def move(request: Request) -> Outcome:
    """Point this node's kubeconfigs at the wanted endpoint and restart what reads them, each proven before the next."""
    seen = observe(request.paths)
    changes, restarts = core.plan_clients(seen, request.wanted)
    steps = [f"{change.path}: {core.named(change.before)} -> {core.named(change.after)}" for change in changes]
    steps += [f"restart {name}" for name in restarts]
    diff = tuple(
        {
            "before_header": change.path,
            "after_header": change.path,
            "before": f"server: {change.before}\n",
            "after": f"server: {change.after}\n",
        }
        for change in changes
    )
    if steps and not request.check:
        prove(request)
        by_name = {change.name: change for change in changes}
        for name in core.CLIENTS:
            _move_one(request, seen, name, by_name.get(name), name in restarts)
    return Outcome(tuple(steps), diff)


def _move_one(request: Request, seen: core.Seen, name: str, change: core.Change | None, restart: bool) -> None:
    due = request.paths.at(DUE_DIRECTORY, name)
    if restart:
        os.makedirs(os.path.dirname(due), mode=0o700, exist_ok=True)
        write_atomic(due, b"", mode=0o600)
    before = _write_server(request, name, change.after) if change else ""
    if not restart:
        return
    why = _restart(request, seen, name)
    if why and before and change:
        _write_text(request, name, before)
        again = _restart(request, seen, name)
        state = f"but it is still not well: {again}" if again else "and it is well again"
        if not again:
            os.unlink(due)
        raise core.EndpointMoveError(
            f"{name} did not get well with {core.named(change.after)} ({why}); its kubeconfig was put back, {state}. The nodes after this one were "
            "not touched, both endpoints stand"
        )
    if why:
        raise core.EndpointMoveError(f"{name} is not well after its restart: {why}")
    os.unlink(due)


def _write_server(request: Request, name: str, url: str) -> str:
    """Change a kubeconfig; return the text that it had."""
    before = look.read_text(request.paths.at(core.CLIENTS[name])) or ""
    _write_text(request, name, core.with_server(before, url))
    return before


def _write_text(request: Request, name: str, text: str) -> None:
    path = request.paths.at(core.CLIENTS[name])
    known = os.stat(path)
    write_atomic(path, text.encode(), mode=known.st_mode & 0o777, uid=known.st_uid, gid=known.st_gid)


def _restart(request: Request, seen: core.Seen, name: str) -> str:
    """Restart a program and wait until it is seen to work; why not, or an empty text."""
    since = time.time()
    if name == "kubelet":
        _systemd.systemctl("restart", "kubelet.service")
        return "; ".join(_wait(lambda: _lease_problem(request, since), request.seconds))
    for pid in pids_of(name):
        os.kill(pid, signal.SIGTERM)  # the kubelet starts the container again
    manifest = look.read_text(request.paths.manifest(name)) or ""
    return "; ".join(_wait(lambda: _component_problem(request, seen, name, manifest, since), request.seconds))


def pids_of(name: str) -> list[int]:
    """Processes whose first word is ``name``, those of containers among them."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as stream:
            if os.path.basename(stream.read().split(b"\0")[0]).decode("utf-8", "replace") == name:
                found.append(int(pid))
    return found


def _component_problem(request: Request, seen: core.Seen, name: str, manifest: str, since: float) -> list[str]:
    if not look.runs_manifest(look.processes(name), manifest, since):
        return ["no new process runs"]
    why = look.component_health(name, manifest, seen.own, request.paths.ca)
    return [why] if why else []


def _lease_problem(request: Request, since: float) -> list[str]:
    """Has the kubelet renewed its lease since then? It does every ten seconds, with the node's own clock."""
    try:
        with KubeApi(load_credentials(request.paths.at(KUBELET_CONFIG)), timeout=5.0, deadline=0.0) as api:
            lease = api.get("coordination.k8s.io/v1", "Lease", request.node, "kube-node-lease") or {}
    except KubeApiError as exc:
        return [str(exc)]
    renewed = str((lease.get("spec") or {}).get("renewTime") or "")
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since)) + f".{int(since % 1 * 1e6):06d}Z"
    return (
        []
        if renewed >= stamp
        else [f"the kubelet has not renewed its lease since its restart (last: {renewed or 'never'})"]
    )


# --- the cluster's own notes


def store(request: Request) -> Outcome:
    """Change the address that joining nodes are told (``cluster-info``), then wait until kube-proxy's pods run with theirs."""
    with _api(request.paths, "admin", observe(request.paths).own, deadline=60.0) as api:
        meta = CLUSTER_INFO["metadata"]
        found = api.get("v1", "ConfigMap", meta["name"], meta["namespace"]) or {}  # type: ignore[index]
        before = str((found.get("data") or {}).get("kubeconfig") or "")
        after = core.with_server(before, request.wanted.url) if before else ""
        changed = (
            core.named(_kubeadm.kubeconfig_fields(before).get("server", "")) != request.wanted.name and before != after
        )
        if request.check:
            return _stored(before, after, changed)
        if changed:
            # The controller manager signs it anew for the tokens that there are.
            api.patch(CLUSTER_INFO, {"data": {"kubeconfig": after}})
        problems = _wait(lambda: _rollout(api), request.seconds)
    if problems:
        raise core.EndpointMoveError(
            f"{'; '.join(problems)}. Both endpoints stand: run the same play again when that is mended"
        )
    return _stored(before, after, changed)


def _stored(before: str, after: str, changed: bool) -> Outcome:
    if not changed:
        return Outcome()
    texts = [f"server: {_kubeadm.kubeconfig_fields(text).get('server', '')}\n" for text in (before, after)]
    header = "ConfigMap kube-public/cluster-info"
    return Outcome(
        (header,),
        ({"before_header": header, "after_header": header, "before": texts[0], "after": texts[1]},),
    )


def _rollout(api: KubeApi) -> list[str]:
    """Why kube-proxy's pods are not all of the newest kind."""
    found = api.get("apps/v1", "DaemonSet", KUBE_PROXY["name"], KUBE_PROXY["namespace"])
    why = _manifests.not_ready({**found, "kind": "DaemonSet"}) if found else ""
    return [f"DaemonSet kube-proxy: {why}"] if why else []


# --- may the old endpoint go?


def settle(request: Request) -> Outcome:
    """Wait until nothing on this node asks at another endpoint any more."""
    if request.check:
        return Outcome()
    found: list[str] = []

    def look_again() -> list[str]:
        found[:] = _unsettled(request)
        return [problem for problem in found if not (request.cut and problem.startswith(CONNECTED))]

    problems = _wait(look_again, request.seconds)
    if problems:
        raise core.EndpointMoveError(
            f"{'; '.join(problems)}. Both endpoints stand, nothing was taken away. Point these programs at {request.wanted.name} "
            f"(endpoint_move_cut: true cuts connections of programs that are none of the cluster's), then run the same play again"
        )
    return Outcome(problems=tuple(found))


CONNECTED = "still connected"


def _unsettled(request: Request) -> list[str]:
    found = core.unsettled(observe(request.paths), request.wanted)
    targets = {target for one in request.others for target in resolved(one)} - set(resolved(request.wanted))
    inodes = [
        inode
        for name in ("tcp", "tcp6")
        for inode in core.connections(look.read_text(f"/proc/net/{name}") or "", targets)
    ]
    if inodes:
        names = ", ".join(one.name for one in request.others)
        found.append(f"{CONNECTED} to {names}: {', '.join(owners(set(inodes))) or 'unknown programs'}")
    return found


def resolved(one: core.Endpoint) -> list[tuple[str, int]]:
    """The addresses of an endpoint; none when its name is not known any more."""
    try:
        found = socket.getaddrinfo(one.address.strip("[]"), one.port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [(core.plain(str(entry[4][0])), one.port) for entry in found]


def owners(inodes: t.Collection[str]) -> list[str]:
    """Names of the programs that hold these sockets."""
    links, found = {f"socket:[{inode}]" for inode in inodes}, set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if any(os.readlink(f"/proc/{pid}/fd/{number}") in links for number in os.listdir(f"/proc/{pid}/fd")):
                found.add((look.read_text(f"/proc/{pid}/comm") or pid).strip())
    return sorted(found)


# --- the end of the old one


def remove(request: Request) -> Outcome:
    """Stop the parts that the wanted endpoint does not have on this node, and give the operating system's files back. The file that marks a part goes last."""
    standing = observe(request.paths).standing
    unwanted = set(standing.parts) - core.parts_wanted(request.wanted.mode, request.control_plane)
    parts = [part for part in core.PARTS if part.name in unwanted]
    steps = plan_removal(parts, set(_originals.kept(request.state_dir)))
    if not request.check:
        for step in steps:
            if step.verb == "remove" and not os.path.lexists(step.subject):
                continue
            if step.verb == "stop" and _systemd.show(step.subject).load != "loaded":
                continue
            _node_reset.act(step, request.state_dir)
    lines = tuple(f"{step.verb} {step.subject}" for step in steps)
    diff = (
        (
            {
                "before_header": "api endpoint",
                "after_header": "api endpoint",
                "before": "".join(f"{name}\n" for name in sorted(unwanted)),
                "after": "",
            },
        )
        if steps
        else ()
    )
    return Outcome(lines, diff)


def plan_removal(parts: t.Iterable[core.Part], kept: t.Collection[str]) -> list[_node_reset.Step]:
    """Units first, then files. Pure."""
    steps = []
    for part in parts:
        steps += [_node_reset.Step("stop", unit) for unit in part.units]
        *files, marker = [_node_reset.Step("restore" if path in kept else "remove", path) for path in part.files]
        steps += files
        if any(path.startswith(_systemd.UNIT_DIRECTORIES) for path in part.files):
            steps.append(_node_reset.Step("reload", "systemd"))
        steps += [marker, *([_node_reset.Step("remove", part.directory)] if part.directory else [])]
    return steps
