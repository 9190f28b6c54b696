"""Settings of the race over horizons: whether candidates that trail are stopped early."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openevolve_unified.config.bounds import require


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingConfig:
    """A race needs a ledger that supports it; see ``judgement.race``. Off without one.

    It is for the candidates of a run of ``openevolve``: whatever else is trained (baseline, noise,
    confirmation, validation, ``evaluate``, OpenEvolve's own command) is trained to the end.
    """

    ledger: str | None = None
    """What ``openevolve-unified horizon --output FILE`` wrote for this configuration; relative to
    the config file."""
    at: float = 0.25
    """Share of the training steps where a candidate is looked at; one of the ledger's."""
    regret: float = 0.01
    """How much worse than without a race a run may end, in 95% of runs; in units of the fitness."""

    def __post_init__(self) -> None:
        names_a_file = self.ledger is None or bool(self.ledger.strip())
        require(names_a_file, "ledger", self.ledger, "a file, or null for no race")
        require(0 < self.at < 1, "at", self.at, "more than 0 and less than 1")
        is_bound = self.regret > 0 and math.isfinite(self.regret)
        require(is_bound, "regret", self.regret, "more than 0 and finite")

    def require_fits(self, training_steps: int, eval_frequency: int, backend: str) -> None:
        """Refuse a race that would look where no learning curve has a point, or away from home.

        Raises:
            ConfigError: it does.
        """
        if self.ledger is None:
            return
        step = self.at * training_steps
        require(
            abs(step / eval_frequency - round(step / eval_frequency)) < 1e-9,
            "early_stopping.at",
            f"{self.at:g}, which is step {step:g}",
            f"a share whose step is a multiple of training.eval_frequency ({eval_frequency:,})",
        )
        require(
            backend == "local",
            "early_stopping.ledger",
            f"a race with execution.backend {backend}",
            "backend local: a stopped training waits as a checkpoint on its own machine",
        )
