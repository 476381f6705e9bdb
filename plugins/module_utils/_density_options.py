# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the arguments of module ``density_benchmark`` to what its parts take."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_objects as objects
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_plan as planning
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_read as reading
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._density_run import Options
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import (
    KubeApi,
    api_argument_spec,
    load_credentials,
)

Params = t.Mapping[str, t.Any]


def argument_spec() -> t.Dict[str, t.Any]:
    """All arguments."""
    texts = {"node": "", "pause_image": "", "web_image": "", "cpu": "1m", "memory": "8Mi", "memory_limit": "64Mi"}
    whole = {
        **{"count": 0, "pods": 0, "pods_per_node": 0, "probe_delay_seconds": 0, "probe_period_seconds": 10},
        **{"hold_seconds": 900, "lease_seconds": 120, "services": 5, "seed": 1},
    }
    numbers: t.Dict[str, t.Any] = {
        **{"since": 0, "share": 0.93, "rate": 5, "baseline_seconds": 30, "settle_seconds": 600, "stall_seconds": 120},
        **{"churn_minutes": 0, "churn_percent": 10, "sample_seconds": 15, "abort_factor": 10, "abort_floor_ms": 100},
    }
    return {
        **api_argument_spec(),
        "state": {"type": "str", "choices": ["loaded", "returned", "drained", "absent"], "default": "loaded"},
        "workload": {"type": "str", "choices": list(objects.WORKLOADS), "default": "web"},
        "domain": {"type": "str", "default": "cluster.local"},
        "pki_dir": {"type": "path", "default": "/etc/kubernetes/pki"},
        "replicated": {"type": "bool", "default": False},
        "external": {"type": "bool", "default": False},
        **{
            name: {"type": "list", "elements": "str", "default": []}
            for name in ("nodes", "api_servers", "etcd_endpoints")
        },
        **{name: {"type": "str", "default": value} for name, value in texts.items()},
        **{name: {"type": "int", "default": value} for name, value in whole.items()},
        **{name: {"type": "float", "default": value} for name, value in numbers.items()},
    }


def _positive(params: Params) -> t.List[str]:
    names = (
        "rate",
        "settle_seconds",
        "stall_seconds",
        "lease_seconds",
        "hold_seconds",
        "probe_period_seconds",
        "sample_seconds",
    )
    reasons = [f"{name} is {params[name]}; it has to be more than 0" for name in names if params[name] <= 0]
    names = (
        "pods",
        "pods_per_node",
        "probe_delay_seconds",
        "baseline_seconds",
        "churn_minutes",
        "churn_percent",
        "services",
    )
    reasons += [f"{name} is {params[name]}; it cannot be less than 0" for name in names if params[name] < 0]
    if not 0 < params["share"] <= 1:
        reasons.append(f"share is {params['share']}; it is more than 0 and at most 1")
    for name in ("cpu", "memory", "memory_limit"):
        try:
            planning.quantity(params[name])
        except ValueError as exc:
            reasons.append(f"{name}: {exc}")
    return reasons


def options(params: Params, run: str) -> Options:
    """How a run goes; :class:`_density_plan.PlanError` for values that make no sense."""
    reasons = _positive(params)
    if reasons:
        raise planning.PlanError(reasons)
    settings = objects.Settings(
        run=run,
        nodes=tuple(params["nodes"]),
        most_seconds=most_seconds(params),
        **{
            name: params[name]
            for name in (
                "workload",
                "pause_image",
                "web_image",
                "cpu",
                "memory",
                "memory_limit",
                "probe_delay_seconds",
                "probe_period_seconds",
            )
        },
    )
    names = (
        *(
            "rate",
            "replicated",
            "baseline_seconds",
            "settle_seconds",
            "stall_seconds",
            "churn_minutes",
            "churn_percent",
        ),
        *("hold_seconds", "lease_seconds", "sample_seconds", "services", "external", "domain", "abort_factor", "seed"),
    )
    return Options(
        settings=settings,
        wish=planning.Wish(params["pods"], params["pods_per_node"], params["share"]),
        abort_floor=params["abort_floor_ms"] / 1000,
        **{name: params[name] for name in names},
    )


def most_seconds(params: Params) -> int:
    """What a pod of the load may live for at most, by its kubelet's own clock: a generous bound of the whole run."""
    return int(4 * params["settle_seconds"] + 120 * params["churn_minutes"] + 2 * params["hold_seconds"] + 7200)


def scraper(api: KubeApi, params: Params) -> reading.Scraper:
    """Who reads the metrics; etcd's are left out where the API server's client certificate is not there."""
    paths = [
        os.path.join(params["pki_dir"], name)
        for name in ("etcd/ca.crt", "apiserver-etcd-client.crt", "apiserver-etcd-client.key")
    ]
    pem = None
    if params["etcd_endpoints"] and all(os.path.exists(path) for path in paths):
        found = []
        for path in paths:
            with open(path, "rb") as stream:
                found.append(stream.read())
        pem = (found[0], found[1], found[2])
    credentials = load_credentials(
        params["kubeconfig"], server=params["api_server"], tls_server_name=params["tls_server_name"]
    )
    return reading.Scraper(api, credentials, params["api_servers"], params["etcd_endpoints"], pem, params["nodes"])


def addresses(api: KubeApi) -> t.Optional[t.Dict[str, t.Any]]:
    """Calico's addresses now."""
    blocks = reading.calico(api)
    return blocks.as_data() if blocks else None


def nothing_cleaned(api: KubeApi, left: t.Sequence[str]) -> t.Dict[str, t.Any]:
    """The answer of ``absent`` when nothing was taken away: because nothing is there, or because it is only asked."""
    return {
        **{"removed": [], "left": list(left), "seconds": 0.0, "pods": 0, "pods_gone_seconds": 0.0},
        "course": [],
        "addresses": addresses(api),
    }
