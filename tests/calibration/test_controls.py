"""Controls: disjoint seeds, equal evaluations, winners confirmed, runs that continue."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
from made_judge import MadeJudge
from tiny_ladder import INITIAL

from openevolve_unified.calibration.controls import (
    GRAMMAR,
    LLM,
    LUCK,
    RANDOM,
    TUNING,
    arms_to_compare,
    best_of_arm,
    luck_arm,
    run_controls,
)
from openevolve_unified.calibration.seeds import control_seeds
from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.judgement.seeds import seed_plan

SEEDS = control_seeds((42,), num_runs=3, num_evaluations=4, num_confirmation=2)


def flat(seeds):
    luck = [one for run in seeds.luck for candidate in run for one in candidate]
    return [*seeds.confirmation, *itertools.chain(*seeds.search), *luck]


@pytest.mark.parametrize("configured", [(42,), (7, 10_007, 5_007, 3), (0,)])
def test_no_seed_serves_two_purposes(configured):
    seeds = control_seeds(configured, num_runs=3, num_evaluations=5, num_confirmation=2)
    used = flat(seeds)
    assert len({*used, *configured}) == len(used) + len(configured)
    assert {len(run) for run in seeds.search} == {len(configured)}
    assert [len(run) for run in seeds.luck] == [5, 5, 5]


def test_the_sets_that_a_run_of_evolution_derives_are_apart_too():
    seeds = control_seeds((42,), num_runs=2, num_evaluations=5, num_confirmation=2)
    used = set(flat(seeds))
    for search in seeds.search:
        own = seed_plan(search, max_seeds=8, num_confirmation=8, num_validation=8, num_noise=24)
        derived = {*own.search, *own.confirmation, *own.validation, *own.noise}
        assert derived & used == set(search)


def test_more_runs_leave_the_earlier_ones_as_they_are():
    more = control_seeds((42,), num_runs=5, num_evaluations=4, num_confirmation=2)
    assert more.search[:3] == SEEDS.search
    assert more.luck[:3] == SEEDS.luck
    assert more.confirmation == SEEDS.confirmation


class Setting:
    """Arms over a made judge, in a folder."""

    def __init__(self, folder, level, noise=0.001):
        self.folder = folder
        self.asked = []
        self.pipeline_for = lambda seeds: MadeJudge(level, seeds, noise, self.asked)
        self.drawn = lambda plan, pipeline: (
            f"program {plan.random_seed} {number}" for number in itertools.count()
        )

    def run(self, *names, settings="a", seeds=SEEDS):
        makers = {
            LUCK: lambda: luck_arm(self.pipeline_for),
            RANDOM: lambda: best_of_arm(RANDOM, self.pipeline_for, self.drawn),
        }
        self.runs = []
        return run_controls(
            [makers[name]() for name in names],
            self.pipeline_for,
            seeds,
            4,
            self.folder,
            settings,
            on_start=lambda title: None,
            on_run=self.runs.append,
        )


def test_luck_selects_a_gain_and_confirms_none(tmp_path):
    report = Setting(tmp_path, lambda source: 0.0, noise=0.01).run(LUCK)
    (selected,), (confirmed,) = report.selected, report.confirmed
    assert selected.mean > 0.005, "the best of five baselines looks better than the first"
    assert (confirmed.mean, confirmed.sd) == (0.0, 0.0)
    assert all(run.is_initial for run in report.runs)


def test_every_arm_has_as_many_evaluations_with_the_seeds_of_its_run(tmp_path):
    setting = Setting(tmp_path, lambda source: 0.0)
    report = setting.run(LUCK, RANDOM)
    assert {run.num_evaluations for run in report.runs} == {4}
    for number, seeds in enumerate(SEEDS.search):
        others = {source for source, used in setting.asked if used == seeds} - {INITIAL}
        assert len(others) == 4
        assert all((INITIAL, luck) in setting.asked for luck in SEEDS.luck[number])
    assert [run.number for run in report.runs] == [1, 1, 2, 2, 3, 3], "arms advance side by side"


def test_a_true_gain_is_confirmed_and_beats_luck(tmp_path):
    setting = Setting(tmp_path, lambda source: 0.0)

    class Steeper(MadeJudge):
        def _losses(self, source, level):
            losses = super()._losses(source, level)
            if source.endswith(" 2"):
                losses[-1] = {seed: loss - 0.1 for seed, loss in losses[-1].items()}
            return losses

    setting.pipeline_for = lambda seeds: Steeper(lambda source: 0.0, seeds, 0.001, setting.asked)
    report = setting.run(LUCK, RANDOM)
    random_runs = [run for run in report.runs if run.arm == RANDOM]
    assert all(run.confirmed_gain == pytest.approx(0.04, abs=0.01) for run in random_runs)
    assert all(run.confirmed_loss_gain_nats == pytest.approx(0.1, abs=0.01) for run in random_runs)
    (pair,) = report.comparisons
    assert (pair.arm, pair.against, pair.verdict) == (RANDOM, LUCK, "beat")


def test_the_confirmed_gain_is_one_of_what_is_scored(tmp_path):
    setting = Setting(tmp_path, lambda source: -0.1 if source.endswith(" 2") else 0.0)

    def pipeline_for(seeds):
        judge = MadeJudge(
            lambda source: -0.1 if source.endswith(" 2") else 0.0, seeds, 0.001, setting.asked
        )
        fitness = FitnessConfig(kind="largest_loss")
        judge.config = dataclasses.replace(judge.config, fitness=fitness)
        return judge

    setting.pipeline_for = pipeline_for
    runs = [run for run in setting.run(LUCK, RANDOM).runs if not run.is_initial]
    assert runs
    for run in runs:
        assert run.confirmed_gains == pytest.approx(run.confirmed_loss_gains_nats), (
            "not the slope's"
        )


def test_a_winner_that_fails_at_fresh_seeds_counts_as_nothing_and_says_why(tmp_path):
    setting = Setting(tmp_path, lambda source: 0.0)

    def pipeline_for(seeds):
        is_confirming = tuple(seeds) == SEEDS.confirmation
        level = (lambda s: "diverged" if s != INITIAL else 0.0) if is_confirming else (lambda s: 0)
        return MadeJudge(level, seeds, 0.01, setting.asked)

    setting.pipeline_for = pipeline_for
    report = setting.run(RANDOM)
    won = [run for run in report.runs if not run.is_initial]
    assert won
    assert {run.unconfirmed_because for run in won} == {"diverged: as it was made"}
    assert {run.confirmed_gain for run in won} == {0.0}


def test_refused_programs_count_as_evaluations_and_not_as_trained(tmp_path):
    setting = Setting(tmp_path, lambda source: "budget" if source.endswith("1") else 0.0)
    report = setting.run(RANDOM)
    assert {(run.num_evaluations, run.num_trained) for run in report.runs} == {(4, 3)}


def test_finished_runs_are_read_and_an_unfinished_one_is_done(tmp_path):
    setting = Setting(tmp_path, lambda source: 0.0)
    before = setting.run(LUCK, RANDOM)
    (tmp_path / RANDOM / "run_2" / "result.json").unlink()
    (tmp_path / RANDOM / "run_3" / "result.json").write_text("{")
    setting.asked.clear()
    after = setting.run(LUCK, RANDOM)
    assert after == before
    programs = {source.rpartition(" ")[0] for source, _ in setting.asked if source != INITIAL}
    assert programs == {f"program {SEEDS.search[run][0]}" for run in (1, 2)}
    more = control_seeds((42,), num_runs=4, num_evaluations=4, num_confirmation=2)
    setting.asked.clear()
    assert setting.run(RANDOM, seeds=more).num_runs == 4
    programs = {source.rpartition(" ")[0] for source, _ in setting.asked if source != INITIAL}
    assert programs == {f"program {more.search[3][0]}"}


def test_runs_of_other_settings_are_refused_and_kept(tmp_path):
    setting = Setting(tmp_path, lambda source: 0.0)
    setting.run(RANDOM)
    kept = json.loads((tmp_path / RANDOM / "run_1" / "result.json").read_text())
    with pytest.raises(ConfigError, match=r"run_1 holds a run with another configuration"):
        setting.run(RANDOM, settings="b")
    assert json.loads((tmp_path / RANDOM / "run_1" / "result.json").read_text()) == kept


def test_the_machines_trouble_is_no_result(tmp_path):
    setting = Setting(tmp_path, lambda source: "deadline" if source.endswith(" 3") else 0.0)
    with pytest.raises(MachineError, match="as it was made"):
        setting.run(RANDOM)
    assert not list(tmp_path.rglob("result.json"))


def test_an_initial_program_that_is_refused_at_these_seeds_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="is refused at other training seeds"):
        Setting(tmp_path, lambda source: "diverged").run(LUCK)


def test_evolution_is_held_against_every_control_and_the_model_against_the_grammar():
    assert arms_to_compare([LUCK, RANDOM, GRAMMAR, LLM]) == [
        (GRAMMAR, LUCK),
        (GRAMMAR, RANDOM),
        (LLM, LUCK),
        (LLM, RANDOM),
        (LLM, GRAMMAR),
    ]
    assert arms_to_compare([LUCK, TUNING]) == [(TUNING, LUCK)]
    assert arms_to_compare([TUNING, RANDOM]) == []
    assert arms_to_compare([GRAMMAR]) == []
