"""Mechanisms are tested against the same slow recurrences as the frameworks."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "frameworks"))
