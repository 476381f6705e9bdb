"""The lookup reads the manifest that the options name; asked through ansible-core, as roles do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import Manifest, manifest_path

ROOT = Path(__file__).resolve().parents[4]


def ask(tmp_path: Path, terms: str = "") -> subprocess.CompletedProcess[str]:
    """Print what the lookup gives for these arguments."""
    question = f"{{{{ lookup('bare_metal.kubernetes.bundle_manifest', {terms}) }}}}"
    arguments = json.dumps({"msg": question})
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", "ansible.builtin.debug", "-a", arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=environment
    )


def write(cache: Path, version: str = "") -> None:
    data = Manifest("built", "arm64", "build", {"kubernetes": version or "default"}, (), ()).to_dict()
    path = manifest_path(cache, "built", "arm64", version)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("version", ["", "v1.35.4"])
def test_options_choose_the_manifest(tmp_path: Path, version: str) -> None:
    for other in ("", "v1.35.4"):
        write(tmp_path, other)
    options = f"release_set='built', architecture='arm64', cache_dir='{tmp_path}', kubernetes_version='{version}'"
    result = ask(tmp_path, options)
    assert result.returncode == 0, result.stdout
    found = json.loads(result.stdout[result.stdout.index("{") :])["msg"]
    assert (found["release_set"], found["versions"]) == ("built", {"kubernetes": version or "default"})


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ("cache_dir='/nowhere'", "There is no bundle at /nowhere/bundle/stable-amd64/manifest.json. Run"),
        ("'built'", "takes options only, no terms"),
    ],
)
def test_errors_say_what_to_do(tmp_path: Path, terms: str, words: str) -> None:
    result = ask(tmp_path, terms)
    assert result.returncode != 0
    assert words in " ".join((result.stdout + result.stderr).split())
