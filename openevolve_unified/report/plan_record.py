"""The plan of a run, kept beside its results, and what came of its promise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openevolve_unified.evaluation.plan import Plan
from openevolve_unified.plain.files import write_json
from openevolve_unified.report.console import format_duration

FILE_NAME = "plan.json"


def keep_plan(run_path: Path, plan: Plan) -> None:
    """Write the plan into the folder of its run; a resumed run's plan replaces the earlier one.

    Raises:
        ConfigError: the disk is full or the folder cannot be written.
    """
    write_json(run_path / FILE_NAME, plan)


def time_against_plan(
    run_path: Path, entries: Sequence[dict[str, Any]], initial: dict[str, Any]
) -> str | None:
    """The seconds of the programs that this run trained against the planned ones.

    Args:
        entries: of the run's history.
        initial: the entry of the initial program as it was when it had just been scored; OpenEvolve
            asks for it again, and it is then one that was known already.

    Returns:
        None where there is no plan, or nothing was trained that was not known already.
    """
    try:
        planned_s = float(json.loads((run_path / FILE_NAME).read_text())["candidate_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    later = [entry for entry in entries if entry["program"] != initial["program"]]
    fresh = [entry for entry in (initial, *later) if not entry.get("cached", True)]
    if not fresh:
        return None
    took_s, promised_s = sum(entry["duration_s"] for entry in fresh), planned_s * len(fresh)
    programs = f"{len(fresh)} program{'' if len(fresh) == 1 else 's'}"
    return (
        f"{format_duration(took_s)} for {programs}, checks included; planned "
        f"{format_duration(promised_s)} ({took_s / max(promised_s, 1e-9):.1f} times that)"
    )
