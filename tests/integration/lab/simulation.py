"""Simulated nodes for a real control plane: kwok, compiled by the bundle's recipe for Go, plays their kubelets from this machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bundle_go
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_make import key_of
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import default_cache_dir

MODULES = Path(__file__).parent / "kwok"
#: what kwok plays, an object a file
PLAYED = sorted((Path(__file__).parent / "played").glob("*.yml"))
MAIN = "sigs.k8s.io/kwok/cmd/kwok"
ANNOTATION = {"kwok.x-k8s.io/node": "fake"}
#: keeps real workloads off; DaemonSets of the network want `kubernetes.io/os: linux`, which these nodes do not carry
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
LABEL = "bare-metal.kubernetes/simulated"


def kwok() -> Path:
    """The program; compiled (some minutes) when its modules, the toolchain or the flags are new."""
    cache = default_cache_dir()
    go = bundle_go.ensure_go(cache, print)
    argv = ["build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w"]
    program = cache / "tools" / f"kwok-{key_of(go.version, argv, bundle_go.source_hash(MODULES))[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        environment = bundle_go.build_environment(cache, architecture)
        unfinished = program.with_suffix(f".{os.getpid()}")
        bundle_go.run_go(go, [*argv, "-o", str(unfinished), MAIN], MODULES, environment, "kwok", print)
        unfinished.replace(program)
    return program


def node(name: str, pods: int) -> dict[str, Any]:
    """A node of 40 cores and 512 GiB that takes so many pods."""
    room = {"cpu": "40", "memory": "512Gi", "pods": str(pods)}
    system = {
        **dict.fromkeys(("bootID", "machineID", "systemUUID"), ""),
        **{"architecture": "amd64", "operatingSystem": "linux", "osImage": "simulated", "kernelVersion": "none"},
        **{"containerRuntimeVersion": "kwok", "kubeletVersion": "kwok", "kubeProxyVersion": "kwok"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": ANNOTATION,
            "labels": {
                LABEL: "",
                "kubernetes.io/hostname": name,
                "node.kubernetes.io/exclude-from-external-load-balancers": "",
            },
        },
        "spec": {"taints": [TAINT]},
        "status": {"allocatable": room, "capacity": room, "nodeInfo": system},
    }


@contextmanager
def nodes(kubeconfig: Path, count: int, pods: int, kubectl: Callable[..., str], log: Path) -> Iterator[list[str]]:
    """So many simulated nodes, Ready; afterwards nodes, their leases and the program are gone.

    :param kubectl: runs kubectl with these arguments on a control plane, ``given`` on its standard input.
    """
    names = [f"kwok-{number:03d}" for number in range(count)]
    program = kwok()
    with log.open("w") as stream:
        argv = [program, "--kubeconfig", kubeconfig, *(word for path in PLAYED for word in ("--config", path))]
        process = subprocess.Popen(argv, stdout=stream, stderr=subprocess.STDOUT)
        try:
            made = {"apiVersion": "v1", "kind": "List", "items": [node(name, pods) for name in names]}
            kubectl("create -f -", given=json.dumps(made))
            until = time.monotonic() + 120
            ready = "get nodes -l {} -o jsonpath='{{.items[*].status.conditions[?(@.type==\"Ready\")].status}}'"
            while kubectl(ready.format(LABEL)).split().count("True") < count:
                assert process.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < until, log.read_text()[-4000:]
                time.sleep(1)
            yield names
        finally:
            kubectl(f"delete nodes -l {LABEL} --wait=true", check=False)
            process.terminate()
            process.wait(timeout=30)
            kubectl(f"-n kube-node-lease delete lease {' '.join(names)} --ignore-not-found", check=False)
