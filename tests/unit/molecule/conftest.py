"""The lab's package lies beside its playbooks, not in the collection."""

from __future__ import annotations

import sys
from pathlib import Path

LAB = Path(__file__).resolve().parents[3] / "molecule" / "default"
sys.path.insert(0, str(LAB))
