"""What a person's plain kubeadm script takes for the lab's cluster: the floor that `site` is measured against.

    python tests/bench/kubeadm_floor.py [--site] [--keep]

Shell scripts over ssh (tests/bench/floor), no Ansible: containerd, an external etcd with three members, HAProxy on every node in front of the API,
`kubeadm init` and `join`, the upstreams' manifests of Calico and MetalLB by `kubectl apply`, BGP sessions with the racks' routers. The same machines, files,
images and registry (bundle1's) as `site` has, all nodes at once wherever they can be, over ssh connections that stay open. It waits for what `site` waits
for: nodes Ready, CoreDNS, Calico and MetalLB available, and on every node a route to each other node's pods. Nothing is looked at before, tuned, proven
from outside, or repeatable.

The lab's nodes are made anew before and after (`--keep` leaves the plain cluster standing, `--site` runs `site` on machines made anew as well, and
prints how many times the floor it took). Routers and the bundle's server stay as they are, which have to stand: `make lab` once. It prints a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
STEPS = Path(__file__).resolve().parent / "floor"
CACHE = Path(os.environ.get("BARE_METAL_KUBERNETES_CACHE") or Path.home() / ".cache" / "bare_metal_kubernetes")
LAB = CACHE / "lab" / "bmk"
CONTROL_PLANES, WORKERS = ("cp1", "cp2", "cp3"), ("worker1", "worker2")
NODES = CONTROL_PLANES + WORKERS
FIRST = "cp1"
BINARIES = ("kubelet", "kubeadm", "kubectl", "containerd", "containerd-shim-runc-v2", "ctr", "crictl")
ETCD_BINARIES = ("etcd", "etcdctl")
PLUGINS = ("bandwidth", "host-local", "loopback", "portmap", "tuning")
NODE_IMAGES = ("pause", "kube-proxy", "calico/node", "calico/cni")
CONTROL_PLANE_IMAGES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
IGNORED = "SystemVerification,FileContent--proc-sys-net-bridge-bridge-nf-call-iptables"
SECONDS = 900


class FloorError(Exception):
    """A step of the plain script failed; the message has its last words."""


@dataclass(frozen=True)
class Lab:
    """The lab's addresses, and how its machines are reached."""

    addresses: Mapping[str, str]
    segments: Mapping[str, str]
    ssh: tuple[str, ...]

    def run(self, host: str, step: str, variables: Mapping[str, str]) -> str:
        """Run a step's script on a host; its output. :raises FloorError: it failed."""
        script = (STEPS / f"{step}.sh").read_text(encoding="utf-8")
        words = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
        done = subprocess.run(
            [*self.ssh, f"root@{self.addresses[host]}", "bash", "-s"],
            input=words + script,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise FloorError(f"{step} on {host}: {done.stdout[-1000:]}{done.stderr[-3000:]}")
        return done.stdout

    def on_all(self, hosts: Sequence[str], step: str, variables: Mapping[str, Mapping[str, str]]) -> None:
        """The same step on many hosts at once, each with its own variables."""
        with ThreadPoolExecutor(len(hosts)) as pool:
            list(pool.map(lambda host: self.run(host, step, variables[host]), hosts))

    def rack(self, host: str) -> str:
        """The rack that a host's address is in."""
        return next(
            name
            for name, network in self.segments.items()
            if network.rsplit(".", 1)[0] == self.addresses[host].rsplit(".", 1)[0]
        )


def the_lab(control: Path) -> Lab:
    """Read what `make lab-machines` wrote of the lab that stands."""
    state = json.loads((LAB / "state.json").read_text(encoding="utf-8"))
    options = {
        "UserKnownHostsFile": LAB / "known_hosts",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "ControlMaster": "auto",
        "ControlPersist": "60s",
        "ControlPath": control / "%h",
        "LogLevel": "ERROR",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return Lab(state["hosts"], state["segments"], ("ssh", "-i", str(LAB / "id_ed25519"), *words))


@dataclass(frozen=True)
class Bundle:
    """What the registry holds: sums of files by name, whole names of images."""

    registry: str
    versions: Mapping[str, str]
    files: Mapping[str, str]
    images: tuple[str, ...]

    def image(self, ending: str) -> str:
        return next(image for image in self.images if image.rpartition(":")[0].endswith(f"/{ending}"))

    def lines(self, places: Mapping[str, str]) -> str:
        """``path sum`` a line, of ``{path: name}``."""
        return "\n".join(f"{path} {self.files[name]}" for path, name in places.items())


def the_bundle(lab: Lab) -> Bundle:
    """The bundle that the lab's inventory names, on the lab's own registry."""
    manifest = json.loads((CACHE / "bundle/built-amd64/manifest.json").read_text(encoding="utf-8"))
    return Bundle(
        f"http://{lab.addresses['bundle1']}:5000",
        manifest["versions"],
        {file["name"]: file["sha256"] for file in manifest["files"]},
        tuple(f"{image['name']}:{image['tag']}" for image in manifest["images"]),
    )


def lab_settings() -> dict[str, dict[str, int]]:
    """The racks' AS numbers, from the lab's inventory."""
    text = (ROOT / "inventories/lab/group_vars/all/lab.yml").read_text(encoding="utf-8")
    found: dict[str, dict[str, int]] = yaml.safe_load(text)["lab_segments"]
    return found


def bgp_objects(lab: Lab, pool: str) -> str:
    """Calico's sessions: each rack's nodes with their router, and who announces the LoadBalancer addresses."""
    racks = sorted({lab.rack(node) for node in NODES})
    settings = lab_settings()
    spec = {"nodeToNodeMeshEnabled": False, "serviceLoadBalancerIPs": [{"cidr": pool}]}
    objects = [("BGPConfiguration", "default", spec)]
    for rack in racks:
        router = f"{lab.segments[rack].rsplit('.', 1)[0]}.{settings[rack]['router']}"
        peer = {"nodeSelector": f"rack == '{rack}'", "peerIP": router, "asNumber": settings[rack]["router_as_number"]}
        objects.append(("BGPPeer", rack, peer))
    return yaml.safe_dump_all(
        [
            {"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
            for kind, name, spec in objects
        ]
    )


def pool_objects(pool: str) -> str:
    metadata = {"name": "public", "namespace": "metallb-system"}
    objects = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": metadata,
        "spec": {"addresses": [pool]},
    }
    return yaml.safe_dump(objects)


def floor(lab: Lab, bundle: Bundle) -> dict[str, float]:
    """Make the cluster; seconds of each phase."""
    phases: dict[str, float] = {}
    begun = time.monotonic()

    def done(phase: str) -> None:
        phases[phase] = round(time.monotonic() - begun - sum(phases.values()), 1)

    pods, pool = "10.244.0.0/16", f"{'.'.join(lab.addresses[FIRST].split('.')[:2])}.200.0/24"
    common = {
        "REGISTRY": bundle.registry,
        "PAUSE": bundle.image("pause"),
        "UPSTREAMS": " ".join(sorted({image.partition("/")[0] for image in bundle.images})),
        "BACKENDS": "\n".join(f"  server {name} {lab.addresses[name]}:6443" for name in CONTROL_PLANES),
        "VERSION": bundle.versions["kubernetes"],
        "COREDNS": bundle.versions["coredns"],
        "PODS": pods,
        "IGNORED": IGNORED,
        "TOKEN": f"{secrets.token_hex(3)}.{secrets.token_hex(8)}",
        "KEY": secrets.token_hex(32),
        "CLUSTER": ",".join(f"{name}=https://{lab.addresses[name]}:2380" for name in CONTROL_PLANES),
        "ENDPOINTS": ", ".join(f"https://{lab.addresses[name]}:2379" for name in CONTROL_PLANES),
        "MEMBERS": " ".join(f"{name}={lab.addresses[name]}" for name in CONTROL_PLANES),
        "RACKS": "\n".join(f"{name} {lab.rack(name)} {lab_settings()[lab.rack(name)]['as_number']}" for name in NODES),
        "BGP": bgp_objects(lab, pool),
        "POOL": pool_objects(pool),
    }
    of_node = {}
    for name in NODES:
        is_control_plane = name in CONTROL_PLANES
        binaries = BINARIES + (ETCD_BINARIES if is_control_plane else ())
        places = {f"/usr/local/bin/{binary}": binary for binary in binaries}
        places |= {f"/opt/cni/bin/{plugin}": f"cni/{plugin}" for plugin in PLUGINS}
        if name == FIRST:
            places |= {"/root/floor/calico.yaml": "calico.yaml", "/root/floor/metallb.yaml": "metallb-native.yaml"}
        images = NODE_IMAGES + (CONTROL_PLANE_IMAGES if is_control_plane else ())
        of_node[name] = {
            **common,
            "NAME": name,
            "IP": lab.addresses[name],
            "FILES": bundle.lines(places),
            "IMAGES": " ".join(bundle.image(image) for image in images),
            "CONTROL_PLANE": "controlPlane: "
            + json.dumps(
                {"certificateKey": common["KEY"], "localAPIEndpoint": {"advertiseAddress": lab.addresses[name]}}
            )
            if is_control_plane
            else "",
        }
    lab.on_all(NODES, "prepare", of_node)
    done("prepare")
    packed = lab.run(FIRST, "certificates", of_node[FIRST]).split()
    for name, pki in zip(CONTROL_PLANES, packed, strict=True):
        of_node[name]["PKI"] = pki
    lab.on_all(CONTROL_PLANES, "etcd", of_node)
    done("etcd")
    told = lab.run(FIRST, "init", of_node[FIRST]).strip()
    done("init")
    joining = [name for name in NODES if name != FIRST]
    lab.on_all(joining, "join", {name: {**of_node[name], "SUM": told} for name in joining})
    done("join")
    lab.run(FIRST, "network", of_node[FIRST])
    done("network")
    blocks = [line.split() for line in lab.run(FIRST, "ready", of_node[FIRST]).splitlines()]
    missing = {name: " ".join(cidr for owner, cidr in blocks if owner != name) for name in NODES}
    lab.on_all(NODES, "routes", {name: {"CIDRS": missing[name]} for name in NODES})
    done("ready")
    return phases


def play(*words: str) -> float:
    """Run ansible-playbook on the lab; seconds."""
    begun = time.monotonic()
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventories/lab", *words]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FloorError(f"{' '.join(words)}: {done.stdout[-4000:]}{done.stderr[-1000:]}")
    return time.monotonic() - begun


def make_nodes_anew() -> None:
    """Machines as they come out of `make lab-machines`, with empty disks; the bundle's server keeps what it holds."""
    names = [f"bmk-{name}" for name in NODES]
    subprocess.run(["podman", "rm", "--force", "--time", "0", *names], capture_output=True, text=True, check=True)
    play("molecule/default/create.yml")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--site", action="store_true", help="then `site` on machines made anew, and the ratio")
    parser.add_argument("--keep", action="store_true", help="leave the plain cluster standing")
    asked = parser.parse_args()
    try:
        play("bare_metal.kubernetes.bundle", "bare_metal.kubernetes.bundle_server")
        make_nodes_anew()
        with tempfile.TemporaryDirectory() as control:
            lab = the_lab(Path(control))
            phases = floor(lab, the_bundle(lab))
        result: dict[str, object] = {"phases": phases, "seconds": round(sum(phases.values()), 1)}
        if not asked.keep or asked.site:
            make_nodes_anew()
        if asked.site:
            took = play("bare_metal.kubernetes.site")
            result |= {"site_seconds": round(took, 1), "ratio": round(took / sum(phases.values()), 2)}
    except FloorError as error:
        sys.exit(str(error))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
