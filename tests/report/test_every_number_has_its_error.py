"""Every number that is shown carries its error over seeds and its degrees of freedom, or the words
that one seed has none: terminal, files, JSON, feedback and prompt, each walked whole."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pytest
from made_results import COUNTS, made_evaluation
from openevolve.config import load_config
from openevolve.prompt.sampler import PromptSampler
from rich.console import Console

from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.config.names import FEATURE_NAMES, METRIC_NAMES
from openevolve_unified.evaluation.confirmation import Confirmed
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.judges import judge
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.report.console import Reporter
from openevolve_unified.report.summary import print_summary
from openevolve_unified.runs.directory import RunDirectory

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
BASELINE = ({0: 2.40, 1: 2.42}, {0: 2.31, 1: 2.30}, {0: 2.25, 1: 2.27}, {0: 2.15, 1: 2.14})
BEST = ({0: 2.35, 1: 2.39}, {0: 2.26, 1: 2.24}, {0: 2.14, 1: 2.17}, {0: 1.95, 1: 1.93})
FLOOR = NoiseFloor(
    num_params=tuple(map(float, COUNTS)),
    num_seeds=8,
    seed_sd=(0.01,) * 4,
    seed_correlation=tuple(tuple(float(i == j) for j in range(4)) for i in range(4)),
)

NUMBER = r"[+-]?\d+\.\d{4}"
WITH_ERROR = rf"{NUMBER} \+- \d+\.\d{{4}} \([\d.]+ (df|degrees? of freedom)\)"
UNKNOWN = rf"{NUMBER} \(one seed: unknown( error)?\)"
NO_ERROR_OVER_SEEDS = (
    rf"lack of fit {NUMBER}",
    rf"missed by {NUMBER} nats \(rms\), the largest by {NUMBER}",
    rf"\(95%: {NUMBER} to {NUMBER}\)",
    rf"(shrunk to|counted as) {NUMBER}",
    rf"not identified: the exponent may be anything from {NUMBER} to",
    rf"below {NUMBER} in slope, {NUMBER} nats at the largest size and\s+{NUMBER} nats",
    r"^ *left out +missed by.*$",
)
"""The misfit of a line, intervals beside their number, and detectable differences themselves."""
TABLE = (
    rf"^ *(losses +)?\S+ +[\d,]+ +{NUMBER}.*$",
    r"^ *slope .*$",
)
"""Rows whose losses have their errors in a row below; see ``errors_of``."""

CASES = {
    "one seed": (1, None),
    "one seed and a floor": (1, FLOOR),
    "two seeds": (2, None),
    "two seeds and a floor": (2, FLOOR),
}
EVERY_CASE = pytest.mark.parametrize(("num_seeds", "floor"), CASES.values(), ids=CASES)


def made(num_seeds, floor, which=BEST):
    first = [{seed: size[seed] for seed in range(num_seeds)} for size in which]
    its = [{seed: size[seed] for seed in range(num_seeds)} for size in BASELINE]
    found = made_evaluation(first, () if which is BASELINE else its, source=f"n = {which[0][0]}\n")
    if not is_known(num_seeds, floor):
        return found
    scored = dataclasses.replace(found.score, mean=0.1, stderr=0.02, degrees_of_freedom=3.0)
    return dataclasses.replace(found, score=scored)


def bare_numbers(text):
    """Numbers that nothing says the error of, with their lines."""
    for allowed in (WITH_ERROR, UNKNOWN, *NO_ERROR_OVER_SEEDS):
        text = re.sub(allowed, "", text, flags=re.MULTILINE)
    return [line for line in text.splitlines() if re.search(NUMBER, line)]


def without_table(text, is_known):
    """The text without the rows of a table that ends in their errors."""
    assert ("degrees of freedom" in text or "degrees  of freedom" in text) == is_known
    assert ("one seed: unknown error" in text) == (not is_known)
    for row in TABLE:
        text = re.sub(row, "", text, flags=re.MULTILINE)
    return text


def is_known(num_seeds, floor):
    return num_seeds > 1 or floor is not None


def test_the_walk_finds_what_it_looks_for():
    assert bare_numbers("score +0.1000, done") == ["score +0.1000, done"]
    assert bare_numbers("score +0.1000 +- 0.0100, done") != []
    assert bare_numbers("score +0.1000 +- 0.0100 (3 df), lack of fit 0.1000") == []
    assert bare_numbers("score +0.1000 (one seed: unknown)") == []


@EVERY_CASE
@pytest.mark.parametrize("which", [BEST, BASELINE], ids=["candidate", "initial program"])
def test_the_feedback_to_the_proposer(num_seeds, floor, which):
    result = made(num_seeds, floor, which)
    texts = artifacts(result, judge(result, floor))
    texts["losses_per_size"] = without_table(
        texts["losses_per_size"].replace("\npredicted", "\nx"), is_known(num_seeds, floor)
    )
    texts["losses_per_size"] = re.sub(r"^errors of.*$", "", texts["losses_per_size"], flags=re.M)
    assert [line for text in texts.values() for line in bare_numbers(text)] == []


@EVERY_CASE
@pytest.mark.parametrize("is_verbose", [False, True])
def test_the_terminal_while_a_run_works(num_seeds, floor, is_verbose, tmp_path):
    shown = io.StringIO()
    result = made(num_seeds, floor)
    entry = RunDirectory(tmp_path).record(result, None, judge(result, floor))
    Reporter(Console(file=shown, width=80), is_verbose).show_verdict(entry)
    assert re.search(NUMBER, shown.getvalue())
    assert bare_numbers(shown.getvalue()) == []


@EVERY_CASE
def test_the_summary_and_the_confirmation(num_seeds, floor, tmp_path):
    directory = RunDirectory(tmp_path)
    initial, best = (
        directory.record(result, None, judge(result, floor))
        for result in (made(num_seeds, floor, BASELINE), made(num_seeds, floor))
    )
    directory.write_best_diff(initial)
    known = is_known(num_seeds, floor)
    error = {"stderr": 0.01, "degrees_of_freedom": 3.0} if known else {}
    confirmed = Confirmed(
        program=best["program"],
        verdict="improved" if known else "unknown",
        seeds=(1042,),
        selected_gain=0.02,
        selected_stderr=error.get("stderr"),
        selected_degrees_of_freedom=error.get("degrees_of_freedom"),
        gain=Estimate(value=0.01, **error),
        gap=0.01,
    )
    shown = io.StringIO()
    experiment = load_experiment(QUICKSTART)
    print_summary(experiment, directory, initial, confirmed, Reporter(Console(file=shown)))
    text = re.sub(r"^.*\bpredicted .*$", "", shown.getvalue(), flags=re.MULTILINE)
    lines = without_table(text, known)
    assert "confirmed" in lines
    assert "energy       not told by this device (training of 2 programs" in lines
    assert bare_numbers(lines) == []
    assert re.search(NUMBER, directory.best_path.read_text()) is None, "the program alone"


@pytest.mark.parametrize("told", ["", ', "mechanism_precision": "bfloat16"', "}"])
def test_the_summary_says_where_mechanisms_were_rounded(told, tmp_path):
    """Whatever the plan's file holds: none of it, damaged text, or a precision."""
    directory = RunDirectory(tmp_path)
    initial = directory.record(made(1, None, BASELINE))
    directory.write_best_diff(initial)
    (tmp_path / "plan.json").write_text(f'{{"candidate_s": 1.0{told}}}')
    shown = io.StringIO()
    print_summary(
        load_experiment(QUICKSTART), directory, initial, None, Reporter(Console(file=shown))
    )
    line = "  precision    products of mechanisms in bfloat16, checked in float32\n"
    assert shown.getvalue().count("precision") == told.count("precision")
    assert (line in shown.getvalue()) == ("precision" in told)


@EVERY_CASE
def test_the_json_of_evaluate_and_of_the_history(num_seeds, floor, tmp_path):
    result = made(num_seeds, floor)
    judges = judge(result, floor)
    entry = RunDirectory(tmp_path).record(result, None, judges)
    found = list(estimates_in([to_plain(judges), entry["judges"]]))
    assert len(found) >= 2 * (4 + 4 + 6)
    for estimate in found:
        error = (estimate["stderr"], estimate["degrees_of_freedom"], estimate["ci95"])
        assert all((part is not None) is is_known(num_seeds, floor) for part in error)


def estimates_in(value):
    if isinstance(value, dict):
        if {"value", "ci95"} <= set(value):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from estimates_in(item)


def test_the_metrics():
    of_no_seed = {
        *("num_seeds", "score_degrees_of_freedom", "reliability", "is_pilot", "trained"),
        *("dominance", "num_sizes_better", "num_sizes_worse"),
        *("lack_of_fit", "r2", "leave_one_out_rms", "power_law_exponent", "harm"),
        *FEATURE_NAMES,
    }
    has_error_of_score = {"combined_score", "mean_score", "fitness", "score_stderr"}
    for name in set(METRIC_NAMES) - of_no_seed - has_error_of_score:
        assert name.endswith("_stderr") or f"{name}_stderr" in METRIC_NAMES, name
    alone, known = metrics(made(1, None)), metrics(made(1, FLOOR), judge(made(1, FLOOR), FLOOR))
    errors = [name for name in METRIC_NAMES if name.endswith("_stderr")]
    assert {alone[name] for name in errors} == {-1.0}
    assert all(known[name] > 0 for name in errors)


@EVERY_CASE
def test_the_prompt(num_seeds, floor, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    result = made(num_seeds, floor)
    judges = judge(result, floor)
    own = {"id": "a", "code": "a = 1", "metrics": metrics(result, judges), "metadata": {}}
    user = PromptSampler(load_config(QUICKSTART).prompt).build_prompt(
        current_program="pass",
        parent_program="pass",
        program_metrics=metrics(result, judges),
        previous_programs=[own],
        top_programs=[own],
        inspirations=[own],
        program_artifacts=artifacts(result, judges),
        feature_dimensions=["lookback"],
    )["user"]
    for text in artifacts(result, judges).values():
        assert text in user
    for line in user.splitlines():
        for name in METRIC_NAMES:
            if f"{name}_stderr" in METRIC_NAMES:
                shown, errors = (
                    re.findall(rf"\b{each}(?:: | \()[-+\d]", line)
                    for each in (name, f"{name}_stderr")
                )
                assert len(shown) == len(errors)


def test_the_readme_says_of_how_many_seeds_its_errors_are():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    items = [item for item in re.split(r"\n(?:- |\n)", text) if "+-" in item]
    assert items
    assert all("degrees of freedom" in item for item in items)
