"""A judge that trains nothing: losses from a table and a little luck of the seed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from made_results import COUNTS, made_evaluation
from tiny_ladder import INITIAL, tiny_config

from openevolve_unified.config.schema import LADDERS, ExecutionConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.records import Failure, Program

BASE = (1.30, 1.16, 1.12, 1.06)


class MadeJudge:
    """Stands in for ``Pipeline``: a source's level of loss is ``level(source)`` above ``BASE``.

    Args:
        level: nats that a program's losses lie above the initial program's; a string refuses it.
        noise: standard deviation of one loss, from program, size and seed.
    """

    def __init__(
        self,
        level: Callable[[str], float | str],
        seeds: Sequence[int] = (0,),
        noise: float = 0.001,
        asked: list[tuple[str, tuple[int, ...]]] | None = None,
    ):
        config = tiny_config(Path("-"), ExecutionConfig(), seeds=tuple(seeds))
        self.config = dataclasses.replace(config, ladder="quickstart")
        self.initial = Program(source=INITIAL, framework=config.framework)
        self.asked = [] if asked is None else asked
        self._level, self._noise = level, noise

    def evaluate(self, source):
        seeds = self.config.training.seeds
        self.asked.append((source, seeds))
        level = self._level(source)
        if isinstance(level, str):
            program = Program(source=source, framework=self.config.framework)
            return Failure(program=program, stage=level, reason="as it was made")
        baseline = () if source == INITIAL else self._losses(INITIAL, 0.0)
        return made_evaluation(
            self._losses(source, level), baseline, COUNTS, source, LADDERS["quickstart"]
        )

    def check(self, source):
        level = self._level(source)
        if isinstance(level, str):
            raise CandidateError(level, "as it was made")

    def _losses(self, source, level):
        return [
            {seed: loss + level + self._luck(source, place, seed) for seed in self._seeds}
            for place, loss in enumerate(BASE)
        ]

    @property
    def _seeds(self):
        return self.config.training.seeds

    def _luck(self, source, place, seed):
        shared = random.Random(f"{place} {seed}").gauss(0, 10 * self._noise)
        return shared + random.Random(f"{source} {place} {seed}").gauss(0, self._noise)
