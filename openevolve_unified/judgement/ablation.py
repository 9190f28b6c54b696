"""The ablation of a difference: which part of it carries the change of the loss.

A part is judged twice, on the same seeds: *alone* (the standard program with the part, minus the
standard program) and *within* the rest (the evolved program, minus the evolved program without the
part). Both are 'with minus without', so less is better. Where parts do not interact the two agree,
and the effects alone add up to the whole difference; ``interaction`` says how far they do not.

Losses are those of the largest size, in nats per token. All tests of one ablation are corrected
together by Holm's step-down; programs that are the same are one program, and are not tested.

A share is a ratio of two correlated means, so its interval is Fieller's (1954): all ratios that the
t test of ``part - ratio * whole`` does not reject. It does not exist where the whole difference is
not told apart from zero: then there is nothing to share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import special

from openevolve_unified.judgement.arms import FALSE_RATE, holm
from openevolve_unified.judgement.contrasts import largest_weights
from openevolve_unified.judgement.estimates import (
    ENOUGH_PAIRS,
    Estimate,
    mean_with_error,
    t_quantile,
)
from openevolve_unified.judgement.noise import NoiseFloor, detectable_difference
from openevolve_unified.judgement.paired import PairedComparison, compare_paired

Side = Literal["helps", "harms", "not told apart", "unknown", "nothing"]
_Pair = tuple[str, str]
"""A program, and the one that it is compared with."""
Losses = Mapping[str, np.ndarray]
"""By program, ``(seeds, sizes)``, nats per token; the same seeds for all."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the difference, and the programs that show its effect; None: not trained."""

    name: str
    kept: str | None
    """The standard program with this part alone."""
    reverted: str | None
    """The evolved program without it."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Of the whole difference, with its 95% interval (Fieller)."""

    value: float
    ci95: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A program with the part minus one without it; less is better."""

    program: str
    against: str
    comparison: PairedComparison | None
    """None where both are the same program: the effect is nothing, without error."""
    p: float | None
    """Of the loss at the largest size, two-sided; None where it is not or cannot be tested."""
    p_holm: float | None
    """Corrected for all tests of the ablation."""
    share: Share | None
    """None where the whole difference is not told apart from zero."""

    @property
    def pair(self) -> _Pair:
        return (self.program, self.against)

    @property
    def side(self) -> Side:
        if self.comparison is None:
            return "nothing"
        if self.p_holm is None:
            return "unknown"
        if self.p_holm >= FALSE_RATE:
            return "not told apart"
        return "helps" if self.comparison.largest_loss.value < 0 else "harms"


@dataclass(frozen=True, kw_only=True)
class PartEffects:
    """One part; an effect is None where its program could not be trained."""

    name: str
    alone: Effect | None
    within: Effect | None
    interaction: Estimate | None
    """Within minus alone: below zero, the part does more beside the others."""

    @property
    def is_inert(self) -> bool:
        """The part changes neither program."""
        return all(one is not None and one.side == "nothing" for one in (self.alone, self.within))

    @property
    def carries(self) -> bool:
        """The part gains alone, and is missed without it."""
        return all(one is not None and one.side == "helps" for one in (self.alone, self.within))

    @property
    def role(self) -> str:
        """In words."""
        alone = "failed" if self.alone is None else self.alone.side
        within = "failed" if self.within is None else self.within.side
        sides = (alone, within)
        if self.is_inert:
            return "inert: both programs stay the same"
        if "unknown" in sides:
            return "unknown: one seed has no error"
        if self.carries:
            return "carries the gain: gains alone, and is missed without it"
        if sides == ("harms", "harms"):
            return "harms, alone and beside the others"
        if alone in ("helps", "harms"):
            return f"{'gains' if alone == 'helps' else 'harms'} alone; {_WITHIN[within]}"
        if within in ("helps", "harms"):
            return f"{_WITHIN[within]}; {_ALONE[alone]}"
        if "failed" in sides:
            return _WITHIN["failed"] if within == "failed" else _ALONE["failed"]
        return "not told apart from nothing"


_WITHIN = {
    "helps": "is missed without it",
    "harms": "harms beside the others",
    "failed": "the others do not train without it",
    "not told apart": "not told apart from nothing beside the others",
    "nothing": "nothing beside the others",
}
_ALONE = {
    "failed": "it does not train alone",
    "not told apart": "not told apart from nothing alone",
    "nothing": "nothing alone",
}


@dataclass(frozen=True, kw_only=True)
class AblationJudgement:
    """All parts of one difference."""

    whole: Effect
    """The evolved program minus the standard one; ``p`` is tested on its own, before Holm."""
    parts: tuple[PartEffects, ...]
    """They make up the whole difference."""
    unions: tuple[PartEffects, ...]
    """Several parts as one, judged beside them."""
    interaction: Estimate | None
    """The whole difference minus the sum of the effects alone; None where one is missing."""
    num_seeds: int
    num_tests: int
    detectable_nats: float | None
    """The true difference at the largest size that one test finds in 80% of cases before Holm; None
    without a noise floor."""

    @property
    def is_few(self) -> bool:
        return self.num_seeds < ENOUGH_PAIRS


def judge_ablation(
    num_params: Sequence[float],
    losses: Losses,
    standard: str,
    evolved: str,
    parts: Sequence[Part],
    unions: Sequence[Part] = (),
    floor: NoiseFloor | None = None,
) -> AblationJudgement:
    """Judge every part alone and within the rest.

    Args:
        num_params: of the standard program, ascending.
        losses: of every program that is named, and perhaps of more.
        standard, evolved: names of the two programs in ``losses``.
        parts: what the difference is made of.
        unions: several parts together, judged in the same correction, not part of the sum.
        floor: see ``compare_paired``; without it one seed has no error.

    Raises:
        ValueError: shapes that differ, or a floor of another ladder.
    """
    runs = _Runs(num_params, losses, floor, (evolved, standard))
    found = []
    for part in (*parts, *unions):
        alone = within = interaction = None
        if part.kept is not None:
            alone = runs.effect(part.kept, standard)
        if part.reverted is not None:
            within = runs.effect(evolved, part.reverted)
        if alone is not None and within is not None:
            interaction = runs.combined([within.pair], [alone.pair])
        found.append(
            PartEffects(name=part.name, alone=alone, within=within, interaction=interaction)
        )
    found, num_tests = _corrected(found)
    whole = runs.effect(evolved, standard)
    pairs = [part.alone.pair for part in found[: len(parts)] if part.alone is not None]
    interaction = runs.combined([whole.pair], pairs) if len(pairs) == len(parts) else None
    num_seeds = len(losses[standard])
    return AblationJudgement(
        whole=replace(whole, p_holm=whole.p),
        parts=tuple(found[: len(parts)]),
        unions=tuple(found[len(parts) :]),
        interaction=interaction,
        num_seeds=num_seeds,
        num_tests=num_tests,
        detectable_nats=None
        if floor is None
        else detectable_difference(floor.of_difference(runs.weights), num_seeds),
    )


class _Runs:
    """The losses of one ablation, and what is read off them."""

    def __init__(
        self,
        num_params: Sequence[float],
        losses: Losses,
        floor: NoiseFloor | None,
        whole: tuple[str, str],
    ):
        self.num_params, self.losses, self.floor = num_params, losses, floor
        self.weights = largest_weights(num_params)
        self._largest = {name: rows @ self.weights for name, rows in losses.items()}
        self._whole = _coefficients([whole], [])

    def effect(self, program: str, against: str) -> Effect:
        """Of one program against another; not corrected yet."""
        comparison = p = None
        if program != against:
            comparison = compare_paired(
                self.num_params, self.losses[program], self.losses[against], self.floor
            )
            p = _p_value(comparison.largest_loss)
        share = self._share(_coefficients([(program, against)], []))
        return Effect(
            program=program, against=against, comparison=comparison, p=p, p_holm=None, share=share
        )

    def combined(self, plus: Sequence[_Pair], minus: Sequence[_Pair]) -> Estimate:
        """Differences of losses at the largest size, added and subtracted seed by seed."""
        coefficients = _coefficients(plus, minus)
        spread = None
        if self.floor is not None:
            alone = self.floor.of(self.weights)
            norm = math.sqrt(_product(coefficients, coefficients))
            spread = replace(alone, sd=norm * alone.sd)
        return mean_with_error(self._values(coefficients), spread)

    def _values(self, coefficients: Mapping[str, float]) -> np.ndarray:
        """One per seed."""
        total = np.zeros(len(next(iter(self._largest.values()))))
        for name, coefficient in coefficients.items():
            total = total + coefficient * self._largest[name]
        return total

    def _share(self, part: Mapping[str, float]) -> Share | None:
        both = (part, self._whole)
        values = np.stack([self._values(one) for one in both])
        number = values.shape[1]
        means = values.mean(axis=1)
        centred = values - means[:, None]
        squares, freedom = centred @ centred.T, number - 1.0
        if self.floor is not None and number < ENOUGH_PAIRS:
            prior = self.floor.of(self.weights)
            products = np.array([[_product(one, other) for other in both] for one in both])
            squares = squares + prior.degrees_of_freedom * prior.sd**2 * products
            freedom += prior.degrees_of_freedom
        if freedom == 0:
            return None
        excess = t_quantile(0.975, freedom) ** 2 * squares / freedom / number
        # The ratios r with (part - r whole)^2 <= t^2 var(part - r whole), a quadratic in r.
        outer = means[:, None] * means - excess
        if not outer[1, 1] > 0:
            return None
        root = math.sqrt(max(0.0, outer[0, 1] ** 2 - outer[0, 0] * outer[1, 1]))
        return Share(
            value=float(means[0] / means[1]),
            ci95=((outer[0, 1] - root) / outer[1, 1], (outer[0, 1] + root) / outer[1, 1]),
        )


def _coefficients(plus: Sequence[_Pair], minus: Sequence[_Pair]) -> dict[str, float]:
    """Of each program's loss; one that is added and subtracted is not there."""
    found: dict[str, float] = {}
    for pairs, sign in ((plus, 1.0), (minus, -1.0)):
        for program, against in pairs:
            found[program] = found.get(program, 0.0) + sign
            found[against] = found.get(against, 0.0) - sign
    return {name: value for name, value in found.items() if value}


def _product(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return sum(value * other.get(name, 0.0) for name, value in one.items())


def _p_value(estimate: Estimate) -> float | None:
    if estimate.stderr is None or estimate.degrees_of_freedom is None:
        return None
    if estimate.stderr == 0:
        return float(estimate.value == 0)
    t = abs(estimate.value) / estimate.stderr
    return float(2 * special.stdtr(estimate.degrees_of_freedom, -t))


def _corrected(found: Sequence[PartEffects]) -> tuple[list[PartEffects], int]:
    """The same with Holm over all pairs of programs, each pair once; and how many these are."""
    tested: dict[frozenset[str], float] = {}
    for part in found:
        for effect in (part.alone, part.within):
            if effect is not None and effect.p is not None:
                tested[frozenset(effect.pair)] = effect.p
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))

    def correct(effect: Effect | None) -> Effect | None:
        if effect is None:
            return None
        pair = frozenset(effect.pair)
        return replace(effect, p_holm=adjusted.get(pair))

    corrected = [
        replace(part, alone=correct(part.alone), within=correct(part.within)) for part in found
    ]
    return corrected, len(tested)
