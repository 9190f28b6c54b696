"""Health as it is recorded: what was measured of a training; ``judgement.health`` judges it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class HealthPoint:
    """What was measured of a training after ``step`` steps; see ``training.health``.

    None: not measured at this step, or there is nothing of this kind in the program.
    """

    step: int
    train_loss_nats: float
    """Mean over the steps since the last point."""
    loss_sd_nats: float
    """Over the same steps."""
    gradient_norm: float
    """Global L2 norm before it is clipped."""
    own_gradient_share: float | None
    """Root mean square of the gradients of the mechanism's own parameters, over that of all."""
    input_gradient_share: float
    """The same of the projections to queries, keys and values."""
    update_to_weight: float
    """L2 norm of Adam's update over that of the parameters."""
    vanished_gradients: float
    """Share of the weights in matrices whose mean square gradient, as Adam keeps it, has a root
    below Adam's epsilon: they hardly move."""
    output_variance: float | None = None
    """Of the mechanism's output across the sequences of a batch, over its mean square, 0 to about
    1; the least of the layers."""
    largest_coefficient: float | None = None
    """Largest magnitude of what the mechanism returned."""
    coefficient_entropy: float | None = None
    """Of the rows of coefficients, over that of equal ones, 0 to 1; the least of the layers."""
    log_z: float | None = None
    """Mean of the logarithm of the output's normaliser, at the last position."""


@dataclass(frozen=True, kw_only=True)
class LossTrend:
    """What of the losses so far a spike, and the next point, are judged by."""

    level: float = 0.0
    slope: float = 0.0
    """Holt's linear smoothing: the next loss is expected at ``level + slope``."""
    variance: float = 0.0
    """Exponentially weighted, of what the losses differ from what was expected."""
    num_steps: int = 0
    """Losses seen."""
    total: float = 0.0
    squares: float = 0.0
    count: int = 0
    """Sum, sum of squares and number of the losses since the last point."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """How a training went, measured on the way; nothing of it is part of a score."""

    points: tuple[HealthPoint, ...] = ()
    spikes: tuple[int, ...] = ()
    """Steps whose loss stood far above its trend, the newest ones only."""
    num_spikes: int = 0
    trend: LossTrend = field(default_factory=LossTrend)
