"""What a floor means, on losses that nobody trained: tables, sentences, seeds, simulated runs."""

from __future__ import annotations

import io

import pytest
from made_noise import NUM_PARAMS, made_noise
from rich.console import Console

from openevolve_unified.calibration.noise_summary import summarise
from openevolve_unified.calibration.simulated_noise import simulate
from openevolve_unified.calibration.simulated_runs import RunSettings
from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.config.noise import NoiseConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.contrasts import slope_weights
from openevolve_unified.judgement.noise import detectable_difference
from openevolve_unified.judgement.replicates import score_difference_spread
from openevolve_unified.report.console import Reporter
from openevolve_unified.report.noise_table import print_noise, print_simulated


def printed(show, *arguments):
    text = io.StringIO()
    show(*arguments, Reporter(Console(file=text, width=200)))
    return text.getvalue()


def test_the_summary_holds_what_the_losses_say():
    noise = made_noise()
    summary = summarise(noise)
    slopes = noise.losses() @ slope_weights(NUM_PARAMS)
    assert summary.slope.value == pytest.approx(slopes.mean())
    assert summary.slope.stderr == pytest.approx(slopes.std(ddof=1) / 6**0.5)
    assert summary.sizes[0].mean_loss_nats == pytest.approx(noise.losses()[:, 0].mean())
    assert [row.num_seeds for row in summary.detectable] == [1, 2, 4, 8]
    spread = noise.floor().slope_difference
    assert summary.detectable[2].slope == detectable_difference(spread, 4)
    for row in summary.detectable:
        assert row.slope_at_best < row.slope
    found = [row.slope for row in summary.detectable]
    assert found == sorted(found, reverse=True)


def test_without_a_twin_there_is_no_best_case_and_fewer_degrees_of_freedom():
    both, alone = summarise(made_noise()), summarise(made_noise(twin={}))
    assert alone.slope_twin is None
    assert alone.detectable[0].slope_at_best is None
    assert alone.slope_difference.degrees_of_freedom == 5
    assert both.slope_difference.degrees_of_freedom > 5


def test_the_table_has_every_size_every_number_of_seeds_and_every_reading():
    summary = summarise(made_noise(), gain=0.01)
    text = printed(print_noise, "my.yaml", summary)
    for size in summary.sizes:
        assert f"  {size.name} " in text
        assert f"{size.seed_sd_nats:.4f}" in text
        assert f"{size.twin_sd_nats:.4f}" in text
    for row in summary.detectable:
        assert f"\n  {row.num_seeds} " in text
        assert f"{row.slope:.4f}" in text
        assert f"{row.largest_loss_nats:.4f}" in text
    assert "pilot, 750 of 100,000 steps" in text
    assert "the initial program and its rounding twin at 6 seeds" in text
    assert f"my.yaml {summary.sentence}" in text
    assert "degrees of freedom)" in summary.sentence
    assert f"a difference of 0.01 in slope needs {summary.seeds_for_gain} seeds" in text
    assert "'last' is the quietest reading" in text


def test_a_smaller_gain_needs_more_seeds_and_a_gain_that_is_none_is_refused():
    noise = made_noise()
    numbers = [summarise(noise, gain=gain).seeds_for_gain for gain in (0.1, 0.01, 0.005)]
    assert numbers == sorted(numbers)
    assert numbers[0] == 1
    assert "out of reach" in summarise(noise, gain=1e-9).gain_sentence
    for gain in (0.0, -0.01, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"--gain: got .*, wanted a positive difference"):
            summarise(noise, gain=gain)


def test_losses_that_do_not_fit_their_seeds_are_no_noise():
    with pytest.raises(ValueError, match="wanted losses of shape"):
        made_noise(seeds=(1, 2))
    with pytest.raises(ValueError, match="not finite"):
        made_noise(baseline={"last": [[float("nan")] * 4] * 6}, twin={})
    assert made_noise(seeds=tuple(range(10, 16))).num_models == 6 * 4 * 2


def test_enough_is_what_a_run_asks_for():
    noise = made_noise()
    alone = made_noise(twin={})
    for num_seeds, twin, both_enough, alone_enough in (
        (6, True, True, False),
        (6, False, True, True),
        (7, False, False, False),
    ):
        wanted = NoiseConfig(mode="measure", num_seeds=num_seeds, twin=twin)
        assert noise.is_enough(wanted) is both_enough
        assert alone.is_enough(wanted) is alone_enough


def test_simulated_runs_with_this_noise_rarely_err_and_find_what_is_planted():
    settings = RunSettings(num_noise=6, max_seeds=2, num_confirmation=2)
    rates = simulate(made_noise(), num_candidates=4, num_runs=60, settings=settings)
    assert rates.false_rate <= 0.05
    assert rates.power >= 0.8
    assert rates.ladders_per_candidate >= 1
    text = printed(print_simulated, rates)
    assert "60 runs of 4 candidates" in text
    assert f"higher by {rates.planted_gain:.4f}" in text
    assert rates.error(0.5) == pytest.approx(0.5 / 60**0.5)


@pytest.mark.parametrize("kind", ["predicted_loss", "largest_loss"])
def test_what_is_simulated_is_the_score_of_the_configuration(kind):
    settings = RunSettings(
        num_noise=6, max_seeds=2, num_confirmation=2, fitness=FitnessConfig(kind=kind)
    )
    rates = simulate(made_noise(), num_candidates=4, num_runs=20, settings=settings)
    spread = score_difference_spread(made_noise().floor(), settings.fitness)
    assert rates.planted_gain == 2 * detectable_difference(spread, 2)
    assert rates.power >= 0.8
