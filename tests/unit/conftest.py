"""Unit tests import the collection by its full name, through the link that `make setup` lays."""

from __future__ import annotations

import sys
from pathlib import Path

COLLECTIONS = Path(__file__).resolve().parents[2] / ".ansible" / "collections"
TREE = COLLECTIONS / "ansible_collections" / "bare_metal" / "kubernetes"

if not TREE.exists():
    TREE.parent.mkdir(parents=True, exist_ok=True)
    TREE.symlink_to("../../../..")
sys.path.insert(0, str(COLLECTIONS))
