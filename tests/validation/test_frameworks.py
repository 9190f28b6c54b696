"""The comparison of finished runs: what is equal, what is declared, and what the pairs say."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from json_keys import undocumented
from made_results import COUNTS
from made_run import (
    ABOVE_ON_TEST,
    FLOPS_PER_STEP,
    JOULES_PER_MODEL,
    SECONDS_PER_MODEL,
    MadeRun,
    runs_in,
)
from scipy import stats

from openevolve_unified import exits
from openevolve_unified.cli.app import main
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.report.figures.comparison import comparison_figure
from openevolve_unified.report.figures.figure import NO_MATPLOTLIB, svg_file
from openevolve_unified.report.frameworks_table import comparison_lines
from openevolve_unified.runs.events import Confirmation
from openevolve_unified.validation.frameworks import TEST_LOSS, compare_runs
from openevolve_unified.validation.run_folder import read_run

FRAMEWORKS = ("coefficient_dynamics", "test_time_regression", "matrix_mixer")


@pytest.fixture
def made(tmp_path):
    return runs_in(tmp_path)


def compared(*folders, **declared):
    declarations = {key.replace("__", "."): why for key, why in declared.items()}
    return compare_runs([read_run(folder) for folder in folders], declarations)


def refusal(*folders, **declared):
    with pytest.raises(ConfigError) as caught:
        compared(*folders, **declared)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The third framework's losses are lower by 0.02 nats at every size."""
    place = tmp_path_factory.mktemp("three")
    levels = dict(zip(FRAMEWORKS, (0.0, 0.0, -0.02), strict=True))
    return [MadeRun(place / name, name, level=level).folder for name, level in levels.items()]


def test_confirmed_variants_meet_on_the_test_split_at_their_common_fresh_seeds(three):
    found = compared(*three)
    assert [run.name for run in found.runs] == list(FRAMEWORKS)
    for run in found.runs:
        assert (run.variant.basis, run.variant.file[:4]) == ("confirmed", "0003")
        assert run.variant.seeds == (1042, 1043, 1044, 1045)
    first, _, third = (run.variant for run in found.runs)
    assert first.against_initial.value == pytest.approx(
        -0.05 * math.log(COUNTS[-1] / COUNTS[0]), abs=0.002
    )
    assert first.test_losses_nats["32x2"] == pytest.approx(2.0 + ABOVE_ON_TEST, abs=0.02)
    assert first.fitness.value == pytest.approx(0.15, abs=0.01)
    loss = {(t.first, t.second): t for t in found.tests if t.quantity == TEST_LOSS}
    assert loss[FRAMEWORKS[:2]].verdict == "not told apart"
    planted = loss["coefficient_dynamics", "matrix_mixer"]
    assert (planted.method, planted.num_seeds, planted.verdict) == ("paired t", 4, "worse")
    wanted = stats.ttest_rel(list(first.largest.values()), list(third.largest.values()))
    assert planted.p == pytest.approx(wanted.pvalue, rel=1e-9)
    assert planted.p_holm > planted.p


def test_evolvability_and_cost_follow_from_the_records(three):
    run = compared(*three).runs[0]
    search, cost = run.evolvability, run.cost
    assert search.outcomes == {"rejected": 1, "trained": 3}
    assert (search.num_proposals, search.legal_share) == (4, 0.75)
    assert (search.num_improving, search.num_above) == (2, 2)
    assert search.selected_gain == pytest.approx(0.05, abs=0.002)
    assert search.gain == search.confirmed_gain.value == pytest.approx(0.05, abs=0.002)
    assert search.gain_per_proposal == search.gain / 4
    models = 4 * len(COUNTS)
    assert cost.search_h == pytest.approx(models * SECONDS_PER_MODEL / 3600)
    assert search.gain_per_hour == pytest.approx(search.gain / cost.search_h)
    assert cost.confirmation_h == pytest.approx(2 * 4 * len(COUNTS) * SECONDS_PER_MODEL / 3600)
    assert cost.num_models == models + 2 * 4 * len(COUNTS)
    assert cost.operations == pytest.approx(models * 750 * FLOPS_PER_STEP * 1.05)
    assert cost.energy_joules == pytest.approx(cost.num_models * JOULES_PER_MODEL)
    assert cost.price is None
    assert [round(step.gain, 2) for step in search.trail] == [0.0, 0.0, 0.02, 0.05]
    assert [step.num_proposals for step in search.trail] == [0, 1, 2, 3]


def test_settings_that_differ_are_refused_until_each_is_declared(made):
    changed = ["scaling_law.training.batch_size=8", "max_iterations=9"]
    one, two = made("one"), made("two", "matrix_mixer", overrides=changed)
    text = refusal(one, two)
    assert "max_iterations (coefficient_dynamics: 4; matrix_mixer: 9)" in text
    assert "scaling_law.training.batch_size" in text
    assert "--declare max_iterations='because ...'" in text
    text = refusal(one, two, max_iterations="the same budget in hours")
    assert "differ in scaling_law.training.batch_size" in text
    found = compared(one, two, max_iterations="the same hours", scaling_law__training="memory")
    assert [(item.key, item.why) for item in found.declared] == [
        ("max_iterations", "the same hours"),
        ("scaling_law.training.batch_size", "memory"),
    ]
    assert (
        "declared: max_iterations differs (coefficient_dynamics 4, matrix_mixer 9), because: "
        in ("\n".join(comparison_lines(found)))
    )


def test_a_declaration_of_what_does_not_differ_is_refused(three):
    text = refusal(*three, max_iteration="why not")
    assert "--declare max_iteration: does not differ between these runs" in text


def test_other_versions_must_be_declared(made):
    one, two = made("one"), made("two", "matrix_mixer")
    path = two / "settings.json"
    settings = json.loads(path.read_text())
    settings["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(settings))
    assert "differ in versions.torch (" in refusal(one, two)
    assert len(compared(one, two, versions__torch="bit-identical on CPU").declared) == 1


def test_other_data_leaves_no_common_test_split(made):
    one, two = made("one"), made("two", "matrix_mixer", overrides=["scaling_law.data.seed=7"])
    assert "scaling_law.data.seed" in refusal(one, two)
    found = compared(one, two, scaling_law__data="on purpose")
    assert found.tests == ()
    assert found.not_tested == "no common test split: scaling_law.data.seed differs"


def test_settings_that_change_no_number_of_a_run_are_no_difference(made):
    elsewhere = [
        "scaling_law.execution.keep_weights=best",
        "scaling_law.execution.price_per_hour=2.5",
        "scaling_law.validation.num_seeds=12",
    ]
    assert compared(made("one"), made("two", "matrix_mixer", overrides=elsewhere)).declared == ()


def test_an_unfinished_run_is_refused_unless_declared(made):
    one, two = made("one"), made("two", "matrix_mixer", cause="interrupted")
    text = refusal(one, two)
    assert "matrix_mixer: unfinished after 4 of 4 iterations" in text
    assert "--declare unfinished='because ...'" in text
    found = compared(one, two, unfinished="the machine was needed")
    assert [item.key for item in found.declared] == ["unfinished"]


def test_a_run_without_a_baseline_is_named(made):
    empty = made("empty", "matrix_mixer", has_baseline=False, gains=(), num_confirmed=0)
    assert "empty: this run has no baseline" in refusal(made("one"), empty)


def test_one_run_or_the_same_twice_is_refused(made):
    folder = made("one")
    for folders in ((folder,), (folder, folder)):
        assert "wanted at least two runs, each once" in refusal(*folders)


def test_runs_of_one_framework_are_called_by_their_folders(made):
    found = compared(made("first", luck=0.0005), made("second", level=-0.01))
    assert [run.name for run in found.runs] == ["first", "second"]


def test_what_was_only_selected_is_said_and_not_paired_with_what_was_confirmed(made):
    unconfirmed = made("two", "matrix_mixer", num_confirmed=0)
    found = compared(made("one"), unconfirmed, scaling_law__selection="an older run")
    assert [run.variant.basis for run in found.runs] == ["confirmed", "selected"]
    for test in found.tests:
        assert test.verdict == "not tested"
        assert test.reason.startswith("no common seeds, and 1 of one")
    assert "too good on average, by its luck" in "\n".join(comparison_lines(found))


def test_a_run_without_a_winner_takes_part_with_its_initial_program(made):
    two = made("two", "matrix_mixer", gains=(-0.01, -0.02))
    found = compared(made("one"), two)
    variant = found.runs[1].variant
    assert (variant.basis, variant.against_initial) == ("initial program", None)
    assert found.runs[1].evolvability.gain == 0.0
    known = Standing.of_entry(read_run(two).baseline)
    fitness = variant.fitness
    assert (fitness.stderr, fitness.degrees_of_freedom) == (known.stderr, known.degrees_of_freedom)
    (row,) = [line for line in comparison_lines(found) if "initial program: 0000" in line]
    numbers = re.findall(r"\d\.\d{4} (?:\+- \d\.\d{4} \([\d.]+ df\)|\(one seed: unknown\))", row)
    assert len(numbers) == 3, f"score, test loss and slope with their errors: {row}"


def test_test_losses_that_no_record_has_are_asked_for(made):
    run = read_run(made("one", num_confirmed=0))
    path = (run.path / "programs" / run.best["file"]).with_suffix(".json")
    details = json.loads(path.read_text())
    details["losses"][1]["runs"][0]["test_loss_nats"] = None
    path.write_text(json.dumps(details))
    text = refusal(run.path, made("two", "matrix_mixer", num_confirmed=0))
    assert "no test loss of every size at seed 42" in text


def test_the_command_prints_writes_and_refuses(three, tmp_path, capsys):
    folders = [str(folder) for folder in three]
    assert main(["compare", *folders, "--output", str(tmp_path / "out"), "--json"]) == exits.DONE
    printed = capsys.readouterr().out
    assert "best variants on the test split" in printed
    assert "evolvability: gains in score" in printed
    plain = json.loads(printed.splitlines()[-1])
    assert undocumented("compare", plain) == []
    assert plain == json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert plain["runs"][0]["evolvability"]["legal_share"] == 0.75
    written = (tmp_path / "out" / "comparison.md").read_text()
    assert "| coefficient_dynamics | confirmed: 0003" in written
    assert plain["sentences"][0] in written
    assert "nothing of what a framework finds on average" in plain["sentences"][-1]
    assert main(["compare", *folders, "--declare", "novalue"]) == exits.WRONG
    assert "--declare: got 'novalue', wanted KEY=WHY" in capsys.readouterr().err


def test_the_figure_has_every_run_and_every_seed(three):
    found = compared(*three)
    figure = comparison_figure(found)
    assert [row[:4] for row in figure.rows] == [
        (run.name, "confirmed", seed, loss)
        for run in found.runs
        for seed, loss in run.variant.largest.items()
    ]
    pytest.importorskip("matplotlib", reason=NO_MATPLOTLIB)
    drawn = svg_file(figure).decode()
    assert all(name in drawn for name in FRAMEWORKS)


def test_the_slope_on_the_test_split_is_that_of_least_squares(three):
    variant = compared(*three).runs[0].variant
    run = read_run(three[0])
    size_losses = [
        [own.test_loss_nats for own in size.runs] for size in run.confirmed_evaluation().sizes
    ]
    for place, seed in enumerate(variant.seeds):
        losses = [row[place] for row in size_losses]
        assert variant.slopes[seed] == pytest.approx(np.polyfit(np.log(COUNTS), losses, 1)[0])


def test_a_winner_that_a_fresh_seed_refused_is_shown_and_not_tested(tmp_path):
    one, two = (MadeRun(tmp_path / name, name) for name in FRAMEWORKS[:2])
    told = json.loads((two.folder / "confirmation.json").read_text())
    told.update(verdict="refused", gain=None, gap=None, reason="diverged")
    two.log(Confirmation(program=told["program"], confirmation=told))
    found = compared(one.folder, two.folder)
    assert [run.variant.basis for run in found.runs] == ["confirmed", "refused at a fresh seed"]
    assert found.tests == ()
    refused = "only 1 of 2 best variants trained soundly at fresh seeds"
    assert f"no pair is tested: {refused}" in "\n".join(comparison_lines(found))
    assert found.runs[1].evolvability.confirmed_gain is None
