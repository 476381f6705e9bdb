# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the kernel have a type of link (VXLAN, Geneve, WireGuard), built in or as a module? Read without making one, and without loading anything."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

# A function that each driver has, as it stands in /proc/kallsyms when the driver is built in or loaded.
SYMBOLS = {"vxlan": "vxlan_xmit", "geneve": "geneve_xmit", "wireguard": "wg_xmit"}
NAMES = {"vxlan": "VXLAN", "geneve": "Geneve", "wireguard": "WireGuard"}


def in_kallsyms(lines: t.Iterable[str], symbol: str) -> bool:
    """Is there a function of this name? A line is ``address type name [module]``."""
    return any(line.split()[2:3] == [symbol] for line in lines)


def has(name: str, root: str = "/") -> bool:
    """Say whether links of this type can be made."""
    if os.path.isdir(os.path.join(root, "sys/module", name)):
        return True
    try:
        with open(os.path.join(root, "proc/kallsyms"), encoding="ascii", errors="replace") as stream:
            if in_kallsyms(stream, SYMBOLS[name]):
                return True
    except OSError:
        pass
    try:
        return run(["modprobe", "--dry-run", "--quiet", name], timeout=10, check=False).rc == 0
    except CommandError:
        return False


def observe(names: t.Iterable[str]) -> dict[str, bool]:
    """``{type: can be made}``."""
    return {name: has(name) for name in names if name in SYMBOLS}
