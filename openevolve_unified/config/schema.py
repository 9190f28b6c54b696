"""The schema of the ``scaling_law:`` section of a configuration, with units and ranges.

Every class is frozen and validates itself; a value out of range is a ``ConfigError`` that says what
it got and what it wanted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from openevolve_unified.config.bounds import require as _require
from openevolve_unified.config.diagnostics import DiagnosticsConfig
from openevolve_unified.config.early_stopping import EarlyStoppingConfig
from openevolve_unified.config.fitness import MIN_SIZES_TO_PREDICT, FitnessConfig
from openevolve_unified.config.logging import LoggingConfig
from openevolve_unified.config.noise import NoiseConfig
from openevolve_unified.config.overfit import OverfitConfig
from openevolve_unified.config.selection import SelectionConfig
from openevolve_unified.config.validation import ValidationConfig
from openevolve_unified.errors import nearest
from openevolve_unified.notations import FRAMEWORKS
from openevolve_unified.plain.canonical import OMITTED_AT_DEFAULT

_HOST_AND_PORT = re.compile(r"[^/\s]+:\d{1,5}")
FULL_TRAINING_STEPS = 100_000
"""The horizon that the project's claims are made at; anything shorter is a pilot."""
StepKind = Literal["auto", "plain", "captured", "compiled"]
MechanismPrecision = Literal["float32", "tf32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class SizeConfig:
    """One model size: what it is, apart from how it is trained."""

    hidden_dim: int
    num_layers: int
    num_heads: int

    def __post_init__(self) -> None:
        _require(self.hidden_dim >= 2, "hidden_dim", self.hidden_dim, "2 or more")
        _require(self.hidden_dim % 2 == 0, "hidden_dim", self.hidden_dim, "an even number")
        _require(self.num_layers >= 1, "num_layers", self.num_layers, "1 or more")
        _require(self.num_heads >= 1, "num_heads", self.num_heads, "1 or more")
        _require(
            self.hidden_dim % self.num_heads == 0,
            "hidden_dim",
            self.hidden_dim,
            f"a multiple of num_heads ({self.num_heads})",
        )

    @property
    def head_dim(self) -> int:
        return self.hidden_dim // self.num_heads

    @property
    def name(self) -> str:
        """The short name used in tables and file names, for example ``96x4``."""
        return f"{self.hidden_dim}x{self.num_layers}"


def _ladder(*rows: tuple[int, int, int]) -> tuple[SizeConfig, ...]:
    return tuple(SizeConfig(hidden_dim=d, num_layers=n, num_heads=h) for d, n, h in rows)


LADDERS: dict[str, tuple[SizeConfig, ...]] = {
    # Width alone grows; depth 4 and head size 16 stay. Non-embedding parameters with softmax
    # attention: 0.447M, 1.003M, 2.088M, 3.997M, within 12% of 0.5M, 1M, 2M, 4M.
    "full": _ladder((96, 4, 6), (144, 4, 9), (208, 4, 13), (288, 4, 18)),
    # The table that the project started from: 0.45M, 0.79M, 1.19M, 2.67M.
    "original": _ladder((96, 4, 4), (128, 4, 4), (128, 6, 4), (192, 6, 6)),
    # Small enough for two CPU cores: depth 2, head size 16.
    "quickstart": _ladder((32, 2, 2), (48, 2, 3), (64, 2, 4), (96, 2, 6)),
}

MAX_SEED = 2**31 - 100_000
CURVE_SEQUENCES = 512
"""The learning curve is measured on this many sequences, the first of the validation split."""
NUM_AVERAGED = 3
"""The averaged weights are the mean over this many evaluation points, the last step among them; the
quickstart has no more."""
CERTIFICATE_PASSES = 3
"""Over the validation split after training: as it is, which gives the final loss too, and twice
with tokens replaced."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the text comes from and how it becomes token sequences."""

    source: str = "stories"
    """``stories`` (embedded generator), ``tinystories``, ``text`` (files) or ``huggingface``."""
    path: str | None = None
    """``text``: a .txt, .jsonl (also gzipped) or .parquet file or a folder of them, relative to the
    config file.
    ``huggingface``: the name of the data set."""
    config_name: str | None = None
    """``huggingface``: the name of the data set's configuration."""
    split: str = "train"
    text_field: str = "text"
    document_separator: str | None = None
    """``text``: the line that separates documents in .txt files; None means blank lines."""
    vocab_size: int = 16_384
    """Entries of the BPE vocabulary, trained on the training split only."""
    seq_len: int = 128
    """Tokens that the model reads per sequence."""
    max_train_sequences: int | None = None
    validation_sequences: int = 4_096
    test_sequences: int = 4_096
    num_documents: int = 24_000
    """``stories``: how many documents to generate."""
    seed: int = 0
    """Seed of the document shuffle and of the story generator."""
    cache_dir: str | None = None
    """Where tokenized data lives; None means the user's cache folder."""

    def __post_init__(self) -> None:
        sources = ("stories", "tinystories", "text", "huggingface")
        _require(
            self.source in sources,
            "source",
            self.source,
            f"one of {', '.join(sources)}{nearest(self.source, sources)}",
        )
        if self.source in ("text", "huggingface"):
            has_path = self.path is not None and bool(self.path.strip())
            _require(has_path, "path", self.path, f"a value, because source is {self.source}")
        _require(260 <= self.vocab_size <= 65_536, "vocab_size", self.vocab_size, "260 to 65536")
        _require(8 <= self.seq_len <= 4_096, "seq_len", self.seq_len, "8 to 4096")
        for name in ("validation_sequences", "test_sequences", "num_documents"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        if self.max_train_sequences is not None:
            _require(
                self.max_train_sequences >= 1,
                "max_train_sequences",
                self.max_train_sequences,
                "1 or more",
            )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How every model of the ladder is trained; the same for baseline and candidate."""

    training_steps: int = FULL_TRAINING_STEPS
    batch_size: int = 64
    """Sequences per step."""
    learning_rate: float = 1e-3
    warmup_steps: int = 1_000
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """What follows the linear warm-up; cosine and linear cool down to zero at the last step."""
    eval_frequency: int = 5_000
    """Steps between evaluations on a fixed part of the validation split."""
    weight_decay: float = 0.0
    grad_clip: float = 1.0
    """Upper bound of the global gradient norm."""
    beta1: float = 0.9
    beta2: float = 0.999
    dropout: float = 0.1
    seeds: tuple[int, ...] = (42,)

    def __post_init__(self) -> None:
        for name in ("training_steps", "batch_size", "eval_frequency"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        _require(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "0 or more")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "more than 0")
        _require(math.isfinite(self.learning_rate), "learning_rate", self.learning_rate, "finite")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        _require(self.grad_clip > 0, "grad_clip", self.grad_clip, "more than 0")
        _require(0 <= self.beta1 < 1, "beta1", self.beta1, "0 up to 1")
        _require(0 <= self.beta2 < 1, "beta2", self.beta2, "0 up to 1")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "0 up to 1")
        _require(len(self.seeds) >= 1, "seeds", self.seeds, "at least one seed")
        _require(len(set(self.seeds)) == len(self.seeds), "seeds", self.seeds, "distinct seeds")
        _require(
            all(0 <= seed < 2**31 for seed in self.seeds), "seeds", self.seeds, "0 to 2147483647"
        )

    @property
    def is_pilot(self) -> bool:
        """True when the horizon is shorter than the one that claims are made at."""
        return self.training_steps < FULL_TRAINING_STEPS

    @property
    def num_points_on_the_way(self) -> int:
        """Points of the learning curve before its last one, which is the final loss."""
        return (self.training_steps - 1) // self.eval_frequency

    @property
    def has_averaged_weights(self) -> bool:
        """False when there are too few evaluation points to average over."""
        return self.num_points_on_the_way + 1 >= NUM_AVERAGED

    @property
    def horizon(self) -> str:
        """The label that travels with every number of this run."""
        if self.is_pilot:
            return f"pilot, {self.training_steps:,} of {FULL_TRAINING_STEPS:,} steps"
        return f"{self.training_steps:,} steps"


@dataclass(frozen=True, kw_only=True)
class GatesConfig:
    """Bounds that a candidate must keep before anything is trained."""

    max_flops_ratio: float = 1.10
    """Forward operations per token of the whole model, relative to the initial program."""
    max_params_ratio: float = 1.10
    """Non-embedding parameters, relative to the initial program."""
    max_nodes: int = 20_000
    """Operators in one traced program."""
    max_constant_elements: int = 65_536
    """Numbers that a program may carry as constants, over all of them."""
    max_source_bytes: int = 64_000
    trace_deadline_s: float = 120.0
    """Processor time of tracing one candidate at all sizes, seconds; a busy machine adds none."""
    trace_memory_mb: int = 4_096
    """Data memory of the tracing child, over what it holds after its imports."""
    overfit: OverfitConfig | None = None
    """What the smallest model must learn by heart before the ladder is trained; None: nothing."""

    def __post_init__(self) -> None:
        _require(self.max_flops_ratio >= 1, "max_flops_ratio", self.max_flops_ratio, "1 or more")
        _require(self.max_params_ratio >= 1, "max_params_ratio", self.max_params_ratio, "1 or more")
        counts = ("max_nodes", "max_constant_elements", "max_source_bytes", "trace_memory_mb")
        for name in counts:
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        _require(
            self.trace_deadline_s > 0, "trace_deadline_s", self.trace_deadline_s, "more than 0"
        )


@dataclass(frozen=True, kw_only=True)
class StoppingConfig:
    """When a run ends before its iterations do; 0 turns a rule off."""

    patience_iterations: int = 10
    """Iterations in a row without an improvement of the best score."""
    max_invalid_in_a_row: int = 5
    max_nonfinite_fraction: float = 0.5
    """Share of the trained candidates that diverged, counted from the sixth on."""
    max_backend_failures: int = 3
    """Calls to the language model that fail in a row."""
    convergence_proposals: int = 0
    """Legal proposals in a row of which none computed something new and none was better than the
    best before it, beyond noise; see ``judgement.diversity``."""

    def __post_init__(self) -> None:
        counts = ("patience_iterations", "max_invalid_in_a_row", "max_backend_failures")
        for name in (*counts, "convergence_proposals"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(
            0 <= self.max_nonfinite_fraction <= 1,
            "max_nonfinite_fraction",
            self.max_nonfinite_fraction,
            "0 to 1",
        )


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Where and how the work is done; beyond rounding, nothing here changes a result, except the
    precisions. What experiments must agree on to share workers: ``MACHINE_SETTINGS`` in
    ``evaluation.machine``."""

    backend: Literal["local", "ray"] = "local"
    """``local``: processes of this machine; ``ray``: a Ray cluster (needs the ``ray`` extra)."""
    address: str | None = None
    """Ray: ``auto`` or ``HOST:PORT`` of a cluster; None starts a Ray on this machine."""
    gpus_per_job: float | None = None
    """Ray on GPUs: the share of one GPU that a job takes; None means one half."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """``auto``: float32 on a CPU, bfloat16 with float32 master weights on a GPU."""
    mechanism_precision: MechanismPrecision = field(default="float32", metadata=OMITTED_AT_DEFAULT)
    """What a mechanism's matrix products are rounded to in training; between them everything stays
    float32. Below float32 only in a model whose ``precision`` is bfloat16; ``tf32`` needs a GPU."""
    step: StepKind = "auto"
    """Form of the training step: operator by operator, recorded as one CUDA graph, or compiled by
    Inductor (and recorded on a GPU). ``auto``: plain in float32 on a CPU, so that the same job
    gives the same bits; else what a short measurement finds fastest for the steps that are left, on
    a GPU with as many rows per chunk of the vocabulary loss. Rounding may differ between forms."""
    num_workers: int = 0
    """Training processes; 0 means one per core on a CPU and two per GPU."""
    deadline_s: float = 6_600.0
    """Wall time of one evaluation; it must be shorter than OpenEvolve's ``evaluator.timeout``."""
    allow_degraded_isolation: bool = False
    """Trace a language model's programs although this machine cannot confine them fully."""
    store_dir: str | None = None
    """Where finished work is kept, shared by all runs; None means ``store`` beside output_dir."""
    keep_weights: Literal["none", "best", "all"] = "none"
    """Trained weights stay in the store: of all programs, or of the run's best and the initial one.
    Nothing is trained again for them. On Ray every node must see the store."""
    price_per_hour: float | None = None
    """What the machine costs, in any currency; ``plan`` then says what the experiment costs."""
    report: bool = True
    """Write ``report.html`` when a run, a validation or a control ends, where the extra ``report``
    is installed."""

    def __post_init__(self) -> None:
        valid = self.device in ("auto", "cpu", "cuda") or self.device.startswith("cuda:")
        _require(valid, "device", self.device, "auto, cpu, cuda or cuda:N")
        _require(self.num_workers >= 0, "num_workers", self.num_workers, "0 or more")
        if self.backend == "ray":
            on_any = not self.device.startswith("cuda:")
            _require(on_any, "device", self.device, "auto, cpu or cuda: Ray chooses which GPU")
        for name in ("address", "gpus_per_job"):
            has_ray = self.backend == "ray" or getattr(self, name) is None
            _require(has_ray, name, getattr(self, name), "nothing, unless backend is ray")
        _require(
            self.gpus_per_job is None or 0 < self.gpus_per_job <= 1,
            "gpus_per_job",
            self.gpus_per_job,
            "more than 0 and at most 1",
        )
        is_address = self.address in (None, "auto") or _HOST_AND_PORT.fullmatch(str(self.address))
        _require(bool(is_address), "address", self.address, "auto or HOST:PORT")
        _require(self.deadline_s > 0, "deadline_s", self.deadline_s, "more than 0")
        names_a_store = self.store_dir is None or bool(self.store_dir.strip())
        _require(names_a_store, "store_dir", self.store_dir, "a folder, or null for the default")
        if self.price_per_hour is not None:
            price_is_valid = math.isfinite(self.price_per_hour) and self.price_per_hour >= 0
            _require(price_is_valid, "price_per_hour", self.price_per_hour, "0 or more")


@dataclass(frozen=True, kw_only=True)
class ScalingLawConfig:
    """The ``scaling_law:`` section: everything that this package adds to an OpenEvolve config."""

    framework: str
    initial_program: str
    """Relative to the config file."""
    output_dir: str
    """Relative to the config file."""
    ladder: str | tuple[SizeConfig, ...] = "full"
    """The name of a ladder, or a list of sizes from small to large."""
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    gates: GatesConfig = GatesConfig()
    fitness: FitnessConfig = field(default_factory=FitnessConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    stopping: StoppingConfig = StoppingConfig()
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    execution: ExecutionConfig = ExecutionConfig()
    logging: LoggingConfig = field(default_factory=LoggingConfig)

    def __post_init__(self) -> None:
        _require(
            self.framework in FRAMEWORKS,
            "framework",
            self.framework,
            f"one of {', '.join(FRAMEWORKS)}{nearest(self.framework, FRAMEWORKS)}",
        )
        for name, wanted in (("initial_program", "a program"), ("output_dir", "a folder")):
            path = getattr(self, name)
            _require(bool(path.strip()), name, path, f"{wanted}, relative to the config file")
        if isinstance(self.ladder, str):
            _require(
                self.ladder in LADDERS,
                "ladder",
                self.ladder,
                f"a list of sizes or one of {', '.join(LADDERS)}{nearest(self.ladder, LADDERS)}",
            )
        _require(
            len(self.sizes) >= 3,
            "ladder",
            f"{len(self.sizes)} sizes",
            "at least 3: two points always lie on a line, so their fit says nothing",
        )
        _require(
            len(set(self.sizes)) == len(self.sizes), "ladder", "a repeated size", "distinct sizes"
        )
        _require(
            self.fitness.kind != "predicted_loss" or len(self.sizes) >= MIN_SIZES_TO_PREDICT,
            "fitness.kind",
            f"predicted_loss with {len(self.sizes)} sizes",
            f"at least {MIN_SIZES_TO_PREDICT} sizes, or another kind: nothing would test the "
            "prediction",
        )
        _require(
            max(self.training.seeds) < MAX_SEED,
            "training.seeds",
            self.training.seeds,
            f"less than {MAX_SEED:,}: those for the confirmation and the noise follow from them",
        )
        training = self.training
        self.early_stopping.require_fits(
            training.training_steps, training.eval_frequency, self.execution.backend
        )

    @property
    def sizes(self) -> tuple[SizeConfig, ...]:
        """The ladder's sizes, as they are trained."""
        return LADDERS[self.ladder] if isinstance(self.ladder, str) else self.ladder
