"""Comparison of runs, such as those of the three frameworks: best variants, evolvability, cost.

The runs' best variants are set side by side on the common test split, which chose nothing: at the
confirmation seeds where a run confirmed its winner, at its search seeds otherwise, and that is
said. Runs are comparable only where their settings are the same; whatever differs must be declared
with a reason, which is printed with the result. Everything is read from records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from openevolve_unified.config.experiment import redacted
from openevolve_unified.errors import ConfigError, nearest
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.contrasts import slope_weights
from openevolve_unified.judgement.estimates import Estimate, mean_with_error
from openevolve_unified.judgement.pairwise import PairwiseTest, pairwise_tests
from openevolve_unified.judgement.replicates import scores_by_seed
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import Evaluation, SizeResult
from openevolve_unified.validation.evolvability import (
    Evolvability,
    RunCost,
    cost_of,
    evolvability_of,
)
from openevolve_unified.validation.run_folder import RunFolder

BY_NATURE = ("scaling_law.framework", "scaling_law.initial_program")
"""Settings that differ between frameworks, whoever runs them."""
NO_NUMBERS = (
    "scaling_law.validation",
    "scaling_law.output_dir",
    "scaling_law.execution.store_dir",
    "scaling_law.execution.keep_weights",
    "scaling_law.execution.price_per_hour",
)
"""Settings, and sections of them, that change no number of a run."""
UNFINISHED = "unfinished"
"""What is declared where a run that is not at its end takes part."""
TEST_LOSS, TEST_SLOPE = "test loss at the largest size", "slope of the test losses"
_DATA = ("scaling_law.data.", "data.")
Basis = Literal["confirmed", "selected", "initial program", "refused at a fresh seed"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A run's best program, on the test split."""

    program: str
    file: str
    basis: Basis
    """``confirmed``: at seeds that had no part in choosing it; ``selected``: at its search seeds,
    so its numbers are too good on average."""
    seeds: tuple[int, ...]
    fitness: Estimate
    """The score, on the validation split like every score."""
    test_losses_nats: dict[str, float]
    """By size, the mean over seeds."""
    largest: dict[int, float]
    """Test loss at the largest size by seed, nats per token."""
    slopes: dict[int, float]
    """Of the test losses by seed, nats per unit of ln N."""
    against_initial: Estimate | None
    """Difference to the run's initial program in ``largest`` at the same seeds; None for itself."""
    operations_ratio: float | None
    """Forward operations over the initial program's."""
    num_params_non_embedding: int
    """At the largest size."""


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One run of a comparison."""

    name: str
    framework: str
    horizon: str
    is_pilot: bool
    proposer: str
    unfinished: str | None
    variant: Variant
    evolvability: Evolvability
    cost: RunCost


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A setting that differs, and why the runs are compared all the same."""

    key: str
    values: dict[str, Any]
    """By run."""
    why: str


@dataclass(frozen=True, kw_only=True)
class FrameworkComparison:
    """All runs, what differs between them, and the tests of every pair."""

    runs: tuple[ComparedRun, ...]
    declared: tuple[Declared, ...]
    tests: tuple[PairwiseTest, ...]
    not_tested: str | None = None
    """Why no pair is tested at all."""


def compare_runs(runs: Sequence[RunFolder], declarations: Mapping[str, str]) -> FrameworkComparison:
    """Set finished runs side by side.

    Args:
        declarations: by setting, or by a section of them, why it may differ.

    Raises:
        ConfigError: fewer than two runs or one twice, a difference that is not declared, a
            declaration of none, a run without a baseline, losses that are not in the records.
    """
    names = run_names(runs)
    for run in runs:
        _ = run.baseline  # says first what is wrong with a single run
    declared = _declared(runs, names, declarations)
    compared = tuple(_compared(name, run) for name, run in zip(names, runs, strict=True))
    sound = [run for run in compared if run.variant.basis != "refused at a fresh seed"]
    other_data = [item.key for item in declared if f"{item.key}.".startswith(_DATA)]
    not_tested = None
    if other_data:
        not_tested = f"no common test split: {', '.join(other_data)} differs"
    elif len(sound) < 2:
        many = f"{len(sound)} of {len(compared)}"
        not_tested = f"only {many} best variants trained soundly at fresh seeds"
    if not_tested is not None:
        return FrameworkComparison(
            runs=compared, declared=declared, tests=(), not_tested=not_tested
        )
    tests = pairwise_tests(
        {
            TEST_LOSS: {run.name: run.variant.largest for run in sound},
            TEST_SLOPE: {run.name: run.variant.slopes for run in sound},
        }
    )
    return FrameworkComparison(runs=compared, declared=declared, tests=tests)


def run_names(runs: Sequence[RunFolder]) -> tuple[str, ...]:
    """The frameworks where each is there once, else the folders.

    Raises:
        ConfigError: fewer than two runs, or one twice.
    """
    paths = [run.path for run in runs]
    if len(set(paths)) != len(paths) or len(paths) < 2:
        raise ConfigError(
            f"compare: got {', '.join(path.name for path in paths)}; wanted at least two runs, "
            "each once"
        )
    for names in ([run.config.framework for run in runs], [run.name for run in runs]):
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(str(path) for path in paths)


def settings_of(run: RunFolder) -> dict[str, Any]:
    """Everything that decides a run's numbers, by dotted name, defaults included."""
    mapping = redacted(run.experiment.mapping)
    law = to_plain(run.config)
    law["ladder"] = [f"{size.name}, {size.num_heads} heads" for size in run.config.sizes]
    settings = _flat({**mapping, "scaling_law": law})
    for name, version in dict(run.settings.get("versions", {})).items():
        settings[f"versions.{name}"] = version
    plan = run.told.plan or {}
    for name in ("device", "precision"):
        settings[f"machine.{name}"] = plan.get(name)
    settings["machine.mechanism_precision"] = plan.get("mechanism_precision", "float32")
    noise = run.told.noise or {}
    settings["data.fingerprint"] = noise.get("settings", {}).get("scaling_law.data")
    return {
        name: value
        for name, value in settings.items()
        if not any(_covers(section, name) for section in NO_NUMBERS)
    }


def _declared(
    runs: Sequence[RunFolder], names: Sequence[str], declarations: Mapping[str, str]
) -> tuple[Declared, ...]:
    found = [settings_of(run) for run in runs]
    keys = sorted(set().union(*found) - set(BY_NATURE))
    values = {key: {n: own.get(key) for n, own in zip(names, found, strict=True)} for key in keys}
    differing = {
        key: by_run
        for key, by_run in values.items()
        if len({repr(value) for value in by_run.values() if not _is_unknown(key, value)}) > 1
    }
    unfinished = {n: run.unfinished for n, run in zip(names, runs, strict=True)}
    if any(unfinished.values()):
        differing[UNFINISHED] = unfinished
    unused = [name for name in declarations if not any(_covers(name, key) for key in differing)]
    if unused:
        raise ConfigError(
            f"--declare {unused[0]}: does not differ between these runs"
            f"{nearest(unused[0], differing)}"
        )
    declared, missing = [], []
    for key, by_run in differing.items():
        why = [reason for name, reason in declarations.items() if _covers(name, key)]
        if why:
            declared.append(Declared(key=key, values=by_run, why=why[-1]))
        else:
            missing.append(f"{key} ({'; '.join(f'{n}: {_short(v)}' for n, v in by_run.items())})")
    if missing:
        key = missing[0].partition(" (")[0]
        raise ConfigError(
            f"compare: these runs differ in {', '.join(missing)}; use equal settings, or say why "
            f"the comparison is fair all the same: --declare {key}='because ...'"
        )
    return tuple(declared)


def _compared(name: str, run: RunFolder) -> ComparedRun:
    confirmed = run.confirmed_evaluation()
    return ComparedRun(
        name=name,
        framework=run.config.framework,
        horizon=run.config.training.horizon,
        is_pilot=run.config.training.is_pilot,
        proposer=str(run.settings.get("proposer", "unknown")),
        unfinished=run.unfinished,
        variant=best_variant(run, confirmed),
        evolvability=evolvability_of(run),
        cost=cost_of(run, confirmed),
    )


def best_variant(run: RunFolder, confirmed: Evaluation | None) -> Variant:
    """A run's winner on the test split, at fresh seeds where they confirmed it.

    Args:
        confirmed: the winner and the initial program at the confirmation seeds.

    Raises:
        ConfigError: no baseline, losses that are not in the records.
    """
    entry = run.best
    initial = run.sizes_of(run.baseline)
    sizes, basis = run.sizes_of(entry), _basis(run)
    reference = initial
    if basis == "confirmed" and confirmed is not None:
        sizes, reference = confirmed.sizes, confirmed.baseline
    own, its = _test_losses(run, sizes), _test_losses(run, reference)
    counts = [float(size.num_params_non_embedding) for size in sizes]
    weights = slope_weights(counts)
    shared = [seed for seed in own if seed in its]
    if not shared:
        raise ConfigError(
            f"{run.path}: its best program and its initial program share no seed; wanted a run "
            "that scored both at one (openevolve CONFIG --resume)"
        )
    scores = scores_by_seed(
        tuple(size.on_seeds(shared) for size in sizes),
        tuple(size.on_seeds(shared) for size in reference) if run.has_winner else (),
        run.config.fitness,
    )
    ratio = run.details(entry).get("features", {}).get("flops_ratio")
    return Variant(
        program=entry["program"],
        file=entry["file"],
        basis=basis,
        seeds=tuple(own),
        fitness=_fitness(entry, scores),
        test_losses_nats={
            size.size.name: float(np.mean([row[place] for row in own.values()]))
            for place, size in enumerate(sizes)
        },
        largest={seed: row[-1] for seed, row in own.items()},
        slopes={seed: float(weights @ np.array(row)) for seed, row in own.items()},
        against_initial=mean_with_error([own[s][-1] - its[s][-1] for s in shared])
        if run.has_winner
        else None,
        operations_ratio=None if ratio is None else float(ratio),
        num_params_non_embedding=sizes[-1].num_params_non_embedding,
    )


def _fitness(entry: Mapping[str, Any], scores: Mapping[int, float]) -> Estimate:
    """With the error that the run itself told, which knows the measured noise, at its own seeds."""
    own = {int(seed): found["score"] for seed, found in entry.get("scores", {}).items()}
    standing = Standing.of_entry(entry)
    if own.keys() != scores.keys() or standing.stderr is None:
        return mean_with_error(list(scores.values()))
    return Estimate(
        value=standing.value,
        stderr=standing.stderr,
        degrees_of_freedom=standing.degrees_of_freedom,
        num_seeds=len(scores),
    )


def _basis(run: RunFolder) -> Basis:
    if not run.has_winner:
        return "initial program"
    if run.confirmation is None:
        return "selected"
    is_refused = run.confirmation["verdict"] == "refused"
    return "refused at a fresh seed" if is_refused else "confirmed"


def _test_losses(run: RunFolder, sizes: Sequence[SizeResult]) -> dict[int, tuple[float, ...]]:
    """By seed, one loss per size, nats per token.

    Raises:
        ConfigError: a run without one.
    """
    found: dict[int, tuple[float, ...]] = {}
    for seed in sizes[0].seeds:
        row = [own.test_loss_nats for size in sizes for own in size.runs if own.seed == seed]
        known = [loss for loss in row if loss is not None]
        if len(known) != len(sizes):
            raise ConfigError(
                f"{run.path}: no test loss of every size at seed {seed}; wanted runs of a release "
                "that measures it (TRAINING_VERSION 4 or later), and finite ones"
            )
        found[seed] = tuple(known)
    return found


def _covers(declared: str, key: str) -> bool:
    return key == declared or key.startswith(f"{declared}.")


def _is_unknown(key: str, value: Any) -> bool:
    """A run of which this is not known differs from none."""
    return value is None and key.startswith(("data.", "machine."))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    found: dict[str, Any] = {}
    for name, item in value.items():
        found.update(_flat(item, f"{prefix}.{name}" if prefix else str(name)))
    return found


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
