"""The ranking of the shipped mechanisms under one evaluator, against published orders.

Every mechanism is evaluated like a candidate: checks, budget, training at every size and seed,
guards. What is refused is listed with its reason and not ranked. Two orders come of it, by the
score (minus the slope, guarded) and by the loss at the largest size; a pilot's may not be final.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openevolve_unified.calibration.published import ORDERS, SOFTMAX, PublishedOrder
from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.errors import ConfigError, MachineError, nearest
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.judgement.contrasts import largest_weights
from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.fitness import score
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.judgement.ranking import Agreement, Ranking, agreement, rank
from openevolve_unified.judgement.replicates import score_spread
from openevolve_unified.judgement.scaling import fit_scaling_law
from openevolve_unified.mechanisms.catalog import mechanisms
from openevolve_unified.records import Evaluation, Failure

BASELINE = "initial program"
"""The name of the config's own initial program where it is not the shipped softmax."""


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A program that takes part."""

    name: str
    source: str
    is_control: bool


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the evaluator found of one entrant that it trained; values by seed."""

    name: str
    is_control: bool
    program: str
    """The first digits of the source's hash."""
    num_params_non_embedding: tuple[int, ...]
    """Per size."""
    losses_nats: tuple[tuple[float, ...], ...]
    """Per size, one per seed, in nats per token."""
    slopes: tuple[float, ...]
    """Nats per unit of ln N, one per seed."""
    scores: tuple[float, ...]
    """What OpenEvolve would maximise, one per seed: minus the slope unless a guard lowers it."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An entrant that has no place, and why."""

    name: str
    stage: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One published order against both of ours; None where fewer than three programs are shared."""

    order: PublishedOrder
    by_score: Agreement | None
    by_loss: Agreement | None


@dataclass(frozen=True, kw_only=True)
class RankingReport:
    """Everything that ``rank`` found."""

    framework: str
    horizon: str
    sizes: tuple[str, ...]
    seeds: tuple[int, ...]
    measured: tuple[Measured, ...]
    refused: tuple[Refused, ...]
    by_score: Ranking | None
    """None when nothing was trained."""
    by_loss: Ranking | None
    """By the loss at the largest size."""
    compared: tuple[Compared, ...]
    error_from: str
    """Where the error of the means comes from, for people."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.measured)

    def controls_last(self, ranking: Ranking) -> dict[str, tuple[str, ...]]:
        """Per control that was trained, the mechanisms that are not told apart as better."""
        controls = [one.name for one in self.measured if one.is_control]
        others = [one.name for one in self.measured if not one.is_control]
        return {
            control: tuple(name for name in others if not ranking.is_told_apart(name, control))
            for control in controls
        }


def without_overfit_gate(config: ScalingLawConfig) -> ScalingLawConfig:
    """The same, for entrants among which is a control that the gate is there to refuse: one that
    never looks at another token. A ranking must show it last, not leave it out."""
    return dataclasses.replace(config, gates=dataclasses.replace(config.gates, overfit=None))


def choose_entrants(
    framework: str, initial_source: str, softmax_source: str, only: Sequence[str] | None
) -> tuple[Entrant, ...]:
    """The programs to rank: softmax, the config's initial program if it is another, the catalogue.

    Args:
        softmax_source: the shipped initial program of the framework.
        only: names that take part; None means all.

    Raises:
        ConfigError: a name that is not known in this framework.
    """
    all_entrants = [Entrant(name=SOFTMAX, source=softmax_source, is_control=False)]
    if initial_source != softmax_source:
        all_entrants.append(Entrant(name=BASELINE, source=initial_source, is_control=False))
    catalogue = mechanisms()
    all_entrants += [
        Entrant(name=m.name, source=m.source, is_control=m.is_control)
        for m in catalogue
        if m.framework == framework
    ]
    if only is None:
        return tuple(all_entrants)
    by_name = {entrant.name: entrant for entrant in all_entrants}
    for name in only:
        if name in by_name:
            continue
        elsewhere = [m.framework for m in catalogue if m.name == name]
        if elsewhere:
            raise ConfigError(
                f"--only: mechanism {name!r} is not written for {framework!r}; use --framework "
                f"{' or '.join(elsewhere)}, or leave it out"
            )
        raise ConfigError(
            f"--only: mechanism {name!r} is unknown{nearest(name, by_name)}; wanted names of "
            f"{', '.join(by_name)}"
        )
    return tuple(entrant for name, entrant in by_name.items() if name in only)


def rank_mechanisms(
    pipeline: Pipeline,
    entrants: Sequence[Entrant],
    on_start: Callable[[str], None],
    on_result: Callable[[Measured | Refused], None],
    noise: NoiseFloor | None = None,
) -> RankingReport:
    """Evaluate every entrant and rank those that were trained; finished work is in the store.

    Args:
        on_start: called with a title as each entrant begins.
        on_result: called with what came of it.
        noise: of the initial program under these settings, where it was measured.

    Raises:
        ConfigError: the experiment itself cannot run.
        MachineError: the machine could not finish; the same call continues.
    """
    config = pipeline.config
    measured: list[Measured] = []
    refused: list[Refused] = []
    for number, entrant in enumerate(entrants, start=1):
        on_start(f"mechanism {number}/{len(entrants)} {entrant.name}")
        result = pipeline.evaluate(entrant.source)
        if isinstance(result, Failure):
            if result.is_machine_trouble:
                raise MachineError(result.reason, result.stage)
            refused.append(Refused(name=entrant.name, stage=result.stage, reason=result.reason))
            on_result(refused[-1])
            continue
        measured.append(_measured(entrant, one_seed_each(result, config.fitness), result))
        on_result(measured[-1])
    prior_loss = prior_score = None
    if noise is not None:
        prior_loss = noise.of(largest_weights(noise.num_params))
        prior_score = score_spread(noise, config.fitness)
    scores = {one.name: one.scores for one in measured}
    losses = {one.name: one.losses_nats[-1] for one in measured}
    return RankingReport(
        framework=config.framework,
        horizon=config.training.horizon,
        sizes=tuple(size.name for size in config.sizes),
        seeds=config.training.seeds,
        measured=tuple(measured),
        refused=tuple(refused),
        by_score=rank(scores, less_is_better=False, prior=prior_score) if measured else None,
        by_loss=rank(losses, less_is_better=True, prior=prior_loss) if measured else None,
        compared=tuple(
            Compared(
                order=order,
                by_score=agreement(
                    scores,
                    order.values,
                    less_is_better=False,
                    published_less_is_better=order.less_is_better,
                    prior=prior_score,
                ),
                by_loss=agreement(
                    losses,
                    order.values,
                    less_is_better=True,
                    published_less_is_better=order.less_is_better,
                    prior=prior_loss,
                ),
            )
            for order in ORDERS
            if len(order.values.keys() & losses.keys()) > 2
        ),
        error_from=_error_from(len(config.training.seeds), len(measured), prior_loss),
    )


def one_seed_each(evaluation: Evaluation, fitness: FitnessConfig) -> tuple[Evaluation, ...]:
    """The evaluation as it would be with each of its seeds alone, the baseline's likewise.

    Args:
        fitness: says what is scored.
    """
    found = []
    for seed in evaluation.sizes[0].seeds:
        sizes, baseline = (
            tuple(size.on_seeds({seed}) for size in both)
            for both in (evaluation.sizes, evaluation.baseline)
        )
        fit = fit_scaling_law(
            [size.num_params_non_embedding for size in sizes], [size.losses_nats for size in sizes]
        )
        scored = score(
            fit,
            sizes,
            baseline,
            fitness.guard_tolerance_nats,
            fitness.kind,
            fitness.target_params,
        )
        found.append(
            dataclasses.replace(evaluation, sizes=sizes, baseline=baseline, fit=fit, score=scored)
        )
    return tuple(found)


def _measured(entrant: Entrant, alone: Sequence[Evaluation], evaluation: Evaluation) -> Measured:
    return Measured(
        name=entrant.name,
        is_control=entrant.is_control,
        program=evaluation.program.source_hash[:12],
        num_params_non_embedding=tuple(s.num_params_non_embedding for s in evaluation.sizes),
        losses_nats=tuple(size.losses_nats for size in evaluation.sizes),
        slopes=tuple(one.fit.slope for one in alone),
        scores=tuple(one.score.combined for one in alone),
    )


def _error_from(num_seeds: int, num_measured: int, prior: Spread | None) -> str:
    if prior is not None:
        known = f"the measured noise (degrees of freedom: {prior.degrees_of_freedom:.0f})"
        return known if num_seeds == 1 else f"{num_seeds} seeds and {known}"
    if num_seeds == 1:
        return "one seed: unknown"
    if num_measured < 2:
        return "one program: unknown"
    return f"{num_seeds} seeds"
