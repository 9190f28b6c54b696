"""The record of a validation: ``validation.json``, the same bytes however often it was killed.

It has no times, no energy, no paths and not the certificates, whose cuts are drawn afresh each time
so that no program can know them: all that is in the store, by the key of each job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openevolve_unified.config.schema import SizeConfig, TrainingConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.validation import ArmLosses, Judgement
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import TrainRun
from openevolve_unified.validation.arms import Arm, ValidationArm
from openevolve_unified.validation.registration import Registration
from openevolve_unified.validation.tuning import Tuned

RECORD = "validation.json"
RECORD_VERSION = 1
_NEVER_TWICE = ("train_time_s", "energy_joules", "tokens_per_s", "certificate")


def arm_losses(
    runs: Sequence[Sequence[TrainRun]], num_params: Sequence[float], operations: float
) -> ArmLosses:
    """The losses of runs ``[seed][size]``; NaN where one failed.

    Args:
        operations: see ``arms.operations_ratios``.
    """

    def losses(name: str) -> np.ndarray:
        return np.array([[_number(run, name) for run in row] for row in runs], dtype=np.float64)

    return ArmLosses(
        seeds=tuple(row[0].seed for row in runs),
        num_params=tuple(num_params),
        final_losses=losses("final_loss_nats"),
        test_losses=losses("test_loss_nats"),
        operations_ratio=operations,
    )


def make_record(
    registration: Registration,
    arms: Mapping[Arm, ValidationArm],
    trainings: Mapping[Arm, TrainingConfig],
    operations: Mapping[Arm, float],
    sizes: Sequence[SizeConfig],
    runs: Mapping[Arm, Sequence[Sequence[TrainRun]]],
    tuned: Tuned,
    judgement: Judgement,
) -> dict[str, Any]:
    """Everything, as plain data.

    Args:
        operations: see ``arms.operations_ratios``.
        runs: ``[seed][size]`` of each arm.
    """
    plan = registration.plan
    return {
        "version": RECORD_VERSION,
        "plan_hash": registration.plan_hash,
        "horizon": plan["horizon"],
        "is_pilot": trainings["standard"].is_pilot,
        "deviations": to_plain(registration.deviations),
        "judgement": to_plain(judgement),
        "tuning": {
            "note": tuned.note,
            "trials": {name: to_plain(trials) for name, trials in tuned.trials.items()},
        },
        "arms": {
            name: {
                "program": arm.program.source_hash,
                "training": {
                    key: value for key, value in to_plain(trainings[name]).items() if key != "seeds"
                },
                "operations_ratio": operations[name],
                "sizes": [size.name for size in sizes],
                "seeds": [row[0].seed for row in runs[name]],
                "runs": [[_repeatable(run) for run in row] for row in runs[name]],
            }
            for name, arm in arms.items()
        },
    }


def require_known_version(folder: Path) -> None:
    """Refuse a folder whose record another version wrote, or lost its registration.

    Raises:
        ConfigError: the record is damaged, of another version, or has no registration beside it.
    """
    path = folder / RECORD
    if not path.exists():
        return
    try:
        version = json.loads(path.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{path}: cannot be read as a validation's record; delete it, and it is made again "
            "from the store"
        ) from None
    if version != RECORD_VERSION:
        raise ConfigError(
            f"{path}: it is of version {version} of this record, wanted {RECORD_VERSION}; validate "
            "into another folder (--output)"
        )


def _number(run: TrainRun, name: str) -> float:
    value = getattr(run, name)
    return float("nan") if value is None or run.status != "finished" else float(value)


def _repeatable(run: TrainRun) -> dict[str, Any]:
    return {name: value for name, value in to_plain(run).items() if name not in _NEVER_TWICE}
