"""What a page says first, by the strongest record that there is."""

from __future__ import annotations

import re

from made_run import MadeRun

from openevolve_unified.report.figures.catalog import figures_of
from openevolve_unified.report.page.render import missing_of
from openevolve_unified.report.page.sections import sections_of
from openevolve_unified.report.page.verdict import verdict_of
from openevolve_unified.report.run_records import read_records


def verdict(tmp_path, **changes):
    return verdict_of(read_records(MadeRun(tmp_path / "run", **changes).folder))


def test_a_confirmed_winner_is_called_better_with_its_error(tmp_path):
    found = verdict(tmp_path)
    assert (found.word, found.mood, found.record) == ("improved", "good", "confirmation.json")
    pattern = r"better .* 4 fresh seeds: .* \+0\.05\d+ \+- 0\.0\d+ \(3 degrees .* 95% .*pilot, 750 "
    assert re.search(pattern, found.sentence)


def test_a_winner_that_was_not_confirmed_is_not_called_better(tmp_path):
    found = verdict(tmp_path, num_confirmed=0)
    assert (found.word, found.mood) == ("not confirmed", "open")
    assert "nothing is called improved" in found.sentence


def test_without_a_winner_the_nearest_candidate_is_named_with_its_error(tmp_path):
    found = verdict(tmp_path, gains=(-0.01, -0.02))
    assert (found.word, found.mood) == ("no winner", "open")
    assert re.search(r"highest score, \w{6}, differs by -0\.01\d+ \(one seed", found.sentence)


def test_a_run_that_goes_on_is_called_unfinished_and_its_page_says_why(tmp_path):
    found = verdict(tmp_path, cause=None)
    assert (found.word, found.mood) == ("unfinished", "open")


def test_without_a_winner_nobody_is_told_to_validate_one(tmp_path):
    records = read_records(MadeRun(tmp_path / "run", gains=(-0.01,), num_confirmed=0).folder)
    missing = missing_of(sections_of(records, figures_of(records)))
    assert missing["validation"].startswith("Without a winner there is nothing to validate")
    assert "ablation" not in missing
