"""Training one job from its initial values, or its checkpoint, to its record."""

from __future__ import annotations

import dataclasses
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
import torch.nn as nn

from openevolve_unified.config.schema import CURVE_SEQUENCES, StepKind
from openevolve_unified.diagnostics import Diagnostics
from openevolve_unified.health import Health
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.records import QUICK_STEP, CurvePoint, TrainJob, TrainRun
from openevolve_unified.training.averaging import WeightAverage
from openevolve_unified.training.batches import TokenSource, TrainBatches
from openevolve_unified.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from openevolve_unified.training.divergence import DivergedError, LossMonitor
from openevolve_unified.training.energy import Counter, EnergyMeter
from openevolve_unified.training.evaluation import finite, mean_loss_nats
from openevolve_unified.training.fastest import choose_step
from openevolve_unified.training.health import HealthMeter
from openevolve_unified.training.machine import training_settings
from openevolve_unified.training.progress import Progress, ProgressReporter, Stopwatch
from openevolve_unified.training.step import TrainStep, build_model

Status: TypeAlias = Literal["finished", "paused", "diverged", "rejected"]
CHECKPOINT_INTERVAL_S = 30.0
_log = logging.getLogger(__name__)


class Reason(Protocol):
    """Why a training cannot recover."""

    @property
    def words(self) -> str: ...


Hopeless: TypeAlias = Callable[[Health], Reason | None]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found out about trained weights; fields as in ``TrainRun``."""

    final_loss_nats: float | None
    """On the whole validation split; None when it is not finite, and nothing else counts then."""
    parameter_changes: dict[str, float] = field(default_factory=dict)
    certificate: dict[str, Any] = field(default_factory=dict)
    rejection: str | None = None
    diagnostics: Diagnostics | None = None


def train(
    job: TrainJob,
    mechanism: Callable[[int], nn.Module],
    data: TokenSource,
    device: torch.device,
    progress: Callable[[Progress], None],
    checkpoint_path: Path | None,
    read_fingerprint: Callable[[Transformer], str],
    checkpoint_interval_s: float = CHECKPOINT_INTERVAL_S,
    step_kind: StepKind = "auto",
    inspect: Callable[[Transformer], Findings] | None = None,
    hopeless: Hopeless = lambda health: None,
    pause_at: int | None = None,
    energy: Counter | None = None,
) -> TrainRun:
    """Train ``job`` and return its record; a model that diverges is a record too.

    On a CPU in float32 the same job gives the same bits, also when it was interrupted and continued
    from its checkpoint.

    Args:
        mechanism: layer index to the module that is trained, with its own initial values.
        data: the splits of the job's corpus.
        progress: called now and then; what it raises ends the training.
        checkpoint_path: where the state is kept meanwhile; the caller removes it once the record
            is safe. None means nowhere.
        read_fingerprint: evaluated on the model after its training, as evidence of what it was.
        checkpoint_interval_s: least time between checkpoints.
        step_kind: which form of the step, see ``choose_step``.
        inspect: called once with the model after its last step, to find at least its loss; its time
            counts as training. None: the loss alone is measured.
        hopeless: why a training with this health cannot recover, if so: it is stopped as diverged.
        pause_at: stop after this step, or at once where more are done, and leave a checkpoint from
            which the same job goes on; its record is ``paused``. It needs ``checkpoint_path``.
        energy: of the device, as it tells; None: it does not.

    Raises:
        ConfigError: the checkpoint cannot be written.
    """
    with training_settings(device):
        run = _Run(job, mechanism, data, device, progress, hopeless, energy)
        if checkpoint_path is not None:
            run.resume(checkpoint_path)
        try:
            run.advance(checkpoint_path, checkpoint_interval_s, step_kind, pause_at)
            if run.step < job.training.training_steps:
                return run.record("paused", run.step, read_fingerprint(run.model))
            findings = (inspect or run.loss_alone)(run.model)
            run.end(findings.final_loss_nats)
            run.measure_besides()
        except DivergedError as error:
            record = run.record("diverged", error.step, read_fingerprint(run.model))
            return dataclasses.replace(record, rejection=error.reason)
        status: Status = "finished" if findings.rejection is None else "rejected"
        record = run.record(status, run.step, read_fingerprint(run.model))
        return dataclasses.replace(record, **vars(findings))


class _Run:
    """The state of one job while it trains."""

    def __init__(
        self,
        job: TrainJob,
        mechanism: Callable[[int], nn.Module],
        data: TokenSource,
        device: torch.device,
        progress: Callable[[Progress], None],
        hopeless: Hopeless,
        energy: Counter | None,
    ):
        training = job.training
        self.job = job
        self.step = 0
        self.model = build_model(job, mechanism, device)
        self._device = device
        self._train_step = TrainStep(job, self.model, device)
        self._batches = TrainBatches(data.train, training.batch_size, job.seed, device)
        self._validation = data.validation
        self._test = data.test
        self._average = WeightAverage(training, self._train_step.flat.values)
        self._test_loss: float | None = None
        self._averaged_loss: float | None = None
        self._hopeless = hopeless
        self._meter = HealthMeter(job, self._train_step)
        self._monitor = LossMonitor(device, listener=self._meter.take_loss)
        self._curve: list[CurvePoint] = []
        self._watch = Stopwatch()
        self._energy = EnergyMeter(energy)
        self._step_kind = "none"  # a checkpoint may have all steps
        self._reporter = ProgressReporter(training.training_steps, progress)

    def resume(self, path: Path) -> None:
        """Continue from the checkpoint at ``path`` if it is there and fits."""
        checkpoint = load_checkpoint(path, self.job.key)
        if checkpoint is None:
            return
        try:
            self._average.restore(checkpoint.tensors, checkpoint.step)
            self._train_step.restore(checkpoint.tensors, checkpoint.step)
        except (KeyError, ValueError) as error:
            _log.warning("ignoring the checkpoint %s and starting from step 0: %s", path, error)
            return
        self.step = checkpoint.step
        self._curve = list(checkpoint.curve)
        self._meter = HealthMeter(self.job, self._train_step, checkpoint.health)
        self._monitor = LossMonitor(
            self._device, checkpoint.loss_total, checkpoint.loss_count, self._meter.take_loss
        )
        self._watch = Stopwatch(checkpoint.train_time_s, checkpoint.step_time_s)
        self._energy = self._energy.resumed(checkpoint.energy_joules)

    def advance(
        self,
        path: Path | None,
        checkpoint_interval_s: float,
        step_kind: StepKind,
        pause_at: int | None = None,
    ) -> None:
        """Do the steps that are left, or those up to ``pause_at``; see ``train``.

        Raises:
            DivergedError: a loss was not finite, or the training cannot recover.
        """
        training = self.job.training
        end = training.training_steps if pause_at is None else pause_at
        num_left = training.training_steps - self.step
        is_behind = self.step < end
        if is_behind:
            tokens = self._batches.at(self.step)
            self._step_kind, run_step = choose_step(
                step_kind, self._train_step, tokens, self.step, num_left
            )
        saved = time.monotonic()
        self._watch.start_steps()
        while self.step < end:
            tokens = self._batches.at(self.step)
            loss = run_step(tokens, self.step)
            self.step += 1
            self._monitor.add(loss, self.step)
            if self._meter.is_due(self.step):
                self._meter.measure(self.step, tokens)
            if self.step == QUICK_STEP:
                self._look()
            if self.step % training.eval_frequency == 0 and self.step < training.training_steps:
                self._evaluate()
            if self._reporter.is_due() and self.step < training.training_steps:
                self._report()
            if path is not None and time.monotonic() - saved >= checkpoint_interval_s:
                self._save(path)
                saved = time.monotonic()
        self._look()
        self._watch.stop_steps()
        if is_behind and end < training.training_steps:
            assert path is not None, "a training that pauses needs a place for its checkpoint"
            self._save(path)

    def loss_alone(self, model: Transformer) -> Findings:
        """The loss of the run's own model, where nobody wants to find more."""
        return Findings(final_loss_nats=self._finite_loss(self._validation))

    def end(self, final_loss_nats: float | None) -> None:
        """Take the loss on the whole validation split as the last point of the curve.

        Raises:
            DivergedError: it is not finite.
        """
        self._add_point(final_loss_nats)
        self._report()

    def measure_besides(self) -> None:
        """Losses that judge nothing: of the test split, and of the averaged weights.

        The model has its last weights afterwards.
        """
        self._test_loss = self._finite_loss(self._test)
        if self._average.is_defined:
            with self._average.applied():
                self._averaged_loss = self._finite_loss(self._validation)

    def record(
        self,
        status: Status,
        step: int,
        fingerprint: str,
    ) -> TrainRun:
        """The record of the run as it stands, without what was found in its weights."""
        count = self.model.parameter_count
        return TrainRun(
            job_key=self.job.key,
            seed=self.job.seed,
            status=status,
            step=step,
            final_loss_nats=None,
            curve=tuple(self._curve),
            num_params_non_embedding=count.non_embedding,
            num_params_total=count.total,
            train_time_s=self._watch.total_s,
            energy_joules=self._energy.read(),
            tokens_per_s=self._tokens_per_s(),
            trained_fingerprint=fingerprint,
            step_kind=self._step_kind,
            chunk_rows=self.model.chunk_rows,
            versions={
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "numpy": np.__version__,
            },
            health=self._meter.read(),
            test_loss_nats=self._test_loss,
            averaged_loss_nats=self._averaged_loss,
        )

    def _look(self) -> None:
        """Look at the losses and the health so far; this waits for the device.

        Raises:
            DivergedError: see ``advance``.
        """
        self._monitor.look(self.step)
        found = self._hopeless(self._meter.read())
        if found is not None:
            raise DivergedError(self.step, found.words)

    def _evaluate(self) -> None:
        self._look()
        self._watch.stop_steps()
        self._add_point(self._finite_loss(self._validation[:CURVE_SEQUENCES]))
        self._average.add(self.step)
        self._report()
        self._watch.start_steps()

    def _add_point(self, loss: float | None) -> None:
        if loss is None:
            raise DivergedError(self.step)
        point = CurvePoint(
            step=self.step,
            train_loss_nats=self._monitor.take_mean(),
            validation_loss_nats=loss,
        )
        self._curve.append(point)

    def _finite_loss(self, sequences: np.ndarray) -> float | None:
        """Mean loss of the model as it is, if it is finite."""
        batch_size = self.job.training.batch_size
        return finite(mean_loss_nats(self.model, sequences, batch_size, self._device))

    def _report(self) -> None:
        self._monitor.look(self.step)
        validation = self._curve[-1].validation_loss_nats if self._curve else None
        self._energy.read_if_due()
        self._reporter.report(self.step, self._monitor.last, validation, self._tokens_per_s())

    def _tokens_per_s(self) -> float:
        num_tokens = self.step * self.job.training.batch_size * self.job.seq_len
        return num_tokens / max(self._watch.step_s, 1e-9)

    def _save(self, path: Path) -> None:
        self._monitor.look(self.step)
        self._meter.read()  # judged at steps that do not depend on the clock
        self._watch.stop_steps()
        checkpoint = Checkpoint(
            job_key=self.job.key,
            step=self.step,
            loss_total=self._monitor.total,
            loss_count=self._monitor.count,
            train_time_s=self._watch.total_s,
            step_time_s=self._watch.step_s,
            energy_joules=self._energy.read(),
            curve=tuple(self._curve),
            health=self._meter.health,
            tensors={**self._train_step.state(), **self._average.state()},
        )
        save_checkpoint(path, checkpoint)
        self._watch.start_steps()
