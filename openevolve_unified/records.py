"""Records: what is measured and judged, as plain frozen data that reads and writes JSON.

No torch and no files here. Losses are in nats per token, times in seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from openevolve_unified.config.fitness import FitnessKind
from openevolve_unified.config.overfit import OverfitConfig
from openevolve_unified.config.schema import MechanismPrecision, SizeConfig, TrainingConfig
from openevolve_unified.diagnostics import Diagnostics, RecallFindings
from openevolve_unified.health import Health
from openevolve_unified.plain.canonical import OMITTED_AT_DEFAULT, content_hash
from openevolve_unified.stages import Stage


@dataclass(frozen=True, kw_only=True)
class Program:
    """A candidate's source text, keyed by its hash."""

    source: str
    framework: str

    @property
    def source_hash(self) -> str:
        return hashlib.sha256(self.source.encode()).hexdigest()


TRAINING_VERSION = 4
"""Of how jobs are trained here; raised when equal jobs give other numbers, if only in the last
digit, so that results of before and after never stand side by side."""


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """One model to train; its ``key`` addresses the result, so equal jobs are trained once."""

    framework: str
    program_fingerprint: str
    """Of the traced program at this size and seed, initial values included."""
    size: SizeConfig
    vocab_size: int
    seq_len: int
    training: TrainingConfig
    """``seeds`` is reduced to this job's own seed."""
    seed: int
    data_fingerprint: str
    precision: Literal["float32", "bfloat16"]
    device_type: Literal["cpu", "cuda"]
    mechanism_precision: MechanismPrecision = field(default="float32", metadata=OMITTED_AT_DEFAULT)

    @property
    def key(self) -> str:
        return content_hash({"version": TRAINING_VERSION, "job": self})


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One evaluation on the way: losses in nats per token after ``step`` steps."""

    step: int
    train_loss_nats: float
    validation_loss_nats: float


QUICK_STEP = 100
"""Of a training, when a first verdict on its health can be had."""


@dataclass(frozen=True, kw_only=True)
class TrainRun:
    """What training one job gave."""

    job_key: str
    """Of the job, and so of this record in the store."""
    seed: int
    status: Literal["finished", "paused", "diverged", "rejected"]
    """``paused``: where it was asked to; never stored."""
    step: int
    """The last step; for a diverged run, the step whose loss was not finite."""
    final_loss_nats: float | None
    """On the whole validation split; None when the run diverged."""
    curve: tuple[CurvePoint, ...]
    num_params_non_embedding: int
    num_params_total: int
    train_time_s: float
    tokens_per_s: float
    trained_fingerprint: str
    """Read back from the module that was trained: the evidence that this program was."""
    step_kind: str = "plain"
    """Which form of the training step ran last; see ``training.fastest``."""
    chunk_rows: int | None = field(default=None, metadata=OMITTED_AT_DEFAULT)
    """Of the vocabulary loss, where a measurement chose them; see ``training.chunks``."""
    versions: dict[str, str] = field(default_factory=dict)
    certificate: dict[str, Any] = field(default_factory=dict)
    """Causality and canary on the trained weights; see ``evaluation.certificate``."""
    parameter_changes: dict[str, float] = field(default_factory=dict)
    """How far training moved each parameter of the candidate's own, relative."""
    rejection: str | None = None
    """Why the trained weights were refused, for example a leak that training opened; or why it was
    stopped, if its loss was finite then."""
    test_loss_nats: float | None = None
    """On the whole test split; never shown to a proposer, never part of a score. None when the run
    diverged or this loss is not finite."""
    averaged_loss_nats: float | None = None
    """On the whole validation split, of the mean of the weights at the last evaluation points; see
    ``training.averaging``. None also when there are too few points."""
    health: Health = field(default_factory=Health)
    """Empty in a record of before it was measured; see ``judgement.health`` for what it says."""
    diagnostics: Diagnostics | None = None
    """None where ``scaling_law.diagnostics`` was ``none``, and in a record of before."""
    energy_joules: float | None = None
    """This job's part of what its device used, see ``training.energy``; None: not told by the
    device, or a record of before it was measured."""


def total_joules(energies: Iterable[float | None]) -> float | None:
    """Energy of several runs; None where one of them, or nothing, tells its own."""
    told = list(energies)
    known = [joules for joules in told if joules is not None]
    return sum(known) if known and len(known) == len(told) else None


def told_energy(joules: float | None) -> str:
    """In words."""
    return "not told by this device" if joules is None else f"{joules / 3600:.3g} Wh"


@dataclass(frozen=True, kw_only=True)
class SizeResult:
    """One size of one candidate: a finished run for each seed.

    Raises:
        ValueError: no run, a run without a loss, or a seed that is there twice.
    """

    size: SizeConfig
    runs: tuple[TrainRun, ...]
    """One per seed."""

    def __post_init__(self) -> None:
        if not self.runs or any(run.final_loss_nats is None for run in self.runs):
            raise ValueError(f"size {self.size.name}: wanted runs that have a loss, at least one")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"size {self.size.name}: got the seeds {self.seeds}, wanted each once")

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    @property
    def losses_nats(self) -> tuple[float, ...]:
        """One per seed, in the order of ``runs``."""
        return tuple(run.final_loss_nats for run in self.runs if run.final_loss_nats is not None)

    @property
    def mean_loss_nats(self) -> float:
        return sum(self.losses_nats) / len(self.losses_nats)

    @property
    def num_params_non_embedding(self) -> int:
        return self.runs[0].num_params_non_embedding

    @property
    def num_params_total(self) -> int:
        return self.runs[0].num_params_total

    def on_seeds(self, seeds: Collection[int]) -> SizeResult:
        """The same size with the runs of these seeds only."""
        return replace(self, runs=tuple(run for run in self.runs if run.seed in seeds))


OVERFIT_VERSION = 1
"""Of how the sequences are chosen and counted; raised when stored figures would be others now."""


@dataclass(frozen=True, kw_only=True)
class Overfit:
    """How well the smallest model learned a few sequences by heart; it is no part of a score."""

    settings: OverfitConfig
    size: str
    accuracy: float
    """Share of the tokens predicted rightly, of those that are decided by what stands before."""
    context_free_accuracy: float
    """At most as much can be known from the current token and its position alone."""
    num_steps: int
    loss_nats: float | None
    """Of the last step; None when it was not finite."""


@dataclass(frozen=True, kw_only=True)
class ScalingFit:
    """Least squares of ``loss = intercept + slope * ln(N)``; see ``scaling.fit_scaling_law``."""

    slope: float
    """Nats per unit of ln(N); negative when larger models are better."""
    intercept: float
    lack_of_fit: float
    """Of the slope, in its units: how far the sizes lie off a straight line. It is no error over
    seeds, and nothing is compared by it where that is known."""
    r2: float
    """The share of the variance that the line explains; 0 when identical losses have none."""
    residuals: tuple[float, ...]
    degrees_of_freedom: int
    num_points: int
    slope_ci95: tuple[float, float]
    """From the residuals and Student's t with ``degrees_of_freedom``."""
    seed_slope_stderr: float | None = None
    """Standard error over seeds; None with a single seed."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """The number that OpenEvolve maximises, and how it came about; see ``judgement.fitness``."""

    combined: float
    fitness: float
    """Minus what ``kind`` names, as measured: nats per unit of ln N for the slope, else nats."""
    harm_nats: float
    """Mean over sizes of the loss above the baseline, beyond the tolerance."""
    kind: FitnessKind = "slope"
    target_params: float | None = None
    """The size whose loss is predicted, non-embedding parameters; None: as ``target_size`` says."""
    by_seed: tuple[float, ...] = ()
    """Guards included, each seed's ladder alone; empty until the selection has seen it."""
    mean: float | None = None
    """Of ``by_seed``; it is what two programs are compared by."""
    stderr: float | None = None
    """Of ``mean``, over seeds; None: unknown, as from one seed without a noise floor."""
    degrees_of_freedom: float | None = None
    """Of ``stderr``."""
    shrunk: float | None = None
    """``mean`` drawn to the baseline as far as it is not reliable; see ``judgement.shrinkage``."""
    reliability: float | None = None
    """Share of the gain over the baseline that ``shrunk`` keeps, 0 to 1."""

    @property
    def value(self) -> float:
        """What OpenEvolve maximises: the shrunk score where there is one."""
        if self.shrunk is not None:
            return self.shrunk
        return self.combined if self.mean is None else self.mean

    @property
    def is_guarded(self) -> bool:
        return self.combined < self.fitness


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What traced programs are told apart by; see ``judgement.distance`` for how far."""

    bigrams: dict[str, int]
    """How often one operator reads another's result; see ``candidate.program.bigrams``."""
    outputs: tuple[tuple[float, ...], ...]
    """Of the smallest size on fixed inputs, at initial and at scrambled parameters; see
    ``candidate.checks.traits``."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A candidate that was trained at every size, fitted and scored.

    Raises:
        ValueError: its sizes, or its baseline's, were trained with different seeds.
    """

    program: Program
    fingerprint: str
    horizon: str
    """For example ``"pilot, 750 of 100,000 steps"``; it travels with every number."""
    is_pilot: bool
    sizes: tuple[SizeResult, ...]
    """All with the same seeds."""
    baseline: tuple[SizeResult, ...]
    """The initial program under the same settings, perhaps with other seeds; empty while it is
    itself evaluated."""
    fit: ScalingFit
    score: Score
    features: dict[str, float]
    """Measured properties of the mechanism, for OpenEvolve's feature map."""
    checks: dict[str, Any]
    """What the checks found, for people: budget ratios, causality evidence, isolation."""
    overfit: Overfit | None = None
    """None where there is no such gate."""
    traits: Traits | None = None
    """None in what nobody traced."""
    duration_s: float = 0.0
    cached: bool = False
    recall: RecallFindings | None = None
    """Where ``scaling_law.diagnostics.mode`` asks for it."""

    def __post_init__(self) -> None:
        for sizes in (self.sizes, self.baseline):
            if len({frozenset(size.seeds) for size in sizes}) > 1:
                seeds = ", ".join(f"{size.size.name} {size.seeds}" for size in sizes)
                raise ValueError(f"wanted the same seeds at every size, got {seeds}")


MACHINE_STAGES: tuple[Stage, ...] = ("deadline", "worker", "machine", "set-up", "internal")
"""Stages whose failures say something about the machine, the set-up or this package only."""


@dataclass(frozen=True, kw_only=True)
class StoppedEarly:
    """Why the race stopped a candidate; fitness as measured at ``step``, without guards."""

    step: int
    """Of the training, at every size and seed; the checkpoints are kept."""
    training_steps: int
    fitness: float
    best: str
    """The best program then: the first digits of its hash."""
    best_fitness: float
    """Its fitness at the same step and seeds."""
    margin: float
    """By which a candidate may trail."""

    @property
    def saved_share(self) -> float:
        """Of the candidate's steps."""
        return 1 - self.step / self.training_steps


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A candidate that has no fitness, and why."""

    program: Program
    stage: Stage
    reason: str
    horizon: str = ""
    is_pilot: bool = True
    details: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    """Of a program that passed every check before training; else empty."""
    traits: Traits | None = None
    """Of the same."""
    stopped_early: StoppedEarly | None = None
    """Of a candidate that the race stopped: it is no refusal, and depends on the run's best then,
    so it is not remembered as a verdict on the program."""
    features: dict[str, float] = field(default_factory=dict)
    """Of the same, as in ``Evaluation``."""
    duration_s: float = 0.0

    @property
    def is_verdict(self) -> bool:
        """Whether it says something about the program alone, whatever else was tried."""
        return not self.is_machine_trouble and self.stopped_early is None

    @property
    def is_machine_trouble(self) -> bool:
        """True when this is no verdict on the program, so it must not be remembered as one."""
        return self.stage in MACHINE_STAGES
