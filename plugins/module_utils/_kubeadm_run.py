# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs kubeadm: observes, plans with :mod:`_kubeadm`, acts, and looks again until what was planned can be seen."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import shutil
import time
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _control_plane as look
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubeadm as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _systemd
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandResult, run, tail
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApi,
    KubeApiError,
    load_credentials,
)

RUN_DIRECTORY = "/run/bare-metal-kubernetes"
SETTLE_SECONDS = 120.0
GATE_SECONDS = 120.0
PAUSE_SECONDS = 1.0
PREVIOUS = ".previous"
# kubeadm's addon. It keeps the number of replicas that it finds when it writes the Deployment anew.
COREDNS = {"name": "coredns", "namespace": "kube-system"}


@dataclass(frozen=True)
class Request:
    """What the module was asked for. ``peers`` are addresses of the other control planes, ``upload`` whether this node keeps the cluster's
    configuration in the API up to date, ``coredns_replicas`` included. ``patches`` are kubeadm's, as data by file name."""

    documents: t.Sequence[t.Mapping[str, t.Any]]
    token: str = ""
    ca_cert_hash: str = ""
    peers: tuple[str, ...] = ()
    upload: bool = False
    timeout: float = 300.0
    check: bool = False
    paths: look.Paths = field(default_factory=look.Paths)
    coredns_replicas: int = 0
    patches: t.Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def local(self) -> t.Mapping[str, t.Any]:
        """The document about this node: ``InitConfiguration`` or ``JoinConfiguration``."""
        kinds = [document.get("kind") for document in self.documents]
        return core.document_of(
            self.documents, "JoinConfiguration" if "JoinConfiguration" in kinds else "InitConfiguration"
        )

    @property
    def node_name(self) -> str:
        return str(self.local["nodeRegistration"]["name"])

    @property
    def control_plane(self) -> bool:
        return self.local["kind"] == "InitConfiguration" or "controlPlane" in self.local

    @property
    def server(self) -> str:
        """URL of this node's own apiserver."""
        endpoint = self.local.get("localAPIEndpoint") or self.local["controlPlane"]["localAPIEndpoint"]
        address = str(endpoint["advertiseAddress"])
        return f"https://{f'[{address}]' if ':' in address else address}:{endpoint['bindPort']}"


@dataclass(frozen=True)
class Outcome:
    """``steps`` are lines that say what was (or would be) done and why; ``diff`` is what Ansible shows."""

    steps: tuple[str, ...] = ()
    diff: tuple[t.Mapping[str, str], ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.steps)


def outcome_of(steps: t.Iterable[core.Step]) -> Outcome:
    """Steps as a result: each one is a line of the diff."""
    lines = tuple(f"{step.name}: {step.reason}" for step in steps)
    if not lines:
        return Outcome()
    return Outcome(
        lines,
        (
            {
                "before_header": "kubeadm",
                "after_header": "kubeadm",
                "before": "",
                "after": "".join(f"{line}\n" for line in lines),
            },
        ),
    )


# --- kubeadm itself


@contextlib.contextmanager
def alone(seconds: float = 600.0) -> t.Iterator[None]:
    """Hold the node's lock: a run whose controller was killed may still be at work here, and is waited for."""
    os.makedirs(RUN_DIRECTORY, mode=0o700, exist_ok=True)
    with open(os.path.join(RUN_DIRECTORY, "kubeadm.lock"), "w", encoding="ascii") as lock:
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > until:
                    raise core.KubeadmError(
                        f"another run of kubeadm has been at work on this node for more than {seconds:g} s; wait for it, or end it"
                    ) from exc
                time.sleep(PAUSE_SECONDS)
        yield


@contextlib.contextmanager
def config_file(
    documents: t.Iterable[t.Mapping[str, t.Any]], patches: t.Mapping[str, t.Any]
) -> t.Iterator[tuple[str, str]]:
    """Documents (and patches) in files that only root can read, in memory, gone afterwards. Yields the file and a directory for what kubeadm generates."""
    directory = os.path.join(RUN_DIRECTORY, "kubeadm")
    shutil.rmtree(directory, ignore_errors=True)  # of a run that was killed
    os.makedirs(os.path.join(directory, "generated"), mode=0o700)
    os.chmod(directory, 0o700)
    path, patched = os.path.join(directory, "config.json"), os.path.join(directory, "patches")
    try:
        if patches:
            os.mkdir(patched, mode=0o700)
            documents = core.with_patches(documents, patched)
        for name, patch in patches.items():
            write_atomic(os.path.join(patched, name), json.dumps(patch).encode(), mode=0o600)
        write_atomic(path, core.config_text(documents).encode(), mode=0o600)
        yield path, os.path.join(directory, "generated")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def kubeadm(
    *words: str, timeout: float, secret: str = "", env: t.Optional[t.Mapping[str, str]] = None
) -> CommandResult:
    """Run kubeadm; its failure is a :class:`KubeadmError` with its last lines, the token taken out."""
    path = f"/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:{os.environ.get('PATH', '')}"
    result = run(["kubeadm", *words], timeout=timeout, check=False, env={"PATH": path, **(env or {})})
    if result.rc != 0:
        said = tail(f"{result.stdout}\n{result.stderr}", 25)
        for part in (secret, secret.rpartition(".")[2]):
            said = said.replace(part, "********") if part else said
        shown = " ".join(word for word in words if not word.startswith("/run/"))
        raise core.KubeadmError(
            f"'kubeadm {shown}' failed with exit code {result.rc}. Run the same playbook again after the cause is gone: it goes on from here. It said:\n{said}"
        )
    return result


def remove_cut_off(state: core.NodeState) -> None:
    """Take away what a killed kubeadm did not finish writing: it would refuse it, and makes it again."""
    for path in state.cut_off:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


# --- observing


def admin_api(request: Request, deadline: float = 15.0) -> KubeApi:
    """The API of this node's own apiserver with the administrator's credentials."""
    return KubeApi(
        load_credentials(request.paths.kubeconfig("admin"), server=request.server), timeout=10.0, deadline=deadline
    )


def observe(request: Request, *, objects: bool) -> tuple[core.NodeState, t.Optional[dict[str, list[str]]]]:
    """The state of the node and, on the leader, what the API lacks (None: it could not be asked)."""
    state = look.observe_files(request.paths, control_plane=request.control_plane)
    if not state.traces:
        return state, None
    foreign = look.foreign_kubeconfigs(request.paths) if request.control_plane else []
    if foreign:
        raise core.KubeadmError(
            f"{', '.join(foreign)} trust another CA than '{request.paths.ca}': this node belongs to another cluster. Reset it first."
        )
    state = look.with_kubelet(state)
    if not request.control_plane:
        return _worker_state(request, state), None
    state = replace(state, ready=not look.patient_ready(state, request.server, request.paths.ca))
    if not state.ready or "admin" not in state.kubeconfigs:
        return state, None
    try:
        with admin_api(request) as api:
            missing = look.missing_objects(api, core.expected_objects(request.documents)) if objects else {}
            return look.with_node(state, api, request.node_name), missing
    except KubeApiError:
        return state, None


def _worker_state(request: Request, state: core.NodeState) -> core.NodeState:
    if "kubelet" not in state.kubeconfigs or not state.kubelet_active:
        return state
    try:
        with KubeApi(load_credentials(request.paths.kubeconfig("kubelet")), timeout=10.0, deadline=10.0) as api:
            return replace(state, registered=look.node_of(api, request.node_name) is not None)
    except KubeApiError as exc:
        if exc.status == 401:
            raise core.KubeadmError(
                f"the API does not accept this kubelet's certificate ({exc}): it has expired, or the node belongs to another cluster. "
                "Reset the node, then join it again."
            ) from exc
        return state


# --- init and join


def initialise(request: Request) -> Outcome:
    """Make this node a whole first control plane, from nothing or from wherever an earlier run stopped."""
    state, missing = observe(request, objects=True)
    steps = core.plan_init(state, missing)
    if not steps or request.check:
        return outcome_of(steps)
    remove_cut_off(state)
    with config_file(request.documents, request.patches) as (path, _generated):
        kubeadm(
            "init",
            f"--config={path}",
            "--skip-token-print",
            f"--skip-phases={core.skipped(steps, core.INIT_PHASES)}",
            timeout=request.timeout + 600,
        )
    _settle(request, lambda: core.plan_init(*observe(request, objects=True)))
    return outcome_of(steps)


def join(request: Request) -> Outcome:
    """Make this node a member, from nothing or from wherever an earlier run stopped."""
    state, _objects = observe(request, objects=False)
    steps = core.plan_join(state, control_plane=request.control_plane)
    if request.check:
        return outcome_of(steps)
    phases = core.phases_of(steps)
    if phases and not request.token:
        raise core.KubeadmError(
            f"the node has to join ({'; '.join(step.reason for step in steps)}), and no bootstrap token was given"
        )
    remove_cut_off(state)
    if phases:
        documents = core.with_token(request.documents, request.token, request.ca_cert_hash)
        with config_file(documents, request.patches) as (path, _generated):
            skip = core.skipped(steps, core.JOIN_PHASES)
            kubeadm(
                "join",
                f"--config={path}",
                *([f"--skip-phases={skip}"] if skip else []),
                timeout=request.timeout + 600,
                secret=request.token,
            )
    for step in steps:
        if step.name == core.FORGET_TOKEN:
            os.unlink(request.paths.kubeconfig("bootstrap-kubelet"))
        elif step.name in core.OWN_STEPS:
            _systemd.systemctl("restart", "kubelet.service")
    _settle(request, lambda: _left_of_join(request))
    return outcome_of(steps)


def _left_of_join(request: Request) -> tuple[core.Step, ...]:
    state, _objects = observe(request, objects=False)
    steps = core.plan_join(state, control_plane=request.control_plane)
    if not steps and not state.registered:
        return (core.Step("register", "the API does not answer this node, or does not know it"),)
    return steps


def _settle(request: Request, left: t.Callable[[], tuple[core.Step, ...]]) -> None:
    """Look until nothing is left to do: kubeadm's word is not taken for it."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        steps = left()
        if not steps:
            return
        if time.monotonic() > until:
            lacking = "; ".join(f"{step.name} ({step.reason})" for step in steps)
            raise core.KubeadmError(
                f"kubeadm ended well, but after {SETTLE_SECONDS:g} s node '{request.node_name}' still lacks: {lacking}"
            )
        time.sleep(PAUSE_SECONDS)


# --- settings of a live control plane


@dataclass(frozen=True)
class Change:
    """One thing that differs: ``kind`` is ``configuration``, ``kube-proxy`` or ``coredns`` (of the cluster), ``certificate`` or ``manifest`` (of this node)."""

    kind: str
    name: str
    before: str
    after: str

    @property
    def line(self) -> str:
        return f"{self.kind} {self.name}"


def plan_configure(
    live: t.Mapping[str, str],
    wanted: t.Mapping[str, str],
    lacking_names: t.Iterable[str],
    stored: t.Iterable[Change] = (),
) -> tuple[Change, ...]:
    """What differs between a running control plane and the wanted one, in the order in which it is changed. Pure.

    :param live: manifests by component, as they stand.
    :param wanted: manifests by component, as kubeadm makes them now.
    :param lacking_names: what the apiserver's certificate does not carry.
    :param stored: the cluster's settings as the API has them and as they should be; none where another node looks after them.
    """
    changes = [change for change in stored if change.before != change.after]
    names = sorted(lacking_names)
    if names:
        changes.append(Change("certificate", "apiserver", "", "".join(f"{name}\n" for name in names)))
    changes += [
        Change("manifest", name, live.get(name, ""), wanted[name])
        for name in core.COMPONENTS
        if live.get(name, "") != wanted[name]
    ]
    return tuple(changes)


def configure(request: Request) -> Outcome:
    """Bring a live control plane to these settings: the stored configuration, then certificate and manifests of this node, each proven before the next."""
    paths = request.paths
    lacking = [name for name in core.COMPONENTS if look.read_text(paths.manifest(name)) is None]
    if lacking:
        if request.check:
            return Outcome()  # initialising or joining it makes it so
        raise core.KubeadmError(
            f"node '{request.node_name}' is not a whole control plane ({', '.join(lacking)} missing): it has to be initialised or joined first"
        )
    live = {name: look.read_text(paths.manifest(name)) or "" for name in core.COMPONENTS}
    with config_file(request.documents, request.patches) as (path, generated):
        wanted = _generate(request, path, generated)
        problems = core.refusals(live["kube-apiserver"], wanted["kube-apiserver"])
        if problems:
            raise core.KubeadmError("; ".join(problems))
        names = core.wanted_sans(request.documents) - look.certificate_names(
            paths.leaf("apiserver", "crt"), paths.leaf("apiserver", "key"), paths.ca
        )
        changes = plan_configure(live, wanted, names, _stored(request, path) if request.upload else ())
        if not request.check:
            _apply(request, changes, wanted, path)
    diff = tuple(
        {"before_header": change.line, "after_header": change.line, "before": change.before, "after": change.after}
        for change in changes
    )
    return Outcome(tuple(change.line for change in changes), diff)


def _generate(request: Request, path: str, directory: str) -> dict[str, str]:
    kubeadm(
        "init",
        "phase",
        "control-plane",
        "all",
        f"--config={path}",
        "--dry-run",
        timeout=60,
        env={"KUBEADM_INIT_DRYRUN_DIR": directory},
    )
    return {name: look.read_text(os.path.join(directory, f"{name}.yaml")) or "" for name in core.COMPONENTS}


def _stored(request: Request, path: str) -> list[Change]:
    """What the API keeps of the cluster's settings: kubeadm's configuration and kube-proxy's."""
    migrated = kubeadm("config", "migrate", f"--old-config={path}", "--new-config=/dev/stdout", timeout=60).stdout
    wanted = {core.CLUSTER_CONFIGURATION: ("configuration", core.cluster_configuration_text(migrated))}
    server = ""
    if core.KUBE_PROXY in core.expected_objects(request.documents)["addon/kube-proxy"]:
        printed = kubeadm(
            "init", "phase", "addon", "kube-proxy", f"--config={path}", "--print-manifest", timeout=60
        ).stdout
        wanted[core.KUBE_PROXY] = ("kube-proxy", core.block_scalar(printed, core.KUBE_PROXY.key))
        server = core.kubeconfig_fields(core.block_scalar(printed, core.KUBE_PROXY_KUBECONFIG)).get("server", "")
    found = []
    with admin_api(request, deadline=60) as api:
        for one, (kind, text) in wanted.items():
            known = api.get(one.api_version, one.kind, one.name, one.namespace) or {}
            found.append(
                Change(kind, f"{one.namespace}/{one.name}", str((known.get("data") or {}).get(one.key, "")), text)
            )
        proxy = api.get("v1", "ConfigMap", core.KUBE_PROXY.name, core.KUBE_PROXY.namespace) or {}
        daemon_set = api.get("apps/v1", "DaemonSet", core.KUBE_PROXY.name, core.KUBE_PROXY.namespace) or {}
        pods = api.list("v1", "Pod", "kube-system", labels="k8s-app=kube-proxy")
        dns = api.get("apps/v1", "Deployment", COREDNS["name"], COREDNS["namespace"]) or {}
    found += kube_proxy_server_change(proxy, server)
    old = core.outdated_pods(proxy, daemon_set, pods)
    found.append(Change("kube-proxy", "pods", "".join(f"{name} runs with older settings\n" for name in old), ""))
    return [*found, *coredns_change(dns, request.coredns_replicas)]


def kube_proxy_server_change(config_map: t.Mapping[str, t.Any], wanted: str) -> list[Change]:
    """Where kube-proxy asks the API, when the address has moved; ``wanted`` is empty where there is no kube-proxy. Pure."""
    known = core.kubeconfig_fields(str((config_map.get("data") or {}).get(core.KUBE_PROXY_KUBECONFIG, "")))
    return [Change("kube-proxy", "server", f"{known.get('server', '')}\n", f"{wanted}\n")] if wanted else []


def coredns_change(deployment: t.Mapping[str, t.Any], wanted: int) -> list[Change]:
    """More replicas of CoreDNS, where there are too few; an autoscaler's or an administrator's larger number stays. Pure."""
    have = (deployment.get("spec") or {}).get("replicas")
    if have is None or have >= wanted:
        return []
    return [Change("coredns", "replicas", f"{have}\n", f"{wanted}\n")]


def _store(request: Request, changes: t.Sequence[Change], path: str) -> None:
    kinds = {change.kind for change in changes}
    if "configuration" in kinds:
        kubeadm("init", "phase", "upload-config", "kubeadm", f"--config={path}", timeout=120)
    if "coredns" in kinds:
        with admin_api(request, deadline=60) as api:
            api.patch(
                {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": dict(COREDNS)},
                {"spec": {"replicas": request.coredns_replicas}},
            )
    if "kube-proxy" not in kinds:
        return
    if any(change.kind == "kube-proxy" and change.name != "pods" for change in changes):
        kubeadm("init", "phase", "addon", "kube-proxy", f"--config={path}", timeout=120)
    stamp = {"metadata": {"annotations": {core.RESTARTED: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}}}
    target = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": core.KUBE_PROXY.name, "namespace": core.KUBE_PROXY.namespace},
    }
    with admin_api(request, deadline=60) as api:
        api.patch(target, {"spec": {"template": stamp}})  # the DaemonSet replaces its pods, one node after the other


def _apply(request: Request, changes: t.Sequence[Change], wanted: t.Mapping[str, str], path: str) -> None:
    disturbing = [change for change in changes if change.kind in ("certificate", "manifest")]
    _store(request, changes, path)
    if disturbing:
        _gate(request)
    for change in disturbing:
        if change.kind == "certificate":
            _renew(request, path)
        else:
            _roll(request, change)
    for name in core.COMPONENTS:
        why = _wait_component(request, name, wanted[name], 0.0)
        if why:
            raise core.KubeadmError(
                f"{name} on '{request.node_name}' is not well with the settings that it has: {why}. {last_words(name)}"
            )


def _gate(request: Request) -> None:
    """Go on only when every other control plane is whole: this one will be away for a moment."""
    until = time.monotonic() + GATE_SECONDS
    while True:
        problems = _peer_problems(request)
        if not problems:
            return
        if time.monotonic() > until:
            raise core.KubeadmError(
                f"'{request.node_name}' was not touched, because the others have to carry the cluster meanwhile: {'; '.join(problems)}. "
                "Mend that (or take a dead control plane out of the inventory), then run the same playbook again."
            )
        time.sleep(PAUSE_SECONDS)


def _peer_problems(request: Request) -> list[str]:
    port = request.server.rpartition(":")[2]
    problems = []
    for peer in request.peers:
        why = look.anonymous_ready(f"https://{f'[{peer}]' if ':' in peer else peer}:{port}", request.paths.ca)
        if why:
            problems.append(f"the apiserver of {peer} is not ready ({why})")
    if problems or not request.peers:
        return problems
    try:
        with admin_api(request) as api:
            pods = api.list("v1", "Pod", "kube-system", labels="tier=control-plane")
    except KubeApiError as exc:
        return [str(exc)]
    return unready_pods(pods, request.peers)


def unready_pods(pods: t.Iterable[t.Mapping[str, t.Any]], addresses: t.Iterable[str]) -> list[str]:
    """The static pods of these hosts that are not ready. Pure."""
    found, hosts = [], set(addresses)
    for pod in pods:
        status = pod.get("status") or {}
        ready = any(
            one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or []
        )
        if status.get("hostIP") in hosts and not ready:
            found.append(f"pod {pod['metadata']['name']} is not ready")
    return sorted(found)


def _renew(request: Request, path: str) -> None:
    """Make the apiserver's certificate anew; the old pair comes back when that fails. The apiserver reads the new one by itself."""
    pair = [request.paths.leaf("apiserver", ending) for ending in ("crt", "key")]
    for file in pair:
        os.replace(file, file + PREVIOUS)
    try:
        kubeadm("init", "phase", "certs", "apiserver", f"--config={path}", timeout=60)
    except BaseException:
        for file in pair:
            os.replace(file + PREVIOUS, file)
        raise
    for file in pair:
        os.unlink(file + PREVIOUS)


def _roll(request: Request, change: Change) -> None:
    """Replace one manifest and wait until the component runs with it; otherwise put the old one back."""
    path, started = request.paths.manifest(change.name), time.time()
    write_atomic(path, change.after.encode(), mode=0o600)
    why = _wait_component(request, change.name, change.after, started)
    if not why:
        return
    words = last_words(change.name)
    started = time.time()
    write_atomic(path, change.before.encode(), mode=0o600)
    again = _wait_component(request, change.name, change.before, started)
    raise core.KubeadmError(
        f"{change.name} on '{request.node_name}' did not get well with its new settings ({why}). {words} Its old settings were put back"
        f"{', and it is well again' if not again else f', but it is still not well: {again}'}. The nodes after it were not touched: "
        "correct the settings and run the same playbook again."
    )


def _wait_component(request: Request, component: str, manifest: str, since: float) -> str:
    """Wait until a component runs as its manifest says and is well. Return why not after the time is over, else an empty text."""
    until = time.monotonic() + request.timeout
    while True:
        if not look.runs_manifest(look.processes(component), manifest, since):
            why = "no process runs with the settings of its manifest"
        else:
            why = look.component_health(component, manifest, request.server, request.paths.ca)
        if not why or time.monotonic() > until:
            return why
        time.sleep(PAUSE_SECONDS)


def last_words(component: str) -> str:
    """The end of a component's newest log, for messages."""
    logs = glob.glob(f"/var/log/pods/kube-system_{component}-*/{component}/*.log")
    for path in sorted(logs, key=os.path.getmtime, reverse=True):
        said = [line.split(" ", 3)[-1].strip() for line in (look.read_text(path) or "").splitlines()]
        # A component that refuses its flags says so first and prints all flags it knows after it.
        words = [line for line in said if line.startswith("Error")][:1] or [line for line in said if line][-3:]
        if words:
            return f"Its last words: {' | '.join(words)[:600]}"
    return ""
