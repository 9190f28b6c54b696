"""The meaning of a measured noise floor: what can be told apart, and by how many seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from openevolve_unified.calibration.noise_record import MeasuredNoise
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.contrasts import largest_weights, slope_weights
from openevolve_unified.judgement.estimates import Estimate, Spread, mean_with_error
from openevolve_unified.judgement.noise import detectable_difference, seeds_needed
from openevolve_unified.judgement.readings import ReadingChoice, compare_readings

NUMBERS_OF_SEEDS = (1, 2, 4, 8)


@dataclass(frozen=True, kw_only=True)
class SizeNoise:
    """One size, in nats per token."""

    name: str
    num_params: float
    mean_loss_nats: float
    seed_sd_nats: float
    twin_sd_nats: float | None
    """Of the twin's difference at the same seed; None without a twin."""


@dataclass(frozen=True, kw_only=True)
class Detectable:
    """True differences that so many seeds find in 80% of cases, at 5% false alarms."""

    num_seeds: int
    slope: float
    slope_at_best: float | None
    """As if every program shared its seed's luck as the twin does; None without a twin."""
    largest_loss_nats: float


@dataclass(frozen=True, kw_only=True)
class NoiseSummary:
    """All that is shown of a noise floor; ``to_plain`` of it is the command's JSON."""

    horizon: str
    seeds: tuple[int, ...]
    has_twin: bool
    sizes: tuple[SizeNoise, ...]
    size_correlation: tuple[tuple[float, ...], ...]
    slope: Estimate
    """Of the initial program, nats per unit of ln N, with its error over the seeds."""
    slope_spread: Spread
    """Of one seed's slope."""
    slope_difference: Spread
    """Of the difference of two programs' slopes at one seed: what comparisons assume."""
    slope_twin: Spread | None
    """The same of two programs that differ by rounding alone."""
    largest_difference: Spread
    detectable: tuple[Detectable, ...]
    readings: ReadingChoice
    gain: float | None = None
    seeds_for_gain: int | None = None
    """None too when more than 10,000 would be needed."""

    @property
    def sentence(self) -> str:
        """The one to remember."""
        by_seeds = ", ".join(
            f"{row.slope:.3g} with {row.num_seeds} seed{'' if row.num_seeds == 1 else 's'}"
            for row in self.detectable
        )
        return (
            f"can tell apart slopes that differ by {by_seeds} (5% false alarms, 80% power; "
            f"measured over {len(self.seeds)} seeds, {_freedom(self.slope_difference)})"
        )

    @property
    def gain_sentence(self) -> str | None:
        """How many seeds the stated gain needs; None where none was stated."""
        if self.gain is None:
            return None
        if self.seeds_for_gain is None:
            return f"a difference of {self.gain:g} in slope is out of reach of any number of seeds"
        number = f"{self.seeds_for_gain} seed{'' if self.seeds_for_gain == 1 else 's'}"
        return f"a difference of {self.gain:g} in slope needs {number}"


def summarise(noise: MeasuredNoise, gain: float | None = None) -> NoiseSummary:
    """Derive everything from the measured losses.

    Args:
        gain: a difference of slopes, nats per unit of ln N.

    Raises:
        ConfigError: a gain that is not positive.
    """
    require_gain(gain)
    floor, losses = noise.floor(), noise.losses()
    twin_sd = floor.twin_sd or (None,) * len(noise.sizes)
    difference, twin = floor.slope_difference, floor.slope_twin
    largest = floor.of_difference(largest_weights(noise.num_params))
    slopes = losses @ slope_weights(noise.num_params)
    return NoiseSummary(
        horizon=noise.horizon,
        seeds=noise.seeds,
        has_twin=noise.has_twin,
        sizes=tuple(
            SizeNoise(
                name=name,
                num_params=noise.num_params[index],
                mean_loss_nats=float(losses[:, index].mean()),
                seed_sd_nats=floor.seed_sd[index],
                twin_sd_nats=twin_sd[index],
            )
            for index, name in enumerate(noise.sizes)
        ),
        size_correlation=floor.seed_correlation,
        slope=mean_with_error(slopes),
        slope_spread=floor.slope,
        slope_difference=difference,
        slope_twin=twin,
        largest_difference=largest,
        detectable=tuple(
            Detectable(
                num_seeds=number,
                slope=detectable_difference(difference, number),
                slope_at_best=detectable_difference(twin, number) if twin else None,
                largest_loss_nats=detectable_difference(largest, number),
            )
            for number in NUMBERS_OF_SEEDS
        ),
        readings=compare_readings(
            noise.num_params, {name: np.asarray(rows) for name, rows in noise.baseline.items()}
        ),
        gain=gain,
        seeds_for_gain=None if gain is None else seeds_needed(difference, gain),
    )


def require_gain(gain: float | None) -> None:
    """Refuse a stated gain that is none.

    Raises:
        ConfigError: it is not positive, or not finite.
    """
    if gain is not None and not 0 < gain < math.inf:
        raise ConfigError(f"--gain: got {gain:g}, wanted a positive difference of slopes")


def _freedom(spread: Spread) -> str:
    text = f"{spread.degrees_of_freedom:.1f}".removesuffix(".0")
    return f"{text} degree{'' if text == '1' else 's'} of freedom"
