"""Types of links that a kernel has (_link_types)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _link_types

SYMBOLS = "0000000000000000 t vxlan_xmit_one\n0000000000000000 t vxlan_xmit\t[vxlan]\n0000000000000000 T wg_xmit_not\n"


def test_a_driver_is_known_by_its_function() -> None:
    assert _link_types.in_kallsyms(SYMBOLS.splitlines(), "vxlan_xmit")
    assert not _link_types.in_kallsyms(SYMBOLS.splitlines(), "wg_xmit")
    assert not _link_types.in_kallsyms(["", "0 t"], "wg_xmit")


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    root = str(tmp_path)
    assert not _link_types.has("vxlan", root)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/kallsyms").write_text(SYMBOLS)
    assert _link_types.has("vxlan", root)
    assert not _link_types.has("wireguard", root)
    (tmp_path / "sys/module/wireguard").mkdir(parents=True)
    assert _link_types.has("wireguard", root)
    modprobe = tmp_path / "bin" / "modprobe"
    modprobe.write_text('#!/bin/sh\n[ "$3" = geneve ]\n')
    modprobe.chmod(0o755)
    (tmp_path / "proc/kallsyms").write_text("")
    assert _link_types.has("geneve", root)
    assert not _link_types.has("vxlan", root)
    assert set(_link_types.observe(["vxlan", "unknown"])) == {"vxlan"}
