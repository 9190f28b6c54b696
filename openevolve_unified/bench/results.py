"""The results of a benchmark, as plain records; nothing here measures or prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times longer the baseline takes; more than 1 is faster than it."""

    value: float
    """Of the medians over the rounds."""
    low: float
    high: float
    """The smallest and the largest ratio of one round."""


@dataclass(frozen=True, kw_only=True)
class MatrixLimit:
    """The best measured matrix product among the shapes that the models use."""

    precision: str
    num_threads: int
    gflops: float
    shape: tuple[int, int, int]
    """Rows, inner dimension, columns."""


@dataclass(frozen=True, kw_only=True)
class CopyLimit:
    """Bytes read plus bytes written per second by a copy that no cache holds."""

    num_threads: int
    gbytes_per_s: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What this machine gives."""

    machine: str
    matrix: tuple[MatrixLimit, ...]
    copy: tuple[CopyLimit, ...]

    def gflops(self, precision: str, num_threads: int) -> float:
        """The measured product throughput of one precision with so many threads."""
        (limit,) = (
            m for m in self.matrix if (m.precision, m.num_threads) == (precision, num_threads)
        )
        return limit.gflops

    def gbytes_per_s(self, num_threads: int) -> float:
        """The measured copy throughput with so many threads."""
        (limit,) = (c for c in self.copy if c.num_threads == num_threads)
        return limit.gbytes_per_s


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """One contestant at one size."""

    size: str
    num_params_non_embedding: int
    contestant: str
    precision: str
    num_threads: int
    round_s: tuple[float, ...]
    """Seconds per step, one value per interleaved round."""
    step_s: float
    """Their median."""
    tokens_per_s: float
    peak_bytes: int
    """Of the process (CPU) or of the device."""
    product_flops: float
    """Operations of the matrix products in one step of this model, counted in ours."""
    matrix_share: float
    """Of the measured product throughput at the same precision and threads."""
    memory_share: float
    """Of the measured copy throughput, had every operator read and written memory; caches serve
    small models, so it can exceed 1."""
    step_kind: str
    """The form of the step: plain, captured or compiled."""
    build_s: float
    """Building the model and that form of its step."""
    validation_s: float | None
    """One pass over the validation split, carried on from a few batches; None for peers."""
    ratio: Ratio | None
    """Against the eager loop; None for the loop itself."""


@dataclass(frozen=True, kw_only=True)
class WorkersResult:
    """Training steps per second of several workers at once, of one size."""

    size: str
    num_workers: int
    round_steps_per_s: tuple[float, ...]
    gain: Ratio
    """Against one worker alone."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """A whole evaluation against the eager loop doing the sizes one after another."""

    precision: str
    steps_run: int
    """Per size."""
    training_steps: int
    """What both times are scaled to."""
    round_s: tuple[float, ...]
    eager_round_s: tuple[float, ...]
    ratio: Ratio
    overhead_share: float
    """Of our time, outside training steps on the busiest worker."""


@dataclass(frozen=True, kw_only=True)
class StartUp:
    """Seconds before work begins."""

    worker_s: float
    """A worker process until it answers its first task."""
    first_check_s: float
    """Trace and check of the initial program, every process new."""
    warm_check_s: float
    """The same for the next candidate."""
    eager_s: float
    """The eager loop's process until it can train."""


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """``y = c * x ** exponent`` by least squares of the logarithms."""

    exponent: float
    stderr: float | None
    """None with two points, which always lie on a line."""
    num_points: int


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How one quantity grows with another."""

    quantity: str
    variable: str
    points: tuple[tuple[float, float], ...]
    fit: PowerLaw
    linear: float | None
    """The exponent that a linear cost would have; None where nothing is promised."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run of the benchmark."""

    experiment: str
    horizon: str
    device: str
    is_quick: bool
    busy_with_others: float
    """Share of all cores that other programs used while it ran; 0 where it is not known."""
    torch_version: str
    limits: Limits
    steps: tuple[StepResult, ...]
    workers: tuple[WorkersResult, ...]
    evaluations: tuple[EvaluationResult, ...]
    start_up: StartUp
    growth: tuple[Growth, ...]
    skipped: tuple[str, ...]
    """What was not measured, and why."""
    duration_s: float
