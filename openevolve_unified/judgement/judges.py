"""The judges: what is shown of a program beside its score, each number with its error over seeds.

One number hides too much: a program that helps the small models more has a flatter line and may yet
be better at every size. So beside the fitness stand the loss at the largest size, the loss that the
line predicts at a stated larger one, the differences to the baseline at the same seeds, and how far
the line itself can be trusted. Where nothing measured the noise, one seed has no error and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openevolve_unified.judgement.contrasts import (
    intercept_weights,
    largest_weights,
    prediction_weights,
    slope_weights,
    target_size,
)
from openevolve_unified.judgement.estimates import Estimate, Spread, mean_with_error
from openevolve_unified.judgement.noise import NoiseFloor, detectable_difference
from openevolve_unified.judgement.paired import Dominance, PairedComparison, compare_paired
from openevolve_unified.judgement.power_law import NUM_PARAMETERS, PowerLaw, fit_power_law
from openevolve_unified.judgement.scaling import (
    MIN_SIZES,
    LeaveOneSizeOut,
    leave_one_size_out,
    predicted_loss,
    slope_over_seeds,
)
from openevolve_unified.judgement.shared_seeds import losses_by_seed, on_shared_seeds
from openevolve_unified.records import Evaluation

MAX_CONDITION = 1e6
"""Of a covariance of the sizes that a fit may rest on: few seeds leave it without full rank."""


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """True differences of two programs that so many seeds find in 80% of cases, at 5% false alarms;
    a smaller one is not told from noise."""

    num_seeds: int
    slope: float
    largest_loss_nats: float
    predicted_loss_nats: float


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Losses in nats per token, slopes in nats per unit of ln N; differences are program minus
    baseline, so less is better."""

    num_seeds: int
    slope: Estimate
    """Over non-embedding parameters."""
    slope_total: Estimate
    """Over total parameters; the two can be far apart where embeddings are most of a model."""
    largest_loss: Estimate
    target_params: float
    """Non-embedding, beyond the ladder."""
    predicted_loss: Estimate | None
    """Of the line at ``target_params``; None for a program that is larger itself."""
    predicted_difference: Estimate | None
    """None without a baseline; over the baseline's parameters."""
    paired: PairedComparison | None
    """With the baseline at the seeds of both; None without one."""
    leave_one_out: LeaveOneSizeOut | None
    """None with three sizes."""
    power_law: PowerLaw | None
    """None with three sizes."""
    resolution: Resolution | None
    """None where the noise was not measured."""
    losses: tuple[Estimate, ...] = ()
    """At each size; empty in what earlier releases wrote."""
    intercept: Estimate | None = None
    """Of the line; None in what earlier releases wrote."""

    @property
    def dominance(self) -> Dominance | None:
        """Over all sizes, against the baseline; None without one."""
        return None if self.paired is None else self.paired.dominance

    @property
    def power_law_text(self) -> str:
        """The law, or why the losses do not identify one."""
        if self.power_law is None:
            return f"not identified: it has {NUM_PARAMETERS} parameters and needs more sizes"
        law = self.power_law
        if law.not_identified_because is not None:
            return f"not identified: {law.not_identified_because}"
        (low, high), (least, most) = law.irreducible_ci95, law.exponent_ci95
        return (
            f"E = {law.irreducible_nats:.4f} ({low:.4f} to {high:.4f}) nats, exponent "
            f"{law.exponent:.4f} ({least:.4f} to {most:.4f})"
        )


def judge(evaluation: Evaluation, floor: NoiseFloor | None = None) -> Judges:
    """Everything that the losses of a trained program say.

    Args:
        floor: of this configuration; without it a single seed has no error.

    Raises:
        ValueError: a floor of another ladder.
    """
    sizes, baseline = evaluation.sizes, evaluation.baseline
    losses = losses_by_seed(sizes)
    own = [float(size.num_params_non_embedding) for size in sizes]
    total = [float(size.num_params_total) for size in sizes]
    standard = [float(size.num_params_non_embedding) for size in baseline] or own
    target = target_size(standard, evaluation.score.target_params)

    def spread(weights: np.ndarray) -> Spread | None:
        return None if floor is None else floor.of(weights)

    predicted = None
    if target > max(own):
        predicted = predicted_loss(own, losses, target, spread(prediction_weights(own, target)))
    paired = difference = None
    if baseline:
        shared, reference = (losses_by_seed(part) for part in on_shared_seeds(sizes, baseline))
        paired = compare_paired(standard, shared, reference, floor)
        weights = prediction_weights(standard, target)
        difference = mean_with_error(
            (shared - reference) @ weights, None if floor is None else floor.of_difference(weights)
        )
    largest = largest_weights(own)
    intercept = intercept_weights(own)
    at_each = np.eye(len(own))
    has_more_sizes = len(sizes) > MIN_SIZES
    return Judges(
        num_seeds=len(losses),
        slope=slope_over_seeds(own, losses, spread(slope_weights(own))),
        slope_total=slope_over_seeds(total, losses, spread(slope_weights(total))),
        largest_loss=mean_with_error(losses @ largest, spread(largest)),
        target_params=target,
        predicted_loss=predicted,
        predicted_difference=difference,
        paired=paired,
        leave_one_out=_leave_one_out(own, losses) if has_more_sizes else None,
        power_law=_power_law(own, losses, floor) if has_more_sizes else None,
        resolution=None if floor is None else _resolution(standard, target, len(losses), floor),
        losses=tuple(mean_with_error(losses @ one, spread(one)) for one in at_each),
        intercept=mean_with_error(losses @ intercept, spread(intercept)),
    )


def _leave_one_out(counts: list[float], losses: np.ndarray) -> LeaveOneSizeOut | None:
    """None also where parameters of its own put the sizes into another order."""
    if not (np.diff(counts) > 0).all():
        return None
    return leave_one_size_out(counts, losses.mean(axis=0).tolist())


def _resolution(
    counts: list[float], target: float, num_seeds: int, floor: NoiseFloor
) -> Resolution:
    slope, largest, predicted = (
        detectable_difference(floor.of_difference(weights), num_seeds)
        for weights in (
            slope_weights(counts),
            largest_weights(counts),
            prediction_weights(counts, target),
        )
    )
    return Resolution(
        num_seeds=num_seeds,
        slope=slope,
        largest_loss_nats=largest,
        predicted_loss_nats=predicted,
    )


def _power_law(counts: list[float], losses: np.ndarray, floor: NoiseFloor | None) -> PowerLaw:
    means = losses.mean(axis=0).tolist()
    if floor is not None:
        deviations = np.asarray(floor.seed_sd)
        covariance = np.outer(deviations, deviations) * np.asarray(floor.seed_correlation)
        if deviations.all() and np.linalg.cond(covariance) < MAX_CONDITION:
            freedom = float(floor.num_seeds - 1)
            return fit_power_law(counts, means, covariance / len(losses), freedom)
    return fit_power_law(counts, means)
