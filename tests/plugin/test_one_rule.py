"""One rule for 'better': the population, the stopping rules, the best code and the summary agree.

Each is driven as it is used, and held to what ``compare`` says.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import math
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_results import made_evaluation, with_score
from openevolve_release import database, program
from rich.console import Console

from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.config.schema import StoppingConfig
from openevolve_unified.judgement.compare import Standing, best_of, compare
from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.judgement.selection import best_so_far
from openevolve_unified.judgement.shrinkage import Baseline, Observed
from openevolve_unified.plugin.answering.answer import Answer
from openevolve_unified.plugin.answering.exchange import Report
from openevolve_unified.plugin.evolve import EvolutionRun
from openevolve_unified.plugin.stopping import StoppingRules
from openevolve_unified.report.console import Reporter
from openevolve_unified.report.summary import print_summary
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.events import nobody
from openevolve_unified.runs.history import best_entry

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"

# Programs in the order of their trial, as (score, its standard error), and the place of the best.
CASES = {
    "one program": ([(0.10, 0.01)], 0),
    "equal": ([(0.10, 0.01), (0.10, 0.01)], 0),
    "equal and without an error": ([(0.10, 0.0), (0.10, 0.0)], 0),
    "higher within the error": ([(0.10, 0.02), (0.12, 0.02)], 0),
    "higher beyond the error": ([(0.10, 0.02), (0.13, 0.02)], 1),
    "higher by exactly the error": ([(0.0, 0.0), (0.25, 0.25)], 0),
    "lower beyond the error": ([(0.10, 0.02), (0.05, 0.02)], 0),
    "a known error beside a large one": ([(0.10, 0.001), (0.15, 0.06)], 0),
    "within two errors": ([(0.10, 0.01), (0.12, 0.01)], 1),
    "negative scores": ([(-0.40, 0.01), (-0.30, 0.01)], 1),
    "a drift of equal steps": ([(0.10, 0.01), (0.11, 0.01), (0.12, 0.01)], 2),
    "the first of two that are equal stays": ([(0.10, 0.01), (0.13, 0.01), (0.135, 0.01)], 1),
    "best, then worse": ([(0.10, 0.01), (0.20, 0.01), (0.15, 0.01)], 1),
    "better than the first, equal to the best": ([(0.1, 0.01), (0.2, 0.05), (0.24, 0.05)], 1),
}
EVERY_CASE = pytest.mark.parametrize(("programs", "expected"), CASES.values(), ids=CASES.keys())


@functools.cache
def result(number, score, stderr):
    evaluation = made_evaluation((2.4, 2.3, 2.2, 2.1), source=f"number = {number}\n")
    return with_score(evaluation, score, stderr)


def results(programs):
    return [result(number, *standing) for number, standing in enumerate(programs)]


@EVERY_CASE
def test_the_rule_itself(programs, expected):
    standings = [Standing(value=value, stderr=stderr) for value, stderr in programs]
    assert best_of(range(len(standings)), standings.__getitem__) == expected


@EVERY_CASE
def test_the_elite_of_a_cell_of_the_population(programs, expected):
    population = database()
    for number, tried in enumerate(results(programs)):
        population.add(program(str(number), str(number - 1) if number else None, **metrics(tried)))
    (elite,) = population.island_feature_maps[0].values()
    assert elite == str(expected)


@EVERY_CASE
def test_the_improvements_that_the_stopping_rules_see(programs, expected):
    first, *later = [Standing.of_metrics(metrics(tried)) for tried in results(programs)]
    patience = len(later) + 1
    rules = StoppingRules(StoppingConfig(patience_iterations=patience), first)
    assert [rules.observe_trained(standing) for standing in later] == [None] * len(later)
    num_since_best = len(later) - expected
    for _ in range(patience - num_since_best - 1):
        assert rules.observe_trained(first) is None
    assert "no improvement" in (rules.observe_trained(first) or "")


@EVERY_CASE
def test_the_best_code_of_a_run(programs, expected, tmp_path):
    directory = RunDirectory(tmp_path)
    for tried in results(programs):
        directory.record(tried)
    assert directory.best_path.read_text() == f"number = {expected}\n"


@EVERY_CASE
def test_the_best_of_the_summary_and_what_it_says_of_the_difference(
    programs, expected, tmp_path, monkeypatch
):
    directory = RunDirectory(tmp_path)
    tried = results(programs)
    entries = [directory.record(each) for each in tried]
    directory.write_best_diff(entries[0])
    shown = io.StringIO()
    reporter = Reporter(Console(file=shown, width=200))
    directory.write_best_diff(entries[0])
    print_summary(load_experiment(QUICKSTART), directory, entries[0], None, reporter)
    lines = {line.split()[0]: line for line in shown.getvalue().splitlines() if line.strip()}
    assert f"programs/{entries[expected]['file']}" in lines["best"]
    found = compare(*(Standing.of_evaluation(tried[place]) for place in (expected, 0)))
    assert lines["health"].split(maxsplit=1)[1].startswith("4 not measured; after 100 steps")
    assert ("ahead by more than the error over seeds" in lines["difference"]) is found.is_better
    assert ("none: no candidate is ahead" in lines["difference"]) is (expected == 0)
    if expected:
        assert f"score {found.gain:+.4f} +- {found.stderr:.4f}" in lines["difference"]


def test_a_best_that_the_fold_found_is_not_called_better_where_it_is_not(tmp_path):
    """Not transitive: the last is better than the second, the second than the first, and yet."""
    programs = [(0.10, 0.05), (0.152, 0.001), (0.22, 0.06), (0.19, 0.2)]
    directory = RunDirectory(tmp_path)
    entries = [directory.record(each) for each in results(programs[:3])]
    assert directory.best_path.read_text() == "number = 2\n"
    noisy = directory.record(result(3, 0.60, 0.37))
    assert directory.best_path.read_text() == "number = 3\n"
    directory.write_best_diff(entries[0])
    shown = io.StringIO()
    directory.write_best_diff(entries[0])
    print_summary(
        load_experiment(QUICKSTART), directory, {**entries[0], "stderr": 0.4}, None, _to(shown)
    )
    assert noisy["file"] in shown.getvalue()
    assert "not ahead by more than the error over seeds of both" in shown.getvalue()


def _to(file):
    return Reporter(Console(file=file, width=200))


@pytest.mark.parametrize("is_resumed", [False, True])
def test_after_a_resume_an_improvement_is_one_over_the_best_so_far(is_resumed, tmp_path):
    """Not over the initial program: what comes between the two is none."""
    patience = ("scaling_law.stopping.patience_iterations=1",)
    experiment = load_experiment(QUICKSTART, patience, tmp_path)
    directory = RunDirectory(tmp_path)
    initial = directory.record(result(0, 0.10, 0.01))
    if is_resumed:
        directory.record(result(1, 0.30, 0.01), iteration=1)
    run = EvolutionRun(experiment, (), initial, 9, _to(io.StringIO()), nobody)
    between = Future()
    child = {"code": "number = 2\n", "metrics": metrics(result(2, 0.20, 0.01))}
    report = Report(answer=Answer(), entry=None)
    between.set_result(SimpleNamespace(child_program_dict=child, artifacts={}, report=report))
    run.accounts.account(2, between)
    assert (run.stop_reason is not None) is is_resumed


def test_a_standing_is_the_same_from_wherever_it_is_read(tmp_path):
    tried = result(0, 0.125, 0.25)
    own = Standing.of_evaluation(tried)
    assert (own.value, own.stderr, own.degrees_of_freedom) == (0.125, 0.25, 3.0)
    directory = RunDirectory(tmp_path)
    directory.record(tried)
    (entry,) = directory.history()
    assert Standing.of_entry(entry) == own
    assert Standing.of_metrics(metrics(tried)) == own


def test_an_unknown_error_is_unknown_wherever_it_is_read_and_shown_as_that(tmp_path):
    tried = made_evaluation((2.4, 2.3, 2.2, 2.1), source="number = 0\n")
    own = Standing.of_evaluation(tried)
    assert (own.stderr, own.degrees_of_freedom) == (None, None)
    assert own.lack_of_fit > 0
    directory = RunDirectory(tmp_path)
    entry = directory.record(tried)
    assert Standing.of_entry(entry) == own
    assert Standing.of_metrics(metrics(tried)) == own
    assert all(math.isfinite(value) for value in metrics(tried).values())
    assert "one seed: unknown error" in entry["told_score"]
    assert "one seed: unknown error" in artifacts(tried)["verdict"]
    directory.write_best_diff(entry)
    shown = io.StringIO()
    print_summary(load_experiment(QUICKSTART), directory, entry, None, _to(shown))
    assert shown.getvalue().count("one seed: unknown error") == 4, "of both, here and in the table"


@pytest.mark.parametrize("seed", range(5))
def test_a_run_and_its_simulation_have_the_same_best(seed, tmp_path):
    """The simulation asks of scores, the run of its history."""
    random, spread = np.random.default_rng(seed), Spread(sd=0.01, degrees_of_freedom=6.0)
    base = made_evaluation((2.4, 2.3, 2.2, 2.1), source="initial = 1\n")
    baseline = Baseline(search=tuple(random.normal(0.1, 0.01, 3)))
    initial = scored(base, Standing.of_baseline(baseline.search, spread))
    directory = RunDirectory(tmp_path)
    directory.record(initial)
    population = []
    for number in range(8):
        own = made_evaluation((2.4, 2.3, 2.2, 2.1), source=f"number = {number}\n")
        scores = tuple(random.normal(0.1, 0.02, int(random.integers(1, 4))).tolist())
        name = directory.record(scored(own, Standing.of_scores(scores, spread)))["program"]
        population.append(Observed(name=name, scores=scores))
        best = best_so_far(population, baseline, spread)
        expected = initial.program.source_hash[:12] if best.name == "baseline" else best.name
        assert best_entry(directory.history())["program"] == expected


def scored(evaluation, standing):
    found = with_score(evaluation, standing.value, standing.stderr)
    own = dataclasses.replace(found.score, degrees_of_freedom=standing.degrees_of_freedom)
    return dataclasses.replace(found, score=own)


def test_guards_count():
    """A slope bought by hurting the small model is steeper, and no better for anyone."""
    honest = made_evaluation((2.4, 2.3, 2.2, 2.1), (2.4, 2.3, 2.2, 2.1))
    cheat = made_evaluation((2.9, 2.3, 2.2, 2.1), (2.4, 2.3, 2.2, 2.1))
    assert cheat.score.fitness > honest.score.fitness
    assert not compare(Standing.of_evaluation(cheat), Standing.of_evaluation(honest)).is_better
