"""The section ``scaling_law.logging``: where else a run's numbers go; it decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openevolve_unified.config.bounds import require


@dataclass(frozen=True, kw_only=True)
class WandbConfig:
    """Weights & Biases; its key is taken from ``WANDB_API_KEY`` or ``~/.netrc`` alone."""

    project: str
    entity: str | None = None
    mode: Literal["offline", "online"] = "offline"
    """``offline``: files in the run's folder, for ``wandb sync``."""
    api_key: str | None = None
    """Never: a key does not belong into a file."""

    def __post_init__(self) -> None:
        require(
            self.api_key is None,
            "api_key",
            "a key",
            "none in a file: set WANDB_API_KEY in the environment",
        )
        require(bool(self.project.strip()), "project", self.project, "a name")


@dataclass(frozen=True, kw_only=True)
class LoggingConfig:
    """Losses, health, scores and verdicts, as others' viewers read them; off unless asked for."""

    tensorboard: bool = False
    """Event files in ``tensorboard/`` of the run's folder."""
    wandb: WandbConfig | None = None
