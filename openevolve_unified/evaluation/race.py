"""The race of a run: the hurdle that a candidate must take at a share of its training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.judgement.compare import Standing, best_of
from openevolve_unified.judgement.contrasts import score_weights, target_size
from openevolve_unified.judgement.race import RaceRule
from openevolve_unified.records import Evaluation, SizeResult, StoppedEarly, TrainRun


class StoppedEarlyError(CandidateError):
    """The race stops a candidate; it is refused by nothing."""

    def __init__(self, stopped: StoppedEarly):
        super().__init__(
            "stopped_early",
            f"at step {stopped.step:,} of {stopped.training_steps:,} its fitness is "
            f"{stopped.fitness:.4f}, behind that of {stopped.best} there "
            f"({stopped.best_fitness:.4f}) by more than {stopped.margin:.4f}",
        )
        self.stopped = stopped


@dataclass(frozen=True, kw_only=True)
class Hurdle:
    """What the best program so far had reached at the share of the rule."""

    rule: RaceRule
    step: int
    best: str
    """The first digits of its hash."""
    best_fitness: float

    @classmethod
    def of(cls, rule: RaceRule, programs: Iterable[Evaluation], config: ScalingLawConfig) -> Hurdle:
        """That of the best of ``programs``, in the order of trial, at the seeds of a candidate."""
        best = best_of(programs, Standing.of_evaluation)
        assert best is not None, "the initial program is always among them"
        step = round(rule.share * config.training.training_steps)
        runs = [size.runs for size in best.sizes]
        return cls(
            rule=rule,
            step=step,
            best=best.program.source_hash[:12],
            best_fitness=fitness_at(step, runs, best.baseline or best.sizes, config),
        )

    def require_taken(
        self,
        runs: Sequence[Sequence[TrainRun]],
        baseline: Sequence[SizeResult],
        config: ScalingLawConfig,
    ) -> None:
        """Stop a candidate that trails, unless its models were all trained to the end before, as
        another text of the same program.

        Args:
            runs: by size, trained up to ``step`` at least.

        Raises:
            StoppedEarlyError: it does.
        """
        if all(run.status == "finished" for size in runs for run in size):
            return
        found = fitness_at(self.step, runs, baseline, config)
        if self.rule.stops(found, self.best_fitness):
            raise StoppedEarlyError(
                StoppedEarly(
                    step=self.step,
                    training_steps=config.training.training_steps,
                    fitness=found,
                    best=self.best,
                    best_fitness=self.best_fitness,
                    margin=self.rule.margin,
                )
            )


def fitness_at(
    step: int,
    runs: Sequence[Sequence[TrainRun]],
    baseline: Sequence[SizeResult],
    config: ScalingLawConfig,
) -> float:
    """The fitness as measured, without guards, by the point of the learning curves at ``step``.

    Args:
        runs: of every seed by size, the small sizes first.
        baseline: of the initial program; it says which size a loss is predicted for.
    """
    losses = [
        np.mean([p.validation_loss_nats for run in size for p in run.curve if p.step == step])
        for size in runs
    ]
    counts = [float(size[0].num_params_non_embedding) for size in runs]
    standard = [float(size.num_params_non_embedding) for size in baseline]
    target = target_size(standard, config.fitness.target_params)
    return float(score_weights(config.fitness.kind, counts, target) @ np.array(losses))
