"""The confirmation of a run's winner: it and the initial program at seeds that chose nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.seeds import confirmation_seeds
from openevolve_unified.judgement.confirmation import confirm
from openevolve_unified.judgement.estimates import Estimate, difference
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.judgement.replicates import score_difference_spread, scores_by_seed
from openevolve_unified.records import Failure

Verdict = Literal["improved", "not told apart", "worse", "unknown", "refused"]


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """What fresh seeds say of a winner; gains are in score, over the initial program."""

    program: str
    """The first digits of its hash."""
    verdict: Verdict
    """``improved``: the whole 95% interval lies above zero; ``unknown``: one seed and no noise
    floor; ``refused``: the winner does not train soundly at a fresh seed."""
    seeds: tuple[int, ...]
    selected_gain: float
    """As the search saw it, before it was shrunk."""
    selected_stderr: float | None = None
    """Over seeds; None: unknown, as from one seed without a noise floor. It holds for a program
    that nobody chose: the best of many is too high by more."""
    selected_degrees_of_freedom: float | None = None
    gain: Estimate | None = None
    """At the fresh seeds; None for a refused one."""
    gap: float | None = None
    """Selected less confirmed: the winner's luck."""
    winner_scores: tuple[float, ...] = ()
    initial_scores: tuple[float, ...] = ()
    reason: str = ""
    """Why it was refused."""
    horizon: str = ""

    def __str__(self) -> str:
        """One line for people."""
        selected = f"selected {self.selected.short}"
        if self.gain is None or self.gap is None:
            return f"refused at a fresh seed: {self.reason}; {selected}"
        number = len(self.seeds)
        return (
            f"{self.verdict}: score {self.gain} at {number} fresh seed{'s' if number > 1 else ''}; "
            f"{selected}, gap {self.gap_estimate.short}"
        )

    @property
    def selected(self) -> Estimate:
        """The selected gain with its error."""
        return Estimate(
            value=self.selected_gain,
            stderr=self.selected_stderr,
            degrees_of_freedom=self.selected_degrees_of_freedom,
        )

    @property
    def gap_estimate(self) -> Estimate:
        """The gap with its error: of two gains at disjoint seeds."""
        return difference(self.selected, self.gain or Estimate(value=0.0))


def confirm_winner(
    pipeline: Pipeline, source: str, selected: Estimate, floor: NoiseFloor | None
) -> Confirmed | None:
    """Train the winner and the initial program at the confirmation seeds, and compare them.

    Every model is in the store as it ends, so a confirmation that was killed continues.

    Args:
        selected: the winner's gain as the search saw it.

    Returns:
        None when no confirmation is configured.

    Raises:
        ConfigError: the initial program is refused at one of these seeds.
        MachineError: the machine could not finish; the same call continues.
    """
    config = pipeline.config
    seeds = confirmation_seeds(config)
    if not seeds:
        return None
    for number in range(1, len(seeds) + 1):  # one by one: each has a deadline of its own
        result = pipeline.evaluate(source, seeds[:number])
        if isinstance(result, Failure):
            break
    program = result.program.source_hash[:12]
    if isinstance(result, Failure):
        if result.stage == "set-up":
            raise ConfigError(result.reason)
        if result.is_machine_trouble:
            raise MachineError(f"the winner was not confirmed: {result.reason}", result.stage)
        return Confirmed(
            program=program,
            verdict="refused",
            seeds=seeds,
            selected_gain=selected.value,
            selected_stderr=selected.stderr,
            selected_degrees_of_freedom=selected.degrees_of_freedom,
            reason=f"{result.stage}: {result.reason}",
            horizon=result.horizon,
        )
    winner = tuple(scores_by_seed(result.sizes, result.baseline, config.fitness).values())
    initial = tuple(scores_by_seed(result.baseline, (), config.fitness).values())
    spread = score_difference_spread(floor, config.fitness) if floor else None
    found = confirm(winner, initial, spread, selected.value)
    return Confirmed(
        program=program,
        verdict=found.verdict,
        seeds=seeds,
        selected_gain=selected.value,
        selected_stderr=selected.stderr,
        selected_degrees_of_freedom=selected.degrees_of_freedom,
        gain=found.confirmed_gain,
        gap=found.gap,
        winner_scores=winner,
        initial_scores=initial,
        horizon=result.horizon,
    )
