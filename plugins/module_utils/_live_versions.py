# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version of each component *runs* on a node. Reads only; what cannot be seen is left out.

* The kubelet and containerd: their own process says it (``/proc/<pid>/exe --version``), because the file of that name may be a newer one already. Both run
  as root, so this starts nothing that root did not start before. It is not done for etcd, whose process is another user's.
* etcd: its metrics on loopback; the program's file where it does not run.
* The control plane and kube-proxy: tags of the images of their running containers; of a static pod that does not run, its manifest's.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

UNITS = ("kubelet", "containerd", "etcd")
STATIC_PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
CONTAINERS = (*STATIC_PODS, "kube-proxy")
# Where this collection puts them; not on everybody's PATH (sudo's secure_path).
PROGRAMS = "/usr/local/bin"
MANIFESTS = "etc/kubernetes/manifests"
# The kubelet's own credentials: kubeadm leaves them when it ends, and they stay until a reset.
MEMBER_PATH = "etc/kubernetes/kubelet.conf"
# Role etcd's listen-metrics-urls, and kubeadm's for its static pod.
METRICS = ("127.0.0.1", 2381)
METRICS_SECONDS = 3.0
LARGEST_METRICS = 4 << 20
VERSION = re.compile(r"(?<![\w.])v?(\d+\.\d+\.\d+(?:[-+~][0-9A-Za-z.+~-]+)?)")


# --- parsers (pure)


def version_in(text: str) -> str:
    """The first version of three numbers in what a program prints, with a ``v``; empty when there is none."""
    found = VERSION.search(text)
    return f"v{found.group(1)}" if found else ""


def parse_main_pids(text: str) -> dict[str, int]:
    """Read ``systemctl show --property Id,MainPID <units>``: the main process by unit (without ``.service``), of those that run."""
    found = {}
    for block in text.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name, pid = values.get("Id", ""), values.get("MainPID", "")
        if pid.isdigit() and int(pid):
            found[name[: -len(".service")] if name.endswith(".service") else name] = int(pid)
    return found


def parse_metrics(text: str) -> str:
    """The version of etcd's server in its metrics; empty when it is not among them."""
    found = re.search(r'^etcd_server_version\{[^}]*server_version="([^"]+)"[^}]*\} 1$', text, re.MULTILINE)
    return version_in(found.group(1)) if found else ""


def tag_of(image: str) -> str:
    """The version in an image's tag (``host:port/name:v1.36.3@sha256:..``); empty when it has none."""
    return version_in(image.partition("@")[0].rpartition("/")[2].partition(":")[2])


def parse_containers(text: str) -> dict[str, str]:
    """Read ``crictl ps -o json``: version by name of those of :data:`CONTAINERS` that run; of two, the younger one's."""
    found: dict[str, tuple[int, str]] = {}
    try:
        for entry in json.loads(text)["containers"]:
            name, image = entry["metadata"]["name"], entry["image"]
            version = tag_of(image.get("userSpecifiedImage") or image.get("image") or "")
            created = int(entry.get("createdAt") or 0)
            if name in CONTAINERS and version and created >= found.get(name, (0, ""))[0]:
                found[name] = (created, version)
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: version for name, (_created, version) in found.items()}


def parse_manifest(text: str) -> str:
    """The version in the image of a static pod's manifest."""
    found = re.search(r"^\s*(?:- )?image:\s*[\"']?([^\s\"']+)", text, re.MULTILINE)
    return tag_of(found.group(1)) if found else ""


# --- observation


def observe(root: str = "/") -> dict[str, str]:
    """Versions by component (:data:`UNITS`, :data:`CONTAINERS`). Nothing of a host that is in no cluster."""
    member = os.path.exists(os.path.join(root, MEMBER_PATH))
    pids = parse_main_pids(_output(["systemctl", "show", "--property", "Id,MainPID", *UNITS]))
    found = {}
    if "etcd" in pids or os.path.exists(os.path.join(root, MANIFESTS, "etcd.yaml")):
        found["etcd"] = parse_metrics(_metrics()) or version_in(_output([f"{PROGRAMS}/etcd", "--version"]))
    if member:
        for name in ("kubelet", "containerd"):
            program = f"/proc/{pids[name]}/exe" if name in pids else f"{PROGRAMS}/{name}"
            found[name] = version_in(_output([program, "--version"]))
        found.update({name: parse_manifest(_read(root, f"{MANIFESTS}/{name}.yaml")) for name in STATIC_PODS})
        words = ["ps", "--output", "json", "--label", "io.kubernetes.pod.namespace=kube-system"]
        found.update(parse_containers(_output([f"{PROGRAMS}/crictl", *words])))
    return {name: version for name, version in found.items() if version}


def _output(argv: t.Sequence[str]) -> str:
    try:
        return run(argv, timeout=15, check=False).stdout
    except CommandError:
        return ""


def _read(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as stream:
            return stream.read(1 << 20)
    except OSError:
        return ""


def _metrics() -> str:
    connection = http.client.HTTPConnection(*METRICS, timeout=METRICS_SECONDS)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read(LARGEST_METRICS).decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
