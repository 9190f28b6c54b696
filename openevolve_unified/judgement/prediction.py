"""The prediction of a larger size: its loss with an interval, stated before it is trained.

The interval is of what will be measured, the mean of so many new seeds, so it holds the noise of
those too. By the power law where it is identified: all values that the law can take there without
being refuted (a profile likelihood, as in ``power_law``). Else by the straight line over ln N: the
wider of two errors, that of a straight law whose sizes scatter about it (the classical prediction
interval of least squares, sizes - 2 degrees of freedom) and that of the line over seeds.

A law that bends between the ladder and the target is what such a prediction is there to catch; the
line knows of it only as far as its own sizes show it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from openevolve_unified.judgement.contrasts import prediction_weights
from openevolve_unified.judgement.estimates import t_quantile
from openevolve_unified.judgement.power_law import NUM_PARAMETERS, PowerLaw, fit_power_law

NUM_EXPONENTS = 401
SEEDS_PER_SIZE = 2
"""A covariance of the sizes over seeds is trusted from this many seeds per size on."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The mean loss of the new seeds at the target, or a difference of two such means, nats."""

    value: float
    interval95: tuple[float, float]
    law: Literal["power law", "line"]
    because: str
    """Why this law."""

    def holds(self, measured: float) -> bool:
        """Whether the measured mean lies inside the interval, its ends included."""
        return self.interval95[0] <= measured <= self.interval95[1]


def predict(
    num_params: Sequence[float],
    losses: np.ndarray,
    target_params: float,
    num_new_seeds: int,
) -> Prediction:
    """Predict the mean of ``num_new_seeds`` losses at the target.

    Args:
        num_params: at least three ascending sizes.
        losses: ``(seeds, sizes)``, nats per token.
        target_params: beyond the largest size.

    Raises:
        ValueError: the target lies inside the ladder, or there are too few sizes.
    """
    counts, values = np.asarray(num_params, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if len(counts) < NUM_PARAMETERS or values.ndim != 2 or values.shape[1] != len(counts):
        raise ValueError(
            f"a prediction needs losses (seeds, sizes) of at least {NUM_PARAMETERS} sizes, got "
            f"shape {values.shape} for {len(counts)} sizes"
        )
    line = predict_by_line(num_params, values, target_params, num_new_seeds)
    num_seeds, num_sizes = values.shape
    if num_sizes <= NUM_PARAMETERS:
        return line
    covariance = None
    if num_seeds >= SEEDS_PER_SIZE * num_sizes:
        covariance = np.cov(values, rowvar=False) / num_seeds
        if np.linalg.matrix_rank(covariance) < num_sizes:
            covariance = None
    law = fit_power_law(num_params, values.mean(axis=0).tolist(), covariance, num_seeds - 1)
    if law.not_identified_because is not None:
        because = f"the power law is not identified: {law.not_identified_because}"
        return Prediction(value=line.value, interval95=line.interval95, law="line", because=because)
    half = np.array(_profile(law, counts, values.mean(axis=0), covariance, target_params))
    noise = _new_noise(values, num_new_seeds)
    value = law.loss(target_params)
    return Prediction(
        value=value,
        interval95=(value - math.hypot(half[0], noise), value + math.hypot(half[1], noise)),
        law="power law",
        because="the power law is identified",
    )


def predict_by_line(
    num_params: Sequence[float], losses: np.ndarray, target_params: float, num_new_seeds: int
) -> Prediction:
    """The same by the straight line alone; serves differences of losses too, of any sign."""
    x, values = np.log(np.asarray(num_params, dtype=np.float64)), np.asarray(losses)
    weights = prediction_weights(num_params, target_params)
    means = values.mean(axis=0)
    value = float(weights @ means)
    centred = x - x.mean()
    freedom = len(x) - 2
    residuals = means - means.mean() - centred * (centred @ means) / (centred @ centred)
    # The weights' own sum of squares is 1/k + (x0 - mean)^2 / Sxx.
    scatter = math.sqrt(float(residuals @ residuals) / freedom * (1 + float(weights @ weights)))
    half = t_quantile(0.975, freedom) * scatter
    if len(values) > 1:
        own = values @ weights
        error = float(own.std(ddof=1)) / math.sqrt(len(own))
        largest = float(values[:, -1].std(ddof=1)) / math.sqrt(num_new_seeds)
        half = max(half, t_quantile(0.975, len(values) - 1) * math.hypot(error, largest))
    return Prediction(
        value=value,
        interval95=(value - half, value + half),
        law="line",
        because="the straight line over ln N",
    )


def _new_noise(losses: np.ndarray, num_new_seeds: int) -> float:
    """Half a 95% interval of the new seeds' own noise, as at the largest size; 0 for one seed."""
    if len(losses) < 2:
        return 0.0
    spread = float(losses[:, -1].std(ddof=1)) / math.sqrt(num_new_seeds)
    return t_quantile(0.975, len(losses) - 1) * spread


def _profile(
    law: PowerLaw,
    counts: np.ndarray,
    means: np.ndarray,
    covariance: np.ndarray | None,
    target: float,
) -> tuple[float, float]:
    """How far below and above its estimate the law can be at the target without being refuted.

    For one exponent the law is linear, and what it can be there is an interval in closed form; the
    whole is their union over the exponents that are not refuted.
    """
    unit = math.exp(float(np.log(counts).mean()))
    whiten = np.eye(len(means))
    variance = law.squared_error / law.degrees_of_freedom
    if covariance is not None:
        whiten, variance = np.linalg.inv(np.linalg.cholesky(covariance)), 1.0
    quantile = float(special.fdtri(1.0, min(law.degrees_of_freedom, 1e9), 0.95))
    bound = law.squared_error + variance * quantile
    lowest, highest = 0.0, 0.0
    for exponent in np.geomspace(*law.exponent_ci95, NUM_EXPONENTS):
        design = whiten @ np.column_stack([np.ones_like(counts), (counts / unit) ** -exponent])
        at_target = np.array([1.0, (target / unit) ** -exponent])
        coefficients, *_ = np.linalg.lstsq(design, whiten @ means, rcond=None)
        residuals = whiten @ means - design @ coefficients
        room = bound - float(residuals @ residuals)
        if room < 0:
            continue
        spread = float(at_target @ np.linalg.solve(design.T @ design, at_target))
        centre = float(at_target @ coefficients) - law.loss(target)
        reach = math.sqrt(room * spread)
        lowest, highest = min(lowest, centre - reach), max(highest, centre + reach)
    return -lowest, highest
