"""Associative recall of a candidate: its small trainings through the experiment's own workers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from openevolve_unified.config.schema import ScalingLawConfig, SizeConfig, TrainingConfig
from openevolve_unified.data.mqar import Recall
from openevolve_unified.diagnostics import RecallFindings, RecallRun
from openevolve_unified.evaluation.diagnostics.other_traces import Shape
from openevolve_unified.evaluation.diagnostics.recall_request import RecallRequest
from openevolve_unified.evaluation.ladder import Workplace
from openevolve_unified.plain.canonical import content_hash
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Evaluation, Program

SEED = 0
"""One for all: accuracies near 0 or 1 move little with it, and each costs a training."""
WARMUP_SHARE = 0.05


def lacks_recall(config: ScalingLawConfig, evaluation: Evaluation) -> bool:
    """Whether an experiment asks for recall that the evaluation does not have."""
    found = evaluation.recall
    has_it = found is not None and found.settings == content_hash(config.diagnostics.recall)
    return config.diagnostics.mode == "recall" and not has_it


def measure_recall(place: Workplace, program: Program, trace: Path) -> RecallFindings:
    """Train what is not in the store yet, at every length and learning rate.

    Args:
        trace: of the program as it is trained, which passed every check.

    Raises:
        DeadlineError, WorkerDiedError, CandidateError, MachineError: see ``Workplace.run`` and
            ``Workplace.trace_at``; what was finished is in the store.
    """
    wanted, config = place.config.diagnostics.recall, place.config
    size = SizeConfig(
        hidden_dim=wanted.hidden_dim, num_layers=wanted.num_layers, num_heads=wanted.num_heads
    )
    training = TrainingConfig(
        training_steps=wanted.training_steps,
        batch_size=wanted.batch_size,
        warmup_steps=round(WARMUP_SHARE * wanted.training_steps),
        eval_frequency=max(1, wanted.training_steps // 5),
        dropout=0.0,
        seeds=(SEED,),
    )
    requests, refusals = [], {}
    for length in wanted.lengths:
        shape = Shape(size=size, seq_len=length, batch_size=wanted.batch_size, seeds=(SEED,))
        trace_path, refusal = place.trace_at(program, trace, shape)
        if trace_path is None:
            refusals[str(length)] = refusal
            continue
        requests += [
            RecallRequest(
                framework=config.framework,
                recall=Recall(
                    vocab_size=wanted.vocab_size, seq_len=length, num_pairs=wanted.num_pairs
                ),
                size=size,
                training=dataclasses.replace(training, learning_rate=rate),
                trace_path=trace_path,
                gates=config.gates,
                store=str(place.store.root),
                device=place.resources.device,
                step_kind=config.execution.step,
                num_slots=place.resources.num_workers,
            )
            for rate in wanted.learning_rates
        ]
    requests.sort(key=lambda request: -request.recall.seq_len)  # the last to end are short
    found = dict(place.run([request.task() for request in requests]))
    runs = (from_mapping(RecallRun, found[index], "recall") for index in range(len(requests)))
    ordered = sorted(runs, key=lambda run: (run.seq_len, run.learning_rate))
    return RecallFindings(settings=content_hash(wanted), runs=tuple(ordered), refusals=refusals)
