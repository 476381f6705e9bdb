# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of the density benchmark: prepare, load, settle, churn, read. Leaves the load standing for those who look at the nodes; the lease ends it."""

from __future__ import annotations

import http.client
import random
import threading
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_canary as canaries
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_lease as leases
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_metrics as metrics
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_objects as objects
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_plan as planning
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_read as reading
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_stages as stages
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _dns
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._density_watch import Watch
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, Object

#: requests that are on their way at the same time, at most
MOST_WORKERS = 32
CANARY_START_SECONDS = 120.0
SERVICE_SECONDS = 30.0
QUOTA_SECONDS = 30.0
LOOK_SECONDS = 0.5


class AbortedError(Exception):
    """The run had to end early."""


@dataclass(frozen=True)
class Options:
    """How a run goes. Times are seconds; ``rate`` is pods a second; ``share``, ``pods``, ``pods_per_node``: see :class:`_density_plan.Wish`."""

    settings: objects.Settings
    wish: planning.Wish
    rate: float
    replicated: bool = False
    baseline_seconds: float = 30
    settle_seconds: float = 600
    stall_seconds: float = 120
    churn_minutes: float = 0
    churn_percent: float = 0
    hold_seconds: int = 900
    lease_seconds: int = 120
    sample_seconds: float = 15
    services: int = 5
    external: bool = False
    domain: str = "cluster.local"
    abort_factor: float = 10
    abort_floor: float = 0.1
    seed: int = 1

    @property
    def pods_a_unit(self) -> int:
        return 2 if self.settings.workload == "heavy" else 1


class Run:
    """One run. :meth:`load` does all of it; :meth:`result` says what was seen, also after an abort."""

    def __init__(self, api: KubeApi, scraper: reading.Scraper, options: Options) -> None:
        self._api = api
        self._scraper = scraper
        self._options = options
        self.settings = options.settings
        self.timeline: t.List[t.Tuple[float, str]] = []
        self.samples: t.List[t.Dict[str, t.Any]] = []
        self.aborted = ""
        self.create_errors: t.Dict[str, int] = {}
        self.lateness: t.List[float] = []
        self._canaries: t.List[canaries.Canary] = []
        self._baseline: t.Dict[str, t.Any] = {}
        self._services: t.Dict[str, t.Any] = {}
        self._over = threading.Event()
        self._lease = leases.Lease(api, options.lease_seconds)
        self._watch = Watch(api, self.settings.run)
        self._marks: t.Dict[str, float] = {}
        self._before: t.Optional[reading.Reading] = None
        self._after: t.Optional[reading.Reading] = None
        self._planned: t.Optional[planning.Load] = None
        self._rooms: t.List[planning.Room] = []
        self._blocks: t.Dict[str, t.Any] = {}
        self._places: t.List[str] = []
        self._next = 0
        self._lock = threading.Lock()

    # --- small things

    def _note(self, what: str) -> None:
        self.timeline.append((time.time(), what))

    def _mark(self, name: str) -> float:
        self._marks[name] = time.time()
        self._note(name.replace("_", " "))
        return self._marks[name]

    def _check(self) -> None:
        """End the run when the lease or a canary says so."""
        if self._lease.over.is_set():
            raise AbortedError(self._lease.why)
        if self._over.is_set():
            raise AbortedError(self.aborted)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._check()
            time.sleep(min(LOOK_SECONDS, max(0.0, until - time.monotonic())))

    # --- the parts of a run

    def load(self) -> None:
        """All of it. :class:`_density_plan.PlanError` and :class:`_density_lease.LeaseError` come before anything was changed."""
        leases.check_free(self._api, self._options.lease_seconds)
        self.settings, self._planned = self._plan()
        left = leases.found(self._api)
        if left:
            self._note(f"removed what an earlier run left: {', '.join(left)}")
            leases.clean(self._api, self._options.settle_seconds)
        try:
            self._prepare()
            self._measure_baseline()
            self._create()
            self._settle()
            self._churn()
            self._measure_peak()
        except AbortedError as exc:
            self.aborted = str(exc)
            self._note(f"aborted: {exc}")
        finally:
            self._stop()

    def plan_only(self) -> t.Dict[str, t.Any]:
        """What would be created; changes nothing."""
        leases.check_free(self._api, self._options.lease_seconds)
        return self._plan()[1].as_data()

    def _plan(self) -> t.Tuple[objects.Settings, planning.Load]:
        options = self._options
        cpu, memory = planning.quantity(self.settings.cpu), planning.quantity(self.settings.memory)
        self._rooms = reading.rooms(self._api, self.settings.nodes, cpu, memory)
        self._scraper.nodes = [one.name for one in self._rooms if not one.simulated]
        blocks = None if self._simulated else reading.calico(self._api)
        self._blocks["before"] = blocks.as_data() if blocks else None
        load = planning.plan(self._rooms, replace(options.wish, per_unit=options.pods_a_unit))
        lower = [
            one["metadata"]["name"]
            for one in self._api.list("scheduling.k8s.io/v1", "PriorityClass")
            if int(one.get("value") or 0) <= objects.PRIORITY and one["metadata"]["name"] != objects.PRIORITY_CLASS
        ]
        if lower:
            raise planning.PlanError(
                [
                    f"PriorityClass {', '.join(lower)} is not above {objects.PRIORITY}: the benchmark has to be below everything else"
                ]
            )
        taints = sorted({taint for one in self._rooms for taint in one.taints})
        return replace(self.settings, tolerations=tuple(taints), nodes=tuple(load.names)), load

    @property
    def _load(self) -> planning.Load:
        """What is put on the nodes; every phase comes after the plan."""
        if self._planned is None:
            raise RuntimeError("the load is asked for before it is planned")
        return self._planned

    @property
    def _simulated(self) -> t.List[str]:
        return [one.name for one in self._rooms if one.simulated]

    @property
    def _on_machines(self) -> objects.Settings:
        """Settings of the pods that have to run in truth: without what lets them onto simulated nodes."""
        return replace(self.settings, tolerations=()) if self._simulated else self.settings

    def _prepare(self) -> None:
        options, count = self._options, self._load.pods
        self._mark("preparing")
        services = count // 2 + options.services + 3
        for obj in (objects.namespace(), objects.priority_class()):
            self._api.apply(obj)
        self._api.apply(objects.quota(count + len(self._load.nodes) + 1, services, int(options.external)))
        self._wait_for_quota()
        lifetime = options.lease_seconds + int(CANARY_START_SECONDS)
        job = self._api.create(objects.lease(self._on_machines, lifetime, time.time()))
        self.settings = replace(self.settings, owner=objects.owner_reference(job))
        self._lease.start()
        self._watch.start()
        for index, node in enumerate([""] if self._simulated else self._load.names):
            self._api.create(objects.canary(self._on_machines, index, node))
        addresses = {}
        for service in objects.canary_services(self.settings, options.external):
            made = self._api.create(service)
            addresses[service["metadata"]["name"]] = made["spec"]["clusterIP"]
        answered = canaries.wait_for_answer(addresses["canary"], time.monotonic() + options.settle_seconds)
        if answered is None:
            raise AbortedError(self._silent_canary(addresses["canary"]))
        if options.external:
            self._services["load_balancer"] = self._wait_for_load_balancer()
        self._start_canaries(addresses["canary"])

    def _silent_canary(self, address: str) -> str:
        """Why the canary does not answer, as far as its pods say it."""
        pods = self._api.list("v1", "Pod", objects.NAMESPACE, labels=f"{objects.ROLE}=canary")
        states = []
        for pod in pods:
            said = self._watch.warnings.get(pod["metadata"]["name"]) or stages.Tracks().observe("ADDED", pod, 0).trouble
            state = "Ready" if stages.is_ready(pod) else f"not Ready{': ' + said if said else ''}"
            states.append(f"{pod['metadata']['name']} {state}")
        where = "; ".join(states) or "there is no such pod"
        return f"the canary at {address} did not answer within {self._options.settle_seconds:g} s before the load ({where})"

    def _wait_for_quota(self) -> None:
        """A quota that no controller has counted yet refuses everything."""
        until = time.monotonic() + QUOTA_SECONDS
        while time.monotonic() < until:
            quota = self._api.get("v1", "ResourceQuota", objects.NAMESPACE, objects.NAMESPACE) or {}
            if (quota.get("status") or {}).get("hard"):
                return
            time.sleep(0.1)
        raise AbortedError(
            f"nobody counted the quota within {QUOTA_SECONDS:.0f} s: does a kube-controller-manager run?"
        )

    def _wait_for_load_balancer(self) -> t.Dict[str, t.Any]:
        """Seconds until the LoadBalancer has an address, and until this host gets an answer from it."""
        begun = time.monotonic()
        while time.monotonic() < begun + CANARY_START_SECONDS:
            service = self._api.get("v1", "Service", "canary-external", objects.NAMESPACE) or {}
            ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
            if ingress and ingress[0].get("ip"):
                assigned = time.monotonic()
                found = canaries.wait_for_answer(ingress[0]["ip"], begun + CANARY_START_SECONDS)
                return {
                    "address": ingress[0]["ip"],
                    "assigned_ms": round((assigned - begun) * 1000, 1),
                    "answered_ms": round((found[0] + assigned - begun) * 1000, 1) if found else None,
                    "first_request_ms": round(found[1] * 1000, 1) if found else None,
                }
            self._pause(0.2)
        return {"address": "", "assigned_ms": None, "answered_ms": None, "first_request_ms": None}

    def _start_canaries(self, address: str) -> None:
        namespace = objects.NAMESPACE
        note: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": objects.meta(self.settings, "canary", "canary"),
            "data": {"at": "0"},
        }
        self._api.create(note)
        asks: t.Dict[str, canaries.Ask] = {
            "api_read": lambda: _expect(self._api.get("v1", "ConfigMap", "canary", namespace)),
            "api_write": lambda: _expect(self._api.patch(note, {"data": {"at": f"{time.time():.3f}"}})),
            "http": lambda: canaries.get_once(address),
        }
        dns = self._api.get("v1", "Service", "kube-dns", "kube-system")
        if dns:
            server, name = dns["spec"]["clusterIP"], f"canary.{namespace}.svc.{self._options.domain}"
            asks["dns"] = lambda: _dns.resolve(server, name)
        self._canaries = [canaries.Canary(name, ask) for name, ask in asks.items()]
        for canary in self._canaries:
            canary.start()

    def _measure_baseline(self) -> None:
        start = self._mark("baseline")
        self._pause(self._options.baseline_seconds)
        self._services["baseline"] = self._measure_services("baseline")
        end = time.time()
        self._baseline = {one.kind: canaries.summary(one.between(start, end)) for one in self._canaries}
        threading.Thread(target=self._guard, name="guard", daemon=True).start()
        threading.Thread(target=self._sample, name="samples", daemon=True).start()

    def _measure_services(self, when: str) -> t.List[t.Dict[str, float]]:
        """Make Services on servers that are Ready, one after another: until each is programmed here, and its first request."""
        found = []
        for number in range(self._options.services):
            self._check()
            selector = {objects.LABEL: self.settings.run, objects.ROLE: "canary"}
            made = self._api.create(objects.service(self.settings, f"{when}-{number}", selector))
            answered = canaries.wait_for_answer(made["spec"]["clusterIP"], time.monotonic() + SERVICE_SECONDS)
            if answered:
                found.append(
                    {"programmed_ms": round(answered[0] * 1000, 1), "first_request_ms": round(answered[1] * 1000, 1)}
                )
            self._api.delete({**made, "apiVersion": "v1", "kind": "Service"})
        return found

    # --- while it runs

    def _guard(self) -> None:
        """Watch the canaries, and end the run when one of them suffers too much."""
        while not self._over.wait(1.0):
            start = self._marks.get("creating", time.time())
            for canary in self._canaries:
                baseline = (self._baseline.get(canary.kind) or {}).get("p99")
                said = canaries.degraded(
                    canary.between(start, time.time()),
                    None if baseline is None else baseline / 1000,
                    self._options.abort_factor,
                    self._options.abort_floor,
                )
                if said:
                    self.aborted = f"canary {canary.kind}: {said}"
                    self._over.set()

    def _sample(self) -> None:
        """Read the kubelets and the nodes' conditions again and again."""
        last: t.Dict[str, t.Tuple[float, t.Any]] = {}
        unwell: t.Dict[str, t.List[str]] = {}
        while not self._over.is_set():
            for node in self._scraper.nodes:
                missing: t.List[str] = []
                samples, now = self._scraper.kubelet(node, missing), time.time()
                if samples is None:
                    self._note(missing[0])
                    continue
                if node in last:
                    row = metrics.kubelet_figures(last[node][1], samples, now - last[node][0])
                    kept = ("cpu_cores", "rss_mib", "running_pods", "pleg_relist_p99_ms")
                    self.samples.append({"at": now, "node": node, **{key: row[key] for key in kept}})
                last[node] = (now, samples)
            try:
                found = reading.conditions(self._api, self._planned.names if self._planned else ())
            except KubeApiError:
                found = unwell
            for node in sorted(set(found) | set(unwell)):
                if found.get(node) != unwell.get(node):
                    self._note(f"node {node}: {', '.join(found.get(node) or ['well again'])}")
            unwell = found
            self._over.wait(self._options.sample_seconds)

    # --- the load

    def _unit(self, index: int) -> t.List[Object]:
        if self.settings.workload == "heavy":
            return objects.heavy(self.settings, index)
        if self._options.replicated:
            return objects.replicated(self.settings, index)
        node = self._places[index % len(self._places)] if self._places else ""
        return [objects.pod(self.settings, f"{self.settings.workload}-{index:05d}", node)]

    def _post(self, index: int) -> None:
        for obj in self._unit(index):
            try:
                self._api.create(obj)
            except KubeApiError as exc:
                if exc.reason == "AlreadyExists":
                    continue
                with self._lock:
                    said = f"{exc.reason or exc.status}: {exc.message}"[:300]
                    self.create_errors[said] = self.create_errors.get(said, 0) + 1
                return
            if obj["kind"] == "Pod":
                self._watch.asked(obj["metadata"]["name"], time.time())

    def _create(self) -> None:
        self._places = planning.sequence(self._load.shares)
        self._before = self._scraper.read(time.time())
        self._mark("creating")
        begun = time.monotonic()
        units, rate = self._load.pods // self._options.pods_a_unit, self._options.rate / self._options.pods_a_unit

        def work() -> None:
            while not self._over.is_set() and not self._lease.over.is_set():
                with self._lock:
                    index, self._next = self._next, self._next + 1
                if index >= units:
                    return
                wait = begun + planning.due(index, rate) - time.monotonic()
                if wait > 0 and self._over.wait(wait):
                    return
                with self._lock:
                    self.lateness.append(max(0.0, time.monotonic() - begun - planning.due(index, rate)))
                self._post(index)

        workers = [
            threading.Thread(target=work, name=f"create-{number}", daemon=True)
            for number in range(min(MOST_WORKERS, 2 + int(self._options.rate * 2)))
        ]
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            self._check()
            time.sleep(0.1)
        self._next = units
        self._mark("created")

    def _settle(self) -> None:
        """Wait until all are Ready, for so long, or as long as something still changes."""
        begun = moved = time.monotonic()
        last = self._watch.progress()
        while last[-1] < self._load.pods:
            self._pause(LOOK_SECONDS)
            now, current = time.monotonic(), self._watch.progress()
            if current != last:
                last, moved = current, now
            if now - begun > self._options.settle_seconds or now - moved > self._options.stall_seconds:
                self._note(f"{last[-1]} of {self._load.pods} pods are Ready, and no more became so")
                break
        self._mark("settled")

    def _churn(self) -> None:
        options = self._options
        times = planning.churn_due(options.churn_minutes, options.churn_percent, self._load.pods)
        if not times:
            return
        self._mark("churning")
        begun = time.monotonic()
        choice = random.Random(options.seed)
        for due in times:
            self._pause(max(0.0, begun + due - time.monotonic()))
            with self._watch.lock:
                standing = sorted(self._watch.ready_now)
                if not standing:
                    continue
                name = choice.choice(standing)
                node = self._watch.tracks.pods[name].node
                self._watch.ready_now.discard(
                    name
                )  # before the watch says so: what is waited for afterwards are the new ones
            self._api.delete(
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": objects.NAMESPACE}}
            )
            if not self._replaced_by_itself:
                self._places.append(node)  # the new pod takes the place of the old one
                self._post(self._next)
                self._next += 1
        self._mark("churned")
        self._settle()

    @property
    def _replaced_by_itself(self) -> bool:
        return self._options.replicated or self.settings.workload == "heavy"

    def _measure_peak(self) -> None:
        self._services["peak"] = self._measure_services("peak")
        self._after = self._scraper.read(time.time())
        blocks = None if self._simulated else reading.calico(self._api)
        self._blocks["peak"] = blocks.as_data() if blocks else None
        self._mark("measured")

    def _stop(self) -> None:
        self._over.set()
        for canary in self._canaries:
            canary.stop()
        self._watch.stop()
        self._lease.stop()
        if not self.aborted:
            self._lease.extend(self._options.hold_seconds)

    # --- what was seen

    def result(self) -> t.Dict[str, t.Any]:
        """Plain data for the report; times are seconds since the epoch, or after ``started`` where they are many."""
        started, now = self._marks.get("creating", time.time()), time.time()
        load = self._planned
        after = self._after or (self._scraper.read(now) if self._before else None)
        return {
            "run": self.settings.run,
            "started": started,
            "ended": now,
            "aborted": self.aborted,
            "load": load.as_data() if load else None,
            "simulated": self._simulated,
            "marks": {name: round(at - started, 3) for name, at in self._marks.items()},
            "timeline": [[round(at - started, 3), what] for at, what in self.timeline],
            "create_errors": dict(self.create_errors),
            "behind_seconds": round(max(self.lateness, default=0.0), 3),
            **self._watch.result(started),
            "canaries": {
                one.kind: {
                    "baseline": self._baseline.get(one.kind),
                    "load": canaries.summary(one.between(started, now)),
                    "course": [
                        [
                            round(sample.at - started, 1),
                            None if sample.seconds is None else round(sample.seconds * 1000, 1),
                        ]
                        for sample in list(one.samples)
                    ],
                }
                for one in self._canaries
            },
            "services": self._services,
            "metrics": reading.figures(self._before, after) if self._before and after else None,
            "kubelet_course": [{**row, "at": round(row["at"] - started, 1)} for row in self.samples],
            "addresses": self._blocks,
            "headroom": planning.survives_loss(self._rooms),
            "conditions": reading.conditions(self._api, load.names if load else ()),
            "hardware": reading.hardware(self._api, load.names if load else ()),
        }


def _expect(obj: t.Optional[Object]) -> None:
    if obj is None:
        raise http.client.HTTPException("the object is gone")
