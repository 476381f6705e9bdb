# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark reads of a cluster: nodes and their room, Calico's addresses, metrics of API servers, etcd and kubelets. Changes nothing."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_metrics as metrics
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_plan as planning
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _prometheus as prometheus
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    Credentials,
    KubeApi,
    KubeApiError,
    Object,
)

CALICO = "crd.projectcalico.org/v1"
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
SCRAPE_SECONDS = 30.0


def calico(api: KubeApi) -> t.Optional[planning.CalicoBlocks]:
    """Calico's IPv4 addresses; None where Calico does not give them out."""
    try:
        pools, blocks = (api.list(CALICO, kind) for kind in ("IPPool", "IPAMBlock"))
        return planning.calico_blocks(pools, blocks, api.get(CALICO, "IPAMConfig", "default"))
    except KubeApiError as exc:
        if exc.reason == "UnknownKind" or exc.status == 404:
            return None
        raise


def rooms(api: KubeApi, names: t.Sequence[str], cpu: float, memory: float) -> t.List[planning.Room]:
    """The nodes of these names and what still fits on them."""
    nodes = {node["metadata"]["name"]: node for node in api.list("v1", "Node")}
    unknown = sorted(set(names) - set(nodes))
    if unknown:
        found = ", ".join(sorted(nodes))
        raise planning.PlanError(
            [f"density_benchmark_nodes: the cluster has no node {', '.join(unknown)}; it has {found}"]
        )
    pods = api.list("v1", "Pod")
    blocks = calico(api)
    found_rooms = []
    for name in names:
        here = [
            pod
            for pod in pods
            if (pod.get("spec") or {}).get("nodeName") == name
            and (pod.get("status") or {}).get("phase") not in planning.ENDED
            and not (pod.get("spec") or {}).get("hostNetwork")
        ]
        free = None  # kwok makes up addresses
        if not planning.is_simulated(nodes[name]):
            free = blocks.room(name) if blocks else planning.node_network_room(nodes[name], len(here))
        found_rooms.append(planning.room(nodes[name], pods, cpu, memory, free))
    return found_rooms


def conditions(api: KubeApi, names: t.Collection[str]) -> t.Dict[str, t.List[str]]:
    """Nodes that are not well: ``{name: [NotReady, MemoryPressure, ...]}``."""
    found = {}
    for node in api.list("v1", "Node"):
        if node["metadata"]["name"] not in names:
            continue
        states = {one.get("type"): one.get("status") for one in (node.get("status") or {}).get("conditions") or []}
        bad = [name for name in PRESSURES if states.get(name) == "True"]
        if states.get("Ready") != "True":
            bad.append("NotReady")
        if bad:
            found[node["metadata"]["name"]] = bad
    return found


def hardware(api: KubeApi, names: t.Sequence[str]) -> t.List[Object]:
    """What the report says of the machines, by node."""
    found = []
    for node in api.list("v1", "Node"):
        status = node.get("status") or {}
        info, capacity = status.get("nodeInfo") or {}, status.get("capacity") or {}
        roles = [
            label.rpartition("/")[2]
            for label in node["metadata"].get("labels") or {}
            if label.startswith("node-role.kubernetes.io/")
        ]
        found.append(
            {
                "name": node["metadata"]["name"],
                "loaded": node["metadata"]["name"] in names,
                "roles": sorted(roles),
                "cpus": capacity.get("cpu"),
                "memory_gib": round(planning.quantity(capacity.get("memory", 0)) / 2**30, 1),
                "pods": capacity.get("pods"),
                "kernel": info.get("kernelVersion"),
                "os": info.get("osImage"),
                "kubelet": info.get("kubeletVersion"),
                "runtime": info.get("containerRuntimeVersion"),
            }
        )
    return sorted(found, key=lambda row: str(row["name"]))


@dataclass(frozen=True)
class Reading:
    """Metrics of one moment, by server, endpoint and node. ``missing``: who did not answer, and why."""

    at: float
    api: t.Dict[str, prometheus.Samples]
    etcd: t.Dict[str, prometheus.Samples]
    kubelets: t.Dict[str, prometheus.Samples]
    missing: t.List[str]


class Scraper:
    """Reads metrics of everything that has some, each from its own address.

    :param api_servers: URLs; each is asked for itself, with the credentials of ``credentials``.
    :param nodes: those whose kubelets are asked.
    :param etcd: endpoints (``https://192.0.2.1:2379``), asked with the API server's own client certificate; ``etcd_pem`` is (ca, certificate, key).
    """

    def __init__(
        self,
        api: KubeApi,
        credentials: Credentials,
        api_servers: t.Sequence[str],
        etcd: t.Sequence[str],
        etcd_pem: t.Optional[t.Tuple[bytes, bytes, bytes]],
        nodes: t.Sequence[str],
    ) -> None:
        self._api = api
        self.nodes = list(nodes)
        self._servers = {
            url: KubeApi(replace(credentials, server=url), timeout=SCRAPE_SECONDS, deadline=0)
            for url in api_servers or [api.server]
        }
        self._etcd = {}
        if etcd_pem:
            ca, certificate, key = etcd_pem
            for url in etcd:
                self._etcd[url] = KubeApi(Credentials(url, ca, certificate, key), timeout=SCRAPE_SECONDS, deadline=0)

    def _text(self, api: KubeApi, path: str, missing: t.List[str], who: str) -> t.Optional[str]:
        try:
            answer = api.raw(path, deadline=0)
        except KubeApiError as exc:
            missing.append(f"{who}: {exc.message}")
            return None
        if answer.status != 200:
            missing.append(f"{who}: status {answer.status}")
            return None
        return answer.text

    def kubelet(self, node: str, missing: t.List[str]) -> t.Optional[prometheus.Samples]:
        """A kubelet's metrics through the API's proxy."""
        text = self._text(self._api, f"/api/v1/nodes/{node}/proxy/metrics", missing, f"kubelet of {node}")
        return None if text is None else prometheus.parse(text, metrics.KUBELET_NAMES)

    def read(self, at: float) -> Reading:
        """Everything, once."""
        missing: t.List[str] = []
        api, etcd, kubelets = {}, {}, {}
        for url, client in self._servers.items():
            text = self._text(client, "/metrics", missing, f"API server {url}")
            if text is not None:
                api[url] = prometheus.parse(text, metrics.API_NAMES)
        for url, client in self._etcd.items():
            text = self._text(client, "/metrics", missing, f"etcd {url}")
            if text is not None:
                etcd[url] = prometheus.parse(text, metrics.ETCD_NAMES)
        for node in self.nodes:
            samples = self.kubelet(node, missing)
            if samples is not None:
                kubelets[node] = samples
        return Reading(at, api, etcd, kubelets, missing)

    def close(self) -> None:
        for client in [*self._servers.values(), *self._etcd.values()]:
            client.close()


def figures(before: Reading, after: Reading) -> t.Dict[str, t.Any]:
    """What the metrics say of the time between two readings."""
    return {
        "api": metrics.api_figures(before.api, after.api, after.at - before.at),
        "etcd": metrics.etcd_figures(before.etcd, after.etcd, after.at - before.at),
        "kubelets": {
            node: metrics.kubelet_figures(before.kubelets.get(node, {}), samples, after.at - before.at)
            for node, samples in after.kubelets.items()
        },
        "missing": [*before.missing, *after.missing],
    }
