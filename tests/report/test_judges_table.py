"""The judges as a person reads them."""

from __future__ import annotations

import io

from made_results import COUNTS, made_evaluation, with_score
from rich.console import Console

from openevolve_unified.judgement.judges import judge
from openevolve_unified.judgement.noise import NoiseFloor
from openevolve_unified.records import Failure
from openevolve_unified.report.console import MAX_COLUMNS, Reporter
from openevolve_unified.report.judges_table import (
    better_everywhere,
    short_count,
    summary_lines,
    verdict_words,
)
from openevolve_unified.runs.history import judges_of, new_entry

BASELINE = (2.40, 2.31, 2.25, 2.15)
FLOOR = NoiseFloor(
    num_params=tuple(map(float, COUNTS)),
    num_seeds=8,
    seed_sd=(0.01,) * 4,
    seed_correlation=tuple(tuple(float(i == j) for j in range(4)) for i in range(4)),
)


def entry_of(evaluation, floor=None, index=0):
    return new_entry(index, evaluation, None, judge(evaluation, floor))


BETTER = made_evaluation([loss - 0.1 for loss in BASELINE], BASELINE, source="a = 1\n")
INITIAL = made_evaluation(BASELINE)


def test_an_entry_gives_its_judges_back():
    entry = entry_of(BETTER, FLOOR)
    assert judges_of(entry) == judge(BETTER, FLOOR)
    assert judges_of({"judges": None}) is None
    assert judges_of({}) is None, "of an earlier release"


def test_the_verdict_says_what_is_known_beside_the_fitness_and_with_which_error():
    words = verdict_words(entry_of(BETTER, FLOOR))
    assert words.endswith("; loss -0.1000 +- 0.0141 (7 df); +4 -0 of 4")
    alone = verdict_words(entry_of(BETTER))
    assert alone.endswith("; loss -0.1000 (one seed: unknown)")
    assert ";" not in verdict_words(entry_of(INITIAL, FLOOR)), "nothing to compare it with"


def said(entry, **settings):
    shown = io.StringIO()
    reporter = Reporter(Console(file=shown, width=80), **settings)
    reporter.start_candidate("candidate 35/35")
    reporter.show_verdict(entry)
    return shown.getvalue().splitlines()


def test_the_line_of_a_verdict_stays_one_line_of_a_terminal():
    noisy = with_score(made_evaluation((2.41, 2.20, 2.26, 2.15), BASELINE), -0.0912, 0.0123)
    (line,) = said({**entry_of(noisy, FLOOR), "duration_s": 1234.0})
    assert line == (
        "candidate 35/35: score -0.0912 +- 0.0123 (3 df); loss +0.0000 +- 0.0141 (7 df); "
        "+1 -0 of 4; 1234 s"
    )
    assert len(line) <= MAX_COLUMNS
    first, second = said(entry_of(BETTER, FLOOR))
    assert first.endswith("+4 -0 of 4; 0 s")
    assert "AT EVERY SIZE" in second


def test_more_is_told_where_it_is_asked_for():
    lines = said(entry_of(BETTER, FLOOR), is_verbose=True)
    largest = next(line for line in lines if line.startswith("  96x2 "))
    assert "loss 2.0500 +- 0.0100 (7 df); less the baseline's -0.1000 +- 0.0141" in largest
    assert largest.endswith("(7 df): better")
    assert any(line.startswith("  892k     predicted ") for line in lines)
    assert max(map(len, lines)) <= MAX_COLUMNS
    old = {**entry_of(BETTER), "judges": None}
    assert len(said(old, is_verbose=True)) == 2


def test_a_long_reason_is_cut_between_words_unless_it_is_asked_for():
    reason = ("it reads what comes later, " * 9).strip()
    failure = Failure(program=BETTER.program, stage="causality", reason=reason)
    entry = new_entry(1, failure, None)
    (line,) = said(entry)
    assert line.startswith("candidate 35/35: rejected at 'causality': it reads")
    assert len(line) <= MAX_COLUMNS
    assert line.endswith(" ...")
    (whole,) = said(entry, is_verbose=True)
    assert reason in whole
    (short,) = said({**entry, "reason": "it leaks"})
    assert short == "candidate 35/35: rejected at 'causality': it leaks"


def test_the_summary_is_one_table_of_both_programs():
    lines = summary_lines(entry_of(BETTER, FLOOR), entry_of(INITIAL, FLOOR))
    rows = {line.split()[0]: line for line in lines}
    sizes = ["32x2", "48x2", "64x2", "96x2"]
    assert list(rows) == ["size", *sizes, "predicted", "slope", "degrees", "left", "power"]
    assert rows["96x2"].endswith("2.1500 +- 0.0100   2.0500 +- 0.0100   -0.1000 +- 0.0141: better")
    assert rows["degrees"].split() == ["degrees", "of", "freedom", "7", "7", "7"]
    numbers = [line for name, line in rows.items() if name not in ("left", "power")]
    assert max(map(len, numbers)) <= 86, "below a heading of 15 columns"
    assert "892,000" in rows["predicted"]
    assert rows["predicted"].count("+-") == 3
    assert "not identified" in rows["power"]


def test_an_entry_without_judges_still_has_its_losses():
    old = {**entry_of(BETTER), "judges": None}
    lines = summary_lines(old, {**entry_of(INITIAL), "judges": None})
    assert len(lines) == 5
    assert lines[-1].endswith("-0.1000")


def test_programs_that_are_better_at_every_size_are_named():
    mixed = made_evaluation((2.30, 2.31, 2.25, 2.15), BASELINE, source="b = 1\n")
    entries = [entry_of(INITIAL, FLOOR), entry_of(mixed, FLOOR, 1), entry_of(BETTER, FLOOR, 2)]
    told = better_everywhere(entries) or ""
    assert entries[2]["file"] in told
    assert entries[1]["file"] not in told
    assert better_everywhere(entries[:2]) is None


def test_counts_are_short():
    assert [short_count(n) for n in (950, 892_000, 16e6, 7e9)] == ["950", "892k", "16M", "7B"]
