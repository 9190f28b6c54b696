"""The section ``scaling_law.selection``: a candidate's number of seeds, and its confirmation."""

from __future__ import annotations

from dataclasses import dataclass

from openevolve_unified.config.bounds import require


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """Who is trained at more than one seed; see ``judgement.selection``.

    Every program is traced and checked once for all seeds that it may be trained with, so a
    program cannot be another one at a later seed.
    """

    max_seeds: int = 3
    """Search seeds of one program, those of ``training.seeds`` among them: every candidate is
    trained at these, and one that could be better than its rivals gets more, one by one. 1: none
    does. Without a noise floor none does either."""
    false_rate: float = 0.05
    """Chance that one comparison calls an equal program better, at whatever number of seeds."""
    parents_per_seed: int = 2
    """A program that was a parent so often for each seed it has gets one more first, up to
    ``max_seeds``."""
    num_confirmation_seeds: int = 2
    """At the end of a run the winner and the initial program are trained at so many seeds that had
    no part in choosing it. 0: nothing is confirmed, so nothing is called improved."""

    def __post_init__(self) -> None:
        for name in ("max_seeds", "parents_per_seed"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        require(0 < self.false_rate < 1, "false_rate", self.false_rate, "more than 0, less than 1")
        require(
            self.num_confirmation_seeds >= 0,
            "num_confirmation_seeds",
            self.num_confirmation_seeds,
            "0 or more",
        )
