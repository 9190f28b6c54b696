"""Simulated evolutions: candidates of known gain through the real selection and confirmation.

What is simulated is the ladder's losses and the proposer (candidates in random cells, parents drawn
from the elites); every decision is ``judgement``'s own, by the functions that a run asks. It says
how often a run with these numbers of seeds claims an improvement that is none, finds one that is,
and what it costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from openevolve_unified.calibration.simulation import SimulatedLadder
from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.judgement.confirmation import Confirmation, confirm
from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.noise import measure_noise
from openevolve_unified.judgement.replicates import weights_of
from openevolve_unified.judgement.seeds import seed_plan
from openevolve_unified.judgement.selection import (
    SelectionRule,
    best_so_far,
    is_due,
    next_to_train,
    rivals_of,
    settled_best,
)
from openevolve_unified.judgement.shrinkage import Baseline, Observed

NUM_CELLS = 12


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How many seeds a run spends on what."""

    num_noise: int
    max_seeds: int
    num_confirmation: int
    has_twin: bool = True
    """Whether the noise is measured on the rounding twin too."""
    fitness: FitnessConfig = field(default_factory=FitnessConfig)
    """What is scored; its guards are not simulated."""


@dataclass(frozen=True, kw_only=True)
class SimulatedRun:
    """How one run ended."""

    winner: int | None
    """Index of the candidate that went to the confirmation; None when none stood out."""
    confirmation: Confirmation | None
    num_trained: int
    """Ladders trained for candidates, the confirmation included; at least one per candidate."""

    @property
    def is_improved(self) -> bool:
        return self.confirmation is not None and self.confirmation.verdict == "improved"


def simulate_run(
    ladder: SimulatedLadder,
    gains: np.ndarray,
    settings: RunSettings,
    random: np.random.Generator,
) -> SimulatedRun:
    """One run over candidates in the order given.

    Args:
        gains: ``(candidates, sizes)``, nats by which each is truly below the baseline.
    """
    plan = seed_plan(
        [0],
        max_seeds=settings.max_seeds,
        num_confirmation=settings.num_confirmation,
        num_validation=0,
        num_noise=settings.num_noise,
    )
    seeds = list(dict.fromkeys((*plan.search, *plan.confirmation, *plan.noise)))
    column = {seed: index for index, seed in enumerate(seeds)}
    nothing = np.zeros((2, gains.shape[1]))
    losses = ladder.losses(random, len(seeds), np.concatenate([nothing, gains]))
    noise = [column[seed] for seed in plan.noise]
    twin = losses[1, noise] if settings.has_twin else None
    floor = measure_noise(ladder.num_params, losses[0, noise], twin)
    weights = weights_of(settings.fitness, ladder.num_params)
    scores = losses @ weights
    rule = SelectionRule(floor=floor.of_difference(weights), max_seeds=settings.max_seeds)
    of_baseline, of_candidates = scores[0], scores[2:]
    search = [column[seed] for seed in plan.search]
    further = [column[seed] for seed in plan.noise if seed not in plan.search]
    baseline = Baseline(
        search=tuple(of_baseline[search].tolist()), further=tuple(of_baseline[further].tolist())
    )
    evolution = _Evolution(of_candidates[:, search], baseline, rule, floor.of(weights))
    for index in range(len(gains)):
        evolution.introduce(str(index), int(random.integers(NUM_CELLS)), random)
    won = evolution.settle()
    if won.name == baseline.as_observed.name:
        return SimulatedRun(winner=None, confirmation=None, num_trained=evolution.num_trained)
    fresh = [column[seed] for seed in plan.confirmation]
    confirmation = confirm(
        of_candidates[int(won.name), fresh].tolist(),
        of_baseline[fresh].tolist(),
        rule.floor,
        won.mean - baseline.as_observed.mean,
    )
    return SimulatedRun(
        winner=int(won.name),
        confirmation=confirmation,
        num_trained=evolution.num_trained + len(fresh),
    )


class _Evolution:
    """The state between decisions: scores seen so far, elites, parents."""

    def __init__(
        self, scores: np.ndarray, baseline: Baseline, rule: SelectionRule, spread: Spread
    ) -> None:
        self._scores, self._baseline, self._rule = scores, baseline, rule
        self._spread = spread
        self._seen: dict[str, Observed] = {}
        self._elites: dict[int, str] = {}
        self._times_parent: dict[str, int] = {}
        self.num_trained = 0

    def introduce(self, name: str, cell: int, random: np.random.Generator) -> None:
        self._choose_parent(random)
        self._train(name)
        elite = self._elites.get(cell)
        rivals = rivals_of(name, elite, self._population, self._baseline, self._spread)
        for rival in rivals:
            while behind := next_to_train(
                name, rival, self._population, self._baseline, self._rule
            ):
                self._train(behind)
        if elite is None or compare(self._standing(name), self._standing(elite)).is_better:
            self._elites[cell] = name

    def settle(self) -> Observed:
        """The best once it has all its seeds."""
        return settled_best(self._best, self._measure_again)

    @property
    def _population(self) -> list[Observed]:
        return list(self._seen.values())

    def _best(self) -> Observed:
        return best_so_far(self._population, self._baseline, self._spread)

    def _standing(self, name: str) -> Standing:
        return Standing.of_scores(self._seen[name].scores, self._spread)

    def _measure_again(self, observed: Observed) -> bool:
        if observed.name not in self._seen or observed.num_seeds >= self._rule.max_seeds:
            return False
        self._train(observed.name)
        return True

    def _choose_parent(self, random: np.random.Generator) -> None:
        if not self._elites:
            return
        names = list(self._elites.values())
        parent = names[int(random.integers(len(names)))]
        if random.random() < 0.5:  # half of the parents are the best, as where OpenEvolve exploits
            parent = self._best().name
        self._times_parent[parent] = self._times_parent.get(parent, 0) + 1
        observed = self._seen.get(parent)
        if observed is not None and is_due(observed, self._times_parent[parent], self._rule):
            self._train(parent)

    def _train(self, name: str) -> None:
        known = self._seen[name].num_seeds if name in self._seen else 0
        row = self._scores[int(name), : known + 1]
        self._seen[name] = Observed(name=name, scores=tuple(row.tolist()))
        self.num_trained += 1
