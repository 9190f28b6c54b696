"""Stored learning curves, read for the horizon ledger: of a run's folder, or of a whole store.

A run's folder names its programs and their jobs; the curves are in the store beside it. A store has
the evaluations of every run, noise floor and ranking that shared it: they are grouped by all that
their records tell of how they were trained (horizon, sizes, vocabulary, evaluation points, kind of
fitness), and each group has a ledger. Records do not tell the text, so keep one store per corpus.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from openevolve_unified.config.fitness import FitnessKind
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.contrasts import target_size
from openevolve_unified.judgement.convergence import LastTenth, last_tenths
from openevolve_unified.judgement.horizon import Curves, HorizonLedger, horizon_ledger
from openevolve_unified.judgement.rank_correlation import MIN_CANDIDATES
from openevolve_unified.mechanisms.catalog import mechanisms
from openevolve_unified.notations import FRAMEWORKS
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Evaluation, Program, SizeResult
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.templates import initial_program
from openevolve_unified.store import MARKER, Store, open_store


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger of candidates that were trained alike, and what their last tenth bought."""

    horizon: str
    frameworks: tuple[str, ...]
    sizes: tuple[str, ...]
    seeds: tuple[int, ...]
    """Those that all candidates share."""
    fitness_kind: FitnessKind
    target_params: float
    """The size whose loss is predicted, where that is the fitness."""
    baseline_jobs: tuple[str, ...]
    """Keys of the initial program's models at these seeds: they are a function of text, model,
    training, precision and versions, so they tell whether a run trains alike."""
    points: tuple[int, ...]
    """Steps at which the curves have points."""
    ledger: HorizonLedger
    last_tenths: tuple[LastTenth, ...]
    """The largest size first."""
    num_left_out: int
    """Trained alike, but without a seed that the others have."""


def ledgers(folder: Path, store: Path | None = None) -> tuple[Ledger, ...]:
    """The ledgers of a run's folder (one) or of a store (one per way of training), largest first.

    Args:
        store: of a run whose store lies elsewhere; None: as its settings say, or beside the folder.

    Raises:
        ConfigError: no run and no store, or fewer than three candidates with curves.
    """
    if (folder / MARKER).is_file():
        found = list(_evaluations(open_store(folder)))
    else:
        found = _of_run(folder, store)
    groups: dict[tuple[Any, ...], dict[str, Evaluation]] = {}
    for one in found:
        group = groups.setdefault(_training(one), {})
        known = group.get(one.program.source_hash)
        if known is None or len(one.sizes[0].runs) > len(known.sizes[0].runs):
            group[one.program.source_hash] = one
    made = [_ledger(list(group.values())) for group in groups.values()]
    enough = [ledger for ledger in made if ledger is not None]
    if not enough:
        most = max(map(len, groups.values()), default=0)
        raise ConfigError(
            f"{folder}: got {most} candidates that were trained alike and whose curves are stored, "
            f"wanted {MIN_CANDIDATES} or more: fewer have no order to compare"
        )
    return tuple(sorted(enough, key=lambda one: (-len(one.ledger.names), one.horizon)))


def _of_run(folder: Path, store: Path | None) -> list[Evaluation]:
    run = RunDirectory(folder)
    if not run.history_path.is_file():
        raise ConfigError(
            f"{folder}: got a folder without {run.history_path.name} and {MARKER}, wanted that of "
            "a run or of a store"
        )
    place = store or _store_of(folder)
    if not (place / MARKER).is_file():
        raise ConfigError(
            f"{place}: got no store there, wanted the one of the run {folder}; name it with --store"
        )
    keys: set[str] = set()
    for path in sorted((folder / "programs").glob("*.json")):
        keys.update(_job_keys(path))
    return [one for one in _evaluations(open_store(place)) if keys & _keys_of(one)]


def _store_of(folder: Path) -> Path:
    """As the run's own ``config.yaml`` names it, if by an absolute path; else beside the folder."""
    try:
        settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        named = Path(settings["scaling_law"]["execution"]["store_dir"]).expanduser()
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
        return folder.resolve().parent / "store"
    return named if named.is_absolute() else folder.resolve().parent / "store"


def _job_keys(path: Path) -> list[str]:
    """Of a program's file in the run's folder; none for one that was not trained or is damaged."""
    try:
        sizes = json.loads(path.read_text(encoding="utf-8"))["losses"]
        return [run["job_key"] for size in sizes for run in size["runs"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _evaluations(store: Store) -> Iterator[Evaluation]:
    """Those that this release can read, with the same curve points everywhere."""
    for record in store.every("evaluations"):
        if "Evaluation" not in record:
            continue
        try:
            evaluation = from_mapping(Evaluation, record["Evaluation"], "evaluation")
        except ConfigError:
            continue  # another release wrote it
        if len({_steps(run.curve) for size in evaluation.sizes for run in size.runs}) == 1:
            yield evaluation


def _keys_of(evaluation: Evaluation) -> set[str]:
    return {run.job_key for size in evaluation.sizes for run in size.runs}


def _steps(curve: Sequence[Any]) -> tuple[int, ...]:
    return tuple(point.step for point in curve)


def _training(evaluation: Evaluation) -> tuple[Any, ...]:
    """What a record tells of how its models were trained."""
    largest = evaluation.sizes[-1]
    return (
        evaluation.horizon,
        tuple(size.size for size in evaluation.sizes),
        largest.num_params_total - largest.num_params_non_embedding,
        _steps(largest.runs[0].curve),
        evaluation.score.kind,
        evaluation.score.target_params,
    )


def _ledger(group: Sequence[Evaluation]) -> Ledger | None:
    """None with fewer than three candidates that share a seed."""
    counts: dict[int, int] = {}
    for one in group:
        for seed in one.sizes[0].seeds:
            counts[seed] = counts.get(seed, 0) + 1
    most = max(counts.values())
    seeds = tuple(sorted(seed for seed, count in counts.items() if count == most))
    chosen = [one for one in group if set(seeds) <= set(one.sizes[0].seeds)]
    if len(chosen) < MIN_CANDIDATES:
        return None
    chosen.sort(key=lambda one: one.program.source_hash)
    names = _names([one.program for one in chosen])
    first = chosen[0]
    curves = [_curves(name, one.sizes, seeds) for name, one in zip(names, chosen, strict=True)]
    standard = first.baseline or first.sizes
    counts_of_standard = [float(size.num_params_non_embedding) for size in standard]
    target = target_size(counts_of_standard, first.score.target_params)
    return Ledger(
        horizon=first.horizon,
        frameworks=tuple(sorted({one.program.framework for one in chosen})),
        sizes=tuple(size.size.name for size in first.sizes),
        seeds=seeds,
        fitness_kind=first.score.kind,
        target_params=target,
        baseline_jobs=tuple(
            sorted(run.job_key for size in standard for run in size.runs if run.seed in seeds)
        ),
        points=curves[0].steps,
        ledger=horizon_ledger(curves, first.score.kind, target),
        last_tenths=last_tenths(curves),
        num_left_out=len(group) - len(chosen),
    )


def _curves(name: str, sizes: Sequence[SizeResult], seeds: Sequence[int]) -> Curves:
    runs = [{run.seed: run for run in size.runs} for size in sizes]
    losses = [
        [[point.validation_loss_nats for point in size[seed].curve] for size in runs]
        for seed in seeds
    ]
    return Curves(
        name=name,
        num_params=tuple(float(size.num_params_non_embedding) for size in sizes),
        steps=_steps(sizes[0].runs[0].curve),
        losses=np.array(losses, dtype=np.float64),
    )


def _names(programs: Sequence[Program]) -> list[str]:
    """The catalogue's names where a program is shipped, else the first digits of its hash.

    The framework is added where two programs have one name.
    """
    shipped = {Program(source=m.source, framework=m.framework): m.name for m in mechanisms()}
    for framework in FRAMEWORKS:
        source = initial_program(framework).read_text(encoding="utf-8")
        shipped[Program(source=source, framework=framework)] = "softmax"
    names = [shipped.get(program, program.source_hash[:12]) for program in programs]
    return [
        f"{name} ({program.framework})" if names.count(name) > 1 else name
        for name, program in zip(names, programs, strict=True)
    ]
