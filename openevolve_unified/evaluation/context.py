"""The context: one experiment on a machine that it may share with others."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from openevolve_unified.candidate.tracing.tracer import Tracer
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.data import TokenData
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.runs.events import DataPrepared, Listener
from openevolve_unified.runs.kept_weights import KeptWeights
from openevolve_unified.store import Store


@dataclass(kw_only=True, eq=False)
class Context:
    """What the evaluation of an experiment's programs needs; it starts and ends nothing itself.

    Raises:
        ConfigError: the machine has other workers or another device than ``config`` asks for.
    """

    machine: Machine
    config: ScalingLawConfig
    base_dir: Path
    """What relative paths in ``config`` are relative to."""
    store: Store
    listener: Listener
    needs_full_isolation: bool
    """Refuse to trace programs that this machine cannot confine fully."""
    weights: KeptWeights | None = None
    """The claims on trained weights, where ``keep_weights`` asks for some."""
    until: float | None = None
    """A ``time.monotonic()`` value at which all evaluations must end; None: each has its own."""

    def __post_init__(self) -> None:
        self.machine.require_serves(self.config.execution)

    def deadline(self) -> float:
        """The ``time.monotonic()`` value at which an evaluation that starts now must end."""
        own = time.monotonic() + self.config.execution.deadline_s
        return own if self.until is None else min(own, self.until)

    def data(self) -> TokenData:
        """The tokenized corpus, prepared on first use."""
        return self.machine.data(
            self.config.data,
            self.base_dir,
            lambda text: self.listener(DataPrepared(message=text)),
            self.config.training.batch_size,
        )

    def tracer(self) -> Tracer:
        """The tracing child, started.

        Raises:
            ConfigError: it cannot be confined fully here, and that is not allowed.
        """
        tracer = self.machine.tracer()
        isolation = tracer.start()
        if self.needs_full_isolation and isolation.level != "full":
            raise ConfigError(
                f"this machine confines candidate code only in part: {isolation.summary}; "
                "--allow-degraded-isolation accepts the risk for programs of a language model"
            )
        return tracer
