"""The horizon ledger: what an earlier look at the learning curves would have chosen.

Candidates that were trained to the same horizon are ranked at shares of it and compared with the
final order, by the loss at the largest size and by the fitness as measured, without its guards. A
share between two points of the curve is interpolated, linear in the logarithm of the step; before
the first point nothing is known, and the row says so.

Everything is about candidates that finished: what diverged has no final loss to be compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from openevolve_unified.config.fitness import FitnessKind
from openevolve_unified.judgement.contrasts import score_weights
from openevolve_unified.judgement.rank_correlation import (
    MIN_CANDIDATES,
    RankCorrelation,
    kendall,
    spearman,
)

SHARES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
"""Of the horizon."""
EARLY_SHARE = 0.1
"""Sprinters and marathoners are read off here, or at the first share that the curves reach."""
MIN_PLACES = 2
"""A candidate must move so many places, and a quarter of all, to be called either."""
RESAMPLES = 2_000

How: TypeAlias = Literal["measured", "interpolated", "missing"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """The learning curves of one candidate.

    Raises:
        ValueError: the shape does not fit, steps do not ascend from 1, or a loss is not finite.
    """

    name: str
    num_params: tuple[float, ...]
    """Non-embedding, one per size, ascending."""
    steps: tuple[int, ...]
    """Where the curves have points; the last one is the horizon."""
    losses: np.ndarray
    """``(seeds, sizes, points)``, nats per token on the validation split. Seeds and sizes are the
    same, in the same order, for all candidates of a ledger."""

    def __post_init__(self) -> None:
        shape = self.losses.shape
        if len(shape) != 3 or not shape[0] or shape[1:] != (len(self.num_params), len(self.steps)):
            raise ValueError(
                f"curves of {self.name}: got losses of shape {shape}, wanted (seeds, "
                f"{len(self.num_params)} sizes, {len(self.steps)} points)"
            )
        if min(self.steps) < 1 or list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"curves of {self.name}: got steps {self.steps}, wanted them to rise")
        if not np.isfinite(self.losses).all():
            raise ValueError(f"curves of {self.name}: a loss is not finite")


@dataclass(frozen=True, kw_only=True)
class EarlyChoice:
    """One early look at one quantity, against the final values."""

    tau: RankCorrelation | None
    """Kendall's; None where all are tied or there are too few candidates."""
    rho: RankCorrelation | None
    """Spearman's."""
    chosen: str
    """The candidate that leads here."""
    regret: float
    """How much worse its final value is than the best one; 0 where the winner leads already."""
    regret_ci95: tuple[float, float]
    """Percentile bootstrap over candidates."""
    winner_rank: int
    """The final winner's rank here: so many must be kept not to lose it."""


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One share of the horizon."""

    share: float
    step: float
    how: How
    by_loss: EarlyChoice | None
    """Of the loss at the largest size, in nats; None where no point is so early."""
    by_fitness: EarlyChoice | None
    fitness: tuple[float, ...] | None
    """Of each candidate here, in the order of ``HorizonLedger.names``; more is better."""


@dataclass(frozen=True, kw_only=True)
class Mover:
    """A candidate whose rank at the largest size changed from the early look to the end."""

    name: str
    early_rank: int
    final_rank: int


@dataclass(frozen=True, kw_only=True)
class HorizonLedger:
    """What earlier looks would have chosen among these candidates."""

    names: tuple[str, ...]
    """From best to worst final loss at the largest size."""
    final_fitness: tuple[float, ...]
    """Of each, in the same order."""
    num_seeds: int
    horizon_steps: int
    rows: tuple[LedgerRow, ...]
    movers_share: float | None
    """Where the early ranks of the movers are read; None where no share is reached."""
    sprinters: tuple[Mover, ...]
    """Early leaders that fell behind, the furthest first; with several seeds in each of them."""
    marathoners: tuple[Mover, ...]
    """Late risers."""

    @property
    def is_wide(self) -> bool:
        """Whether a row that is known tells little, because there are few candidates."""
        found = [c for row in self.rows for c in (row.by_loss, row.by_fitness) if c is not None]
        return any(choice.tau is None or choice.tau.is_wide for choice in found)


def horizon_ledger(
    candidates: Sequence[Curves], kind: FitnessKind, target_params: float | None = None
) -> HorizonLedger:
    """The ledger of candidates that share sizes, seeds and steps.

    Where the first point comes after the smallest share, its own share is a row too.

    Args:
        kind, target_params: of the fitness; see ``contrasts.score_weights``.

    Raises:
        ValueError: fewer than three candidates, or curves that do not match.
    """
    shapes = {(one.steps, one.losses.shape) for one in candidates}
    if len(candidates) < MIN_CANDIDATES or len(shapes) != 1:
        raise ValueError(
            f"a ledger: got {len(candidates)} candidates with {len(shapes)} kinds of curves, "
            f"wanted {MIN_CANDIDATES} or more with the same seeds, sizes and steps"
        )
    names = [one.name for one in candidates]
    steps, horizon = candidates[0].steps, candidates[0].steps[-1]
    final_loss, final_fitness = _values(candidates, float(horizon), kind, target_params)
    order = np.argsort(final_loss.mean(axis=1), kind="stable")
    rows = []
    for share in _shares(steps):
        step, how = share * horizon, _how(steps, share * horizon)
        by_loss = by_fitness = early_fitness = None
        if how != "missing":
            loss, fitness = _values(candidates, step, kind, target_params)
            by_loss = _choice(names, loss.mean(axis=1), final_loss.mean(axis=1))
            by_fitness = _choice(names, -fitness.mean(axis=1), -final_fitness.mean(axis=1))
            early_fitness = tuple(fitness.mean(axis=1)[order].tolist())
        rows.append(
            LedgerRow(
                share=share,
                step=step,
                how=how,
                by_loss=by_loss,
                by_fitness=by_fitness,
                fitness=early_fitness,
            )
        )
    early = _movers_share(rows)
    sprinters: list[Mover] = []
    marathoners: list[Mover] = []
    if early is not None:
        loss, _ = _values(candidates, early * horizon, kind, target_params)
        sprinters, marathoners = _movers(names, loss, final_loss)
    return HorizonLedger(
        names=tuple(names[i] for i in order),
        final_fitness=tuple(final_fitness.mean(axis=1)[order].tolist()),
        num_seeds=candidates[0].losses.shape[0],
        horizon_steps=horizon,
        rows=tuple(rows),
        movers_share=early,
        sprinters=tuple(sprinters),
        marathoners=tuple(marathoners),
    )


def loss_at(steps: Sequence[int], losses: np.ndarray, step: float) -> np.ndarray:
    """Losses ``(..., points)`` at ``step``, interpolated linearly in its logarithm.

    Returns:
        ``(...)``; of the first point for a step that rounds to it or comes before.
    """
    nearest = int(np.argmin(np.abs(np.asarray(steps) - step)))
    if abs(steps[nearest] - step) <= 0.5:
        found: np.ndarray = losses[..., nearest]
        return found
    after = max(1, int(np.searchsorted(steps, step)))
    first, second = math.log(steps[after - 1]), math.log(steps[after])
    weight = (math.log(step) - first) / (second - first)
    between: np.ndarray = (1 - weight) * losses[..., after - 1] + weight * losses[..., after]
    return between


def _how(steps: Sequence[int], step: float) -> How:
    if min(abs(point - step) for point in steps) <= 0.5:
        return "measured"
    return "missing" if step < steps[0] else "interpolated"


def _shares(steps: Sequence[int]) -> list[float]:
    first = steps[0] / steps[-1]
    is_news = SHARES[0] < first < 1 and all(abs(first - share) > 1e-9 for share in SHARES)
    return sorted({*SHARES, first} if is_news else SHARES)


def _values(
    candidates: Sequence[Curves], step: float, kind: FitnessKind, target_params: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Losses at the largest size and fitnesses, each ``(candidates, seeds)``."""
    losses = [loss_at(one.steps, one.losses, step) for one in candidates]
    weights = [score_weights(kind, one.num_params, target_params) for one in candidates]
    return (
        np.array([loss[:, -1] for loss in losses]),
        np.array([loss @ weight for loss, weight in zip(losses, weights, strict=True)]),
    )


def _choice(names: Sequence[str], early: np.ndarray, final: np.ndarray) -> EarlyChoice:
    """Of values ``(candidates,)`` of which less is better."""
    chosen, winner = int(np.argmin(early)), int(np.argmin(final))
    generator = np.random.default_rng(0)
    picks = generator.integers(len(names), size=(RESAMPLES, len(names)))
    leaders = picks[np.arange(RESAMPLES), np.argmin(early[picks], axis=1)]
    regrets = final[leaders] - final[picks].min(axis=1)
    low, high = np.quantile(regrets, (0.025, 0.975))
    return EarlyChoice(
        tau=kendall(early.tolist(), final.tolist()),
        rho=spearman(early.tolist(), final.tolist()),
        chosen=names[chosen],
        regret=float(final[chosen] - final[winner]),
        regret_ci95=(float(low), float(high)),
        winner_rank=1 + int((early < early[winner]).sum()),
    )


def _movers_share(rows: Sequence[LedgerRow]) -> float | None:
    known = [row.share for row in rows if row.how != "missing"]
    return next((share for share in known if share >= EARLY_SHARE), None)


def _movers(
    names: Sequence[str], early: np.ndarray, final: np.ndarray
) -> tuple[list[Mover], list[Mover]]:
    """Those that fell and those that rose, the furthest first, from losses ``(candidates, seeds)``.

    A move counts when the means make it and every seed alone moves the same way.
    """
    needed = max(MIN_PLACES, math.ceil(len(names) / 4))
    ranks = [_ranks(values.mean(axis=1)) for values in (early, final)]
    moves = ranks[1] - ranks[0]
    by_seed = np.array([_ranks(final[:, s]) - _ranks(early[:, s]) for s in range(early.shape[1])])
    is_steady = (np.sign(by_seed) == np.sign(moves)).all(axis=0)
    order = sorted(range(len(names)), key=lambda i: (-abs(moves[i]), names[i]))
    found = [
        (moves[i], Mover(name=names[i], early_rank=int(ranks[0][i]), final_rank=int(ranks[1][i])))
        for i in order
        if abs(moves[i]) >= needed and is_steady[i]
    ]
    return [m for move, m in found if move > 0], [m for move, m in found if move < 0]


def _ranks(values: np.ndarray) -> np.ndarray:
    """1 for the least; ties share the better rank."""
    return 1 + (values[None, :] < values[:, None]).sum(axis=1)
