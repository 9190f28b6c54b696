"""The race on a real, tiny ladder: who trails stops, is not remembered, and can go on later."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.config.names import CHECKED_NAMES, METRIC_NAMES, UNTRAINED_SCORE
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.evaluation.race import Hurdle
from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.judgement.race import RaceRule
from openevolve_unified.records import Evaluation, Failure
from openevolve_unified.report.console import Reporter
from openevolve_unified.report.summary import race_line
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.entries import is_entry
from openevolve_unified.store import Store

CANDIDATE = INITIAL.replace("        return z\n", "        return 0.5 * z\n")
RULE = RaceRule(share=0.5, margin=0.0, regret_bound=0.001, saved_share=0.4)


@pytest.fixture(scope="module")
def scene(one_worker, tmp_path_factory):
    """A pipeline, its folder, its baseline, and a hurdle that nobody takes."""
    folder = tmp_path_factory.mktemp("race")
    config = tiny_config(folder, ExecutionConfig(num_workers=1, deadline_s=300))
    pipeline, events = build_pipeline(config, folder, "store", one_worker)
    baseline = pipeline.evaluate(INITIAL)
    hurdle = Hurdle.of(RULE, [baseline], config)
    return pipeline, events, folder, baseline, dataclasses.replace(hurdle, best_fitness=99.0)


@pytest.fixture(scope="module")
def stopped(scene):
    pipeline, _, folder, _, hurdle = scene
    known = set((folder / "store").rglob("runs/**/*.json"))
    result = pipeline.evaluate(CANDIDATE, hurdle=hurdle)
    assert set((folder / "store").rglob("runs/**/*.json")) == known, "nothing is finished"
    return result


def test_a_hurdle_is_what_the_best_had_reached_there(scene):
    pipeline, _, _, baseline, _ = scene
    own = Hurdle.of(RULE, [baseline], pipeline.config)
    assert (own.step, own.best) == (10, baseline.program.source_hash[:12])
    at_end = Hurdle.of(dataclasses.replace(RULE, share=1.0), [baseline], pipeline.config)
    assert at_end.best_fitness == pytest.approx(baseline.score.fitness)
    assert own.best_fitness != at_end.best_fitness


def test_who_trails_stops_with_its_checkpoints_and_no_verdict_is_remembered(scene, stopped):
    _, _, folder, baseline, _ = scene
    assert isinstance(stopped, Failure)
    assert (stopped.stage, stopped.is_verdict) == ("stopped_early", False)
    found = stopped.stopped_early
    assert (found.step, found.training_steps, found.saved_share) == (10, 20, 0.5)
    assert found.best == baseline.program.source_hash[:12]
    assert f"behind that of {found.best} there (99.0000)" in stopped.reason
    assert stopped.traits is not None
    assert len(list((folder / "store").rglob("checkpoints/**/*.safetensors"))) == 3


def test_it_is_no_rejection_and_scores_below_all_that_were_measured(scene, stopped, tmp_path):
    _, _, _, baseline, _ = scene
    values = metrics(stopped)
    assert tuple(values) == METRIC_NAMES
    assert values["trained"] == 0.0
    assert UNTRAINED_SCORE < values["combined_score"] < baseline.score.value - 300
    assert [values[name] for name in CHECKED_NAMES] == list(stopped.features.values())
    newcomer, resting = Standing.of_evaluation(baseline), Standing.of_metrics(values)
    assert compare(newcomer, resting).is_better, "a measured one takes its cell"
    assert not compare(resting, newcomer).is_better
    assert artifacts(stopped)["verdict"].startswith("STOPPED EARLY")
    directory = RunDirectory(tmp_path)
    initial = directory.record(baseline)
    entry = directory.record(stopped, 1)
    assert is_entry(entry)
    assert (entry["verdict"], entry["stopped_at_step"], entry["saved_share"]) == (
        "stopped",
        10,
        0.5,
    )
    assert race_line(directory.history(), initial) == (
        "1 of 1 candidates were stopped early: 50% of the steps of their first trainings were saved"
    )
    assert race_line([initial], initial) is None


def test_people_read_one_line(stopped, tmp_path, capsys):
    reporter = Reporter()
    reporter.start_candidate("candidate 2/3")
    reporter.show_verdict(RunDirectory(tmp_path).record(stopped, 2))
    line = capsys.readouterr().out
    assert line.startswith("candidate 2/3: stopped early: at step 10 of 20 its fitness is")
    assert len(line) <= 101


@pytest.mark.slow  # the training itself is held to the same in tests/training/test_loop.py
def test_it_goes_on_where_it_stopped_and_ends_as_if_it_had_not(scene, stopped):
    pipeline, events, folder, _, hurdle = scene
    events.clear()
    low = dataclasses.replace(hurdle, best_fitness=-99.0)
    result = pipeline.evaluate(CANDIDATE, hurdle=low)
    assert isinstance(result, Evaluation)
    assert list((folder / "store").rglob("checkpoints/**/*.safetensors")) == []
    other, _ = build_pipeline(pipeline.config, folder, "other", pipeline.context.machine)
    undisturbed = other.evaluate(CANDIDATE)
    assert [size.losses_nats for size in undisturbed.sizes] == [
        size.losses_nats for size in result.sizes
    ]
    assert result.score == undisturbed.score
    assert pipeline.evaluate(CANDIDATE, hurdle=hurdle).cached, "a verdict of the end stands"
    twin = CANDIDATE.replace("return 0.5 * z", "return 0.5 * z  # the same")
    assert pipeline.evaluate(twin, hurdle=hurdle).score == result.score, "there is nothing to save"


def test_a_paused_run_is_never_stored(scene, stopped):
    _, _, folder, _, _ = scene
    statuses = {
        Store(folder / "store").get("runs", Path(path).stem)["status"]
        for path in (folder / "store").rglob("runs/**/*.json")
    }
    assert statuses == {"finished"}
