"""The section ``scaling_law.validation``: how a winner is put to the test; see ``validation``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from openevolve_unified.config.bounds import require

MIN_VALIDATION_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What the tuning of either arm may choose; the same for both."""

    learning_rate: tuple[float, float] = (3e-4, 6e-3)
    """From, to; even in the logarithm."""
    warmup_steps: tuple[int, int] = (100, 3_000)
    weight_decay: tuple[float, float] = (0.0, 0.1)
    batch_sizes: tuple[int, ...] = (64,)
    """Sequences per step; every step counts the same, whatever its batch."""

    def __post_init__(self) -> None:
        for name, least in (("learning_rate", 0.0), ("warmup_steps", 0), ("weight_decay", 0.0)):
            low, high = getattr(self, name)
            require(
                math.isfinite(high) and least <= low <= high,
                name,
                [low, high],
                f"the lowest and the highest value, {least:g} or more",
            )
        require(self.learning_rate[0] > 0, "learning_rate", list(self.learning_rate), "above 0")
        require(
            len(set(self.batch_sizes)) == len(self.batch_sizes) > 0 and min(self.batch_sizes) >= 1,
            "batch_sizes",
            list(self.batch_sizes),
            "distinct numbers, 1 or more",
        )


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """How the training settings of both arms are found before they are compared."""

    mode: Literal["equal", "shared", "none"] = "equal"
    """``equal``: each arm by a search of its own, of the same space and budget; ``shared``: the
    standard arm's serve both, which is reported as a handicap of the evolved arm; ``none``: both
    train with ``scaling_law.training`` as it is."""
    num_trials: int = 12
    """Of each arm; every trial trains all its steps, and none is cut short."""
    num_finalists: int = 3
    """Of each arm: so many of the trials with the lowest losses, if there are as many, train again
    at two fresh seeds, and the lowest mean of the three losses is chosen. The best of many single
    losses is partly luck, which all pairs share and no seed averages. 1: the lowest single loss."""
    training_steps: int | None = None
    """Of a trial; None: as many as in the comparison."""
    size: Literal["smallest", "largest"] = "largest"
    """Of the ladder, that trials train."""
    space: SearchSpace = field(default_factory=SearchSpace)

    def __post_init__(self) -> None:
        require(self.num_trials >= 2, "num_trials", self.num_trials, "2 or more")
        require(self.num_finalists >= 1, "num_finalists", self.num_finalists, "1 or more")
        require(
            self.training_steps is None or self.training_steps >= 1,
            "training_steps",
            self.training_steps,
            "1 or more, or nothing",
        )


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """A winner against the initial program on seeds that had no part in finding it."""

    num_seeds: int = 10
    """Pairs: each seed trains both programs at every size."""
    seeds: tuple[int, ...] = ()
    """Instead of those that follow from the search's; none of them may have been used before."""
    effect: float = 0.02
    """Relative gain in final loss that the plan's power is computed for."""
    power: float = 0.8
    """Chance with which that effect must be found; a plan with less is refused."""
    tuning: TuningConfig = field(default_factory=TuningConfig)
    num_validations: int = 1
    """That answer one question together, such as the three frameworks: all p are corrected for
    them."""
    alpha: float | None = None
    """This and the following: criteria of success; None: as shipped, see ``judgement.criteria``."""
    min_relative_gain: float | None = None
    min_share_of_seeds: float | None = None
    strong_effect: float | None = None
    max_operations_ratio: float | None = None
    equivalence_margin: float | None = None

    def __post_init__(self) -> None:
        for name, number in (("num_seeds", self.num_seeds), ("seeds", len(self.seeds))):
            require(
                number >= MIN_VALIDATION_SEEDS or (name == "seeds" and not number),
                name,
                number if name == "num_seeds" else list(self.seeds),
                f"{MIN_VALIDATION_SEEDS} or more: fewer pairs decide nothing",
            )
        require(
            len(set(self.seeds)) == len(self.seeds), "seeds", list(self.seeds), "distinct seeds"
        )
        require(
            all(0 <= seed < 2**31 for seed in self.seeds),
            "seeds",
            list(self.seeds),
            "0 to 2147483647",
        )
        require(0 < self.effect < 1, "effect", self.effect, "between 0 and 1")
        require(0.5 <= self.power < 1, "power", self.power, "from 0.5 to below 1")
        require(self.num_validations >= 1, "num_validations", self.num_validations, "1 or more")
