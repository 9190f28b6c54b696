"""The selector with scripted scores: who gets seeds, what a score is then, and what is told."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from made_results import COUNTS, made_evaluation

from openevolve_unified.config.schema import FitnessConfig, ScalingLawConfig
from openevolve_unified.config.selection import SelectionConfig
from openevolve_unified.evaluation.race import Hurdle
from openevolve_unified.evaluation.selector import Known, MeasuredBaseline, Selector
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.judgement.race import RaceRule
from openevolve_unified.records import Failure, Program

LINE = np.log(COUNTS)
INITIAL = "initial"
SEEDS = (42, 43, 44)


def losses(score):
    """A ladder on a line of this slope, with sign changed; all lines meet far below the ladder."""
    return tuple(9.0 - score * LINE)


class Pipeline:
    """Scores by source and seed; a text instead of a score is the reason of a failure."""

    def __init__(self, scores, max_seeds=3):
        self.config = ScalingLawConfig(
            framework="matrix_mixer",
            initial_program="-",
            output_dir="-",
            ladder="quickstart",
            fitness=FitnessConfig(guard_tolerance_nats=9.0),
            selection=SelectionConfig(max_seeds=max_seeds),
        )
        self.initial = Program(source=INITIAL, framework="matrix_mixer")
        self.notices = []
        self.context = SimpleNamespace(listener=lambda event: self.notices.append(event.message))
        self.asked = []
        self._scores = scores

    def evaluate(self, source, seeds=None, hurdle=None):
        seeds = self.config.training.seeds if seeds is None else tuple(seeds)
        self.asked.append((source, seeds))
        scores = {seed: self._scores[source][SEEDS.index(seed)] for seed in seeds}
        program = Program(source=source, framework="matrix_mixer")
        for value in scores.values():
            if isinstance(value, str):
                stage, _, reason = value.partition(": ")
                return Failure(program=program, stage=stage, reason=reason)
        ladders = {seed: losses(value) for seed, value in scores.items()}
        own = [{seed: ladders[seed][size] for seed in seeds} for size in range(len(COUNTS))]
        its = [
            {seed: losses(self._scores[INITIAL][SEEDS.index(seed)])[size] for seed in seeds}
            for size in range(len(COUNTS))
        ]
        made = made_evaluation(own, () if source == INITIAL else its)
        return dataclasses.replace(made, program=program)


def noise(scores, sd=0.01):
    """A floor under which a score moves by about ``sd`` from seed to seed."""
    per_size = sd * float(np.sqrt(((LINE - LINE.mean()) ** 2).sum()))
    floor = NoiseFloor(
        num_params=tuple(map(float, COUNTS)),
        num_seeds=9,
        seed_sd=(per_size,) * 4,
        seed_correlation=tuple(map(tuple, np.eye(4))),
    )
    return MeasuredBaseline(floor=floor, scores=dict(zip(SEEDS, scores, strict=True)))


def hash_of(source):
    return Program(source=source, framework="matrix_mixer").source_hash[:12]


def known(**scores):
    return {
        hash_of(source): Known(source=source, scores=dict(zip(SEEDS, values, strict=False)))
        for source, values in scores.items()
    }


def select(pipeline, source, tried=(), elite=None, told=None, measured=True):
    selector = Selector(pipeline, noise([0.1, 0.1, 0.1]) if measured else None)
    return selector.judge(
        source,
        dict(tried),
        lambda evaluation: elite and hash_of(elite),
        [].append if told is None else told.append,
    )


BASE = {INITIAL: [0.1, 0.1, 0.1]}


def test_a_newcomer_that_is_not_ahead_keeps_its_one_seed():
    pipeline = Pipeline({**BASE, "weak": [0.1, 9.0, 9.0]})
    result = select(pipeline, "weak")
    assert [seeds for source, seeds in pipeline.asked if source == "weak"] == [(42,)]
    assert result.score.by_seed == pytest.approx((0.1,))
    assert result.score.stderr == pytest.approx(0.01)
    assert result.score.degrees_of_freedom == 8
    assert result.score.value == pytest.approx(0.1)


def test_a_lucky_newcomer_gets_every_seed_and_loses_its_luck():
    pipeline = Pipeline({**BASE, "lucky": [0.128, 0.1, 0.1]})
    result = select(pipeline, "lucky")
    assert [seeds for source, seeds in pipeline.asked if source == "lucky"] == [
        SEEDS[:number] for number in (1, 2, 3)
    ]
    assert result.score.mean == pytest.approx((0.128 + 0.1 + 0.1) / 3)
    assert 0.1 <= result.score.value < 0.105, "shrunk by half or more"
    assert 0 <= result.score.reliability < 0.5
    assert result.score.stderr < 0.01


def test_a_plainly_better_newcomer_is_decided_at_its_first_seeds_and_keeps_its_gain():
    pipeline = Pipeline({**BASE, "good": [0.4, 0.4, 0.4]})
    result = select(pipeline, "good")
    assert len(result.score.by_seed) == 1
    assert result.score.value == pytest.approx(0.4, abs=0.03)
    assert result.score.reliability > 0.9


def test_a_rival_with_fewer_seeds_gets_the_next_one_and_is_told():
    pipeline = Pipeline({**BASE, "new": [0.15, 0.15, 0.15], "elite": [0.13, 0.13, 0.13]})
    told = []
    result = select(pipeline, "new", known(elite=[0.13]), "elite", told)
    assert len(result.score.by_seed) > 1
    assert {evaluation.program.source for evaluation in told} == {"elite"}
    assert len(told[-1].score.by_seed) > 1
    assert told[-1].score.reliability is not None


def test_without_a_floor_or_with_one_search_seed_nobody_gets_more():
    scores = {**BASE, "lucky": [0.128, 0.1, 0.1]}
    pipeline = Pipeline(scores)
    result = select(pipeline, "lucky", measured=False)
    assert pipeline.asked == [("lucky", (42,))]
    assert (result.score.stderr, result.score.reliability) == (None, None)
    assert result.score.value == pytest.approx(0.128)
    pipeline = Pipeline(scores, max_seeds=1)
    result = select(pipeline, "lucky")
    assert pipeline.asked == [("lucky", (42,))]
    assert result.score.stderr == pytest.approx(0.01), "the floor's error is known all the same"


def test_a_program_that_is_tried_again_keeps_the_seeds_it_has():
    pipeline = Pipeline({**BASE, "weak": [0.1, 0.1, 0.1]})
    result = select(pipeline, "weak", known(weak=[0.1, 0.1]))
    assert len(result.score.by_seed) == 2


def test_one_that_diverges_at_a_further_seed_is_refused_and_machine_trouble_is_not_its_fault():
    pipeline = Pipeline({**BASE, "new": [0.128, "diverged: at 7", 0.1]})
    result = select(pipeline, "new")
    assert (result.stage, result.reason) == ("diverged", "at 7")
    pipeline = Pipeline({**BASE, "new": [0.128, "deadline: no time", 0.1]})
    result = select(pipeline, "new")
    assert len(result.score.by_seed) == 1
    assert "one more seed" in pipeline.notices[0]
    assert "no time" in pipeline.notices[0]


def test_the_initial_program_is_known_at_every_seed_where_its_noise_was_measured():
    pipeline = Pipeline({INITIAL: [0.1, 0.12, 0.14]})
    result = Selector(pipeline, noise([0.1, 0.12, 0.14])).judge_initial()
    assert pipeline.asked == [(INITIAL, SEEDS)]
    assert result.score.mean == pytest.approx(0.12)
    assert result.score.stderr == pytest.approx(0.01 / np.sqrt(3))
    assert result.score.degrees_of_freedom == 8, "the floor's: its own seeds are among those"
    result = Selector(pipeline, None).judge_initial()
    assert len(result.score.by_seed) == 1


def test_a_known_program_gets_one_more_seed_until_it_has_them_all():
    pipeline = Pipeline({**BASE, "parent": [0.2, 0.1, 0.1]})
    selector = Selector(pipeline, noise([0.1, 0.1, 0.1]))
    again = selector.measure_again("parent", known(parent=[0.2]))
    assert again.score.by_seed == pytest.approx((0.2, 0.1))
    assert selector.measure_again("parent", known(parent=[0.2, 0.1, 0.1])) is None


def test_a_parent_is_due_when_it_was_one_too_often_for_its_seeds():
    selector = Selector(Pipeline(BASE), noise([0.1, 0.1, 0.1]))
    one, two, all_seeds = (known(parent=[0.2] * number) for number in (1, 2, 3))
    assert [selector.is_due("parent", times, one) for times in (1, 2)] == [False, True]
    assert [selector.is_due("parent", times, two) for times in (3, 4)] == [False, True]
    assert not selector.is_due("parent", 99, all_seeds)
    assert not selector.is_due(INITIAL, 99, one), "the initial program has its own seeds"
    assert not Selector(Pipeline(BASE), None).is_due("parent", 99, one), "no floor, no rule"


def test_the_race_sets_a_newcomer_against_the_best_so_far_and_nobody_else(monkeypatch):
    scores = {INITIAL: [0.1] * 3, "old": [0.2] * 3, "new": [0.15] * 3}
    pipeline = Pipeline(scores, max_seeds=1)
    hurdles = []

    def evaluate(source, seeds=None, hurdle=None):
        hurdles.append((source, hurdle))
        return Pipeline.evaluate(pipeline, source, seeds)

    def hurdle_of(rule, programs, config):
        return [program.program.source for program in programs]

    pipeline.evaluate = evaluate
    monkeypatch.setattr(Hurdle, "of", hurdle_of)
    known = {hash_of("old"): Known(source="old", scores={42: 0.2})}
    rule = RaceRule(share=0.5, margin=0.0, regret_bound=0.0, saved_share=0.4)
    for race, wanted in ((rule, [INITIAL, "old"]), (None, None)):
        hurdles.clear()
        Selector(pipeline, None, race).judge("new", known, lambda e: None, lambda r: None)
        assert [hurdle for source, hurdle in hurdles if source == "new"] == [wanted]
        assert {hurdle is None for source, hurdle in hurdles if source != "new"} <= {True}
    hurdles.clear()
    Selector(pipeline, None, rule).judge("old", known, lambda e: None, lambda r: None)
    assert hurdles == [("old", None)], "it was trained to the end before"
