"""The action: its arguments, which source serves which component, and a whole run with a fake source."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


def run(tmp_path: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    """Call the action through ansible-core itself, in check mode when asked to."""
    command = [
        sys.executable,
        "-m",
        "ansible",
        "adhoc",
        "localhost",
        "-c",
        "local",
        "-m",
        "bare_metal.kubernetes.bundle",
        *extra,
    ]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=environment
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"source": "mirror"}, "source 'mirror' needs mirror_url"),
        ({"source": "biuld"}, "value of source must be one of: upstream, mirror, build"),
        ({"relase_set": "built"}, "Unsupported parameters"),
        ({"release_set": "biult", "source": "build"}, "Unknown release set 'biult'. Did you mean 'built'?"),
        ({"release_set": "built", "source": "build", "kubernetes_version": "v1.36.2"}, "Did you mean 'v1.36.3'"),
        ({"release_set": "built", "source": "build", "components": ["etc"]}, "Did you mean 'etcd'"),
        ({"release_set": "stable", "source": "build", "components": ["runc"]}, "cannot be built from Go modules"),
        (
            {"release_set": "stable", "source": "upstream", "http_proxy": "https://me:hunter2@p:1"},
            "bundle: cluster_http_proxy is a proxy that is spoken to by https",
        ),
        ({"release_set": "built", "source": "upstream"}, "- digest of registry.k8s.io/kube-proxy:v1.36.3 for"),
    ],
)
def test_what_cannot_work_is_one_message(tmp_path: Path, arguments: dict[str, object], reason: str) -> None:
    result = run(tmp_path, "-a", json.dumps({**arguments, "cache_dir": str(tmp_path / "cache")}))
    assert result.returncode == 2
    assert reason in result.stdout.replace("\\n", "\n")
    assert "Traceback" not in result.stdout + result.stderr
    assert "hunter2" not in result.stdout + result.stderr
    assert not (tmp_path / "cache" / "bundle").exists()
