"""The overfit gate: before its ladder, a candidate's smallest model learns a few texts by heart.

Seconds are spent to find what would waste a whole ladder. The model starts from the shared weights
of the first training seed, and it takes the training's own steps, at a rate of its own and without
dropout. So short a task is not continued when it is killed but done again.
"""

from __future__ import annotations

import dataclasses

from openevolve_unified.config.schema import TrainingConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.evaluation.ladder import CheckedProgram, Workplace, cost
from openevolve_unified.evaluation.requests import TrainRequest
from openevolve_unified.judgement.overfit import refusal
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Overfit
from openevolve_unified.runs.events import StageStarted

WARMUP_STEPS = 10


def pass_overfit_gate(place: Workplace, checked: CheckedProgram) -> Overfit | None:
    """What the candidate reached, from the store or found now; None where there is no gate.

    Raises:
        CandidateError: it cannot learn a few texts by heart.
        ConfigError: the training split has too few of them.
        DeadlineError, WorkerDiedError: see ``Executor.run``.
    """
    if place.config.gates.overfit is None:
        return None
    place.say(StageStarted(stage="overfit"))
    request = overfit_request(place, checked)
    task = request.overfitting()
    assert task.record is not None
    stored = place.store.get(task.record.kind, task.record.key)
    if stored is None:
        ((_, stored),) = place.run([task])
    found = from_mapping(Overfit, stored, "overfit")
    reason = refusal(found)
    if reason is not None:
        raise CandidateError("overfit", reason)
    return found


def overfit_request(place: Workplace, checked: CheckedProgram) -> TrainRequest:
    """The smallest model of the ladder at the first training seed, with the gate's own training."""
    settings = place.config.gates.overfit
    assert settings is not None
    seed = place.config.training.seeds[0]
    request = min(place.requests(checked, (seed,)), key=lambda one: cost(one.job.size))
    training = TrainingConfig(
        training_steps=settings.max_steps,
        batch_size=settings.num_sequences,
        learning_rate=settings.learning_rate,
        warmup_steps=WARMUP_STEPS,
        eval_frequency=settings.max_steps,
        dropout=0.0,
        seeds=(seed,),
    )
    job = dataclasses.replace(request.job, training=training)
    return dataclasses.replace(request, job=job, keep_weights=False)
