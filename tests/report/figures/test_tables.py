"""The data of every figure: the numbers of the records, and what is said where there are none."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from made_ablation import made_report as made_ablation
from made_control import GAINS as CONTROLLED
from made_records import GAINS, STEPS, content_of
from made_results import COUNTS
from made_run import SECONDS_PER_MODEL

from openevolve_unified.report.figures.catalog import figures_of
from openevolve_unified.report.figures.figure import Missing
from openevolve_unified.report.figures.marks import short_count, thinned
from openevolve_unified.report.run_records import read_records

SIZES = ("32x2", "48x2", "64x2", "96x2")
FRESH = (1042, 1043, 1044, 1045)


def column(figure, name):
    place = figure.columns.index(name)
    return [row[place] for row in figure.rows]


def losses(written, source, gain, seeds=FRESH):
    """``(seeds, sizes)``"""
    return np.array([[written.made.loss(source, gain, p, s) for p in range(4)] for s in seeds])


@pytest.fixture(scope="module")
def fresh(written):
    """The initial program and the winner at the fresh seeds."""
    return losses(written, written.made.initial, 0.0), losses(written, written.made.source(3), 0.05)


def test_a_table_has_a_cell_for_every_column_and_names_its_records(figures):
    for figure in figures.values():
        if not isinstance(figure, Missing):
            assert figure.rows
            assert all(len(row) == len(figure.columns) for row in figure.rows)
            assert figure.records
            assert figure.caption.endswith(".")
            assert figure.alternative_text


def test_fitness_has_every_iteration_and_the_confirmed_values(figures, records, fresh):
    found = figures["fitness"]
    entries = records.run.told.entries
    assert column(found, "iteration") == [0, 1, 2, 3, 4, None, None]
    scores = [entries[place]["mean_score"] for place in range(4)]
    assert column(found, "score")[:5] == [*scores, None]
    assert column(found, "best so far")[:5] == [scores[0], scores[0], scores[2], scores[3], None]
    assert column(found, "outcome")[4:6] == ["rejected", "confirmed at fresh seeds"]
    slopes = [-np.polyfit(np.log(COUNTS), rows.T, 1)[0].mean() for rows in fresh]
    assert column(found, "score")[5:] == pytest.approx(slopes)
    low, high = column(found, "low 95%")[6], column(found, "high 95%")[6]
    assert low < slopes[1] < high
    assert f"that of iteration 3 and scores {scores[3]:+.4f}" in found.caption
    assert "1 iteration gave no score" in found.caption


def test_scaling_has_every_fresh_seed_and_the_fitted_line(figures, fresh):
    found = figures["scaling"]
    assert len(found.rows) == 2 * 4 * 4
    for who, rows in zip(("initial program", "best program"), fresh, strict=True):
        own = [row for row in found.rows if row[0] == who]
        assert [row[4] for row in own] == pytest.approx(rows.T.flatten())
        slope, intercept = np.polyfit(np.log(COUNTS), rows.mean(0), 1)
        assert own[-1][5] == pytest.approx(intercept + slope * math.log(COUNTS[-1]))
        assert f"{who}: loss = {intercept:.4f} - {-slope:.4f} ln N" in found.caption


def test_without_a_confirmation_the_seeds_are_those_of_the_search(made_records):
    records = made_records(num_confirmed=0, has_reports=False)
    found = {figure.name: figure for figure in figures_of(records)}
    assert set(column(found["scaling"], "seed")) == {42}
    assert set(column(found["dominance"], "seeds")) == {"search seeds"}
    assert set(column(found["dominance"], "is")) == {"unknown"}
    assert "`openevolve-unified noise CONFIG`" in found["fitness"].caption


def test_dominance_is_the_difference_to_the_initial_program(figures, fresh):
    found = figures["dominance"]
    own = [row for row in found.rows if row[0] == "fresh seeds"]
    assert [row[1] for row in own] == list(SIZES)
    initial, winner = fresh
    assert [row[3] for row in own] == pytest.approx((winner - initial).mean(0))
    assert own[-1][6] == "better"
    assert f"{own[-1][3]:+.4f} [{own[-1][4]:+.4f} to {own[-1][5]:+.4f}] nats" in found.caption


def test_curves_are_those_of_the_store(figures, written):
    found = figures["curves"]
    last = losses(written, written.made.source(3), 0.05, (42,))[0, 3]
    own = [row for row in found.rows if row[:4] == ("best program", "96x2", 42, "validation")]
    assert [row[4] for row in own] == list(STEPS)
    assert [row[5] for row in own] == pytest.approx([last + math.log(750 / s) for s in STEPS])
    assert f"best program {last:.4f}" in found.caption
    assert len([row for row in found.rows if row[3] == "training"]) == 2 * 4 * len(STEPS)


def test_a_thinned_curve_keeps_its_ends_and_its_spikes():
    values = [math.sin(i / 50) for i in range(5000)]
    values[1234], values[4321] = 9.0, -9.0
    places = thinned(values, 300)
    assert len(places) <= 300
    assert {0, 1234, 4321, 4999} <= set(places)
    assert places == sorted(places)
    assert thinned(values[:300], 300) == list(range(300))


def test_health_is_what_was_measured_and_leaves_out_what_was_not(figures):
    found = figures["health"]
    assert column(found, "gradient norm")[: len(STEPS)] == [100 / step for step in STEPS]
    assert column(found, "coefficient entropy")[: len(STEPS)] == [None, 0.7, None, 0.7]
    assert "share of own gradients" not in found.columns
    assert "initial program healthy" in found.caption


def test_the_lineage_leads_from_the_initial_program_to_the_best(figures, written):
    hashes = [content_of(written.made.initial)]
    hashes += [content_of(written.made.source(number)) for number in (1, 2, 3)]
    found = figures["lineage"]
    assert column(found, "generation") == [0, 1, 2, 1]
    names = [f"iteration {number}, {hashes[number][:6]}" for number in (2, 3, 1)]
    assert column(found, "program")[1:] == names
    assert column(found, "parent") == ["", hashes[0], hashes[2], hashes[0]]
    assert "2 steps from the initial one" in found.caption
    assert "1 other child" in found.caption


def test_the_grid_has_the_elite_of_every_cell(figures, written):
    found = figures["grid"]
    assert column(found, "cell") == ["0-0", "1-0", "2-0", "3-0"]
    assert column(found, "program")[3] == content_of(written.made.source(3))
    assert "4 of 64 cells of lookback and log10_operators are taken" in found.caption
    assert found.records == ("checkpoints/checkpoint_3/metadata.json",)


def test_proposals_are_counted_by_what_became_of_them(figures):
    rows = (("trained", "", 3), ("rejected", "causality", 1))
    assert figures["rejections"].rows == rows
    assert figures["rejections"].caption == "Of 4 proposals, 3 trained, 1 refused: causality (1)."


def test_noise_is_that_of_every_size_with_its_interval(figures, records):
    found, floor = figures["noise"], records.noise.floor()
    own = [row for row in found.rows if row[0] == "from seed to seed"]
    assert [row[3] for row in own] == list(floor.seed_sd)
    assert all(low < sd < high for *_, sd, low, high in found.rows)
    # Twins at six seeds: chi-squared with five degrees of freedom.
    twin = next(row for row in found.rows if row[0].startswith("twin"))
    assert twin[5] / twin[3] == pytest.approx(math.sqrt(5 / 0.83121), rel=1e-4)


def test_controls_have_every_run_of_every_arm(figures):
    rows = figures["control"].rows
    assert len(rows) == 9
    for arm, gains in CONTROLLED.items():
        assert [row[3] for row in rows if row[0] == arm] == list(gains)
        assert [row[2] for row in rows if row[0] == arm] == pytest.approx([g + 0.02 for g in gains])
    assert "grammar gains most: +0.0700" in figures["control"].caption
    assert "grammar beat luck" in figures["control"].caption


def test_the_horizon_has_correlation_and_regret_of_every_look(figures):
    found = figures["horizon"]
    assert column(found, "share") == [0.1, 0.1, 0.25, 0.25, 0.5, 0.5]
    assert column(found, "tau") == [1.0] * 6  # all curves fall alike
    assert column(found, "regret") == [0.0] * 6
    assert "4 candidates" in found.caption


def test_an_ablation_has_the_effect_of_every_hunk(figures):
    found, report = figures["ablation"], made_ablation()
    kept, standard = (
        np.array(report.losses[name])[:, -1].mean() for name in ("+hunk 2", "standard")
    )
    row = next(row for row in found.rows if row[:2] == ("hunk 2 (constants)", "alone"))
    assert row[2] == pytest.approx(kept - standard)
    assert row[6] == "helps"
    assert [row[2] for row in found.rows if row[0] == "hunk 5"] == [0.0, 0.0]
    assert "carried by hunks 1+3, hunk 2" in found.caption


def test_a_validation_has_the_gain_of_every_pair_and_the_margin(figures):
    found = figures["validation"]
    assert column(found, "gain nats") == pytest.approx([2.0 * gain for gain in GAINS])
    assert "better in 4 of 5 pairs" in found.caption
    assert "margin of equality 0.0100 nats" in found.caption  # half a per cent of 2 nats
    assert found.caption.startswith("Inconclusive: the evolved arm")


def test_cost_counts_the_models_of_search_and_confirmation(figures):
    parts = dict(figures["cost"].rows)
    assert parts["training of the search"] == pytest.approx(16 * SECONDS_PER_MODEL / 3600)
    assert parts["training of the confirmation"] == pytest.approx(32 * SECONDS_PER_MODEL / 3600)
    assert figures["cost"].caption.startswith("48 models")


def test_what_is_missing_says_which_command_makes_it(made_records):
    records = made_records(
        gains=(), parents=(), num_confirmed=0, has_reports=False, has_baseline=False
    )
    missing = {one.name: one for one in figures_of(records) if isinstance(one, Missing)}
    assert missing.keys() >= {"fitness", "scaling", "dominance", "curves", "lineage", "health"}
    assert missing.keys() >= {"noise", "control", "horizon", "ablation", "validation", "cost"}
    for one in missing.values():
        assert "`openevolve" in one.sentence, one.name
        assert str(records.run.path) not in one.sentence


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("control", "control/control.json"),
        ("ablation", "ablation.json"),
        ("validation", "validation/validation.json"),
    ],
)
def test_a_damaged_report_is_missing_with_what_is_wrong(written, tmp_path, name, file):
    folder = tmp_path / "run"
    shutil.copytree(written.folder, folder)
    (folder / file).write_text(json.dumps({"comparisons": [], "other": 1}))
    found = {one.name: one for one in figures_of(read_records(folder))}
    assert isinstance(found[name], Missing)
    assert "cannot be read" in found[name].sentence


def test_counts_of_parameters_are_short():
    assert [short_count(n) for n in (950, 25_472, 1_200_000, 2e9)] == ["950", "25.5k", "1.2M", "2G"]
