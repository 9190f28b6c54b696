"""The selector: a newcomer gets one more seed at a time while it could be better than its rivals.

What it decides is ``judgement.selection``; here its questions become training, and its answers
scores with errors. It knows of a run only what the history held before the iteration at work, so a
resumed run decides alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.race import Hurdle
from openevolve_unified.evaluation.seeds import seeds_of
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.judgement.race import RaceRule
from openevolve_unified.judgement.replicates import (
    score_difference_spread,
    score_spread,
    scores_by_seed,
)
from openevolve_unified.judgement.selection import (
    SelectionRule,
    is_due,
    next_to_train,
    rivals_of,
)
from openevolve_unified.judgement.shrinkage import Baseline, Observed, shrink
from openevolve_unified.records import Evaluation, Failure, Program
from openevolve_unified.runs.events import Notice

Remeasured = Callable[[Evaluation], None]
"""Told of a rival that got one more seed."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A program that was tried before: its source and its score at each search seed it has."""

    source: str
    scores: Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class MeasuredBaseline:
    """What is known of the initial program's noise."""

    floor: NoiseFloor
    scores: Mapping[int, float]
    """By seed, of the measurement of the noise."""


class Selector:
    """Judges programs at as many seeds as it takes.

    Args:
        pipeline: with one deadline for all that is trained for a program; see ``bounded``.
        noise: without it every program is judged at the seeds of ``training.seeds`` alone.
        race: by which a newcomer that trails is stopped in its first training; None: never.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        noise: MeasuredBaseline | None,
        race: RaceRule | None = None,
    ):
        self._noise = noise
        self._race = race
        self._pipeline = pipeline
        self._config = pipeline.config
        self._search = seeds_of(pipeline.config).search
        self._evaluations: dict[str, Evaluation] = {}
        self._rule = None
        if noise is not None and len(self._search) > len(self._config.training.seeds):
            self._rule = SelectionRule(
                floor=score_difference_spread(noise.floor, self._config.fitness),
                max_seeds=len(self._search),
                false_rate=self._config.selection.false_rate,
                parents_per_seed=self._config.selection.parents_per_seed,
            )

    def judge_initial(self) -> Evaluation | Failure:
        """The initial program, at every search seed where its noise was measured there."""
        seeds = self._config.training.seeds
        if self._noise is not None:
            measured = [seed in self._noise.scores for seed in self._search]
            known = measured.index(False) if False in measured else len(measured)
            seeds = self._search[: max(known, len(seeds))]
        result = self._pipeline.evaluate(self._pipeline.initial.source, seeds)
        if isinstance(result, Failure):
            return result
        result = self._with_error(result)
        if self._noise is None:
            return result
        scores = {**self._noise.scores, **self._scores(result)}
        spread = score_spread(self._noise.floor, self._config.fitness)
        standing = Standing.of_baseline(result.score.by_seed, spread)
        scored = dataclasses.replace(
            result.score,
            stderr=standing.stderr,
            degrees_of_freedom=standing.degrees_of_freedom,
            # What candidates are shrunk to is all that is known of it.
            shrunk=sum(scores.values()) / len(scores),
            reliability=1.0,
        )
        return dataclasses.replace(result, score=scored)

    def judge(
        self,
        source: str,
        known: Mapping[str, Known],
        elite: Callable[[Evaluation], str | None],
        remeasured: Remeasured,
    ) -> Evaluation | Failure:
        """The verdict on a program, with its score, error and shrinkage.

        Args:
            known: candidates tried before by hash, the initial program not among them.
            elite: the hash of the elite of its cell, given its first evaluation; None where the
                cell is free. One that is not ``known`` stands for the initial program.
        """
        name = self._hash(source)
        seen = {other: dict(item.scores) for other, item in known.items()}
        num_first = max(len(self._config.training.seeds), len(seen.get(name, ())))
        hurdle = None if name in known else self._hurdle(known)
        first = self._measure(name, source, self._search[:num_first], hurdle)
        if isinstance(first, Failure) or self._rule is None:
            return first
        seen[name] = self._scores(first)
        for rival in self._rivals(name, elite(first), seen):
            while (behind := self._behind(name, rival, seen)) is not None:
                text = source if behind == name else known[behind].source
                seeds = self._search[: len(seen[behind]) + 1]
                result = self._measure(behind, text, seeds)
                if isinstance(result, Failure):
                    if behind == name and not result.is_machine_trouble:
                        return result
                    self._say(f"one more seed of {behind} was not measured: {result.reason}")
                    break
                seen[behind] = self._scores(result)
                if behind != name:
                    remeasured(self._shrunk(result, behind, seen))
        return self._shrunk(self._evaluations[name], name, seen)

    def is_due(self, source: str, times_parent: int, known: Mapping[str, Known]) -> bool:
        """Whether a program was a parent too often for the seeds it has; see ``selection.is_due``.

        Args:
            times_parent: this time included.
        """
        name = self._hash(source)
        seen = {other: item.scores for other, item in known.items() if other == name}
        if self._rule is None or not seen:
            return False
        (parent,) = self._population(seen)
        return is_due(parent, times_parent, self._rule)

    def measure_again(self, source: str, known: Mapping[str, Known]) -> Evaluation | None:
        """A program that is known, at one more seed; None when it has them all, or cannot be."""
        name = self._hash(source)
        seen = {other: dict(item.scores) for other, item in known.items()}
        num_known = len(seen.get(name, ()))
        if self._rule is None or not 0 < num_known < len(self._search):
            return None
        result = self._measure(name, source, self._search[: num_known + 1])
        if isinstance(result, Failure):
            self._say(f"one more seed of {name} was not measured: {result.reason}")
            return None
        seen[name] = self._scores(result)
        return self._shrunk(result, name, seen)

    def _rivals(
        self, name: str, elite: str | None, seen: Mapping[str, Mapping[int, float]]
    ) -> tuple[str, ...]:
        assert self._noise is not None
        population = self._population(seen)
        spread = score_spread(self._noise.floor, self._config.fitness)
        return rivals_of(name, elite, population, self._baseline(population), spread)

    def _behind(self, name: str, rival: str, seen: Mapping[str, Mapping[int, float]]) -> str | None:
        assert self._rule is not None
        population = self._population(seen)
        return next_to_train(name, rival, population, self._baseline(population), self._rule)

    def _hurdle(self, known: Mapping[str, Known]) -> Hurdle | None:
        """What the best so far had reached; its records, and those of the others, are stored."""
        if self._race is None:
            return None
        seeds = self._config.training.seeds
        sources = [self._pipeline.initial.source, *(item.source for item in known.values())]
        found = [self._pipeline.evaluate(source, seeds) for source in sources]
        programs = [self._with_error(one) for one in found if isinstance(one, Evaluation)]
        return Hurdle.of(self._race, programs, self._config) if programs else None

    def _measure(
        self, name: str, source: str, seeds: Sequence[int], hurdle: Hurdle | None = None
    ) -> Evaluation | Failure:
        result = self._pipeline.evaluate(source, seeds, hurdle)
        if isinstance(result, Failure):
            return result
        self._evaluations[name] = self._with_error(result)
        return self._evaluations[name]

    def _with_error(self, evaluation: Evaluation) -> Evaluation:
        by_seed = self._scores(evaluation)
        spread = score_spread(self._noise.floor, self._config.fitness) if self._noise else None
        standing = Standing.of_scores(list(by_seed.values()), spread)
        return dataclasses.replace(
            evaluation,
            score=dataclasses.replace(
                evaluation.score,
                by_seed=tuple(by_seed.values()),
                mean=standing.value,
                stderr=standing.stderr,
                degrees_of_freedom=standing.degrees_of_freedom,
            ),
        )

    def _shrunk(
        self, evaluation: Evaluation, name: str, seen: Mapping[str, Mapping[int, float]]
    ) -> Evaluation:
        assert self._rule is not None
        population = self._population(seen)
        found = shrink(population, self._baseline(population), self._rule.floor)
        (own,) = [item for item in found if item.name == name]
        scored = dataclasses.replace(
            evaluation.score, shrunk=own.score, reliability=own.reliability
        )
        return dataclasses.replace(evaluation, score=scored)

    def _population(self, seen: Mapping[str, Mapping[int, float]]) -> list[Observed]:
        """Everyone's scores at the first search seeds, as far as they go without a gap."""
        found = []
        for name, scores in seen.items():
            own = []
            for seed in self._search:
                if seed not in scores:
                    break
                own.append(scores[seed])
            if own:
                found.append(Observed(name=name, scores=tuple(own)))
        return found

    def _baseline(self, population: Sequence[Observed]) -> Baseline:
        """The initial program at every search seed that one of them has, and at what was measured.

        Raises:
            ConfigError: it diverges at one of these seeds.
        """
        assert self._noise is not None
        measured = dict(self._noise.scores)
        num_needed = max((item.num_seeds for item in population), default=1)
        needed = self._search[:num_needed]
        if any(seed not in measured for seed in needed):
            result = self._pipeline.evaluate(self._pipeline.initial.source, needed)
            if isinstance(result, Failure):
                raise ConfigError(f"scaling_law.initial_program: {result.stage}: {result.reason}")
            measured |= self._scores(result)
        search = []
        for seed in self._search:
            if seed not in measured:
                break
            search.append(seed)
        return Baseline(
            search=tuple(measured[seed] for seed in search),
            further=tuple(value for seed, value in measured.items() if seed not in search),
        )

    def _scores(self, evaluation: Evaluation) -> dict[int, float]:
        return scores_by_seed(evaluation.sizes, evaluation.baseline, self._config.fitness)

    def _hash(self, source: str) -> str:
        program = Program(source=source, framework=self._config.framework)
        return program.source_hash[:12]

    def _say(self, message: str) -> None:
        self._pipeline.context.listener(Notice(message=message))
