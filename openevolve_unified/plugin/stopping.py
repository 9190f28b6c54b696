"""Stopping rules: when a run should end before its iterations do, and what to say then."""

from __future__ import annotations

from openevolve_unified.config.schema import StoppingConfig
from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.judgement.diversity import Diversity, converged

MIN_TRAINED_FOR_FRACTION = 6
"""A share of fewer candidates than this says little."""


class StoppingRules:
    """Counts outcomes; each ``observe`` method returns the reason to stop, or None.

    Args:
        best: the standing of the best program so far.
    """

    def __init__(self, rules: StoppingConfig, best: Standing):
        self._rules = rules
        self._best = best
        self._without_improvement = 0
        self._invalid_in_a_row = 0
        self._backend_failures_in_a_row = 0
        self._num_trained = 0
        self._num_nonfinite = 0

    def renew_best(self, best: Standing) -> None:
        """More seeds have changed what is known of the best program so far."""
        self._best = best

    def observe_trained(self, candidate: Standing) -> str | None:
        """A candidate was trained and scored; it is an improvement if it is the best so far."""
        self._invalid_in_a_row = 0
        self._backend_failures_in_a_row = 0
        self._num_trained += 1
        self._without_improvement += 1
        if compare(candidate, self._best).is_better:
            self._best = candidate
            self._without_improvement = 0
        return self._no_improvement()

    def observe_rejection(self, stage: str) -> str | None:
        """A candidate was refused, or an answer held no usable program."""
        self._backend_failures_in_a_row = 0
        self._without_improvement += 1
        if stage == "diverged":
            self._invalid_in_a_row = 0
            self._num_trained += 1
            self._num_nonfinite += 1
            return self._too_many_nonfinite() or self._no_improvement()
        self._invalid_in_a_row += 1
        limit = self._rules.max_invalid_in_a_row
        if limit and self._invalid_in_a_row >= limit:
            return (
                f"{limit} invalid candidates in a row (scaling_law.stopping.max_invalid_in_a_row)"
            )
        return self._no_improvement()

    @property
    def asks_for_convergence(self) -> bool:
        """Whether ``observe_diversity`` may ever stop the run."""
        return self._rules.convergence_proposals > 0

    def observe_diversity(self, found: Diversity) -> str | None:
        """A program was judged; see ``judgement.diversity.converged``."""
        limit = self._rules.convergence_proposals
        reason = converged(found, limit) if limit else None
        if reason is None:
            return None
        return f"the search has converged: {reason} (scaling_law.stopping.convergence_proposals)"

    def observe_backend_failure(self, message: str) -> str | None:
        """A call to the language model failed."""
        self._backend_failures_in_a_row += 1
        limit = self._rules.max_backend_failures
        if limit and self._backend_failures_in_a_row >= limit:
            return (
                f"the language model failed {limit} times in a row "
                f"(scaling_law.stopping.max_backend_failures); the last time: {message}"
            )
        return None

    def _no_improvement(self) -> str | None:
        limit = self._rules.patience_iterations
        if limit and self._without_improvement >= limit:
            return (
                f"no improvement in {limit} iterations (scaling_law.stopping.patience_iterations)"
            )
        return None

    def _too_many_nonfinite(self) -> str | None:
        limit = self._rules.max_nonfinite_fraction
        if not limit or self._num_trained < MIN_TRAINED_FOR_FRACTION:
            return None
        if self._num_nonfinite > limit * self._num_trained:
            return (
                f"{self._num_nonfinite} of {self._num_trained} trained candidates diverged "
                "(scaling_law.stopping.max_nonfinite_fraction)"
            )
        return None
