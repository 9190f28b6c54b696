"""The power law ``loss = E + A N^-a`` with ``E, A >= 0``, or the word that it is not identified.

For a fixed exponent the law is linear in E and A, so these are solved exactly (variable projection,
Golub and Pereyra 1973, SIAM J. Numer. Anal. 10:413) and the fit is a search over one number, on a
grid and then refined: there is no optimiser that can stop early, and no starting value. Published
fits of this law failed by stopping early, by estimates printed with too few digits to give the loss
back, and by intervals far too narrow (Besiroglu, Erdil, Barnett, You 2024, arXiv 2404.10102, on the
third approach of Hoffmann et al. 2022). So: every digit is kept, and the intervals are profile
likelihoods: all values of one parameter at which the best choice of the others is not refuted,

    (SSE(value) - SSE(best)) / s^2 <= F(0.95; 1, nu)

with s^2 and nu from replicates (a covariance of the sizes' mean losses, measured over seeds) or,
without them, from the misfit with ``sizes - 3`` degrees of freedom. The misfit of four sizes leaves
one degree of freedom, F = 161: on a narrow ladder the law is then not identified, and says so.

*Identified* means that both ends of the exponent's interval lie inside ``EXPONENTS``, and that E
is told apart from 0, a pure power law. The intervals are given either way; what holds their ends
back (E >= 0, the largest exponent) is then a convention and no measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

NUM_PARAMETERS = 3
EXPONENTS = (0.005, 3.0)
"""Language models publish exponents of 0.05 to 0.5."""
NUM_GRID = 241


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """A fit, with 95% profile-likelihood intervals, and whether the data determine it."""

    irreducible_nats: float
    """E."""
    coefficient: float
    """A, in nats, of N counted in single parameters; as the exponent it is seldom of use alone."""
    exponent: float
    irreducible_ci95: tuple[float, float]
    exponent_ci95: tuple[float, float]
    not_identified_because: str | None
    """None where it is identified."""
    squared_error: float
    """Sum over sizes, in units of the covariance where one was given, else nats squared."""
    degrees_of_freedom: float
    """Of the error that the intervals rest on."""

    @property
    def is_identified(self) -> bool:
        return self.not_identified_because is None

    def loss(self, num_params: float) -> float:
        return self.irreducible_nats + self.coefficient * num_params**-self.exponent


def fit_power_law(
    num_params: Sequence[float],
    losses: Sequence[float],
    covariance: np.ndarray | None = None,
    degrees_of_freedom: float = math.inf,
) -> PowerLaw:
    """Fit the mean loss of each size.

    Args:
        num_params: at least four distinct sizes; three points fit any three parameters.
        losses: mean over seeds of each size, nats per token.
        covariance: ``(sizes, sizes)`` of these means over seeds; without it the misfit serves.
        degrees_of_freedom: of that covariance.

    Raises:
        ValueError: too few sizes, or values that are not finite and positive.
    """
    counts, values = (np.asarray(item, dtype=np.float64) for item in (num_params, losses))
    if len(set(counts.tolist())) <= NUM_PARAMETERS or counts.shape != values.shape:
        raise ValueError(
            f"a power law has {NUM_PARAMETERS} parameters and needs at least {NUM_PARAMETERS + 1} "
            f"distinct sizes, got {len(set(counts.tolist()))}"
        )
    if not (np.isfinite(counts).all() and np.isfinite(values).all() and counts.min() > 0):
        raise ValueError("losses must be finite and parameter counts positive")
    # Counted in units of the mean size, so that no power over- or underflows.
    unit = math.exp(float(np.log(counts).mean()))
    problem = _Problem(counts / unit, values, covariance)
    exponent = problem.best_exponent()
    squared_error, irreducible, amplitude = problem.solve(exponent)
    freedom = degrees_of_freedom if covariance is not None else float(len(counts) - NUM_PARAMETERS)
    variance = 1.0 if covariance is not None else squared_error / freedom
    bound = squared_error + variance * scipy.special.fdtri(1.0, min(freedom, 1e9), 0.95)
    exponents = problem.exponent_interval(exponent, bound)
    irreducibles = problem.irreducible_interval(irreducible, bound)
    return PowerLaw(
        irreducible_nats=irreducible,
        coefficient=amplitude * unit**exponent,
        exponent=exponent,
        irreducible_ci95=irreducibles,
        exponent_ci95=exponents,
        not_identified_because=_doubt(amplitude, exponents, irreducibles),
        squared_error=squared_error,
        degrees_of_freedom=freedom,
    )


def _doubt(
    amplitude: float, exponents: tuple[float, float], irreducibles: tuple[float, float]
) -> str | None:
    if amplitude <= 0:
        return "the loss does not fall with size"
    if exponents[0] <= EXPONENTS[0] or exponents[1] >= EXPONENTS[1]:
        return (
            f"the exponent may be anything from {exponents[0]:.3g} to {exponents[1]:.3g} "
            "(the ends of the search): more sizes, a wider range or more seeds would tell"
        )
    if irreducibles[0] <= 0:
        return (
            f"the irreducible loss may be anything from 0 to {irreducibles[1]:.3g} nats: a power "
            "law without one fits as well"
        )
    return None


class _Problem:
    """Least squares over E and A at given exponents, and the profiles over one parameter."""

    def __init__(
        self, counts: np.ndarray, losses: np.ndarray, covariance: np.ndarray | None
    ) -> None:
        self._log_counts = np.log(counts)
        # Whitened by the Cholesky factor, correlated noise of unequal size becomes unit noise.
        self._whiten = (
            np.eye(len(losses))
            if covariance is None
            else np.linalg.inv(np.linalg.cholesky(np.asarray(covariance, dtype=np.float64)))
        )
        self._losses = self._whiten @ losses
        self._ones = self._whiten @ np.ones_like(losses)
        self._most = float(losses.max())
        self._grid = np.geomspace(*EXPONENTS, NUM_GRID)
        self._grid_powers = self._powers(self._grid)

    def solve(self, exponent: float) -> tuple[float, float, float]:
        """``(squared error, E, A)`` with E and A at least 0, exactly."""
        solved = self._solve(self._powers(np.array([exponent])))
        error, irreducible, amplitude = (float(part[0]) for part in solved)
        return error, irreducible, amplitude

    def best_exponent(self) -> float:
        return self._minimum(lambda powers: self._solve(powers)[0], tolerance=1e-12)[1]

    def exponent_interval(self, best: float, bound: float) -> tuple[float, float]:
        def excess(exponent: float) -> float:
            return self.solve(exponent)[0] - bound

        return _crossing(excess, best, EXPONENTS[0]), _crossing(excess, best, EXPONENTS[1])

    def irreducible_interval(self, best: float, bound: float) -> tuple[float, float]:
        def excess(irreducible: float) -> float:
            rest = self._losses - irreducible * self._ones
            profile = self._minimum(
                lambda powers: _one_coefficient(powers, rest)[0],
                tolerance=1e-6,  # the profile is flat at its minimum
            )
            return profile[0] - bound

        return _crossing(excess, best, 0.0), _crossing(excess, best, self._most)

    def _solve(self, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For powers ``(exponents, sizes)``: squared errors, E and A, each ``(exponents,)``."""
        ones, losses = self._ones, self._losses
        level = ones @ ones
        # Powers without their part along the constant, so that nearly equal columns keep digits.
        rest = powers - np.outer(powers @ ones / level, ones)
        amplitude = rest @ losses / np.einsum("gk,gk->g", rest, rest)
        irreducible = (ones @ losses - amplitude * (powers @ ones)) / level
        # A convex problem in two unknowns: outside the quadrant the better of its edges is best.
        steep_error, steep = _one_coefficient(powers, losses)
        flat = np.maximum(0.0, ones @ losses / level)
        flat_error = ((losses - flat * ones) ** 2).sum()
        is_steep, inside = steep_error < flat_error, (irreducible >= 0) & (amplitude >= 0)
        irreducible = np.where(inside, irreducible, np.where(is_steep, 0.0, flat))
        amplitude = np.where(inside, amplitude, np.where(is_steep, steep, 0.0))
        residuals = losses - np.outer(irreducible, ones) - amplitude[:, None] * powers
        return np.einsum("gk,gk->g", residuals, residuals), irreducible, amplitude

    def _powers(self, exponents: np.ndarray) -> np.ndarray:
        """``(exponents, sizes)``, whitened."""
        return np.exp(-np.outer(exponents, self._log_counts)) @ self._whiten.T

    def _minimum(
        self, errors: Callable[[np.ndarray], np.ndarray], tolerance: float
    ) -> tuple[float, float]:
        """``(least error, exponent)``: the best of a grid in log exponent, then refined."""
        on_grid = errors(self._grid_powers)
        best = int(np.argmin(on_grid))
        refined = scipy.optimize.minimize_scalar(
            lambda exponent: float(errors(self._powers(np.array([exponent])))[0]),
            bounds=(self._grid[max(0, best - 1)], self._grid[min(NUM_GRID - 1, best + 1)]),
            method="bounded",
            options={"xatol": tolerance},
        )
        return min(
            (float(refined.fun), float(refined.x)), (float(on_grid[best]), float(self._grid[best]))
        )


def _one_coefficient(powers: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors and A >= 0 of ``losses = A * powers``, each ``(exponents,)``."""
    amplitude = np.maximum(0.0, powers @ losses / np.einsum("gk,gk->g", powers, powers))
    residuals = losses - amplitude[:, None] * powers
    return np.einsum("gk,gk->g", residuals, residuals), amplitude


def _crossing(excess: Callable[[float], float], inside: float, end: float) -> float:
    """Where the profile leaves the interval between ``inside`` and ``end``; else ``end``.

    The profile rises on both sides of its minimum, so one crossing on each is all there is.
    """
    if inside == end or excess(end) <= 0:
        return end
    if excess(inside) >= 0:  # an exact fit: the interval is a point
        return inside
    return float(scipy.optimize.brentq(excess, inside, end, xtol=1e-8))
