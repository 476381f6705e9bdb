"""Where a fetched kubeconfig points, and when it is written again."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.bare_metal.kubernetes.plugins.action.admin_kubeconfig import differs, pointed_at

TEXT = "clusters:\n- cluster:\n    certificate-authority-data: QQ==\n    server: https://127.0.0.1:7443\n  name: lab\n"


def test_server() -> None:
    assert pointed_at(TEXT, "") == TEXT
    assert pointed_at(TEXT, r"https://10.0.0.1:6443\1") == TEXT.replace(
        "https://127.0.0.1:7443", r"https://10.0.0.1:6443\1"
    )


def test_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    assert differs(path, TEXT)
    path.write_text(TEXT)
    path.chmod(0o644)
    assert differs(path, TEXT)
    path.chmod(0o600)
    assert not differs(path, TEXT)
    assert differs(path, TEXT + "x")
