"""Two network namespaces of this machine, a router's and a node's: names and commands; the fixtures are in conftest.py."""

from __future__ import annotations

import subprocess

SPACES = ("bmkt-tor", "bmkt-node")


def sh(*argv: str, check: bool = True) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=check).stdout
