"""The collection as users get it: a built artifact, a git checkout, an AWX project; its documentation and its playbooks by name."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NAME = "bare_metal.kubernetes"
TREE = Path("ansible_collections/bare_metal/kubernetes")
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
ROLES = sorted(path.parent.parent.name for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
Run = Callable[..., subprocess.CompletedProcess[str]]


def names_of(kind: str) -> list[str]:
    """Documented filters and lookups."""
    found = {path.stem for path in (ROOT / "plugins" / kind).glob("*.yml")}
    if kind == "lookup":
        found |= {path.stem for path in (ROOT / "plugins" / kind).glob("*.py")}
    return sorted(found)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory, run: Run, checkout: Path) -> Path:
    """The built collection."""
    target = tmp_path_factory.mktemp("artifact")
    run("ansible-galaxy", "collection", "build", "--output-path", target, cwd=checkout)
    (built,) = target.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, run: Run, artifact: Path) -> Path:
    """A collections path with the artifact in it and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    run("ansible-galaxy", "collection", "install", artifact, "--collections-path", target, cwd=target)
    return target


def test_the_artifact_has_what_is_shipped_and_nothing_local(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = set(archive.getnames())
    for path in (
        "meta/runtime.yml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "playbooks/site.yml",
        "roles/bundle/files/bundle.lock.yml",
    ):
        assert path in names
    assert not any(
        name.split("/")[0] in (".venv", ".ansible", ".git", ".cache", "build") or "__pycache__" in name
        for name in names
    )


def test_the_artifact_installs(installed: Path) -> None:
    assert (installed / TREE / "MANIFEST.json").is_file()


@pytest.mark.parametrize("source", ["git", "requirements"])
def test_a_checkout_installs(run: Run, checkout: Path, tmp_path: Path, source: str) -> None:
    """From a repository (`git+file://`), and as an AWX project: `ansible-galaxy collection install -r collections/requirements.yml` in its directory."""
    what = [f"git+file://{checkout},main"] if source == "git" else ["-r", "collections/requirements.yml"]
    run("ansible-galaxy", "collection", "install", *what, "--collections-path", tmp_path, cwd=checkout)
    assert (tmp_path / TREE / "playbooks" / "site.yml").is_file()


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbooks_run_by_name(run: Run, installed: Path, tmp_path: Path, playbook: str) -> None:
    """From anywhere, with the artifact alone. A missing role, module or file is a syntax error."""
    inventory = tmp_path / "inventory"
    shutil.copytree(ROOT / "inventories" / "minimal", inventory)
    run(
        "ansible-playbook",
        "--syntax-check",
        "-i",
        inventory,
        f"{NAME}.{playbook}",
        cwd=tmp_path,
        env={"ANSIBLE_COLLECTIONS_PATH": str(installed)},
    )


def documented(run: Run, installed: Path, kind: str, names: list[str]) -> dict[str, object]:
    full = [f"{NAME}.{name}" for name in names]
    done = run(
        "ansible-doc", "--json", "-t", kind, *full, cwd=installed, env={"ANSIBLE_COLLECTIONS_PATH": str(installed)}
    )
    # ansible-core 2.21 warns of a collection inside itself.
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line and "ansible/_internal/" not in line]
    assert not warnings
    found = yaml.safe_load(done.stdout)
    assert sorted(found) == sorted(full)
    return dict(found)


@pytest.mark.parametrize("kind", ["module", "filter", "lookup"])
def test_plugins_have_documentation(run: Run, installed: Path, kind: str) -> None:
    names = MODULES if kind == "module" else names_of(kind)
    for name, entry in documented(run, installed, kind, names).items():
        assert entry["doc"]["short_description"], name  # type: ignore[index]


def test_roles_have_documentation(run: Run, installed: Path) -> None:
    for name, entry in documented(run, installed, "role", ROLES).items():
        assert all(point["short_description"] for point in entry["entry_points"].values()), name  # type: ignore[index]


def test_the_changelog_is_of_this_version(run: Run) -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    releases = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))["releases"]
    assert version in releases
    run("antsibull-changelog", "lint")


def test_an_execution_environment_gets_what_the_controller_needs() -> None:
    """The pinned packages of a checkout and the ranges of an execution environment name the same libraries."""

    def names(path: str) -> set[str]:
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        return {line.split("=")[0].split(">")[0].lower() for line in lines if line and not line.startswith("#")}

    # ansible-core brings Jinja2, and the execution environment brings ansible-core.
    assert names("meta/ee-requirements.txt") == names("requirements.txt") - {"ansible-core", "jinja2"}
