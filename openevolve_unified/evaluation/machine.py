"""The machine: workers, tracing child and device, shared by any number of experiments.

What an experiment wants of it is in ``MACHINE_SETTINGS``; the rest of ``scaling_law.execution`` is
the experiment's own and stays with its ``Context``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from openevolve_unified.candidate.tracing.tracer import Tracer
from openevolve_unified.config.schema import DataConfig, ExecutionConfig
from openevolve_unified.data import TokenData, prepare
from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.evaluation.requests import PREPARATION, gpu_count
from openevolve_unified.execution.cluster.pool import RayPool, require_ray
from openevolve_unified.execution.executor import DeadlineError, Executor, WorkerDiedError
from openevolve_unified.execution.pool import WorkerPool
from openevolve_unified.execution.resources import Resources, has_gpu_driver, resolve_resources

MACHINE_SETTINGS = (
    "backend",
    "address",
    "gpus_per_job",
    "device",
    "precision",
    "mechanism_precision",
    "num_workers",
)
"""Of ``scaling_law.execution``: what the workers and their device are, whoever uses them."""
COUNT_GPUS_S = 600.0
"""Longest wait for a process that counts the GPUs; it imports torch first."""


class Machine:
    """What any number of experiments run on; a context manager.

    Everything is started on first use and again after ``close``. Several threads may use it at
    once. A fork of this process starts children of its own.

    Args:
        execution: of which only ``MACHINE_SETTINGS`` are heeded.
        log_dir: where the workers' log is written.

    Raises:
        ConfigError: the backend is Ray, and Ray is not installed.
    """

    def __init__(self, execution: ExecutionConfig, log_dir: Path):
        if execution.backend == "ray":
            require_ray()
        self.execution = execution
        self._log_path = log_dir / "workers.log"
        self._resources: Resources | None = None
        self._prepared: dict[tuple[DataConfig, Path, int], TokenData] = {}
        self._children = _Children()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the tracing child and the workers; no experiment may be at work."""
        mine = self._mine()
        with mine.starting:
            mine.tracer.close()
            if mine.executor is not None:
                mine.executor.close()
            mine.executor = None

    def warm_up(self) -> None:
        """Launch the tracing child and one worker: their imports overlap with other work."""
        self.tracer().warm_up()
        self.executor().warm_up(1)

    def tracer(self) -> Tracer:
        """The tracing child, however well it is confined here; see ``Context.tracer``."""
        return self._mine().tracer

    def executor(self) -> Executor:
        """What runs the tasks: processes of this machine, or a Ray cluster.

        Raises:
            ConfigError, MachineError: see ``resources``.
        """
        mine = self._mine()
        with mine.starting:
            if mine.executor is None:
                if self.execution.backend == "ray":
                    mine.executor = RayPool(self.execution, self._log_path)
                else:
                    found = self.resources()
                    mine.executor = WorkerPool(
                        found.num_workers, self._log_path, PREPARATION, found.num_gpus
                    )
            return mine.executor

    def resources(self) -> Resources:
        """The device and the workers.

        Raises:
            ConfigError: CUDA is asked for where there is none, or there is no Ray to be reached.
            MachineError: the GPUs could not be counted.
        """
        with self._mine().starting:
            if self._resources is None:
                if self.execution.backend == "ray":
                    executor = self.executor()
                    assert isinstance(executor, RayPool)
                    self._resources = executor.resources()
                else:
                    self._resources = self._local_resources()
            return self._resources

    def data(
        self,
        config: DataConfig,
        base_dir: Path,
        progress: Callable[[str], None],
        min_train_sequences: int,
    ) -> TokenData:
        """See ``data.prepare``; equal configurations are prepared once, whoever asks."""
        key = (config, base_dir, min_train_sequences)
        with self._mine().preparing:
            if key not in self._prepared:
                self._prepared[key] = prepare(config, base_dir, progress, min_train_sequences)
            return self._prepared[key]

    def require_serves(self, execution: ExecutionConfig) -> None:
        """Refuse an experiment that wants other workers or another device.

        Raises:
            ConfigError: names the settings that differ.
        """
        names = [
            name
            for name in MACHINE_SETTINGS
            if getattr(execution, name) != getattr(self.execution, name)
        ]
        if not names:
            return

        def told(settings: ExecutionConfig) -> str:
            return ", ".join(f"{name} {getattr(settings, name)!r}" for name in names)

        raise ConfigError(
            f"scaling_law.execution: got {told(execution)}, but the machine that was given has "
            f"{told(self.execution)}; use the same settings, or leave the machine out"
        )

    def _local_resources(self) -> Resources:
        execution, num_gpus = self.execution, 0
        if execution.device != "cpu" and has_gpu_driver():
            num_gpus = self._count_gpus()
        if execution.device.startswith("cuda") and not num_gpus:
            raise ConfigError(
                f"scaling_law.execution.device: got {execution.device}, but torch finds no "
                "CUDA device on this machine; use --set scaling_law.execution.device=auto"
            )
        return resolve_resources(execution, num_gpus)

    def _count_gpus(self) -> int:
        probe = WorkerPool(1, self._log_path, PREPARATION)
        until = time.monotonic() + COUNT_GPUS_S
        try:
            ((_, outcome),) = probe.run([gpu_count()], until, lambda event: None)
            return outcome["num_gpus"]
        except DeadlineError:
            raise MachineError(
                f"the GPUs were not counted within {COUNT_GPUS_S:.0f} s; try again when the "
                "machine is less busy"
            ) from None
        except WorkerDiedError as error:
            raise MachineError(str(error), "worker") from None
        finally:
            probe.close()

    def _mine(self) -> _Children:
        """The children of this process: those of a parent answer to it alone."""
        if self._children.owner != os.getpid():
            self._children = _Children()
        return self._children


class _Children:
    """What one process has started, and the locks under which it is started once."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.starting = threading.RLock()
        self.preparing = threading.Lock()
        self.tracer = Tracer()
        self.executor: WorkerPool | RayPool | None = None
