"""The ablation as told: what carries the gain, what is not told apart, and what is not known."""

from __future__ import annotations

import json

from made_ablation import made_floor, made_report

from openevolve_unified.report.ablation_table import (
    ablation_json,
    ablation_lines,
    ablation_markdown,
)


def text(report):
    return "\n".join(ablation_lines(report))


def row(report, name):
    (line,) = [line for line in ablation_lines(report) if line.startswith(f"  {name}  ")]
    return line


def test_what_carries_the_gain_is_said_and_tuning_is_called_so():
    told = text(made_report())
    assert "the evolved program is better" in told
    assert "hunks 1+3: carries the gain: gains alone, and is missed without it" in told
    assert "hunk 4: not told apart from nothing" in told
    assert "hunk 5: inert: both programs stay the same" in told
    assert "hunks of text alone (comments, docstrings, layout), left out: 6" in told
    assert "the gain is carried by hunks 1+3, hunk 2 (tuning)\n" in told
    assert "the effects add up as far as this can be seen" in told
    assert "10 seeds (2042, 2043" in told
    assert "few" not in told


def test_the_table_has_every_hunk_its_class_and_its_share():
    report = made_report()
    assert row(report, "hunks 1+3").split()[2:6] == ["code", "-0.0811", "+-", "0.0028"]
    assert row(report, "hunk 2").split()[2] == "constants"
    assert "same program" in row(report, "hunk 5")
    assert "0% [0% to 0%]" in row(report, "hunk 5")
    assert "100% [100% to 100%]" in row(report, "all hunks")
    assert row(report, "all constants").split()[2] == "constants"


def test_few_seeds_are_called_few_with_what_they_find():
    told = text(made_report(num_seeds=3, floor=made_floor()))
    assert "3 seeds are few: a single test finds a true difference of 0.00" in told
    assert "errors come from the seeds and the measured noise" in told
    assert "may still have an effect" in told
    assert "3 seeds are few; what is not told apart" in text(made_report(num_seeds=3))


def test_one_seed_without_a_floor_says_unknown_and_how_to_know():
    told = text(made_report(num_seeds=1))
    assert "whether the evolved program is better is unknown" in told
    assert "which hunks carry a gain is unknown: one seed has no error" in told
    assert "(openevolve-unified noise CONFIG)" in told
    assert "(unknown)" in row(made_report(num_seeds=1), "hunk 2")
    assert "the gain is carried by hunks 1+3" in text(made_report(num_seeds=1, floor=made_floor()))


def test_an_interaction_is_stated_with_its_sense():
    changes = {"+hunks 1+3": 0.0}
    assert "the effects do not add up, together they gain more" in text(made_report(changes))
    changes = {"+hunk 4": -0.08, "-hunks 1+3": -0.1}
    told = text(made_report(changes))
    assert "the effects do not add up, together they gain less" in told
    assert "hunks 1+3: gains alone; not told apart from nothing beside the others" in told


def test_a_program_that_did_not_train_is_told_and_not_dropped():
    report = made_report(failed=("+hunk 2",))
    told = text(report)
    assert "did not train" in row(report, "hunk 2")
    assert "+hunk 2 did not train: at seed 2042: diverged: not finite" in told
    assert "whether the effects add up is unknown" in told


def test_without_a_gain_there_is_nothing_to_share_or_to_carry():
    levels = dict.fromkeys([f"{sign}{name}" for sign in "+-" for name in ("hunks 1+3", "hunk 2")])
    report = made_report(dict.fromkeys(levels, 0.0) | {"evolved": 0.0, "-hunk 4": 0.0})
    told = text(report)
    assert "is not told apart from the standard one, so there is no gain to share" in told
    assert "no hunk is shown to carry a gain" in told
    assert "%" not in row(report, "hunk 4")


def test_the_file_has_the_slopes_and_the_hunks_and_the_object_has_everything():
    report = made_report()
    written = ablation_markdown(report)
    assert "| slope alone | slope beside the others |" in written
    assert "## Hunks 1+3: code\n\n```diff\n@@ line 30" in written
    assert "- The gain is carried by" in written
    found = json.loads(json.dumps(ablation_json(report)))
    assert found["roles"]["hunk 5"].startswith("inert")
    assert found["judgement"]["parts"][0]["alone"]["share"]["ci95"]
    assert found["losses"]["+hunk 2"] == report.losses["+hunk 2"]
