"""Controls: what luck, tuning and random search reach with as many evaluations as evolution.

Every arm has several independent runs, each with training seeds and a random seed of its own; the
arms share the training seeds run by run, except luck, whose candidates are the initial program at
seeds that nothing else uses. An evaluation is a program that is handed to the evaluator, refused or
trained. A run selects the program with the highest score, the initial one included, so its selected
gain is 0 or more however bad the arm is: that is the winner's curse. So all winners are confirmed:
trained again, as the initial program is, at seeds that chose nobody, and compared pair by pair.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from openevolve_unified.calibration.seeds import ControlSeeds
from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.judgement.arms import (
    ArmComparison,
    ArmSummary,
    compare_arms,
    detectable_effect,
    summarise,
)
from openevolve_unified.judgement.replicates import scores_by_seed
from openevolve_unified.plain.canonical import content_hash
from openevolve_unified.plain.files import write_json, write_text
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Evaluation, Failure, Program

LUCK, TUNING, RANDOM, GRAMMAR, LLM = "luck", "tuning", "random", "grammar", "llm"
EVOLVING = (GRAMMAR, LLM)
DESCRIPTIONS = {
    LUCK: "the initial program itself, trained again at other seeds",
    TUNING: "the initial program with other numbers in it",
    RANDOM: "random programs of the grammar, none bred from another",
    GRAMMAR: "OpenEvolve's loop, the grammar proposing",
    LLM: "OpenEvolve's loop, the language model proposing",
}
PipelineFor = Callable[[Sequence[int]], Pipeline]
"""From training seeds to the pipeline that trains with them; all share machine and store."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One run of one arm."""

    number: int
    """From 1 on."""
    folder: Path
    num_evaluations: int
    search_seeds: tuple[int, ...]
    luck_seeds: tuple[tuple[int, ...], ...]
    random_seed: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a run selected."""

    winner_source: str
    winner_score: float
    baseline_score: float
    """Of the initial program at the search seeds."""
    num_evaluations: int
    num_trained: int


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to spend evaluations."""

    name: str
    search: Callable[[RunPlan], Found]


@dataclass(frozen=True, kw_only=True)
class ArmRun:
    """One finished run; gains are over the initial program at the same seeds."""

    key: str
    """Of everything that it depends on."""
    arm: str
    number: int
    winner: str
    """The first digits of its source's hash."""
    is_initial: bool
    """True when nothing beat the initial program."""
    selected_gain: float
    """Of the score that chose the winner: inflated by choosing."""
    confirmed_gains: tuple[float, ...]
    """Of the score, one per confirmation seed."""
    confirmed_loss_gains_nats: tuple[float, ...]
    """By which the winner's loss is lower at the largest size, one per confirmation seed."""
    unconfirmed_because: str | None
    """Why the winner was refused at the confirmation seeds; its gains then count as 0."""
    num_evaluations: int
    num_trained: int

    @property
    def confirmed_gain(self) -> float:
        return fmean(self.confirmed_gains)

    @property
    def confirmed_loss_gain_nats(self) -> float:
        return fmean(self.confirmed_loss_gains_nats)


@dataclass(frozen=True, kw_only=True)
class ControlReport:
    """All runs, each arm's distribution, and who beat whom."""

    framework: str
    horizon: str
    num_evaluations: int
    num_runs: int
    confirmation_seeds: tuple[int, ...]
    runs: tuple[ArmRun, ...]
    selected: tuple[ArmSummary, ...]
    """Per arm; gain of the score."""
    confirmed: tuple[ArmSummary, ...]
    confirmed_loss_nats: tuple[ArmSummary, ...]
    comparisons: tuple[ArmComparison, ...]
    """Of the confirmed gain of the score."""
    detectable_effect: float
    """Standard deviations of a run that this many runs find in 80% of cases, after Holm."""


def run_controls(
    arms: Sequence[Arm],
    pipeline_for: PipelineFor,
    seeds: ControlSeeds,
    num_evaluations: int,
    folder: Path,
    settings: str,
    on_start: Callable[[str], None],
    on_run: Callable[[ArmRun], None],
) -> ControlReport:
    """Run what is not finished yet, run by run, and compare.

    Args:
        folder: each run has a folder of its own below; its last file says that it is finished.
        settings: a hash of the experiment.

    Raises:
        ConfigError: a folder holds a run with other settings, or the experiment cannot run.
        MachineError: the machine could not finish; the same call continues.
    """
    runs = []
    for number, search_seeds in enumerate(seeds.search, start=1):
        for arm in arms:
            plan = RunPlan(
                number=number,
                folder=folder / arm.name / f"run_{number}",
                num_evaluations=num_evaluations,
                search_seeds=search_seeds,
                luck_seeds=seeds.luck[number - 1],
                random_seed=search_seeds[0],
            )
            chosen_by = plan.luck_seeds if arm.name == LUCK else search_seeds
            key = content_hash([settings, arm.name, num_evaluations, chosen_by, seeds.confirmation])
            on_start(f"{arm.name} run {number}/{len(seeds.search)}")
            run = read_run(plan.folder, key)
            if run is None:
                found = arm.search(plan)
                run = _confirmed(arm.name, plan, key, found, pipeline_for(seeds.confirmation))
                write_text(plan.folder / "winner.py", found.winner_source)
                write_json(plan.folder / "result.json", run)
            on_run(run)
            runs.append(run)
    return make_report(runs, pipeline_for(seeds.confirmation), num_evaluations)


def read_run(folder: Path, key: str) -> ArmRun | None:
    """The finished run in ``folder``; None when it is not finished.

    Raises:
        ConfigError: it is one of other settings.
    """
    try:
        stored = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        run = from_mapping(ArmRun, stored, "run")
    except FileNotFoundError:
        return None
    except (ValueError, ConfigError):
        return None  # damaged, or of another version: what it found is in the store
    if run.key != key:
        raise ConfigError(
            f"{folder} holds a run with another configuration or other numbers of evaluations or "
            "seeds; use the same settings, or --output for a control of its own"
        )
    return run


def make_report(runs: Sequence[ArmRun], pipeline: Pipeline, num_evaluations: int) -> ControlReport:
    """Summaries and comparisons of finished runs."""
    names = list(dict.fromkeys(run.arm for run in runs))
    gains = {name: [run.confirmed_gain for run in runs if run.arm == name] for name in names}
    pairs = arms_to_compare(names)
    training = pipeline.config.training
    num_runs = len(gains[names[0]])

    def summaries(value: Callable[[ArmRun], float]) -> tuple[ArmSummary, ...]:
        return tuple(
            summarise(name, [value(run) for run in runs if run.arm == name]) for name in names
        )

    return ControlReport(
        framework=pipeline.config.framework,
        horizon=training.horizon,
        num_evaluations=num_evaluations,
        num_runs=num_runs,
        confirmation_seeds=training.seeds,
        runs=tuple(runs),
        selected=summaries(lambda run: run.selected_gain),
        confirmed=summaries(lambda run: run.confirmed_gain),
        confirmed_loss_nats=summaries(lambda run: run.confirmed_loss_gain_nats),
        comparisons=compare_arms(gains, pairs),
        detectable_effect=detectable_effect(num_runs, max(1, len(pairs))),
    )


def arms_to_compare(names: Sequence[str]) -> list[tuple[str, str]]:
    """Evolution against every control and the model against the grammar; else all against luck."""
    evolving = [name for name in names if name in EVOLVING]
    controls = [name for name in names if name not in EVOLVING]
    if not evolving:
        return [(name, LUCK) for name in names if name != LUCK and LUCK in names]
    pairs = [(name, control) for name in evolving for control in controls]
    return [*pairs, (LLM, GRAMMAR)] if len(evolving) == 2 else pairs


def luck_arm(pipeline_for: PipelineFor) -> Arm:
    """Best of N re-seeded baselines."""

    def search(plan: RunPlan) -> Found:
        pipeline = pipeline_for(plan.search_seeds)
        initial = pipeline.initial.source
        baseline = _required(scored(pipeline, initial))
        scores = [scored(pipeline_for(seeds), initial) for seeds in plan.luck_seeds]
        known = [value for value in scores if value is not None]
        return Found(
            winner_source=initial,
            winner_score=max([baseline, *known]),
            baseline_score=baseline,
            num_evaluations=len(scores),
            num_trained=len(known),
        )

    return Arm(name=LUCK, search=search)


def best_of_arm(
    name: str, pipeline_for: PipelineFor, propose: Callable[[RunPlan, Pipeline], Iterator[str]]
) -> Arm:
    """Best of N programs that do not depend on one another's scores.

    Args:
        propose: programs without end, the same for the same run.
    """

    def search(plan: RunPlan) -> Found:
        pipeline = pipeline_for(plan.search_seeds)
        initial = pipeline.initial.source
        best_source, best_score = initial, _required(scored(pipeline, initial))
        baseline, tried = best_score, []
        programs = propose(plan, pipeline)
        for number in range(1, plan.num_evaluations + 1):
            source = next(programs)
            value = scored(pipeline, source)
            write_text(plan.folder / "programs" / f"{number:04d}.py", source)
            tried.append(value)
            if value is not None and value > best_score:
                best_source, best_score = source, value
        return Found(
            winner_source=best_source,
            winner_score=best_score,
            baseline_score=baseline,
            num_evaluations=len(tried),
            num_trained=sum(value is not None for value in tried),
        )

    return Arm(name=name, search=search)


def scored(pipeline: Pipeline, source: str) -> float | None:
    """The score of a program; None when it is refused.

    Raises:
        MachineError: the machine could not judge it.
    """
    result = evaluated(pipeline, source)
    return None if isinstance(result, Failure) else result.score.combined


def evaluated(pipeline: Pipeline, source: str) -> Evaluation | Failure:
    """Like ``Pipeline.evaluate``, with the machine's failures raised."""
    result = pipeline.evaluate(source)
    if isinstance(result, Failure) and result.is_machine_trouble:
        raise MachineError(result.reason, result.stage)
    return result


def _required(baseline: float | None) -> float:
    if baseline is None:
        raise ConfigError(
            "scaling_law.initial_program is refused at other training seeds, so there is nothing "
            "to compare with; openevolve-unified check says why"
        )
    return baseline


def _confirmed(arm: str, plan: RunPlan, key: str, found: Found, pipeline: Pipeline) -> ArmRun:
    initial = pipeline.initial
    winner = Program(source=found.winner_source, framework=initial.framework)
    number = len(pipeline.config.training.seeds)
    gains: tuple[float, ...] = (0.0,) * number
    losses, because = gains, None
    if winner.source_hash != initial.source_hash:
        result = evaluated(pipeline, winner.source)
        if isinstance(result, Failure):
            because = f"{result.stage}: {result.reason}"
        else:
            gains, losses = _gains(pipeline, result)
    return ArmRun(
        key=key,
        arm=arm,
        number=plan.number,
        winner=winner.source_hash[:12],
        is_initial=winner.source_hash == initial.source_hash,
        selected_gain=found.winner_score - found.baseline_score,
        confirmed_gains=gains,
        confirmed_loss_gains_nats=losses,
        unconfirmed_because=because,
        num_evaluations=found.num_evaluations,
        num_trained=found.num_trained,
    )


def _gains(pipeline: Pipeline, result: Evaluation) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seed by seed: of the score, and of the loss at the largest size."""
    baseline = evaluated(pipeline, pipeline.initial.source)
    assert isinstance(baseline, Evaluation), "the winner's evaluation needed it"
    fitness = pipeline.config.fitness
    scores = scores_by_seed(result.sizes, result.baseline, fitness).values()
    references = scores_by_seed(baseline.sizes, baseline.baseline, fitness).values()
    losses = zip(baseline.sizes[-1].losses_nats, result.sizes[-1].losses_nats, strict=True)
    return (
        tuple(own - other for own, other in zip(scores, references, strict=True)),
        tuple(other - own for other, own in losses),
    )
