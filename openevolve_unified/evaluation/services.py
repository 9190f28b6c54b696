"""What one evaluator process keeps between evaluations: data, device, workers, tracing child."""

from __future__ import annotations

import time
from pathlib import Path

from openevolve_unified.candidate.tracing.tracer import Tracer
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.data import TokenData, prepare
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.requests import PREPARATION, gpu_count
from openevolve_unified.execution.cluster.pool import RayPool, require_ray
from openevolve_unified.execution.executor import Executor
from openevolve_unified.execution.pool import WorkerPool
from openevolve_unified.execution.resources import Resources, has_gpu_driver, resolve_resources
from openevolve_unified.runs.events import Listener
from openevolve_unified.store import Store


class Services:
    """Everything is started on first use; ``close`` ends every child process.

    Args:
        needs_full_isolation: refuse to trace programs that this machine cannot confine fully.
        lender: whose workers and tracing child to use, and to leave open on ``close``.

    Raises:
        ConfigError: the backend is Ray, and Ray is not installed.
    """

    def __init__(
        self,
        config: ScalingLawConfig,
        base_dir: Path,
        store: Store,
        log_dir: Path,
        listener: Listener,
        needs_full_isolation: bool,
        lender: Services | None = None,
    ):
        if config.execution.backend == "ray":
            require_ray()
        self.config = config
        self._lender = lender
        self._needs_full_isolation = needs_full_isolation
        self.store = store
        self.listener = listener
        self._base_dir = base_dir
        self._log_path = log_dir / "workers.log"
        self._tracer: Tracer | None = None
        self._pool: WorkerPool | RayPool | None = None
        self._data: TokenData | None = None
        self._resources: Resources | None = None

    def close(self) -> None:
        """End the tracing child and the workers; the next use starts fresh ones."""
        if self._pool is not None:
            self._pool.close()
        if self._tracer is not None:
            self._tracer.close()
        self._pool = self._tracer = None

    def deadline(self) -> float:
        """The ``time.monotonic()`` value at which an evaluation that starts now must end."""
        return time.monotonic() + self.config.execution.deadline_s

    def data(self) -> TokenData:
        """The tokenized corpus, prepared on first use."""
        if self._data is None:
            self._data = prepare(
                self.config.data,
                self._base_dir,
                progress=lambda text: self.listener({"kind": "data", "message": text}),
                min_train_sequences=self.config.training.batch_size,
            )
        return self._data

    def resources(self) -> Resources:
        """The device and the workers.

        Raises:
            ConfigError: CUDA is asked for where there is none, or there is no Ray to be reached.
        """
        if self._lender is not None:
            return self._lender.resources()
        if self._resources is None:
            execution = self.config.execution
            if execution.backend == "ray":
                self._resources = self._ray_pool().resources()
                return self._resources
            num_gpus = 0
            if execution.device != "cpu" and has_gpu_driver():
                num_gpus = self._count_gpus()
            if execution.device.startswith("cuda") and not num_gpus:
                raise ConfigError(
                    f"scaling_law.execution.device: got {execution.device}, but torch finds no "
                    "CUDA device on this machine; use --set scaling_law.execution.device=auto"
                )
            self._resources = resolve_resources(execution, num_gpus)
        return self._resources

    def pool(self) -> Executor:
        """What runs the tasks: processes of this machine, or a Ray cluster."""
        if self._lender is not None:
            return self._lender.pool()
        if self.config.execution.backend == "ray":
            return self._ray_pool()
        if self._pool is None:
            resources = self.resources()
            self._pool = WorkerPool(
                resources.num_workers,
                self._log_path,
                PREPARATION,
                resources.num_gpus,
            )
        return self._pool

    def warm_up(self) -> None:
        """Launch the tracing child and one worker: their imports overlap with other work."""
        if self._lender is not None:
            self._lender.warm_up()
            return
        self._own_tracer().warm_up()
        self.pool().warm_up(1)

    def tracer(self) -> Tracer:
        """The tracing child.

        Raises:
            ConfigError: it cannot be confined fully here, and that is not allowed.
        """
        tracer = self._own_tracer() if self._lender is None else self._lender.tracer()
        isolation = tracer.start()
        if self._needs_full_isolation and isolation.level != "full":
            raise ConfigError(
                f"this machine confines candidate code only in part: {isolation.summary}; "
                "--allow-degraded-isolation accepts the risk for programs of a language model"
            )
        return tracer

    def _own_tracer(self) -> Tracer:
        if self._tracer is None:
            self._tracer = Tracer()
        return self._tracer

    def _ray_pool(self) -> RayPool:
        if not isinstance(self._pool, RayPool):
            self._pool = RayPool(self.config.execution, self._log_path)
        return self._pool

    def _count_gpus(self) -> int:
        probe = WorkerPool(1, self._log_path, PREPARATION)
        try:
            ((_, outcome),) = probe.run([gpu_count()], self.deadline(), self.listener)
            return outcome["num_gpus"]
        finally:
            probe.close()
