"""The plan's file: what was promised before a run, kept beside its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openevolve_unified.plain.files import write_json

FILE_NAME = "plan.json"


def write_plan(run_path: Path, plan: Any) -> None:
    """Write the plan into the folder of its run; a resumed run's plan replaces the earlier one.

    Args:
        plan: a dataclass or a mapping.

    Raises:
        ConfigError: the disk is full or the folder cannot be written.
    """
    write_json(run_path / FILE_NAME, plan)


def read_plan(run_path: Path) -> dict[str, Any]:
    """The plan of a run; empty where there is none that can be read."""
    try:
        plan = json.loads((run_path / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


def planned_candidate_s(run_path: Path) -> float | None:
    """The seconds that the plan of a run promised for a candidate; None where there is no plan."""
    try:
        return float(read_plan(run_path)["candidate_s"])
    except (ValueError, KeyError, TypeError):
        return None
