"""Mechanisms are exported, and tested against slow recurrences, as the frameworks are."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "frameworks"))
