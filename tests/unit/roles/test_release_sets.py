"""Every name that a role asks the bundle for is in both release sets, and what roles render takes both sets' image names.

The projects change registries between versions (``docker.io/calico`` became ``quay.io/calico``). So the variables of the roles are evaluated by
ansible-core itself, over a manifest as each release set's lock entries make it.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cilium
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import Lock, load_lock
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import (
    BundleFile,
    BundleImage,
    Manifest,
)

ROOT = Path(__file__).resolve().parents[3]
ROLES = ROOT / "roles"
ASKS = re.compile(r"bare_metal\.kubernetes\.bundle_(?:files|images?)\b")
RELEASE_SETS = ("built", "stable")
# Like upstream's manifests: one with the images of each set's release.
CALICO_PARTS: list[dict[str, Any]] = [
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "calico-config"},
        "data": {"calico_backend": "bird", "cni_network_config": '{"ipam": {"type": "calico-ipam"}}', "veth_mtu": "0"},
    },
    {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "felixconfigurations.crd.projectcalico.org"},
        "spec": {
            "names": {"kind": "FelixConfiguration"},
            "versions": [{"schema": {"openAPIV3Schema": {"properties": {"spec": {"properties": {}}}}}}],
        },
    },
]


def workload(kind: str, name: str, *images: str) -> dict[str, Any]:
    containers = [{"name": image.rsplit("/", 1)[1].partition(":")[0], "image": image, "env": []} for image in images]
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"template": {"metadata": {"labels": {}}, "spec": {"containers": containers}}},
    }


def upstream_manifest(name: str, registry: str, version: str) -> bytes:
    """A short ``calico.yaml`` or ``metallb-native.yaml`` whose images come from ``registry``."""
    if name == "calico.yaml":
        node, cni, controllers = (
            f"{registry}/calico/{image}:{version}" for image in ("node", "cni", "kube-controllers")
        )
        documents = [
            *CALICO_PARTS,
            workload("DaemonSet", "calico-node", cni, node),
            workload("Deployment", "calico-kube-controllers", controllers),
        ]
    else:
        documents = [
            workload("Deployment", "controller", f"{registry}/metallb/controller:{version}"),
            workload("DaemonSet", "speaker", f"{registry}/metallb/speaker:{version}"),
        ]
    return yaml.safe_dump_all(documents).encode()


def names(lock: Lock, release_set: str, component: str, version: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Files and ``(image, tag)`` that a component brings, from its recipe or from what its project publishes."""
    if release_set == "built" or not lock.has_upstream(component):
        recipe = lock.build_recipe(component, version)
        return list(recipe.files), [(image.name, image.tag) for image in recipe.images]
    files = lock.upstream_files(component, version, "amd64")
    images = lock.upstream_images(component, version, "amd64")
    return [file.name for file in files], [(image.name, image.tag) for image in images]


def bundle(release_set: str, blobs: Path, network_plugin: str = "calico") -> Manifest:
    """A bundle of this release set with invented content, the two manifests that roles read in ``blobs``."""
    lock = load_lock()
    release = lock.release(release_set, features=[network_plugin])
    files, images = [], []
    for component, version in release.versions.items():
        file_names, image_names = names(lock, release_set, component, version)
        registry = image_names[0][0].split("/", 1)[0] if image_names else ""
        for name in file_names:
            content = upstream_manifest(name, registry, version) if name.endswith(".yaml") else name.encode()
            sha256 = hashlib.sha256(content).hexdigest()
            (blobs / sha256).write_bytes(content)
            files.append(BundleFile(name, component, version, sha256, len(content), "test"))
        for name, tag in image_names:
            digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
            images.append(BundleImage(name, tag, digest, 1, (digest,), component, version, "test"))
    return Manifest(release_set, "amd64", "test", release.versions, tuple(files), tuple(images))


def asking_variables() -> Iterator[tuple[str, str]]:
    """Role and variable of every template that asks the bundle for names."""
    for path in sorted(ROLES.glob("*/vars/main.yml")):
        for key, value in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).items():
            if ASKS.search(json.dumps(value)):
                yield path.parts[-3], key


PLUGINS = ("calico", "cilium")
EVERYTHING = list(asking_variables())
ASKING = [(role, variable) for role, variable in EVERYTHING if role != "cilium"]
RENDERED = ("__calico_objects", "__metallb_objects")


Evaluate = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module", params=RELEASE_SETS)
def evaluate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Evaluate, Path]:
    """The release set, and a function that has ansible-core evaluate variables of roles with it, into a file."""
    return evaluator(request.param, "calico", tmp_path_factory.mktemp(request.param))


def evaluator(release_set: str, network_plugin: str, directory: Path) -> tuple[str, Evaluate, Path]:
    """The same for a network plugin."""
    blobs = directory / "cache/store/blobs/sha256"
    blobs.mkdir(parents=True)
    manifest = bundle(release_set, blobs, network_plugin)
    result = directory / "result.json"
    (directory / "inventory.yml").write_text(
        yaml.safe_dump(
            {
                "control_plane": {"hosts": {"control1": {"ansible_host": "192.0.2.1"}}},
                "workers": {"hosts": {"dense1": {"ansible_host": "192.0.2.2", "cluster_pods_per_node": 500}}},
                "all": {
                    "vars": {
                        "ansible_connection": "local",
                        "ansible_python_interpreter": sys.executable,
                        "cluster_bgp_peers": [{"address": "192.0.2.254", "as_number": 64601}],
                        "cluster_load_balancer_pools": [{"name": "public", "addresses": ["198.51.100.0/28"]}],
                    }
                },
            }
        )
    )

    def run(variables: list[str], **extra: Any) -> subprocess.CompletedProcess[str]:
        roles = dict.fromkeys(role for role, _variable in EVERYTHING)
        paths = [ROLES / role / part / "main.yml" for role in ("cluster", *roles) for part in ("defaults", "vars")]
        content = "{{ {" + ", ".join(f"'{name}': {name}" for name in variables) + "} | to_json }}"
        play = {
            "hosts": "control1",
            "gather_facts": False,
            "vars_files": [str(path) for path in paths if path.is_file()],
            "tasks": [
                {"name": "Write", "ansible.builtin.copy": {"content": content, "dest": str(result), "mode": "0600"}}
            ],
        }
        (directory / "play.yml").write_text(json.dumps([play]))
        values = {
            "cluster_bundle_manifest": manifest.to_dict(),
            "cluster_bundle_cache_dir": str(directory / "cache"),
            "cluster_network_plugin": network_plugin,
            **extra,
        }
        (directory / "extra.json").write_text(json.dumps(values))
        return subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yml", "-e", "@extra.json", "play.yml"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=directory,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(directory),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
                "ANSIBLE_NOCOLOR": "1",
            },
        )

    return release_set, run, result


@pytest.fixture(scope="module")
def values(evaluate: tuple[str, Evaluate, Path]) -> dict[str, Any]:
    """Every variable that asks the bundle, and the objects that are made of them, evaluated at once."""
    _release_set, run, result = evaluate
    outcome = run([*(variable for _role, variable in ASKING), *RENDERED])
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def test_roles_ask_the_bundle_in_their_variables_only() -> None:
    """What is asked for elsewhere would escape the tests below."""
    elsewhere = [
        str(path.relative_to(ROOT))
        for path in sorted(ROLES.rglob("*"))
        if path.suffix in (".yml", ".j2") and path.parts[-2:] != ("vars", "main.yml") and ASKS.search(path.read_text())
    ]
    assert not elsewhere
    assert {role for role, _variable in ASKING} >= {
        "calico",
        "container_runtime",
        "etcd",
        "kubelet",
        "metallb",
        "probe",
    }


def test_every_name_that_roles_use_is_there(values: dict[str, Any]) -> None:
    empty = [variable for _role, variable in ASKING if not values[variable]]
    assert not empty
    placed = {entry["dest"] for entry in values["__kubelet_artifacts"] + values["__etcd_artifacts"]}
    assert {"/usr/local/bin/kubelet", "/usr/local/bin/kubeadm", "/usr/local/bin/etcd"} <= placed


def test_nodes_get_the_runtime_and_its_images(evaluate: tuple[str, Evaluate, Path], values: dict[str, Any]) -> None:
    placed = {entry["dest"] for entry in values["__container_runtime_artifacts"]}
    assert {"/usr/local/bin/containerd", "/usr/local/bin/crictl", "/opt/cni/bin/loopback"} <= placed
    assert ("/usr/local/bin/runc" in placed) == (evaluate[0] == "stable")
    images = {image["name"].split("/", 1)[1] for image in values["__container_runtime_images"]}
    assert images >= {"pause", "kube-apiserver", "kube-proxy", "coredns/coredns", "calico/node", "metallb/controller"}


def test_rendered_objects_have_the_images_of_the_set(
    evaluate: tuple[str, Evaluate, Path], values: dict[str, Any]
) -> None:
    registry = {"built": "docker.io", "stable": "quay.io"}[evaluate[0]]
    version = load_lock().release(evaluate[0]).versions
    wanted = {
        "calico-node": {f"{registry}/calico/cni:{version['calico']}", f"{registry}/calico/node:{version['calico']}"},
        "calico-kube-controllers": {f"{registry}/calico/kube-controllers:{version['calico']}"},
        "controller": {f"quay.io/metallb/controller:{version['metallb']}"},
        "node-local-dns": {f"registry.k8s.io/coredns/coredns:{version['coredns']}"},
    }
    found = {}
    for entry in values["__calico_objects"] + values["__metallb_objects"]:
        if entry["kind"] in ("DaemonSet", "Deployment"):
            containers = entry["spec"]["template"]["spec"]["containers"]
            found[entry["metadata"]["name"]] = {container["image"].partition("@")[0] for container in containers}
    assert found == wanted


@pytest.mark.parametrize("release_set", RELEASE_SETS)
def test_a_bundle_with_cilium_has_what_its_roles_ask_for(release_set: str, tmp_path: Path) -> None:
    _release_set, run, result = evaluator(release_set, "cilium", tmp_path)
    choices = {"cluster_kube_proxy_mode": "none", "cluster_load_balancer_mode": "cilium_bgp"}
    asked = [variable for role, variable in EVERYTHING if role not in ("calico", "metallb")]
    outcome = run([*asked, "__cilium_settings", "__metallb_objects"], **choices)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    found = json.loads(result.read_text())
    assert not [variable for variable in asked if not found[variable]]
    assert [entry["name"] for entry in found["__cilium_files"]] == ["helm", "cilium-chart.tgz"]
    images = {image["name"].split("/", 1)[1] for image in found["__container_runtime_images"]}
    assert images >= {"pause", "cilium/cilium", "cilium/operator-generic"}
    assert not [image for image in images if "calico" in image]
    assert found["__metallb_objects"] == []
    settings = cilium.settings_of(found["__cilium_settings"])
    version = load_lock().release(release_set, features=["cilium"]).versions["cilium"]
    assert settings.images["cilium/cilium"].startswith(f"quay.io/cilium/cilium:{version}@sha256:")
    assert (settings.densest, settings.pods, settings.bgp) == (500, 610, True)
    values = cilium.values_for(settings)
    assert values["ipam"]["operator"]["clusterPoolIPv4MaskSize"] == 22
    assert values["kubeProxyReplacement"] == "true"


def test_the_densest_node_decides_the_size_of_all_blocks(values: dict[str, Any]) -> None:
    """Evaluated on a control plane of 110 pods, in a cluster with a worker of 500: 256 addresses a block."""
    pools = [entry for entry in values["__calico_objects"] if entry["kind"] == "IPPool"]
    assert [pool["spec"]["blockSize"] for pool in pools] == [24]


def test_typha_is_in_the_built_set_and_refused_in_the_stable_one(evaluate: tuple[str, Evaluate, Path]) -> None:
    """No published table has its digest (docs/bundle.md); a set that gets it turns this test."""
    release_set, run, _result = evaluate
    outcome = run(["__calico_images"], calico_typha_replicas=2)
    if release_set == "built":
        assert outcome.returncode == 0, outcome.stdout
    else:
        assert outcome.returncode != 0
        assert "Unknown image of the bundle 'stable': 'calico/typha'" in re.sub(
            r"\s+", " ", outcome.stdout + outcome.stderr
        )
