"""Folders of runs that nobody ran: as the commands leave them, with losses that are known."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from made_results import COUNTS, made_evaluation

from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.config.schema import LADDERS
from openevolve_unified.evaluation.confirmation import Confirmed
from openevolve_unified.judgement.confirmation import confirm
from openevolve_unified.judgement.replicates import scores_by_seed
from openevolve_unified.plain.canonical import content_hash, to_plain
from openevolve_unified.plain.files import write_json
from openevolve_unified.records import Evaluation, Failure, Program, SizeResult
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.event_log import EventLog
from openevolve_unified.runs.events import (
    Confirmation,
    IterationEnded,
    PlanMade,
    SessionEnded,
    SessionStarted,
    Verdict,
)
from openevolve_unified.runs.plan_file import write_plan
from openevolve_unified.runs.proposals import Proposal, ProposalLog
from openevolve_unified.store import open_store

ROOT = Path(__file__).parents[2]
LOSS, SLOPE = 2.0, -0.1
ABOVE_ON_TEST = 0.05
"""Nats by which every test loss lies above the validation loss."""
SECONDS_PER_MODEL = 1.5
JOULES_PER_MODEL = 45.0
FLOPS_PER_STEP = 1e6


def runs_in(place: Path) -> Callable[..., Path]:
    """``made("name", "framework", ...)`` writes a run into ``place``; its folder."""

    def make(name: str, framework: str = "coefficient_dynamics", **changes: Any) -> Path:
        return MadeRun(place / name, framework, **changes).folder

    return make


class MadeRun:
    """Writes one run into ``folder``, whose store is beside it.

    Args:
        gains: in slope, of each candidate over the initial program, in the order of trial.
        num_confirmed: fresh seeds of the confirmation; 0: none.
        level: nats by which all losses of this run lie higher.
        luck: standard deviation of one loss, from program, size and seed.
        cause: how its session ended; None: it did not.
        joules: of each model's training; None: not told.
    """

    def __init__(
        self,
        folder: Path,
        framework: str = "coefficient_dynamics",
        *,
        gains: Sequence[float] = (-0.01, 0.02, 0.05),
        num_confirmed: int = 4,
        level: float = 0.0,
        luck: float = 0.0005,
        cause: str | None = "done",
        overrides: Sequence[str] = (),
        has_baseline: bool = True,
        joules: float | None = JOULES_PER_MODEL,
    ):
        self.folder, self.framework = folder, framework
        self._level, self._luck, self._joules = level, luck, joules
        initial = ROOT / "initial_programs" / f"{framework}.py"
        settings = [
            f"scaling_law.framework={framework}",
            f"scaling_law.initial_program={initial}",
            f"scaling_law.selection.num_confirmation_seeds={num_confirmed}",
            *overrides,
        ]
        quickstart = ROOT / "configs" / "quickstart.yaml"
        self.experiment = load_experiment(quickstart, settings, folder)
        self.directory = RunDirectory(folder)
        self.directory.save_settings(self.experiment)
        self.log = EventLog(self.directory.events_path)
        self._begin()
        self.initial = initial.read_text()
        if has_baseline:
            self.judge(self.evaluation(self.initial, 0.0), None)
        self.proposals = ProposalLog(folder)
        for iteration, gain in enumerate(gains, 1):
            self.judge(self.evaluation(self.source(iteration), gain), iteration)
            self._account(iteration, "trained", self.source(iteration))
        refused = Program(source="refused", framework=framework)
        failure = Failure(program=refused, stage="causality", reason="it reads the future")
        self.judge(failure, len(gains) + 1)
        self._account(len(gains) + 1, "rejected", "refused", "causality")
        if num_confirmed and gains and max(gains) > 0:
            self._confirm(gains.index(max(gains)) + 1, max(gains), num_confirmed)
        if cause is not None:
            self.log(SessionEnded(cause=cause))

    def source(self, iteration: int) -> str:
        """The program of an iteration."""
        return self.initial.replace("import math\n", f"import math  # program {iteration}\n")

    def loss(self, source: str, gain: float, place: int, seed: int) -> float:
        """On the validation split, of one size and seed."""
        size = math.log(COUNTS[place] / COUNTS[0])
        shared = random.Random(f"{place} {seed}").gauss(0, 10 * self._luck)
        own = random.Random(f"{self.framework} {source} {place} {seed}").gauss(0, self._luck)
        return LOSS + self._level + (SLOPE - gain) * size + shared + own

    def evaluation(self, source: str, gain: float, seeds: Sequence[int] = (42,)) -> Evaluation:
        """As the pipeline gives it."""

        def losses(of: str, its_gain: float) -> list[dict[int, float]]:
            places = range(len(COUNTS))
            return [{s: self.loss(of, its_gain, place, s) for s in seeds} for place in places]

        baseline = [] if source == self.initial else losses(self.initial, 0.0)
        found = made_evaluation(
            losses(source, gain), baseline, COUNTS, source, LADDERS["quickstart"]
        )
        return dataclasses.replace(
            found,
            program=Program(source=source, framework=self.framework),
            horizon=self.experiment.scaling_law.training.horizon,
            sizes=self._as_trained(found.sizes, source),
            baseline=self._as_trained(found.baseline, self.initial),
            features={**found.features, "flops_ratio": 1.05, "params_ratio": 1.0},
            checks={"isolation": {"level": "full"}, "causality": {"method": "proved"}},
        )

    def _as_trained(self, sizes: Sequence[SizeResult], source: str) -> tuple[SizeResult, ...]:
        return tuple(
            dataclasses.replace(
                size,
                runs=tuple(
                    dataclasses.replace(
                        run,
                        job_key=content_hash([self.framework, source, size.size.name, run.seed]),
                        step=self.experiment.scaling_law.training.training_steps,
                        test_loss_nats=run.final_loss_nats + ABOVE_ON_TEST,
                        train_time_s=SECONDS_PER_MODEL,
                        energy_joules=self._joules,
                        trained_fingerprint=content_hash(source),
                    )
                    for run in size.runs
                ),
            )
            for size in sizes
        )

    def _begin(self) -> None:
        law = self.experiment.scaling_law
        self.log(
            SessionStarted(
                is_resumed=False,
                config_hash=self.experiment.hash,
                framework=law.framework,
                horizon=law.training.horizon,
                num_iterations=self.experiment.iterations,
            )
        )
        sizes = [
            {"size": to_plain(size), "flops_per_step": FLOPS_PER_STEP, "num_steps": 750}
            for size in law.sizes
        ]
        plan = {"candidate_s": 6.0, "device": "cpu", "precision": "float32", "num_workers": 2}
        plan.update(sizes=sizes, price_per_hour=None)
        write_plan(self.folder, plan)
        self.log(PlanMade(plan=plan))

    def judge(self, result: Evaluation | Failure, iteration: int | None) -> None:
        """Record a verdict and tell it; None: of the initial program."""
        entry = self.directory.record(result, iteration)
        self.log(Verdict(is_initial=iteration is None, entry=entry, program=entry["program"]))

    def _account(self, iteration: int, outcome: str, source: str, reason: str = "") -> None:
        program = Program(source=source, framework=self.framework).source_hash[:12]
        proposal = Proposal(iteration=iteration, outcome=outcome, reason=reason, program=program)
        self.proposals.add(proposal)
        self.log(IterationEnded.of(proposal))

    def _confirm(self, iteration: int, gain: float, number: int) -> None:
        seeds = tuple(range(1042, 1042 + number))
        found = self.evaluation(self.source(iteration), gain, seeds)
        store = open_store(self.folder.parent / "store")
        key = content_hash([self.folder.name, found.program.source_hash])
        store.put("evaluations", key, {"Evaluation": to_plain(found)})
        fitness = self.experiment.scaling_law.fitness
        winner = tuple(scores_by_seed(found.sizes, found.baseline, fitness).values())
        initial = tuple(scores_by_seed(found.baseline, (), fitness).values())
        confirmation = confirm(winner, initial, None, gain + 0.01)
        entries = {entry["program"]: entry for entry in self.directory.history()}
        program = found.program.source_hash[:12]
        record = to_plain(
            Confirmed(
                program=program,
                verdict=confirmation.verdict,
                seeds=seeds,
                selected_gain=confirmation.selected_gain,
                gain=confirmation.confirmed_gain,
                gap=confirmation.gap,
                winner_scores=winner,
                initial_scores=initial,
                horizon=found.horizon,
            )
        )
        path = self.directory.confirmation_path
        write_json(path, {**record, "file": entries[program]["file"]})
        self.log(Confirmation(program=program, confirmation=record))
        self.directory.write_best_diff(self.directory.history()[0])
